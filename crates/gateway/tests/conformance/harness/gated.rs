//! A ledger that grants no lease while its gate is held, and the journal before it.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::{Mutex, MutexGuard};
use tidegate_ledger::{
    Balance, LedgerStore, LevelKey, Line, OpenReservation, Row, Seq, Snapshot, StoreError,
    leases::{Grant, Lease, LeaseAsk},
};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{ReservationId, Timestamp};

#[derive(Default)]
pub(crate) struct Gated {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) journal: Arc<MemoryJournal>,
    gate: Mutex<()>,
    asked: AtomicUsize,
}

impl Gated {
    /// Until it is dropped, whoever asks for a lease waits.
    pub(crate) fn close(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }

    /// How many leases were asked for.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl LedgerStore for Gated {
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        self.store.append_lines(lines)
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
        self.asked.fetch_add(1, Ordering::Relaxed);
        let _open = self.gate.lock();
        self.store.grant_leases(asks, now)
    }
    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.store.leases()
    }
    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError> {
        self.store.return_leases(holder, levels)
    }
}
