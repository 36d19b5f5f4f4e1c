//! Words of texts, and the hashes under which filters know them.

use memchr::memchr2;

/// Which of a group's two filters knows a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Section {
    /// Whole values of columns: many lookups by id must not lead astray.
    Ids,
    /// Words of texts: ten times as many.
    Words,
}

/// What a filter is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The filter to ask.
    pub section: Section,
    /// The hash to ask for.
    pub hash: u64,
}

/// The words of a text, in order: runs of ASCII letters, digits and underscores, and of all
/// characters beyond ASCII. Their case is kept here and ignored wherever they are compared.
pub fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|it: char| it.is_ascii() && !it.is_ascii_alphanumeric() && it != '_')
        .filter(|it| !it.is_empty())
}

/// The key of a word of a text.
pub fn word_key(word: &str) -> Key {
    Key {
        section: Section::Words,
        hash: finish(word.bytes().fold(OFFSET, mix)),
    }
}

/// The key of a column's whole value.
pub fn exact_key(column: &str, value: &str) -> Key {
    // The name's end is marked, so that no other name and value give the same bytes.
    let bytes = column.bytes().chain([0xff]).chain(value.bytes());
    Key {
        section: Section::Ids,
        hash: finish(bytes.fold(OFFSET, mix)),
    }
}

/// Calls `each` with the hash of every word of `text`, as [`word_key`] gives it: words are hashed
/// while they are found, since this is most of what a record costs.
pub(super) fn hash_words(text: &str, mut each: impl FnMut(u64)) {
    let mut hash = OFFSET;
    let mut inside = false;
    for byte in text.bytes() {
        if WORD[usize::from(byte)] {
            hash = mix(hash, byte);
            inside = true;
        } else if inside {
            each(finish(hash));
            (hash, inside) = (OFFSET, false);
        }
    }
    if inside {
        each(finish(hash));
    }
}

/// Whether `words` stand in `text` one after another. Without words it is never so.
pub(super) fn contains(text: &str, words: &[String]) -> bool {
    let Some((first, rest)) = words.split_first() else {
        return false;
    };
    let bytes = text.as_bytes();
    let lead = first.as_bytes().first().copied().unwrap_or_default();
    let mut from = 0;
    while let Some(found) = bytes
        .get(from..)
        .and_then(|it| memchr2(lead.to_ascii_lowercase(), lead.to_ascii_uppercase(), it))
    {
        let start = from + found;
        from = start + 1;
        let begins = start == 0 || !WORD[usize::from(bytes[start - 1])];
        if begins && follow(&text[start..], first, rest) {
            return true;
        }
    }
    false
}

/// Whether `text` begins with `first` and `rest` as whole words.
fn follow(text: &str, first: &str, rest: &[String]) -> bool {
    let mut found = tokens(text);
    let same =
        |found: Option<&str>, word: &str| found.is_some_and(|it| it.eq_ignore_ascii_case(word));
    same(found.next(), first) && rest.iter().all(|word| same(found.next(), word))
}

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a, of the lower case. Filters are stored: this must not change.
#[inline]
fn mix(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spreads the bits: FNV leaves the upper ones of short words alike.
#[inline]
fn finish(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// Which bytes belong to words.
const WORD: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        #[expect(clippy::cast_possible_truncation, reason = "below 256")]
        let it = byte as u8;
        table[byte] = it.is_ascii_alphanumeric() || it == b'_' || it >= 0x80;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests;
