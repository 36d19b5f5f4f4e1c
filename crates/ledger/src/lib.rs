//! Is there money for it; hold it, settle it exactly.
//!
//! [`Books`] decides in memory, in nanoseconds; [`Entry`]s say what was decided, for a
//! [`LedgerStore`] to keep; [`Fold`] and [`verify()`] recompute the books from the entries, for
//! start-up and for whoever doesn't believe us. Nothing here does IO or reads a clock.

mod books;
mod chain;
mod entry;
mod fold;
pub mod journal;
pub mod keys;
pub mod leases;
mod level;
mod line;
mod policy;
mod port;
mod standing;
mod verify;
mod window;

pub use books::{
    Books, ClearedMoney, Crossing, Foresight, Headroom, Hold, LevelView, Looked, MoneyAsk,
    MoneyCheck, Pace, Path, PathRoom, SettledMoney, Shortage, Spending, Told,
};
pub use chain::{CHAIN_START, ChainHash, Row, Seq, chain_after};
pub use entry::{
    Account, Asked, CallEntry, Derived, Entry, EntryPath, Event, LEVELS_MAX, PolicyEntry, Posting,
    Settlement,
};
pub use fold::{Balance, Defect, Fold, Overrun};
pub use level::{LevelKey, LevelKind, Levels, Service};
pub use line::Line;
pub use policy::{
    BudgetPolicy, Limit, LimitOf, LimitOverrides, LimitTable, Limits, OrganisationLimits,
    PolicyError,
};
pub use port::{LedgerStore, SettingStore, Snapshot, StoreError};
pub use standing::{Ended, OpenReservation, Standing};
pub use verify::{FINDINGS_MAX, Finding, Report, verify, verify_store};
pub use window::{Period, Window};
