//! What a batch of entries changes, worked out before anything is written.
//!
//! Every backend appends through it, so that all refuse the same entries for the same reasons;
//! and a level that a hundred entries of a batch change is written once.

use std::{collections::HashMap, sync::Arc};

use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use tidegate_ledger::{
    Balance, CHAIN_START, CallEntry, ChainHash, Entry, EntryPath, LEVELS_MAX, LevelKey, LimitTable,
    Line, PolicyEntry, Seq, Standing, StoreError, chain_after,
};
use tidegate_types::{ReservationId, Timestamp};

/// The end of the stored ledger.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) rows: Seq,
    pub(crate) chain: ChainHash,
    pub(crate) latest: Timestamp,
    pub(crate) limits: Option<Arc<LimitTable>>,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            rows: 0,
            chain: CHAIN_START,
            latest: Timestamp(0),
            limits: None,
        }
    }
}

/// What a backend has stored.
pub(crate) trait Stored {
    /// False where it is known without asking that the entry is not stored.
    fn may_have(&self, reservation: ReservationId, ordinal: u32) -> bool;
    fn standing(&mut self, reservation: ReservationId) -> Result<Option<Standing>, StoreError>;
    fn balance(&mut self, level: &LevelKey) -> Result<Option<Balance>, StoreError>;
    fn payload(
        &mut self,
        reservation: ReservationId,
        ordinal: u32,
    ) -> Result<Option<String>, StoreError>;
}

/// A row to be written.
#[derive(Debug)]
pub(crate) struct NewRow<'a> {
    pub(crate) seq: Seq,
    pub(crate) entry: Option<(ReservationId, u32)>,
    pub(crate) kind: &'static str,
    pub(crate) at: Timestamp,
    pub(crate) chain: ChainHash,
    pub(crate) payload: &'a str,
}

/// All that a batch changes.
#[derive(Debug)]
pub(crate) struct Changes<'a> {
    pub(crate) rows: Vec<NewRow<'a>>,
    pub(crate) standings: Map<ReservationId, Standing>,
    pub(crate) balances: Balances,
    pub(crate) head: Head,
    /// Places in `rows` of the batch's own entries.
    placed: Map<(ReservationId, u32), usize>,
}

pub(crate) type Map<K, V> = HashMap<K, V, RandomState>;

/// Levels that a batch touches, with their balances after it.
#[derive(Debug, Default)]
pub(crate) struct Balances {
    all: Vec<(LevelKey, Balance)>,
    /// Places in `all`.
    placed: Map<LevelKey, usize>,
    /// The places of each path's levels, by the path's address: entries of one task share theirs.
    /// It is kept here so that the address stays its own.
    paths: Map<usize, (Arc<EntryPath>, Places)>,
}

/// Places of a path's levels, in the order of their check.
type Places = ArrayVec<usize, LEVELS_MAX>;

impl Balances {
    /// The levels and what they stand at.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(LevelKey, Balance)> {
        self.all.iter()
    }

    /// The places of a path's levels, which are read where no entry of the batch had them yet.
    fn places(
        &mut self,
        stored: &mut dyn Stored,
        path: &Arc<EntryPath>,
    ) -> Result<Places, StoreError> {
        let address = Arc::as_ptr(path).addr();
        if let Some((_, places)) = self.paths.get(&address) {
            return Ok(places.clone());
        }
        let mut places = Places::new();
        for key in path.keys() {
            if let Some(place) = self.placed.get(key) {
                places.push(*place);
                continue;
            }
            let balance = stored.balance(key)?.unwrap_or_default();
            places.push(self.all.len());
            self.placed.insert(key.clone(), self.all.len());
            self.all.push((key.clone(), balance));
        }
        self.paths
            .insert(address, (Arc::clone(path), places.clone()));
        Ok(places)
    }
}

/// Works out what these entries change; the first that cannot follow is an error.
pub(crate) fn stage<'a>(
    stored: &mut dyn Stored,
    head: Head,
    lines: &'a [Line],
) -> Result<Changes<'a>, StoreError> {
    let mut changes = Changes {
        rows: Vec::with_capacity(lines.len()),
        standings: Map::default(),
        balances: Balances::default(),
        head,
        placed: Map::default(),
    };
    for line in lines {
        match line.entry() {
            Entry::Policy(policy) => changes.take_policy(line.text(), policy),
            Entry::Call(call) => changes.take_call(stored, line.text(), call)?,
        }
    }
    Ok(changes)
}

impl<'a> Changes<'a> {
    fn take_policy(&mut self, payload: &'a str, policy: &PolicyEntry) {
        if self.head.limits.as_ref() == Some(&policy.limits) {
            return;
        }
        self.push(None, "policy", policy.at, payload);
        self.head.limits = Some(Arc::clone(&policy.limits));
    }

    fn take_call(
        &mut self,
        stored: &mut dyn Stored,
        payload: &'a str,
        call: &CallEntry,
    ) -> Result<(), StoreError> {
        if self.is_there(stored, call, payload)? {
            return Ok(());
        }
        let was = match self.standings.get(&call.reservation) {
            Some(staged) => Some(staged.clone()),
            None => stored.standing(call.reservation)?,
        };
        let refuse = |what: String| conflict(call, what);
        let now = Standing::after(was.as_ref(), call).map_err(|it| refuse(it.to_string()))?;
        let mut moved: ArrayVec<_, LEVELS_MAX> = ArrayVec::new();
        for place in self.balances.places(stored, &call.path)? {
            let (key, before) = &self.balances.all[place];
            let after = before.after(call, key.kind);
            let after = after.ok_or_else(|| refuse(format!("{key} would leave 64 bits")))?;
            moved.push((place, after));
        }
        for (place, after) in moved {
            self.balances.all[place].1 = after;
        }
        self.standings.insert(call.reservation, now);
        let name = (call.reservation, call.ordinal);
        self.push(Some(name), call.event.word(), call.at, payload);
        Ok(())
    }

    /// Whether this very entry was appended before. Another one in its place is a conflict.
    fn is_there(
        &self,
        stored: &mut dyn Stored,
        call: &CallEntry,
        payload: &str,
    ) -> Result<bool, StoreError> {
        let staged = self.placed.get(&(call.reservation, call.ordinal));
        let there = match staged {
            Some(at) => Some(self.rows[*at].payload.to_owned()),
            None if stored.may_have(call.reservation, call.ordinal) => {
                stored.payload(call.reservation, call.ordinal)?
            }
            None => None,
        };
        match there {
            None => Ok(false),
            Some(there) if there == payload => Ok(true),
            Some(_) => Err(conflict(
                call,
                "another entry is stored in its place".to_owned(),
            )),
        }
    }

    fn push(
        &mut self,
        entry: Option<(ReservationId, u32)>,
        kind: &'static str,
        at: Timestamp,
        payload: &'a str,
    ) {
        self.head.rows += 1;
        self.head.chain = chain_after(self.head.chain, payload);
        self.head.latest = self.head.latest.max(at);
        if let Some(name) = entry {
            self.placed.insert(name, self.rows.len());
        }
        self.rows.push(NewRow {
            seq: self.head.rows,
            entry,
            kind,
            at,
            chain: self.head.chain,
            payload,
        });
    }
}

fn conflict(call: &CallEntry, what: String) -> StoreError {
    StoreError::Conflict {
        reservation: call.reservation,
        ordinal: call.ordinal,
        what,
    }
}
