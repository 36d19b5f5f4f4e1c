//! The queues as people see and change them.

use std::{fmt, str::FromStr, sync::Arc, time::Duration};

use tidegate_admission::{Calibration, QuotaKind, QuotaScope, Ticket};
use tidegate_observe::audit::Action;
use tidegate_types::{AdmissionId, CallId, Monotonic, ParseIdError, Priority, Role};

use crate::{
    Engine,
    gate::{Gate, SharedGate},
    identity::Principal,
    keys::Change,
    reserve::Obstacle,
    work::To,
};

/// Waiting calls that are listed at most.
pub const LISTED_MAX: usize = 1_000;

/// What waits in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitingId {
    /// A call.
    Call(CallId),
    /// Somebody who has asked before acting.
    Admission(AdmissionId),
}

impl fmt::Display for WaitingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call(id) => id.fmt(f),
            Self::Admission(id) => id.fmt(f),
        }
    }
}

impl FromStr for WaitingId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let admission = text.parse().map(Self::Admission);
        admission.or_else(|_| text.parse().map(Self::Call))
    }
}

/// Whose something is that waits.
#[derive(Clone, Copy, Debug)]
pub struct Whose<'a> {
    /// Who pays.
    pub organisation: &'a str,
    /// Who acts.
    pub user: &'a str,
    /// The session it belongs to, by its label.
    pub session: Option<&'a str>,
    /// Its own task.
    pub task: Option<&'a str>,
    /// The root of that task's tree.
    pub root_task: Option<&'a str>,
}

/// A call that waits, or a request for leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WaitingView {
    /// Which.
    pub id: WaitingId,
    /// The platform it waits for.
    pub platform: Arc<str>,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who sent it.
    pub user: Arc<str>,
    /// Its task, if it has one.
    pub task: Option<Arc<str>>,
    /// The model it asks for; empty for a request for leave.
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

/// What a quota keeps waiting.
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
    /// What waits.
    pub id: WaitingId,
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
    #[error("`{0}` does not wait: see `tidegate queue` for those that do")]
    NotWaiting(WaitingId),
    /// Only operators decide who goes first.
    #[error("only an operator may move `{0}` to another priority")]
    NotAllowed(WaitingId),
}

impl Engine {
    /// Those that wait and are `wanted`, platform by platform, those that came first first; at most
    /// [`LISTED_MAX`].
    pub fn waiting(&self, wanted: impl Fn(&Whose<'_>) -> bool) -> Vec<WaitingView> {
        let mut views = Vec::new();
        for (_, gate) in self.gates_in_order() {
            let tickets: Vec<Ticket> = {
                let gate = gate.lock();
                let waiters = gate.waiters();
                let wanted = waiters.filter(|(_, it)| {
                    let (organisation, user) = it.work.whose();
                    wanted(&Whose {
                        organisation,
                        user,
                        session: it.work.session(),
                        task: it.work.task(),
                        root_task: it.work.root().map(|it| &**it),
                    })
                });
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
        let work = &waiter.work;
        let (platform, ask) = (Arc::clone(work.platform()), work.ask());
        let spender = work.spender();
        let view = WaitingView {
            id: work.id(),
            platform: Arc::clone(&platform.name),
            organisation: Arc::clone(&spender.organisation),
            user: Arc::clone(&spender.user),
            task: work.task().map(Arc::from),
            model: work.model(),
            priority: ask.priority,
            place: outlook.place,
            of: outlook.of,
            waited: now.mono.since(since),
            wait_p50: outlook.p50,
            wait_p90: outlook.p90,
            away: work.call().is_some_and(|it| matches!(it.to, To::Kept)),
            reason: String::new(),
        };
        let obstacle = other.unwrap_or_else(|| gate.obstacle(&ask, now));
        drop(gate);
        let told = self.explain(&platform, &spender, obstacle);
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
                let (organisation, user) = it.work.whose();
                let (scope, kind) = it.over_quota()?;
                let name = match scope {
                    QuotaScope::Organisation => Arc::clone(organisation),
                    QuotaScope::User => Arc::clone(user),
                    QuotaScope::TaskType => it.work.task_type()?,
                };
                Some(QuotaWait {
                    organisation: Arc::clone(organisation),
                    scope,
                    name,
                    kind,
                    id: it.work.id(),
                    user: Arc::clone(user),
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
    pub fn cancel_waiting(&self, by: &Principal, id: WaitingId) -> Result<(), QueueError> {
        let (gate, ticket) = self.find_waiting(by, id)?;
        let left = gate.lock().leave(ticket);
        let Some(waiter) = left else {
            return Err(QueueError::NotWaiting(id));
        };
        self.audit(Change {
            organisation: Some(Arc::clone(waiter.work.whose().0)),
            ..Change::by(by, Action::WaitCancelled, id.to_string())
        });
        self.refuse_waiting(waiter, Obstacle::Cancelled);
        self.look(&gate);
        Ok(())
    }

    /// Moves a waiting call to another class. It keeps the time it has waited.
    pub fn promote_waiting(
        &self,
        by: &Principal,
        id: WaitingId,
        priority: Priority,
    ) -> Result<(), QueueError> {
        let (gate, ticket) = self.find_waiting(by, id)?;
        if by.role < Role::Operator {
            return Err(QueueError::NotAllowed(id));
        }
        let before = {
            let mut gate = gate.lock();
            let Gate { queue, pool, .. } = &mut *gate;
            if !queue.promote(ticket, priority, pool) {
                return Err(QueueError::NotWaiting(id));
            }
            let waiter = gate.waiter_mut(ticket);
            let waiter = waiter.ok_or(QueueError::NotWaiting(id))?;
            let before = waiter.work.set_priority(priority);
            (before, Arc::clone(waiter.work.whose().0))
        };
        let quoted = |it: Priority| Some(format!("\"{it}\""));
        let change = Change {
            organisation: Some(before.1),
            ..Change::by(by, Action::WaitPromoted, id.to_string())
        };
        self.audit(change.from_to(quoted(before.0), quoted(priority)));
        self.look(&gate);
        Ok(())
    }

    fn find_waiting(
        &self,
        by: &Principal,
        id: WaitingId,
    ) -> Result<(SharedGate, Ticket), QueueError> {
        for (_, gate) in self.gates_in_order() {
            let found = {
                let gate = gate.lock();
                let mut waiters = gate.waiters();
                let found = waiters.find(|(_, it)| it.work.id() == id);
                found
                    .filter(|(_, it)| {
                        let (organisation, user) = it.work.whose();
                        by.may_touch(organisation, user)
                    })
                    .map(|(ticket, _)| ticket)
            };
            if let Some(ticket) = found {
                return Ok((gate, ticket));
            }
        }
        Err(QueueError::NotWaiting(id))
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
