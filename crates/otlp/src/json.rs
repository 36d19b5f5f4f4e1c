//! OTLP in JSON, brought into Protocol Buffers, so that both are understood by the same code.
//!
//! The mapping is Protocol Buffers' own (<https://protobuf.dev/programming-guides/json/>) but for ids,
//! which OTLP writes in hexadecimal digits. What programs write otherwise is taken as well: numbers
//! as texts and texts as numbers, enums by name, names with underscores, ids in base64, bare values;
//! unknown names are passed over.

mod messages;

use std::{borrow::Cow, fmt};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{
    Deserializer as _,
    de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{
    decode::Signal,
    wire::{close, open, put_bytes, put_fixed32, put_fixed64, put_number},
};

/// Text that is no OTLP in JSON.
#[derive(Debug, thiserror::Error)]
#[error("not OTLP in JSON: {0}")]
pub struct MalformedJson(#[source] serde_json::Error);

/// Brings a request into Protocol Buffers.
///
/// # Errors
/// Text that is no JSON, nested deeper than 128 levels, or has another shape.
pub(crate) fn to_protobuf(signal: Signal, body: &[u8]) -> Result<Vec<u8>, MalformedJson> {
    let request = match signal {
        Signal::Logs => &LOGS_REQUEST,
        Signal::Traces => &TRACE_REQUEST,
        Signal::Metrics => &METRICS_REQUEST,
    };
    let mut out = Vec::with_capacity(body.len() / 2);
    let mut from = serde_json::Deserializer::from_slice(body);
    let members = Members {
        of: request,
        out: &mut out,
    };
    from.deserialize_any(members).map_err(MalformedJson)?;
    from.end().map_err(MalformedJson)?;
    Ok(out)
}

/// A field: its name, number and what it holds.
type Entry = (&'static str, u64, Holds);
type Message = &'static [Entry];

#[derive(Clone, Copy)]
enum Holds {
    /// A number of variable length, signed ones as they are.
    Number,
    /// A signed number in zigzag form.
    Zigzag,
    Fixed64,
    Fixed32,
    Double,
    Flag,
    Text,
    /// In base64.
    Bytes,
    /// In hexadecimal digits, else in base64.
    Id,
    /// By number or by a name that ends like one of these, from 0.
    Enum(&'static [&'static str]),
    Message(&'static Message),
}

use Holds::{Bytes, Double, Enum, Fixed32, Fixed64, Flag, Id, Number, Text, Zigzag};
use messages::{ANY, LOGS_REQUEST, METRICS_REQUEST, TRACE_REQUEST};

/// The field of this name: as OTLP writes it, or with underscores.
fn entry(of: Message, name: &str) -> Option<Entry> {
    let exact = of.iter().find(|it| it.0 == name);
    let found = exact.or_else(|| {
        name.contains('_')
            .then(|| of.iter().find(|it| is_snake(it.0, name)))?
    });
    found.copied()
}

/// Whether `snake` is `camel` with underscores.
fn is_snake(camel: &str, snake: &str) -> bool {
    let letters = snake.bytes().filter(|it| *it != b'_');
    camel.bytes().map(|it| it.to_ascii_lowercase()).eq(letters)
}

/// Writes the members of an object as fields of a message.
struct Members<'o> {
    of: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.of.iter().map(|it| it.0).collect();
        write!(f, "an object with `{}`", names.join("`, `"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name(self.of))? {
            match name {
                Some(entry) => map.next_value_seed(Field {
                    entry,
                    listed: false,
                    out: &mut *self.out,
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

/// Reads a member's name.
struct Name(Message);

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Option<Entry>;

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Option<Entry>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(entry(self.0, name))
    }
}

/// Writes a member's value, or the values of its list.
struct Field<'o> {
    entry: Entry,
    /// Whether it stands in a list already, in which no other list can be.
    listed: bool,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _, holds) = self.entry;
        match holds {
            Number | Zigzag | Fixed64 | Fixed32 => write!(f, "a whole number for `{name}`"),
            Double => write!(f, "a number for `{name}`"),
            Flag => write!(f, "true or false for `{name}`"),
            Text => write!(f, "a text for `{name}`"),
            Bytes => write!(f, "base64 for `{name}`"),
            Id => write!(f, "hexadecimal digits for `{name}`"),
            Enum(words) => write!(f, "a number or one of {words:?} for `{name}`"),
            Holds::Message(of) => Members {
                of,
                out: &mut Vec::new(),
            }
            .expecting(f),
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(()) // null is what is not there
    }

    fn visit_bool<E: de::Error>(self, it: bool) -> Result<(), E> {
        match self.entry.2 {
            Flag => put_number(self.out, self.entry.1, u64::from(it)),
            Text => put_bytes(self.out, self.entry.1, if it { b"true" } else { b"false" }),
            Holds::Message(of) if is_any(of) => self.bare(|out| put_number(out, 2, it.into())),
            _ => return Err(E::invalid_type(de::Unexpected::Bool(it), &self)),
        }
        Ok(())
    }

    fn visit_u64<E: de::Error>(self, it: u64) -> Result<(), E> {
        self.whole(it, it.to_string())
    }

    fn visit_i64<E: de::Error>(self, it: i64) -> Result<(), E> {
        self.whole(it.cast_unsigned(), it.to_string())
    }

    fn visit_f64<E: de::Error>(self, it: f64) -> Result<(), E> {
        let number = self.entry.1;
        match self.entry.2 {
            Double => put_fixed64(self.out, number, it.to_bits()),
            Text => put_bytes(self.out, number, it.to_string().as_bytes()),
            Holds::Message(of) if is_any(of) => {
                self.bare(|out| put_fixed64(out, 4, it.to_bits()));
            }
            Number | Zigzag | Fixed64 | Fixed32 | Enum(_) => {
                // 1e9 and 12.0 are whole, too.
                let Some(whole) = whole(it) else {
                    return Err(E::invalid_value(de::Unexpected::Float(it), &self));
                };
                return self.visit_i64(whole);
            }
            _ => return Err(E::invalid_type(de::Unexpected::Float(it), &self)),
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, it: &str) -> Result<(), E> {
        let (_, number, holds) = self.entry;
        let wrong = || E::invalid_value(de::Unexpected::Str(shortened(it)), &self);
        match holds {
            Text => put_bytes(self.out, number, it.as_bytes()),
            Bytes => {
                let bytes = base64(it).ok_or_else(wrong)?;
                put_bytes(self.out, number, &bytes);
            }
            Id => {
                let bytes = hex(it).or_else(|| base64(it)).ok_or_else(wrong)?;
                put_bytes(self.out, number, &bytes);
            }
            Double => {
                let it: f64 = it.parse().map_err(|_| wrong())?;
                put_fixed64(self.out, number, it.to_bits());
            }
            Flag => {
                let it: bool = it.parse().map_err(|_| wrong())?;
                put_number(self.out, number, u64::from(it));
            }
            Enum(words) if it.parse::<i64>().is_err() => {
                let place = words.iter().position(|word| ends_like(it, word));
                let place = place.ok_or_else(wrong)?;
                put_number(self.out, number, place as u64);
            }
            Number | Zigzag | Fixed64 | Fixed32 | Enum(_) => {
                let it = it.trim();
                let signed = it.parse::<i64>().map(i64::cast_unsigned);
                let it = signed.or_else(|_| it.parse::<u64>()).map_err(|_| wrong())?;
                return self.visit_u64(it);
            }
            Holds::Message(of) if is_any(of) => {
                self.bare(|out| put_bytes(out, 1, it.as_bytes()));
            }
            Holds::Message(_) => return Err(wrong()),
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Holds::Message(of) = self.entry.2 else {
            return Err(de::Error::invalid_type(de::Unexpected::Map, &self));
        };
        let start = open(self.out, self.entry.1);
        let members = Members {
            of,
            out: &mut *self.out,
        };
        members.visit_map(map)?;
        close(self.out, start);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        if self.listed {
            return Err(de::Error::invalid_type(de::Unexpected::Seq, &self));
        }
        loop {
            let item = Field {
                entry: self.entry,
                listed: true,
                out: &mut *self.out,
            };
            if items.next_element_seed(item)?.is_none() {
                return Ok(());
            }
        }
    }
}

impl Field<'_> {
    /// A whole number, in two's complement, and as a text.
    fn whole<E: de::Error>(self, it: u64, text: String) -> Result<(), E> {
        let number = self.entry.1;
        match self.entry.2 {
            Number | Enum(_) => put_number(self.out, number, it),
            Zigzag => {
                let signed = it.cast_signed();
                put_number(
                    self.out,
                    number,
                    ((signed << 1) ^ (signed >> 63)).cast_unsigned(),
                );
            }
            Fixed64 => put_fixed64(self.out, number, it),
            Fixed32 => {
                let Ok(it) = u32::try_from(it) else {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(it), &self));
                };
                put_fixed32(self.out, number, it);
            }
            #[expect(clippy::cast_precision_loss, reason = "as JSON itself does")]
            Double => put_fixed64(self.out, number, (it.cast_signed() as f64).to_bits()),
            Flag => put_number(self.out, number, u64::from(it != 0)),
            Text => put_bytes(self.out, number, text.as_bytes()),
            Holds::Message(of) if is_any(of) => self.bare(|out| put_number(out, 3, it)),
            _ => return Err(E::invalid_type(de::Unexpected::Unsigned(it), &self)),
        }
        Ok(())
    }

    /// A value without the object that names its type.
    fn bare(self, write: impl FnOnce(&mut Vec<u8>)) {
        let start = open(self.out, self.entry.1);
        write(self.out);
        close(self.out, start);
    }
}

fn is_any(of: &'static Message) -> bool {
    std::ptr::eq(of, &raw const ANY)
}

/// Whether an enum's name, like `SEVERITY_NUMBER_INFO`, ends with this word.
fn ends_like(name: &str, word: &str) -> bool {
    let name = name.strip_prefix("STATUS_CODE_").unwrap_or(name);
    let start = name.len().checked_sub(word.len());
    start.is_some_and(|start| {
        name.get(start..)
            .is_some_and(|it| it.eq_ignore_ascii_case(word))
            && (start == 0 || name.as_bytes()[start - 1] == b'_')
    })
}

/// A float that is a whole number.
fn whole(it: f64) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "whole, and within 2^53")]
    (it.fract() == 0.0 && it.abs() <= EXACT).then_some(it as i64)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() || !matches!(text.len(), 0 | 16 | 32) {
        return None;
    }
    let digit = |it: u8| char::from(it).to_digit(16);
    let pair = |[a, b]: &[u8; 2]| u8::try_from(digit(*a)? << 4 | digit(*b)?).ok();
    pairs.iter().map(pair).collect()
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let plain: Cow<'_, str> = if text.contains(['-', '_']) {
        Cow::Owned(text.replace('-', "+").replace('_', "/"))
    } else {
        Cow::Borrowed(text)
    };
    let unpadded = plain.trim_end_matches('=');
    base64::prelude::BASE64_STANDARD_NO_PAD
        .decode(unpadded)
        .or_else(|_| BASE64_STANDARD.decode(plain.as_ref()))
        .ok()
}

/// Values in messages fit a line, and are never whole secrets.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(20)]
}

#[cfg(test)]
mod tests;
