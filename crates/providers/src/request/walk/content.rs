//! Messages and their content: who speaks last, what is cached, what is only referred to.

use super::{CacheWrite, fingerprint::Fingerprint};
use crate::{
    Dialect, RequestError,
    json::Cursor,
    request::{CONTENT_DEPTH_MAX, FINGERPRINT_BYTES},
};

/// What the messages add up to.
#[derive(Debug)]
pub(super) struct Conversation {
    dialect: Dialect,
    pub(super) messages: u32,
    pub(super) fingerprint: u64,
    pub(super) ends_in_tool_result: bool,
    pub(super) cache_write: CacheWrite,
    pub(super) references: u32,
    /// The last message's text is the word with which Claude Code probes its quota.
    pub(super) text_is_quota: bool,
    /// Fed with the text of the message that is being read, while no message has given the
    /// conversation's fingerprint yet.
    feeding: Option<Fingerprint>,
}

/// What one message, item or content block is.
#[derive(Clone, Copy, Debug, Default)]
struct Part {
    role: Role,
    /// It is, or directly holds, what a tool gave.
    is_result: bool,
    holds_result: bool,
    is_item_reference: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Role {
    #[default]
    Unsaid,
    System,
    User,
    Tool,
    Other,
}

impl Role {
    const fn of(word: &[u8]) -> Self {
        match word {
            b"system" | b"developer" => Self::System,
            b"user" => Self::User,
            b"tool" | b"function" => Self::Tool,
            _ => Self::Other,
        }
    }
}

impl Conversation {
    pub(super) const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            messages: 0,
            fingerprint: 0,
            ends_in_tool_result: false,
            cache_write: CacheWrite::None,
            references: 0,
            text_is_quota: false,
            feeding: None,
        }
    }

    /// Reads `messages`, or the `input` of Responses, which may be a bare string.
    pub(super) fn messages(
        &mut self,
        cursor: &mut Cursor<'_>,
        key: &'static str,
    ) -> Result<(), RequestError> {
        match cursor.peek() {
            Some(b'[') => self.list(cursor),
            Some(b'"') if self.dialect == Dialect::OpenAiResponses => {
                self.messages = 1;
                let text = cursor.text()?;
                let mut fingerprint = Fingerprint::new();
                fingerprint.feed(text.raw);
                self.fingerprint = fingerprint.value();
                Ok(())
            }
            Some(b'n') if cursor.null().is_some() => Ok(()),
            _ => Err(super::wrong_type(cursor, key, "a list of messages")),
        }
    }

    fn list(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        cursor.open(b'[', "`[`")?;
        let mut first = true;
        while cursor.next_element(&mut first)? {
            self.messages = self.messages.saturating_add(1);
            if cursor.peek() != Some(b'{') {
                cursor.skip()?;
                continue;
            }
            self.feeding = (self.fingerprint == 0).then(Fingerprint::new);
            self.text_is_quota = false;
            let whole = cursor.clone();
            let part = self.part(cursor, 0)?;
            if part.role == Role::System {
                continue;
            }
            self.ends_in_tool_result = match self.dialect {
                Dialect::Anthropic => part.role == Role::User && part.holds_result,
                Dialect::OpenAiChat => part.role == Role::Tool,
                Dialect::OpenAiResponses => part.is_result,
            };
            if let Some(fed) = self.feeding.take() {
                self.fingerprint = settle(fed, whole)?;
            }
        }
        self.feeding = None;
        Ok(())
    }

    /// Reads Anthropic's `system`, a string or blocks.
    pub(super) fn system(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        self.content(cursor, 0).map(|_part| ())
    }

    /// Reads the `cache_control` that is next.
    pub(super) fn cache_control(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.null().is_some() {
            return Ok(());
        }
        let mut write = CacheWrite::FiveMinutes;
        if cursor.peek() == Some(b'{') {
            cursor.open(b'{', "`{`")?;
            let mut first = true;
            while let Some(key) = cursor.next_key(&mut first)? {
                if *key == *b"ttl" && cursor.peek() == Some(b'"') {
                    let ttl = cursor.text()?.decoded()?;
                    if *ttl != *b"5m" {
                        write = CacheWrite::OneHour;
                    }
                } else {
                    cursor.skip()?;
                }
            }
        } else {
            cursor.skip()?;
        }
        self.cache_write = self.cache_write.max(write);
        Ok(())
    }

    /// A message, an input item or a content block: the object that is next.
    fn part(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Result<Part, RequestError> {
        if depth > CONTENT_DEPTH_MAX {
            return Err(RequestError::TooDeep);
        }
        cursor.open(b'{', "`{`")?;
        let (mut first, mut part) = (true, Part::default());
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"type" if cursor.peek() == Some(b'"') => {
                    let kind = cursor.text()?.decoded()?;
                    part.is_result |= match self.dialect {
                        Dialect::Anthropic => *kind == *b"tool_result",
                        Dialect::OpenAiChat => false,
                        Dialect::OpenAiResponses => kind.ends_with(b"call_output"),
                    };
                    part.is_item_reference |= *kind == *b"item_reference";
                }
                b"role" if depth == 0 && cursor.peek() == Some(b'"') => {
                    part.role = Role::of(&cursor.text()?.decoded()?);
                }
                b"text" if cursor.peek() == Some(b'"') => self.text(cursor)?,
                b"content" | b"output" => {
                    part.holds_result |= self.content(cursor, depth + 1)?;
                }
                b"source" => self.source(cursor, depth)?,
                b"cache_control" => self.cache_control(cursor)?,
                b"image_url" | b"video_url" | b"audio_url" => self.linked(cursor)?,
                b"file" => self.file(cursor)?,
                b"file_id" | b"file_url" => self.reference(cursor)?,
                _ => {
                    cursor.skip()?;
                }
            }
        }
        if part.is_item_reference {
            self.refer();
        }
        Ok(part)
    }

    /// A string, a block or a list of blocks. Tells whether one of them is what a tool gave.
    fn content(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Result<bool, RequestError> {
        match cursor.peek() {
            Some(b'"') => {
                self.text(cursor)?;
                Ok(false)
            }
            Some(b'{') => Ok(self.part(cursor, depth.max(1))?.is_result),
            Some(b'[') => {
                cursor.open(b'[', "`[`")?;
                let (mut first, mut holds_result) = (true, false);
                while cursor.next_element(&mut first)? {
                    if cursor.peek() == Some(b'{') {
                        holds_result |= self.part(cursor, depth.max(1))?.is_result;
                    } else {
                        cursor.skip()?;
                    }
                }
                Ok(holds_result)
            }
            _ => {
                cursor.skip()?;
                Ok(false)
            }
        }
    }

    fn text(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        let text = cursor.text()?;
        self.text_is_quota = text.raw == b"quota";
        if let Some(fingerprint) = &mut self.feeding {
            fingerprint.feed(text.raw);
        }
        Ok(())
    }

    /// Anthropic's `source` of an image or document: inline, by URL, by file, or blocks again.
    fn source(&mut self, cursor: &mut Cursor<'_>, depth: u32) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'{') {
            // Elsewhere `source` is a string, the origin of a search result.
            cursor.skip()?;
            return Ok(());
        }
        cursor.open(b'{', "`{`")?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"url" | b"file_id" => self.reference(cursor)?,
                b"content" => {
                    self.content(cursor, depth + 1)?;
                }
                _ => {
                    cursor.skip()?;
                }
            }
        }
        Ok(())
    }

    /// A URL as a string, or in an object.
    fn linked(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        self.inside(cursor, b"url")
    }

    fn file(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        self.inside(cursor, b"file_id")
    }

    fn inside(&mut self, cursor: &mut Cursor<'_>, wanted: &[u8]) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'{') {
            return self.reference(cursor);
        }
        cursor.open(b'{', "`{`")?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first)? {
            if *key == *wanted {
                self.reference(cursor)?;
            } else {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    /// A string that names content, unless it contains it (`data:` URLs).
    fn reference(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'"') {
            cursor.skip()?;
            return Ok(());
        }
        if !cursor.text()?.raw.starts_with(b"data:") {
            self.refer();
        }
        Ok(())
    }

    const fn refer(&mut self) {
        self.references = self.references.saturating_add(1);
    }
}

/// The fingerprint that a message's text gave, or its bytes where it has no text.
fn settle(fed: Fingerprint, mut whole: Cursor<'_>) -> Result<u64, RequestError> {
    if fed.is_fed() {
        return Ok(fed.value());
    }
    let message = whole.value()?;
    let mut fingerprint = Fingerprint::new();
    fingerprint.feed(message.get(..FINGERPRINT_BYTES).unwrap_or(message));
    Ok(fingerprint.value())
}
