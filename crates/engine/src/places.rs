//! Places in queues that are kept for clients that were sent away, until they come back.
//!
//! A client that is told to try again later loses nothing by it: its call stays in its queue, has its
//! turn there, and what it needs is set aside until the client comes for it, or no longer can.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidegate_admission::Ticket;
use tidegate_types::{Monotonic, Timestamp};

use crate::{
    call::Moment,
    gate::{SharedGate, Turn},
    reserve::Reserved,
};

/// How long a place is kept beyond the time that its client was told to come back at.
pub const KEPT_BEYOND: Duration = Duration::from_secs(90);

/// Places kept at once. Each has about as much as the record of a call.
const PLACES_MAX: usize = 100_000;

/// Places of an earlier run that are remembered.
pub(crate) const REMEMBERED_MAX: usize = 10_000;

/// By what a client is known when it comes back: whose session, and what it asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlaceKey([u8; 16]);

impl PlaceKey {
    /// Of what `session` of `user` asks, in its parts. Nothing can be read from it.
    pub fn of(organisation: &str, user: &str, session: &str, asked: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        let whose = [organisation, user, session];
        for part in whose.map(str::as_bytes).iter().chain(asked) {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        key.copy_from_slice(&hash.finalize()[..16]);
        Self(key)
    }
}

/// The platform at which a place is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptAt {
    /// This one.
    Platform(Arc<str>),
    /// An earlier run kept it, and did not say.
    Unknown,
}

/// What is kept for a client.
#[derive(Debug)]
pub(crate) struct Kept {
    /// Where it waits.
    pub(crate) at: KeptAt,
    /// Since when it waits.
    pub(crate) since: Monotonic,
    /// Until when it is kept.
    pub(crate) until: Monotonic,
    pub(crate) place: Place,
}

/// Where its call is.
#[derive(Debug)]
pub(crate) enum Place {
    /// In the queue.
    Queued(SharedGate, Ticket),
    /// It has had its turn: what it needs is set aside.
    Ready(Box<Reserved>),
    /// An earlier run kept it: only its age is known.
    Remembered,
}

/// A place as it survives a restart.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Remembered {
    key: PlaceKey,
    since: Timestamp,
    until: Timestamp,
}

impl Remembered {
    pub(crate) fn of(key: PlaceKey, since: Monotonic, until: Monotonic, now: Moment) -> Self {
        let waited = nanos(now.mono.since(since));
        Self {
            key,
            since: Timestamp(now.wall.0.saturating_sub(waited)),
            until: now.wall.after(until.since(now.mono)),
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Places {
    all: Mutex<HashMap<PlaceKey, Kept, RandomState>>,
    /// How many: a call that comes while there are none has nothing to look up.
    len: AtomicUsize,
    /// Nobody waited when places were last written down.
    none_written: AtomicBool,
}

impl Places {
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Whether a place is kept, and for which platform.
    pub(crate) fn kept_at(&self, key: PlaceKey) -> Option<KeptAt> {
        self.all.lock().get(&key).map(|it| it.at.clone())
    }

    /// Keeps a place. Answers what it takes the place of, or itself where there is no room.
    pub(crate) fn keep(&self, key: PlaceKey, kept: Kept) -> Option<Kept> {
        let mut all = self.all.lock();
        if all.len() >= PLACES_MAX && !all.contains_key(&key) {
            return Some(kept);
        }
        let replaced = all.insert(key, kept);
        self.len.store(all.len(), Ordering::Relaxed);
        replaced
    }

    /// The call of a kept place has had its turn. Gives it back where nobody keeps it any more.
    pub(crate) fn ready(&self, key: PlaceKey, turn: Turn) -> Option<Turn> {
        let mut all = self.all.lock();
        match (all.get_mut(&key), turn) {
            (Some(kept), Turn::Reserved(reserved)) => {
                kept.place = Place::Ready(reserved);
                None
            }
            // It asks again when it comes back, and is told then.
            (Some(kept), Turn::Refused(..)) => {
                kept.place = Place::Remembered;
                None
            }
            (None, turn) => Some(turn),
        }
    }

    /// Takes a place that its client has come back for.
    pub(crate) fn take(&self, key: PlaceKey, now: Monotonic) -> Option<Kept> {
        if self.is_empty() {
            return None;
        }
        let mut all = self.all.lock();
        if all.get(&key)?.until < now {
            return None; // Whoever tidies up ends it.
        }
        let kept = all.remove(&key);
        self.len.store(all.len(), Ordering::Relaxed);
        kept
    }

    /// Takes those whose clients did not come back in time.
    pub(crate) fn expired(&self, now: Monotonic) -> Vec<Kept> {
        if self.is_empty() {
            return Vec::new();
        }
        let mut all = self.all.lock();
        let expired = all.extract_if(|_, it| it.until < now);
        let expired = expired.map(|(_, it)| it).collect();
        self.len.store(all.len(), Ordering::Relaxed);
        expired
    }

    /// Takes all of them: nobody can come back any more.
    pub(crate) fn drain(&self) -> Vec<Kept> {
        let mut all = self.all.lock();
        self.len.store(0, Ordering::Relaxed);
        all.drain().map(|(_, it)| it).collect()
    }

    /// Notes whether nobody waits. Says whether that is already written down.
    pub(crate) fn is_written(&self, none: bool) -> bool {
        self.none_written.swap(none, Ordering::Relaxed) && none
    }

    /// What the next run is told.
    pub(crate) fn remember(&self, now: Moment) -> Vec<Remembered> {
        let all = self.all.lock();
        let kept = all.iter().take(REMEMBERED_MAX);
        kept.map(|(key, it)| Remembered::of(*key, it.since, it.until, now))
            .collect()
    }

    /// Takes over what an earlier run remembered.
    pub(crate) fn restore(&self, remembered: &[Remembered], now: Moment) {
        for it in remembered.iter().filter(|it| it.until > now.wall) {
            let waited = nanos(now.wall.since(it.since));
            let kept = Kept {
                at: KeptAt::Unknown,
                since: Monotonic(now.mono.0.saturating_sub(waited)),
                until: now.mono.after(it.until.since(now.wall)),
                place: Place::Remembered,
            };
            let _none_before = self.keep(it.key, kept);
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
