//! Calls that wait.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_engine::queues::{QueueView, WaitingId, WaitingView};

use crate::{
    Control,
    access::{Narrowed, Sight, Visitor},
    error::Error,
    read::{Asked, Body, word},
    wire::{PromoteRequest, Queue, QueueClass, QueueQuery, Queues, WaitChanged, WaitingCall},
};

/// What an id of something that waits looks like.
const WAITING_ID: &str =
    "a waiting call's id or request's, call_ or adm_ and 16 hexadecimal digits";

impl From<WaitingView> for WaitingCall {
    fn from(it: WaitingView) -> Self {
        Self {
            id: it.id.to_string(),
            platform: it.platform.to_string(),
            organisation: it.organisation.to_string(),
            user: it.user.to_string(),
            task: it.task.map(|it| it.to_string()),
            model: it.model.to_string(),
            priority: it.priority,
            place: it.place,
            of: it.of,
            waited_ms: millis(it.waited),
            wait_p50_ms: millis(it.wait_p50),
            wait_p90_ms: millis(it.wait_p90),
            away: it.away,
            reason: it.reason,
        }
    }
}

impl From<QueueView> for Queue {
    fn from(it: QueueView) -> Self {
        let classes = it.classes.into_iter().map(|it| QueueClass {
            priority: it.priority,
            waiting: it.waiting,
            longest_ms: millis(it.longest),
            foretold: it.calibration.scored,
            beyond_p90: it.calibration.beyond_p90,
        });
        Self {
            platform: it.platform.to_string(),
            waiting: it.waiting,
            classes: classes.collect(),
        }
    }
}

fn millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

/// Calls that wait, with their places and how long they will probably wait.
#[utoipa::path(get, path = "/api/v1/queue", tag = "queue", params(QueueQuery),
    responses((status = 200, body = Queues)))]
pub(crate) async fn queue(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<QueueQuery>,
) -> Result<Json<Queues>, Error> {
    let sight = visitor.sight();
    let Narrowed { organisation, user } = sight.narrow(query.organisation, query.user)?;
    let task = query.task;
    let queues = control.waiting(move |control| {
        let same = |asked: Option<&str>, it: Option<&str>| asked.is_none() || asked == it;
        let waiting = control.engine.waiting(|it| {
            same(organisation.as_deref(), Some(it.organisation))
                && same(user.as_deref(), Some(it.user))
                && (same(task.as_deref(), it.task) || same(task.as_deref(), it.root_task))
        });
        let all = match sight {
            Sight::All => control.engine.queues(),
            Sight::Organisation(_) | Sight::User { .. } => Vec::new(),
        };
        Queues {
            waiting: waiting.into_iter().map(WaitingCall::from).collect(),
            platforms: all.into_iter().map(Queue::from).collect(),
        }
    });
    Ok(Json(queues.await?))
}

/// End the wait of a call.
///
/// Its client is refused and told not to try again. Callers end their own, operators those of their
/// organisation.
#[utoipa::path(delete, path = "/api/v1/queue/{id}", tag = "queue",
    params(("id" = String, Path, description = "The waiting call")),
    responses((status = 200, body = WaitChanged)))]
pub(crate) async fn cancel(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<WaitChanged>, Error> {
    let id: WaitingId = word("id", &id, WAITING_ID)?;
    let principal = visitor.principal;
    let cancelled = control.waiting(move |it| it.engine.cancel_waiting(&principal, id));
    cancelled.await??;
    Ok(Json(WaitChanged { id: id.to_string() }))
}

/// Move a waiting call to another priority.
///
/// It keeps the time it has waited.
#[utoipa::path(put, path = "/api/v1/queue/{id}", tag = "queue",
    params(("id" = String, Path, description = "The waiting call")),
    request_body = PromoteRequest, responses((status = 200, body = WaitChanged)))]
pub(crate) async fn promote(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Body(request): Body<PromoteRequest>,
) -> Result<Json<WaitChanged>, Error> {
    let id: WaitingId = word("id", &id, WAITING_ID)?;
    let principal = visitor.principal;
    let promoted =
        control.waiting(move |it| it.engine.promote_waiting(&principal, id, request.priority));
    promoted.await??;
    Ok(Json(WaitChanged { id: id.to_string() }))
}
