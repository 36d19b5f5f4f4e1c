//! What the levels of a path leave to a caller, found in one look at all of them.

use tidegate_types::{Caller, NanoUsd, Timestamp};

use super::{Books, MoneyAsk, Path, slot::UNLIMITED};
use crate::{LevelKind, Levels};

/// What is left on the tightest level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headroom {
    /// Which level.
    pub level: LevelKind,
    /// Its hard limit.
    pub limit: NanoUsd,
    /// The limit less what is settled and held.
    pub left: NanoUsd,
}

/// What all levels of a path leave to one caller. Good until the books change.
#[derive(Clone, Copy, Debug)]
pub struct PathRoom {
    /// The level that leaves least, of those that would refuse the caller.
    pub headroom: Option<Headroom>,
    /// Up to every hard limit, whether it binds or not.
    hard: u64,
    /// Up to every soft limit.
    soft: u64,
    /// The levels that bind.
    pub(super) enforced: Levels,
}

impl PathRoom {
    /// Whether every level has so much, hard and soft, and nothing is to be said about it.
    #[inline]
    pub(super) fn has(&self, ask: &MoneyAsk) -> bool {
        let expected = ask.expected.min(ask.bound);
        ask.bound.0 <= self.hard && expected.0 <= self.soft
    }
}

impl Books {
    /// What all levels leave to this caller. `None`: the path has to be resolved again, see
    /// [`MoneyCheck::Stale`](super::MoneyCheck::Stale).
    #[inline]
    pub fn room(&self, path: &Path, caller: Caller, now: Timestamp) -> Option<PathRoom> {
        if path.epoch != self.epoch || now >= path.until {
            return None;
        }
        let (mut hard, mut soft, mut loaded) = (UNLIMITED, UNLIMITED, true);
        // Only what is compared is carried along: the whole, copied at each level, costs as much as the
        // rest of a check.
        let (mut least, mut tightest) = (UNLIMITED, 0);
        let mut enforced = Levels::NONE;
        for (place, at) in path.slots.iter().enumerate() {
            let slot = &self.slots[at];
            loaded &= slot.loaded;
            let left = slot.left();
            hard = hard.min(left);
            soft = soft.min(slot.left_soft());
            if slot.binds(caller) {
                enforced.insert_place(place);
                if left < least {
                    (least, tightest) = (left, at);
                }
            }
        }
        let headroom = || self.slots[tightest].headroom(least);
        loaded.then(|| PathRoom {
            headroom: (least < UNLIMITED).then(headroom),
            hard,
            soft,
            enforced,
        })
    }

    /// The level that leaves least to this caller, of those that would refuse it.
    pub fn headroom(&self, path: &Path, caller: Caller, now: Timestamp) -> Option<Headroom> {
        self.room(path, caller, now)?.headroom
    }

    /// The level that would leave least to this caller if nothing were held, of those that would
    /// refuse it: what is short there will not come back by waiting for running calls.
    pub fn headroom_idle(&self, path: &Path, caller: Caller) -> Option<Headroom> {
        if path.epoch != self.epoch {
            return None;
        }
        let slots = path.slots.iter().map(|it| &self.slots[it]);
        slots
            .filter(|it| it.binds(caller))
            .map(|it| it.headroom(it.left_idle()))
            .min_by_key(|it| it.left)
    }
}
