use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_observe::{notice::Topic, record::Fields};

use super::*;

fn notice(id: u64) -> Notice {
    Notice {
        id: NoticeId::from_raw(id),
        at: Timestamp(0),
        topic: Topic::Test,
        text: String::new(),
        fields: Fields::new(),
        decides: None,
        to: None,
    }
}

/// Each line: `give ID CHANNEL…`, `wait MS`, `try CHANNEL ok|fail|final|in MS`.
fn check(script: &str, expect: Expect) {
    let pace = Pace::default();
    let mut outbox = Outbox::default();
    let mut now = Timestamp::from_seconds(1_000_000);
    let mut told = String::new();
    for line in script.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["give", id, channels @ ..] => {
                let channels = channels.iter().map(|it| Arc::from(*it));
                outbox.give(notice(id.parse().unwrap()), channels, now);
            }
            ["wait", ms] => now = now.after(Duration::from_millis(ms.parse().unwrap())),
            ["try", channel, how @ ..] => {
                let Some(due) = outbox.due(channel, now, &pace) else {
                    let next = outbox.next(&BTreeSet::new()).map(|it| it.since(now));
                    writeln!(told, "{channel}: nothing, next in {next:?}").unwrap();
                    continue;
                };
                let id = due.notice.id;
                let (is_final, wait) = match how {
                    ["ok"] => {
                        outbox.delivered(id, channel);
                        writeln!(told, "{channel}: {} delivered", id.raw()).unwrap();
                        continue;
                    }
                    ["in", ms] => (false, Some(Duration::from_millis(ms.parse().unwrap()))),
                    how => (*how == ["final"], None),
                };
                let fate = outbox.failed((id, channel), is_final, wait, (now, &pace, 0));
                writeln!(told, "{channel}: {} {fate:?}", id.raw()).unwrap();
            }
            _ => panic!("{line}"),
        }
        let stored = serde_json::to_vec(&outbox).unwrap();
        assert_eq!(serde_json::from_slice::<Outbox>(&stored).unwrap(), outbox);
    }
    expect.assert_eq(&told);
}

#[test]
fn a_channel_gets_its_notices_in_order_and_others_don_t_wait_for_it() {
    check(
        "give 1 a b
         give 2 a
         try a fail
         try a ok
         try b ok
         wait 500
         try a ok
         try a ok
         try a ok",
        expect![[r#"
            a: 1 Retried
            a: nothing, next in Some(0ns)
            b: 1 delivered
            a: 1 delivered
            a: 2 delivered
            a: nothing, next in None
        "#]],
    );
}

#[test]
fn a_notice_that_fails_again_and_again_is_overtaken_and_still_tried() {
    check(
        "give 1 a
         give 2 a
         try a fail
         wait 500
         try a fail
         wait 1000
         try a fail
         try a ok
         try a ok
         wait 2000
         try a ok",
        expect![[r#"
            a: 1 Retried
            a: 1 Retried
            a: 1 Retried
            a: 2 delivered
            a: nothing, next in Some(2s)
            a: 1 delivered
        "#]],
    );
}

#[test]
fn a_refusal_for_good_ends_a_delivery_and_a_named_wait_is_kept() {
    check(
        "give 1 a
         give 2 a
         try a final
         try a in 7000
         wait 6999
         try a ok
         wait 1
         try a ok",
        expect![[r#"
            a: 1 Lost
            a: 2 Retried
            a: nothing, next in Some(1ms)
            a: 2 delivered
        "#]],
    );
}

#[test]
fn the_same_notice_is_given_once() {
    check(
        "give 1 a
         give 1 a
         try a ok
         give 1 a
         try a ok",
        expect![[r#"
            a: 1 delivered
            a: nothing, next in None
        "#]],
    );
}

#[test]
fn a_clock_that_steps_back_makes_nobody_wait() {
    let (mut outbox, pace) = (Outbox::default(), Pace::default());
    let then = Timestamp::from_seconds(10_000);
    outbox.give(notice(1), [Arc::from("a")].into_iter(), then);
    outbox.failed((NoticeId::from_raw(1), "a"), false, None, (then, &pace, 0));
    assert!(outbox.due("a", then, &pace).is_none());
    assert!(
        outbox
            .due("a", Timestamp::from_seconds(5_000), &pace)
            .is_some()
    );
}

#[test]
fn a_delivery_is_given_up_after_a_day() {
    let (mut outbox, pace) = (Outbox::default(), Pace::default());
    let began = Timestamp::from_seconds(10_000);
    outbox.give(notice(1), [Arc::from("a")].into_iter(), began);
    let mut now = began;
    let mut attempts = 0;
    while let Some(due) = outbox.due("a", now, &pace) {
        attempts += 1;
        outbox.failed((due.notice.id, "a"), false, None, (now, &pace, u64::MAX));
        now = outbox.next(&BTreeSet::new()).unwrap_or(now);
    }
    assert_eq!(outbox.waiting("a"), 0);
    let lasted = now.since(began);
    assert!(
        lasted > Duration::from_hours(23) && lasted <= Duration::from_hours(24),
        "{lasted:?}"
    );
    assert!((250..600).contains(&attempts), "{attempts}");
}

#[test]
fn beyond_the_bound_the_oldest_go_and_that_is_said() {
    let mut outbox = Outbox::default();
    let give = |outbox: &mut Outbox, id| {
        let channels = [Arc::from("a"), Arc::from("b")];
        outbox.give(notice(id), channels.into_iter(), Timestamp(1))
    };
    for id in 0..500 {
        assert!(give(&mut outbox, id).is_empty());
    }
    assert_eq!(give(&mut outbox, 500), [Arc::from("a"), Arc::from("b")]);
    assert_eq!(outbox.waiting("a") + outbox.waiting("b"), WAITING_MAX);
    let oldest = outbox.due("a", Timestamp(1), &Pace::default()).unwrap();
    assert_eq!(oldest.notice.id.raw(), 1);
}

proptest! {
    #[test]
    fn waits_double_up_to_five_minutes_and_never_meet(failures in 1_u32..100, chance: u64) {
        let pace = Pace::default();
        let wait = pace.wait(failures, chance);
        let whole = pace.first.saturating_mul(1_u32.checked_shl(failures - 1).unwrap_or(u32::MAX)).min(pace.most);
        prop_assert!(wait >= whole / 2 && wait <= whole, "{wait:?} of {whole:?}");
    }

    #[test]
    fn every_notice_is_delivered_once_or_given_up_whatever_fails(
        outcomes in proptest::collection::vec(0_u8..3, 0..200), notices in 1_u64..20,
    ) {
        let pace = Pace::default();
        let mut outbox = Outbox::default();
        let mut now = Timestamp::from_seconds(1);
        for id in 0..notices {
            outbox.give(notice(id), [Arc::from("a")].into_iter(), now);
        }
        let mut ended = BTreeSet::new();
        let mut outcomes = outcomes.into_iter();
        while let Some(next) = outbox.next(&BTreeSet::new()) {
            now = now.max(next);
            let due = outbox.due("a", now, &pace).unwrap();
            let id = due.notice.id;
            let lost = match outcomes.next() {
                Some(0) => outbox.failed((id, "a"), false, None, (now, &pace, id.raw())) == Fate::Lost,
                Some(1) => outbox.failed((id, "a"), true, None, (now, &pace, 0)) == Fate::Lost,
                _ => { outbox.delivered(id, "a"); true }
            };
            if lost {
                prop_assert!(ended.insert(id), "{id} ends twice");
            }
        }
        prop_assert_eq!(ended.len() as u64, notices);
    }
}
