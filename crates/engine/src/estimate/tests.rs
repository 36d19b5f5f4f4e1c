use std::{fmt::Write as _, time::Duration};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_types::Monotonic;

use super::*;

/// Lines of `bytes N [proven TOTAL of BYTES SECONDS ago] [references N] [tools N] [context N]`.
#[track_caller]
fn check(script: &str, expected: Expect) {
    let mut transcript = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |name: &str, after: usize| -> Option<u64> {
            let at = words.iter().position(|it| *it == name)?;
            words.get(at + after)?.parse().ok()
        };
        let mut facts = RequestFacts::default();
        facts.references = u32::try_from(number("references", 1).unwrap_or(0)).unwrap();
        facts.server_tool_uses = number("tools", 1).unwrap_or(0);
        facts.stored_context = words.contains(&"stored");
        let now = Monotonic(1_000_000_000_000);
        let proven = number("proven", 1).map(|total| Proven {
            total: Tokens(total),
            body_bytes: number("of", 1).unwrap(),
            at: Monotonic(now.0 - number("of", 2).unwrap() * 1_000_000_000),
        });
        let context = Tokens(number("context", 1).unwrap_or(1_000_000));
        let rules = ReserveRules::default();
        let bytes = number("bytes", 1).unwrap();
        let it = input(&facts, bytes, proven, &rules, context, now);
        writeln!(
            transcript,
            "{line:<50} -> at most {}, about {}, cached {}",
            it.bound.0, it.expected.0, it.cached.0
        )
        .unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn only_what_is_new_is_guessed() {
    check(
        "
        bytes 2000
        bytes 2001
        bytes 44000 proven 12000 of 40000 10 ago
        bytes 44000 proven 12000 of 40000 301 ago
        bytes 39999 proven 12000 of 40000 10 ago
        bytes 100 references 2
        bytes 100 tools 3
        bytes 1000000 context 200000
        bytes 100 stored
        ",
        expect![[r#"
            bytes 2000                                         -> at most 1000, about 600, cached 0
            bytes 2001                                         -> at most 1001, about 600, cached 0
            bytes 44000 proven 12000 of 40000 10 ago           -> at most 14000, about 13200, cached 12000
            bytes 44000 proven 12000 of 40000 301 ago          -> at most 14000, about 13200, cached 0
            bytes 39999 proven 12000 of 40000 10 ago           -> at most 20000, about 11999, cached 0
            bytes 100 references 2                             -> at most 200050, about 200030, cached 0
            bytes 100 tools 3                                  -> at most 6050, about 6030, cached 0
            bytes 1000000 context 200000                       -> at most 200000, about 200000, cached 0
            bytes 100 stored                                   -> at most 1000000, about 30, cached 0
        "#]],
    );
}

fn seen(output: u64) -> Seen {
    Seen {
        output: Tokens(output),
        first_byte: Duration::ZERO,
        whole: Duration::ZERO,
    }
}

#[test]
fn nine_of_ten_answers_take_no_longer_than_is_foretold() {
    let outputs = Outputs::default();
    let learn = |seconds| {
        let seen = Seen {
            first_byte: Duration::from_millis(seconds * 100),
            whole: Duration::from_secs(seconds),
            ..seen(1)
        };
        outputs.learn("m", RequestClass::Main, &seen);
    };
    let foretold = || outputs.durations("m", RequestClass::Main);
    (1..10).for_each(learn);
    assert_eq!(foretold(), Durations::default(), "of nine nothing is said");
    (10..=100).for_each(learn);
    let whole = foretold().whole.unwrap().as_secs();
    assert!((90..=112).contains(&whole), "{whole}");
    let first_byte = foretold().first_byte.unwrap().as_millis();
    assert!((9_000..=11_200).contains(&first_byte), "{first_byte}");
    let other = outputs.durations("m", RequestClass::Auxiliary);
    assert_eq!(other, Durations::default());
}

#[test]
fn expected_output_follows_what_is_seen_per_model_and_class() {
    let outputs = Outputs::default();
    let expected = |class| outputs.expected("m", class).mean.0;
    assert_eq!(expected(RequestClass::Main), 440);
    for _ in 0..200 {
        outputs.learn("m", RequestClass::Main, &seen(2_000));
    }
    assert!((1_950..=2_000).contains(&expected(RequestClass::Main)));
    assert_eq!(expected(RequestClass::Auxiliary), 440);
}

#[test]
fn what_is_usual_leaves_out_one_answer_in_a_thousand() {
    let outputs = Outputs::default();
    let learn = |tokens| outputs.learn("m", RequestClass::Main, &seen(tokens));
    let usual = || outputs.expected("m", RequestClass::Main).usual.0;
    assert_eq!(usual(), 0);
    learn(20_000);
    assert!((20_000..24_000).contains(&usual()), "all that is known");
    (0..998).for_each(|_| learn(300));
    assert!(usual() >= 20_000, "one in 999");
    (0..2).for_each(|_| learn(300));
    assert!((300..360).contains(&usual()), "{}", usual());
    learn(9_000);
    assert!((9_000..10_800).contains(&usual()), "{}", usual());
    (0..40_000).for_each(|_| learn(300));
    assert!((300..360).contains(&usual()), "{}", usual());
}

proptest! {
    #[test]
    fn a_length_is_at_most_its_steps_greatest_and_close_to_it(length: u32) {
        let most = most(step(length));
        prop_assert!(u64::from(length) <= most);
        prop_assert!(most <= (u64::from(length) * 5 / 4).max(2), "{length} {most}");
    }
}
