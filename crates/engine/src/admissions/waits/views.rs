//! Requests that wait, for whoever asked: how they stand, and how their wait is ended.

use std::sync::Arc;

use tidegate_admission::Outlook;
use tidegate_observe::{
    notice::Topic,
    record::{Fields, rfc3339_seconds},
};
use tidegate_types::{AdmissionId, Timestamp};
use tokio::sync::watch;

use super::{Outcome, Place, Saved};
use crate::{Engine, identity::Principal, notices::Telling};

/// A request that waits, or waited, for whoever looks.
#[derive(Clone, Debug)]
pub struct AdmissionView {
    /// Which.
    pub id: AdmissionId,
    /// Where it would be taken from.
    pub platform: Arc<str>,
    /// What became of it.
    pub outcome: Outcome,
    /// Its place and how long it will wait; `None` while it waits for something other than the
    /// buckets, or no longer.
    pub outlook: Option<Outlook>,
    /// Since when it waits.
    pub since: Timestamp,
    /// Until when it waits at most.
    pub until: Timestamp,
    /// What keeps it waiting; empty once it is decided.
    pub reason: String,
}

impl Outcome {
    /// How it stands, in a word.
    const fn word(&self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Approved(..) => "approved",
            Self::Refused(_) => "refused",
            Self::Cancelled => "cancelled",
            Self::Lapsed => "lapsed",
        }
    }
}

impl Engine {
    /// Tells the channel that a request named what became of it.
    pub(super) fn tell_channel(&self, id: AdmissionId, saved: &Saved, outcome: &Outcome) {
        let Some(channel) = &saved.ask.notify else {
            return;
        };
        let (user, word) = (&saved.user, outcome.word());
        let fields = Fields::new()
            .with("admission", id.to_string())
            .with("state", word)
            .with("organisation", saved.organisation.to_string())
            .with("user", user.to_string())
            .maybe("task", saved.ask.task.clone());
        let (fields, more) = match outcome {
            Outcome::Approved(admitted, until) => (
                fields
                    .with("reservation", admitted.reservation.to_string())
                    .with("kept_until", rfc3339_seconds(*until)),
                format!(
                    ": {} is kept until {}",
                    admitted.reservation,
                    rfc3339_seconds(*until)
                ),
            ),
            Outcome::Refused(not) => (fields, format!(": {}", not.reasons.join("; "))),
            Outcome::Waiting | Outcome::Cancelled | Outcome::Lapsed => (fields, String::new()),
        };
        self.notify(Telling {
            topic: Topic::AdmissionDecided,
            of: &[&id.to_string(), word],
            text: format!("the request {id} of {user} for leave is {word}{more}"),
            fields,
            decides: None,
            to: Some(channel),
        });
    }

    /// A request that waits, or waited, if it is the asker's to see.
    pub fn admission(&self, principal: &Principal, id: AdmissionId) -> Option<AdmissionView> {
        let outlook = self.admission_outlook(id);
        let (mut view, work) = {
            let all = self.waits.all.lock();
            let waiter = all.get(&id).filter(|it| it.is_of(principal))?;
            let view = AdmissionView {
                id,
                platform: Arc::clone(&waiter.platform),
                outcome: waiter.outcome.borrow().clone(),
                outlook,
                since: waiter.saved.since,
                until: waiter.saved.until,
                reason: String::new(),
            };
            (view, (waiter.place.clone(), waiter.saved.spender()))
        };
        let now = self.now();
        let met = match work.0 {
            Place::Queued(gate, ticket) => {
                let mut gate = gate.lock();
                let found = gate.waiter(ticket).map(|it| {
                    let other = it.obstacle(self.holds.wait(), now.mono);
                    (Arc::clone(it.work.platform()), it.work.ask(), other)
                });
                found.map(|(platform, ask, other)| {
                    let obstacle = other.unwrap_or_else(|| gate.obstacle(&ask, now));
                    (platform, obstacle)
                })
            }
            Place::Parked(obstacle) => {
                let platform = self.settings.load().platform(&view.platform).cloned();
                platform.map(|it| (it, obstacle))
            }
            Place::Moving | Place::Over => None,
        };
        if let Some((platform, obstacle)) = met {
            view.reason = self.explain(&platform, &work.1, obstacle).sentence;
        }
        Some(view)
    }

    /// Tells when it is decided.
    pub fn follow_admission(
        &self,
        principal: &Principal,
        id: AdmissionId,
    ) -> Option<watch::Receiver<Outcome>> {
        let all = self.waits.all.lock();
        let waiter = all.get(&id).filter(|it| it.is_of(principal))?;
        Some(waiter.outcome.subscribe())
    }

    /// Whoever asked has the outcome: leave is not given back any more but by its holder.
    pub fn fetched_admission(&self, id: AdmissionId) {
        let newly = {
            let mut all = self.waits.all.lock();
            let waiter = all.get_mut(&id).filter(|it| it.decided.is_some());
            waiter.is_some_and(|it| !std::mem::replace(&mut it.fetched, true))
        };
        if newly {
            self.unsave(id);
        }
    }

    /// Ends a wait. `None`: there is none that is the caller's; else whether it still waited.
    pub fn cancel_admission(&self, principal: &Principal, id: AdmissionId) -> Option<bool> {
        {
            let all = self.waits.all.lock();
            all.get(&id).filter(|it| it.is_of(principal))?;
        }
        let _turn_on_its_way_is_given_back = self.withdraw(id);
        let cancelled = self.tell_outcome(id, Outcome::Cancelled, self.now());
        if cancelled {
            self.unsave(id);
        }
        Some(cancelled)
    }
}
