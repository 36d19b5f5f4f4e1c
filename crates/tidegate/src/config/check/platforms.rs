//! Platforms: a provider, models, fallbacks and buckets.

use std::{sync::Arc, time::Duration};

use tidegate_types::{Enforcement, Mode};

use crate::config::{
    problem::nearest,
    schema::Reader,
    sections::{self, Root},
    settings::{Bucket, Countable, Platform},
    tree::key,
    value::{Amount, Per},
};

pub(super) fn check(root: &Root, reader: &mut Reader) -> Vec<Platform> {
    let names: Vec<&str> = root.platforms.iter().map(|it| it.0.as_str()).collect();
    let providers: Vec<&str> = root.providers.iter().map(|it| it.0.as_str()).collect();
    exist(
        &root.fallback.platforms,
        &names,
        "fallback.platforms",
        "platform",
        reader,
    );
    let mut all = Vec::new();
    for (name, raw) in &root.platforms {
        let path = format!("platforms.{}", key(name));
        super::name_fits(name, &format!("{path}.provider"), reader);
        let provider = std::slice::from_ref(&raw.provider);
        exist(
            provider,
            &providers,
            &format!("{path}.provider"),
            "provider",
            reader,
        );
        models(raw, &path, reader);
        all.push(Platform {
            name: name.as_str().into(),
            provider: raw.provider.as_str().into(),
            subscription: raw.subscription,
            models: raw.models.clone(),
            model_map: raw.model_map.0.clone(),
            fallback: fallback(name, raw, root, reader),
            buckets: buckets(raw, &path, root.enforce, reader),
        });
    }
    all
}

/// Refuses what is not among `known`.
fn exist(named: &[String], known: &[&str], key: &str, what: &str, reader: &mut Reader) {
    for name in named.iter().filter(|it| !known.contains(&it.as_str())) {
        let remedy = match nearest(name, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", known.join(", ")),
        };
        let message = format!("there is no {what} `{name}`; {remedy}");
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
}

fn models(raw: &sections::Platform, path: &str, reader: &mut Reader) {
    let star_inside = |it: &&String| it.trim_end_matches('*').contains('*') || it.ends_with("**");
    if let Some(pattern) = raw
        .models
        .iter()
        .find(|it| it.is_empty() || star_inside(it))
    {
        let key = format!("{path}.models");
        let message = format!(
            "`{pattern}` is no model; write an id, or its beginning and one `*` at the end"
        );
        reader.refuse(reader.origin(&key), key, message);
    }
    if raw.subscription && !raw.model_map.0.is_empty() {
        let key = format!("{path}.model_map");
        let message = "calls on a subscription are never altered; leave this out";
        reader.refuse(reader.origin(&key), key, message);
    }
}

fn fallback(
    name: &str,
    raw: &sections::Platform,
    root: &Root,
    reader: &mut Reader,
) -> Vec<Arc<str>> {
    let own = raw.fallback.as_ref();
    if let Some(own) = own {
        let key = format!("platforms.{}.fallback", key(name));
        let names: Vec<&str> = root.platforms.iter().map(|it| it.0.as_str()).collect();
        exist(own, &names, &key, "platform", reader);
        if own.iter().any(|it| it == name) {
            let message = format!("`{name}` is no fallback of itself; leave it out");
            reader.refuse(reader.origin(&key), key, message);
        }
    }
    let all = own.unwrap_or(&root.fallback.platforms);
    let others = all.iter().filter(|it| *it != name);
    others.map(|it| Arc::from(it.as_str())).collect()
}

fn buckets(
    raw: &sections::Platform,
    path: &str,
    enforce: bool,
    reader: &mut Reader,
) -> Vec<Bucket> {
    let mut all = Vec::new();
    for (name, raw) in &raw.buckets {
        let path = format!("{path}.buckets.{}", key(name));
        super::name_fits(name, &format!("{path}.capacity"), reader);
        let capacity = amount(
            &raw.capacity,
            raw.resource,
            &format!("{path}.capacity"),
            reader,
        );
        let threshold = amount(
            &raw.threshold,
            raw.resource,
            &format!("{path}.threshold"),
            reader,
        );
        let refill = refill(raw, &path, reader);
        let (Some(capacity), Some(threshold)) = (capacity, threshold) else {
            continue;
        };
        if capacity == 0 || threshold > capacity {
            let (key, message) = if capacity == 0 {
                (
                    format!("{path}.capacity"),
                    "a bucket of 0 lets nothing pass; write at least 1".to_owned(),
                )
            } else {
                let message =
                    format!("it is above the capacity, {capacity}; nothing would ever be above it");
                (format!("{path}.threshold"), message)
            };
            reader.refuse(reader.origin(&key), key, message);
        }
        let enforcement = match raw.mode {
            Some(mode) => Enforcement::Named(mode),
            None if enforce || reader.is_named(&path) => Enforcement::Named(Mode::Enforce),
            None => Enforcement::BuiltIn,
        };
        all.push(Bucket {
            name: name.clone(),
            resource: raw.resource,
            capacity,
            refill,
            threshold,
            of_provider: raw.of_provider,
            enforcement,
        });
    }
    all
}

fn amount(raw: &Amount, of: Countable, key: &str, reader: &mut Reader) -> Option<u64> {
    let found = match of {
        Countable::Dollars => raw.money().map(|it| it.0),
        _ => raw.whole(),
    };
    if found.is_none() {
        let message = format!("a bucket of {} counts whole numbers; write one", of.word());
        reader.refuse(reader.origin(key), key.to_owned(), message);
    }
    found
}

fn refill(raw: &sections::Bucket, path: &str, reader: &mut Reader) -> Option<(u64, Duration)> {
    let key = format!("{path}.refill");
    let period = Duration::from_secs(match raw.per {
        Per::Second => 1,
        Per::Minute => 60,
        Per::Hour => 3_600,
        Per::Day => 86_400,
    });
    let message = match (&raw.refill, raw.resource) {
        (None, Countable::Concurrency) => return None,
        (Some(_), Countable::Concurrency) => {
            "calls that end give concurrency back; leave the refill out"
        }
        (None, _) => {
            "it is missing; what is spent would never come back (for a total, use a budget)"
        }
        (Some(raw), of) => {
            let found = amount(raw, of, &key, reader)?;
            if found > 0 {
                return Some((found, period));
            }
            "0 never comes back; write at least 1 (for a total, use a budget)"
        }
    };
    reader.refuse(reader.origin(&key), key, message);
    None
}
