//! The walk over a request's body.

mod content;
mod fingerprint;
mod session;

use std::ops::{Range, RangeInclusive};

use content::Conversation;
use tidegate_types::Modifiers;

use super::{
    CHOICES_MAX, CacheWrite, MODEL_BYTES_MAX, OTHER_MODELS_MAX, OutputCap, RequestError,
    RequestFacts, SERVER_TOOL_USES_DEFAULT, StreamOptions,
};
use crate::{
    Dialect,
    json::{Cursor, Text, whole_number},
};

/// Top-level keys that limits, prices or records depend on.
const fn governed(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Anthropic => &[
            "model",
            "max_tokens",
            "messages",
            "system",
            "tools",
            "stream",
            "thinking",
            "metadata",
            "cache_control",
            "speed",
            "inference_geo",
            "service_tier",
            "mcp_servers",
            "fallbacks",
        ],
        Dialect::OpenAiChat => &[
            "model",
            "max_tokens",
            "max_completion_tokens",
            "messages",
            "tools",
            "stream",
            "stream_options",
            "n",
            "service_tier",
            "web_search_options",
        ],
        Dialect::OpenAiResponses => &[
            "model",
            "max_output_tokens",
            "input",
            "tools",
            "stream",
            "service_tier",
            "max_tool_calls",
            "previous_response_id",
            "conversation",
            "prompt",
            "background",
        ],
    }
}

pub(super) fn scan(dialect: Dialect, body: &[u8]) -> Result<RequestFacts, RequestError> {
    let mut cursor = Cursor::new(body);
    if !matches!(cursor.peek(), Some(b'{') | None) {
        // Told apart from text that is no JSON at all.
        cursor.skip()?;
        cursor.end()?;
        return Err(RequestError::NotAnObject);
    }
    cursor.open(b'{', "`{`")?;
    let mut walk = Walk::new(dialect);
    walk.facts.places.top = cursor.at();
    let (mut first, mut seen) = (true, 0_u32);
    while let Some(key) = cursor.next_key(&mut first)? {
        match governed_key(dialect, &key, &mut seen)? {
            Some(key) => walk.member(&mut cursor, key)?,
            None => {
                cursor.skip()?;
            }
        }
    }
    cursor.end()?;
    walk.finish()
}

/// Which governed key this is, if one; refused if it was there before or in another case.
fn governed_key(
    dialect: Dialect,
    key: &[u8],
    seen: &mut u32,
) -> Result<Option<&'static str>, RequestError> {
    let keys = governed(dialect);
    if let Some(at) = keys.iter().position(|it| it.as_bytes() == key) {
        let (bit, key) = (1 << at, keys.get(at).copied().unwrap_or_default());
        if *seen & bit != 0 {
            return Err(RequestError::Duplicate { key });
        }
        *seen |= bit;
        return Ok(Some(key));
    }
    match keys
        .iter()
        .find(|it| it.as_bytes().eq_ignore_ascii_case(key))
    {
        None => Ok(None),
        Some(meant) => Err(RequestError::Ambiguous {
            key: meant,
            written: String::from_utf8_lossy(key).into_owned(),
        }),
    }
}

struct Walk {
    dialect: Dialect,
    facts: RequestFacts,
    conversation: Conversation,
    has_model: bool,
    tool_calls_max: Option<u64>,
}

impl Walk {
    fn new(dialect: Dialect) -> Self {
        let facts = RequestFacts {
            choices: 1,
            ..RequestFacts::default()
        };
        Self {
            dialect,
            facts,
            conversation: Conversation::new(dialect),
            has_model: false,
            tool_calls_max: None,
        }
    }

    fn member(&mut self, cursor: &mut Cursor<'_>, key: &'static str) -> Result<(), RequestError> {
        match key {
            "model" => self.model(cursor)?,
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" => {
                self.cap(cursor, key)?;
            }
            "stream" => self.facts.stream = flag(cursor, key)?.unwrap_or(false),
            "background" => self.facts.background = flag(cursor, key)?.unwrap_or(false),
            "stream_options" => self.stream_options(cursor)?,
            "n" => {
                let choices = number(cursor, key, 1..=CHOICES_MAX)?;
                self.facts.choices = choices.value.unwrap_or(1);
            }
            "thinking" => self.thinking(cursor)?,
            "messages" | "input" => self.conversation.messages(cursor, key)?,
            "system" => self.conversation.system(cursor)?,
            "cache_control" => self.conversation.cache_control(cursor)?,
            "tools" => self.tools(cursor)?,
            "mcp_servers" => self.mcp_servers(cursor)?,
            "web_search_options" => {
                if cursor.null().is_none() {
                    cursor.skip()?;
                    self.add_server_tool(SERVER_TOOL_USES_DEFAULT);
                }
            }
            "max_tool_calls" => {
                self.tool_calls_max = number(cursor, key, 1..=COUNT_MAX)?.value;
            }
            "fallbacks" => self.fallbacks(cursor)?,
            "speed" | "inference_geo" | "service_tier" => self.modifier(cursor, key)?,
            "metadata" => self.facts.session = session::of_metadata(cursor)?,
            "previous_response_id" | "conversation" | "prompt" => {
                if cursor.null().is_none() {
                    cursor.skip()?;
                    self.facts.stored_context = true;
                }
            }
            _ => {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<RequestFacts, RequestError> {
        let Self {
            mut facts,
            conversation,
            has_model,
            tool_calls_max,
            ..
        } = self;
        if !has_model {
            return Err(RequestError::Missing { key: "model" });
        }
        facts.messages = conversation.messages;
        facts.conversation = conversation.fingerprint;
        facts.ends_in_tool_result = conversation.ends_in_tool_result;
        facts.cache_write = facts.cache_write.max(conversation.cache_write);
        facts.references = conversation.references;
        if let Some(max) = tool_calls_max {
            facts.server_tool_uses = facts.server_tool_uses.min(max);
        }
        let one_token = facts.output_cap.as_ref().is_some_and(|it| it.value == 1);
        facts.quota_probe =
            one_token && !facts.stream && facts.messages == 1 && conversation.text_is_quota;
        Ok(facts)
    }

    fn model(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'"') {
            return Err(wrong_type(cursor, "model", "the model's name as a string"));
        }
        let text = cursor.text()?;
        self.facts.model = model_name(text)?;
        self.facts.model_span = text.span();
        self.has_model = true;
        Ok(())
    }

    fn cap(&mut self, cursor: &mut Cursor<'_>, key: &'static str) -> Result<(), RequestError> {
        // Anthropic's zero asks for no answer, and fills the cache.
        let least = u64::from(self.dialect != Dialect::Anthropic);
        let written = number(cursor, key, least..=COUNT_MAX)?;
        match written.value {
            Some(_) if self.facts.output_cap.is_some() => Err(RequestError::TwoCaps),
            Some(value) => {
                let digits = written.place;
                self.facts.output_cap = Some(OutputCap { value, digits });
                Ok(())
            }
            None => {
                self.facts.places.null_cap = Some(written.place);
                Ok(())
            }
        }
    }

    fn stream_options(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if let Some(null) = cursor.null() {
            self.facts.places.stream_options = StreamOptions::Null(null);
            return Ok(());
        }
        if cursor.peek() != Some(b'{') {
            return Err(wrong_type(cursor, "stream_options", "an object"));
        }
        cursor.open(b'{', "`{`")?;
        let inside = cursor.at();
        let (mut first, mut empty) = (true, true);
        let mut asked = None;
        while let Some(key) = cursor.next_key(&mut first)? {
            empty = false;
            if *key != *b"include_usage" {
                cursor.skip()?;
                continue;
            }
            let key = "stream_options.include_usage";
            if asked.is_some() {
                return Err(RequestError::Duplicate { key });
            }
            cursor.peek();
            let start = cursor.at();
            self.facts.include_usage = flag(cursor, key)?;
            asked = Some(start..cursor.at());
        }
        self.facts.places.stream_options = match asked {
            Some(written) => StreamOptions::IncludeUsage(written),
            None => StreamOptions::Object { inside, empty },
        };
        Ok(())
    }

    fn thinking(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'{') {
            cursor.skip()?;
            return Ok(());
        }
        cursor.open(b'{', "`{`")?;
        let mut first = true;
        while let Some(key) = cursor.next_key(&mut first)? {
            if *key != *b"budget_tokens" {
                cursor.skip()?;
                continue;
            }
            let key = "thinking.budget_tokens";
            if self.facts.thinking_budget.is_some() {
                return Err(RequestError::Duplicate { key });
            }
            self.facts.thinking_budget = number(cursor, key, 1..=COUNT_MAX)?.value;
        }
        Ok(())
    }

    fn tools(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'[') {
            cursor.skip()?;
            return Ok(());
        }
        cursor.open(b'[', "`[`")?;
        let mut first = true;
        while cursor.next_element(&mut first)? {
            self.facts.tools = self.facts.tools.saturating_add(1);
            if cursor.peek() == Some(b'{') {
                self.tool(cursor)?;
            } else {
                cursor.skip()?;
            }
        }
        Ok(())
    }

    fn tool(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        cursor.open(b'{', "`{`")?;
        let (mut first, mut run_by_provider, mut uses) = (true, false, None);
        while let Some(key) = cursor.next_key(&mut first)? {
            match &*key {
                b"type" if cursor.peek() == Some(b'"') => {
                    let kind = cursor.text()?.decoded()?;
                    run_by_provider |= is_run_by_provider(self.dialect, &kind);
                }
                b"max_uses" => {
                    let key = "tools[].max_uses";
                    let max = number(cursor, key, 1..=COUNT_MAX)?.value;
                    // Twice in one tool: the larger one bounds what either reading allows.
                    uses = uses.max(max);
                }
                b"model" => self.other_model(cursor)?,
                b"cache_control" => self.conversation.cache_control(cursor)?,
                _ => {
                    cursor.skip()?;
                }
            }
        }
        if run_by_provider {
            self.add_server_tool(uses.unwrap_or(SERVER_TOOL_USES_DEFAULT));
        }
        Ok(())
    }

    /// Each server's tools are called by the provider, as often as the model likes.
    fn mcp_servers(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'[') {
            cursor.skip()?;
            return Ok(());
        }
        cursor.open(b'[', "`[`")?;
        let mut first = true;
        while cursor.next_element(&mut first)? {
            cursor.skip()?;
            self.add_server_tool(SERVER_TOOL_USES_DEFAULT);
        }
        Ok(())
    }

    fn add_server_tool(&mut self, uses: u64) {
        self.facts.server_tool_uses = self.facts.server_tool_uses.saturating_add(uses);
    }

    /// A list of names, or of objects with a `model`.
    fn fallbacks(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'[') {
            return match cursor.null() {
                Some(_) => Ok(()),
                None => Err(wrong_type(cursor, "fallbacks", "a list of models")),
            };
        }
        cursor.open(b'[', "`[`")?;
        let mut first = true;
        while cursor.next_element(&mut first)? {
            if cursor.peek() != Some(b'{') {
                self.other_model(cursor)?;
                continue;
            }
            cursor.open(b'{', "`{`")?;
            let mut first = true;
            while let Some(key) = cursor.next_key(&mut first)? {
                if *key == *b"model" {
                    self.other_model(cursor)?;
                } else {
                    cursor.skip()?;
                }
            }
        }
        Ok(())
    }

    fn other_model(&mut self, cursor: &mut Cursor<'_>) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'"') {
            cursor.skip()?;
            return Ok(());
        }
        let name = model_name(cursor.text()?)?;
        if self.facts.other_models.len() >= OTHER_MODELS_MAX {
            return Err(RequestError::TooManyModels);
        }
        self.facts.other_models.push(name);
        Ok(())
    }

    fn modifier(&mut self, cursor: &mut Cursor<'_>, key: &str) -> Result<(), RequestError> {
        if cursor.peek() != Some(b'"') {
            cursor.skip()?;
            return Ok(());
        }
        let word = cursor.text()?.decoded()?;
        apply_modifier(&mut self.facts.modifiers, key, &word);
        Ok(())
    }
}

/// What `speed`, `inference_geo` or `service_tier` says about the price, in a request or in the
/// usage of an answer. Any geography that is not global is regional.
pub(crate) fn apply_modifier(modifiers: &mut Modifiers, key: &str, word: &[u8]) {
    match (key, word) {
        ("speed", b"fast") | ("service_tier", b"fast" | b"priority") => modifiers.fast = true,
        ("service_tier", b"flex") => modifiers.flex = true,
        ("service_tier", b"batch") => modifiers.batch = true,
        ("inference_geo", b"global" | b"not_available" | b"") => {}
        ("inference_geo", _) => modifiers.regional = true,
        _ => {}
    }
}

/// Tools of these kinds are run by the client, or cost nothing beyond their tokens. Any other kind
/// that has a name is taken to be run by the provider, so that a new one is not free.
fn is_run_by_provider(dialect: Dialect, kind: &[u8]) -> bool {
    let (whole, prefixes): (&[&str], &[&str]) = match dialect {
        Dialect::Anthropic => (
            // An MCP toolset is counted with its server.
            &["custom", "mcp_toolset"],
            &[
                "bash_",
                "text_editor_",
                "computer_",
                "memory_",
                "tool_search_tool_",
            ],
        ),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => (
            &[
                "function",
                "custom",
                "local_shell",
                "apply_patch",
                "namespace",
                "tool_search",
            ],
            &["computer"],
        ),
    };
    !whole.iter().any(|it| it.as_bytes() == kind)
        && !prefixes.iter().any(|it| kind.starts_with(it.as_bytes()))
}

fn model_name(text: Text<'_>) -> Result<String, RequestError> {
    let name = text.to_text()?;
    match name.len() {
        1..=MODEL_BYTES_MAX if name.chars().any(char::is_control) => {
            Err(RequestError::ModelCharacters)
        }
        1..=MODEL_BYTES_MAX => Ok(name),
        bytes => Err(RequestError::ModelName { bytes }),
    }
}

/// The most that a count can be.
const COUNT_MAX: u64 = u32::MAX as u64;

struct Number {
    /// `None` for `null`.
    value: Option<u64>,
    place: Range<usize>,
}

fn number(
    cursor: &mut Cursor<'_>,
    key: &'static str,
    range: RangeInclusive<u64>,
) -> Result<Number, RequestError> {
    if let Some(place) = cursor.null() {
        return Ok(Number { value: None, place });
    }
    if !matches!(cursor.peek(), Some(b'0'..=b'9' | b'-')) {
        return Err(wrong_type(cursor, key, "a whole number"));
    }
    let start = cursor.at();
    let literal = cursor.literal()?;
    let place = start..cursor.at();
    let fits = whole_number(literal).filter(|it| range.contains(it));
    match fits {
        // JSON has no leading zeros; some parsers read them as octal.
        Some(_) if literal.len() > 1 && literal.starts_with(b"0") => {
            Err(cursor.malformed("a number").into())
        }
        Some(value) => Ok(Number {
            value: Some(value),
            place,
        }),
        None => Err(RequestError::OutOfRange {
            key,
            value: shortened(literal),
            min: *range.start(),
            max: *range.end(),
        }),
    }
}

fn flag(cursor: &mut Cursor<'_>, key: &'static str) -> Result<Option<bool>, RequestError> {
    if cursor.null().is_some() {
        return Ok(None);
    }
    if !matches!(cursor.peek(), Some(b't' | b'f')) {
        return Err(wrong_type(cursor, key, "true or false"));
    }
    Ok(Some(cursor.literal()? == b"true"))
}

fn wrong_type(cursor: &mut Cursor<'_>, key: &'static str, wanted: &'static str) -> RequestError {
    let kind = match cursor.peek() {
        Some(b'"') => "a string",
        Some(b'{') => "an object",
        Some(b'[') => "an array",
        Some(b't' | b'f') => "a boolean",
        _ => "",
    };
    let found = if kind.is_empty() {
        match cursor.literal() {
            Ok(literal) => shortened(literal),
            Err(malformed) => return malformed.into(),
        }
    } else {
        kind.to_owned()
    };
    RequestError::WrongType { key, found, wanted }
}

fn shortened(literal: &[u8]) -> String {
    String::from_utf8_lossy(literal).chars().take(40).collect()
}
