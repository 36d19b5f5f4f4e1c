//! Names of attributes, which come again with every record: what each means and how it is written is
//! found out once in a request.

use std::{
    borrow::Cow,
    ops::{Index, IndexMut},
};

use tidegate_observe::redact::is_secret_name;

use crate::{
    Rules,
    convention::{Meaning, WORDS, meaning},
    limits::KEY_BYTES_MAX,
    text::Json,
};

/// A name, and the value that it had last.
#[derive(Debug)]
pub(crate) struct Name<'a> {
    /// As it was sent.
    key: &'a [u8],
    claude_code: bool,
    pub(crate) meaning: Option<Meaning>,
    /// In JSON with its colon, without secrets.
    pub(crate) written: Json,
    pub(crate) is_cut: bool,
    /// Whether its values are secrets whatever they look like.
    pub(crate) is_secret: bool,
    /// Its last value as it was sent, and the member of an object that both became.
    last: &'a [u8],
    member: String,
}

/// The longest value that is remembered with its name: names of models and machines, addresses,
/// words. What is longer is seldom said twice.
const LAST_BYTES_MAX: usize = 64;

impl<'a> Name<'a> {
    fn new(key: &'a [u8], claude_code: bool, rules: &Rules) -> Self {
        let text = String::from_utf8_lossy(key);
        let mut written = Json::default();
        let is_cut = write_name(&text, rules, &mut written);
        Self {
            key,
            claude_code,
            meaning: meaning(&text, claude_code),
            written,
            is_cut,
            is_secret: holds_secrets(&text),
            last: &[],
            member: String::new(),
        }
    }

    /// Whether it is the latest of the words that mean the same.
    pub(crate) fn is_word(&self, word: usize) -> bool {
        self.key == WORDS[word].as_bytes()
    }

    /// The member that it became with this value the last time.
    pub(crate) fn again(&self, value: &[u8]) -> Option<&str> {
        (self.last == value && !self.member.is_empty()).then_some(&self.member)
    }

    /// Remembers the member that it became with a value.
    pub(crate) fn remember(&mut self, value: &'a [u8], member: &str) {
        if value.len() <= LAST_BYTES_MAX && !member.is_empty() {
            self.last = value;
            self.member.clear();
            self.member.push_str(member);
        }
    }
}

/// The names of a request.
#[derive(Debug)]
pub(crate) struct Names<'a> {
    names: Vec<Name<'a>>,
    /// Where among them the name is that came last for each hash.
    places: [Option<u8>; PLACES],
}

/// Places for names: twice as many as a record of a busy library has.
const PLACES: usize = 128;

impl<'a> Names<'a> {
    pub(crate) const fn new() -> Self {
        Self {
            names: Vec::new(),
            places: [None; PLACES],
        }
    }

    /// The place of a name as it was sent, by a scope of Claude Code or not. It is good until
    /// another name is asked for.
    pub(crate) fn place(&mut self, key: &'a [u8], claude_code: bool, rules: &Rules) -> usize {
        let new = || Name::new(key, claude_code, rules);
        let place = &mut self.places[hash(key)];
        if let Some(place) = place.map(usize::from) {
            let name = &mut self.names[place];
            if name.key != key || name.claude_code != claude_code {
                *name = new();
            }
            return place;
        }
        *place = u8::try_from(self.names.len()).ok();
        self.names.push(new());
        self.names.len() - 1
    }
}

impl<'a> Index<usize> for Names<'a> {
    type Output = Name<'a>;

    fn index(&self, place: usize) -> &Name<'a> {
        &self.names[place]
    }
}

impl IndexMut<usize> for Names<'_> {
    fn index_mut(&mut self, place: usize) -> &mut Self::Output {
        &mut self.names[place]
    }
}

/// Names of one convention begin alike: what tells them apart is their end and length.
fn hash(key: &[u8]) -> usize {
    let end = key.iter().rev().step_by(3).take(5);
    let sum = end.fold(key.len(), |sum, it| {
        sum.wrapping_mul(37).wrapping_add(usize::from(*it))
    });
    sum % PLACES
}

/// Writes a name with its colon, without secrets, and says whether it was cut.
pub(crate) fn write_name(name: &str, rules: &Rules, to: &mut Json) -> bool {
    let clean: Cow<'_, str> = rules.redactor.redact(name);
    let is_cut = to.text(&clean, KEY_BYTES_MAX);
    to.raw(":");
    is_cut
}

/// Whether values of this name are secrets, as `auth.token` is.
pub(crate) fn holds_secrets(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    is_secret_name(last) || (last.len() < name.len() && is_secret_name(name))
}
