//! The other faces of the program, on the gateway's own port.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
};

use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};
use tidegate_control::{
    Control, LimitScope, NoticeChannel, NoticeTested, NoticeUntested, Operations, Peer, Reloaded,
};
use tidegate_engine::Engine;
use tidegate_gateway::{
    Elsewhere,
    reply::{BodyError, ReplyBody},
    server::{Answerer as _, Answering, Phase},
};
use tidegate_ledger::{LevelKind, Limit};
use tidegate_logins::Logins;
use tidegate_notify::Untested;
use tidegate_observe::{audit::Actor, metrics::Registry};
use tidegate_otlp::Receiver;
use tidegate_segments::Telemetry;
use tidegate_types::Secret;
use tower::ServiceExt as _;

use crate::{otlp::OverHttp, serve::Serving};

/// The control API, which answers what is not the gateway's.
pub(crate) struct Faces {
    router: axum::Router,
    otlp: OverHttp,
    operator: Arc<Operator>,
}

impl Faces {
    pub(crate) fn new(
        engine: Arc<Engine>,
        logins: Arc<Logins>,
        telemetry: Arc<Telemetry>,
        receiver: Arc<Receiver>,
        token: Secret<String>,
    ) -> Self {
        let operator = Arc::new(Operator::default());
        let control = Control::new(engine, logins, telemetry, operator.clone(), token);
        let control = Arc::new(control);
        Self {
            router: control.router(),
            otlp: OverHttp(receiver),
            operator,
        }
    }

    /// Lets the API do what the program does: reload, set limits, say whether it is ready.
    pub(crate) fn operate(&self, serving: Weak<Serving>) {
        self.operator.0.get_or_init(|| serving);
    }
}

impl Elsewhere for Faces {
    fn owns(&self, path: &str) -> bool {
        Receiver::owns(path) || Control::owns(path)
    }

    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answering {
        if Receiver::owns(request.uri().path()) {
            return self.otlp.answer(request, peer);
        }
        let router = self.router.clone();
        Box::pin(async move {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Peer(peer));
            match router.oneshot(request).await {
                Ok(answer) => answer
                    .map(|body| ReplyBody::Other(body.map_err(BodyError::from).boxed_unsync())),
                Err(never) => match never {},
            }
        })
    }
}

/// What the API has the program do. Holds it weakly: the program owns the API.
#[derive(Default)]
struct Operator(OnceLock<Weak<Serving>>);

impl Operator {
    fn serving(&self) -> Result<Arc<Serving>, String> {
        let serving = self.0.get().and_then(Weak::upgrade);
        serving.ok_or_else(|| "the program is starting or stopping: try again".to_owned())
    }
}

impl Operations for Operator {
    fn reload(&self, by: Actor) -> Result<Reloaded, String> {
        self.serving()?.reload(by)
    }

    fn set_limit(
        &self,
        level: LevelKind,
        scope: &LimitScope,
        limit: Limit,
        _by: Actor,
    ) -> Result<(), String> {
        self.serving()?.set_limit(level, scope, limit)
    }

    fn configuration(&self) -> Value {
        let Ok(serving) = self.serving() else {
            return Value::Null;
        };
        let loaded = serving.loaded.lock();
        let values = loaded
            .effective
            .iter()
            .map(|it| json!({ "key": it.key, "value": it.value, "origin": it.origin.to_string() }));
        Value::Array(values.collect())
    }

    fn managed_settings(&self) -> Option<Value> {
        let serving = self.serving().ok()?;
        let loaded = serving.loaded.lock();
        loaded.settings.claude_code.clone()
    }

    fn test_notices(&self, channel: &str) -> Result<NoticeTested, NoticeUntested> {
        let serving = self.serving().map_err(NoticeUntested::Unanswered)?;
        let test = serving.courier.test(channel, serving.clock.now());
        // On a thread that may wait: see `Operations`.
        let tested = tokio::runtime::Handle::current().block_on(test);
        match tested {
            Ok(it) => Ok(NoticeTested {
                status: it.status,
                says: it.says,
            }),
            Err(why @ Untested::UnknownChannel { .. }) => {
                Err(NoticeUntested::UnknownChannel(why.to_string()))
            }
            Err(why @ Untested::Unanswered(_)) => Err(NoticeUntested::Unanswered(why.to_string())),
        }
    }

    fn notice_channels(&self) -> Vec<NoticeChannel> {
        let Ok(serving) = self.serving() else {
            return Vec::new();
        };
        let channels = serving.courier.channels().into_iter();
        let channels = channels.map(|it| NoticeChannel {
            name: it.name.to_string(),
            format: it.format,
            waiting: it.waiting as u64,
            failing: it.failing,
            lost: it.lost,
        });
        channels.collect()
    }

    fn is_draining(&self) -> bool {
        let running = |it: Arc<Serving>| *it.phase.borrow() == Phase::Running;
        !self.serving().is_ok_and(running)
    }

    fn measure(&self, registry: &Registry) {
        if let Ok(serving) = self.serving() {
            crate::usage::measure(registry, &serving);
        }
    }
}
