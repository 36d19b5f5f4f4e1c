use std::collections::BTreeMap;

use clap::CommandFactory as _;
use expect_test::{Expect, expect};

use tidegate_observe::{
    calls::{CallRecord, Outcome},
    overspend::{Cause, Overspend, Share},
};
use tidegate_types::{CallId, Timestamp, Tokens, Usage};

use super::*;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

/// Shows a text as a terminal without colours would.
#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&table::for_reader(text, false));
}

#[test]
fn the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_right() {
    for line in [
        "tidegate",
        "tidegate srve",
        "tidegate calls resv_0000000000000001",
        "tidegate budget set day 5",
        "tidegate budget set task five",
        "tidegate keys add laptop",
        "tidegate run claude",
        "tidegate sim provider --bench --unlimited",
        "tidegate calls --limit 0",
        "tidegate calls --since yesterday",
        "tidegate calls --since 5",
        "tidegate budget --user ada set task 5",
        "tidegate keys add x\u{7} --user ada",
        "tidegate keys revoke laptop",
        "tidegate ledger settle resv_0000000000000001 -- -5",
    ] {
        let error = parse(line).expect_err(line);
        assert_eq!(error.exit_code(), 2, "{line}");
    }
    let error = parse("tidegate budget set task five")
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("`five` is not an amount in dollars"),
        "{error}"
    );
}

#[test]
fn everything_after_two_dashes_is_the_programs() {
    let cli = parse("tidegate run --budget 5 -- claude -p hello --json").unwrap();
    let Command::Run(run) = cli.command else {
        panic!("not run")
    };
    assert_eq!(run.program, ["claude", "-p", "hello", "--json"]);
    assert_eq!(run.budget, Some(NanoUsd::from_usd(5)));
}

#[test]
fn options_of_serve_are_sources_of_the_configuration() {
    let cli = parse("tidegate serve --listen 127.0.0.1:1 --enforce --data /d --config /c").unwrap();
    let sources = cli.sources();
    assert_eq!(sources.listen.as_deref(), Some("127.0.0.1:1"));
    assert_eq!(sources.data, Some("/d".into()));
    assert_eq!(sources.file, Some("/c".into()));
    assert!(sources.enforce);
}

#[test]
fn columns_are_as_wide_as_they_must_be_and_colours_can_be_taken_away() {
    let mut it = table::Table::new(&["name", ">amount", "note"]);
    it.row(["a".to_owned(), "1".to_owned(), String::new()]);
    it.row([
        "longer".to_owned(),
        table::toned("1,000", table::Tone::Bad),
        "x".to_owned(),
    ]);
    check(
        &it.show(),
        expect![[r#"
            name    amount  note
            a            1
            longer   1,000  x
        "#]],
    );
    let coloured = table::for_reader(&it.show(), true);
    assert!(
        coloured.contains("\u{1b}[31m1,000\u{1b}[0m"),
        "{coloured:?}"
    );
}

#[test]
fn a_name_from_outside_cannot_paint_the_terminal() {
    let evil = "a\u{1b}[31m\u{e003}b\r\nc";
    assert_eq!(table::plain(evil), "a[31mbc");
    assert_eq!(
        table::for_reader(&table::toned(evil, table::Tone::Good), false),
        "a[31mbc"
    );
}

#[test]
fn numbers_are_grouped_by_thousands() {
    let shown: Vec<String> = [0_i64, 999, 1_000, 1_234_567, -1_000]
        .map(table::grouped)
        .into();
    assert_eq!(shown, ["0", "999", "1,000", "1,234,567", "-1,000"]);
}

/// A status as the API gives it, with these fields of it.
fn status(fields: serde_json::Value) -> tidegate_control::wire::Status {
    let mut all = serde_json::json!({
        "version": "0.1.0", "ready": true, "reasons": [], "platforms": [], "limits": [],
        "watched": { "limits": [], "enforce_with": "tidegate serve --enforce" },
        "open_reservations": 0, "unknown_reservations": 0, "dropped_reservations": 0,
        "shed_records": 0, "a_field_of_a_later_version": 1,
    });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    serde_json::from_value(all).unwrap()
}

fn bucket(name: &str, resource: &str, fields: serde_json::Value) -> serde_json::Value {
    let mut all = serde_json::json!({
        "name": name, "resource": resource, "owner": "ours", "keyless": "watch",
        "asking": "enforce", "threshold": 0, "held": 0, "debt": 0, "overdrawn": 0,
        "debt_total": 0, "full_in_seconds": null, "classes": [],
    });
    for (name, value) in fields.as_object().unwrap() {
        all[name] = value.clone();
    }
    all
}

#[test]
fn status_shows_buckets_and_names_what_only_watches() {
    let units = serde_json::json!({
        "capacity": 10_000, "level": 6_500, "threshold": 7_000, "held": 12,
        "full_in_seconds": 63_000,
    });
    let day = serde_json::json!({
        "capacity": 20_000_000_000_u64, "level": -1_500_000_000, "full_in_seconds": 90,
        "keyless": "enforce",
    });
    let slots = serde_json::json!({
        "capacity": 10, "level": 9, "held": 1, "keyless": "watch", "asking": "watch",
    });
    let status = status(serde_json::json!({
        "open_reservations": 2,
        "platforms": [{
            "platform": "sonnet",
            "buckets": [
                bucket("units", "units", units),
                bucket("day", "nano_usd", day),
                bucket("slots", "concurrency", slots),
            ],
            "penalties": [
                { "organisation": "acme", "user": "ada", "left_seconds": 600 },
                { "priority": "low", "left_seconds": 5 },
            ],
        }],
        "limits": [
            { "limit": "sonnet.units", "keyless": "watch", "asking": "enforce" },
            { "limit": "sonnet.slots", "keyless": "watch", "asking": "watch" },
            { "limit": "task", "keyless": "enforce", "asking": "enforce" },
        ],
    }));
    check(
        &status::show(&status, "127.0.0.1:8787"),
        expect![[r#"
        tidegate 0.1.0 at http://127.0.0.1:8787, takes calls, the ledger is writable

        bucket          left      of  counts        held  guarded  full in      does
        sonnet.units   6,500  10,000  units           12    7,000  17 h 30 min  enforce with a key
        sonnet.day    -$1.50  $20.00  dollars      $0.00    $0.00  1 min 30 s   enforce
        sonnet.slots       9      10  concurrency      1        0               watch
        acme/ada refills at half speed on sonnet for 10 min 0 s
        the class low refills at half speed on sonnet for 5 s

        only watched for calls without a key: sonnet.units
        enforce them with `tidegate serve --enforce`
        only watched for everyone, as somebody said: sonnet.slots

        open reservations: 2
    "#]],
    );
}

#[test]
fn what_is_wrong_is_said_first_with_what_to_do() {
    let status = status(serde_json::json!({
        "ready": false,
        "reasons": [{ "code": "ledger_unwritable", "message": "the ledger can't be written" }],
        "store_says": "`state.db`: no space left on device",
        "open_reservations": 3, "unknown_reservations": 2, "dropped_reservations": 1,
        "shed_records": 1_000,
    }));
    check(
        &status::show(&status, "127.0.0.1:8787"),
        expect![[r#"
        tidegate 0.1.0 at http://127.0.0.1:8787
        NOT READY: the ledger can't be written
          the store says: `state.db`: no space left on device
          what to do: free space in the data folder, or make it writable: calls go on by themselves then

        no platform has buckets

        all limits are enforced for everyone

        open reservations: 3
        of them left unknown by a crash: 2 (`tidegate ledger unknown` lists them, `tidegate ledger settle` ends one)
        reservations dropped unsettled: 1: a defect of Tidegate, please report it with the log
        records of calls that were not kept: 1,000 (the ledger has what they cost; the disk is too slow or full)
    "#]],
    );
}

/// A budget as the API gives it: 5 $ of hard limit.
fn budget(level: &str, user: Option<&str>, task: Option<&str>, spent: u64) -> serde_json::Value {
    let money = |nanos: u64| {
        let usd = NanoUsd(nanos).to_string();
        serde_json::json!({ "usd": usd.trim_start_matches('$'), "nano_usd": nanos })
    };
    let window = task.is_none().then(|| {
        serde_json::json!({ "opens": "2026-11-01", "starts_at": "2026-11-01T00:00:00Z",
            "ends_at": "2026-12-01T00:00:00Z" })
    });
    let hard = 5_000_000_000;
    serde_json::json!({
        "level": level, "organisation": "acme", "user": user, "task": task, "window": window,
        "limit": { "soft": null, "hard": money(hard), "overage_allowed": false, "named": false,
            "keyless": "watch", "asking": "enforce" },
        "spent": money(spent), "held": money(1_000_000), "notional": money(spent),
        "left": money(hard - spent), "would_refuse": u64::from(spent == hard),
        "soft_passed": spent > 4_000_000_000, "in_use": true,
    })
}

fn budgets(all: &[serde_json::Value], more: u64) -> tidegate_control::wire::Budgets {
    serde_json::from_value(serde_json::json!({ "budgets": all, "more": more })).unwrap()
}

#[test]
fn budgets_are_a_tree_and_say_what_enforcing_would_have_done() {
    let all = [
        budget("organisation", None, None, 6_488_000),
        budget("llm", None, None, 6_488_000),
        budget("user_month", Some("ada"), None, 0),
        budget("user_day", Some("ada"), None, 0),
        budget("task", Some("ada"), Some("t-0"), 5_000_000_000),
        budget("task", Some("ada"), Some("t-1"), 4_500_000_000),
    ];
    check(
        &budget::show(&budgets(&all, 3)),
        expect![[r#"
            budget                        spent  not charged    held  limit       left  does                would refuse  resets
            organisation acme, month  $0.006488    $0.006488  $0.001  $5.00  $4.993512  enforce with a key                2026-12-01T00:00:00Z
              llm, month              $0.006488    $0.006488  $0.001  $5.00  $4.993512  enforce with a key                2026-12-01T00:00:00Z
              user ada, month             $0.00               $0.001  $5.00      $5.00  enforce with a key                2026-12-01T00:00:00Z
                day                       $0.00               $0.001  $5.00      $5.00  enforce with a key                2026-12-01T00:00:00Z
                task t-0                  $5.00        $5.00  $0.001  $5.00      $0.00  enforce with a key             1  never
                task t-1                  $4.50        $4.50  $0.001  $5.00      $0.50  enforce with a key                never
            3 more tasks are only in the ledger; `tidegate budget --task TASK` shows one

            passed their soft limit: task t-0, task t-1

            enforcing would have refused at least 1 call, by task
            enforce all limits with `tidegate serve --enforce`, or one with `tidegate budget set LEVEL`
        "#]],
    );
    check(
        &budget::show(&budgets(&all[..2], 0)),
        expect![[r#"
            budget                        spent  not charged    held  limit       left  does                would refuse  resets
            organisation acme, month  $0.006488    $0.006488  $0.001  $5.00  $4.993512  enforce with a key                2026-12-01T00:00:00Z
              llm, month              $0.006488    $0.006488  $0.001  $5.00  $4.993512  enforce with a key                2026-12-01T00:00:00Z

            enforcing them would have refused nothing
        "#]],
    );
    check(
        &budget::show(&budgets(&[], 0)),
        expect![[r#"
        nothing is spent or held yet
    "#]],
    );
}

fn call() -> CallRecord {
    let mut call = CallRecord::arrived(
        CallId::from_raw(1),
        Timestamp::from_seconds(1_795_255_200),
        "anthropic_messages",
    );
    call.organisation = "acme".into();
    call.user = "ada".into();
    call.platform = "sonnet".into();
    call.provider = "anthropic".into();
    call.path = "/v1/messages".into();
    call.model_asked = "claude-opus-5-5".into();
    call.model_sent = call.model_asked.clone();
    call.outcome = Outcome::Answered;
    call.status = 200;
    call.stream = true;
    call.usage = Some(Usage {
        input: Tokens(12),
        cache_read: Tokens(120_000),
        output: Tokens(700),
        ..Usage::default()
    });
    call.cost = NanoUsd(6_488_000);
    call.bound = NanoUsd(90_000_000);
    call.phases.reserve = 3;
    call.phases.first_byte = 900_000;
    call.phases.stream = 2_000_000;
    call
}

#[test]
fn calls_show_outcome_use_and_cost() {
    let mut refused = call();
    refused.id = CallId::from_raw(2);
    refused.outcome = Outcome::Refused {
        limit: "user_day".into(),
    };
    refused.usage = None;
    refused.cost = NanoUsd::ZERO;
    let mut subscription = call();
    subscription.cost = NanoUsd::ZERO;
    subscription.notional = NanoUsd(6_488_000);
    subscription.estimated = true;
    subscription.would_refuse = vec!["task".into()];
    check(
        &calls::show([&call(), &refused, &subscription]),
        expect![[r#"
            call                   at                    user  platform  model            outcome                           in  out          cost      took
            call_0000000000000001  2026-11-21T10:00:00Z  ada   sonnet    claude-opus-5-5  answered                     120,012  700     $0.006488  2,900 ms
            call_0000000000000002  2026-11-21T10:00:00Z  ada   sonnet    claude-opus-5-5  refused by user_day                0    0         $0.00  2,900 ms
            call_0000000000000001  2026-11-21T10:00:00Z  ada   sonnet    claude-opus-5-5  answered, task would refuse  120,012  700  ≈($0.006488)  2,900 ms
        "#]],
    );
    check(
        &calls::show([]),
        expect![[r#"
        no call is recorded
    "#]],
    );
}

#[test]
fn a_call_that_cost_far_more_than_expected_is_shown_with_why() {
    let mut call = call();
    let expected_usage = Usage {
        input: Tokens(12),
        cache_read: Tokens(120_000),
        output: Tokens(300),
        ..Usage::default()
    };
    let share = |cause, nano_usd| Share { cause, nano_usd };
    call.overspend = Some(Box::new(Overspend {
        expected: NanoUsd(20_000_000),
        cost: NanoUsd(52_000_000),
        expected_usage,
        shares: vec![
            share(Cause::Output, 40_000_000),
            share(Cause::Input, -8_000_000),
        ],
    }));
    let shown = calls::show_one(&call);
    let from = shown.find("overspent").unwrap();
    let to = shown.find("took").unwrap();
    check(
        &shown[from..to],
        expect![[r#"
            overspent           $0.032 above the $0.02 expected
              output            +$0.04, a longer answer
              input             -$0.008, less than expected
              output            700 tokens, expected were 300
        "#]],
    );
}

#[test]
fn one_call_is_shown_with_every_figure() {
    let mut call = call();
    call.session = Some("s-1".into());
    call.task = Some("t-2".into());
    call.root_task = Some("t-1".into());
    call.max_tokens_asked = Some(Tokens(64_000));
    call.max_tokens_sent = Some(Tokens(32_000));
    call.warnings = vec!["the task's soft limit of $1.00 is passed".into()];
    call.price_known = true;
    call.price_version = "2026-11-01".into();
    check(
        &calls::show_one(&call),
        expect![[r#"
        call                call_0000000000000001
        at                  2026-11-21T10:00:00.000000Z
        outcome             answered, status 200
        user                ada of acme
        key                 none
        session             s-1
        task                t-2
        root task           t-1
        class and priority  unknown, high
        platform            sonnet (anthropic)
        model               claude-opus-5-5
        request             anthropic_messages /v1/messages, 0 bytes
        answer              0 bytes, streamed
        input               12 tokens
        cache read          120,000 tokens
        output              700 tokens
        output cap          32,000, asked for 64,000
        cost                $0.006488
        expected, held      $0.00, $0.09
        price table         2026-11-01
        took (µs)           2,900,003: reserve 3, first byte 900,000, stream 2,000,000
        we added (µs)       3
        warning             the task's soft limit of $1.00 is passed
    "#]],
    );
}

#[test]
fn since_when_is_how_long_ago_or_a_time() {
    let now = Timestamp::from_seconds(1_795_255_200);
    let asked = |line: &str| match parse(line).unwrap().command {
        Command::Calls(args) => args.path(now),
        _ => panic!("not calls"),
    };
    let shown = [
        asked("tidegate calls --since 2h"),
        asked("tidegate calls --since 3d --limit 5 --user a&b"),
        asked("tidegate calls --since 2026-07-14T12:00:00+02:00 --session s --task t"),
        asked("tidegate calls --before call_0000000000000001"),
        asked("tidegate calls call_0000000000000001"),
    ];
    check(
        &shown.join("\n"),
        expect![[r#"
        /api/v1/calls?limit=20&since=2026-11-21T08%3A00%3A00.000000Z
        /api/v1/calls?limit=5&since=2026-11-18T10%3A00%3A00.000000Z&user=a%26b
        /api/v1/calls?limit=20&since=2026-07-14T10%3A00%3A00.000000Z&task=t&session=s
        /api/v1/calls?limit=20&before=call_0000000000000001
        /api/v1/calls/call_0000000000000001"#]],
    );
}

#[test]
fn a_program_is_pointed_at_the_gateway_and_nobody_else_pays() {
    let none = BTreeMap::new();
    let address = "127.0.0.1:8787".parse().unwrap();
    let of = |program: &str, theirs: &BTreeMap<String, String>| {
        let (set, line) = environment(assistant(program.as_ref()), address, theirs);
        let names: Vec<String> = set
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{}\n{line}\n", names.join("\n"))
    };
    let theirs = BTreeMap::from([(
        "CLAUDE_CODE_GATEWAY_HINT_HEADERS".to_owned(),
        "0".to_owned(),
    )]);
    let shown = [
        of("/usr/bin/claude", &none),
        of("claude", &theirs),
        of("python3", &none),
    ]
    .concat();
    check(
        &shown,
        expect![[r#"
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787
        CLAUDE_CODE_GATEWAY_HINT_HEADERS=1
        tidegate: Claude Code's calls go through http://127.0.0.1:8787; its own login or key pays
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787
        tidegate: Claude Code's calls go through http://127.0.0.1:8787; its own login or key pays
        ANTHROPIC_BASE_URL=http://127.0.0.1:8787
        OPENAI_BASE_URL=http://127.0.0.1:8787/v1
        tidegate: calls of Anthropic and OpenAI SDKs go through http://127.0.0.1:8787; their own keys pay
    "#]],
    );
}

#[test]
fn the_doctor_finds_a_token_that_others_may_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join(TOKEN_FILE);
    std::fs::write(&token, "tgl-x").unwrap();
    std::fs::set_permissions(&token, std::fs::Permissions::from_mode(0o644)).unwrap();
    let sources = Sources {
        data: Some(folder.path().to_owned()),
        listen: Some("127.0.0.1:0".to_owned()),
        ..Sources::default()
    };
    let findings = doctor::examine(&sources);
    let wrong: Vec<&str> = findings
        .iter()
        .filter(|it| it.state == doctor::State::Wrong)
        .map(|it| it.what)
        .collect();
    assert_eq!(wrong, ["local token"], "{findings:?}");
}

#[test]
fn the_ledger_of_a_folder_that_is_not_there_is_an_error_with_the_remedy() {
    let sources = Sources {
        data: Some("/nowhere/tidegate".into()),
        ..Sources::default()
    };
    let settings = crate::config::load(&sources).unwrap().settings;
    let verify = ledger::LedgerCommand::Verify(Format::default());
    let error = ledger::answer(&verify, &settings).unwrap_err().to_string();
    assert!(
        error.contains("/nowhere/tidegate") && error.contains("--data"),
        "{error}"
    );
}

#[test]
fn an_empty_ledger_is_clean() {
    let report = (&tidegate_ledger::verify([])).into();
    check(
        &ledger::show_report(&report),
        expect![[r#"
            rows: 0, reservations: 0, 0 open that hold $0.00
            head 0000000000000000000000000000000000000000000000000000000000000000
            nothing is wrong
        "#]],
    );
}

#[test]
fn a_configuration_that_is_wrong_fails_the_check() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tidegate.toml");
    std::fs::write(&file, "version = 1\nlisten = 8787\n").unwrap();
    let sources = Sources {
        data: Some(folder.path().to_owned()),
        ..Sources::default()
    };
    let check_file = config::ConfigCommand::Check {
        file: Some(file.clone()),
    };
    let said = config::answer(&check_file, &sources).unwrap();
    assert!(
        said.failed && said.text.contains("tidegate.toml:2:10: listen:"),
        "{}",
        said.text
    );
    std::fs::write(&file, "version = 1\n").unwrap();
    let said = config::answer(&check_file, &sources).unwrap();
    assert!(
        !said.failed && said.text.ends_with("is right\n"),
        "{}",
        said.text
    );
}

#[test]
fn prices_are_listed_in_dollars_per_million_tokens() {
    let sources = Sources {
        data: Some("/data".into()),
        // Nobody listens on port 0: the prices are those of the settings.
        listen: Some("127.0.0.1:0".to_owned()),
        ..Sources::default()
    };
    let settings = crate::config::load(&sources).unwrap().settings;
    let args = prices::PricesArgs {
        command: None,
        filter: Some("claude-opus-5-5".to_owned()),
        format: Format::default(),
    };
    check(
        &prices::answer(&args, &settings).unwrap().text,
        expect![[r#"
            dollars per million tokens
            provider   model            input  read  write 5m  write 1h  output    context  table
            anthropic  claude-opus-5-5      4   0.2         5         8      20  1,000,000  anthropic-2026-11-21
        "#]],
    );
}
