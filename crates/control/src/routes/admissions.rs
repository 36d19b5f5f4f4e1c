//! Leave to act, and what becomes of it.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Json,
    extract::{Path, State},
};
use http::StatusCode;
use tidegate_admission::Wait;
use tidegate_engine::{
    admissions::{
        Actual, AdmissionAsk, AdmissionError, Admitted, Answer, CorrectionError, LIFE_MAX,
        NotAdmitted, ReservationView,
    },
    identity::Principal,
    keys::Change,
};
use tidegate_ledger::{Entry, Event, Row};
use tidegate_observe::{
    audit::Action,
    record::{rfc3339, rfc3339_seconds},
};
use tidegate_types::{AdmissionId, NanoUsd, Priority, ReservationId, Tokens, Usage};

use super::waits::patience;
use crate::{
    Control,
    access::{Sight, Visitor},
    error::Error,
    limits::{EXPIRED_LIST_MAX, OPEN_LIST_MAX, TOKENS_MAX},
    read::{Body, bounded, cost, maybe_name, maybe_text, money, word},
    wire::{
        Admission, AdmissionRequest, CorrectRequest, Corrected, Expired, ExtendRequest, Extended,
        Money, Released, Reservation, Reservations, SettleRequest, Settled, Shortage, UsageRequest,
        WaitFor,
    },
};

/// Ask for leave to act.
///
/// Decides at once and, where it approves, reserves what is asked for on the platform's buckets
/// and on every budget, all or nothing. The reservation is to be settled, extended or released. With
/// `wait` it waits where it can't be approved now: `GET /api/v1/admissions/{id}` tells when it is.
#[utoipa::path(post, path = "/api/v1/admissions", tag = "admissions",
    request_body = AdmissionRequest, responses(
        (status = 200, body = Admission),
        (status = 202, description = "It waits", body = Admission)))]
pub(crate) async fn admit(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Body(request): Body<AdmissionRequest>,
) -> Result<(StatusCode, Json<Admission>), Error> {
    let patience = patience(&request, &control)?;
    let ask = ask(request)?;
    let principal = &visitor.principal;
    let priority = ask.priority.or(principal.default_priority);
    let priority = priority
        .unwrap_or(Priority::High)
        .min(principal.highest_priority);
    let principal = principal.clone();
    // It may wait for the store: the first on a level, and where many are at once.
    let answered = control.waiting(move |it| match patience {
        None => it
            .engine
            .admit(&principal, &ask)
            .map(|decided| match decided {
                Ok(admitted) => approved(admitted),
                Err(not) => refused(*not, it),
            }),
        Some(patience) => {
            let answer = it.engine.admit_or_wait(&principal, &ask, patience)?;
            Ok(match answer {
                Answer::Admitted(admitted) => approved(admitted),
                Answer::NotAdmitted(not) => refused(*not, it),
                Answer::Waits(id) => waits(id, it, &principal),
            })
        }
    });
    let admission = answered.await??;
    count(&control, &admission, priority);
    let status = if admission.waits.is_some() {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(admission)))
}

/// Leave, as it is told.
pub(super) fn approved(admitted: Admitted) -> Admission {
    Admission {
        approved: true,
        platform: admitted.platform.to_string(),
        reservation: Some(admitted.reservation),
        expires_at: Some(rfc3339_seconds(admitted.expires_at)),
        confidence: Some(1.0),
        reasons: admitted.reasons,
        ..Admission::default()
    }
}

/// No leave yet.
fn waits(id: AdmissionId, control: &Control, principal: &Principal) -> Admission {
    // It is theirs, and not forgotten so soon.
    let Some(view) = control.engine.admission(principal, id) else {
        return Admission::default();
    };
    let platform = view.platform.to_string();
    let waits = super::waits::shown(view, control);
    Admission {
        approved: false,
        platform,
        wait_time: waits.wait_p50,
        reasons: vec![waits.reason.clone()],
        waits: Some(waits),
        ..Admission::default()
    }
}

fn ask(request: AdmissionRequest) -> Result<AdmissionAsk, Error> {
    let says_how_much =
        request.tokens.is_some() || request.complexity.is_some() || request.cost_usd.is_some();
    if !says_how_much {
        return Err(Error::Incomplete(
            "say how much: `tokens` (units of the platform), `complexity`, or `cost_usd`"
                .to_owned(),
        ));
    }
    let duration = request
        .estimated_duration_seconds
        .map(duration)
        .transpose()?;
    let cost = request
        .cost_usd
        .map(|it| money("cost_usd", it))
        .transpose()?;
    Ok(AdmissionAsk {
        platform: maybe_text("platform", request.platform)?,
        tokens: bounded("tokens", request.tokens.unwrap_or_default(), TOKENS_MAX)?,
        priority: request.priority,
        task_type: maybe_text("task_type", request.task_type)?,
        estimated_duration: duration,
        user: maybe_name("user", request.user)?,
        session: maybe_text("session", request.session)?,
        task: maybe_text("task", request.task)?,
        parent_task: maybe_text("parent_task", request.parent_task)?,
        cost: cost.unwrap_or_default(),
        service: request.service,
        complexity: request.complexity,
        notify: maybe_text("notify", request.notify)?,
    })
}

fn duration(seconds: f64) -> Result<Duration, Error> {
    let duration = Duration::try_from_secs_f64(seconds).ok();
    let duration = duration.filter(|it| *it <= LIFE_MAX);
    duration.ok_or_else(|| Error::Value {
        key: "estimated_duration_seconds",
        value: seconds.to_string(),
        wanted: format!("a number of seconds from 0 to {}", LIFE_MAX.as_secs()),
    })
}

/// What a refusal waits for, and for how long.
fn wait(not: &NotAdmitted, control: &Control) -> Option<(WaitFor, Duration)> {
    match (not.wait, &not.shortage) {
        (Some(Wait::For(wait)), _) => Some((WaitFor::Refill, wait)),
        (Some(Wait::Freed { at_least }), _) => Some((WaitFor::RunningCalls, at_least)),
        (None, Some(shortage)) => {
            let resets_at = shortage.resets_at.filter(|_| !shortage.never_fits())?;
            let now = control.engine.now().wall;
            Some((WaitFor::Reset, resets_at.since(now)))
        }
        (None, None) => None,
    }
}

/// Whether no wait can ever help, by the limit itself.
fn never_fits(not: &NotAdmitted) -> bool {
    // What the engine says where budgets can't be read is not about the call.
    let by_money = not.shortage.as_ref();
    not.wait.is_none()
        && by_money.is_none_or(tidegate_ledger::Shortage::never_fits)
        && *not.limit != *"ledger"
}

/// Seconds to the millisecond, rounded up: who waits that long has waited long enough.
pub(super) fn seconds(wait: Duration) -> f64 {
    let millis = wait.as_nanos().div_ceil(1_000_000);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).as_secs_f64()
}

pub(super) fn refused(not: NotAdmitted, control: &Control) -> Admission {
    let wait = wait(&not, control);
    Admission {
        approved: false,
        platform: not.platform.to_string(),
        wait_time: wait.map(|(_, it)| seconds(it)),
        wait_for: wait.map(|(it, _)| it),
        alternative: not.alternative.as_ref().map(ToString::to_string),
        reservation: None,
        expires_at: None,
        confidence: never_fits(&not).then_some(1.0),
        limit: Some(not.limit.to_string()),
        reasons: not.reasons,
        shortage: not.shortage.map(|it| Shortage {
            level: it.level.word().to_owned(),
            limit: it.limit.into(),
            spent: it.spent.into(),
            held: it.held.into(),
            asked: it.asked.into(),
            resets_at: it.resets_at.map(rfc3339_seconds),
        }),
        waits: None,
    }
}

fn count(control: &Control, admission: &Admission, priority: Priority) {
    let registry = control.engine.registry();
    let decision = match (admission.approved, admission.wait_for) {
        (true, _) => "granted",
        (false, _) if admission.waits.is_some() => "deferred",
        (false, Some(_)) => "deferred",
        (false, None) => "never_fits",
    };
    let labels = [admission.platform.as_str(), priority.word(), decision];
    registry.decided_requests.with(labels).increment();
    if let Some(wait) = admission.wait_time {
        let wait = Duration::try_from_secs_f64(wait).unwrap_or(Duration::MAX);
        let quoted = registry.quoted_wait.with([admission.platform.as_str()]);
        quoted.observe_duration(wait);
    }
}

/// Settle a reservation with what it cost and used.
///
/// Once: a second settlement finds nothing. What it cost above its hold is booked in full.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/settle", tag = "admissions",
    params(("id" = String, Path, description = "The reservation")),
    request_body = SettleRequest, responses((status = 200, body = Settled)))]
pub(crate) async fn settle(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Body(request): Body<SettleRequest>,
) -> Result<Json<Settled>, Error> {
    let cost = request
        .cost_usd
        .map(|it| cost("cost_usd", it))
        .transpose()?;
    let tokens = request.tokens.map(|it| bounded("tokens", it, TOKENS_MAX));
    let actual = Actual {
        cost,
        tokens: tokens.transpose()?,
        usage: request.usage.map(usage).transpose()?,
        model: maybe_text("model", request.model)?,
    };
    let open = open(&control, &visitor, &id)?;
    let principal = &visitor.principal;
    let booked = control
        .engine
        .settle_reservation(principal, open.id, actual)?;
    // Of one that was unknown the engine has said so.
    if !open.unknown && !is_own(principal, &open) {
        let change = Change::by(principal, Action::ReservationSettled, open.id.to_string());
        let change = Change {
            organisation: Some(Arc::clone(&open.path.organisation)),
            ..change.from_to(
                Some(serde_json::json!({ "held": Money::from(open.held) }).to_string()),
                Some(serde_json::json!({ "cost": Money::from(booked) }).to_string()),
            )
        };
        control.waiting(move |it| it.engine.audit(change)).await?;
    }
    Ok(Json(Settled {
        reservation: open.id,
        cost: booked.into(),
    }))
}

/// Correct the cost of a reservation that was settled at an estimate, or that expired at its bound.
///
/// The next correction starts from this one's cost; to say the same cost again changes nothing.
/// Budgets follow, those of windows that are over too.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/correct", tag = "admissions",
    params(("id" = String, Path, description = "The reservation")),
    request_body = CorrectRequest, responses((status = 200, body = Corrected)))]
pub(crate) async fn correct(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Body(request): Body<CorrectRequest>,
) -> Result<Json<Corrected>, Error> {
    let to = cost("cost_usd", request.cost_usd)?;
    let id = reservation_id(&id)?;
    let corrected = control.waiting(move |it| {
        let corrected = it.engine.correct_reservation(&visitor.principal, id, to);
        corrected.map_err(|refused| match refused {
            CorrectionError::Store(_) => it.store_failed(&refused),
            other => Error::Correction(other),
        })
    });
    let corrected = corrected.await??;
    Ok(Json(Corrected {
        reservation: id,
        from: corrected.from.into(),
        to: corrected.to.into(),
    }))
}

fn usage(usage: UsageRequest) -> Result<Usage, Error> {
    let tokens = |key, it| bounded(key, it, TOKENS_MAX).map(Tokens);
    Ok(Usage {
        input: tokens("usage.input", usage.input)?,
        cache_read: tokens("usage.cache_read", usage.cache_read)?,
        cache_write_5m: tokens("usage.cache_write_5m", usage.cache_write_5m)?,
        cache_write_1h: tokens("usage.cache_write_1h", usage.cache_write_1h)?,
        output: tokens("usage.output", usage.output)?,
        reasoning: tokens("usage.reasoning", usage.reasoning)?,
        web_searches: bounded("usage.web_searches", usage.web_searches, TOKENS_MAX)?,
        ..Usage::default()
    })
}

/// Hold more for a reservation, or for longer.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/extend", tag = "admissions",
    params(("id" = String, Path, description = "The reservation")),
    request_body = ExtendRequest, responses((status = 200, body = Extended)))]
pub(crate) async fn extend(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
    Body(request): Body<ExtendRequest>,
) -> Result<Json<Extended>, Error> {
    if request.cost_usd.is_none() && request.seconds.is_none() {
        return Err(Error::Incomplete(
            "say how much more (`cost_usd`), for how long (`seconds`), or both".to_owned(),
        ));
    }
    let more = request
        .cost_usd
        .map(|it| money("cost_usd", it))
        .transpose()?;
    let seconds = bounded(
        "seconds",
        request.seconds.unwrap_or_default(),
        LIFE_MAX.as_secs(),
    )?;
    let open = open(&control, &visitor, &id)?;
    let longer = Duration::from_secs(seconds);
    let more = more.unwrap_or(NanoUsd::ZERO);
    let id = open.id;
    let expires_at = control
        .waiting(move |it| {
            let principal = &visitor.principal;
            it.engine.extend_reservation(principal, id, more, longer)
        })
        .await??;
    Ok(Json(Extended {
        reservation: id,
        expires_at: rfc3339_seconds(expires_at),
    }))
}

fn is_own(principal: &Principal, open: &ReservationView) -> bool {
    principal.organisation == open.path.organisation && principal.user == open.path.user
}

/// Release a reservation that was not used.
#[utoipa::path(post, path = "/api/v1/reservations/{id}/release", tag = "admissions",
    params(("id" = String, Path, description = "The reservation")),
    responses((status = 200, body = Released)))]
pub(crate) async fn release(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Path(id): Path<String>,
) -> Result<Json<Released>, Error> {
    let open = open(&control, &visitor, &id)?;
    let principal = &visitor.principal;
    control.engine.release_reservation(principal, open.id)?;
    if open.unknown || !is_own(principal, &open) {
        let change = Change::by(principal, Action::ReservationReleased, open.id.to_string());
        let change = Change {
            organisation: Some(Arc::clone(&open.path.organisation)),
            ..change
        };
        control.waiting(move |it| it.engine.audit(change)).await?;
    }
    Ok(Json(Released {
        reservation: open.id,
    }))
}

fn reservation_id(id: &str) -> Result<ReservationId, Error> {
    let wanted = "a reservation's id, resv_ and 16 hexadecimal digits";
    word("id", id, wanted)
}

/// The open reservation of this id, if it is the visitor's to end. To others it does not exist.
fn open(control: &Control, visitor: &Visitor, id: &str) -> Result<ReservationView, Error> {
    let id = reservation_id(id)?;
    let theirs = |it: &ReservationView| {
        let own = it.path.user == visitor.principal.user || visitor.operates();
        own && visitor.sight().sees_path(&it.path)
    };
    let open = control.engine.reservation(id).filter(theirs);
    let open = open.ok_or(AdmissionError::NotOpen(id))?;
    if open.unknown && !visitor.operates() {
        return Err(Error::Unknown(id.to_string()));
    }
    Ok(open)
}

/// Reservations that are open, and those that ended without anybody's word.
#[utoipa::path(get, path = "/api/v1/reservations", tag = "admissions",
    responses((status = 200, body = Reservations)))]
pub(crate) async fn reservations(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Reservations>, Error> {
    let sight = visitor.sight();
    control
        .waiting(move |control| list(control, &sight))
        .await?
        .map(Json)
}

fn list(control: &Control, sight: &Sight) -> Result<Reservations, Error> {
    let mut open = control.engine.reservations(|path| sight.sees_path(path));
    let more = open.len().saturating_sub(OPEN_LIST_MAX);
    open.truncate(OPEN_LIST_MAX);
    control.engine.flush();
    let expired = control.engine.ledger().uncorrected(EXPIRED_LIST_MAX);
    let expired = expired.map_err(|it| control.store_failed(&it))?;
    let shown = |it: ReservationView| Reservation {
        reservation: it.id,
        organisation: it.path.organisation.to_string(),
        user: it.path.user.to_string(),
        task: it.path.task.as_ref().map(ToString::to_string),
        service: it.path.service,
        held: it.held.into(),
        expires_at: rfc3339_seconds(it.expires_at),
        unknown: it.unknown,
    };
    Ok(Reservations {
        open: open.into_iter().map(shown).collect(),
        more: more as u64,
        expired: expired.iter().filter_map(|it| expiry(it, sight)).collect(),
    })
}

fn expiry(row: &Row, sight: &Sight) -> Option<Expired> {
    let Entry::Call(entry) = row.entry().ok()? else {
        return None;
    };
    let Event::Expire { held } = entry.event else {
        return None;
    };
    sight.sees_path(&entry.path).then(|| Expired {
        reservation: entry.reservation,
        at: rfc3339(entry.at),
        organisation: entry.path.organisation.to_string(),
        user: entry.path.user.to_string(),
        task: entry.path.task.as_ref().map(ToString::to_string),
        cost: held.into(),
    })
}
