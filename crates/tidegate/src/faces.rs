//! The other faces of the program, on the gateway's own port.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
};

use http::{Request, Response};
use hyper::body::Incoming;
use tidegate_engine::Engine;
use tidegate_gateway::{Elsewhere, reply::ReplyBody, server::Answering};
use tidegate_types::Secret;

use crate::serve::Serving;

/// The control API, which answers what is not the gateway's.
pub(crate) struct Faces {
    serving: OnceLock<Weak<Serving>>,
}

impl Faces {
    pub(crate) fn new(_engine: Arc<Engine>, _token: Secret<String>) -> Self {
        Self {
            serving: OnceLock::new(),
        }
    }

    /// Lets the API do what the program does: reload, say whether it is ready.
    pub(crate) fn operate(&self, serving: Weak<Serving>) {
        self.serving.get_or_init(|| serving);
    }
}

impl Elsewhere for Faces {
    fn owns(&self, path: &str) -> bool {
        path == "/healthz"
    }

    fn answer(&self, _request: Request<Incoming>, _peer: SocketAddr) -> Answering {
        Box::pin(async { Response::new(ReplyBody::whole("ok")) })
    }
}
