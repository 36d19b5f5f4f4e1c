//! Quotas as they stand.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use tidegate_admission::{Frees, QuotaFigure, QuotaKind, QuotaScope, QuotaTable, QuotaView};
use tidegate_engine::queues::QuotaWait;
use tidegate_types::{Caller, Enforcement, Timestamp};

use crate::{
    Control,
    access::{Narrowed, Visitor},
    error::Error,
    limits::QUOTA_WAITERS_MAX,
    read::Asked,
    wire::{Quota, QuotaLimit, QuotaQuery, QuotaWaiter, Quotas},
};

/// Quotas: what is used and left of them, when it is free again, and who waits for them.
#[utoipa::path(get, path = "/api/v1/quotas", tag = "budgets", params(QuotaQuery),
    responses((status = 200, body = Quotas)))]
pub(crate) async fn quotas(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<QuotaQuery>,
) -> Result<Json<Quotas>, Error> {
    let sight = visitor.sight();
    let Narrowed { organisation, user } = sight.narrow(query.organisation, query.user)?;
    let wanted = move |organisation: &str, it: &QuotaView| match it.scope {
        QuotaScope::User => {
            sight.sees(organisation, Some(&it.name))
                && user.as_ref().is_none_or(|user| *user == it.name)
        }
        QuotaScope::Organisation | QuotaScope::TaskType => {
            sight.sees(organisation, None) && user.is_none()
        }
    };
    let quotas = control.waiting(move |control| {
        let engine = &control.engine;
        let now = engine.now().wall;
        let waits = engine.quota_waits();
        let mut quotas = Vec::new();
        for (organisation, views) in engine.quotas(organisation.as_deref()) {
            let views = views.into_iter();
            let views = views.filter(|it| wanted(&organisation, it));
            quotas.extend(views.map(|it| quota(&organisation, &it, &waits, now)));
        }
        Quotas {
            quotas,
            everybody: everybody(&engine.settings().quotas),
        }
    });
    Ok(Json(quotas.await?))
}

fn quota(organisation: &Arc<str>, it: &QuotaView, waits: &[QuotaWait], now: Timestamp) -> Quota {
    let limit = limit(it.scope, it.kind, &it.figure);
    let counted = it.frees != Frees::Each;
    let waiting = waits.iter().filter(|wait| {
        wait.organisation == *organisation
            && wait.scope == it.scope
            && wait.kind == it.kind
            && wait.name == it.name
    });
    let free_in = match it.frees {
        Frees::Within(time) => Some(time.as_nanos().div_ceil(1_000_000_000)),
        Frees::At(end) => Some(u128::from(end.since(now).as_secs())),
        Frees::WhenEnded | Frees::Each => None,
    };
    Quota {
        organisation: organisation.to_string(),
        of: it.name.to_string(),
        used: counted.then_some(it.used),
        left: counted.then(|| limit.limit.saturating_sub(it.used)),
        free_in_seconds: free_in.and_then(|it| u64::try_from(it).ok()),
        waiting_count: waiting.clone().count(),
        waiting: waiting
            .take(QUOTA_WAITERS_MAX)
            .map(|it| QuotaWaiter {
                id: it.id.to_string(),
                user: it.user.to_string(),
            })
            .collect(),
        quota: limit,
    }
}

fn limit(scope: QuotaScope, kind: QuotaKind, figure: &QuotaFigure) -> QuotaLimit {
    QuotaLimit {
        scope: scope.word().to_owned(),
        kind: kind.word().to_owned(),
        limit: figure.limit.map_or(u64::MAX, std::num::NonZeroU64::get),
        named: matches!(figure.enforcement, Enforcement::Named(_)),
        keyless: figure.enforcement.mode(Caller::Keyless),
        asking: figure.enforcement.mode(Caller::Asking),
    }
}

fn everybody(table: &QuotaTable) -> Vec<QuotaLimit> {
    let scopes = [
        (QuotaScope::Organisation, &table.organisation),
        (QuotaScope::User, &table.user),
        (QuotaScope::TaskType, &table.task_type),
    ];
    let mut all = Vec::new();
    for (scope, figures) in scopes {
        let kinds = QuotaKind::ALL.into_iter();
        let limited = kinds.filter(|it| figures.of(*it).limit.is_some());
        all.extend(limited.map(|it| limit(scope, it, figures.of(it))));
    }
    all
}
