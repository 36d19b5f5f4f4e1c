//! What calls used, added up while others add to it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};
use tidegate_types::NanoUsd;

/// What calls that ended have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Calls that were sent.
    pub calls: u64,
    /// Input tokens that no cache served.
    pub input: u64,
    /// Input tokens read from a prompt cache.
    pub cache_read: u64,
    /// Input tokens written to one.
    pub cache_write: u64,
    /// Output tokens.
    pub output: u64,
    /// What was charged.
    pub cost: NanoUsd,
    /// The list price of what was charged less.
    pub notional: NanoUsd,
    /// Time that providers took, in microseconds.
    pub micros: u64,
}

impl Used {
    const fn parts(&self) -> [u64; SUMS] {
        [
            self.calls,
            self.input,
            self.cache_read,
            self.cache_write,
            self.output,
            self.cost.0,
            self.notional.0,
            self.micros,
        ]
    }

    const fn of_parts(parts: [u64; SUMS]) -> Self {
        let [
            calls,
            input,
            cache_read,
            cache_write,
            output,
            cost,
            notional,
            micros,
        ] = parts;
        Self {
            calls,
            input,
            cache_read,
            cache_write,
            output,
            cost: NanoUsd(cost),
            notional: NanoUsd(notional),
            micros,
        }
    }
}

/// Figures of [`Used`].
const SUMS: usize = 8;

/// [`Used`] that several add to at once.
#[derive(Debug, Default)]
pub(crate) struct Sums([AtomicU64; SUMS]);

impl Sums {
    pub(crate) fn of(used: &Used) -> Self {
        Self(used.parts().map(AtomicU64::new))
    }

    pub(crate) fn add(&self, used: &Used) {
        for (sum, part) in self.0.iter().zip(used.parts()) {
            // Sums that run over would need 500,000 years of calls.
            sum.fetch_add(part, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Used {
        Used::of_parts(std::array::from_fn(|it| self.0[it].load(Ordering::Relaxed)))
    }
}
