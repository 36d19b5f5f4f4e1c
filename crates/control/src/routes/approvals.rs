//! Requests to pass a soft limit.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_engine::approvals::{self, Decision};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::ApprovalId;

use crate::{
    Control,
    access::Visitor,
    error::Error,
    read::{Body, money, word},
    wire::{Approval, Approvals, DecideRequest},
};

/// What an id of a request looks like.
const APPROVAL_ID: &str = "a request's id, appr_ and 16 hexadecimal digits";

impl From<approvals::Approval> for Approval {
    fn from(it: approvals::Approval) -> Self {
        let (state, decided_by, approved_to) = match it.decision {
            Decision::Open => ("open", None, None),
            Decision::Approved { by, to } => ("approved", Some(by.to_string()), Some(to.into())),
            Decision::Denied { by } => ("denied", Some(by.to_string()), None),
            Decision::Expired => ("expired", None, None),
        };
        Self {
            id: it.id,
            state: state.to_owned(),
            level: it.level.kind.word().to_owned(),
            organisation: it.level.organisation.to_string(),
            user: it.level.user.map(|it| it.to_string()),
            task: it.level.task.map(|it| it.to_string()),
            asked_by: it.user.to_string(),
            joined: it.joined.iter().map(ToString::to_string).collect(),
            limit: it.limit.into(),
            spent: it.spent.into(),
            asked: it.asked.into(),
            at: rfc3339_seconds(it.at),
            until: rfc3339_seconds(it.until),
            decided_by,
            approved_to,
        }
    }
}

/// Requests to pass a soft limit: those that are open, and those decided that still matter.
#[utoipa::path(get, path = "/api/v1/approvals", tag = "budgets",
    responses((status = 200, body = Approvals)))]
pub(crate) async fn approvals(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Approvals>, Error> {
    let sight = visitor.sight();
    let seen = control.engine.approvals(|it| {
        let asked = std::iter::once(&it.user).chain(&it.joined);
        let organisation = &it.level.organisation;
        asked
            .into_iter()
            .any(|user| sight.sees(organisation, Some(user)))
    });
    Ok(Json(Approvals {
        approvals: seen.into_iter().map(Approval::from).collect(),
    }))
}

/// Decide on a request to pass a soft limit.
///
/// A yes raises the level's soft limit for its life, never past its hard one, and what waits for it
/// goes on; a no refuses it. Nobody decides on their own request but the holder of the token and
/// admins.
#[utoipa::path(post, path = "/api/v1/approvals/{id}", tag = "budgets",
    params(("id" = String, Path, description = "The request")),
    request_body = DecideRequest, responses((status = 200, body = Approval)))]
pub(crate) async fn decide(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Body(request): Body<DecideRequest>,
) -> Result<Json<Approval>, Error> {
    let id: ApprovalId = word("id", &id, APPROVAL_ID)?;
    let amount = request.amount.map(|it| money("amount", it)).transpose()?;
    let principal = visitor.principal;
    let decided = control.waiting(move |it| {
        if request.approve {
            it.engine.approve(&principal, id, amount)
        } else {
            it.engine.deny(&principal, id)
        }
    });
    Ok(Json(decided.await??.into()))
}
