//! What must be known of a request's body, found in one pass that builds no tree.

mod question;
mod rewrite;
mod walk;

pub(crate) use walk::apply_modifier;

use std::ops::Range;

use tidegate_types::{Disposition, Modifiers};

pub use question::question;
pub use rewrite::{Rewrite, rewrite};

use crate::{Dialect, json::Malformed};

/// Uses a server tool is counted with where the body does not cap them (`max_uses`).
pub const SERVER_TOOL_USES_DEFAULT: u64 = 20;

/// The most answers one request may ask for: the limit OpenAI documents for `n`.
pub const CHOICES_MAX: u64 = 128;

/// Longest model name that is taken, in bytes: far above any provider's, so that a name can be a
/// metric's label or a record's field.
pub const MODEL_BYTES_MAX: usize = 256;

/// How deep content blocks may hold content blocks. Providers know three levels (message, tool
/// result or document, its parts).
pub const CONTENT_DEPTH_MAX: u32 = 8;

/// Bytes of text that the fingerprint of a conversation is made from.
pub const FINGERPRINT_BYTES: usize = 1_024;

/// Other models a body names that are kept. More are refused.
pub const OTHER_MODELS_MAX: usize = 8;

/// The dearest prompt-cache write that a body can cause. Ordered by price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum CacheWrite {
    /// Nothing in the body asks for a write.
    #[default]
    None,
    /// `cache_control` without a `ttl`, or with `5m`.
    FiveMinutes,
    /// A `ttl` of `1h`, or one that is not known: the dearest is assumed.
    OneHour,
}

/// The cap on generated tokens that a body sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputCap {
    /// Tokens per answer. At least 1, at most `u32::MAX`.
    pub value: u64,
    /// Where its digits are in the body.
    pub digits: Range<usize>,
}

/// What a request's body says, as far as limits, prices and records depend on it.
///
/// Spans are byte ranges of the body that was scanned. Holds no text of the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as the body states them"
)]
pub struct RequestFacts {
    /// The model that is asked for.
    pub model: String,
    /// The inner bytes of the model's string, as written.
    pub model_span: Range<usize>,
    /// `max_tokens`, `max_completion_tokens` or `max_output_tokens`. `null` counts as absent.
    pub output_cap: Option<OutputCap>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Chat's `stream_options.include_usage`.
    pub include_usage: Option<bool>,
    /// Anthropic's `thinking.budget_tokens`. The output cap must stay above it.
    pub thinking_budget: Option<u64>,
    /// Answers asked for (chat's `n`), each with the whole output cap: bounds multiply by it. 1 to
    /// [`CHOICES_MAX`].
    pub choices: u64,
    /// Fingerprint of the conversation: the same on every turn of it, so that turns without a
    /// session's name can be put together. Made from the first [`FINGERPRINT_BYTES`] of text of the
    /// first message that is not the system's; 0 if there is none.
    pub conversation: u64,
    /// Messages, or input items, in the body. A bare string counts as one.
    pub messages: u32,
    /// Tools the body offers, of any kind.
    pub tools: u32,
    /// Whether the last message that is not the system's hands back what a tool gave: then the
    /// request goes on with a turn and does not begin one.
    pub ends_in_tool_result: bool,
    /// The dearest cache write the body can cause.
    pub cache_write: CacheWrite,
    /// Content that is named and not contained (an image's or document's URL, a file's id, a stored
    /// item): its tokens cannot be bounded by the body's bytes.
    pub references: u32,
    /// The provider adds a conversation or prompt of unknown length that it stored itself
    /// (`previous_response_id`, `conversation`, `prompt`): only the model's context bounds the input.
    pub stored_context: bool,
    /// Responses' `background`: the answer comes back before it is made, and its usage is told only
    /// to whoever asks for it later.
    pub background: bool,
    /// Uses of tools that the provider runs, summed: each one's `max_uses`, or
    /// [`SERVER_TOOL_USES_DEFAULT`]; at most Responses' `max_tool_calls`.
    pub server_tool_uses: u64,
    /// Models beside `model` that the provider may answer and bill with: `fallbacks`, and tools
    /// that run a model of their own.
    pub other_models: Vec<String>,
    /// What else changes the price.
    pub modifiers: Modifiers,
    /// The session named in Anthropic's `metadata.user_id`, in both of its forms.
    pub session: Option<String>,
    /// Claude Code's probe of its quota: one token, not streamed, the single message `quota`.
    pub quota_probe: bool,
    pub(crate) places: Places,
}

/// Where a rewrite has to write what the body does not say yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// Just behind the opening bracket of the body.
    pub(crate) top: usize,
    /// A `null` that stands where the cap would.
    pub(crate) null_cap: Option<Range<usize>>,
    pub(crate) stream_options: StreamOptions,
}

/// How chat's `stream_options` are written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum StreamOptions {
    #[default]
    Absent,
    Null(Range<usize>),
    /// An object without `include_usage`.
    Object {
        /// Just behind its opening bracket.
        inside: usize,
        empty: bool,
    },
    /// `include_usage` as written: `true`, `false` or `null`.
    IncludeUsage(Range<usize>),
}

/// Why a request is not taken. Names the key, what was written and the remedy; never quotes the
/// conversation.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The body is not JSON.
    #[error("the body is not valid JSON: {expected} was expected at byte {at}")]
    Malformed {
        /// Offset of the byte where reading stopped.
        at: usize,
        /// What should have been there.
        expected: &'static str,
    },
    /// The body is JSON, but no object.
    #[error("the body is not a JSON object: send one that has `model` and the messages")]
    NotAnObject,
    /// A key without which nothing can be limited or priced.
    #[error("`{key}` is missing: name it in the body")]
    Missing {
        /// The key.
        key: &'static str,
    },
    /// A value of the wrong type.
    #[error("`{key}` is {found}: send {wanted}")]
    WrongType {
        /// The key.
        key: &'static str,
        /// What kind of value was written; numbers are quoted.
        found: String,
        /// What to send.
        wanted: &'static str,
    },
    /// A number that no provider can mean.
    #[error("`{key}` is {value}: send a whole number from {min} to {max}")]
    OutOfRange {
        /// The key.
        key: &'static str,
        /// As written, shortened.
        value: String,
        /// The least that is taken.
        min: u64,
        /// The most that is taken.
        max: u64,
    },
    /// A key that limits depend on is there twice: which one the provider reads is not known.
    #[error("`{key}` is there more than once: send it once")]
    Duplicate {
        /// The key.
        key: &'static str,
    },
    /// A key that differs from one that limits depend on only in case: some providers read it so.
    #[error("`{written}` is read as `{key}` by some providers: write `{key}`")]
    Ambiguous {
        /// The key as it is meant.
        key: &'static str,
        /// The key as it is written.
        written: String,
    },
    /// Two keys that both cap the output.
    #[error(
        "`max_tokens` and `max_completion_tokens` are both set: send only `max_completion_tokens`"
    )]
    TwoCaps,
    /// A model's name that is empty or longer than [`MODEL_BYTES_MAX`].
    #[error("`model` has {bytes} bytes: send a name of 1 to {MODEL_BYTES_MAX}")]
    ModelName {
        /// Its length.
        bytes: usize,
    },
    /// A model's name that could not stand in a header, a label or a line of a record.
    #[error("`model` holds a control character: send the plain name")]
    ModelCharacters,
    /// More than [`OTHER_MODELS_MAX`] models beside the one that is asked for.
    #[error("the body names more than {OTHER_MODELS_MAX} models to fall back to: send fewer")]
    TooManyModels,
    /// Content nested deeper than [`CONTENT_DEPTH_MAX`] blocks.
    #[error("content is nested deeper than {CONTENT_DEPTH_MAX} blocks: flatten it")]
    TooDeep,
}

impl RequestError {
    /// Sending the same body again cannot help.
    pub const fn disposition(&self) -> Disposition {
        Disposition::FixRequest
    }
}

impl From<Malformed> for RequestError {
    fn from(it: Malformed) -> Self {
        Self::Malformed {
            at: it.at,
            expected: it.expected,
        }
    }
}

/// Reads a request's body once, in time proportional to its length.
///
/// Guarantees for valid JSON: every fact is what a parser would find, whatever the order of keys,
/// their white space and escapes. Keys that limits or prices depend on may stand at the top level
/// only once, and in their exact case: a limiter that reads another one than the provider would be
/// a hole. Malformed text is refused where it changes the structure; inside values that are passed
/// over it may go unnoticed, and the provider refuses it.
///
/// Wrong types of keys that nothing here depends on are the provider's to refuse.
pub fn scan(dialect: Dialect, body: &[u8]) -> Result<RequestFacts, RequestError> {
    walk::scan(dialect, body)
}

#[cfg(test)]
mod tests;
