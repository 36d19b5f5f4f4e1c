//! One level in one window: the figures that a check reads, and the label that people read.

use tidegate_types::{Caller, Mode, NanoUsd, Timestamp};

use super::{
    alerts::{Samples, Told},
    room::Headroom,
    verdict::{ClearedMoney, LevelView, Shortage},
};
use crate::{Balance, LevelKey, LevelKind, Limit, Window};

/// Parts of a hard limit whose crossing is told, in percent.
pub(super) const THRESHOLDS: [u8; 4] = [100, 90, 80, 50];

/// No limit: an amount that nothing passes, so that a check compares without branching.
pub(super) const UNLIMITED: u64 = u64::MAX;

/// A level's figures. What a reservation reads and writes is the first cache line, and no other.
#[derive(Debug)]
#[repr(C, align(64))]
pub(super) struct Slot {
    spent: u64,
    held: u64,
    /// The part of `held` that soft limits count.
    expected: u64,
    soft: u64,
    hard: u64,
    /// The amount of which somebody is told when it is settled.
    tell_at: u64,
    /// Open reservations: while there are any, the slot stays where it is.
    holds: u32,
    /// When money was last held on it, in seconds since the epoch.
    used_at: u32,
    kind: LevelKind,
    /// Whether the hard limit refuses the callers of this index.
    binds: [bool; 2],
    /// Whether the soft limit asks the callers of this index for approval.
    asks: [bool; 2],
    overage_allowed: bool,
    /// Whether the durable ledger's balance is in it.
    pub(super) loaded: bool,
    /// Nothing was booked on it since an eviction looked at it and found it over.
    pub(super) leaving: bool,
    /// Reservations that have ended with a cost since it was loaded.
    calls: u32,
    resets_at: Option<Timestamp>,
}

/// The rest of a level.
#[derive(Debug)]
pub(super) struct Label {
    pub(super) key: LevelKey,
    pub(super) window: Option<Window>,
    pub(super) limit: Limit,
    pub(super) notional: NanoUsd,
    pub(super) would_refuse: u64,
    /// What was told of it in this window.
    pub(super) told: Told,
    /// And is not kept yet.
    pub(super) unsaved: bool,
    pub(super) samples: Samples,
}

impl Slot {
    pub(super) fn new(
        kind: LevelKind,
        limit: &Limit,
        approved: NanoUsd,
        window: Option<Window>,
    ) -> Self {
        let mut slot = Self {
            spent: 0,
            held: 0,
            expected: 0,
            soft: UNLIMITED,
            hard: UNLIMITED,
            tell_at: UNLIMITED,
            holds: 0,
            used_at: 0,
            kind,
            binds: [false; 2],
            asks: [false; 2],
            overage_allowed: false,
            loaded: false,
            leaving: false,
            calls: 0,
            resets_at: None,
        };
        slot.limit_to(limit, approved, window);
        slot
    }

    /// `approved`: up to where the soft limit was raised by approvals.
    pub(super) fn limit_to(&mut self, limit: &Limit, approved: NanoUsd, window: Option<Window>) {
        let enforced = |caller| limit.enforcement.mode(caller) == Mode::Enforce;
        let can_bind = limit.hard.is_some() && !limit.overage_allowed;
        self.soft = limit.soft.map_or(UNLIMITED, |it| it.max(approved).0);
        self.hard = limit.hard.map_or(UNLIMITED, |it| it.0);
        self.resets_at = window.map(|it| it.end);
        self.binds = [Caller::Keyless, Caller::Asking].map(|it| can_bind && enforced(it));
        self.asks =
            [Caller::Keyless, Caller::Asking].map(|it| limit.soft.is_some() && enforced(it));
        self.overage_allowed = limit.overage_allowed;
    }

    pub(super) fn load(&mut self, balance: Balance) -> bool {
        if self.loaded {
            return false;
        }
        self.spent = balance.spent.0;
        self.held = balance.held.0.min(u64::MAX - self.spent);
        self.loaded = true;
        true
    }

    /// Whether its hard limit would refuse that caller.
    #[inline]
    pub(super) const fn binds(&self, caller: Caller) -> bool {
        match caller {
            Caller::Keyless => self.binds[0],
            Caller::Asking => self.binds[1],
        }
    }

    /// What is left of its hard limit, whether it binds or not; where it has none, what 64 bits hold.
    #[inline]
    pub(super) const fn left(&self) -> u64 {
        // Invariant of `hold` and `end`: this sum is within 64 bits.
        self.hard.saturating_sub(self.spent + self.held)
    }

    /// What will be left when nothing runs any more, if that costs nothing.
    pub(super) const fn left_idle(&self) -> u64 {
        self.hard.saturating_sub(self.spent)
    }

    /// What is left of its soft limit.
    #[inline]
    pub(super) const fn left_soft(&self) -> u64 {
        // `expected` is part of `held`.
        self.soft.saturating_sub(self.spent + self.expected)
    }

    /// That so much is left of its hard limit.
    #[inline]
    pub(super) const fn headroom(&self, left: u64) -> Headroom {
        Headroom {
            level: self.kind,
            limit: NanoUsd(self.hard),
            left: NanoUsd(left),
        }
    }

    /// Whether this level has the money, and what it has to say.
    pub(super) fn examine(
        &self,
        place: usize,
        caller: Caller,
        cleared: &mut ClearedMoney,
    ) -> Result<(), Shortage> {
        let binds = self.binds(caller);
        if binds {
            cleared.enforced.insert_place(place);
        }
        // What can cost nothing is not the level's concern, even where it is overdrawn.
        let bound = cleared.bound.0;
        if bound == 0 {
            return Ok(());
        }
        // Invariant of `hold` and `end`: this sum is within 64 bits.
        let after = (self.spent + self.held).checked_add(bound);
        match after {
            // Beyond 64 bits nothing can be accounted for, limit or not.
            None => return Err(self.shortage(bound)),
            Some(after) if after > self.hard => {
                if binds {
                    return Err(self.shortage(bound));
                }
                if self.overage_allowed {
                    cleared.overage.insert_place(place);
                } else {
                    cleared.would_refuse.insert_place(place);
                    cleared.watched.get_or_insert(self.shortage(bound));
                }
            }
            Some(_) => {}
        }
        // `expected` is part of `held`: no overflow where there was none above.
        let before = self.spent + self.expected;
        if before + cleared.expected.0 > self.soft && !cleared.expected.is_zero() {
            cleared.soft_passed.insert_place(place);
            if before <= self.soft {
                cleared.soft_crossed.insert_place(place);
            }
            if self.asks[usize::from(caller == Caller::Asking)] && cleared.unapproved.is_none() {
                cleared.unapproved = Some(Shortage {
                    level: self.kind,
                    limit: NanoUsd(self.soft),
                    spent: NanoUsd(self.spent),
                    held: NanoUsd(self.expected),
                    asked: cleared.expected,
                    resets_at: self.resets_at,
                });
            }
        }
        Ok(())
    }

    #[cold]
    fn shortage(&self, asked: u64) -> Shortage {
        Shortage {
            level: self.kind,
            limit: NanoUsd(self.hard),
            spent: NanoUsd(self.spent),
            held: NanoUsd(self.held),
            asked: NanoUsd(asked),
            resets_at: self.resets_at,
        }
    }

    #[inline]
    pub(super) const fn hold(&mut self, bound: NanoUsd, expected: NanoUsd) {
        self.held += bound.0;
        self.expected += expected.0;
    }

    /// One more reservation is open on it, from these seconds since the epoch on.
    #[inline]
    pub(super) const fn pin(&mut self, at: u32) {
        self.holds += 1;
        self.used_at = at;
        self.leaving = false;
    }

    /// As if money was last held on it then.
    pub(super) fn set_used_at(&mut self, at: Timestamp) {
        self.used_at = seconds(at);
    }

    /// Whether money was held on it since.
    pub(super) fn is_used_since(&self, at: Timestamp) -> bool {
        self.used_at >= seconds(at)
    }

    /// Pins what an earlier run reserved; the money is held since the balance was loaded.
    pub(super) fn adopt(&mut self, held: NanoUsd) {
        self.holds += 1;
        self.expected = self.expected.saturating_add(held.0).min(self.held);
    }

    /// Ends one reservation. What would pass 64 bits is booked as the most that they hold.
    pub(super) fn end(&mut self, bound: NanoUsd, expected: NanoUsd, cost: NanoUsd) {
        debug_assert!(
            self.held >= bound.0 && self.holds > 0,
            "hold of other books"
        );
        self.held = self.held.saturating_sub(bound.0);
        self.expected = self.expected.saturating_sub(expected.0).min(self.held);
        self.holds = self.holds.saturating_sub(1);
        self.calls = self.calls.saturating_add(u32::from(cost.0 > 0));
        self.spent = self.spent.saturating_add(cost.0).min(u64::MAX - self.held);
    }

    /// Whether what is settled and expected is above its soft limit.
    pub(super) const fn is_soft_passed(&self) -> bool {
        // `expected` is part of `held`, and the sum with that is within 64 bits.
        self.spent + self.expected > self.soft
    }

    pub(super) fn correct(&mut self, from: NanoUsd, to: NanoUsd) {
        let without = self.spent.saturating_sub(from.0);
        self.spent = without.saturating_add(to.0).min(u64::MAX - self.held);
    }

    pub(super) const fn spent(&self) -> u64 {
        self.spent
    }

    pub(super) const fn kind(&self) -> LevelKind {
        self.kind
    }

    /// When its window ends; a task has none.
    pub(super) const fn resets_at(&self) -> Option<Timestamp> {
        self.resets_at
    }

    pub(super) const fn is_idle(&self) -> bool {
        self.holds == 0
    }

    pub(super) fn clear(&mut self) {
        self.loaded = false;
    }

    pub(super) const fn hard(&self) -> u64 {
        self.hard
    }

    pub(super) const fn calls(&self) -> u32 {
        self.calls
    }

    pub(super) const fn tell_at(&mut self, amount: u64) {
        self.tell_at = amount;
    }

    /// Whether somebody is to be told of what is settled.
    #[inline]
    pub(super) const fn is_due(&self) -> bool {
        self.spent >= self.tell_at
    }

    pub(super) fn view(&self, label: &Label) -> LevelView {
        let left = |hard: NanoUsd| NanoUsd(hard.0.saturating_sub(self.spent + self.held));
        LevelView {
            key: label.key.clone(),
            window: label.window,
            limit: label.limit,
            spent: NanoUsd(self.spent),
            held: NanoUsd(self.held),
            notional: label.notional,
            left: label.limit.hard.map(left),
            would_refuse: label.would_refuse,
            soft_passed: self.spent + self.expected > self.soft,
        }
    }
}

/// Whole seconds since the epoch: 32 bits last until 2106.
#[inline]
pub(super) fn seconds(at: Timestamp) -> u32 {
    u32::try_from(at.seconds()).unwrap_or(u32::MAX)
}
