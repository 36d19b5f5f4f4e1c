//! Balances and open reservations as the fold of the entries: nothing else is true.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};
use tidegate_types::{NanoUsd, ReservationId, Timestamp};

use crate::{
    CallEntry, Ended, Entry, Event, LevelKey, LevelKind, LimitTable, OpenReservation, Standing,
    entry::Movement,
};

/// What a level stands at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Balance {
    /// Settled.
    pub spent: NanoUsd,
    /// Held by reservations that have not ended.
    pub held: NanoUsd,
    /// By list price, paid or not.
    pub notional: NanoUsd,
    /// Calls that a watched limit would have refused.
    pub would_refuse: u64,
}

/// `$0.84 spent ($1.20 by list price), $0.25 held, 3 calls that would have been refused`.
impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            spent,
            held,
            notional,
            would_refuse: calls,
        } = self;
        let noun = if *calls == 1 { "call" } else { "calls" };
        write!(
            f,
            "{spent} spent ({notional} by list price), {held} held, {calls} {noun} that would have been refused"
        )
    }
}

/// Something that the entries of an honest ledger cannot say.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Defect {
    /// A reservation begins that has begun.
    #[error("{0} begins a second time")]
    BeginsAgain(ReservationId),
    /// Something happens to a reservation that never began, or has ended.
    #[error("{reservation} is not open, and its entry says {event}")]
    NotOpen {
        /// Which.
        reservation: ReservationId,
        /// What happens to it.
        event: &'static str,
    },
    /// A correction of a reservation that has not ended, or was released.
    #[error("{0} has no settlement to correct")]
    NotSettled(ReservationId),
    /// An entry of the reservation is missing, or is there twice.
    #[error("{reservation} goes on with entry {found} where {expected} is due")]
    Ordinal {
        /// Which.
        reservation: ReservationId,
        /// The place that comes next.
        expected: u32,
        /// The place the entry says it has.
        found: u32,
    },
    /// An ending frees another amount than is held, or a correction replaces another than is
    /// booked.
    #[error("{reservation} stands at {stands}, and its entry says {says}")]
    Amount {
        /// Which.
        reservation: ReservationId,
        /// By the entries before.
        stands: NanoUsd,
        /// By this entry.
        says: NanoUsd,
    },
    /// The path, or the levels that bind it, are no longer those of the beginning.
    #[error("{0} pays somewhere else than where it began")]
    Moved(ReservationId),
    /// A reservation that a limit bound passed it.
    #[error("{level} stands at {stands} after {reservation}, above its limit {limit}")]
    LimitPassed {
        /// By which.
        reservation: ReservationId,
        /// Which limit.
        level: LevelKey,
        /// Settled and held.
        stands: NanoUsd,
        /// The limit in force.
        limit: NanoUsd,
    },
    /// A level's amounts leave what can be represented.
    #[error("{level} leaves what 64 bits hold")]
    OutOfRange {
        /// Which.
        level: LevelKey,
    },
}

/// A settlement above its hold, or a correction upwards: booked in full, and listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overrun {
    /// Whose.
    pub reservation: ReservationId,
    /// When.
    pub at: Timestamp,
    /// By how much.
    pub by: NanoUsd,
    /// Why, as far as it was said.
    pub cause: Option<String>,
}

type Map<K, V> = HashMap<K, V, RandomState>;

/// The state that a sequence of entries leads to.
#[derive(Debug, Default)]
pub struct Fold {
    balances: BTreeMap<LevelKey, Balance>,
    open: BTreeMap<ReservationId, OpenReservation>,
    ended: Map<ReservationId, Ended>,
    limits: Option<InForce>,
}

/// Limits, and those before them by which a call may still have been decided, each with its end.
#[derive(Debug)]
struct InForce {
    limits: Arc<LimitTable>,
    before: Vec<(Arc<LimitTable>, Timestamp)>,
}

/// How long after new limits a call may still have been decided by those before: books take them
/// over one after the other.
const EXCHANGE: Duration = Duration::from_secs(1);

impl Fold {
    /// Takes the next entry, or says why no honest ledger has it here and takes nothing; but for
    /// [`Defect::LimitPassed`], which is said of an entry that is taken. `Ok(Some)` is an overrun.
    pub fn apply(&mut self, entry: &Entry) -> Result<Option<Overrun>, Defect> {
        match entry {
            Entry::Policy(policy) => {
                let (limits, at) = (Arc::clone(&policy.limits), policy.at);
                self.limits = Some(match self.limits.take() {
                    Some(before) => before.replaced(limits, at),
                    None => InForce {
                        limits,
                        before: Vec::new(),
                    },
                });
                Ok(None)
            }
            Entry::Call(call) => self.apply_call(call),
        }
    }

    /// What every level stands at on which something was ever booked.
    pub const fn balances(&self) -> &BTreeMap<LevelKey, Balance> {
        &self.balances
    }

    /// The reservations that have not ended, oldest first.
    pub fn open_reservations(&self) -> impl Iterator<Item = &OpenReservation> {
        self.open.values()
    }

    /// How many reservations there are, ended ones too.
    pub fn reservations(&self) -> usize {
        self.open.len() + self.ended.len()
    }

    /// Where a reservation stands; `None` if it never began.
    pub fn standing(&self, reservation: ReservationId) -> Option<Standing> {
        let open = self.open.get(&reservation).cloned().map(Standing::Open);
        open.or_else(|| self.ended.get(&reservation).copied().map(Standing::Ended))
    }

    /// The limits that the last policy entry put in force.
    pub fn limits(&self) -> Option<&Arc<LimitTable>> {
        self.limits.as_ref().map(|it| &it.limits)
    }

    fn apply_call(&mut self, entry: &CallEntry) -> Result<Option<Overrun>, Defect> {
        let next = Standing::after(self.standing(entry.reservation).as_ref(), entry)?;
        let changed = self.moved(entry)?;
        let passed = self.passed(entry, &changed);
        self.balances.extend(changed);
        match next {
            Standing::Open(open) => {
                self.open.insert(entry.reservation, open);
            }
            Standing::Ended(ended) => {
                self.open.remove(&entry.reservation);
                self.ended.insert(entry.reservation, ended);
            }
        }
        passed.map_or(Ok(overrun(entry)), Err)
    }

    /// The balances of the entry's levels after it.
    fn moved(&self, entry: &CallEntry) -> Result<Vec<(LevelKey, Balance)>, Defect> {
        let (kinds, keys) = (entry.path.kinds(), entry.path.keys());
        let mut changed = Vec::with_capacity(keys.len());
        for (kind, level) in kinds.into_iter().zip(keys) {
            let before = self.balances.get(level).copied().unwrap_or_default();
            let Some(after) = before.after(entry, kind) else {
                let level = level.clone();
                return Err(Defect::OutOfRange { level });
            };
            changed.push((level.clone(), after));
        }
        Ok(changed)
    }

    /// The first limit that bound the entry and that it passed.
    fn passed(&self, entry: &CallEntry, changed: &[(LevelKey, Balance)]) -> Option<Defect> {
        let more = match &entry.event {
            Event::Reserve { bound, .. } => *bound,
            Event::Extend { by, .. } => *by,
            Event::Settle(_)
            | Event::Release { .. }
            | Event::Unknown { .. }
            | Event::Expire { .. }
            | Event::Correct { .. } => return None,
        };
        let in_force = self.limits.as_ref().filter(|_| !more.is_zero())?;
        let mut bound = changed
            .iter()
            .filter(|(level, _)| entry.enforced.contains(level.kind));
        bound.find_map(|(level, after)| {
            let limit = in_force.hard(level, entry.at)?;
            let stands = after.spent.saturating_add(after.held);
            (stands > limit).then(|| Defect::LimitPassed {
                reservation: entry.reservation,
                level: level.clone(),
                stands,
                limit,
            })
        })
    }
}

impl InForce {
    fn replaced(mut self, limits: Arc<LimitTable>, at: Timestamp) -> Self {
        self.before.retain(|(_, until)| at <= until.after(EXCHANGE));
        self.before.push((self.limits, at));
        Self { limits, ..self }
    }

    /// The hard limit that a call of this time was held to: while limits are exchanged, the widest.
    fn hard(&self, level: &LevelKey, at: Timestamp) -> Option<NanoUsd> {
        let now = self.limits.of(level).hard?;
        let before = self.before.iter();
        let mut before = before.filter(|(_, until)| at <= until.after(EXCHANGE));
        before.try_fold(now, |widest, (before, _)| {
            Some(before.of(level).hard?.max(widest))
        })
    }
}

impl Balance {
    /// The balance of a level of the entry's path after it; `None` outside of 64 bits.
    ///
    /// Says nothing about whether the entry may follow: see [`Fold`].
    #[must_use]
    pub fn after(self, entry: &CallEntry, level: LevelKind) -> Option<Self> {
        let Movement { held, spent } = entry.event.movement();
        let moved = |amount: NanoUsd, by: i128| u64::try_from(i128::from(amount.0) + by).ok();
        let (notional, refused) = match &entry.event {
            Event::Settle(it) => (it.notional, false),
            Event::Reserve { would_refuse, .. } => (NanoUsd::ZERO, would_refuse.contains(level)),
            Event::Extend { .. }
            | Event::Release { .. }
            | Event::Unknown { .. }
            | Event::Expire { .. }
            | Event::Correct { .. } => (NanoUsd::ZERO, false),
        };
        Some(Self {
            spent: NanoUsd(moved(self.spent, spent)?),
            held: NanoUsd(moved(self.held, held)?),
            notional: self.notional.saturating_add(notional),
            would_refuse: self.would_refuse + u64::from(refused),
        })
    }
}

fn overrun(entry: &CallEntry) -> Option<Overrun> {
    let (by, cause) = match &entry.event {
        Event::Settle(it) => (it.cost.saturating_sub(it.held), it.cause.clone()),
        Event::Correct { from, to, by } => (to.saturating_sub(*from), Some(by.clone())),
        Event::Reserve { .. }
        | Event::Extend { .. }
        | Event::Release { .. }
        | Event::Unknown { .. }
        | Event::Expire { .. } => return None,
    };
    (!by.is_zero()).then_some(Overrun {
        reservation: entry.reservation,
        at: entry.at,
        by,
        cause,
    })
}

#[cfg(test)]
mod tests;
