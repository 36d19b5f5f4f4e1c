//! Where log records go, and what stands on each of them.

use std::sync::{
    Arc, LazyLock,
    atomic::{AtomicU64, Ordering},
};

use tidegate_observe::{
    event::Stamp,
    record::{Level, LogId, LogRecord, Origin},
    tasks::TaskRecord,
};
use tidegate_types::Timestamp;

/// Takes log records. Never blocks a call: what can't be taken is dropped, and counted.
pub trait RecordSink: Send + Sync + std::fmt::Debug {
    /// Whether records of this level are wanted at all.
    fn wants(&self, level: Level) -> bool;
    /// Takes one.
    fn write(&self, record: LogRecord);

    /// Takes what became of tasks, without secrets.
    fn tasks(&self, _turned: &[TaskRecord]) {}
}

/// Wants nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoRecords;

impl RecordSink for NoRecords {
    fn wants(&self, _level: Level) -> bool {
        false
    }

    fn write(&self, _record: LogRecord) {}
}

static NEXT: AtomicU64 = AtomicU64::new(0);

/// A stamp for one record.
pub(crate) fn stamp(at: Timestamp) -> Stamp {
    static ORIGIN: LazyLock<Arc<Origin>> = LazyLock::new(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Arc::new(Origin {
            host: host.trim().to_owned(),
            process: std::process::id(),
            thread: "main".into(),
            version: env!("CARGO_PKG_VERSION").into(),
        })
    });
    let count = NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
    Stamp {
        at,
        id: LogId::from_raw((at.0 / 1_000_000) << 20 | count),
        origin: Arc::clone(&ORIGIN),
    }
}
