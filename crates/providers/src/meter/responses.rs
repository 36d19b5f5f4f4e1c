//! OpenAI Responses: its events and whole answers.

use super::{Tally, closing::created_at, is_told, word};
use crate::{
    Dialect, error_signal,
    json::{Malformed, elements, fields, string, whole_number},
    sse::Event,
};

impl Tally {
    pub(super) fn responses_event(&mut self, event: &Event<'_>) -> Result<(), Malformed> {
        if *event.data == *b"[DONE]" {
            return Ok(());
        }
        let names = ["type", "sequence_number", "delta", "response"];
        let [kind, sequence, delta, response] = fields(&event.data, names)?;
        if let Some(sequence) = sequence.and_then(whole_number) {
            self.sequence = sequence;
        }
        let kind = kind.and_then(string).map_or(event.name, |it| it.raw);
        match kind {
            b"response.created" => {
                let [id, model] = fields(response.unwrap_or(b"{}"), ["id", "model"])?;
                self.answer_id = word(id);
                self.model = word(model);
                self.opened.created(created_at(response.unwrap_or(b"{}"))?);
            }
            b"response.output_item.added" => self.first_content_seen = true,
            b"response.web_search_call.completed" => self.counts.add_search(),
            b"response.completed" | b"response.incomplete" | b"response.failed" => {
                self.complete = true;
                self.responses_answer(response.unwrap_or(b"{}"))?;
                self.final_counts = self.counts.are_told();
            }
            b"error" => self.error = Some(error_signal(Dialect::OpenAiResponses, 0, &event.data)),
            // Sound is no text, and its bytes say nothing of its tokens.
            b"response.audio.delta" | b"response.output_audio.delta" => {
                self.first_content_seen = true;
            }
            kind if kind.ends_with(b".delta") => self.add_text(delta),
            _ => {}
        }
        Ok(())
    }

    pub(super) fn responses_whole(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let [output] = fields(body, ["output"])?;
        for item in elements(output.unwrap_or_default()) {
            let names = ["content", "summary", "arguments", "input"];
            let [content, summary, arguments, input] = fields(item, names)?;
            self.add_text(arguments);
            self.add_text(input);
            let parts = elements(content.unwrap_or_default());
            for part in parts.chain(elements(summary.unwrap_or_default())) {
                let [text, refusal] = fields(part, ["text", "refusal"])?;
                self.add_text(text);
                self.add_text(refusal);
            }
        }
        self.responses_answer(body)
    }

    /// Reads a response object: the body, or what the last event of a stream holds.
    fn responses_answer(&mut self, response: &[u8]) -> Result<(), Malformed> {
        let names = [
            "id",
            "model",
            "status",
            "usage",
            "error",
            "incomplete_details",
            "service_tier",
            "output",
        ];
        let [id, model, status, usage, error, details, tier, output] = fields(response, names)?;
        if is_told(error).is_some() {
            self.error = Some(error_signal(Dialect::OpenAiResponses, 0, response));
        }
        self.answer_id = self.answer_id.take().or_else(|| word(id));
        self.model = self.model.take().or_else(|| word(model));
        let [reason] = fields(is_told(details).unwrap_or(b"{}"), ["reason"])?;
        self.stop_reason = word(reason).or_else(|| word(status));
        if let Some(tier) = tier.and_then(string) {
            self.counts.modifier("service_tier", tier.raw);
        }
        if let Some(usage) = is_told(usage) {
            self.counts.absorb_openai(usage)?;
        }
        let mut searches = 0;
        for item in elements(output.unwrap_or_default()) {
            let [kind] = fields(item, ["type"])?;
            searches += u64::from(kind == Some(br#""web_search_call""#));
        }
        self.counts.at_least_searches(searches);
        Ok(())
    }
}
