//! Links that decide on a request for approval: whoever has one may, without a key.

use std::{fmt, sync::Arc};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tidegate_ledger::{SettingStore, StoreError};
use tidegate_types::{ApprovalId, Timestamp};

/// The setting under which the key is kept.
const LINK_KEY: &str = "approval_link_key";

/// Bytes of a key: as many as its hash function has.
pub const LINK_KEY_BYTES: usize = 32;

/// What every signed text begins with, so that no signature of anything else fits.
const SIGNED: &str = "tidegate approval link 1";

/// What a link says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The request it decides on.
    pub approval: ApprovalId,
    /// Yes or no.
    pub approve: bool,
    /// Until when it is good, in seconds since 1970.
    pub until: u64,
    /// The channel it was sent to, by whose name the decision is recorded.
    pub channel: Arc<str>,
}

impl Link {
    /// Whether its time is over.
    pub const fn is_over(&self, now: Timestamp) -> bool {
        now.seconds() >= self.until
    }

    const fn decision(&self) -> &'static str {
        if self.approve { "approve" } else { "deny" }
    }

    /// Channels' names have no line break: no two links are the same text.
    fn signed(&self) -> String {
        let Self {
            approval,
            until,
            channel,
            ..
        } = self;
        let decision = self.decision();
        format!("{SIGNED}\n{approval}\n{decision}\n{until}\n{channel}")
    }
}

/// Signs links, and knows its own. Made once for a data directory and kept in its store.
#[derive(Clone)]
pub struct LinkKey([u8; LINK_KEY_BYTES]);

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey")
    }
}

impl LinkKey {
    /// This key, for stores that are forgotten.
    #[must_use]
    pub const fn new(random: [u8; LINK_KEY_BYTES]) -> Self {
        Self(random)
    }

    /// The key that a store has, or this one, which it has from now on.
    pub fn kept(
        settings: &dyn SettingStore,
        random: [u8; LINK_KEY_BYTES],
    ) -> Result<Self, StoreError> {
        let kept = settings.setting(LINK_KEY)?;
        if let Some(kept) = kept.and_then(|it| it.try_into().ok()) {
            return Ok(Self(kept));
        }
        settings.set(&[(LINK_KEY, &random)])?;
        Ok(Self(random))
    }

    /// The path and query of a link.
    #[must_use]
    pub fn path(&self, link: &Link) -> String {
        let signature = hex(&self.mac(link).finalize().into_bytes());
        let Link {
            approval,
            until,
            channel,
            ..
        } = link;
        let decision = link.decision();
        format!("/approvals/{approval}?d={decision}&e={until}&c={channel}&s={signature}")
    }

    /// Whether it signed this link. Takes as long whatever the signature is.
    pub fn knows(&self, link: &Link, signature: &str) -> bool {
        unhex(signature).is_some_and(|it| self.mac(link).verify_slice(&it).is_ok())
    }

    fn mac(&self, link: &Link) -> Hmac<Sha256> {
        // As the function's own definition lengthens a key: with zeros, to its block of 64 bytes.
        let mut block = [0; 64];
        block[..LINK_KEY_BYTES].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(link.signed().as_bytes());
        mac
    }
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|it| [it >> 4, it & 15]);
    digits
        .map(|it| char::from(b"0123456789abcdef"[usize::from(it)]))
        .collect()
}

/// The bytes of a signature; `None` for what is not 64 lower-case hexadecimal digits.
fn unhex(text: &str) -> Option<[u8; 32]> {
    let digit = |it: u8| match it {
        b'0'..=b'9' => Some(it - b'0'),
        b'a'..=b'f' => Some(it - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;
