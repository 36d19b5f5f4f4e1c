//! What one model costs: five prices, long-context tiers, multipliers; exact to the nano-dollar.

use std::fmt;

use arrayvec::ArrayVec;
use tidegate_types::{Modifiers, NanoUsd, Tokens, Usage};

use crate::CacheWrite;

/// Long-context tiers a row may have. Published tables have one; the rest is headroom.
pub const TIERS_MAX: usize = 4;

/// The price of one token or one tool call, in 10⁻¹² dollars: 1 $ per million tokens is 1,000,000
/// of these per token, so that every published price is a whole number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PicoUsd(pub u64);

impl PicoUsd {
    const fn times(self, count: u64) -> u128 {
        // 64 bits by 64 bits fit 128.
        self.0 as u128 * count as u128
    }
}

/// Dollars per million, as price lists print it: `0.125`.
impl fmt::Display for PicoUsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (dollars, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return f.pad(&dollars.to_string());
        }
        let decimals = format!("{rest:06}");
        f.pad(&format!("{dollars}.{}", decimals.trim_end_matches('0')))
    }
}

/// The five prices of a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Input that was neither read from nor written to a prompt cache.
    pub input: PicoUsd,
    /// Input read from a prompt cache.
    pub cache_read: PicoUsd,
    /// Input written to a prompt cache that lives for minutes.
    pub cache_write_5m: PicoUsd,
    /// Input written to a prompt cache that lives for an hour or longer.
    pub cache_write_1h: PicoUsd,
    /// Output, thinking included.
    pub output: PicoUsd,
}

impl Rates {
    /// Each price the dearer of the two.
    #[must_use]
    pub fn dearer(self, other: Self) -> Self {
        Self {
            input: self.input.max(other.input),
            cache_read: self.cache_read.max(other.cache_read),
            cache_write_5m: self.cache_write_5m.max(other.cache_write_5m),
            cache_write_1h: self.cache_write_1h.max(other.cache_write_1h),
            output: self.output.max(other.output),
        }
    }

    fn of(&self, usage: &Usage) -> u128 {
        [
            self.input.times(usage.input.0),
            self.cache_read.times(usage.cache_read.0),
            self.cache_write_5m.times(usage.cache_write_5m.0),
            self.cache_write_1h.times(usage.cache_write_1h.0),
            self.output.times(usage.output.0),
        ]
        .into_iter()
        .fold(0, u128::saturating_add)
    }
}

/// Other prices for the whole request, when its whole input is longer than a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The longest input, of all classes together, that the tier does not apply to.
    pub above: Tokens,
    /// What every token of a longer request costs.
    pub rates: Rates,
}

/// An exact factor on a price, such as 11/10.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    numerator: u16,
    denominator: u16,
}

impl Ratio {
    /// A price as it is.
    pub const ONE: Self = Self {
        numerator: 1,
        denominator: 1,
    };
    /// Largest part of a ratio: four of them together leave room in 128 bits for what is
    /// multiplied, so that saturating arithmetic is exact wherever the result fits 64 bits.
    pub const PART_MAX: u16 = 1_000;

    /// `numerator / denominator`; `None` unless both are from 1 to [`PART_MAX`](Self::PART_MAX)
    /// once reduced to lowest terms.
    pub fn try_new(numerator: u64, denominator: u64) -> Option<Self> {
        let mut divisor = (numerator, denominator);
        while divisor.1 != 0 {
            divisor = (divisor.1, divisor.0 % divisor.1);
        }
        let part = |it: u64| {
            let reduced = u16::try_from(it.checked_div(divisor.0)?).ok()?;
            (1..=Self::PART_MAX).contains(&reduced).then_some(reduced)
        };
        Some(Self {
            numerator: part(numerator)?,
            denominator: part(denominator)?,
        })
    }

    /// The larger factor.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        let cross = |a: Self, b: Self| u32::from(a.numerator) * u32::from(b.denominator);
        if cross(other, self) > cross(self, other) {
            other
        } else {
            self
        }
    }
}

/// `11/10`, or `2` where it is whole.
impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.denominator {
            1 => f.pad(&self.numerator.to_string()),
            other => f.pad(&format!("{}/{other}", self.numerator)),
        }
    }
}

/// Factors on the prices of tokens, not of tool calls. Those that apply multiply each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Multipliers {
    /// In a batch.
    pub batch: Ratio,
    /// In a slower, cheaper tier.
    pub flex: Ratio,
    /// In a faster, dearer tier.
    pub fast: Ratio,
    /// Pinned to one geography.
    pub regional: Ratio,
}

impl Multipliers {
    /// No factor at all.
    pub const NONE: Self = Self {
        batch: Ratio::ONE,
        flex: Ratio::ONE,
        fast: Ratio::ONE,
        regional: Ratio::ONE,
    };

    /// Each factor the larger of the two.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        Self {
            batch: self.batch.max(other.batch),
            flex: self.flex.max(other.flex),
            fast: self.fast.max(other.fast),
            regional: self.regional.max(other.regional),
        }
    }

    fn chosen(&self, modifiers: Modifiers) -> [Ratio; 4] {
        let pick = |applies: bool, ratio| if applies { ratio } else { Ratio::ONE };
        [
            pick(modifiers.batch, self.batch),
            pick(modifiers.flex, self.flex),
            pick(modifiers.fast, self.fast),
            pick(modifiers.regional, self.regional),
        ]
    }

    fn factor(&self, modifiers: Modifiers) -> Factor {
        Factor::product(self.chosen(modifiers))
    }

    /// Discounts are the provider's to grant: a bound does not count on them.
    fn factor_of_bound(&self, modifiers: Modifiers) -> Factor {
        Factor::product(self.chosen(modifiers).map(|it| it.max(Ratio::ONE)))
    }
}

/// A product of ratios; its parts stay below 2⁴⁰.
#[derive(Clone, Copy)]
struct Factor {
    numerator: u128,
    denominator: u128,
}

impl Factor {
    fn product(ratios: [Ratio; 4]) -> Self {
        let start = Self {
            numerator: 1,
            denominator: 1,
        };
        ratios.into_iter().fold(start, |all, it| Self {
            numerator: all.numerator * u128::from(it.numerator),
            denominator: all.denominator * u128::from(it.denominator),
        })
    }

    /// `tokens_pico` by this factor, plus `plain_pico`, rounded up to whole nano-dollars; what
    /// 64 bits do not hold saturates.
    fn nanos(self, tokens_pico: u128, plain_pico: u128) -> NanoUsd {
        let sum = tokens_pico
            .saturating_mul(self.numerator)
            .saturating_add(plain_pico.saturating_mul(self.denominator));
        let nanos = sum.div_ceil(self.denominator * PICO_PER_NANO);
        NanoUsd(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

const PICO_PER_NANO: u128 = 1_000;

/// What one model costs. All amounts are exact; rounding happens once, upwards, at the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelPrice {
    /// Prices while no tier applies.
    pub rates: Rates,
    /// Long-context tiers by rising threshold: the last one passed applies.
    pub tiers: ArrayVec<Tier, TIERS_MAX>,
    /// Factors on the prices of tokens.
    pub multipliers: Multipliers,
    /// One web search run by the provider.
    pub web_search: PicoUsd,
    /// Whether the provider writes caches, and charges for it, without being asked.
    pub automatic_cache_writes: bool,
    /// The longest input the model takes; some providers count the answer into it too, so that a
    /// bound on the input never has to pass it.
    pub context: Tokens,
    /// The most output of one answer.
    pub output_max: Tokens,
}

impl ModelPrice {
    /// What `usage` cost, rounded up to a whole nano-dollar. A cost the provider reported wins.
    ///
    /// Long-context tiers go by the whole input of the request, and apply to all of it.
    pub fn cost(&self, usage: &Usage) -> NanoUsd {
        if let Some(reported) = usage.reported_cost {
            return reported;
        }
        let tokens = self.rates_at(usage.input_total()).of(usage);
        let searches = self.web_search.times(usage.web_searches);
        let factor = self.multipliers.factor(usage.modifiers);
        factor.nanos(tokens, searches)
    }

    /// The most that at most `tokens` of input can cost: each at the dearest class the body can
    /// cause (where it asks for no cache, the dearest that the provider writes unasked), in the dearest tier that so much input reaches, without any discount.
    pub fn input_bound(&self, tokens: Tokens, write: CacheWrite, modifiers: &Modifiers) -> NanoUsd {
        let rates = self.dearest_rates(tokens);
        let write = match write {
            CacheWrite::None if self.automatic_cache_writes => CacheWrite::OneHour,
            other => other,
        };
        let mut dearest = rates.input.max(rates.cache_read);
        if write >= CacheWrite::FiveMinutes {
            dearest = dearest.max(rates.cache_write_5m);
        }
        if write == CacheWrite::OneHour {
            dearest = dearest.max(rates.cache_write_1h);
        }
        let factor = self.multipliers.factor_of_bound(*modifiers);
        factor.nanos(dearest.times(tokens.0), 0)
    }

    /// The most that at most `tokens` of output can cost, in the dearest tier of all, without any
    /// discount. Where the input is bounded, ask the price of [`reachable`](Self::reachable).
    pub fn output_bound(&self, tokens: Tokens, modifiers: &Modifiers) -> NanoUsd {
        let rate = self.dearest_rates(Tokens(u64::MAX)).output;
        let factor = self.multipliers.factor_of_bound(*modifiers);
        factor.nanos(rate.times(tokens.0), 0)
    }

    /// The most output whose [`output_bound`](Self::output_bound) is within `budget`, rounded
    /// down; without end where output is free.
    pub fn output_affordable(&self, budget: NanoUsd, modifiers: &Modifiers) -> Tokens {
        let rate = self.dearest_rates(Tokens(u64::MAX)).output;
        let factor = self.multipliers.factor_of_bound(*modifiers);
        let one = rate.times(1).saturating_mul(factor.numerator);
        let all = u128::from(budget.0) * PICO_PER_NANO * factor.denominator;
        let tokens = all.checked_div(one).unwrap_or(u128::MAX);
        Tokens(u64::try_from(tokens).unwrap_or(u64::MAX))
    }

    /// What `count` web searches cost, rounded up.
    pub fn web_search_bound(&self, count: u64) -> NanoUsd {
        Factor::product([Ratio::ONE; 4]).nanos(0, self.web_search.times(count))
    }

    /// This price without the tiers that a request of at most `input_max` tokens cannot reach:
    /// what its output can cost is then bounded more tightly.
    #[must_use]
    pub fn reachable(&self, input_max: Tokens) -> Self {
        let mut reachable = self.clone();
        reachable.tiers.retain(|it| it.above < input_max);
        reachable
    }

    /// At least as dear as each of the two, in everything: what a model costs that is in no row.
    #[must_use]
    pub fn dearer(&self, other: &Self) -> Self {
        let all = Tokens(u64::MAX);
        Self {
            rates: self.dearest_rates(all).dearer(other.dearest_rates(all)),
            tiers: ArrayVec::new(),
            multipliers: self.multipliers.larger(other.multipliers),
            web_search: self.web_search.max(other.web_search),
            automatic_cache_writes: self.automatic_cache_writes || other.automatic_cache_writes,
            context: self.context.max(other.context),
            output_max: self.output_max.max(other.output_max),
        }
    }

    /// The same model where nothing is charged for it.
    #[must_use]
    pub fn free_of_charge(&self) -> Self {
        Self {
            rates: Rates::default(),
            tiers: ArrayVec::new(),
            multipliers: Multipliers::NONE,
            web_search: PicoUsd(0),
            ..self.clone()
        }
    }

    fn rates_at(&self, input_total: Tokens) -> &Rates {
        let passed = self.tiers.iter().rev().find(|it| input_total > it.above);
        passed.map_or(&self.rates, |it| &it.rates)
    }

    /// Each price the dearest among the tiers that up to `input_max` tokens reach: a tier need
    /// not be dearer than what precedes it.
    fn dearest_rates(&self, input_max: Tokens) -> Rates {
        let reached = self.tiers.iter().filter(|it| input_max > it.above);
        reached.fold(self.rates, |dearest, it| dearest.dearer(it.rates))
    }
}

#[cfg(test)]
mod tests;
