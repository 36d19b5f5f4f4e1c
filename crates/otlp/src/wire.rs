//! Protocol Buffers on the wire: fields read where they lie, without copies, and written.
//!
//! <https://protobuf.dev/programming-guides/encoding/>. A dozen messages with fixed field numbers do
//! not need generated types, which would allocate each string before we look at it.

use std::borrow::Cow;

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a message of Protocol Buffers: {0}")]
pub struct Malformed(pub(crate) &'static str);

/// What is left of a message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

/// A field's value as it lies on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl<'a> Fields<'a> {
    /// The next field's number and value.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, Malformed> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
                self.0 = rest;
                Value::Fixed64(u64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
                let (bytes, rest) = self.0.split_at_checked(length).ok_or(SHORT)?;
                self.0 = rest;
                Value::Bytes(bytes)
            }
            5 => {
                let (bytes, rest) = self.0.split_first_chunk().ok_or(SHORT)?;
                self.0 = rest;
                Value::Fixed32(u32::from_le_bytes(*bytes))
            }
            _ => return Err(Malformed("a field has a wire type that OTLP does not use")),
        };
        match tag >> 3 {
            0 => Err(Malformed("a field has the number 0")),
            number => Ok(Some((number, value))),
        }
    }

    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        // Tags and most lengths have one byte.
        if let Some((first, rest)) = self.0.split_first()
            && *first < 0x80
        {
            self.0 = rest;
            return Ok(u64::from(*first));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut number = 0;
        for (at, byte) in self.0.iter().take(10).enumerate() {
            number |= u64::from(byte & 0x7f).wrapping_shl(u32::try_from(at * 7).unwrap_or(0));
            if *byte < 0x80 {
                self.0 = &self.0[at + 1..];
                return Ok(number);
            }
        }
        Err(if self.0.len() < 10 {
            SHORT
        } else {
            Malformed("a number is longer than 10 bytes")
        })
    }

    /// Numbers of eight bytes one after another.
    pub(crate) fn fixed64s(self) -> impl Iterator<Item = u64> + 'a {
        self.0
            .as_chunks::<8>()
            .0
            .iter()
            .map(|it| u64::from_le_bytes(*it))
    }
}

const SHORT: Malformed = Malformed("it ends in the middle of a field");

const WRONG: Malformed = Malformed("a field has another wire type than OTLP gives it");

impl<'a> Value<'a> {
    /// The bytes of a message, a text or an id.
    #[inline]
    pub(crate) fn bytes(self) -> Result<&'a [u8], Malformed> {
        match self {
            Self::Bytes(it) => Ok(it),
            _ => Err(WRONG),
        }
    }

    /// A message's fields.
    #[inline]
    pub(crate) fn message(self) -> Result<Fields<'a>, Malformed> {
        self.bytes().map(Fields)
    }

    /// A text; what is no UTF-8 in it is replaced.
    #[inline]
    pub(crate) fn text(self) -> Result<Cow<'a, str>, Malformed> {
        self.bytes().map(text)
    }

    /// A number, in whichever of the three forms.
    #[inline]
    pub(crate) fn number(self) -> Result<u64, Malformed> {
        match self {
            Self::Varint(it) | Self::Fixed64(it) => Ok(it),
            Self::Fixed32(it) => Ok(u64::from(it)),
            Self::Bytes(_) => Err(WRONG),
        }
    }

    /// A number with a fraction.
    #[inline]
    pub(crate) fn double(self) -> Result<f64, Malformed> {
        match self {
            Self::Fixed64(it) => Ok(f64::from_bits(it)),
            _ => Err(WRONG),
        }
    }
}

/// Bytes as a text; what is no UTF-8 in it is replaced.
#[inline]
pub(crate) fn text(bytes: &[u8]) -> Cow<'_, str> {
    // The usual answer is found faster than the way to it in pieces.
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Adds a number in as many bytes as it needs.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(u8::try_from(number & 0x7f).unwrap_or(0) | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).unwrap_or(0));
}

/// Adds a field that is a number.
pub(crate) fn put_number(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3);
    put_varint(out, number);
}

/// Adds a field of eight bytes.
pub(crate) fn put_fixed64(out: &mut Vec<u8>, field: u64, number: u64) {
    put_varint(out, field << 3 | 1);
    out.extend(number.to_le_bytes());
}

/// Adds a field of four bytes.
pub(crate) fn put_fixed32(out: &mut Vec<u8>, field: u64, number: u32) {
    put_varint(out, field << 3 | 5);
    out.extend(number.to_le_bytes());
}

/// Adds a text, an id or a message.
pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_varint(out, field << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend(bytes);
}

/// Bytes that the length of an open message has: enough for 32 GiB.
const LENGTH_BYTES: usize = 5;

/// Begins a message whose length is not known; [`close`] takes what this returns.
pub(crate) fn open(out: &mut Vec<u8>, field: u64) -> usize {
    put_varint(out, field << 3 | 2);
    out.extend([0; LENGTH_BYTES]);
    out.len()
}

/// Ends a message. Its length is written in more bytes than it needs, which readers take.
pub(crate) fn close(out: &mut [u8], start: usize) {
    let mut length = out.len() - start;
    for at in 0..LENGTH_BYTES {
        let more = if at + 1 < LENGTH_BYTES { 0x80 } else { 0 };
        out[start - LENGTH_BYTES + at] = u8::try_from(length & 0x7f).unwrap_or(0) | more;
        length >>= 7;
    }
}

#[cfg(test)]
mod tests;
