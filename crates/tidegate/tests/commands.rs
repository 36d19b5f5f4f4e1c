//! What each command says of a gateway, and of none.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use crate::{
    wire::{LOGIN, OWN_KEY, get, post},
    world::{Gateway, World},
};

/// Runs a command to its good end and compares what it says.
#[track_caller]
fn check(world: &World, line: &str, expected: Expect) {
    expected.assert_eq(&world.normal(&world.said(line)));
}

/// A gateway that has passed three calls: one of a key, one of a login, one to `OpenAI`.
fn after_three_calls(world: &World) -> Gateway {
    let gateway = world.serve();
    let session = [
        OWN_KEY,
        ("x-tidegate-session", "s-1"),
        ("x-tidegate-task", "t-1"),
    ];
    assert_eq!(gateway.call(&session, "sim:say hello").status, 200);
    let streamed = gateway
        .stream(&[LOGIN, ("x-tidegate-task", "t-2")], "sim:tokens 50")
        .end();
    assert!(streamed.contains("message_stop"), "{streamed}");
    let chat = json!({
        "model": "gpt-5.1",
        "messages": [{ "role": "user", "content": "sim:say hello" }],
    });
    let own = [
        ("authorization", "Bearer sk-of-nobody"),
        ("x-tidegate-task", "t-3"),
    ];
    let answer = post(gateway.address, "/v1/chat/completions", &own, &chat);
    assert_eq!(answer.status, 200, "{answer:?}");
    gateway
}

#[test]
fn a_fresh_gateway_shows_its_limits_and_finds_nothing_wrong() {
    let (world, _provider) = World::with_provider();
    let _gateway = world.serve();
    check(
        &world,
        "status",
        expect![[r#"
            tidegate 0.1.0 at http://ADDRESS, takes calls, the ledger is writable

            bucket  left  of  counts  held  guarded  full in  does
            claude_code.units  5,000  5,000  units  0  3,000  now  enforce with a key
            sonnet.units  10,000  10,000  units  0  7,000  now  enforce with a key

            only watched for calls without a key: claude_code.units, sonnet.units, quotas.user, organisation, user_month, user_day, llm, tools, infrastructure, task
            enforce them with `tidegate serve --enforce`

            open reservations: 0
        "#]],
    );
    check(
        &world,
        "prices claude-opus-5-5",
        expect![[r#"
        dollars per million tokens
        provider  model  input  read  write 5m  write 1h  output  context  table
        anthropic  claude-opus-5-5  4  0.2  5  8  20  1,000,000  anthropic-2026-11-21
    "#]],
    );
    check(
        &world,
        "doctor",
        expect![[r#"
            what  state  detail
            configuration  fine  built in
            data folder  fine  HOME/data
            local token  fine  only its owner may read it
            gateway  fine  answers at ADDRESS
            ledger  fine  can be written
            telemetry  fine  56.1 KiB
            credential  fine  anthropic: each caller's own is forwarded
            credential  fine  openai: each caller's own is forwarded
            limits  note  only watched for calls without a key: claude_code.units, sonnet.units, quotas.user, organisation, user_month, user_day, llm, tools, infrastructure, task; enforce them with `tidegate serve --enforce`
        "#]],
    );
}

#[test]
fn tasks_appear_are_created_and_end() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let run = |line: &str| world.said(line);
    let created = run("task create fix-1 --type bugfix --priority low --cost 0.5 --note soon");
    assert_eq!(created, "task fix-1 is pending\n");
    run("task create tests --parent fix-1");
    let named = [OWN_KEY, ("x-tidegate-task", "tests")];
    assert_eq!(gateway.call(&named, "sim:say hello").status, 200);
    assert_eq!(
        run("task progress tests 40"),
        "task tests is running, 40 %\n"
    );
    let tree: Value = serde_json::from_str(&run("task show fix-1 --json")).unwrap();
    assert_eq!(tree["task"]["tree"]["calls"], 1);
    assert_eq!(tree["task"]["own"]["calls"], 0);
    assert_eq!(tree["below"][0]["task"], "tests");
    let calls: Value = serde_json::from_str(&run("calls --json")).unwrap();
    assert_eq!(calls["calls"][0]["root_task"], "fix-1");
    assert_eq!(calls["calls"][0]["priority"], "low");
    assert_eq!(run("task complete tests"), "task tests is completed\n");
    assert_eq!(run("task cancel fix-1"), "task fix-1 is cancelled\n");
    let refused = gateway.call(&named, "sim:say hello");
    assert_eq!(refused.status, 400, "{refused:?}");
    assert!(
        format!("{refused:?}").contains("was cancelled"),
        "{refused:?}"
    );
    let list = run("task --all");
    assert!(list.contains("fix-1") && list.contains("  tests"), "{list}");
    // What somebody said of a task is kept at once, also where the gateway is killed.
    let before = run("task show fix-1 --json");
    drop(gateway);
    let _again = world.serve();
    assert_eq!(run("task show fix-1 --json"), before);
}

#[test]
fn quotas_and_the_live_view_are_printed() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let named = [OWN_KEY, ("x-tidegate-task", "t")];
    assert_eq!(gateway.call(&named, "sim:say hello").status, 200);
    let quotas: Value = serde_json::from_str(&world.said("quota --json")).unwrap();
    let all = quotas["quotas"].as_array().unwrap();
    let calls = all.iter().find(|it| it["kind"] == "tasks_per_day").unwrap();
    assert_eq!(calls["of"], "local");
    assert_eq!((&calls["used"], &calls["left"]), (&json!(1), &json!(999)));
    assert!(calls["free_in_seconds"].as_u64().unwrap() <= 90_000);
    let told = world.said("quota --user local");
    assert!(told.contains("calls with a key (built in)"), "{told}");
    let frame = world.said("top");
    assert!(frame.contains("sonnet.units"), "{frame}");
    assert!(frame.contains("no call runs"), "{frame}");
}

#[test]
fn lists_of_a_fresh_gateway_say_that_they_are_empty() {
    let (world, _provider) = World::with_provider();
    let _gateway = world.serve();
    check(
        &world,
        "calls",
        expect![[r#"
        no call is recorded
    "#]],
    );
    check(
        &world,
        "budget",
        expect![[r#"
        nothing is spent or held yet
    "#]],
    );
    check(
        &world,
        "keys list",
        expect![[r#"
        there are no keys; make one with `tidegate keys add NAME --user USER`
    "#]],
    );
    check(
        &world,
        "ledger unknown",
        expect![[r#"
        no reservation is open
    "#]],
    );
    check(
        &world,
        "queue",
        expect![[r#"
        no call waits
    "#]],
    );
    check(
        &world,
        "approvals",
        expect![[r#"
        nothing waits for approval
    "#]],
    );
    check(
        &world,
        "ledger verify",
        expect![[r#"
            rows: 1, reservations: 0, 0 open that hold $0.00
            head HASH
            nothing is wrong
        "#]],
    );
}

#[test]
fn calls_and_what_they_cost_are_shown() {
    let (world, _provider) = World::with_provider();
    let _gateway = after_three_calls(&world);
    check(
        &world,
        "calls",
        expect![[r#"
        call  at  user  platform  model  outcome  in  out  cost  took
        call_ID  TIME  local  openai  gpt-5.1  answered  12  2  $0.000035  N ms
        call_ID  TIME  local  claude_code  claude-opus-5-5  answered  11  50  ($0.001044)  N ms
        call_ID  TIME  local  sonnet  claude-opus-5-5  answered  11  2  $0.000084  N ms
    "#]],
    );
    check(
        &world,
        "budget",
        expect![[r#"
            budget  spent  not charged  held  limit  left  does  would refuse  resets
            organisation local, month  $0.000119  $0.001044  $0.00  $10000.00  $9999.999881  enforce with a key  TIME
              llm, month  $0.000119  $0.001044  $0.00  $7000.00  $6999.999881  enforce with a key  TIME
              user local, month  $0.000119  $0.001044  $0.00  $500.00  $499.999881  enforce with a key  TIME
              day  $0.000119  $0.001044  $0.00  $20.00  $19.999881  enforce with a key  TIME
              task t-1  $0.000084  $0.00  $5.00  $4.999916  enforce with a key  never
              task t-2  $0.00  $0.001044  $0.00  $5.00  $5.00  enforce with a key  never
              task t-3  $0.000035  $0.00  $5.00  $4.999965  enforce with a key  never

            enforcing them would have refused nothing
        "#]],
    );
    check(
        &world,
        "ledger verify",
        expect![[r#"
            rows: 7, reservations: 3, 0 open that hold $0.00
            head HASH
            nothing is wrong
        "#]],
    );
}

#[test]
fn one_call_is_shown_with_every_figure_and_the_ledger_row_by_row() {
    let (world, _provider) = World::with_provider();
    let _gateway = after_three_calls(&world);
    let newest = world.json("calls --task t-2 --json");
    let id = newest["calls"][0]["id"].as_str().unwrap();
    check(
        &world,
        &format!("calls {id}"),
        expect![[r#"
        call  call_ID
        at  TIME
        outcome  answered, status 200
        user  local of local
        key  none
        task  t-2
        root task  t-2
        class and priority  unknown, high
        platform  claude_code (anthropic)
        model  claude-opus-5-5
        request  anthropic /v1/messages, 114 bytes
        answer  1,918 bytes, streamed
        provider's id  req_ID
        input  11 tokens
        output  50 tokens
        cost  $0.00
        list price  $0.001044
        expected, held  $0.00, $0.00
        price table  anthropic-2026-11-21
        reservation  resv_ID
        took (µs) N
        we added (µs) N
        trace  TRACE
    "#]],
    );
    let rows = world.said("ledger export");
    let rows: Vec<Value> = rows
        .lines()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let places: Vec<u64> = rows.iter().map(|it| it["seq"].as_u64().unwrap()).collect();
    assert_eq!(places, (1..=rows.len() as u64).collect::<Vec<_>>());
}

#[test]
fn what_is_printed_to_a_reader_that_has_enough_ends_quietly() {
    let (world, _provider) = World::with_provider();
    let _gateway = after_three_calls(&world);
    for line in ["ledger export", "prices", "logs --follow"] {
        // Gone before the first byte.
        let mut command = world.command("sh");
        let shell = format!(
            "{{ {} {line}; echo \"code $?\" >&2; }} | exec 0<&-",
            env!("CARGO_BIN_EXE_tidegate")
        );
        command.args(["-c", &shell]);
        let answer = crate::world::Program::start(command).end();
        assert_eq!(
            answer.err.lines().next(),
            Some("code 0"),
            "{line}: {answer:?}"
        );
    }
}

#[test]
fn calls_are_found_by_session_task_user_and_time() {
    let (world, _provider) = World::with_provider();
    let _gateway = after_three_calls(&world);
    let found = |filter: &str| {
        let calls = world.json(&format!("calls --json {filter}"));
        calls["calls"].as_array().unwrap().len()
    };
    assert_eq!(found(""), 3);
    assert_eq!(found("--session s-1"), 1);
    assert_eq!(found("--task t-2"), 1);
    assert_eq!(found("--user local"), 3);
    assert_eq!(found("--user somebody"), 0);
    assert_eq!(found("--since 1h"), 3);
    assert_eq!(found("--since 2050-01-01T00:00:00Z"), 0);
    let first = world.json("calls --json --limit 1");
    let next = first["next"].as_str().unwrap();
    assert_eq!(found(&format!("--before {next}")), 2);
    let shown = world.said("calls --limit 1");
    assert!(
        shown.contains(&format!("`tidegate calls --before {next}`")),
        "{shown}"
    );
}

#[test]
fn json_is_the_apis_own_answer() {
    let (world, _provider) = World::with_provider();
    let gateway = after_three_calls(&world);
    let bearer = format!("Bearer {}", world.token());
    let token = [("authorization", bearer.as_str())];
    for (line, path) in [
        ("calls --json", "/api/v1/calls?limit=20"),
        ("budget --json", "/api/v1/budgets"),
        ("keys list --json", "/api/v1/keys"),
        ("ledger unknown --json", "/api/v1/reservations"),
        ("prices --json", "/api/v1/prices"),
    ] {
        let answer = get(gateway.address, path, &token);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(world.json(line), answer.json(), "{line}");
    }
    // Its buckets refill between two questions.
    let names = |it: &Value| it.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let status = get(gateway.address, "/api/v1/status", &token).json();
    assert_eq!(names(&world.json("status --json")), names(&status));
    let verified = post(gateway.address, "/api/v1/ledger/verify", &token, &json!({}));
    assert_eq!(world.json("ledger verify --json"), verified.json());
}

#[test]
fn a_limit_that_is_set_binds_at_once_and_outlives_the_gateway() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    assert_eq!(gateway.call(&[OWN_KEY], "sim:say hello").status, 200);
    check(
        &world,
        "budget set task 0.000001",
        expect![[r#"
            task of everybody: $0.000001: enforce
            before: $5.00, soft $1.00: enforce with a key
        "#]],
    );
    let refused = gateway.call(&[OWN_KEY], "sim:say hello");
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.text.contains("budget `task`"), "{refused:?}");
    gateway.program.stop();
    let gateway = world.serve();
    assert_eq!(gateway.call(&[OWN_KEY], "sim:say hello").status, 429);
    check(
        &world,
        "budget set task 100 --soft none --watch",
        expect![[r#"
            task of everybody: $100.00: watch
            before: $0.000001: enforce
        "#]],
    );
    assert_eq!(gateway.call(&[OWN_KEY], "sim:say hello").status, 200);
    check(
        &world,
        "budget set user_day 7 --soft 2 --overage true --user ada",
        expect![[r#"
            user_day of user local/ada: $7.00, soft $2.00, may be passed with a warning: enforce
            before: $20.00: enforce with a key
        "#]],
    );
    let status = world.normal(&world.said("status"));
    assert!(
        status.contains("only watched for everyone, as somebody said: task\n"),
        "{status}"
    );
}

#[test]
fn what_watched_limits_would_have_refused_is_counted() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    world.said("budget set task 0.000001 --watch");
    let watched = gateway.call(&[OWN_KEY, ("x-tidegate-task", "t-1")], "sim:say hello");
    assert_eq!(watched.status, 200);
    assert_eq!(watched.header("x-tidegate-would-refuse"), Some("task"));
    check(
        &world,
        "budget --task t-1",
        expect![[r#"
            budget  spent  not charged  held  limit  left  does  would refuse  resets
              task t-1  $0.000084  $0.00  $0.000001  $0.00  watch  1  never

            enforcing would have refused at least 1 call, by task
            enforce all limits with `tidegate serve --enforce`, or one with `tidegate budget set LEVEL`
        "#]],
    );
}

#[test]
fn an_admission_is_listed_and_can_be_settled_by_hand() {
    let (world, _provider) = World::with_provider();
    let gateway = world.serve();
    let ask = json!({ "cost_usd": "0.25", "task": "t-1" });
    let admitted = post(gateway.address, "/api/v1/admissions", &[], &ask).json();
    let id = admitted["reservation"].as_str().unwrap();
    check(
        &world,
        "ledger unknown",
        expect![[r#"
        reservation  user  task  held  state
        resv_ID  local of local  t-1  $0.25  open until TIME
    "#]],
    );
    check(
        &world,
        &format!("ledger settle {id} 0.10"),
        expect![[r#"
            resv_ID is settled at $0.10
        "#]],
    );
    let again = world.ask(&format!("ledger settle {id} 0.10"));
    assert_eq!(again.code, 1);
    expect![[r#"
        tidegate: there is no open reservation resv_ID: it has ended, or never was
          where it was settled at an estimate, an operator corrects it with `tidegate ledger correct RESERVATION COST`
    "#]]
    .assert_eq(&world.normal(&again.err));
}

#[test]
fn wrong_usage_exits_with_2_and_shows_what_is_right() {
    let world = World::new();
    for (line, hint) in [
        ("", "Usage: tidegate"),
        ("srve", "'serve'"),
        ("calls --limit 0", "1..=1000"),
        ("calls --since yesterday", "15m"),
        ("calls resv_0000000000000001", "call_"),
        ("budget set task five", "not an amount in dollars"),
        ("budget set year 5", "user_month"),
        ("keys add laptop", "--user"),
        ("keys add laptop --user ada --role boss", "operator"),
        ("run claude", "--"),
        ("sim provider --listen nowhere", "nowhere"),
    ] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 2, "`tidegate {line}`: {answer:?}");
        assert!(
            answer.err.contains(hint),
            "`tidegate {line}`: {}",
            answer.err
        );
        assert_eq!(answer.out, "", "`tidegate {line}`");
    }
}

#[test]
fn what_cannot_be_done_exits_with_1_and_says_why() {
    let (world, _provider) = World::with_provider();
    let _gateway = world.serve();
    for (line, why) in [
        ("calls call_0000000000000001", "there is no call"),
        (
            "keys revoke key_0000000000000001",
            "there is no key in force",
        ),
        ("budget set task 1 --soft 2", "up to the hard limit, $1.00"),
        (
            "budget set llm 1 --user ada",
            "is a level of an organisation",
        ),
        (
            "ledger settle resv_0000000000000001 1",
            "no open reservation",
        ),
        (
            "keys add x --user a --default-priority critical",
            "--highest-priority",
        ),
        ("queue cancel call_0000000000000001", "does not wait"),
        ("queue promote call_0000000000000001", "does not wait"),
        ("approve appr_0000000000000001", "there is no open request"),
        ("deny appr_0000000000000001", "there is no open request"),
        ("run -- no-such-program", "is it installed"),
    ] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 1, "`tidegate {line}`: {answer:?}");
        assert!(
            answer.err.contains(why),
            "`tidegate {line}`: {}",
            answer.err
        );
    }
}

#[test]
fn without_a_gateway_commands_say_how_to_start_one() {
    let world = World::new();
    // A port that nobody has: ours, given back.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut world = world;
    world.set("TIDEGATE_LISTEN", &free.local_addr().unwrap().to_string());
    drop(free);
    for line in [
        "status",
        "calls",
        "budget",
        "ledger unknown",
        "budget set task 5",
    ] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 1, "{line}");
        assert!(
            answer.err.contains("start one with `tidegate serve`"),
            "{answer:?}"
        );
    }
    let verify = world.ask("ledger verify");
    assert_eq!(verify.code, 1);
    assert!(verify.err.contains("there is no ledger in"), "{verify:?}");
    check(
        &world,
        "doctor",
        expect![[r#"
            what  state  detail
            configuration  fine  built in
            data folder  note  `HOME/data` will be made by the first `tidegate serve`
            local token  note  `tidegate serve` will write one
            gateway  note  none runs at ADDRESS; start one with `tidegate serve`
            credential  fine  anthropic: each caller's own is forwarded
            credential  fine  openai: each caller's own is forwarded
            limits  note  only watched for calls without a key: organisation, user_month, user_day, llm, tools, infrastructure, task, quotas.user, claude_code.units, sonnet.units; enforce them with `tidegate serve --enforce`
        "#]],
    );
}

#[test]
fn another_program_on_the_port_is_not_taken_for_a_gateway() {
    let mut world = World::new();
    // The emulated provider speaks HTTP, and is no gateway.
    let (_provider, address) = world.provider();
    world.set("TIDEGATE_LISTEN", &address);
    let status = world.ask("status");
    assert_eq!(status.code, 1);
    assert!(status.err.contains("no gateway at all"), "{status:?}");
    let mut child = world.start("run -- env");
    let url = child.line("ANTHROPIC_BASE_URL=");
    assert!(!url.contains(&address), "{url}");
}

#[test]
fn the_generated_documents_are_printed() {
    let world = World::new();
    let openapi: Value = world.json("reference openapi");
    assert_eq!(openapi["openapi"], "3.1.0");
    for (line, text) in [
        ("reference metrics", "tidegate_gateway_ended_calls_total"),
        ("reference configuration", "budgets.task"),
    ] {
        let said = world.said(line);
        assert!(said.contains(text), "{line}: {said}");
    }
}
