//! Removes secrets from texts before they are kept or shown.
//!
//! One pass over the bytes: a secret begins at a byte that is no word character's successor, with
//! one of a few letters; everywhere else nothing is compared.

mod forms;

use std::{borrow::Cow, ops::Range};

use regex_lite::Regex;

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// Patterns an operator may configure. Each is tried on every text, so a few dozen are plenty.
pub const PATTERNS_MAX: usize = 64;

/// A configured pattern that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PatternError {
    /// Not a regular expression.
    #[error(
        "`{pattern}` is not a regular expression: {reason}; write it in RE2's syntax, without look-around"
    )]
    Syntax {
        /// What was written.
        pattern: String,
        /// The parser's words.
        reason: String,
    },
    /// It would replace nothing, everywhere.
    #[error(
        "`{0}` matches the empty text: it would put a mark between all characters; make it match at least one"
    )]
    MatchesNothing(String),
    /// More than [`PATTERNS_MAX`].
    #[error("{0} patterns are more than {PATTERNS_MAX}: join some with `|`")]
    TooMany(usize),
}

impl PatternError {
    /// The operator must change the pattern.
    pub const fn disposition(&self) -> tidegate_types::Disposition {
        tidegate_types::Disposition::FixRequest
    }
}

/// Knows the built-in forms of secrets and the configured ones.
#[derive(Clone, Debug, Default)]
pub struct Redactor {
    patterns: Vec<Regex>,
}

impl Redactor {
    /// The built-in forms and `patterns`, regular expressions that are searched for anywhere.
    pub fn try_new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, PatternError> {
        if patterns.len() > PATTERNS_MAX {
            return Err(PatternError::TooMany(patterns.len()));
        }
        let compile = |pattern: &S| {
            let pattern = pattern.as_ref();
            let regex = Regex::new(pattern).map_err(|error| PatternError::Syntax {
                pattern: pattern.to_owned(),
                reason: error.to_string(),
            })?;
            if regex.is_match("") {
                return Err(PatternError::MatchesNothing(pattern.to_owned()));
            }
            Ok(regex)
        };
        let patterns = patterns.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { patterns })
    }

    /// `text` with every secret replaced by [`REDACTED`]; borrowed where there was none.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut clean = redact(text);
        for pattern in &self.patterns {
            if let Cow::Owned(replaced) = pattern.replace_all(&clean, REDACTED) {
                clean = Cow::Owned(replaced);
            }
        }
        clean
    }
}

/// `text` with every secret of a built-in form replaced by [`REDACTED`]; borrowed where there was
/// none. The forms: keys of providers and of Tidegate by their prefixes (`sk-`, `tg-`, `AKIA`,
/// `ghp_`, `AIza`, …), `Bearer` and `Basic` credentials, JSON web tokens, private keys in PEM,
/// passwords in URLs, and values named `api_key`, `password`, `secret`, `token` and the like.
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut kept = 0;
    let mut at = 0;
    while let Some(Range { start, end }) = forms::next_secret(text.as_bytes(), at) {
        // A secret ends beside an ASCII byte on both sides: those are boundaries of characters.
        out.push_str(text.get(kept..start).unwrap_or_default());
        out.push_str(REDACTED);
        kept = end;
        at = end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(kept..).unwrap_or_default());
    Cow::Owned(out)
}

/// Whether a value of this name is a secret whatever it looks like: `api_key`, `password`, ….
pub fn is_secret_name(name: &str) -> bool {
    forms::is_secret_name(name)
}

#[cfg(test)]
mod tests;
