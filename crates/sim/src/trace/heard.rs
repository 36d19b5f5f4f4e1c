//! Calls that somebody heard of at their time, made into the rows of a session.

use std::{collections::HashMap, time::Duration};

use tidegate_types::{Priority, Timestamp, Tokens};

use super::{Row, Session};

/// How long providers keep a prompt for who reads it again.
const CACHE_LIFE: Duration = Duration::from_mins(5);

/// A call as it was heard of.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Heard {
    /// When its client had it ready.
    pub(super) at: Timestamp,
    /// How long it was held back then.
    pub(super) waited: Duration,
    /// From there to its first byte, where that is known.
    pub(super) first_byte: Option<Duration>,
    /// From there to its last byte, where that is known.
    pub(super) whole: Option<Duration>,
    /// `main`, or whose it is among the subagents.
    pub(super) agent: String,
    pub(super) streamed: bool,
    pub(super) model: String,
    /// All input.
    pub(super) input: Tokens,
    /// What the provider read of it from its cache.
    pub(super) read: Tokens,
    pub(super) output: Tokens,
    /// It hands back what a tool gave.
    pub(super) goes_on: bool,
    pub(super) stop: String,
    pub(super) line: u64,
}

impl Heard {
    fn ended(&self) -> Timestamp {
        let served = self.whole.unwrap_or_default();
        self.at.after(self.waited.saturating_add(served))
    }
}

/// A session of these calls, which are not empty.
///
/// What was recorded is what the provider read, which depends on how long the client took. What it could have read
/// is more: where a conversation went on after longer than a cache lives, all that it had sent before.
pub(super) fn session(
    trace: String,
    (user, priority): (Option<String>, Option<Priority>),
    mut calls: Vec<Heard>,
) -> Session {
    calls.sort_by_key(|it| it.at);
    let began = calls.first().map(|it| it.at);
    let start = began.unwrap_or_default();
    let mut names: HashMap<String, String> = HashMap::new();
    // The last call of each agent, and the end of all so far.
    let mut threads: HashMap<String, (Timestamp, Tokens)> = HashMap::new();
    let mut last: Option<(Timestamp, Timestamp)> = None;
    let mut rows = Vec::with_capacity(calls.len());
    for call in calls {
        let count = names.len() + 1;
        let agent = match call.agent.as_str() {
            "main" => "main".to_owned(),
            other => names
                .entry(other.to_owned())
                .or_insert_with(|| format!("s{count}"))
                .clone(),
        };
        let thread = threads.get(&agent).copied();
        let before = thread.map(|it| it.0).or(last.map(|it| it.0));
        let age = before.map(|it| call.at.since(it));
        let again = thread.filter(|it| call.input >= it.1 && age > Some(CACHE_LIFE));
        let cached = call.read.max(again.map_or(Tokens(0), |it| it.1));
        rows.push(Row {
            trace: trace.clone(),
            seq: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            at: call.at.since(start),
            streamed: call.streamed,
            model: call.model.clone(),
            input: call.input,
            output: call.output,
            cached: cached.min(call.input),
            cache_age: age,
            first_byte: call.first_byte,
            api: call.whole,
            think: last.map_or(Duration::ZERO, |it| call.at.since(it.1)),
            stop: call.stop.clone(),
            input_types: if call.goes_on { "tool_result" } else { "text" }.to_owned(),
            output_types: String::new(),
            line: call.line,
            agent: agent.clone(),
        });
        let ended = last
            .map_or(Timestamp::default(), |it| it.1)
            .max(call.ended());
        last = Some((call.at, ended));
        threads.insert(agent, (call.at, call.input));
    }
    Session {
        trace,
        rows,
        began,
        user,
        priority,
        fork_of: None,
    }
}
