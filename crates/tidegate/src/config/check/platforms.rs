//! Platforms: a provider, models, fallbacks and buckets.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{identity::Credential, settings::Platform};
use tidegate_types::{Enforcement, Mode, NanoUsd};

use crate::config::{
    problem::nearest,
    schema::Reader,
    sections::{self, Root},
    settings::Provider,
    tree::key,
    value::{Amount, Countable, Per},
};

pub(super) fn check(
    root: &Root,
    providers: &BTreeMap<Arc<str>, Provider>,
    reader: &mut Reader,
) -> Vec<Arc<Platform>> {
    let names: Vec<&str> = root.platforms.iter().map(|it| it.0.as_str()).collect();
    let known: Vec<&str> = providers.keys().map(|it| &**it).collect();
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
        super::name_fits(name, &path, reader);
        let named = std::slice::from_ref(&raw.provider);
        exist(
            named,
            &known,
            &format!("{path}.provider"),
            "provider",
            reader,
        );
        models(raw, &path, reader);
        let fallback = fallback(name, raw, root, reader);
        same_dialect(name, raw, root, providers, reader);
        let pool = pool(name, raw, root.enforce, reader);
        let (Some(provider), Some(pool)) = (providers.get(raw.provider.as_str()), pool) else {
            continue;
        };
        all.push(Arc::new(Platform {
            name: name.as_str().into(),
            provider: raw.provider.as_str().into(),
            family: provider.family,
            subscription: raw.subscription,
            free: provider.free,
            // A key would be charged for what the platform says is paid by subscription.
            operators_credential: provider.credential.as_ref().is_some_and(|it| {
                !raw.subscription || Credential::of(it.expose()) == Credential::Subscription
            }),
            local_may_spend: provider.local_may_spend,
            shared_limits: provider.shared_limits,
            models: raw.models.clone(),
            model_map: raw.model_map.0.iter().cloned().collect(),
            fallback,
            pool,
        }));
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

/// Refuses a fallback that its platform's calls can't be sent to.
fn same_dialect(
    name: &str,
    raw: &sections::Platform,
    root: &Root,
    providers: &BTreeMap<Arc<str>, Provider>,
    reader: &mut Reader,
) {
    let family = |platform: &sections::Platform| {
        let provider = providers.get(platform.provider.as_str());
        provider.map(|it| it.family)
    };
    let Some(own) = family(raw) else { return };
    for other in raw.fallback.iter().flatten() {
        let platform = root.platforms.iter().find(|it| it.0 == *other);
        let theirs = platform.and_then(|it| family(&it.1));
        if theirs.is_some_and(|it| it != own) {
            let key = format!("platforms.{}.fallback", key(name));
            let message = format!(
                "`{other}` speaks another dialect than `{name}`, and nothing is translated; name platforms whose provider has the same family"
            );
            reader.refuse(reader.origin(&key), key, message);
        }
    }
}

/// The platform's buckets; `None` where one is wrong, which is a problem then.
fn pool(
    name: &str,
    raw: &sections::Platform,
    enforce: bool,
    reader: &mut Reader,
) -> Option<PoolSpec> {
    let path = format!("platforms.{}.buckets", key(name));
    let mut specs = Some(Vec::new());
    for (name, raw) in &raw.buckets {
        let path = format!("{path}.{}", key(name));
        let fits = super::name_fits(name, &path, reader);
        let spec = bucket(name, raw, &path, enforce, reader).filter(|_| fits);
        match (&mut specs, spec) {
            (Some(specs), Some(spec)) => specs.push(spec),
            // Go on, so that all problems are told at once.
            (specs, _) => *specs = None,
        }
    }
    PoolSpec::try_new(name, specs?)
        .map_err(|error| reader.refuse(reader.origin(&path), path, error.to_string()))
        .ok()
}

fn bucket(
    name: &str,
    raw: &sections::Bucket,
    path: &str,
    enforce: bool,
    reader: &mut Reader,
) -> Option<BucketSpec> {
    let of = raw.resource;
    let capacity = amount(&raw.capacity, of, &format!("{path}.capacity"), reader);
    let threshold = amount(&raw.threshold, of, &format!("{path}.threshold"), reader);
    let refill = refill(raw, path, reader);
    let (capacity, threshold) = (capacity?, threshold?);
    if capacity == 0 {
        let key = format!("{path}.capacity");
        let message = "a bucket of 0 lets nothing pass; write at least 1";
        reader.refuse(reader.origin(&key), key, message);
        return None;
    }
    if threshold > capacity {
        let key = format!("{path}.threshold");
        let shown = match of {
            Countable::Dollars => NanoUsd(capacity).to_string(),
            _ => capacity.to_string(),
        };
        let message = format!("it is above the capacity, {shown}; nothing would ever be above it");
        reader.refuse(reader.origin(&key), key, message);
        return None;
    }
    Some(BucketSpec {
        name: name.to_owned(),
        resource: match of {
            Countable::Units => Resource::Units,
            Countable::Requests => Resource::Requests,
            Countable::InputTokens => Resource::InputTokens,
            Countable::OutputTokens => Resource::OutputTokens,
            Countable::Tokens => Resource::Tokens,
            Countable::Dollars => Resource::NanoUsd,
            Countable::Concurrency => Resource::Concurrency,
        },
        capacity,
        refill: refill?,
        threshold,
        owner: if raw.of_provider {
            Owner::Provider
        } else {
            Owner::Ours
        },
        enforcement: match raw.mode {
            Some(mode) => Enforcement::Named(mode),
            None if enforce || reader.is_named(path) => Enforcement::Named(Mode::Enforce),
            None => Enforcement::BuiltIn,
        },
    })
}

fn amount(raw: &Amount, of: Countable, key: &str, reader: &mut Reader) -> Option<u64> {
    let fractions = || "only a bucket of dollars has fractions; write a whole number".to_owned();
    let found = match of {
        Countable::Dollars => raw.money().map(|it| it.0).map_err(|it| it.to_string()),
        _ => raw.whole().ok_or_else(fractions),
    };
    found
        .map_err(|message| reader.refuse(reader.origin(key), key.to_owned(), message))
        .ok()
}

/// `Some(None)` for concurrency; `None` where it is wrong, which is a problem then.
#[expect(
    clippy::option_option,
    reason = "outside: whether it is right; inside: whether there is one"
)]
fn refill(raw: &sections::Bucket, path: &str, reader: &mut Reader) -> Option<Option<Refill>> {
    let key = format!("{path}.refill");
    let period = Duration::from_secs(match raw.per {
        Per::Second => 1,
        Per::Minute => 60,
        Per::Hour => 3_600,
        Per::Day => 86_400,
    });
    let message = match (&raw.refill, raw.resource) {
        (None, Countable::Concurrency) => return Some(None),
        (Some(_), Countable::Concurrency) => {
            "calls that end give concurrency back; leave the refill out"
        }
        (None, _) => {
            "it is missing; what is spent would never come back (for a total, use a budget)"
        }
        (Some(raw), of) => {
            let amount = amount(raw, of, &key, reader)?;
            if amount > 0 {
                return Some(Some(Refill { amount, period }));
            }
            "0 never comes back; write at least 1 (for a total, use a budget)"
        }
    };
    reader.refuse(reader.origin(&key), key, message);
    None
}
