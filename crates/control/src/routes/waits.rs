//! Requests for leave that wait: how they stand, by asking, by waiting, or by events.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    body::{Body as ResponseBody, Bytes},
    extract::{Path, State},
    response::{IntoResponse as _, Response},
};
use http::header;
use tidegate_engine::{
    admissions::{
        AdmissionView, HOLD_DEFAULT, HOLD_MAX, Outcome, Patience, WAIT_DEFAULT, WAIT_MAX,
    },
    identity::Principal,
};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::AdmissionId;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::{
    admissions::{approved, refused, seconds},
    streams::{Stepped, Steps},
};
use crate::{
    Control,
    access::Visitor,
    error::Error,
    limits::LONG_POLL_SECONDS_MAX,
    read::{Asked, bounded, word},
    wire::{AdmissionQuery, AdmissionRequest, AdmissionState, WaitingAdmission},
};

/// What an id of a request looks like.
const ADMISSION_ID: &str = "a request's id, adm_ and 16 hexadecimal digits";

/// How often a stream of events tells a place that has changed.
const PLACE_EVERY: Duration = Duration::from_secs(1);

/// After how many silent looks a stream shows that it lives: proxies cut what is silent.
const SILENT_LOOKS_MAX: u32 = 15;

/// How long a request may wait, and how long its leave is kept.
pub(super) fn patience(
    request: &AdmissionRequest,
    control: &Control,
) -> Result<Option<Patience>, Error> {
    if !request.wait {
        let of_waits = request.wait_seconds.or(request.hold_seconds).is_some();
        if of_waits || request.notify.is_some() {
            return Err(Error::Incomplete(
                "`wait_seconds`, `hold_seconds` and `notify` are for requests that wait: send `wait: true` with them"
                    .to_owned(),
            ));
        }
        return Ok(None);
    }
    if let Some(name) = &request.notify {
        let channels = control.operations.notice_channels();
        if channels.iter().all(|it| it.name != *name) {
            let known: Vec<_> = channels.into_iter().map(|it| it.name).collect();
            return Err(Error::Value {
                key: "notify",
                value: name.clone(),
                wanted: format!("a webhook of `[notify.webhooks]`; there are {known:?}"),
            });
        }
    }
    let read = |key, said: Option<u64>, default: Duration, most: Duration| {
        let said = said.unwrap_or(default.as_secs());
        bounded(key, said, most.as_secs()).map(Duration::from_secs)
    };
    Ok(Some(Patience {
        wait: read("wait_seconds", request.wait_seconds, WAIT_DEFAULT, WAIT_MAX)?,
        hold: read("hold_seconds", request.hold_seconds, HOLD_DEFAULT, HOLD_MAX)?,
    }))
}

/// How a request for leave stands.
///
/// With `wait` the answer comes when it is decided, or after so many seconds. Leave that was read
/// here counts as fetched: it is settled, extended or released by whoever asked.
#[utoipa::path(get, path = "/api/v1/admissions/{id}", tag = "admissions",
    params(("id" = String, Path, description = "The request that waits"), AdmissionQuery),
    responses((status = 200, body = WaitingAdmission)))]
pub(crate) async fn admission(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Asked(query): Asked<AdmissionQuery>,
) -> Result<Json<WaitingAdmission>, Error> {
    let id: AdmissionId = word("id", &id, ADMISSION_ID)?;
    let wait = bounded("wait", query.wait, LONG_POLL_SECONDS_MAX)?;
    let principal = visitor.principal;
    let followed = control.engine.follow_admission(&principal, id);
    let mut followed = followed.ok_or_else(|| no_such(id))?;
    if wait > 0 {
        let decided = followed.wait_for(|it| !matches!(it, Outcome::Waiting));
        let _late_or_decided = tokio::time::timeout(Duration::from_secs(wait), decided).await;
    }
    let seen = control.waiting(move |it| look(it, &principal, id)).await?;
    seen.map(Json).ok_or_else(|| no_such(id))
}

/// How a request for leave stands, as events.
///
/// `place` whenever its place or its wait changes, at most once a second; `decided` at its end. Both
/// carry what `GET /api/v1/admissions/{id}` answers.
#[utoipa::path(get, path = "/api/v1/admissions/{id}/events", tag = "admissions",
    params(("id" = String, Path, description = "The request that waits")),
    responses((status = 200, content_type = "text/event-stream", body = String)))]
pub(crate) async fn events(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Response, Error> {
    let id: AdmissionId = word("id", &id, ADMISSION_ID)?;
    let followed = control.engine.follow_admission(&visitor.principal, id);
    let followed = followed.ok_or_else(|| no_such(id))?;
    let permit = Arc::clone(&control.event_streams).try_acquire_owned();
    let permit = permit.map_err(|_full| Error::TooManyStreams)?;
    let following = Following {
        control,
        principal: visitor.principal,
        id,
        followed,
        told: None,
        silent: 0,
        _until_the_end: permit,
    };
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    let body = ResponseBody::new(Stepped::new(Events {
        following: Some(following),
        pause: Duration::ZERO,
    }));
    Ok((headers, body).into_response())
}

/// End the wait of a request for leave.
#[utoipa::path(delete, path = "/api/v1/admissions/{id}", tag = "admissions",
    params(("id" = String, Path, description = "The request that waits")),
    responses((status = 200, body = WaitingAdmission)))]
pub(crate) async fn withdraw(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<WaitingAdmission>, Error> {
    let id: AdmissionId = word("id", &id, ADMISSION_ID)?;
    let principal = visitor.principal;
    let seen = control.waiting(move |it| {
        it.engine.cancel_admission(&principal, id)?;
        look(it, &principal, id)
    });
    seen.await?.map(Json).ok_or_else(|| no_such(id))
}

fn no_such(id: AdmissionId) -> Error {
    Error::NoSuch {
        what: "request for leave that waits",
        id: id.to_string(),
    }
}

/// How it stands. What it was decided is fetched by that.
fn look(control: &Control, principal: &Principal, id: AdmissionId) -> Option<WaitingAdmission> {
    let view = control.engine.admission(principal, id)?;
    if !matches!(view.outcome, Outcome::Waiting) {
        control.engine.fetched_admission(id);
    }
    Some(shown(view, control))
}

/// As it is shown.
pub(super) fn shown(view: AdmissionView, control: &Control) -> WaitingAdmission {
    let (state, admission, kept_until) = match view.outcome {
        Outcome::Waiting => (AdmissionState::Waiting, None, None),
        Outcome::Approved(admitted, until) => {
            let admission = approved(admitted.as_ref().clone());
            let until = rfc3339_seconds(until);
            (AdmissionState::Approved, Some(admission), Some(until))
        }
        Outcome::Refused(not) => {
            let admission = refused(not.as_ref().clone(), control);
            (AdmissionState::Refused, Some(admission), None)
        }
        Outcome::Cancelled => (AdmissionState::Cancelled, None, None),
        Outcome::Lapsed => (AdmissionState::Lapsed, None, None),
    };
    WaitingAdmission {
        id: view.id,
        state,
        place: view.outlook.map(|it| it.place as u64),
        of: view.outlook.map(|it| it.of as u64),
        wait_p50: view.outlook.map(|it| seconds(it.p50)),
        wait_p90: view.outlook.map(|it| seconds(it.p90)),
        since: rfc3339_seconds(view.since),
        until: rfc3339_seconds(view.until),
        reason: view.reason,
        kept_until,
        admission: admission.map(Box::new),
    }
}

/// A reader of events, between two of them.
struct Following {
    control: Arc<Control>,
    principal: Principal,
    id: AdmissionId,
    followed: watch::Receiver<Outcome>,
    /// The place it was told last.
    told: Option<(Option<u64>, Option<u64>, Option<u64>)>,
    /// Looks since then.
    silent: u32,
    _until_the_end: OwnedSemaphorePermit,
}

impl Following {
    /// The next event, and who reads on; nobody once it is decided.
    async fn next(mut self, mut pause: Duration) -> Option<(Bytes, Option<Self>)> {
        loop {
            let changed = self.followed.changed();
            let _changed_or_time = tokio::time::timeout(pause, changed).await;
            pause = PLACE_EVERY;
            let (principal, id) = (self.principal.clone(), self.id);
            let seen = self.control.waiting(move |it| look(it, &principal, id));
            let seen = seen.await.ok()??;
            if seen.state != AdmissionState::Waiting {
                return Some((event("decided", &seen), None));
            }
            let place = Some((seen.place, seen.of, seen.wait_p90.map(f64::to_bits)));
            self.silent += 1;
            let chunk = if place != self.told {
                event("place", &seen)
            } else if self.silent >= SILENT_LOOKS_MAX {
                Bytes::from_static(b": still waiting\n\n")
            } else {
                continue;
            };
            (self.told, self.silent) = (place, 0);
            return Some((chunk, Some(self)));
        }
    }
}

/// The events of one reader.
struct Events {
    following: Option<Following>,
    pause: Duration,
}

impl Steps for Events {
    async fn next(self) -> Option<(Bytes, Self)> {
        let (chunk, following) = self.following?.next(self.pause).await?;
        let pause = PLACE_EVERY;
        Some((chunk, Self { following, pause }))
    }
}

fn event(name: &str, seen: &WaitingAdmission) -> Bytes {
    let json = serde_json::to_string(seen).unwrap_or_default();
    format!("event: {name}\ndata: {json}\n\n").into()
}
