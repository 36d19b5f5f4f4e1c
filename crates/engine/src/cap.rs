//! The output cap that a hard limit can hold (P3).

use tidegate_types::{NanoUsd, Tokens};

use crate::settings::ReserveRules;

/// A call that asks how long its answer may be.
#[derive(Clone, Copy, Debug)]
pub struct CapAsk {
    /// What the request says, or the model's own maximum.
    pub asked: Tokens,
    /// What its answer must at least be allowed: the thinking it asked for.
    pub thinking: Option<u64>,
    /// What all but one answer in a thousand of its kind had at most.
    pub usual: Tokens,
    /// What the input can cost.
    pub input_bound: NanoUsd,
    /// What the tightest enforced hard limit has left.
    pub left: NanoUsd,
}

/// The cap to send.
///
/// A cap whose hold fits a share of what is left stays. A larger one is lowered to what that share
/// pays for, at least `output_floor` while that fits, then down to `output_floor_last`, or to what
/// is usual for its kind: an answer that is cut short is paid for and worth nothing. `None`: even that doesn't fit, and the call can't be sent now. Caps are only ever lowered.
///
/// `output_cost` is what so many output tokens cost at most, `affordable` its inverse, rounded
/// down.
pub fn cap(
    ask: &CapAsk,
    rules: &ReserveRules,
    output_cost: impl Fn(Tokens) -> NanoUsd,
    affordable: impl Fn(NanoUsd) -> Tokens,
) -> Option<Tokens> {
    let left = ask.left.checked_sub(ask.input_bound)?;
    let share = rules.share(ask.left);
    let whole = output_cost(ask.asked);
    if whole <= share && whole <= left {
        return Some(ask.asked);
    }
    let thinking = ask
        .thinking
        .map_or(0, |it| it.saturating_add(rules.output_over_thinking));
    let least = |floor: u64| Tokens(floor.max(thinking).min(ask.asked.0));
    let fits = affordable(left);
    let by_share = affordable(share).min(fits);
    let wanted = by_share.max(least(rules.output_floor).min(fits));
    let last = rules.output_floor_last.max(ask.usual.0);
    (wanted >= least(last.min(rules.output_floor))).then(|| wanted.min(ask.asked))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::{Expect, expect};
    use proptest::prelude::*;

    use super::*;

    /// A dollar buys a million tokens: nano-dollars are a thousand times the tokens.
    const NANOS: u64 = 1_000;

    fn capped(
        asked: u64,
        thinking: Option<u64>,
        input: u64,
        left: u64,
        usual: u64,
    ) -> Option<Tokens> {
        let ask = CapAsk {
            usual: Tokens(usual),
            asked: Tokens(asked),
            thinking,
            input_bound: NanoUsd(input * NANOS),
            left: NanoUsd(left * NANOS),
        };
        cap(
            &ask,
            &ReserveRules::default(),
            |it| NanoUsd(it.0 * NANOS),
            |it| Tokens(it.0 / NANOS),
        )
    }

    /// Lines of `asked thinking|- input left [usual]`, all in what tokens cost.
    #[track_caller]
    fn check(script: &str, expected: Expect) {
        let mut transcript = String::new();
        for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = |at: usize| words.get(at)?.parse::<u64>().ok();
            let cap = capped(
                number(0).unwrap(),
                number(1),
                number(2).unwrap(),
                number(3).unwrap(),
                number(4).unwrap_or(0),
            );
            let told = cap.map_or("refused".to_owned(), |it| it.0.to_string());
            writeln!(transcript, "{line:<32} -> {told}").unwrap();
        }
        expected.assert_eq(&transcript);
    }

    #[test]
    fn the_cap_follows_what_is_left() {
        check(
            "128000 -     0 1000000
             128000 -     0  400000
             128000 -     0  100000
             128000 - 90000  100000
             128000 - 95904  100000
             128000 - 95905  100000
             128000 - 200000 100000
             1000   - 99000  100000
             1000   - 99001  100000
             128000 50000 0  100000
             128000 50000 60000 100000
             128000 -     0  0
             128000 - 90000  100000 9000
             128000 - 90000  100000 11000
             128000 - 60000  100000 64000
             1000   - 99000  100000 9000",
            expect![[r#"
                128000 -     0 1000000           -> 128000
                128000 -     0  400000           -> 100000
                128000 -     0  100000           -> 32000
                128000 - 90000  100000           -> 10000
                128000 - 95904  100000           -> 4096
                128000 - 95905  100000           -> refused
                128000 - 200000 100000           -> refused
                1000   - 99000  100000           -> 1000
                1000   - 99001  100000           -> refused
                128000 50000 0  100000           -> 51024
                128000 50000 60000 100000        -> refused
                128000 -     0  0                -> refused
                128000 - 90000  100000 9000      -> 10000
                128000 - 90000  100000 11000     -> refused
                128000 - 60000  100000 64000     -> 32000
                1000   - 99000  100000 9000      -> 1000
            "#]],
        );
    }

    proptest! {
        #[test]
        fn a_cap_is_never_raised_and_always_fits(
            asked in 1_u64..200_000, thinking in prop::option::of(0_u64..100_000),
            input in 0_u64..200_000, left in 0_u64..400_000, usual in 0_u64..50_000,
        ) {
            if let Some(cap) = capped(asked, thinking, input, left, usual) {
                prop_assert!(cap.0 <= asked);
                prop_assert!(cap.0 + input <= left);
                prop_assert!(cap.0 >= asked.min(4_096));
                prop_assert!(cap.0 >= asked.min(usual).min(32_000));
                prop_assert!(thinking.is_none_or(|it| cap.0 >= asked.min(it + 1_024)));
            }
        }
    }
}
