//! What a power cut could take of an enforced limit, bounded.
//!
//! A reservation is sent as soon as it is in the journal, which a killed process survives. Until
//! the store has it too, a power cut could forget it: so on each enforced level no more than a
//! lease is held by reservations that the store does not have yet, and the lease itself is in the
//! store before anything is sent on it. After a power cut its amount is not given to anybody until
//! it expires.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use parking_lot::{Condvar, Mutex};
use tidegate_ledger::{
    CallEntry, Entry, EntryPath, Event, LedgerStore, LevelKey, Levels, Line, StoreError,
    leases::{Cover, Grant, Lease, LeaseAsk, share},
};
use tidegate_types::{NanoUsd, Timestamp};

use crate::Engine;

/// After so long without a call, a lease is given back: a task of a single call leaves nothing behind,
/// and a level that is in use is not leased anew all the time.
const UNUSED_MAX: Duration = Duration::from_mins(1);

/// How long a lease lasts, and so how long what a power cut took is kept from everybody: as long
/// as anything else whose fate is unknown.
const LEASE_LIFE: Duration = crate::recover::UNKNOWN_MAX;

/// A lease is renewed when less than this is left of it, so that none runs out under a call.
const RENEW_BEFORE: Duration = Duration::from_mins(5);

/// Times that the owner of a limit is asked again, with all that has ended in the store, before a
/// call is refused because too little can be promised: once would do, but for other calls whose
/// entries are written in between.
const SHORTS_MAX: u32 = 3;

/// Times that the store is waited for before a call is refused: two seconds, in which a disk that
/// works writes what was before it many times over.
const WAITS_MAX: u32 = 200;

/// How long one such wait is. What holds the lease may have been covered and not yet be queued for
/// the store, so that a flush alone does not wait for it.
const WAIT: Duration = Duration::from_millis(10);

/// The leases of this run.
#[derive(Debug)]
pub(crate) struct Leases {
    /// Tells this run's leases from an earlier one's.
    holder: String,
    all: Mutex<HashMap<LevelKey, Held, RandomState>>,
    /// Rung when something of a lease can be used again.
    given_back: Condvar,
    /// What calls ask of the owner, to be asked together: a synced write of the store is as dear for
    /// a hundred leases as it is for one.
    asked: Mutex<Vec<(LeaseAsk, Arc<Answer>)>>,
    /// Held by whoever asks the owner, or gives back to it: no lease is given back that was just granted.
    asking: Mutex<()>,
}

/// A lease of this run.
#[derive(Debug)]
struct Held {
    lease: Lease,
    /// When it last covered a call.
    touched: Timestamp,
}

/// What the owner said, once it has.
type Answer = Mutex<Option<Result<Grant, Arc<StoreError>>>>;

/// No lease covers the call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Uncovered {
    /// What is left is leased to a run that a power cut ended.
    #[error(
        "of budget `{level}` only {left} can be promised: what a run before a power cut was spending is not known for up to 15 minutes"
    )]
    Short {
        /// Which level.
        level: LevelKey,
        /// What the owner can still grant.
        left: NanoUsd,
    },
    /// The store can't say. Its own words may name files, and this is told to clients: they are in
    /// the log and the status.
    #[error("the ledger can't be read or written: see `tidegate status`")]
    Store(#[source] Arc<StoreError>),
    /// The store does not keep up.
    #[error("the ledger is being written too slowly for so many calls at once")]
    Behind,
}

impl Leases {
    pub(crate) fn new(run: u64) -> Self {
        Self {
            holder: format!("run-{run:016x}"),
            all: Mutex::default(),
            given_back: Condvar::new(),
            asked: Mutex::default(),
            asking: Mutex::new(()),
        }
    }

    /// Says that these entries are in the store: their bounds need no lease any more.
    pub(crate) fn written(&self, lines: &[Line]) {
        let mut all = self.all.lock();
        if all.is_empty() {
            return;
        }
        for line in lines {
            if let Entry::Call(CallEntry {
                path,
                enforced,
                event,
                ..
            }) = line.entry()
            {
                let amount = match event {
                    Event::Reserve { bound, .. } => *bound,
                    Event::Extend { by, .. } => *by,
                    _ => continue,
                };
                for key in enforced_keys(path, *enforced) {
                    if let Some(held) = all.get_mut(key) {
                        held.lease.give_back(amount);
                    }
                }
            }
        }
        self.given_back.notify_all();
    }

    /// Waits a moment for a level's lease to have room for `bound` within `share`.
    ///
    /// Nobody waits for each other: levels are covered in the order of their check, and whoever
    /// has covered the last one goes on without waiting.
    fn wait_for_room(&self, key: &LevelKey, bound: NanoUsd, share: NanoUsd) {
        let mut all = self.all.lock();
        let full = |all: &mut HashMap<LevelKey, Held, RandomState>| {
            let held = all.get(key);
            held.is_some_and(|it| it.lease.used.saturating_add(bound) > share)
        };
        let _timed_out = self.given_back.wait_while_for(&mut all, full, WAIT);
    }

    /// Forgets leases that nobody used for a while, in the store too.
    pub(crate) fn tidy(&self, store: &dyn LedgerStore, now: Timestamp) -> Result<(), StoreError> {
        let _turn = self.asking.lock();
        let unused = |it: &Held| it.lease.used.is_zero() && it.touched.after(UNUSED_MAX) <= now;
        let over: Vec<LevelKey> = {
            let mut all = self.all.lock();
            let over = all.extract_if(|_, it| unused(it));
            over.map(|(key, _)| key).collect()
        };
        store.return_leases(&self.holder, &over)?;
        Ok(())
    }

    /// Asks the owner, together with whoever asks at the same time: the first asks for all.
    fn ask(
        &self,
        store: &dyn LedgerStore,
        ask: LeaseAsk,
        now: Timestamp,
    ) -> Result<Grant, Arc<StoreError>> {
        let answer = Arc::new(Answer::default());
        self.asked.lock().push((ask, Arc::clone(&answer)));
        let _turn = self.asking.lock();
        if let Some(answered) = answer.lock().take() {
            return answered;
        }
        let (asks, answers): (Vec<_>, Vec<_>) =
            std::mem::take(&mut *self.asked.lock()).into_iter().unzip();
        match store.grant_leases(asks, now) {
            Ok(grants) => {
                for (answer, grant) in answers.iter().zip(grants) {
                    *answer.lock() = Some(Ok(grant));
                }
            }
            Err(refused) => {
                let refused = Arc::new(refused);
                for answer in &answers {
                    *answer.lock() = Some(Err(Arc::clone(&refused)));
                }
            }
        }
        let own = answer.lock().take();
        own.unwrap_or_else(|| unreachable!("its own ask was among those that were answered"))
    }

    /// Gives back what earlier runs leased: their journal says all that they did.
    pub(crate) fn take_over(store: &dyn LedgerStore) -> Result<(), StoreError> {
        let mut by_holder: HashMap<String, Vec<LevelKey>> = HashMap::new();
        for lease in store.leases()? {
            by_holder.entry(lease.holder).or_default().push(lease.level);
        }
        for (holder, levels) in by_holder {
            store.return_leases(&holder, &levels)?;
        }
        Ok(())
    }

    /// Covers all enforced levels, where their leases have room and don't end soon; else none.
    fn cover_at_once(
        &self,
        path: &EntryPath,
        enforced: Levels,
        bound: NanoUsd,
        now: Timestamp,
    ) -> bool {
        let soon = now.after(RENEW_BEFORE);
        let mut all = self.all.lock();
        let has_room = |Held { lease: it, .. }: &&mut Held| {
            it.used.saturating_add(bound) <= it.granted && soon < it.expires
        };
        for (covered, key) in enforced_keys(path, enforced).enumerate() {
            let Some(held) = all.get_mut(key).filter(has_room) else {
                for key in enforced_keys(path, enforced).take(covered) {
                    if let Some(held) = all.get_mut(key) {
                        held.lease.give_back(bound);
                    }
                }
                return false;
            };
            held.lease.used = held.lease.used.saturating_add(bound);
            held.touched = now;
        }
        true
    }

    /// What is missing for `bound` on a level; `None` where the lease covers it, which it then
    /// does.
    fn missing(&self, key: &LevelKey, bound: NanoUsd, now: Timestamp) -> Option<NanoUsd> {
        let mut all = self.all.lock();
        // Only a level that was never leased is copied.
        if !all.contains_key(key) {
            let lease = Lease {
                level: key.clone(),
                holder: self.holder.clone(),
                granted: NanoUsd::ZERO,
                used: NanoUsd::ZERO,
                expires: Timestamp(0),
            };
            all.insert(
                key.clone(),
                Held {
                    lease,
                    touched: now,
                },
            );
        }
        let held = all.get_mut(key)?;
        held.touched = now;
        match taken_from(&mut held.lease, bound, now) {
            Cover::Covered => None,
            Cover::NeedsGrant { amount } => Some(amount),
        }
    }

    fn give_back<'a>(&self, keys: impl Iterator<Item = &'a LevelKey>, bound: NanoUsd) {
        let mut all = self.all.lock();
        for key in keys {
            if let Some(held) = all.get_mut(key) {
                held.lease.give_back(bound);
            }
        }
        self.given_back.notify_all();
    }
}

/// Takes `bound` of a lease. One that ends soon is treated as ended, and so renewed.
fn taken_from(lease: &mut Lease, bound: NanoUsd, now: Timestamp) -> Cover {
    let ending = lease.expires <= now.after(RENEW_BEFORE);
    lease.cover(bound, if ending { Timestamp(u64::MAX) } else { now })
}

fn enforced_keys(path: &EntryPath, enforced: Levels) -> impl Iterator<Item = &LevelKey> {
    let keys = path.keys().iter();
    keys.filter(move |it| enforced.contains(it.kind))
}

impl Engine {
    /// How many calls wait to ask the owners of their limits for a lease, but for the one that does.
    pub fn leases_waiting(&self) -> usize {
        self.leases.asked.lock().len()
    }

    /// Makes sure that no power cut can take more of the enforced levels than their leases.
    ///
    /// Mostly a few comparisons in memory. The first call on a level, and one that would pass the
    /// lease, wait for the store.
    pub(crate) fn cover(
        &self,
        path: &EntryPath,
        enforced: Levels,
        bound: NanoUsd,
    ) -> Result<(), Uncovered> {
        if self.covers_at_once(path, enforced, bound) {
            return Ok(());
        }
        for (covered, key) in enforced_keys(path, enforced).enumerate() {
            if let Err(uncovered) = self.cover_level(key, bound) {
                let before = enforced_keys(path, enforced).take(covered);
                self.leases.give_back(before, bound);
                if let Uncovered::Store(refused) = &uncovered {
                    self.writer.health().failed(refused.as_ref());
                }
                return Err(uncovered);
            }
        }
        Ok(())
    }

    /// Does what [`Self::cover`] does where that needs no waiting; else says `false`, and has
    /// changed nothing.
    pub(crate) fn covers_at_once(
        &self,
        path: &EntryPath,
        enforced: Levels,
        bound: NanoUsd,
    ) -> bool {
        if bound.is_zero() || enforced.is_empty() {
            return true;
        }
        self.leases
            .cover_at_once(path, enforced, bound, self.clock.now())
    }

    /// Takes back what [`Self::cover`] did for a reservation that will never be in the store.
    pub(crate) fn uncover(&self, path: &EntryPath, enforced: Levels, bound: NanoUsd) {
        if bound.is_zero() || enforced.is_empty() {
            return;
        }
        self.leases.give_back(enforced_keys(path, enforced), bound);
    }

    fn cover_level(&self, key: &LevelKey, bound: NanoUsd) -> Result<(), Uncovered> {
        let mut shorts = 0;
        for _wait in 0..=WAITS_MAX {
            let now = self.clock.now();
            let Some(amount) = self.leases.missing(key, bound, now) else {
                return Ok(());
            };
            let limit = self.settings.load().budgets.limit(key).hard;
            let share = limit.map_or(bound, |it| share(it, bound));
            if amount > share {
                // More is on its way to the store than a power cut may take: let it arrive.
                self.writer.flush();
                self.leases.wait_for_room(key, bound, share);
                continue;
            }
            match self.lease(key, limit, share, amount, now) {
                Ok(()) => {}
                // The owner may not have the ends yet that made room for this call.
                Err(Uncovered::Short { .. }) if shorts < SHORTS_MAX => {
                    shorts += 1;
                    self.writer.flush();
                }
                Err(uncovered) => return Err(uncovered),
            }
        }
        Err(Uncovered::Behind)
    }

    /// Has the owner of the limit grant a lease: of the whole share, else of what is needed.
    #[expect(clippy::too_many_arguments, reason = "each is one term of the lease")]
    fn lease(
        &self,
        key: &LevelKey,
        limit: Option<NanoUsd>,
        share: NanoUsd,
        needed: NanoUsd,
        now: Timestamp,
    ) -> Result<(), Uncovered> {
        let ask = |amount| LeaseAsk {
            level: key.clone(),
            holder: self.leases.holder.clone(),
            limit,
            amount,
            expires: now.after(LEASE_LIFE),
        };
        let owner = |amount| {
            let answer = self.leases.ask(self.ledger(), ask(amount), now);
            answer.map_err(Uncovered::Store)
        };
        let granted = match owner(share)? {
            Grant::Short { .. } if needed < share => owner(needed)?,
            other => other,
        };
        match granted {
            Grant::Granted(granted) => {
                if let Some(held) = self.leases.all.lock().get_mut(key) {
                    held.lease.granted = granted.granted;
                    held.lease.expires = granted.expires;
                }
                Ok(())
            }
            Grant::Short { left } => Err(Uncovered::Short {
                level: key.clone(),
                left,
            }),
        }
    }
}
