use proptest::prelude::*;
use tidegate_types::{Enforcement, Mode};

use super::*;
use crate::{Owner, Resource};

const MS: u64 = 1_000_000;

fn flow(capacity: u64, amount: u64, period_ms: u64, threshold: u64) -> Flow {
    let spec = BucketSpec {
        name: "units".into(),
        resource: Resource::Units,
        capacity,
        refill: Some(Refill {
            amount,
            period: Duration::from_millis(period_ms),
        }),
        threshold,
        owner: Owner::Ours,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    Flow::full(&spec, 0)
}

/// Everything that two equal flows agree on.
fn state(flow: &Flow) -> String {
    format!("{flow:?}")
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Charge(u64, Priority),
    Wait(u64, Priority, u64),
    Debit(u64),
    Pass(u64),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let class = || prop::sample::select(Priority::ALL);
    let act = prop_oneof![
        (1_u64..120, class()).prop_map(|(tokens, class)| Act::Charge(tokens, class)),
        (1_u64..120, class(), 0_u64..60_000)
            .prop_map(|(tokens, class, ms)| Act::Wait(tokens, class, ms)),
        (1_u64..30).prop_map(Act::Debit),
        (0_u64..20_000).prop_map(Act::Pass),
    ];
    prop::collection::vec(act, 0..30)
}

fn apply(flow: &mut Flow, act: Act) {
    match act {
        Act::Charge(tokens, class) => {
            let fit = flow.fit(flow.cost(tokens), class);
            if fit != Fit::Not {
                flow.charge(tokens, class, fit);
            }
        }
        Act::Wait(tokens, class, ms) => {
            flow.wait(flow.cost(tokens), class, flow.at + 1 + ms * MS);
        }
        Act::Debit(tokens) => flow.debit(tokens),
        Act::Pass(ms) => flow.advance(flow.at + ms * MS),
    }
}

#[test]
fn a_month_of_dollars_does_not_overflow() {
    let mut flow = flow(
        crate::CAPACITY_MAX,
        crate::AMOUNT_MAX - 1,
        31 * 86_400_000,
        0,
    );
    flow.debit(u64::MAX);
    flow.debit(u64::MAX);
    let due = flow.first_fit(flow.cost(1), Priority::Low, 0);
    assert!(due > 0);
    flow.advance(u64::MAX);
    assert_eq!(flow.fit(flow.cost(1), Priority::Low), Fit::Fits);
}

#[test]
fn what_was_earned_until_the_threshold_is_gone_when_it_is_reached() {
    // Low has earned 1 at the very nanosecond at which the level is back at 60.
    let mut flow = flow(100, 10, 1_000, 60);
    flow.debit(50);
    let due = flow.first_fit(flow.cost(1), Priority::Low, 0);
    assert_eq!(due, 1_100 * MS);
}

#[test]
fn a_wait_counts_what_others_will_earn_meanwhile() {
    // Below the threshold 3 of 10 a second are low's and medium's: 5 more are there after 5/7 s.
    let mut flow = flow(100, 10, 1_000, 60);
    flow.debit(60);
    let due = flow.first_fit(flow.cost(45), Priority::High, 0);
    assert_eq!(due, 714_285_715);
}

proptest! {
    /// A level that only rises is high enough when the walk through its pieces says so.
    #[test]
    fn a_division_says_what_the_walk_says(
        capacity in 1_u64..120, amount in 1_u64..50, period_ms in 1_u64..3_000,
        debt in 0_u64..300, tokens in 1_u64..150, class in prop::sample::select(Priority::ALL),
        later in 0_u64..10_000,
    ) {
        let mut flow = flow(capacity, amount, period_ms, 0);
        flow.debit(debt);
        let cost = flow.cost(tokens);
        let from = flow.at + later * MS;
        let mut walking = flow;
        walking.advance(from);
        walking.lapse();
        prop_assert!(!walking.stirred);
        prop_assert_eq!(flow.first_fit(cost, class, from), walking.walk_to_fit(cost, class));
    }

    /// The first time is one at which the call fits, and none before is.
    #[test]
    fn the_first_fit_is_the_first(
        capacity in 1_u64..120, amount in 1_u64..50, period_ms in 1_u64..3_000, guard in 0_u64..=100,
        acts in acts(), tokens in 1_u64..150, class in prop::sample::select(Priority::ALL),
        earlier in prop::collection::vec(0.0..1.0, 20),
    ) {
        let mut flow = flow(capacity, amount, period_ms, capacity * guard / 100);
        for act in acts {
            apply(&mut flow, act);
        }
        let cost = flow.cost(tokens);
        let fits_at = |at: u64| {
            let mut later = flow;
            later.advance(at);
            later.fit(cost, class) != Fit::Not
        };
        let due = flow.first_fit(cost, class, flow.at);
        // The end of time: a claim that nobody waits for any more never admits it.
        prop_assert!(due == u64::MAX || fits_at(due), "does not fit when promised");
        let span = due.min(flow.at + 1_000_000 * MS) - flow.at;
        let around = [span.saturating_sub(1), span / 2];
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "any time will do")]
        let sampled = earlier.iter().map(|it| (it * span as f64) as u64);
        for before in sampled.chain(around).filter(|it| *it < span) {
            prop_assert!(!fits_at(flow.at + before), "fits {before} of {span} ns after");
        }
    }

    /// Looking at a bucket more often changes nothing.
    #[test]
    fn time_passes_the_same_in_any_number_of_steps(
        capacity in 1_u64..120, amount in 1_u64..50, period_ms in 1_u64..3_000, guard in 0_u64..=100,
        acts in acts(), cuts in prop::collection::vec(0_u64..40_000_000_000, 1..6),
    ) {
        let mut flow = flow(capacity, amount, period_ms, capacity * guard / 100);
        for act in acts {
            apply(&mut flow, act);
        }
        let (mut often, end) = (flow, flow.at + 40_000_000_000);
        let mut cuts: Vec<u64> = cuts.iter().map(|it| flow.at + it).collect();
        cuts.sort_unstable();
        for cut in cuts {
            often.advance(cut);
        }
        often.advance(end);
        flow.advance(end);
        prop_assert_eq!(state(&often), state(&flow));
    }

    /// What classes have earned is really there, unless settlement spent it.
    #[test]
    fn claims_are_covered_by_the_level_and_the_overdraft(
        capacity in 1_u64..120, amount in 1_u64..50, period_ms in 1_u64..3_000, guard in 0_u64..=100,
        acts in acts(),
    ) {
        let mut flow = flow(capacity, amount, period_ms, capacity * guard / 100);
        for act in acts {
            let oversize = matches!(act, Act::Charge(tokens, _) if flow.cost(tokens) > flow.capacity);
            if oversize || matches!(act, Act::Debit(_)) {
                continue;
            }
            apply(&mut flow, act);
            let guarded = [Priority::Low, Priority::Medium].iter().any(|it| flow.waits(*it));
            if guarded && flow.level >= flow.capacity {
                // They earn of what overflows, which is never there.
                return Ok(());
            }
            let claimed: i128 = flow.claims.iter().sum();
            // A claim is spent in whole tokens: each class may be short of one.
            let rounding = flow.cost(4);
            prop_assert!(claimed <= flow.level + flow.overdrawn + rounding, "{flow:?}");
        }
    }

    /// A class never earns more than its share of what was refilled.
    #[test]
    fn nobody_earns_more_than_its_share(
        capacity in 1_u64..120, amount in 1_u64..50, period_ms in 1_u64..3_000, guard in 0_u64..=100,
        acts in acts(), nanos in 1_u64..40_000_000_000,
    ) {
        let mut flow = flow(capacity, amount, period_ms, capacity * guard / 100);
        for act in acts {
            apply(&mut flow, act);
        }
        let mut later = flow;
        later.advance(flow.at + nanos);
        for class in Priority::ALL {
            // What is owed ends with a full bucket: that is not earned.
            let earned = later.claim(*class).max(0) - flow.claim(*class).max(0);
            let share = flow.rate / 100 * class.share_percent();
            prop_assert!(earned <= quanta(nanos, share));
            prop_assert!(later.claim(*class) <= 2 * later.capacity + i128::from(share));
        }
        prop_assert!(later.level <= later.capacity && later.level >= flow.level);
    }

    /// The same tokens, up to one, whatever their grain.
    #[test]
    fn levels_keep_their_worth_when_the_refill_changes(
        left in 0_u64..1_000_000, ms in 0_u64..1_000_000, amount in 1_u64..1_000, period_ms in 1_u64..86_400_000,
    ) {
        let mut old = flow(2_000_000, 97, 60_000, 0);
        old.debit(2_000_000 - left);
        old.advance(ms * MS);
        let spec = BucketSpec {
            name: "units".into(),
            resource: Resource::Units,
            capacity: 2_000_000,
            refill: Some(Refill { amount, period: Duration::from_millis(period_ms) }),
            threshold: 0,
            owner: Owner::Ours,
            enforcement: Enforcement::Named(Mode::Enforce),
        };
        let new = old.reshaped(&spec, 0);
        let (was, is) = (old.tokens(old.level()), new.tokens(new.level()));
        prop_assert!(is <= was && is + 1 >= was, "{was} became {is}");
    }
}
