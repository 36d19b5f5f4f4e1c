//! Notices that wait to be delivered, and when each is tried. Pure: time and chance are arguments.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tidegate_observe::notice::{Notice, NoticeId};
use tidegate_types::Timestamp;

/// Deliveries that wait, of all channels together. At 1 KiB each that is what one write of the
/// store takes anyway; a receiver that is behind by more would not be read by anybody.
pub const WAITING_MAX: usize = 1_000;

/// Notices that were given and are remembered, so that none is given twice.
const RECENT_MAX: usize = 1_000;

/// Failures in a row after which the next notice of the channel need not wait any longer: about
/// seven seconds. Before that, order is worth more than haste.
const OVERTAKEN_AFTER: u32 = 3;

/// When a delivery that failed is tried again.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// After the first failure; each wait is twice as long as that before it.
    pub first: Duration,
    /// The longest.
    pub most: Duration,
    /// When it is given up.
    pub give_up: Duration,
}

impl Default for Pace {
    /// From 1 s to 5 min, for 24 h.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            most: Duration::from_mins(5),
            give_up: Duration::from_hours(24),
        }
    }
}

impl Pace {
    /// The wait after so many failures: between a half and the whole of what doubling gives, so
    /// that those that failed together don't come back together.
    fn wait(&self, failures: u32, chance: u64) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1));
        let whole = self.first.saturating_mul(doubled.unwrap_or(u32::MAX));
        let half = whole.min(self.most) / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        half + Duration::from_nanos(chance.checked_rem(nanos).unwrap_or(0))
    }
}

/// A notice on its way to one channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Delivery {
    /// The notice.
    pub notice: Arc<Notice>,
    /// The channel's name.
    pub channel: Arc<str>,
    /// Attempts that failed.
    pub failures: u32,
    /// When it was given.
    pub since: Timestamp,
    /// Not before this.
    pub next: Timestamp,
}

/// What becomes of a delivery that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is tried again.
    Retried,
    /// It is given up.
    Lost,
}

/// Deliveries, in the order in which their notices were given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outbox {
    waiting: VecDeque<Delivery>,
    recent: VecDeque<NoticeId>,
}

impl Outbox {
    /// Puts in a notice for these channels. One that was given before is not given again. Says
    /// whose oldest deliveries had to go for it.
    pub fn give(
        &mut self,
        notice: Notice,
        channels: impl Iterator<Item = Arc<str>>,
        now: Timestamp,
    ) -> Vec<Arc<str>> {
        if self.recent.contains(&notice.id) {
            return Vec::new();
        }
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(notice.id);
        let notice = Arc::new(notice);
        self.waiting.extend(channels.map(|channel| Delivery {
            notice: Arc::clone(&notice),
            channel,
            failures: 0,
            since: now,
            next: now,
        }));
        let over = self.waiting.len().saturating_sub(WAITING_MAX);
        self.waiting.drain(..over).map(|it| it.channel).collect()
    }

    /// The next delivery of a channel, if its time has come. They go in order; one that has failed
    /// a few times is overtaken by those behind it.
    pub fn due(&self, channel: &str, now: Timestamp, pace: &Pace) -> Option<Delivery> {
        let all = self.waiting.iter().filter(|it| *it.channel == *channel);
        let free = candidates(all);
        free.into_iter().find(|it| is_due(it, now, pace)).cloned()
    }

    /// When the next delivery is due, of channels that are not `busy`.
    pub fn next(&self, busy: &BTreeSet<Arc<str>>) -> Option<Timestamp> {
        let mut channels: BTreeMap<&Arc<str>, Vec<&Delivery>> = BTreeMap::new();
        let idle = self.waiting.iter().filter(|it| !busy.contains(&it.channel));
        for it in idle {
            channels.entry(&it.channel).or_default().push(it);
        }
        let free = channels
            .into_values()
            .flat_map(|it| candidates(it.into_iter()));
        free.map(|it| it.next).min()
    }

    /// Takes out what was delivered.
    pub fn delivered(&mut self, id: NoticeId, channel: &str) {
        self.waiting
            .retain(|it| it.notice.id != id || *it.channel != *channel);
    }

    /// Puts off what failed, for `wait` where the receiver named one, or gives it up where it is
    /// `final` or too old. `chance` is any number.
    pub fn failed(
        &mut self,
        (id, channel): (NoticeId, &str),
        is_final: bool,
        wait: Option<Duration>,
        (now, pace, chance): (Timestamp, &Pace, u64),
    ) -> Fate {
        let found = self
            .waiting
            .iter_mut()
            .find(|it| it.notice.id == id && *it.channel == *channel);
        let Some(delivery) = found else {
            return Fate::Lost;
        };
        delivery.failures = delivery.failures.saturating_add(1);
        let own = pace.wait(delivery.failures, chance);
        let wait = wait.map_or(own, |it| it.max(own).min(pace.most));
        delivery.next = now.after(wait);
        if is_final || delivery.next.since(delivery.since) > pace.give_up {
            self.delivered(id, channel);
            return Fate::Lost;
        }
        Fate::Retried
    }

    /// Forgets what waits for channels that are not `wanted` any more.
    pub fn keep(&mut self, wanted: impl Fn(&str) -> bool) {
        self.waiting.retain(|it| wanted(&it.channel));
    }

    /// How many wait for a channel.
    pub fn waiting(&self, channel: &str) -> usize {
        let all = self.waiting.iter();
        all.filter(|it| *it.channel == *channel).count()
    }
}

/// Those of one channel's deliveries that may go next: up to the first that others still wait for.
fn candidates<'a>(all: impl Iterator<Item = &'a Delivery>) -> Vec<&'a Delivery> {
    let mut free = Vec::new();
    for it in all {
        free.push(it);
        if it.failures < OVERTAKEN_AFTER {
            break;
        }
    }
    free
}

/// A time that is further away than any wait was set by a clock that has stepped back since.
fn is_due(delivery: &Delivery, now: Timestamp, pace: &Pace) -> bool {
    delivery.next <= now || delivery.next.since(now) > pace.most
}

#[cfg(test)]
mod tests;
