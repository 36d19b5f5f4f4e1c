//! Providers: an address, and at most one credential.

use std::{
    collections::BTreeMap,
    error::Error as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};

use http::Uri;
use tidegate_gateway::upstream::Roots;
use tidegate_providers::accounting::Family;
use tidegate_types::Secret;

use super::secrets::Given;
use crate::config::{Sources, schema::Reader, sections, settings::Provider, value};

pub(super) fn check(
    raw: &[(String, sections::Provider)],
    listen: SocketAddr,
    reader: &mut Reader,
    sources: &Sources,
) -> BTreeMap<Arc<str>, Provider> {
    let mut all = BTreeMap::new();
    for (name, raw) in raw {
        let path = format!("providers.{}", crate::config::tree::key(name));
        super::name_fits(name, &path, reader);
        let provider = Provider {
            family: match raw.family {
                value::Family::Anthropic => Family::Anthropic,
                value::Family::OpenAi => Family::OpenAi,
            },
            base_url: base_url(&raw.base_url, &path, listen, reader),
            credential: credential(raw, &path, reader, sources),
            local_may_spend: raw.local_may_spend,
            shared_limits: raw.shared_limits,
            free: raw.free,
            http2: raw.http2,
            roots: roots(raw.ca_file.as_ref(), &path, reader),
        };
        if raw.local_may_spend && provider.credential.is_none() {
            let key = format!("{path}.local_may_spend");
            let message = "there is no credential to spend; set api_key_env, api_key_file or api_key, or leave this out";
            reader.refuse(reader.origin(&key), key, message);
        }
        all.insert(Arc::from(name.as_str()), provider);
    }
    all
}

fn base_url(written: &str, path: &str, listen: SocketAddr, reader: &mut Reader) -> String {
    let url = written.trim_end_matches('/');
    // Of what was written: without its slashes a URL that names no host has no scheme either.
    let rest = written
        .strip_prefix("https://")
        .or_else(|| written.strip_prefix("http://"))
        .map(|it| it.trim_end_matches('/'));
    let key = format!("{path}.base_url");
    let wrong = match rest {
        None => Some("begins with neither https:// nor http://"),
        Some(rest) if rest.is_empty() || rest.starts_with(['/', ':']) => Some("names no host"),
        Some(rest) if rest.contains('@') => Some("carries a user name; use api_key_env instead"),
        Some(rest) if rest.contains(['?', '#']) || rest.contains(char::is_whitespace) => {
            Some("has more than a host and a path")
        }
        Some(rest) if rest.ends_with("/v1") => {
            Some("ends in /v1, which is part of each call's path; leave that out")
        }
        Some(_) => None,
    };
    if let Some(wrong) = wrong {
        // A URL may carry a password.
        let shown = tidegate_observe::redact::redact(written).into_owned();
        let message = format!("`{shown}` {wrong}; write it like https://api.example.com");
        reader.refuse(reader.origin(&key), key, message);
    } else if let Some(message) = leads_back(url, listen) {
        reader.refuse(reader.origin(&key), key, message);
    }
    url.to_owned()
}

/// What is wrong with a provider at `url` for a gateway that listens on `listen`: calls that come back
/// are sent again, until there is no connection left. A name that resolves to this machine, `localhost`
/// aside, and addresses of this machine that `listen` does not name are not found out.
pub(in crate::config) fn leads_back(url: &str, listen: SocketAddr) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let usual_port = if uri.scheme_str() == Some("https") {
        443
    } else {
        80
    };
    let is_our_port = listen.port() != 0 && uri.port_u16().unwrap_or(usual_port) == listen.port();
    let is_here = is_our_port && reaches(host(&uri)?, listen.ip().to_canonical());
    is_here.then(|| {
        format!(
            "`{url}` is where this gateway itself listens (`listen = \"{listen}\"`), so that calls would go in a circle; write the provider's own address, or listen on another port"
        )
    })
}

/// The address that a URL names; `None` for a name that has to be looked up.
fn host(uri: &Uri) -> Option<IpAddr> {
    let host = uri.host()?.trim_matches(['[', ']']).trim_end_matches('.');
    if host.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    host.parse().ok().map(|it: IpAddr| it.to_canonical())
}

/// Whether who connects to `host` may meet who listens on `listen` of the same port.
fn reaches(host: IpAddr, listen: IpAddr) -> bool {
    // `localhost` is both of the first two, and "any address" is taken for it by who connects.
    let is_home =
        |it: IpAddr| it == Ipv4Addr::LOCALHOST || it == Ipv6Addr::LOCALHOST || it.is_unspecified();
    let is_everywhere = listen.is_unspecified() && host.is_loopback();
    host == listen || is_everywhere || is_home(host) && is_home(listen)
}

/// The certificates to trust instead of the machine's; `None` where no file is named, or it is wrong,
/// which is a problem then.
fn roots(file: Option<&PathBuf>, path: &str, reader: &mut Reader) -> Option<Arc<Roots>> {
    let file = file?;
    let refused = match Roots::of_file(file) {
        Ok(roots) => return Some(Arc::new(roots)),
        Err(error) => match error.source() {
            Some(cause) => format!("cannot be read: {cause}"),
            None => "holds no certificate that can be used; it must be PEM, which begins with -----BEGIN CERTIFICATE-----".to_owned(),
        },
    };
    let key = format!("{path}.ca_file");
    let message = format!("`{}` {refused}", file.display());
    reader.refuse(reader.origin(&key), key, message);
    None
}

fn credential(
    raw: &sections::Provider,
    path: &str,
    reader: &mut Reader,
    sources: &Sources,
) -> Option<Secret<String>> {
    let given = Given {
        key: "api_key",
        value: raw.api_key.as_ref(),
        variable: raw.api_key_env.as_ref(),
        file: raw.api_key_file.as_ref(),
        without: "forward each caller's own credential",
    };
    let (key, secret) = given.read(path, reader, sources)?;
    sendable(secret, &key, reader)
}

/// A credential becomes the value of a header.
fn sendable(secret: Secret<String>, key: &str, reader: &mut Reader) -> Option<Secret<String>> {
    if secret.expose().bytes().all(|it| it.is_ascii_graphic()) {
        return Some(secret);
    }
    let message = "the credential has characters that no header can carry; check that nothing was pasted beside it";
    reader.refuse(reader.origin(key), key.to_owned(), message);
    None
}
