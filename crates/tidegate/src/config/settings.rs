//! The configuration as the program uses it: checked, plain.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use tidegate_ledger::BudgetPolicy;
use tidegate_observe::{record::Level, redact::Redactor};
use tidegate_providers::prices::{PriceBook, PriceError};
use tidegate_types::{Enforcement, RequestClass, Secret};

pub(crate) use super::value::{Countable, Family, LogForm};

/// Everything that was configured. Holding one is proof that it was checked.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where to listen.
    pub(crate) listen: SocketAddr,
    /// The folder for everything that is kept.
    pub(crate) data: PathBuf,
    /// Bounds of the gateway itself.
    pub(crate) server: Server,
    /// Who calls without a key act as.
    pub(crate) local: Local,
    /// Providers by name.
    pub(crate) providers: BTreeMap<Arc<str>, Provider>,
    /// Platforms, in the order in which they are asked.
    pub(crate) platforms: Vec<Platform>,
    /// Limits on money.
    pub(crate) budgets: Arc<BudgetPolicy>,
    /// How holds are sized.
    pub(crate) reserve: Reserve,
    /// What calls weigh.
    pub(crate) weights: Weights,
    /// The text of the operator's price file and its path, if there is one.
    pub(crate) prices: Option<PriceFile>,
    /// Removes secrets.
    pub(crate) redactor: Redactor,
    /// The program's own log.
    pub(crate) log: Log,
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

/// Organisation and user of calls that carry no key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Local {
    /// Who pays.
    pub(crate) organisation: Arc<str>,
    /// Who acts.
    pub(crate) user: Arc<str>,
}

/// A provider.
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
    /// Its calls cost nothing.
    pub(crate) free: bool,
    /// Whether HTTP/2 may be used.
    pub(crate) http2: bool,
    /// Certificates to trust for it, instead of the machine's.
    pub(crate) ca_file: Option<PathBuf>,
}

/// A platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Platform {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The provider that serves it; one of [`Settings::providers`].
    pub(crate) provider: Arc<str>,
    /// Paid by subscription.
    pub(crate) subscription: bool,
    /// Ids, or beginnings that end in `*`.
    pub(crate) models: Vec<String>,
    /// Model asked for → model sent.
    pub(crate) model_map: Vec<(String, String)>,
    /// Platforms to try after it, in order; each exists, and none is itself.
    pub(crate) fallback: Vec<Arc<str>>,
    /// Its buckets, in order.
    pub(crate) buckets: Vec<Bucket>,
}

/// A token bucket. Amounts are in what it counts; dollars in billionths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Its name, unique in the platform.
    pub(crate) name: String,
    /// What it counts.
    pub(crate) resource: Countable,
    /// The most that can be spent at once; at least 1.
    pub(crate) capacity: u64,
    /// What comes back in how long; absent for concurrency alone.
    pub(crate) refill: Option<(u64, Duration)>,
    /// The stock that low and medium leave alone; at most the capacity.
    pub(crate) threshold: u64,
    /// Whether it copies a limit of the provider.
    pub(crate) of_provider: bool,
    /// Whom it binds.
    pub(crate) enforcement: Enforcement,
}

/// How holds are sized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reserve {
    /// A call's output cap may hold one part in this many of what is left; at least 1.
    pub(crate) share_of_left: u64,
    /// The cap is not lowered below this while that fits.
    pub(crate) output_floor: u64,
    /// Where that does not fit, the cap goes down to this and no further.
    pub(crate) output_floor_last: u64,
    /// Tokens that a cap leaves above the budget for thinking.
    pub(crate) output_over_thinking: u64,
    /// Tokens that a piece of content by reference is taken for.
    pub(crate) reference_tokens: u64,
    /// Tokens of results that one use of a server tool is taken to bring in.
    pub(crate) server_tool_tokens: u64,
}

/// What calls weigh in units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weights {
    /// Asked in this order; the first that applies decides.
    pub(crate) rules: Vec<WeightRule>,
    /// Where none applies.
    pub(crate) otherwise: u64,
}

/// A rule of the table of weights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WeightRule {
    /// Applies to these classes; to all where empty.
    pub(crate) classes: Vec<RequestClass>,
    /// Applies to models whose id contains one of these; to all where empty.
    pub(crate) models: Vec<String>,
    /// Applies to fast mode only.
    pub(crate) fast: bool,
    /// What the call weighs.
    pub(crate) units: u64,
}

/// The operator's prices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PriceFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// Its text.
    pub(crate) text: String,
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
    /// What models cost: the built-in table, the operator's file over it, and what is free. The
    /// file was checked when the configuration was read, so an error here is one of the program.
    pub(crate) fn price_book(&self) -> Result<PriceBook, PriceError> {
        let mut book = PriceBook::builtin();
        if let Some(file) = &self.prices {
            book = book.with_overrides(&file.text)?;
        }
        let free = self.providers.iter().filter(|(_, it)| it.free);
        Ok(free.fold(book, |book, (name, _)| book.declare_free(name)))
    }

    /// The names of limits that nobody named, in the order they are checked: those that only
    /// watch the local user's calls without a key.
    pub(crate) fn built_in_limits(&self) -> Vec<String> {
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
