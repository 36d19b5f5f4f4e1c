//! What happened: records of calls, changes and events, instruments, and the removal of secrets.
//!
//! Pure: nothing here does IO, reads a clock or draws random bits. Where a record must be kept,
//! the port that keeps it ([`calls::CallStore`], [`audit::AuditStore`]) stands beside it.

pub mod audit;
pub mod calls;
pub mod event;
pub mod metrics;
pub mod notice;
pub mod overspend;
pub mod record;
pub mod redact;
pub mod tasks;
pub mod telemetry;
pub mod trace;

use std::{error::Error, fmt};

use tidegate_types::Disposition;

/// Why a store could not keep or find records. The text names what was asked; the backend's own
/// reason is the `source()`.
#[derive(Debug)]
pub struct RecordStoreError {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl RecordStoreError {
    /// `what` failed, in lower case and without a full stop: `call records could not be written`.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            source: None,
        }
    }

    /// As [`Self::new`], with the backend's own reason.
    pub fn caused_by(
        what: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            what: what.into(),
            source: Some(source.into()),
        }
    }

    /// Nobody upstream can repair a store: a human must look at the disk or the database.
    pub const fn disposition(&self) -> Disposition {
        Disposition::Escalate
    }
}

impl fmt::Display for RecordStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for RecordStoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
            .as_deref()
            .map(|it| -> &(dyn Error + 'static) { it })
    }
}
