//! How long a call will wait, and how well that was foretold.

use std::time::Duration;

use tidegate_types::{Monotonic, Priority};

use super::{Queue, Ticket, line::Line};
use crate::Pool;

/// How far one observation moves a factor, in its logarithm, once much was seen: some twenty calls to double it, so
/// that an hour's change of load is followed and one odd call is not …
const STEP: f64 = 0.05;

/// … and at first, divided by the root of what was seen.
const FIRST_STEP: f64 = 0.3;

/// Logarithms of factors stay within this, either way: beyond it nothing is being learned.
const FACTOR_MAX: f64 = 5.0;

/// What nine of ten wait beside what arithmetic finds, in logarithms, before anything was learned.
const P90_FIRST: f64 = 1.0;

/// What is added before a wait is multiplied, and taken off after: what arithmetic finds to be next to nothing would have to be
/// multiplied without end to become the second or two that it often is.
const AT_LEAST: Duration = Duration::from_millis(500);

/// Waits by arithmetic alone up to these are foretold alike …
const WAITS: [Duration; 6] = [
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(4),
    Duration::from_secs(16),
    Duration::from_secs(64),
    Duration::from_secs(256),
];

/// … and so are calls of flow times up to these.
const SIZES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(8),
    Duration::from_secs(32),
];

/// What calls have in common whose waits are foretold alike: class, wait by arithmetic, whether others are before
/// it, size. Each has a factor of its own, so that some thirty figures stand for hundreds of kinds.
const TRAITS: usize = 4;

/// How many factors there are.
const FACTORS: usize = Priority::ALL.len() + WAITS.len() + 1 + 2 + SIZES.len() + 1;

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
    traits: [u8; TRAITS],
}

/// How well the waits of a class were foretold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calibration {
    /// Calls that were foretold and have started.
    pub scored: u64,
    /// Those that waited longer than their p90.
    pub beyond_p90: u64,
    /// Those that waited longer than their p50.
    pub beyond_p50: u64,
}

impl Calibration {
    pub(super) fn score(&mut self, told: &Outlook, waited: Duration) {
        self.scored += 1;
        self.beyond_p50 += u64::from(waited > told.p50);
        self.beyond_p90 += u64::from(waited > told.p90);
    }
}

/// What waits were, compared with what arithmetic finds: logarithms of what that is multiplied with.
#[derive(Clone, Debug, Default)]
pub(super) struct Learned([Factor; FACTORS]);

/// What was learned of calls that share one trait.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Factor {
    p50: f64,
    p90: f64,
    seen: u32,
}

impl Learned {
    /// Half of all such calls, and nine of ten, wait no longer.
    fn quotes(&self, plain: Duration, traits: [u8; TRAITS]) -> (Duration, Duration) {
        let (mut p50, mut p90) = (0.0, P90_FIRST);
        for it in traits.iter().filter_map(|at| self.0.get(usize::from(*at))) {
            p50 += it.p50;
            p90 += it.p90;
        }
        (scaled(plain, p50), scaled(plain, p90.max(p50)))
    }

    /// Learns from a wait that was foretold. Stochastic approximation of a quantile: at rest, the part that lies
    /// beyond is as it should be, for each trait.
    pub(super) fn learn(&mut self, told: &Outlook, waited: Duration) {
        let (p50, p90) = self.quotes(told.plain, told.traits);
        for at in told.traits {
            let Some(it) = self.0.get_mut(usize::from(at)) else {
                continue;
            };
            it.seen = it.seen.saturating_add(1);
            let step = (FIRST_STEP / f64::from(it.seen).sqrt()).max(STEP);
            let moved = |factor: f64, quoted: Duration, part: f64| {
                let seen = if waited > quoted { 1.0 } else { 0.0 };
                step.mul_add(seen - part, factor)
                    .clamp(-FACTOR_MAX, FACTOR_MAX)
            };
            it.p50 = moved(it.p50, p50, 0.5);
            it.p90 = moved(it.p90, p90, 0.1);
        }
    }
}

fn scaled(plain: Duration, factor: f64) -> Duration {
    let seconds = plain.saturating_add(AT_LEAST).as_secs_f64() * factor.exp();
    let wait = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX);
    wait.saturating_sub(AT_LEAST)
}

/// The places of a call's factors.
fn traits(class: Priority, plain: Duration, is_first: bool, size: u64) -> [u8; TRAITS] {
    let wait = WAITS.partition_point(|it| *it < plain);
    let size = SIZES.partition_point(|it| *it < Duration::from_nanos(size));
    let mut before = 0;
    [
        (class.index(), Priority::ALL.len()),
        (wait, WAITS.len() + 1),
        (usize::from(is_first), 2),
        (size, SIZES.len() + 1),
    ]
    .map(|(at, of)| {
        let place = before + at;
        before += of;
        u8::try_from(place).unwrap_or(u8::MAX)
    })
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
        let traits = traits(class, plain, ahead.calls == 0, place.size);
        let (p50, p90) = self.learned.quotes(plain, traits);
        Some(Outlook {
            at: now,
            place: ahead.calls + 1,
            of: self.waiting[class.index()],
            p50,
            p90,
            plain,
            traits,
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

    /// What was learned of waits, for [`Self::restore_learned`]. `None`: nothing yet.
    pub fn learned(&self) -> Option<Vec<Factor>> {
        let learned = self.learned.0.iter().any(|it| it.seen > 0);
        learned.then(|| self.learned.0.to_vec())
    }

    /// Goes on with what an earlier run had learned. What it makes no sense to multiply with is left
    /// out, and all of it if it is of another version.
    pub fn restore_learned(&mut self, learned: &[Factor]) {
        if learned.len() != FACTORS {
            return;
        }
        for (own, it) in self.learned.0.iter_mut().zip(learned) {
            if it.p50.abs() <= FACTOR_MAX && it.p90.abs() <= FACTOR_MAX {
                *own = *it;
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
