use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn place(account: &str, models: &str) -> Place {
    Place {
        provider: "anthropic".into(),
        account: account.into(),
        models: models.into(),
    }
}

fn signal(word: &str, wait: Option<u64>) -> Option<Signal> {
    let (cause, scope) = match word {
        "well" => return None,
        "400" => (Cause::Rate, Scope::Request),
        "429" => (Cause::Rate, Scope::Model),
        "quota" => (Cause::Quota, Scope::Account),
        "cap" => (Cause::SpendCap, Scope::Account),
        "529" => (Cause::Overloaded, Scope::Provider),
        other => panic!("no signal {other}"),
    };
    let horizon = wait.map_or(Horizon::Unknown, |it| Horizon::For(Duration::from_secs(it)));
    Some(Signal {
        cause,
        scope,
        horizon,
    })
}

/// Runs a script, and compares the transcript. Lines:
///
/// - `<seconds> ask <account> <models>`
/// - `<seconds> hear <account> <models> <well|400|429|quota|cap|529> [for <seconds>] [sent <seconds>]
///   [times <n>]`
/// - `<seconds> give up`: the last that tried
#[track_caller]
fn check(script: &str, expected: Expect) {
    let mut cooldowns = Cooldowns::default();
    let mut last = None;
    let mut transcript = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let after = |word: &str| {
            let at = words.iter().position(|it| *it == word)?;
            words.get(at + 1)?.parse::<u64>().ok()
        };
        let seconds: u64 = words[0].parse().unwrap();
        let now = Monotonic(seconds * SECOND);
        let said = match words[1] {
            "ask" => match cooldowns.ask(&place(words[2], words[3]), now) {
                Pass::Free => "goes".to_owned(),
                Pass::Probe(probe) => {
                    last = Some(probe);
                    "tries".to_owned()
                }
                Pass::Wait(Cooldown { cause, left, .. }) => format!("waits {left:?}: {cause}"),
            },
            "hear" => {
                let signal = signal(words[4], after("for"));
                let sent = Monotonic(after("sent").unwrap_or(seconds) * SECOND);
                let place = place(words[2], words[3]);
                let times = after("times").unwrap_or(1);
                let heard = (0..times).map(|_| cooldowns.hear(&place, signal, sent, now));
                let changed: Vec<bool> = heard.collect();
                match changed.iter().position(|it| *it) {
                    Some(0) => "changed".to_owned(),
                    Some(at) => format!("changed by number {}", at + 1),
                    None => "as before".to_owned(),
                }
            }
            _ => {
                cooldowns.give_up(last.as_ref().unwrap());
                "given up".to_owned()
            }
        };
        writeln!(transcript, "{line}: {said}").unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn a_limit_keeps_one_class_of_models_of_one_account_until_it_said() {
    check(
        "0 hear ann opus 429 for 7999
         1 ask ann opus
         1 ask ann sonnet
         1 ask ben opus
         7998 ask ann opus
         7999 ask ann opus",
        expect![[r#"
            0 hear ann opus 429 for 7999: changed
            1 ask ann opus: waits 7998s: the provider's rate limit is reached
            1 ask ann sonnet: goes
            1 ask ben opus: goes
            7998 ask ann opus: waits 1s: the provider's rate limit is reached
            7999 ask ann opus: tries
        "#]],
    );
}

#[test]
fn an_account_whose_money_is_spent_is_asked_for_nothing() {
    check(
        "0 hear ann opus cap
         1 ask ann haiku
         1 ask ben opus
         60 ask ann haiku
         61 hear ann haiku cap sent 60
         62 ask ann opus
         181 ask ann opus",
        expect![[r#"
            0 hear ann opus cap: changed
            1 ask ann haiku: waits 59s: the provider's limit on money is reached
            1 ask ben opus: goes
            60 ask ann haiku: tries
            61 hear ann haiku cap sent 60: changed
            62 ask ann opus: waits 119s: the provider's limit on money is reached
            181 ask ann opus: tries
        "#]],
    );
}

#[test]
fn an_overload_counts_from_the_fifth_time_and_for_everybody_who_asks_for_these_models() {
    check(
        "0 hear ann opus 529 times 2
         1 hear ben opus 529 times 2
         1 ask ann opus
         2 hear ann opus 529
         2 ask ben opus
         2 ask ann sonnet
         3 ask ben opus",
        expect![[r#"
            0 hear ann opus 529 times 2: as before
            1 hear ben opus 529 times 2: as before
            1 ask ann opus: goes
            2 hear ann opus 529: changed
            2 ask ben opus: waits 1s: the provider is overloaded
            2 ask ann sonnet: goes
            3 ask ben opus: tries
        "#]],
    );
}

#[test]
fn failures_far_apart_open_nothing() {
    check(
        "0 hear ann opus 529 times 2
         16 hear ann opus 529 times 2
         40 hear ann opus 529
         46 hear ann opus 529 times 2
         46 ask ann opus",
        expect![[r#"
            0 hear ann opus 529 times 2: as before
            16 hear ann opus 529 times 2: as before
            40 hear ann opus 529: as before
            46 hear ann opus 529 times 2: as before
            46 ask ann opus: goes
        "#]],
    );
}

#[test]
fn failures_open_a_breaker_where_they_are_half_of_what_is_answered() {
    check(
        "0 hear ann opus 529 times 4
         1 hear ann opus well times 7
         2 hear ann opus 529 times 2
         3 ask ann opus
         3 hear ann opus 529
         3 ask ann opus
         4 ask ann opus
         4 hear ann opus well
         5 hear ann opus 529 times 4
         5 ask ann opus",
        expect![[r#"
            0 hear ann opus 529 times 4: as before
            1 hear ann opus well times 7: as before
            2 hear ann opus 529 times 2: as before
            3 ask ann opus: goes
            3 hear ann opus 529: changed
            3 ask ann opus: waits 1s: the provider is overloaded
            4 ask ann opus: tries
            4 hear ann opus well: changed
            5 hear ann opus 529 times 4: as before
            5 ask ann opus: goes
        "#]],
    );
}

#[test]
fn an_overload_benches_no_account_and_a_limit_proves_that_the_provider_is_there() {
    check(
        "0 hear ann opus 429 for 100
         1 hear ann opus 529 times 5
         1 ask ben opus
         2 ask ben opus
         2 hear ben opus 429 for 10
         3 ask ben opus
         3 ask cid opus
         3 ask ann opus",
        expect![[r#"
            0 hear ann opus 429 for 100: changed
            1 hear ann opus 529 times 5: changed by number 5
            1 ask ben opus: waits 1s: the provider is overloaded
            2 ask ben opus: tries
            2 hear ben opus 429 for 10: changed
            3 ask ben opus: waits 9s: the provider's rate limit is reached
            3 ask cid opus: goes
            3 ask ann opus: waits 97s: the provider's rate limit is reached
        "#]],
    );
}

#[test]
fn one_call_tries_and_the_time_doubles_to_ten_seconds_while_it_fails() {
    check(
        "0 hear ann opus 529 times 5
         1 ask ann opus
         1 ask ben opus
         1 hear ann opus 529 sent 1
         2 ask ann opus
         3 ask ann opus
         3 hear ann opus 529
         7 ask ann opus
         7 hear ann opus 529
         15 ask ann opus
         15 hear ann opus 529
         24 ask ann opus
         25 ask ann opus
         25 hear ann opus 529
         34 ask ann opus
         35 ask ann opus
         36 hear ann opus well sent 35
         36 ask ben opus",
        expect![[r#"
            0 hear ann opus 529 times 5: changed by number 5
            1 ask ann opus: tries
            1 ask ben opus: waits 1s: the provider is overloaded
            1 hear ann opus 529 sent 1: changed
            2 ask ann opus: waits 1s: the provider is overloaded
            3 ask ann opus: tries
            3 hear ann opus 529: changed
            7 ask ann opus: tries
            7 hear ann opus 529: changed
            15 ask ann opus: tries
            15 hear ann opus 529: changed
            24 ask ann opus: waits 1s: the provider is overloaded
            25 ask ann opus: tries
            25 hear ann opus 529: changed
            34 ask ann opus: waits 1s: the provider is overloaded
            35 ask ann opus: tries
            36 hear ann opus well sent 35: changed
            36 ask ben opus: goes
        "#]],
    );
}

#[test]
fn an_answer_that_was_on_its_way_before_opens_nothing_again_and_doubles_nothing() {
    check(
        "5 hear ann opus 429 for 10
         6 hear ann opus well sent 4
         6 ask ann opus
         7 hear ann opus 429 for 3 sent 4
         7 ask ann opus
         8 hear ann opus 429 for 30 sent 4
         8 ask ann opus",
        expect![[r#"
            5 hear ann opus 429 for 10: changed
            6 hear ann opus well sent 4: as before
            6 ask ann opus: waits 9s: the provider's rate limit is reached
            7 hear ann opus 429 for 3 sent 4: changed
            7 ask ann opus: waits 8s: the provider's rate limit is reached
            8 hear ann opus 429 for 30 sent 4: changed
            8 ask ann opus: waits 30s: the provider's rate limit is reached
        "#]],
    );
}

#[test]
fn a_try_that_was_given_up_is_another_callers() {
    check(
        "0 hear ann opus 429 for 1
         1 ask ann opus
         2 ask ann opus
         2 give up
         2 ask ann opus
         3 hear ann opus 400 sent 2
         3 ask ann opus",
        expect![[r#"
            0 hear ann opus 429 for 1: changed
            1 ask ann opus: tries
            2 ask ann opus: waits 1s: the provider's rate limit is reached
            2 give up: given up
            2 ask ann opus: tries
            3 hear ann opus 400 sent 2: changed
            3 ask ann opus: goes
        "#]],
    );
}

#[test]
fn cooldowns_survive_a_restart() {
    let mut before = Cooldowns::default();
    let now = Monotonic(0);
    let _ = before.hear(&place("ann", "opus"), signal("quota", Some(500)), now, now);
    let saved = before.export(now);
    let mut after = Cooldowns::default();
    after.restore(&saved, Duration::from_secs(100), now);
    let Pass::Wait(wait) = after.ask(&place("ann", "sonnet"), now) else {
        panic!("it was forgotten")
    };
    assert_eq!(wait.left, Duration::from_secs(400));
}

#[test]
fn no_more_are_kept_than_may_be() {
    let mut cooldowns = Cooldowns::default();
    for account in 0..COOLDOWNS_MAX + 10 {
        let wait = u64::try_from(account).unwrap() + 10;
        let place = place(&account.to_string(), "opus");
        let _ = cooldowns.hear(
            &place,
            signal("429", Some(wait)),
            Monotonic(0),
            Monotonic(0),
        );
    }
    assert_eq!(cooldowns.entries.len(), COOLDOWNS_MAX);
    // Those that would have ended first were forgotten.
    let first = cooldowns.ask(&place("0", "opus"), Monotonic(0));
    assert_eq!(first, Pass::Free);
}

proptest! {
    /// Whoever asks whenever: while a provider fails, one call at a time is sent, and no more than
    /// there are doublings and then tens of seconds.
    #[test]
    fn there_is_no_storm_of_tries(
        gaps in prop::collection::vec(0_u64..400, 1_000),
        latency_ms in 1_u64..5_000,
        down_seconds in 10_u64..300,
    ) {
        let mut cooldowns = Cooldowns::default();
        let at = place("ann", "opus");
        for _failure in 0..BREAKER_FAILURES {
            let _ = cooldowns.hear(&at, signal("529", None), Monotonic(0), Monotonic(0));
        }
        let (mut now, mut tries) = (0, 0_u64);
        let mut flying: Option<(u64, u64)> = None;
        let up = down_seconds * SECOND;
        for gap in gaps {
            now += gap * 1_000_000;
            if let Some((sent, back)) = flying
                && back <= now
            {
                let ended = signal(if sent < up { "529" } else { "well" }, None);
                let _ = cooldowns.hear(&at, ended, Monotonic(sent), Monotonic(back));
                flying = None;
            }
            match cooldowns.ask(&at, Monotonic(now)) {
                Pass::Probe(_) => {
                    prop_assert!(flying.is_none(), "two at once");
                    tries += u64::from(now < up);
                    flying = Some((now, now + latency_ms * 1_000_000));
                }
                Pass::Free => prop_assert!(now > up),
                Pass::Wait(_) => {}
            }
        }
        prop_assert!(tries <= 5 + down_seconds / 10, "{tries}");
    }
}
