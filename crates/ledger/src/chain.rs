//! The ledger's rows and the chain that makes an edited, missing or reordered one visible.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Entry;

/// The place of a row in the ledger: 1, 2, 3, … without gaps.
pub type Seq = u64;

/// SHA-256 over all rows so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ChainHash(pub [u8; 32]);

/// What stands before the first row.
pub const CHAIN_START: ChainHash = ChainHash([0; 32]);

/// The chain after a row with this payload.
///
/// Whoever can write the whole ledger can compute a whole new chain: keep a hash that
/// `ledger verify` printed somewhere else, and that is visible too.
#[must_use]
pub fn chain_after(before: ChainHash, payload: &str) -> ChainHash {
    let hash = Sha256::new()
        .chain_update(before.0)
        .chain_update(payload.as_bytes());
    ChainHash(hash.finalize().into())
}

/// One stored row, as it is exported for an auditor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// Its place.
    pub seq: Seq,
    /// The chain after it.
    pub chain: ChainHash,
    /// The entry as JSON, byte for byte as it was appended.
    pub payload: String,
}

impl Row {
    /// The entry in it.
    pub fn entry(&self) -> Result<Entry, serde_json::Error> {
        serde_json::from_str(&self.payload)
    }
}

impl std::fmt::Display for ChainHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|it| write!(f, "{it:02x}"))
    }
}

impl From<ChainHash> for String {
    fn from(hash: ChainHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ChainHash {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let refuse = || format!("`{text:.40}` is not 64 hexadecimal digits");
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return Err(refuse());
        }
        for (place, byte) in bytes.iter_mut().enumerate() {
            let digits = &text[2 * place..2 * place + 2];
            *byte = u8::from_str_radix(digits, 16).map_err(|_| refuse())?;
        }
        Ok(Self(bytes))
    }
}
