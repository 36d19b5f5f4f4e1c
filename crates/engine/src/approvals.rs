//! Somebody is asked before a soft limit is passed (B4).
//!
//! A call that would pass a soft limit that binds it is parked: it holds nothing, and waits for a
//! decision. There is one open request per level, which every call that meets the limit joins. A yes
//! raises the level's soft limit for its life, never past its hard one; a no refuses those that wait,
//! and those that come, until the request ends. Both outlast a restart.

mod links;
mod telling;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub(crate) use telling::{dollars, fields_of, whose};

pub use links::{LINK_KEY_BYTES, Link, LinkKey};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_ledger::{LevelKey, Shortage, StoreError};
use tidegate_observe::{
    audit::{Action, Actor},
    event,
};
use tidegate_types::{ApprovalId, NanoUsd, Role, Timestamp};
use tokio::sync::watch;

use crate::{Engine, call::Routed, identity::Principal, keys::Change};

/// How long a request stays open, and a no stands.
pub const OPEN_FOR: Duration = Duration::from_hours(1);

/// Requests and raised limits that are kept. Beyond that the oldest are forgotten: a raise that is
/// forgotten is asked for again.
const KEPT_MAX: usize = 10_000;

/// The setting under which they are kept.
const APPROVALS: &str = "approvals";

/// A request for approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// Which.
    pub id: ApprovalId,
    /// The level whose soft limit would be passed.
    pub level: LevelKey,
    /// The soft limit.
    pub limit: NanoUsd,
    /// What is settled and expected of running calls.
    pub spent: NanoUsd,
    /// What the first call that asked is expected to cost.
    pub asked: NanoUsd,
    /// Whose call asked first.
    pub user: Arc<str>,
    /// Everybody else whose calls have joined it.
    pub joined: Vec<Arc<str>>,
    /// When it was opened.
    pub at: Timestamp,
    /// Until when it is open, or its no stands.
    pub until: Timestamp,
    /// Up to where earlier requests of the level have raised its soft limit; 0 where none has.
    #[serde(default)]
    pub raised_to: NanoUsd,
    /// How it stands.
    pub decision: Decision,
}

impl Approval {
    /// Up to where the level's soft limit is raised, by this request and those before.
    fn approved_to(&self) -> NanoUsd {
        match self.decision {
            Decision::Approved { to, .. } => to.max(self.raised_to),
            Decision::Open | Decision::Denied { .. } | Decision::Expired => self.raised_to,
        }
    }
}

/// How a request stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Decision {
    /// Nobody has decided.
    Open,
    /// The level may be spent from up to this.
    Approved {
        /// By whom.
        by: Actor,
        /// Up to where the soft limit was raised.
        to: NanoUsd,
    },
    /// The level may not be spent from beyond its soft limit.
    Denied {
        /// By whom.
        by: Actor,
    },
    /// Nobody has decided in time.
    Expired,
}

/// Why a request can't be decided so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApprovalError {
    /// There is none, or none that may be seen.
    #[error("there is no open request `{0}`: see `tidegate approvals`")]
    NotOpen(ApprovalId),
    /// Its own user.
    #[error(
        "request `{0}` is your own: somebody else with the role approver, or an admin, decides"
    )]
    OwnRequest(ApprovalId),
    /// The link was not made here, or not so.
    #[error(
        "this link is not whole, or was made by another gateway: copy all of it, or decide with `tidegate approve` and `tidegate deny`"
    )]
    BadLink,
    /// The role may not.
    #[error("request `{0}` needs the role approver, operator or admin")]
    RoleNeeded(ApprovalId),
    /// The hard limit is in the way.
    #[error(
        "the hard limit of `{level}` is {hard}, and the soft one is there already: raise the hard one first with `tidegate budget set {level} <amount>`"
    )]
    AtHardLimit {
        /// Which level.
        level: &'static str,
        /// Its hard limit.
        hard: NanoUsd,
    },
    /// The store failed.
    #[error("the decision can't be kept now: see the log and `tidegate status`")]
    Store,
}

/// What a parked call waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Open,
    Approved,
    Denied,
}

/// A call that waits for a decision. It holds nothing.
#[derive(Debug)]
pub struct Parked {
    /// The request, as it stood when the call met it.
    pub approval: Approval,
    verdict: watch::Receiver<Verdict>,
}

impl Parked {
    /// Waits for the decision: whether it was a yes.
    pub async fn decided(&mut self) -> bool {
        let decided = self.verdict.wait_for(|it| *it != Verdict::Open).await;
        decided.is_ok_and(|it| *it == Verdict::Approved)
    }

    /// Whether it was a no already.
    pub fn is_denied(&self) -> bool {
        *self.verdict.borrow() == Verdict::Denied
    }
}

/// Requests, by level.
#[derive(Debug, Default)]
pub(crate) struct Approvals(Mutex<BTreeMap<Key, Asked>>);

/// A level's key, in an order.
type Key = String;

#[derive(Debug)]
struct Asked {
    approval: Approval,
    verdict: watch::Sender<Verdict>,
}

impl Asked {
    fn new(approval: Approval) -> Self {
        let verdict = match approval.decision {
            Decision::Open | Decision::Expired => Verdict::Open,
            Decision::Approved { .. } => Verdict::Approved,
            Decision::Denied { .. } => Verdict::Denied,
        };
        Self {
            approval,
            verdict: watch::Sender::new(verdict),
        }
    }
}

fn key(level: &LevelKey) -> Key {
    serde_json::to_string(level).unwrap_or_default()
}

impl Engine {
    /// Parks a call at a soft limit: joins the open request of its level, or opens one.
    pub fn park(&self, routed: &Routed, shortage: &Shortage) -> Option<Parked> {
        let keys = routed.path.entry().keys();
        let level = keys.iter().find(|it| it.kind == shortage.level)?;
        routed.call.ongoing.now(crate::tasks::Begun::Parked);
        Some(self.ask(level, &routed.call.record.user, shortage))
    }

    /// The same for whoever asks without a call.
    pub(crate) fn ask(&self, level: &LevelKey, user: &Arc<str>, shortage: &Shortage) -> Parked {
        let now = self.clock.now();
        let mut opened = false;
        let parked = {
            let mut all = self.approvals.0.lock();
            let standing = |it: &&mut Asked| {
                let open = !matches!(it.approval.decision, Decision::Approved { .. });
                open && it.approval.until > now
            };
            let found = all.get_mut(&key(level)).filter(standing).map(|it| {
                let known = it.approval.user == *user || it.approval.joined.contains(user);
                if !known {
                    it.approval.joined.push(Arc::clone(user));
                }
                parked(it)
            });
            found.unwrap_or_else(|| {
                opened = true;
                let before = all.get(&key(level)).map(|it| it.approval.approved_to());
                let asked = Asked::new(Approval {
                    id: self.ids.next(now),
                    level: level.clone(),
                    limit: shortage.limit,
                    spent: shortage.spent.saturating_add(shortage.held),
                    asked: shortage.asked,
                    user: Arc::clone(user),
                    joined: Vec::new(),
                    at: now,
                    until: now.after(OPEN_FOR),
                    raised_to: before.unwrap_or_default(),
                    decision: Decision::Open,
                });
                let found = parked(&asked);
                make_room(&mut all);
                all.insert(key(level), asked);
                found
            })
        };
        if opened {
            let it = &parked.approval;
            self.report(&event::ApprovalAsked {
                approval: it.id,
                limit: level.kind.word(),
                user,
                soft: it.limit,
                spent: it.spent,
            });
            self.keep_approvals().unwrap_or_default();
            self.tell_asked(it);
        }
        parked
    }

    /// The requests that are `wanted`, those asked first first.
    pub fn approvals(&self, wanted: impl Fn(&Approval) -> bool) -> Vec<Approval> {
        let all = self.approvals.0.lock();
        let wanted = all.values().map(|it| &it.approval).filter(|it| wanted(it));
        let mut found: Vec<Approval> = wanted.cloned().collect();
        found.sort_by_key(|it| it.id);
        found
    }

    /// Says yes to a request: the level's soft limit is raised by `amount`, or else by as much as it
    /// is, never past the hard one. What waits for it goes on.
    pub fn approve(
        &self,
        by: &Principal,
        id: ApprovalId,
        amount: Option<NanoUsd>,
    ) -> Result<Approval, ApprovalError> {
        let approval = self.decidable(by, id)?;
        self.grant(&approval, (actor(by), by.role), amount)
    }

    /// Says no to a request: what waits for it is refused, and what comes, until it ends.
    pub fn deny(&self, by: &Principal, id: ApprovalId) -> Result<Approval, ApprovalError> {
        let approval = self.decidable(by, id)?;
        self.refuse(&approval, (actor(by), by.role))
    }

    /// The request that a link decides on, however it stands.
    pub fn linked(&self, link: &Link, signature: &str) -> Result<Approval, ApprovalError> {
        if !self.links.knows(link, signature) {
            return Err(ApprovalError::BadLink);
        }
        let mut found = self.approvals(|it| it.id == link.approval);
        found.pop().ok_or(ApprovalError::NotOpen(link.approval))
    }

    /// Does what a link says, as whoever reads the channel it was sent to: which of them it was
    /// can't be told, so that nobody is kept from deciding on a request of their own.
    pub fn follow_link(&self, link: &Link, signature: &str) -> Result<Approval, ApprovalError> {
        let approval = self.linked(link, signature)?;
        let now = self.clock.now();
        let open = approval.decision == Decision::Open && approval.until > now;
        if !open || link.is_over(now) {
            return Err(ApprovalError::NotOpen(link.approval));
        }
        let by = (Actor::Channel(Arc::clone(&link.channel)), Role::Approver);
        if link.approve {
            self.grant(&approval, by, None)
        } else {
            self.refuse(&approval, by)
        }
    }

    fn grant(
        &self,
        approval: &Approval,
        by: (Actor, Role),
        amount: Option<NanoUsd>,
    ) -> Result<Approval, ApprovalError> {
        let level = &approval.level;
        let limit = *self.settings.load().budgets.limit(level);
        let by_amount = amount.unwrap_or(limit.soft.unwrap_or(approval.limit));
        let wanted = approval.limit.saturating_add(by_amount);
        let hard = limit.hard.unwrap_or(NanoUsd(u64::MAX));
        let to = wanted.min(hard);
        if to <= approval.limit {
            return Err(ApprovalError::AtHardLimit {
                level: level.kind.word(),
                hard,
            });
        }
        let decision = Decision::Approved {
            by: by.0.clone(),
            to,
        };
        let approval = self.decide(by, approval.id, decision, Action::SoftLimitApproved)?;
        self.books(&approval.level.organisation)
            .lock()
            .approve(&approval.level, to);
        self.tell_parked(&approval.level, Verdict::Approved);
        self.tell_decided(&approval);
        Ok(approval)
    }

    fn refuse(&self, approval: &Approval, by: (Actor, Role)) -> Result<Approval, ApprovalError> {
        let decision = Decision::Denied { by: by.0.clone() };
        let approval = self.decide(by, approval.id, decision, Action::SoftLimitDenied)?;
        self.tell_parked(&approval.level, Verdict::Denied);
        self.tell_decided(&approval);
        Ok(approval)
    }

    fn decidable(&self, by: &Principal, id: ApprovalId) -> Result<Approval, ApprovalError> {
        let now = self.clock.now();
        let all = self.approvals.0.lock();
        let seen = |it: &&Asked| {
            let same = by.organisation == it.approval.level.organisation;
            it.approval.id == id
                && (same || by.key.is_none())
                && it.approval.until > now
                && it.approval.decision == Decision::Open
        };
        let asked = all.values().find(seen).ok_or(ApprovalError::NotOpen(id))?;
        let approval = asked.approval.clone();
        if by.role == Role::Admin {
            return Ok(approval);
        }
        if by.role != Role::Approver && by.role < Role::Operator {
            return Err(ApprovalError::RoleNeeded(id));
        }
        let own = approval.user == by.user || approval.joined.contains(&by.user);
        if own && by.key.is_some() {
            return Err(ApprovalError::OwnRequest(id));
        }
        Ok(approval)
    }

    /// Writes a decision down, before anybody goes on because of it. Of two at once the first counts.
    fn decide(
        &self,
        (who, role): (Actor, Role),
        id: ApprovalId,
        decision: Decision,
        action: Action,
    ) -> Result<Approval, ApprovalError> {
        let (before, approval) = {
            let mut all = self.approvals.0.lock();
            let open =
                |it: &&mut Asked| it.approval.id == id && it.approval.decision == Decision::Open;
            let found = all.values_mut().find(open);
            let asked = found.ok_or(ApprovalError::NotOpen(id))?;
            let before = asked.approval.clone();
            asked.approval.decision = decision;
            (before, asked.approval.clone())
        };
        if self.keep_approvals().is_err() {
            let mut all = self.approvals.0.lock();
            if let Some(asked) = all.get_mut(&key(&before.level)) {
                asked.approval = before;
            }
            return Err(ApprovalError::Store);
        }
        let quoted = |it: &Decision| serde_json::to_string(it).ok();
        let change = Change {
            who,
            role,
            organisation: Some(Arc::clone(&approval.level.organisation)),
            action,
            object: id.to_string(),
            before: quoted(&before.decision),
            after: quoted(&approval.decision),
        };
        self.audit(change);
        Ok(approval)
    }

    fn tell_parked(&self, level: &LevelKey, verdict: Verdict) {
        let all = self.approvals.0.lock();
        if let Some(asked) = all.get(&key(level)) {
            asked.verdict.send_replace(verdict);
        }
    }

    fn keep_approvals(&self) -> Result<(), StoreError> {
        let all: Vec<Approval> = {
            let all = self.approvals.0.lock();
            all.values().map(|it| it.approval.clone()).collect()
        };
        let kept = self.keep_setting(APPROVALS, &serde_json::to_vec(&all).unwrap_or_default());
        if let Err(unwritten) = &kept {
            self.writer.health().failed(unwritten);
        }
        kept
    }

    /// Takes over what an earlier run was asked and told.
    pub(crate) fn recall_approvals(&self) -> Result<(), StoreError> {
        let kept = self.setting(APPROVALS)?;
        // What can't be read was written by another version: it is asked for again.
        let kept = kept.and_then(|it| serde_json::from_slice::<Vec<Approval>>(&it).ok());
        for approval in kept.unwrap_or_default() {
            let books = self.books(&approval.level.organisation);
            books
                .lock()
                .approve(&approval.level, approval.approved_to());
            self.tell_again(&approval);
            let mut all = self.approvals.0.lock();
            all.insert(key(&approval.level), Asked::new(approval));
        }
        Ok(())
    }

    /// Ends requests that nobody has decided on in time, and forgets those whose time is over. What
    /// was approved stays.
    pub(crate) fn expire_approvals(&self) {
        let now = self.clock.now();
        let mut expired = Vec::new();
        {
            let mut all = self.approvals.0.lock();
            if all.is_empty() {
                return;
            }
            for Asked { approval, .. } in all.values_mut() {
                if approval.until <= now && approval.decision == Decision::Open {
                    approval.decision = Decision::Expired;
                    expired.push(approval.clone());
                }
            }
            all.retain(|_, it| !it.approval.approved_to().is_zero() || it.approval.until > now);
        }
        if expired.is_empty() {
            return;
        }
        self.keep_approvals().unwrap_or_default();
        for approval in expired {
            self.report(&event::ApprovalExpired {
                approval: approval.id,
                limit: approval.level.kind.word(),
            });
            self.tell_decided(&approval);
        }
    }
}

fn parked(asked: &Asked) -> Parked {
    Parked {
        approval: asked.approval.clone(),
        verdict: asked.verdict.subscribe(),
    }
}

fn actor(by: &Principal) -> Actor {
    by.key.map_or(Actor::Local, Actor::Key)
}

fn make_room(all: &mut BTreeMap<Key, Asked>) {
    if all.len() < KEPT_MAX {
        return;
    }
    let oldest = all.iter().min_by_key(|(_, it)| it.approval.at);
    if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
        all.remove(&oldest);
    }
}
