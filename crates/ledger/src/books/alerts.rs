//! When somebody is told of a level: once for each part of its limit it reaches, and once when it is
//! going to pass it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidegate_types::{NanoUsd, Timestamp};

use super::{
    Books,
    slot::{Label, Slot, THRESHOLDS, UNLIMITED},
    verdict::Crossing,
};
use crate::{LevelKey, Period};

/// How many parts of a [recent span](recent_span) are looked at.
const SAMPLES: u32 = 12;

/// Calls after which a level's pace is believed, however little of its window has gone.
const CALLS_MIN: u32 = 20;

/// One part in this many of a window after which its pace is believed, however few the calls.
const WINDOW_PART_MIN: u32 = 10;

/// What was told of a level in its window. Kept by the program, so that a restart tells nothing
/// twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// The highest part of the limit, in percent: 0, 50, 80, 90 or 100.
    pub percent: u8,
    /// Of which limit. Another limit is told anew, as far as it is reached.
    pub limit: NanoUsd,
    /// Whether it was told that the limit will be passed.
    pub foreseen: bool,
}

/// A level that will pass its limit before its window ends, if it goes on like this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foresight {
    /// Which level.
    pub key: LevelKey,
    /// What is settled on it.
    pub spent: NanoUsd,
    /// Its hard limit.
    pub limit: NanoUsd,
    /// When it will be passed.
    pub at: Timestamp,
    /// When its window ends.
    pub resets_at: Timestamp,
}

/// What a look at all levels found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// Levels that stand at a part of their limit of which nobody was told.
    pub crossed: Vec<Crossing>,
    /// Levels that will pass their limit.
    pub foreseen: Vec<Foresight>,
}

/// How fast a level is spent from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// When its window began.
    pub start: Timestamp,
    /// When it ends.
    pub end: Timestamp,
    /// What was settled since then.
    pub spent: NanoUsd,
    /// What of that was settled lately.
    pub recent: NanoUsd,
    /// In how long.
    pub recent_span: Duration,
    /// Calls that were settled since the program began.
    pub calls: u32,
}

impl Pace {
    /// When `limit` is passed, where that is before the window ends: in a straight line from what was
    /// spent in the whole window, or lately, whichever is sooner. `None` too where the limit is
    /// reached already, and where neither a tenth of the window nor 20 calls have gone.
    #[must_use]
    pub fn passes(&self, limit: NanoUsd, now: Timestamp) -> Option<Timestamp> {
        let gone = now.since(self.start);
        let whole = self.end.since(self.start);
        let believed = gone * WINDOW_PART_MIN >= whole || self.calls >= CALLS_MIN;
        if !believed || self.spent >= limit || now >= self.end {
            return None;
        }
        let left = limit.saturating_sub(self.spent);
        let in_all = until(left, self.spent, gone);
        let lately = until(left, self.recent, self.recent_span);
        let at = now.after(in_all.into_iter().chain(lately).min()?);
        (at < self.end).then_some(at)
    }
}

/// How long `left` lasts where `spent` went in `took`; rounded up.
fn until(left: NanoUsd, spent: NanoUsd, took: Duration) -> Option<Duration> {
    // 64 bits by 64 bits fit 128.
    let nanos = (u128::from(left.0) * took.as_nanos()).checked_add(u128::from(spent.0))?;
    let nanos = nanos.checked_sub(1)?.checked_div(u128::from(spent.0))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// What is lately, for a window of this length: an hour of a day; a day of a month, since nights and
/// weekends are no pace.
const fn recent_span(period: Period) -> Duration {
    match period {
        Period::Day => Duration::from_hours(1),
        Period::Week | Period::Month => Duration::from_hours(24),
    }
}

/// Parts of the amounts that were settled at some times, the oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Samples(Vec<(Timestamp, u64)>);

impl Samples {
    /// Notes an amount, unless that was done a twelfth of the span ago or less.
    fn note(&mut self, now: Timestamp, spent: u64, span: Duration) {
        let due = |it: &(Timestamp, u64)| now.since(it.0) >= span / SAMPLES;
        if self.0.last().is_none_or(due) {
            // One that is a whole span old stays: the span is measured from it.
            while self.0.get(1).is_some_and(|it| now.since(it.0) >= span) {
                self.0.remove(0);
            }
            self.0.push((now, spent));
        }
    }

    /// What was settled since the first of them.
    fn since_first(&self, spent: u64) -> NanoUsd {
        let first = self.0.first().map_or(spent, |it| it.1);
        NanoUsd(spent.saturating_sub(first))
    }
}

impl Slot {
    /// The highest threshold that is reached.
    fn reached(&self) -> u8 {
        let stands = u128::from(self.spent()) * 100;
        let limit = u128::from(self.hard());
        let reached = |it: &u8| stands >= limit * u128::from(*it);
        if self.hard() == UNLIMITED || self.spent() == 0 {
            return 0;
        }
        THRESHOLDS.into_iter().find(reached).unwrap_or(0)
    }

    /// Aims at the next threshold that was not told.
    pub(super) fn aim(&mut self, told: &mut Told) {
        if told.limit.0 != self.hard() {
            *told = Told {
                percent: told.percent.min(self.reached()),
                limit: NanoUsd(self.hard()),
                foreseen: false,
            };
        }
        let next = THRESHOLDS.into_iter().rev().find(|it| *it > told.percent);
        let amount = |percent: u8| {
            let amount = (u128::from(self.hard()) * u128::from(percent)).div_ceil(100);
            u64::try_from(amount).unwrap_or(UNLIMITED).max(1)
        };
        let bounded = self.hard() != UNLIMITED;
        let amount = next.filter(|_| bounded).map_or(UNLIMITED, amount);
        self.tell_at(amount);
    }

    /// What is to be told of it now.
    #[cold]
    fn cross(&mut self, label: &mut Label) -> Option<Crossing> {
        // More than 64 bits hold is no part of a limit that is not there.
        let reached = Some(self.reached()).filter(|it| *it > label.told.percent)?;
        label.told.percent = reached;
        self.aim(&mut label.told);
        Some(Crossing {
            level: label.key.kind,
            key: label.key.clone(),
            percent: label.told.percent,
            spent: NanoUsd(self.spent()),
            limit: label.told.limit,
        })
    }
}

impl Books {
    /// What is to be told of a level on which something was settled.
    #[inline]
    pub(super) fn crossing(&mut self, at: usize) -> Option<Crossing> {
        if !self.slots[at].is_due() {
            return None;
        }
        let crossing = self.slots[at].cross(&mut self.labels[at])?;
        self.changed(at);
        Some(crossing)
    }

    fn changed(&mut self, at: usize) {
        if !std::mem::replace(&mut self.labels[at].unsaved, true) {
            self.unsaved.push(u32::try_from(at).unwrap_or(u32::MAX));
        }
    }

    /// Takes over what an earlier run told of a level, before the level is [loaded](Self::load).
    pub fn recall(&mut self, key: &LevelKey, told: Told) {
        let at = self.slot_of(key);
        if !self.slots[at].loaded {
            self.labels[at].told = told;
        }
    }

    /// What was told and is to be kept, since this was last asked.
    pub fn told_changed(&mut self) -> Vec<(LevelKey, Told)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let labels = unsaved.into_iter().map(|at| {
            let label = &mut self.labels[at as usize];
            label.unsaved = false;
            (label.key.clone(), label.told)
        });
        labels.collect()
    }

    /// Looks at all levels in memory: for what was reached by something else than a settlement (a
    /// correction, another limit, a run that was killed), and for what will be. To be called about
    /// once a minute.
    pub fn look(&mut self, now: Timestamp) -> Looked {
        let mut looked = Looked::default();
        for at in 0..self.slots.len() {
            if !self.slots[at].loaded {
                continue;
            }
            looked.crossed.extend(self.crossing(at));
            looked.foreseen.extend(self.foresee(at, now));
        }
        looked
    }

    fn foresee(&mut self, at: usize, now: Timestamp) -> Option<Foresight> {
        let (slot, label) = (&self.slots[at], &mut self.labels[at]);
        let window = label.window?;
        let limit = label.limit.hard?;
        let span = recent_span(label.key.kind.period()?);
        label.samples.note(now, slot.spent(), span);
        if label.told.foreseen {
            return None;
        }
        let pace = Pace {
            start: window.start,
            end: window.end,
            spent: NanoUsd(slot.spent()),
            recent: label.samples.since_first(slot.spent()),
            recent_span: span,
            calls: slot.calls(),
        };
        let passes = pace.passes(limit, now)?;
        label.told.foreseen = true;
        let foresight = Foresight {
            key: label.key.clone(),
            spent: pace.spent,
            limit,
            at: passes,
            resets_at: window.end,
        };
        self.changed(at);
        Some(foresight)
    }
}

#[cfg(test)]
mod tests;
