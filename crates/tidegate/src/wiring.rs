//! From a checked configuration to running parts: one function for each.

use std::{collections::HashMap, path::Path, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue};
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    Engine, Parts,
    observer::RecordSink,
    settings::{self as engine, Local, ReserveRules, WeightRule, Weights},
    writer::Stores,
};
use tidegate_gateway::{
    Provider, Providers,
    upstream::{Origin, Roots, Upstream},
};
use tidegate_observe::metrics::Registry;
use tidegate_providers::{accounting, prices::PriceBook};
use tidegate_store::{DirectoryLock, FileJournal, SqliteStore};
use tidegate_types::{Clock, SystemClock};

use crate::config::{self, Countable, Family, Settings};

/// How long the head of an answer may take: what the official SDKs wait, and not less.
const HEAD_MAX: Duration = Duration::from_secs(600);

/// How long a stream may be silent: what Claude Code's own watchdog allows.
const SILENCE_MAX: Duration = Duration::from_secs(300);

/// What the engine is told of a configuration.
pub(crate) fn engine_settings(from: &Settings) -> anyhow::Result<engine::Settings> {
    let platforms = from.platforms.iter().map(|it| platform(it, from).map(Arc::new));
    Ok(engine::Settings {
        local: Local {
            organisation: Arc::clone(&from.local.organisation),
            user: Arc::clone(&from.local.user),
        },
        keyless: from.listen.ip().is_loopback(),
        platforms: platforms.collect::<anyhow::Result<_>>()?,
        budgets: Arc::clone(&from.budgets),
        reserve: ReserveRules {
            share_of_left: from.reserve.share_of_left,
            output_floor: from.reserve.output_floor,
            output_floor_last: from.reserve.output_floor_last,
            output_over_thinking: from.reserve.output_over_thinking,
            reference_tokens: from.reserve.reference_tokens,
            server_tool_tokens: from.reserve.server_tool_tokens,
        },
        weights: weights(&from.weights),
    })
}

fn platform(from: &config::Platform, all: &Settings) -> anyhow::Result<engine::Platform> {
    let provider = all.providers.get(&from.provider).with_context(|| {
        format!("platform `{}` names a provider that there isn't: `{}`", from.name, from.provider)
    })?;
    let buckets = from.buckets.iter().map(bucket).collect();
    Ok(engine::Platform {
        name: Arc::clone(&from.name),
        provider: Arc::clone(&from.provider),
        family: family(provider.family),
        subscription: from.subscription,
        free: provider.free,
        operators_credential: provider.credential.is_some(),
        local_may_spend: provider.local_may_spend,
        models: from.models.clone(),
        model_map: from.model_map.iter().cloned().collect(),
        fallback: from.fallback.clone(),
        pool: PoolSpec::try_new(&*from.name, buckets)?,
    })
}

fn bucket(from: &config::Bucket) -> BucketSpec {
    BucketSpec {
        name: from.name.clone(),
        resource: match from.resource {
            Countable::Units => Resource::Units,
            Countable::Requests => Resource::Requests,
            Countable::InputTokens => Resource::InputTokens,
            Countable::OutputTokens => Resource::OutputTokens,
            Countable::Tokens => Resource::Tokens,
            Countable::Dollars => Resource::NanoUsd,
            Countable::Concurrency => Resource::Concurrency,
        },
        capacity: from.capacity,
        refill: from.refill.map(|(amount, period)| Refill { amount, period }),
        threshold: from.threshold,
        owner: if from.of_provider {
            Owner::Provider
        } else {
            Owner::Ours
        },
        enforcement: from.enforcement,
    }
}

fn weights(from: &config::Weights) -> Weights {
    let rules = from.rules.iter().map(|it| WeightRule {
        classes: it.classes.clone(),
        models: it.models.clone(),
        fast: it.fast,
        units: it.units,
    });
    Weights {
        rules: rules.collect(),
        otherwise: from.otherwise,
    }
}

const fn family(from: Family) -> accounting::Family {
    match from {
        Family::Anthropic => accounting::Family::Anthropic,
        Family::OpenAi => accounting::Family::OpenAi,
    }
}

/// What models cost: the built-in table under the operator's file.
pub(crate) fn prices(from: &Settings) -> anyhow::Result<PriceBook> {
    let mut book = PriceBook::builtin();
    if let Some(file) = &from.prices {
        book = book
            .with_overrides(&file.text)
            .with_context(|| format!("prices in `{}`", file.path.display()))?;
    }
    for (name, provider) in &from.providers {
        if provider.free {
            book = book.declare_free(name);
        }
    }
    Ok(book)
}

/// The providers' connections and credentials.
pub(crate) fn providers(from: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Providers> {
    let machine = Arc::new(Roots::of_the_machine());
    let mut providers = HashMap::new();
    for (name, it) in &from.providers {
        let origin = Origin::try_new(&it.base_url, it.http2)
            .with_context(|| format!("providers.{name}.base_url"))?;
        let roots = match &it.ca_file {
            Some(file) => Arc::new(
                Roots::of_file(file).with_context(|| format!("providers.{name}.ca_file"))?,
            ),
            None => Arc::clone(&machine),
        };
        let provider = Provider {
            upstream: Arc::new(Upstream::new(origin, roots, Arc::clone(clock))),
            credential: credential(name, it)?,
            head_max: HEAD_MAX,
            silence_max: SILENCE_MAX,
        };
        providers.insert(Arc::clone(name), Arc::new(provider));
    }
    Ok(providers)
}

fn credential(
    name: &str,
    from: &config::Provider,
) -> anyhow::Result<Option<(HeaderName, HeaderValue)>> {
    let Some(secret) = &from.credential else {
        return Ok(None);
    };
    let (header, text) = match from.family {
        Family::Anthropic => ("x-api-key", secret.expose().clone()),
        Family::OpenAi => ("authorization", format!("Bearer {}", secret.expose())),
    };
    let mut value = HeaderValue::from_str(&text)
        .ok()
        .with_context(|| format!("providers.{name}.api_key holds characters that no header can"))?;
    value.set_sensitive(true);
    Ok(Some((HeaderName::from_static(header), value)))
}

/// The engine on the data directory, which it has for itself from here on.
pub(crate) fn engine(
    from: &Settings,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    records: Arc<dyn RecordSink>,
) -> anyhow::Result<Arc<Engine>> {
    let lock = DirectoryLock::take(&from.data, clock.now())?;
    let store = Arc::new(SqliteStore::open(lock)?);
    let journal = FileJournal::open(&journal_folder(&from.data))
        .with_context(|| format!("the journal in `{}`", from.data.display()))?;
    let stores = Stores {
        ledger: store.clone(),
        calls: store.clone(),
        settings: store.clone(),
        journal: Arc::new(journal),
    };
    Ok(Engine::start(Parts {
        clock,
        settings: engine_settings(from)?,
        prices: prices(from)?,
        stores,
        keys: store.clone(),
        audit: store,
        registry,
        records,
        seed: random_seed(),
    })?)
}

fn journal_folder(data: &Path) -> std::path::PathBuf {
    data.join("journal")
}

/// The machine's clocks.
pub(crate) fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::start())
}

fn random_seed() -> u64 {
    let mut bytes = [0; 8];
    // Without randomness trace ids of two runs may meet, which nothing is decided by.
    getrandom::fill(&mut bytes).unwrap_or_default();
    u64::from_ne_bytes(bytes)
}
