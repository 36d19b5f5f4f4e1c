//! Where a provider is: scheme, host, port, and the path its API hangs under.

use std::fmt;

use http::{HeaderValue, Uri, uri::PathAndQuery};

/// A provider's base URL, taken apart once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    /// What the `host` header says.
    pub(crate) authority: HeaderValue,
    /// Path before the API's own, without a closing slash; often empty.
    prefix: String,
    /// Whether HTTP/2 may be negotiated (over TLS), or is spoken at once (without).
    pub(crate) http2: bool,
}

/// A base URL that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("base_url `{url}` can't be used: {problem}; write it like https://api.example.com")]
pub struct OriginError {
    url: String,
    problem: &'static str,
}

impl Origin {
    /// Takes `base_url` apart. `http2` allows HTTP/2: negotiated over TLS; without TLS it is
    /// spoken from the first byte, so only where the server is known to.
    pub fn try_new(base_url: &str, http2: bool) -> Result<Self, OriginError> {
        let refuse = |problem| OriginError {
            url: base_url.to_owned(),
            problem,
        };
        let uri: Uri = base_url.parse().map_err(|_| refuse("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(refuse("its scheme is neither https nor http")),
        };
        let authority = uri.authority().ok_or_else(|| refuse("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(refuse("it carries a user name: use `api_key`"));
        }
        if uri.query().is_some() {
            return Err(refuse("it has a query"));
        }
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| refuse("its host is not printable"))?,
            prefix: uri.path().trim_end_matches('/').to_owned(),
            http2,
        })
    }

    /// What the `host` header says.
    pub const fn authority(&self) -> &HeaderValue {
        &self.authority
    }

    /// The request target for a path of the API: absolute where HTTP/2 wants it, else the path.
    pub(crate) fn target(&self, path: &PathAndQuery, absolute: bool) -> Result<Uri, http::Error> {
        let joined: PathAndQuery = if self.prefix.is_empty() {
            path.clone()
        } else {
            format!("{}{path}", self.prefix).parse()?
        };
        if !absolute {
            return Ok(Uri::from(joined));
        }
        Uri::builder()
            .scheme(if self.tls { "https" } else { "http" })
            .authority(self.authority.as_bytes())
            .path_and_query(joined)
            .build()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        let host = self.authority.to_str().unwrap_or_default();
        write!(f, "{scheme}://{host}{}", self.prefix)
    }
}
