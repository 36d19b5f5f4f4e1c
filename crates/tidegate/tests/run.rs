//! `tidegate run`: programs that are started already governed.

use std::os::unix::fs::PermissionsExt;

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    wire::{OWN_KEY, get, is_complete, message, post, stream},
    world::{Program, World, until},
};

/// Where the program's calls go, by its own environment.
fn base_url(program: &mut Program) -> std::net::SocketAddr {
    let line = program.line("ANTHROPIC_BASE_URL=http://");
    let (_, address) = line.split_once("http://").unwrap();
    address.parse().unwrap()
}

/// Puts a program called `claude` on the machine: it shows its environment, says `ready`, and ends
/// with 7 once it is told something.
fn claude(world: &mut World) -> String {
    let file = world.path("claude");
    std::fs::write(&file, "#!/bin/sh\nenv\necho ready\nread line\nexit 7\n").unwrap();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o700)).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn it_ends_as_its_program_ends() {
    let world = World::new();
    assert_eq!(
        world
            .start_with(&["run", "--", "sh", "-c", "exit 7"])
            .end()
            .code,
        7
    );
    assert_eq!(world.start_with(&["run", "--", "true"]).end().code, 0);
    // As a shell says it: 128 and the signal's number.
    let killed = world
        .start_with(&["run", "--", "sh", "-c", "kill -KILL $$"])
        .end();
    assert_eq!(killed.code, 137, "{killed:?}");
}

#[test]
fn a_gateway_of_its_own_ends_with_its_program() {
    let (world, _provider) = World::with_provider();
    let mut run = world.start_with(&["run", "--", "sh", "-c", "env; echo ready; read line"]);
    let address = base_url(&mut run);
    run.line("ready");
    assert_eq!(get(address, "/healthz", &[]).status, 200);
    let reply = post(
        address,
        "/v1/messages",
        &[OWN_KEY],
        &message("sim:say hello"),
    );
    assert_eq!(reply.status, 200, "{reply:?}");
    // It is a gateway as any: other commands find it.
    assert_eq!(
        world.json("calls --json")["calls"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    run.tell("end");
    assert_eq!(run.end().code, 0);
    assert!(std::net::TcpStream::connect(address).is_err());
    assert_eq!(world.ask("status").code, 1);
    assert!(world.said("ledger verify").contains(", 0 open"));
}

#[test]
fn what_a_program_leaves_open_does_not_keep_its_gateway() {
    let (mut world, _provider) = World::with_provider();
    world.set("TIDEGATE__SERVER__DRAIN", "1s");
    let mut run = world.start_with(&["run", "--", "sh", "-c", "env; echo ready; read line"]);
    let address = base_url(&mut run);
    run.line("ready");
    let endless = "sim:tokens 200 sim:fault stall-mid-stream=2";
    let stream = stream(address, &[OWN_KEY], endless);
    run.tell("end");
    assert_eq!(run.end().code, 0);
    assert!(!is_complete(&stream.end()));
    let verified = world.said("ledger verify");
    assert!(verified.contains("nothing is wrong"), "{verified}");
}

#[test]
fn a_gateway_that_answers_is_used_and_left_running() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let mut run = world.start_with(&["run", "--", "sh", "-c", "env"]);
    assert_eq!(base_url(&mut run), gateway.address);
    assert_eq!(run.end().code, 0);
    assert_eq!(get(gateway.address, "/healthz", &[]).status, 200);
}

#[test]
fn claude_code_is_pointed_at_the_gateway_and_nobody_else_pays() {
    let (mut world, _provider) = World::with_provider();
    world.set("ANTHROPIC_API_KEY", "sk-ant-api03-of-the-user");
    let claude = claude(&mut world);
    let mut run = world.start_with(&["run", "--", &claude]);
    let address = base_url(&mut run);
    run.line("ready");
    run.tell("end");
    let answer = run.end();
    assert_eq!(answer.code, 7);
    let hints = "CLAUDE_CODE_GATEWAY_HINT_HEADERS=1";
    assert!(answer.out.contains(hints), "{}", answer.out);
    assert!(
        answer
            .out
            .contains("ANTHROPIC_API_KEY=sk-ant-api03-of-the-user")
    );
    assert!(
        !answer.out.contains("ANTHROPIC_AUTH_TOKEN"),
        "{}",
        answer.out
    );
    assert!(!answer.out.contains("OPENAI_BASE_URL"), "{}", answer.out);
    let line =
        format!("Claude Code's calls go through http://{address}; its own login or key pays");
    assert!(answer.err.contains(&line), "{}", answer.err);
}

#[test]
fn a_budget_binds_the_run_and_nothing_else() {
    let (mut world, _provider) = World::with_provider();
    world.set("ANTHROPIC_CUSTOM_HEADERS", "x-own: 1");
    let claude = claude(&mut world);
    let gateway = world.serve();
    let mut run = world.start_with(&["run", "--budget", "0.000001", "--", &claude]);
    run.line("ready");
    let limits = get(gateway.address, "/api/v1/limits", &[]).json();
    let is_runs = |it: &&Value| it["scope"].as_str().unwrap().starts_with("task local/run-");
    let limit = limits["budgets"].as_array().unwrap().iter().find(is_runs);
    let scope = limit.unwrap()["scope"].as_str().unwrap();
    let task = scope.strip_prefix("task local/").unwrap().to_owned();
    let within = [OWN_KEY, ("x-tidegate-task", task.as_str())];
    let refused = gateway.call(&within, "sim:say hello");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert_eq!(gateway.call(&[OWN_KEY], "sim:say hello").status, 200);
    run.tell("end");
    let answer = run.end();
    assert_eq!(answer.code, 7);
    let headers = format!("ANTHROPIC_CUSTOM_HEADERS=x-own: 1\nx-tidegate-task: {task}\n");
    assert!(answer.out.contains(&headers), "{}", answer.out);
}

#[test]
fn a_budget_needs_a_program_whose_calls_can_carry_it() {
    let world = World::new();
    let answer = world.ask("run --budget 5 -- true");
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("tidegate keys add"), "{answer:?}");
}

#[test]
fn a_signal_to_stop_is_the_programs_to_answer() {
    let world = World::new();
    // A shell asks for signals between two commands; what it left in the background would outlive it.
    let script = "trap 'echo told; exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut run = world.start_with(&["run", "--", "sh", "-c", script]);
    run.line("ready");
    run.signal(Signal::TERM);
    run.line("told");
    assert_eq!(run.end().code, 9);
}

/// A program that counts its interrupts aloud until it is told to end, and then ends with 7.
const COUNTS: &str = "trap 'echo interrupted' INT; echo ready; while [ \"$line\" != end ]; do read line; done; exit 7";

#[test]
fn an_interrupt_sent_to_it_alone_is_passed_on() {
    let world = World::new();
    // Without a terminal, as below a supervisor.
    let mut run = without_terminal(&world, &["run", "--", "sh", "-c", COUNTS]);
    run.line("ready");
    run.signal(Signal::INT);
    run.line("interrupted");
    run.tell("end");
    assert_eq!(run.end().code, 7);
}

/// Starts `tidegate` in a session of its own, which has no terminal.
fn without_terminal(world: &World, arguments: &[&str]) -> Program {
    let mut command = world.command("setsid");
    command.args(["--wait", env!("CARGO_BIN_EXE_tidegate")]);
    command.args(arguments);
    Program::start(command)
}

#[test]
fn an_interrupt_that_is_typed_reaches_the_program_once() {
    let world = World::new();
    let line = format!(
        "exec {} run -- sh -c '{}'",
        env!("CARGO_BIN_EXE_tidegate"),
        COUNTS.replace('\'', "'\\''")
    );
    let mut command = world.command("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let mut run = Program::start(command);
    run.line("ready");
    // Two signals may meet in one; not each time.
    for _ in 0..12 {
        run.tell("\u{3}");
        run.line("interrupted");
    }
    run.tell("end");
    let answer = run.end();
    assert_eq!(answer.code, 7, "{answer:?}");
    assert_eq!(answer.out.matches("interrupted").count(), 12, "{answer:?}");
}

#[test]
fn calls_that_go_past_the_gateway_are_said_to() {
    let (mut world, _provider) = World::with_provider();
    let claude = claude(&mut world);
    world.set("CLAUDE_CODE_USE_BEDROCK", "1");
    let mut run = world.start_with(&["run", "--", &claude]);
    run.line("ready");
    run.tell("end");
    let answer = run.end();
    assert_eq!(answer.code, 7);
    assert!(!answer.out.contains("ANTHROPIC_BASE_URL"), "{answer:?}");
    let line =
        "calls do NOT go through the gateway: CLAUDE_CODE_USE_BEDROCK sends them to Amazon Bedrock";
    assert!(answer.err.contains(line), "{answer:?}");
    let answer = world.start_with(&["run", "--budget", "5", "--", &claude]);
    let answer = answer.end();
    assert_eq!(answer.code, 1);
    assert!(answer.err.contains("leave --budget out"), "{answer:?}");
}

#[test]
fn a_base_url_of_the_users_own_is_not_replaced() {
    let (mut world, _provider) = World::with_provider();
    let url = "https://me:secret@llm.corp.example/anthropic?key=secret";
    world.set("ANTHROPIC_BASE_URL", url);
    let answer = world.start_with(&["run", "--", "echo", "it ran"]).end();
    assert_eq!(answer.code, 1, "{answer:?}");
    assert_eq!(answer.out, "");
    expect_test::expect![[r#"
        tidegate: `ANTHROPIC_BASE_URL` is `https://llm.corp.example/anthropic`, and calls through the gateway go to `http://ADDRESS`, with the credential that is meant for the former: unset it, or set providers.anthropic.base_url to it and reload the gateway
    "#]].assert_eq(&world.normal(&answer.err));
    // Where the gateway sends them there, the same origin is paid.
    world.set(
        "TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL",
        "https://a.example",
    );
    world.set("ANTHROPIC_BASE_URL", "https://a.example/");
    assert_eq!(world.ask("run -- true").code, 0);
}

/// Claude Code takes what its settings say, whatever its environment was.
#[test]
fn what_claude_codes_settings_say_stands_before_what_is_set() {
    let (mut world, _provider) = World::with_provider();
    let claude = claude(&mut world);
    let gateway = world.serve();
    world.set("TIDEGATE_LISTEN", &gateway.address.to_string());
    let says = |environment: &str| {
        let folder = world.path(".claude");
        std::fs::create_dir_all(&folder).unwrap();
        let settings = format!(r#"{{"env":{environment}}}"#);
        std::fs::write(folder.join("settings.json"), settings).unwrap();
    };
    let refused = |arguments: &[&str]| {
        let arguments = [arguments, &["--", &claude]].concat();
        let answer = world.start_with(&arguments).end();
        assert_eq!((answer.code, answer.out.as_str()), (1, ""), "{answer:?}");
        answer.err
    };
    says(r#"{"ANTHROPIC_BASE_URL":"http://me:secret@127.0.0.1:9"}"#);
    let said = refused(&["run"]);
    assert!(said.contains("`http://127.0.0.1:9` in"), "{said}");
    assert!(said.contains("past the gateway; take it out"), "{said}");
    let doctor = world.ask("doctor");
    assert!(
        doctor.out.contains("whatever `tidegate run` sets"),
        "{doctor:?}"
    );
    let installed = world.ask("claude install");
    assert!(
        installed.err.contains("meant for the former"),
        "{installed:?}"
    );
    says(r#"{"CLAUDE_CODE_USE_VERTEX":1}"#);
    assert!(refused(&["run", "--budget", "5"]).contains("Google Vertex AI"));
    assert!(world.ask("claude install").err.contains("Google Vertex AI"));
    says(&format!(
        r#"{{"ANTHROPIC_BASE_URL":"http://localhost:{}","ANTHROPIC_CUSTOM_HEADERS":"x-own: 1"}}"#,
        gateway.address.port()
    ));
    let said = refused(&["run", "--budget", "5"]);
    assert!(said.contains("leave --budget out"), "{said}");
    let mut run = world.start_with(&["run", "--", &claude]);
    run.line("ready");
    run.tell("end");
    assert_eq!(run.end().code, 7);
}

/// Somebody who only needs a gateway: shows where it is, says `ready`, and ends when told.
const WAITS: [&str; 5] = ["run", "--", "sh", "-c", "env; echo ready; read line"];

/// Waits until nobody listens there.
fn until_gone(address: std::net::SocketAddr) {
    until("the gateway ends", || {
        std::net::TcpStream::connect(address).is_err()
    });
}

#[test]
fn two_runs_share_a_gateway_until_the_second_ends() {
    let (world, _provider) = World::with_provider();
    let mut first = world.start_with(&WAITS);
    let address = base_url(&mut first);
    first.line("ready");
    let mut second = world.start_with(&WAITS);
    assert_eq!(base_url(&mut second), address);
    second.line("ready");
    second.tell("end");
    assert_eq!(second.end().code, 0);
    assert_eq!(get(address, "/healthz", &[]).status, 200);
    first.tell("end");
    assert_eq!(first.end().code, 0);
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn the_gateway_outlives_the_run_that_started_it_while_another_uses_it() {
    let (world, _provider) = World::with_provider();
    let mut first = world.start_with(&WAITS);
    let address = base_url(&mut first);
    first.line("ready");
    let mut second = world.start_with(&WAITS);
    assert_eq!(base_url(&mut second), address);
    second.line("ready");
    first.tell("end");
    assert_eq!(first.end().code, 0);
    let call = || {
        post(
            address,
            "/v1/messages",
            &[OWN_KEY],
            &message("sim:say hello"),
        )
    };
    assert_eq!(call().status, 200);
    second.tell("end");
    assert_eq!(second.end().code, 0);
    until_gone(address);
    until("its books are closed", || {
        world.ask("ledger verify").code == 0
    });
    assert!(world.said("ledger verify").contains(", 0 open"));
}

#[test]
fn no_gateway_outlives_runs_that_were_killed() {
    let (world, _provider) = World::with_provider();
    let mut first = world.start_with(&WAITS);
    let address = base_url(&mut first);
    first.line("ready");
    let mut second = world.start_with(&WAITS);
    second.line("ready");
    first.signal(Signal::KILL);
    assert_eq!(get(address, "/healthz", &[]).status, 200);
    second.signal(Signal::KILL);
    until_gone(address);
    // And whoever comes next starts another.
    let mut third = world.start_with(&WAITS);
    let address = base_url(&mut third);
    third.line("ready");
    assert_eq!(get(address, "/healthz", &[]).status, 200);
    third.tell("end");
    assert_eq!(third.end().code, 0);
}

#[test]
fn runs_that_begin_together_start_one_gateway() {
    let (world, _provider) = World::with_provider();
    let mut runs: Vec<_> = (0..4).map(|_| world.start_with(&WAITS)).collect();
    let addresses: Vec<_> = runs.iter_mut().map(base_url).collect();
    assert!(
        addresses.windows(2).all(|it| it[0] == it[1]),
        "{addresses:?}"
    );
    for mut run in runs {
        run.line("ready");
        run.tell("end");
        assert_eq!(run.end().code, 0);
    }
    until_gone(addresses[0]);
}

#[test]
fn a_gateway_that_cannot_start_says_why_and_nothing_runs() {
    let (mut world, _provider) = World::with_provider();
    world.set("TIDEGATE_LISTEN", "0.0.0.0:0");
    let answer = world.start_with(&["run", "--", "echo", "it ran"]).end();
    assert_eq!(answer.code, 1, "{answer:?}");
    assert!(answer.err.starts_with("tidegate: `listen = "), "{answer:?}");
    assert!(answer.err.contains("tidegate keys add"), "{answer:?}");
    assert_eq!(answer.out, "");
}
