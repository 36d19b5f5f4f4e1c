//! Providers: an address, and at most one credential.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use tidegate_providers::accounting::Family;
use tidegate_types::Secret;

use crate::config::{Sources, schema::Reader, sections, settings::Provider, value};

pub(super) fn check(
    raw: &[(String, sections::Provider)],
    reader: &mut Reader,
    sources: &Sources,
) -> BTreeMap<Arc<str>, Provider> {
    let mut all = BTreeMap::new();
    for (name, raw) in raw {
        let path = format!("providers.{}", crate::config::tree::key(name));
        super::name_fits(name, &format!("{path}.family"), reader);
        let provider = Provider {
            family: match raw.family {
                value::Family::Anthropic => Family::Anthropic,
                value::Family::OpenAi => Family::OpenAi,
            },
            base_url: base_url(&raw.base_url, &path, reader),
            credential: credential(raw, &path, reader, sources),
            local_may_spend: raw.local_may_spend,
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
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let wrong = match rest {
        None => Some("begins with neither https:// nor http://"),
        Some("") => Some("names no host"),
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
        let key = format!("{path}.base_url");
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
    let given = [
        ("api_key", raw.api_key.is_some()),
        ("api_key_env", raw.api_key_env.is_some()),
        ("api_key_file", raw.api_key_file.is_some()),
    ];
    let given: Vec<&str> = given.iter().filter(|it| it.1).map(|it| it.0).collect();
    if let [_, second, ..] = given.as_slice() {
        let key = format!("{path}.{second}");
        let message = format!("{} are given; keep one of them", given.join(" and "));
        reader.refuse(reader.origin(&key), key, message);
        return None;
    }
    let found = if let Some(variable) = &raw.api_key_env {
        let value = sources.variable(variable).map(str::to_owned);
        value.ok_or_else(|| format!("the environment has no variable `{variable}`; set it, or leave this out to forward each caller's own credential"))
    } else if let Some(file) = &raw.api_key_file {
        first_line(file)
    } else {
        return raw
            .api_key
            .clone()
            .and_then(|it| sendable(it, &format!("{path}.api_key"), reader));
    };
    let key = format!("{path}.{}", given.first().unwrap_or(&"api_key"));
    match found {
        Ok(text) => sendable(Secret::new(text), &key, reader),
        Err(message) => {
            reader.refuse(reader.origin(&key), key, message);
            None
        }
    }
}

fn first_line(file: &Path) -> Result<String, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    let line = text.lines().next().unwrap_or_default().trim();
    if line.is_empty() {
        return Err(format!(
            "the first line of `{shown}` is empty; put the credential there"
        ));
    }
    Ok(line.to_owned())
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
