//! Sign-ins: confirmed with a code, listed, ended.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use tidegate_engine::keys::Change;
use tidegate_logins::{self as logins, Asking, Holder};
use tidegate_observe::{
    audit::{Action, Actor},
    record::rfc3339_seconds,
};
use tidegate_types::{KeyId, Role};

use crate::{
    Control,
    access::{By, Sight, Visitor},
    error::Error,
    read::{Body, maybe_name, word},
    wire::{Login, LoginDecided, LoginDecision, LoginEnded, Logins},
};

impl From<logins::Login> for Login {
    fn from(it: logins::Login) -> Self {
        Self {
            id: it.id,
            user: it.holder.user.to_string(),
            organisation: it.holder.organisation.to_string(),
            program: it.surface.to_string(),
            confirmed_by: it.holder.by,
            here_only: it.holder.here_only,
            created_at: rfc3339_seconds(it.created_at),
            renewed_at: rfc3339_seconds(it.renewed_at),
            ends_at: rfc3339_seconds(it.until()),
        }
    }
}

/// Programs that are signed in.
#[utoipa::path(get, path = "/api/v1/logins", tag = "logins",
    responses((status = 200, body = Logins)))]
pub(crate) async fn list_logins(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Logins>, Error> {
    let sight = visitor.sight();
    let now = control.engine.now().wall;
    let all = control.waiting(move |it| it.logins.list(now)).await?;
    let seen = all.into_iter().filter(|it| sees(&sight, it));
    Ok(Json(Logins {
        logins: seen.map(Login::from).collect(),
    }))
}

fn sees(sight: &Sight, login: &logins::Login) -> bool {
    sight.sees(&login.holder.organisation, Some(&login.holder.user))
}

/// Say yes or no to a program that waits to be signed in.
///
/// With a yes its calls are those of whoever said it, with their limits and the right to call alone.
/// Without a key or the token, the sign-in is good on this machine alone. Ten wrong codes in ten
/// minutes are the most that a user may try.
#[utoipa::path(post, path = "/api/v1/logins", tag = "logins",
    request_body = LoginDecision, responses((status = 200, body = LoginDecided)))]
pub(crate) async fn decide_login(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Body(decision): Body<LoginDecision>,
) -> Result<Json<LoginDecided>, Error> {
    let decided = control.waiting(move |it| decide(it, &visitor, decision));
    Ok(Json(decided.await??))
}

pub(crate) fn decide(
    control: &Control,
    visitor: &Visitor,
    decision: LoginDecision,
) -> Result<LoginDecided, Error> {
    let holder = holder(control, visitor, decision.user, decision.organisation)?;
    let principal = &visitor.principal;
    let typist = format!("{}/{}", principal.organisation, principal.user);
    let now = control.engine.now().mono;
    let asking = if decision.approve {
        let id = control.engine.next_key_id();
        let confirmed = (id, holder.clone());
        let asking = control
            .logins
            .confirm(&typist, &decision.code, confirmed, now)?;
        confirmed_by(control, visitor, id, (&holder, &asking));
        asking
    } else {
        control.logins.deny(&typist, &decision.code, now)?
    };
    let as_whom = Some(holder).filter(|_| decision.approve);
    Ok(LoginDecided {
        approved: decision.approve,
        program: asking.surface.to_string(),
        from: asking.from.to_string(),
        user: as_whom.as_ref().map(|it| it.user.to_string()),
        organisation: as_whom.map(|it| it.organisation.to_string()),
    })
}

/// For whom a visitor may confirm.
fn holder(
    control: &Control,
    visitor: &Visitor,
    user: Option<String>,
    organisation: Option<String>,
) -> Result<Holder, Error> {
    let principal = &visitor.principal;
    if principal
        .key
        .is_some_and(|it| control.logins.get(it).is_some())
    {
        return Err(Error::KeyOfOnesOwn);
    }
    if matches!(principal.role, Role::Viewer | Role::Approver) {
        return Err(Error::MayNotAsk(principal.role));
    }
    let user = maybe_name("user", user)?.filter(|it| **it != *principal.user);
    let organisation =
        maybe_name("organisation", organisation)?.filter(|it| **it != *principal.organisation);
    let admin = visitor.by != By::Nothing && principal.role == Role::Admin;
    match (&organisation, &user) {
        (Some(asked), _) if visitor.by != By::Token => {
            return Err(Error::OtherOrganisation {
                asked: asked.clone(),
            });
        }
        (_, Some(asked)) if !admin => {
            return Err(Error::OtherUser {
                asked: asked.clone(),
            });
        }
        _ => {}
    }
    Ok(Holder {
        organisation: organisation.map_or_else(|| Arc::clone(&principal.organisation), Arc::from),
        user: user.map_or_else(|| Arc::clone(&principal.user), Arc::from),
        by: principal.key,
        here_only: visitor.by == By::Nothing,
        default_priority: principal.default_priority,
        highest_priority: principal.highest_priority,
        default_task_type: principal.default_task_type.clone(),
    })
}

fn confirmed_by(
    control: &Control,
    visitor: &Visitor,
    id: KeyId,
    (holder, asking): (&Holder, &Asking),
) {
    let after = serde_json::json!({
        "user": holder.user,
        "program": asking.surface,
        "from": asking.from,
        "here_only": holder.here_only,
    });
    let change = Change {
        organisation: Some(Arc::clone(&holder.organisation)),
        ..Change::by(&visitor.principal, Action::LoginConfirmed, id.to_string())
    };
    let change = change.from_to(None, Some(after.to_string()));
    control.engine.key_changed(change, id);
}

/// End a sign-in: its tokens are refused from now on.
///
/// Callers end their own, operators those of their organisation.
#[utoipa::path(delete, path = "/api/v1/logins/{id}", tag = "logins",
    params(("id" = String, Path, description = "The sign-in, as in the list")),
    responses((status = 200, body = LoginEnded)))]
pub(crate) async fn end_login(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<LoginEnded>, Error> {
    let login: KeyId = word("id", &id, "a sign-in's id, key_ and 16 hexadecimal digits")?;
    let sight = if visitor.operates() {
        visitor.sight()
    } else {
        Sight::User {
            organisation: Arc::clone(&visitor.principal.organisation),
            user: Arc::clone(&visitor.principal.user),
        }
    };
    let ended = control.waiting(move |control| {
        let known = control.logins.get(login).filter(|it| sees(&sight, it));
        let Some(known) = known else {
            return Ok::<_, Error>(false);
        };
        let ended = control.logins.revoke(known.id);
        let ended = ended.map_err(|it| control.store_failed(&it))?;
        let who = (visitor.actor(), visitor.principal.role);
        control.login_ended(who, ended.as_ref());
        Ok(ended.is_some())
    });
    if ended.await?? {
        Ok(Json(LoginEnded { id: login }))
    } else {
        Err(Error::NoSuch {
            what: "sign-in in force",
            id,
        })
    }
}

impl Control {
    /// Reports and records that a sign-in was ended before its time.
    pub(crate) fn login_ended(&self, (who, role): (Actor, Role), ended: Option<&logins::Login>) {
        let Some(login) = ended else { return };
        let before = serde_json::json!({ "user": login.holder.user, "program": login.surface });
        let change = Change {
            who,
            role,
            organisation: Some(Arc::clone(&login.holder.organisation)),
            action: Action::LoginEnded,
            object: login.id.to_string(),
            before: Some(before.to_string()),
            after: None,
        };
        self.engine.key_changed(change, login.id);
    }
}
