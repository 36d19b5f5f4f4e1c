//! The end of a stream that is ended before its own end: what a provider would have sent at an output
//! limit.

use tidegate_types::Usage;

use super::{Meter, Tally};
use crate::{
    Dialect,
    error::quoted,
    json::{Malformed, fields, string, whole_number},
};

/// Choices of a chat answer that are told apart; nobody asks for more.
const CHOICES_MAX: u32 = 64;

/// What a stream has opened and not closed.
#[derive(Debug, Default)]
pub(super) struct Opened {
    /// Anthropic: the message has begun.
    message: bool,
    /// Anthropic: the block that is open.
    block: Option<u64>,
    /// Chat: the choices that began, and those that ended, by bits.
    choices: (u64, u64),
    /// Chat and Responses: when the answer was made, in seconds.
    created: Option<u64>,
}

impl Opened {
    pub(super) const fn new() -> Self {
        Self {
            message: false,
            block: None,
            choices: (0, 0),
            created: None,
        }
    }

    pub(super) const fn begin_message(&mut self) {
        self.message = true;
    }

    pub(super) fn open_block(&mut self, index: Option<&[u8]>) {
        self.block = index.and_then(whole_number);
    }

    pub(super) const fn close_block(&mut self) {
        self.block = None;
    }

    pub(super) fn created(&mut self, seconds: Option<&[u8]>) {
        self.created = self.created.or_else(|| seconds.and_then(whole_number));
    }

    pub(super) fn choice(&mut self, index: u64, ended: bool) {
        let bit = u32::try_from(index).ok().filter(|it| *it < CHOICES_MAX);
        let bit = bit.map_or(0, |it| 1 << it);
        self.choices.0 |= bit;
        if ended {
            self.choices.1 |= bit;
        }
    }
}

impl Meter {
    /// The events that end a stream here as if it had reached its output limit, so that the client
    /// takes what came for a whole, shortened answer. `id` and `model` are put where the provider has
    /// told none.
    ///
    /// To be sent after the last whole event. An answer that came to its own end needs none: empty.
    pub fn end_early(&self, id: &str, model: &str) -> Vec<u8> {
        let tally = &self.tally;
        if tally.complete || tally.error.is_some() {
            return Vec::new();
        }
        let id = quoted(tally.answer_id.as_deref().unwrap_or(id));
        let model = quoted(tally.model.as_deref().unwrap_or(model));
        let end = match tally.dialect {
            Dialect::Anthropic => anthropic(tally, (&id, &model)),
            Dialect::OpenAiChat => chat(tally, (&id, &model)),
            Dialect::OpenAiResponses => responses(tally, (&id, &model)),
        };
        end.into_bytes()
    }
}

fn anthropic(tally: &Tally, (id, model): (&str, &str)) -> String {
    let usage = tally.usage().unwrap_or_default();
    let start = if tally.opened.message {
        String::new()
    } else {
        let input = usage.input.0;
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":{id},\"type\":\"message\",\"role\":\"assistant\",\"model\":{model},\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{{\"input_tokens\":{input},\"output_tokens\":0}}}}}}\n\n"
        )
    };
    let stop = tally.opened.block.map_or_else(String::new, |index| {
        format!(
            "event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        )
    });
    let output = usage.output.0;
    format!(
        "{start}{stop}event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null}},\"usage\":{{\"output_tokens\":{output}}}}}\n\nevent: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
    )
}

fn chat(tally: &Tally, (id, model): (&str, &str)) -> String {
    let (began, ended) = tally.opened.choices;
    // Before any choice began, there is still the one that was asked for.
    let open = if began == 0 { 1 } else { began & !ended };
    let created = tally.opened.created.unwrap_or(0);
    let open = (0..CHOICES_MAX).filter(|it| open >> it & 1 == 1);
    let choices: Vec<String> = open
        .map(|it| format!("{{\"index\":{it},\"delta\":{{}},\"finish_reason\":\"length\"}}"))
        .collect();
    if choices.is_empty() {
        return "data: [DONE]\n\n".to_owned();
    }
    format!(
        "data: {{\"id\":{id},\"object\":\"chat.completion.chunk\",\"created\":{created},\"model\":{model},\"choices\":[{}]}}\n\ndata: [DONE]\n\n",
        choices.join(",")
    )
}

/// The texts that came are with the client, and are not told again.
fn responses(tally: &Tally, (id, model): (&str, &str)) -> String {
    let created = tally.opened.created.unwrap_or(0);
    let usage = tally.usage().filter(|_| tally.counts.input_is_known());
    let usage = usage.map_or_else(|| "null".to_owned(), |it| responses_usage(&it));
    let next = tally.sequence.saturating_add(1);
    format!(
        "event: response.incomplete\ndata: {{\"type\":\"response.incomplete\",\"sequence_number\":{next},\"response\":{{\"id\":{id},\"object\":\"response\",\"created_at\":{created},\"status\":\"incomplete\",\"error\":null,\"incomplete_details\":{{\"reason\":\"max_output_tokens\"}},\"instructions\":null,\"metadata\":{{}},\"model\":{model},\"output\":[],\"parallel_tool_calls\":true,\"temperature\":null,\"tool_choice\":\"auto\",\"tools\":[],\"top_p\":null,\"usage\":{usage}}}}}\n\n"
    )
}

fn responses_usage(usage: &Usage) -> String {
    let (input, output) = (usage.input_total().0, usage.output.0);
    let (cached, reasoning) = (usage.cache_read.0, usage.reasoning.0);
    let total = input.saturating_add(output);
    format!(
        "{{\"input_tokens\":{input},\"input_tokens_details\":{{\"cached_tokens\":{cached}}},\"output_tokens\":{output},\"output_tokens_details\":{{\"reasoning_tokens\":{reasoning}}},\"total_tokens\":{total}}}"
    )
}

/// Whether the raw value is a text, and not `null`.
pub(super) fn is_text(raw: &[u8]) -> bool {
    string(raw).is_some()
}

/// When a response was made.
pub(super) fn created_at(response: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let [created] = fields(response, ["created_at"])?;
    Ok(created)
}
