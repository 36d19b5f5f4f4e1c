//! What the system and SQLite say, as errors that name the file and the remedy.

use std::{
    error::Error,
    io::{self, ErrorKind},
    path::Path,
};

use rusqlite::ErrorCode;
use tidegate_ledger::StoreError;
use tidegate_observe::RecordStoreError;

/// An error of the file system on `path`. The source shows the system's error number.
pub(crate) fn of_io(path: &Path, error: io::Error) -> StoreError {
    let (path, kind) = (path.to_owned(), error.kind());
    let source: Box<dyn Error + Send + Sync> = Box::new(error);
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            StoreError::Full { path, source }
        }
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
            StoreError::ReadOnly { path, source }
        }
        _ => StoreError::Failed { path, source },
    }
}

/// An error of SQLite on the database at `path`.
pub(crate) fn of_sqlite(path: &Path, error: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full {
            path,
            source: Box::new(error),
        },
        Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
            StoreError::ReadOnly {
                path,
                source: Box::new(error),
            }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged {
            path,
            what: format!("{error}; restore it from a backup, or move it away to start anew"),
        },
        _ => StoreError::Failed {
            path,
            source: Box::new(error),
        },
    }
}

/// Something stored that cannot be read back.
pub(crate) fn damaged(path: &Path, what: impl std::fmt::Display) -> StoreError {
    StoreError::Damaged {
        path: path.to_owned(),
        what: format!("{what}; `tidegate ledger verify` says more"),
    }
}

/// As the ports of records want it.
pub(crate) fn of_records(what: &str, error: StoreError) -> RecordStoreError {
    RecordStoreError::caused_by(what, error)
}
