//! Where a call goes, and where else it could.

use std::sync::Arc;

use tidegate_ledger::{Books, Service};
use tidegate_providers::{
    CacheWrite, Dialect,
    accounting::{Estimate, Family},
    prices,
};
use tidegate_types::{Caller, NanoUsd, Tokens, Usage};

use crate::{
    Engine,
    call::{Identified, Moment, Routed},
    estimate,
    identity::Credential,
    settings::{Platform, Settings, home_provider},
};

/// Whose credential a call carries upstream. A caller's own goes only to the provider it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The caller's own credential, as it came.
    Caller,
    /// The operator's, in place of whatever came.
    Operator,
}

/// Why a call can go nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// A platform was named that there isn't.
    #[error("header `x-tidegate-platform`: there is no platform `{asked}`; there are {known}")]
    UnknownPlatform {
        /// As it was named.
        asked: Arc<str>,
        /// Those there are.
        known: String,
    },
    /// The platform speaks another dialect than the request.
    #[error("platform `{platform}` does not speak this request's dialect: use {remedy}")]
    OtherDialect {
        /// The platform.
        platform: Arc<str>,
        /// What to do.
        remedy: &'static str,
    },
    /// There is no credential that may be used.
    #[error(
        "no credential for platform `{platform}`: send your own, or let the operator set `providers.{provider}.api_key`"
    )]
    NoCredential {
        /// The platform.
        platform: Arc<str>,
        /// Its provider.
        provider: Arc<str>,
    },
    /// The operator's credential is not for keyless calls.
    #[error(
        "platform `{platform}` is paid by the operator, and calls without a Tidegate key may not spend that: send a key, your own credential, or set `providers.{provider}.local_may_spend = true`"
    )]
    NotForKeyless {
        /// The platform.
        platform: Arc<str>,
        /// Its provider.
        provider: Arc<str>,
    },
}

/// The family a dialect belongs to.
pub const fn family(dialect: Dialect) -> Family {
    match dialect {
        Dialect::Anthropic => Family::Anthropic,
        Dialect::OpenAiChat | Dialect::OpenAiResponses => Family::OpenAi,
    }
}

/// Whose credential a call to `platform` would carry.
///
/// The caller's own is used wherever it belongs; a key of ours beside none asks for the operator's.
pub fn payer(call: &Identified, platform: &Platform) -> Result<Payer, NoRoute> {
    let at_home = *platform.provider == *home_provider(platform.family);
    let own = call.principal.credential != Credential::None;
    if own && at_home {
        return Ok(Payer::Caller);
    }
    let (platform_name, provider) = (Arc::clone(&platform.name), Arc::clone(&platform.provider));
    if !platform.operators_credential {
        // Nobody has any: the provider itself says so best, unless it is not the caller's.
        let nothing_to_hide = at_home && call.principal.caller == Caller::Keyless;
        return if nothing_to_hide {
            Ok(Payer::Caller)
        } else {
            Err(NoRoute::NoCredential {
                platform: platform_name,
                provider,
            })
        };
    }
    if call.principal.caller == Caller::Keyless && !platform.local_may_spend {
        return Err(NoRoute::NotForKeyless {
            platform: platform_name,
            provider,
        });
    }
    Ok(Payer::Operator)
}

/// The platforms a call may be sent to, the preferred one first. Never empty.
pub fn candidates(
    call: &Identified,
    dialect: Dialect,
    settings: &Settings,
) -> Result<Vec<Arc<Platform>>, NoRoute> {
    let family = family(dialect);
    let first = preferred(call, family, settings)?;
    if first.family != family {
        return Err(NoRoute::OtherDialect {
            platform: Arc::clone(&first.name),
            remedy: match first.family {
                Family::Anthropic => "/v1/messages",
                Family::OpenAi => "/v1/chat/completions or /v1/responses",
            },
        });
    }
    let _may = payer(call, first)?;
    let mut all = vec![Arc::clone(first)];
    // In order, each once, and only those that could take this call: a chain has no cycles.
    for name in &first.fallback {
        if let Some(next) = settings.platform(name)
            && next.family == family
            && all.iter().all(|it| it.name != next.name)
            && payer(call, next).is_ok()
        {
            all.push(Arc::clone(next));
        }
    }
    Ok(all)
}

fn preferred<'a>(
    call: &Identified,
    family: Family,
    settings: &'a Settings,
) -> Result<&'a Arc<Platform>, NoRoute> {
    if let Some(asked) = &call.platform {
        return settings
            .platform(asked)
            .ok_or_else(|| NoRoute::UnknownPlatform {
                asked: Arc::clone(asked),
                known: names(settings),
            });
    }
    let mut of_family = settings.platforms.iter().filter(|it| it.family == family);
    if let Some(claims) = of_family.clone().find(|it| it.claims(&call.facts.model)) {
        return Ok(claims);
    }
    let wants_subscription = call.principal.credential == Credential::Subscription;
    let home = home_provider(family);
    let at_home = |it: &&&Arc<Platform>| *it.provider == *home;
    of_family
        .clone()
        .filter(|it| at_home(&it))
        .find(|it| it.subscription == wants_subscription)
        .or_else(|| of_family.clone().find(|it| at_home(&it)))
        .or_else(|| of_family.next())
        .ok_or_else(|| NoRoute::UnknownPlatform {
            asked: home.into(),
            known: names(settings),
        })
}

fn names(settings: &Settings) -> String {
    let names: Vec<&str> = settings.platforms.iter().map(|it| &*it.name).collect();
    names.join(", ")
}

impl Engine {
    /// Sizes a call for a platform and finds its buckets and budgets.
    pub fn route(
        &self,
        call: Box<Identified>,
        platform: &Arc<Platform>,
        now: Moment,
    ) -> Box<Routed> {
        let settings = self.settings();
        let facts = call.facts.clone();
        let asked_model = facts.model.as_str();
        let model = platform
            .model_map
            .get(asked_model)
            .map_or(asked_model, String::as_str);
        let price = self.dearest_price(platform, model, &facts.other_models);
        let mut input = estimate::input(
            &facts,
            call.record.body_bytes,
            call.proven,
            &settings.reserve,
            price.price.context,
            now.mono,
        );
        if platform.family == Family::Anthropic && facts.cache_write == CacheWrite::None {
            // Nothing is read from a cache there that the body does not mark.
            input.cached = Tokens(0);
        }
        let cap = facts.output_cap.as_ref();
        let cap = cap.map_or(price.price.output_max, |it| Tokens(it.value));
        let output_expected = self.outputs.expected(model, call.record.class).min(cap);
        let expected = Usage {
            input: input.expected.saturating_sub(input.cached),
            cache_read: input.cached,
            output: output_expected,
            modifiers: facts.modifiers,
            ..Usage::default()
        };
        let charged = call.metered && !platform.subscription && !platform.free;
        let bound = |it: NanoUsd| if charged { it } else { NanoUsd::ZERO };
        let bound_price = if price.price.tiers.is_empty() {
            Arc::clone(&price.price)
        } else {
            Arc::new(price.price.reachable(input.bound))
        };
        let input_bound = bound_price
            .input_bound(
                input.bound,
                dearest_write(facts.cache_write),
                &facts.modifiers,
            )
            .saturating_add(price.price.web_search_bound(facts.server_tool_uses));
        let units = if call.metered {
            self.units(&call, model)
        } else {
            0
        };
        let estimate = if call.metered {
            Estimate {
                input_total: input.expected,
                cache_read: input.cached,
                output_expected,
                output_cap: facts.output_cap.as_ref().map(|it| Tokens(it.value)),
            }
        } else {
            Estimate::default()
        };
        let expected = bound(price.price.cost(&expected));
        let need = self.need(platform, &estimate, units, expected);
        let (pool, slot) = self.pool(platform, &call.record.user, now.mono);
        let books = self.books(&call.record.organisation);
        let path = self.path(&books, &call, now);
        let mut routed = Box::new(Routed {
            input_bound: bound(input_bound),
            expected,
            price,
            bound_price,
            pool,
            slot,
            books,
            path,
            need,
            input,
            output_expected,
            cap,
            platform: Arc::clone(platform),
            call,
        });
        routed.describe(model, units);
        routed
    }

    fn units(&self, call: &Identified, model: &str) -> u64 {
        let settings = self.settings();
        let fast = call.facts.modifiers.fast;
        let record = &call.record;
        settings
            .weights
            .units(record.complexity, record.class, model, fast)
    }

    /// Resolves a call's way through the budgets, and loads what was never asked for.
    fn path(
        &self,
        books: &parking_lot::Mutex<Books>,
        call: &Identified,
        now: Moment,
    ) -> tidegate_ledger::Path {
        let record = &call.record;
        let resolve = |books: &mut Books| {
            books.path(
                &record.user,
                record.root_task.as_deref(),
                Service::Llm,
                now.wall,
            )
        };
        self.loaded_path(books, resolve)
    }
}

const fn dearest_write(write: CacheWrite) -> prices::CacheWrite {
    match write {
        CacheWrite::None => prices::CacheWrite::None,
        CacheWrite::FiveMinutes => prices::CacheWrite::Minutes,
        CacheWrite::OneHour => prices::CacheWrite::Hour,
    }
}

impl Routed {
    /// Writes into the record what is decided by now.
    fn describe(&mut self, model: &str, units: u64) {
        let record = &mut self.call.record;
        record.platform = Arc::clone(&self.platform.name);
        record.provider = Arc::clone(&self.platform.provider);
        record.model_sent = model.into();
        record.units = units;
        record.expected = self.expected;
        record.price_known = self.price.known;
        record.price_version = Arc::clone(&self.price.version);
    }
}
