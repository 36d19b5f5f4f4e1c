use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn full(per_minute: u64, burst_seconds: u32) -> Bucket {
    Bucket::full(per_minute, burst_seconds, Timestamp(0))
}

#[test]
fn rule_2_refill_is_continuous_and_stops_at_the_burst() {
    let mut bucket = full(600, 60);
    bucket.take(600);
    for (seconds, left) in [(1, 10), (2, 20), (60, 600), (90, 600)] {
        bucket.refill(Timestamp(seconds * SECOND));
        assert_eq!(bucket.remaining(), left, "after {seconds} s");
    }
    assert_eq!(full(600, 10).remaining(), 100);
    assert_eq!(full(1, 1).remaining(), 1, "never less than one unit");
}

#[test]
fn rule_2_debt_is_worked_off_before_anything_is_granted() {
    let mut bucket = full(60, 60);
    bucket.take(90);
    assert_eq!((bucket.remaining(), bucket.debt()), (0, 30));
    assert_eq!(bucket.until_out_of_debt(), Duration::from_secs(30));
    assert_eq!(bucket.wait(1), Duration::from_secs(31));
}

#[test]
fn rule_3_a_need_above_the_capacity_waits_for_a_full_bucket() {
    let mut bucket = full(60, 60);
    assert_eq!(bucket.wait(1_000), Duration::ZERO);
    bucket.take(1);
    assert_eq!(bucket.wait(1_000), Duration::from_secs(1));
}

#[test]
fn a_clock_that_steps_back_refills_nothing() {
    let mut bucket = full(60, 60);
    bucket.refill(Timestamp(100 * SECOND));
    bucket.take(60);
    bucket.refill(Timestamp(SECOND));
    assert_eq!(bucket.remaining(), 0);
    bucket.refill(Timestamp(101 * SECOND));
    assert_eq!(bucket.remaining(), 1);
}

proptest! {
    #[test]
    fn a_wait_is_exact_to_the_nanosecond(
        per_minute in 1_u64..10_000_000,
        taken in 1_u64..20_000_000,
        need in 1_u64..10_000_000,
    ) {
        let mut bucket = full(per_minute, 60);
        bucket.take(taken);
        let wait = bucket.wait(need);
        if !wait.is_zero() {
            let mut early = bucket.clone();
            early.refill(Timestamp(0).after(wait.saturating_sub(Duration::from_nanos(1))));
            prop_assert!(!early.wait(need).is_zero());
        }
        bucket.refill(Timestamp(0).after(wait));
        prop_assert!(bucket.wait(need).is_zero());
    }

    #[test]
    fn many_small_steps_refill_as_much_as_one(
        per_minute in 1_u64..1_000_000,
        steps in proptest::collection::vec(1_u64..1_000_000_000, 1..50),
    ) {
        let mut stepped = full(per_minute, 3_600);
        stepped.take(per_minute * 60);
        let mut leapt = stepped.clone();
        let mut now = 0;
        for step in steps {
            now += step;
            stepped.refill(Timestamp(now));
        }
        leapt.refill(Timestamp(now));
        prop_assert_eq!(stepped.until_full(), leapt.until_full());
    }
}
