//! From a checked configuration to running parts: one function for each.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::{HeaderName, HeaderValue};
use tidegate_engine::{
    Engine, Parts,
    approvals::{LINK_KEY_BYTES, LinkKey},
    observer::RecordSink,
    writer::Stores,
};
use tidegate_gateway::{
    Provider, Providers,
    upstream::{Origin, Roots, Upstream},
};
use tidegate_ledger::{SettingStore as _, keys::KeyStore};
use tidegate_logins::Logins;
use tidegate_notify::{Courier, outbox::Pace};
use tidegate_observe::metrics::Registry;
use tidegate_providers::accounting::Family;
use tidegate_segments::{OwnRecords, Telemetry};
use tidegate_store::{DirectoryLock, FileJournal, SqliteStore};
use tidegate_types::{Clock, SystemClock};

use crate::{
    config::{self, Settings},
    overrides::{self, Overrides},
};

/// How long the head of an answer may take: what the official SDKs wait, and not less.
const HEAD_MAX: Duration = Duration::from_mins(10);

/// How long a stream may be silent: what Claude Code's own watchdog allows.
const SILENCE_MAX: Duration = Duration::from_mins(5);

/// The providers' connections and credentials.
pub(crate) fn providers(from: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Providers> {
    let machine = Arc::new(Roots::of_the_machine());
    let mut providers = HashMap::new();
    for (name, it) in &from.providers {
        // Without TLS nothing is negotiated, and HTTP/1.1 is what every server understands.
        let http2 = it.http2 && it.base_url.starts_with("https:");
        let origin = Origin::try_new(&it.base_url, http2)
            .with_context(|| format!("providers.{name}.base_url"))?;
        let roots = it.roots.as_ref().unwrap_or(&machine);
        let provider = Provider {
            upstream: Arc::new(Upstream::new(origin, Arc::clone(roots), Arc::clone(clock))),
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

/// The folder of the journal in the data directory.
pub(crate) const JOURNAL: &str = "journal";

/// The engine on the data directory, which it has for itself from here on, what delivers its notices,
/// and who is signed in there.
pub(crate) fn engine(
    from: &Settings,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    records: Arc<dyn RecordSink>,
    own: Arc<OwnRecords>,
) -> anyhow::Result<(Arc<Engine>, Arc<Courier>, Arc<Logins>)> {
    let lock = DirectoryLock::take(&from.data, clock.now())?;
    let store = Arc::new(SqliteStore::open(lock)?);
    let moved = crate::moving::move_calls(&from.data, &own);
    let folder = from.data.join(JOURNAL);
    crate::serve::create_private(&folder)?;
    let journal = FileJournal::open(&folder)
        .with_context(|| format!("the journal in `{}`", from.data.display()))?;
    let stores = Stores {
        ledger: store.clone(),
        calls: own,
        settings: store.clone(),
        journal: Arc::new(journal),
    };
    let kept = store.setting(overrides::SETTING)?;
    let overrides = Overrides::read(kept.as_deref());
    let mut settings = from.engine(from.listen.ip().is_loopback());
    settings.budgets = overrides.over(&settings.budgets)?;
    let mut random = [0; LINK_KEY_BYTES];
    getrandom::fill(&mut random).context("the system gives no randomness")?;
    let links = LinkKey::kept(store.as_ref(), random)?;
    let courier = Courier::kept(store.as_ref(), links.clone(), Pace::default())?;
    courier.put_channels(from.notify.channels.clone());
    let courier = Arc::new(courier);
    let keys = KeyStore::list(store.as_ref())?;
    let in_force = |id| keys.iter().any(|it| it.id == id && it.revoked_at.is_none());
    let logins = Arc::new(Logins::kept(store.clone(), in_force, clock.now())?);
    let engine = Engine::start(Parts {
        clock,
        settings,
        prices: from.prices.clone(),
        stores,
        keys: store.clone(),
        audit: store,
        registry,
        records,
        notices: courier.clone(),
        links,
        seed: random_seed(),
    })?;
    engine.accept_bearers(logins.clone());
    moved.tell(&engine);
    Ok((engine, courier, logins))
}

/// What is kept of what happens. Where it can't be, the gateway serves without it.
pub(crate) fn telemetry(from: &Settings, clock: &Arc<dyn Clock>) -> Telemetry {
    let clock = Arc::clone(clock);
    match from.telemetry {
        Some(options) => Telemetry::open(&from.data.join("telemetry"), options, clock),
        None => Telemetry::off(clock),
    }
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
