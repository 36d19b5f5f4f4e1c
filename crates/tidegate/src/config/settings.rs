//! The configuration as the program uses it: checked, plain.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_ledger::BudgetPolicy;
use tidegate_observe::{record::Level, redact::Redactor};
use tidegate_types::{Enforcement, RequestClass, Secret};

pub use super::value::{Countable, Family, LogForm};

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
    /// Platforms, in the order in which they are asked.
    pub platforms: Vec<Platform>,
    /// Limits on money.
    pub budgets: Arc<BudgetPolicy>,
    /// How holds are sized.
    pub reserve: Reserve,
    /// What calls weigh.
    pub weights: Weights,
    /// The text of the operator's price file and its path, if there is one.
    pub prices: Option<PriceFile>,
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

/// Organisation and user of calls that carry no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who acts.
    pub user: Arc<str>,
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

/// A platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// Its name.
    pub name: Arc<str>,
    /// The provider that serves it; one of [`Settings::providers`].
    pub provider: Arc<str>,
    /// Paid by subscription.
    pub subscription: bool,
    /// Ids, or beginnings that end in `*`.
    pub models: Vec<String>,
    /// Model asked for → model sent.
    pub model_map: Vec<(String, String)>,
    /// Platforms to try after it, in order; each exists, and none is itself.
    pub fallback: Vec<Arc<str>>,
    /// Its buckets, in order.
    pub buckets: Vec<Bucket>,
}

/// A token bucket. Amounts are in what it counts; dollars in billionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Its name, unique in the platform.
    pub name: String,
    /// What it counts.
    pub resource: Countable,
    /// The most that can be spent at once; at least 1.
    pub capacity: u64,
    /// What comes back in how long; absent for concurrency alone.
    pub refill: Option<(u64, Duration)>,
    /// The stock that low and medium leave alone; at most the capacity.
    pub threshold: u64,
    /// Whether it copies a limit of the provider.
    pub of_provider: bool,
    /// Whom it binds.
    pub enforcement: Enforcement,
}

/// How holds are sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserve {
    /// A call's output cap may hold one part in this many of what is left; at least 1.
    pub share_of_left: u64,
    /// The cap is not lowered below this while that fits.
    pub output_floor: u64,
    /// Where that does not fit, the cap goes down to this and no further.
    pub output_floor_last: u64,
    /// Tokens that a cap leaves above the budget for thinking.
    pub output_over_thinking: u64,
    /// Tokens that a piece of content by reference is taken for.
    pub reference_tokens: u64,
    /// Uses that a server tool is taken for which names none.
    pub server_tool_uses: u64,
    /// Tokens of results that one use of a server tool is taken to bring in.
    pub server_tool_tokens: u64,
}

/// What calls weigh in units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Weights {
    /// Asked in this order; the first that applies decides.
    pub rules: Vec<WeightRule>,
    /// Where none applies.
    pub otherwise: u64,
}

/// A rule of the table of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightRule {
    /// Applies to these classes; to all where empty.
    pub classes: Vec<RequestClass>,
    /// Applies to models whose id contains one of these; to all where empty.
    pub models: Vec<String>,
    /// Applies to fast mode only.
    pub fast: bool,
    /// What the call weighs.
    pub units: u64,
}

/// The operator's prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceFile {
    /// The file.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
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
    /// The names of limits that nobody named, in the order they are checked: those that only
    /// watch the local user's calls without a key.
    pub fn built_in_limits(&self) -> Vec<String> {
        let built_in = |it: Enforcement| it == Enforcement::BuiltIn;
        let limits = &self.budgets.limits().defaults;
        let mut names: Vec<String> = tidegate_ledger::LevelKind::ALL
            .into_iter()
            .filter(|it| built_in(limits.of(*it).enforcement))
            .map(|it| it.word().to_owned())
            .collect();
        for platform in &self.platforms {
            let buckets = platform
                .buckets
                .iter()
                .filter(|it| built_in(it.enforcement));
            names.extend(buckets.map(|it| format!("{}.{}", platform.name, it.name)));
        }
        names
    }
}
