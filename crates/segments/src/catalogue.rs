//! `telemetry.db`: blocks of recent records, the catalogue of parts, and hashes of batches.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior, params};
use tidegate_observe::telemetry::Kind;

use crate::{error::SegmentsError, files, limits::READERS_IDLE_MAX};

/// Marks the file as ours: SQLite's `application_id`.
const APPLICATION_ID: i32 = 0x5469_6403;

const VERSION: i64 = 2;

/// The filters of blocks of this version knew other hashes. What has the length of no filter
/// excludes nothing.
const OTHER_FILTERS: i64 = 1;

/// A number beyond is damage, and no format that is to come.
const VERSION_MAX: i64 = 1_000;

/// What is small comes before what is large: SQLite reads a row only as far as it must.
const SCHEMA: &str = "
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    taken_at INTEGER NOT NULL,
    plain_bytes INTEGER NOT NULL,
    counts BLOB NOT NULL,
    ids BLOB NOT NULL,
    words BLOB NOT NULL,
    records BLOB NOT NULL
) STRICT;
CREATE INDEX blocks_of_kind ON blocks (kind, id, rows, first, last, taken_at, plain_bytes);
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    kind INTEGER NOT NULL,
    level INTEGER NOT NULL
) STRICT;
CREATE TABLE batches (
    hash BLOB PRIMARY KEY,
    taken_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_time ON batches (taken_at);
";

/// A block that is to be written.
#[derive(Debug)]
pub(crate) struct NewBlock {
    pub(crate) kind: Kind,
    pub(crate) rows: usize,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) plain_bytes: usize,
    pub(crate) counts: Vec<u8>,
    pub(crate) ids: Vec<u8>,
    pub(crate) words: Vec<u8>,
    pub(crate) records: Vec<u8>,
}

/// What is known of a block without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockHead {
    pub(crate) id: i64,
    pub(crate) rows: usize,
    pub(crate) first: i64,
    pub(crate) last: i64,
    pub(crate) taken_at: i64,
    pub(crate) plain_bytes: u64,
}

/// A part as the catalogue has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PartRow {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) level: u8,
}

/// The database: one connection that writes, others that read the last commit.
#[derive(Debug)]
pub(crate) struct Catalogue {
    path: PathBuf,
    /// Closed before the writer, which tidies the file up.
    readers: Mutex<Vec<Connection>>,
    writer: Mutex<Connection>,
}

impl Catalogue {
    /// Opens the file or makes it. It and its log are bounded.
    pub(crate) fn open(
        path: PathBuf,
        bytes_max: u64,
        log_bytes: u64,
    ) -> Result<Self, SegmentsError> {
        if !path.exists() {
            files::create(&path)?;
            files::sync_directory(path.parent().unwrap_or(&path))?;
        }
        let mut writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let prepared = prepare(&path, &mut writer)?;
        let bounded = prepared.and_then(|()| bound(&writer, bytes_max, log_bytes));
        bounded.map_err(|it| SegmentsError::sqlite(&path, it))?;
        Ok(Self {
            path,
            readers: Mutex::new(Vec::new()),
            writer: Mutex::new(writer),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Changes something: all of it or, if `work` fails, nothing. Durable when this returns.
    pub(crate) fn change<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SegmentsError> {
        let mut writer = self.writer.lock();
        let change = writer.transaction_with_behavior(TransactionBehavior::Immediate);
        let done = change.and_then(|change| {
            let done = work(&change)?;
            change.commit()?;
            Ok(done)
        });
        done.map_err(|it| SegmentsError::sqlite(&self.path, it))
    }

    /// Looks something up with the connection that writes, which sees its own last commit.
    pub(crate) fn ask<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SegmentsError> {
        work(&self.writer.lock()).map_err(|it| SegmentsError::sqlite(&self.path, it))
    }

    /// A connection that sees the last commit until it is given back.
    pub(crate) fn reader(&self) -> Result<Connection, SegmentsError> {
        let idle = self.readers.lock().pop();
        let reader = match idle {
            Some(idle) => idle,
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?,
        };
        // The view is that of the first statement that reads.
        let begun = reader.execute_batch("BEGIN; SELECT count(*) FROM parts;");
        begun.map_err(|it| SegmentsError::sqlite(&self.path, it))?;
        Ok(reader)
    }

    /// Takes a reader back. One that fails to end its view is closed.
    pub(crate) fn give_back(&self, reader: Connection) {
        let ended = reader.execute_batch("ROLLBACK").is_ok();
        let mut idle = self.readers.lock();
        if ended && idle.len() < READERS_IDLE_MAX {
            idle.push(reader);
        }
    }

    /// Gives back what connections keep of pages, unless somebody is at work with them. Where that fails,
    /// nothing is lost.
    pub(crate) fn rest(&self) {
        let shrink = |it: &Connection| {
            let _shrunk = it.execute_batch("PRAGMA shrink_memory");
        };
        if let Some(writer) = self.writer.try_lock() {
            shrink(&writer);
        }
        if let Some(readers) = self.readers.try_lock() {
            readers.iter().for_each(shrink);
        }
    }

    /// Bytes that records take in the file, and bytes of the log beside it.
    pub(crate) fn used_bytes(&self) -> Result<(u64, u64), SegmentsError> {
        let used = self.ask(|it| {
            let pragma = |name| it.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            let pages = pragma("page_count")? - pragma("freelist_count")?;
            Ok(u64::try_from(pages * pragma("page_size")?).unwrap_or(0))
        })?;
        Ok((used, files::size(&log_of(&self.path))))
    }
}

/// SQLite's write-ahead log of a database.
pub(crate) fn log_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, SegmentsError> {
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let opened = Connection::open_with_flags(path, flags).and_then(|connection| {
        // `FULL` makes a commit durable.
        connection.execute_batch(
            "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;
             PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY;",
        )?;
        Ok(connection)
    });
    opened.map_err(|it| SegmentsError::sqlite(path, it))
}

/// Makes the tables unless they are there.
fn prepare(
    path: &Path,
    connection: &mut Connection,
) -> Result<rusqlite::Result<()>, SegmentsError> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let found = pragma("application_id").and_then(|id| Ok((id, pragma("user_version")?)));
    match found.map_err(|it| SegmentsError::sqlite(path, it))? {
        (0, 0) => Ok(make(connection)),
        (id, VERSION) if id == i64::from(APPLICATION_ID) => {
            Ok(check(connection).and_then(|()| check_tables(connection)))
        }
        (id, OTHER_FILTERS) if id == i64::from(APPLICATION_ID) => {
            Ok(check(connection).and_then(|()| forget_filters(connection)))
        }
        (id, version @ VERSION..=VERSION_MAX) if id == i64::from(APPLICATION_ID) => {
            Err(SegmentsError::Failed {
                path: path.to_owned(),
                source: std::sync::Arc::from(Box::<dyn std::error::Error + Send + Sync>::from(
                    format!(
                        "its schema {version} is newer than this program's {VERSION}; update the program"
                    ),
                )),
            })
        }
        _ => Err(SegmentsError::damaged(
            path,
            "it is another program's database, or the beginning of it is damaged",
        )),
    }
}

fn make(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute_batch(SCHEMA)?;
    change.pragma_update(None, "application_id", APPLICATION_ID)?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}

fn forget_filters(connection: &mut Connection) -> rusqlite::Result<()> {
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    change.execute_batch("UPDATE blocks SET ids = zeroblob(1), words = zeroblob(1)")?;
    change.pragma_update(None, "user_version", VERSION)?;
    change.commit()
}

/// Damage that can be seen quickly is found at the start, and not by a record that is lost.
fn check(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0))?;
    if found == "ok" {
        return Ok(());
    }
    Err(corrupt(found))
}

/// A byte of what describes the tables may be another, and that still be SQL.
fn check_tables(connection: &Connection) -> rusqlite::Result<()> {
    let tables = |of: &Connection| {
        let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name";
        let mut query = of.prepare(sql)?;
        let all: rusqlite::Result<Vec<String>> = query.query_map([], |row| row.get(0))?.collect();
        all
    };
    let ours = Connection::open_in_memory()?;
    ours.execute_batch(SCHEMA)?;
    if tables(connection)? == tables(&ours)? {
        return Ok(());
    }
    Err(corrupt(
        "its tables are not those it was made with".to_owned(),
    ))
}

fn corrupt(what: String) -> rusqlite::Error {
    let corrupt = rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_CORRUPT);
    rusqlite::Error::SqliteFailure(corrupt, Some(what))
}

/// Bounds the file. Its log is emptied when it has a quarter of what it may have, 4 MiB at most, and
/// shrinks to that again after readers let it grow.
fn bound(connection: &Connection, bytes_max: u64, log_bytes: u64) -> rusqlite::Result<()> {
    let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
    let page = u64::try_from(page).unwrap_or(4096);
    let log = (log_bytes / 4).min(4 << 20);
    let pragmas = [
        ("max_page_count", bytes_max / page.max(1)),
        ("wal_autocheckpoint", log / page.max(1)),
        ("journal_size_limit", log),
    ];
    for (name, value) in pragmas {
        connection.query_row(&format!("PRAGMA {name} = {value}"), [], |_| Ok(()))?;
    }
    Ok(())
}

/// Puts a block in, under the id of its first record.
pub(crate) fn put_block(
    to: &Connection,
    id: i64,
    block: &NewBlock,
    now: i64,
) -> rusqlite::Result<()> {
    let mut put = to.prepare_cached(
        "INSERT INTO blocks (id, kind, rows, first, last, taken_at, plain_bytes, counts, ids, words, records)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    put.execute(params![
        id,
        block.kind.code(),
        signed(block.rows),
        block.first,
        block.last,
        now,
        signed(block.plain_bytes),
        block.counts,
        block.ids,
        block.words,
        block.records,
    ])?;
    Ok(())
}

/// The highest id that a block ever had.
pub(crate) fn last_block(from: &Connection) -> rusqlite::Result<i64> {
    let mut query = from.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'blocks'")?;
    Ok(query
        .query_row([], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// The blocks of a kind, oldest first.
pub(crate) fn blocks(from: &Connection, kind: Kind) -> rusqlite::Result<Vec<BlockHead>> {
    let mut query = from.prepare_cached(
        "SELECT id, rows, first, last, taken_at, plain_bytes FROM blocks WHERE kind = ?1 ORDER BY id",
    )?;
    let heads = query.query_map([kind.code()], |row| {
        Ok(BlockHead {
            id: row.get(0)?,
            rows: usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0),
            first: row.get(2)?,
            last: row.get(3)?,
            taken_at: row.get(4)?,
            plain_bytes: u64::try_from(row.get::<_, i64>(5)?).unwrap_or(0),
        })
    })?;
    heads.collect()
}

/// The filters of a block.
pub(crate) fn filters(from: &Connection, block: i64) -> rusqlite::Result<(Vec<u8>, Vec<u8>)> {
    let mut query = from.prepare_cached("SELECT ids, words FROM blocks WHERE id = ?1")?;
    query.query_row([block], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// What is counted of a block.
pub(crate) fn counts(from: &Connection, block: i64) -> rusqlite::Result<Vec<u8>> {
    let mut query = from.prepare_cached("SELECT counts FROM blocks WHERE id = ?1")?;
    query.query_row([block], |row| row.get(0))
}

/// The records of a block, compressed.
pub(crate) fn records(from: &Connection, block: i64) -> rusqlite::Result<Vec<u8>> {
    let mut query = from.prepare_cached("SELECT records FROM blocks WHERE id = ?1")?;
    query.query_row([block], |row| row.get(0))
}

pub(crate) fn drop_block(from: &Connection, block: i64) -> rusqlite::Result<()> {
    let mut drop = from.prepare_cached("DELETE FROM blocks WHERE id = ?1")?;
    drop.execute([block])?;
    Ok(())
}

/// All parts. Rows of kinds that this program does not know are left alone.
pub(crate) fn parts(from: &Connection) -> rusqlite::Result<Vec<PartRow>> {
    let mut query = from.prepare_cached("SELECT id, kind, level FROM parts ORDER BY id")?;
    let rows = query.query_map([], |row| {
        let kind = Kind::from_code(row.get(1)?);
        let (id, level) = (row.get::<_, i64>(0)?, row.get(2)?);
        Ok(kind.map(|kind| PartRow {
            id: id.cast_unsigned(),
            kind,
            level,
        }))
    })?;
    rows.filter_map(Result::transpose).collect()
}

pub(crate) fn put_part(to: &Connection, part: PartRow) -> rusqlite::Result<()> {
    let mut put = to.prepare_cached("INSERT INTO parts (id, kind, level) VALUES (?1, ?2, ?3)")?;
    put.execute(params![part.id.cast_signed(), part.kind.code(), part.level])?;
    Ok(())
}

pub(crate) fn drop_part(from: &Connection, id: u64) -> rusqlite::Result<()> {
    let mut drop = from.prepare_cached("DELETE FROM parts WHERE id = ?1")?;
    drop.execute([id.cast_signed()])?;
    Ok(())
}

/// Whether a batch with this hash was taken since `since`.
pub(crate) fn knows_hash(from: &Connection, hash: &[u8], since: i64) -> rusqlite::Result<bool> {
    let mut query = from.prepare_cached("SELECT taken_at >= ?2 FROM batches WHERE hash = ?1")?;
    let found = query.query_row(params![hash, since], |row| row.get(0));
    Ok(found.optional()?.unwrap_or(false))
}

pub(crate) fn put_hash(to: &Connection, hash: &[u8], now: i64) -> rusqlite::Result<()> {
    let mut put =
        to.prepare_cached("INSERT OR REPLACE INTO batches (hash, taken_at) VALUES (?1, ?2)")?;
    put.execute(params![hash, now])?;
    Ok(())
}

pub(crate) fn forget_hashes(from: &Connection, before: i64) -> rusqlite::Result<()> {
    let mut drop = from.prepare_cached("DELETE FROM batches WHERE taken_at < ?1")?;
    drop.execute([before])?;
    Ok(())
}

fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
