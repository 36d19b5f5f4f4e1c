//! How long money is held: what those are told who have to wait for that.
//!
//! The rule: whoever is kept out by nothing but running calls is told to ask again after as long as
//! the last calls held what they held, on average, but never later than a client surely comes back.
//! Nobody knows when a call ends, and several may have to; asking costs next to nothing.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Before any call has ended: about what an answer of a large model takes.
const PRIOR: Duration = Duration::from_secs(15);

/// A client that asks again at once would find nothing changed.
const WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest that Claude Code waits for before it asks again by itself.
const WAIT_MAX: Duration = tidegate_providers::refusal::CLAUDE_CODE_WAIT_MAX;

/// Weight of the newest in the running mean: one part in this many.
const NEWEST_ONE_IN: u64 = 8;

/// The running mean of how long money was held, in nanoseconds.
#[derive(Debug)]
pub(crate) struct Holds(AtomicU64);

impl Default for Holds {
    fn default() -> Self {
        Self(AtomicU64::new(nanos(PRIOR)))
    }
}

impl Holds {
    /// A call held what it held for so long. Of two at the same moment one may be forgotten.
    pub(crate) fn learn(&self, held: Duration) {
        let mean = self.0.load(Ordering::Relaxed);
        let learned = mean - mean / NEWEST_ONE_IN + nanos(held) / NEWEST_ONE_IN;
        self.0.store(learned, Ordering::Relaxed);
    }

    /// When to ask again.
    pub(crate) fn wait(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed)).clamp(WAIT_MIN, WAIT_MAX)
    }
}

/// At most a day, so that no sum of these can overflow.
fn nanos(held: Duration) -> u64 {
    u64::try_from(held.min(crate::admissions::LIFE_MAX).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_follows_how_long_calls_hold_within_its_bounds() {
        let holds = Holds::default();
        assert_eq!(holds.wait(), PRIOR);
        let after = |held: Duration| {
            (0..100).for_each(|_| holds.learn(held));
            holds.wait()
        };
        assert_eq!(after(Duration::from_secs(40)).as_millis(), 39_999);
        assert_eq!(after(Duration::from_millis(20)), WAIT_MIN);
        assert_eq!(after(Duration::MAX), WAIT_MAX);
    }
}
