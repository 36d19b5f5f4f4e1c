//! How a receiver knows that a request is ours and is whole.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// The header that carries a [signature](sign).
pub const SIGNATURE_HEADER: &str = "x-tidegate-signature";

/// The header that carries a notice's id, by which a receiver drops what it has had already.
pub const NOTICE_HEADER: &str = "x-tidegate-notice";

/// `t=<unix seconds>,v1=<hex>`: HMAC-SHA256 with the channel's secret over the seconds as they are
/// written there, a dot and the body's bytes. The form is Stripe's; a receiver refuses what is
/// older than five minutes or so, and compares in constant time.
#[must_use]
pub fn sign(secret: &str, unix_seconds: u64, body: &[u8]) -> String {
    // A key of any length will do: the error can't be.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.as_bytes()) else {
        return String::new();
    };
    mac.update(unix_seconds.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    let mut header = format!("t={unix_seconds},v1=");
    for byte in mac.finalize().into_bytes() {
        for digit in [byte >> 4, byte & 15] {
            header.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    header
}

#[cfg(test)]
mod tests;
