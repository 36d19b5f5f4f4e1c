//! What a session's own user sees of it.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use crate::{
    Control,
    access::Visitor,
    error::Error,
    read::Asked,
    routes::budgets::shown,
    wire::{Session, SessionQuery, WaitingCall},
};

/// A session of one's own: what it may still spend, and whether it waits.
///
/// Made for status lines: it asks nothing but memory. A session that nobody knows has no task.
#[utoipa::path(get, path = "/api/v1/sessions/{session}", tag = "budgets",
    params(SessionQuery, ("session" = String, Path, description = "The session, as its client calls it")),
    responses((status = 200, body = Session)))]
pub(crate) async fn session(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Asked(query): Asked<SessionQuery>,
) -> Result<Json<Session>, Error> {
    let sight = visitor.sight();
    let principal = visitor.principal;
    let session = control.waiting(move |control| {
        let tasks = [query.task.as_deref(), query.prompt.as_deref()];
        let tasks: Vec<&str> = tasks.into_iter().flatten().collect();
        let view = control.engine.session(&principal, &name, &tasks);
        let levels = view.levels.iter();
        let seen = levels.filter(|it| sight.sees(&it.key.organisation, it.key.user.as_deref()));
        Session {
            task: view.task.as_deref().map(str::to_owned),
            budgets: seen.map(|it| shown(it, true)).collect(),
            waiting: view.waiting.into_iter().map(WaitingCall::from).collect(),
            session: name,
        }
    });
    Ok(Json(session.await?))
}
