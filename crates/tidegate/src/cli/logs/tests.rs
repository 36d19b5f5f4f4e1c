use clap::Parser as _;
use expect_test::expect;
use serde_json::json;

use super::*;
use crate::cli::{Cli, Command, table::for_reader};

fn args(line: &str) -> LogsArgs {
    let words = ["tidegate", "logs"].into_iter();
    let cli = Cli::try_parse_from(words.chain(line.split(' ').filter(|it| !it.is_empty())));
    match cli.unwrap().command {
        Command::Logs(args) => args,
        other => panic!("{other:?}"),
    }
}

fn objects(values: serde_json::Value) -> Vec<Map<String, Value>> {
    serde_json::from_value(values).unwrap()
}

#[test]
fn what_is_asked_for_becomes_a_path() {
    let path = |line: &str| {
        let args = args(line);
        args.path("/api/v1/logs", &args.checked().unwrap(), &[])
    };
    assert_eq!(path(""), "/api/v1/logs");
    assert_eq!(
        path("level:>=warning not refused --user ann --since 2026-07-14T12:00:00Z"),
        "/api/v1/logs?filter=level%3A%3E%3Dwarning%20not%20refused&since=2026-07-14T12%3A00%3A00.000000Z&user=ann"
    );
    let wrong = args("level:>=loud").checked().unwrap_err().to_string();
    assert!(
        wrong.ends_with("\n  level:>=loud\n          ^^^^"),
        "{wrong}"
    );
}

#[test]
fn what_contradicts_itself_is_refused() {
    for line in [
        "-f --count",
        "-f --until 1h",
        "--every 1h --count",
        "--limit 0",
        "--export x.csv --json",
    ] {
        let words = ["tidegate", "logs"].into_iter().chain(line.split(' '));
        assert!(Cli::try_parse_from(words).is_err(), "{line}");
    }
}

#[test]
fn a_line_has_what_tells_it_from_others() {
    let logs = Logs {
        logs: objects(json!([
            {
                "time": "2026-07-14T12:00:00.123456789Z", "level": "INFO", "service": "tidegate",
                "component": "gateway", "event": "call_settled", "body": "call settled: answered",
                "user": "ann", "task": "fix-1",
                "attributes": { "id": "call_1", "model_sent": "opus", "status": 200, "cost": 12_000_000, "at": 1,
                    "phases": { "wait": 1_000_000, "first_byte": 250_000, "stream": 2_000_000 } },
            },
            {
                "time": "2026-07-14T12:00:01Z", "level": "ERROR", "service": "agent",
                "body": "a\u{1b}[2Jb", "attributes": { "tries": 3, "deep": { "er": 1 } },
            },
            { "time": "2026-07-14T12:00:02.5Z" },
        ])),
        next: Some("17.4".to_owned()),
        unread: 1,
    };
    expect![[r#"
        older ones: `tidegate logs --before 17.4`
        2026-07-14T12:00:00.123Z INFO     gateway   call settled: answered  call=call_1  model=opus  status=200  took=3.25 s  cost=$0.012  user=ann  task=fix-1
        2026-07-14T12:00:01Z ERROR    agent     a[2Jb  tries=3
        2026-07-14T12:00:02.5Z
        1 file could not be read: see `tidegate doctor`
    "#]].assert_eq(&for_reader(&show(&logs), false));
    let nothing = Logs {
        logs: Vec::new(),
        next: None,
        unread: 0,
    };
    assert_eq!(show(&nothing), "nothing is recorded of that\n");
}

#[test]
fn bars_are_as_long_as_the_most_of_them_allows() {
    let bar = |time: &str, counts: &[(&str, u64)]| tidegate_control::wire::LogBar {
        time: time.to_owned(),
        counts: counts.iter().map(|it| (it.0.to_owned(), it.1)).collect(),
    };
    let bars = LogBars {
        step_seconds: 3_600,
        bars: vec![
            bar("2026-07-14T10:00:00Z", &[("INFO", 3_999), ("ERROR", 1)]),
            bar("2026-07-14T11:00:00Z", &[("WARNING", 1)]),
        ],
    };
    expect![[r#"
        from                    all  warnings  errors
        2026-07-14T10:00:00Z  4,000         0       1  ████████████████████████████████████████
        2026-07-14T11:00:00Z      1         1       0  █
    "#]]
    .assert_eq(&for_reader(&show_bars(&bars), false));
}

#[test]
fn lengths_are_told_in_the_unit_that_people_use() {
    for (nanos, told) in [
        (0, "0 µs"),
        (999_999, "999 µs"),
        (1_000_000, "1.0 ms"),
        (12_340_000, "12.3 ms"),
        (999_999_999, "999.9 ms"),
        (3_210_000_000, "3.21 s"),
        (61_000_000_000, "61.00 s"),
    ] {
        assert_eq!(long(nanos), told);
    }
}
