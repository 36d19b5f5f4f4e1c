//! OpenAI Chat Completions: its chunks and whole answers.

use std::ops::Range;

use super::{Tally, closing::is_text, is_told, word};
use crate::{
    Dialect, error_signal,
    json::{Cursor, Malformed, Text, elements, fields, string, whole_number},
};

/// Longest spelling of a chunk that is kept, in bytes. Longer ones are walked each time.
const SPELLING_BYTES_MAX: usize = 1 << 10;

/// How the chunks of this stream are spelled around the text: nearly all of them differ in nothing
/// else, and then there is nothing else to read.
#[derive(Debug)]
pub(super) struct Spelling {
    /// Up to the quote that opens the text, and including it.
    before: Vec<u8>,
    /// From the quote that closes it.
    after: Vec<u8>,
}

impl Spelling {
    /// Keeps what is around the text, which was all that this chunk added.
    fn of(chunk: &[u8], text: &Range<usize>) -> Option<Self> {
        if chunk.len() - text.len() > SPELLING_BYTES_MAX {
            return None;
        }
        Some(Self {
            before: chunk.get(..text.start)?.to_vec(),
            after: chunk.get(text.end..)?.to_vec(),
        })
    }

    /// The text of a chunk that is spelled so.
    fn text<'a>(&self, chunk: &'a [u8]) -> Option<Text<'a>> {
        chunk.strip_prefix(&self.before[..])?;
        let mut cursor = Cursor::new(chunk.get(self.before.len() - 1..)?);
        let text = cursor.text().ok()?;
        let after = self.before.len() + text.raw.len();
        (chunk.get(after..) == Some(&self.after)).then_some(text)
    }
}

impl Tally {
    pub(super) fn chat_event(&mut self, data: &[u8]) -> Result<(), Malformed> {
        if let Some(text) = self.spelling.as_ref().and_then(|it| it.text(data)) {
            self.add_bytes(text.decoded_len());
            return Ok(());
        }
        if data == b"[DONE]" {
            self.complete = true;
            // Some providers count in every chunk: the last one is the whole only at the end.
            self.final_counts = self.counts.are_told();
            return Ok(());
        }
        let (before, mut content) = (self.text_bytes, None);
        let choices = self.chat_answer(data, &mut content)?;
        if choices == 0 && self.counts.are_told() {
            self.final_counts = true;
        }
        // What is taken in again from equal bytes changes nothing, but for text, which adds up.
        let only = content.filter(|it| it.decoded_len() as u64 == self.text_bytes - before);
        self.spelling = only.and_then(|it| Spelling::of(data, &it.span()));
        Ok(())
    }

    pub(super) fn chat_whole(&mut self, body: &[u8]) -> Result<(), Malformed> {
        self.chat_answer(body, &mut None).map(|_choices| ())
    }

    /// Reads a chunk or a whole answer, which have the same shape but for `delta` and `message`,
    /// and returns how many choices it has; `content` becomes the last string that is the text of
    /// one. In one pass, since most bytes of a stream come by here.
    fn chat_answer<'a>(
        &mut self,
        json: &'a [u8],
        content: &mut Option<Text<'a>>,
    ) -> Result<usize, Malformed> {
        let mut cursor = Cursor::new(json);
        cursor.open(b'{', "an object")?;
        let (mut first, mut choices) = (true, 0);
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"choices" if cursor.peek() == Some(b'[') => {
                    cursor.open(b'[', "an array")?;
                    let mut first = true;
                    while cursor.next_element(&mut first)? {
                        choices += 1;
                        self.chat_choice(&mut cursor, content)?;
                    }
                }
                b"id" if self.answer_id.is_none() => self.answer_id = word(Some(cursor.value()?)),
                b"model" if self.model.is_none() => self.model = word(Some(cursor.value()?)),
                b"usage" => {
                    if let Some(usage) = is_told(Some(cursor.value()?)) {
                        self.counts.absorb_openai(usage)?;
                    }
                }
                b"created" => self.opened.created(Some(cursor.value()?)),
                b"service_tier" => {
                    if let Some(tier) = string(cursor.value()?) {
                        self.counts.modifier("service_tier", tier.raw);
                    }
                }
                b"error" => {
                    if is_told(Some(cursor.value()?)).is_some() {
                        self.error = Some(error_signal(Dialect::OpenAiChat, 0, json));
                    }
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        cursor.end()?;
        Ok(choices)
    }

    fn chat_choice<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        content: &mut Option<Text<'a>>,
    ) -> Result<(), Malformed> {
        cursor.open(b'{', "a choice")?;
        let (mut first, mut index, mut ended) = (true, 0, false);
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"index" => index = whole_number(cursor.value()?).unwrap_or(0),
                b"delta" | b"message" if cursor.peek() == Some(b'{') => {
                    self.chat_said(cursor, content)?;
                }
                b"finish_reason" => {
                    let value = cursor.value()?;
                    ended |= is_text(value);
                    if let Some(reason) = word(Some(value)) {
                        self.stop_reason = Some(reason);
                    }
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        self.opened.choice(index, ended);
        Ok(())
    }

    fn chat_said<'a>(
        &mut self,
        cursor: &mut Cursor<'a>,
        content: &mut Option<Text<'a>>,
    ) -> Result<(), Malformed> {
        cursor.open(b'{', "a message")?;
        let (mut first, mut reasoning) = (true, 0);
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"content" | b"refusal" if cursor.peek() == Some(b'"') => {
                    let text = cursor.text()?;
                    self.add_bytes(text.decoded_len());
                    *content = Some(text);
                }
                // Two names for the same text, which some providers send both.
                b"reasoning" | b"reasoning_content" if cursor.peek() == Some(b'"') => {
                    reasoning = cursor.text()?.decoded_len().max(reasoning);
                }
                b"tool_calls" => {
                    for call in elements(cursor.value()?) {
                        let [function] = fields(call, ["function"])?;
                        let [arguments] = fields(function.unwrap_or(b"{}"), ["arguments"])?;
                        self.add_text(arguments);
                    }
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        self.add_bytes(reasoning);
        Ok(())
    }
}
