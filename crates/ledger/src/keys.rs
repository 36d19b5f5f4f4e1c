//! Keys: who may call, as whom, and how much it may claim to matter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tidegate_types::{KeyId, Priority, Role, Secret, Timestamp};

use crate::StoreError;

/// What every secret begins with.
pub const SECRET_PREFIX: &str = "tg-";

/// What the access tokens of sign-ins begin with. They are no keys, and are looked up elsewhere.
pub const ACCESS_PREFIX: &str = "tg-access-";

/// What the token begins with that changes from this machine need. It is no key: no call is sent with it.
pub const LOCAL_PREFIX: &str = "tgl-";

/// Whether this begins as all do that are ours, of whatever kind.
pub fn is_ours(secret: &[u8]) -> bool {
    [SECRET_PREFIX, LOCAL_PREFIX]
        .iter()
        .any(|it| secret.starts_with(it.as_bytes()))
}

/// Random bytes in a secret: more than can be guessed, and a hash of them needs no salt.
pub const SECRET_BYTES: usize = 32;

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Names it in lists and records.
    pub id: KeyId,
    /// What people call it.
    pub name: String,
    /// SHA-256 of the secret: the secret itself is shown once and kept nowhere.
    pub hash: [u8; 32],
    /// What it may do.
    pub role: Role,
    /// As whom.
    pub user: String,
    /// Who pays.
    pub organisation: String,
    /// Of calls that say nothing.
    pub default_priority: Option<Priority>,
    /// The most that calls may claim.
    pub highest_priority: Priority,
    /// Of calls that say nothing.
    pub default_task_type: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// The secret that these random bytes make: `tg-` and 43 characters of base64url.
#[must_use]
pub fn secret(random: &[u8; SECRET_BYTES]) -> Secret<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::from(SECRET_PREFIX);
    for three in random.chunks(3) {
        let byte = |place: usize| u32::from(three.get(place).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        // One character more than there are bytes: six bits each, no padding.
        for place in 0..=three.len() {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            text.push(char::from(ALPHABET[sextet as usize]));
        }
    }
    Secret::new(text)
}

/// What is stored of a secret, and looked up when a call brings one.
#[must_use]
pub fn hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// What an access token stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bearer {
    /// The sign-in, as a key.
    pub key: Arc<Key>,
    /// Good only where calls without any key would be taken.
    pub here_only: bool,
}

/// Where access tokens are known. Asked for each call that carries one: it must take no longer than a
/// look into a table, and tell nothing by how long it takes.
pub trait Bearers: Send + Sync {
    /// What the token with this hash stands for now.
    fn bearer(&self, hash: &[u8; 32], now: Timestamp) -> Option<Bearer>;
}

/// Where keys are kept.
pub trait KeyStore: Send + Sync {
    /// Adds a key; durable when it returns. An id or a hash that is there already is an error.
    fn insert(&self, key: &Key) -> Result<(), StoreError>;

    /// Refuses a key from now on; `false` if there is none or it was revoked before, which keeps
    /// its first time.
    fn revoke(&self, id: KeyId, at: Timestamp) -> Result<bool, StoreError>;

    /// All keys, revoked ones too, in the order of their ids.
    fn list(&self) -> Result<Vec<Key>, StoreError>;
}

#[cfg(test)]
mod tests;
