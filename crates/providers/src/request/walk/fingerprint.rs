//! A stable hash of how a conversation begins.

use crate::request::FINGERPRINT_BYTES;

/// Hashes the first [`FINGERPRINT_BYTES`] that it is fed. The same bytes give the same value in
/// every version of the program: values are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fingerprint {
    hash: u64,
    left: usize,
}

impl Fingerprint {
    pub(super) const fn new() -> Self {
        Self {
            hash: 0,
            left: FINGERPRINT_BYTES,
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let bytes = bytes.get(..self.left).unwrap_or(bytes);
        self.left -= bytes.len();
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().zip(tail) {
            *to = *from;
        }
        self.mix(u64::from_le_bytes(last));
        self.mix(bytes.len() as u64);
    }

    /// Whether anything was fed that is not empty.
    pub(super) const fn is_fed(self) -> bool {
        self.left < FINGERPRINT_BYTES
    }

    const fn mix(&mut self, word: u64) {
        // A multiplication spreads upwards, the rotation brings the top back down.
        let mixed = (self.hash ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.hash = mixed.rotate_left(29);
    }

    /// The value, never 0, which means that there is none.
    pub(super) const fn value(self) -> u64 {
        let mixed = (self.hash ^ (self.hash >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let value = mixed ^ (mixed >> 32);
        if value == 0 { 1 } else { value }
    }
}
