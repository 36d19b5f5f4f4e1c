use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const ESTIMATE: Estimate = Estimate {
    input_total: Tokens(120_000),
    cache_read: Tokens(115_000),
    output_expected: Tokens(440),
    output_cap: Some(Tokens(32_000)),
};

const USAGE: Usage = Usage {
    input: Tokens(12),
    cache_read: Tokens(500),
    cache_write_5m: Tokens(600),
    cache_write_1h: Tokens(400),
    output: Tokens(7),
    reasoning: Tokens(3),
    web_searches: 0,
    modifiers: tidegate_types::Modifiers {
        batch: false,
        fast: false,
        flex: false,
        regional: false,
    },
    reported_cost: None,
};

#[track_caller]
fn check(family: Family, expected: Expect) {
    let rules = family.accounting();
    let row = |it: Counted| {
        let Counted {
            requests,
            input_tokens,
            output_tokens,
            tokens,
        } = it;
        format!("{requests} request, {input_tokens} in, {output_tokens} out, {tokens} together")
    };
    expected.assert_eq(&format!(
        "estimated: {}\nsettled:   {}\n",
        row(rules.estimated(&ESTIMATE)),
        row(rules.settled(&USAGE))
    ));
}

#[test]
fn anthropic_counts_no_cache_reads_and_no_output_cap() {
    check(
        Family::Anthropic,
        expect![[r#"
            estimated: 1 request, 5000 in, 440 out, 5440 together
            settled:   1 request, 1012 in, 7 out, 1019 together
        "#]],
    );
}

#[test]
fn openai_counts_cached_input_and_charges_the_cap_up_front() {
    check(
        Family::OpenAi,
        expect![[r#"
            estimated: 1 request, 120000 in, 32000 out, 152000 together
            settled:   1 request, 1512 in, 7 out, 1519 together
        "#]],
    );
}

#[test]
fn without_a_cap_openai_is_charged_the_expected_output() {
    let estimate = Estimate {
        output_cap: None,
        ..ESTIMATE
    };
    assert_eq!(OpenAi.estimated(&estimate).output_tokens, 440);
}

fn counts() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..10, 0_u64..2_000_000, Just(u64::MAX)]
}

proptest! {
    /// An estimate that turned out right counts what settling counts.
    #[test]
    fn a_right_estimate_needs_no_correction(
        input in 0_u64..2_000_000, cache_read in 0_u64..2_000_000, write in 0_u64..2_000_000,
        output in 0_u64..200_000,
    ) {
        let usage = Usage {
            input: Tokens(input),
            cache_read: Tokens(cache_read),
            cache_write_5m: Tokens(write),
            output: Tokens(output),
            ..Usage::default()
        };
        let estimate = Estimate {
            input_total: usage.input_total(),
            cache_read: usage.cache_read,
            output_expected: usage.output,
            output_cap: None,
        };
        for family in [Family::Anthropic, Family::OpenAi] {
            let rules = family.accounting();
            prop_assert_eq!(rules.estimated(&estimate), rules.settled(&usage));
        }
    }

    #[test]
    fn absurd_counts_saturate(a in counts(), b in counts(), c in counts(), cap in counts()) {
        let estimate = Estimate {
            input_total: Tokens(a),
            cache_read: Tokens(b),
            output_expected: Tokens(c),
            output_cap: Some(Tokens(cap)),
        };
        let usage = Usage {
            input: Tokens(a),
            cache_write_1h: Tokens(b),
            output: Tokens(c),
            ..Usage::default()
        };
        for family in [Family::Anthropic, Family::OpenAi] {
            let rules = family.accounting();
            prop_assert!(rules.estimated(&estimate).tokens >= c);
            prop_assert!(rules.settled(&usage).tokens >= a.max(b).max(c));
        }
    }
}
