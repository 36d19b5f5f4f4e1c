//! The life of a call, from its first byte to the answer's head.

use std::{
    borrow::Cow,
    collections::HashMap,
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, request::Parts,
};
use hyper::body::Incoming;
use tidegate_engine::{
    Engine,
    call::{Identified, Moment, Signals},
    identity::{Own, Presented, page_origin},
};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    event,
};
use tidegate_providers::{Dialect, Refusal, RequestFacts, scan};
use tidegate_types::{CallId, Role};

use crate::{
    claude_code,
    continuation::Continuations,
    dialect::{Route, is_claude_code, refused, route},
    inlet::{BodyBounds, Held, Inlet, InletError},
    patience::Patience,
    reply::ReplyBody,
    server::{Answerer, Answering, BadHead, HEAD_BYTES_MAX, HEADERS_MAX},
    upstream::Upstream,
};

/// What a provider needs to be called.
#[derive(Debug)]
pub struct Provider {
    /// Its connections.
    pub upstream: Arc<Upstream>,
    /// The operator's credential, as a header.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// How long the head of an answer may take.
    pub head_max: Duration,
    /// How long a stream may be silent.
    pub silence_max: Duration,
}

/// Providers by name.
pub type Providers = HashMap<Arc<str>, Arc<Provider>>;

/// When a client is to ask again whose call was cut: whoever stops the gateway has started it again by
/// then, or not at all.
const STOPPED_FOR: Duration = Duration::from_secs(5);

/// What answers requests that are not the gateway's.
pub trait Elsewhere: Send + Sync {
    /// Whether the path is its own.
    fn owns(&self, path: &str) -> bool;
    /// Answers.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answering;
}

/// The data plane.
pub struct Gateway {
    pub(crate) engine: Arc<Engine>,
    pub(crate) providers: ArcSwap<Providers>,
    pub(crate) closing: Arc<AtomicBool>,
    pub(crate) inlet: Inlet,
    pub(crate) patience: ArcSwap<Patience>,
    pub(crate) continuations: Continuations,
    elsewhere: Arc<dyn Elsewhere>,
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway")
            .field("providers", &self.providers)
            .finish_non_exhaustive()
    }
}

impl Answerer for Arc<Gateway> {
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answering {
        if self.elsewhere.owns(request.uri().path()) {
            return self.elsewhere.answer(request, peer);
        }
        let gateway = Self::clone(self);
        Box::pin(gateway.serve(request, peer))
    }

    fn refuse_head(&self, beginning: &[u8], why: BadHead) -> Option<Vec<u8>> {
        let (method, path) = request_line(beginning)?;
        // Those elsewhere have a form of their own, and no client that sends so much.
        (!self.elsewhere.owns(path)).then(|| self.bad_head(method, path, why))
    }
}

/// A call as it is carried through the phases, so that each can refuse it.
pub(crate) struct Call {
    pub(crate) dialect: Dialect,
    pub(crate) metered: bool,
    pub(crate) claude_code: bool,
    pub(crate) parts: Parts,
    pub(crate) arrived: Moment,
}

impl Gateway {
    /// A gateway that sends nothing yet.
    pub fn new(
        engine: Arc<Engine>,
        providers: Providers,
        bounds: BodyBounds,
        elsewhere: Arc<dyn Elsewhere>,
    ) -> Self {
        Self {
            engine,
            providers: ArcSwap::from_pointee(providers),
            closing: Arc::default(),
            inlet: Inlet::new(bounds),
            patience: ArcSwap::default(),
            continuations: Continuations::default(),
            elsewhere,
        }
    }

    /// Sends the calls that come from here on to other providers.
    pub fn put_providers(&self, providers: Providers) {
        self.providers.store(Arc::new(providers));
    }

    /// Holds the clients of calls that begin to wait from here on otherwise.
    pub fn put_patience(&self, patience: Patience) {
        self.patience.store(Arc::new(patience));
    }

    /// Closes connections that nobody used for a while, and forgets answers that nobody came for. To be called about once a second.
    pub fn tidy(&self) {
        self.continuations.tidy();
        for provider in self.providers.load().values() {
            provider.upstream.close_old();
        }
    }

    /// Says that calls which are dropped from here on were cut by us.
    ///
    /// Their clients are told when their connections are polled next.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Bytes of request bodies in memory.
    pub fn body_bytes(&self) -> u64 {
        self.inlet.held_bytes()
    }

    async fn serve(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Response<ReplyBody> {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path();
        let (dialect, metered) = match route(&parts.method, path, &parts.headers) {
            Route::Metered(dialect) => (dialect, true),
            Route::Counted(dialect) => (dialect, false),
            Route::Probe => return Response::new(ReplyBody::Whole(None)),
            Route::Usage => return self.usage(&parts, peer),
            Route::Nothing(dialect) => return self.not_found(dialect, &parts),
        };
        let (record, arrived) = self.engine.arrived(dialect.word(), path);
        let call = Call {
            dialect,
            metered,
            claude_code: is_claude_code(&parts.headers),
            parts,
            arrived,
        };
        let (id, claude_code) = (record.id, call.claude_code);
        let answer = Arc::clone(&self).carried(call, record, body, peer);
        let answer = self.unless_closed(answer).await;
        answer.unwrap_or_else(|| self.stopping(dialect, claude_code, id))
    }

    /// Carries a call through its phases.
    async fn carried(
        self: Arc<Self>,
        call: Call,
        record: Box<CallRecord>,
        body: Incoming,
        peer: SocketAddr,
    ) -> Response<ReplyBody> {
        match self.received(&call, record, body, peer).await {
            Ok((identified, held)) if claude_code::is_quota_probe(&call.parts, &held.bytes) => {
                let model = &identified.record.model_asked;
                claude_code::probe_answer(&self.engine, &identified.principal, model)
            }
            Ok((identified, held)) => Box::pin(self.attempt(call, identified, held)).await,
            Err((record, refusal)) => self.end(&call, record, &refusal),
        }
    }

    /// Goes on until there is an answer, or calls are cut: then it is dropped, which settles it, and
    /// there is none. Its connection polls it when that happens.
    async fn unless_closed<T>(&self, answer: impl Future<Output = T>) -> Option<T> {
        let mut answer = std::pin::pin!(answer);
        poll_fn(|cx| {
            if self.is_closed() {
                return Poll::Ready(None);
            }
            answer.as_mut().poll(cx).map(Some)
        })
        .await
    }

    /// What the client of a call is told that is cut before it has an answer.
    pub(crate) fn stopping(
        &self,
        dialect: Dialect,
        claude_code: bool,
        id: CallId,
    ) -> Response<ReplyBody> {
        let refusal = Refusal::Stopping {
            sentence:
                "the gateway is being stopped and cut this call; what came of it is accounted"
                    .to_owned(),
            wait: STOPPED_FOR,
        };
        refused(dialect, claude_code, &refusal, id, self.engine.now().wall)
    }

    /// Identify: who sends it, then its body, then what it is.
    async fn received(
        &self,
        call: &Call,
        mut record: Box<CallRecord>,
        body: Incoming,
        peer: SocketAddr,
    ) -> Result<(Box<Identified>, Held), (Box<CallRecord>, Refusal)> {
        let headers = &call.parts.headers;
        let (presented, signals) = heard(headers, peer);
        // Before the body: who may not call can't make us hold 32 MB.
        let principal = match self.engine.authenticate(&presented) {
            Ok(it) if it.role == Role::Viewer || it.role == Role::Approver => {
                let sentence = tidegate_engine::identity::Unidentified::MayNotCall.to_string();
                return Err((record, Refusal::Forbidden { sentence }));
            }
            Ok(it) => it,
            Err(unknown) => {
                let sentence = unknown.to_string();
                return Err((record, Refusal::Unauthenticated { sentence }));
            }
        };
        let body = (body, call.parts.headers.contains_key("expect"));
        let held = match self.inlet.read(body, |bytes| self.make_room(bytes)).await {
            Ok(held) => held,
            Err(error) => return Err((record, unread(&error))),
        };
        record.body_bytes = held.bytes.len() as u64;
        let facts = match Self::facts(call, &held) {
            Ok(facts) => facts,
            Err(sentence) => return Err((record, Refusal::InvalidRequest { sentence })),
        };
        let now = self.engine.now();
        record.phases.identify = micros(now, call.arrived);
        let signals = Signals {
            counted: !call.metered,
            ..signals
        };
        match self
            .engine
            .identify(record, principal, &signals, facts, now)
        {
            Ok(mut identified) => {
                let done = self.engine.now();
                identified.record.phases.estimate = micros(done, now);
                Ok((Box::new(identified), held))
            }
            Err((record, error)) => {
                let sentence = error.to_string();
                Err((record, Refusal::InvalidRequest { sentence }))
            }
        }
    }

    /// Sends waiting clients away, so that so many bytes of bodies are free soon.
    pub(crate) fn make_room(&self, bytes: u64) {
        let _freed_soon = self.engine.send_away(bytes);
    }

    fn facts(call: &Call, held: &Held) -> Result<RequestFacts, String> {
        if held.bytes.is_empty() && !call.metered {
            return Ok(RequestFacts::default());
        }
        let encoding =
            crate::headers::text(&call.parts.headers, "content-encoding").unwrap_or("identity");
        if !encoding.eq_ignore_ascii_case("identity") {
            return Err(format!(
                "the request's body is encoded with `{encoding}`, and can't be metered: send it without `content-encoding`"
            ));
        }
        let facts = scan(call.dialect, &held.bytes).map_err(|it| it.to_string())?;
        if facts.background {
            // Its usage would be told to whoever asks later, and not to us.
            return Err(
                "`background` answers can't be metered: leave it out, or set it to false"
                    .to_owned(),
            );
        }
        Ok(facts)
    }

    /// Ends a call that was not sent.
    pub(crate) fn end(
        &self,
        call: &Call,
        mut record: Box<CallRecord>,
        refusal: &Refusal,
    ) -> Response<ReplyBody> {
        let now = self.engine.now();
        let refusal = &*self.tellable(refusal);
        let response = refused(call.dialect, call.claude_code, refusal, record.id, now.wall);
        record.status = response.status().as_u16();
        if matches!(record.outcome, Outcome::Interrupted) {
            record.outcome = outcome(refusal);
        }
        if let Outcome::Refused { limit } = &record.outcome {
            self.engine.report(&event::CallRefused {
                call: &record,
                limit,
                reason: refusal.sentence(),
                wait: match refusal {
                    Refusal::Rate { wait, .. } => Some(*wait),
                    Refusal::Budget { resets_at, .. } => resets_at.map(|it| it.since(now.wall)),
                    _ => None,
                },
            });
        }
        self.engine.finish(record);
        response
    }

    /// What the holder of a key has spent. It is no call: nothing is recorded of it unless it is
    /// refused.
    fn usage(&self, parts: &Parts, peer: SocketAddr) -> Response<ReplyBody> {
        let (presented, _) = heard(&parts.headers, peer);
        match self.engine.authenticate(&presented) {
            Ok(principal) => claude_code::usage_answer(&self.engine, &principal),
            Err(unknown) => {
                let (mut record, now) = self
                    .engine
                    .arrived(Dialect::Anthropic.word(), claude_code::USAGE);
                let sentence = unknown.to_string();
                let refusal = Refusal::Unauthenticated { sentence };
                let response = refused(Dialect::Anthropic, true, &refusal, record.id, now.wall);
                record.status = response.status().as_u16();
                record.outcome = outcome(&refusal);
                self.engine.finish(record);
                response
            }
        }
    }

    fn bad_head(&self, method: &str, path: &str, why: BadHead) -> Vec<u8> {
        let unknown = HeaderMap::new();
        let method = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        let (dialect, known) = match route(&method, path, &unknown) {
            Route::Metered(dialect) | Route::Counted(dialect) => (dialect, true),
            Route::Probe => (Dialect::OpenAiChat, true),
            Route::Usage => (Dialect::Anthropic, true),
            Route::Nothing(dialect) => (dialect, false),
        };
        let path = if known { path } else { "unknown" };
        let (mut record, now) = self.engine.arrived(dialect.word(), path);
        let refusal = match why {
            BadHead::TooLarge => Refusal::HeadTooLarge {
                sentence: format!(
                    "the request's head is larger than what is taken, which is {HEADERS_MAX} header lines and {HEAD_BYTES_MAX} bytes: send fewer or shorter headers"
                ),
            },
            BadHead::Malformed => Refusal::InvalidRequest {
                sentence: "the request's head is no HTTP/1.1: look for a content-length that is no number or there twice, another transfer-encoding than chunked, and headers with bytes that none may have".to_owned(),
            },
        };
        let response = refused(dialect, false, &refusal, record.id, now.wall);
        record.status = response.status().as_u16();
        record.outcome = outcome(&refusal);
        self.engine.finish(record);
        written(response)
    }

    fn not_found(&self, dialect: Dialect, parts: &Parts) -> Response<ReplyBody> {
        let (mut record, now) = self.engine.arrived(dialect.word(), "unknown");
        let refusal = Refusal::NotFound {
            sentence: format!(
                "there is no route {} {}: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models",
                parts.method,
                shortened(parts.uri.path()),
            ),
        };
        let claude_code = is_claude_code(&parts.headers);
        let refusal = &*self.tellable(&refusal);
        let response = refused(dialect, claude_code, refusal, record.id, now.wall);
        record.status = StatusCode::NOT_FOUND.as_u16();
        record.outcome = outcome(refusal);
        self.engine.finish(record);
        response
    }

    /// A refusal that quotes no secret of the request: answers are logged by whoever gets them.
    fn tellable<'a>(&self, refusal: &'a Refusal) -> Cow<'a, Refusal> {
        match self.engine.tellable(refusal.sentence()) {
            Cow::Borrowed(_) => Cow::Borrowed(refusal),
            Cow::Owned(clean) => Cow::Owned(refusal.clone().with_sentence(clean)),
        }
    }
}

/// Method and path of a request that begins like this.
fn request_line(beginning: &[u8]) -> Option<(&str, &str)> {
    let beginning = beginning.utf8_chunks().next()?.valid();
    let (method, rest) = beginning.split_once(' ')?;
    let path = rest.split([' ', '?', '\r', '\n']).next()?;
    path.starts_with('/').then_some((method, path))
}

/// A refusal as it goes over a connection that ends with it.
fn written(response: Response<ReplyBody>) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let body = match body {
        ReplyBody::Whole(body) => body.unwrap_or_default(),
        // No refusal is made of anything else.
        ReplyBody::Relayed(_) | ReplyBody::Opened(_) | ReplyBody::Other(_) => Bytes::new(),
    };
    let mut out = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let length = format!(
        "content-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    out.extend_from_slice(length.as_bytes());
    out.extend_from_slice(&body);
    out
}

/// A path as it may be said again: without query, and not longer than a line.
fn shortened(path: &str) -> String {
    path.chars().take(80).collect()
}

pub(crate) fn micros(now: Moment, since: Moment) -> u64 {
    u64::try_from(now.mono.since(since.mono).as_micros()).unwrap_or(u64::MAX)
}

/// What a request's headers say to us, read in one pass: two dozen look-ups, most of them for what is
/// not there, cost more. Of a header that came twice the first counts; one that is no text is not
/// there.
fn heard(headers: &HeaderMap, peer: SocketAddr) -> (Presented<'_>, Signals<'_>) {
    let mut presented = Presented {
        peer: peer.ip(),
        host: None,
        origin: None,
        x_api_key: None,
        authorization: None,
        tidegate_key: None,
        own: Own::default(),
    };
    let mut it = Signals::default();
    let (mut own_session, mut origin, mut fetch_site) = (None, None, None);
    for (name, value) in headers {
        let slot = match name.as_str() {
            "host" => &mut presented.host,
            "x-api-key" => {
                presented.own.show(value.as_bytes());
                &mut presented.x_api_key
            }
            "authorization" => {
                presented.own.show(value.as_bytes());
                &mut presented.authorization
            }
            "api-key" | "x-goog-api-key" => {
                presented.own.show(value.as_bytes());
                continue;
            }
            "x-tidegate-key" => &mut presented.tidegate_key,
            // A value that is no text is foreign for sure.
            "origin" => {
                origin.get_or_insert(value.to_str().unwrap_or("?"));
                continue;
            }
            "sec-fetch-site" => {
                fetch_site.get_or_insert(value.to_str().unwrap_or("?"));
                continue;
            }
            "x-tidegate-session" => &mut own_session,
            "x-claude-code-session-id" => &mut it.session,
            "x-claude-code-agent-id" => &mut it.agent,
            "x-claude-code-parent-agent-id" => &mut it.parent_agent,
            "x-claude-code-request-class" => &mut it.class,
            "x-claude-code-prompt-id" => &mut it.prompt,
            "x-tidegate-task" => &mut it.task,
            "x-tidegate-parent-task" => &mut it.parent_task,
            "x-tidegate-priority" => &mut it.priority,
            "x-tidegate-complexity" => &mut it.complexity,
            "x-tidegate-task-type" => &mut it.task_type,
            "x-tidegate-platform" => &mut it.platform,
            "x-tidegate-max-wait" => &mut it.max_wait,
            "traceparent" => &mut it.traceparent,
            _ => continue,
        };
        if slot.is_none() {
            *slot = value.to_str().ok();
        }
    }
    presented.origin = page_origin(origin, fetch_site);
    it.session = own_session.or(it.session);
    (presented, it)
}

pub(crate) fn unread(error: &InletError) -> Refusal {
    let sentence = error.to_string();
    match error {
        InletError::TooLarge { .. } => Refusal::TooLarge { sentence },
        InletError::Busy { .. } => Refusal::Busy {
            sentence,
            wait: Duration::from_secs(2),
        },
        InletError::Silent | InletError::Slow { .. } | InletError::Cut(_) => {
            Refusal::InvalidRequest { sentence }
        }
    }
}

/// What a refusal is in a record.
fn outcome(refusal: &Refusal) -> Outcome {
    let invalid = |code: &str| Outcome::Invalid { code: code.into() };
    match refusal {
        Refusal::Budget { .. } => Outcome::Refused {
            limit: "budget".into(),
        },
        Refusal::Rate { .. } | Refusal::NeverFits { .. } | Refusal::Denied { .. } => {
            Outcome::Refused {
                limit: "rate".into(),
            }
        }
        Refusal::CounterUnreadable { .. } => Outcome::Shed {
            lacking: "ledger".into(),
        },
        Refusal::Busy { .. } => Outcome::Shed {
            lacking: "body_memory".into(),
        },
        Refusal::Stopping { .. } => Outcome::Shed {
            lacking: "time".into(),
        },
        Refusal::Unauthenticated { .. } => invalid("unauthenticated"),
        Refusal::Forbidden { .. } => invalid("forbidden"),
        Refusal::NotFound { .. } => invalid("not_found"),
        Refusal::InvalidRequest { .. } => invalid("invalid_request"),
        Refusal::TooLarge { .. } => invalid("too_large"),
        Refusal::HeadTooLarge { .. } => invalid("head_too_large"),
        Refusal::UpstreamUnreachable { .. } | Refusal::UpstreamTimeout { .. } => {
            Outcome::UpstreamUnreachable
        }
    }
}
