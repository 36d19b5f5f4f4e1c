//! What the ledger records: one entry per fact, append-only, each a balanced set of postings.

use std::sync::{Arc, OnceLock};

use arrayvec::ArrayVec;
use serde::{
    Deserialize, Serialize,
    ser::{Error as _, Serializer},
};
use serde_json::value::RawValue;
use tidegate_types::{NanoUsd, ReservationId, Timestamp, Usage};

use crate::{LevelKey, LevelKind, Levels, LimitTable, Service, Window};

/// Levels a call can pay into: organisation, user month, user day, service, task.
pub const LEVELS_MAX: usize = 5;

/// Where a call pays: fixed when it is reserved, and the same in all of its entries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryPath {
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who acts.
    pub user: Arc<str>,
    /// The root task, where the call belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Arc<str>>,
    /// What is bought.
    pub service: Service,
    /// The month of the reservation.
    pub month: Window,
    /// The day of the reservation.
    pub day: Window,
    /// What was worked out of it.
    #[serde(skip)]
    pub derived: Derived,
}

/// What follows from a path, worked out when it is first asked for: every entry of every call needs
/// it, and calls of one task share their path. All are equal.
#[derive(Clone, Debug, Default)]
pub struct Derived {
    keys: OnceLock<ArrayVec<LevelKey, LEVELS_MAX>>,
    text: OnceLock<Box<RawValue>>,
}

impl PartialEq for Derived {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Derived {}

impl EntryPath {
    /// The levels, in the order of their check.
    pub fn kinds(&self) -> ArrayVec<LevelKind, LEVELS_MAX> {
        let mut kinds = ArrayVec::from_iter([
            LevelKind::Organisation,
            LevelKind::UserMonth,
            LevelKind::UserDay,
            LevelKind::Service(self.service),
        ]);
        if self.task.is_some() {
            kinds.push(LevelKind::Task);
        }
        kinds
    }

    /// The folds that entries with this path belong to, in the order of their check.
    pub fn keys(&self) -> &[LevelKey] {
        let all = || self.kinds().into_iter().map(|it| self.key(it)).collect();
        self.derived.keys.get_or_init(all)
    }

    /// The window of a level of this path; a task has none.
    pub const fn window(&self, kind: LevelKind) -> Option<Window> {
        match kind {
            LevelKind::Organisation | LevelKind::UserMonth | LevelKind::Service(_) => {
                Some(self.month)
            }
            LevelKind::UserDay => Some(self.day),
            LevelKind::Task => None,
        }
    }

    fn key(&self, kind: LevelKind) -> LevelKey {
        let personal = matches!(
            kind,
            LevelKind::UserMonth | LevelKind::UserDay | LevelKind::Task
        );
        LevelKey {
            kind,
            organisation: Arc::clone(&self.organisation),
            user: personal.then(|| Arc::clone(&self.user)),
            task: self.task.clone().filter(|_| kind == LevelKind::Task),
            opens: self.window(kind).map(|it| it.opens),
        }
    }
}

/// Writes a path into an entry. It is most of the entry's text, and the same for all of a task.
fn written_once<S: Serializer>(path: &EntryPath, serializer: S) -> Result<S::Ok, S::Error> {
    if let Some(text) = path.derived.text.get() {
        return text.serialize(serializer);
    }
    let text = serde_json::value::to_raw_value(path).map_err(S::Error::custom)?;
    path.derived.text.get_or_init(|| text).serialize(serializer)
}

/// One fact of the ledger.
///
/// Entries of one organisation are appended in the order in which its [`crate::Books`] took them:
/// enqueue them while its lock is held, or a reservation may be recorded before the settlement
/// that made room for it, and the record would show a limit passed that never was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// Something happened to a reservation.
    Call(CallEntry),
    /// Other limits are in force from here on.
    Policy(PolicyEntry),
}

/// Something that happened to a reservation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallEntry {
    /// Whose.
    pub reservation: ReservationId,
    /// The place among the reservation's own entries: 0 for its beginning, then 1, 2, …
    /// With the reservation it names the entry, so that appending it again changes nothing.
    pub ordinal: u32,
    /// When, by the wall clock.
    pub at: Timestamp,
    /// Where it pays.
    #[serde(serialize_with = "written_once")]
    pub path: Arc<EntryPath>,
    /// The levels whose hard limit bound this call when it was reserved or extended: those that
    /// were neither watched nor open to overage.
    #[serde(default, skip_serializing_if = "Levels::is_empty_ref")]
    pub enforced: Levels,
    /// What.
    pub event: Event,
}

impl Levels {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "the form serde calls it in"
    )]
    const fn is_empty_ref(&self) -> bool {
        self.is_empty()
    }
}

/// The limits in force from here on, all of them: what is missing is no longer limited by them.
///
/// Append it before the books take the limits over: a call that is decided by wider limits stands
/// behind them then, and for one that was still decided by those before a second is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyEntry {
    /// Since when, by the wall clock.
    pub at: Timestamp,
    /// The limits.
    pub limits: Arc<LimitTable>,
}

/// What can happen to a reservation. It begins once, and ends at most once: with `Settle`,
/// `Release` or `Expire`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It began: the bound is held.
    Reserve {
        /// The most that the call can cost.
        bound: NanoUsd,
        /// What it will probably cost; at most the bound.
        expected: NanoUsd,
        /// The levels that are watched and would have refused it.
        #[serde(default, skip_serializing_if = "Levels::is_empty_ref")]
        would_refuse: Levels,
        /// Of one that somebody asked for and will end by their word; none for a call of ours.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        asked: Option<Asked>,
    },
    /// More is held.
    Extend {
        /// How much more.
        by: NanoUsd,
        /// Until when it is now promised.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It ended with a cost. What was held above the cost is free again; what the cost is above
    /// the hold is an overrun, booked in full.
    Settle(Box<Settlement>),
    /// It ended without a cost: nothing was sent, or the provider charged nothing.
    Release {
        /// All that was held.
        held: NanoUsd,
        /// Why.
        reason: String,
    },
    /// It was sent, and whether it was answered is not known: its hold stays until its usage is
    /// learned, an operator settles it, or it expires.
    Unknown {
        /// When it expires.
        until: Timestamp,
    },
    /// It ended as unknown, and is settled at its bound until somebody corrects that.
    Expire {
        /// All that was held, and is now spent.
        held: NanoUsd,
    },
    /// After the end: the cost was another one.
    Correct {
        /// As it was booked.
        from: NanoUsd,
        /// As it is.
        to: NanoUsd,
        /// Who says so.
        by: String,
    },
}

/// What was promised to whoever asked for a reservation. It holds after a restart, too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Until when it is theirs to settle.
    pub until: Timestamp,
    /// Where they will send it.
    pub platform: Arc<str>,
}

/// How a call ended that cost something, or could have.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settlement {
    /// All that was held.
    pub held: NanoUsd,
    /// What is charged. Zero on a subscription.
    pub cost: NanoUsd,
    /// The list price, whether it is charged or not.
    pub notional: NanoUsd,
    /// The usage was not reported in full, and the cost is what we make of it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
    /// Why it is estimated, or above its hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What was used, as far as it is known.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "without_zeros"
    )]
    pub usage: Option<Usage>,
    /// Where it was sent.
    pub platform: Arc<str>,
    /// As which model it was priced.
    pub model: Arc<str>,
    /// Of the price table.
    pub price_version: Arc<str>,
}

/// Writes a usage without what is zero in it, which is most: a row is written, hashed and kept for ever.
#[expect(clippy::ref_option, reason = "the form serde calls it in")]
fn without_zeros<S: Serializer>(usage: &Option<Usage>, serializer: S) -> Result<S::Ok, S::Error> {
    usage.as_ref().map(Usage::sparse).serialize(serializer)
}

/// An account of a level. Together they are the level's limit, however it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Account {
    /// What can still be reserved.
    Available,
    /// What running calls hold.
    Held,
    /// What is settled.
    Spent,
}

/// A change of one account of one level, in nano-dollars; negative where money leaves it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// The level.
    pub level: LevelKind,
    /// Its account.
    pub account: Account,
    /// How much enters it.
    pub nanos: i128,
}

/// What an event moves, on every level of its path alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Movement {
    pub(crate) held: i128,
    pub(crate) spent: i128,
}

impl Event {
    /// A word for it, as stores and exports write it.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Reserve { .. } => "reserve",
            Self::Extend { .. } => "extend",
            Self::Settle(_) => "settle",
            Self::Release { .. } => "release",
            Self::Unknown { .. } => "unknown",
            Self::Expire { .. } => "expire",
            Self::Correct { .. } => "correct",
        }
    }

    /// Whether the reservation ends with it.
    pub const fn ends(&self) -> bool {
        match self {
            Self::Settle(_) | Self::Release { .. } | Self::Expire { .. } => true,
            Self::Reserve { .. }
            | Self::Extend { .. }
            | Self::Unknown { .. }
            | Self::Correct { .. } => false,
        }
    }

    pub(crate) fn movement(&self) -> Movement {
        let (held, spent) = match self {
            Self::Reserve { bound, .. } => (signed(*bound), 0),
            Self::Extend { by, .. } => (signed(*by), 0),
            Self::Settle(it) => (-signed(it.held), signed(it.cost)),
            Self::Release { held, .. } => (-signed(*held), 0),
            Self::Unknown { .. } => (0, 0),
            Self::Expire { held } => (-signed(*held), signed(*held)),
            Self::Correct { from, to, .. } => (0, signed(*to) - signed(*from)),
        };
        Movement { held, spent }
    }
}

impl CallEntry {
    /// The entry as double entry: for every level of the path what leaves and what enters its
    /// accounts. Each level's postings sum to zero, since what is neither held nor spent is
    /// available.
    pub fn postings(&self) -> Vec<Posting> {
        let Movement { held, spent } = self.event.movement();
        let moved = [
            (Account::Available, -(held + spent)),
            (Account::Held, held),
            (Account::Spent, spent),
        ];
        let of = |level| {
            let changed = moved.into_iter().filter(|(_, nanos)| *nanos != 0);
            changed.map(move |(account, nanos)| Posting {
                level,
                account,
                nanos,
            })
        };
        self.path.kinds().into_iter().flat_map(of).collect()
    }
}

fn signed(amount: NanoUsd) -> i128 {
    i128::from(amount.0)
}

#[cfg(test)]
mod tests;
