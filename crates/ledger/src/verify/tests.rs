use expect_test::{Expect, expect};

use super::*;
use crate::{Entry, LimitTable, PolicyEntry};

/// Rows of limits, one after the other: entries that are small and always allowed.
fn rows(count: u64) -> Vec<Row> {
    let mut chain = CHAIN_START;
    (1..=count)
        .map(|seq| {
            let limits = LimitTable::default().into();
            let at = tidegate_types::Timestamp(seq);
            let payload = serde_json::to_string(&Entry::Policy(PolicyEntry { at, limits }));
            let payload = payload.unwrap();
            chain = chain_after(chain, &payload);
            Row {
                seq,
                chain,
                payload,
            }
        })
        .collect()
}

fn check(change: impl FnOnce(&mut Vec<Row>), expected: Expect) {
    let mut rows = rows(5);
    change(&mut rows);
    let findings = verify(rows).findings;
    let shown: Vec<String> = findings.iter().map(|it| format!("{it}\n")).collect();
    expected.assert_eq(&shown.concat());
}

#[test]
fn what_was_changed_is_named_once() {
    check(|_| {}, expect![[""]]);
    check(
        |rows| drop(rows.remove(0)),
        expect![[r#"
        row 2 stands where row 1 belongs
        row 2 is not what was appended: its chain does not follow
    "#]],
    );
    check(
        |rows| drop(rows.remove(2)),
        expect![[r#"
        row 4 stands where row 3 belongs
        row 4 is not what was appended: its chain does not follow
    "#]],
    );
    check(
        |rows| rows.swap(1, 2),
        expect![[r#"
        row 3 stands where row 2 belongs
        row 3 is not what was appended: its chain does not follow
        row 2 stands where row 4 belongs
        row 2 is not what was appended: its chain does not follow
        row 4 stands where row 3 belongs
        row 4 is not what was appended: its chain does not follow
    "#]],
    );
    check(
        |rows| rows[3].payload.push(' '),
        expect![[r#"
        row 4 is not what was appended: its chain does not follow
    "#]],
    );
    check(
        |rows| rows[3].payload = "{}".to_owned(),
        expect![[r#"
        row 4 is not what was appended: its chain does not follow
        row 4 cannot be read: expected value at line 1 column 2
    "#]],
    );
    check(
        |rows| rows[3].chain = CHAIN_START,
        expect![[r#"
        row 4 is not what was appended: its chain does not follow
        row 5 is not what was appended: its chain does not follow
    "#]],
    );
}

#[test]
fn a_row_is_read_back_as_it_was_exported() {
    let row = rows(1).remove(0);
    let text = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<Row>(&text).unwrap(), row);
    let short = text.replace(&row.chain.to_string(), "abc");
    let error = serde_json::from_str::<Row>(&short).unwrap_err().to_string();
    assert!(
        error.contains("`abc` is not 64 hexadecimal digits"),
        "{error}"
    );
}

#[test]
fn of_many_findings_the_first_are_kept_and_all_are_counted() {
    let mut rows = rows(FINDINGS_MAX as u64 + 10);
    for row in &mut rows {
        row.payload.push(' ');
    }
    let report = verify(rows);
    assert_eq!(report.findings.len(), FINDINGS_MAX);
    assert_eq!(report.findings_total, FINDINGS_MAX as u64 + 10);
}

#[test]
fn a_balance_that_is_not_what_its_entries_lead_to_is_told_in_dollars() {
    let stored = Balance {
        spent: NanoUsd(840_005),
        held: NanoUsd(250_000_000),
        notional: NanoUsd(840_005),
        would_refuse: 1,
    };
    let finding = Finding::Balance {
        level: LevelKey {
            kind: crate::LevelKind::Task,
            organisation: "acme".into(),
            user: None,
            task: Some("t".into()),
            opens: None,
        },
        stored,
        folded: Balance::default(),
    };
    expect!["task acme/t is stored with $0.000840005 spent ($0.000840005 by list price), $0.25 held, 1 call that would have been refused, and its entries lead to $0.00 spent ($0.00 by list price), $0.00 held, 0 calls that would have been refused"].assert_eq(&finding.to_string());
}
