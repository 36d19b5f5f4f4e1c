//! The queues as people see and change them.

use std::{sync::Arc, time::Duration};

use tidegate_admission::{Calibration, QuotaKind, QuotaScope, Ticket};
use tidegate_observe::{audit::Action, calls::CallRecord};
use tidegate_types::{CallId, Monotonic, Priority, Role};

use crate::{
    Engine,
    gate::{Gate, SharedGate, To},
    identity::Principal,
    keys::Change,
    reserve::Obstacle,
};

/// Waiting calls that are listed at most.
pub const LISTED_MAX: usize = 1_000;

/// A call that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingView {
    /// The call.
    pub call: CallId,
    /// The platform it waits for.
    pub platform: Arc<str>,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who sent it.
    pub user: Arc<str>,
    /// Its task, if it has one.
    pub task: Option<Arc<str>>,
    /// The model it asks for.
    pub model: Arc<str>,
    /// Its class.
    pub priority: Priority,
    /// Its place among those of its class: 1 goes next.
    pub place: usize,
    /// How many of its class wait.
    pub of: usize,
    /// How long it has waited.
    pub waited: Duration,
    /// Half of all such calls wait no longer than this from now on.
    pub wait_p50: Duration,
    /// Nine of ten wait no longer.
    pub wait_p90: Duration,
    /// Its client was sent away and has not come back yet.
    pub away: bool,
    /// What keeps it waiting, in a sentence.
    pub reason: String,
}

/// A call that a quota keeps waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaWait {
    /// Whose quota.
    pub organisation: Arc<str>,
    /// Which of its quotas.
    pub scope: QuotaScope,
    /// The organisation, user or task type that it is the quota of.
    pub name: Arc<str>,
    /// What it counts.
    pub kind: QuotaKind,
    /// The call.
    pub call: CallId,
    /// Who sent it.
    pub user: Arc<str>,
}

/// A queue as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct QueueView {
    /// Its platform.
    pub platform: Arc<str>,
    /// How many wait.
    pub waiting: usize,
    /// By class, lowest first: how many wait, how long the oldest has, how well waits were foretold.
    pub classes: Vec<ClassQueue>,
}

/// One class of a queue.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassQueue {
    /// Which.
    pub priority: Priority,
    /// How many wait.
    pub waiting: usize,
    /// How long the one has waited who waits longest.
    pub longest: Duration,
    /// How well waits were foretold.
    pub calibration: Calibration,
    /// How alike its users were served while calls waited, in billionths: Jain's index.
    pub fairness: Option<u64>,
}

/// Why a waiting call can't be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// It does not wait, or is not the caller's to see.
    #[error("call `{0}` does not wait: see `tidegate queue` for those that do")]
    NotWaiting(CallId),
    /// Only operators decide who goes first.
    #[error("only an operator may move call `{0}` to another priority")]
    NotAllowed(CallId),
}

impl Engine {
    /// The calls that wait and are `wanted`, platform by platform, those that came first first; at
    /// most [`LISTED_MAX`].
    pub fn waiting(&self, wanted: impl Fn(&CallRecord) -> bool) -> Vec<WaitingView> {
        let mut views = Vec::new();
        for (_, gate) in self.gates_in_order() {
            let tickets: Vec<Ticket> = {
                let gate = gate.lock();
                let waiters = gate.waiters();
                let wanted = waiters.filter(|(_, it)| wanted(&it.routed.call.record));
                wanted.map(|(ticket, _)| ticket).collect()
            };
            for ticket in tickets {
                if views.len() >= LISTED_MAX {
                    return views;
                }
                // Not under one lock for all: a place takes microseconds, and calls go on meanwhile.
                views.extend(self.waiting_view(&gate, ticket));
            }
        }
        views
    }

    fn waiting_view(&self, gate: &SharedGate, ticket: Ticket) -> Option<WaitingView> {
        let now = self.now();
        let mut gate = gate.lock();
        let outlook = gate.queue.outlook(ticket, &gate.pool, now.mono)?;
        let since = gate.queue.get(ticket)?.since;
        let waiter = gate.waiter(ticket)?;
        let other = waiter.obstacle(self.holds.wait(), now.mono);
        let routed = &waiter.routed;
        let (platform, ask) = (Arc::clone(&routed.platform), routed.ask());
        let record = &routed.call.record;
        let view = WaitingView {
            call: record.id,
            platform: Arc::clone(&platform.name),
            organisation: Arc::clone(&record.organisation),
            user: Arc::clone(&record.user),
            task: record.task.clone(),
            model: Arc::clone(&record.model_asked),
            priority: record.priority,
            place: outlook.place,
            of: outlook.of,
            waited: now.mono.since(since),
            wait_p50: outlook.p50,
            wait_p90: outlook.p90,
            away: matches!(waiter.to, To::Kept),
            reason: String::new(),
        };
        let obstacle = other.unwrap_or_else(|| gate.obstacle(&ask, now));
        drop(gate);
        let told = self.explain(&platform, &view.user, obstacle);
        Some(WaitingView {
            reason: told.sentence,
            ..view
        })
    }

    /// The calls that quotas keep waiting, platform by platform, oldest first.
    pub fn quota_waits(&self) -> Vec<QuotaWait> {
        let mut waits = Vec::new();
        for (_, gate) in self.gates_in_order() {
            let gate = gate.lock();
            waits.extend(gate.waiters().filter_map(|(_, it)| {
                let record = &it.routed.call.record;
                let (scope, kind) = it.over_quota()?;
                let name = match scope {
                    QuotaScope::Organisation => Some(&record.organisation),
                    QuotaScope::User => Some(&record.user),
                    QuotaScope::TaskType => record.task_type.as_ref(),
                };
                Some(QuotaWait {
                    organisation: Arc::clone(&record.organisation),
                    scope,
                    name: Arc::clone(name?),
                    kind,
                    call: record.id,
                    user: Arc::clone(&record.user),
                })
            }));
        }
        waits
    }

    /// The queues, in the order of the configuration.
    pub fn queues(&self) -> Vec<QueueView> {
        let now = self.clock.monotonic();
        let gates = self.gates_in_order().into_iter();
        gates
            .map(|(platform, gate)| gate.lock().view(platform, now))
            .collect()
    }

    /// Ends the wait of a call: its client is refused.
    pub fn cancel_waiting(&self, by: &Principal, call: CallId) -> Result<(), QueueError> {
        let (gate, ticket) = self.find_waiting(by, call)?;
        let left = gate.lock().leave(ticket);
        let Some(waiter) = left else {
            return Err(QueueError::NotWaiting(call));
        };
        self.audit(Change {
            organisation: Some(Arc::clone(&waiter.routed.call.record.organisation)),
            ..Change::by(by, Action::WaitCancelled, call.to_string())
        });
        self.refuse_waiting(waiter, Obstacle::Cancelled);
        self.look(&gate);
        Ok(())
    }

    /// Moves a waiting call to another class. It keeps the time it has waited.
    pub fn promote_waiting(
        &self,
        by: &Principal,
        call: CallId,
        priority: Priority,
    ) -> Result<(), QueueError> {
        let (gate, ticket) = self.find_waiting(by, call)?;
        if by.role < Role::Operator {
            return Err(QueueError::NotAllowed(call));
        }
        let before = {
            let mut gate = gate.lock();
            if !gate.queue.promote(ticket, priority) {
                return Err(QueueError::NotWaiting(call));
            }
            let waiter = gate.waiter_mut(ticket);
            let waiter = waiter.ok_or(QueueError::NotWaiting(call))?;
            let record = &mut waiter.routed.call.record;
            let before = std::mem::replace(&mut record.priority, priority);
            (before, Arc::clone(&record.organisation))
        };
        let quoted = |it: Priority| Some(format!("\"{it}\""));
        let change = Change {
            organisation: Some(before.1),
            ..Change::by(by, Action::WaitPromoted, call.to_string())
        };
        self.audit(change.from_to(quoted(before.0), quoted(priority)));
        self.look(&gate);
        Ok(())
    }

    fn find_waiting(
        &self,
        by: &Principal,
        call: CallId,
    ) -> Result<(SharedGate, Ticket), QueueError> {
        for (_, gate) in self.gates_in_order() {
            let found = {
                let gate = gate.lock();
                let mut waiters = gate.waiters();
                let found = waiters.find(|(_, it)| it.routed.call.record.id == call);
                found
                    .filter(|(_, it)| {
                        let record = &it.routed.call.record;
                        by.may_touch(&record.organisation, &record.user)
                    })
                    .map(|(ticket, _)| ticket)
            };
            if let Some(ticket) = found {
                return Ok((gate, ticket));
            }
        }
        Err(QueueError::NotWaiting(call))
    }

    fn gates_in_order(&self) -> Vec<(Arc<str>, SharedGate)> {
        let (gates, settings) = (self.gates.load(), self.settings.load());
        let platforms = settings.platforms.iter();
        let found = platforms.filter_map(|it| Some((Arc::clone(&it.name), gates.get(&it.name)?)));
        found.map(|(name, gate)| (name, Arc::clone(gate))).collect()
    }
}

impl Gate {
    fn view(&self, platform: Arc<str>, now: Monotonic) -> QueueView {
        let class = |priority: &Priority| {
            let (waiting, oldest) = self.queue.class(*priority);
            ClassQueue {
                priority: *priority,
                waiting,
                longest: oldest.map_or(Duration::ZERO, |it| now.since(it)),
                calibration: self.queue.calibration(*priority),
                fairness: self.queue.fairness(*priority),
            }
        };
        QueueView {
            platform,
            waiting: self.queue.len(),
            classes: Priority::ALL.iter().map(class).collect(),
        }
    }
}
