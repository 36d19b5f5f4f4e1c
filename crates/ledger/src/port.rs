//! The ports through which the ledger is kept: implemented in `tidegate-store`.

use std::{error::Error, path::PathBuf};

use tidegate_types::{Disposition, ReservationId, Timestamp};

use crate::{
    Balance, ChainHash, Entry, LevelKey, Line, OpenReservation, Row, Seq,
    leases::{Grant, Lease, LeaseAsk},
};

/// Why something durable could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The disk, the quota or the database's size limit is reached. Nothing acknowledged is lost.
    #[error("`{}` cannot grow: the disk is full; free space there, and it goes on by itself", path.display())]
    Full {
        /// Which file.
        path: PathBuf,
        /// With the system's error number, where there is one.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The file or its directory may not be written.
    #[error("`{}` cannot be written: make it and its directory writable for this user", path.display())]
    ReadOnly {
        /// Which file.
        path: PathBuf,
        /// With the system's error number, where there is one.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another process uses the data directory.
    #[error("`{}` is in use by process {pid}, started {started}; stop it, or choose another data directory", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
        /// The other process, as it wrote it there; 0 if it had not yet.
        pid: u32,
        /// When it started, by its own clock.
        started: String,
    },
    /// What is stored is not what was written, or was written by a newer version.
    #[error("`{}` cannot be used: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it, and the remedy.
        what: String,
    },
    /// An entry that cannot follow those that are stored. Nothing of its batch was appended.
    #[error("entry {ordinal} of {reservation} cannot be appended: {what}")]
    Conflict {
        /// Whose entry.
        reservation: ReservationId,
        /// Which of its entries.
        ordinal: u32,
        /// What speaks against it.
        what: String,
    },
    /// Anything else the system or the database says.
    #[error("`{}` failed", path.display())]
    Failed {
        /// Which file.
        path: PathBuf,
        /// With the system's error number, where there is one.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

impl StoreError {
    /// What the caller should do. Exhaustive on purpose: a new variant must decide.
    pub const fn disposition(&self) -> Disposition {
        match self {
            // Space comes back without us, and people look at a disk that is full.
            Self::Full { .. } => Disposition::RetryAfter(std::time::Duration::from_secs(1)),
            Self::Conflict { .. } => Disposition::FixRequest,
            Self::ReadOnly { .. }
            | Self::InUse { .. }
            | Self::Damaged { .. }
            | Self::Failed { .. } => Disposition::Escalate,
        }
    }
}

/// Where the ledger is kept. Synchronous: called by the one writer, and at start-up.
pub trait LedgerStore: Send + Sync {
    /// Appends entries in order, all or none of them; durable when it returns.
    ///
    /// An entry that is already stored (same reservation and ordinal, same content; for limits:
    /// those in force) is passed over, so that a journal can be replayed. An entry that cannot
    /// follow (a second beginning or end, another amount than is held, a gap in the ordinals)
    /// is a [`StoreError::Conflict`].
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError>;

    /// The same, for entries that are not written down yet.
    fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let lines: Vec<Line> = entries.iter().cloned().map(Line::new).collect();
        self.append_lines(&lines)
    }

    /// Nothing was appended for a while: what is kept in memory only to be fast may go.
    fn rest(&self) {}

    /// What a level stands at; `None` if nothing was ever booked on it.
    fn balance(&self, level: &LevelKey) -> Result<Option<Balance>, StoreError>;

    /// What all levels of an organisation stand at, or of all organisations; in the keys' order.
    fn balances(&self, organisation: Option<&str>) -> Result<Vec<(LevelKey, Balance)>, StoreError>;

    /// The reservations that have not ended, oldest first: running ones, and unknown ones.
    fn open_reservations(&self) -> Result<Vec<OpenReservation>, StoreError>;

    /// At most `limit` rows from this place on, in order.
    fn rows(&self, from: Seq, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Gives all rows in order, and what is kept beside them, as they are at one moment.
    fn snapshot(&self, each: &mut dyn FnMut(Row)) -> Result<Snapshot, StoreError>;

    /// All rows of a reservation, in order.
    fn history(&self, reservation: ReservationId) -> Result<Vec<Row>, StoreError>;

    /// The rows with which reservations expired at their bound, where no correction followed;
    /// newest first.
    fn uncorrected(&self, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// The latest time of any entry: what the wall clock should not be before.
    fn latest(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Grants leases one after the other, or says what is left; durable when it returns. As many
    /// answers as were asked for, in their order; where it fails, nothing was granted.
    fn grant_leases(&self, asks: Vec<LeaseAsk>, now: Timestamp) -> Result<Vec<Grant>, StoreError>;

    /// All leases that were granted and not returned, expired ones too.
    fn leases(&self) -> Result<Vec<Lease>, StoreError>;

    /// Takes the leases of a holder on these levels back, all or none of them. Those that there are
    /// none of are passed over. Answers how many there were.
    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError>;
}

/// What is kept beside the rows, and must agree with them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// How many rows were appended.
    pub rows: Seq,
    /// The chain after the last one.
    pub head: ChainHash,
    /// All balances, in the keys' order.
    pub balances: Vec<(LevelKey, Balance)>,
}

/// Small values that must survive a restart and belong to no entry: levels of buckets, say.
pub trait SettingStore: Send + Sync {
    /// The value under a name.
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError>;

    /// The values under all names that begin like this and go on, with their names, in no order.
    fn settings_below(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError>;

    /// Sets values, all or none of them. A killed process doesn't lose them; a power cut may take
    /// the last ones, and leaves those before.
    fn set(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError>;

    /// Forgets values. Names that there are none of are no error.
    fn unset(&self, names: &[&str]) -> Result<(), StoreError>;
}
