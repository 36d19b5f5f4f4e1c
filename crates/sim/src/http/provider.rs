//! One request from its arrival to its answer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use tidegate_types::{Timestamp, Tokens, Usage};

use super::{
    arrived::{
        Arrived, account_of, collect, credential_of, dialect_of, family_of, identify, put, put_all,
        request_id, whole,
    },
    body::{AnswerBody, Streamed, Streaming},
    fixed::{Fixed, StreamScan},
    refusal,
    socket::ResetSwitch,
    time::{Stand, Time},
};
use crate::{
    Fault, FaultKind, ProviderSpec, Seeded,
    answer::{Answer, Envelope, Refused, Script, models_body},
    ask::{Ask, Dialect},
    directive::{self, Directives},
    wire_log::{WireLog, WireRecord, body_fingerprint},
    world::{Account, Call, Family, Headers, Ticket, Verdict, World},
};

/// An emulated provider: its world under a clock.
#[derive(Debug)]
pub(super) struct Provider {
    world: Mutex<World>,
    spec: ProviderSpec,
    time: Time,
    log: Arc<WireLog>,
    served: AtomicU64,
    fixed: Option<Fixed>,
}

/// A record that is written when its answer is dropped, which is when it ended.
pub(super) struct Recording {
    provider: Arc<Provider>,
    pub(super) record: WireRecord,
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.record.ended_at = self.provider.now();
        self.provider.log.write(std::mem::take(&mut self.record));
    }
}

type Answered = Result<Response<AnswerBody>, io::Error>;

/// A call that is understood.
struct Understood {
    ask: Ask,
    call: Call,
    answer: Answer,
    fault: Option<Fault>,
}

impl Provider {
    pub(super) fn open(spec: ProviderSpec) -> io::Result<Self> {
        let time = Time::of(&spec);
        Ok(Self {
            world: Mutex::new(World::new(spec.clone(), time.now())),
            log: Arc::new(WireLog::open(&spec.log)?),
            fixed: spec.fixed.as_ref().map(Fixed::build),
            served: AtomicU64::new(0),
            spec,
            time,
        })
    }

    pub(super) fn log(&self) -> &WireLog {
        &self.log
    }

    /// The provider's time.
    pub(super) fn now(&self) -> Timestamp {
        self.time.now()
    }

    /// As [`Time::reach`].
    pub(super) fn reach(&self, since: Timestamp, after: Duration) -> bool {
        self.time.reach(since, after)
    }

    pub(super) fn produce(&self, ticket: &mut Ticket, tokens: Tokens) {
        let now = self.now();
        self.world.lock().produce(ticket, tokens, now);
    }

    /// Answers a request. An error ends the connection.
    pub(super) async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        reset: ResetSwitch,
    ) -> Answered {
        let number = self.served.fetch_add(1, Ordering::Relaxed);
        let serial = Seeded::new(self.spec.seed.wrapping_add(number)).draw();
        let (parts, body) = request.into_parts();
        if let Some(fixed) = &self.fixed
            && let Some(dialect) = dialect_of(&parts)
        {
            return fixed_answer(fixed, dialect, body, serial).await;
        }
        let collected = collect(body).await?;
        let family = family_of(&parts);
        let credential = credential_of(&parts.headers);
        let too_large = collected.is_none();
        let body = collected.unwrap_or_default();
        let recording = Recording {
            record: self.record(&parts, &body, credential, serial),
            provider: Arc::clone(&self),
        };
        let arrived = Arrived {
            account: credential.map(account_of),
            family,
            body,
            parts,
            serial,
            recording,
            reset,
        };
        if too_large {
            return Ok(arrived.refuse(refusal::too_large()));
        }
        self.route(arrived).await
    }

    async fn route(self: Arc<Self>, arrived: Arrived) -> Answered {
        let path = arrived.parts.uri.path();
        let method = &arrived.parts.method;
        if path == "/" && (*method == Method::HEAD || *method == Method::GET) {
            return Ok(arrived.reply(
                StatusCode::OK,
                "text/plain",
                Headers::default(),
                Bytes::new(),
            ));
        }
        if path == "/sim/clock"
            && let Some(stand) = self.time.stand()
        {
            return Ok(self.clock(arrived, stand));
        }
        let refused_text = &self.spec.refused_credential;
        let credential = credential_of(&arrived.parts.headers);
        let known = credential.filter(|it| refused_text.is_empty() || !it.contains(refused_text));
        let (Some(account), Some(_)) = (arrived.account, known) else {
            return Ok(arrived.refuse(refusal::unauthorized()));
        };
        if let Some(dialect) = dialect_of(&arrived.parts) {
            return self.call(arrived, dialect, account).await;
        }
        if path == "/v1/messages/count_tokens" && *method == Method::POST {
            return Ok(self.count_tokens(arrived, account));
        }
        if let Some(rest) = path.strip_prefix("/v1/models")
            && *method == Method::GET
        {
            let only = rest.strip_prefix('/').filter(|it| !it.is_empty());
            let anthropic = arrived.family == Family::Anthropic;
            return match models_body(anthropic, only, &self.spec.models) {
                Some(body) if rest.is_empty() || only.is_some() => Ok(arrived.json(body.into())),
                _ => {
                    let refused = refusal::no_such_model(rest.trim_start_matches('/'));
                    Ok(arrived.refuse(refused))
                }
            };
        }
        let refused = refusal::no_such_route(path);
        Ok(arrived.refuse(refused))
    }

    /// Says where a clock stands that is driven, or moves it on.
    fn clock(&self, arrived: Arrived, stand: Stand) -> Response<AnswerBody> {
        let mut stands = stand;
        if arrived.parts.method == Method::POST {
            let to = match serde_json::from_slice::<Stand>(&arrived.body) {
                Ok(to) => to,
                Err(error) => {
                    let remedy = "write {\"at_ns\": N}, nanoseconds since the start";
                    return arrived.refuse(refusal::malformed(format!("{error}: {remedy}")));
                }
            };
            if let Err(reason) = self.time.move_to(to) {
                return arrived.refuse(refusal::malformed(reason));
            }
            stands = to;
        }
        arrived.json(format!(r#"{{"at_ns":{}}}"#, stands.at_ns).into())
    }

    fn count_tokens(&self, arrived: Arrived, account: Account) -> Response<AnswerBody> {
        let ask = match Ask::parse(Dialect::Messages, &arrived.body, true) {
            Ok(ask) => ask,
            Err(malformed) => return arrived.refuse(refusal::malformed(malformed.0)),
        };
        let call = Call {
            family: Family::Anthropic,
            account,
            model: ask.model,
            blocks: ask.blocks,
            output: Tokens(0),
            max_tokens: None,
            scripted: None,
        };
        let now = self.now();
        let counted = self.world.lock().count_tokens(&call, now);
        match counted {
            Ok(tokens) => arrived.json(format!(r#"{{"input_tokens":{}}}"#, tokens.0).into()),
            Err(wait) => arrived.refuse(refusal::limited(
                Family::Anthropic,
                crate::world::Limit::Requests,
                wait,
                Headers::default(),
            )),
        }
    }

    async fn call(
        self: Arc<Self>,
        mut arrived: Arrived,
        dialect: Dialect,
        account: Account,
    ) -> Answered {
        let understood = match self.understand(&arrived, dialect, account) {
            Ok(understood) => understood,
            Err(refused) => return Ok(arrived.refuse(refused)),
        };
        let record = &mut arrived.recording.record;
        record.model.clone_from(&understood.ask.model);
        record.stream = understood.ask.stream;
        record.max_tokens = understood.ask.max_tokens;
        record.fault = understood.fault.map(|it| it.to_string());
        if let Some(fault) = understood.fault {
            if fault.kind == FaultKind::SlowHeaders {
                tokio::time::sleep(fault.delay()).await;
            }
            if fault.kind == FaultKind::Reset {
                arrived.reset.store(true, Ordering::Relaxed);
                return Err(io::Error::new(io::ErrorKind::ConnectionReset, "on demand"));
            }
            if let Some(refused) = refusal::on_demand(arrived.family, fault) {
                return Ok(arrived.refuse(refused));
            }
        }
        let verdict = self.world.lock().admit(&understood.call, self.now());
        let ticket = match verdict {
            Verdict::Admitted(ticket) => ticket,
            Verdict::Limited { limit, wait } => {
                let headers = self.limit_headers(&understood.call);
                let refused = refusal::limited(arrived.family, limit, wait, headers);
                return Ok(arrived.refuse(refused));
            }
            Verdict::SpendCapReached => {
                let headers = self.limit_headers(&understood.call);
                let refused = refusal::spend_cap(arrived.family, headers);
                return Ok(arrived.refuse(refused));
            }
        };
        arrived.recording.record.usage = Some(ticket.used());
        Ok(self.run(arrived, understood, *ticket).await)
    }

    fn understand(
        &self,
        arrived: &Arrived,
        dialect: Dialect,
        account: Account,
    ) -> Result<Understood, Refused> {
        let malformed = |text: String| refusal::malformed(text);
        let mut ask =
            Ask::parse(dialect, &arrived.body, false).map_err(|error| malformed(error.0))?;
        if !self.spec.models.is_empty() && !self.spec.models.contains(&ask.model) {
            return Err(refusal::no_such_model(&ask.model));
        }
        let header = |name: &str| {
            let value = arrived.parts.headers.get(name)?;
            value.to_str().ok()
        };
        let usage = header("x-sim-usage").map(directive::parse_usage);
        let scripted = usage.transpose().map_err(|it| malformed(it.to_string()))?;
        if let Some(first) = header("x-sim").and_then(|it| directive::steps(it).into_iter().next())
        {
            ask.directives = first;
        }
        let asked = match header("x-sim-fault").map(str::parse::<Fault>) {
            Some(fault) => Some(fault.map_err(|it| malformed(it.to_string()))?),
            None => ask.directives.fault,
        };
        let now = self.now();
        let fault = self.world.lock().fault(asked, account, ask.prompt, now);
        let answer = Answer::plan(&ask, scripted.as_ref(), &self.spec, arrived.serial);
        let call = Call {
            family: dialect.family(),
            account,
            model: ask.model.clone(),
            blocks: std::mem::take(&mut ask.blocks),
            output: Tokens(answer.output),
            max_tokens: ask.max_tokens.map(Tokens),
            scripted,
        };
        Ok(Understood {
            ask,
            call,
            answer,
            fault,
        })
    }

    fn limit_headers(&self, call: &Call) -> Headers {
        let now = self.now();
        self.world.lock().headers(call, now)
    }

    async fn run(
        self: Arc<Self>,
        arrived: Arrived,
        understood: Understood,
        mut ticket: Ticket,
    ) -> Response<AnswerBody> {
        let Directives {
            sleep, stream_for, ..
        } = understood.ask.directives;
        let before = self.time.real(ticket.first_byte) + sleep;
        self.time.pass(before).await;
        let rest = ticket.whole.saturating_sub(ticket.first_byte);
        let spread = self.time.real(rest).max(stream_for);
        let now = self.now();
        self.world.lock().begin(&mut ticket, now);
        let envelope = self.envelope(&arrived, &understood, ticket.usage);
        let kind = understood.fault.map(|it| it.kind);
        if kind == Some(FaultKind::Garbage) {
            let headers = self.limit_headers(&understood.call);
            let garbage = Bytes::from_static(b"<html>\x00\xff this is not an answer");
            return arrived.reply(StatusCode::OK, "text/html", headers, garbage);
        }
        if understood.ask.stream {
            let headers = self.limit_headers(&understood.call);
            return self.stream(arrived, understood, (ticket, envelope, spread), headers);
        }
        self.time.pass(spread).await;
        let output = ticket.usage.output;
        self.produce(&mut ticket, output);
        let headers = self.limit_headers(&understood.call);
        let body = understood.answer.body(&envelope);
        whole(arrived, (kind, ticket.used()), headers, body)
    }

    fn stream(
        self: Arc<Self>,
        arrived: Arrived,
        understood: Understood,
        (ticket, envelope, spread): (Ticket, Envelope, Duration),
        headers: Headers,
    ) -> Response<AnswerBody> {
        let per_event = u64::from(self.spec.answer.tokens_per_event)
            * u64::from(self.spec.bytes_per_token_tenths)
            / 10;
        let per_event = usize::try_from(per_event).unwrap_or(usize::MAX);
        let script = Script::new(understood.answer, envelope, per_event);
        let mut recording = arrived.recording;
        recording.record.status = 200;
        let mut response = Response::new(AnswerBody::Streamed(Box::new(Streamed::new(
            script,
            Streaming {
                provider: self,
                dialect: understood.ask.dialect,
                ticket,
                recording,
                spread,
                fault: understood.fault,
                reset: arrived.reset,
            },
        ))));
        let map = response.headers_mut();
        put(map, "content-type", "text/event-stream; charset=utf-8");
        put(map, "cache-control", "no-cache");
        identify(map, arrived.family, (arrived.account, arrived.serial));
        put_all(map, headers);
        response
    }

    fn envelope(&self, arrived: &Arrived, understood: &Understood, usage: Usage) -> Envelope {
        Envelope {
            dialect: understood.ask.dialect,
            serial: arrived.serial,
            model: understood.ask.model.clone(),
            created: self.now().seconds(),
            usage: Usage {
                reasoning: Tokens(understood.answer.reasoning),
                ..usage
            },
            include_usage: understood.ask.include_usage,
        }
    }

    fn record(
        &self,
        parts: &request::Parts,
        body: &[u8],
        credential: Option<&str>,
        serial: u64,
    ) -> WireRecord {
        let mut header_names: Vec<String> = parts.headers.keys().map(ToString::to_string).collect();
        header_names.sort_unstable();
        let session = parts.headers.get("x-claude-code-session-id");
        WireRecord {
            at: self.now(),
            request_id: request_id(serial),
            method: parts.method.to_string(),
            path: parts.uri.path().chars().take(200).collect(),
            credential: credential.map_or(String::new(), |it| {
                let digest = account_of(it).fingerprint;
                format!("{:08x}", digest >> 32)
            }),
            header_names,
            session: session
                .and_then(|it| it.to_str().ok())
                .map(|it| it.chars().take(100).collect()),
            body_bytes: body.len() as u64,
            body_fingerprint: body_fingerprint(body),
            ..WireRecord::default()
        }
    }
}

async fn fixed_answer(
    fixed: &Fixed,
    dialect: Dialect,
    mut body: Incoming,
    serial: u64,
) -> Answered {
    let mut scan = StreamScan::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(io::Error::other)?;
        if let Some(piece) = frame.data_ref() {
            scan.feed(piece);
        }
    }
    let mut response = Response::new(fixed.answer(dialect, scan.found()));
    let content_type = if scan.found() {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    let map = response.headers_mut();
    put(map, "content-type", content_type);
    identify(map, dialect.family(), (None, serial));
    Ok(response)
}
