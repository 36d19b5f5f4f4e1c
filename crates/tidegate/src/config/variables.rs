//! Variables that set keys: `TIDEGATE__LOG__LEVEL` is `log.level`.

use super::schema::{Key, Shape};

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

impl<'a> Part<'a> {
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
