use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use tidegate_types::ReservationId;

use super::*;
use crate::{Derived, EntryPath, Levels, Limit, Period, PolicyEntry, Service, Settlement, Window};

const NOW: Timestamp = Timestamp::from_seconds(1_784_023_200);

fn path(task: &str) -> Arc<EntryPath> {
    let now = NOW;
    Arc::new(EntryPath {
        organisation: "acme".into(),
        user: "ann".into(),
        task: Some(task.into()),
        service: Service::Llm,
        month: Window::at(Period::Month, &TimeZone::UTC, now),
        day: Window::at(Period::Day, &TimeZone::UTC, now),
        derived: Derived::default(),
    })
}

/// `ID ORDINAL event amounts…`; amounts in nano-dollars. `!` binds the call to its task's limit.
fn read(line: &str) -> Entry {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |at: usize| words[at].parse::<u64>().unwrap();
    let nanos = |at: usize| NanoUsd(number(at));
    if words[0] == "limit" {
        let mut limits = LimitTable::default();
        limits.defaults.task = Limit::built_in(nanos(1));
        // Long before every call, or at the time of the next.
        let at = if words.contains(&"now") {
            NOW
        } else {
            Timestamp(0)
        };
        let limits = Arc::new(limits);
        return Entry::Policy(PolicyEntry { at, limits });
    }
    let event = match words[2] {
        "reserve" => Event::Reserve {
            bound: nanos(3),
            expected: NanoUsd(0),
            would_refuse: Levels::NONE,
            asked: None,
        },
        "extend" => Event::Extend {
            by: nanos(3),
            until: None,
        },
        "settle" => Event::Settle(Box::new(Settlement {
            held: nanos(3),
            cost: nanos(4),
            ..Settlement::default()
        })),
        "release" => Event::Release {
            held: nanos(3),
            reason: String::new(),
        },
        "unknown" => Event::Unknown {
            until: Timestamp(9),
        },
        "expire" => Event::Expire { held: nanos(3) },
        _ => Event::Correct {
            from: nanos(3),
            to: nanos(4),
            by: "ann".to_owned(),
        },
    };
    let mut enforced = Levels::NONE;
    if words.contains(&"!") {
        enforced.insert(LevelKind::Task);
    }
    let moved = words.contains(&"moved");
    Entry::Call(CallEntry {
        reservation: ReservationId::from_raw(number(0)),
        ordinal: u32::try_from(number(1)).unwrap(),
        at: NOW,
        path: path(if moved { "t2" } else { "t1" }),
        enforced,
        event,
    })
}

/// Folds the lines and shows what the fold says of each, and the task at the end.
fn check(script: &str, expected: Expect) {
    let mut fold = Fold::default();
    let mut shown = Vec::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let before = format!("{:?} {:?}", fold.balances, fold.open);
        let said = match fold.apply(&read(line)) {
            Ok(None) => String::new(),
            Ok(Some(overrun)) => format!(" -> overrun {}", overrun.by.0),
            Err(defect) => {
                let after = format!("{:?} {:?}", fold.balances, fold.open);
                let taken = matches!(defect, Defect::LimitPassed { .. });
                assert_eq!(before != after, taken, "{defect}");
                format!(" -> {defect}")
            }
        };
        shown.push(format!("{line}{said}\n"));
    }
    let task = path("t1").keys().last().unwrap().clone();
    let balance = fold.balances().get(&task).copied().unwrap_or_default();
    let (spent, held) = (balance.spent.0, balance.held.0);
    shown.push(format!(
        "spent {spent}, held {held}, open {}\n",
        fold.open.len()
    ));
    expected.assert_eq(&shown.concat());
}

#[test]
fn a_reservation_begins_once_and_ends_once() {
    check(
        "
        1 0 reserve 10
        1 0 reserve 10
        2 0 settle 1 1
        1 1 settle 10 4
        1 2 settle 10 4
        1 2 release 10
        1 2 expire 10
        1 2 unknown
        1 0 reserve 10
        ",
        expect![[r#"
            1 0 reserve 10
            1 0 reserve 10 -> resv_0000000000000001 begins a second time
            2 0 settle 1 1 -> resv_0000000000000002 is not open, and its entry says settle
            1 1 settle 10 4
            1 2 settle 10 4 -> resv_0000000000000001 is not open, and its entry says settle
            1 2 release 10 -> resv_0000000000000001 is not open, and its entry says release
            1 2 expire 10 -> resv_0000000000000001 is not open, and its entry says expire
            1 2 unknown -> resv_0000000000000001 is not open, and its entry says unknown
            1 0 reserve 10 -> resv_0000000000000001 begins a second time
            spent 4, held 0, open 0
        "#]],
    );
}

#[test]
fn an_end_frees_what_is_held() {
    check(
        "
        1 0 reserve 10
        1 1 extend 5
        1 2 settle 10 4
        1 2 release 14
        1 2 expire 16
        1 2 settle 15 4
        2 0 reserve 3
        2 1 release 3
        3 0 reserve 7
        3 1 unknown
        3 2 expire 7
        ",
        expect![[r#"
            1 0 reserve 10
            1 1 extend 5
            1 2 settle 10 4 -> resv_0000000000000001 stands at $0.000000015, and its entry says $0.00000001
            1 2 release 14 -> resv_0000000000000001 stands at $0.000000015, and its entry says $0.000000014
            1 2 expire 16 -> resv_0000000000000001 stands at $0.000000015, and its entry says $0.000000016
            1 2 settle 15 4
            2 0 reserve 3
            2 1 release 3
            3 0 reserve 7
            3 1 unknown
            3 2 expire 7
            spent 11, held 0, open 0
        "#]],
    );
}

#[test]
fn an_overrun_is_no_defect() {
    check(
        "
        limit 12
        1 0 reserve 10 !
        1 1 settle 10 14
        2 0 reserve 1 !
        3 0 reserve 0 !
        ",
        expect![[r#"
            limit 12
            1 0 reserve 10 !
            1 1 settle 10 14 -> overrun 4
            2 0 reserve 1 ! -> task acme/ann/t1 stands at $0.000000015 after resv_0000000000000002, above its limit $0.000000012
            3 0 reserve 0 !
            spent 14, held 1, open 2
        "#]],
    );
}

#[test]
fn a_correction_replaces_what_is_booked() {
    check(
        "
        1 0 reserve 10
        1 1 correct 10 4
        1 1 expire 10
        1 2 correct 9 4
        1 2 correct 10 4
        1 3 correct 4 6
        2 0 reserve 1
        2 1 release 1
        2 2 correct 0 1
        ",
        expect![[r#"
            1 0 reserve 10
            1 1 correct 10 4 -> resv_0000000000000001 has no settlement to correct
            1 1 expire 10
            1 2 correct 9 4 -> resv_0000000000000001 stands at $0.00000001, and its entry says $0.000000009
            1 2 correct 10 4
            1 3 correct 4 6 -> overrun 2
            2 0 reserve 1
            2 1 release 1
            2 2 correct 0 1 -> resv_0000000000000002 has no settlement to correct
            spent 6, held 0, open 0
        "#]],
    );
}

#[test]
fn an_entry_that_is_missing_or_twice_or_elsewhere_is_found() {
    check(
        "
        1 1 reserve 10
        1 0 reserve 10
        1 2 extend 5
        1 0 extend 5
        1 1 extend 5 moved
        1 1 extend 5
        1 1 extend 5
        ",
        expect![[r#"
            1 1 reserve 10 -> resv_0000000000000001 goes on with entry 1 where 0 is due
            1 0 reserve 10
            1 2 extend 5 -> resv_0000000000000001 goes on with entry 2 where 1 is due
            1 0 extend 5 -> resv_0000000000000001 goes on with entry 0 where 1 is due
            1 1 extend 5 moved -> resv_0000000000000001 pays somewhere else than where it began
            1 1 extend 5
            1 1 extend 5 -> resv_0000000000000001 goes on with entry 1 where 2 is due
            spent 0, held 15, open 1
        "#]],
    );
}

#[test]
fn a_call_that_a_limit_bound_cannot_have_passed_it() {
    check(
        "
        limit 12
        1 0 reserve 10 !
        2 0 reserve 3 !
        2 1 settle 3 2
        3 0 reserve 1 !
        4 0 reserve 9
        limit 30
        1 1 extend 9 !
        5 0 reserve 0 !
        ",
        expect![[r#"
            limit 12
            1 0 reserve 10 !
            2 0 reserve 3 ! -> task acme/ann/t1 stands at $0.000000013 after resv_0000000000000002, above its limit $0.000000012
            2 1 settle 3 2
            3 0 reserve 1 ! -> task acme/ann/t1 stands at $0.000000013 after resv_0000000000000003, above its limit $0.000000012
            4 0 reserve 9
            limit 30
            1 1 extend 9 ! -> task acme/ann/t1 stands at $0.000000031 after resv_0000000000000001, above its limit $0.00000003
            5 0 reserve 0 !
            spent 2, held 29, open 4
        "#]],
    );
}

#[test]
fn while_limits_are_exchanged_the_widest_one_counts() {
    check(
        "
        limit 30
        limit 12 now
        limit 11 now
        1 0 reserve 30 !
        2 0 reserve 1 !
        ",
        expect![[r#"
            limit 30
            limit 12 now
            limit 11 now
            1 0 reserve 30 !
            2 0 reserve 1 ! -> task acme/ann/t1 stands at $0.000000031 after resv_0000000000000002, above its limit $0.00000003
            spent 0, held 31, open 2
        "#]],
    );
}

#[test]
fn amounts_beyond_64_bits_are_a_defect() {
    check(
        "
        1 0 reserve 18446744073709551615
        2 0 reserve 1
        ",
        expect![[r#"
            1 0 reserve 18446744073709551615
            2 0 reserve 1 -> organisation acme 2026-07-01 leaves what 64 bits hold
            spent 0, held 18446744073709551615, open 1
        "#]],
    );
}
