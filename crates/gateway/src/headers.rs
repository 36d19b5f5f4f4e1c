//! Headers on their way up and down: what is passed, what is taken off, what is put on.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use tidegate_engine::identity;

/// The prefix of our own headers, which never leave upwards.
const OWN: &str = "x-tidegate-";

/// Headers that belong to one connection and end with it (RFC 9110, 7.6.1), and those that are
/// written anew.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "connection"
            | "keep-alive"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
    )
}

/// Headers by which a caller shows who it is to some provider.
fn is_credential(name: &HeaderName) -> bool {
    *name == header::AUTHORIZATION
        || *name == header::COOKIE
        || matches!(name.as_str(), "x-api-key" | "api-key" | "x-goog-api-key")
}

/// Whether a secret of ours is anywhere in the value, also where it is not taken for one: behind a
/// wrong scheme, in a second line of the header.
fn holds_our_secret(value: &HeaderValue) -> bool {
    let mut words = value
        .as_bytes()
        .split(|it| it.is_ascii_whitespace() || *it == b',');
    words.any(identity::is_ours)
}

/// A credential to put on a request that goes upstream.
#[derive(Debug)]
pub(crate) enum Put {
    /// The caller's own stays as it is.
    Nothing,
    /// The operator's, in this header.
    Operators(HeaderName, HeaderValue),
}

/// What must happen to a request's headers before it goes upstream.
#[derive(Debug)]
pub(crate) struct Upward<'a> {
    /// What the caller sent.
    pub(crate) from: &'a HeaderMap,
    /// The `host` of the origin.
    pub(crate) authority: &'a HeaderValue,
    /// Takes off the credentials, because they are ours or belong elsewhere.
    pub(crate) strip_credentials: bool,
    /// What takes their place.
    pub(crate) put: Put,
    /// Our span in the caller's trace, where it sent one.
    pub(crate) traceparent: Option<HeaderValue>,
    /// HTTP/2 has no `host` header.
    pub(crate) body_bytes: usize,
}

/// The headers that go upstream: the caller's, but for those of the connection, ours, and, where
/// they are not the provider's, the credentials.
pub(crate) fn upward(change: Upward<'_>) -> HeaderMap {
    let mut to = HeaderMap::with_capacity(change.from.len() + 2);
    let named_by_connection = connection_names(change.from);
    for (name, value) in change.from {
        let credential = is_credential(name);
        let replaced = *name == header::HOST
            || *name == header::CONTENT_LENGTH
            || *name == header::ACCEPT_ENCODING
            || *name == header::EXPECT
            || (change.traceparent.is_some() && name.as_str() == "traceparent");
        if replaced
            || is_hop_by_hop(name)
            || name.as_str().starts_with(OWN)
            || (credential && (change.strip_credentials || holds_our_secret(value)))
            || named_by_connection
                .iter()
                .any(|it| name.as_str().eq_ignore_ascii_case(it))
        {
            continue;
        }
        to.append(name.clone(), value.clone());
    }
    to.insert(header::HOST, change.authority.clone());
    // What is compressed can't be metered.
    to.insert(
        header::ACCEPT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    to.insert(header::CONTENT_LENGTH, HeaderValue::from(change.body_bytes));
    if let Put::Operators(name, value) = change.put {
        to.insert(name, value);
    }
    if let Some(span) = change.traceparent {
        to.insert(HeaderName::from_static("traceparent"), span);
    }
    to
}

/// Leaves of an upstream answer's headers those that the client gets: all but those of the connection, of which the
/// length is one that is written anew.
pub(crate) fn downward(headers: &mut HeaderMap) {
    let dropped = |it: &&HeaderName| {
        is_hop_by_hop(it) || **it == header::CONTENT_LENGTH || it.as_str().starts_with(OWN)
    };
    let dropped: Vec<HeaderName> = headers.keys().filter(dropped).cloned().collect();
    for name in dropped {
        headers.remove(name);
    }
}

/// Header names that the `connection` header declares to end with the connection.
fn connection_names(from: &HeaderMap) -> Vec<&str> {
    let values = from.get_all(header::CONNECTION).into_iter();
    values
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .map(str::trim)
        .filter(|it| !it.eq_ignore_ascii_case("keep-alive") && !it.eq_ignore_ascii_case("close"))
        .collect()
}

/// A header's value as text; `None` where it is absent or not plain ASCII.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}

#[cfg(test)]
mod tests;
