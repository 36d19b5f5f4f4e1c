//! Keys and the audit log in SQLite.

use rusqlite::params;
use tidegate_ledger::{
    StoreError,
    keys::{Key, KeyStore},
};
use tidegate_observe::{
    RecordStoreError,
    audit::{AuditRow, AuditStore},
};
use tidegate_types::{KeyId, Timestamp};

use super::{SqliteStore, columns};
use crate::failure;

impl KeyStore for SqliteStore {
    fn insert(&self, key: &Key) -> Result<(), StoreError> {
        self.state.write(|path, writer| {
            let inserted = columns::to_json(key).and_then(|text| {
                writer.connection.execute(
                    "INSERT INTO keys (id, hash, revoked_at, key) VALUES (?1, ?2, ?3, ?4)",
                    params![
                        key.id.raw().cast_signed(),
                        key.hash,
                        key.revoked_at.map(|it| it.0.cast_signed()),
                        text
                    ],
                )
            });
            inserted.map_err(|it| failure::of_sqlite(path, it))?;
            Ok(())
        })
    }

    fn revoke(&self, id: KeyId, at: Timestamp) -> Result<bool, StoreError> {
        self.state.write(|path, writer| {
            let revoked = writer.connection.execute(
                "UPDATE keys SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL",
                [id.raw().cast_signed(), at.0.cast_signed()],
            );
            Ok(revoked.map_err(|it| failure::of_sqlite(path, it))? > 0)
        })
    }

    fn list(&self) -> Result<Vec<Key>, StoreError> {
        self.state.look(|it| {
            let mut query = it.prepare_cached("SELECT key, revoked_at FROM keys ORDER BY id")?;
            let keys = query.query_map([], |row| {
                let revoked_at: Option<i64> = row.get(1)?;
                Ok(Key {
                    revoked_at: revoked_at.map(|it| Timestamp(it.cast_unsigned())),
                    ..columns::json(row, 0)?
                })
            })?;
            keys.collect()
        })
    }
}

impl AuditStore for SqliteStore {
    fn append(&self, row: &AuditRow) -> Result<(), RecordStoreError> {
        let written = self.state.write(|path, writer| {
            let written = columns::to_json(row).and_then(|text| {
                writer.connection.execute(
                    "INSERT INTO audit (at, change) VALUES (?1, ?2)",
                    params![row.at.0.cast_signed(), text],
                )
            });
            written.map_err(|it| failure::of_sqlite(path, it))
        });
        written.map_err(|it| failure::of_records("the change could not be recorded", it))?;
        Ok(())
    }

    fn list(&self, limit: usize) -> Result<Vec<AuditRow>, RecordStoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.state.look(|it| {
            let mut query =
                it.prepare_cached("SELECT change FROM audit ORDER BY seq DESC LIMIT ?1")?;
            query
                .query_map([limit], |it| columns::json(it, 0))?
                .collect()
        });
        found.map_err(|it| failure::of_records("changes could not be read", it))
    }
}
