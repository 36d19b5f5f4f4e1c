//! The formats that traces come in, and how a file says which it is.

use std::{fmt, str::FromStr};

use memchr::memmem;

/// A format of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Format {
    /// Claude Code sessions as CSV, a row for each call.
    Sessions,
    /// Azure's LLM inference traces, 2023 and 2024, as CSV.
    Azure,
    /// BurstGPT, as CSV.
    BurstGpt,
    /// Mooncake's, as lines of JSON with hashes of blocks.
    Mooncake,
    /// ServeGen's rates of clients, as CSV.
    ServeGen,
    /// What Tidegate itself exports of its calls, as JSON.
    Tidegate,
    /// Claude Code's own transcripts: a folder of them, or one.
    ClaudeCode,
}

impl Format {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::Sessions,
        Self::Azure,
        Self::BurstGpt,
        Self::Mooncake,
        Self::ServeGen,
        Self::Tidegate,
        Self::ClaudeCode,
    ];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Sessions => "sessions",
            Self::Azure => "azure",
            Self::BurstGpt => "burstgpt",
            Self::Mooncake => "mooncake",
            Self::ServeGen => "servegen",
            Self::Tidegate => "tidegate",
            Self::ClaudeCode => "claude-code",
        }
    }

    /// All written forms, for whoever named none of them.
    pub fn words() -> String {
        let words = Self::ALL.iter().map(|it| it.word());
        words.collect::<Vec<_>>().join(", ")
    }

    /// What a file is that begins so.
    pub(super) fn of(beginning: &[u8]) -> Option<Self> {
        let text = beginning
            .strip_prefix(b"\xef\xbb\xbf")
            .unwrap_or(beginning)
            .trim_ascii_start();
        let first = text.split(|it| *it == b'\n').next().unwrap_or_default();
        if !text.starts_with(b"{") {
            return Self::of_columns(&String::from_utf8_lossy(first));
        }
        let has = |within: &[u8], key: &str| memmem::find(within, key.as_bytes()).is_some();
        if has(first, "\"hash_ids\"") || has(first, "\"input_length\"") {
            return Some(Self::Mooncake);
        }
        // Claude Code's first lines may be summaries that name nothing else.
        let transcript = ["\"sessionId\"", "\"parentUuid\"", "\"leafUuid\""];
        if transcript.iter().any(|key| has(text, key)) {
            return Some(Self::ClaudeCode);
        }
        let own = ["\"outcome\"", "\"dialect\""].iter();
        let document = text[1..].trim_ascii_start().starts_with(b"\"calls\"");
        (document || own.clone().all(|key| has(text, key))).then_some(Self::Tidegate)
    }

    fn of_columns(first: &str) -> Option<Self> {
        let columns: Vec<&str> = first.split(',').map(str::trim).collect();
        let known: [(Self, &[&str]); 4] = [
            (Self::Sessions, &["trace", "think_s"]),
            (Self::Azure, &["ContextTokens", "GeneratedTokens"]),
            (Self::BurstGpt, &["Request tokens", "Response tokens"]),
            (Self::ServeGen, &["rate_rps", "dist"]),
        ];
        let found = known
            .iter()
            .find(|(_, of)| of.iter().all(|it| columns.contains(it)));
        found.map(|it| it.0)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A name that no format has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no format `{asked}`; there are {}", Format::words())]
pub struct ParseFormatError {
    asked: String,
}

impl FromStr for Format {
    type Err = ParseFormatError;

    fn from_str(text: &str) -> Result<Self, ParseFormatError> {
        let found = Self::ALL.iter().copied().find(|it| it.word() == text);
        found.ok_or_else(|| ParseFormatError {
            asked: text.to_owned(),
        })
    }
}
