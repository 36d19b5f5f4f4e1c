//! What the books are asked, and what they answer.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use tidegate_types::{Caller, NanoUsd, Timestamp};

use crate::{LevelKey, LevelKind, Levels, Limit, Window, entry::LEVELS_MAX};

/// Money for one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MoneyAsk {
    /// The most that it can cost: compared with hard limits.
    pub bound: NanoUsd,
    /// What it will probably cost: compared with soft limits. More than the bound counts as the
    /// bound.
    pub expected: NanoUsd,
    /// Who asks, for the limits that bind some and watch others.
    pub caller: Caller,
}

impl MoneyAsk {
    /// More for a call that was let through before: whoever asks for it expects to need it.
    pub(super) const fn more(bound: NanoUsd, caller: Caller) -> Self {
        Self {
            bound,
            expected: bound,
            caller,
        }
    }
}

/// What a check says. Nothing has changed yet.
#[derive(Debug, PartialEq, Eq)]
pub enum MoneyCheck {
    /// Commit it before the lock is given up.
    Clear(ClearedMoney),
    /// A level that binds this caller has not enough left: the first in the order of B2.
    Refused(Shortage),
    /// A window has ended, limits have changed, slots were evicted, or a balance was never loaded:
    /// resolve the path again, load what `missing_balances` names, and check again.
    Stale,
}

/// Money that every level has, and what is to be said about it. Good for one commit.
#[derive(Debug, PartialEq, Eq)]
pub struct ClearedMoney {
    /// What will be held.
    pub bound: NanoUsd,
    /// What soft limits will count.
    pub expected: NanoUsd,
    /// Levels whose soft limit this call passes.
    pub soft_passed: Levels,
    /// Those of them whose soft limit was not passed before this call.
    pub soft_crossed: Levels,
    /// The first soft limit that this caller may not pass without somebody's approval: what is
    /// expected of running calls is `held` in it, and of this one `asked`.
    pub unapproved: Option<Shortage>,
    /// Levels that are watched and whose hard limit this call passes.
    pub would_refuse: Levels,
    /// What the first of them would have said.
    pub watched: Option<Shortage>,
    /// Levels whose hard limit this call passes, and may: a warning.
    pub overage: Levels,
    /// Levels whose hard limit bound this call, for its entry.
    pub enforced: Levels,
    pub(crate) at: Timestamp,
}

impl ClearedMoney {
    #[inline]
    pub(crate) fn of(ask: &MoneyAsk) -> Self {
        Self {
            bound: ask.bound,
            expected: ask.expected.min(ask.bound),
            soft_passed: Levels::NONE,
            soft_crossed: Levels::NONE,
            unapproved: None,
            would_refuse: Levels::NONE,
            watched: None,
            overage: Levels::NONE,
            enforced: Levels::NONE,
            at: Timestamp(0),
        }
    }
}

/// Why there is no money: all that a refusal has to name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shortage {
    /// Which level.
    pub level: LevelKind,
    /// Its hard limit; the most that 64 bits hold where it has none.
    pub limit: NanoUsd,
    /// What is settled on it.
    pub spent: NanoUsd,
    /// What running calls hold on it.
    pub held: NanoUsd,
    /// What was asked for.
    pub asked: NanoUsd,
    /// When its window ends; a task has none.
    pub resets_at: Option<Timestamp>,
}

impl Shortage {
    /// Whether what was asked for has no room even where nothing is spent or held.
    pub const fn never_fits(&self) -> bool {
        self.asked.0 > self.limit.0
    }
}

/// What a settlement did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledMoney {
    /// What was booked.
    pub cost: NanoUsd,
    /// How much of it was above the hold.
    pub overrun: NanoUsd,
    /// Levels that it took over a threshold.
    pub crossed: ArrayVec<Crossing, LEVELS_MAX>,
    /// Levels whose soft limit is passed by what is settled now, and was not by what was expected.
    pub soft_crossed: ArrayVec<LevelKind, LEVELS_MAX>,
}

/// A level whose settled cost reached a part of its hard limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// Which kind of level.
    pub level: LevelKind,
    /// Which level, whose, which window.
    pub key: LevelKey,
    /// The highest threshold that was reached now: 50, 80, 90 or 100 (B6).
    pub percent: u8,
    /// What is settled on it.
    pub spent: NanoUsd,
    /// Its hard limit.
    pub limit: NanoUsd,
}

/// A level as people look at it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LevelView {
    /// Which level, whose, which window.
    pub key: LevelKey,
    /// From when to when.
    pub window: Option<Window>,
    /// The limit in force.
    pub limit: Limit,
    /// What is settled.
    pub spent: NanoUsd,
    /// What running calls hold.
    pub held: NanoUsd,
    /// What it would have cost by list price, paid or not.
    pub notional: NanoUsd,
    /// The hard limit less what is settled and held; zero where that is passed.
    pub left: Option<NanoUsd>,
    /// How many calls a watched limit would have refused.
    pub would_refuse: u64,
    /// Whether what is settled and expected has passed the soft limit.
    pub soft_passed: bool,
}
