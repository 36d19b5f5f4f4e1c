//! Sessions as requests: bodies of the recorded size, answers that used what was recorded.

use std::{
    collections::BTreeMap,
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;
use tidegate_sim::trace::{Conversation, Row, Session};
use tidegate_types::{Tokens, Usage};

use super::super::wire::{Answer, Line};

/// The model that everything is priced as, and its prices in nano-dollars per token.
const MODEL: &str = "claude-opus-5-5";
const CACHE_READ: u64 = 200;
const CACHE_WRITE: u64 = 5_000;
const OUTPUT: u64 = 20_000;

/// The cap that assistants send.
pub(super) const MAX_TOKENS: u64 = 128_000;

/// Bytes per token, in tenths: the median of recorded traffic.
const BYTES_PER_TOKEN_TENTHS: u32 = 36;

/// How long a prompt cache lives.
const CACHE_LIFE: Duration = Duration::from_mins(5);

/// When a session's calls end early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    /// Never: a refusal is an error of the suite.
    AtAnyRefusal,
    /// A prompt whose call is refused makes no more; the session goes on with the next one.
    AtPromptRefusal,
}

/// All sessions, on their way.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    address: &'a str,
    sessions: &'a [Session],
    stop: Stop,
    next: AtomicUsize,
}

/// What came of them.
#[derive(Debug, Default)]
pub(super) struct Replayed {
    pub(super) calls: usize,
    pub(super) prompts: usize,
    pub(super) bytes: u64,
    /// How long the calls took when they were recorded.
    pub(super) recorded: Duration,
    /// So many times faster.
    pub(super) speed: f64,
    /// The prompts that were refused.
    pub(super) refused: Vec<Refused>,
    /// Calls whose cap was lowered.
    pub(super) capped: usize,
    /// Recorded output above the cap that was sent.
    pub(super) cut: Vec<(u64, u64)>,
}

/// A prompt that met a limit, in nano-dollars.
#[derive(Debug)]
pub(super) struct Refused {
    /// What it had spent by then.
    pub(super) spent: u64,
    /// What it cost when it was recorded.
    pub(super) recorded: u64,
}

/// The prompt that a session is at.
#[derive(Debug, Default)]
struct Prompt {
    id: String,
    spent: u64,
    /// Its place among those that were refused.
    refused: Option<usize>,
}

impl<'a> Replay<'a> {
    pub(super) const fn new(address: &'a str, sessions: &'a [Session], stop: Stop) -> Self {
        Self {
            address,
            sessions,
            stop,
            next: AtomicUsize::new(0),
        }
    }

    /// Replays them on so many lanes.
    pub(super) fn run(&self, lanes: usize) -> anyhow::Result<Replayed> {
        thread::scope(|scope| {
            let lanes: Vec<_> = (0..lanes).map(|_| scope.spawn(|| self.lane())).collect();
            let mut all = Replayed::default();
            for lane in lanes {
                let Ok(done) = lane.join() else {
                    bail!("a lane panicked");
                };
                all.add(done?);
            }
            Ok(all)
        })
    }

    /// Takes the next session until there is none.
    fn lane(&self) -> anyhow::Result<Replayed> {
        let mut line = Line::open(self.address)?;
        let mut done = Replayed::default();
        while let Some(session) = self.sessions.get(self.next.fetch_add(1, Ordering::Relaxed)) {
            self.session(session, &mut line, &mut done)
                .with_context(|| format!("session {}", session.trace))?;
        }
        Ok(done)
    }

    fn session(
        &self,
        session: &Session,
        line: &mut Line,
        done: &mut Replayed,
    ) -> anyhow::Result<()> {
        let mut conversation =
            Conversation::new(&session.trace, BYTES_PER_TOKEN_TENTHS, CACHE_LIFE);
        let mut prompt = Prompt::default();
        let mut number = 0;
        for row in &session.rows {
            let row = Row {
                model: MODEL.to_owned(),
                ..row.clone()
            };
            if prompt.id.is_empty() || begins_prompt(&row) {
                number += 1;
                done.prompts += 1;
                prompt = Prompt {
                    id: format!("{}-{number}", session.trace),
                    ..Prompt::default()
                };
            }
            let request = conversation.request(&row);
            if let Some(refused) = prompt.refused {
                done.refused[refused].recorded += price(&request.usage);
                continue;
            }
            let agent = (row.agent != "main")
                .then(|| format!("x-claude-code-agent-id: {}-{}", session.trace, row.agent));
            let head = head(
                &session.trace,
                &prompt.id,
                agent.as_deref(),
                &request.usage,
                request.body.len(),
            );
            line.send(head.as_bytes())?;
            line.send(&request.body)?;
            let answer = line.answer()?;
            done.recorded += row.api.unwrap_or_default();
            done.calls += 1;
            done.bytes += request.body.len() as u64;
            if answer.status == 429 {
                ensure!(
                    self.stop == Stop::AtPromptRefusal,
                    "refused: {}",
                    answer.text()
                );
                by_the_task(&answer)?;
                prompt.refused = Some(done.refused.len());
                done.refused.push(Refused {
                    spent: prompt.spent,
                    recorded: prompt.spent + price(&request.usage),
                });
                continue;
            }
            ensure!(
                answer.status == 200,
                "answered {}: {}",
                answer.status,
                answer.text()
            );
            whole(&row, &answer)?;
            done.sent(&row, &answer)?;
            prompt.spent += price(&request.usage);
        }
        Ok(())
    }
}

impl Replayed {
    fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.prompts += other.prompts;
        self.bytes += other.bytes;
        self.recorded += other.recorded;
        self.refused.extend(other.refused);
        self.capped += other.capped;
        self.cut.extend(other.cut);
    }

    /// Notes a lowered cap, and an answer that would have been longer.
    fn sent(&mut self, row: &Row, answer: &Answer) -> anyhow::Result<()> {
        let Some(said) = answer.header("x-tidegate-max-tokens") else {
            return Ok(());
        };
        let cap: u64 = said.split(';').next().unwrap_or_default().trim().parse()?;
        self.capped += 1;
        if cap < row.output.0 {
            self.cut.push((row.output.0, cap));
        }
        Ok(())
    }
}

/// A request of the main agent that carries no result of a tool is a new prompt of the user.
fn begins_prompt(row: &Row) -> bool {
    row.agent == "main" && !row.input_types.contains("tool_result")
}

fn head(session: &str, prompt: &str, agent: Option<&str>, usage: &Usage, body: usize) -> String {
    let agent = agent.map(|it| format!("{it}\r\n")).unwrap_or_default();
    format!(
        "POST /v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n\
         x-api-key: sk-ant-api03-sessions\r\nanthropic-version: 2023-06-01\r\n\
         x-claude-code-session-id: {session}\r\nx-claude-code-prompt-id: {prompt}\r\n{agent}\
         x-sim-usage: cache_read={},cache_write_5m={},output={}\r\ncontent-length: {body}\r\n\r\n",
        usage.cache_read.0, usage.cache_write_5m.0, usage.output.0
    )
}

/// The refusal must be the task limit's: no other is enforced.
fn by_the_task(answer: &Answer) -> anyhow::Result<()> {
    let text = answer.text();
    ensure!(
        text.contains("`task`"),
        "refused by another limit than the task's: {text}"
    );
    Ok(())
}

/// What came back is the whole answer, and says that it used what was recorded.
fn whole(row: &Row, answer: &Answer) -> anyhow::Result<()> {
    let text = answer.text();
    if row.streamed {
        ensure!(text.contains("message_stop"), "a stream without its end");
        return Ok(());
    }
    let told: Value = serde_json::from_str(&text)?;
    ensure!(
        told["usage"]["output_tokens"] == row.output.0 && told["stop_reason"] != "max_tokens",
        "recorded {} tokens of output, answered {}",
        row.output.0,
        told["usage"]
    );
    Ok(())
}

/// What the provider bills.
fn price(usage: &Usage) -> u64 {
    usage.cache_read.0 * CACHE_READ + usage.cache_write_5m.0 * CACHE_WRITE + usage.output.0 * OUTPUT
}

/// Four subagents of a task that has spent nothing call at once, each with a first request of common size; all must be
/// answered, and all at the same time. Says how many.
pub(super) fn subagents(address: &str) -> anyhow::Result<usize> {
    const AGENTS: usize = 4;
    /// A subagent's system prompt, tools and task.
    const INPUT: u64 = 20_000;
    let together = Barrier::new(AGENTS);
    let call = |number: usize| -> anyhow::Result<(Duration, Duration)> {
        let body = {
            let mut conversation = Conversation::new("fresh", BYTES_PER_TOKEN_TENTHS, CACHE_LIFE);
            conversation.request(&first(INPUT)).body
        };
        let usage = Usage {
            cache_write_5m: Tokens(INPUT),
            output: Tokens(700),
            ..Usage::default()
        };
        let agent = format!("x-claude-code-agent-id: fresh-s{number}\r\nx-sim: sim:sleep-ms 1000");
        let head = head("fresh", "fresh-1", Some(&agent), &usage, body.len());
        let mut line = Line::open(address)?;
        together.wait();
        let began = crate::bench::clock::now();
        line.send(head.as_bytes())?;
        line.send(&body)?;
        let answer = line.answer()?;
        ensure!(
            answer.status == 200,
            "subagent {number} was answered {}: {}",
            answer.status,
            answer.text()
        );
        Ok((Duration::from_secs(1), began.elapsed()))
    };
    let took = thread::scope(|scope| {
        let call = &call;
        let agents: Vec<_> = (0..AGENTS)
            .map(|number| scope.spawn(move || call(number)))
            .collect();
        let ended = agents
            .into_iter()
            .map(|it| it.join().unwrap_or_else(|_| bail!("a subagent panicked")));
        ended.collect::<anyhow::Result<Vec<_>>>()
    })?;
    // Each is answered a second late: had one waited for another, it would have taken two.
    let late: BTreeMap<usize, Duration> = took
        .iter()
        .map(|(asked, took)| took.saturating_sub(*asked))
        .enumerate()
        .collect();
    let waited = late
        .values()
        .filter(|it| **it > Duration::from_secs(1))
        .count();
    ensure!(waited == 0, "subagents waited for each other: {late:?}");
    Ok(AGENTS)
}

/// The first request of an agent.
fn first(input: u64) -> Row {
    Row {
        trace: "fresh".to_owned(),
        agent: "s1".to_owned(),
        seq: 0,
        at: Duration::ZERO,
        streamed: true,
        model: MODEL.to_owned(),
        input: Tokens(input),
        output: Tokens(700),
        cached: Tokens(0),
        cache_age: None,
        first_byte: None,
        api: None,
        think: Duration::ZERO,
        stop: "tool_use".to_owned(),
        input_types: "text".to_owned(),
        output_types: "text".to_owned(),
        line: 0,
    }
}
