//! The configuration, and who changed what.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use serde_json::Value;
use tidegate_observe::{audit::AuditRow, record::rfc3339};

use crate::{
    Control,
    access::Visitor,
    error::Error,
    limits::{CHANGES_DEFAULT, CHANGES_MAX, CHANGES_READ},
    read::{Asked, number},
    wire::{Change, ChangeQuery, Changes, Reloaded},
};

impl From<AuditRow> for Change {
    fn from(row: AuditRow) -> Self {
        let value = |text: Option<String>| {
            text.map(|it| serde_json::from_str(&it).unwrap_or(Value::String(it)))
        };
        Self {
            at: rfc3339(row.at),
            who: row.who.to_string(),
            role: row.role,
            organisation: row.organisation.map(|it| it.to_string()),
            action: row.action.word().to_owned(),
            object: row.object,
            before: value(row.before),
            after: value(row.after),
        }
    }
}

/// Changes of keys, limits, configuration and reservations, newest first.
#[utoipa::path(get, path = "/api/v1/audit", tag = "operation", params(ChangeQuery),
    responses((status = 200, body = Changes)))]
pub(crate) async fn audit(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<ChangeQuery>,
) -> Result<Json<Changes>, Error> {
    let most = number(
        "limit",
        query.limit.as_deref(),
        CHANGES_DEFAULT,
        CHANGES_MAX,
    )?;
    let rows = control
        .waiting(|control| {
            let rows = control.engine.changes(CHANGES_READ);
            rows.map_err(|it| control.store_failed(&it))
        })
        .await??;
    let sight = visitor.sight();
    let seen = |it: &AuditRow| match &it.organisation {
        Some(organisation) => sight.sees(organisation, None),
        None => visitor.at_home,
    };
    let seen = rows.into_iter().filter(seen);
    let seen = seen.take(usize::try_from(most).unwrap_or(usize::MAX));
    Ok(Json(Changes {
        changes: seen.map(Change::from).collect(),
    }))
}

/// The effective configuration, without secrets.
#[utoipa::path(get, path = "/api/v1/config", tag = "operation",
    responses((status = 200, body = Object)))]
pub(crate) async fn configuration(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Value>, Error> {
    visitor.must_be_at_home()?;
    let configuration = control.waiting(|it| it.operations.configuration());
    configuration.await.map(Json)
}

/// Read the configuration again and put it in force, without dropping a call.
#[utoipa::path(post, path = "/api/v1/reload", tag = "operation",
    responses((status = 200, body = Reloaded)))]
pub(crate) async fn reload(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Reloaded>, Error> {
    visitor.must_be_at_home()?;
    let reloaded = control
        .waiting(move |control| {
            // A limit that is being set is set before or after, not in between.
            let _one_at_a_time = control.limits.lock();
            control.operations.reload(visitor.actor())
        })
        .await?;
    let reloaded = reloaded.map_err(Error::ReloadRefused)?;
    Ok(Json(Reloaded {
        changed: reloaded.changed,
        at_next_start: reloaded.at_next_start,
    }))
}
