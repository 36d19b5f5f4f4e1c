//! Request bodies for recorded calls: the right size, growing turn by turn, as Claude Code sends them.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use tidegate_types::{Tokens, Usage};

use super::Row;

/// Tools and system prompt of a Claude Code session, in tokens; at most 3/4 of the first input.
const HEAD_TOKENS: u64 = 15_000;
const BREAKPOINT: &str = r#","cache_control":{"type":"ephemeral"}"#;
/// What Claude Code sends as `max_tokens`.
const MAX_TOKENS: u64 = 128_000;
const TOOL: &str = r#"{"name":"Bash","description":"Runs a command","input_schema":{"type":"object","properties":{"command":{"type":"string"}}}}"#;
const FILLER: &str = "The gate opens at half tide. ";

/// A recorded call as a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Replayed {
    /// The body, for `POST /v1/messages`.
    pub body: Bytes,
    /// What the emulator is to say it used: goes into `x-sim-usage`.
    pub usage: Usage,
}

/// The conversations of one session, one per agent.
#[derive(Clone, Debug)]
pub struct Conversation {
    session: String,
    tenths: u32,
    life: Duration,
    agents: BTreeMap<String, Thread>,
}

#[derive(Clone, Debug)]
struct Thread {
    /// Bytes of text in the system prompt.
    head: usize,
    /// Messages as JSON, without breakpoints.
    messages: Vec<String>,
    previous: Option<Previous>,
}

#[derive(Clone, Debug)]
struct Previous {
    output: Tokens,
    tool_use: bool,
}

impl Conversation {
    /// A session that has said nothing yet. `tenths` is bytes per token in tenths (36 is the recorded
    /// median), `life` how long the provider's cache lives from the last touch.
    #[must_use]
    pub fn new(session: &str, tenths: u32, life: Duration) -> Self {
        Self {
            session: session.to_owned(),
            tenths,
            life,
            agents: BTreeMap::new(),
        }
    }

    /// The next call of the session. Its body has `input × tenths / 10` bytes, or as few as its envelope allows
    /// where that is more. Where a conversation shrank, as compaction does, it starts anew.
    pub fn request(&mut self, row: &Row) -> Replayed {
        let bytes = |tokens: Tokens, tenths: u32| {
            let bytes = tokens.0.saturating_mul(tenths.into()) / 10;
            usize::try_from(bytes).unwrap_or(usize::MAX)
        };
        let target = bytes(row.input, self.tenths);
        let head = bytes(Tokens(HEAD_TOKENS), self.tenths).min(target / 4 * 3);
        let thread = self.agents.entry(row.agent.clone()).or_insert(Thread {
            head,
            messages: Vec::new(),
            previous: None,
        });
        let answered = thread.previous.take();
        if let Some(previous) = answered.filter(|_| !thread.messages.is_empty()) {
            let tool_result = row.input_types.contains("tool_result") && previous.tool_use;
            let bare = thread.body(&self.session, row).len()
                + assistant(0, tool_result).len()
                + user(0, tool_result).len()
                + ",,".len();
            if bare < target {
                let text = bytes(previous.output, self.tenths).min((target - bare) / 2);
                thread.messages.push(assistant(text, tool_result));
                thread
                    .messages
                    .push(user(target - bare - text, tool_result));
            } else {
                thread.messages.clear();
            }
        }
        if thread.messages.is_empty() {
            thread.head = head;
            thread.messages.push(user(0, false));
            let bare = thread.body(&self.session, row).len();
            thread.messages = vec![user(target.saturating_sub(bare), false)];
        }
        thread.previous = Some(Previous {
            output: row.output,
            tool_use: row.stop == "tool_use",
        });
        Replayed {
            body: Bytes::from(thread.body(&self.session, row)),
            usage: row.usage(self.life),
        }
    }
}

impl Thread {
    fn body(&self, session: &str, row: &Row) -> String {
        let messages: usize = self.messages.iter().map(|it| it.len() + 1).sum();
        let mut body = String::with_capacity(self.head + messages + 1_024);
        let (model, stream) = (serde_json::Value::from(&*row.model), row.streamed);
        let user = serde_json::Value::from(format!("session_{session}"));
        let head = format!(
            r#"{{"model":{model},"max_tokens":{MAX_TOKENS},"stream":{stream},"metadata":{{"user_id":{user}}},"tools":[{TOOL}],"system":[{{"type":"text","text":""#
        );
        body.push_str(&head);
        fill(&mut body, self.head);
        body.push('"');
        body.push_str(BREAKPOINT);
        body.push_str(r#"}],"messages":["#);
        for (at, message) in self.messages.iter().enumerate() {
            if at > 0 {
                body.push(',');
            }
            match message.strip_suffix("}]}") {
                Some(open) if at + 1 == self.messages.len() => {
                    body.push_str(open);
                    body.push_str(BREAKPOINT);
                    body.push_str("}]}");
                }
                _ => body.push_str(message),
            }
        }
        body.push_str("]}");
        body
    }
}

fn assistant(text: usize, tool_use: bool) -> String {
    let mut message = String::from(r#"{"role":"assistant","content":[{"type":"text","text":""#);
    fill(&mut message, text);
    message.push_str(if tool_use {
        r#""},{"type":"tool_use","id":"toolu_replay","name":"Bash","input":{"command":"ls"}}]}"#
    } else {
        r#""}]}"#
    });
    message
}

fn user(text: usize, tool_result: bool) -> String {
    let mut message = String::from(if tool_result {
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"toolu_replay","content":""#
    } else {
        r#"{"role":"user","content":[{"type":"text","text":""#
    });
    fill(&mut message, text);
    message.push_str(r#""}]}"#);
    message
}

/// Appends so many bytes of text that JSON need not escape.
fn fill(text: &mut String, bytes: usize) {
    let mut missing = bytes;
    while missing > 0 {
        let part = missing.min(FILLER.len());
        text.push_str(&FILLER[..part]);
        missing -= part;
    }
}
