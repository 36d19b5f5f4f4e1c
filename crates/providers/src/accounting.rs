//! What a call counts against a provider's rate limits, by that provider's own rules.

use tidegate_types::{Tokens, Usage};

/// What is known of a call before it is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// All input, however it will be billed.
    pub input_total: Tokens,
    /// The part of it expected to be read from a prompt cache.
    pub cache_read: Tokens,
    /// Output expected, thinking included.
    pub output_expected: Tokens,
    /// The output cap the request carries (`max_tokens`, `max_output_tokens`), if any.
    pub output_cap: Option<Tokens>,
}

/// What one call takes from each kind of limit a provider may have. A provider enforces some of
/// them only; the rest is what the same rules would count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Requests.
    pub requests: u64,
    /// Tokens against an input limit.
    pub input_tokens: u64,
    /// Tokens against an output limit.
    pub output_tokens: u64,
    /// Tokens against a limit on both together.
    pub tokens: u64,
}

impl Counted {
    const fn one_request(input: Tokens, output: Tokens) -> Self {
        Self {
            requests: 1,
            input_tokens: input.0,
            output_tokens: output.0,
            tokens: input.saturating_add(output).0,
        }
    }
}

/// A provider's rules for counting calls against its rate limits.
///
/// Sums that pass 64 bits saturate.
pub trait Accounting: Send + Sync + std::fmt::Debug {
    /// What the provider will have counted once it has accepted the call. An expectation, not a
    /// bound: rate limits may go into debt and are corrected by [`settled`](Self::settled).
    fn estimated(&self, estimate: &Estimate) -> Counted;

    /// What the provider counts in the end, from the usage it reported.
    fn settled(&self, usage: &Usage) -> Counted;
}

/// Anthropic's rules (rate limits of the Messages API): cache reads don't count as input, cache
/// writes do; output counts as it is produced, and `max_tokens` plays no part.
#[derive(Clone, Copy, Debug, Default)]
pub struct Anthropic;

impl Accounting for Anthropic {
    fn estimated(&self, estimate: &Estimate) -> Counted {
        let input = estimate.input_total.saturating_sub(estimate.cache_read);
        Counted::one_request(input, estimate.output_expected)
    }

    fn settled(&self, usage: &Usage) -> Counted {
        let input = usage
            .input
            .saturating_add(usage.cache_write_5m)
            .saturating_add(usage.cache_write_1h);
        Counted::one_request(input, usage.output)
    }
}

/// OpenAI's rules: cached input counts like any other, and the larger of the output cap and the
/// expected output is charged up front, then replaced by what was used.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAi;

impl Accounting for OpenAi {
    fn estimated(&self, estimate: &Estimate) -> Counted {
        let cap = estimate.output_cap.unwrap_or_default();
        Counted::one_request(estimate.input_total, cap.max(estimate.output_expected))
    }

    fn settled(&self, usage: &Usage) -> Counted {
        Counted::one_request(usage.input_total(), usage.output)
    }
}

/// Whose rules a provider follows. Compatible endpoints choose one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// [`Anthropic`].
    Anthropic,
    /// [`OpenAi`].
    OpenAi,
}

impl Family {
    /// The rules.
    pub fn accounting(self) -> &'static dyn Accounting {
        match self {
            Self::Anthropic => &Anthropic,
            Self::OpenAi => &OpenAi,
        }
    }
}

#[cfg(test)]
mod tests;
