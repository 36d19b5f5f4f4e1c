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
        hash: hash(SEED, word.as_bytes()),
    }
}

/// The key of a column's whole value.
pub fn exact_key(column: &str, value: &str) -> Key {
    ExactKeys::of(column).key(value)
}

/// The keys of a column's whole values.
#[derive(Clone, Copy, Debug)]
pub(super) struct ExactKeys {
    /// The hash of the column's name: the same value is another key elsewhere.
    seed: u64,
}

impl ExactKeys {
    pub(super) fn of(column: &str) -> Self {
        let seed = hash(SEED, column.as_bytes());
        Self { seed }
    }

    pub(super) fn key(self, value: &str) -> Key {
        Key {
            section: Section::Ids,
            hash: hash(self.seed, value.as_bytes()),
        }
    }

    /// The key of a trace in its written form, 32 hexadecimal digits.
    pub(super) fn of_trace(self, trace: u128) -> Key {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut written = [0; 32];
        let (pairs, _) = written.as_chunks_mut::<2>();
        for (pair, byte) in pairs.iter_mut().zip(trace.to_be_bytes()) {
            *pair = [byte >> 4, byte & 15].map(|it| DIGITS[usize::from(it)]);
        }
        Key {
            section: Section::Ids,
            hash: hash(self.seed, &written),
        }
    }
}

/// Calls `each` with the hash of every word of `text`, as [`word_key`] gives it.
pub(super) fn hash_words(text: &str, mut each: impl FnMut(u64)) {
    let is_word = |it: &u8| WORD[usize::from(*it)];
    let mut rest = text.as_bytes();
    while let Some(start) = rest.iter().position(is_word) {
        rest = &rest[start..];
        let end = rest.iter().position(|it| !is_word(it));
        let (word, more) = rest.split_at(end.unwrap_or(rest.len()));
        each(hash(SEED, word));
        rest = more;
    }
}

/// Where the words begin that `text` does not share with `before` from their beginning on: what is
/// said again and again begins alike.
pub(super) fn first_new(text: &str, before: &str) -> usize {
    let (text, before) = (text.as_bytes(), before.as_bytes());
    let (ours, theirs) = (text.as_chunks::<16>().0, before.as_chunks::<16>().0);
    let same = ours.iter().zip(theirs).take_while(|(a, b)| a == b);
    let mut end = same.count() * 16;
    // The last word may go on otherwise.
    while let Some(last) = end.checked_sub(1).filter(|it| WORD[usize::from(text[*it])]) {
        end = last;
    }
    end
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

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// The hash of bytes, without regard to the case of ASCII letters; eight at a time, since this is
/// most of what a record costs. Filters are stored: this must not change.
#[inline]
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let length = (bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let (chunks, rest) = bytes.as_chunks::<8>();
    let mut hash = seed ^ length;
    for chunk in chunks {
        hash = fold(hash ^ lower(u64::from_le_bytes(*chunk)));
    }
    if let Some(rest) = short(rest) {
        hash = fold(hash ^ lower(rest));
    }
    fold(hash)
}

/// Fewer than eight bytes as a number; `None` of none. Those that are taken twice tell nothing new,
/// and beside the length nothing wrong.
#[inline]
fn short(bytes: &[u8]) -> Option<u64> {
    let four = |it: &[u8; 4]| u64::from(u32::from_le_bytes(*it));
    match (bytes, bytes.first_chunk(), bytes.last_chunk()) {
        (_, Some(first), Some(last)) => Some(four(first) | four(last) << 32),
        ([first, .., last], ..) => {
            let middle = bytes[bytes.len() / 2];
            Some(u64::from(*first) | u64::from(middle) << 8 | u64::from(*last) << 16)
        }
        ([only], ..) => Some(u64::from(*only)),
        ([], ..) => None,
    }
}

/// Spreads the bits of a number over all of it.
#[inline]
fn fold(it: u64) -> u64 {
    let whole = u128::from(it ^ 0x94d0_49bb_1331_11eb) * 0xff51_afd7_ed55_8ccd;
    #[expect(clippy::cast_possible_truncation, reason = "both halves are taken")]
    let halves = (whole as u64, (whole >> 64) as u64);
    halves.0 ^ halves.1
}

/// Eight bytes with ASCII letters in lower case.
#[inline]
const fn lower(it: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low = it & (EACH * 0x7f);
    let from_a = low + EACH * (0x80 - b'A' as u64);
    let beyond_z = low + EACH * (0x7f - b'Z' as u64);
    let is_upper = (from_a ^ beyond_z) & !it & (EACH * 0x80);
    it | is_upper >> 2
}

/// Which bytes belong to words.
static WORD: [bool; 256] = {
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
