//! Limits as they are configured.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use tidegate_admission::BucketSpec;
use tidegate_engine::settings::Settings;
use tidegate_ledger::{LevelKind, Limit, LimitTable};
use tidegate_types::Caller;

use crate::{
    Control, LimitScope,
    access::{Sight, Visitor},
    wire::{BucketLimit, BudgetLimit, Limits, Refill},
};

/// Limits of platforms and of money, as they are configured.
#[utoipa::path(get, path = "/api/v1/limits", tag = "operation",
    responses((status = 200, body = Limits)))]
pub(crate) async fn limits(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Json<Limits> {
    let settings = control.engine.settings();
    Json(Limits {
        buckets: buckets(&settings),
        budgets: budgets(settings.budgets.limits(), &visitor.sight()),
    })
}

fn buckets(settings: &Settings) -> Vec<BucketLimit> {
    let platforms = settings.platforms.iter();
    let all = platforms.flat_map(|it| it.pool.buckets().iter().map(move |bucket| (it, bucket)));
    all.map(|(platform, bucket)| bucket_limit(&platform.name, bucket))
        .collect()
}

fn bucket_limit(platform: &str, bucket: &BucketSpec) -> BucketLimit {
    BucketLimit {
        platform: platform.to_owned(),
        name: bucket.name.clone(),
        resource: bucket.resource,
        owner: bucket.owner,
        capacity: bucket.capacity,
        refill: bucket.refill.map(|it| Refill {
            amount: it.amount,
            period_seconds: it.period.as_secs_f64(),
        }),
        threshold: bucket.threshold,
        keyless: bucket.enforcement.mode(Caller::Keyless),
        asking: bucket.enforcement.mode(Caller::Asking),
    }
}

fn budgets(table: &LimitTable, sight: &Sight) -> Vec<BudgetLimit> {
    let mut all = Vec::new();
    let mut put = |level: LevelKind, scope: &LimitScope, limit: &Limit| {
        all.push(BudgetLimit {
            level: level.word().to_owned(),
            scope: scope.to_string(),
            limit: limit.into(),
        });
    };
    for level in LevelKind::ALL {
        put(level, &LimitScope::Everybody, table.defaults.of(level));
    }
    for (name, own) in &table.organisations {
        if sight.sees(name, None) {
            let scope = LimitScope::Organisation(name.clone());
            for (level, limit) in &own.limits.0 {
                put(*level, &scope, limit);
            }
            for (task, limit) in &own.tasks {
                let (organisation, task) = (name.clone(), task.clone());
                put(
                    LevelKind::Task,
                    &LimitScope::Task { organisation, task },
                    limit,
                );
            }
        }
        for (user, limits) in own
            .users
            .iter()
            .filter(|(it, _)| sight.sees(name, Some(it)))
        {
            let (organisation, user) = (name.clone(), user.clone());
            let scope = LimitScope::User { organisation, user };
            for (level, limit) in &limits.0 {
                put(*level, &scope, limit);
            }
        }
    }
    all
}
