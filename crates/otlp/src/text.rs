//! JSON as it is kept in a record's column: written piece by piece into one text, never longer than
//! it may be.

use std::fmt::Write as _;

/// A JSON text that is being written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Json(String);

impl Json {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes back what was written after it was so long.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.0.truncate(length);
    }

    /// Adds what is JSON already, or a part of it.
    pub(crate) fn raw(&mut self, json: &str) {
        self.0.push_str(json);
    }

    /// Adds the comma before another member or element, unless it is the first one.
    pub(crate) fn comma(&mut self) {
        if !matches!(self.0.as_bytes().last(), None | Some(b'{' | b'[')) {
            self.0.push(',');
        }
    }

    /// Adds a member's name.
    pub(crate) fn name(&mut self, name: &str) {
        self.comma();
        self.text(name, usize::MAX);
        self.0.push(':');
    }

    /// Adds a whole number.
    pub(crate) fn integer(&mut self, number: i64) {
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    /// Adds a whole number that is not negative.
    pub(crate) fn unsigned(&mut self, number: u64) {
        self.0.push_str(itoa::Buffer::new().format(number));
    }

    /// Adds a number; one that JSON does not have, as a text.
    pub(crate) fn double(&mut self, number: f64) {
        // Writing to a String cannot fail.
        let _infallible = if number.is_finite() {
            write!(self.0, "{number:?}")
        } else {
            write!(self.0, "\"{number}\"")
        };
    }

    /// Adds yes or no.
    pub(crate) fn flag(&mut self, it: bool) {
        self.0.push_str(if it { "true" } else { "false" });
    }

    /// Adds a text of which at most so many bytes are written, and says whether it was cut.
    pub(crate) fn text(&mut self, text: &str, most: usize) -> bool {
        self.0.push('"');
        if text.len() <= most && !text.bytes().any(|it| ESCAPED[usize::from(it)]) {
            self.0.push_str(text);
            self.0.push('"');
            return false;
        }
        let end = most.saturating_add(self.0.len());
        let mut kept = 0;
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            if !ESCAPED[usize::from(*byte)] {
                continue;
            }
            if self.0.len() + (at - kept) + 6 > end {
                break;
            }
            self.0.push_str(text.get(kept..at).unwrap_or_default());
            kept = at + 1;
            let _infallible = match byte {
                b'"' => self.0.write_str("\\\""),
                b'\\' => self.0.write_str("\\\\"),
                b'\n' => self.0.write_str("\\n"),
                b'\r' => self.0.write_str("\\r"),
                b'\t' => self.0.write_str("\\t"),
                other => write!(self.0, "\\u{other:04x}"),
            };
        }
        // What is left has bytes to escape only where there was no room for one.
        let rest = text.get(kept..).unwrap_or_default();
        let plain = rest
            .bytes()
            .position(|it| ESCAPED[usize::from(it)])
            .unwrap_or(rest.len());
        let room = end.saturating_sub(self.0.len());
        let fits = plain.min(rest.floor_char_boundary(room.min(rest.len())));
        self.0.push_str(rest.get(..fits).unwrap_or_default());
        let cut = fits < rest.len();
        if cut {
            self.0.push('…');
        }
        self.0.push('"');
        cut
    }

    /// Adds bytes in hexadecimal digits.
    pub(crate) fn hex(&mut self, bytes: &[u8]) {
        self.0.push('"');
        for byte in bytes {
            let _infallible = write!(self.0, "{byte:02x}");
        }
        self.0.push('"');
    }
}

/// Bytes that can't stand in a JSON text as they are.
static ESCAPED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        table[byte] = true;
        byte += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table
};

#[cfg(test)]
mod tests;
