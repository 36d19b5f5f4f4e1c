//! The configuration as the program uses it: checked, in the domain's own types.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_engine::settings::{Local, Platform, ReserveRules, Weights};
use tidegate_ledger::{BudgetPolicy, LevelKind};
use tidegate_observe::{record::Level, redact::Redactor};
use tidegate_providers::{accounting::Family, prices::PriceBook};
use tidegate_types::{Enforcement, Secret};

pub use super::value::LogForm;

/// Everything that was configured. Holding one is proof that it was checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The folder for everything that is kept.
    pub data: PathBuf,
    /// Bounds of the gateway itself.
    pub server: Server,
    /// Who calls without a key act as.
    pub local: Local,
    /// Providers by name.
    pub providers: BTreeMap<Arc<str>, Provider>,
    /// Platforms, in the order in which they are asked; the provider of each exists.
    pub platforms: Vec<Arc<Platform>>,
    /// Limits on money.
    pub budgets: Arc<BudgetPolicy>,
    /// How holds are sized.
    pub reserve: ReserveRules,
    /// What calls weigh.
    pub weights: Weights,
    /// What models cost: the built-in table, the operator's file over it, and what is free.
    pub prices: PriceBook,
    /// Removes secrets.
    pub redactor: Redactor,
    /// The program's own log.
    pub log: Log,
}

/// Bounds of the gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Server {
    /// Bytes that the bodies of all requests share.
    pub body_memory_bytes: u64,
    /// Bytes of the largest request body.
    pub body_bytes_max: u64,
    /// How long running answers may go on after the first signal to stop.
    pub drain: Duration,
}

/// A provider.
#[derive(Clone, Debug)]
pub struct Provider {
    /// What it speaks.
    pub family: Family,
    /// Its address: `http` or `https`, without a closing slash.
    pub base_url: String,
    /// The operator's credential; without one the caller's own is forwarded.
    pub credential: Option<Secret<String>>,
    /// Whether calls without a Tidegate key may spend the operator's credential.
    pub local_may_spend: bool,
    /// Its calls cost nothing.
    pub free: bool,
    /// Whether HTTP/2 may be used.
    pub http2: bool,
    /// Certificates to trust for it, instead of the machine's.
    pub ca_file: Option<PathBuf>,
}

/// The program's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// The least level that is written.
    pub level: Level,
    /// The form of its lines.
    pub form: LogForm,
}

impl Settings {
    /// What the engine is told. `keyless` says whether calls without a key are taken at all.
    pub fn engine(&self, keyless: bool) -> tidegate_engine::settings::Settings {
        tidegate_engine::settings::Settings {
            local: self.local.clone(),
            keyless,
            platforms: self.platforms.clone(),
            budgets: Arc::clone(&self.budgets),
            reserve: self.reserve,
            weights: self.weights.clone(),
        }
    }

    /// The names of limits that nobody named, in the order they are checked: those that only
    /// watch the local user's calls without a key.
    pub fn built_in_limits(&self) -> Vec<String> {
        let built_in = |it: Enforcement| it == Enforcement::BuiltIn;
        let limits = &self.budgets.limits().defaults;
        let mut names: Vec<String> = LevelKind::ALL
            .into_iter()
            .filter(|it| built_in(limits.of(*it).enforcement))
            .map(|it| it.word().to_owned())
            .collect();
        for platform in &self.platforms {
            let buckets = platform.pool.buckets().iter();
            let buckets = buckets.filter(|it| built_in(it.enforcement));
            names.extend(buckets.map(|it| format!("{}.{}", platform.name, it.name)));
        }
        names
    }
}
