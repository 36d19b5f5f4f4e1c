//! What is kept of what happens: found again by all that is known of it, also after the worst.

use rustix::process::Signal;
use tidegate_types::{Clock as _, SystemClock};

use crate::{
    wire::{OWN_KEY, Reply},
    world::{Gateway, World, until},
};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn call(gateway: &Gateway, headers: &[(&str, &str)]) -> Reply {
    let answer = gateway.call(&[&[OWN_KEY], headers].concat(), "sim:say hello");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn id(answer: &Reply) -> String {
    answer.header("x-tidegate-call-id").unwrap().to_owned()
}

#[test]
fn a_call_is_found_by_its_id_request_session_words_and_trace() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let about = [
        ("x-tidegate-session", "s-one"),
        ("x-tidegate-task", "fix-the-roof"),
        ("traceparent", parent.as_str()),
    ];
    let (other, wanted) = (call(&gateway, &[]), call(&gateway, &about));
    let (other, wanted) = (id(&other), id(&wanted));
    let kept = world.json(&format!("calls {wanted} --json"));
    let request = kept["request_id"].as_str().unwrap().to_owned();
    for filter in [
        wanted.clone(),
        format!("request_id:{request}"),
        "session:s-one".to_owned(),
        "prompt:fix-the-roof".to_owned(),
        "task:fix-the-*".to_owned(),
        "roof".to_owned(),
        format!("trace_id:{TRACE}"),
        format!("not {other}"),
    ] {
        let found = world.said(&format!("logs event:call_settled {filter}"));
        assert_eq!(found.lines().count(), 1, "{filter}: {found}");
        assert!(found.contains(&wanted), "{filter}: {found}");
    }
    assert_eq!(world.said("logs --count event:call_settled"), "2\n");
    until("its task is told of", || {
        let turned = world.said("logs event:task_turned task:fix-the-roof");
        turned.contains("a task is: running")
    });
    for of in [
        TRACE,
        &wanted,
        "session:s-one",
        "prompt:fix-the-roof",
        "s-one",
        "fix-the-roof",
    ] {
        let trace = world.json(&format!("trace {of} --json"));
        let spans = trace["spans"].as_array().unwrap();
        assert_eq!(spans[0]["operation"], "call");
        assert_eq!(spans[0]["parent_span_id"], "b7ad6b7169203331");
        assert!(spans.iter().any(|it| it["operation"] == "first byte"));
    }
    let shown = world.said(&format!("trace {wanted}"));
    assert!(shown.contains("\n  first byte  tidegate"), "{shown}");
    let activity = world.json("activity --by platform --json");
    assert_eq!(activity["activity"][0]["calls"], 2);
    let nothing = world.ask(&format!("trace {}", "f".repeat(32)));
    assert_eq!((nothing.code, nothing.out.as_str()), (1, ""));
    assert!(nothing.err.contains("there is no trace"), "{nothing:?}");
}

#[test]
fn whoever_follows_sees_a_call_as_it_ends() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let mut following = world.start("logs -f --json");
    following.line("\"event\":\"started\"");
    let call = id(&call(&gateway, &[]));
    following.line(&call);
}

#[test]
fn a_filter_that_is_none_is_pointed_at() {
    let world = World::new();
    let answer = world.start_with(&["logs", "level:error (a or"]).end();
    assert_eq!(answer.code, 1);
    let lines: Vec<&str> = answer.err.lines().collect();
    assert_eq!(lines[1], "  level:error (a or");
    assert!(lines[2].trim_end().ends_with('^'), "{answer:?}");
}

#[test]
fn logs_are_written_to_files_that_other_programs_read() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let call = id(&call(&gateway, &[]));
    let export = |name: &str| {
        let file = world.path(name);
        world.said(&format!("logs --export {}", file.display()));
        std::fs::read(file).unwrap()
    };
    let lines = String::from_utf8(export("out.jsonl")).unwrap();
    let ids = lines.lines().map(|line| {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        record["attributes"]["id"].clone()
    });
    // A task's summary or a line of the program's own may stand beside it.
    assert_eq!(ids.filter(|it| *it == call.as_str()).count(), 1, "{lines}");
    let table = String::from_utf8(export("out.csv")).unwrap();
    assert_eq!(table.lines().count(), lines.lines().count() + 1);
    assert!(export("out.parquet").starts_with(b"PAR1"));
    let form = world.ask(&format!(
        "logs --export {}",
        world.path("out.xml").display()
    ));
    assert!(
        form.err.contains("name it .jsonl, .csv or .parquet"),
        "{form:?}"
    );
}

#[test]
fn a_killed_gateway_loses_at_most_the_last_second_of_its_records() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let clock = SystemClock::start();
    let began = clock.monotonic();
    let mut ended = Vec::new();
    let second = std::time::Duration::from_secs(1);
    while clock.monotonic().since(began) < second * 2 {
        let id = id(&call(&gateway, &[]));
        ended.push((clock.monotonic(), id));
    }
    gateway.program.signal(Signal::KILL);
    let killed = clock.monotonic();
    gateway.program.end();
    let _again = world.serve();
    let kept = world.said("calls --limit 1000 --json");
    let mut old = ended.iter().filter(|it| killed.since(it.0) > second);
    assert!(old.clone().count() > 3, "{ended:?}");
    assert!(old.all(|it| kept.contains(&it.1)), "{ended:?} {kept}");
    assert!(world.said("ledger verify").contains("nothing is wrong"));
}

#[test]
fn where_telemetry_cannot_be_kept_calls_go_on_and_it_is_said() {
    let (world, _provider) = World::with_provider();
    std::fs::create_dir_all(world.data()).unwrap();
    let place = world.data().join("telemetry");
    std::fs::write(&place, "no folder").unwrap();
    let gateway = world.serve();
    call(&gateway, &[]);
    until("the doctor says so", || {
        let found = world.ask("doctor");
        found.code == 1 && found.out.contains("nothing is kept of what happens")
    });
    assert!(world.ask("logs").err.contains("tidegate doctor"));
    std::fs::remove_file(&place).unwrap();
    until("it is kept again", || world.ask("logs").code == 0);
    let id = id(&call(&gateway, &[]));
    assert!(world.said("calls").contains(&id));
}

#[test]
fn a_damaged_database_is_set_aside_and_calls_go_on() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    call(&gateway, &[]);
    gateway.program.stop();
    let database = world.data().join("telemetry/telemetry.db");
    std::fs::write(&database, "no database".repeat(1_000)).unwrap();
    let gateway = world.serve();
    let id = id(&call(&gateway, &[]));
    assert!(world.said("calls").contains(&id));
    until("it is said", || {
        world
            .said("logs event:telemetry_damaged")
            .contains("telemetry.db")
    });
    assert!(world.said("doctor").contains("set aside"));
}
