//! What somebody is told of a request for approval.

use tidegate_ledger::LevelKey;
use tidegate_observe::{
    notice::{Decides, Topic},
    record::{Fields, rfc3339_seconds},
};
use tidegate_types::NanoUsd;

use super::{Approval, Decision};
use crate::{Engine, notices::Telling};

/// `task fix-1 of acme/ann`, `user_day of acme/ann`, `llm of acme`: a level in a sentence.
pub(crate) fn whose(level: &LevelKey) -> String {
    let LevelKey {
        kind,
        organisation,
        user,
        task,
        ..
    } = level;
    let owner = match user {
        Some(user) => format!("{organisation}/{user}"),
        None => organisation.to_string(),
    };
    match task {
        Some(task) => format!("budget `{kind}` of `{task}` ({owner})"),
        None => format!("budget `{kind}` of {owner}"),
    }
}

/// What names a level to programs.
pub(crate) fn fields_of(level: &LevelKey) -> Fields {
    let fields = Fields::new()
        .with("limit", level.kind.word())
        .with("organisation", &*level.organisation);
    fields
        .maybe("user", level.user.as_ref())
        .maybe("task", level.task.as_ref())
        .maybe("opens", level.opens)
}

/// Dollars without their sign, exact.
pub(crate) fn dollars(amount: NanoUsd) -> String {
    amount.to_string().replace('$', "")
}

fn fields(approval: &Approval) -> Fields {
    fields_of(&approval.level)
        .shown("approval", approval.id)
        .with("asked_by", &*approval.user)
        .with("soft_limit_usd", dollars(approval.limit))
        .with("spent_usd", dollars(approval.spent))
        .with("asked_usd", dollars(approval.asked))
        .with("until", rfc3339_seconds(approval.until))
}

impl Engine {
    /// Tells those who decide.
    pub(super) fn tell_asked(&self, approval: &Approval) {
        let Approval {
            id,
            level,
            limit,
            spent,
            asked,
            user,
            until,
            ..
        } = approval;
        let text = format!(
            "{} would pass its soft limit of {limit}: {spent} spent and expected, {asked} more asked by {user}. Somebody has to decide until {}: `tidegate approve {id}` or `tidegate deny {id}`",
            whose(level),
            rfc3339_seconds(*until),
        );
        self.notify(Telling {
            topic: Topic::ApprovalAsked,
            of: &[&id.to_string()],
            text,
            fields: fields(approval),
            decides: Some(Decides {
                approval: *id,
                until: *until,
            }),
            to: None,
        });
    }

    /// Tells how a request ended; nothing while it is open.
    pub(super) fn tell_decided(&self, approval: &Approval) {
        let id = approval.id;
        let whose = whose(&approval.level);
        let user = &approval.user;
        let (topic, text, by, to) = match &approval.decision {
            Decision::Open => return,
            Decision::Approved { by, to } => (
                Topic::ApprovalDecided,
                format!(
                    "{whose} may be spent from up to {to}: {by} approved request {id} of {user}"
                ),
                Some(by),
                Some(*to),
            ),
            Decision::Denied { by } => (
                Topic::ApprovalDecided,
                format!(
                    "{whose} stays at its soft limit of {}: {by} denied request {id} of {user}",
                    approval.limit
                ),
                Some(by),
                None,
            ),
            Decision::Expired => (
                Topic::ApprovalExpired,
                format!(
                    "{whose} stays at its soft limit of {}: nobody decided on request {id} of {user} in time",
                    approval.limit
                ),
                None,
                None,
            ),
        };
        let decision = match &approval.decision {
            Decision::Approved { .. } => "approved",
            Decision::Denied { .. } => "denied",
            Decision::Open | Decision::Expired => "expired",
        };
        let fields = fields(approval)
            .with("decision", decision)
            .maybe("decided_by", by)
            .maybe("approved_to_usd", to.map(dollars));
        self.notify(Telling {
            topic,
            of: &[&id.to_string()],
            text,
            fields,
            decides: None,
            to: None,
        });
    }

    /// Tells again what an earlier run may have been killed before it could: whoever was told
    /// knows it by its id.
    pub(super) fn tell_again(&self, approval: &Approval) {
        if approval.until <= self.clock.now() {
            return;
        }
        match approval.decision {
            Decision::Open => self.tell_asked(approval),
            Decision::Approved { .. } | Decision::Denied { .. } | Decision::Expired => {
                self.tell_decided(approval);
            }
        }
    }
}
