//! OTLP over HTTP: `POST /v1/logs`, `/v1/traces` and `/v1/metrics`.
//!
//! <https://opentelemetry.io/docs/specs/otlp/#otlphttp>

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::Body;
use http_body_util::Full;

use crate::{
    answer,
    decode::Signal,
    error::Refusal,
    receiver::{Brought, Form, Receiver, Taken},
};

const PROTOBUF: HeaderValue = HeaderValue::from_static("application/x-protobuf");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The signal that a path takes.
fn signal(path: &str) -> Option<Signal> {
    match path {
        "/v1/logs" => Some(Signal::Logs),
        "/v1/traces" => Some(Signal::Traces),
        "/v1/metrics" => Some(Signal::Metrics),
        _ => None,
    }
}

impl Receiver {
    /// Whether a path is one of OTLP over HTTP.
    pub fn owns(path: &str) -> bool {
        signal(path).is_some()
    }

    /// Answers a request over HTTP, once its records are kept.
    pub async fn answer_http<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Response<Full<Bytes>>
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let signal = signal(parts.uri.path());
        let form = form(&parts.headers);
        let taken =
            match signal {
                Some(_) if parts.method != Method::POST => Err(Refusal::NoRoute(shortened(
                    &format!("{} {}", parts.method, parts.uri.path()),
                ))),
                Some(signal) => self.take_http(signal, &form, &parts, (body, peer)).await,
                None => Err(Refusal::NoRoute(shortened(parts.uri.path()))),
            };
        let json = matches!(form, Ok(Form::Json));
        let response = match (taken, signal) {
            (Ok(taken), Some(signal)) => success(&taken, signal, json),
            (Ok(taken), None) => success(&taken, Signal::Logs, json),
            (Err(refusal), _) => self.refuse_http(&refusal, json),
        };
        let transport = if json { "http/json" } else { "http/protobuf" };
        self.answered(transport, signal, response.status().as_str());
        response
    }

    async fn take_http<B>(
        &self,
        signal: Signal,
        form: &Result<Form, Refusal>,
        parts: &http::request::Parts,
        (body, peer): (B, SocketAddr),
    ) -> Result<Taken, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let sender = self.sender(&parts.headers, parts.uri.authority(), peer)?;
        let form = match form {
            Ok(form) => *form,
            Err(Refusal::MediaType(it)) => return Err(Refusal::MediaType(it.clone())),
            Err(_) => return Err(Refusal::MediaType(String::new())),
        };
        let packed = packed(&parts.headers, header::CONTENT_ENCODING.as_str())?;
        let held = self.read(body, 0).await?;
        let brought = Brought {
            signal,
            form,
            packed,
            sender,
        };
        self.keep(brought, held).await
    }

    fn refuse_http(&self, refusal: &Refusal, json: bool) -> Response<Full<Bytes>> {
        let sentence = self.tellable(refusal);
        let (body, media) = if json {
            (answer::status_json(refusal, &sentence).into(), JSON)
        } else {
            (Bytes::from(answer::status(refusal, &sentence)), PROTOBUF)
        };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = refusal.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, media);
        if let Some(wait) = refusal.retry_after() {
            headers.insert(
                header::RETRY_AFTER,
                HeaderValue::from(wait.as_secs().max(1)),
            );
        }
        response
    }
}

fn success(taken: &Taken, signal: Signal, json: bool) -> Response<Full<Bytes>> {
    let (body, media) = if json {
        (answer::taken_json(taken, signal).into(), JSON)
    } else {
        (Bytes::from(answer::taken(taken)), PROTOBUF)
    };
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, media);
    response
}

/// How the body is written. Without a type it is what most exporters send.
fn form(headers: &HeaderMap) -> Result<Form, Refusal> {
    let Some(media) = headers.get(header::CONTENT_TYPE) else {
        return Ok(Form::Protobuf);
    };
    let media = media.to_str().unwrap_or_default();
    let bare = media.split(';').next().unwrap_or_default().trim();
    match bare.to_ascii_lowercase().as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Form::Protobuf),
        "application/json" => Ok(Form::Json),
        _ => Err(Refusal::MediaType(shortened(media))),
    }
}

/// Whether a body is packed, by what this header says.
pub(crate) fn packed(headers: &HeaderMap, name: &str) -> Result<bool, Refusal> {
    let encoding = headers.get(name).map(|it| it.to_str().unwrap_or("?"));
    match encoding.map(str::trim) {
        None | Some("" | "identity") => Ok(false),
        Some("gzip" | "x-gzip") => Ok(true),
        Some(other) => Err(Refusal::Encoding(shortened(other))),
    }
}

/// What came from outside, as it is said again: not longer than a line.
pub(crate) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}
