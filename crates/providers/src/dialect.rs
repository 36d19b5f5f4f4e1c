//! The wire formats that are understood.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A wire format: how requests, answers, streams and errors are written.
///
/// Not a provider: any number of providers speak each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Anthropic Messages, and its `count_tokens`.
    Anthropic,
    /// OpenAI Chat Completions.
    #[serde(rename = "openai_chat")]
    OpenAiChat,
    /// OpenAI Responses.
    #[serde(rename = "openai_responses")]
    OpenAiResponses,
}

impl Dialect {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Anthropic, Self::OpenAiChat, Self::OpenAiResponses];

    /// The written form, as in configuration, metrics and JSON.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat => "openai_chat",
            Self::OpenAiResponses => "openai_responses",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
