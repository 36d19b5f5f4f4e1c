use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use tidegate_types::{Modifiers, Tokens};

use super::*;
use crate::Period;

fn call(task: Option<&str>, event: Event) -> CallEntry {
    let now = Timestamp::from_seconds(1_784_023_200);
    CallEntry {
        reservation: ReservationId::from_raw(1),
        ordinal: 0,
        at: now,
        path: Arc::new(EntryPath {
            organisation: "acme".into(),
            user: "ann".into(),
            task: task.map(Into::into),
            service: Service::Llm,
            month: Window::at(Period::Month, &TimeZone::UTC, now),
            day: Window::at(Period::Day, &TimeZone::UTC, now),
            derived: Derived::default(),
        }),
        enforced: Levels::NONE,
        event,
    }
}

/// Shows what an event moves on the task's accounts, and that all levels move alike.
fn check(event: Event, expected: Expect) {
    let postings = call(Some("t1"), event).postings();
    let of = |level: LevelKind| -> Vec<(Account, i128)> {
        let own = postings.iter().filter(|it| it.level == level);
        own.map(|it| (it.account, it.nanos)).collect()
    };
    for level in [LevelKind::Organisation, LevelKind::UserDay] {
        assert_eq!(of(level), of(LevelKind::Task));
    }
    assert_eq!(of(LevelKind::Service(Service::Tools)), []);
    let shown: Vec<String> = of(LevelKind::Task)
        .into_iter()
        .map(|(account, nanos)| format!("{account:?} {nanos:+}"))
        .collect();
    expected.assert_eq(&shown.join(", "));
}

#[test]
fn money_moves_between_available_held_and_spent() {
    let held = NanoUsd(10);
    let settle = |cost| {
        Event::Settle(Box::new(Settlement {
            held,
            cost: NanoUsd(cost),
            ..Settlement::default()
        }))
    };
    let reserve = Event::Reserve {
        bound: held,
        expected: NanoUsd(3),
        would_refuse: Levels::NONE,
        asked: None,
    };
    check(reserve, expect!["Available -10, Held +10"]);
    check(
        Event::Extend {
            by: NanoUsd(2),
            until: None,
        },
        expect!["Available -2, Held +2"],
    );
    check(settle(4), expect!["Available +6, Held -10, Spent +4"]);
    check(settle(14), expect!["Available -4, Held -10, Spent +14"]);
    let reason = String::new();
    check(
        Event::Release { held, reason },
        expect!["Available +10, Held -10"],
    );
    check(
        Event::Unknown {
            until: Timestamp(0),
        },
        expect![[""]],
    );
    check(Event::Expire { held }, expect!["Held -10, Spent +10"]);
    let correct = Event::Correct {
        from: NanoUsd(10),
        to: NanoUsd(3),
        by: String::new(),
    };
    check(correct, expect!["Available +7, Spent -7"]);
}

#[test]
fn a_path_names_its_folds() {
    let names = |task| -> Vec<String> {
        let entry = call(
            task,
            Event::Extend {
                by: NanoUsd(1),
                until: None,
            },
        );
        entry.path.keys().iter().map(ToString::to_string).collect()
    };
    expect![[r#"
        organisation acme 2026-07-01
        user_month acme/ann 2026-07-01
        user_day acme/ann 2026-07-14
        llm acme 2026-07-01
        task acme/ann/t1"#]]
    .assert_eq(&names(Some("t1")).join("\n"));
    assert_eq!(names(None), names(Some("t1"))[..4]);
}

#[test]
fn the_stored_form_of_an_entry_does_not_change_unseen() {
    let settle = Event::Settle(Box::new(Settlement {
        held: NanoUsd(10),
        cost: NanoUsd(4),
        notional: NanoUsd(4),
        platform: "sonnet".into(),
        model: "claude-sonnet-5".into(),
        price_version: "2026-07-01".into(),
        ..Settlement::default()
    }));
    let entry = Entry::Call(call(Some("t1"), settle));
    let text = serde_json::to_string(&entry).unwrap();
    expect![[r#"{"call":{"reservation":"resv_0000000000000001","ordinal":0,"at":1784023200000000000,"path":{"organisation":"acme","user":"ann","task":"t1","service":"llm","month":{"opens":"2026-07-01","start":1782864000000000000,"end":1785542400000000000},"day":{"opens":"2026-07-14","start":1783987200000000000,"end":1784073600000000000}},"event":{"settle":{"held":10,"cost":4,"notional":4,"platform":"sonnet","model":"claude-sonnet-5","price_version":"2026-07-01"}}}}"#]].assert_eq(&text);
    assert_eq!(serde_json::from_str::<Entry>(&text).unwrap(), entry);
}

#[test]
fn a_row_names_the_counts_that_are_not_zero_and_reads_as_what_was_written() {
    let settle = |usage| {
        Event::Settle(Box::new(Settlement {
            usage,
            ..Settlement::default()
        }))
    };
    let told = |usage: Usage, expected: Expect| {
        let entry = Entry::Call(call(None, settle(Some(usage))));
        let line = crate::Line::new(entry);
        assert_eq!(crate::Line::parse(line.text()).unwrap(), line);
        let (_, after) = line.text().split_once(r#""usage":"#).unwrap();
        let (usage, _) = after.split_once(r#","platform""#).unwrap();
        expected.assert_eq(usage);
    };
    told(Usage::default(), expect!["{}"]);
    told(
        Usage {
            input: Tokens(600),
            output: Tokens(300),
            ..Usage::default()
        },
        expect![[r#"{"input":600,"output":300}"#]],
    );
    told(
        Usage {
            input: Tokens(1),
            cache_read: Tokens(2),
            cache_write_5m: Tokens(3),
            cache_write_1h: Tokens(4),
            output: Tokens(5),
            reasoning: Tokens(6),
            web_searches: 7,
            modifiers: Modifiers {
                batch: true,
                ..Modifiers::default()
            },
            reported_cost: Some(NanoUsd(8)),
        },
        expect![[
            r#"{"input":1,"cache_read":2,"cache_write_5m":3,"cache_write_1h":4,"output":5,"reasoning":6,"web_searches":7,"modifiers":{"batch":true,"fast":false,"flex":false,"regional":false},"reported_cost":8}"#
        ]],
    );
}
