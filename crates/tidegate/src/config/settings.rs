//! The configuration as the program uses it: checked, in the domain's own types.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_admission::QuotaTable;
use tidegate_engine::settings::{Local, Platform, ReserveRules, Weights};
use tidegate_gateway::{patience::Patience, upstream::Roots};
use tidegate_ledger::{BudgetPolicy, LevelKind};
use tidegate_observe::{record::Level, redact::Redactor};
use tidegate_providers::{accounting::Family, prices::PriceBook};
use tidegate_types::{Enforcement, Secret};

pub(crate) use super::value::LogForm;

/// Everything that was configured. Holding one is proof that it was checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The folder for everything that is kept.
    pub(crate) data: PathBuf,
    /// Whether somebody said which folder that is.
    pub(crate) data_is_named: bool,
    /// Bounds of the gateway itself.
    pub(crate) server: Server,
    /// How clients are held while their calls wait.
    pub(crate) waiting: Patience,
    /// Who calls without a key act as.
    pub(crate) local: Local,
    /// Providers by name.
    pub(crate) providers: BTreeMap<Arc<str>, Provider>,
    /// Platforms, in the order in which they are asked; the provider of each exists.
    pub(crate) platforms: Vec<Arc<Platform>>,
    /// Limits on money.
    pub(crate) budgets: Arc<BudgetPolicy>,
    /// Limits on how often, how many at once, how much and how large.
    pub(crate) quotas: Arc<QuotaTable>,
    /// How holds are sized.
    pub(crate) reserve: ReserveRules,
    /// What calls weigh.
    pub(crate) weights: Weights,
    /// What models cost: the built-in table, the operator's file over it, and what is free.
    pub(crate) prices: PriceBook,
    /// What is told by itself, and to whom.
    pub(crate) notify: Notify,
    /// The settings for Claude Code where it signs in; `None`: none.
    pub(crate) claude_code: Option<serde_json::Value>,
    /// How telemetry is kept; `None`: not at all.
    pub(crate) telemetry: Option<tidegate_segments::Options>,
    /// Where telemetry of others is taken.
    pub(crate) otlp: Otlp,
    /// Removes secrets.
    pub(crate) redactor: Redactor,
    /// The program's own log.
    pub(crate) log: Log,
}

/// Where telemetry of others is taken, beside the gateway's own address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Otlp {
    /// Over gRPC; `None`: not there.
    pub(crate) grpc: Option<SocketAddr>,
    /// Over HTTP; `None`: not there.
    pub(crate) http: Option<SocketAddr>,
    /// Whether prompts and answers are kept.
    pub(crate) content: bool,
}

/// Bounds of the gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// Bytes that the bodies of all requests share.
    pub(crate) body_memory_bytes: u64,
    /// Bytes of the largest request body.
    pub(crate) body_bytes_max: u64,
    /// How long running answers may go on after the first signal to stop.
    pub(crate) drain: Duration,
}

/// A provider.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact about a provider, as it is configured"
)]
#[derive(Clone, Debug)]
pub(crate) struct Provider {
    /// What it speaks.
    pub(crate) family: Family,
    /// Its address: `http` or `https`, without a closing slash.
    pub(crate) base_url: String,
    /// The operator's credential; without one the caller's own is forwarded.
    pub(crate) credential: Option<Secret<String>>,
    /// Whether calls without a Tidegate key may spend the operator's credential.
    pub(crate) local_may_spend: bool,
    /// Its limits hold for all models together.
    pub(crate) shared_limits: bool,
    /// Its calls cost nothing.
    pub(crate) free: bool,
    /// Whether HTTP/2 may be used.
    pub(crate) http2: bool,
    /// Certificates to trust for it, instead of the machine's.
    pub(crate) roots: Option<Arc<Roots>>,
}

/// What is told by itself, and to whom.
#[derive(Clone, Debug)]
pub(crate) struct Notify {
    /// Where links lead, without a closing slash; `None` for where it listens.
    pub(crate) address: Option<String>,
    /// Who is told.
    pub(crate) channels: Vec<tidegate_notify::Channel>,
}

/// The program's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// The least level that is written.
    pub(crate) level: Level,
    /// The form of its lines.
    pub(crate) form: LogForm,
}

impl Settings {
    /// What the engine is told. `keyless` says whether calls without a key are taken at all.
    pub(crate) fn engine(&self, keyless: bool) -> tidegate_engine::settings::Settings {
        tidegate_engine::settings::Settings {
            local: self.local.clone(),
            keyless,
            platforms: self.platforms.clone(),
            budgets: Arc::clone(&self.budgets),
            quotas: Arc::clone(&self.quotas),
            reserve: self.reserve,
            weights: self.weights.clone(),
            redactor: self.redactor.clone(),
        }
    }

    /// Where calls to a built-in provider go.
    pub(crate) fn base_url(&self, provider: &str) -> String {
        let provider = self.providers.get(provider);
        provider.map_or(String::new(), |it| it.base_url.clone())
    }

    /// The names of limits that nobody named, in the order they are checked: those that only
    /// watch the local user's calls without a key.
    pub(crate) fn built_in_limits(&self) -> Vec<String> {
        let built_in = |it: Enforcement| it == Enforcement::BuiltIn;
        let limits = &self.budgets.limits().defaults;
        let mut names: Vec<String> = LevelKind::ALL
            .into_iter()
            .filter(|it| built_in(limits.of(*it).enforcement))
            .map(|it| it.word().to_owned())
            .collect();
        let quotas = tidegate_engine::account::limits(&self.quotas).into_iter();
        names.extend(quotas.filter(|it| built_in(it.1)).map(|it| it.0));
        for platform in &self.platforms {
            let buckets = platform.pool.buckets().iter();
            let buckets = buckets.filter(|it| built_in(it.enforcement));
            names.extend(buckets.map(|it| format!("{}.{}", platform.name, it.name)));
        }
        names
    }
}
