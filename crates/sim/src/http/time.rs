//! The provider's time: the machine's, or one that stands still until it is told to go on.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_types::{Clock, Monotonic, SystemClock, Timestamp};

use crate::ProviderSpec;

/// Whose time it is.
#[derive(Debug)]
pub(super) enum Time {
    /// The machine's from the start on, so many times as fast.
    Machine {
        clock: SystemClock,
        began: (Timestamp, Monotonic),
        speed: u32,
    },
    /// It stands still but for what answers take, which passes at once, and for [`Time::reach`].
    Driven {
        began: Timestamp,
        /// Nanoseconds since then.
        passed: AtomicU64,
    },
}

/// Where a clock that is driven stands: the body of `/sim/clock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stand {
    /// Nanoseconds since the provider's start.
    pub(super) at_ns: u64,
}

impl Time {
    pub(super) fn of(spec: &ProviderSpec) -> Self {
        if let Some(seconds) = spec.driven_from {
            return Self::Driven {
                began: Timestamp::from_seconds(seconds),
                passed: AtomicU64::new(0),
            };
        }
        let clock = SystemClock::start();
        Self::Machine {
            began: (clock.now(), clock.monotonic()),
            speed: spec.speed,
            clock,
        }
    }

    pub(super) fn now(&self) -> Timestamp {
        match self {
            Self::Machine {
                clock,
                began,
                speed,
            } => {
                let real = clock.monotonic().since(began.1);
                began.0.after(real.saturating_mul(*speed))
            }
            Self::Driven { began, passed } => {
                began.after(Duration::from_nanos(passed.load(Ordering::Acquire)))
            }
        }
    }

    /// How long a time of the provider's takes on the machine's clock; on one that is driven, itself.
    pub(super) fn real(&self, duration: Duration) -> Duration {
        match self {
            Self::Machine { speed, .. } => duration / *speed,
            Self::Driven { .. } => duration,
        }
    }

    /// Lets a time, as [`Self::real`] has it, pass.
    pub(super) async fn pass(&self, duration: Duration) {
        match self {
            Self::Machine { .. } if duration.is_zero() => {}
            Self::Machine { .. } => tokio::time::sleep(duration).await,
            Self::Driven { passed, .. } => {
                passed.fetch_add(nanos(duration), Ordering::AcqRel);
            }
        }
    }

    /// Moves a clock that is driven on to so long after `since`, if it is not there yet. False: this one goes by itself.
    pub(super) fn reach(&self, since: Timestamp, after: Duration) -> bool {
        let Self::Driven { began, passed } = self else {
            return false;
        };
        let at = since.after(after).since(*began);
        passed.fetch_max(nanos(at), Ordering::AcqRel);
        true
    }

    /// Where a clock that is driven stands; `None`: this one goes by itself.
    pub(super) fn stand(&self) -> Option<Stand> {
        match self {
            Self::Machine { .. } => None,
            Self::Driven { passed, .. } => Some(Stand {
                at_ns: passed.load(Ordering::Acquire),
            }),
        }
    }

    /// Moves a clock that is driven on to there. The error says why it can't be.
    pub(super) fn move_to(&self, to: Stand) -> Result<(), String> {
        let Self::Driven { passed, .. } = self else {
            return Ok(());
        };
        let was = passed.fetch_max(to.at_ns, Ordering::AcqRel);
        if was > to.at_ns {
            return Err(format!(
                "`at_ns` is {}: the clock stands at {was} and only goes on",
                to.at_ns
            ));
        }
        Ok(())
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
