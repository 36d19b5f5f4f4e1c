//! Programs that have asked and wait for somebody's word.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use foldhash::fast::RandomState;
use tidegate_ledger::keys;
use tidegate_types::{KeyId, Monotonic, Secret};

use crate::{Half, Holder, RANDOM_BYTES, UserCode, secret};

/// How long somebody has to confirm: long enough to fetch a key, short enough to guess little.
pub const LIFE: Duration = Duration::from_mins(10);

/// How often a program may ask whether somebody has (RFC 8628's own default).
pub const INTERVAL: Duration = Duration::from_secs(5);

/// By how much that grows for a program that asks too often (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// What a request may come early: two of them take different times to arrive.
const EARLY: Duration = Duration::from_secs(1);

/// Programs that wait at once. Anybody may ask, so it is bounded: 300 KB.
const OPEN_MAX: usize = 1_000;

/// Of these, from one address: an office behind one, on the morning of its first sign-in.
const OPEN_FROM_ONE_MAX: usize = 100;

/// What device codes begin with.
const DEVICE_PREFIX: &str = "tg-device-";

/// What a program is told that asks.
#[derive(Debug)]
pub struct Asked {
    /// For itself: what it polls with.
    pub device_code: Secret<String>,
    /// For its user.
    pub user_code: UserCode,
}

/// A program that waits, for whoever is to confirm it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// Where it asked from.
    pub from: IpAddr,
    /// What it calls itself; empty where it said nothing.
    pub surface: Box<str>,
}

/// What was decided.
#[derive(Clone, Debug)]
pub(crate) enum Decision {
    Open,
    Confirmed(KeyId, Holder),
    Denied,
}

#[derive(Debug)]
struct Waiting {
    asking: Asking,
    code: [u8; 32],
    since: Monotonic,
    polled: Option<Monotonic>,
    interval: Duration,
    decision: Decision,
}

/// What a poll finds.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nobody has decided.
    Open,
    /// It came too early.
    TooEarly,
    /// Its time is over.
    Expired,
    /// Somebody said no.
    Denied,
    /// Somebody said yes: under which id, for whom, and what it calls itself.
    Confirmed(KeyId, Holder, Asking),
    /// There is no such code, or no longer.
    Nothing,
}

/// All programs that wait, by the hashes of their codes.
#[derive(Debug, Default)]
pub(crate) struct Table {
    waiting: HashMap<[u8; 32], Waiting, RandomState>,
    codes: HashMap<[u8; 32], [u8; 32], RandomState>,
}

impl Table {
    /// Takes a program in; `None` where too many wait.
    pub(crate) fn ask(
        &mut self,
        asking: Asking,
        random: &[u8; RANDOM_BYTES],
        now: Monotonic,
    ) -> Option<Asked> {
        self.forget_old(now);
        let same = |it: &&Waiting| it.asking.from == asking.from;
        if self.waiting.len() >= OPEN_MAX
            || self.waiting.values().filter(same).count() >= OPEN_FROM_ONE_MAX
        {
            return None;
        }
        let device_code = secret(DEVICE_PREFIX, random, Half::First);
        let number = std::array::from_fn(|at| random[random.len() - 1 - at]);
        let user_code = UserCode::of(u64::from_ne_bytes(number));
        let (device, code) = (keys::hash(device_code.expose()), user_code.hash());
        if self.codes.contains_key(&code) {
            // Another's, by a chance of one in 25 million: it is asked again.
            return None;
        }
        self.codes.insert(code, device);
        let waiting = Waiting {
            asking,
            code,
            since: now,
            polled: None,
            interval: INTERVAL,
            decision: Decision::Open,
        };
        self.waiting.insert(device, waiting);
        Some(Asked {
            device_code,
            user_code,
        })
    }

    /// Says yes or no to the program with this code; `None` where none waits for a word any more.
    pub(crate) fn decide(
        &mut self,
        code: UserCode,
        decision: Decision,
        now: Monotonic,
    ) -> Option<Asking> {
        self.forget_old(now);
        let device = self.codes.get(&code.hash())?;
        let waiting = self.waiting.get_mut(device)?;
        if !matches!(waiting.decision, Decision::Open) || is_over(waiting, now) {
            return None;
        }
        waiting.decision = decision;
        Some(waiting.asking.clone())
    }

    /// What became of the program with this device code. What was decided is told once.
    pub(crate) fn poll(&mut self, device_code: &str, now: Monotonic) -> Found {
        let device = keys::hash(device_code);
        let Some(waiting) = self.waiting.get_mut(&device) else {
            return Found::Nothing;
        };
        if is_over(waiting, now) {
            self.forget(&device);
            return Found::Expired;
        }
        let last = waiting.polled.replace(now);
        if last.is_some_and(|it| now.since(it) + EARLY < waiting.interval) {
            waiting.interval += SLOWER;
            return Found::TooEarly;
        }
        let found = match &waiting.decision {
            Decision::Open => return Found::Open,
            Decision::Denied => Found::Denied,
            Decision::Confirmed(id, holder) => {
                Found::Confirmed(*id, holder.clone(), waiting.asking.clone())
            }
        };
        self.forget(&device);
        found
    }

    /// Forgets what waits for, or has, the word of a key that is gone.
    pub(crate) fn forget_word_of(&mut self, key: KeyId) {
        let by =
            |it: &Waiting| matches!(&it.decision, Decision::Confirmed(_, it) if it.by == Some(key));
        for waiting in self.waiting.values_mut().filter(|it| by(it)) {
            waiting.decision = Decision::Denied;
        }
    }

    fn forget(&mut self, device: &[u8; 32]) {
        if let Some(gone) = self.waiting.remove(device) {
            self.codes.remove(&gone.code);
        }
    }

    /// What is over is told to whoever still polls for as long again.
    fn forget_old(&mut self, now: Monotonic) {
        let codes = &mut self.codes;
        self.waiting.retain(|_, it| {
            let age = now.since(it.since);
            if age >= LIFE {
                codes.remove(&it.code);
            }
            age < LIFE * 2
        });
    }
}

fn is_over(waiting: &Waiting, now: Monotonic) -> bool {
    now.since(waiting.since) >= LIFE
}
