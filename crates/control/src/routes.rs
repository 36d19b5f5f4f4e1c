//! Every route, with what it asks of whoever uses it.

mod activity;
mod admissions;
mod approvals;
mod budgets;
mod calls;
mod changes;
mod device;
mod export;
mod keys;
mod ledger;
mod limits;
mod links;
mod logins;
mod logs;
mod managed;
mod metrics;
mod notices;
mod oauth;
mod prices;
mod queue;
mod quotas;
mod sessions;
mod status;
mod streams;
mod tasks;
mod traces;
mod waits;

use std::sync::Arc;

use axum::{
    Router, middleware,
    routing::{delete, get, post, put},
};
use http::Method;

use crate::{
    Control,
    access::{Right, Route, gate},
    error::Error,
};

pub(crate) use metrics::Scraped;

const fn route(method: Method, path: &'static str, right: Right) -> Route {
    Route {
        method,
        path,
        right,
    }
}

/// What the gate lets through, and for whom. A route of the router that is missing here answers
/// 404 to everybody; a test compares both with the description of the API.
pub(crate) const ROUTES: &[Route] = &[
    route(Method::GET, "/healthz", Right::None),
    route(Method::GET, "/readyz", Right::None),
    route(Method::GET, "/metrics", Right::Look),
    route(Method::POST, "/api/v1/admissions", Right::Ask),
    route(Method::GET, "/api/v1/admissions/{id}", Right::Ask),
    route(Method::DELETE, "/api/v1/admissions/{id}", Right::Ask),
    route(Method::GET, "/api/v1/admissions/{id}/events", Right::Ask),
    route(Method::GET, "/api/v1/reservations", Right::Look),
    route(Method::POST, "/api/v1/reservations/{id}/settle", Right::Ask),
    route(Method::POST, "/api/v1/reservations/{id}/extend", Right::Ask),
    route(
        Method::POST,
        "/api/v1/reservations/{id}/release",
        Right::Ask,
    ),
    route(
        Method::POST,
        "/api/v1/reservations/{id}/correct",
        Right::Operate,
    ),
    route(Method::GET, "/api/v1/status", Right::Look),
    route(Method::GET, "/api/v1/limits", Right::Look),
    route(Method::GET, "/api/v1/budgets", Right::Look),
    route(Method::PUT, "/api/v1/budgets/{level}", Right::Operate),
    route(Method::GET, "/api/v1/quotas", Right::Look),
    route(Method::GET, "/api/v1/approvals", Right::Look),
    route(Method::POST, "/api/v1/approvals/{id}", Right::Decide),
    // The link itself is the right.
    route(Method::GET, "/approvals/{id}", Right::None),
    route(Method::POST, "/approvals/{id}", Right::None),
    route(
        Method::POST,
        "/api/v1/notices/{channel}/test",
        Right::Operate,
    ),
    route(Method::GET, "/api/v1/calls", Right::Look),
    route(Method::GET, "/api/v1/calls/{id}", Right::Look),
    route(Method::GET, "/api/v1/calls/running", Right::Look),
    route(Method::GET, "/api/v1/logs", Right::Look),
    route(Method::GET, "/api/v1/logs/count", Right::Look),
    route(Method::GET, "/api/v1/logs/histogram", Right::Look),
    route(Method::GET, "/api/v1/logs/tail", Right::Look),
    route(Method::GET, "/api/v1/logs/export", Right::Look),
    route(Method::GET, "/api/v1/traces/{id}", Right::Look),
    route(Method::GET, "/api/v1/activity", Right::Look),
    route(Method::POST, "/api/v1/tasks", Right::Ask),
    route(Method::GET, "/api/v1/tasks", Right::Look),
    route(Method::GET, "/api/v1/tasks/{id}", Right::Look),
    route(Method::PATCH, "/api/v1/tasks/{id}", Right::Ask),
    route(Method::GET, "/api/v1/queue", Right::Look),
    route(Method::DELETE, "/api/v1/queue/{id}", Right::Ask),
    route(Method::PUT, "/api/v1/queue/{id}", Right::Operate),
    route(Method::GET, "/api/v1/sessions/{session}", Right::Look),
    route(Method::GET, "/api/v1/prices", Right::Look),
    route(Method::GET, "/api/v1/keys", Right::Administer),
    route(Method::POST, "/api/v1/keys", Right::Administer),
    route(Method::DELETE, "/api/v1/keys/{id}", Right::Administer),
    route(Method::GET, "/api/v1/logins", Right::Look),
    route(Method::POST, "/api/v1/logins", Right::Ask),
    route(Method::DELETE, "/api/v1/logins/{id}", Right::Ask),
    // Codes and tokens are the right.
    route(
        Method::GET,
        "/.well-known/oauth-authorization-server",
        Right::None,
    ),
    route(Method::POST, "/oauth/device_authorization", Right::None),
    route(Method::POST, "/oauth/token", Right::None),
    route(Method::POST, "/oauth/revoke", Right::None),
    // It asks for a key itself.
    route(Method::GET, "/device", Right::None),
    route(Method::POST, "/device", Right::None),
    route(Method::GET, "/managed/settings", Right::Look),
    route(Method::GET, "/api/v1/audit", Right::LookAround),
    route(Method::GET, "/api/v1/config", Right::LookAround),
    route(Method::POST, "/api/v1/reload", Right::Operate),
    route(Method::GET, "/api/v1/ledger/entries", Right::Look),
    route(Method::POST, "/api/v1/ledger/verify", Right::Operate),
    route(Method::GET, "/api/v1/openapi.json", Right::Look),
];

pub(crate) fn router(control: Arc<Control>) -> Router {
    Router::new()
        .route("/healthz", get(status::alive))
        .route("/readyz", get(status::ready))
        .route("/metrics", get(metrics::expose))
        .route("/api/v1/admissions", post(admissions::admit))
        .route(
            "/api/v1/admissions/{id}",
            get(waits::admission).delete(waits::withdraw),
        )
        .route("/api/v1/admissions/{id}/events", get(waits::events))
        .route("/api/v1/reservations", get(admissions::reservations))
        .route("/api/v1/reservations/{id}/settle", post(admissions::settle))
        .route("/api/v1/reservations/{id}/extend", post(admissions::extend))
        .route(
            "/api/v1/reservations/{id}/release",
            post(admissions::release),
        )
        .route(
            "/api/v1/reservations/{id}/correct",
            post(admissions::correct),
        )
        .route("/api/v1/status", get(status::status))
        .route("/api/v1/limits", get(limits::limits))
        .route("/api/v1/budgets", get(budgets::budgets))
        .route("/api/v1/budgets/{level}", put(budgets::set_limit))
        .route("/api/v1/quotas", get(quotas::quotas))
        .route("/api/v1/approvals", get(approvals::approvals))
        .route("/api/v1/approvals/{id}", post(approvals::decide))
        .route("/approvals/{id}", get(links::look).post(links::follow))
        .route("/api/v1/notices/{channel}/test", post(notices::test))
        .route("/api/v1/calls", get(calls::calls))
        .route("/api/v1/calls/{id}", get(calls::call))
        .route("/api/v1/calls/running", get(tasks::running_calls))
        .route("/api/v1/tasks", get(tasks::tasks).post(tasks::create_task))
        .route(
            "/api/v1/tasks/{id}",
            get(tasks::task).patch(tasks::change_task),
        )
        .route("/api/v1/queue", get(queue::queue))
        .route(
            "/api/v1/queue/{id}",
            delete(queue::cancel).put(queue::promote),
        )
        .route("/api/v1/sessions/{session}", get(sessions::session))
        .route("/api/v1/prices", get(prices::prices))
        .route("/api/v1/keys", get(keys::list).post(keys::make))
        .route("/api/v1/keys/{id}", delete(keys::revoke))
        .merge(telemetry())
        .merge(signing_in())
        .route("/api/v1/audit", get(changes::audit))
        .route("/api/v1/config", get(changes::configuration))
        .route("/api/v1/reload", post(changes::reload))
        .route("/api/v1/ledger/entries", get(ledger::entries))
        .route("/api/v1/ledger/verify", post(ledger::verify))
        .route("/api/v1/openapi.json", get(status::description))
        // The gate answers for what is not here; this is for what it can't name.
        .fallback(async || Error::NoRoute(String::new()))
        .layer(middleware::from_fn_with_state(Arc::clone(&control), gate))
        .with_state(control)
}

/// What happened, asked for.
fn telemetry() -> Router<Arc<Control>> {
    Router::new()
        .route("/api/v1/logs", get(logs::logs))
        .route("/api/v1/logs/count", get(logs::count_logs))
        .route("/api/v1/logs/histogram", get(logs::log_histogram))
        .route("/api/v1/logs/tail", get(logs::tail_logs))
        .route("/api/v1/logs/export", get(logs::export_logs))
        .route("/api/v1/traces/{id}", get(traces::trace))
        .route("/api/v1/activity", get(activity::activity))
}

/// What programs that sign in use, and those who confirm them.
fn signing_in() -> Router<Arc<Control>> {
    Router::new()
        .route(
            "/api/v1/logins",
            get(logins::list_logins).post(logins::decide_login),
        )
        .route("/api/v1/logins/{id}", delete(logins::end_login))
        .route(
            "/.well-known/oauth-authorization-server",
            get(oauth::login_metadata),
        )
        .route(
            "/oauth/device_authorization",
            post(oauth::device_authorization),
        )
        .route("/oauth/token", post(oauth::token))
        .route("/oauth/revoke", post(oauth::sign_out))
        .route("/device", get(device::sign_in_page).post(device::sign_in))
        .route("/managed/settings", get(managed::managed_settings))
}

/// The handlers as the description of the API sees them.
pub(crate) mod described {
    pub(crate) use super::{
        activity::*, admissions::*, approvals::*, budgets::*, calls::*, changes::*, device::*,
        keys::*, ledger::*, limits::*, links::*, logins::*, logs::*, managed::*, metrics::*,
        notices::*, oauth::*, prices::*, queue::*, quotas::*, sessions::*, status::*, tasks::*,
        traces::*, waits::*,
    };
}
