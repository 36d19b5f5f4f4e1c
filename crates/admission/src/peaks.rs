//! How full a bucket has been since a call took from it.
//!
//! What a call gives back must leave the bucket as if the call had never taken it. If meanwhile
//! the bucket came within that much of being full, a part of its refill would have been lost then:
//! giving everything back would let more than capacity and refill be spent. So a refund is at most
//! the distance between the capacity and the highest level since the call took.

use arrayvec::ArrayVec;

/// High levels told apart. Beyond it the two lowest are merged, upwards: a refund may then be
/// smaller than it could be, never larger.
const PEAKS_MAX: usize = 8;

#[derive(Clone, Copy, Debug)]
struct Peak {
    /// The level was this high just before the charge of this sequence number.
    level: i128,
    sequence: u64,
}

/// The highest levels by age: each lower than the ones before it, and later.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peaks(ArrayVec<Peak, PEAKS_MAX>);

impl Peaks {
    /// Notes a level before it falls.
    pub(crate) fn note(&mut self, level: i128, sequence: u64) {
        while self.0.last().is_some_and(|it| it.level <= level) {
            self.0.pop();
        }
        let full = self.0.is_full();
        match self.0.last_mut() {
            Some(lowest) if full => lowest.sequence = sequence,
            Some(_) | None => self.0.push(Peak { level, sequence }),
        }
    }

    /// The highest level noted after `sequence`.
    pub(crate) fn since(&self, sequence: u64) -> Option<i128> {
        let first = self.0.iter().find(|it| it.sequence > sequence);
        first.map(|it| it.level)
    }

    /// The levels since `sequence` would have been up to this much higher.
    pub(crate) fn raise(&mut self, sequence: u64, by: i128, capacity: i128) {
        for peak in self.0.iter_mut().filter(|it| it.sequence > sequence) {
            peak.level = peak.level.saturating_add(by).min(capacity);
        }
        // Raised ones may now hide older, lower ones; the order has to stay strict.
        let mut kept = ArrayVec::<Peak, PEAKS_MAX>::new();
        for peak in self.0.drain(..) {
            while kept.last().is_some_and(|it| it.level <= peak.level) {
                kept.pop();
            }
            kept.push(peak);
        }
        self.0 = kept;
    }

    /// Every level, converted.
    pub(crate) fn map(&mut self, convert: impl Fn(i128) -> i128) {
        for peak in &mut self.0 {
            peak.level = convert(peak.level);
        }
    }

    /// Nothing is outstanding any more: nothing needs to be remembered.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests;
