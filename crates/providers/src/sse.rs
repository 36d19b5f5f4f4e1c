//! Server-sent events: where one ends in a stream that arrives in pieces, and what it says.

use std::borrow::Cow;

use memchr::memchr2;

/// Longest event that is held or read, in bytes. Events are at most some hundred kilobytes long
/// (an answer that repeats its request); what is longer passes and is not looked into.
pub(crate) const EVENT_BYTES_MAX: usize = 1 << 20;

/// Finds the blank lines that end events. Lines may end in LF, CRLF or CR, and pieces may be cut
/// anywhere, also between CR and LF.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Boundaries {
    line_is_empty: bool,
    after_cr: AfterCr,
}

/// What a CR ended that was the last byte of a piece: if the next piece begins with LF, that is
/// part of the same line end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterCr {
    No,
    Line,
    Event,
}

impl Boundaries {
    pub(crate) const fn new() -> Self {
        Self {
            line_is_empty: true,
            after_cr: AfterCr::No,
        }
    }

    /// How many bytes at the start of the next piece belong to the event that ended with the
    /// previous piece: 1 for an LF whose CR is there, else 0. Ask once per piece, before
    /// [`Boundaries::next`].
    pub(crate) fn tail(&mut self, piece: &[u8]) -> usize {
        let Some(first) = piece.first() else { return 0 };
        if self.after_cr != AfterCr::Event {
            return 0;
        }
        self.after_cr = AfterCr::No;
        usize::from(*first == b'\n')
    }

    /// Just behind the first event that ends in `bytes`. Otherwise remembers where it is, and
    /// wants to be given what comes next.
    pub(crate) fn next(&mut self, bytes: &[u8]) -> Option<usize> {
        self.next_with(bytes, |_line| {})
    }

    /// The same, calling `line` with each line that ends in `bytes` on the way. The first is only the
    /// rest of one where the piece before ended within it.
    pub(crate) fn next_with<'a>(
        &mut self,
        bytes: &'a [u8],
        mut line: impl FnMut(&'a [u8]),
    ) -> Option<usize> {
        let mut from = 0;
        if let Some(first) = bytes.first() {
            if self.after_cr == AfterCr::Line && *first == b'\n' {
                from = 1;
            }
            self.after_cr = AfterCr::No;
        }
        loop {
            let rest = bytes.get(from..).unwrap_or_default();
            let Some(offset) = memchr2(b'\n', b'\r', rest) else {
                self.line_is_empty &= rest.is_empty();
                return None;
            };
            let is_blank = self.line_is_empty && offset == 0;
            self.line_is_empty = true;
            let at = from + offset;
            line(rest.get(..offset).unwrap_or_default());
            from = at + 1;
            if bytes.get(at) == Some(&b'\r') {
                match bytes.get(from) {
                    Some(b'\n') => from += 1,
                    Some(_) => {}
                    None if is_blank => self.after_cr = AfterCr::Event,
                    None => self.after_cr = AfterCr::Line,
                }
            }
            if is_blank {
                return Some(from);
            }
        }
    }
}

/// What the lines of one event say.
#[derive(Debug, Default)]
pub(crate) struct Event<'a> {
    /// The `event` field; empty if there is none.
    pub(crate) name: &'a [u8],
    /// The `data` lines, joined by LF. Borrowed where there is only one.
    pub(crate) data: Cow<'a, [u8]>,
    has_data: bool,
}

impl<'a> Event<'a> {
    /// Reads the fields of a whole event, whose last line may lack its end.
    pub(crate) fn parse(bytes: &'a [u8]) -> Self {
        let mut event = Self::default();
        let mut rest = bytes;
        while let Some(end) = memchr2(b'\n', b'\r', rest) {
            let (line, after) = rest.split_at(end);
            event.add(line);
            rest = after.get(1..).unwrap_or_default();
        }
        event.add(rest);
        event
    }

    /// Reads a line of it. Comments and other fields are passed over.
    #[inline]
    pub(crate) fn add(&mut self, line: &'a [u8]) {
        if let Some(data) = value(line, b"data:") {
            if self.has_data {
                let joined = self.data.to_mut();
                joined.push(b'\n');
                joined.extend_from_slice(data);
            } else {
                self.data = Cow::Borrowed(data);
            }
            self.has_data = true;
        } else if let Some(name) = value(line, b"event:") {
            self.name = name;
        }
    }
}

fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(field)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests;
