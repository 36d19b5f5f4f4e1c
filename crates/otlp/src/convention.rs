//! What names of attributes mean, in one table: where the conventions of years and vendors say the
//! same in other words, the latest word is kept; what has a column of its own goes there.
//!
//! OpenTelemetry's GenAI conventions before and after 1.37, OpenInference, OpenLLMetry, Langfuse, the
//! Vercel AI SDK, and what Claude Code says in words of its own.

use std::{collections::HashMap, sync::LazyLock};

/// A column that an attribute may belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    Service,
    Version,
    Host,
    Process,
    Thread,
    Session,
    Task,
    Request,
    Event,
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// It goes to a column.
    Column(Slot),
    /// It is known under this word of [`WORDS`], whatever it was called.
    Word(usize),
    /// Input tokens without those of the cache, which today's conventions include.
    Uncached,
    /// It holds prompts or answers.
    Content,
}

/// Latest words that have older ones.
pub(crate) const WORDS: &[&str] = &[
    PROVIDER,
    OPERATION,
    MODEL,
    ANSWERED_BY,
    INPUT,
    OUTPUT,
    CACHE_READ,
    CACHE_WRITE,
    REASONING,
    OUTPUT_MAX,
    FINISH,
    STREAM,
    ATTEMPT,
    USER,
];

const PROVIDER: &str = "gen_ai.provider.name";
const OPERATION: &str = "gen_ai.operation.name";
const MODEL: &str = "gen_ai.request.model";
const ANSWERED_BY: &str = "gen_ai.response.model";
pub(crate) const INPUT: &str = "gen_ai.usage.input_tokens";
const OUTPUT: &str = "gen_ai.usage.output_tokens";
pub(crate) const CACHE_READ: &str = "gen_ai.usage.cache_read.input_tokens";
pub(crate) const CACHE_WRITE: &str = "gen_ai.usage.cache_creation.input_tokens";
const REASONING: &str = "gen_ai.usage.reasoning.output_tokens";
const OUTPUT_MAX: &str = "gen_ai.request.max_tokens";
const FINISH: &str = "gen_ai.response.finish_reasons";
const STREAM: &str = "gen_ai.request.stream";
const ATTEMPT: &str = "gen_ai.request.attempt";
const USER: &str = "user.id";

/// Names that hold counts, which some senders write as texts.
pub(crate) fn is_count(name: &str) -> bool {
    name.starts_with("gen_ai.usage.")
}

use Slot::{Event, Host, Process, Request, Service, Session, Task, Thread, Version};

/// Columns, whoever sends it.
const COLUMNS: &[(Slot, &[&str])] = &[
    (Service, &["service.name"]),
    (Version, &["service.version"]),
    (Host, &["host.name"]),
    (Process, &["process.pid"]),
    (Thread, &["thread.name", "thread.id"]),
    (
        Session,
        &[
            "session.id",
            "gen_ai.conversation.id",
            "langfuse.session.id",
            "traceloop.association.properties.session_id",
            "ai.telemetry.metadata.sessionId",
        ],
    ),
    // A prompt of Claude Code is the task that its calls belong to.
    (Task, &["tidegate.task", "prompt.id"]),
    (
        Request,
        &[
            "request_id",
            "request.id",
            "anthropic.request_id",
            "http.response.header.request-id",
            "http.response.header.x-request-id",
        ],
    ),
    (Event, &["event.name"]),
];

/// Words, whoever sends it: the latest one first.
const SAME: &[(&str, &[&str])] = &[
    (
        PROVIDER,
        &[
            "gen_ai.system",
            "llm.provider",
            "llm.system",
            "llm.vendor",
            "ai.model.provider",
        ],
    ),
    (OPERATION, &["llm.request.type", "ai.operationId"]),
    (
        MODEL,
        &[
            "llm.model_name",
            "llm.request.model",
            "langfuse.observation.model.name",
            "ai.model.id",
        ],
    ),
    (ANSWERED_BY, &["llm.response.model", "ai.response.model"]),
    (
        INPUT,
        &[
            "gen_ai.usage.prompt_tokens",
            "llm.usage.prompt_tokens",
            "llm.token_count.prompt",
            "ai.usage.promptTokens",
            "ai.usage.inputTokens",
        ],
    ),
    (
        OUTPUT,
        &[
            "gen_ai.usage.completion_tokens",
            "llm.usage.completion_tokens",
            "llm.token_count.completion",
            "ai.usage.completionTokens",
            "ai.usage.outputTokens",
        ],
    ),
    (
        CACHE_READ,
        &[
            "gen_ai.usage.cache_read_input_tokens",
            "llm.token_count.prompt_details.cache_read",
            "ai.usage.cachedInputTokens",
        ],
    ),
    (
        CACHE_WRITE,
        &[
            "gen_ai.usage.cache_creation_input_tokens",
            "gen_ai.usage.cache_write.input_tokens",
            "llm.token_count.prompt_details.cache_write",
        ],
    ),
    (
        REASONING,
        &[
            "gen_ai.usage.reasoning_tokens",
            "llm.token_count.completion_details.reasoning",
            "ai.usage.reasoningTokens",
        ],
    ),
    (
        OUTPUT_MAX,
        &["gen_ai.request.max_output_tokens", "llm.request.max_tokens"],
    ),
    (
        FINISH,
        &[
            "gen_ai.completion.finish_reason",
            "llm.response.finish_reason",
            "ai.response.finishReason",
        ],
    ),
    (STREAM, &["llm.is_streaming", "gen_ai.is_streaming"]),
    (ATTEMPT, &[]),
    (
        USER,
        &[
            "enduser.id",
            "langfuse.user.id",
            "traceloop.association.properties.user_id",
        ],
    ),
];

/// Words that mean this from Claude Code alone.
const CLAUDE_CODE: &[(&str, &[&str])] = &[
    (MODEL, &["model"]),
    (OUTPUT, &["output_tokens"]),
    (CACHE_READ, &["cache_read_tokens"]),
    (CACHE_WRITE, &["cache_creation_tokens"]),
    (FINISH, &["stop_reason"]),
    (ATTEMPT, &["attempt"]),
];

/// Prompts and answers, whoever sends them.
const CONTENT: &[&str] = &[
    "gen_ai.input.messages",
    "gen_ai.output.messages",
    "gen_ai.system_instructions",
    "gen_ai.tool.definitions",
    "gen_ai.tool.call.arguments",
    "gen_ai.tool.call.result",
    "gen_ai.prompt",
    "gen_ai.completion",
    "gen_ai.event.content",
    "input.value",
    "output.value",
    "llm.prompts",
    "llm.completions",
    "llm.prompt_template.variables",
    "traceloop.entity.input",
    "traceloop.entity.output",
    "langfuse.observation.input",
    "langfuse.observation.output",
    "langfuse.trace.input",
    "langfuse.trace.output",
    "ai.prompt",
    "ai.prompt.messages",
    "ai.prompt.tools",
    "ai.response.text",
    "ai.response.toolCalls",
    "ai.toolCall.args",
    "ai.toolCall.result",
];

/// Prompts and answers of Claude Code.
const CLAUDE_CODE_CONTENT: &[&str] = &[
    "prompt",
    "prompt_text",
    "user_prompt",
    "response",
    "response.model_output",
    "system_prompt",
    "system_prompt_preview",
    "user_system_prompt",
    "new_context",
    "system_reminders",
    "model_output",
    "response.thinking_output",
    "tool_input",
    "tool_parameters",
    "tool_output",
    "tool_result",
    "body",
    "full_command",
    "bash_command",
    "tools",
    "tool",
];

/// Beginnings of names that number what they hold: `gen_ai.prompt.0.content`.
const CONTENT_BEGINNINGS: &[&str] = &[
    "gen_ai.prompt.",
    "gen_ai.completion.",
    "llm.input_messages.",
    "llm.output_messages.",
    "llm.prompts.",
    "llm.completions.",
];

/// Events whose body is a prompt or an answer, by the conventions before 1.37.
const CONTENT_EVENTS: &[&str] = &[
    "gen_ai.system.message",
    "gen_ai.user.message",
    "gen_ai.assistant.message",
    "gen_ai.tool.message",
    "gen_ai.choice",
    "gen_ai.client.inference.operation.details",
];

/// Scopes of Claude Code begin with this.
const CLAUDE_CODE_SCOPE: &str = "com.anthropic.claude_code";

/// Whether a scope's words are those of Claude Code.
pub(crate) fn is_claude_code(scope: &str) -> bool {
    scope.starts_with(CLAUDE_CODE_SCOPE)
}

/// Whether an event's body is a prompt or an answer.
pub(crate) fn is_content(event: &str) -> bool {
    CONTENT_EVENTS.contains(&event)
}

/// What an attribute means; `None` for one that is kept under its own name.
pub(crate) fn meaning(name: &str, claude_code: bool) -> Option<Meaning> {
    static EVERYBODY: LazyLock<HashMap<&str, Meaning>> = LazyLock::new(everybody);
    static CLAUDE: LazyLock<HashMap<&str, Meaning>> = LazyLock::new(claude);
    if claude_code && let Some(it) = CLAUDE.get(name) {
        return Some(*it);
    }
    if let Some(it) = EVERYBODY.get(name) {
        return Some(*it);
    }
    // Its prompts have had other names before, and may have others again.
    let figure = ["_length", "_hash", "_truncated"];
    let prompt =
        claude_code && name.contains("prompt") && !figure.iter().any(|it| name.ends_with(it));
    let numbered = matches!(name.as_bytes().first(), Some(b'g' | b'l'))
        && CONTENT_BEGINNINGS.iter().any(|it| name.starts_with(it));
    (prompt || numbered).then_some(Meaning::Content)
}

fn word(latest: &str) -> Option<Meaning> {
    let place = WORDS.iter().position(|it| *it == latest);
    place.map(Meaning::Word)
}

fn everybody() -> HashMap<&'static str, Meaning> {
    let columns = COLUMNS
        .iter()
        .flat_map(|(slot, names)| names.iter().map(|it| (*it, Meaning::Column(*slot))));
    let content = CONTENT.iter().map(|it| (*it, Meaning::Content));
    columns.chain(content).chain(words(SAME)).collect()
}

fn claude() -> HashMap<&'static str, Meaning> {
    let content = CLAUDE_CODE_CONTENT.iter().map(|it| (*it, Meaning::Content));
    let uncached = std::iter::once(("input_tokens", Meaning::Uncached));
    content.chain(uncached).chain(words(CLAUDE_CODE)).collect()
}

fn words(
    table: &'static [(&'static str, &'static [&'static str])],
) -> impl Iterator<Item = (&'static str, Meaning)> {
    table.iter().flat_map(|(latest, older)| {
        let names = std::iter::once(latest).chain(older.iter());
        names.filter_map(|it| Some((*it, word(latest)?)))
    })
}

#[cfg(test)]
mod tests;
