//! Keys: made, shown without their secrets, revoked.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use http::StatusCode;
use tidegate_engine::keys::NewKey;
use tidegate_ledger::keys::{self as stored, SECRET_BYTES};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::{KeyId, Priority};

use crate::{
    Control,
    access::{By, Visitor},
    error::Error,
    read::{Body, maybe_name, name, word},
    wire::{Key, KeyMade, KeyRequest, KeyRevoked, Keys},
};

impl From<stored::Key> for Key {
    fn from(key: stored::Key) -> Self {
        Self {
            id: key.id,
            name: key.name,
            role: key.role,
            user: key.user,
            organisation: key.organisation,
            default_priority: key.default_priority,
            highest_priority: key.highest_priority,
            default_task_type: key.default_task_type,
            created_at: rfc3339_seconds(key.created_at),
            revoked_at: key.revoked_at.map(rfc3339_seconds),
        }
    }
}

/// Keys, revoked ones too.
#[utoipa::path(get, path = "/api/v1/keys", tag = "keys", operation_id = "list_keys",
    responses((status = 200, body = Keys)))]
pub(crate) async fn list(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Keys>, Error> {
    let sight = visitor.sight();
    let keys = control
        .waiting(|control| {
            let keys = control.engine.list_keys();
            keys.map_err(|it| control.store_failed(&it))
        })
        .await??;
    let seen = keys
        .into_iter()
        .filter(|it| sight.sees(&it.organisation, None));
    Ok(Json(Keys {
        keys: seen.map(Key::from).collect(),
    }))
}

/// Make a key. Its secret is in this answer and nowhere else.
#[utoipa::path(post, path = "/api/v1/keys", tag = "keys", operation_id = "make_key",
    request_body = KeyRequest, responses((status = 201, body = KeyMade)))]
pub(crate) async fn make(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Body(request): Body<KeyRequest>,
) -> Result<(StatusCode, Json<KeyMade>), Error> {
    let new = new_key(request, &visitor)?;
    let made = control
        .waiting(move |control| {
            let mut random = [0; SECRET_BYTES];
            getrandom::fill(&mut random).map_err(|it| {
                control.report_failure(&it);
                Error::Broken
            })?;
            let made = control.engine.add_key(new, &visitor.principal, &random);
            made.map_err(|it| control.store_failed(&it))
        })
        .await?;
    let (key, secret) = made?;
    let made = KeyMade {
        key: key.into(),
        secret: secret.expose().clone(),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

fn new_key(request: KeyRequest, visitor: &Visitor) -> Result<NewKey, Error> {
    let own = &visitor.principal.organisation;
    let organisation = match maybe_name("organisation", request.organisation)? {
        Some(asked) if *asked != **own && visitor.by != By::Token => {
            return Err(Error::OtherOrganisation { asked });
        }
        Some(asked) => asked,
        None => own.to_string(),
    };
    let highest_priority = request.highest_priority.unwrap_or(Priority::High);
    if let Some(default) = request.default_priority.filter(|it| *it > highest_priority) {
        return Err(Error::Value {
            key: "default_priority",
            value: default.to_string(),
            wanted: format!("a priority up to `highest_priority`, {highest_priority}"),
        });
    }
    Ok(NewKey {
        name: name("name", request.name)?,
        role: request.role,
        user: name("user", request.user)?,
        organisation,
        default_priority: request.default_priority,
        highest_priority,
        default_task_type: maybe_name("default_task_type", request.default_task_type)?,
    })
}

/// Revoke a key: it is refused from now on.
#[utoipa::path(delete, path = "/api/v1/keys/{id}", tag = "keys", operation_id = "revoke_key",
    params(("id" = String, Path, description = "The key's id, not its secret")),
    responses((status = 200, body = KeyRevoked)))]
pub(crate) async fn revoke(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<KeyRevoked>, Error> {
    let key: KeyId = word("id", &id, "a key's id, key_ and 16 hexadecimal digits")?;
    let revoked = control
        .waiting(move |control| {
            let keys = control.engine.list_keys();
            let keys = keys.map_err(|it| control.store_failed(&it))?;
            let sight = visitor.sight();
            let seen = |it: &stored::Key| it.id == key && sight.sees(&it.organisation, None);
            if !keys.iter().any(seen) {
                return Ok::<_, Error>(false);
            }
            let revoked = control.engine.revoke_key(key, &visitor.principal);
            let revoked = revoked.map_err(|it| control.store_failed(&it))?;
            // What was confirmed with it ends with it.
            let ended = control.logins.revoke_confirmed_by(key);
            let ended = ended.map_err(|it| control.store_failed(&it))?;
            let who = || (visitor.actor(), visitor.principal.role);
            for it in &ended {
                control.login_ended(who(), Some(it));
            }
            Ok(revoked)
        })
        .await?;
    if revoked? {
        Ok(Json(KeyRevoked { id: key }))
    } else {
        Err(Error::NoSuch {
            what: "key in force",
            id,
        })
    }
}
