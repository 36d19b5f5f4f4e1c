//! The gateway at one moment, and whether it takes calls.

use std::sync::Arc;

use axum::{
    Extension, Json,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{StatusCode, header};
use tidegate_admission::{BucketView, PenaltyView, PoolView};
use tidegate_engine::views::LimitView;
use tidegate_observe::record::rfc3339_seconds;
use tidegate_segments::Telemetry;
use tidegate_types::{Caller, Mode};

use crate::{
    Control,
    access::{Sight, Visitor},
    wire::{
        Bucket, BucketClass, LimitMode, NoticeChannel, Penalty, Platform, Readiness, Reason,
        Status, TelemetryStatus, Watched,
    },
};

/// What enforces limits that nobody named.
const ENFORCE_WITH: &str = "tidegate serve --enforce";

/// That the program is there: 200 for as long as it answers at all.
#[utoipa::path(get, path = "/healthz", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain")), security(()))]
pub(crate) async fn alive() -> &'static str {
    "serving\n"
}

/// Whether calls are taken: 200, or 503 with the reasons.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)), security(()))]
pub(crate) async fn ready(State(control): State<Arc<Control>>) -> Response {
    let reasons = reasons(&control);
    let ready = reasons.is_empty();
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, reasons })).into_response()
}

/// Everybody may read this: it names no file.
fn reasons(control: &Control) -> Vec<Reason> {
    let reason = |code: &str, message: &str| Reason {
        code: code.to_owned(),
        message: message.to_owned(),
    };
    let mut reasons = Vec::new();
    if !control.engine.health().is_writable() {
        reasons.push(reason(
            "ledger_unwritable",
            "the ledger can't be written: calls under enforced limits are refused; see `tidegate status`",
        ));
    }
    if control.operations.is_draining() {
        reasons.push(reason(
            "draining",
            "the gateway is stopping: it takes no new calls and waits for those in flight",
        ));
    }
    reasons
}

/// The gateway at one moment: platforms, limits and whom they bind, readiness.
#[utoipa::path(get, path = "/api/v1/status", tag = "operation",
    responses((status = 200, body = Status)))]
pub(crate) async fn status(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Json<Status> {
    let status = control.engine.status();
    let reasons = reasons(&control);
    let sight = visitor.sight();
    let limits: Vec<LimitMode> = status.limits.into_iter().map(mode).collect();
    let watches = |it: &&LimitMode| it.keyless == Mode::Watch || it.asking == Mode::Watch;
    let watched = limits.iter().filter(watches);
    let platforms = status.platforms.into_iter();
    let cooldowns = status.cooldowns.into_iter();
    let cooldowns = cooldowns.filter(|it| it.account.as_deref().is_none_or(|it| sees(&sight, it)));
    let plan_windows = status.plan_windows.into_iter();
    let plan_windows = plan_windows.filter(|it| sees(&sight, &it.account));
    Json(Status {
        version: status.version.to_owned(),
        ready: reasons.is_empty(),
        reasons,
        // It may name files, which are the gateway's own matter.
        store_says: status.why_not.filter(|_| visitor.at_home),
        platforms: platforms.map(|it| platform(it, &sight)).collect(),
        cooldowns: cooldowns.map(Into::into).collect(),
        plan_windows: plan_windows.map(Into::into).collect(),
        notice_channels: if visitor.at_home {
            control
                .operations
                .notice_channels()
                .into_iter()
                .map(channel)
                .collect()
        } else {
            Vec::new()
        },
        telemetry: visitor.at_home.then(|| telemetry(&control.telemetry)),
        watched: Watched {
            limits: watched.map(|it| it.limit.clone()).collect(),
            enforce_with: ENFORCE_WITH.to_owned(),
        },
        limits,
        open_reservations: status.open_reservations as u64,
        unknown_reservations: control.engine.unknown_reservations() as u64,
        dropped_reservations: status.dropped_reservations,
        shed_records: status.shed_records,
    })
}

/// Whether somebody may see what is said of an account: the operator's is everybody's to use.
fn sees(sight: &Sight, account: &str) -> bool {
    account
        .split_once('/')
        .is_none_or(|(organisation, user)| sight.sees(organisation, Some(user)))
}

fn channel(it: crate::NoticeChannel) -> NoticeChannel {
    let (failing_since, says) = it.failing.unzip();
    NoticeChannel {
        name: it.name,
        format: it.format.to_owned(),
        waiting: it.waiting,
        failing_since: failing_since.map(rfc3339_seconds),
        says,
        lost: it.lost,
    }
}

fn telemetry(of: &Telemetry) -> TelemetryStatus {
    let it = of.condition();
    let status = it.status.unwrap_or_default();
    TelemetryStatus {
        enabled: of.is_on(),
        failing: it.failing,
        stored_bytes: status.recent_bytes + status.log_bytes + status.part_bytes,
        parts: status.parts as u64,
        damaged: it.damaged,
        crowded_out_parts: it.crowded_out_parts,
    }
}

fn mode(view: LimitView) -> LimitMode {
    LimitMode {
        limit: view.limit,
        keyless: view.keyless,
        asking: view.asking,
    }
}

fn platform(view: PoolView, sight: &Sight) -> Platform {
    let seen = |it: &PenaltyView| match &it.organisation {
        Some(organisation) => sight.sees(organisation, it.user.as_deref()),
        None => true,
    };
    let penalties = view.penalties.into_iter().filter(seen);
    Platform {
        platform: view.platform,
        buckets: view.buckets.into_iter().map(bucket).collect(),
        penalties: penalties
            .map(|it| Penalty {
                organisation: it.organisation,
                user: it.user,
                priority: it.priority,
                left_seconds: it.left_seconds,
            })
            .collect(),
    }
}

fn bucket(view: BucketView) -> Bucket {
    let classes = view.classes.into_iter().map(|it| BucketClass {
        priority: it.priority,
        earned: it.earned,
        waits: it.waits,
    });
    Bucket {
        name: view.name,
        resource: view.resource,
        owner: view.owner,
        keyless: view.enforcement.mode(Caller::Keyless),
        asking: view.enforcement.mode(Caller::Asking),
        capacity: view.capacity,
        level: view.level,
        threshold: view.threshold,
        held: view.held,
        debt: view.debt,
        overdrawn: view.overdrawn,
        debt_total: view.debt_total,
        full_in_seconds: view.full_in_seconds,
        classes: classes.collect(),
        provider: view.mirror.map(Into::into),
    }
}

/// This description.
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "operation",
    responses((status = 200, body = Object)))]
pub(crate) async fn description() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], crate::OPENAPI)
}
