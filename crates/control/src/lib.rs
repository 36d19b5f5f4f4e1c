//! The control API: admissions, budgets, keys, calls and metrics, for operators and their programs.
//!
//! A router without a listener: the program hands it every request that [`Control::owns`]. Each is
//! let in by one gate, which knows every route and what it asks of whoever uses it; a route that
//! the gate does not know does not exist.

mod access;
mod error;
mod limits;
mod openapi;
mod operations;
mod page;
mod read;
mod routes;
#[cfg(test)]
mod tests;
pub mod wire;

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use tidegate_engine::Engine;
use tidegate_ledger::keys;
use tidegate_logins::Logins;
use tidegate_observe::event;
use tidegate_segments::Telemetry;
use tidegate_types::{Secret, with_causes};
use tokio::sync::Semaphore;

pub use openapi::{OPENAPI, describe};
pub use operations::{
    LimitScope, NoticeChannel, NoticeTested, NoticeUntested, Operations, Reloaded,
};

use error::Error;

/// Where a request comes from, as an extension of it. A request without one comes from nowhere,
/// and is not taken for local.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// The control API of one engine.
pub struct Control {
    engine: Arc<Engine>,
    logins: Arc<Logins>,
    telemetry: Arc<Telemetry>,
    operations: Arc<dyn Operations>,
    /// Of the token; `None` where it is empty, which opens nothing.
    token: Option<[u8; 32]>,
    /// Held while a limit is read and another put in its place.
    limits: Mutex<()>,
    /// Held while the ledger is verified: once at a time is enough, and it takes a while.
    verifying: Mutex<()>,
    blocking: Arc<Semaphore>,
    /// One for each stream of events.
    event_streams: Arc<Semaphore>,
    /// One for each export that is made.
    exports: Arc<Semaphore>,
    scraped: Mutex<routes::Scraped>,
}

impl std::fmt::Debug for Control {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Control")
    }
}

impl Control {
    /// `token` is what the program keeps in its data directory: whoever can read it there, and
    /// sends it from this machine as bearer, may do everything.
    pub fn new(
        engine: Arc<Engine>,
        logins: Arc<Logins>,
        telemetry: Arc<Telemetry>,
        operations: Arc<dyn Operations>,
        token: Secret<String>,
    ) -> Self {
        let token = token.expose().trim();
        Self {
            engine,
            logins,
            telemetry,
            operations,
            token: (!token.is_empty()).then(|| keys::hash(token)),
            limits: Mutex::default(),
            verifying: Mutex::default(),
            blocking: Arc::new(Semaphore::new(limits::BLOCKING_MAX)),
            event_streams: Arc::new(Semaphore::new(limits::EVENT_STREAMS_MAX)),
            exports: Arc::new(Semaphore::new(limits::EXPORTS_MAX)),
            scraped: Mutex::default(),
        }
    }

    /// All routes. Requests need a [`Peer`] among their extensions.
    pub fn router(self: Arc<Self>) -> axum::Router {
        routes::router(self)
    }

    /// Whether a path is ours to answer, with 404 if with nothing else.
    pub fn owns(path: &str) -> bool {
        path == "/api/v1"
            || path.starts_with("/api/v1/")
            || path.starts_with("/approvals/")
            || path.starts_with("/oauth/")
            || matches!(
                path,
                "/healthz"
                    | "/readyz"
                    | "/metrics"
                    | "/.well-known/oauth-authorization-server"
                    | "/device"
                    | "/managed/settings"
            )
    }

    fn is_token(&self, authorization: &str) -> bool {
        self.token
            .as_ref()
            .is_some_and(|it| access::bears(authorization, it))
    }

    /// Runs what waits for files on a thread that may wait.
    async fn waiting<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let permit = Arc::clone(&self.blocking).acquire_owned().await;
        let permit = permit.map_err(|_closed| Error::Broken)?;
        let control = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let _until_done = permit;
            work(&control)
        });
        done.await
            .map_err(|panicked| control_broke(self, &panicked))
    }

    /// Reports why the store failed, and answers without it: it may name files.
    fn store_failed(&self, failure: &dyn std::error::Error) -> Error {
        self.report_failure(failure);
        Error::Store
    }

    fn report_failure(&self, failure: &dyn std::error::Error) {
        let reason = with_causes(failure);
        self.engine.report(&event::InternalError {
            place: "control",
            reason: reason.into(),
        });
    }
}

fn control_broke(control: &Control, panicked: &tokio::task::JoinError) -> Error {
    control.report_failure(panicked);
    Error::Broken
}
