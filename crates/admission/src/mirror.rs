//! What a provider says of one of its limits, made sense of: what to believe, whose it is, in which
//! order it was said, and what else uses the same account.
//!
//! The pool keeps its own count of a provider's bucket and follows the provider's word: down at once,
//! up by half the gap with each answer. What keeps being missing between two words is used by others;
//! what a refusal shows that the count did not is a slower refill than stated. Both slow the bucket's
//! pace, and both are unlearned.

use std::{collections::VecDeque, time::Duration};

use arrayvec::ArrayVec;
use tidegate_types::Timestamp;

use crate::{
    BucketSpec, CAPACITY_MAX, Need, PERIOD_MAX, Refill, Resource,
    flow::{Flow, PACE_WHOLE},
};

mod kept;
mod sent;

pub use kept::{MirrorView, SavedMirror};
pub(crate) use sent::Stated;

/// Calls whose place in the order of sending is kept for each bucket. The word of a call that more
/// were sent after says nothing any more.
pub const SENT_MAX: usize = 1_024;

/// A remaining amount is believed up to this many times its limit: bursts above a limit exist, more
/// is a mistake.
const REMAINING_TIMES_MAX: u64 = 10;

/// A stated limit is believed within this factor of the configured one.
const LIMIT_FACTOR_MAX: u64 = 1_000;

/// A reset that lies so far back is a mistake; what is nearer is a clock that is read late.
const PAST_MAX: Duration = Duration::from_hours(1);

/// The bucket follows one account and class of models at a time; others are heard when it has been
/// silent for this long.
const SILENT_MAX: u64 = 600 * SECOND;

/// What a refusal leaves of the pace, in percent (AIMD).
const AFTER_REFUSAL_PERCENT: u32 = 90;

/// What comes back of the pace in [`STEP`]: 1 % of the whole a minute, so that one false alarm is
/// forgotten in ten.
const STEP_PARTS: u32 = 1;

/// How often the pace is looked at.
pub(crate) const STEP: u64 = 6 * SECOND;

/// The pace never falls below these parts of the whole: answers must go on coming to unlearn it.
const PACE_PARTS_MIN: u32 = 50;

/// Others are never taken to use more than these parts.
const FOREIGN_PARTS_MAX: u32 = 900;

/// Use by others that no answer has confirmed for this long begins to be forgotten.
const FOREIGN_KEPT: u64 = 120 * SECOND;

/// Two words must lie so far apart to be compared …
const SAMPLE_NANOS_MIN: u64 = 2 * SECOND;
/// … and the refill between them be so many times what the word is rounded to.
const SAMPLE_GRAINS_MIN: u64 = 20;

/// Comparisons that are remembered.
const SAMPLES_MAX: usize = 5;

/// A reset that lies more than so many full refills ahead is not of the refill that is configured.
const FAR_TIMES: u64 = 2;

/// How far the limit must have gone down for its reset to tell the refill: one part in this many.
const MISSING_PART: u64 = 16;

const SECOND: u64 = 1_000_000_000;
const MILLION: i128 = 1_000_000;

/// One of a provider's own limits, as the head of an answer states it. Absent figures are `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// What it counts.
    pub resource: Resource,
    /// The most that can be left.
    pub limit: Option<u64>,
    /// What is left.
    pub remaining: Option<u64>,
    /// What `remaining` is rounded to: 1 where it is exact.
    pub grain: u64,
    /// When all of it will be left again, if nothing is used, by the answer's own clock.
    pub resets_at: Option<Timestamp>,
}

/// All that one answer's head says of rate limits.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Each limit; of those that are named twice the first counts.
    pub said: &'a [Said],
    /// When the answer was given, by its own clock: a local clock that steps changes nothing.
    pub date: Timestamp,
    /// Whose limits they are: the same number for the same account and class of models.
    pub of: u64,
    /// The call was refused because of its rate.
    pub refused: Option<Refused>,
}

/// A refusal because of rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the same call would have been let through.
    pub retry_after: Option<Duration>,
    /// The most that the call can have counted for: what would explain more has another reason.
    pub largest: Need,
}

/// What a call was refused for that one of the buckets is short of: with that, the call waits for its
/// turn like any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// What the bucket counts.
    pub resource: Resource,
    /// What the call counts for there, by what was left and when it would have been enough.
    pub need: u64,
}

/// What became of an observation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heard {
    /// Figures that made no sense and were passed over.
    pub nonsense: u32,
    /// Buckets that followed.
    pub followed: u32,
    /// How far the worst of them was from the provider's word, in millionths of its capacity.
    pub error_ppm: u64,
    /// Buckets whose pace a refusal slowed.
    pub slowed: u32,
    /// Buckets whose figures were replaced by the provider's.
    pub replaced: u32,
    /// What explains a refusal, where a bucket does.
    pub short: Option<Short>,
}

/// What can be said of a limit without contradiction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Clean {
    pub(crate) limit: Option<u64>,
    pub(crate) remaining: Option<u64>,
    pub(crate) reset_in: Option<Duration>,
    pub(crate) grain: u64,
}

/// A call's place in the order of sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sent {
    sequence: u64,
    at: u64,
    /// All that was taken from the bucket before it, in its resource; and with it.
    before: i128,
    after: i128,
}

/// A word to compare later ones with.
#[derive(Clone, Copy, Debug)]
struct Anchor {
    sent: Sent,
    remaining: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Mirror {
    /// The figures as configured: capacity, refill, threshold.
    configured: (u64, Option<Refill>, u64),
    of: Option<u64>,
    heard_at: u64,
    sent: VecDeque<Sent>,
    taken: i128,
    /// The newest call that was heard of, by its sequence number.
    newest: Option<u64>,
    /// The newest call that a word has counted.
    counted: Option<u64>,
    /// How often words were found to count what was sent until they were said, less how often what was sent until
    /// their call was.
    until_said: i8,
    anchor: Option<Anchor>,
    samples: usize,
    /// The last comparisons, the newest first, in parts of the refill.
    recent: [u32; SAMPLES_MAX],
    /// Parts of [`PACE_WHOLE`].
    foreign: u32,
    slowed: u32,
    sampled_at: u64,
    slowed_at: Option<u64>,
    answers: u64,
    nonsense: u64,
    error_ppm: u64,
}

impl Mirror {
    pub(crate) fn of(spec: &BucketSpec) -> Self {
        Self {
            configured: figures(spec),
            of: None,
            heard_at: 0,
            sent: VecDeque::new(),
            taken: 0,
            newest: None,
            counted: None,
            until_said: 0,
            anchor: None,
            samples: 0,
            recent: [0; SAMPLES_MAX],
            foreign: 0,
            slowed: PACE_WHOLE,
            sampled_at: 0,
            slowed_at: None,
            answers: 0,
            nonsense: 0,
            error_ppm: 0,
        }
    }

    /// Whether these are the figures it was configured with: then what was learned still holds.
    pub(crate) fn is_configured_as(&self, spec: &BucketSpec) -> bool {
        self.configured == figures(spec)
    }

    /// Parts of the refill that are ours to spend.
    pub(crate) fn pace(&self) -> u32 {
        self.slowed
            .saturating_sub(self.foreign)
            .clamp(PACE_PARTS_MIN, PACE_WHOLE)
    }

    /// Whether time changes the pace.
    pub(crate) const fn is_slow(&self) -> bool {
        self.foreign > 0 || self.slowed < PACE_WHOLE
    }

    /// Unlearns what so many steps of [`STEP`] unlearn.
    pub(crate) fn relax(&mut self, steps: u64, now: u64) {
        let parts = STEP_PARTS.saturating_mul(u32::try_from(steps).unwrap_or(u32::MAX));
        self.slowed = self.slowed.saturating_add(parts).min(PACE_WHOLE);
        if now.saturating_sub(self.sampled_at) > FOREIGN_KEPT {
            for _step in 0..steps.min(64) {
                self.foreign -= self.foreign.div_ceil(8);
            }
        }
    }

    /// What can be believed of a word, given what is configured. Counts what can't.
    pub(crate) fn clean(&mut self, said: &Said, date: Timestamp) -> (Clean, u32) {
        let mut clean = Clean {
            limit: said.limit,
            remaining: said.remaining,
            reset_in: None,
            grain: said.grain.max(1),
        };
        let configured = self.configured.0;
        let mut nonsense = 0;
        let believable = |limit: u64| {
            limit >= (configured / LIMIT_FACTOR_MAX).max(1)
                && limit
                    <= configured
                        .saturating_mul(LIMIT_FACTOR_MAX)
                        .min(CAPACITY_MAX)
        };
        if clean.limit.is_some_and(|it| !believable(it)) {
            (clean.limit, clean.remaining) = (None, None);
            nonsense += 1;
        }
        let limit = clean.limit.unwrap_or(configured);
        if let Some(remaining) = clean.remaining {
            if remaining > limit.saturating_mul(REMAINING_TIMES_MAX) {
                clean.remaining = None;
                nonsense += 1;
            } else {
                clean.remaining = Some(remaining.min(limit));
            }
        }
        if let Some(at) = said.resets_at {
            if at.since(date) > PERIOD_MAX || date.since(at) > PAST_MAX {
                nonsense += 1;
            } else {
                clean.reset_in = Some(at.since(date));
            }
        }
        self.nonsense += u64::from(nonsense);
        (clean, nonsense)
    }

    /// Whether this word counts: it is of the account and models that the bucket follows, and of a
    /// call that was sent later than the last one that was heard of.
    pub(crate) fn may_follow(&mut self, of: u64, sequence: u64, now: u64) -> bool {
        let silent = now.saturating_sub(self.heard_at) > SILENT_MAX;
        match self.of {
            Some(followed) if followed == of => {}
            Some(_) if !silent => return false,
            Some(_) | None => {
                self.of = Some(of);
                (self.anchor, self.samples) = (None, 0);
            }
        }
        if self.newest.is_some_and(|it| sequence <= it) {
            return false;
        }
        self.newest = Some(sequence);
        self.heard_at = now;
        true
    }

    /// The figures by the provider's word, where they are not those in force.
    pub(crate) fn figures(&self, clean: &Clean, now: &BucketSpec) -> Option<BucketSpec> {
        let (configured, refill, threshold) = self.configured;
        let capacity = clean.limit.unwrap_or(now.capacity);
        let mut wanted = now.clone();
        wanted.capacity = capacity;
        wanted.threshold = scaled(threshold, capacity, configured);
        let refill = refill?;
        // Where the limit is what is added in a period, it is so whatever the burst is.
        let amount = if refill.amount == capacity {
            refill.amount
        } else {
            scaled(refill.amount, capacity, configured).max(1)
        };
        let near = Refill {
            amount,
            period: refill.period,
        };
        wanted.refill = Some(far_refill(clean, capacity, near).unwrap_or_else(|| {
            // Too little is missing to tell: what is in force stays, if it is of this limit.
            let told = clean.reset_in.is_some() && clean.remaining.is_some();
            let same = now.capacity == capacity;
            now.refill.filter(|_| same && !told).unwrap_or(near)
        }));
        let is_near = |a: Refill, b: Refill| {
            let (a, b) = (nanos_of(capacity, a), nanos_of(capacity, b));
            a.abs_diff(b) <= a / 10
        };
        let same_refill = now.refill.zip(wanted.refill);
        let same_refill = same_refill.is_some_and(|(a, b)| a == b || is_near(a, b));
        if same_refill && now.capacity == capacity {
            return None;
        }
        Some(wanted)
    }

    /// What was left when the answer was given, less what was sent after its call: where the level
    /// should stand, in the resource; and where it may stand at the lowest.
    ///
    /// What the provider counts at a call's start is in its word. What it counts along is not yet, of
    /// this call; of those in flight any part may be.
    pub(crate) fn target(&self, resource: Resource, word: Word) -> Target {
        let Word {
            remaining,
            sent,
            held,
        } = word;
        let since = self.since(sent.sequence);
        let remaining = i128::from(remaining);
        if counts_at_start(resource) {
            let level = remaining.saturating_sub(since);
            return Target {
                highest: level,
                lowest: level,
            };
        }
        let own = sent.after.saturating_sub(sent.before);
        let highest = remaining.saturating_sub(since).saturating_sub(own);
        Target {
            highest,
            lowest: highest.min(remaining.saturating_sub(i128::from(held))),
        }
    }

    /// Compares the word with the last one: what is missing between them and was not taken here was
    /// used by others.
    pub(crate) fn sample(&mut self, spec: &BucketSpec, word: &Word, grain: u64, now: u64) {
        let Some(refill) = spec.refill else { return };
        let new = Anchor {
            sent: word.sent,
            remaining: word.remaining,
        };
        let Some(old) = self.anchor else {
            self.anchor = Some(new);
            return;
        };
        // What runs beside has used nobody knows how much of what is counted along.
        let along = !counts_at_start(spec.resource);
        let own = word.sent.after.saturating_sub(word.sent.before);
        if along && i128::from(word.held) > own {
            self.anchor = None;
            return;
        }
        let span = new.sent.at.saturating_sub(old.sent.at);
        let refilled = i128::from(span) * i128::from(refill.amount);
        let refilled = refilled / period_nanos(refill);
        if span < SAMPLE_NANOS_MIN || refilled < i128::from(SAMPLE_GRAINS_MIN * grain) {
            return;
        }
        self.anchor = Some(new);
        let ours = if along {
            new.sent.before - old.sent.before
        } else {
            new.sent.after - old.sent.after
        };
        let there = i128::from(old.remaining).saturating_add(refilled);
        let overflowed = there > i128::from(spec.capacity);
        let there = there.min(i128::from(spec.capacity));
        let missing = there - ours - i128::from(new.remaining);
        let parts = missing * i128::from(PACE_WHOLE) / refilled;
        let parts = parts.clamp(0, i128::from(FOREIGN_PARTS_MAX));
        let parts = u32::try_from(parts).unwrap_or(0);
        if overflowed && parts < self.foreign {
            // What ran over hides what others used: it may be as much as before.
            return;
        }
        self.recent.rotate_right(1);
        self.recent[0] = parts;
        self.samples = (self.samples + 1).min(SAMPLES_MAX);
        self.foreign = usual(&self.recent[..self.samples]);
        self.sampled_at = now;
    }

    pub(crate) fn note_error(&mut self, distance: i128, flow: &Flow) -> u64 {
        let ppm = distance.saturating_mul(MILLION) / flow.capacity().max(1);
        self.error_ppm = u64::try_from(ppm.max(0)).unwrap_or(u64::MAX);
        self.answers += 1;
        self.error_ppm
    }

    /// A refusal that the bucket did not foresee: it refills slower than stated. Of calls that were
    /// on their way together only one counts. Says whether it did.
    pub(crate) fn slow(&mut self, sequence: u64, newest: u64) -> bool {
        if self.slowed_at.is_some_and(|it| sequence <= it) {
            return false;
        }
        self.slowed_at = Some(newest);
        self.slowed = (self.slowed * AFTER_REFUSAL_PERCENT / 100).max(PACE_PARTS_MIN);
        true
    }
}

/// A remaining amount that is believed, and the call it came with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) remaining: u64,
    pub(crate) sent: Sent,
    /// What is out, in the resource.
    pub(crate) held: u64,
}

/// Where a level may stand by a provider's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) highest: i128,
    pub(crate) lowest: i128,
}

impl Target {
    pub(crate) fn less(self, tokens: u64) -> Self {
        Self {
            highest: self.highest.saturating_sub(i128::from(tokens)),
            lowest: self.lowest.saturating_sub(i128::from(tokens)),
        }
    }
}

/// Providers count requests, input, and sums of tokens when a call starts, and output as it is
/// produced.
pub(crate) const fn counts_at_start(resource: Resource) -> bool {
    match resource {
        Resource::Requests | Resource::InputTokens | Resource::Tokens => true,
        Resource::OutputTokens | Resource::Units | Resource::NanoUsd | Resource::Concurrency => {
            false
        }
    }
}

fn figures(spec: &BucketSpec) -> (u64, Option<Refill>, u64) {
    (spec.capacity, spec.refill, spec.threshold)
}

/// The refill that a reset far ahead tells: what is missing comes back until then.
fn far_refill(clean: &Clean, capacity: u64, near: Refill) -> Option<Refill> {
    let (reset_in, remaining) = clean.reset_in.zip(clean.remaining)?;
    let missing = capacity.saturating_sub(remaining);
    if missing < (capacity / MISSING_PART).max(1) {
        return None;
    }
    let far = nanos_of(capacity, near).saturating_mul(u128::from(FAR_TIMES));
    (reset_in.as_nanos() > far).then_some(Refill {
        amount: missing.min(crate::AMOUNT_MAX),
        period: reset_in,
    })
}

/// The lower median: a call of ours that turned out larger than expected is missing in one comparison, what
/// others use in all of them.
fn usual(recent: &[u32]) -> u32 {
    let mut sorted: ArrayVec<u32, SAMPLES_MAX> = recent.iter().copied().collect();
    sorted.sort_unstable();
    let middle = sorted.len().saturating_sub(1) / 2;
    sorted.get(middle).copied().unwrap_or(0)
}

/// How long a refill takes for so much.
fn nanos_of(tokens: u64, refill: Refill) -> u128 {
    u128::from(tokens) * refill.period.as_nanos() / u128::from(refill.amount.max(1))
}

fn period_nanos(refill: Refill) -> i128 {
    i128::try_from(refill.period.as_nanos())
        .unwrap_or(i128::MAX)
        .max(1)
}

/// `figure` of one capacity, of another.
fn scaled(figure: u64, into: u64, from: u64) -> u64 {
    let scaled = u128::from(figure) * u128::from(into) / u128::from(from.max(1));
    u64::try_from(scaled)
        .unwrap_or(u64::MAX)
        .min(crate::AMOUNT_MAX)
}
