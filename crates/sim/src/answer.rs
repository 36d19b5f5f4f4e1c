//! What is answered: blocks of text, thinking and tool calls, in no dialect yet.

mod chat;
mod errors;
mod messages;
mod responses;
mod schema;
mod script;

pub(crate) use errors::{error_body, error_event, status_in};
pub(crate) use script::Script;

use bytes::Bytes;
use tidegate_types::{Tokens, Usage};

use crate::{
    ask::{Ask, Dialect},
    spec::ProviderSpec,
    world::{Headers, tokens_of},
};

/// One block of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// Thinking, with a signature.
    Thinking(String),
    /// Text.
    Text(String),
    /// A call of a tool; `input` is JSON.
    Tool {
        id: String,
        name: String,
        input: String,
    },
}

impl Piece {
    /// What is streamed of it, bit by bit.
    pub(crate) fn streamed(&self) -> &str {
        match self {
            Self::Thinking(text) | Self::Text(text) => text,
            Self::Tool { input, .. } => input,
        }
    }
}

/// Why an answer ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    EndTurn,
    MaxTokens,
    ToolUse,
}

/// An answer, complete.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) stop: Stop,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

/// Filler: words of a tide table, so that nobody takes it for a model's.
const FILLER: &str =
    "High water 06:12, low water 12:31, high water 18:44; the gate opens at half tide. ";

impl Answer {
    /// What `ask` is answered with. `serial` makes the ids of tool calls. Never longer than the request's
    /// own cap: text is cut there, and a tool call that does not fit is left out.
    pub(crate) fn plan(
        ask: &Ask,
        scripted: Option<&Usage>,
        spec: &ProviderSpec,
        serial: u64,
    ) -> Self {
        let tenths = spec.bytes_per_token_tenths;
        let wanted = &ask.directives;
        let mut pieces = Vec::new();
        if let Some(thought) = &wanted.think {
            pieces.push(Piece::Thinking(thought.clone()));
        }
        let calls: Vec<Piece> = wanted
            .tools
            .iter()
            .enumerate()
            .filter_map(|(at, call)| {
                Some(Piece::Tool {
                    id: format!("{serial:016x}{at:08x}"),
                    name: ask.offered(&call.name)?.to_owned(),
                    input: call.input.clone(),
                })
            })
            .collect();
        if let Some(say) = &wanted.say {
            pieces.push(Piece::Text(say.clone()));
        } else if let Some(schema) = &ask.schema {
            pieces.push(Piece::Text(schema::instance(schema).to_string()));
        } else if calls.is_empty() {
            let tokens = scripted.map(|it| it.output.0).or(wanted.tokens);
            pieces.push(Piece::Text(filler(
                tokens.unwrap_or(spec.answer.tokens),
                tenths,
            )));
        }
        pieces.extend(calls);
        let cap = ask.max_tokens.unwrap_or(u64::MAX);
        let mut answer = Self::cut(pieces, cap, tenths);
        if let Some(usage) = scripted {
            answer.output = usage.output.0.min(cap);
            answer.reasoning = usage.reasoning.0.min(answer.output);
            if usage.output.0 > cap {
                answer.stop = Stop::MaxTokens;
            }
        }
        answer
    }

    fn cut(pieces: Vec<Piece>, cap: u64, tenths: u32) -> Self {
        let mut answer = Self {
            pieces: Vec::new(),
            stop: Stop::EndTurn,
            output: 0,
            reasoning: 0,
        };
        for mut piece in pieces {
            let name = match &piece {
                Piece::Tool { name, .. } => name.len(),
                Piece::Thinking(_) | Piece::Text(_) => 0,
            };
            let mut tokens = tokens_of((name + piece.streamed().len()) as u64, tenths).max(1);
            let left = cap - answer.output;
            if tokens > left {
                answer.stop = Stop::MaxTokens;
                if let Piece::Text(text) | Piece::Thinking(text) = &mut piece {
                    let bytes =
                        usize::try_from(left * u64::from(tenths) / 10).unwrap_or(usize::MAX);
                    text.truncate(text.floor_char_boundary(bytes));
                    tokens = left;
                } else {
                    break;
                }
            }
            match &piece {
                Piece::Thinking(_) => answer.reasoning += tokens,
                Piece::Tool { .. } => answer.stop = Stop::ToolUse,
                Piece::Text(_) => {}
            }
            answer.output += tokens;
            answer.pieces.push(piece);
            if answer.stop == Stop::MaxTokens {
                break;
            }
        }
        answer
    }

    /// The JSON of an answer that is not streamed.
    pub(crate) fn body(&self, envelope: &Envelope) -> Bytes {
        let text = match envelope.dialect {
            Dialect::Messages => messages::body(self, envelope),
            Dialect::Chat => chat::body(self, envelope),
            Dialect::Responses => responses::body(self, envelope),
        };
        Bytes::from(text)
    }
}

/// What stands around an answer.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) dialect: Dialect,
    /// Sixteen hex digits; each id of the answer is made from it.
    pub(crate) serial: u64,
    pub(crate) model: String,
    /// Unix seconds.
    pub(crate) created: u64,
    pub(crate) usage: Usage,
    /// Whether a chat stream ends with a usage chunk.
    pub(crate) include_usage: bool,
}

/// `tokens` tokens of text.
fn filler(tokens: u64, tenths: u32) -> String {
    let tokens = tokens.min(crate::limits::ANSWER_TOKENS_MAX);
    let bytes = usize::try_from(tokens * u64::from(tenths) / 10).unwrap_or_default();
    FILLER.chars().cycle().take(bytes.max(1)).collect()
}

/// Text as a JSON string, quotes included.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The list of models, or one of them, in the dialect of `family`; `None` for an unknown id.
pub(crate) fn models_body(
    anthropic: bool,
    only: Option<&str>,
    models: &[String],
) -> Option<String> {
    let known: Vec<&str> = if models.is_empty() {
        MODELS.to_vec()
    } else {
        models.iter().map(String::as_str).collect()
    };
    let entry = |id: &str| {
        let quoted = quoted(id);
        if anthropic {
            format!(
                r#"{{"type":"model","id":{quoted},"display_name":{quoted},"created_at":"2026-01-01T00:00:00Z","lifecycle":"active","max_input_tokens":1000000,"max_tokens":128000}}"#
            )
        } else {
            format!(r#"{{"id":{quoted},"object":"model","created":1767225600,"owned_by":"sim"}}"#)
        }
    };
    if let Some(only) = only {
        return known.contains(&only).then(|| entry(only));
    }
    let entries: Vec<String> = known.iter().map(|it| entry(it)).collect();
    let list = entries.join(",");
    Some(if anthropic {
        let (first, last) = (quoted(known[0]), quoted(known[known.len() - 1]));
        format!(r#"{{"data":[{list}],"has_more":false,"first_id":{first},"last_id":{last}}}"#)
    } else {
        format!(r#"{{"object":"list","data":[{list}]}}"#)
    })
}

/// The models listed where the spec names none.
const MODELS: &[&str] = &[
    "claude-opus-5-5",
    "claude-sonnet-5-5",
    "claude-haiku-5-5",
    "claude-opus-4-5-20251101",
    "claude-haiku-4-5-20251001",
    "gpt-5",
    "gpt-5-mini",
];

/// The error shapes of a refused call: what errors need beside their status.
pub(crate) struct Refused {
    pub(crate) status: u16,
    /// The provider's words.
    pub(crate) message: String,
    /// `details.error_code` or OpenAI's `code`, where it is not the usual one of the status.
    pub(crate) code: Option<&'static str>,
    pub(crate) headers: Headers,
}

/// Output that exists after `sent` of `all` bytes of an answer with `output` tokens, rounded down.
fn produced(sent: usize, all: usize, output: u64) -> Tokens {
    let share = u128::from(output) * sent as u128 / all.max(1) as u128;
    Tokens(u64::try_from(share).unwrap_or(output))
}

#[cfg(test)]
mod tests;
