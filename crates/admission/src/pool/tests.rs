use std::fmt::Write as _;

use expect_test::{Expect, expect};
use tidegate_types::{Enforcement, Mode};

use super::*;
use crate::{Owner, Refill};

mod exceptions;
mod properties;
mod shares;

const MS: u64 = 1_000_000;
const ENFORCED: Enforcement = Enforcement::Named(Mode::Enforce);
const WATCHED: Enforcement = Enforcement::Named(Mode::Watch);

fn need(tokens: u64) -> Need {
    Need {
        units: tokens,
        requests: 1,
        input_tokens: tokens,
        output_tokens: tokens,
        tokens,
        nano_usd: tokens,
    }
}

/// Reads `<resource> <capacity> [<amount>/s] [over <threshold>] [watched|built_in] [provider]`.
fn bucket(text: &str) -> BucketSpec {
    let words: Vec<&str> = text.split_whitespace().collect();
    let resource = match words[0] {
        "units" => Resource::Units,
        "requests" => Resource::Requests,
        "input" => Resource::InputTokens,
        "dollars" => Resource::NanoUsd,
        "concurrency" => Resource::Concurrency,
        other => panic!("no resource {other}"),
    };
    let after = |word: &str| {
        let at = words.iter().position(|it| *it == word)?;
        words.get(at + 1)?.parse().ok()
    };
    let per_second = words.iter().find_map(|it| it.strip_suffix("/s"));
    BucketSpec {
        name: words[0].into(),
        resource,
        capacity: words[1].parse().unwrap(),
        refill: per_second.map(|it| Refill {
            amount: it.parse().unwrap(),
            period: Duration::from_secs(1),
        }),
        threshold: after("over").unwrap_or(0),
        owner: if words.contains(&"provider") {
            Owner::Provider
        } else {
            Owner::Ours
        },
        enforcement: match words.last() {
            Some(&"watched") => WATCHED,
            Some(&"built_in") => Enforcement::BuiltIn,
            Some(_) | None => ENFORCED,
        },
    }
}

fn spec(text: &str) -> PoolSpec {
    let buckets = text.split(',').map(bucket).collect();
    PoolSpec::try_new("test", buckets).unwrap()
}

/// Runs a script against a pool of the buckets in `buckets`, and compares the transcript. Lines:
///
/// - `<ms> take <priority> <tokens> [by <user>] [keyless]`; what is granted gets the next number
/// - `<ms> settle <number> <tokens>`, `release <number>`, `more <number> <tokens>`
/// - `<ms> reconfigure <buckets>`, `debit <tokens>`, `look`
#[track_caller]
fn check(buckets: &str, script: &str, expected: Expect) {
    let mut pool = Pool::new(spec(buckets), Monotonic(0));
    let mut taken: Vec<Option<Taken>> = Vec::new();
    let mut transcript = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words.get(at).map_or(0, |it| it.parse().unwrap_or(0));
        let now = Monotonic(number(0) * MS);
        let mut held = |at: u64| taken[usize::try_from(at).unwrap()].take().expect("held");
        let outcome = match words[1] {
            "take" => take(&mut pool, &words, now, &mut taken),
            "settle" => {
                pool.settle(held(number(2)), &need(number(3)), now);
                String::new()
            }
            "release" => {
                pool.release(held(number(2)), now);
                String::new()
            }
            "more" => {
                let mut it = held(number(2));
                pool.top_up(&mut it, &need(number(3)), now);
                taken[usize::try_from(number(2)).unwrap()] = Some(it);
                String::new()
            }
            "debit" => {
                pool.debit(&need(number(2)), now);
                String::new()
            }
            "reconfigure" => {
                let (_, text) = line.split_once("reconfigure").unwrap();
                pool.reconfigure(spec(text), now);
                String::new()
            }
            "look" => String::new(),
            other => panic!("no verb {other}"),
        };
        writeln!(transcript, "{line:<24} -> {outcome}{}", levels(&pool, now)).unwrap();
    }
    expected.assert_eq(&transcript);
}

fn take(pool: &mut Pool, words: &[&str], now: Monotonic, taken: &mut Vec<Option<Taken>>) -> String {
    let user = words.iter().position(|it| *it == "by");
    let user = user.map_or(UserSlot::NONE, |at| pool.user("acme", words[at + 1], now));
    let ask = Ask {
        need: need(words[3].parse().unwrap()),
        priority: words[2].parse().unwrap(),
        user,
        caller: if words.contains(&"keyless") {
            Caller::Keyless
        } else {
            Caller::Asking
        },
        queues: false,
    };
    let name = |pool: &Pool, it: BucketIndex| pool.bucket(it).unwrap().name.clone();
    match pool.check(&ask, now) {
        Check::Clear(cleared) => {
            let notes = cleared.notes().iter().fold(String::new(), |all, note| {
                let bucket = match note {
                    Note::WouldWait { bucket, .. }
                    | Note::WouldRefuse { bucket }
                    | Note::Overdraft { bucket } => name(pool, *bucket) + ": ",
                    Note::Penalised { .. } => String::new(),
                };
                all + &format!(" ({bucket}{note})")
            });
            taken.push(Some(pool.commit(cleared, now)));
            format!("granted {}{notes}", taken.len() - 1)
        }
        Check::Deferred {
            wait,
            bucket,
            reason,
        } => {
            format!("deferred {wait} ({}: {reason})", name(pool, bucket))
        }
        Check::NeverFits { bucket } => format!("never fits {}", name(pool, bucket)),
    }
}

fn levels(pool: &Pool, now: Monotonic) -> String {
    let view = pool.snapshot(now);
    let mut text = String::new();
    for bucket in view.buckets {
        write!(text, "; {} {}", bucket.name, bucket.level).unwrap();
        for class in bucket.classes.iter().filter(|it| it.earned > 0) {
            write!(text, " {}:{}", class.priority, class.earned).unwrap();
        }
    }
    for penalty in view.penalties {
        let who = penalty.user.unwrap_or_default();
        let class = penalty.priority.map_or("", Priority::word);
        write!(text, "; {who}{class} half speed {}s", penalty.left_seconds).unwrap();
    }
    text
}

#[test]
fn a_call_passes_only_if_every_bucket_lets_it_and_waits_for_the_slowest() {
    check(
        "units 100 10/s, requests 3 1/s",
        "
        0 take high 90
        0 take high 20
        0 take high 5
        0 take high 5
        0 take high 1
        999 take high 1
        1000 take high 1
        1000 take high 30
        ",
        expect![[r#"
            0 take high 90           -> granted 0; units 10; requests 2
            0 take high 20           -> deferred 1s (units: less is left than this call needs); units 10; requests 2
            0 take high 5            -> granted 1; units 5; requests 1
            0 take high 5            -> granted 2; units 0; requests 0
            0 take high 1            -> deferred 1s (requests: less is left than this call needs); units 0; requests 0
            999 take high 1          -> deferred 1ms (requests: less is left than this call needs); units 9 high:2; requests 0
            1000 take high 1         -> granted 3; units 9 high:2; requests 0
            1000 take high 30        -> deferred 2.1s (units: less is left than this call needs); units 9 high:2; requests 0
        "#]],
    );
}

#[test]
fn concurrency_is_given_back_by_calls_that_end_and_not_by_time() {
    check(
        "units 100 10/s, concurrency 2",
        "
        0 take high 40
        0 take high 40
        0 take high 40
        9999 take high 1
        9999 settle 0 40
        9999 take high 1
        ",
        expect![[r#"
            0 take high 40           -> granted 0; units 60; concurrency 1
            0 take high 40           -> granted 1; units 20; concurrency 0
            0 take high 40           -> deferred until a call ends, at least 2s (concurrency: as many calls are in flight as may be); units 20; concurrency 0
            9999 take high 1         -> deferred until a call ends (concurrency: as many calls are in flight as may be); units 100 high:24; concurrency 0
            9999 settle 0 40         -> ; units 100 high:24; concurrency 1
            9999 take high 1         -> granted 2; units 99 high:23; concurrency 0
        "#]],
    );
}

#[test]
fn settlement_gives_back_what_was_not_used_and_charges_what_was_used_on_top() {
    check(
        "units 100 10/s",
        "
        0 take high 50
        0 settle 0 20
        0 take high 80
        0 more 1 30
        0 look
        0 settle 1 150
        0 take high 1
        7100 take high 1
        7100 release 2
        ",
        expect![[r#"
            0 take high 50           -> granted 0; units 50
            0 settle 0 20            -> ; units 80
            0 take high 80           -> granted 1; units 0
            0 more 1 30              -> ; units -30
            0 look                   -> ; units -30
            0 settle 1 150           -> ; units -70
            0 take high 1            -> deferred 7.1s (units: less is left than this call needs); units -70
            7100 take high 1         -> granted 2; units 0
            7100 release 2           -> ; units 1
        "#]],
    );
}

#[test]
fn what_would_have_overflowed_meanwhile_is_not_given_back() {
    check(
        "units 100 10/s",
        "
        0 take high 60
        3000 take high 30
        3000 release 0
        5000 take high 60
        5000 release 1
        ",
        expect![[r#"
            0 take high 60           -> granted 0; units 40
            3000 take high 30        -> granted 1; units 40
            3000 release 0           -> ; units 70
            5000 take high 60        -> granted 2; units 30
            5000 release 1           -> ; units 40
        "#]],
    );
}

#[test]
fn two_calls_do_not_give_back_the_same_tokens() {
    // Had neither started, the bucket would have been full before the call of 70.
    check(
        "units 100 10/s",
        "
        0 take high 30
        0 take high 30
        3000 take high 70
        3000 release 0
        3000 release 1
        ",
        expect![[r#"
            0 take high 30           -> granted 0; units 70
            0 take high 30           -> granted 1; units 40
            3000 take high 70        -> granted 2; units 0
            3000 release 0           -> ; units 30
            3000 release 1           -> ; units 30
        "#]],
    );
}

#[test]
fn what_was_taken_while_running_is_given_back_too() {
    check(
        "units 100 10/s",
        "
        0 take high 10
        500 more 0 65
        1000 more 0 5
        3000 settle 0 20
        3000 take high 1
        ",
        expect![[r#"
            0 take high 10           -> granted 0; units 90
            500 more 0 65            -> ; units 30
            1000 more 0 5            -> ; units 30
            3000 settle 0 20         -> ; units 100
            3000 take high 1         -> granted 1; units 99
        "#]],
    );
}

#[test]
fn a_larger_capacity_gives_back_nothing_that_overflowed_before() {
    check(
        "units 100 10/s",
        "
        0 take high 60
        3000 take high 30
        3000 reconfigure units 1000 10/s
        3000 release 0
        3000 reconfigure units 20 10/s
        3000 reconfigure units 1000 5/s
        ",
        expect![[r#"
            0 take high 60           -> granted 0; units 40
            3000 take high 30        -> granted 1; units 40
            3000 reconfigure units 1000 10/s -> ; units 40
            3000 release 0           -> ; units 70
            3000 reconfigure units 20 10/s -> ; units 20
            3000 reconfigure units 1000 5/s -> ; units 20
        "#]],
    );
}

#[test]
fn what_a_class_had_earned_is_given_back_to_it() {
    check(
        "units 100 10/s over 60",
        "
        0 take high 80
        3000 take low 3
        3000 release 1
        3000 take low 3
        3000 settle 2 1
        3000 take low 2
        ",
        expect![[r#"
            0 take high 80           -> granted 0; units 20
            3000 take low 3          -> granted 1; units 47 medium:6
            3000 release 1           -> ; units 50 low:3 medium:6
            3000 take low 3          -> granted 2; units 47 medium:6
            3000 settle 2 1          -> ; units 49 low:2 medium:6
            3000 take low 2          -> granted 3; units 47 medium:6
        "#]],
    );
}

#[test]
fn a_call_of_low_that_no_stock_above_the_threshold_can_hold_starts_when_it_is_earned() {
    check(
        "units 100 10/s over 60",
        "
        0 take low 45
        0 take low 150
        44999 take low 45
        45000 take low 45
        45000 take low 150
        145000 take low 150
        ",
        expect![[r#"
            0 take low 45            -> deferred 45s (units: below the threshold this priority spends only what its share of the refill earns); units 100
            0 take low 150           -> deferred 100s (units: this call is so large that it needs a full bucket); units 100
            44999 take low 45        -> deferred 1ms (units: below the threshold this priority spends only what its share of the refill earns); units 100 low:44
            45000 take low 45        -> granted 0; units 55
            45000 take low 150       -> deferred 100s (units: this call is so large that it needs a full bucket); units 55
            145000 take low 150      -> granted 1; units -50
        "#]],
    );
}

#[test]
fn a_call_larger_than_the_bucket_starts_from_a_full_one_and_leaves_a_debt() {
    check(
        "units 100 10/s, dollars 1000 1000/s",
        "
        0 take high 10
        0 take high 250
        999 take high 250
        1000 take high 250
        1000 take high 1
        16100 take high 1
        16100 take high 1001
        ",
        expect![[r#"
            0 take high 10           -> granted 0; units 90; dollars 990
            0 take high 250          -> deferred 1s (units: this call is so large that it needs a full bucket); units 90; dollars 990
            999 take high 250        -> deferred 1ms (units: this call is so large that it needs a full bucket); units 99 high:2; dollars 1000 high:3
            1000 take high 250       -> granted 1; units -150; dollars 750
            1000 take high 1         -> deferred 15.1s (units: less is left than this call needs); units -150; dollars 750
            16100 take high 1        -> granted 2; units 0; dollars 999
            16100 take high 1001     -> never fits dollars; units 0; dollars 999
        "#]],
    );
}

#[test]
fn below_the_threshold_low_and_medium_spend_what_their_share_earns() {
    check(
        "units 100 10/s over 60",
        "
        0 take low 40
        0 take low 1
        0 take high 20
        1000 take medium 2
        1000 take low 2
        1999 take low 2
        2000 take low 2
        2000 take high 30
        2000 take critical 23
        ",
        expect![[r#"
            0 take low 40            -> granted 0; units 60
            0 take low 1             -> deferred 100ms (units: below the threshold this priority spends only what its share of the refill earns); units 60
            0 take high 20           -> granted 1; units 40
            1000 take medium 2       -> granted 2; units 48 low:1
            1000 take low 2          -> deferred 1s (units: below the threshold this priority spends only what its share of the refill earns); units 48 low:1
            1999 take low 2          -> deferred 1ms (units: below the threshold this priority spends only what its share of the refill earns); units 57 low:1 medium:1
            2000 take low 2          -> granted 3; units 56 medium:2
            2000 take high 30        -> granted 4; units 26 medium:2
            2000 take critical 23    -> granted 5; units 3 medium:2
        "#]],
    );
}

#[test]
fn back_at_the_threshold_what_was_earned_ends_unless_its_class_waits() {
    check(
        "units 100 10/s over 60",
        "
        0 take high 60
        1000 look
        1999 look
        2000 look
        ",
        expect![[r#"
            0 take high 60           -> granted 0; units 40
            1000 look                -> ; units 50 low:1 medium:2
            1999 look                -> ; units 59 low:1 medium:3
            2000 look                -> ; units 60
        "#]],
    );
    check(
        "units 100 10/s over 60",
        "
        0 take high 60
        0 take low 41
        1000 look
        2000 look
        3000 look
        6000 take medium 10
        6000 take low 41
        6000 reconfigure units 100 10/s over 60
        7000 take low 41
        90000 look
        ",
        expect![[r#"
            0 take high 60           -> granted 0; units 40
            0 take low 41            -> deferred 41s (units: less is left than this call needs); units 40
            1000 look                -> ; units 50 low:1 medium:2
            2000 look                -> ; units 60 low:2
            3000 look                -> ; units 70 low:3
            6000 take medium 10      -> granted 1; units 90 low:6
            6000 take low 41         -> deferred 35s (units: below the threshold this priority spends only what its share of the refill earns); units 90 low:6
            6000 reconfigure units 100 10/s over 60 -> ; units 90 low:6
            7000 take low 41         -> deferred 34s (units: below the threshold this priority spends only what its share of the refill earns); units 100 low:7
            90000 look               -> ; units 100 low:41
        "#]],
    );
}

#[test]
fn a_class_that_waits_earns_its_share_and_nobody_else_may_spend_it() {
    check(
        "units 100 10/s",
        "
        0 take high 100
        0 take critical 80
        0 take low 50
        5000 take high 30
        5000 take high 20
        10000 take critical 35
        15000 take low 35
        ",
        expect![[r#"
            0 take high 100          -> granted 0; units 0
            0 take critical 80       -> deferred 7s (units: less is left than this call needs); units 0
            0 take low 50            -> deferred 8.333333334s (units: less is left than this call needs); units 0
            5000 take high 30        -> deferred 1s (units: what is left was earned by other priorities that wait); units 50 low:5 critical:20
            5000 take high 20        -> granted 1; units 30 low:5 critical:20
            10000 take critical 35   -> granted 2; units 45 low:10 high:15 critical:5
            15000 take low 35        -> granted 3; units 60 high:30 critical:25
        "#]],
    );
}
