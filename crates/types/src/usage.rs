//! Tokens, and what one answer used of them.

use std::fmt;

use serde::{
    Deserialize, Serialize,
    ser::{SerializeMap as _, Serializer},
};

/// A whole number of LLM tokens. Never bytes, never requests.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Tokens(pub u64);

impl Tokens {
    /// `self + other`, or the most that can be held.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// `self - other`, or zero. Use where running out is an ordinary outcome.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} tok", self.0)
    }
}

/// What one answer used, in disjoint classes whatever the provider's own algebra:
/// the total input is `input + cache_read + cache_write_5m + cache_write_1h`.
///
/// Everything a price depends on is here, so that history can be priced again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Input that was neither read from nor written to a prompt cache.
    pub input: Tokens,
    /// Input read from a prompt cache.
    pub cache_read: Tokens,
    /// Input written to a prompt cache that lives for minutes.
    pub cache_write_5m: Tokens,
    /// Input written to a prompt cache that lives for an hour or longer.
    pub cache_write_1h: Tokens,
    /// Generated tokens, thinking included.
    pub output: Tokens,
    /// The part of `output` that was thinking or reasoning.
    pub reasoning: Tokens,
    /// Web searches the provider ran.
    pub web_searches: u64,
    /// What else changes the price.
    pub modifiers: Modifiers,
    /// The provider's own figure for the whole call, where it gives one. It wins over any table.
    pub reported_cost: Option<crate::NanoUsd>,
}

impl Usage {
    /// All input, however it was billed.
    pub const fn input_total(&self) -> Tokens {
        self.input
            .saturating_add(self.cache_read)
            .saturating_add(self.cache_write_5m)
            .saturating_add(self.cache_write_1h)
    }

    /// Input and output together.
    pub const fn total(&self) -> Tokens {
        self.input_total().saturating_add(self.output)
    }

    /// To be written without what is zero, for what is written, hashed and kept for ever.
    pub const fn sparse(&self) -> SparseUsage<'_> {
        SparseUsage(self)
    }
}

/// The written form of a usage without what is zero in it, which is most.
#[derive(Clone, Copy, Debug)]
pub struct SparseUsage<'a>(&'a Usage);

impl Serialize for SparseUsage<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Usage {
            input,
            cache_read,
            cache_write_5m,
            cache_write_1h,
            output,
            reasoning,
            web_searches,
            modifiers,
            reported_cost,
        } = self.0;
        let counts = [
            ("input", input.0),
            ("cache_read", cache_read.0),
            ("cache_write_5m", cache_write_5m.0),
            ("cache_write_1h", cache_write_1h.0),
            ("output", output.0),
            ("reasoning", reasoning.0),
            ("web_searches", *web_searches),
        ];
        let mut map = serializer.serialize_map(None)?;
        for (name, count) in counts.into_iter().filter(|(_, count)| *count > 0) {
            map.serialize_entry(name, &count)?;
        }
        if *modifiers != Modifiers::default() {
            map.serialize_entry("modifiers", modifiers)?;
        }
        if let Some(cost) = reported_cost {
            map.serialize_entry("reported_cost", cost)?;
        }
        map.end()
    }
}

/// Circumstances of a call that multiply its price or choose another row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as providers report them"
)]
pub struct Modifiers {
    /// Sent as part of a batch.
    pub batch: bool,
    /// Anthropic's `speed: fast`, OpenAI's `service_tier: fast` or `priority`.
    pub fast: bool,
    /// OpenAI's `service_tier: flex`.
    pub flex: bool,
    /// Inference pinned to one geography (`inference_geo: us`).
    pub regional: bool,
}
