//! What a call will need, and the most it can need: from what its session proved and what is new.

use std::{collections::HashMap, time::Duration};

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tidegate_providers::RequestFacts;
use tidegate_types::{RequestClass, Tokens};

use crate::{sessions::Proven, settings::ReserveRules};

/// Bytes that a token of new text has at least: the bound counts one token for each two (B3).
const BYTES_PER_TOKEN_MIN: u64 = 2;

/// Tokens in 100 bytes of new text, as expected: 3.3 bytes each (measured on current tokenizers).
const TOKENS_PER_100_BYTES: u64 = 30;

/// By how much a provider's own estimate of an input, which it goes by at first, may be above what it counts in the
/// end.
const MARGIN_PERCENT: u64 = 3;

/// Of smaller inputs the margin is less than what the provider's headers are rounded to.
const MARGIN_FROM: u64 = 10_000;

/// So much counted input, as a provider may estimate it before it counts.
pub(crate) const fn with_margin(input: u64) -> u64 {
    if input < MARGIN_FROM {
        return input;
    }
    input.saturating_add(input / 100 * MARGIN_PERCENT)
}

/// How long a provider surely keeps a prompt cache that was last used just now, unless it was asked for more:
/// five minutes, less what lies between its clock and ours, and between the head of an answer and the use.
pub(crate) const CACHE_LIFE: Duration = Duration::from_secs(300 - 10);

/// The input of one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input {
    /// It can't be more.
    pub bound: Tokens,
    /// It will be about this.
    pub expected: Tokens,
    /// Of which about this will be read from the provider's cache.
    pub cached: Tokens,
}

/// The input of a request of `body_bytes`, for a model that takes `context` tokens.
///
/// Two bytes a token holds for text of every tokenizer in use; a session's last exact total takes
/// the guess out of all but what is new. Content by reference and results of server tools are not
/// in the body and count what `rules` say.
#[expect(
    clippy::too_many_arguments,
    reason = "each is one fact the size depends on"
)]
pub fn input(
    facts: &RequestFacts,
    body_bytes: u64,
    proven: Option<Proven>,
    rules: &ReserveRules,
    context: Tokens,
    now: tidegate_types::Monotonic,
) -> Input {
    // A shorter body is another conversation, or a compacted one: nothing is proven of it.
    let proven = proven.filter(|it| it.body_bytes <= body_bytes);
    let base = proven.map_or(0, |it| it.total.0);
    let fresh = body_bytes - proven.map_or(0, |it| it.body_bytes);
    let elsewhere = u64::from(facts.references)
        .saturating_mul(rules.reference_tokens)
        .saturating_add(
            facts
                .server_tool_uses
                .saturating_mul(rules.server_tool_tokens),
        );
    let counted = base
        .saturating_add(fresh.div_ceil(BYTES_PER_TOKEN_MIN))
        .saturating_add(elsewhere);
    // What the provider has stored and adds itself is bounded by its model's context alone.
    let bound = if facts.stored_context {
        context.0
    } else {
        counted.min(context.0)
    };
    let expected = base
        .saturating_add(fresh.saturating_mul(TOKENS_PER_100_BYTES) / 100)
        .saturating_add(elsewhere)
        .min(bound);
    let warm = proven.is_some_and(|it| now.since(it.at) < CACHE_LIFE);
    Input {
        bound: Tokens(bound),
        expected: Tokens(expected),
        cached: Tokens(if warm { base.min(expected) } else { 0 }),
    }
}

/// Models whose output is learned; of more nothing is known.
const MODELS_MAX: usize = 4_096;

/// What an answer is expected to have before any was seen: the mean of recorded assistants' traffic.
const OUTPUT_PRIOR: u64 = 440;

/// Weight of the newest answer in the running mean: one part in this many.
const NEWEST_ONE_IN: u64 = 16;

/// Means are kept in 1/1024 token, so that small steps aren't rounded away.
const SCALE: u64 = 1_024;

/// One answer in this many may be longer than what is usual.
const UNUSUAL_ONE_IN: u64 = 1_000;

/// Of durations, one answer in this many is longer than what a client is promised.
const LATE_ONE_IN: u64 = 10;

/// Answers from which on their durations say anything: of fewer, the longest of ten is luck.
const TIMED_MIN: u64 = 10;

/// Numbers that are remembered; then all count half, so that what a model no longer does is
/// forgotten.
const REMEMBERED: u64 = 16_384;

/// Numbers are counted in steps of a quarter of a doubling.
const STEPS: usize = 4 * 32;

/// What answers of a kind are expected to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The running mean.
    pub mean: Tokens,
    /// All but one in a thousand had at most this, to a fifth. Zero before any was seen.
    pub usual: Tokens,
}

/// How long answers of a kind take: nine of ten take no longer, to a fifth. `None` before ten were
/// seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// From when the call was sent to its first byte.
    pub first_byte: Option<Duration>,
    /// From when the call was sent to its last byte.
    pub whole: Option<Duration>,
}

/// What one answer had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its output.
    pub output: Tokens,
    /// From when the call was sent to its first byte.
    pub first_byte: Duration,
    /// From when the call was sent to its last byte.
    pub whole: Duration,
}

/// How often numbers of each size were seen.
#[derive(Clone, Debug)]
struct Sizes {
    counts: [u16; STEPS],
    all: u64,
}

impl Sizes {
    const NONE: Self = Self {
        counts: [0; STEPS],
        all: 0,
    };

    fn learn(&mut self, size: u32) {
        if self.all >= REMEMBERED {
            self.counts.iter_mut().for_each(|it| *it /= 2);
            self.all = self.counts.iter().map(|it| u64::from(*it)).sum();
        }
        self.counts[step(size)] += 1;
        self.all += 1;
    }

    /// What all but one in `one_in` had at most.
    fn all_but_one_in(&self, one_in: u64) -> u64 {
        let mut longer = self.all / one_in;
        for (step, seen) in self.counts.iter().enumerate().rev() {
            match longer.checked_sub(u64::from(*seen)) {
                Some(rest) => longer = rest,
                None => return most(step),
            }
        }
        0
    }

    /// The same of durations, which are counted in milliseconds.
    fn mostly_within(&self) -> Option<Duration> {
        let known = self.all >= TIMED_MIN;
        known.then(|| Duration::from_millis(self.all_but_one_in(LATE_ONE_IN)))
    }
}

/// What is learned of one model and class.
#[derive(Clone, Debug)]
struct Learned {
    /// In 1/1024 token.
    mean: u64,
    outputs: Sizes,
    first_bytes: Sizes,
    wholes: Sizes,
}

impl Learned {
    const fn new() -> Self {
        Self {
            mean: OUTPUT_PRIOR * SCALE,
            outputs: Sizes::NONE,
            first_bytes: Sizes::NONE,
            wholes: Sizes::NONE,
        }
    }

    fn learn(&mut self, seen: &Seen) {
        let output = u32::try_from(seen.output.0).unwrap_or(u32::MAX);
        self.mean =
            self.mean - self.mean / NEWEST_ONE_IN + u64::from(output) * SCALE / NEWEST_ONE_IN;
        self.outputs.learn(output);
        self.first_bytes.learn(millis(seen.first_byte));
        self.wholes.learn(millis(seen.whole));
    }
}

fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

/// The step that a number is counted in: its highest bit, and the two below that.
fn step(size: u32) -> usize {
    let high = size.max(1).ilog2();
    let below = if high < 2 {
        size << (2 - high)
    } else {
        size >> (high - 2)
    };
    (high * 4 + (below & 3)) as usize
}

/// The greatest number of a step.
const fn most(step: usize) -> u64 {
    let (high, below) = (step / 4, step as u64 % 4);
    ((below + 5) << high) / 4 - (high >= 2) as u64
}

/// What answers of each model and class had, and how long they took.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<HashMap<Box<str>, ByClass, FixedState>>);

type ByClass = [Option<Box<Learned>>; RequestClass::ALL.len()];

impl Outputs {
    /// What the next answer is expected to have.
    pub fn expected(&self, model: &str, class: RequestClass) -> Expected {
        let all = self.0.lock();
        let learned = all.get(model).and_then(|it| it[class.index()].as_ref());
        Expected {
            mean: Tokens(learned.map_or(OUTPUT_PRIOR, |it| it.mean / SCALE)),
            usual: Tokens(learned.map_or(0, |it| it.outputs.all_but_one_in(UNUSUAL_ONE_IN))),
        }
    }

    /// How long the next answer will probably take.
    pub fn durations(&self, model: &str, class: RequestClass) -> Durations {
        let all = self.0.lock();
        let learned = all.get(model).and_then(|it| it[class.index()].as_ref());
        learned.map_or(Durations::default(), |it| Durations {
            first_byte: it.first_bytes.mostly_within(),
            whole: it.wholes.mostly_within(),
        })
    }

    /// An answer had this.
    pub fn learn(&self, model: &str, class: RequestClass, seen: &Seen) {
        let mut all = self.0.lock();
        if !all.contains_key(model) {
            if all.len() >= MODELS_MAX {
                return;
            }
            all.insert(model.into(), ByClass::default());
        }
        if let Some(by_class) = all.get_mut(model) {
            let learned = by_class[class.index()].get_or_insert_with(|| Box::new(Learned::new()));
            learned.learn(seen);
        }
    }
}

#[cfg(test)]
mod tests;
