//! Half speed for whoever takes far more than its share while others wait (T4).
//!
//! A call's weight is its **flow time**: how long the slowest bucket it draws on takes to refill
//! what it takes. In a second there is one second of flow; a class's fair share of it is its
//! percentage, a user's is an equal part among the users seen in the last ten minutes or so.
//!
//! Usage is counted in windows of ten minutes in which somebody else waited at every call; whoever
//! used more than twice its share of one has to pay back the excess over its share. While it pays,
//! each call is followed by a pause in which half of its share refills what it took: the other
//! half pays. So the penalty lasts for the excess divided by half the share, at most an hour, and
//! leaves exactly half of the share.

use std::time::Duration;

/// How long somebody must be above twice its share: the length of a window.
pub const PENALTY_WINDOW: Duration = Duration::from_mins(10);

/// The longest penalty; what is not paid by then is forgiven.
pub const PENALTY_MAX: Duration = Duration::from_hours(1);

pub(crate) const WINDOW_NANOS: u64 = 600_000_000_000;
const PENALTY_NANOS: u64 = 3_600_000_000_000;

/// A fair share of the flow, as a fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub part: u32,
    pub of: u32,
}

/// One user's or class's usage and penalty.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The window's start, and flow time used in it.
    since: u64,
    used: u64,
    /// Flow time in the window while it is empty starts with the next call.
    open: bool,
    /// Under a penalty until then, and not before `next`.
    until: u64,
    next: u64,
    /// The share as it was when the penalty began.
    share: Share,
}

/// What is left of a penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    /// Nanoseconds until it ends.
    pub(crate) left: u64,
    /// Nanoseconds until the next call may start.
    pub(crate) pause: u64,
    /// Of what share half is left.
    pub(crate) share: Share,
}

impl Pace {
    pub(crate) const NEW: Self = Self {
        since: 0,
        used: 0,
        open: false,
        until: 0,
        next: 0,
        share: Share { part: 1, of: 1 },
    };

    /// When the penalty in force at `now` ends.
    pub(crate) const fn penalised_until(&self, now: u64) -> Option<u64> {
        if now < self.until {
            Some(self.until)
        } else {
            None
        }
    }

    /// What is left of the penalty in force at `now`.
    pub(crate) fn sentence(&self, now: u64) -> Option<Sentence> {
        let until = self.penalised_until(now)?;
        Some(Sentence {
            left: until - now,
            pause: self.may_start().saturating_sub(now),
            share: self.share,
        })
    }

    /// Goes on with a penalty; never a longer one than any can be.
    pub(crate) fn resume(&mut self, sentence: Sentence, now: u64) {
        self.until = now.saturating_add(sentence.left.min(PENALTY_NANOS));
        self.next = now.saturating_add(sentence.pause);
        self.share = sentence.share;
    }

    /// The first nanosecond at which the penalty lets a call start. May be in the past.
    pub(crate) fn may_start(&self) -> u64 {
        self.next.min(self.until)
    }

    /// A call started.
    #[inline]
    pub(crate) fn spend(&mut self, flow: u64, share: Share, others_wait: bool, now: u64) {
        if now < self.until {
            self.next = self.next.max(now).saturating_add(self.pause(flow));
            return;
        }
        if !others_wait {
            self.open = false;
            return;
        }
        if !self.open {
            (self.open, self.since, self.used) = (true, now, 0);
        }
        self.used = self.used.saturating_add(flow);
        if now.saturating_sub(self.since) >= WINDOW_NANOS {
            self.judge(share, now);
        }
    }

    /// A call turned out to need this much less (`true`) or more than was taken for it.
    pub(crate) fn correct(&mut self, flow: u64, less: bool, now: u64) {
        if now < self.until {
            let pause = self.pause(flow);
            self.next = if less {
                self.next.saturating_sub(pause)
            } else {
                self.next.max(now).saturating_add(pause)
            };
        } else if less {
            self.used = self.used.saturating_sub(flow);
        } else if self.open {
            self.used = self.used.saturating_add(flow);
        }
    }

    /// How long half of the share takes to refill this flow.
    fn pause(&self, flow: u64) -> u64 {
        over_half(flow, self.share)
    }

    #[cold]
    fn judge(&mut self, share: Share, now: u64) {
        let (part, of) = (u128::from(share.part), u128::from(share.of));
        let fair = u128::from(now.saturating_sub(self.since)) * part / of;
        let used = u128::from(self.used);
        if used > 2 * fair {
            let excess = u64::try_from(used - fair).unwrap_or(u64::MAX);
            self.share = share;
            self.until = now.saturating_add(over_half(excess, share).min(PENALTY_NANOS));
            self.next = now;
        }
        (self.open, self.since, self.used) = (true, now, 0);
    }
}

/// `flow` divided by half of the share.
fn over_half(flow: u64, share: Share) -> u64 {
    let nanos = u128::from(flow) * 2 * u128::from(share.of) / u128::from(share.part.max(1));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
