//! An entry as it is kept.

use serde_json::Error;

use crate::Entry;

/// An entry and its JSON: written once, for the journal, for the row and for the chain over rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    entry: Entry,
    text: Box<str>,
}

/// Longer than nearly all entries: writing them is to need no room twice.
const TEXT_BYTES: usize = 1 << 10;

impl Line {
    /// Writes an entry down.
    #[must_use]
    pub fn new(entry: Entry) -> Self {
        let mut text = Vec::with_capacity(TEXT_BYTES);
        let written = serde_json::to_writer(&mut text, &entry);
        let text = std::str::from_utf8(&text);
        let (Ok(()), Ok(text)) = (written, text) else {
            unreachable!("entries are plain structures with text keys, which JSON can say")
        };
        let text = text.into();
        Self { entry, text }
    }

    /// Reads one that was written down.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let entry = serde_json::from_str(text)?;
        let text = text.into();
        Ok(Self { entry, text })
    }

    /// The entry.
    pub const fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its JSON.
    pub const fn text(&self) -> &str {
        &self.text
    }
}
