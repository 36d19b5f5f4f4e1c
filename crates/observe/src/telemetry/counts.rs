//! How many records of each level there are in each minute, so that a histogram reads no records.

use std::{collections::BTreeMap, ops::Range};

use super::{
    Batch,
    schema::AT,
    wire::{Bytes, UnreadableBatch, put},
};

/// The different words that are counted apart: there are five levels, three statuses and a dozen
/// outcomes. Of others only the sum is known.
pub const WORDS_MAX: usize = 24;

/// Stands for all words beyond [`WORDS_MAX`], and for the absence of one.
pub const OTHER: &str = "";

const MINUTE: i64 = 60_000_000_000;

/// Records by minute and word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    words: Vec<String>,
    /// By the minute since 1970 and the word's place.
    counts: BTreeMap<(i64, usize), u64>,
}

impl Counts {
    /// Counts the rows of a batch.
    pub fn of(batch: &Batch) -> Self {
        let mut counts = Self::default();
        let mut last: Option<((i64, usize), u64)> = None;
        for row in 0..batch.rows() {
            let word = batch.schema().counted.and_then(|it| batch.text(it, row));
            let minute = batch.integer(AT, row).unwrap_or(0).div_euclid(MINUTE);
            let place = counts.place(word.unwrap_or(OTHER));
            // Rows of one minute stand together, and most have the word of the one before.
            match &mut last {
                Some((key, many)) if *key == (minute, place) => *many += 1,
                _ => {
                    counts.flush(last.replace(((minute, place), 1)));
                }
            }
        }
        counts.flush(last);
        counts
    }

    fn flush(&mut self, run: Option<((i64, usize), u64)>) {
        if let Some((key, many)) = run {
            *self.counts.entry(key).or_default() += many;
        }
    }

    fn place(&mut self, word: &str) -> usize {
        if let Some(known) = self.words.iter().position(|it| it == word) {
            return known;
        }
        // Room is left for the word that stands for all others.
        let word = if word == OTHER || self.words.len() + 1 < WORDS_MAX {
            word
        } else {
            OTHER
        };
        let known = self.words.iter().position(|it| it == word);
        known.unwrap_or_else(|| {
            self.words.push(word.to_owned());
            self.words.len() - 1
        })
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        self.add_within(other, &(i64::MIN..i64::MAX));
    }

    /// Adds another's of some minutes.
    pub fn add_within(&mut self, other: &Self, minutes: &Range<i64>) {
        for (minute, word, count) in other.iter().filter(|it| minutes.contains(&it.0)) {
            let place = self.place(word);
            *self.counts.entry((minute, place)).or_default() += count;
        }
    }

    /// The same under other words; those that become one are added up.
    #[must_use]
    pub fn renamed(&self, name: impl Fn(&str) -> &str) -> Self {
        let mut renamed = Self::default();
        for (minute, word, count) in self.iter() {
            let place = renamed.place(name(word));
            *renamed.counts.entry((minute, place)).or_default() += count;
        }
        renamed
    }

    /// The minute since 1970, the word, and how many.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &str, u64)> {
        let counts = self.counts.iter();
        counts.map(|((minute, place), count)| (*minute, &*self.words[*place], *count))
    }

    /// As bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, self.words.len() as u64);
        for word in &self.words {
            put(&mut out, word.len() as u64);
            out.extend(word.bytes());
        }
        put(&mut out, self.counts.len() as u64);
        let mut before = 0i64;
        for ((minute, place), count) in &self.counts {
            put(&mut out, super::wire::zigzag(minute.wrapping_sub(before)));
            put(&mut out, *place as u64);
            put(&mut out, *count);
            before = *minute;
        }
        out
    }

    /// From bytes.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] did not write.
    pub fn decode(bytes: &[u8]) -> Result<Self, UnreadableBatch> {
        let mut from = Bytes(bytes);
        let mut words = Vec::new();
        for _ in 0..from.length()? {
            let length = from.length()?;
            let word = std::str::from_utf8(from.take(length)?);
            let word = word.map_err(|_| UnreadableBatch::new("a counted word is not UTF-8"))?;
            words.push(word.to_owned());
        }
        let mut counts = BTreeMap::new();
        let mut minute = 0i64;
        for _ in 0..from.length()? {
            minute = minute.wrapping_add(super::wire::unzigzag(from.number()?));
            let place = from.length()?;
            if place >= words.len() {
                return Err(UnreadableBatch::new("a counted word is not in its list"));
            }
            counts.insert((minute, place), from.number()?);
        }
        Ok(Self { words, counts })
    }
}

#[cfg(test)]
mod tests;
