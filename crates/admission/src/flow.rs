//! The level of one bucket, and which class may spend how much of it.
//!
//! The law, in quanta (fractions of a token so small that every rate is a whole number of them per
//! nanosecond; no rounding anywhere):
//!
//! - The level refills continuously up to the capacity. **From a full bucket any one call of `high`
//!   and `critical` may start**, whatever its size: its refill would be lost, and a call larger
//!   than the capacity would otherwise never start. Where no threshold guards a stock this holds
//!   for every class.
//!   What others had earned of it is borrowed: the class of that call earns for them until it is paid back.
//! - Each class has a **claim**: what its share of the refill has earned and it has not spent.
//!   `low` and `medium` earn while the level is below the threshold; a class that waits earns at
//!   any level, until it has what it waits for. Nobody earns while a debt is paid; in a full bucket
//!   only those whom a threshold keeps from starting do, of what overflows. A claim ends when its
//!   class does not wait and (for `low` and `medium`) the level is back at the threshold.
//! - A class may spend its own claim, and the stock nobody claims: all of it for `high` and
//!   `critical`, what lies above the threshold for `low` and `medium`. So one of their calls that
//!   straddles the threshold starts when the level is so far above it, or when its class has earned
//!   all of it; one larger than the capacity when that holds for a call of the capacity, and the
//!   bucket is full. A class spends its claim first, in whole tokens.
//! - `critical` may take the unclaimed stock down to minus the overdraft, once, until it is back
//!   at zero: it earns nothing until then. What others have earned stays theirs to spend meanwhile.
//! - What settlement adds is debt: the level falls below zero and refill pays it first.

use std::time::Duration;

use tidegate_types::Priority;

use crate::{BucketSpec, Owner, Reason, Refill};

/// How long a class still counts as waiting after the time it was promised: to come back takes a moment.
pub const WAITING_GRACE: Duration = Duration::from_mins(1);

/// The longest promise for which a class counts as waiting without asking again: one refill period
/// of the built-in limits. A caller that has gone costs the others at most its class's share of so
/// long. Only a call that nothing but waiting can ever admit (one of `low` or `medium` that is
/// larger than the capacity above the threshold) counts until the time it was promised.
pub const WAITING_MAX: Duration = Duration::from_hours(1);

/// Shares are percentages.
const SHARE_SCALE: u64 = 100;

/// Parts in which a provider's bucket may be made to refill slower than stated.
pub(crate) const PACE_WHOLE: u32 = 1_000;

/// Grain of a bucket whose pace can change: products of a level stay below 2¹²⁷, as without it.
const PACED_MAX: u64 = 1 << 58;

/// The longest time that a refill is simply added for, in nanoseconds: 36 years. What it adds is below 2¹²⁴.
const STEP_MAX: u64 = 1 << 60;

/// What `critical` may overdraw, of the capacity (T4).
const OVERDRAFT_PERCENT: i128 = 10;

const CLASSES: usize = Priority::ALL.len();

/// A class that was deferred here.
#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    /// Until when it counts, in nanoseconds.
    until: u64,
    /// The largest call it waits for, at most the capacity. Zero: it does not wait.
    need: i128,
}

impl Waiting {
    const fn is_on(&self) -> bool {
        self.need > 0
    }
}

/// How a call fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    Fits,
    Overdraws,
    Not,
}

/// What each call reads stands together, at the beginning: a reservation costs what it has to fetch.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(crate) struct Flow {
    level: i128,
    capacity: i128,
    /// The state is as of this nanosecond.
    at: u64,
    /// Quanta in one token (or unit, request, billionth of a dollar, call).
    token: u64,
    /// Quanta per nanosecond, at the present pace. Zero for concurrency.
    rate: u64,
    /// Someone waits, claims or overdrew: refill is not just an addition.
    stirred: bool,
    threshold: i128,
    /// What the rate grows by with each part of the pace; zero where the pace is fixed.
    pace_step: u64,
    /// The most that `critical` may overdraw, and what it still has to pay back.
    overdraft: i128,
    overdrawn: i128,
    claims: [i128; CLASSES],
    waiting: [Waiting; CLASSES],
}

/// `count` times `each`, which 127 bits hold for every bound in [`crate::spec`].
pub(crate) fn quanta(count: u64, each: u64) -> i128 {
    i128::try_from(u128::from(count) * u128::from(each)).unwrap_or(i128::MAX)
}

const fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b > 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Quanta per token and per nanosecond, the smallest whole numbers in the right ratio.
fn grain(refill: Option<Refill>) -> (u64, u64) {
    let Some(Refill { amount, period }) = refill else {
        return (1, 0);
    };
    let divisor = greatest_common_divisor(u128::from(amount), period.as_nanos()).max(1);
    // The bounds of a checked specification keep both far below 2⁶⁴.
    let scaled = |part: u128| {
        u64::try_from(part / divisor).map_or(u64::MAX, |it| it.saturating_mul(SHARE_SCALE))
    };
    (scaled(period.as_nanos()), scaled(u128::from(amount)))
}

impl Flow {
    /// A full bucket.
    pub(crate) fn full(spec: &BucketSpec, at: u64) -> Self {
        let (mut token, mut rate) = grain(spec.refill);
        let mut pace_step = 0;
        if spec.owner == Owner::Provider && rate > 0 {
            let finer = |it: u64| it.saturating_mul(u64::from(PACE_WHOLE));
            let (paced_token, paced_rate) = (finer(token), finer(rate));
            let holds = spec.capacity.checked_ilog2().unwrap_or(0) + paced_token.ilog2() < 117;
            if paced_token < PACED_MAX && paced_rate < PACED_MAX && holds {
                (token, rate, pace_step) = (paced_token, paced_rate, rate);
            }
        }
        let capacity = quanta(spec.capacity, token);
        let overdraft = if spec.may_be_overdrawn() {
            capacity / 100 * OVERDRAFT_PERCENT
        } else {
            0
        };
        Self {
            at,
            level: capacity,
            capacity,
            threshold: quanta(spec.threshold, token),
            token,
            rate,
            pace_step,
            stirred: false,
            overdraft,
            overdrawn: 0,
            claims: [0; CLASSES],
            waiting: [Waiting::default(); CLASSES],
        }
    }

    pub(crate) const fn level(&self) -> i128 {
        self.level
    }

    pub(crate) const fn capacity(&self) -> i128 {
        self.capacity
    }

    pub(crate) const fn refills(&self) -> bool {
        self.rate > 0
    }

    /// From now on refills at so many parts in [`PACE_WHOLE`] of what its figures say. To be called
    /// when time has been let pass.
    pub(crate) fn set_pace(&mut self, parts: u32) {
        if self.pace_step > 0 {
            self.rate = self.pace_step * u64::from(parts.clamp(1, PACE_WHOLE));
        }
    }

    /// Falls to this level, where it is higher.
    pub(crate) fn lower_to(&mut self, level: i128) {
        self.level = self.level.min(level);
        self.lapse();
    }

    /// Rises to this level, where it is lower, and not above the capacity. Nobody's claim grows.
    pub(crate) fn raise_to(&mut self, level: i128) {
        self.level = self.level.max(level.min(self.capacity));
        self.lapse();
    }

    /// Nanoseconds in which it fills from so many quanta at the present pace; none for concurrency.
    pub(crate) fn full_in_from(&self, level: i128) -> u64 {
        let missing = self.capacity.saturating_sub(level).max(0);
        let nanos = missing.checked_div(i128::from(self.rate)).unwrap_or(0);
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }

    /// What so long a refill adds at the present pace.
    pub(crate) fn refilled_in(&self, nanos: u64) -> i128 {
        quanta(nanos, self.rate)
    }

    /// Nanoseconds until it is full if nobody spends. `None` where time doesn't fill it.
    pub(crate) fn full_in(&self) -> Option<u64> {
        let (missing, rate) = (
            self.capacity.saturating_sub(self.level),
            i128::from(self.rate),
        );
        let nanos = missing.saturating_add(rate - 1).checked_div(rate)?;
        Some(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// How long the refill takes for all that `critical` may overdraw, in nanoseconds.
    pub(crate) fn overdraft_nanos(&self) -> u64 {
        let nanos = self.overdraft.checked_div(i128::from(self.rate));
        u64::try_from(nanos.unwrap_or(0)).unwrap_or(u64::MAX)
    }

    pub(crate) const fn overdrawn(&self) -> i128 {
        self.overdrawn
    }

    pub(crate) fn claim(&self, class: Priority) -> i128 {
        self.claims[class.index()]
    }

    pub(crate) fn waits(&self, class: Priority) -> bool {
        self.waiting[class.index()].is_on()
    }

    pub(crate) fn cost(&self, tokens: u64) -> i128 {
        quanta(tokens, self.token)
    }

    /// Whole tokens in so many quanta, rounded down.
    pub(crate) fn tokens(&self, quanta: i128) -> i128 {
        quanta.div_euclid(i128::from(self.token))
    }

    /// Lets time pass. A `now` that is not later changes nothing.
    #[inline]
    pub(crate) fn advance(&mut self, now: u64) {
        if now <= self.at {
            return;
        }
        let elapsed = now - self.at;
        if !self.stirred && self.level >= self.threshold && elapsed <= STEP_MAX {
            self.at = now;
            // Below 2¹²⁴ each: see the bounds in `spec`.
            let refill = (u128::from(elapsed) * u128::from(self.rate)).cast_signed();
            self.level = (self.level + refill).min(self.capacity);
            return;
        }
        self.advance_slowly(now);
    }

    #[cold]
    fn advance_slowly(&mut self, now: u64) {
        if self.rate > 0 && (self.stirred || self.level < self.threshold) {
            self.advance_stirred(now);
            return;
        }
        let refill = quanta(now.saturating_sub(self.at), self.rate);
        self.level = self.level.saturating_add(refill).min(self.capacity);
        self.at = now;
    }

    /// The level without what classes have earned. Negative in debt.
    fn unclaimed(&self) -> i128 {
        let claimed = self
            .claims
            .iter()
            .fold(0_i128, |sum, it| sum.saturating_add(*it));
        self.level.saturating_sub(claimed)
    }

    /// Whether so much is there that nobody has earned, above what is kept from the class.
    #[inline]
    pub(crate) fn has_plainly(&self, cost: i128, class: Priority) -> bool {
        let guarded = if is_guarded(class) { self.threshold } else { 0 };
        // Never below zero where it is subtracted.
        !self.stirred && self.level >= guarded && cost <= self.level - guarded
    }

    /// Whether a call of this cost and class may start at this nanosecond. `cost` is above zero.
    #[inline]
    pub(crate) fn fit(&self, cost: i128, class: Priority) -> Fit {
        if self.has_plainly(cost, class) {
            return Fit::Fits;
        }
        self.fit_closely(cost, class)
    }

    #[cold]
    fn fit_closely(&self, cost: i128, class: Priority) -> Fit {
        let guarded = if is_guarded(class) { self.threshold } else { 0 };
        let full = self.level >= self.capacity;
        if full && guarded == 0 {
            return Fit::Fits;
        }
        // What is larger than the bucket starts from a full one, if as much as the bucket may.
        let cost = if full { cost.min(self.capacity) } else { cost };
        let (own, unclaimed) = (self.claims[class.index()], self.unclaimed());
        let stock = unclaimed.saturating_sub(guarded).max(0);
        let spendable = own.saturating_add(stock);
        // What `critical` has overdrawn stands behind what others have earned, and not behind itself.
        let is_critical = class == Priority::Critical;
        let lent = if is_critical { 0 } else { self.overdrawn };
        if cost <= spendable.min(self.level.saturating_add(lent)) {
            return Fit::Fits;
        }
        let may_overdraw = is_critical && self.overdrawn == 0 && self.overdraft > 0;
        // Nor is there more than the level, where another class has borrowed what this one earned.
        let spendable = own.saturating_add(unclaimed).min(self.level);
        if may_overdraw && cost <= spendable.saturating_add(self.overdraft) {
            return Fit::Overdraws;
        }
        Fit::Not
    }

    /// Why a call that does not fit has to wait.
    pub(crate) fn reason(&self, cost: i128, class: Priority) -> Reason {
        if self.rate == 0 {
            Reason::Busy
        } else if cost > self.capacity {
            Reason::Oversize
        } else if cost > self.level.saturating_add(self.overdrawn) {
            Reason::Spent
        } else if is_guarded(class) && cost > self.level.saturating_sub(self.threshold) {
            Reason::Threshold
        } else {
            Reason::Earned
        }
    }

    /// The class waits for a call of this cost until then: it earns its share meanwhile.
    pub(crate) fn wait(&mut self, cost: i128, class: Priority, until: u64) {
        if self.rate == 0 {
            return;
        }
        let waiting = &mut self.waiting[class.index()];
        waiting.need = waiting.need.max(cost.min(self.capacity));
        waiting.until = waiting.until.max(until);
        self.stirred = true;
    }

    /// Takes of what nobody has earned.
    pub(crate) fn lend(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(self.cost(tokens));
        self.lapse();
    }

    /// Takes what it [has plainly](Self::has_plainly).
    #[inline]
    pub(crate) fn charge_plainly(&mut self, tokens: u64) {
        // At most the level, and so within 127 bits.
        self.level -= (u128::from(tokens) * u128::from(self.token)).cast_signed();
    }

    /// Takes, and answers how many tokens came from what the class had earned. Decides nothing:
    /// the level may fall below zero.
    #[inline]
    pub(crate) fn charge(&mut self, tokens: u64, class: Priority, fit: Fit) -> u64 {
        let cost = self.cost(tokens);
        if self.stirred || fit == Fit::Overdraws {
            return self.charge_stirred(tokens, class, fit);
        }
        self.level = self.level.saturating_sub(cost);
        0
    }

    #[cold]
    fn charge_stirred(&mut self, tokens: u64, class: Priority, fit: Fit) -> u64 {
        let cost = self.cost(tokens);
        if !self.stirred {
            self.level = self.level.saturating_sub(cost);
            self.note_overdraft();
            return 0;
        }
        let full = self.level >= self.capacity;
        let stock = self.unclaimed().max(0);
        self.level = self.level.saturating_sub(cost);
        let claim = &mut self.claims[class.index()];
        let whole = |part: i128| u64::try_from(part.max(0) / i128::from(self.token)).unwrap_or(0);
        let earned = if *claim >= cost {
            tokens
        } else if full && fit == Fit::Fits && cost.min(self.capacity) > (*claim).max(0) + stock {
            // What others have earned of a full bucket is borrowed: its class earns it for them.
            whole(cost.min(self.capacity) - stock)
        } else {
            whole(*claim)
        };
        *claim = claim.saturating_sub(quanta(earned, self.token));
        if fit == Fit::Overdraws {
            self.note_overdraft();
        }
        let waiting = &mut self.waiting[class.index()];
        if cost >= waiting.need {
            *waiting = Waiting::default();
        }
        self.lapse();
        earned
    }

    fn note_overdraft(&mut self) {
        self.overdrawn = (-self.unclaimed()).clamp(0, self.overdraft);
        self.stirred = true;
    }

    /// Whether so many tokens, given back, would reach beyond the capacity.
    #[inline]
    pub(crate) fn could_fill(&self, tokens: u64) -> bool {
        self.level.saturating_add(self.cost(tokens)) > self.capacity
    }

    /// Adds a debt that no check has allowed: what settlement found on top.
    pub(crate) fn debit(&mut self, tokens: u64) {
        self.level = self.level.saturating_sub(self.cost(tokens));
        self.lapse();
    }

    /// Gives back `quanta`, of which the class had earned `earned` tokens.
    pub(crate) fn refund(&mut self, quanta: i128, earned: u64, class: Priority) {
        self.level = self.level.saturating_add(quanta).min(self.capacity);
        let restored = self.cost(earned).min(quanta);
        let claim = &mut self.claims[class.index()];
        *claim = claim.saturating_add(restored);
        self.lapse();
    }

    /// Whole tokens that can be taken until the level is at minus the capacity.
    pub(crate) fn above_floor(&self) -> u64 {
        let room = self.level.saturating_add(self.capacity).max(0);
        u64::try_from(self.tokens(room)).unwrap_or(u64::MAX)
    }

    /// The same state under new figures: levels and claims kept, capped to the new capacity.
    pub(crate) fn reshaped(&self, spec: &BucketSpec, in_flight: u64) -> Self {
        let mut new = Self::full(spec, self.at);
        let convert = |old: i128| rescale(old, self.token, new.token);
        new.level = if new.rate == 0 {
            new.capacity.saturating_sub(i128::from(in_flight))
        } else {
            convert(self.level).min(new.capacity)
        };
        new.claims = self.claims.map(convert);
        new.overdrawn = convert(self.overdrawn).min(new.overdraft);
        new.waiting = self.waiting.map(|old| Waiting {
            until: old.until,
            need: convert(old.need).min(new.capacity),
        });
        new.lapse();
        new
    }

    /// The level that was saved, refilled for as long as has passed since.
    pub(crate) fn restore(&mut self, tokens: i128, elapsed: u64) {
        let saved = tokens.saturating_mul(i128::from(self.token));
        let filled = saved.saturating_add(quanta(elapsed, self.rate));
        self.level = filled.min(self.capacity);
        self.lapse();
    }

    /// Converts quanta of this flow's former grain.
    pub(crate) fn regrain(&self, old: i128, former: &Self) -> i128 {
        rescale(old, former.token, self.token)
    }
}

/// `low` and `medium` leave the stock below the threshold alone.
const fn is_guarded(class: Priority) -> bool {
    matches!(class, Priority::Low | Priority::Medium)
}

/// `quanta` of one grain in another, rounded down: never more than there was.
fn rescale(quanta: i128, from: u64, into: u64) -> i128 {
    let (from, into) = (i128::from(from), i128::from(into));
    let whole = quanta.div_euclid(from).saturating_mul(into);
    // Both factors are below 2⁶⁴ and one is below 2⁵⁸: see the bounds in `spec`.
    let fraction = quanta.rem_euclid(from).saturating_mul(into) / from;
    whole.saturating_add(fraction)
}

mod earned;
mod stirred;
mod when;

#[cfg(test)]
mod tests;
