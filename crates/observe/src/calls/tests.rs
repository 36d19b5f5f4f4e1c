use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::overspend::{Cause, Share};

fn call(id: u64) -> CallRecord {
    CallRecord::arrived(CallId::from_raw(id), Timestamp(id), "anthropic_messages")
}

#[test]
fn a_record_is_read_back_as_it_was_written() {
    let full = CallRecord {
        session: Some("s-1".into()),
        task: Some("t-1".into()),
        complexity: Some(Complexity::Expert),
        deadline: Some(Timestamp(5)),
        outcome: Outcome::Refused {
            limit: "task".into(),
        },
        usage: Some(Usage {
            input: Tokens(12),
            ..Usage::default()
        }),
        trace_id: Some(TraceId::from_random(5)),
        would_wait: Some(WouldWait {
            limit: "sonnet.units".into(),
            wait_ms: 1_500,
        }),
        overspend: Some(Box::new(Overspend {
            expected: NanoUsd(10),
            cost: NanoUsd(25),
            expected_usage: Usage::default(),
            shares: vec![Share {
                cause: Cause::Output,
                nano_usd: 15,
            }],
        })),
        retry_of: Some(CallId::from_raw(1)),
        ..call(2)
    };
    let nobody = CallRecord {
        dialect: "".into(),
        ..call(0)
    };
    for record in [call(1), full, nobody] {
        let whole = serde_json::to_string(&record).unwrap();
        let mut kept = Vec::new();
        Kept(&record).write(&mut kept).unwrap();
        let kept = String::from_utf8(kept).unwrap();
        assert!(kept.len() < whole.len(), "{kept}");
        for text in [whole, kept] {
            assert_eq!(serde_json::from_str::<CallRecord>(&text).unwrap(), record);
        }
    }
}

#[test]
fn a_record_of_an_earlier_version_is_read_with_what_it_lacks_empty() {
    let text = r#"{"id":"call_0000000000000007","at":5,"organisation":"o","user":"u","class":"main",
        "priority":"high","dialect":"openai_chat","status":200,"outcome":{"kind":"answered"}}"#;
    let record: CallRecord = serde_json::from_str(text).unwrap();
    assert_eq!(record.outcome, Outcome::Answered);
    assert_eq!(record.phases, PhaseMicros::default());
    assert_eq!(record.cost, NanoUsd::ZERO);
}

#[test]
fn secrets_that_clients_put_into_names_are_removed() {
    let mut record = CallRecord {
        task: Some("sk-ant-api03-abcdefgh12345678".into()),
        session: Some("an ordinary session".into()),
        model_asked: "tg-0123456789012345678901234567890123456789012".into(),
        warnings: vec!["Bearer abcdef1234567890 was sent".into()],
        ..call(1)
    };
    record.redact(&Redactor::default());
    let shown = format!(
        "{:?} {:?} {} {:?}",
        record.task, record.session, record.model_asked, record.warnings
    );
    expect![[
        r#"Some("[redacted]") Some("an ordinary session") [redacted] ["Bearer [redacted] was sent"]"#
    ]]
    .assert_eq(&shown);
}

#[test]
fn a_filter_takes_a_task_with_its_whole_tree() {
    let of = |task: &str, root: &str| CallRecord {
        task: Some(task.into()),
        root_task: Some(root.into()),
        ..call(9)
    };
    let filter = CallFilter {
        task: Some("root".into()),
        ..CallFilter::default()
    };
    assert!(filter.matches(&of("root", "root")));
    assert!(filter.matches(&of("child", "root")));
    assert!(!filter.matches(&of("root2", "other")));
    assert!(
        !filter.matches(&call(9)),
        "a call without a task is in no tree"
    );
}

#[test]
fn a_filter_is_the_and_of_its_fields() {
    let record = CallRecord {
        organisation: "o".into(),
        user: "u".into(),
        ..call(9)
    };
    let filter = |change: fn(&mut CallFilter)| {
        let mut it = CallFilter::default();
        change(&mut it);
        it.matches(&record)
    };
    assert!(filter(|_| ()));
    assert!(filter(|it| it.user = Some("u".into())));
    assert!(!filter(|it| it.user = Some("v".into())));
    assert!(!filter(|it| it.organisation = Some("p".into())));
    assert!(!filter(|it| it.session = Some("s".into())));
    assert!(filter(|it| it.since = Some(Timestamp(9))));
    assert!(!filter(|it| it.since = Some(Timestamp(10))));
    assert!(!filter(|it| it.before = Some(CallId::from_raw(9))));
    assert!(filter(|it| it.before = Some(CallId::from_raw(10))));
}

#[test]
fn a_page_is_never_larger_than_the_bound() {
    let page = |limit| {
        CallFilter {
            limit,
            ..CallFilter::default()
        }
        .page()
    };
    assert_eq!([page(0), page(7), page(LIST_MAX + 1)], [100, 7, LIST_MAX]);
}

proptest! {
    #[test]
    fn phases_add_up_to_the_whole(phases in prop::array::uniform8(0_u64..1_000_000)) {
        let [identify, estimate, route, reserve, wait, first_byte, stream, settle] = phases;
        let all = PhaseMicros { identify, estimate, route, reserve, wait, first_byte, stream, settle };
        prop_assert_eq!(all.total(), phases.iter().sum::<u64>());
        prop_assert_eq!(all.added(), all.total() - wait - first_byte - stream);
    }
}
