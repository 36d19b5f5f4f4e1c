//! A request as the emulator understands it, from the bytes of any dialect.

mod cache_control;

use std::{borrow::Cow, hash::BuildHasher};

use foldhash::fast::FixedState;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::cache_control::split_cache_control;
use crate::{
    directive::{self, Directives},
    world::{Block, Family, Life},
};

/// The wire format of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    Chat,
    /// OpenAI Responses.
    Responses,
}

impl Dialect {
    pub(crate) const fn family(self) -> Family {
        match self {
            Self::Messages => Family::Anthropic,
            Self::Chat | Self::Responses => Family::OpenAi,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) dialect: Dialect,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// Chat Completions' `stream_options.include_usage`.
    pub(crate) include_usage: bool,
    pub(crate) max_tokens: Option<u64>,
    /// Names of the tools that may be called.
    pub(crate) tools: Vec<String>,
    pub(crate) blocks: Vec<Block>,
    /// What the prompt asks of the emulator.
    pub(crate) directives: Directives,
    /// The JSON schema the answer must have, where one is given.
    pub(crate) schema: Option<serde_json::Value>,
    /// Stands for the prompt, to tell a repeated request from a new one.
    pub(crate) prompt: u64,
}

/// Why a body is refused with 400, in the words the client is told.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

impl From<serde_json::Error> for Malformed {
    fn from(error: serde_json::Error) -> Self {
        Self(format!(
            "the request body is not valid JSON of this API: {error}"
        ))
    }
}

#[derive(Deserialize)]
struct Body<'a> {
    model: Option<String>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    max_output_tokens: Option<u64>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    #[serde(borrow)]
    system: Option<&'a RawValue>,
    #[serde(borrow)]
    instructions: Option<&'a RawValue>,
    #[serde(borrow, default)]
    tools: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    messages: Option<Vec<&'a RawValue>>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_control: Option<&'a RawValue>,
    output_config: Option<OutputConfig>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct OutputConfig {
    format: Option<Format>,
}

#[derive(Deserialize)]
struct Format {
    schema: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Turn<'a> {
    #[serde(default)]
    role: String,
    #[serde(default, rename = "type")]
    kind: String,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

impl Turn<'_> {
    fn is_assistant(&self) -> bool {
        self.role == "assistant" || matches!(self.kind.as_str(), "function_call" | "reasoning")
    }
}

#[derive(Deserialize)]
struct Tool {
    name: Option<String>,
    function: Option<Function>,
}

#[derive(Deserialize)]
struct Function {
    name: String,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl Ask {
    /// Reads a body. `counting` is for `count_tokens`, which has no `max_tokens`.
    pub(crate) fn parse(dialect: Dialect, bytes: &[u8], counting: bool) -> Result<Self, Malformed> {
        let body: Body<'_> = serde_json::from_slice(bytes)?;
        let missing = |field: &str| Malformed(format!("{field}: Field required"));
        let model = body.model.clone().ok_or_else(|| missing("model"))?;
        let max_tokens = match dialect {
            Dialect::Messages => body.max_tokens,
            Dialect::Chat => body.max_completion_tokens.or(body.max_tokens),
            Dialect::Responses => body.max_output_tokens,
        };
        if dialect == Dialect::Messages && max_tokens.is_none() && !counting {
            return Err(missing("max_tokens"));
        }
        if max_tokens == Some(0) {
            return Err(Malformed("max_tokens: must be at least 1".into()));
        }
        let items = body.items(dialect)?;
        let turns = turns(&items)?;
        let tools = tool_names(body.tools.as_deref().unwrap_or_default())?;
        let (directives, prompt) = wanted(&turns);
        Ok(Self {
            dialect,
            model,
            stream: body.stream.unwrap_or(false),
            include_usage: body
                .stream_options
                .as_ref()
                .is_some_and(|it| it.include_usage == Some(true)),
            max_tokens,
            blocks: blocks(&body, &items, dialect)?,
            directives,
            schema: body
                .output_config
                .and_then(|it| it.format)
                .and_then(|it| it.schema),
            prompt: FixedState::default().hash_one((prompt, tools.is_empty())),
            tools,
        })
    }

    /// The offered tool that `name` means. Claude Code calls the tool that starts a subagent `Agent` or `Task`.
    pub(crate) fn offered(&self, name: &str) -> Option<&str> {
        let find = |wanted: &str| self.tools.iter().find(|it| *it == wanted);
        let other = match name {
            "Agent" => "Task",
            "Task" => "Agent",
            _ => name,
        };
        find(name).or_else(|| find(other)).map(String::as_str)
    }
}

impl<'a> Body<'a> {
    /// The conversation's items; a plain string of the Responses API is one.
    fn items(&self, dialect: Dialect) -> Result<Vec<&'a RawValue>, Malformed> {
        let required = |field: &str| Malformed(format!("{field}: Field required"));
        let items = match dialect {
            Dialect::Messages | Dialect::Chat => {
                self.messages.clone().ok_or_else(|| required("messages"))?
            }
            Dialect::Responses => {
                let input = self.input.ok_or_else(|| required("input"))?;
                if input.get().starts_with('"') {
                    vec![input]
                } else {
                    serde_json::from_str(input.get())?
                }
            }
        };
        if items.is_empty() {
            return Err(Malformed(
                "messages: at least one message is required".into(),
            ));
        }
        Ok(items)
    }
}

fn turns<'a>(items: &[&'a RawValue]) -> Result<Vec<Turn<'a>>, Malformed> {
    let turn = |item: &&'a RawValue| {
        if item.get().starts_with('"') {
            return Ok(Turn {
                role: "user".into(),
                kind: String::new(),
                content: Some(*item),
            });
        }
        serde_json::from_str(item.get()).map_err(Malformed::from)
    };
    items.iter().map(turn).collect()
}

fn tool_names(tools: &[&RawValue]) -> Result<Vec<String>, Malformed> {
    let mut names = Vec::new();
    for tool in tools {
        let tool: Tool = serde_json::from_str(tool.get())?;
        names.extend(tool.name.or(tool.function.map(|it| it.name)));
    }
    Ok(names)
}

/// The directives for the coming answer, and a fingerprint of the text they stand in.
fn wanted(turns: &[Turn<'_>]) -> (Directives, u64) {
    let (mut rounds, mut in_round) = (0_usize, false);
    for turn in turns.iter().rev() {
        if turn.is_assistant() {
            rounds += usize::from(!in_round);
            in_round = true;
            continue;
        }
        in_round = false;
        let Some(content) = turn.content.filter(|_| turn.role == "user") else {
            continue;
        };
        if let Some((steps, fingerprint)) = steps_in(content.get()) {
            let step = steps.into_iter().nth(rounds);
            return (step.unwrap_or_default(), fingerprint);
        }
    }
    (Directives::default(), 0)
}

/// The steps of the newest text with directives in one message's content.
fn steps_in(content: &str) -> Option<(Vec<Directives>, u64)> {
    memchr::memmem::find(content.as_bytes(), b"sim:")?;
    let texts: Vec<String> = if content.starts_with('"') {
        vec![serde_json::from_str(content).ok()?]
    } else {
        let parts: Vec<Part> = serde_json::from_str(content).ok()?;
        parts.into_iter().filter_map(|it| it.text).collect()
    };
    texts.iter().rev().find_map(|text| {
        let steps = directive::steps(text);
        let fingerprint = FixedState::default().hash_one(text);
        (!steps.is_empty()).then_some((steps, fingerprint))
    })
}

/// One block: whose it is, its bytes without breakpoint, its breakpoint.
type Bare<'a> = (&'static str, Cow<'a, [u8]>, Option<Life>);

fn bare<'a>(role: &'static str, raw: &'a str) -> Bare<'a> {
    let (bytes, life) = split_cache_control(raw);
    (role, bytes, life)
}

fn blocks(body: &Body<'_>, items: &[&RawValue], dialect: Dialect) -> Result<Vec<Block>, Malformed> {
    let mut parts: Vec<Bare<'_>> = Vec::new();
    for tool in body.tools.as_deref().unwrap_or_default() {
        parts.push(bare("tool", tool.get()));
    }
    for system in [body.system, body.instructions].into_iter().flatten() {
        push_content(&mut parts, system.get(), "system")?;
    }
    for item in items {
        match dialect {
            Dialect::Messages => {
                let turn: Turn<'_> = serde_json::from_str(item.get())?;
                let content = turn
                    .content
                    .ok_or_else(|| Malformed("messages.content: Field required".into()))?;
                push_content(&mut parts, content.get(), role_mark(&turn.role)?)?;
            }
            Dialect::Chat | Dialect::Responses => {
                parts.push(bare("item", item.get()));
            }
        }
    }
    if let (Some(whole), Some(last)) = (body.cache_control, parts.last_mut()) {
        let life = cache_control::life_of(whole.get());
        last.2 = last.2.or(life);
    }
    Ok(Block::chain(
        parts
            .iter()
            .map(|(role, bytes, life)| (*role, &**bytes, *life)),
    ))
}

fn role_mark(role: &str) -> Result<&'static str, Malformed> {
    match role {
        "user" => Ok("user"),
        "assistant" => Ok("assistant"),
        "system" => Ok("system"),
        _ => Err(Malformed(
            "messages.role: Input should be 'user', 'assistant' or 'system'".into(),
        )),
    }
}

/// Adds the blocks of one content, string or list. A string is the same as a list of one text.
fn push_content<'a>(
    parts: &mut Vec<Bare<'a>>,
    content: &'a str,
    role: &'static str,
) -> Result<(), Malformed> {
    if content.starts_with('"') {
        let block = [r#"{"type":"text","text":"#, content, "}"].concat();
        parts.push((role, Cow::Owned(block.into_bytes()), None));
        return Ok(());
    }
    let blocks: Vec<&'a RawValue> = serde_json::from_str(content)?;
    for block in blocks {
        parts.push(bare(role, block.get()));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
