//! Variables that set keys: `TIDEGATE__LOG__LEVEL` is `log.level`.

use super::{
    schema::{Key, Section as _, Shape},
    sections::Root,
};

/// What every variable that sets a key begins with.
pub(crate) const VARIABLE_PREFIX: &str = "TIDEGATE__";

/// Shorter names of two settings: the variable and the key it sets.
pub(super) const ALIASES: [(&str, &str); 2] =
    [("TIDEGATE_LISTEN", "listen"), ("TIDEGATE_DATA", "data")];

/// What a part of a variable's name is.
#[derive(Clone, Copy)]
enum Part<'a> {
    /// One of these keys.
    Key(&'a [Key]),
    /// A name that somebody chose, of a table with these keys.
    Name(&'a [Key]),
    /// A name that somebody chose, of a value.
    Chosen,
    /// Nobody knows.
    Unknown,
}

impl Part<'_> {
    /// What comes after it where it is `text`.
    fn then(self, text: &str) -> Self {
        match self {
            Self::Key(keys) => match find(keys, text).map(|it| &it.shape) {
                Some(Shape::Section(keys, _)) => Self::Key(keys),
                Some(Shape::Named(keys, _)) => Self::Name(keys),
                Some(Shape::Value { .. }) => Self::Chosen,
                Some(Shape::List(..)) | None => Self::Unknown,
            },
            Self::Name(keys) => Self::Key(keys),
            Self::Chosen => Self::Chosen,
            Self::Unknown => Self::Unknown,
        }
    }
}

fn find<'a>(keys: &'a [Key], text: &str) -> Option<&'a Key> {
    keys.iter().find(|it| it.name.eq_ignore_ascii_case(text))
}

/// The parts of a variable's name as they are looked for: keys in lower case, and as they were typed the
/// names that somebody chose, since `Ann` may be another user than `ann`.
pub(super) fn spelled(parts: &[&str], keys: &[Key]) -> Vec<String> {
    let mut part = Part::Key(keys);
    let mut all = Vec::with_capacity(parts.len());
    for text in parts {
        all.push(match part {
            Part::Name(_) | Part::Chosen => (*text).to_owned(),
            Part::Key(_) | Part::Unknown => text.to_ascii_lowercase(),
        });
        part = part.then(text);
    }
    all
}

/// Whether a variable sets a key by its name, or was meant to; not one of the shorter names.
pub(super) fn is_of_key(name: &str) -> bool {
    name.starts_with(VARIABLE_PREFIX) || meant(name, &Root::keys()).is_some()
}

/// What all variables of this program begin with.
const OWN_PREFIX: &str = "TIDEGATE_";

/// Keys that nobody means to set: a variable of that name belongs to whoever installs a version.
const NEVER_MEANT: [&str; 1] = ["VERSION"];

/// The variable that was meant by one that is none of ours and has one underscore where two belong;
/// `None` for one that may well be somebody else's.
pub(super) fn meant(name: &str, keys: &[Key]) -> Option<String> {
    let rest = name.strip_prefix(OWN_PREFIX)?;
    let is_ours = rest.starts_with('_') || ALIASES.iter().any(|it| it.0 == name);
    if is_ours || NEVER_MEANT.contains(&rest) {
        return None;
    }
    let words: Vec<&str> = rest.split('_').filter(|it| !it.is_empty()).collect();
    let whole = completed(&words, Part::Key(keys));
    let first = rest.split("__").next().unwrap_or_default();
    // Wrong further on; that is told where it is read by its right name.
    let begun = || find(keys, first).map(|_| rest.to_owned());
    Some(format!("{VARIABLE_PREFIX}{}", whole.or_else(begun)?))
}

/// The name of the variable that has these words one after the other, each part of which may have several;
/// `None` where there is no such key.
fn completed(words: &[&str], part: Part<'_>) -> Option<String> {
    let lengths = 1..=words.len();
    lengths.into_iter().find_map(|length| {
        let (own, rest) = words.split_at_checked(length)?;
        let own = own.join("_");
        if let Part::Key(keys) = part {
            find(keys, &own)?;
        }
        match (part, part.then(&own), rest) {
            (Part::Key(_), Part::Chosen | Part::Unknown, []) => Some(own),
            (Part::Key(_), Part::Key(_) | Part::Name(_), []) => Some(format!("{own}__…")),
            (_, _, []) | (_, Part::Chosen | Part::Unknown, _) => None,
            (_, next, rest) => Some(format!("{own}__{}", completed(rest, next)?)),
        }
    })
}
