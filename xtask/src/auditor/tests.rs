use expect_test::{Expect, expect};
use sha2::{Digest as _, Sha256};

use super::*;

/// An export of events: `resv_ID event {json}` on each line, on task `t`, chained as the ledger chains.
fn export(script: &str) -> String {
    let mut chain = [0; 32];
    let lines = script.lines().map(str::trim).filter(|it| !it.is_empty());
    let rows = lines.enumerate().map(|(at, line)| {
        let (id, event) = line.split_once(' ').unwrap();
        let payload = format!(
            r#"{{"call":{{"reservation":"{id}","ordinal":0,"at":1,"path":{{"organisation":"local","user":"local",
            "task":"t","service":"llm","month":{{"opens":"2026-11-01"}},"day":{{"opens":"2026-11-22"}}}},"event":{event}}}}}"#
        );
        chain = Sha256::new().chain_update(chain).chain_update(&payload).finalize().into();
        let row = serde_json::json!({ "seq": at + 1, "chain": hex(&chain), "payload": payload });
        row.to_string()
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(export: &str, seen: &[Seen], expected: Expect) {
    let mut auditor = Auditor::new(&[("task", 100)]);
    auditor.read(export);
    auditor.compare(seen);
    expected.assert_eq(&auditor.findings().join("\n"));
}

const FINE: &str = r#"
    a {"reserve":{"bound":60,"expected":1}}
    b {"reserve":{"bound":40,"expected":1}}
    a {"settle":{"held":60,"cost":10,"notional":0,"usage":{"output":7}}}
    c {"reserve":{"bound":50,"expected":1}}
    c {"release":{"held":50,"reason":"x"}}
    b {"unknown":{"until":5}}"#;

#[test]
fn a_limit_that_was_reached_and_not_passed_is_fine() {
    let seen = [
        Seen::Approved {
            reservation: "b".into(),
            nanos: 40,
        },
        Seen::Settled {
            reservation: "a".into(),
            nanos: 10,
        },
        Seen::Released {
            reservation: "c".into(),
        },
        Seen::Completed {
            task: "t".into(),
            output: 7,
        },
    ];
    check(&export(FINE), &seen, expect![""]);
}

#[test]
fn a_limit_that_was_passed_for_one_row_is_found() {
    let script = r#"
        a {"reserve":{"bound":60,"expected":1}}
        b {"reserve":{"bound":41,"expected":1}}
        a {"release":{"held":60,"reason":"x"}}"#;
    check(
        &export(script),
        &[],
        expect![[r#"row 2: task local/local/t stands at 101, above its limit"#]],
    );
}

#[test]
fn what_ends_twice_or_never_began_or_ends_with_another_hold_is_found() {
    let script = r#"
        a {"reserve":{"bound":60,"expected":1}}
        a {"release":{"held":60,"reason":"x"}}
        a {"settle":{"held":60,"cost":1,"notional":0}}
        b {"release":{"held":1,"reason":"x"}}
        c {"reserve":{"bound":9,"expected":1}}
        c {"expire":{"held":8}}"#;
    check(
        &export(script),
        &[],
        expect![[r#"
        row 3, a: Settle(Settlement { held: 60, cost: 1, usage: None }) after Some(Released)
        row 4, b: was never begun
        row 6, c: ends with 8, and 9 was held"#]],
    );
}

#[test]
fn a_settlement_that_was_confirmed_and_is_not_there_is_found() {
    let seen = [
        Seen::Approved {
            reservation: "d".into(),
            nanos: 1,
        },
        Seen::Settled {
            reservation: "a".into(),
            nanos: 11,
        },
        Seen::Settled {
            reservation: "b".into(),
            nanos: 1,
        },
        Seen::Completed {
            task: "t".into(),
            output: 8,
        },
    ];
    check(
        &export(FINE),
        &seen,
        expect![[r#"
        a caller saw Approved { reservation: "d", nanos: 1 }, and the ledger does not say so
        a caller saw Settled { reservation: "a", nanos: 11 }, and the ledger does not say so
        a caller saw Settled { reservation: "b", nanos: 1 }, and the ledger does not say so
        a caller saw Completed { task: "t", output: 8 }, and the ledger does not say so"#]],
    );
}

#[test]
fn a_row_that_was_changed_or_taken_out_is_found() {
    let export = export(FINE);
    check(
        &export.replacen(r#"\"bound\":60"#, r#"\"bound\":61"#, 1),
        &[],
        expect![[r#"
            row 1: its chain does not follow
            row 2: its chain does not follow
            row 2: task local/local/t stands at 101, above its limit
            row 3: its chain does not follow
            row 3, a: ends with 60, and 61 was held
            row 4: its chain does not follow
            row 4: task local/local/t stands at 151, above its limit
            row 5: its chain does not follow
            row 6: its chain does not follow"#]],
    );
    let without: Vec<&str> = export
        .lines()
        .enumerate()
        .filter(|(at, _)| *at != 1)
        .map(|(_, it)| it)
        .collect();
    check(
        &without.join("\n"),
        &[],
        expect![[r#"
        row 3 stands where row 2 belongs
        row 3: its chain does not follow
        row 4: its chain does not follow
        row 5: its chain does not follow
        row 6: its chain does not follow
        row 6, b: was never begun"#]],
    );
}
