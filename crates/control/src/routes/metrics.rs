//! Metrics in Prometheus' text format.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{extract::State, response::IntoResponse};
use http::header;
use tidegate_observe::metrics::MEDIA_TYPE;

use crate::{Control, error::Error, routes::budgets::is_current};

/// What the last scrape set, so that what is gone since is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Scraped {
    buckets: BTreeSet<[String; 2]>,
    budgets: BTreeSet<[String; 2]>,
}

/// Metrics, in Prometheus' text format 0.0.4.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(crate) async fn expose(
    State(control): State<Arc<Control>>,
) -> Result<impl IntoResponse, Error> {
    let text = control
        .waiting(|control| {
            measure(control);
            control.engine.registry().expose()
        })
        .await?;
    Ok(([(header::CONTENT_TYPE, MEDIA_TYPE)], text))
}

/// Sets the gauges of what has a level rather than events.
fn measure(control: &Control) {
    let mut scraped = control.scraped.lock();
    let registry = control.engine.registry();
    let status = control.engine.status();
    let version = registry.build_version.with([status.version]);
    version.set(1);
    let open = registry.open_reservations.with([]);
    open.set(status.open_reservations as u64);
    let unknown = registry.unknown_reservations.with([]);
    unknown.set(control.engine.unknown_reservations() as u64);
    let dropped = registry.dropped_reservations.with([]);
    // The engine counts without instruments; we hold the lock, so that nothing is added twice.
    dropped.add(status.dropped_reservations.saturating_sub(dropped.value()));
    measure_buckets(control, &mut scraped);
    measure_queues(control);
    measure_budgets(control, &mut scraped);
    control.operations.measure(registry);
}

fn measure_buckets(control: &Control, scraped: &mut Scraped) {
    let registry = control.engine.registry();
    let mut now = BTreeSet::new();
    for platform in control.engine.pool_views() {
        for bucket in &platform.buckets {
            let labels = [platform.platform.as_str(), bucket.name.as_str()];
            let level = u64::try_from(bucket.level).unwrap_or(0);
            let fill = registry.bucket_fill.with(labels);
            fill.set_ratio(level, bucket.capacity);
            let debt = registry.bucket_debt.with(labels);
            debt.set_ratio(bucket.debt, bucket.capacity);
            now.insert(labels.map(str::to_owned));
        }
    }
    for [platform, bucket] in scraped.buckets.difference(&now) {
        registry.bucket_fill.forget([platform, bucket]);
        registry.bucket_debt.forget([platform, bucket]);
    }
    scraped.buckets = now;
}

/// Those of a platform that is gone stay at their last value: its calls are the last it will have.
fn measure_queues(control: &Control) {
    let registry = control.engine.registry();
    for queue in control.engine.queues() {
        for class in queue.classes {
            let labels = [&*queue.platform, class.priority.word()];
            registry
                .waiting_calls
                .with(labels)
                .set(class.waiting as u64);
            let longest = u64::try_from(class.longest.as_nanos()).unwrap_or(u64::MAX);
            registry.longest_wait.with(labels).set(longest);
            if let Some(fairness) = class.fairness {
                let gauge = registry.user_fairness.with(labels);
                gauge.set_ratio(fairness, 1_000_000_000);
            }
            let [platform, priority] = labels;
            let (known, p50, p90) = (
                class.calibration.scored,
                class.calibration.beyond_p50,
                class.calibration.beyond_p90,
            );
            for (result, waits) in [
                ("within", known - p50),
                ("beyond_p50", p50 - p90),
                ("beyond_p90", p90),
            ] {
                // The queue counts without instruments; we hold the lock, so that nothing is added
                // twice.
                let counter = registry.foretold_waits.with([platform, priority, result]);
                counter.add(waits.saturating_sub(counter.value()));
            }
        }
    }
}

/// Of users and tasks the fullest of each organisation: their names would be too many.
fn measure_budgets(control: &Control, scraped: &mut Scraped) {
    let registry = control.engine.registry();
    let time = control.engine.now().wall;
    let mut fullest: BTreeMap<[String; 2], (u64, u64)> = BTreeMap::new();
    for view in control.engine.levels(None) {
        let Some(hard) = view.limit.hard.filter(|_| is_current(&view, time)) else {
            continue;
        };
        let used = (view.spent.saturating_add(view.held).0, hard.0);
        let labels = [
            view.key.organisation.to_string(),
            view.key.kind.word().to_owned(),
        ];
        let most = fullest.entry(labels).or_insert(used);
        if fuller(used, *most) {
            *most = used;
        }
    }
    for ([organisation, level], (used, hard)) in &fullest {
        let gauge = registry.budget_used.with([organisation, level]);
        gauge.set_ratio(*used, *hard);
    }
    let now: BTreeSet<[String; 2]> = fullest.into_keys().collect();
    for [organisation, level] in scraped.budgets.difference(&now) {
        registry.budget_used.forget([organisation, level]);
    }
    scraped.budgets = now;
}

/// Whether the first part of its whole is larger than the second of its.
fn fuller(a: (u64, u64), b: (u64, u64)) -> bool {
    let cross = |part: u64, whole: u64| u128::from(part) * u128::from(whole);
    cross(a.0, b.1) > cross(b.0, a.1)
}
