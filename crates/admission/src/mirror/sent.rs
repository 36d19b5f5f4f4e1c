//! The order in which calls were sent, and which of them a word has counted.

use super::{Mirror, SECOND, SENT_MAX, Sent, counts_at_start};
use crate::Resource;

/// What was sent so shortly before an answer came can't be in its word.
const ON_ITS_WAY: u64 = 100 * SECOND / 1_000;

/// Calls sent between a call and its answer tell whether its word counts them where they are one part in this many
/// of the limit …
const TELLING_PART: i128 = 16;
/// … and the level by our own count lies so many times nearer to one answer than to the other.
const NEARER_TIMES: i128 = 4;

/// What was told so often is not forgotten for less than as many words to the contrary.
const TOLD_MAX: i8 = 4;

/// A remaining amount, and what it is compared with, in the resource.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stated {
    pub(crate) resource: Resource,
    pub(crate) remaining: u64,
    pub(crate) level: i128,
    pub(crate) capacity: i128,
}

impl Mirror {
    /// Keeps a call's place in the order of sending.
    pub(crate) fn note_sent(&mut self, sequence: u64, tokens: u64, at: u64) {
        let before = self.taken;
        self.taken = before.saturating_add(i128::from(tokens));
        if self.sent.len() == SENT_MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(Sent {
            sequence,
            at,
            before,
            after: self.taken,
        });
    }

    /// A call's end has shown that it took more, or less, than was counted.
    pub(crate) fn note_corrected(&mut self, charged: u64, used: u64) {
        self.taken += i128::from(used) - i128::from(charged);
    }

    pub(crate) fn place(&self, sequence: u64) -> Option<Sent> {
        let at = self.sent.binary_search_by_key(&sequence, |it| it.sequence);
        self.sent.get(at.ok()?).copied()
    }

    /// A refused call was not counted: what was left after it is nothing to compare with.
    pub(crate) fn note_refused(&mut self, own: u64, resource: Resource) {
        if counts_at_start(resource) {
            self.note_corrected(own, 0);
        }
        self.anchor = None;
    }

    /// What was taken after that call.
    pub(crate) fn since(&self, sequence: u64) -> i128 {
        let place = self.place(sequence);
        place.map_or(0, |it| self.taken.saturating_sub(it.after).max(0))
    }

    /// Whether a word that was followed has counted what a call of that sequence number really
    /// took: then its end corrects nothing. Never so where the provider counts along.
    pub(crate) fn has_counted(&self, sequence: u64, resource: Resource) -> bool {
        counts_at_start(resource) && self.counted.is_some_and(|it| sequence <= it)
    }

    /// The last call that a word has counted. Nothing says whether that is the call it answers, or what had been sent
    /// when it was said, seconds later: whichever is nearer to the level by our own count is learned.
    pub(crate) fn last_counted(&mut self, call: Sent, word: &Stated, now: u64) -> Sent {
        let mut last = call;
        let until = now.saturating_sub(ON_ITS_WAY);
        let at = self.sent.partition_point(|it| it.at <= until);
        let newer = at.checked_sub(1).and_then(|at| self.sent.get(at));
        let newer = newer.filter(|it| it.sequence > call.sequence);
        if let Some(newer) = newer.filter(|_| counts_at_start(word.resource)).copied() {
            let off = |it: &Sent| {
                let since = self.taken.saturating_sub(it.after).max(0);
                (word.level - (i128::from(word.remaining) - since)).abs()
            };
            let (then, until_said) = (off(&call), off(&newer));
            if newer.after - call.after >= word.capacity / TELLING_PART {
                let told = i8::from(until_said * NEARER_TIMES <= then)
                    - i8::from(then * NEARER_TIMES <= until_said);
                self.until_said = (self.until_said + told).clamp(-TOLD_MAX, TOLD_MAX);
            }
            if self.until_said > 0 {
                last = Sent { at: until, ..newer };
            }
        }
        self.counted = self.counted.max(Some(last.sequence));
        last
    }
}
