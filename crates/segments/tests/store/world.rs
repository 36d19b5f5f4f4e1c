//! A store in a directory of its own, a clock that is set by hand, and records.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidegate_observe::telemetry::{Batch, Filter, Kind, Row, logs};
use tidegate_segments::{
    Acknowledged, BodyHash, Options, Query, Recovery, Segments, SegmentsError, Tended,
};
use tidegate_types::{Clock, Monotonic, Timestamp};

/// 2026-07-14 10:00 UTC.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_784_023_200);

/// A clock that stands until it is moved.
#[derive(Debug)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn at(now: Timestamp) -> Self {
        Self(AtomicU64::new(now.0))
    }

    pub(crate) fn forward(&self, by: Duration) {
        let nanos = u64::try_from(by.as_nanos()).unwrap();
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.0.load(Ordering::Relaxed))
    }
}

pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) options: Options,
    /// Absent only while it is opened anew.
    store: Option<Segments>,
    pub(crate) recovery: Recovery,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Options::default())
    }

    pub(crate) fn with(options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(HandClock(AtomicU64::new(NOW.0)));
        let mut world = Self {
            directory,
            clock,
            options,
            store: None,
            recovery: Recovery::default(),
        };
        world.reopen();
        world
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(&mut self) {
        self.try_reopen().unwrap();
    }

    pub(crate) fn try_reopen(&mut self) -> Result<(), SegmentsError> {
        self.close();
        let opened = Segments::open(self.directory.path(), self.options, self.clock.clone());
        let (store, recovery) = opened?;
        self.store = Some(store);
        self.recovery = recovery;
        Ok(())
    }

    pub(crate) fn close(&mut self) {
        self.store = None;
    }

    pub(crate) fn store(&self) -> &Segments {
        self.store.as_ref().unwrap()
    }

    /// The only file of the parts whose name ends so.
    pub(crate) fn file(&self, end: &str) -> std::path::PathBuf {
        let parts = std::fs::read_dir(self.directory.path().join("parts")).unwrap();
        let paths = parts.map(|it| it.unwrap().path());
        let mut found: Vec<_> = paths
            .filter(|it| it.to_string_lossy().ends_with(end))
            .collect();
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    /// What is found, and what could not be read.
    pub(crate) fn look(&self, filter: &str) -> (Vec<String>, Vec<String>) {
        let filter = Filter::parse(Kind::Logs, filter).unwrap();
        let mut rows = self.store().rows(Query::latest(filter, usize::MAX));
        let bodies = rows.by_ref().map(|it| body(&it.unwrap())).collect();
        let directory = self.directory.path().display().to_string();
        let damaged = rows.damaged().iter().map(|it| it.replace(&directory, "…"));
        (bodies, damaged.collect())
    }

    pub(crate) fn append(&self, batch: Batch) -> Acknowledged {
        self.store().append(batch, None).unwrap().wait().unwrap()
    }

    pub(crate) fn append_once(&self, batch: Batch, body: &[u8]) -> Acknowledged {
        let receipt = self.store().append(batch, Some(BodyHash::of(body)));
        receipt.unwrap().wait().unwrap()
    }

    /// Seals everything, and finds nothing wrong.
    pub(crate) fn seal(&self) -> Tended {
        sound(self.store().seal_all())
    }

    pub(crate) fn tend(&self) -> Tended {
        sound(self.store().tend())
    }

    pub(crate) fn rows(&self, query: Query) -> Vec<Row> {
        let mut rows = self.store().rows(query);
        let found: Result<Vec<Row>, _> = rows.by_ref().collect();
        let found = found.unwrap();
        assert_eq!(rows.damaged(), [""; 0]);
        found
    }

    /// The bodies of all logs that a filter chooses, newest first.
    pub(crate) fn bodies(&self, filter: &str) -> Vec<String> {
        let filter = Filter::parse(Kind::Logs, filter).unwrap();
        let rows = self.rows(Query::latest(filter, usize::MAX));
        rows.iter().map(body).collect()
    }
}

fn sound(tended: Tended) -> Tended {
    assert!(tended.failed.is_empty(), "{:?}", tended.failed);
    assert!(tended.damaged.is_empty(), "{:?}", tended.damaged);
    tended
}

pub(crate) fn body(row: &Row) -> String {
    row.text(logs::BODY).unwrap_or_default().to_owned()
}

/// Logs with these bodies, a second after each other.
pub(crate) fn logs(from: Timestamp, bodies: &[&str]) -> Batch {
    let mut batch = Batch::new(Kind::Logs);
    for (at, body) in bodies.iter().enumerate() {
        let at = from.after(Duration::from_secs(at as u64));
        batch
            .row(at)
            .text(logs::LEVEL, "INFO")
            .text(logs::BODY, body);
    }
    batch
}

/// All bytes that files of a directory take.
pub(crate) fn disk(directory: &Path) -> u64 {
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        // SQLite's shared memory is no data: it is made anew whenever it is missing.
        if entry.file_name().to_string_lossy().ends_with("-shm") {
            continue;
        }
        let metadata = entry.metadata().unwrap();
        bytes += if metadata.is_dir() {
            disk(&entry.path())
        } else {
            metadata.len()
        };
    }
    bytes
}
