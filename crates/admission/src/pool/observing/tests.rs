use std::time::Duration;

use proptest::prelude::*;
use tidegate_types::{Caller, Enforcement, Mode, Priority, Timestamp};

use super::*;
use crate::{Admission, Ask, BucketSpec, Need, Owner, PoolSpec, Refill, Resource, UserSlot};

mod account;

const SECOND: u64 = 1_000_000_000;
const MINUTE: u64 = 60 * SECOND;
/// A Wednesday noon, by the provider's clock.
const NOON: Timestamp = Timestamp::from_seconds(1_784_116_800);

fn spec(resource: Resource, capacity: u64) -> PoolSpec {
    let bucket = BucketSpec {
        name: resource.word().into(),
        resource,
        capacity,
        refill: Some(Refill {
            amount: capacity,
            period: Duration::from_mins(1),
        }),
        threshold: 0,
        owner: Owner::Provider,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    PoolSpec::try_new("test", vec![bucket]).unwrap()
}

/// A bucket of 60,000 input tokens a minute, a thousand a second.
fn pool() -> Pool {
    Pool::new(spec(Resource::InputTokens, 60_000), Monotonic(0))
}

fn ask(tokens: u64) -> Ask {
    Ask {
        need: Need {
            input_tokens: tokens,
            output_tokens: tokens,
            ..Need::default()
        },
        priority: Priority::High,
        user: UserSlot::NONE,
        caller: Caller::Asking,
        queues: false,
    }
}

#[track_caller]
fn take(pool: &mut Pool, tokens: u64, at: u64) -> Taken {
    match pool.take(&ask(tokens), Monotonic(at)) {
        Admission::Granted(taken) => taken,
        other => panic!("not granted: {other:?}"),
    }
}

fn left(remaining: u64) -> Said {
    Said {
        resource: Resource::InputTokens,
        limit: Some(60_000),
        remaining: Some(remaining),
        grain: 1_000,
        resets_at: None,
    }
}

fn hear(pool: &mut Pool, taken: &Taken, said: Said, at: u64) -> Heard {
    pool.observe(taken, &observation(&[said]), Monotonic(at))
}

fn observation(said: &[Said]) -> Observation<'_> {
    Observation {
        said,
        date: NOON,
        of: 1,
        refused: None,
    }
}

fn level(pool: &Pool, at: u64) -> i64 {
    pool.snapshot(Monotonic(at)).buckets[0].level
}

fn mirror(pool: &Pool) -> crate::MirrorView {
    let now = Monotonic(pool.now);
    pool.snapshot(now).buckets[0].mirror.unwrap()
}

#[test]
fn less_than_was_counted_is_believed_at_once() {
    let mut pool = pool();
    let a = take(&mut pool, 10_000, 0);
    let b = take(&mut pool, 5_000, 0);
    let heard = hear(&mut pool, &a, left(30_000), 0);
    // The second was sent after the first, whose answer can't know of it.
    assert_eq!(level(&pool, 0), 25_000);
    // 45,000 were believed to be left.
    assert_eq!((heard.followed, heard.error_ppm), (1, 325_000));
    pool.settle(b, &ask(5_000).need, Monotonic(0));
    pool.settle(a, &ask(10_000).need, Monotonic(0));
}

#[test]
fn a_word_that_counts_what_was_sent_until_it_was_said_is_not_counted_twice() {
    let mut pool = pool();
    let small = take(&mut pool, 1_000, 0);
    let large = take(&mut pool, 40_000, SECOND);
    // Said two seconds after the large call was sent: without it, 18,000 would be missing now.
    let heard = hear(&mut pool, &small, left(22_000), 3 * SECOND);
    assert_eq!((heard.followed, heard.error_ppm), (1, 0));
    assert_eq!(level(&pool, 3 * SECOND), 22_000);
    // Its end corrects nothing, since the word has counted what it took.
    pool.settle(large, &ask(35_000).need, Monotonic(3 * SECOND));
    assert_eq!(level(&pool, 3 * SECOND), 22_000);
    pool.release(small, Monotonic(3 * SECOND));
}

#[test]
fn a_word_that_counts_what_was_sent_before_its_call_is_told_apart() {
    let mut pool = pool();
    let small = take(&mut pool, 1_000, 0);
    let large = take(&mut pool, 40_000, SECOND);
    let heard = hear(&mut pool, &small, left(59_000), 3 * SECOND);
    // 40,000 were sent after it, of which the level by our own count knows; two seconds have refilled since.
    assert_eq!((heard.followed, level(&pool, 3 * SECOND)), (1, 19_000));
    pool.settle(large, &ask(35_000).need, Monotonic(3 * SECOND));
    assert_eq!(level(&pool, 3 * SECOND), 24_000);
    pool.release(small, Monotonic(3 * SECOND));
}

#[test]
fn more_than_was_counted_is_believed_by_halves_while_others_are_in_flight() {
    let mut pool = pool();
    let a = take(&mut pool, 30_000, 0);
    let b = take(&mut pool, 10_000, 0);
    let _heard = hear(&mut pool, &b, left(40_000), 0);
    assert_eq!(level(&pool, 0), 30_000);
    pool.settle(b, &ask(10_000).need, Monotonic(0));
    pool.settle(a, &ask(30_000).need, Monotonic(0));
    let c = take(&mut pool, 1, 0);
    let _heard = hear(&mut pool, &c, left(44_000), 0);
    assert_eq!(level(&pool, 0), 44_000, "alone, all of it");
    pool.release(c, Monotonic(0));
}

#[test]
fn what_a_word_is_rounded_to_moves_nothing() {
    let mut pool = pool();
    let taken = take(&mut pool, 9_600, 0);
    for rounded in [50_000, 51_000] {
        let mut pool = pool.clone();
        let heard = hear(&mut pool, &taken, left(rounded), 0);
        let expected = if rounded == 50_000 { 50_400 } else { 51_000 };
        assert_eq!(level(&pool, 0), expected);
        let off = if rounded == 50_000 { 0 } else { 1_666 };
        assert_eq!(heard.error_ppm, off);
    }
    pool.release(taken, Monotonic(0));
}

#[test]
fn the_word_of_a_call_sent_earlier_changes_nothing_once_a_later_one_has_spoken() {
    let mut pool = pool();
    let early = take(&mut pool, 1_000, 0);
    let late = take(&mut pool, 1_000, SECOND);
    let _heard = hear(&mut pool, &late, left(20_000), 2 * SECOND);
    assert_eq!(level(&pool, 2 * SECOND), 20_000);
    for old in [left(50_000), left(0)] {
        let heard = hear(&mut pool, &early, old, 2 * SECOND);
        assert_eq!(heard.followed, 0);
        assert_eq!(level(&pool, 2 * SECOND), 20_000);
    }
    pool.release(early, Monotonic(2 * SECOND));
    pool.release(late, Monotonic(2 * SECOND));
}

#[test]
fn what_the_word_has_counted_is_not_given_back_twice() {
    let mut pool = pool();
    let taken = take(&mut pool, 30_000, 0);
    // It was really 10,000, and the provider has counted that.
    let _heard = hear(&mut pool, &taken, left(50_000), 0);
    assert_eq!(level(&pool, 0), 50_000);
    pool.settle(taken, &ask(10_000).need, Monotonic(0));
    assert_eq!(level(&pool, 0), 50_000);
}

#[test]
fn output_is_counted_as_it_comes_so_what_is_in_flight_may_or_may_not_be_in_the_word() {
    let mut pool = Pool::new(spec(Resource::OutputTokens, 60_000), Monotonic(0));
    let say = |remaining| Said {
        resource: Resource::OutputTokens,
        ..left(remaining)
    };
    let a = take(&mut pool, 10_000, 0);
    let b = take(&mut pool, 10_000, 0);
    // The first may have produced nothing yet, or all of it: 40,000 or 50,000 is what there will be
    // when both have ended, of which b's part is certainly still to come.
    for remaining in [50_000, 60_000] {
        let mut pool = pool.clone();
        let heard = hear(&mut pool, &b, say(remaining), 0);
        assert_eq!((level(&pool, 0), heard.error_ppm), (40_000, 0));
    }
    let _heard = hear(&mut pool, &b, say(45_000), 0);
    assert_eq!(level(&pool, 0), 35_000);
    pool.settle(b, &ask(4_000).need, Monotonic(0));
    assert_eq!(
        level(&pool, 0),
        41_000,
        "output that did not come is given back"
    );
    pool.settle(a, &ask(10_000).need, Monotonic(0));
}

fn refuse(pool: &mut Pool, taken: &Taken, remaining: u64, wait: Option<u64>, at: u64) -> Heard {
    let said = [left(remaining)];
    let observation = Observation {
        refused: Some(Refused {
            retry_after: wait.map(Duration::from_secs),
            largest: Need::default(),
        }),
        ..observation(&said)
    };
    pool.observe(taken, &observation, Monotonic(at))
}

#[test]
fn a_refused_call_fits_when_it_was_told_to_come_again_and_not_before() {
    for resource in [Resource::InputTokens, Resource::OutputTokens] {
        let mut pool = Pool::new(spec(resource, 60_000), Monotonic(0));
        let taken = take(&mut pool, 20_000, 0);
        let said = [Said {
            resource,
            ..left(3_000)
        }];
        let refused = Observation {
            refused: Some(Refused {
                retry_after: Some(Duration::from_secs(17)),
                largest: Need::default(),
            }),
            ..observation(&said)
        };
        let heard = pool.observe(&taken, &refused, Monotonic(0));
        assert_eq!(heard.slowed, 1);
        pool.release(taken, Monotonic(0));
        let early = pool.take(&ask(20_000), Monotonic(17 * SECOND - 1));
        let Admission::Deferred { wait, .. } = early else {
            panic!("{resource:?} {early:?}")
        };
        assert_eq!(wait.at_least(), Duration::from_nanos(1));
        let again = take(&mut pool, 20_000, 17 * SECOND);
        pool.release(again, Monotonic(17 * SECOND));
    }
}

#[test]
fn a_refusal_of_more_than_was_expected_is_explained_as_far_as_the_call_can_be_so_large() {
    let told = |largest: u64| {
        let mut pool = pool();
        let taken = take(&mut pool, 1_000, 0);
        let said = [left(30_000)];
        let refused = Observation {
            refused: Some(Refused {
                retry_after: Some(Duration::from_secs(10)),
                largest: Need {
                    input_tokens: largest,
                    ..Need::default()
                },
            }),
            ..observation(&said)
        };
        let heard = pool.observe(&taken, &refused, Monotonic(0));
        pool.release(taken, Monotonic(0));
        heard.short.map(|it| it.need)
    };
    assert_eq!(told(50_000), Some(40_000));
    // Something else than this bucket refuses it.
    assert_eq!(told(39_999), None);
}

#[test]
fn an_unforeseen_refusal_slows_the_refill_once_and_is_forgotten_in_ten_minutes() {
    let mut pool = pool();
    let a = take(&mut pool, 1_000, 0);
    let b = take(&mut pool, 1_000, 0);
    assert_eq!(refuse(&mut pool, &a, 0, None, 0).slowed, 1);
    // It was on its way already: it says nothing new.
    assert_eq!(refuse(&mut pool, &b, 0, None, 0).slowed, 0);
    assert_eq!(mirror(&pool).pace_permille, 900);
    pool.release(a, Monotonic(0));
    pool.release(b, Monotonic(0));
    assert_eq!(level(&pool, 5 * SECOND), 4_500);
    let mut minutes = Vec::new();
    for minute in [1, 5, 9, 10] {
        let _check = pool.check(&ask(1), Monotonic(minute * MINUTE));
        minutes.push(mirror(&pool).pace_permille);
    }
    assert_eq!(minutes, [910, 950, 990, 1_000]);
}

#[test]
fn a_refusal_that_was_foreseen_slows_nothing() {
    let mut pool = pool();
    let taken = take(&mut pool, 60_000, 0);
    let mut more = take(&mut pool, 100, SECOND);
    let extra = ask(9_000).need;
    pool.top_up(&mut more, &extra, Monotonic(SECOND));
    assert!(level(&pool, SECOND) < 0);
    assert_eq!(refuse(&mut pool, &more, 0, Some(9), SECOND).slowed, 0);
    pool.release(taken, Monotonic(SECOND));
    pool.release(more, Monotonic(SECOND));
}

#[test]
fn nonsense_changes_nothing_and_is_counted() {
    let mut pool = pool();
    let taken = take(&mut pool, 10_000, 0);
    let said = |change: fn(&mut Said)| {
        let mut said = left(50_000);
        change(&mut said);
        said
    };
    for (nonsense, what) in [
        (
            said(|it| it.remaining = Some(600_001)),
            "ten times the limit",
        ),
        (said(|it| it.limit = Some(0)), "no limit"),
        (said(|it| it.limit = Some(u64::MAX)), "endless"),
        (said(|it| it.resets_at = Some(Timestamp(0))), "1970"),
        (
            said(|it| it.resets_at = Some(NOON.after(Duration::from_hours(24 * 36_500)))),
            "in 100 years",
        ),
    ] {
        let mut pool = pool.clone();
        let heard = hear(&mut pool, &taken, nonsense, 0);
        assert_eq!((heard.nonsense, heard.replaced), (1, 0), "{what}");
        assert_eq!(level(&pool, 0), 50_000, "{what}");
        assert_eq!(mirror(&pool).nonsense, 1, "{what}");
    }
    pool.release(taken, Monotonic(0));
}

#[test]
fn a_limit_of_the_providers_own_replaces_the_configured_one() {
    let mut pool = pool();
    let taken = take(&mut pool, 10_000, 0);
    let said = Said {
        limit: Some(30_000),
        ..left(20_000)
    };
    assert_eq!(hear(&mut pool, &taken, said, 0).replaced, 1);
    let view = &pool.snapshot(Monotonic(0)).buckets[0];
    assert_eq!((view.capacity, view.level), (30_000, 20_000));
    assert_eq!(view.full_in_seconds, Some(20), "its refill goes with it");
    assert_eq!(view.mirror.unwrap().configured_capacity, Some(60_000));
    // The same configuration again does not undo it; another one does.
    pool.reconfigure(spec(Resource::InputTokens, 60_000), Monotonic(0));
    assert_eq!(pool.snapshot(Monotonic(0)).buckets[0].capacity, 30_000);
    pool.reconfigure(spec(Resource::InputTokens, 45_000), Monotonic(0));
    assert_eq!(pool.snapshot(Monotonic(0)).buckets[0].capacity, 45_000);
    pool.release(taken, Monotonic(0));
}

#[test]
fn a_reset_hours_ahead_is_honoured_and_a_near_one_gives_the_refill_back() {
    let mut pool = pool();
    let a = take(&mut pool, 10_000, 0);
    let far = Said {
        resets_at: Some(NOON.after(Duration::from_hours(5))),
        ..left(0)
    };
    let _heard = hear(&mut pool, &a, far, 0);
    pool.settle(a, &ask(10_000).need, Monotonic(0));
    assert_eq!(level(&pool, 0), 0);
    assert_eq!(level(&pool, 150 * MINUTE), 30_000);
    assert_eq!(level(&pool, 300 * MINUTE), 60_000);
    let b = take(&mut pool, 20_000, 300 * MINUTE);
    let near = Said {
        resets_at: Some(NOON.after(Duration::from_secs(20))),
        ..left(40_000)
    };
    let _heard = hear(&mut pool, &b, near, 300 * MINUTE);
    assert_eq!(level(&pool, 300 * MINUTE + 10 * SECOND), 50_000);
    pool.release(b, Monotonic(300 * MINUTE));
}

#[test]
fn another_class_of_models_is_heard_only_when_the_first_has_been_silent() {
    let mut pool = pool();
    let a = take(&mut pool, 1_000, 0);
    let _heard = hear(&mut pool, &a, left(59_000), 0);
    let b = take(&mut pool, 1_000, 0);
    let others = [left(10_000)];
    let other = Observation {
        of: 2,
        ..observation(&others)
    };
    assert_eq!(pool.observe(&b, &other, Monotonic(0)).followed, 0);
    assert_eq!(level(&pool, 0), 58_000);
    let later = 11 * MINUTE;
    let c = take(&mut pool, 1_000, later);
    assert_eq!(pool.observe(&c, &other, Monotonic(later)).followed, 1);
    assert_eq!(level(&pool, later), 10_000);
    for it in [a, b, c] {
        pool.release(it, Monotonic(later));
    }
}

#[test]
fn what_was_learned_survives_a_restart_and_not_another_configuration() {
    let mut pool = pool();
    let taken = take(&mut pool, 10_000, 0);
    let said = Said {
        limit: Some(30_000),
        ..left(0)
    };
    let refused = Observation {
        refused: Some(Refused {
            retry_after: None,
            largest: Need::default(),
        }),
        ..observation(std::slice::from_ref(&said))
    };
    let _heard = pool.observe(&taken, &refused, Monotonic(0));
    pool.release(taken, Monotonic(0));
    let saved = pool.export_mirrors();
    let mut again = Pool::new(spec(Resource::InputTokens, 60_000), Monotonic(0));
    again.restore_mirrors(&saved, Monotonic(0));
    again.restore(&pool.export(Monotonic(0)), Duration::ZERO, Monotonic(0));
    assert_eq!(again.snapshot(Monotonic(0)).buckets[0].capacity, 30_000);
    assert_eq!(level(&again, 0), 0);
    assert_eq!(mirror(&again).pace_permille, 900);
    let mut other = Pool::new(spec(Resource::InputTokens, 50_000), Monotonic(0));
    other.restore_mirrors(&saved, Monotonic(0));
    assert_eq!(other.snapshot(Monotonic(0)).buckets[0].capacity, 50_000);
    assert_eq!(mirror(&other).pace_permille, 1_000);
}
