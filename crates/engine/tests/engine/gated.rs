//! A ledger in memory that can be held up.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use parking_lot::{Mutex, MutexGuard};
use tidegate_engine::writer::Stores;
use tidegate_ledger::{
    Balance, LedgerStore, LevelKey, Line, OpenReservation, Row, Seq, Snapshot, StoreError,
    leases::{Grant, Lease, LeaseAsk},
};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{ReservationId, Timestamp};

/// A ledger that takes and grants nothing while its gate is held, and can be made to refuse leases.
#[derive(Default)]
pub(crate) struct Gated {
    store: MemoryStore,
    gate: Mutex<()>,
    refuses_leases: AtomicBool,
    leases_asked: AtomicUsize,
    rested: AtomicUsize,
}

impl Gated {
    /// Until it is dropped, whoever writes or asks for a lease waits.
    pub(crate) fn close(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// How many leases were asked for.
    pub(crate) fn leases_asked(&self) -> usize {
        self.leases_asked.load(Ordering::Relaxed)
    }

    /// How often it was told that it may rest.
    pub(crate) fn rested(&self) -> usize {
        self.rested.load(Ordering::Relaxed)
    }

    pub(crate) fn refuse_leases(&self) {
        self.refuses_leases.store(true, Ordering::Relaxed);
    }

    /// With everything else in memory.
    pub(crate) fn stores(self: &Arc<Self>) -> Stores {
        let rest = Arc::new(MemoryStore::default());
        Stores {
            ledger: self.clone(),
            calls: rest.clone(),
            settings: rest,
            journal: Arc::new(MemoryJournal::default()),
        }
    }
}

impl LedgerStore for Gated {
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        let _open = self.gate.lock();
        self.store.append_lines(lines)
    }
    fn rest(&self) {
        self.rested.fetch_add(1, Ordering::Relaxed);
    }
    fn balance(&self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        self.store.balance(level)
    }
    fn balances(&self, organisation: Option<&str>) -> Result<Vec<(LevelKey, Balance)>, StoreError> {
        self.store.balances(organisation)
    }
    fn open_reservations(&self) -> Result<Vec<OpenReservation>, StoreError> {
        self.store.open_reservations()
    }
    fn rows(&self, from: Seq, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.rows(from, limit)
    }
    fn snapshot(&self, each: &mut dyn FnMut(Row)) -> Result<Snapshot, StoreError> {
        self.store.snapshot(each)
    }
    fn history(&self, reservation: ReservationId) -> Result<Vec<Row>, StoreError> {
        self.store.history(reservation)
    }
    fn uncorrected(&self, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.uncorrected(limit)
    }
    fn latest(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.latest()
    }
    fn grant_leases(&self, asks: Vec<LeaseAsk>, now: Timestamp) -> Result<Vec<Grant>, StoreError> {
        self.leases_asked.fetch_add(1, Ordering::Relaxed);
        let _open = self.gate.lock();
        if self.refuses_leases.load(Ordering::Relaxed) {
            return Err(StoreError::Failed {
                path: "/var/lib/tidegate/state.db".into(),
                source: "the disk is gone".into(),
            });
        }
        self.store.grant_leases(asks, now)
    }
    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.store.leases()
    }
    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError> {
        self.store.return_leases(holder, levels)
    }
}
