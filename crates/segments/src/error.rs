//! What can go wrong, and what to do about it.

use std::{
    error::Error,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tidegate_types::Disposition;

type Source = Arc<dyn Error + Send + Sync>;

/// A file that can't be read or written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SegmentsError {
    /// There is no room.
    #[error("`{path}` can't be written, the disk is full; free some space")]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: Source,
    },
    /// It may not be written.
    #[error("`{path}` can't be written; allow it, or choose another data directory")]
    ReadOnly {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: Source,
    },
    /// It holds something else than it should.
    #[error("`{path}` is damaged: {what}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// Another process has the directory.
    #[error("`{path}` is in use by another process; stop it, or choose another data directory")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
    /// Something else.
    #[error("`{path}` can't be read or written")]
    Failed {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: Source,
    },
}

impl SegmentsError {
    /// Nobody upstream can repair a disk: a person must look at it.
    pub const fn disposition(&self) -> Disposition {
        Disposition::Escalate
    }

    pub(crate) fn io(path: &Path, error: io::Error) -> Self {
        let (path, kind) = (path.to_owned(), error.kind());
        let source: Source = Arc::new(error);
        match kind {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { path, source }
            }
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                Self::ReadOnly { path, source }
            }
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData => Self::Damaged {
                path,
                what: source.to_string(),
            },
            _ => Self::Failed { path, source },
        }
    }

    pub(crate) fn sqlite(path: &Path, error: rusqlite::Error) -> Self {
        use rusqlite::{Error, ErrorCode};

        // What was written is there, and is what was written.
        if let Error::QueryReturnedNoRows
        | Error::InvalidColumnType(..)
        | Error::IntegralValueOutOfRange(..)
        | Error::FromSqlConversionFailure(..)
        | Error::Utf8Error(..) = error
        {
            return Self::damaged(path, error);
        }
        // A wrong number in its header, for which there is no code of its own.
        if let Error::SqliteFailure(_, Some(words)) = &error
            && words == "unsupported file format"
        {
            return Self::damaged(path, words);
        }
        let (path, code) = (path.to_owned(), error.sqlite_error_code());
        let source: Source = Arc::new(error);
        match code {
            Some(ErrorCode::DiskFull) => Self::Full { path, source },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::ReadOnly { path, source }
            }
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Self::Damaged {
                path,
                what: source.to_string(),
            },
            _ => Self::Failed { path, source },
        }
    }

    pub(crate) fn parquet(path: &Path, error: parquet::errors::ParquetError) -> Self {
        use parquet::errors::ParquetError;

        match error {
            ParquetError::External(inner) => match inner.downcast::<io::Error>() {
                Ok(io) => Self::io(path, *io),
                Err(other) => Self::damaged(path, other),
            },
            other => Self::damaged(path, other),
        }
    }

    pub(crate) fn damaged(path: &Path, what: impl ToString) -> Self {
        Self::Damaged {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}

/// Why a batch was not taken. None of it is kept.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// There is too much to do, or too little room for more recent records.
    #[error("telemetry is not taken for now; send it again in {} s", .retry_after.as_secs())]
    Busy {
        /// When to send it again.
        retry_after: Duration,
    },
    /// It would never be taken.
    #[error("a batch of {bytes} bytes is larger than {most}; send it in smaller ones")]
    TooLarge {
        /// What it has.
        bytes: usize,
        /// What it may have.
        most: usize,
    },
    /// It could not be written.
    #[error("telemetry could not be written")]
    Unwritten(#[source] SegmentsError),
    /// The store is being closed.
    #[error("telemetry is not taken any more; the program is stopping")]
    Closed,
}

impl Refused {
    /// What the sender should do.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Busy { retry_after } => Disposition::RetryAfter(*retry_after),
            Self::TooLarge { .. } => Disposition::FixRequest,
            Self::Unwritten(_) => Disposition::Escalate,
            Self::Closed => Disposition::TryElsewhere,
        }
    }
}
