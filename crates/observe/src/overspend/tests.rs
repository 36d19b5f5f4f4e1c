use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_types::Modifiers;

use super::*;

/// Cents for each million tokens, as dear models are, doubled in fast mode.
fn price(usage: &Usage) -> NanoUsd {
    let tokens = usage.input.0 * 5_000
        + usage.cache_read.0 * 500
        + usage.cache_write_5m.0 * 6_250
        + usage.cache_write_1h.0 * 10_000
        + usage.output.0 * 25_000;
    let factor = if usage.modifiers.fast { 2 } else { 1 };
    NanoUsd(tokens * factor + usage.web_searches * 10_000_000)
}

fn usage(input: u64, read: u64, write: u64, output: u64) -> Usage {
    Usage {
        input: Tokens(input),
        cache_read: Tokens(read),
        cache_write_5m: Tokens(write),
        output: Tokens(output),
        ..Usage::default()
    }
}

fn case(expected_usage: Usage, usage: Usage) -> Case {
    Case {
        expected_usage,
        usage,
        cost: price(&usage),
        before: NanoUsd::ZERO,
    }
}

fn analysed(case: &Case) -> Option<Overspend> {
    analyse(case, price(&case.expected_usage), &take_apart(case, price))
}

fn check(case: &Case, expect: Expect) {
    let told = analysed(case).map_or("as expected\n".to_owned(), |it| {
        let mut told = format!("{} for {}\n", it.cost, it.expected);
        for share in &it.shares {
            writeln!(told, "{}: {}", share.cause.word(), share.nano_usd).unwrap();
        }
        told
    });
    expect.assert_eq(&told);
}

#[test]
fn a_longer_answer_is_told_from_more_input() {
    check(
        &case(usage(1_000, 0, 0, 400), usage(1_500, 0, 0, 4_000)),
        expect![[r#"
            $0.1075 for $0.015
            output: 90000000
            input: 2500000
        "#]],
    );
}

#[test]
fn a_cache_that_was_missed_is_told_from_more_input() {
    check(
        &case(usage(2_000, 98_000, 0, 400), usage(1_000, 0, 100_000, 400)),
        expect![[r#"
            $0.64 for $0.069
            cache: 566000000
            input: 5000000
        "#]],
    );
}

#[test]
fn a_faster_tier_tools_and_tries_before_are_told() {
    let real = Usage {
        web_searches: 2,
        modifiers: Modifiers {
            fast: true,
            ..Modifiers::default()
        },
        ..usage(1_000, 0, 0, 400)
    };
    let case = Case {
        before: NanoUsd(7_000_000),
        ..case(usage(1_000, 0, 0, 400), real)
    };
    check(
        &case,
        expect![[r#"
        $0.057 for $0.015
        tools: 20000000
        price: 15000000
        retries: 7000000
    "#]],
    );
}

#[test]
fn what_saves_is_told_as_less() {
    check(
        &case(usage(10_000, 0, 0, 400), usage(2_000, 0, 0, 6_000)),
        expect![[r#"
            $0.16 for $0.06
            output: 140000000
            input: -40000000
        "#]],
    );
}

#[test]
fn cents_and_halves_are_no_news() {
    // $0.0099 for $0.0001, and exactly 1.5 times as much.
    check(
        &case(usage(20, 0, 0, 0), usage(1_980, 0, 0, 0)),
        expect![[r#"
            as expected
        "#]],
    );
    check(
        &case(usage(10_000, 0, 0, 0), usage(15_000, 0, 0, 0)),
        expect![[r#"
            as expected
        "#]],
    );
    check(
        &case(usage(10_000, 0, 0, 0), usage(15_001, 0, 0, 0)),
        expect![[r#"
            $0.075005 for $0.05
            input: 25005000
        "#]],
    );
}

fn any_usage() -> impl Strategy<Value = Usage> {
    let tokens = || 0_u64..300_000;
    (
        tokens(),
        tokens(),
        tokens(),
        tokens(),
        0_u64..20_000,
        0_u64..5,
        any::<bool>(),
    )
        .prop_map(
            |(input, read, write_5m, write_1h, output, web_searches, fast)| Usage {
                cache_write_1h: Tokens(write_1h),
                web_searches,
                modifiers: Modifiers {
                    fast,
                    ..Modifiers::default()
                },
                ..usage(input, read, write_5m, output)
            },
        )
}

proptest! {
    #[test]
    fn shares_sum_to_the_difference_exactly(
        expected in any_usage(), real in any_usage(), cost in prop::option::of(0_u64..1 << 40), before in 0_u64..1 << 40,
    ) {
        // The last try's price may be any: another model, or the provider's own figure.
        let cost = cost.map_or(price(&real), NanoUsd);
        let case = Case { cost, before: NanoUsd(before), ..case(expected, real) };
        let all = cost.saturating_add(NanoUsd(before));
        let apart: i64 = take_apart(&case, price).iter().sum();
        prop_assert_eq!(i128::from(apart), i128::from(all.0) - i128::from(price(&expected).0));
        let found = analysed(&case);
        prop_assert_eq!(found.is_some(), is_overspent(price(&expected), all));
        if let Some(it) = found {
            let sum: i64 = it.shares.iter().map(|it| it.nano_usd).sum();
            prop_assert_eq!(i128::from(sum), i128::from(all.0) - i128::from(price(&expected).0));
            prop_assert_eq!(it.cost, all);
            prop_assert!(it.shares.is_sorted_by_key(|it| std::cmp::Reverse(it.nano_usd)));
            prop_assert!(it.shares[0].nano_usd > 0, "something made it dearer");
        }
    }

    #[test]
    fn what_alone_differs_alone_is_the_cause(
        expected in any_usage(), longer in 400_000_u64..500_000, which in 0_usize..4,
    ) {
        let mut real = expected;
        let cause = match which {
            0 => { real.input.0 += longer; Cause::Input }
            1 => { real.output.0 += longer; Cause::Output }
            2 => { real.web_searches += longer / 1_000; Cause::Tools }
            _ => {
                let moved = real.cache_read.0;
                (real.cache_read.0, real.cache_write_1h.0) = (0, real.cache_write_1h.0 + moved);
                Cause::Cache
            }
        };
        if let Some(it) = analysed(&case(expected, real)) {
            prop_assert_eq!(it.shares.len(), 1);
            prop_assert_eq!(it.cause(), Some(cause));
        }
    }
}
