//! Where notices go.

use std::{fmt, sync::Arc};

use http::{HeaderValue, Uri, uri::PathAndQuery};
use tidegate_observe::notice::Topic;
use tidegate_types::Secret;

/// A channel, as it is configured.
#[derive(Clone, Debug)]
pub struct Channel {
    /// What it is called; decisions made by its links are recorded by this name. Of letters,
    /// digits, dots, dashes and underscores: it stands in links.
    pub name: Arc<str>,
    /// Where it is.
    pub target: Target,
    /// What its requests are signed with; without one they are not.
    pub secret: Option<Secret<String>>,
    /// What its requests look like.
    pub format: Format,
    /// What it is told of.
    pub topics: Vec<Topic>,
}

/// What a request looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An object for programs.
    Json,
    /// What Slack's incoming webhooks take, and those that are compatible.
    Slack,
}

impl Format {
    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Slack => "slack",
        }
    }
}

/// An address that is posted to. Never shown: whoever knows a webhook's path may use it.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    pub(crate) tls: bool,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) authority: HeaderValue,
    pub(crate) path: PathAndQuery,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)
    }
}

/// An address that can't be posted to. Its text does not repeat it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}; write it like https://hooks.example.com/services/name")]
pub struct TargetError(&'static str);

impl Target {
    /// Takes an address apart.
    pub fn try_new(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url.parse().map_err(|_| TargetError("it is no URL"))?;
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(TargetError("it begins with neither https:// nor http://")),
        };
        let authority = uri.authority().ok_or(TargetError("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(TargetError("it carries a user name, which is not sent"));
        }
        if authority.host().is_empty() {
            return Err(TargetError("it names no host"));
        }
        let path = uri.path_and_query().cloned();
        Ok(Self {
            tls,
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|_| TargetError("its host is not printable"))?,
            path: path.unwrap_or_else(|| PathAndQuery::from_static("/")),
        })
    }
}

#[cfg(test)]
mod tests;
