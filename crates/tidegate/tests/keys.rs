//! Keys: who may do what with them, and who can't do without.

use expect_test::expect;
use serde_json::{Value, json};

use crate::{
    wire::{OWN_KEY, get, message, post},
    world::{Gateway, World},
};

/// The operator's own credential.
const OPERATORS: &str = "sk-ant-api03-of-the-operator";

/// A machine whose operator pays.
fn paid() -> (World, crate::world::Program) {
    let (mut world, provider) = World::with_provider();
    world.set("TIDEGATE__PROVIDERS__ANTHROPIC__API_KEY", OPERATORS);
    (world, provider)
}

/// Makes a key: its id and its secret.
fn make(world: &World, line: &str) -> (String, String) {
    let made = world.json(&format!("keys add {line} --json"));
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    (text(&made["key"]["id"]), text(&made["secret"]))
}

fn bearer(secret: &str) -> String {
    format!("Bearer {secret}")
}

/// The status of a call with this key in `x-api-key`.
fn called_with(gateway: &Gateway, secret: &str) -> u16 {
    gateway
        .call(&[("x-api-key", secret)], "sim:say hello")
        .status
}

#[test]
fn a_keys_secret_is_shown_once_and_kept_nowhere() {
    let (world, _provider) = paid();
    let gateway = world.serve();
    let said = world.said("keys add laptop --user ada");
    expect![[r#"
        tg-SECRET
        key_ID acts as ada of local with role caller. This is the only time its secret is shown.
    "#]]
    .assert_eq(&world.normal(&said));
    let secret = said.lines().next().unwrap();
    assert_eq!(called_with(&gateway, secret), 200);
    let listed = world.said("keys list") + &world.said("keys list --json");
    assert!(!listed.contains(secret), "{listed}");
    expect![[r#"
        key  name  user  role  up to  made  state
        key_ID  laptop  ada of local  caller  high  TIME  in force
    "#]]
    .assert_eq(&world.normal(&world.said("keys list")));
    let answer = gateway.program.stop();
    let said = answer.out + &answer.err;
    assert!(!said.contains(secret), "{said}");
    for file in files(&world.data()) {
        let bytes = std::fs::read(&file).unwrap();
        let holds = bytes
            .windows(secret.len())
            .any(|it| it == secret.as_bytes());
        assert!(!holds, "{} holds the secret", file.display());
    }
}

/// All files below a folder.
fn files(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn a_key_works_in_each_of_the_three_headers() {
    let (world, _provider) = paid();
    let gateway = world.serve();
    let (_, secret) = make(&world, "laptop --user ada");
    let bearer = bearer(&secret);
    for headers in [
        vec![("x-api-key", secret.as_str())],
        vec![("authorization", bearer.as_str())],
        vec![("x-tidegate-key", secret.as_str())],
        vec![("x-tidegate-key", secret.as_str()), OWN_KEY],
    ] {
        let reply = gateway.call(&headers, "sim:say hello");
        assert_eq!(reply.status, 200, "{reply:?}");
        let call = reply.header("x-tidegate-call-id").unwrap();
        let call = world.json(&format!("calls {call} --json"));
        assert_eq!(call["user"], "ada");
    }
}

#[test]
fn a_revoked_key_is_refused_at_once() {
    let (world, _provider) = paid();
    let gateway = world.serve();
    let (id, secret) = make(&world, "laptop --user ada");
    assert_eq!(called_with(&gateway, &secret), 200);
    world.said(&format!("keys revoke {id}"));
    assert_eq!(called_with(&gateway, &secret), 401);
    let listed = world.normal(&world.said("keys list"));
    assert!(listed.contains("revoked TIME"), "{listed}");
}

#[test]
fn a_key_of_a_viewer_looks_and_does_not_call() {
    let (world, _provider) = paid();
    let gateway = world.serve();
    let (_, secret) = make(&world, "screen --user ada --role viewer");
    let refused = gateway.call(&[("x-api-key", &secret)], "sim:say hello");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(
        refused.text.contains("may look but not call"),
        "{refused:?}"
    );
    let bearer = bearer(&secret);
    let headers = [("authorization", bearer.as_str())];
    assert_eq!(
        get(gateway.address, "/api/v1/budgets", &headers).status,
        200
    );
    let ask = json!({ "tokens": 1 });
    let admission = post(gateway.address, "/api/v1/admissions", &headers, &ask);
    assert_eq!(admission.status, 403, "{admission:?}");
    let limit = post(gateway.address, "/api/v1/reload", &headers, &json!({}));
    assert_eq!(limit.status, 403, "{limit:?}");
}

#[test]
fn another_keys_reservation_does_not_exist() {
    let (world, _provider) = paid();
    let gateway = world.serve();
    let (_, ada) = make(&world, "a --user ada");
    let (_, bob) = make(&world, "b --user bob");
    let (ada, bob) = (bearer(&ada), bearer(&bob));
    let ask = json!({ "cost_usd": "0.25" });
    let headers = [("authorization", ada.as_str())];
    let admitted = post(gateway.address, "/api/v1/admissions", &headers, &ask).json();
    let id = admitted["reservation"].as_str().unwrap();
    for action in ["settle", "extend", "release"] {
        let path = format!("/api/v1/reservations/{id}/{action}");
        let body = match action {
            "extend" => json!({ "seconds": 60 }),
            _ => json!({}),
        };
        let others = [("authorization", bob.as_str())];
        let refused = post(gateway.address, &path, &others, &body);
        assert_eq!(refused.status, 404, "{action}: {refused:?}");
    }
    let settle = format!("/api/v1/reservations/{id}/settle");
    let settled = post(
        gateway.address,
        &settle,
        &headers,
        &json!({ "cost_usd": "0.10" }),
    );
    assert_eq!(settled.status, 200, "{settled:?}");
    assert_eq!(settled.json()["cost"]["usd"], "0.10");
}

#[test]
fn the_operators_credential_is_spent_without_a_key_only_where_that_is_said() {
    let (mut world, _provider) = paid();
    let gateway = world.serve();
    let refused = gateway.call(&[], "sim:say hello");
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(
        refused.text.contains("local_may_spend = true"),
        "{refused:?}"
    );
    // Who pays for itself may call.
    assert_eq!(gateway.call(&[OWN_KEY], "sim:say hello").status, 200);
    gateway.program.stop();
    world.set("TIDEGATE__PROVIDERS__ANTHROPIC__LOCAL_MAY_SPEND", "true");
    let gateway = world.serve();
    assert_eq!(gateway.call(&[], "sim:say hello").status, 200);
}

#[test]
fn what_other_machines_reach_starts_with_a_key_and_asks_for_one() {
    let (world, _provider) = paid();
    let refused = world.ask("serve --listen 0.0.0.0:0");
    assert_eq!(refused.code, 1, "{refused:?}");
    expect![[r#"
        tidegate: `listen = "0.0.0.0:0"` can be reached by other machines, and there is no key yet: make one first with `tidegate keys add NAME --user USER` (it works while no gateway runs), or listen on 127.0.0.1
    "#]].assert_eq(&world.normal(&refused.err));
    // The remedy that it names works while nothing runs.
    let (_, secret) = make(&world, "laptop --user ada");
    let program = world.start("serve --listen 0.0.0.0:0");
    let mut gateway = Gateway::greeting(program);
    gateway.address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    let keyless = gateway.call(&[OWN_KEY], "sim:say hello");
    assert_eq!(keyless.status, 401, "{keyless:?}");
    assert_eq!(called_with(&gateway, &secret), 200);
    // The operator's own commands go on from this machine.
    assert!(world.said("status").contains("takes calls"));
}

#[test]
fn changes_need_the_token_and_pages_of_other_sites_get_nothing() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let reload = post(gateway.address, "/api/v1/reload", &[], &json!({}));
    assert_eq!(reload.status, 401, "{reload:?}");
    assert_eq!(reload.json()["error"]["code"], "token_needed");
    for foreign in [("origin", "https://evil.example"), ("host", "evil.example")] {
        let status = get(gateway.address, "/api/v1/status", &[foreign]);
        assert_eq!(status.status, 403, "{status:?}");
        let body = message("sim:say hello");
        let call = post(gateway.address, "/v1/messages", &[OWN_KEY, foreign], &body);
        assert!(matches!(call.status, 401 | 403), "{call:?}");
    }
}

#[test]
fn hints_work_as_they_are_printed() {
    let (world, _provider) = paid();
    let data = world.path("my data").display().to_string();
    let refused = world
        .start_with(&["--data", &data, "serve", "--listen", "0.0.0.0:0"])
        .end();
    let hint = format!("`tidegate --data '{data}' keys add NAME --user USER`");
    assert!(refused.err.contains(&hint), "{refused:?}");
    let program = world.start_with(&["--data", &data, "serve", "--listen", "127.0.0.1:0"]);
    let answer = Gateway::greeting(program).program.stop();
    let hint = format!(
        "enforce them with `tidegate --data '{data}' serve --listen 127.0.0.1:0 --enforce`"
    );
    assert!(answer.err.contains(&hint), "{answer:?}");
}

#[test]
fn a_gateway_of_another_folder_is_not_taken_for_that_of_the_folder_that_was_named() {
    let (mut world, _provider) = World::with_provider();
    let gateway = world.serve();
    let served = world.data().display().to_string();
    world.set("TIDEGATE_LISTEN", &gateway.address.to_string());
    let other = world.path("other").display().to_string();
    for line in ["status", "budget", "keys list"] {
        let answer = world.ask(&format!("--data {other} {line}"));
        assert_eq!(answer.code, 1, "{answer:?}");
        let told = format!("serves another data folder than `{other}`, `{served}`");
        assert!(answer.err.contains(&told), "{line}: {answer:?}");
    }
    let doctor = world.ask(&format!("--data {other} doctor"));
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("another data folder"), "{doctor:?}");
    // A run has one of its own.
    let run = world.ask(&format!("--data {other} run -- env"));
    assert_eq!(run.code, 0, "{run:?}");
    let its = format!("ANTHROPIC_BASE_URL=http://{}\n", gateway.address);
    assert!(!run.out.contains(&its), "{run:?}");
}

#[test]
fn a_change_without_the_token_says_which_folder_has_it() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let command = |line: &str| {
        let mut command = world.command(env!("CARGO_BIN_EXE_tidegate"));
        command.env_remove("TIDEGATE_DATA");
        command.env("TIDEGATE_LISTEN", gateway.address.to_string());
        command.args(line.split(' '));
        crate::world::Program::start(command).end()
    };
    // Whoever names no folder may look.
    assert_eq!(command("status").code, 0);
    let refused = command("budget set task 5");
    assert_eq!(refused.code, 1);
    let told = format!(
        "the gateway at {}, `{}`",
        gateway.address,
        world.data().display()
    );
    assert!(refused.err.contains(&told), "{refused:?}");
    // And where the token is gone that is said, by the doctor too.
    std::fs::remove_file(world.data().join("token")).unwrap();
    let refused = world.ask("budget set task 5");
    assert!(
        refused.err.contains("start the gateway anew"),
        "{refused:?}"
    );
    let doctor = world.ask("doctor");
    assert_eq!(doctor.code, 1);
    assert!(doctor.out.contains("no change is taken"), "{doctor:?}");
}
