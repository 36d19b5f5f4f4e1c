//! A request once it has arrived: whose it is, and the ways to reply to it.

use std::io;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, request};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use sha2::{Digest, Sha256};
use tidegate_types::Usage;

use super::{
    body::{AnswerBody, Broken},
    provider::Recording,
    refusal,
    socket::ResetSwitch,
};
use crate::{
    Fault, FaultKind,
    answer::{Refused, error_body, status_in},
    ask::Dialect,
    limits::BODY_BYTES_MAX,
    world::{Account, Family, Headers},
};

/// A request whose body has arrived.
pub(super) struct Arrived {
    pub(super) parts: request::Parts,
    pub(super) body: Bytes,
    pub(super) family: Family,
    pub(super) account: Option<Account>,
    pub(super) serial: u64,
    pub(super) recording: Recording,
    pub(super) reset: ResetSwitch,
}

impl Arrived {
    pub(super) fn json(mut self, body: Bytes) -> Response<AnswerBody> {
        self.recording.record.complete = true;
        self.reply(StatusCode::OK, "application/json", Headers::default(), body)
    }

    pub(super) fn refuse(self, mut refused: Refused) -> Response<AnswerBody> {
        refused.status = status_in(self.family, refused.status);
        let body = error_body(self.family, &refused, &request_id(self.serial));
        let status = StatusCode::from_u16(refused.status).unwrap_or(StatusCode::IM_A_TEAPOT);
        self.reply(status, "application/json", refused.headers, body.into())
    }

    pub(super) fn reply(
        mut self,
        status: StatusCode,
        content_type: &'static str,
        headers: Headers,
        body: Bytes,
    ) -> Response<AnswerBody> {
        self.recording.record.status = status.as_u16();
        let mut response = Response::new(AnswerBody::Whole(Some(body)));
        *response.status_mut() = status;
        let map = response.headers_mut();
        put(map, "content-type", content_type);
        identify(map, self.family, (self.account, self.serial));
        put_all(map, headers);
        response
    }
}

/// An answer that is not streamed, with what a fault makes of it.
pub(super) fn whole(
    mut arrived: Arrived,
    (kind, used): (Option<FaultKind>, Usage),
    headers: Headers,
    body: Bytes,
) -> Response<AnswerBody> {
    arrived.recording.record.usage = Some(used);
    let json = "application/json";
    match kind {
        Some(
            kind @ (FaultKind::ResetMidStream
            | FaultKind::CutMidStream
            | FaultKind::CloseMidStream
            | FaultKind::StallMidStream),
        ) => {
            let (family, asked) = (arrived.family, (arrived.account, arrived.serial));
            arrived.recording.record.status = 200;
            let broken = Broken::half(&body, kind, arrived.reset, arrived.recording);
            let mut response = Response::new(AnswerBody::Broken(Box::new(broken)));
            put(response.headers_mut(), "content-type", json);
            identify(response.headers_mut(), family, asked);
            put_all(response.headers_mut(), headers);
            response
        }
        Some(FaultKind::CloseMidEvent | FaultKind::TruncatedJson) => {
            let half = body.slice(..body.len() / 2);
            arrived.reply(StatusCode::OK, json, headers, half)
        }
        Some(FaultKind::ErrorEvent) => {
            let fault = Fault::new(FaultKind::Internal);
            match refusal::on_demand(arrived.family, fault) {
                Some(refused) => arrived.refuse(refused),
                None => arrived.reply(StatusCode::OK, json, headers, body),
            }
        }
        _ => {
            arrived.recording.record.complete = true;
            arrived.reply(StatusCode::OK, json, headers, body)
        }
    }
}

/// The whole body; `None` for one that is too large, once the caller has been heard out (up to four times
/// the bound: a refusal sent while the caller still writes would be lost with the connection).
pub(super) async fn collect(mut body: Incoming) -> io::Result<Option<Bytes>> {
    let (mut whole, mut length) = (BytesMut::new(), 0_usize);
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(io::Error::other)?.into_data() else {
            continue;
        };
        length = length.saturating_add(piece.len());
        if length > 4 * BODY_BYTES_MAX {
            break;
        }
        if length <= BODY_BYTES_MAX {
            whole.extend_from_slice(&piece);
        }
    }
    Ok((length <= BODY_BYTES_MAX).then(|| whole.freeze()))
}

pub(super) fn dialect_of(parts: &request::Parts) -> Option<Dialect> {
    if parts.method != Method::POST {
        return None;
    }
    match parts.uri.path() {
        "/v1/messages" => Some(Dialect::Messages),
        "/v1/chat/completions" => Some(Dialect::Chat),
        "/v1/responses" => Some(Dialect::Responses),
        _ => None,
    }
}

/// Whose API a request is for: by its path, else by its headers.
pub(super) fn family_of(parts: &request::Parts) -> Family {
    let has = |name: &str| parts.headers.contains_key(name);
    match dialect_of(parts) {
        Some(dialect) => dialect.family(),
        None if parts.uri.path().starts_with("/v1/messages") => Family::Anthropic,
        None if has("x-api-key") || has("anthropic-version") => Family::Anthropic,
        None => Family::OpenAi,
    }
}

pub(super) fn credential_of(headers: &HeaderMap) -> Option<&str> {
    let text = |name: &str| headers.get(name).and_then(|it| it.to_str().ok());
    let bearer = || {
        let (scheme, token) = text("authorization")?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    };
    text("x-api-key")
        .or_else(bearer)
        .filter(|it| !it.is_empty())
}

pub(super) fn account_of(credential: &str) -> Account {
    let digest = Sha256::digest(credential.as_bytes());
    let first = digest.first_chunk::<8>().copied().unwrap_or_default();
    Account {
        fingerprint: u64::from_be_bytes(first),
        login: credential.starts_with("sk-ant-oat"),
    }
}

pub(super) fn request_id(serial: u64) -> String {
    format!("req_{serial:024x}")
}

/// Says which request it was, and whose: each credential is of an organisation of its own.
pub(super) fn identify(
    map: &mut HeaderMap,
    family: Family,
    (account, serial): (Option<Account>, u64),
) {
    match family {
        Family::Anthropic => {
            // Twelve digits of it.
            let organization = account.map_or(1, |it| it.fingerprint >> 16);
            let organization = format!("00000000-0000-4000-8000-{organization:012x}");
            put_all(
                map,
                Headers(vec![
                    ("anthropic-organization-id".into(), organization),
                    ("request-id".into(), request_id(serial)),
                ]),
            );
        }
        Family::OpenAi => {
            put(map, "openai-processing-ms", "1");
            put_all(
                map,
                Headers(vec![("x-request-id".into(), request_id(serial))]),
            );
        }
    }
}

pub(super) fn put(map: &mut HeaderMap, name: &'static str, value: &'static str) {
    map.insert(
        HeaderName::from_static(name),
        HeaderValue::from_static(value),
    );
}

pub(super) fn put_all(map: &mut HeaderMap, headers: Headers) {
    for (name, value) in headers.0 {
        let name = HeaderName::try_from(name.as_ref());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            map.insert(name, value);
        }
    }
}
