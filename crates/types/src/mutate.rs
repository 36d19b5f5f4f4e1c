//! Broken input for the tests of whatever reads bytes: valid input changed at random, always in the same way.

use std::ops::Range;

/// The most bytes that one change takes out, doubles or moves.
const PIECE_BYTES_MAX: usize = 24;

/// The most changes that one input gets.
const CHANGES_MAX: usize = 6;

/// Changes bytes. Two that were made alike change alike: a failure is found again by running the test again.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
    words: &'static [&'static str],
}

impl Mutator {
    /// `words` are pieces that mean something to the reader; `start` must not be 0.
    pub const fn new(start: u64, words: &'static [&'static str]) -> Self {
        assert!(start != 0, "a generator that starts at 0 stays there");
        Self {
            state: start,
            words,
        }
    }

    /// 64 bits (Marsaglia's xorshift, 13 7 17).
    pub const fn bits(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state
    }

    /// A number below `bound`; 0 where that is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.bits() % bound.max(1) as u64).unwrap_or_default()
    }

    /// One of all, which must not be none.
    pub fn of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }

    /// `seed` with one to six changes: pieces taken out, doubled, cut off, stray bytes, and words.
    pub fn mutated(&mut self, seed: &[u8]) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..=self.below(CHANGES_MAX) {
            let range = self.range(bytes.len());
            match self.below(5) {
                0 => drop(bytes.drain(range)),
                1 => {
                    let copy = bytes[range].to_vec();
                    let at = self.below(bytes.len() + 1);
                    bytes.splice(at..at, copy);
                }
                2 => bytes.truncate(range.end),
                3 => {
                    let byte = self.bits().to_le_bytes()[0];
                    bytes.splice(range.start..range.start, [byte]);
                }
                _ => {
                    let word = self.of(self.words).bytes();
                    bytes.splice(range.start..range.start, word);
                }
            }
        }
        bytes
    }

    /// The same for a text; what is no text any more is replaced.
    pub fn mutated_text(&mut self, seed: &str) -> String {
        String::from_utf8_lossy(&self.mutated(seed.as_bytes())).into_owned()
    }

    fn range(&mut self, length: usize) -> Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(PIECE_BYTES_MAX)).min(length)
    }
}

#[cfg(test)]
mod tests;
