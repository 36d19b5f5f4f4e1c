//! Links in notices: a page with one button, which decides on a request for approval.
//!
//! Looking at a link changes nothing, since previews and scanners of mail look at all of them.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    extract::{Path, Query, State, rejection::QueryRejection},
    response::Response,
};
use http::StatusCode;
use serde::Deserialize;
use tidegate_engine::approvals::{Approval, ApprovalError, Decision, Link};
use tidegate_observe::record::rfc3339_seconds;

use crate::{
    Control,
    page::{page, paragraph},
};

/// What a link carries beside the request's id.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Carried {
    d: String,
    e: u64,
    c: String,
    s: String,
}

/// Show what a link in a notice decides on, and the button that does it.
///
/// Needs no key: the link is signed, good for one request, one decision and one channel, until the
/// request is decided or its time is over.
#[utoipa::path(get, path = "/approvals/{id}", tag = "budgets",
    params(("id" = String, Path, description = "The request"),
        ("d" = String, Query, description = "`approve` or `deny`"),
        ("e" = u64, Query, description = "Until when it is good, in seconds since 1970"),
        ("c" = String, Query, description = "The channel it was sent to"),
        ("s" = String, Query, description = "Its signature")),
    responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn look(
    State(control): State<Arc<Control>>,
    id: Path<String>,
    carried: Result<Query<Carried>, QueryRejection>,
) -> Response {
    let Some((link, signature)) = link(&id, carried) else {
        return refused(&ApprovalError::BadLink);
    };
    match control.engine.linked(&link, &signature) {
        Err(why) => refused(&why),
        Ok(approval) => {
            let now = control.engine.now().wall;
            let open = approval.decision == Decision::Open && approval.until > now;
            if open && !link.is_over(now) {
                page(StatusCode::OK, &asking(&approval, &link))
            } else {
                page(StatusCode::GONE, &standing(&approval))
            }
        }
    }
}

/// Decide on a request for approval by the link in a notice.
///
/// The decision is recorded as made by the channel's reader.
#[utoipa::path(post, path = "/approvals/{id}", tag = "budgets",
    params(("id" = String, Path, description = "The request"),
        ("d" = String, Query, description = "`approve` or `deny`"),
        ("e" = u64, Query, description = "Until when it is good, in seconds since 1970"),
        ("c" = String, Query, description = "The channel it was sent to"),
        ("s" = String, Query, description = "Its signature")),
    responses((status = 200, content_type = "text/html", body = String)))]
pub(crate) async fn follow(
    State(control): State<Arc<Control>>,
    id: Path<String>,
    carried: Result<Query<Carried>, QueryRejection>,
) -> Response {
    let Some((link, signature)) = link(&id, carried) else {
        return refused(&ApprovalError::BadLink);
    };
    let followed = control.waiting(move |it| {
        let followed = it.engine.follow_link(&link, &signature);
        // Whoever comes second reads what the first has decided.
        let stands = it.engine.linked(&link, &signature).ok();
        (followed, stands)
    });
    match followed.await {
        Ok((Ok(approval), _)) => page(StatusCode::OK, &standing(&approval)),
        Ok((Err(ApprovalError::NotOpen(_)), Some(approval))) => {
            page(StatusCode::GONE, &standing(&approval))
        }
        Ok((Err(why), _)) => refused(&why),
        Err(broken) => page(
            StatusCode::INTERNAL_SERVER_ERROR,
            &paragraph(&broken.to_string()),
        ),
    }
}

fn link(
    Path(id): &Path<String>,
    carried: Result<Query<Carried>, QueryRejection>,
) -> Option<(Link, String)> {
    let Query(carried) = carried.ok()?;
    let link = Link {
        approval: id.parse().ok()?,
        approve: match carried.d.as_str() {
            "approve" => true,
            "deny" => false,
            _ => return None,
        },
        until: carried.e,
        channel: carried.c.into(),
    };
    Some((link, carried.s))
}

fn refused(why: &ApprovalError) -> Response {
    let (status, text) = match why {
        ApprovalError::BadLink => (StatusCode::FORBIDDEN, why.to_string()),
        ApprovalError::NotOpen(_) => (StatusCode::GONE, "this request is over".to_owned()),
        ApprovalError::AtHardLimit { .. } => (StatusCode::CONFLICT, why.to_string()),
        ApprovalError::OwnRequest(_) | ApprovalError::RoleNeeded(_) => {
            (StatusCode::FORBIDDEN, why.to_string())
        }
        ApprovalError::Store => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    };
    page(status, &paragraph(&text))
}

/// What is asked, and one button. The form leads to where the page was found.
fn asking(approval: &Approval, link: &Link) -> String {
    let verb = if link.approve { "Approve" } else { "Deny" };
    let Approval {
        level,
        limit,
        spent,
        asked,
        user,
        until,
        ..
    } = approval;
    let mut body = paragraph(&format!(
        "{level} would pass its soft limit of {limit}: {spent} spent and expected, {asked} more asked by {user}. Open until {}.",
        rfc3339_seconds(*until)
    ));
    // Writing to a String cannot fail.
    write!(body, "<form method=post><button>{verb}</button></form>").unwrap_or_default();
    body
}

/// How a request ended.
fn standing(approval: &Approval) -> String {
    let level = &approval.level;
    paragraph(&match &approval.decision {
        Decision::Approved { by, to } => {
            format!("Approved by {by}: {level} may be spent from up to {to}.")
        }
        Decision::Denied { by } => format!("Denied by {by}: {level} stays at its soft limit."),
        Decision::Open | Decision::Expired => {
            format!(
                "This request is over: nobody decided in time, and {level} stays at its soft limit."
            )
        }
    })
}
