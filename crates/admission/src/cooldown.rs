//! Who may not be asked for now, and until when: the limits and failures that providers tell, each by
//! its cause, its scope and its horizon.
//!
//! A limit with a time is kept until then. Failures without one open a breaker where they are half of
//! what is answered, for a time that doubles. Either way exactly one call tries, when the time is
//! over, whether it has passed; until its answer has come the others go on waiting.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use tidegate_types::Monotonic;

use crate::PERIOD_MAX;

/// Cooldowns kept at once: a thousand accounts with four classes of models. Beyond it the one that
/// ends first is forgotten.
pub const COOLDOWNS_MAX: usize = 4_096;

/// So many failures, and no fewer of them than successes …
pub const BREAKER_FAILURES: u32 = 5;
/// … within this time open a breaker. A client's own tries again are not enough for that, nor is a
/// request that fails whoever answers it.
pub const BREAKER_SPAN: Duration = Duration::from_secs(30);
/// The longest that a breaker stays open before somebody tries: a provider that serves again is not
/// missed for long, and clients with 30 s of patience can be held for it.
const BREAKER_LONGEST: Duration = Duration::from_secs(10);
/// It is counted in so many parts, of which the oldest goes when a new one begins.
const BREAKER_PARTS: usize = 4;
const PART_NANOS: u64 = BREAKER_SPAN.as_secs() * 1_000_000_000 / BREAKER_PARTS as u64;

/// When to ask again while another call tries.
const PROBING_WAIT: Duration = Duration::from_secs(1);

/// Doublings beyond which no horizon grows.
const DOUBLINGS_MAX: u32 = 16;

/// Why a provider does not serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// More per minute than allowed.
    Rate,
    /// A window of a plan is used up.
    Quota,
    /// A limit on money is reached.
    SpendCap,
    /// Use rose faster than allowed, though the limits are not reached.
    Acceleration,
    /// The provider says that it is overloaded.
    Overloaded,
    /// The provider fails.
    ServerError,
    /// There was no answer.
    Unreachable,
    /// The credential is refused.
    Credential,
}

impl Cause {
    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Quota => "quota",
            Self::SpendCap => "spend_cap",
            Self::Acceleration => "acceleration",
            Self::Overloaded => "overloaded",
            Self::ServerError => "server_error",
            Self::Unreachable => "unreachable",
            Self::Credential => "credential",
        }
    }

    /// The first and the longest time without calls, and after how many failures, where the provider
    /// names no time.
    const fn growth(self) -> (Duration, Duration, u32) {
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        match self {
            Self::Overloaded | Self::ServerError | Self::Unreachable | Self::Credential => {
                (second, BREAKER_LONGEST, BREAKER_FAILURES)
            }
            Self::Rate | Self::Acceleration => (second, minute, 1),
            Self::Quota | Self::SpendCap => (minute, Duration::from_hours(1), 1),
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rate => "the provider's rate limit is reached",
            Self::Quota => "a window of the provider's plan is used up",
            Self::SpendCap => "the provider's limit on money is reached",
            Self::Acceleration => "use rose faster than the provider allows",
            Self::Overloaded => "the provider is overloaded",
            Self::ServerError => "the provider fails",
            Self::Unreachable => "the provider does not answer",
            Self::Credential => "the provider refuses the credential",
        })
    }
}

/// How far it reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// This request only: nothing is kept of it.
    Request,
    /// One class of models of one account.
    Model,
    /// One account, whatever the model.
    Account,
    /// One class of models of the provider, whoever asks.
    Provider,
}

/// Until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Horizon {
    /// The provider said so.
    For(Duration),
    /// Nobody knows: a time that doubles with each try that fails.
    Unknown,
}

/// What an answer says beyond itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Why.
    pub cause: Cause,
    /// For whom.
    pub scope: Scope,
    /// How long.
    pub horizon: Horizon,
}

/// Where a call goes: the provider, whose account pays, and the class of its model.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The provider's name.
    pub provider: Arc<str>,
    /// The account, by a name that is no secret.
    pub account: Arc<str>,
    /// The models that share limits.
    pub models: Arc<str>,
}

/// A cooldown's reach. `None`: whichever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    provider: Arc<str>,
    account: Option<Arc<str>>,
    models: Option<Arc<str>>,
}

/// A try whether a cooldown is over: the only one, until it is heard of or given up.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "hear of it, or give it up"]
pub struct Probe(u64);

/// What somebody who has to wait is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cooldown {
    /// Why.
    pub cause: Cause,
    /// For how much longer; while another call tries, when to ask again.
    pub left: Duration,
    /// Another call tries now.
    pub probing: bool,
}

/// Whether a call may go there.
#[derive(Debug, PartialEq, Eq)]
pub enum Pass {
    /// Nothing speaks against it.
    Free,
    /// It may, as the one that tries.
    Probe(Probe),
    /// Not now.
    Wait(Cooldown),
}

/// A cooldown, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CooldownView {
    /// The provider.
    pub provider: String,
    /// The account; `None` where it is every one.
    pub account: Option<String>,
    /// The class of models; `None` where it is every one.
    pub models: Option<String>,
    /// Why.
    pub cause: Cause,
    /// For how much longer, in seconds, rounded up; zero where the next call tries.
    pub left_seconds: u64,
}

/// A cooldown, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedCooldown {
    provider: String,
    account: Option<String>,
    models: Option<String>,
    cause: Cause,
    left: Duration,
    doublings: u32,
}

#[derive(Clone, Debug, Default)]
struct Entry {
    recent: Recent,
    closed: Option<Closed>,
}

/// How it went lately, since the first failure.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    parts: [Part; BREAKER_PARTS],
    /// Which part of time the first of them is.
    part: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    failed: u32,
    well: u32,
}

#[derive(Clone, Copy, Debug)]
struct Closed {
    cause: Cause,
    /// Answers to calls that were sent before say nothing of it.
    since: u64,
    until: u64,
    doublings: u32,
    probe: Option<u64>,
}

/// All of them. Nothing is in it while everything is well.
#[derive(Clone, Debug, Default)]
pub struct Cooldowns {
    entries: BTreeMap<Key, Entry>,
    probes: u64,
}

impl Cooldowns {
    /// Whether there is nothing to ask.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a call may go there now. [`Pass::Probe`] has to be heard of or given up.
    pub fn ask(&mut self, place: &Place, now: Monotonic) -> Pass {
        let keys = keys(place);
        let closed = |key: &Key| self.entries.get(key).and_then(|it| it.closed);
        let all: ArrayVec<(&Key, Closed), 3> = keys
            .iter()
            .filter_map(|key| Some((key, closed(key)?)))
            .collect();
        if all.is_empty() {
            return Pass::Free;
        }
        let waits = all.iter().map(|(_, it)| it.wait(now));
        if let Some(longest) = waits.flatten().max_by_key(|it| it.left) {
            return Pass::Wait(longest);
        }
        self.probes += 1;
        let probe = self.probes;
        let tried: ArrayVec<Key, 3> = all.iter().map(|(key, _)| (*key).clone()).collect();
        for key in &tried {
            if let Some(closed) = self.entries.get_mut(key).and_then(|it| it.closed.as_mut()) {
                closed.probe = Some(probe);
            }
        }
        Pass::Probe(Probe(probe))
    }

    /// What a call would have to wait for that may not be the one that tries.
    pub fn look(&self, place: &Place, now: Monotonic) -> Option<Cooldown> {
        let keys = keys(place);
        let closed = keys.iter().filter_map(|it| self.entries.get(it)?.closed);
        let waits = closed.map(|it| {
            it.wait(now).unwrap_or(Cooldown {
                cause: it.cause,
                left: PROBING_WAIT,
                probing: true,
            })
        });
        waits.max_by_key(|it| it.left)
    }

    /// The call that tried was not sent, or nobody knows how it went: the next one may.
    pub fn give_up(&mut self, probe: &Probe) {
        for entry in self.entries.values_mut() {
            if let Some(closed) = &mut entry.closed
                && closed.probe == Some(probe.0)
            {
                closed.probe = None;
            }
        }
    }

    /// How a call that was sent at `sent` ended: with a signal, or well. Says whether a wait may have
    /// become another: then those who wait have to be looked at.
    pub fn hear(
        &mut self,
        place: &Place,
        signal: Option<Signal>,
        sent: Monotonic,
        now: Monotonic,
    ) -> bool {
        let signal = signal.filter(|it| it.scope != Scope::Request);
        let own = signal.map(|it| key(place, it.scope));
        let mut changed = false;
        for key in keys(place) {
            if own.as_ref() == Some(&key) {
                continue;
            }
            // What fails for everybody says nothing of an account's limits; a limit says that the
            // provider is there.
            let proves_well = match signal.map(|it| it.scope) {
                None => true,
                Some(Scope::Provider) => false,
                Some(_) => key.account.is_none(),
            };
            changed |= proves_well && self.well(&key, sent, now);
        }
        if let (Some(signal), Some(key)) = (signal, own) {
            changed |= self.failed(key, signal, sent.0, now.0);
        }
        changed
    }

    /// The cooldowns in force.
    pub fn views(&self, now: Monotonic) -> Vec<CooldownView> {
        let closed = self.entries.iter().filter_map(|(key, it)| {
            let closed = it.closed?;
            Some(CooldownView {
                provider: key.provider.to_string(),
                account: key.account.as_deref().map(str::to_owned),
                models: key.models.as_deref().map(str::to_owned),
                cause: closed.cause,
                left_seconds: closed.until.saturating_sub(now.0).div_ceil(1_000_000_000),
            })
        });
        closed.collect()
    }

    /// The cooldowns in force, for [`Self::restore`].
    pub fn export(&self, now: Monotonic) -> Vec<SavedCooldown> {
        let closed = self.entries.iter().filter_map(|(key, it)| {
            let closed = it.closed?;
            Some(SavedCooldown {
                provider: key.provider.to_string(),
                account: key.account.as_deref().map(str::to_owned),
                models: key.models.as_deref().map(str::to_owned),
                cause: closed.cause,
                left: Duration::from_nanos(closed.until.saturating_sub(now.0)),
                doublings: closed.doublings,
            })
        });
        closed.collect()
    }

    /// Goes on with those of an earlier run, less the wall-clock time that has passed since.
    pub fn restore(&mut self, saved: &[SavedCooldown], elapsed: Duration, now: Monotonic) {
        for it in saved.iter().take(COOLDOWNS_MAX) {
            let key = Key {
                provider: it.provider.as_str().into(),
                account: it.account.as_deref().map(Arc::from),
                models: it.models.as_deref().map(Arc::from),
            };
            let left = it.left.saturating_sub(elapsed).min(PERIOD_MAX);
            let closed = Closed {
                cause: it.cause,
                since: now.0,
                until: now.after(left).0,
                doublings: it.doublings.min(DOUBLINGS_MAX),
                probe: None,
            };
            self.entries.entry(key).or_default().closed = Some(closed);
        }
    }

    /// An answer that shows that nothing is wrong there.
    fn well(&mut self, key: &Key, sent: Monotonic, now: Monotonic) -> bool {
        let Some(entry) = self.entries.get_mut(key) else {
            return false;
        };
        match entry.closed {
            // It was on its way before: it says nothing of now.
            Some(closed) if sent.0 < closed.since => false,
            Some(_) => {
                self.entries.remove(key);
                true
            }
            None => {
                entry.recent.now(now.0).well += 1;
                if entry.recent.sum().failed == 0 {
                    self.entries.remove(key);
                }
                false
            }
        }
    }

    fn failed(&mut self, key: Key, signal: Signal, sent: u64, now: u64) -> bool {
        self.make_room(&key, now);
        let entry = self.entries.entry(key).or_default();
        let (first, most, failures) = signal.cause.growth();
        if let Some(closed) = &mut entry.closed {
            let is_new = sent >= closed.since;
            match signal.horizon {
                // What an earlier call was told can only make it longer.
                Horizon::For(wait) if !is_new => {
                    closed.until = closed.until.max(at(now, wait));
                }
                Horizon::For(wait) => *closed = Closed::new(signal.cause, now, wait, 0),
                Horizon::Unknown if !is_new => return false,
                Horizon::Unknown => {
                    let doublings = (closed.doublings + 1).min(DOUBLINGS_MAX);
                    let wait = first.saturating_mul(1 << doublings).min(most);
                    *closed = Closed::new(signal.cause, now, wait, doublings);
                }
            }
            return true;
        }
        let wait = match signal.horizon {
            Horizon::For(wait) => wait,
            Horizon::Unknown => {
                entry.recent.now(now).failed += 1;
                let recent = entry.recent.sum();
                let mixed = failures > 1 && recent.failed < recent.well;
                if recent.failed < failures || mixed {
                    return false;
                }
                first
            }
        };
        entry.closed = Some(Closed::new(signal.cause, now, wait, 0));
        true
    }

    /// Forgets what is over, and what ends first where that is not enough.
    fn make_room(&mut self, key: &Key, now: u64) {
        if self.entries.len() < COOLDOWNS_MAX || self.entries.contains_key(key) {
            return;
        }
        self.entries.retain(|_, it| {
            it.recent.now(now);
            it.closed.map_or(it.recent.sum().failed > 0, |closed| {
                closed.until > now || closed.probe.is_some()
            })
        });
        if self.entries.len() >= COOLDOWNS_MAX {
            let first = self
                .entries
                .iter()
                .min_by_key(|(_, it)| it.closed.map(|it| it.until));
            if let Some(first) = first.map(|(key, _)| key.clone()) {
                self.entries.remove(&first);
            }
        }
    }
}

impl Recent {
    /// The part that it is now.
    fn now(&mut self, now: u64) -> &mut Part {
        let part = now / PART_NANOS;
        let passed = part.saturating_sub(self.part);
        for _ in 0..passed.min(self.parts.len() as u64) {
            self.parts.rotate_right(1);
            self.parts[0] = Part::default();
        }
        self.part = self.part.max(part);
        &mut self.parts[0]
    }

    fn sum(&self) -> Part {
        let add = |sum: Part, it: &Part| Part {
            failed: sum.failed.saturating_add(it.failed),
            well: sum.well.saturating_add(it.well),
        };
        self.parts.iter().fold(Part::default(), add)
    }
}

impl Closed {
    fn new(cause: Cause, now: u64, wait: Duration, doublings: u32) -> Self {
        Self {
            cause,
            since: now,
            until: at(now, wait),
            doublings,
            probe: None,
        }
    }

    /// Why it can't be tried now; `None` where it can.
    fn wait(&self, now: Monotonic) -> Option<Cooldown> {
        let left = Monotonic(self.until).since(now);
        let probing = left.is_zero();
        if probing && self.probe.is_none() {
            return None;
        }
        Some(Cooldown {
            cause: self.cause,
            left: if probing { PROBING_WAIT } else { left },
            probing,
        })
    }
}

/// Longer than a month is a mistake of somebody's, and is tried after one.
fn at(now: u64, wait: Duration) -> u64 {
    Monotonic(now).after(wait.min(PERIOD_MAX)).0
}

fn key(place: &Place, scope: Scope) -> Key {
    let account = Some(Arc::clone(&place.account));
    let models = Some(Arc::clone(&place.models));
    let (account, models) = match scope {
        Scope::Request | Scope::Model => (account, models),
        Scope::Account => (account, None),
        Scope::Provider => (None, models),
    };
    Key {
        provider: Arc::clone(&place.provider),
        account,
        models,
    }
}

/// All that can keep a call from that place.
fn keys(place: &Place) -> [Key; 3] {
    [Scope::Model, Scope::Account, Scope::Provider].map(|it| key(place, it))
}

#[cfg(test)]
mod tests;
