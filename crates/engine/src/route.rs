//! Where a call goes, and where else it could.

use std::sync::Arc;

use tidegate_admission::{Need, Warm};
use tidegate_ledger::{Books, Service};
use tidegate_providers::{
    CacheWrite, Dialect,
    accounting::{Estimate, Family},
    prices::{ModelPrice, Quote},
};
use tidegate_types::{Caller, NanoUsd, Tokens, Usage};

use crate::{
    Engine,
    account::Account,
    call::{Identified, Moment, Refusals, Routed},
    estimate::{self, CACHE_LIFE, Input},
    identity::Credential,
    reserve::Room,
    settings::{Platform, Settings, home_provider},
};

/// Whose credential a call carries upstream. A caller's own goes only to the provider it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payer {
    /// The caller's own credential, as it came.
    Caller,
    /// The operator's, in place of whatever came.
    Operator,
    /// None: the platform is free and asks for none. Whatever came is not passed on.
    Nobody,
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
    /// The caller's own credential belongs elsewhere.
    #[error(
        "platform `{platform}` takes {wanted}, and the call came with {shown}: send what belongs there, or name another platform"
    )]
    OtherCredential {
        /// The platform.
        platform: Arc<str>,
        /// What came.
        shown: &'static str,
        /// What is good there.
        wanted: &'static str,
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
    let own = call.principal.credential;
    if at_home && own.pays(platform.family, platform.subscription) {
        return Ok(Payer::Caller);
    }
    let (platform_name, provider) = (Arc::clone(&platform.name), Arc::clone(&platform.provider));
    if !platform.operators_credential {
        if platform.free {
            return Ok(Payer::Nobody);
        }
        if at_home && own != Credential::None {
            return Err(NoRoute::OtherCredential {
                platform: platform_name,
                shown: match own {
                    Credential::Subscription => "a claude.ai login",
                    Credential::KeyOf(Family::Anthropic) => "a key of Anthropic's",
                    Credential::KeyOf(Family::OpenAi) => "a key of OpenAI's",
                    Credential::Key | Credential::None => "an API key",
                    Credential::Mixed => {
                        "several credentials of different kinds, of which any could pay"
                    }
                },
                wanted: match (platform.subscription, platform.family) {
                    (true, _) => "a claude.ai login",
                    (false, Family::Anthropic) => "an API key of Anthropic's",
                    (false, Family::OpenAi) => "an API key of OpenAI's",
                },
            });
        }
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
    let home = home_provider(family);
    let subscription = call.principal.credential == Credential::Subscription;
    // A login pays for its subscription and nothing else; nothing else pays for that.
    let paid_so = |it: &&Arc<Platform>| it.subscription == subscription;
    let closest = |all: &mut dyn Iterator<Item = &'a Arc<Platform>>| {
        let mut best: Option<(usize, &'a Arc<Platform>)> = None;
        for it in all {
            let Some(closeness) = it.serves(&call.facts.model) else {
                continue;
            };
            // The first of equals, in the order of the configuration.
            if best.is_none_or(|(most, _)| closeness > most) {
                best = Some((closeness, it));
            }
        }
        best.map(|(_, it)| it)
    };
    closest(&mut of_family.clone().filter(paid_so))
        .or_else(|| of_family.clone().find(paid_so))
        .or_else(|| of_family.clone().find(|it| *it.provider == *home))
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
        let asked_model = call.facts.model.as_str();
        let mapped = platform.model_map.get(asked_model);
        let model: Arc<str> = mapped.map_or(asked_model, String::as_str).into();
        let price = self.dearest_price(platform, &model, &call.facts.other_models);
        let kept = mapped.map_or_else(
            || Arc::clone(&call.record.model_asked),
            |_| Arc::clone(&model),
        );
        let size = self.size(&call, platform.family, (&kept, &price), now);
        let charged = call.metered && !platform.subscription && !platform.free;
        let bound = |it: NanoUsd| if charged { it } else { NanoUsd::ZERO };
        let units = self.units(&call, &model);
        let expected = bound(price.price.cost(&size.expected));
        let need = Self::need(platform, &size.estimate(&call), units, expected);
        let need = call.refused.raised(need);
        let (gate, slot) = self.gate(
            platform,
            (&call.record.organisation, &call.record.user),
            now.mono,
        );
        let books = self.books(&call.record.organisation);
        let path = self.path(&books, &call, now);
        let quota = self.quota_path(&books, &call, now);
        let room = Room::new(&gate, &books);
        let mut routed = Box::new(Routed {
            input_bound: bound(size.input_bound),
            expected,
            price,
            bound_price: size.bound_price,
            gate,
            slot,
            books,
            path,
            quota,
            need,
            input: size.input,
            output_expected: size.expected.output,
            output_usual: size.output_usual,
            cap: size.cap,
            bound: NanoUsd::ZERO,
            platform: Arc::clone(platform),
            room: Some(room),
            call,
        });
        routed.bound = routed.bound_of(routed.cap);
        routed.describe(kept, units);
        routed
    }

    /// How much a call needs of a model, as expected and at most.
    fn size(
        &self,
        call: &Identified,
        family: Family,
        (model, price): (&str, &Quote),
        now: Moment,
    ) -> Size {
        let facts = &call.facts;
        let settings = self.settings();
        let (bytes, proven) = (call.record.body_bytes, call.proven);
        let context = price.price.context;
        let mut input = estimate::input(facts, bytes, proven, &settings.reserve, context, now.mono);
        if family == Family::Anthropic && facts.cache_write == CacheWrite::None {
            // Nothing is read from a cache there that the body does not mark.
            input.cached = Tokens(0);
        }
        let cap = facts.output_cap.as_ref();
        let cap = cap.map_or(price.price.output_max, |it| Tokens(it.value));
        let bound_price = if price.price.tiers.is_empty() {
            Arc::clone(&price.price)
        } else {
            Arc::new(price.price.reachable(input.bound))
        };
        let input_bound = bound_price
            .input_bound(input.bound, facts.cache_write, &facts.modifiers)
            .saturating_add(price.price.web_search_bound(facts.server_tool_uses));
        let output = self.outputs.expected(model, call.record.class);
        let expected = Usage {
            input: input.expected.saturating_sub(input.cached),
            cache_read: input.cached,
            output: output.mean.min(cap),
            modifiers: facts.modifiers,
            ..Usage::default()
        };
        Size {
            input,
            cap,
            expected,
            output_usual: output.usual,
            bound_price,
            input_bound,
        }
    }

    fn units(&self, call: &Identified, model: &str) -> u64 {
        if !call.metered {
            return 0;
        }
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
        books: &parking_lot::Mutex<Account>,
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

/// What a call needs of a model.
struct Size {
    input: Input,
    /// The output cap in force before any is lowered.
    cap: Tokens,
    expected: Usage,
    output_usual: Tokens,
    bound_price: Arc<ModelPrice>,
    input_bound: NanoUsd,
}

impl Size {
    /// What the provider's limits will count; nothing but the request where it isn't metered.
    fn estimate(&self, call: &Identified) -> Estimate {
        if !call.metered {
            return Estimate::default();
        }
        Estimate {
            input_total: self.input.expected,
            cache_read: self.input.cached,
            output_expected: self.expected.output,
            output_cap: call.facts.output_cap.as_ref().map(|it| Tokens(it.value)),
        }
    }
}

impl Refusals {
    /// A need, as far as refusals have not shown it to be larger.
    pub(crate) fn raised(&self, need: Need) -> Need {
        let raised = |it: u64| {
            if it > 0 {
                it.max(self.input_at_least)
            } else {
                0
            }
        };
        Need {
            input_tokens: raised(need.input_tokens),
            tokens: raised(need.tokens),
            ..need
        }
    }
}

impl Routed {
    /// The prompt cache that its size counts on, and what it takes without that.
    pub(crate) fn warm(&self) -> Option<Warm> {
        let proven = self.call.proven.filter(|_| self.input.cached.0 > 0)?;
        let estimate = Estimate {
            input_total: self.input.expected,
            cache_read: Tokens(0),
            output_expected: self.output_expected,
            output_cap: self
                .call
                .facts
                .output_cap
                .as_ref()
                .map(|it| Tokens(it.value)),
        };
        let cost = NanoUsd(self.need.nano_usd);
        let cold = Engine::need(&self.platform, &estimate, self.need.units, cost);
        Some(Warm {
            until: proven.at.after(CACHE_LIFE),
            cold: self.call.refused.raised(cold),
        })
    }

    /// The most that it can count for where input is counted.
    pub(crate) fn largest_need(&self) -> Need {
        let output = self.call.facts.output_cap.as_ref();
        Need {
            input_tokens: self.input.bound.0,
            tokens: self
                .input
                .bound
                .0
                .saturating_add(output.map_or(0, |it| it.value)),
            ..Need::default()
        }
    }

    /// Writes into the record what is decided by now.
    fn describe(&mut self, model: Arc<str>, units: u64) {
        self.call.ongoing.goes_to(&self.platform.name);
        let record = &mut self.call.record;
        record.platform = Arc::clone(&self.platform.name);
        record.provider = Arc::clone(&self.platform.provider);
        record.model_sent = model;
        record.units = units;
        record.expected = self.expected;
        record.price_known = self.price.known;
        record.price_version = Arc::clone(&self.price.version);
    }
}
