//! What 64 bytes of JSON hold, as bit masks: bit `i` speaks of byte `i`.

use wide::u8x16;

/// Bytes looked at together: the bits of one mask.
pub(super) const BLOCK: usize = 64;

const LANES: usize = 16;

/// The first block of `bytes` and the rest. Where less than a block is left, it is put into `last`,
/// filled up with spaces.
#[inline]
pub(super) fn split_block<'a: 'b, 'b>(
    bytes: &'a [u8],
    last: &'b mut [u8; BLOCK],
) -> (&'b [u8; BLOCK], &'a [u8]) {
    if let Some(split) = bytes.split_first_chunk() {
        return split;
    }
    *last = [b' '; BLOCK];
    if let Some(start) = last.get_mut(..bytes.len()) {
        start.copy_from_slice(bytes);
    }
    (last, &[])
}

#[inline]
fn lanes(block: &[u8; BLOCK]) -> [u8x16; BLOCK / LANES] {
    let (chunks, _none) = block.as_chunks::<LANES>();
    std::array::from_fn(|it| chunks.get(it).copied().map_or(u8x16::ZERO, u8x16::new))
}

#[inline]
fn equal(lanes: &[u8x16; BLOCK / LANES], byte: u8) -> u64 {
    let wanted = u8x16::splat(byte);
    let mut mask = 0;
    for (at, lane) in (0_u32..).zip(lanes) {
        mask |= u64::from((*lane).simd_eq(wanted).to_bitmask()) << (at * 16);
    }
    mask
}

/// Quotes and backslashes among 16 bytes, where most strings end already.
#[inline]
pub(super) fn quotes_and_backslashes_near(near: &[u8; LANES]) -> (u32, u32) {
    let lane = u8x16::new(*near);
    let mask = |byte| lane.simd_eq(u8x16::splat(byte)).to_bitmask();
    (mask(b'"'), mask(b'\\'))
}

#[inline]
pub(super) fn quotes_and_backslashes(block: &[u8; BLOCK]) -> (u64, u64) {
    let lanes = lanes(block);
    (equal(&lanes, b'"'), equal(&lanes, b'\\'))
}

/// The even places.
const EVEN: u64 = 0x5555_5555_5555_5555;

/// Which bytes are escaped by the backslash before them, from one block to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Escapes {
    /// 1 if the first byte of the next block is escaped.
    carry: u64,
}

impl Escapes {
    #[inline]
    pub(super) fn escaped(&mut self, backslashes: u64) -> u64 {
        if backslashes == 0 {
            return std::mem::take(&mut self.carry);
        }
        // A backslash that is itself escaped starts no run. In a run every second byte is escaped:
        // adding the runs that begin at odd places to all of them carries out of each at its end,
        // and so tells runs of odd length from runs of even length without a loop.
        let backslashes = backslashes & !self.carry;
        let follows = backslashes << 1 | self.carry;
        let odd_starts = backslashes & !EVEN & !follows;
        let (even_runs, overflow) = odd_starts.overflowing_add(backslashes);
        self.carry = u64::from(overflow);
        (EVEN ^ (even_runs << 1)) & follows
    }
}

/// Where strings and brackets are, from one block to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Masks {
    escapes: Escapes,
    /// All ones if the next block begins inside a string.
    in_string: u64,
}

impl Masks {
    /// The opening and the closing brackets of both kinds that are outside strings.
    #[inline]
    pub(super) fn brackets(&mut self, block: &[u8; BLOCK]) -> (u64, u64) {
        let mut lanes = lanes(block);
        let backslashes = equal(&lanes, b'\\');
        let quotes = equal(&lanes, b'"') & !self.escapes.escaped(backslashes);
        let in_string = prefix_xor(quotes) ^ self.in_string;
        self.in_string = if in_string >> 63 == 1 { u64::MAX } else { 0 };
        // `[` and `{` differ in one bit only, and so do `]` and `}`.
        for lane in &mut lanes {
            *lane |= u8x16::splat(0x20);
        }
        let outside = !in_string;
        (equal(&lanes, b'{') & outside, equal(&lanes, b'}') & outside)
    }
}

/// Bit `i` of the result is the parity of the bits `0..=i`: set from an opening quote up to the
/// byte before the closing one.
#[inline]
const fn prefix_xor(mut bits: u64) -> u64 {
    bits ^= bits << 1;
    bits ^= bits << 2;
    bits ^= bits << 4;
    bits ^= bits << 8;
    bits ^= bits << 16;
    bits ^ bits << 32
}
