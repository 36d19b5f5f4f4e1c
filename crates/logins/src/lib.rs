//! Who is signed in: a program asks and is given two codes, somebody confirms the short one, and the
//! program gets tokens for the long one (RFC 8628). Access tokens live for an hour; refresh tokens
//! are good for one use and are followed by others (RFC 9700, section 4.14).
//!
//! Of every secret only the hash is held, in memory as well as in the store. Time and randomness are
//! arguments.

mod asking;
mod code;
mod guesses;
mod login;
mod logins;

pub use asking::{Asked, Asking, INTERVAL, LIFE};
pub use code::UserCode;
pub use login::{ACCESS_LIFE, Holder, Login, Tokens};
pub use logins::{AskError, ConfirmError, Logins, Poll, RefreshError};

use tidegate_ledger::keys::{self, SECRET_BYTES, SECRET_PREFIX};
use tidegate_types::Secret;

/// Random bytes that one step takes: for two secrets.
pub const RANDOM_BYTES: usize = 2 * SECRET_BYTES;

/// A secret of one kind: its prefix, and what these random bytes make.
fn secret(prefix: &str, random: &[u8; RANDOM_BYTES], half: Half) -> Secret<String> {
    let bytes: [u8; SECRET_BYTES] = std::array::from_fn(|at| match half {
        Half::First => random[at],
        Half::Second => random[SECRET_BYTES + at],
    });
    let plain = keys::secret(&bytes);
    Secret::new(plain.expose().replacen(SECRET_PREFIX, prefix, 1))
}

/// Which random bytes a secret is made of.
#[derive(Clone, Copy, Debug)]
enum Half {
    First,
    Second,
}
