//! What a request says, read strictly: bodies, queries, and the values in them.

use std::borrow::Cow;

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    response::IntoResponse as _,
};
use http::{HeaderMap, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::DeserializeOwned;
use tidegate_observe::redact::redact;
use tidegate_types::NanoUsd;

use crate::{
    error::Error,
    limits::{BODY_BYTES_MAX, COST_DOLLARS_MAX, DOLLARS_MAX, TEXT_BYTES_MAX},
    wire::Usd,
};

/// A JSON body. None at all is an empty object.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let bytes = match body {
            Ok(whole) => whole.to_bytes(),
            Err(refused) if refused.is::<LengthLimitError>() => return Err(Error::BodyTooLong),
            Err(_lost) => return Err(Error::BodyLost),
        };
        if bytes.is_empty() {
            return parse(b"{}").map(Self);
        }
        // A page of another site can send text and forms unasked, but no JSON.
        if !is_json(&parts.headers) {
            return Err(Error::NotJson);
        }
        parse(&bytes).map(Self)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|it| it.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/json")
}

/// The error names the key, what was found, and where.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    // Fields without names would be taken by their order, which no client should rely on.
    let first = bytes.iter().find(|it| !it.is_ascii_whitespace());
    if first != Some(&b'{') {
        return Err(Error::Body("the body: not a JSON object".to_owned()));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut json).map_err(|refused| {
        let path = refused.path().to_string();
        let inner = refused.inner();
        // The path is that of a value, and what is no JSON has none.
        Error::Body(match path.as_str() {
            _ if !inner.is_data() => format!("the body is not JSON: {inner}"),
            "." => format!("the body: {inner}"),
            _ => format!("`{path}`: {inner}"),
        })
    })?;
    json.end()
        .map_err(|refused| Error::Body(format!("the body: {refused}")))?;
    Ok(value)
}

/// The fields of a form. Those that nobody knows are passed over, those that come twice are refused.
#[derive(Debug)]
pub(crate) struct Form<T>(pub(crate) T);

impl<T: DeserializeOwned> Form<T> {
    /// Reads the body, whole.
    pub(crate) async fn read(request: Request) -> Result<Self, Error> {
        let (mut parts, body) = request.into_parts();
        let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
        let bytes = match body {
            Ok(whole) => whole.to_bytes(),
            Err(refused) if refused.is::<LengthLimitError>() => return Err(Error::BodyTooLong),
            Err(_lost) => return Err(Error::BodyLost),
        };
        if bytes.is_empty() {
            // No fields need no type.
            let form = http::HeaderValue::from_static("application/x-www-form-urlencoded");
            parts.headers.insert(header::CONTENT_TYPE, form);
        }
        // Sent with `GET` its fields would be looked for in the address.
        parts.method = http::Method::POST;
        let request = Request::from_parts(parts, bytes.into());
        let form = axum::extract::Form::<T>::from_request(request, &()).await;
        let form = form.map_err(|refused| {
            // Its words may quote a value, and values here are secrets.
            let status = refused.into_response().status();
            Error::Body(if status == http::StatusCode::UNSUPPORTED_MEDIA_TYPE {
                "the body must be a form: send it with `content-type: application/x-www-form-urlencoded`".to_owned()
            } else {
                "the body is no form, or a field comes twice".to_owned()
            })
        });
        Ok(Self(form?.0))
    }
}

/// The query of the address.
#[derive(Debug)]
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let query = Query::<T>::try_from_uri(&parts.uri);
        let query = query.map_err(|refused| {
            let text = refused.body_text();
            let found = text.rsplit_once("string: ").map_or(&*text, |(_, it)| it);
            Error::Query(format!("the query: {found}"))
        })?;
        Ok(Self(query.0))
    }
}

/// `value` as it stands in a message: short, on one line.
fn shown(value: &str) -> String {
    // Before it is cut: half a key looks like none.
    let value = redact(value);
    value
        .chars()
        .take(60)
        .map(|it| if it.is_control() { '\u{fffd}' } else { it })
        .collect()
}

/// A text of at least one and at most [`TEXT_BYTES_MAX`] bytes without control characters.
pub(crate) fn text(key: &'static str, value: String) -> Result<String, Error> {
    let fits = !value.is_empty() && value.len() <= TEXT_BYTES_MAX;
    if fits && !value.chars().any(char::is_control) {
        return Ok(value);
    }
    Err(Error::Value {
        key,
        value: shown(&value),
        wanted: format!("a text of 1 to {TEXT_BYTES_MAX} bytes without control characters"),
    })
}

/// A [`text`] that names something for good. One that looks like a key, a token or a password would be shown to everybody.
pub(crate) fn name(key: &'static str, value: String) -> Result<String, Error> {
    let value = text(key, value)?;
    match redact(&value) {
        Cow::Borrowed(_) => Ok(value),
        Cow::Owned(clean) => Err(Error::Value {
            key,
            value: clean,
            wanted: "a name: names are kept and shown, and this looks like a secret".to_owned(),
        }),
    }
}

/// As [`name`], where it is given.
pub(crate) fn maybe_name(
    key: &'static str,
    value: Option<String>,
) -> Result<Option<String>, Error> {
    value.map(|it| name(key, it)).transpose()
}

/// As [`text`], where it is given.
pub(crate) fn maybe_text(
    key: &'static str,
    value: Option<String>,
) -> Result<Option<String>, Error> {
    value.map(|it| text(key, it)).transpose()
}

/// A whole number in its bounds.
pub(crate) fn bounded(key: &'static str, value: u64, most: u64) -> Result<u64, Error> {
    if value <= most {
        return Ok(value);
    }
    Err(Error::Value {
        key,
        value: value.to_string(),
        wanted: format!("a whole number up to {most}"),
    })
}

/// A number of an address, in its bounds.
pub(crate) fn number(
    key: &'static str,
    value: Option<&str>,
    otherwise: u64,
    most: u64,
) -> Result<u64, Error> {
    let Some(value) = value else {
        return Ok(otherwise);
    };
    let parsed = value.parse::<u64>().ok();
    let parsed = parsed.filter(|it| (1..=most).contains(it));
    parsed.ok_or_else(|| Error::Value {
        key,
        value: shown(value),
        wanted: format!("a whole number from 1 to {most}"),
    })
}

/// `true` or `false`.
pub(crate) fn flag(key: &'static str, value: Option<&str>) -> Result<bool, Error> {
    match value {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(other) => Err(Error::Value {
            key,
            value: shown(other),
            wanted: "true or false".to_owned(),
        }),
    }
}

/// An amount that can be meant.
pub(crate) fn money(key: &'static str, value: Usd) -> Result<NanoUsd, Error> {
    dollars_to(DOLLARS_MAX, key, value)
}

/// What one reservation can have cost.
pub(crate) fn cost(key: &'static str, value: Usd) -> Result<NanoUsd, Error> {
    dollars_to(COST_DOLLARS_MAX, key, value)
}

fn dollars_to(max: u64, key: &'static str, value: Usd) -> Result<NanoUsd, Error> {
    if value.0 <= NanoUsd::from_usd(max) {
        return Ok(value.0);
    }
    Err(Error::Value {
        key,
        value: value.0.to_string(),
        wanted: format!("an amount up to ${max}"),
    })
}

/// Anything that is written in one way: an id, a word.
pub(crate) fn word<T: std::str::FromStr>(
    key: &'static str,
    value: &str,
    wanted: &str,
) -> Result<T, Error> {
    value.parse().map_err(|_| Error::Value {
        key,
        value: shown(value),
        wanted: wanted.to_owned(),
    })
}
