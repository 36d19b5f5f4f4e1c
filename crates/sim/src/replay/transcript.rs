//! What happened in a run, a line for each fact: the same for the same seed, to the last byte.

use std::{
    fmt::Write as _,
    hash::Hasher as _,
    io::{self, Write},
    time::Duration,
};

use foldhash::fast::FixedState;
use std::hash::BuildHasher as _;

use crate::world::Headers;

/// A transcript on its way: hashed, and written where somebody wants it.
///
/// Lines are a JSON object each; its first key is the time in nanoseconds since the day began, so that the
/// file is sorted by it. What a line says is documented in `docs/replay.md`, for programs that read it.
#[expect(missing_debug_implementations, reason = "a writer has nothing to show")]
pub struct Transcript<'a> {
    to: Option<&'a mut dyn Write>,
    hash: foldhash::fast::FoldHasher<'static>,
    line: String,
    failed: Option<io::Error>,
    on: bool,
    heads: bool,
}

impl<'a> Transcript<'a> {
    /// Kept by nobody.
    pub fn none() -> Self {
        Self {
            to: None,
            hash: FixedState::default().build_hasher(),
            line: String::new(),
            failed: None,
            on: false,
            heads: false,
        }
    }

    /// Only its hash is kept.
    pub fn hashed() -> Self {
        Self {
            on: true,
            ..Self::none()
        }
    }

    /// Written to `to`.
    pub fn to(to: &'a mut dyn Write) -> Self {
        Self {
            to: Some(to),
            on: true,
            ..Self::none()
        }
    }

    /// With the provider's limit headers in what is said of answers and refusals, under `headers`: for comparison with
    /// what passes over a wire.
    #[must_use]
    pub fn with_heads(self) -> Self {
        Self {
            heads: true,
            ..self
        }
    }

    /// A head as the last field of a fact; nothing where nobody wants heads.
    pub(super) fn head(&self, headers: &Headers) -> String {
        if !self.heads {
            return String::new();
        }
        let pair = |(name, value): &(std::borrow::Cow<'static, str>, String)| {
            format!("\"{name}\":\"{value}\"")
        };
        let pairs: Vec<String> = headers.0.iter().map(pair).collect();
        format!(",\"headers\":{{{}}}", pairs.join(","))
    }

    /// One fact: what it is called, and its fields as the inside of a JSON object.
    pub(super) fn fact(&mut self, at: Duration, what: &str, fields: std::fmt::Arguments<'_>) {
        if !self.on {
            return;
        }
        self.line.clear();
        // A string takes everything.
        let _written = writeln!(
            self.line,
            "{{\"at\":{},\"what\":\"{what}\"{fields}}}",
            at.as_nanos()
        );
        self.hash.write(self.line.as_bytes());
        if let Some(to) = &mut self.to
            && let Err(error) = to.write_all(self.line.as_bytes())
        {
            self.failed.get_or_insert(error);
        }
    }

    /// Equal transcripts have equal hashes. An error is the first that writing met.
    pub fn finish(self) -> io::Result<u64> {
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.hash.finish()),
        }
    }
}
