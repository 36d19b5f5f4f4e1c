//! What can wait in a queue: a call, or somebody who has asked before acting.

use std::sync::Arc;

use tidegate_admission::{Ask, Cleared, Cooldown, Pool};
use tidegate_ledger::{Path, Service};
use tidegate_types::{AdmissionId, Monotonic, Priority};
use tokio::sync::{Notify, oneshot};

use crate::{
    account::{Account, SharedAccount},
    admissions::sought::Sought,
    call::{Moment, Routed},
    gate::Turn,
    heard::{Standing, Trying},
    places::PlaceKey,
    queues::WaitingId,
    reserve::{Obstacle, SetAside},
    settings::{Platform, ReserveRules},
    spender::Spender,
    tasks::Task,
};

/// What waits.
#[derive(Debug)]
pub(crate) enum Work {
    /// A call.
    Call(WaitingCall),
    /// Somebody who has asked before acting.
    Admission(AdmissionId, Box<Sought>),
}

/// A call that waits.
#[derive(Debug)]
pub(crate) struct WaitingCall {
    pub(crate) routed: Box<Routed>,
    /// By what its client is known if it comes back.
    pub(crate) key: PlaceKey,
    pub(crate) to: To,
    /// Has its client sent away, to make room.
    pub(crate) away: Arc<Notify>,
    /// That was done.
    pub(crate) is_sent_away: bool,
}

/// Who is told when the turn of a call comes.
#[derive(Debug)]
pub(crate) enum To {
    /// A client that is there.
    Client(oneshot::Sender<Turn>),
    /// One that was sent away, and comes back for what is kept for it.
    Kept,
}

impl WaitingCall {
    /// Its client waits, and nobody has had it sent away.
    pub(crate) const fn is_here(&self) -> bool {
        matches!(self.to, To::Client(_)) && !self.is_sent_away
    }
}

impl Work {
    /// The call, where it is one.
    pub(crate) const fn call(&self) -> Option<&WaitingCall> {
        match self {
            Self::Call(call) => Some(call),
            Self::Admission(..) => None,
        }
    }

    pub(crate) const fn call_mut(&mut self) -> Option<&mut WaitingCall> {
        match self {
            Self::Call(call) => Some(call),
            Self::Admission(..) => None,
        }
    }

    /// Its client was sent away, and has not come back.
    pub(crate) const fn is_away(&self) -> bool {
        matches!(self, Self::Call(WaitingCall { to: To::Kept, .. }))
    }

    pub(crate) fn id(&self) -> WaitingId {
        match self {
            Self::Call(call) => WaitingId::Call(call.routed.call.record.id),
            Self::Admission(id, _) => WaitingId::Admission(*id),
        }
    }

    /// Its own task.
    pub(crate) fn task(&self) -> Option<&str> {
        match self {
            Self::Call(call) => call.routed.call.record.task.as_deref(),
            Self::Admission(_, sought) => sought.ask.task.as_deref(),
        }
    }

    /// What kind of task it is for.
    pub(crate) fn task_type(&self) -> Option<Arc<str>> {
        match self {
            Self::Call(call) => call.routed.call.record.task_type.clone(),
            Self::Admission(_, sought) => sought.ask.task_type.as_deref().map(Arc::from),
        }
    }

    /// Whether its task, or one above that, is called off.
    pub(crate) fn is_called_off(&self) -> bool {
        match self {
            Self::Call(call) => call.routed.is_called_off(),
            Self::Admission(_, sought) => sought.task.as_ref().is_some_and(Task::is_cancelled),
        }
    }

    /// The model it asks for; empty where it is no call.
    pub(crate) fn model(&self) -> Arc<str> {
        match self {
            Self::Call(call) => Arc::clone(&call.routed.call.record.model_asked),
            Self::Admission(..) => "".into(),
        }
    }

    /// What the buckets are asked.
    pub(crate) fn ask(&self) -> Ask {
        match self {
            Self::Call(call) => call.routed.ask(),
            Self::Admission(_, sought) => sought.bucket_ask(),
        }
    }

    pub(crate) fn platform(&self) -> &Arc<Platform> {
        match self {
            Self::Call(call) => &call.routed.platform,
            Self::Admission(_, sought) => &sought.platform,
        }
    }

    pub(crate) const fn books(&self) -> &SharedAccount {
        match self {
            Self::Call(call) => &call.routed.books,
            Self::Admission(_, sought) => &sought.books,
        }
    }

    /// Who pays, and who acts.
    pub(crate) fn whose(&self) -> (&Arc<str>, &Arc<str>) {
        match self {
            Self::Call(call) => {
                let record = &call.routed.call.record;
                (&record.organisation, &record.user)
            }
            Self::Admission(_, sought) => (&sought.organisation, &sought.user),
        }
    }

    /// Who pays for it.
    pub(crate) fn spender(&self) -> Spender {
        match self {
            Self::Call(call) => call.routed.spender(),
            Self::Admission(_, sought) => sought.spender(),
        }
    }

    /// The session it belongs to, by its label.
    pub(crate) fn session(&self) -> Option<&str> {
        match self {
            Self::Call(call) => call.routed.call.record.session.as_deref(),
            Self::Admission(_, sought) => sought.ask.session.as_deref(),
        }
    }

    /// Its root task.
    pub(crate) fn root(&self) -> Option<&Arc<str>> {
        match self {
            Self::Call(call) => call.routed.call.record.root_task.as_ref(),
            Self::Admission(_, sought) => sought.root.as_ref(),
        }
    }

    /// What it buys.
    pub(crate) fn service(&self) -> Service {
        match self {
            Self::Call(_) => Service::Llm,
            Self::Admission(_, sought) => sought.service(),
        }
    }

    pub(crate) fn set_path(&mut self, path: Path) {
        match self {
            Self::Call(call) => call.routed.path = path,
            Self::Admission(_, sought) => sought.path = path,
        }
    }

    /// Answers what it was.
    pub(crate) fn set_priority(&mut self, priority: Priority) -> Priority {
        let own = match self {
            Self::Call(call) => &mut call.routed.call.record.priority,
            Self::Admission(_, sought) => &mut sought.priority,
        };
        std::mem::replace(own, priority)
    }

    /// Takes what the buckets have cleared, if budgets and quotas hold it.
    pub(crate) fn set_aside(
        &mut self,
        pool: (&mut Pool, Cleared),
        account: &mut Account,
        rules: &ReserveRules,
        now: Moment,
    ) -> Result<SetAside, Obstacle> {
        match self {
            Self::Call(call) => {
                let mut room = call.routed.room.take();
                let set_aside = call
                    .routed
                    .set_aside(&mut room, pool, account, (rules, now));
                call.routed.room = room;
                set_aside
            }
            Self::Admission(_, sought) => sought.set_aside(pool, account, now),
        }
    }

    /// Whether the budgets would hold it if nothing else ran.
    pub(crate) fn fits_when_idle(&self, rules: &ReserveRules) -> bool {
        match self {
            Self::Call(call) => call.routed.fits_when_idle(rules),
            Self::Admission(_, sought) => sought.fits_when_idle(),
        }
    }

    /// Whether its provider would take it now. A client that is away can't try that for others, and
    /// somebody who only asks goes to a provider that nobody here knows.
    pub(crate) fn may_go(
        &self,
        standing: &Arc<Standing>,
        now: Monotonic,
    ) -> Result<Option<Trying>, Cooldown> {
        match self {
            Self::Call(WaitingCall {
                routed,
                to: To::Client(_),
                ..
            }) => standing.pass(routed, now),
            Self::Call(WaitingCall {
                routed,
                to: To::Kept,
                ..
            }) => standing.wait(routed, now).map_or(Ok(None), Err),
            Self::Admission(..) => Ok(None),
        }
    }
}
