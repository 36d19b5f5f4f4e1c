//! The provider's rules, pure: buckets, windows, prompt cache, latency, chance. No sockets, no clock.
//!
//! An emulator is not the provider. These are the rules this one follows, one by one; tests cite them
//! by number, and every system that is measured against it meets the same ones.
//!
//! 1. **Pools.** Limits are kept per (credential, model class). A class is the family and major version
//!    of a Claude model (`opus-4`, `sonnet-5`, `fable-5`), with the minor version for haiku and for the
//!    5.5 models (`haiku-4-5`, `opus-5-5`); for every other model it is the model id without its date.
//!    Where `shared_limits` is set, all models of a credential are one pool.
//! 2. **Buckets.** A limit of `n` per minute is a bucket that refills by `n/60` a second, continuously,
//!    and holds `burst_seconds` of refill. It starts full. It may hold less than nothing: debt.
//! 3. **Admission** (Anthropic). A call needs one request, its estimated counted input, and an output
//!    bucket that is not in debt. Counted input is `input + cache writes`; reads are free. A need
//!    larger than the bucket is met by a full bucket, and leaves debt. All are checked before any is
//!    taken: a refused call takes nothing.
//! 4. **Estimate and correction** (Anthropic). The estimate errs by up to ±3 %, evenly drawn. When the
//!    answer begins, the difference to the true count is taken or given back.
//! 5. **Output** (Anthropic) is taken as it is produced, whatever `max_tokens` says.
//! 6. **OpenAI** takes one request and max(`max_tokens`, estimated input) from one token bucket, at the
//!    start, and never corrects it. A call refused for tokens still takes its request.
//! 7. **Refusals** are 429 with `retry-after`: the seconds until every need is met, rounded up, at least 1.
//! 8. **Headers.** Tokens remaining are rounded to the nearest thousand (Anthropic); below nothing is 0.
//!    Resets say when the bucket is full: RFC 3339 seconds, rounded up (Anthropic), or a Go duration,
//!    rounded up to the millisecond (OpenAI). `anthropic-ratelimit-tokens-*` repeats the token bucket
//!    that is emptier in proportion.
//! 9. **Logins** (`sk-ant-oat…`) have windows in place of buckets: five hours from the first call in
//!    none, and weeks from an anchor of the account, one for all models and one for a family. A call's
//!    units: counted input + 0.1 × reads at admission, 5 × output as it is produced. From 75 % used a window
//!    warns; at 100 % it refuses, and the latest reset of those refusing counts.
//! 10. **Spend cap.** Once the bill has reached the cap every call ends with a 429 that has no
//!     `retry-after` and names `enforced_spend_limit_reached` (OpenAI: `organization_spend_limit_exceeded`).
//! 11. **Prompt cache** (Anthropic). The prefix up to each `cache_control` breakpoint is written, if it
//!     has 1,024 tokens, and can be read from when the answer that wrote it has begun. A call reads the
//!     longest live prefix that ends at one of its breakpoints or up to 20 blocks before one, within one
//!     credential and model. A read starts the lives of the prefix it passes through anew. What lies
//!     between the read and the last breakpoint is written, for the life the closing breakpoint asks
//!     for; what follows it is plain input.
//! 12. **Prompt cache** (OpenAI). Every message ends a prefix; reads are rounded down to 128 tokens, and
//!     nothing is charged for writing.
//! 13. **Tokens** are the bytes of the request's blocks (tools, system, messages; without
//!     `cache_control`) divided by a fixed ratio, rounded up. A scripted usage replaces all counts.
//! 14. **Latency.** First byte and whole answer are lines over output, counted and total input.
//! 15. **Faults.** A header that asks for one wins over a directive in the prompt, that over an episode,
//!     that over a share of all calls. Refusals by fault take nothing from any bucket.
//! 16. **Seed.** The same spec, calls and times give the same answers.
//!
//! Not emulated: acceleration limits, the priority tier, fast mode's own limits, batches, server tools, and
//! OpenAI's daily limits.

mod bucket;
mod buckets;
mod cache;
mod class;
mod headers;
mod windows;

use std::{collections::HashMap, hash::BuildHasher, time::Duration};

use foldhash::fast::FixedState;
use tidegate_types::{Timestamp, Tokens, Usage};

pub use bucket::Bucket;
pub(crate) use cache::tokens_of;
pub use cache::{Block, Life};
pub use class::model_class;
pub use headers::Headers;

use self::{buckets::Buckets, cache::PromptCache, windows::Windows};
use crate::{
    Fault, ProviderSpec, limits,
    rng::Seeded,
    spec::{LineSpec, SpendCapSpec},
};

/// A map whose order and hashes are the same in every process (rule 16).
type Map<K, V> = HashMap<K, V, FixedState>;

/// Whose rules a call is under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// Anthropic's.
    Anthropic,
    /// OpenAI's.
    OpenAi,
}

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Account {
    /// A one-way fingerprint of the credential.
    pub fingerprint: u64,
    /// A claude.ai login: windows in place of buckets (rule 9).
    pub login: bool,
}

/// What the rules need to know of a call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose rules.
    pub family: Family,
    /// Whose call.
    pub account: Account,
    /// The model asked for.
    pub model: String,
    /// The request's blocks in cache order: tools, system, messages.
    pub blocks: Vec<Block>,
    /// What the answer will have.
    pub output: Tokens,
    /// The cap that was sent.
    pub max_tokens: Option<Tokens>,
    /// The counts to report instead of counting (rule 13).
    pub scripted: Option<Usage>,
}

/// What was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Requests a minute.
    Requests,
    /// Counted input a minute.
    InputTokens,
    /// Output a minute.
    OutputTokens,
    /// OpenAI's tokens a minute.
    Tokens,
    /// A login's window.
    Window,
}

/// Whether a call may run.
#[derive(Debug)]
pub enum Verdict {
    /// It runs; its input has been taken.
    Admitted(Box<Ticket>),
    /// Try again after `wait`.
    Limited {
        /// What takes longest to be met.
        limit: Limit,
        /// Exactly how long; headers round it up to seconds.
        wait: Duration,
    },
    /// The bill has reached the cap.
    SpendCapReached,
}

/// A call that runs.
#[derive(Clone, Debug)]
pub struct Ticket {
    pool: Pool,
    model: String,
    /// What the whole answer will have used.
    pub usage: Usage,
    /// From admission to the first byte.
    pub first_byte: Duration,
    /// From admission to the last byte.
    pub whole: Duration,
    estimate: u64,
    produced: u64,
    begun: bool,
    writes: Vec<(u64, Life)>,
}

impl Ticket {
    /// Output produced so far.
    pub const fn produced(&self) -> Tokens {
        Tokens(self.produced)
    }

    /// What has been used so far: all input, and the output that was produced.
    pub fn used(&self) -> Usage {
        Usage {
            output: Tokens(self.produced),
            ..self.usage
        }
    }
}

/// Where limits are kept (rule 1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Pool {
    family: Family,
    account: Account,
    class: String,
}

/// An emulated provider's state. Times come as arguments and must not run backwards; where they do,
/// nothing refills.
#[derive(Debug)]
pub struct World {
    spec: ProviderSpec,
    start: Timestamp,
    chance: Seeded,
    pools: Map<Pool, Buckets>,
    counting: Map<Account, Bucket>,
    windows: Map<Account, Windows>,
    bills: Map<Account, u128>,
    cache: PromptCache,
    strikes: Map<u64, u32>,
}

impl World {
    /// A provider that starts at `start` with full buckets and a cold cache. Bounds are those of
    /// [`ProviderSpec::validate`], which the caller has checked.
    pub fn new(spec: ProviderSpec, start: Timestamp) -> Self {
        Self {
            chance: Seeded::new(spec.seed),
            cache: PromptCache::new(&spec.cache),
            start,
            pools: Map::default(),
            counting: Map::default(),
            windows: Map::default(),
            bills: Map::default(),
            strikes: Map::default(),
            spec,
        }
    }

    /// Decides a call; if it may run, takes what it needs and bills its input (rules 3, 6, 9, 10).
    pub fn admit(&mut self, call: &Call, now: Timestamp) -> Verdict {
        if self.spend_cap_reached(call.account) {
            return Verdict::SpendCapReached;
        }
        let mut count = self.count(call, now);
        count.usage.output = call.output;
        let estimate = self.estimate(&count.usage, call.family);
        let refused = if call.account.login {
            self.windows(call.account).wait_for(&call.model, now)
        } else {
            let pool = self.pool_of(call);
            let buckets = self.buckets(&pool, now);
            match call.family {
                Family::Anthropic => buckets.take_anthropic(estimate),
                Family::OpenAi => {
                    buckets.take_openai(estimate.max(call.max_tokens.map_or(0, |it| it.0)))
                }
            }
        };
        if let Err((limit, wait)) = refused {
            return Verdict::Limited { limit, wait };
        }
        let first_byte = line(&self.spec.latency.first_byte, &count.usage);
        let ticket = Ticket {
            pool: self.pool_of(call),
            model: call.model.clone(),
            first_byte,
            whole: line(&self.spec.latency.whole, &count.usage).max(first_byte),
            usage: count.usage,
            writes: count.writes,
            estimate,
            produced: 0,
            begun: false,
        };
        self.charge(&ticket, &ticket.used());
        Verdict::Admitted(Box::new(ticket))
    }

    /// The answer begins: corrects the estimate and makes the call's cache writes readable (rules 4, 11). A
    /// second time changes nothing.
    pub fn begin(&mut self, ticket: &mut Ticket, now: Timestamp) {
        if std::mem::replace(&mut ticket.begun, true) {
            return;
        }
        self.cache.write(&ticket.writes, now);
        if ticket.pool.family == Family::Anthropic && !ticket.pool.account.login {
            let counted = counted(&ticket.usage);
            let bucket = &mut self.buckets(&ticket.pool, now).input;
            bucket.give_back(ticket.estimate.saturating_sub(counted));
            bucket.take(counted.saturating_sub(ticket.estimate));
        }
    }

    /// Lets the prefix of a call that ends with its block `at` be in the cache from now on, as if somebody else
    /// had written it: tools and a system prompt that many sessions share.
    pub fn warm(&mut self, call: &Call, at: usize, now: Timestamp) {
        self.cache.warm(call, at, now);
    }

    /// `tokens` more output exist (rules 5, 9, 10). Never more than the ticket's usage says.
    pub fn produce(&mut self, ticket: &mut Ticket, tokens: Tokens, now: Timestamp) {
        let more = tokens.0.min(ticket.usage.output.0 - ticket.produced);
        if more == 0 {
            return;
        }
        ticket.produced += more;
        let output = Usage {
            output: Tokens(more),
            ..Usage::default()
        };
        self.charge(ticket, &output);
        if ticket.pool.family == Family::Anthropic && !ticket.pool.account.login {
            self.buckets(&ticket.pool, now).output.take(more);
        }
    }

    /// Input tokens of a call that only asks to be counted, against a bucket of its own; or how long to wait.
    pub fn count_tokens(&mut self, call: &Call, now: Timestamp) -> Result<Tokens, Duration> {
        let bucket = self.counting_bucket(call.account, now);
        let wait = bucket.wait(1);
        if !wait.is_zero() {
            return Err(wait);
        }
        bucket.take(1);
        let bytes = call.blocks.last().map_or(0, |it| it.end);
        Ok(Tokens(self.tokens_of(bytes)))
    }

    /// The limit headers of a call's pool as of `now` (rules 8, 9).
    pub fn headers(&mut self, call: &Call, now: Timestamp) -> Headers {
        let mut headers = Headers::default();
        if call.account.login {
            let windows = self.windows(call.account);
            windows.turn(now);
            windows.headers(&call.model, &mut headers);
        } else {
            let pool = self.pool_of(call);
            let buckets = self.buckets(&pool, now);
            match call.family {
                Family::Anthropic => headers.put_anthropic(buckets, now),
                Family::OpenAi => headers.put_openai(buckets),
            }
        }
        headers
    }

    /// The fault that strikes a call now, if one does (rule 15). `asked` is what a header or a directive
    /// asks for, `prompt` stands for the request that asks.
    pub fn fault(
        &mut self,
        asked: Option<Fault>,
        account: Account,
        prompt: u64,
        now: Timestamp,
    ) -> Option<Fault> {
        if let Some(fault) = asked {
            return self.strikes(fault, account, prompt).then_some(fault);
        }
        let elapsed = now.since(self.start);
        for episode in &self.spec.episodes {
            let begins = Duration::from_millis(episode.after_ms);
            let ends = begins + Duration::from_millis(episode.lasts_ms);
            let inside = begins <= elapsed && elapsed < ends;
            if inside && self.chance.happens(episode.per_mille) {
                return Some(episode.fault);
            }
        }
        let shares = self.spec.faults.iter();
        let mut struck = shares.filter(|it| self.chance.happens(it.per_mille));
        struck.next().map(|it| it.fault)
    }

    /// Tokens of so much text (rule 13).
    pub fn tokens_of(&self, bytes: u64) -> u64 {
        cache::tokens_of(bytes, self.spec.bytes_per_token_tenths)
    }

    /// The spec it was made from.
    pub const fn spec(&self) -> &ProviderSpec {
        &self.spec
    }

    fn strikes(&mut self, fault: Fault, account: Account, prompt: u64) -> bool {
        let Some(times) = fault.times else {
            return true;
        };
        if self.strikes.len() >= limits::FAULT_COUNTERS_MAX {
            self.strikes.clear();
        }
        let key = FixedState::default().hash_one((fault, account, prompt));
        let struck = self.strikes.entry(key).or_default();
        *struck = struck.saturating_add(1);
        *struck <= times
    }

    fn count(&mut self, call: &Call, now: Timestamp) -> cache::Count {
        match call.scripted {
            Some(usage) => cache::Count {
                usage,
                writes: Vec::new(),
            },
            None => self
                .cache
                .count(call, self.spec.bytes_per_token_tenths, now),
        }
    }

    fn estimate(&mut self, usage: &Usage, family: Family) -> u64 {
        let of = match family {
            Family::Anthropic => counted(usage),
            Family::OpenAi => usage.input_total().0,
        };
        let factor_ppm = 970_000 + self.chance.below(60_001);
        let estimate = u128::from(of) * u128::from(factor_ppm) / 1_000_000;
        u64::try_from(estimate).unwrap_or(u64::MAX)
    }

    fn spend_cap_reached(&self, account: Account) -> bool {
        let bill = self.bills.get(&account).copied().unwrap_or_default();
        let cap = self.spec.spend_cap.as_ref();
        cap.is_some_and(|cap| bill >= u128::from(cap.nano_usd))
    }

    fn charge(&mut self, ticket: &Ticket, usage: &Usage) {
        let account = ticket.pool.account;
        if let Some(cap) = &self.spec.spend_cap {
            *self.bills.entry(account).or_default() += price(cap, usage);
        }
        if account.login {
            self.windows(account).charge(&ticket.model, usage);
        }
    }

    fn windows(&mut self, account: Account) -> &mut Windows {
        if self.windows.len() >= limits::POOLS_MAX && !self.windows.contains_key(&account) {
            self.windows.clear();
        }
        let spec = &self.spec.subscription;
        let windows = self.windows.entry(account);
        windows.or_insert_with(|| Windows::new(spec, account))
    }

    fn pool_of(&self, call: &Call) -> Pool {
        Pool {
            family: call.family,
            account: call.account,
            class: if self.spec.shared_limits {
                String::new()
            } else {
                model_class(&call.model)
            },
        }
    }

    /// The pool's buckets, refilled to `now`.
    fn buckets(&mut self, pool: &Pool, now: Timestamp) -> &mut Buckets {
        if self.pools.len() >= limits::POOLS_MAX && !self.pools.contains_key(pool) {
            self.pools.clear();
        }
        let spec = &self.spec;
        let buckets = self.pools.entry(pool.clone()).or_insert_with(|| {
            let limits = spec.class_limits.get(&pool.class);
            let limits = limits.unwrap_or(&spec.limits);
            Buckets::full(limits, now)
        });
        buckets.refill(now);
        buckets
    }

    /// The bucket of those that a credential has counted, of whichever models, refilled to `now`.
    fn counting_bucket(&mut self, account: Account, now: Timestamp) -> &mut Bucket {
        if self.counting.len() >= limits::POOLS_MAX && !self.counting.contains_key(&account) {
            self.counting.clear();
        }
        let spec = &self.spec;
        let bucket = self.counting.entry(account).or_insert_with(|| {
            Bucket::full(spec.count_tokens_per_minute, spec.limits.burst_seconds, now)
        });
        bucket.refill(now);
        bucket
    }
}

/// What Anthropic's input limit counts.
fn counted(usage: &Usage) -> u64 {
    let written = usage.cache_write_5m.saturating_add(usage.cache_write_1h);
    usage.input.saturating_add(written).0
}

fn price(cap: &SpendCapSpec, usage: &Usage) -> u128 {
    let of = |tokens: Tokens, each: u64| u128::from(tokens.0) * u128::from(each);
    of(usage.input, cap.input)
        + of(usage.output, cap.output)
        + of(usage.cache_write_5m, cap.cache_write_5m)
        + of(usage.cache_write_1h, cap.cache_write_1h)
        + of(usage.cache_read, cap.cache_read)
}

fn line(spec: &LineSpec, usage: &Usage) -> Duration {
    let per_1k = |tokens: u64, each: u64| tokens.saturating_mul(each) / 1_000;
    let micros = spec
        .base_us
        .saturating_add(usage.output.0.saturating_mul(spec.output_us))
        .saturating_add(per_1k(counted(usage), spec.counted_1k_us))
        .saturating_add(per_1k(usage.input_total().0, spec.total_1k_us));
    Duration::from_micros(micros).min(limits::WAIT_MAX)
}

#[cfg(test)]
mod tests;
