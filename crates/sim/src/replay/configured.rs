//! What Tidegate is told in a run: the judge's own configuration, or one that somebody means to use.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::tz::TimeZone;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, QuotaTable, Refill, Resource, SpecError};
use tidegate_engine::settings::{Local, Platform, ReserveRules, Settings, Weights};
use tidegate_ledger::{BudgetPolicy, LimitTable, PolicyError};
use tidegate_observe::redact::Redactor;
use tidegate_providers::{accounting::Family, prices::PriceBook};
use tidegate_types::{Enforcement, Mode, NanoUsd};

use super::{GovernedError, Plan};
use crate::spec::LimitSpec;

/// How long Claude Code waits for an answer in all: what is longer is sent away, its place kept.
const PATIENCE: Duration = Duration::from_secs(330);

/// The one platform of the judge's own configuration.
const PLATFORM: &str = "provider";

/// The organisation of the judge's own configuration.
const ORGANISATION: &str = "fleet";

/// A configuration, as far as it matters without sockets.
#[derive(Clone, Debug)]
pub struct Configured {
    /// What the engine is told. Calls go to the platform that it would choose for their model among those that speak
    /// Anthropic's dialect; the one emulated provider is behind all of them. They come without a key.
    pub settings: Settings,
    /// What models cost.
    pub prices: PriceBook,
    /// How long a client is held while its call waits.
    pub patience: Duration,
}

impl Configured {
    /// The judge's own: the provider's limits as buckets, and nothing else but what the plan says may be spent.
    pub(super) fn of_plan(plan: &Plan) -> Result<Self, GovernedError> {
        let platform = Arc::new(platform(&plan.provider.limits)?);
        Ok(Self {
            settings: settings(platform, plan.budget)?,
            prices: PriceBook::builtin(),
            patience: PATIENCE,
        })
    }

    /// The settings with which calls of a run can be made, whoever pays.
    pub(super) fn for_callers(&self) -> Result<Settings, GovernedError> {
        let mut settings = self.settings.clone();
        for platform in &mut settings.platforms {
            // Nobody's credential is spent here.
            Arc::make_mut(platform).local_may_spend = true;
        }
        let serves = |it: &Arc<Platform>| it.family == Family::Anthropic && !it.subscription;
        if !settings.platforms.iter().any(serves) {
            return Err(GovernedError::NoPlatform);
        }
        settings.keyless = true;
        Ok(settings)
    }
}

/// The provider's limits, as an operator would write them down.
fn platform(limits: &LimitSpec) -> Result<Platform, SpecError> {
    let bucket = |name: &str, resource, per_minute: u64| {
        let burst = per_minute * u64::from(limits.burst_seconds) / 60;
        BucketSpec {
            name: name.to_owned(),
            resource,
            capacity: burst.max(1),
            refill: Some(Refill {
                amount: per_minute,
                period: Duration::from_mins(1),
            }),
            threshold: 0,
            owner: Owner::Provider,
            enforcement: Enforcement::Named(Mode::Enforce),
        }
    };
    let buckets = vec![
        bucket("requests", Resource::Requests, limits.requests_per_minute),
        bucket(
            "input-tokens",
            Resource::InputTokens,
            limits.input_tokens_per_minute,
        ),
        bucket(
            "output-tokens",
            Resource::OutputTokens,
            limits.output_tokens_per_minute,
        ),
    ];
    Ok(Platform {
        name: PLATFORM.into(),
        provider: "anthropic".into(),
        family: Family::Anthropic,
        subscription: false,
        free: false,
        operators_credential: true,
        local_may_spend: true,
        shared_limits: true,
        models: Vec::new(),
        model_map: HashMap::new(),
        fallback: Vec::new(),
        pool: PoolSpec::try_new(PLATFORM, buckets)?,
    })
}

fn settings(platform: Arc<Platform>, budget: Option<NanoUsd>) -> Result<Settings, PolicyError> {
    let mut table = LimitTable::unlimited();
    table.defaults.organisation.hard = budget;
    table.defaults.organisation.enforcement = Enforcement::Named(Mode::Enforce);
    Ok(Settings {
        local: Local {
            organisation: ORGANISATION.into(),
            user: "local".into(),
        },
        keyless: true,
        platforms: vec![platform],
        budgets: Arc::new(BudgetPolicy::built_in(TimeZone::UTC).with_limits(table)?),
        quotas: Arc::new(QuotaTable::unlimited()),
        reserve: ReserveRules::default(),
        weights: Weights::default(),
        redactor: Redactor::default(),
    })
}
