//! Providers: an address, and at most one credential.

use std::{collections::BTreeMap, sync::Arc};

use tidegate_providers::accounting::Family;
use tidegate_types::Secret;

use super::secrets::Given;
use crate::config::{Sources, schema::Reader, sections, settings::Provider, value};

pub(super) fn check(
    raw: &[(String, sections::Provider)],
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
            base_url: base_url(&raw.base_url, &path, reader),
            credential: credential(raw, &path, reader, sources),
            local_may_spend: raw.local_may_spend,
            shared_limits: raw.shared_limits,
            free: raw.free,
            http2: raw.http2,
            ca_file: raw.ca_file.clone(),
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

fn base_url(written: &str, path: &str, reader: &mut Reader) -> String {
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
    }
    url.to_owned()
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
