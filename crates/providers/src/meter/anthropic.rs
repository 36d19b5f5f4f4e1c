//! Anthropic Messages: its events and whole answers.

use super::{Tally, is_told, word};
use crate::{
    Dialect, error_signal,
    json::{Cursor, Malformed, Text, fields, string},
    sse::Event,
};

impl Tally {
    pub(super) fn anthropic_event(&mut self, event: &Event<'_>) -> Result<(), Malformed> {
        if let Some(text) = plain_delta(&event.data) {
            self.add_bytes(text.decoded_len());
            return Ok(());
        }
        let names = [
            "type",
            "delta",
            "message",
            "usage",
            "content_block",
            "index",
        ];
        let [kind, delta, message, usage, block, index] = fields(&event.data, names)?;
        // Some relays leave out the one, some the other.
        let kind = kind.and_then(string).map_or(event.name, |it| it.raw);
        match kind {
            b"content_block_delta" => {
                let names = ["text", "thinking", "partial_json"];
                for text in fields(delta.unwrap_or(b"{}"), names)? {
                    self.add_text(text);
                }
            }
            b"content_block_start" => {
                self.first_content_seen = true;
                self.opened.open_block(index);
                for text in fields(block.unwrap_or(b"{}"), ["text", "thinking"])? {
                    self.add_text(text);
                }
            }
            b"content_block_stop" => self.opened.close_block(),
            b"message_start" => self.anthropic_start(message.unwrap_or(b"{}"))?,
            b"message_delta" => {
                let [reason] = fields(delta.unwrap_or(b"{}"), ["stop_reason"])?;
                if let Some(reason) = word(reason) {
                    self.stop_reason = Some(reason);
                }
                if let Some(usage) = is_told(usage) {
                    self.counts.absorb_anthropic(usage)?;
                    // Of several, the last is final: it gives the reason.
                    self.final_counts = self.stop_reason.is_some() && self.counts.are_told();
                }
            }
            b"message_stop" => self.complete = true,
            b"error" => self.error = Some(error_signal(Dialect::Anthropic, 0, &event.data)),
            _ => {}
        }
        Ok(())
    }

    fn anthropic_start(&mut self, message: &[u8]) -> Result<(), Malformed> {
        let [id, model, usage] = fields(message, ["id", "model", "usage"])?;
        self.opened.begin_message();
        self.answer_id = word(id);
        self.model = word(model);
        match is_told(usage) {
            Some(usage) => self.counts.absorb_anthropic(usage),
            None => Ok(()),
        }
    }

    /// In one pass: most of an answer is its text, which is not worth a second look.
    pub(super) fn anthropic_whole(&mut self, body: &[u8]) -> Result<(), Malformed> {
        let mut cursor = Cursor::new(body);
        cursor.open(b'{', "an object")?;
        let (mut first, mut failed) = (true, false);
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"content" if cursor.peek() == Some(b'[') => self.anthropic_content(&mut cursor)?,
                b"type" => failed |= cursor.value()? == br#""error""#,
                b"error" => failed |= is_told(Some(cursor.value()?)).is_some(),
                b"id" => self.answer_id = word(Some(cursor.value()?)),
                b"model" => self.model = word(Some(cursor.value()?)),
                b"stop_reason" => self.stop_reason = word(Some(cursor.value()?)),
                b"usage" => {
                    if let Some(usage) = is_told(Some(cursor.value()?)) {
                        self.counts.absorb_anthropic(usage)?;
                    }
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        cursor.end()?;
        if failed {
            self.error = Some(error_signal(Dialect::Anthropic, 0, body));
        }
        Ok(())
    }

    fn anthropic_content(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Malformed> {
        cursor.open(b'[', "an array")?;
        let mut first = true;
        while cursor.next_element(&mut first)? {
            cursor.open(b'{', "a block of content")?;
            let mut first = true;
            while let Some(key) = cursor.next_key(&mut first)? {
                match &*key {
                    b"text" | b"thinking" if cursor.peek() == Some(b'"') => {
                        self.add_bytes(cursor.text()?.decoded_len());
                    }
                    b"input" => self.add_bytes(cursor.value()?.len()),
                    _ => {
                        cursor.skip()?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The text of a delta that is spelled as Anthropic spells it: nearly every event of a stream, and
/// not worth a walk. Any other spelling is left to the walk.
fn plain_delta(data: &[u8]) -> Option<Text<'_>> {
    let rest = data.strip_prefix(br#"{"type":"content_block_delta","index":"#)?;
    let digits = rest.iter().take_while(|it| it.is_ascii_digit()).count();
    let rest = rest.get(digits..)?.strip_prefix(br#","delta":{"type":""#)?;
    let rest = rest
        .strip_prefix(br#"text_delta","text":"#)
        .or_else(|| rest.strip_prefix(br#"input_json_delta","partial_json":"#))
        .or_else(|| rest.strip_prefix(br#"thinking_delta","thinking":"#))?;
    let mut cursor = Cursor::new(rest);
    let text = cursor.text().ok()?;
    (rest.get(cursor.at()..) == Some(b"}}")).then_some(text)
}
