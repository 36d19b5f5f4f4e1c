//! OpenAI Chat Completions: its chunks and whole answers.

use super::{Tally, is_told, word};
use crate::{
    Dialect, error_signal,
    json::{Malformed, elements, fields, string},
};

impl Tally {
    pub(super) fn chat_event(&mut self, data: &[u8]) -> Result<(), Malformed> {
        if data == b"[DONE]" {
            self.complete = true;
            // Some providers count in every chunk: the last one is the whole only at the end.
            self.final_counts = self.counts.are_told();
            return Ok(());
        }
        let choices = self.chat_answer(data)?;
        if choices == 0 && self.counts.are_told() {
            self.final_counts = true;
        }
        Ok(())
    }

    pub(super) fn chat_whole(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.chat_answer(body).map(|_choices| ())
    }

    /// Reads a chunk or a whole answer, which have the same shape but for `delta` and `message`,
    /// and returns how many choices it has.
    fn chat_answer(&mut self, json: &[u8]) -> Result<usize, Malformed> {
        let names = ["id", "model", "choices", "usage", "error", "service_tier"];
        let [id, model, choices, usage, error, tier] = fields(json, names)?;
        if is_told(error).is_some() {
            self.error = Some(error_signal(Dialect::OpenAiChat, 0, json));
        }
        self.answer_id = self.answer_id.take().or_else(|| word(id));
        self.model = self.model.take().or_else(|| word(model));
        if let Some(tier) = tier.and_then(string) {
            self.counts.modifier("service_tier", tier.raw);
        }
        if let Some(usage) = is_told(usage) {
            self.counts.absorb_openai(usage)?;
        }
        let mut count = 0;
        for choice in elements(choices.unwrap_or_default()) {
            count += 1;
            self.chat_choice(choice)?;
        }
        Ok(count)
    }

    fn chat_choice(&mut self, choice: &[u8]) -> Result<(), Malformed> {
        let [delta, message, reason] = fields(choice, ["delta", "message", "finish_reason"])?;
        if let Some(reason) = word(reason) {
            self.stop_reason = Some(reason);
        }
        let Some(said) = is_told(delta.or(message)) else {
            return Ok(());
        };
        let names = [
            "content",
            "reasoning_content",
            "reasoning",
            "refusal",
            "tool_calls",
        ];
        let [content, reasoning_content, reasoning, refusal, calls] = fields(said, names)?;
        // Two names for the same text, which some providers send both.
        for text in [content, reasoning_content.or(reasoning), refusal] {
            self.add_text(text);
        }
        for call in elements(calls.unwrap_or_default()) {
            let [function] = fields(call, ["function"])?;
            let [arguments] = fields(function.unwrap_or(b"{}"), ["arguments"])?;
            self.add_text(arguments);
        }
        Ok(())
    }
}
