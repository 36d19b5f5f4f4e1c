//! Starting, reloading and stopping.

use rustix::process::Signal;
use serde_json::json;

use crate::{
    wire::{OWN_KEY, get, is_complete, post},
    world::{Gateway, World, mode, until},
};

/// A prompt whose answer streams for about two seconds.
const LONG: &str = "sim:tokens 200 sim:stream-ms 2000";

/// A prompt whose answer stops after two events and stays open for ten minutes.
const ENDLESS: &str = "sim:tokens 200 sim:fault stall-mid-stream=2";

/// The hard limit of tasks that is in force.
fn task_limit(gateway: &Gateway) -> String {
    let limits = get(gateway.address, "/api/v1/limits", &[]).json();
    let all = limits["budgets"].as_array().unwrap().clone();
    let task = all.iter().find(|it| it["level"] == "task").unwrap();
    task["limit"]["hard"]["usd"].as_str().unwrap().to_owned()
}

#[test]
fn a_hangup_puts_another_configuration_in_force_and_streams_go_on() {
    let (mut world, _provider) = World::with_provider();
    world.configure("[budgets.task]\nhard = \"3\"\n");
    let gateway = world.serve();
    assert_eq!(task_limit(&gateway), "3.00");
    let stream = gateway.stream(&[OWN_KEY], LONG);
    world.configure("[budgets.task]\nhard = \"2\"\n");
    gateway.program.signal(Signal::HUP);
    until("the limit is another", || task_limit(&gateway) == "2.00");
    assert!(is_complete(&stream.end()));
}

#[test]
fn the_api_reloads_and_says_what_is_new() {
    let (mut world, _provider) = World::with_provider();
    world.configure("[budgets.task]\nhard = \"3\"\n");
    let gateway = world.serve();
    let stream = gateway.stream(&[OWN_KEY], LONG);
    let bearer = format!("Bearer {}", world.token());
    let token = [("authorization", bearer.as_str())];
    world.configure("[budgets.task]\nhard = \"2\"\n");
    let reloaded = post(gateway.address, "/api/v1/reload", &token, &json!({}));
    assert_eq!(reloaded.json(), json!({ "changed": "budgets.task.hard" }));
    assert_eq!(task_limit(&gateway), "2.00");
    // What is wrong changes nothing.
    world.configure("[budgets.task]\nhard = \"two\"\n");
    let refused = post(gateway.address, "/api/v1/reload", &token, &json!({}));
    assert_eq!(refused.status, 422, "{refused:?}");
    assert!(refused.text.contains("tidegate.toml:3:8"), "{refused:?}");
    assert_eq!(task_limit(&gateway), "2.00");
    assert!(is_complete(&stream.end()));
}

#[test]
fn a_reload_names_what_takes_effect_at_the_next_start() {
    let (mut world, _provider) = World::with_provider();
    world.configure("");
    let gateway = world.serve();
    let bearer = format!("Bearer {}", world.token());
    let token = [("authorization", bearer.as_str())];
    world
        .configure("[telemetry]\nenabled = false\n[server]\nbody_max = \"1 MB\"\ndrain = \"3s\"\n");
    let reload = || post(gateway.address, "/api/v1/reload", &token, &json!({})).json();
    let first = reload();
    assert_eq!(first["changed"], "server.drain", "{first}");
    let later = json!(["server.body_max", "telemetry.enabled"]);
    assert_eq!(first["at_next_start"], later, "{first}");
    // They are not in effect, so that they are named again, and shown as they were.
    assert_eq!(reload(), json!({ "changed": "", "at_next_start": later }));
    let config = get(gateway.address, "/api/v1/config", &[]).json();
    let telemetry = config.as_array().unwrap().iter();
    let mut telemetry = telemetry.filter(|it| it["key"] == "telemetry.enabled");
    assert_eq!(telemetry.next().unwrap()["value"], "true");
    gateway.program.signal(Signal::HUP);
    until("the log names them", || {
        let log = std::fs::read_to_string(world.data().join("log/tidegate.jsonl")).unwrap();
        log.matches("restart_needed").count() == 3
    });
    let log = std::fs::read_to_string(world.data().join("log/tidegate.jsonl")).unwrap();
    assert!(
        log.contains("\"server.body_max, telemetry.enabled\""),
        "{log}"
    );
}

#[test]
fn a_reload_that_would_send_calls_in_a_circle_is_refused() {
    let mut world = World::new();
    let (_provider, address) = world.provider();
    let anthropic = |at: &str| format!("[providers.anthropic]\nbase_url = \"http://{at}\"\n");
    world.configure(&anthropic(&address));
    let gateway = world.serve();
    let bearer = format!("Bearer {}", world.token());
    let token = [("authorization", bearer.as_str())];
    // By what is written it may get any port; it has this one.
    let own = gateway.address;
    world.configure(&anthropic(&own.to_string()));
    let refused = post(own, "/api/v1/reload", &token, &json!({}));
    assert_eq!(refused.status, 422, "{refused:?}");
    let place = "tidegate.toml:3:12: providers.anthropic.base_url";
    assert!(refused.text.contains(place), "{refused:?}");
    assert_eq!(gateway.call(&[OWN_KEY], "hello").status, 200);
    gateway.program.stop();
    let start = world.ask(&format!("serve --listen {own}"));
    assert_eq!(start.code, 1);
    assert!(start.err.contains(place), "{start:?}");
}

#[test]
fn the_first_signal_to_stop_lets_streams_end() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let stream = gateway.stream(&[OWN_KEY], LONG);
    gateway.program.signal(Signal::TERM);
    until("nobody listens any more", || !gateway.listens());
    assert!(is_complete(&stream.end()));
    let answer = gateway.program.end();
    assert_eq!(answer.code, 0, "{answer:?}");
    let gateway = world.serve();
    let calls = world.json("calls --json");
    assert_eq!(calls["calls"][0]["outcome"]["kind"], "answered", "{calls}");
    assert_eq!(calls["calls"][0]["estimated"], false);
    gateway.program.stop();
    assert!(world.said("ledger verify").contains(", 0 open"));
}

#[test]
fn the_second_signal_to_stop_cuts_what_is_left_and_settles_it() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let stream = gateway.stream(&[OWN_KEY], ENDLESS);
    gateway.program.signal(Signal::TERM);
    until("nobody listens any more", || !gateway.listens());
    gateway.program.signal(Signal::TERM);
    let answer = gateway.program.end();
    assert_eq!(answer.code, 0, "{answer:?}");
    assert!(!is_complete(&stream.end()));
    let verified = world.said("ledger verify");
    assert!(
        verified.contains(", 0 open") && verified.contains("nothing is wrong"),
        "{verified}"
    );
    let _gateway = world.serve();
    let calls = world.json("calls --json");
    assert_eq!(calls["calls"][0]["estimated"], true, "{calls}");
}

#[test]
fn a_second_gateway_on_the_same_data_or_port_names_the_first_ones_process() {
    let (mut world, _provider) = World::with_provider();
    let gateway = world.serve();
    let id = gateway.program.id.to_string();
    let data = world.ask("serve --listen 127.0.0.1:0");
    assert_eq!(data.code, 1, "{data:?}");
    assert!(data.err.contains(&id), "{data:?}");
    let other = world.path("other");
    world.set("TIDEGATE_DATA", other.to_str().unwrap());
    let port = world.ask(&format!("serve --listen {}", gateway.address));
    assert_eq!(port.code, 1, "{port:?}");
    assert!(
        port.err.contains(&format!("process {id} (tidegate)")),
        "{port:?}"
    );
    assert!(port.err.contains("--listen"), "{port:?}");
}

#[test]
fn the_token_is_for_its_owner_alone_and_stays_the_same() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let (file, token) = (world.data().join("token"), world.token());
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(&world.data()), 0o700);
    gateway.program.stop();
    // Somebody opened it to others: that is taken back.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(&file, open).unwrap();
    let _gateway = world.serve();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(world.token(), token);
}

#[test]
fn nothing_in_the_data_folder_is_for_others() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let check = || {
        let mut waiting = vec![world.data()];
        let mut names = Vec::new();
        while let Some(path) = waiting.pop() {
            let private = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), private, "{}", path.display());
            if path.is_dir() {
                let inner = std::fs::read_dir(&path).unwrap();
                waiting.extend(inner.map(|it| it.unwrap().path()));
            }
            names.push(path.file_name().unwrap().display().to_string());
        }
        names
    };
    let names = check();
    for name in ["address", "token", "tidegate.jsonl", "state.db", "journal"] {
        assert!(names.iter().any(|it| it == name), "{names:?}");
    }
    gateway.program.stop();
    // Somebody opened them to others: that is taken back.
    let open = |it| std::os::unix::fs::PermissionsExt::from_mode(it);
    for (name, mode) in [("log", 0o755), ("address", 0o644)] {
        let path = world.data().join(name);
        if name == "address" {
            std::fs::write(&path, "").unwrap();
        }
        std::fs::set_permissions(path, open(mode)).unwrap();
    }
    let _gateway = world.serve();
    check();
}

#[test]
fn what_happens_is_in_the_log_and_in_the_metrics() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    assert_eq!(gateway.call(&[OWN_KEY], "hello").status, 200);
    world.said("budget set task 3 --task t");
    for name in [
        "tidegate_admission_decided_requests_total{",
        "tidegate_ledger_commit_time_seconds_count",
        "tidegate_ledger_committed_entries_total",
        "tidegate_observe_written_records_total{",
        "tidegate_process_start_time_seconds",
    ] {
        // Entries are committed, and records written, soon after what they tell of.
        until(name, || {
            let metrics = get(gateway.address, "/metrics", &[]).text;
            let mut lines = metrics.lines().filter(|it| it.starts_with(name));
            lines.any(|it| !it.ends_with(" 0"))
        });
    }
    gateway.program.stop();
    let log = std::fs::read_to_string(world.data().join("log/tidegate.jsonl")).unwrap();
    let line = log.lines().find(|it| it.contains("limit_changed"));
    assert!(line.is_some_and(|it| it.contains("task for")), "{log}");
}

#[test]
fn the_greeting_names_what_only_watches_and_how_to_enforce_it() {
    let (world, _provider) = World::with_provider();
    let answer = world.serve().program.stop();
    assert!(
        answer
            .err
            .contains("\nenforce them with `tidegate serve --enforce`\n"),
        "{answer:?}"
    );
    let answer = world.serve_with("--enforce").program.stop();
    assert!(!answer.err.contains("only watched"), "{answer:?}");
    assert_eq!(answer.out, "", "standard output is for who is served");
}
