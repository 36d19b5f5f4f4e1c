//! How long a call will wait, and how well that was foretold.

use std::time::Duration;

use tidegate_types::{Monotonic, Priority};

use super::{Queue, Ticket, line::Line};
use crate::Pool;

/// How far one observation moves a factor, in its logarithm: some twenty calls to double it, so that
/// an hour's change of load is followed and one odd call is not.
const STEP: f64 = 0.05;

/// Factors stay within this, either way: beyond it nothing is being learned.
const FACTOR_MAX: f64 = 64.0;

/// Shares are percentages.
const ALL_SHARES: u64 = 100;

/// What a waiting call is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// When it was told.
    pub at: Monotonic,
    /// Its place among the calls of its class that wait: 1 goes next.
    pub place: usize,
    /// How many of its class wait.
    pub of: usize,
    /// From then on, half of all calls wait no longer.
    pub p50: Duration,
    /// Nine of ten wait no longer.
    pub p90: Duration,
    /// By arithmetic alone, before what was learned.
    plain: Duration,
}

/// What a class's waits were, compared with what was foretold.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Calibration {
    /// Logarithms of what the plain estimate is multiplied with.
    p50: f64,
    p90: f64,
    /// Calls that were foretold and have started.
    pub scored: u64,
    /// Those that waited longer than their p90.
    pub beyond_p90: u64,
    /// Those that waited longer than their p50.
    pub beyond_p50: u64,
}

impl Calibration {
    /// Scores a foretold wait, and learns from it.
    pub(super) fn learn(&mut self, told: Outlook, waited: Duration) {
        self.scored += 1;
        self.beyond_p50 += u64::from(waited > told.p50);
        self.beyond_p90 += u64::from(waited > told.p90);
        let limit = FACTOR_MAX.ln();
        let beyond = |factor: f64| waited > scaled(told.plain, factor);
        // Stochastic approximation of a quantile: at rest, the part that lies beyond is as it should be.
        let moved = |factor: f64, part: f64| {
            let seen = if beyond(factor) { 1.0 } else { 0.0 };
            STEP.mul_add(seen - part, factor).clamp(-limit, limit)
        };
        self.p50 = moved(self.p50, 0.5);
        self.p90 = moved(self.p90, 0.1).max(self.p50);
    }

    const fn restore(p50: f64, p90: f64) -> Self {
        Self {
            p50,
            p90,
            scored: 0,
            beyond_p90: 0,
            beyond_p50: 0,
        }
    }

    /// What was learned: logarithms of two factors.
    const fn export(&self) -> (f64, f64) {
        (self.p50, self.p90)
    }
}

/// What is added before a wait is multiplied, and taken off after: what arithmetic finds to be next to nothing
/// would have to be multiplied without end to become the second or two that it often is.
const AT_LEAST: f64 = 2.0;

fn scaled(plain: Duration, factor: f64) -> Duration {
    let seconds = (plain.as_secs_f64() + AT_LEAST).mul_add(factor.exp(), -AT_LEAST);
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}

impl Queue {
    /// Where a call stands, and how long it will probably wait. `None` where it does not wait.
    pub fn outlook(&self, ticket: Ticket, pool: &Pool, now: Monotonic) -> Option<Outlook> {
        let place = self.places.get(&ticket)?;
        let class = place.waiting.ask.priority;
        let line = &self.lines[class.index()];
        let ahead = line.before(&place.spot(ticket), now);
        // For itself it waits as long as its pool says; for those before it, as long as their flow
        // takes at what its class gets of it.
        let alone = pool.would_fit_at(&place.waiting.ask, now);
        let alone = alone.map_or(Duration::ZERO, |at| at.since(now));
        let plain = alone.saturating_add(self.drains_in(class, ahead.work));
        let learned = self.calibration[class.index()];
        Some(Outlook {
            at: now,
            place: ahead.calls + 1,
            of: self.waiting[class.index()],
            p50: scaled(plain, learned.p50),
            p90: scaled(plain, learned.p90),
            plain,
        })
    }

    /// Remembers what a call was told, to score it when it starts.
    pub fn told(&mut self, ticket: Ticket, outlook: Outlook) {
        if let Some(place) = self.places.get_mut(&ticket) {
            place.told.get_or_insert(outlook);
        }
    }

    /// How well the waits of a class were foretold.
    pub const fn calibration(&self, class: Priority) -> Calibration {
        self.calibration[class.index()]
    }

    /// What was learned of waits, by class, for [`Self::restore_learned`]. `None`: nothing yet.
    pub fn learned(&self) -> Option<[(f64, f64); Priority::ALL.len()]> {
        let known = |it: &Calibration| it.p50.abs() + it.p90.abs() > 0.0;
        let learned = self.calibration.iter().any(known);
        learned.then(|| self.calibration.map(|it| it.export()))
    }

    /// Goes on with what an earlier run had learned. What it makes no sense to multiply with is left
    /// out.
    pub fn restore_learned(&mut self, learned: &[(f64, f64); Priority::ALL.len()]) {
        let limit = FACTOR_MAX.ln();
        for (own, (p50, p90)) in self.calibration.iter_mut().zip(learned) {
            if p50.abs() <= limit && p90.abs() <= limit && p50 <= p90 {
                *own = Calibration::restore(*p50, *p90);
            }
        }
    }

    /// How long this much of a class's work takes, while the others that wait take their shares and
    /// the highest of them takes what nobody claims.
    fn drains_in(&self, class: Priority, work: u128) -> Duration {
        let mut left = self.lines.each_ref().map(Line::work);
        left[class.index()] = work;
        let mut took = 0_u128;
        while left[class.index()] > 0 {
            let waiting = || Priority::ALL.iter().filter(|it| left[it.index()] > 0);
            let claimed: u64 = waiting().map(|it| it.share_percent()).sum();
            let highest = waiting().max().copied();
            let percent = |it: Priority| {
                let lent = ALL_SHARES.saturating_sub(claimed);
                it.share_percent() + if Some(it) == highest { lent } else { 0 }
            };
            let time = |it: &Priority| {
                let percent = u128::from(percent(*it).max(1));
                (left[it.index()] * u128::from(ALL_SHARES)).div_ceil(percent)
            };
            let Some(span) = waiting().map(time).min() else {
                break;
            };
            let parts: Vec<_> = waiting().map(|it| (it.index(), percent(*it))).collect();
            for (at, percent) in parts {
                let done = span * u128::from(percent) / u128::from(ALL_SHARES);
                left[at] = left[at].saturating_sub(done.max(1));
            }
            took += span;
        }
        Duration::from_nanos(u64::try_from(took).unwrap_or(u64::MAX))
    }
}
