//! A cursor over JSON text that builds nothing: it finds what is asked for and skips the rest.
//!
//! Structure is checked on the way down; what is skipped is only matched for brackets and strings,
//! so malformed text inside a skipped value is not noticed here. Valid JSON is never misread.
//! Nothing recurses.

mod masks;

use std::{borrow::Cow, ops::Range};

use masks::{BLOCK, Escapes, Masks};

/// The text is not JSON, at this byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) at: usize,
    pub(crate) expected: &'static str,
}

/// The inner bytes of a string, without the quotes and with its escapes as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Text<'a> {
    pub(crate) raw: &'a [u8],
    /// Where `raw` begins in the text.
    pub(crate) start: usize,
    pub(crate) escaped: bool,
}

impl<'a> Text<'a> {
    /// The bytes it stands for. Borrowed unless something is escaped.
    pub(crate) fn decoded(&self) -> Result<Cow<'a, [u8]>, Malformed> {
        if self.escaped {
            self.unescape().map(|it| Cow::Owned(it.into_bytes()))
        } else {
            Ok(Cow::Borrowed(self.raw))
        }
    }

    /// The string it stands for.
    pub(crate) fn to_text(self) -> Result<String, Malformed> {
        if self.escaped {
            return self.unescape();
        }
        if self.raw.iter().any(|it| *it < b' ') {
            return Err(self.malformed("no control character in the string"));
        }
        let owned = String::from_utf8(self.raw.to_vec());
        owned.map_err(|_| self.malformed("valid UTF-8 in the string"))
    }

    /// Bytes of the decoded string. A lone surrogate counts as the three bytes of its replacement.
    pub(crate) fn decoded_len(&self) -> usize {
        if !self.escaped {
            return self.raw.len();
        }
        let (mut length, mut rest) = (0, self.raw);
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let escape = rest.get(at..).unwrap_or_default();
            let (taken, stands_for) = escape_len(escape);
            length += at + stands_for;
            rest = escape.get(taken..).unwrap_or_default();
        }
        length + rest.len()
    }

    pub(crate) fn span(&self) -> Range<usize> {
        self.start..self.start + self.raw.len()
    }

    fn unescape(&self) -> Result<String, Malformed> {
        let quoted = [b"\"", self.raw, b"\""].concat();
        serde_json::from_slice(&quoted).map_err(|_| self.malformed("a well-formed string"))
    }

    const fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed {
            at: self.start,
            expected,
        }
    }
}

/// Bytes an escape takes in the text, and bytes of UTF-8 it stands for.
fn escape_len(escape: &[u8]) -> (usize, usize) {
    if escape.get(1) != Some(&b'u') {
        return (2, 1);
    }
    let digits = escape.get(2..6).and_then(|it| std::str::from_utf8(it).ok());
    match digits.and_then(|it| u32::from_str_radix(it, 16).ok()) {
        Some(0..0x80) => (6, 1),
        Some(0x80..0x800) => (6, 2),
        // The second half follows in an escape of its own and adds nothing.
        Some(0xD800..0xDC00) if escape.get(6..8) == Some(b"\\u") => (12, 4),
        _ => (6, 3),
    }
}

/// A position in JSON text.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The first byte of the next token; `None` at the end of the text.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    /// Where the next token begins, once [`Cursor::peek`] has found it.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Enters an object or array, whose opening bracket must be next.
    #[inline]
    pub(crate) fn open(&mut self, bracket: u8, expected: &'static str) -> Result<(), Malformed> {
        self.expect(bracket, expected)
    }

    /// The next key of the object that was entered, with the cursor on its value; `None` past the
    /// closing bracket. `first` starts as true and is kept by the caller, one per object.
    #[expect(
        clippy::inline_always,
        reason = "called for every token: returned through memory, its result costs more than its work"
    )]
    #[inline(always)]
    pub(crate) fn next_key(
        &mut self,
        first: &mut bool,
    ) -> Result<Option<Cow<'a, [u8]>>, Malformed> {
        if !self.next_item(b'}', first)? {
            return Ok(None);
        }
        let key = self.text()?;
        self.expect(b':', "`:` after a key")?;
        key.decoded().map(Some)
    }

    /// Whether the array that was entered has another element, with the cursor on it.
    #[inline]
    pub(crate) fn next_element(&mut self, first: &mut bool) -> Result<bool, Malformed> {
        self.next_item(b']', first)
    }

    #[inline]
    fn next_item(&mut self, closing: u8, first: &mut bool) -> Result<bool, Malformed> {
        let next = self.peek();
        if *first {
            *first = false;
            if next == Some(closing) {
                self.at += 1;
                return Ok(false);
            }
            return Ok(true);
        }
        match next {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(byte) if byte == closing => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.malformed("`,` or the closing bracket")),
        }
    }

    /// The string that is next.
    #[expect(
        clippy::inline_always,
        reason = "called for every token: returned through memory, its result costs more than its work"
    )]
    #[inline(always)]
    pub(crate) fn text(&mut self) -> Result<Text<'a>, Malformed> {
        self.expect(b'"', "a string")?;
        let start = self.at;
        let (end, escaped) = self.string_end(start)?;
        self.at = end + 1;
        let raw = self.bytes.get(start..end).unwrap_or_default();
        Ok(Text {
            raw,
            start,
            escaped,
        })
    }

    /// The number, `true`, `false` or `null` that is next, as written.
    pub(crate) fn literal(&mut self) -> Result<&'a [u8], Malformed> {
        let first = self.peek();
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let ends = |it: &u8| matches!(it, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let literal = rest
            .iter()
            .position(ends)
            .map_or(rest, |end| rest.get(..end).unwrap_or_default());
        let in_number = |it: &u8| matches!(it, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
        let known = match first {
            Some(b'0'..=b'9' | b'-') => literal.iter().all(in_number),
            _ => matches!(literal, b"true" | b"false" | b"null"),
        };
        if !known {
            return Err(self.malformed("a value"));
        }
        self.at += literal.len();
        Ok(literal)
    }

    /// Passes over the value that is next, and returns where it was.
    #[inline]
    pub(crate) fn skip(&mut self) -> Result<Range<usize>, Malformed> {
        let next = self.peek();
        let start = self.at;
        match next {
            Some(b'"') => {
                self.text()?;
            }
            Some(b'{' | b'[') => self.skip_container()?,
            _ => {
                self.literal()?;
            }
        }
        Ok(start..self.at)
    }

    /// The raw value that is next.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], Malformed> {
        let span = self.skip()?;
        Ok(self.bytes.get(span).unwrap_or_default())
    }

    /// Takes the `null` that is next, if it is one.
    pub(crate) fn null(&mut self) -> Option<Range<usize>> {
        self.peek();
        let start = self.at;
        let rest = self.bytes.get(start..)?;
        if !rest.starts_with(b"null") {
            return None;
        }
        self.at += 4;
        Some(start..self.at)
    }

    /// Checks that nothing but white space follows.
    pub(crate) fn end(&mut self) -> Result<(), Malformed> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.malformed("the end of the text")),
        }
    }

    pub(crate) const fn malformed(&self, expected: &'static str) -> Malformed {
        Malformed {
            at: self.at,
            expected,
        }
    }

    #[inline]
    fn expect(&mut self, byte: u8, expected: &'static str) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(self.malformed(expected));
        }
        self.at += 1;
        Ok(())
    }

    /// Where the quote is that closes the string whose first inner byte is at `from`, and whether
    /// there was a backslash before it.
    #[expect(
        clippy::inline_always,
        reason = "called for every token: returned through memory, its result costs more than its work"
    )]
    #[inline(always)]
    fn string_end(&self, from: usize) -> Result<(usize, bool), Malformed> {
        let rest = self.bytes.get(from..).unwrap_or_default();
        // Keys and short values, nearly all strings there are, end within the first 16 bytes.
        if let Some(near) = rest.first_chunk() {
            let (quotes, backslashes) = masks::quotes_and_backslashes_near(near);
            if backslashes == 0 && quotes != 0 {
                return Ok((from + quotes.trailing_zeros() as usize, false));
            }
        }
        let (length, escaped) = string_len(rest);
        if length == rest.len() {
            return Err(Malformed {
                at: self.bytes.len(),
                expected: "the closing quote of a string",
            });
        }
        Ok((from + length, escaped))
    }

    /// Passes over the object or array that is next.
    fn skip_container(&mut self) -> Result<(), Malformed> {
        let (mut masks, mut last) = (Masks::default(), [0; BLOCK]);
        let mut rest = self.bytes.get(self.at..).unwrap_or_default();
        let (mut at, mut depth) = (self.at, 0_u32);
        while !rest.is_empty() {
            let (block, after) = masks::split_block(rest, &mut last);
            let (mut opening, mut closing) = masks.brackets(block);
            if closing.count_ones() < depth {
                // It cannot close here: count, and look at no bracket by itself.
                depth = depth - closing.count_ones() + opening.count_ones();
                (opening, closing) = (0, 0);
            }
            while closing != 0 {
                let offset = closing.trailing_zeros();
                let before = opening & ((1 << offset) - 1);
                depth += before.count_ones();
                opening &= !before;
                depth -= 1;
                if depth == 0 {
                    self.at = at + offset as usize + 1;
                    return Ok(());
                }
                closing &= closing - 1;
            }
            depth += opening.count_ones();
            at += BLOCK;
            rest = after;
        }
        Err(Malformed {
            at: self.bytes.len(),
            expected: "the closing bracket",
        })
    }
}

/// Bytes before the quote that closes the string which `rest` continues, all of them if there is
/// none; and whether there is a backslash among them.
fn string_len(rest: &[u8]) -> (usize, bool) {
    let (whole, mut rest) = (rest.len(), rest);
    let mut last = [0; BLOCK];
    let (mut at, mut escapes, mut escaped) = (0, Escapes::default(), false);
    while !rest.is_empty() {
        let (block, after) = masks::split_block(rest, &mut last);
        let (quotes, backslashes) = masks::quotes_and_backslashes(block);
        let closing = quotes & !escapes.escaped(backslashes);
        if closing != 0 {
            let offset = closing.trailing_zeros();
            escaped |= backslashes & ((1 << offset) - 1) != 0;
            return (at + offset as usize, escaped);
        }
        escaped |= backslashes != 0;
        at += BLOCK;
        rest = after;
        if quotes | backslashes == 0 {
            // Plain text often goes on being plain: leap to where it ends.
            let plain = memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            at += plain;
            rest = rest.get(plain..).unwrap_or_default();
        }
    }
    (whole, escaped)
}

/// The raw values of the named members of an object; of a name that is there twice, the last.
pub(crate) fn fields<'a, const N: usize>(
    object: &'a [u8],
    names: [&str; N],
) -> Result<[Option<&'a [u8]>; N], Malformed> {
    let mut cursor = Cursor::new(object);
    cursor.open(b'{', "an object")?;
    let (mut first, mut found) = (true, [None; N]);
    while let Some(key) = cursor.next_key(&mut first)? {
        let value = cursor.value()?;
        let named = names.iter().position(|it| it.as_bytes() == &*key);
        if let Some(place) = named.and_then(|it| found.get_mut(it)) {
            *place = Some(value);
        }
    }
    cursor.end()?;
    Ok(found)
}

/// The raw elements of an array, up to where it is malformed; none of what is no array.
pub(crate) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut cursor = Cursor::new(array);
    let mut first = true;
    let mut open = cursor.open(b'[', "an array").is_ok();
    std::iter::from_fn(move || {
        open = open && cursor.next_element(&mut first) == Ok(true);
        let element = if open { cursor.value().ok() } else { None };
        open = element.is_some();
        element
    })
}

/// The raw value as a string, if it is one.
pub(crate) fn string(raw: &[u8]) -> Option<Text<'_>> {
    Cursor::new(raw).text().ok()
}

/// A whole number as JSON writes it, without sign, fraction or exponent.
pub(crate) fn whole_number(literal: &[u8]) -> Option<u64> {
    if literal.is_empty() || !literal.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |sum: u64, digit: &u8| sum.checked_mul(10)?.checked_add(u64::from(digit - b'0'));
    literal.iter().try_fold(0, add)
}

#[cfg(test)]
mod tests;
