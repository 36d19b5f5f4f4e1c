//! W3C Trace Context: which trace a call is part of, and what we tell the provider.
//!
//! <https://www.w3.org/TR/trace-context/>, level 1; a header that breaks its rules is treated as
//! absent, which is what the recommendation asks for.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A trace: 128 bits, never 0. Printed as 32 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId(u128);

/// A span in a trace: 64 bits, never 0. Printed as 16 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId(u64);

impl TraceId {
    /// From random bits. 0 means "no trace" on the wire, so it becomes 1.
    pub const fn from_random(bits: u128) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    /// The bits, never 0.
    pub const fn bits(self) -> u128 {
        self.0
    }

    /// From its printed form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = lower_hex(text, 32)?;
        let bits = u128::from_str_radix(text, 16).ok()?;
        (bits != 0).then_some(Self(bits))
    }
}

impl SpanId {
    /// From random bits. 0 means "no span" on the wire, so it becomes 1.
    pub const fn from_random(bits: u64) -> Self {
        Self(if bits == 0 { 1 } else { bits })
    }

    /// The bits, never 0.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From its printed form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = lower_hex(text, 16)?;
        let bits = u64::from_str_radix(text, 16).ok()?;
        (bits != 0).then_some(Self(bits))
    }
}

/// `text` if it is exactly `digits` lower-case hexadecimal digits. `from_str_radix` alone would
/// take `+1` and upper case, which the recommendation forbids.
fn lower_hex(text: &str, digits: usize) -> Option<&str> {
    let hex = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    (text.len() == digits && text.bytes().all(hex)).then_some(text)
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TraceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for SpanId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a trace id is 32 hexadecimal digits"))
    }
}

impl<'de> Deserialize<'de> for SpanId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| de::Error::custom("a span id is 16 hexadecimal digits"))
    }
}

/// What a `traceparent` header says: a trace, the sender's span, and whether it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace.
    pub trace_id: TraceId,
    /// The span of whoever sent the header: the parent of what its receiver does.
    pub span_id: SpanId,
    /// Whether the sender may have recorded it.
    pub sampled: bool,
}

impl TraceParent {
    /// Reads a header's value, or `None` for one that must be ignored: another length than its
    /// version allows, upper-case digits, an all-zero id, version `ff`.
    pub fn parse(header: &str) -> Option<Self> {
        // 00-<32>-<16>-<2>; a later version may append fields, each behind a dash.
        const LENGTH: usize = 55;
        let (head, rest) = (header.get(..LENGTH)?, header.get(LENGTH..)?);
        let mut parts = head.split('-');
        let version = lower_hex(parts.next()?, 2)?;
        let known_end = match version {
            "ff" => false,
            "00" => rest.is_empty(),
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        if !known_end {
            return None;
        }
        let trace_id = TraceId::parse(parts.next()?)?;
        let span_id = SpanId::parse(parts.next()?)?;
        let flags = u8::from_str_radix(lower_hex(parts.next()?, 2)?, 16).ok()?;
        parts.next().is_none().then_some(Self {
            trace_id,
            span_id,
            sampled: flags & 1 == 1,
        })
    }

    /// A trace that begins here.
    pub const fn root(trace_bits: u128, span_bits: u64) -> Self {
        Self {
            trace_id: TraceId::from_random(trace_bits),
            span_id: SpanId::from_random(span_bits),
            sampled: true,
        }
    }

    /// Our own span in the same trace; what is sent on with it has it as parent.
    #[must_use]
    pub const fn child(self, span_bits: u64) -> Self {
        Self {
            span_id: SpanId::from_random(span_bits),
            ..self
        }
    }
}

/// The header's value, in version 00.
impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = u8::from(self.sampled);
        write!(f, "00-{}-{}-{flags:02x}", self.trace_id, self.span_id)
    }
}

#[cfg(test)]
mod tests;
