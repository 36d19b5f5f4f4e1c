//! The code that a person reads on one screen and types on another.

use std::fmt;

/// Letters that are not taken for one another and make no words (RFC 8628, section 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Letters in a code: 20⁸ codes, 2.6 · 10¹⁰. With a thousand open ones and ten wrong guesses in ten
/// minutes (see `guesses`) somebody who may confirm hits another's once in 2.6 million such minutes.
const LETTERS: usize = 8;

/// Characters of what was typed that are looked at: spaces and dashes between all letters.
const TYPED_MAX: usize = 64;

/// A user code, written `WDJB-MJHT`. Case, spaces and dashes do not matter where one is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct UserCode([u8; LETTERS]);

impl UserCode {
    /// The code that a random number makes.
    #[must_use]
    pub fn of(random: u64) -> Self {
        let mut rest = random;
        Self(std::array::from_fn(|_| {
            let letter = usize::try_from(rest % ALPHABET.len() as u64).unwrap_or(0);
            rest /= ALPHABET.len() as u64;
            ALPHABET[letter]
        }))
    }

    /// What somebody typed; `None` where it is no code, whoever's.
    #[must_use]
    pub fn read(typed: &str) -> Option<Self> {
        let mut letters = [0; LETTERS];
        let mut count = 0;
        for character in typed.chars().take(TYPED_MAX) {
            if character == '-' || character.is_whitespace() {
                continue;
            }
            let letter = u8::try_from(character.to_ascii_uppercase()).ok()?;
            if !ALPHABET.contains(&letter) {
                return None;
            }
            *letters.get_mut(count)? = letter;
            count += 1;
        }
        (count == LETTERS).then_some(Self(letters))
    }

    /// What is held of it, and looked up.
    pub(crate) fn hash(self) -> [u8; 32] {
        tidegate_ledger::keys::hash(&self.to_string())
    }
}

impl fmt::Display for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, letter) in self.0.iter().enumerate() {
            if at == LETTERS / 2 {
                f.write_str("-")?;
            }
            write!(f, "{}", char::from(*letter))?;
        }
        Ok(())
    }
}

/// A code is a right while it is open.
impl fmt::Debug for UserCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
