//! What a session's own user sees of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
};

use tidegate_engine::{identity::Principal, tasks::TaskFilter};

use crate::{
    Control,
    access::Visitor,
    error::Error,
    read::{Asked, flag},
    routes::budgets::shown,
    wire::{Outlook, Session, SessionQuery, WaitingCall},
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
    let queues = flag("queues", query.queues.as_deref())?;
    let principal = visitor.principal;
    let session = control.waiting(move |control| {
        let tasks = [query.task.as_deref(), query.prompt.as_deref()];
        let tasks: Vec<&str> = tasks.into_iter().flatten().collect();
        let view = control.engine.session(&principal, &name, &tasks);
        let levels = view.levels.iter();
        let seen = levels.filter(|it| sight.sees(&it.key.organisation, it.key.user.as_deref()));
        let named = tasks
            .first()
            .and_then(|it| task_state(control, &principal, it));
        Session {
            task_state: named,
            queues: if queues {
                outlooks(control)
            } else {
                Vec::new()
            },
            task: view.task.as_deref().map(str::to_owned),
            budgets: seen.map(|it| shown(it, true)).collect(),
            waiting: view.waiting.into_iter().map(WaitingCall::from).collect(),
            session: name,
        }
    });
    Ok(Json(session.await?))
}

/// How far somebody's own task of this name is.
fn task_state(control: &Control, principal: &Principal, name: &str) -> Option<String> {
    let own = TaskFilter {
        organisation: Some(Arc::clone(&principal.organisation)),
        user: Some(Arc::clone(&principal.user)),
        name: Some(name.into()),
        ..TaskFilter::default()
    };
    let task = control.engine.find_task(&own).ok()?;
    Some(task.state.word().to_owned())
}

/// The longest waits of all queues, without saying whose they are.
fn outlooks(control: &Control) -> Vec<Outlook> {
    let mut all: BTreeMap<Arc<str>, (Duration, Duration)> = BTreeMap::new();
    for it in control.engine.waiting(|_| true) {
        let (p50, p90) = all.entry(it.platform).or_default();
        *p50 = it.wait_p50.max(*p50);
        *p90 = it.wait_p90.max(*p90);
    }
    let millis = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
    let outlook = |(platform, (p50, p90)): (Arc<str>, _)| Outlook {
        platform: platform.to_string(),
        wait_p50_ms: millis(p50),
        wait_p90_ms: millis(p90),
    };
    all.into_iter().map(outlook).collect()
}
