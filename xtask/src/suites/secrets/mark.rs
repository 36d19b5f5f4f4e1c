//! Secrets that can be told apart wherever they come out again.

use std::collections::BTreeSet;

/// What every secret of the suite holds. Nothing else that the program writes does.
const MARK: &str = "Zq9xk";

/// A secret without a form, as prompts and names of people are; `of` says where it is put.
pub(super) fn text(of: &str) -> String {
    format!("{MARK}{of}")
}

/// A secret in the form of Anthropic's API keys.
pub(super) fn key(of: &str) -> String {
    format!("sk-ant-api03-{MARK}{of}")
}

/// A secret in the form of the token of a claude.ai login.
pub(super) fn login(of: &str) -> String {
    format!("sk-ant-oat01-{MARK}{of}")
}

/// A secret in the form of OpenAI's API keys.
pub(super) fn project_key(of: &str) -> String {
    format!("sk-proj-{MARK}{of}")
}

/// A secret in the form of our own keys, which is none.
pub(super) fn own_key(of: &str) -> String {
    format!("tg-{MARK}{of}-that-nobody-has")
}

/// A secret in a form that the suite's configuration names.
pub(super) fn operators_form(of: &str) -> String {
    format!("ticket-{MARK}{of}")
}

/// The regular expression for [`operators_form`].
pub(super) const OPERATORS_PATTERN: &str = "ticket-[A-Za-z0-9]+";

/// What was found of secrets in `bytes`, also in another case, each once.
pub(super) fn found(bytes: &[u8]) -> BTreeSet<String> {
    let is_mark = |it: &[u8]| it.eq_ignore_ascii_case(MARK.as_bytes());
    let places = bytes.windows(MARK.len()).enumerate();
    let places = places.filter(|(_, it)| is_mark(it)).map(|(at, _)| at);
    let word = |at: usize| {
        let rest = bytes.get(at..).unwrap_or_default().iter();
        let word = rest.take_while(|it| it.is_ascii_alphanumeric()).copied();
        String::from_utf8_lossy(&word.collect::<Vec<u8>>()).into_owned()
    };
    places.map(word).collect()
}

/// Whether `bytes` hold `text`.
pub(super) fn holds(bytes: &[u8], text: &str) -> bool {
    let mut places = bytes.windows(text.len());
    places.any(|it| it == text.as_bytes())
}

#[cfg(test)]
mod tests;
