//! A Bloom filter in blocks of a cache line: asking costs one read of 64 bytes, also from a file.
//!
//! One for words says in which pages of a group a word can be, too: it holds each word, and each word
//! with each of its pages, all in the word's block. Most words that are not there end at the first
//! question, so that a page is read in vain a tenth as often as with questions for pages alone.

use super::pages::{PAGES_MAX, Pages};

/// Bytes of a block: a key's bits are all in one.
pub const BLOCK_BYTES: usize = 64;

const WORDS: usize = BLOCK_BYTES / 8;

/// One odd factor for each word of a block: each key sets one bit of each.
static SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// How many blocks a filter has; which of them a key is in follows from that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BloomShape {
    /// Its blocks; none knows no key.
    pub blocks: u32,
}

impl BloomShape {
    /// The block of a key, unless the filter is empty.
    pub fn block_of(self, hash: u64) -> Option<usize> {
        let scaled = (hash >> 32) * u64::from(self.blocks);
        (self.blocks > 0).then(|| usize::try_from(scaled >> 32).unwrap_or(0))
    }

    /// All of its bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.blocks).unwrap_or(0) * BLOCK_BYTES
    }
}

/// A set of hashes that may hold more than was put in, and never less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bloom {
    bytes: Vec<u8>,
}

impl Bloom {
    /// A filter of `hashes`, each of which counts once, with this many bits for each of them.
    ///
    /// With 10 bits, about one key in eighty that was not put in seems to be there; with 16, one
    /// in a thousand.
    pub fn of(hashes: &mut Vec<u64>, bits: usize) -> Self {
        hashes.sort_unstable();
        hashes.dedup();
        let mut filter = Self::sized(hashes.len() * bits);
        for hash in hashes.iter() {
            filter.put(*hash, positions(*hash));
        }
        filter
    }

    /// A filter of words, each with a page it stands in, that also knows the pages: see
    /// [`Self::pages_in_block`].
    pub fn of_pages(words: &mut Vec<(u64, u8)>) -> Self {
        words.sort_unstable();
        words.dedup();
        let words: Vec<_> = words.chunk_by(|one, two| one.0 == two.0).collect();
        let entries = words.iter().map(|it| 1 + it.len().min(EVERYWHERE_MIN));
        let mut filter = Self::sized(entries.sum::<usize>() * PAGED_BITS);
        for pages in words {
            let (word, _) = pages[0];
            filter.put(word, sparse(word, WORD));
            if pages.len() > EVERYWHERE_MIN {
                for sure in EVERYWHERE {
                    filter.put(word, sparse(word, sure));
                }
                continue;
            }
            for (_, page) in pages {
                filter.put(word, sparse(word, u64::from(*page)));
            }
        }
        filter
    }

    /// One for so many bits.
    fn sized(bits: usize) -> Self {
        let blocks = bits.div_ceil(BLOCK_BYTES * 8);
        let shape = BloomShape {
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
        };
        Self {
            bytes: vec![0; shape.bytes()],
        }
    }

    /// Sets bits in the block of a key.
    fn put(&mut self, hash: u64, bits: impl Iterator<Item = usize>) {
        let Some(block) = self.shape().block_of(hash) else {
            return;
        };
        let block = &mut self.bytes[block * BLOCK_BYTES..][..BLOCK_BYTES];
        for bit in bits {
            block[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// From stored bytes, if they are whole blocks.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        let whole = bytes.len().is_multiple_of(BLOCK_BYTES);
        (whole && u32::try_from(bytes.len() / BLOCK_BYTES).is_ok()).then_some(Self { bytes })
    }

    /// What is stored.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its shape.
    pub fn shape(&self) -> BloomShape {
        BloomShape {
            blocks: u32::try_from(self.bytes.len() / BLOCK_BYTES).unwrap_or(u32::MAX),
        }
    }

    /// Whether the key may be there.
    pub fn may_hold(&self, hash: u64) -> bool {
        let block = self.shape().block_of(hash);
        block.is_some_and(|it| Self::block_may_hold(&self.bytes[it * BLOCK_BYTES..], hash))
    }

    /// The same, for a block that [`BloomShape::block_of`] named. Fewer bytes than a block hold
    /// nothing.
    pub fn block_may_hold(block: &[u8], hash: u64) -> bool {
        has_all(block, positions(hash))
    }

    /// The pages in which a word may be, of so many.
    pub fn pages(&self, word: u64, pages: usize) -> Pages {
        let block = self.shape().block_of(word);
        block.map_or(Pages::NONE, |it| {
            Self::pages_in_block(&self.bytes[it * BLOCK_BYTES..], word, pages)
        })
    }

    /// The same, for the word's block of a filter that [`Self::of_pages`] made.
    pub fn pages_in_block(block: &[u8], word: u64, pages: usize) -> Pages {
        let may = |what| has_all(block, sparse(word, what));
        if !may(WORD) {
            return Pages::NONE;
        }
        if EVERYWHERE.into_iter().all(may) {
            return Pages::ALL;
        }
        let found = (0..pages.min(PAGES_MAX)).filter(|it| may(*it as u64));
        found.fold(Pages::NONE, |pages, it| pages | Pages::one(it))
    }
}

/// Bits for each entry of a filter that knows pages, of which [`sparse`] sets four: a word seems to be
/// there once in twenty times, and if so, in each page once in twenty times.
const PAGED_BITS: usize = 6;

/// Words that stand in more pages are held as standing in all of them.
const EVERYWHERE_MIN: usize = PAGES_MAX / 2;

/// What is put in for a word itself.
const WORD: u64 = PAGES_MAX as u64;

/// What is put in for a word that stands everywhere: twice, since to be wrong costs all pages.
const EVERYWHERE: [u64; 2] = [WORD + 1, WORD + 2];

/// The bits of a word with a page or something else, anywhere in its block.
fn sparse(word: u64, what: u64) -> impl Iterator<Item = usize> {
    let salted = (word ^ (what + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)) | 1;
    let spread = u128::from(salted) * 0xd6e8_feb8_6659_fd93_u128;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let spread = (spread as u64) ^ ((spread >> 64) as u64);
    let place = move |nth: u32| (spread >> (nth * 9)) & (BLOCK_BYTES as u64 * 8 - 1);
    (0..4).map(move |nth| usize::try_from(place(nth)).unwrap_or(0))
}

fn has_all(block: &[u8], mut bits: impl Iterator<Item = usize>) -> bool {
    let has = |bit: usize| {
        let byte = block.get(bit / 8);
        byte.is_some_and(|it| it & (1 << (bit % 8)) != 0)
    };
    bits.all(has)
}

/// A bit in each eighth of its block.
fn positions(hash: u64) -> impl Iterator<Item = usize> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half; the upper chose the block"
    )]
    let low = hash as u32;
    let bit =
        move |(word, salt): (usize, &u32)| word * 64 + (low.wrapping_mul(*salt) >> 26) as usize;
    SALTS.iter().enumerate().map(bit)
}

#[cfg(test)]
mod tests;
