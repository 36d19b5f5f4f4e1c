//! Requests that carry secrets wherever a client may put some.

use serde_json::{Value, json};

use super::mark;

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Anthropic,
    Chat,
    Responses,
}

impl Dialect {
    pub(super) const ALL: [Self; 3] = [Self::Anthropic, Self::Chat, Self::Responses];

    pub(super) const fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/v1/messages",
            Self::Chat => "/v1/chat/completions",
            Self::Responses => "/v1/responses",
        }
    }

    /// The header that carries the caller's own credential.
    pub(super) fn credential(self) -> String {
        match self {
            Self::Anthropic => format!("x-api-key: {}", mark::key("ApiKey")),
            Self::Chat | Self::Responses => {
                format!("authorization: Bearer {}", mark::project_key("Bearer"))
            }
        }
    }
}

/// A body with secrets in all of its texts. `wish` is a directive for the emulated provider.
pub(super) fn body(dialect: Dialect, model: &str, streamed: bool, wish: &str) -> Value {
    let prompt = format!("{} {wish}", mark::text("Prompt"));
    let mut body = match dialect {
        Dialect::Anthropic => anthropic(&prompt),
        Dialect::Chat => chat(&prompt),
        Dialect::Responses => responses(&prompt),
    };
    body["model"] = model.into();
    body["stream"] = streamed.into();
    body
}

fn anthropic(prompt: &str) -> Value {
    json!({
        "max_tokens": 64,
        "system": [{ "type": "text", "text": mark::text("System") }],
        "metadata": { "user_id": mark::text("UserId") },
        "tools": [{
            "name": "look",
            "description": mark::text("ToolDescription"),
            "input_schema": { "type": "object", "description": mark::text("Schema") },
        }],
        "stop_sequences": [mark::text("StopSequence")],
        "messages": [
            { "role": "user", "content": mark::text("FirstPrompt") },
            { "role": "assistant", "content": [
                { "type": "tool_use", "id": "toolu_1", "name": "look", "input": { "q": mark::text("ToolInput") } },
            ] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "toolu_1", "content": mark::text("ToolResult") },
                { "type": "text", "text": prompt },
            ] },
        ],
    })
}

fn chat(prompt: &str) -> Value {
    let arguments = json!({ "q": mark::text("ToolInput") }).to_string();
    json!({
        "max_completion_tokens": 64,
        "user": mark::text("User"),
        "safety_identifier": mark::text("SafetyIdentifier"),
        "prompt_cache_key": mark::text("CacheKey"),
        "metadata": { "customer": mark::text("Metadata") },
        "tools": [{ "type": "function", "function": {
            "name": "look",
            "description": mark::text("ToolDescription"),
            "parameters": { "type": "object" },
        } }],
        "messages": [
            { "role": "system", "content": mark::text("System") },
            { "role": "user", "content": mark::text("FirstPrompt") },
            { "role": "assistant", "tool_calls": [
                { "id": "call_1", "type": "function", "function": { "name": "look", "arguments": arguments } },
            ] },
            { "role": "tool", "tool_call_id": "call_1", "content": mark::text("ToolResult") },
            { "role": "user", "content": prompt },
        ],
    })
}

fn responses(prompt: &str) -> Value {
    let arguments = json!({ "q": mark::text("ToolInput") }).to_string();
    json!({
        "max_output_tokens": 64,
        "instructions": mark::text("System"),
        "user": mark::text("User"),
        "metadata": { "customer": mark::text("Metadata") },
        "input": [
            { "role": "user", "content": mark::text("FirstPrompt") },
            { "type": "function_call", "call_id": "call_1", "name": "look", "arguments": arguments },
            { "type": "function_call_output", "call_id": "call_1", "output": mark::text("ToolResult") },
            { "role": "user", "content": [{ "type": "input_text", "text": prompt }] },
        ],
    })
}

/// Headers that say nothing to us, each with a secret.
pub(super) fn ordinary_headers() -> Vec<String> {
    vec![
        format!("cookie: session={}", mark::text("Cookie")),
        format!(
            "proxy-authorization: Bearer {}",
            mark::text("ProxyCredential")
        ),
        format!("user-agent: {}", mark::text("UserAgent")),
        format!("referer: http://127.0.0.1/?key={}", mark::text("Referer")),
        format!("x-forwarded-for: {}", mark::text("Forwarded")),
        format!("x-unknown: {}", mark::text("Unknown")),
        format!("tracestate: vendor={}", mark::text("TraceState")),
        format!("baggage: user={}", mark::text("Baggage")),
        format!("idempotency-key: {}", mark::text("IdempotencyKey")),
        "anthropic-version: 2023-06-01".to_owned(),
    ]
}

/// Headers by which a client names its work, each with a secret for a name. Those of one kind are tried one after another,
/// since some win over others.
pub(super) fn naming_headers() -> [Vec<String>; 5] {
    let header = |name: &str, of: &str| format!("{name}: {}", mark::key(of));
    [
        vec![
            header("x-tidegate-task", "Task"),
            header("x-tidegate-parent-task", "ParentTask"),
            header("x-tidegate-session", "Session"),
            header("x-tidegate-task-type", "TaskType"),
        ],
        vec![
            header("x-claude-code-session-id", "CodeSession"),
            header("x-claude-code-agent-id", "Agent"),
            header("x-claude-code-parent-agent-id", "ParentAgent"),
            header("x-claude-code-prompt-id", "PromptId"),
            header("x-claude-code-request-class", "RequestClass"),
        ],
        vec![header("x-tidegate-session", "SessionAlone")],
        vec![
            format!("x-tidegate-task: Bearer {}", mark::text("InBearer")),
            format!("x-tidegate-session: api_key={}", mark::text("InValue")),
        ],
        vec![
            format!("x-tidegate-task: {}", mark::operators_form("OperatorsForm")),
            format!("traceparent: {}", mark::key("TraceParent")),
        ],
    ]
}

/// Headers of ours that can't be understood, so that the call is refused.
pub(super) fn wrong_headers() -> Vec<String> {
    let header = |name: &str, of: &str| format!("{name}: {}", mark::key(of));
    vec![
        header("x-tidegate-priority", "Priority"),
        header("x-tidegate-complexity", "Complexity"),
        header("x-tidegate-platform", "Platform"),
        format!("x-tidegate-task: {}", mark::key("Long").repeat(30)),
    ]
}
