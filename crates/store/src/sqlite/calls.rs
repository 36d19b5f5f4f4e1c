//! Records of calls in a file of their own: telemetry, that may be lost with the last second.
//!
//! They are written in blocks of what ended within a moment of each other, compressed together: a
//! record then costs a few dozen bytes of the file instead of a thousand. What a block is found by
//! stands beside it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use rusqlite::{Connection, ToSql, TransactionBehavior, params, types::Type};
use tidegate_ledger::StoreError;
use tidegate_observe::{
    RecordStoreError,
    calls::{CallFilter, CallRecord, CallStore},
};
use tidegate_types::CallId;

use super::{
    Database, SqliteStore,
    columns::{self, unsigned},
};
use crate::failure;

/// Records that are kept; the oldest go first. About 100 bytes each: fifty megabytes.
pub const CALLS_MAX: u64 = 500_000;

/// Records in one block. More would save nothing, and a block is read whole.
const BLOCK_MAX: usize = 256;

/// `calls.db`.
#[derive(Debug)]
pub(super) struct CallFile {
    file: Database,
    kept: Kept,
}

/// Bounds the number of records without counting them at each commit.
#[derive(Debug)]
struct Kept {
    most: u64,
    /// How many there are; `None` until they are counted.
    count: Mutex<Option<u64>>,
}

impl CallFile {
    pub(super) fn new(file: Database) -> Self {
        let count = Mutex::new(None);
        let kept = Kept {
            most: CALLS_MAX,
            count,
        };
        Self { file, kept }
    }

    #[cfg(test)]
    pub(super) fn keep(&mut self, most: u64) {
        self.kept.most = most;
    }

    fn append(&self, records: &[Arc<CallRecord>]) -> Result<(), StoreError> {
        if records.is_empty() {
            return Ok(());
        }
        self.file.write(|path, writer| {
            let written = write(&mut writer.connection, records, &self.kept);
            written.map_err(|it| failure::of_sqlite(path, it))
        })
    }
}

impl CallStore for SqliteStore {
    fn append(&self, records: &[Arc<CallRecord>]) -> Result<(), RecordStoreError> {
        let written = self.calls.append(records);
        written.map_err(|it| failure::of_records("records of calls could not be written", it))
    }

    fn get(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError> {
        let found = self.calls.file.look(|it| get(it, id));
        found.map_err(|it| failure::of_records("the record of a call could not be read", it))
    }

    fn list(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError> {
        let found = self.calls.file.look(|it| list(it, filter));
        found.map_err(|it| failure::of_records("records of calls could not be read", it))
    }
}

fn write(
    connection: &mut Connection,
    records: &[Arc<CallRecord>],
    kept: &Kept,
) -> rusqlite::Result<()> {
    // A commit survives a killed process, and is synced with the next checkpoint.
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for block in records.chunks(BLOCK_MAX) {
        write_block(&change, block)?;
    }
    kept.prune(&change, records.len())?;
    change.commit()
}

/// Writes one block, which has at least one record, and what it is found by.
fn write_block(change: &Connection, records: &[Arc<CallRecord>]) -> rusqlite::Result<()> {
    let ids = || records.iter().map(|it| it.id.raw().cast_signed());
    let latest = records.iter().map(|it| it.at.0).max();
    let mut put = change.prepare_cached(
        "INSERT INTO blocks (calls, lowest, highest, latest, records) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    put.execute(params![
        i64::try_from(records.len()).unwrap_or(i64::MAX),
        ids().min(),
        ids().max(),
        latest.map(u64::cast_signed),
        pack(records)?,
    ])?;
    let block = change.last_insert_rowid();
    let names: HashSet<(&str, &str), RandomState> =
        records.iter().flat_map(|it| names(it)).collect();
    for (what, name) in names {
        let mut put =
            change.prepare_cached("INSERT INTO names (what, name, block) VALUES (?1, ?2, ?3)")?;
        put.execute(params![what, name, block])?;
    }
    Ok(())
}

/// What a record is looked for by, other than its id and time.
fn names(record: &CallRecord) -> impl Iterator<Item = (&'static str, &str)> {
    let names = [
        ("organisation", Some(&record.organisation)),
        ("user", Some(&record.user)),
        ("session", record.session.as_ref()),
        ("task", record.task.as_ref()),
        ("task", record.root_task.as_ref()),
    ];
    let named = names.into_iter();
    named.filter_map(|(what, name)| Some((what, &**name?)))
}

impl Kept {
    /// Deletes the oldest blocks where there are too many records by a hundredth: rarely, and many
    /// at once.
    fn prune(&self, change: &Connection, added: usize) -> rusqlite::Result<()> {
        let mut count = self.count.lock();
        let mut now = match *count {
            Some(before) => before + added as u64,
            None => change.query_row("SELECT coalesce(sum(calls), 0) FROM blocks", [], |it| {
                unsigned(it, 0)
            })?,
        };
        if now > self.most + self.most / 100 {
            now -= forget_oldest(change, now - self.most)?;
        }
        *count = Some(now);
        Ok(())
    }
}

/// Deletes the oldest blocks that have no more than `surplus` records together. Returns how many
/// those had.
fn forget_oldest(change: &Connection, surplus: u64) -> rusqlite::Result<u64> {
    let mut oldest = change.prepare_cached("SELECT id, calls FROM blocks ORDER BY id")?;
    let mut rows = oldest.query([])?;
    let (mut last, mut forgotten) = (None, 0);
    while let Some(row) = rows.next()? {
        let with_it = forgotten + unsigned(row, 1)?;
        if with_it > surplus {
            break;
        }
        (last, forgotten) = (Some(row.get::<_, i64>(0)?), with_it);
    }
    change.execute("DELETE FROM names WHERE block <= ?1", [last])?;
    change.execute("DELETE FROM blocks WHERE id <= ?1", [last])?;
    Ok(forgotten)
}

fn get(connection: &Connection, id: CallId) -> rusqlite::Result<Option<CallRecord>> {
    // Ids rise with time, so the block whose highest id is next is most likely the one.
    let mut query = connection.prepare_cached(
        "SELECT records FROM blocks WHERE highest >= ?1 AND lowest <= ?1 ORDER BY highest",
    )?;
    let mut blocks = query.query([id.raw().cast_signed()])?;
    while let Some(block) = blocks.next()? {
        let found = unpack(block)?.into_iter().find(|it| it.id == id);
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn list(connection: &Connection, filter: &CallFilter) -> rusqlite::Result<Vec<CallRecord>> {
    let since = filter.since.map(|it| it.0.cast_signed());
    let before = filter.before.map(|it| it.raw().cast_signed());
    let (mut sql, values) = blocks_with(filter, since.as_ref(), before.as_ref());
    sql.push_str(" ORDER BY highest DESC");
    let mut query = connection.prepare_cached(&sql)?;
    let mut blocks = query.query(&*values)?;
    // Newest first. A record that was written twice, because it was not known whether it had been,
    // is one.
    let mut found: BTreeMap<Reverse<CallId>, CallRecord> = BTreeMap::new();
    while let Some(block) = blocks.next()? {
        let highest = CallId::from_raw(unsigned(block, 1)?);
        let enough = found.keys().nth(filter.page() - 1);
        if enough.is_some_and(|it| it.0 >= highest) {
            break; // every further block's ids are lower still
        }
        let matching = unpack(block)?.into_iter().filter(|it| filter.matches(it));
        found.extend(matching.map(|it| (Reverse(it.id), it)));
    }
    Ok(found.into_values().take(filter.page()).collect())
}

/// The query for the blocks in which what is looked for can be, and its parameters.
fn blocks_with<'a>(
    filter: &'a CallFilter,
    since: Option<&'a i64>,
    before: Option<&'a i64>,
) -> (String, Vec<(&'static str, &'a dyn ToSql)>) {
    let mut sql = String::from("SELECT records, highest FROM blocks WHERE TRUE");
    let mut values: Vec<(&str, &dyn ToSql)> = Vec::new();
    let names = [
        (
            ":organisation",
            "organisation",
            filter.organisation.as_ref(),
        ),
        (":user", "user", filter.user.as_ref()),
        (":task", "task", filter.task.as_ref()),
        (":session", "session", filter.session.as_ref()),
    ];
    for (parameter, what, name) in names {
        if let Some(name) = name {
            sql.push_str(" AND id IN (SELECT block FROM names WHERE what = '");
            sql.push_str(what);
            sql.push_str("' AND name = ");
            sql.push_str(parameter);
            sql.push(')');
            values.push((parameter, name));
        }
    }
    if let Some(since) = since {
        sql.push_str(" AND latest >= :since");
        values.push((":since", since));
    }
    if let Some(before) = before {
        sql.push_str(" AND lowest < :before");
        values.push((":before", before));
    }
    (sql, values)
}

fn pack(records: &[Arc<CallRecord>]) -> rusqlite::Result<Vec<u8>> {
    let mut plain = Vec::with_capacity(records.len() * 1024);
    let mut writer = rmp_serde::Serializer::new(&mut plain).with_struct_map();
    let written = serde::Serialize::serialize(records, &mut writer);
    written.map_err(|it| rusqlite::Error::ToSqlConversionFailure(it.into()))?;
    Ok(lz4_flex::compress_prepend_size(&plain))
}

fn unpack(block: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<CallRecord>> {
    let packed = block.get_ref(0)?.as_blob()?;
    let plain = lz4_flex::decompress_size_prepended(packed);
    let plain = plain.map_err(|it| columns::unreadable(0, Type::Blob, it))?;
    rmp_serde::from_slice(&plain).map_err(|it| columns::unreadable(0, Type::Blob, it))
}
