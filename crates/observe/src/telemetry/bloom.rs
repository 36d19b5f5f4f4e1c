//! A Bloom filter in blocks of a cache line: asking costs one read of 64 bytes, also from a file.

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
        place_of(hash, self.blocks)
    }

    /// All of its bytes.
    pub fn bytes(self) -> usize {
        usize::try_from(self.blocks).unwrap_or(0) * BLOCK_BYTES
    }
}

/// The place of a hash among so many that are alike likely, by its upper half; `None` of none. It
/// rises with the hash. Filters are stored: this must not change.
pub(super) fn place_of(hash: u64, places: u32) -> Option<usize> {
    let scaled = (hash >> 32) * u64::from(places);
    (places > 0).then(|| usize::try_from(scaled >> 32).unwrap_or(0))
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
        let blocks = (hashes.len() * bits).div_ceil(BLOCK_BYTES * 8);
        let shape = BloomShape {
            blocks: u32::try_from(blocks).unwrap_or(u32::MAX),
        };
        let mut bytes = vec![0; shape.bytes()];
        for hash in hashes.iter() {
            let Some(block) = shape.block_of(*hash) else {
                continue;
            };
            for (word, bit) in positions(*hash).enumerate() {
                bytes[block * BLOCK_BYTES + word * 8 + bit / 8] |= 1 << (bit % 8);
            }
        }
        Self { bytes }
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
        let has = |(word, bit): (usize, usize)| {
            let byte = block.get(word * 8 + bit / 8);
            byte.is_some_and(|it| it & (1 << (bit % 8)) != 0)
        };
        positions(hash).enumerate().all(has)
    }
}

/// The bit of each word of its block.
fn positions(hash: u64) -> impl Iterator<Item = usize> {
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the lower half; the upper chose the block"
    )]
    let low = hash as u32;
    SALTS
        .iter()
        .map(move |salt| (low.wrapping_mul(*salt) >> 26) as usize)
}

#[cfg(test)]
mod tests;
