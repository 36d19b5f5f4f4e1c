//! The tables, and how an older file becomes a newer one.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};
use tidegate_ledger::StoreError;

use crate::failure;

/// The steps that lead to a file's schema. A file's `user_version` says how many it has taken:
/// steps are only ever added at the end, and none is changed once it was released.
#[derive(Debug)]
pub(super) struct Schema {
    /// Marks the file as ours, and of this kind: SQLite's `application_id`.
    application_id: i32,
    steps: &'static [&'static str],
}

/// `state.db`.
pub(super) const STATE: Schema = Schema {
    application_id: 0x5469_6401,
    steps: &[STATE_1],
};

/// Amounts and ids are unsigned 64-bit integers, stored as the signed ones of the same bits.
const STATE_1: &str = "
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    reservation INTEGER,
    ordinal INTEGER,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    chain BLOB NOT NULL,
    payload TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX entries_of_reservation ON entries (reservation, ordinal)
    WHERE reservation IS NOT NULL;
CREATE INDEX entries_rare ON entries (kind, seq) WHERE kind IN ('policy', 'expire');
CREATE TRIGGER entries_are_not_changed BEFORE UPDATE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_are_not_deleted BEFORE DELETE ON entries
    BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;

CREATE TABLE head (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    rows INTEGER NOT NULL,
    chain BLOB NOT NULL,
    latest INTEGER NOT NULL
) STRICT;
CREATE TABLE balances (
    kind TEXT NOT NULL,
    organisation TEXT NOT NULL,
    user TEXT NOT NULL,
    task TEXT NOT NULL,
    opens TEXT NOT NULL,
    spent INTEGER NOT NULL,
    held INTEGER NOT NULL,
    notional INTEGER NOT NULL,
    would_refuse INTEGER NOT NULL,
    PRIMARY KEY (kind, organisation, user, task, opens)
) STRICT, WITHOUT ROWID;
CREATE TABLE open_reservations (
    reservation INTEGER PRIMARY KEY,
    standing TEXT NOT NULL
) STRICT;
CREATE TABLE leases (
    level TEXT NOT NULL,
    holder TEXT NOT NULL,
    lease TEXT NOT NULL,
    PRIMARY KEY (level, holder)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    id INTEGER PRIMARY KEY,
    hash BLOB NOT NULL UNIQUE,
    revoked_at INTEGER,
    key TEXT NOT NULL
) STRICT;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY,
    at INTEGER NOT NULL,
    change TEXT NOT NULL
) STRICT;
CREATE TRIGGER changes_are_not_changed BEFORE UPDATE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER changes_are_not_deleted BEFORE DELETE ON audit
    BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
";

/// A page holds some ten rows. In half of it, as is usual, a row that is written under load has half as many to share
/// its page with, which is written twice, and into the log first: a sixth of the writer's time.
const PAGE_BYTES: u32 = 8 << 10;

/// Makes the file one of this schema, or says why it can't be.
pub(super) fn prepare(
    path: &Path,
    connection: &mut Connection,
    schema: &Schema,
) -> Result<(), StoreError> {
    let fail = |error| failure::of_sqlite(path, error);
    let pragma = |connection: &Connection, name: &str| {
        connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
    };
    let application_id = pragma(connection, "application_id").map_err(fail)?;
    let version = pragma(connection, "user_version").map_err(fail)?;
    let ours = application_id == i64::from(schema.application_id);
    if !ours && (application_id, version) != (0, 0) {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "it is another program's database; choose another data directory".to_owned(),
        });
    }
    let taken = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(steps) = schema.steps.get(taken..) else {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: format!(
                "its schema {version} is newer than this program's {}; update the program",
                schema.steps.len()
            ),
        });
    };
    migrate(connection, schema, steps).map_err(fail)
}

fn migrate(connection: &mut Connection, schema: &Schema, steps: &[&str]) -> rusqlite::Result<()> {
    // Of a file that is new: one that is not keeps its own.
    connection.pragma_update(None, "page_size", PAGE_BYTES)?;
    // Readers go on while we write, and a commit is one sync.
    connection.pragma_update(None, "journal_mode", "wal")?;
    if steps.is_empty() {
        return Ok(());
    }
    let change = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in steps {
        change.execute_batch(step)?;
    }
    change.pragma_update(None, "application_id", schema.application_id)?;
    let version = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
    change.pragma_update(None, "user_version", version)?;
    change.commit()
}
