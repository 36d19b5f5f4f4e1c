//! Where telemetry of others is taken: at the gateway's own address, and at those of OTLP.

use std::{net::SocketAddr, sync::Arc};

use anyhow::bail;
use http::Request;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tidegate_engine::Engine;
use tidegate_gateway::{
    reply::ReplyBody,
    server::{self, Answerer, Answering, BadHead, Phase},
};
use tidegate_observe::event;
use tidegate_otlp::{Keep, Nowhere, Receiver, Rules};
use tidegate_segments::Telemetry;
use tidegate_types::Clock;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};

use crate::config::{Otlp, Settings};

/// What is kept of what others send.
pub(crate) fn rules(from: &Settings) -> Rules {
    Rules {
        redactor: from.redactor.clone(),
        content: from.otlp.content,
    }
}

/// What takes telemetry of others.
pub(crate) fn receiver(
    from: &Settings,
    engine: &Arc<Engine>,
    telemetry: &Arc<Telemetry>,
    clock: &Arc<dyn Clock>,
) -> Arc<Receiver> {
    let store: Arc<dyn Keep> = match from.telemetry {
        Some(_) => Arc::clone(telemetry) as Arc<dyn Keep>,
        None => Arc::new(Nowhere),
    };
    Arc::new(Receiver::new(
        Arc::clone(engine) as Arc<dyn tidegate_otlp::Senders>,
        store,
        Arc::clone(clock),
        Arc::clone(engine.registry()),
        rules(from),
    ))
}

/// OTLP over HTTP/1.1.
pub(crate) struct OverHttp(pub(crate) Arc<Receiver>);

impl Answerer for OverHttp {
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answering {
        let answering = Arc::clone(&self.0).answer_http(request, peer);
        Box::pin(async move {
            let whole = |body: http_body_util::Full<_>| body.map_err(|never| match never {});
            let answer = answering.await;
            answer.map(|body| ReplyBody::Other(whole(body).boxed_unsync()))
        })
    }

    fn refuse_head(&self, _: &[u8], _: BadHead) -> Option<Vec<u8>> {
        None
    }
}

/// The addresses that are listened on.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    grpc: Option<TcpListener>,
    http: Option<TcpListener>,
}

/// Listens where it can, and reports where it can't.
///
/// # Errors
/// An address that other machines reach, while there is no key.
pub(crate) async fn listen(at: Otlp, engine: &Engine) -> anyhow::Result<Listeners> {
    for (key, address) in [("grpc", at.grpc), ("http", at.http)] {
        if let Some(address) = address
            && !address.ip().is_loopback()
            && !engine.has_keys()
        {
            bail!(
                "`otlp.{key} = \"{address}\"` can be reached by other machines, and there is no key yet: make one first with `tidegate keys add NAME --user USER` (it works while no gateway runs), or listen on 127.0.0.1"
            );
        }
    }
    Ok(Listeners {
        grpc: bound(at.grpc, engine).await,
        http: bound(at.http, engine).await,
    })
}

async fn bound(at: Option<SocketAddr>, engine: &Engine) -> Option<TcpListener> {
    let at = at?;
    match TcpListener::bind(at).await {
        Ok(listener) => Some(listener),
        Err(error) => {
            let holder = crate::ports::holder(at.port());
            engine.report(&event::OtlpNotListening {
                listen: &at.to_string(),
                reason: &holder.map_or_else(|| error.to_string(), |it| format!("{it} has it")),
            });
            None
        }
    }
}

impl Listeners {
    /// Takes telemetry there until `phase` leaves [`Phase::Running`].
    pub(crate) fn serve(
        self,
        receiver: &Arc<Receiver>,
        phase: &watch::Receiver<Phase>,
    ) -> JoinSet<()> {
        let mut serving = JoinSet::new();
        if let Some(listener) = self.http {
            let answerer = Arc::new(OverHttp(Arc::clone(receiver)));
            serving.spawn(server::serve(listener, answerer, phase.clone()));
        }
        if let Some(listener) = self.grpc {
            let mut phase = phase.clone();
            let stopped = async move {
                // A sender that is gone has left every phase.
                let _left = phase.wait_for(|it| *it != Phase::Running).await;
            };
            serving.spawn(Arc::clone(receiver).serve_grpc(listener, stopped));
        }
        serving
    }
}
