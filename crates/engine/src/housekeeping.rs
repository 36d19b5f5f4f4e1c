//! What is done beside the calls: reloading, flushing, forgetting, reading back.

use std::{sync::Arc, time::Duration};

use tidegate_ledger::{LedgerStore, StoreError};
use tidegate_observe::{
    RecordStoreError,
    audit::{Action, Actor},
    calls::{CallFilter, CallRecord},
    event,
};
use tidegate_providers::prices::PriceBook;
use tidegate_types::{CallId, Role, Timestamp};

use crate::{Engine, keys::Change, settings::Settings, writer::Health};

/// Tasks that nothing was spent on for this long are forgotten, and read back when they come again.
const TASK_IDLE: Duration = Duration::from_hours(1);

impl Engine {
    /// Puts another configuration in force, without dropping a call. `changed` says in words what
    /// is new, for the record.
    pub fn reload(&self, settings: Settings, prices: PriceBook, by: Actor, changed: &str) {
        let budgets = Arc::clone(&settings.budgets);
        self.put_pools(&settings);
        self.settings.store(Arc::new(settings));
        self.prices.store(Arc::new(prices));
        self.put_budgets(&budgets);
        self.put_quotas();
        self.report(&event::ConfigReloaded {
            by: by.clone(),
            changed,
        });
        self.audit(Change {
            who: by,
            role: Role::Operator,
            organisation: None,
            action: Action::ConfigReloaded,
            object: "configuration".to_owned(),
            before: None,
            after: Some(changed.to_owned()),
        });
    }

    /// To be called about once a second: settles what nobody settled in time, and forgets what
    /// nobody uses.
    pub fn tidy(&self) {
        let now = self.clock.now();
        if let Err(refused) = self.leases.tidy(self.ledger(), now) {
            self.writer.health().failed(&refused);
        }
        let idle_since = Timestamp(
            now.0
                .saturating_sub(u64::try_from(TASK_IDLE.as_nanos()).unwrap_or(u64::MAX)),
        );
        // Everything a forgotten level was charged with must be in the store: without that there is
        // no second round for it.
        if self.durable.has_last_round() {
            let all: Vec<_> = self.books.lock().values().cloned().collect();
            for books in all {
                let _forgotten = books.lock().evict(now, idle_since);
            }
            self.durable.end_round();
        }
        self.look_after();
        self.look_at_limits();
        self.look_at_ended_tasks();
        self.expire_approvals();
        self.expire_places();
        self.remember_places();
        self.tidy_waits();
        self.save_tasks();
        // Last: what ends here is on its way to the store, and its levels are not forgotten before
        // the next round.
        self.expire();
    }

    /// Returns when everything that happened before is in the store, or can't be.
    pub fn flush(&self) {
        self.writer.flush();
        self.stores.calls.flush();
    }

    /// Whether the store takes what it is given.
    pub fn health(&self) -> &Arc<Health> {
        self.writer.health()
    }

    /// The ledger as it is stored.
    pub fn ledger(&self) -> &dyn LedgerStore {
        self.stores.ledger.as_ref()
    }

    /// A small value that was kept.
    pub fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.stores.settings.setting(name)
    }

    /// Keeps a small value.
    pub fn keep_setting(&self, name: &str, value: &[u8]) -> Result<(), StoreError> {
        self.stores.settings.set(&[(name, value)])
    }

    /// Puts other limits on money in force, and nothing else.
    pub fn limit(&self, budgets: Arc<tidegate_ledger::BudgetPolicy>) {
        let mut settings = Settings::clone(&self.settings.load());
        settings.budgets = Arc::clone(&budgets);
        self.settings.store(Arc::new(settings));
        self.put_budgets(&budgets);
        self.put_quotas();
    }

    /// Stored records of calls, newest first.
    pub fn calls(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError> {
        self.stores.calls.list(filter)
    }

    /// The stored record of one call.
    pub fn call(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError> {
        self.stores.calls.get(id)
    }

    /// Budgets as they are stored, those that are in memory at their present state.
    pub fn stored_levels(
        &self,
        organisation: Option<&str>,
    ) -> Result<Vec<(tidegate_ledger::LevelKey, tidegate_ledger::Balance)>, StoreError> {
        self.stores.ledger.balances(organisation)
    }
}
