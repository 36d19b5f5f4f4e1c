//! SQLite: the ledger, keys, changes and settings in `state.db`.
//!
//! One writer connection, whose transactions are durable before they are acknowledged; readers beside
//! it that see the last commit (WAL).

mod calls;
mod columns;
mod keys;
mod ledger;
mod schema;

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::Connection;
use tidegate_ledger::StoreError;

use crate::{failure, lock::DirectoryLock, reserve::Reserve};

pub use self::calls::OldCalls;
use self::{ledger::LedgerWriter, schema::STATE};

/// Idle connections that are kept for readers: as many as read at once in practice; each has a
/// cache of a quarter MiB.
const READERS_IDLE_MAX: usize = 2;

/// Prepared statements that a connection keeps: all that this crate has.
const STATEMENTS_MAX: usize = 32;

/// A data directory. Entries, keys and changes are durable when a call returns; settings survive a
/// killed process, and a power cut may take the last of them.
#[derive(Debug)]
pub struct SqliteStore {
    state: Database,
    /// Held for as long as the store is; absent for a reader.
    _lock: Option<DirectoryLock>,
}

impl SqliteStore {
    /// Opens a directory that is locked for this process, makes what is missing, and brings an
    /// older schema up to date.
    pub fn open(lock: DirectoryLock) -> Result<Self, StoreError> {
        let directory = lock.directory().to_owned();
        Ok(Self {
            state: Database {
                reserve: Some(Reserve::keep(&directory)),
                ..Database::open(directory.join("state.db"), &STATE)?
            },
            _lock: Some(lock),
        })
    }

    /// Opens a directory for reading, whoever has it: to list, export and verify. Everything that
    /// would write is [`StoreError::ReadOnly`].
    pub fn read(directory: &Path) -> Result<Self, StoreError> {
        Ok(Self {
            state: Database::read(directory.join("state.db"))?,
            _lock: None,
        })
    }
}

/// One file: a connection that writes, and some that read.
#[derive(Debug)]
struct Database {
    path: PathBuf,
    /// Closed before the writer: the last connection tidies the file up, which one for reading can't.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Option<Writer>>,
    /// Room that is given back when there is none left to write in.
    reserve: Option<Reserve>,
}

/// The connection that writes, and what it knows of the ledger without asking.
#[derive(Debug)]
struct Writer {
    connection: Connection,
    ledger: LedgerWriter,
}

impl Database {
    fn open(path: PathBuf, schema: &schema::Schema) -> Result<Self, StoreError> {
        // Made before SQLite makes it, so that it is private from its first byte on.
        let made = crate::lock::private().open(&path);
        made.map_err(|it| failure::of_io(&path, it))?;
        let mut connection = connect(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        schema::prepare(&path, &mut connection, schema)?;
        Ok(Self {
            path,
            writer: Mutex::new(Some(Writer {
                connection,
                ledger: LedgerWriter::default(),
            })),
            readers: Mutex::new(Vec::new()),
            reserve: None,
        })
    }

    fn read(path: PathBuf) -> Result<Self, StoreError> {
        let reader = connect(&path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Self {
            path,
            writer: Mutex::new(None),
            readers: Mutex::new(vec![reader]),
            reserve: None,
        })
    }

    /// Lends the writer. Where the disk is full, the reserve is given back.
    fn write<T>(
        &self,
        work: impl FnOnce(&Path, &mut Writer) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = self.writer.lock();
        let Some(writer) = writer.as_mut() else {
            return Err(StoreError::ReadOnly {
                path: self.path.clone(),
                source: "it was opened for reading".into(),
            });
        };
        let done = work(&self.path, writer);
        if matches!(done, Err(StoreError::Full { .. }))
            && let Some(reserve) = &self.reserve
        {
            // Whoever writes tries again, and then there is room.
            reserve.give();
        }
        done
    }

    /// Gives back what connections keep of pages, unless somebody is at work with them.
    fn rest(&self) {
        if let Some(mut writer) = self.writer.try_lock()
            && let Some(writer) = writer.as_mut()
        {
            shrink(&writer.connection);
        }
        if let Some(readers) = self.readers.try_lock() {
            readers.iter().for_each(shrink);
        }
    }

    /// Lends a reader. All that it reads in `work` is as it was at one moment.
    fn look<T>(
        &self,
        work: impl FnOnce(&rusqlite::Transaction<'_>) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        let idle = self.readers.lock().pop();
        let mut reader = match idle {
            Some(idle) => idle,
            None => connect(&self.path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        let found = reader.transaction().and_then(|it| work(&it));
        let found = found.map_err(|it| failure::of_sqlite(&self.path, it));
        let mut idle = self.readers.lock();
        if found.is_ok() && idle.len() < READERS_IDLE_MAX {
            idle.push(reader);
        }
        found
    }
}

fn connect(path: &Path, flags: rusqlite::OpenFlags) -> Result<Connection, StoreError> {
    let flags = flags | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        // `FULL` makes a commit durable; a foreign process that reads may delay us this long.
        connection.execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;
             PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(connection)
    });
    opened.map_err(|it| failure::of_sqlite(path, it))
}

/// Where that fails, nothing is given back, and nothing is lost.
fn shrink(connection: &Connection) {
    let _shrunk = connection.execute_batch("PRAGMA shrink_memory");
}

#[cfg(test)]
mod tests;
