//! A clock that a run moves.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tidegate_types::{Clock, Monotonic, Timestamp};

use super::DAY_BEGINS;

/// Nanoseconds since the day began. Both clocks of the engine follow it.
#[derive(Debug, Default)]
pub(super) struct VirtualClock(AtomicU64);

impl VirtualClock {
    pub(super) fn set(&self, since_begin: Duration) {
        let nanos = u64::try_from(since_begin.as_nanos()).unwrap_or(u64::MAX);
        self.0.store(nanos, Ordering::Relaxed);
    }
}

/// Monotonic time begins at one, so that nothing is before everything.
const FIRST: u64 = 1;

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        Timestamp(DAY_BEGINS.0 + self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(FIRST + self.0.load(Ordering::Relaxed))
    }
}

/// A moment of the engine's, as time since the day began.
pub(super) fn since_begin(at: Monotonic) -> Duration {
    Duration::from_nanos(at.0.saturating_sub(FIRST))
}
