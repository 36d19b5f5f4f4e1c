//! The words of a group of rows, each with the pages it stands in.
//!
//! Words are known by hashes. The upper half of a hash says in which bucket its word is, of some
//! thirty; of the lower half nine bits are kept, so that one word in sixteen that is not there seems
//! to be, as a rule in one page. A bucket is a row of bits: for each word, in the order of those nine
//! bits, what they are more than those before (Rice code), in how many pages it is (gamma code), and
//! in which. Buckets end at whole bytes and are found by a table before them, so that asking costs
//! two short reads.

use std::ops::Range;

use super::{
    bloom::place_of,
    pages::{PAGES_MAX, Pages},
};

/// Words of a bucket.
const BUCKET_WORDS: usize = 32;

/// Bits that are kept of a word, beside its bucket.
const KEPT_BITS: u32 = 9;

/// Bits of a difference of two of them that are written as they are: differences are 16 on average.
const RICE_BITS: u32 = 4;

/// How large the words of a group are, in buckets and bytes; what a question has to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WordsShape {
    /// The buckets; none knows no word.
    pub buckets: u32,
    /// All bytes, the table of buckets among them.
    pub bytes: u32,
}

impl WordsShape {
    /// The bucket of a word, unless there are none.
    pub fn bucket_of(self, word: u64) -> Option<usize> {
        place_of(word, self.buckets)
    }

    /// All bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.bytes).unwrap_or(0)
    }

    /// Which bytes of the table say where a bucket is.
    pub fn entry(self, bucket: usize) -> Range<usize> {
        let width = self.width();
        bucket * width..(bucket + 2) * width
    }

    /// Which bytes a bucket has, by its bytes of the table; `None` where they say nothing that can be.
    pub fn bucket(self, entry: &[u8]) -> Option<Range<usize>> {
        let read = |bytes: &[u8]| match bytes {
            [a, b] => Some(u32::from(u16::from_le_bytes([*a, *b]))),
            [a, b, c, d] => Some(u32::from_le_bytes([*a, *b, *c, *d])),
            _ => None,
        };
        let (start, end) = entry.split_at_checked(self.width())?;
        let place = |it| usize::try_from(read(it)?).ok();
        let found = place(start)?..place(end)?;
        (found.start <= found.end && found.end <= self.bytes()).then_some(found)
    }

    /// Bytes of a place in the table.
    fn width(self) -> usize {
        if u16::try_from(self.bytes).is_ok() {
            2
        } else {
            4
        }
    }

    fn table(self) -> usize {
        let places = usize::try_from(self.buckets).unwrap_or(0) + 1;
        if self.buckets == 0 {
            0
        } else {
            places * self.width()
        }
    }
}

/// The words of a group, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words {
    shape: WordsShape,
    bytes: Vec<u8>,
}

impl Words {
    /// Of hashes of words, each with a page it stands in, of so many.
    pub fn of(words: &mut Vec<(u64, u8)>, pages: usize) -> Self {
        words.sort_unstable();
        words.dedup();
        let distinct = words.chunk_by(|one, two| one.0 == two.0);
        let distinct: Vec<(u64, Pages)> = distinct
            .map(|them| {
                let pages = them.iter().map(|it| Pages::one(usize::from(it.1)));
                (them[0].0, pages.fold(Pages::NONE, |all, it| all | it))
            })
            .collect();
        let buckets = distinct.len().div_ceil(BUCKET_WORDS);
        let mut shape = WordsShape {
            buckets: u32::try_from(buckets).unwrap_or(u32::MAX),
            bytes: 0,
        };
        let mut ends = Vec::with_capacity(buckets);
        let mut bits = BitWriter::default();
        let mut left = &distinct[..];
        for bucket in 0..buckets {
            let many = left.partition_point(|it| shape.bucket_of(it.0) == Some(bucket));
            let (these, more) = left.split_at(many);
            left = more;
            let mut kept: Vec<_> = these.iter().map(|it| (kept_bits(it.0), it.1)).collect();
            kept.sort_unstable_by_key(|it| it.0);
            let mut before = 0;
            for (it, found) in kept {
                bits.rice(it - before);
                bits.pages(found, pages);
                before = it;
            }
            bits.align();
            ends.push(bits.bytes.len());
        }
        let all = |width: usize| ends.last().map_or(0, |it| it + (buckets + 1) * width);
        let wide = u16::try_from(all(2)).is_err();
        let bytes = all(if wide { 4 } else { 2 });
        shape.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let mut stored = Vec::with_capacity(bytes);
        let table = shape.table();
        for end in ends.first().map(|_| &0).into_iter().chain(&ends) {
            let place = u32::try_from(table + end).unwrap_or(u32::MAX).to_le_bytes();
            stored.extend(&place[..shape.width()]);
        }
        stored.extend(bits.bytes);
        Self {
            shape,
            bytes: stored,
        }
    }

    /// From stored bytes.
    pub fn from_bytes(shape: WordsShape, bytes: Vec<u8>) -> Self {
        Self { shape, bytes }
    }

    /// What is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its shape.
    pub fn shape(&self) -> WordsShape {
        self.shape
    }

    /// The pages in which a word may be, of so many. Bytes that are damaged say all of them.
    pub fn pages(&self, word: u64, pages: usize) -> Pages {
        let Some(bucket) = self.shape.bucket_of(word) else {
            return Pages::NONE;
        };
        let entry = self.bytes.get(self.shape.entry(bucket));
        let bytes = entry.and_then(|it| self.shape.bucket(it));
        let bytes = bytes.and_then(|it| self.bytes.get(it));
        bytes.map_or(Pages::ALL, |it| Self::pages_in_bucket(it, word, pages))
    }

    /// The same, for the bytes of the word's bucket.
    pub fn pages_in_bucket(bucket: &[u8], word: u64, pages: usize) -> Pages {
        let wanted = kept_bits(word);
        let mut bits = BitReader {
            bytes: bucket,
            at: 0,
        };
        let mut found = Pages::NONE;
        let mut kept = 0;
        while let Some(more) = bits.rice() {
            kept += more;
            if kept > wanted {
                break;
            }
            let Some(these) = bits.pages(pages) else {
                return Pages::ALL;
            };
            if kept == wanted {
                found = found | these;
            }
        }
        found
    }
}

fn kept_bits(word: u64) -> u32 {
    u32::try_from(word & ((1 << KEPT_BITS) - 1)).unwrap_or(0)
}

/// Bits that tell one of so many pages.
fn page_bits(pages: usize) -> u32 {
    pages.clamp(1, PAGES_MAX).next_power_of_two().ilog2()
}

/// Whether pages are written as a bit for each page there is, and not one after another.
fn is_map(found: u32, pages: usize) -> bool {
    let all = u32::try_from(pages.min(PAGES_MAX)).unwrap_or(0);
    found > 1 && found * page_bits(pages) >= all
}

/// Writes bits, the lowest of a byte first.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    held: u64,
    held_bits: u32,
}

impl BitWriter {
    /// At most 32 bits.
    fn put(&mut self, value: u32, bits: u32) {
        self.held |= u64::from(value) << self.held_bits;
        self.held_bits += bits;
        while self.held_bits >= 8 {
            self.bytes.extend(self.held.to_le_bytes().first());
            self.held >>= 8;
            self.held_bits -= 8;
        }
    }

    /// So many zeros, and a one.
    fn unary(&mut self, zeros: u32) {
        for _ in 0..zeros {
            self.put(0, 1);
        }
        self.put(1, 1);
    }

    fn rice(&mut self, value: u32) {
        self.unary(value >> RICE_BITS);
        self.put(value & ((1 << RICE_BITS) - 1), RICE_BITS);
    }

    /// A number from 1 on.
    fn gamma(&mut self, value: u32) {
        let bits = value.max(1).ilog2();
        self.unary(bits);
        self.put(value & ((1 << bits) - 1), bits);
    }

    fn pages(&mut self, found: Pages, pages: usize) {
        let many = found.count();
        self.gamma(many);
        if is_map(many, pages) {
            let all = u32::try_from(pages.min(PAGES_MAX)).unwrap_or(0);
            self.put(found.bits(), all);
            return;
        }
        let bits = page_bits(pages);
        for page in (0..PAGES_MAX).filter(|it| !(found & Pages::one(*it)).is_none()) {
            self.put(u32::try_from(page).unwrap_or(0), bits);
        }
    }

    /// Zeros up to the next byte: too few for a whole number, so that the bucket ends there.
    fn align(&mut self) {
        self.put(0, (8 - self.held_bits % 8) % 8);
    }
}

/// Reads what [`BitWriter`] wrote.
struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn bit(&mut self) -> Option<u32> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte >> (self.at % 8) & 1;
        self.at += 1;
        Some(u32::from(bit))
    }

    fn take(&mut self, bits: u32) -> Option<u32> {
        let mut value = 0;
        for place in 0..bits {
            value |= self.bit()? << place;
        }
        Some(value)
    }

    fn unary(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.bit()? == 0 {
            zeros += 1;
        }
        Some(zeros)
    }

    fn rice(&mut self) -> Option<u32> {
        let high = self.unary()?;
        Some((high << RICE_BITS) | self.take(RICE_BITS)?)
    }

    fn gamma(&mut self) -> Option<u32> {
        let bits = self.unary().filter(|it| *it < u32::BITS)?;
        Some(1 << bits | self.take(bits)?)
    }

    fn pages(&mut self, pages: usize) -> Option<Pages> {
        let many = self.gamma()?;
        if usize::try_from(many).is_ok_and(|it| it > pages) {
            return None;
        }
        if is_map(many, pages) {
            let all = u32::try_from(pages.min(PAGES_MAX)).unwrap_or(0);
            return self.take(all).map(Pages::from_bits);
        }
        let bits = page_bits(pages);
        let mut found = Pages::NONE;
        for _ in 0..many {
            found = found | Pages::one(usize::try_from(self.take(bits)?).unwrap_or(0));
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests;
