//! Overdrafts, watched buckets, other figures, and what no check has seen.

use super::*;

#[test]
fn critical_overdraws_a_tenth_once_until_it_is_paid_back() {
    check(
        "units 100 10/s",
        "
        0 take high 100
        0 take critical 10
        0 take critical 1
        999 take high 1
        1099 take critical 1
        1100 take critical 1
        1100 take critical 10
        ",
        expect![[r#"
            0 take high 100          -> granted 0; units 0
            0 take critical 10       -> granted 1 (units: critical overdraws the bucket, and pays it back before it may again); units -10
            0 take critical 1        -> deferred 1s (units: less is left than this call needs); units -10
            999 take high 1          -> deferred 167.380952ms (units: what is left was earned by other priorities that wait); units -1 medium:1
            1099 take critical 1     -> granted 2 (units: critical overdraws the bucket, and pays it back before it may again); units -1
            1100 take critical 1     -> deferred 43.285715ms (units: less is left than this call needs); units 0
            1100 take critical 10    -> deferred 43.285715ms (units: less is left than this call needs); units 0
        "#]],
    );
    check(
        "units 100 10/s provider",
        "
        0 take critical 100
        0 take critical 10
        ",
        expect![[r#"
            0 take critical 100      -> granted 0; units 0
            0 take critical 10       -> deferred 1s (units: less is left than this call needs); units 0
        "#]],
    );
}

#[test]
fn an_overdraft_leaves_what_a_waiting_class_has_earned() {
    check(
        "units 100 10/s",
        "
        0 take high 100
        0 take low 5
        4000 take critical 46
        4000 take critical 47
        5000 take low 5
        ",
        expect![[r#"
            0 take high 100          -> granted 0; units 0
            0 take low 5             -> deferred 500ms (units: less is left than this call needs); units 0
            4000 take critical 46    -> granted 1 (units: critical overdraws the bucket, and pays it back before it may again); units -6 low:4
            4000 take critical 47    -> deferred 4.8s (units: less is left than this call needs); units -6 low:4
            5000 take low 5          -> granted 2; units -1
        "#]],
    );
}

#[test]
fn a_watched_bucket_is_charged_and_says_what_it_would_have_done() {
    check(
        "units 100 10/s over 60 built_in, dollars 1000 1000/s watched, concurrency 1 watched",
        "
        0 take low 90 keyless
        0 take low 90
        0 take low 90 keyless
        0 take low 90 keyless
        0 take high 2000 keyless
        10000 look
        ",
        expect![[r#"
            0 take low 90 keyless    -> granted 0 (units: would wait 90s: below the threshold this priority spends only what its share of the refill earns); units 10; dollars 910; concurrency 0
            0 take low 90            -> deferred 90s (units: less is left than this call needs); units 10; dollars 910; concurrency 0
            0 take low 90 keyless    -> granted 1 (units: would wait 90s: less is left than this call needs) (concurrency: would wait until a call ends: as many calls are in flight as may be); units -80; dollars 820; concurrency -1
            0 take low 90 keyless    -> granted 2 (units: would wait 98s: less is left than this call needs) (concurrency: would wait until a call ends: as many calls are in flight as may be); units -100; dollars 730; concurrency -2
            0 take high 2000 keyless -> granted 3 (units: would wait 20s: this call is so large that it needs a full bucket) (dollars: would be refused: this call is larger than the limit itself) (concurrency: would wait until a call ends: as many calls are in flight as may be); units -100; dollars -1000; concurrency -3
            10000 look               -> ; units 0; dollars 1000; concurrency -3
        "#]],
    );
}

#[test]
fn new_figures_keep_levels_debts_and_what_is_outstanding() {
    check(
        "units 100 10/s, concurrency 5",
        "
        0 take high 70
        0 reconfigure units 50 3/s, concurrency 1
        0 take high 10
        0 settle 0 90
        0 look
        0 reconfigure units 200 10/s, requests 2 1/s, concurrency 1
        1000 take high 1
        1000 reconfigure units 20 1/s
        1000 settle 1 1
        1000 reconfigure units 20 1/s, requests 7 1/s
        ",
        expect![[r#"
            0 take high 70           -> granted 0; units 30; concurrency 4
            0 reconfigure units 50 3/s, concurrency 1 -> ; units 30; concurrency 0
            0 take high 10           -> deferred until a call ends (concurrency: as many calls are in flight as may be); units 30; concurrency 0
            0 settle 0 90            -> ; units 10; concurrency 1
            0 look                   -> ; units 10; concurrency 1
            0 reconfigure units 200 10/s, requests 2 1/s, concurrency 1 -> ; units 10; requests 2; concurrency 1
            1000 take high 1         -> granted 1; units 19 high:2; requests 1; concurrency 0
            1000 reconfigure units 20 1/s -> ; units 19 high:2
            1000 settle 1 1          -> ; units 19 high:2
            1000 reconfigure units 20 1/s, requests 7 1/s -> ; units 19 high:2; requests 7
        "#]],
    );
}

#[test]
fn usage_that_no_check_has_seen_delays_later_calls() {
    check(
        "units 100 10/s, concurrency 1",
        "
        0 debit 130
        0 take high 10
        4000 take high 10
        ",
        expect![[r#"
            0 debit 130              -> ; units -30; concurrency 1
            0 take high 10           -> deferred 4s (units: less is left than this call needs); units -30; concurrency 1
            4000 take high 10        -> granted 0; units 0; concurrency 0
        "#]],
    );
}

#[test]
fn a_commit_after_something_else_has_happened_is_stopped() {
    let mut pool = Pool::new(spec("units 10 1/s"), Monotonic(0));
    let ask = Ask {
        need: need(10),
        priority: Priority::High,
        user: UserSlot::NONE,
        caller: Caller::Asking,
        queues: false,
    };
    let Check::Clear(first) = pool.check(&ask, Monotonic(0)) else {
        panic!("a full bucket defers")
    };
    let Check::Clear(second) = pool.check(&ask, Monotonic(0)) else {
        panic!("a check takes nothing")
    };
    let mut other = pool.clone();
    let stale = std::panic::catch_unwind(move || other.commit(first, Monotonic(0)));
    assert!(stale.is_err(), "a stale clearance was committed");
    let taken = pool.commit(second, Monotonic(0));
    pool.release(taken, Monotonic(0));
}
