use proptest::prelude::*;

use super::*;
use crate::prices::PriceBook;

const PLAIN: Modifiers = Modifiers {
    batch: false,
    fast: false,
    flex: false,
    regional: false,
};

fn price(provider: &str, model: &str) -> ModelPrice {
    let quote = PriceBook::builtin().look_up(provider, model);
    assert!(quote.known, "{provider} {model}");
    (*quote.price).clone()
}

/// The usage of Anthropic's documented example answer.
fn example() -> Usage {
    Usage {
        input: Tokens(12),
        cache_read: Tokens(500),
        cache_write_5m: Tokens(600),
        cache_write_1h: Tokens(400),
        output: Tokens(7),
        ..Usage::default()
    }
}

#[track_caller]
fn check(model: &str, usage: &Usage, expected: &str) {
    let provider = if model.starts_with("claude") {
        "anthropic"
    } else {
        "openai"
    };
    assert_eq!(price(provider, model).cost(usage).to_string(), expected);
}

#[test]
fn the_example_answer_costs_what_claude_code_prints() {
    check("claude-opus-5-5", &example(), "$0.006488");
}

#[test]
fn every_token_class_has_its_own_price() {
    let one = Tokens(1_000_000);
    let model = "claude-fable-5-1";
    let none = Usage::default();
    check(model, &Usage { input: one, ..none }, "$10.00");
    check(
        model,
        &Usage {
            cache_read: one,
            ..none
        },
        "$0.25",
    );
    check(
        model,
        &Usage {
            cache_write_5m: one,
            ..none
        },
        "$12.50",
    );
    check(
        model,
        &Usage {
            cache_write_1h: one,
            ..none
        },
        "$20.00",
    );
    check(
        model,
        &Usage {
            output: one,
            ..none
        },
        "$50.00",
    );
    // Thinking is part of the output and not charged again.
    check(
        model,
        &Usage {
            reasoning: one,
            ..none
        },
        "$0.00",
    );
}

#[test]
fn a_long_request_costs_the_other_tier_as_a_whole() {
    let usage = |input| Usage {
        input: Tokens(input),
        cache_read: Tokens(40_000),
        output: Tokens(1_000),
        ..Usage::default()
    };
    check("claude-haiku-5-5", &usage(60_000), "$0.0069");
    check("claude-haiku-5-5", &usage(60_001), "$0.0345005");
    // 272,000 is the threshold of OpenAI's long contexts.
    check("gpt-5.6", &usage(232_000), "$0.964");
    check("gpt-5.6", &usage(232_001), "$1.918008");
}

#[test]
fn modifiers_multiply_the_price_of_tokens_and_not_of_searches() {
    let with = |modifiers| Usage {
        web_searches: 3,
        modifiers,
        ..example()
    };
    let model = "claude-opus-5-5";
    check(model, &with(PLAIN), "$0.036488");
    check(
        model,
        &with(Modifiers {
            batch: true,
            ..PLAIN
        }),
        "$0.033244",
    );
    check(
        model,
        &with(Modifiers {
            fast: true,
            ..PLAIN
        }),
        "$0.042976",
    );
    check(
        model,
        &with(Modifiers {
            regional: true,
            ..PLAIN
        }),
        "$0.0371368",
    );
    let all = Modifiers {
        fast: true,
        regional: true,
        ..PLAIN
    };
    check(model, &with(all), "$0.0442736");
    check(
        "o4-mini",
        &with(Modifiers {
            fast: true,
            ..PLAIN
        }),
        "$0.03233",
    );
}

#[test]
fn a_reported_cost_wins_over_the_table() {
    let usage = Usage {
        reported_cost: Some(NanoUsd(42)),
        ..example()
    };
    check("claude-opus-5-5", &usage, "$0.000000042");
}

#[test]
fn less_than_a_nano_dollar_is_rounded_up_once() {
    // 5 pico-dollars a token would be 0.005 nano-dollars.
    let tiny = ModelPrice {
        rates: Rates {
            input: PicoUsd(5),
            output: PicoUsd(5),
            ..Rates::default()
        },
        ..price("anthropic", "claude-opus-5-5")
    };
    let usage = |input, output| Usage {
        input: Tokens(input),
        output: Tokens(output),
        ..Usage::default()
    };
    assert_eq!(tiny.cost(&usage(0, 0)), NanoUsd(0));
    assert_eq!(tiny.cost(&usage(1, 1)), NanoUsd(1));
    assert_eq!(tiny.cost(&usage(100, 100)), NanoUsd(1));
    assert_eq!(tiny.cost(&usage(100, 101)), NanoUsd(2));
}

#[test]
fn a_bound_takes_the_dearest_class_the_body_can_cause() {
    let opus = price("anthropic", "claude-opus-5-5");
    let bound = |price: &ModelPrice, write| {
        let bound = price.input_bound(Tokens(1_000_000), write, &PLAIN);
        bound.to_string()
    };
    assert_eq!(bound(&opus, CacheWrite::None), "$4.00");
    assert_eq!(bound(&opus, CacheWrite::FiveMinutes), "$5.00");
    assert_eq!(bound(&opus, CacheWrite::OneHour), "$8.00");
    // It writes caches unasked, and a million tokens reach its long-context tier.
    assert_eq!(
        bound(&price("openai", "gpt-5.6"), CacheWrite::None),
        "$10.00"
    );
}

#[test]
fn a_bound_counts_on_no_discount() {
    let opus = price("anthropic", "claude-opus-5-5");
    let batch = Modifiers {
        batch: true,
        ..PLAIN
    };
    let fast = Modifiers {
        fast: true,
        ..PLAIN
    };
    let bound = |modifiers| opus.output_bound(Tokens(1_000_000), modifiers).to_string();
    assert_eq!(bound(&PLAIN), "$20.00");
    assert_eq!(bound(&batch), "$20.00");
    assert_eq!(bound(&fast), "$40.00");
}

#[test]
fn output_is_bounded_by_the_tier_the_input_can_reach() {
    let haiku = price("anthropic", "claude-haiku-5-5");
    let million = Tokens(1_000_000);
    let bound = |price: ModelPrice| price.output_bound(million, &PLAIN).to_string();
    assert_eq!(bound(haiku.clone()), "$2.50");
    assert_eq!(bound(haiku.reachable(Tokens(100_001))), "$2.50");
    assert_eq!(bound(haiku.reachable(Tokens(100_000))), "$0.50");
}

#[test]
fn free_output_can_be_afforded_without_end() {
    let free = price("anthropic", "claude-opus-5-5").free_of_charge();
    assert_eq!(free.output_affordable(NanoUsd(0), &PLAIN), Tokens(u64::MAX));
    assert_eq!(free.cost(&example()), NanoUsd(0));
}

#[test]
fn absurd_counts_saturate() {
    let all = Tokens(u64::MAX);
    let usage = Usage {
        input: all,
        cache_read: all,
        cache_write_5m: all,
        cache_write_1h: all,
        output: all,
        web_searches: u64::MAX,
        modifiers: Modifiers {
            batch: true,
            fast: true,
            flex: true,
            regional: true,
        },
        ..Usage::default()
    };
    let opus = price("anthropic", "claude-opus-5-5");
    assert_eq!(opus.cost(&usage), NanoUsd(u64::MAX));
    assert_eq!(
        opus.input_bound(all, CacheWrite::OneHour, &PLAIN),
        NanoUsd(u64::MAX)
    );
    assert_eq!(opus.output_bound(all, &PLAIN), NanoUsd(u64::MAX));
    assert_eq!(opus.web_search_bound(u64::MAX), NanoUsd(u64::MAX));
}

#[test]
fn ratios_are_exact_and_bounded() {
    let text = |a, b| Ratio::try_new(a, b).map(|it| it.to_string());
    assert_eq!(text(1_100_000, 1_000_000).as_deref(), Some("11/10"));
    assert_eq!(text(4, 2).as_deref(), Some("2"));
    assert_eq!(text(1_001, 1), None);
    assert_eq!(text(0, 1), None);
    assert_eq!(text(1, 0), None);
    assert_eq!(text(0, 0), None);
}

fn ratio() -> impl Strategy<Value = Ratio> {
    (1_u64..=40, 1_u64..=20).prop_map(|(a, b)| Ratio::try_new(a, b).unwrap())
}

fn rates() -> impl Strategy<Value = Rates> {
    let rate = || prop_oneof![0_u64..10, 0_u64..50_000_000].prop_map(PicoUsd);
    (rate(), rate(), rate(), rate(), rate()).prop_map(
        |(input, cache_read, cache_write_5m, cache_write_1h, output)| Rates {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
        },
    )
}

/// Tiers may be cheaper than what precedes them: nothing may rely on the contrary.
fn prices() -> impl Strategy<Value = ModelPrice> {
    let tiers = prop::collection::btree_map(1_u64..2_000, rates(), 0..3);
    let multipliers = (ratio(), ratio(), ratio(), ratio());
    (
        rates(),
        tiers,
        multipliers,
        0_u64..20_000_000_000,
        any::<bool>(),
    )
        .prop_map(
            |(rates, tiers, (batch, flex, fast, regional), web_search, automatic)| ModelPrice {
                rates,
                tiers: tiers
                    .into_iter()
                    .map(|(above, rates)| Tier {
                        above: Tokens(above),
                        rates,
                    })
                    .collect(),
                multipliers: Multipliers {
                    batch,
                    flex,
                    fast,
                    regional,
                },
                web_search: PicoUsd(web_search),
                automatic_cache_writes: automatic,
                context: Tokens(4_000),
                output_max: Tokens(1_000),
            },
        )
}

fn modifiers() -> impl Strategy<Value = Modifiers> {
    any::<[bool; 4]>().prop_map(|[batch, fast, flex, regional]| Modifiers {
        batch,
        fast,
        flex,
        regional,
    })
}

fn usages() -> impl Strategy<Value = Usage> {
    let count = || prop_oneof![0_u64..3, 0_u64..1_000].prop_map(Tokens);
    (
        count(),
        count(),
        count(),
        count(),
        count(),
        0_u64..4,
        modifiers(),
    )
        .prop_map(
            |(
                input,
                cache_read,
                cache_write_5m,
                cache_write_1h,
                output,
                web_searches,
                modifiers,
            )| {
                Usage {
                    input,
                    cache_read,
                    cache_write_5m,
                    cache_write_1h,
                    output,
                    web_searches,
                    modifiers,
                    ..Usage::default()
                }
            },
        )
}

fn sum(a: &Usage, b: &Usage) -> Usage {
    Usage {
        input: a.input.saturating_add(b.input),
        cache_read: a.cache_read.saturating_add(b.cache_read),
        cache_write_5m: a.cache_write_5m.saturating_add(b.cache_write_5m),
        cache_write_1h: a.cache_write_1h.saturating_add(b.cache_write_1h),
        output: a.output.saturating_add(b.output),
        web_searches: a.web_searches + b.web_searches,
        ..*a
    }
}

proptest! {
    /// Hard limits rest on this: whatever an answer uses within the bounds costs no more than what
    /// was held for it.
    #[test]
    fn no_usage_within_the_bounds_costs_more_than_they_do(
        price in prices(), usage in usages(), slack in 0_u64..500,
    ) {
        let write = match (usage.cache_write_1h.0, usage.cache_write_5m.0) {
            (0, 0) => CacheWrite::None,
            (0, _) => CacheWrite::FiveMinutes,
            _ => CacheWrite::OneHour,
        };
        let input_max = usage.input_total().saturating_add(Tokens(slack));
        let bound = price.input_bound(input_max, write, &usage.modifiers).0
            + price.reachable(input_max).output_bound(usage.output, &usage.modifiers).0
            + price.web_search_bound(usage.web_searches).0;
        prop_assert!(price.cost(&usage).0 <= bound, "{} > {bound}", price.cost(&usage).0);
    }

    #[test]
    fn more_costs_no_less_and_parts_cost_the_whole_but_for_rounding(
        price in prices(), a in usages(), b in usages(),
    ) {
        let flat = ModelPrice { tiers: ArrayVec::new(), ..price };
        let b = Usage { modifiers: a.modifiers, ..b };
        let (whole, parts) = (flat.cost(&sum(&a, &b)).0, flat.cost(&a).0 + flat.cost(&b).0);
        prop_assert!(whole >= flat.cost(&a).0);
        prop_assert!(whole <= parts && parts <= whole + 1, "{whole} {parts}");
    }

    #[test]
    fn what_is_affordable_is_exactly_what_the_budget_bounds(
        price in prices(), budget in 0_u64..1_000_000_000_000, modifiers in modifiers(),
    ) {
        let tokens = price.output_affordable(NanoUsd(budget), &modifiers);
        if tokens < Tokens(u64::MAX) {
            prop_assert!(price.output_bound(tokens, &modifiers) <= NanoUsd(budget));
            let one_more = tokens.saturating_add(Tokens(1));
            prop_assert!(price.output_bound(one_more, &modifiers) > NanoUsd(budget));
        }
    }

    #[test]
    fn the_dearest_of_two_costs_no_less_than_either(
        a in prices(), b in prices(), usage in usages(),
    ) {
        let dearest = a.dearer(&b).cost(&usage);
        prop_assert!(a.cost(&usage) <= dearest && b.cost(&usage) <= dearest);
    }
}
