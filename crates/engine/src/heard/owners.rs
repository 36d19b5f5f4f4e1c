//! Which account a caller's credential is of: limits are an account's, and one user may have several.
//! A login's token is another every few hours, and its account the same: so answers say.

use std::{
    collections::BTreeMap,
    hash::BuildHasher as _,
    sync::atomic::{AtomicBool, Ordering},
};

use foldhash::fast::FixedState;
use parking_lot::RwLock;

/// Credentials that are known at once. Beyond it all are forgotten, and each is known again by its next answer.
const CREDENTIALS_MAX: usize = 4_096;

/// The headers by which answers say whose account it was.
const ACCOUNT_HEADERS: [&str; 2] = ["anthropic-organization-id", "openai-organization"];

/// What stands before the mark of an account in its name. No name of a user has it and eight digits at its end.
const SEPARATOR: char = '#';

/// Accounts are told apart by a number, the same in every run.
const MARKS: FixedState = FixedState::with_seed(13);

/// By the mark of a credential, the mark of its account.
#[derive(Debug, Default)]
pub(super) struct Owners {
    known: RwLock<BTreeMap<u32, u32>>,
    any: AtomicBool,
}

impl Owners {
    /// The account of a credential: where no answer has named it, the credential stands for it.
    pub(super) fn of(&self, credential: u32) -> u32 {
        if !self.any.load(Ordering::Relaxed) {
            return credential;
        }
        let known = self.known.read();
        known.get(&credential).copied().unwrap_or(credential)
    }

    /// Hears what an answer names as the account.
    pub(super) fn learn(&self, credential: u32, account: u32) {
        if credential == 0 || self.of(credential) == account {
            return;
        }
        let mut known = self.known.write();
        if known.len() >= CREDENTIALS_MAX {
            known.clear();
        }
        known.insert(credential, account);
        self.any.store(true, Ordering::Relaxed);
    }

    pub(super) fn export(&self) -> Vec<(u32, u32)> {
        let known = self.known.read();
        known.iter().map(|(one, other)| (*one, *other)).collect()
    }

    pub(super) fn restored(saved: &[(u32, u32)]) -> Self {
        let known: BTreeMap<u32, u32> = saved.iter().take(CREDENTIALS_MAX).copied().collect();
        Self {
            any: AtomicBool::new(!known.is_empty()),
            known: RwLock::new(known),
        }
    }
}

/// The mark of the account that a header of an answer names, if it is one that does.
pub(super) fn mark_of((name, value): (&str, &[u8])) -> Option<u32> {
    let names = ACCOUNT_HEADERS
        .iter()
        .any(|it| it.eq_ignore_ascii_case(name));
    let [a, b, c, d, ..] = MARKS.hash_one(value).to_le_bytes();
    names.then(|| u32::from_le_bytes([a, b, c, d]))
}

/// A name for an account of a user's.
pub(super) fn named(user: &str, mark: u32) -> String {
    match mark {
        0 => user.to_owned(),
        _ => format!("{user}{SEPARATOR}{mark:08x}"),
    }
}

/// Whose account it is, of such a name.
pub(super) fn user(mut name: String) -> String {
    let marked = name
        .rsplit_once(SEPARATOR)
        .filter(|(_, mark)| mark.len() == 8 && mark.bytes().all(|it| it.is_ascii_hexdigit()));
    if let Some((user, _)) = marked {
        name.truncate(user.len());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_is_of_the_account_that_its_answers_name() {
        let owners = Owners::default();
        assert_eq!((owners.of(7), owners.of(0)), (7, 0));
        for (credential, account) in [(7, 1), (8, 1), (0, 1), (7, 2)] {
            owners.learn(credential, account);
        }
        let again = Owners::restored(&owners.export());
        for it in [owners, again] {
            assert_eq!(
                [0, 7, 8, 9].map(|credential| it.of(credential)),
                [0, 2, 1, 9]
            );
        }
    }

    #[test]
    fn names_say_whose_they_are() {
        for who in ["acme/ann", "acme/#1", "acme/a#b c"] {
            for mark in [0, 1, u32::MAX] {
                assert_eq!(user(named(who, mark)), who);
            }
        }
    }

    #[test]
    fn only_headers_that_name_an_account_do() {
        let mark = |name| mark_of((name, b"5c3a"));
        assert!(mark("anthropic-organization-id").is_some());
        assert_eq!(mark("openai-organization"), mark("OpenAI-Organization"));
        assert_eq!(mark("request-id"), None);
    }
}
