//! Why a call cost far more than was expected (B5): the difference, taken apart exactly.

use serde::{Deserialize, Serialize};
use tidegate_types::{NanoUsd, Tokens, Usage};

/// A call or a task that cost this many times its estimate has overspent, as a fraction.
const TIMES: (u128, u128) = (3, 2);

/// What costs no more than this is no news, whatever was expected of it.
const NEWS_MIN: NanoUsd = NanoUsd(10_000_000);

/// Why something cost more than expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The answer was longer.
    Output,
    /// There was more input.
    Input,
    /// Input that was to be read from a prompt cache was written to one, or billed in full.
    Cache,
    /// A dearer model or service tier than the one it was first sent to, or another price by the
    /// provider's own word.
    Price,
    /// Tools that the provider ran.
    Tools,
    /// Tries before the one that was answered.
    Retries,
}

impl Cause {
    /// All of them, in the order in which the difference is taken apart.
    pub const ALL: [Self; 6] = [
        Self::Input,
        Self::Cache,
        Self::Output,
        Self::Tools,
        Self::Price,
        Self::Retries,
    ];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Input => "input",
            Self::Cache => "cache",
            Self::Price => "price",
            Self::Tools => "tools",
            Self::Retries => "retries",
        }
    }

    /// For people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Output => "a longer answer",
            Self::Input => "more input",
            Self::Cache => "prompt cache missed",
            Self::Price => "a dearer model or tier",
            Self::Tools => "the provider's tools",
            Self::Retries => "tries before",
        }
    }
}

/// What one cause added to a cost, or took off it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Which.
    pub cause: Cause,
    /// How much, in billionths of a dollar.
    pub nano_usd: i64,
}

/// A call that cost far more than expected. Its shares sum to the difference exactly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overspend {
    /// What was expected when it was first sent.
    pub expected: NanoUsd,
    /// What it cost with all of its tries.
    pub cost: NanoUsd,
    /// The tokens that were expected.
    pub expected_usage: Usage,
    /// Why, the largest share first; causes without a share are left out.
    pub shares: Vec<Share>,
}

impl Overspend {
    /// The cause with the largest share.
    pub fn cause(&self) -> Option<Cause> {
        self.shares.first().map(|it| it.cause)
    }

    /// The cost above what was expected.
    pub const fn excess(&self) -> NanoUsd {
        self.cost.saturating_sub(self.expected)
    }
}

/// Whether a cost is more than 1.5 times its estimate, and more than a cent.
pub const fn is_overspent(expected: NanoUsd, cost: NanoUsd) -> bool {
    let (times, of) = TIMES;
    cost.0 > NEWS_MIN.0 && cost.0 as u128 * of > expected.0 as u128 * times
}

/// A call's money and tokens, before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// What it was expected to use when it was first sent.
    pub expected_usage: Usage,
    /// What its last try used.
    pub usage: Usage,
    /// What its last try cost.
    pub cost: NanoUsd,
    /// What the tries before cost.
    pub before: NanoUsd,
}

/// Takes the difference between a call's cost and its estimate apart: what each cause added, in
/// billionths of a dollar and the order of [`Cause::ALL`]. They sum to the difference exactly. `price`
/// is that of the model it was first sent to; what it makes of the expected usage is the estimate.
///
/// Each cause is what the cost changes by when the expected figures are replaced by the real ones, one
/// after the other: first the amount of input, as if all that is more were billed in full; then how it
/// was billed; then the output; then tools; then whatever else makes the price another one; last the
/// tries before. A long-context tier that more input reaches counts as input.
#[must_use]
pub fn take_apart(case: &Case, price: impl Fn(&Usage) -> NanoUsd) -> [i64; Cause::ALL.len()] {
    let expected = price(&case.expected_usage);
    let steps = steps(&case.expected_usage, &case.usage).map(|it| price(&it));
    let [input, cache, output, tools] = steps;
    [
        difference(input, expected),
        difference(cache, input),
        difference(output, cache),
        difference(tools, output),
        difference(case.cost, tools),
        difference(case.before, NanoUsd::ZERO),
    ]
}

/// Shares that are something, the largest first.
#[must_use]
pub fn shares(of: &[i64; Cause::ALL.len()]) -> Vec<Share> {
    let all = Cause::ALL.into_iter().zip(of);
    let mut shares: Vec<Share> = all
        .map(|(cause, nano_usd)| Share {
            cause,
            nano_usd: *nano_usd,
        })
        .filter(|it| it.nano_usd != 0)
        .collect();
    shares.sort_by_key(|it| std::cmp::Reverse(it.nano_usd));
    shares
}

/// What is to be told of a call whose difference is [taken apart](take_apart); `None` where it has not
/// [overspent](is_overspent).
#[must_use]
pub fn analyse(
    case: &Case,
    expected: NanoUsd,
    apart: &[i64; Cause::ALL.len()],
) -> Option<Overspend> {
    let cost = case.cost.saturating_add(case.before);
    is_overspent(expected, cost).then(|| Overspend {
        expected,
        cost,
        expected_usage: case.expected_usage,
        shares: shares(apart),
    })
}

/// The expected usage with one group of figures after the other replaced by the real ones.
fn steps(expected: &Usage, real: &Usage) -> [Usage; 4] {
    let (was, is) = (expected.input_total(), real.input_total());
    let less = was.saturating_sub(is);
    let from_input = Tokens(less.0.min(expected.input.0));
    let input = Usage {
        input: expected
            .input
            .saturating_add(is.saturating_sub(was))
            .saturating_sub(from_input),
        cache_read: expected
            .cache_read
            .saturating_sub(less.saturating_sub(from_input)),
        ..*expected
    };
    let cache = Usage {
        input: real.input,
        cache_read: real.cache_read,
        cache_write_5m: real.cache_write_5m,
        cache_write_1h: real.cache_write_1h,
        ..input
    };
    let output = Usage {
        output: real.output,
        reasoning: real.reasoning,
        ..cache
    };
    let tools = Usage {
        web_searches: real.web_searches,
        ..output
    };
    [input, cache, output, tools]
}

/// `one - other`. No cost that a price table can make is beyond 63 bits: nine billion dollars.
fn difference(one: NanoUsd, other: NanoUsd) -> i64 {
    let signed = |it: NanoUsd| i64::try_from(it.0).unwrap_or(i64::MAX);
    signed(one).saturating_sub(signed(other))
}

#[cfg(test)]
mod tests;
