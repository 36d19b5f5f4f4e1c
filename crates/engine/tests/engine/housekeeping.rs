//! What is forgotten while the program runs, and what must not be yet.

use std::{sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};
use tidegate_engine::writer::Stores;
use tidegate_ledger::{
    Balance, Entry, LedgerStore, LevelKey, LevelKind, OpenReservation, Row, Seq, Snapshot,
    StoreError,
    leases::{Grant, Lease, LeaseAsk},
};
use tidegate_observe::calls::Outcome;
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{ReservationId, Timestamp};

use crate::harness::{ManualClock, World, answered, end, keyed, settings};

/// A ledger that takes nothing while its gate is held.
#[derive(Default)]
struct Gated {
    store: MemoryStore,
    gate: Mutex<()>,
}

impl Gated {
    fn close(&self) -> MutexGuard<'_, ()> {
        self.gate.lock()
    }
}

impl LedgerStore for Gated {
    fn append(&self, entries: &[Entry]) -> Result<(), StoreError> {
        let _open = self.gate.lock();
        self.store.append(entries)
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
    fn grant_lease(&self, ask: LeaseAsk, now: Timestamp) -> Result<Grant, StoreError> {
        self.store.grant_lease(ask, now)
    }
    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.store.leases()
    }
    fn return_lease(&self, level: &LevelKey, holder: &str) -> Result<bool, StoreError> {
        self.store.return_lease(level, holder)
    }
}

fn spent_on_the_task(world: &World) -> Option<String> {
    let mut levels = world.engine.levels(None).into_iter();
    let task = levels.find(|it| it.key.kind == LevelKind::Task)?;
    Some(task.spent.to_string())
}

/// Its balance would be read from a ledger that does not have its last entries.
#[test]
fn an_idle_task_is_not_forgotten_before_the_ledger_has_what_it_spent() {
    let ledger = Arc::new(Gated::default());
    let rest = Arc::new(MemoryStore::default());
    let stores = Stores {
        ledger: ledger.clone(),
        calls: rest.clone(),
        settings: rest,
        journal: Arc::new(MemoryJournal::default()),
    };
    let world = World::on(settings(|_| {}), stores, ManualClock::start());
    let call = world.send(&keyed("ada"), 1_000);
    world.engine.flush();
    world.engine.tidy();
    {
        let _closed = ledger.close();
        call.settle(end(Some(answered(12, 7)), Outcome::Answered));
        world.clock.advance(Duration::from_mins(61));
        for _round in 0..3 {
            world.engine.tidy();
            let spent = spent_on_the_task(&world);
            assert_eq!(spent.as_deref(), Some("$0.000188"));
        }
    }
    world.engine.flush();
    world.engine.tidy();
    world.engine.tidy();
    assert_eq!(spent_on_the_task(&world), None);
    let again = world.send(&keyed("ada"), 1_000);
    assert_eq!(spent_on_the_task(&world).as_deref(), Some("$0.000188"));
    again.settle(end(Some(answered(12, 7)), Outcome::Answered));
    world.engine.flush();
    world.assert_sound();
}
