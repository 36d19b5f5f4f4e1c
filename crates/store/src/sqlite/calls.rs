//! Records of calls in a file of their own: telemetry, that may be lost with the last second.

use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension as _, ToSql, TransactionBehavior, params};
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

/// Records that are kept; the oldest go first. About 1 KiB each: half a gigabyte.
pub const CALLS_MAX: u64 = 500_000;

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
    /// At least as many as there are; `None` until they are counted.
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

    fn append(&self, records: &[CallRecord]) -> Result<(), StoreError> {
        self.file.write(|path, writer| {
            let written = write(&mut writer.connection, records, &self.kept);
            written.map_err(|it| failure::of_sqlite(path, it))
        })
    }
}

impl CallStore for SqliteStore {
    fn append(&self, records: &[CallRecord]) -> Result<(), RecordStoreError> {
        let written = self.calls.append(records);
        written.map_err(|it| failure::of_records("records of calls could not be written", it))
    }

    fn get(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError> {
        let found = self.calls.file.look(|it| {
            let mut query = it.prepare_cached("SELECT record FROM calls WHERE id = ?1")?;
            let found = query.query_row([id.raw().cast_signed()], |it| columns::json(it, 0));
            found.optional()
        });
        found.map_err(|it| failure::of_records("the record of a call could not be read", it))
    }

    fn list(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError> {
        let found = self.calls.file.look(|it| list(it, filter));
        found.map_err(|it| failure::of_records("records of calls could not be read", it))
    }
}

fn write(connection: &mut Connection, records: &[CallRecord], kept: &Kept) -> rusqlite::Result<()> {
    // A commit survives a killed process, and is synced with the next checkpoint.
    connection.execute_batch("PRAGMA synchronous = NORMAL")?;
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for record in records {
        let mut put = change.prepare_cached(
            "INSERT OR REPLACE INTO calls
             (id, at, organisation, user, session, task, root_task, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )?;
        put.execute(params![
            record.id.raw().cast_signed(),
            record.at.0.cast_signed(),
            record.organisation,
            record.user,
            record.session,
            record.task,
            record.root_task,
            columns::to_json(record)?,
        ])?;
    }
    kept.prune(&change, records.len())?;
    change.commit()
}

impl Kept {
    /// Deletes the oldest records where there are too many by a hundredth: rarely, and many at
    /// once. If the transaction fails, the count is too high, which costs one more counting.
    fn prune(&self, change: &Connection, added: usize) -> rusqlite::Result<()> {
        let counted = || change.query_row("SELECT count(*) FROM calls", [], |it| unsigned(it, 0));
        let mut count = self.count.lock();
        let mut now = match *count {
            Some(before) => before + added as u64,
            None => counted()?,
        };
        if now > self.most + self.most / 100 {
            // Records that replaced others were counted twice.
            let there = counted()?;
            let surplus = there.saturating_sub(self.most);
            change.execute(
                "DELETE FROM calls WHERE id IN (SELECT id FROM calls ORDER BY id LIMIT ?1)",
                [surplus.cast_signed()],
            )?;
            now = there - surplus;
        }
        *count = Some(now);
        Ok(())
    }
}

fn list(connection: &Connection, filter: &CallFilter) -> rusqlite::Result<Vec<CallRecord>> {
    let since = filter.since.map(|it| it.0.cast_signed());
    let before = filter.before.map(|it| it.raw().cast_signed());
    let page = i64::try_from(filter.page()).unwrap_or(i64::MAX);
    let given: [(&str, &str, Option<&dyn ToSql>); 6] = [
        (
            ":organisation",
            "organisation = :organisation",
            optional(filter.organisation.as_ref()),
        ),
        (":user", "user = :user", optional(filter.user.as_ref())),
        (
            ":task",
            "(task = :task OR root_task = :task)",
            optional(filter.task.as_ref()),
        ),
        (
            ":session",
            "session = :session",
            optional(filter.session.as_ref()),
        ),
        (":since", "at >= :since", optional(since.as_ref())),
        (":before", "id < :before", optional(before.as_ref())),
    ];
    let mut sql = String::from("SELECT record FROM calls WHERE TRUE");
    let mut values: Vec<(&str, &dyn ToSql)> = vec![(":page", &page)];
    for (name, condition, value) in given {
        if let Some(value) = value {
            sql.push_str(" AND ");
            sql.push_str(condition);
            values.push((name, value));
        }
    }
    sql.push_str(" ORDER BY id DESC LIMIT :page");
    let mut query = connection.prepare_cached(&sql)?;
    query
        .query_map(&*values, |it| columns::json(it, 0))?
        .collect()
}

fn optional<T: ToSql>(value: Option<&T>) -> Option<&dyn ToSql> {
    value.map(|it| -> &dyn ToSql { it })
}
