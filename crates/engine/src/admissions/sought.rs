//! What somebody who asks before acting wants, resolved to where it would be taken from.

use std::sync::Arc;

use tidegate_admission::{Ask, Cleared, Need, Pool, QuotaPath, UserSlot};
use tidegate_ledger::{ClearedMoney, MoneyAsk, MoneyCheck, Path, Service};
use tidegate_types::{Caller, Complexity, Priority};

use super::AdmissionAsk;
use crate::{
    account::{self, Account, SharedAccount},
    call::Moment,
    gate::SharedGate,
    reserve::{Obstacle, Room, SetAside, pool_check},
    settings::Platform,
    spender::Spender,
    tasks::Task,
};

/// A request for leave, and everything it would be taken from.
#[derive(Debug)]
pub(crate) struct Sought {
    pub(crate) ask: Arc<AdmissionAsk>,
    pub(crate) platform: Arc<Platform>,
    pub(crate) organisation: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) task: Option<Arc<Task>>,
    pub(crate) root: Option<Arc<str>>,
    pub(crate) priority: Priority,
    /// The platform's buckets and queue.
    pub(crate) gate: SharedGate,
    /// The user in those.
    pub(crate) slot: UserSlot,
    /// The organisation's budgets and quotas.
    pub(crate) books: SharedAccount,
    /// The way through those.
    pub(crate) path: Path,
    /// Where its quotas are counted.
    pub(crate) quota: QuotaPath,
}

impl Sought {
    /// Who pays for it.
    pub(crate) fn spender(&self) -> Spender {
        Spender {
            organisation: Arc::clone(&self.organisation),
            user: Arc::clone(&self.user),
            task: self.root.clone(),
        }
    }

    /// What it buys.
    pub(crate) fn service(&self) -> Service {
        self.ask.service.unwrap_or(Service::Llm)
    }

    /// What the buckets are asked.
    pub(crate) fn bucket_ask(&self) -> Ask {
        bucket_ask(&self.ask, self.priority, self.slot)
    }

    fn money_ask(&self) -> MoneyAsk {
        MoneyAsk {
            bound: self.ask.cost,
            expected: self.ask.cost,
            caller: Caller::Asking,
        }
    }

    /// Takes what it asks for from buckets, budgets and quotas: all or nothing. Who waits for the
    /// same is not overtaken.
    pub(crate) fn reserve(&self, now: Moment) -> Result<SetAside, Obstacle> {
        let mut gate = self.gate.lock();
        let ask = self.bucket_ask();
        if gate.holds_up(ask.priority) {
            return Err(gate.obstacle(&ask, now));
        }
        let cleared = pool_check(&mut gate.pool, &ask, now)?;
        self.set_aside((&mut gate.pool, cleared), &mut self.books.lock(), now)
    }

    /// Takes what the buckets have cleared, if the budgets and quotas hold it. The locks of both are
    /// held since the check.
    pub(crate) fn set_aside(
        &self,
        (pool, cleared): (&mut Pool, Cleared),
        account: &mut Account,
        now: Moment,
    ) -> Result<SetAside, Obstacle> {
        let money = match account.check(&self.path, &self.money_ask(), now.wall) {
            MoneyCheck::Clear(ClearedMoney {
                unapproved: Some(asked),
                ..
            }) => return Err(Obstacle::Approval(asked)),
            MoneyCheck::Clear(money) => money,
            MoneyCheck::Refused(shortage) => return Err(Obstacle::Budget(shortage)),
            MoneyCheck::Stale => return Err(Obstacle::Stale),
        };
        let quota_ask = account::admission_ask(self.service());
        let at = (now.mono, now.wall);
        let quota = account.quotas.check(&self.quota, &quota_ask, at);
        let quota = quota.map_err(Obstacle::Quota)?;
        let room = Room::new(&self.gate, &self.books);
        let (money, quota) = ((&self.path, &money), (&self.quota, &quota));
        Ok(room.take((pool, cleared, now.mono), account, money, quota))
    }

    /// Whether the budgets would hold it if nothing else ran.
    pub(crate) fn fits_when_idle(&self) -> bool {
        let idle = self.books.lock().headroom_idle(&self.path, Caller::Asking);
        idle.is_none_or(|it| self.ask.cost <= it.left)
    }
}

/// What the buckets of a platform would be asked.
pub(super) fn bucket_ask(ask: &AdmissionAsk, priority: Priority, user: UserSlot) -> Ask {
    Ask {
        need: need_of(ask),
        priority,
        user,
        caller: Caller::Asking,
        queues: false,
    }
}

pub(super) fn need_of(ask: &AdmissionAsk) -> Need {
    let by_complexity = ask.complexity.map_or(0, Complexity::units);
    Need {
        units: if ask.tokens == 0 {
            by_complexity
        } else {
            ask.tokens
        },
        requests: 1,
        nano_usd: ask.cost.0,
        ..Need::default()
    }
}
