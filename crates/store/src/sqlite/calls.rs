//! Records of calls as earlier versions kept them: in `calls.db`, in blocks of MessagePack. They are
//! read once, and moved to where records are kept now.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, types::Type};
use tidegate_ledger::StoreError;
use tidegate_observe::calls::CallRecord;

use super::{columns, connect};
use crate::failure;

/// What is left of it once its records are somewhere else, for whoever wants to be sure.
const MOVED: &str = "calls.db.moved";

/// `calls.db` of an earlier version.
#[derive(Debug)]
pub struct OldCalls {
    path: PathBuf,
    connection: Connection,
    /// The block that was read last.
    last: i64,
}

impl OldCalls {
    /// The file in this data directory; `None` where there is none.
    pub fn find(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join("calls.db");
        if !path.exists() {
            return Ok(None);
        }
        // Written only by recovery, where its log was left behind.
        let connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        let blocks = "SELECT count(*) FROM sqlite_master WHERE name = 'blocks'";
        let known = connection.query_row(blocks, [], |it| it.get::<_, i64>(0));
        if known.map_err(|it| failure::of_sqlite(&path, it))? == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            path,
            connection,
            last: i64::MIN,
        }))
    }

    /// The next block of records, in the order in which they were written: a few hundred. `None` at
    /// the end.
    pub fn next_block(&mut self) -> Result<Option<Vec<CallRecord>>, StoreError> {
        let found = self.read().optional();
        let found = found.map_err(|it| failure::of_sqlite(&self.path, it))?;
        Ok(found.map(|(id, records)| {
            self.last = id;
            records
        }))
    }

    fn read(&self) -> rusqlite::Result<(i64, Vec<CallRecord>)> {
        let next = "SELECT id, records FROM blocks WHERE id > ?1 ORDER BY id LIMIT 1";
        self.connection
            .prepare_cached(next)?
            .query_row([self.last], |row| Ok((row.get(0)?, unpack(row)?)))
    }

    /// Its records are kept elsewhere: it is given another name, and not read again.
    pub fn moved(self) -> Result<(), StoreError> {
        let Self {
            path, connection, ..
        } = self;
        let closed = connection.close();
        closed.map_err(|(_, it)| failure::of_sqlite(&path, it))?;
        let to = path.with_file_name(MOVED);
        fs::rename(&path, to).map_err(|it| failure::of_io(&path, it))
    }
}

fn unpack(row: &rusqlite::Row<'_>) -> rusqlite::Result<Vec<CallRecord>> {
    let packed = row.get_ref(1)?.as_blob()?;
    let plain = lz4_flex::decompress_size_prepended(packed);
    let plain = plain.map_err(|it| columns::unreadable(1, Type::Blob, it))?;
    rmp_serde::from_slice(&plain).map_err(|it| columns::unreadable(1, Type::Blob, it))
}
