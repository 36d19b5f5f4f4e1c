use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;
const TENTH: Share = Share { part: 1, of: 10 };

/// Spends `flow` every second for `seconds`, and answers the length of the penalty.
fn penalty(flow: u64, seconds: u64, others_wait: impl Fn(u64) -> bool) -> u64 {
    let mut pace = Pace::NEW;
    for second in 0..=seconds {
        let now = second * SECOND;
        pace.spend(flow, TENTH, others_wait(second), now);
        if let Some(until) = pace.penalised_until(now) {
            return until - now;
        }
    }
    0
}

#[test]
fn ten_minutes_above_twice_the_share_are_paid_back_at_half_speed() {
    // A second of flow every second, for 601 calls in 600 s; fair were 60 s. The excess of 541 s
    // at a twentieth would take 10,820 s: an hour is the most.
    assert_eq!(penalty(SECOND, 600, |_| true), 3_600 * SECOND);
    // 0.25 s of flow: 150.25 s, of which 60 were fair; at 0.05 s a second.
    assert_eq!(penalty(SECOND / 4, 600, |_| true), 1_805 * SECOND);
}

#[test]
fn twice_the_share_or_less_than_ten_minutes_is_no_offence() {
    assert_eq!(penalty(SECOND / 5 - SECOND / 1_000, 6_000, |_| true), 0);
    assert_eq!(penalty(SECOND, 599, |_| true), 0);
}

#[test]
fn what_nobody_else_waits_for_is_free() {
    assert_eq!(penalty(SECOND, 6_000, |_| false), 0);
    // Never ten minutes in a row.
    assert_eq!(penalty(SECOND, 6_000, |second| second % 600 != 0), 0);
}

#[test]
fn a_call_that_is_released_costs_nothing() {
    let mut pace = Pace::NEW;
    for second in 0..=600 {
        pace.spend(SECOND, TENTH, true, second * SECOND);
        pace.correct(SECOND, true, second * SECOND);
    }
    // The last call was judged before it could be released, the others were forgotten in time.
    assert_eq!(pace.penalised_until(600 * SECOND), None);
}

proptest! {
    /// Never below half of the share, and never above it, once the penalty is on.
    #[test]
    fn under_a_penalty_exactly_half_of_the_share_is_left(
        part in 1_u32..=10, flows in prop::collection::vec(1_u64..5 * SECOND, 30..60),
    ) {
        let share = Share { part, of: 10 };
        let start = 10_000 * SECOND;
        let mut pace = Pace { until: u64::MAX, next: start, share, ..Pace::NEW };
        let (mut now, mut used) = (start, 0);
        let largest = flows.iter().max().copied().unwrap();
        for flow in flows {
            now = now.max(pace.may_start());
            pace.spend(flow, share, true, now);
            used += flow;
        }
        // Over the time until the next call may start.
        let lasted = pace.may_start() - start;
        let half = lasted * u64::from(part) / 20;
        prop_assert!(used.abs_diff(half) <= largest, "{used} instead of {half} in {lasted}");
    }
}
