//! Backends for the ports that the domain crates declare: everything durable.
//!
//! [`MemoryStore`] is the reference that forgets; [`SqliteStore`] and [`FileJournal`] keep a data
//! directory, which one process at a time may have. Each backend passes the suites of `contract`.

#[cfg(test)]
mod contract;
mod failure;
mod journal;
mod lock;
mod memory;
mod reserve;
mod sqlite;
mod staging;

pub use journal::{FileJournal, SEGMENT_BYTES_MAX, journaled_entries};
pub use lock::DirectoryLock;
pub use memory::{MemoryJournal, MemoryStore};
pub use sqlite::{OldCalls, SqliteStore};
