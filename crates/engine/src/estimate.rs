//! What a call will need, and the most it can need: from what its session proved and what is new.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use parking_lot::Mutex;
use tidegate_providers::RequestFacts;
use tidegate_types::{RequestClass, Tokens};

use crate::{sessions::Proven, settings::ReserveRules};

/// Bytes that a token of new text has at least: the bound counts one token for each two (B3).
const BYTES_PER_TOKEN_MIN: u64 = 2;

/// Tokens in 100 bytes of new text, as expected: 3.3 bytes each (measured on current tokenizers).
const TOKENS_PER_100_BYTES: u64 = 30;

/// How long a provider keeps a prompt cache that was last used just now.
const CACHE_LIFE: std::time::Duration = std::time::Duration::from_mins(5);

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

/// Figures are kept in 1/1024 token, so that small steps aren't rounded away.
const SCALE: u64 = 1_024;

/// Answers after which the longest one seen weighs a third of what it did: long enough to remember
/// a long one over a day's work, short enough to forget what a model no longer does.
const LONGEST_LASTS: u64 = 1_024;

/// What answers of a kind are expected to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The running mean.
    pub mean: Tokens,
    /// The longest one of late: one of this kind may well have as many. Zero before any was seen.
    pub longest: Tokens,
}

/// What is learned of one model and class, in 1/1024 token.
#[derive(Clone, Copy, Debug)]
struct Learned {
    mean: u64,
    longest: u64,
}

/// What answers of each model and class had.
#[derive(Debug, Default)]
pub struct Outputs(Mutex<HashMap<Box<str>, ByClass, FixedState>>);

type ByClass = [Option<Learned>; RequestClass::ALL.len()];

impl Outputs {
    /// What the next answer is expected to have.
    pub fn expected(&self, model: &str, class: RequestClass) -> Expected {
        let all = self.0.lock();
        let learned = all.get(model).and_then(|it| it[class.index()]);
        Expected {
            mean: Tokens(learned.map_or(OUTPUT_PRIOR, |it| it.mean / SCALE)),
            longest: Tokens(learned.map_or(0, |it| it.longest / SCALE)),
        }
    }

    /// An answer had this many.
    pub fn learn(&self, model: &str, class: RequestClass, output: Tokens) {
        let mut all = self.0.lock();
        if !all.contains_key(model) {
            if all.len() >= MODELS_MAX {
                return;
            }
            all.insert(model.into(), ByClass::default());
        }
        let Some(by_class) = all.get_mut(model) else {
            return;
        };
        let learned = by_class[class.index()].get_or_insert(Learned {
            mean: OUTPUT_PRIOR * SCALE,
            longest: 0,
        });
        let seen = output.0.min(u64::from(u32::MAX)) * SCALE;
        learned.mean = learned.mean - learned.mean / NEWEST_ONE_IN + seen / NEWEST_ONE_IN;
        learned.longest = (learned.longest - learned.longest / LONGEST_LASTS).max(seen);
    }
}

#[cfg(test)]
mod tests;
