//! What is spent of the limit that would refuse a caller first.

use tidegate_types::{Caller, NanoUsd, Timestamp};

use super::{Books, Path, slot::Slot};
use crate::LevelKind;

/// What is spent in one window of a limit that binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spending {
    /// Which level.
    pub level: LevelKind,
    /// Its hard limit.
    pub limit: NanoUsd,
    /// What is settled on it; more than the limit where a call cost more than was held for it.
    pub spent: NanoUsd,
    /// When its window ends.
    pub resets_at: Timestamp,
}

impl Books {
    /// Of the levels of a path that would refuse this caller and that a window resets, the one with
    /// the least left by what is settled. What running calls hold is not counted: most of it comes
    /// back when they end. `None` where there is none, where the path is out of date, or where a
    /// level was not loaded yet.
    pub fn spending(&self, path: &Path, caller: Caller, now: Timestamp) -> Option<Spending> {
        if path.epoch != self.epoch || now >= path.until || !self.is_ready(path) {
            return None;
        }
        let slots = path.slots.iter().map(|it| &self.slots[it]);
        slots
            .filter_map(|it| it.spending(caller))
            .min_by_key(|it| it.limit.saturating_sub(it.spent))
    }

    /// What is settled on a level of a path; `None` where the path is out of date, has no such
    /// level, or it was not loaded yet.
    pub fn spent(&self, path: &Path, kind: LevelKind) -> Option<NanoUsd> {
        if path.epoch != self.epoch || !self.is_ready(path) {
            return None;
        }
        let mut slots = path.slots.iter().map(|it| &self.slots[it]);
        slots
            .find(|it| it.kind() == kind)
            .map(|it| NanoUsd(it.spent()))
    }
}

impl Slot {
    fn spending(&self, caller: Caller) -> Option<Spending> {
        if !self.binds(caller) {
            return None;
        }
        Some(Spending {
            level: self.kind(),
            limit: NanoUsd(self.hard()),
            spent: NanoUsd(self.spent()),
            resets_at: self.resets_at()?,
        })
    }
}
