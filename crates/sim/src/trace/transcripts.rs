//! Claude Code's own transcripts: a folder like `~/.claude/projects`, or one file.
//!
//! An answer with several blocks stands on as many lines, each with the usage of the whole; a session that was resumed
//! or forked repeats what the other has. The pair of message id and request id tells answers apart, and each is counted
//! once: in the main conversation rather than a subagent's, and in the session that ended first, of which the others are
//! copies.
//!
//! The format is Claude Code's own affair and may change. Lines of other kinds than those read here are passed over.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::{Path, PathBuf},
};

use memchr::memmem;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};
use tidegate_types::{Timestamp, Tokens};

use super::{
    Format, Loaded, Openings, Session, TraceError, Traffic,
    fields::{Object, Place, on_its_line},
    heard::{self, Heard},
    source::{Lines, Source},
    traffic::within_memory,
};
use crate::limits::{TRANSCRIPT_FILES_MAX, TRANSCRIPT_FOLDERS_DEEP_MAX, TRANSCRIPT_LINE_BYTES_MAX};

/// The model that Claude Code writes where it says something itself.
const NO_MODEL: &str = "<synthetic>";

/// A line, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(rename = "type", default)]
    kind: Value,
    #[serde(default)]
    timestamp: Value,
    #[serde(default)]
    session_id: Value,
    #[serde(default)]
    is_sidechain: Value,
    #[serde(default)]
    agent_id: Value,
    #[serde(default)]
    request_id: Value,
    #[serde(default)]
    is_api_error_message: Value,
    #[serde(borrow, default)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    id: Value,
    #[serde(default)]
    model: Value,
    #[serde(default)]
    stop_reason: Value,
    #[serde(default)]
    usage: Option<Map<String, Value>>,
    /// Text or blocks: never looked into further than to see what it is.
    #[serde(borrow, default)]
    content: Option<&'a RawValue>,
}

/// What tells one answer from another: message id and request id.
type Key = (String, String);

/// An answer, as one transcript has it.
struct Copy {
    key: Key,
    session: String,
    sidechain: bool,
    call: Heard,
}

impl Copy {
    fn tokens(&self) -> u64 {
        self.call.input.0.saturating_add(self.call.output.0)
    }
}

/// Everything that was read so far.
#[derive(Default)]
struct Copies {
    all: Vec<Copy>,
    passed_over: u64,
}

pub(super) fn load(folder: &Path) -> Result<Loaded, TraceError> {
    let mut files = Vec::new();
    find(folder, 0, &mut files)?;
    files.sort_unstable();
    let mut copies = Copies::default();
    for file in &files {
        copies.read(Source::open(file)?)?;
        within_memory(folder, copies.all.len())?;
    }
    Ok(copies.loaded())
}

pub(super) fn load_one(source: Source) -> Result<Loaded, TraceError> {
    let mut copies = Copies::default();
    copies.read(source)?;
    Ok(copies.loaded())
}

/// All transcripts in a folder and those within it. Links to folders are not followed.
fn find(folder: &Path, deep: usize, files: &mut Vec<PathBuf>) -> Result<(), TraceError> {
    let unreadable = |source| TraceError::Open {
        path: folder.to_owned(),
        source,
    };
    let too_many = |reason: String| TraceError::Nothing {
        path: folder.to_owned(),
        reason,
    };
    if deep > TRANSCRIPT_FOLDERS_DEEP_MAX {
        let reason = format!(
            "it is more than {TRANSCRIPT_FOLDERS_DEEP_MAX} folders deep: name one within it"
        );
        return Err(too_many(reason));
    }
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let path = entry.path();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            find(&path, deep + 1, files)?;
            continue;
        }
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.ends_with(".jsonl") || name.ends_with(".jsonl.gz") {
            files.push(path);
        }
        if files.len() > TRANSCRIPT_FILES_MAX {
            let reason =
                format!("it has more than {TRANSCRIPT_FILES_MAX} transcripts: name a part");
            return Err(too_many(reason));
        }
    }
    Ok(())
}

/// What is known of one agent's conversation while its file is read.
#[derive(Clone, Copy, Default)]
struct Thread {
    /// When the line before this one was written: the next request was sent then.
    said: Option<Timestamp>,
    /// Whether that line gave back what a tool had.
    tool_result: bool,
}

impl Copies {
    fn read(&mut self, source: Source) -> Result<(), TraceError> {
        let path = source.path;
        let stem = path.file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy().into_owned();
        let mut lines = Lines::new(&path, source.reader, TRANSCRIPT_LINE_BYTES_MAX);
        let mut threads: HashMap<String, Thread> = HashMap::new();
        let mut here: HashMap<Key, usize> = HashMap::new();
        while let Some(written) = lines.next()? {
            let place = Place {
                path: &path,
                line: written.number,
            };
            let parsed = serde_json::from_slice::<Line<'_>>(written.text);
            let line = match parsed {
                Ok(line) => line,
                // It is being written at this moment, or never was to its end.
                Err(_) if !written.ended => break,
                Err(error) => {
                    let why = on_its_line(&error);
                    return Err(place.error(format!("it is no line of a transcript: {why}")));
                }
            };
            let agent = line.agent(&stem);
            let thread = threads.entry(agent.clone()).or_default();
            match line.kind.as_str() {
                Some("user") => {
                    thread.said = Some(line.moment(place)?);
                    let content = line.message.and_then(|it| it.content);
                    thread.tool_result = content.is_some_and(is_tool_result);
                }
                Some("assistant") => {
                    let Some(copy) = line.answer(place, &agent, &stem, *thread)? else {
                        self.passed_over += 1;
                        continue;
                    };
                    thread.said = Some(line.moment(place)?);
                    thread.tool_result = false;
                    if let Some(at) = here.get(&copy.key) {
                        self.all[*at].more(copy);
                    } else {
                        here.insert(copy.key.clone(), self.all.len());
                        self.all.push(copy);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn loaded(mut self) -> Loaded {
        let mut ends: HashMap<String, Timestamp> = HashMap::new();
        for copy in &self.all {
            let end = ends.entry(copy.session.clone()).or_default();
            *end = copy.call.at.max(*end);
        }
        let end = |it: &Copy| ends.get(&it.session).copied();
        self.all.sort_by(|one, other| {
            let rank = |it: &Copy| (it.sidechain, end(it), it.session.clone());
            let larger = other.tokens().cmp(&one.tokens());
            rank(one).cmp(&rank(other)).then(larger)
        });
        let mut known: HashSet<Key> = HashSet::new();
        let mut sessions: BTreeMap<String, Vec<Heard>> = BTreeMap::new();
        for copy in self.all {
            if known.insert(copy.key) {
                sessions.entry(copy.session).or_default().push(copy.call);
            } else {
                self.passed_over += 1;
            }
        }
        let session = |(name, calls)| heard::session(name, (None, None), calls);
        let mut sessions: Vec<Session> = sessions.into_iter().map(session).collect();
        sessions.sort_by(|one, other| (one.began, &one.trace).cmp(&(other.began, &other.trace)));
        let mut openings = Openings::default();
        for it in &mut sessions {
            it.fork_of = openings.fork_of(&it.trace, &it.rows);
        }
        Loaded {
            format: Format::ClaudeCode,
            traffic: Traffic::Sessions(sessions),
            passed_over: self.passed_over,
        }
    }
}

impl Copy {
    /// Another line of the same answer: it ends later, and has the later counts.
    fn more(&mut self, other: Self) {
        let ends = |it: &Heard| it.at.after(it.whole.unwrap_or_default());
        let end = ends(&self.call).max(ends(&other.call));
        if self.call.whole.is_some() {
            self.call.whole = Some(end.since(self.call.at));
        }
        if other.tokens() > self.tokens() {
            self.call.input = other.call.input;
            self.call.read = other.call.read;
            self.call.output = other.call.output;
        }
        if !other.call.stop.is_empty() {
            self.call.stop = other.call.stop;
        }
    }
}

fn is_tool_result(content: &RawValue) -> bool {
    let text = content.get().as_bytes();
    text.starts_with(b"[") && memmem::find(text, b"\"tool_result\"").is_some()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

impl Line<'_> {
    fn is_sidechain(&self) -> bool {
        self.is_sidechain == Value::Bool(true)
    }

    /// Whose line it is: the main conversation's, or a subagent's.
    fn agent(&self, stem: &str) -> String {
        match (self.is_sidechain(), text(&self.agent_id)) {
            (false, _) => "main".to_owned(),
            (true, "") => stem.to_owned(),
            (true, id) => id.to_owned(),
        }
    }

    fn moment(&self, place: Place<'_>) -> Result<Timestamp, TraceError> {
        match &self.timestamp {
            Value::String(it) => place.moment("timestamp", it),
            other => place.moment("timestamp", &other.to_string()),
        }
    }

    /// The answer of an assistant's line; `None`: no provider gave it.
    fn answer(
        &self,
        place: Place<'_>,
        agent: &str,
        stem: &str,
        thread: Thread,
    ) -> Result<Option<Copy>, TraceError> {
        let failed = self.is_api_error_message == Value::Bool(true);
        let Some(message) = self.message.as_ref().filter(|_| !failed) else {
            return Ok(None);
        };
        let (id, model) = (text(&message.id), text(&message.model));
        let Some(usage) = message.usage.as_ref().filter(|_| model != NO_MODEL) else {
            return Ok(None);
        };
        if id.is_empty() {
            return Err(place.error("`message.id` is missing: an answer without one can't be told from its copies; leave the line out"));
        }
        let usage = Object {
            place,
            map: usage,
            within: "message.usage.",
        };
        let read = usage.tokens_or_none("cache_read_input_tokens")?;
        let written = usage.tokens_or_none("cache_creation_input_tokens")?;
        let plain = usage.tokens("input_tokens")?;
        let input = plain.saturating_add(read).saturating_add(written);
        let output = usage.tokens("output_tokens")?;
        if input == Tokens(0) {
            return Ok(None);
        }
        let written_at = self.moment(place)?;
        let sent = thread.said.filter(|it| *it <= written_at);
        let session = match text(&self.session_id) {
            "" => stem,
            id => id,
        };
        Ok(Some(Copy {
            key: (id.to_owned(), text(&self.request_id).to_owned()),
            session: session.to_owned(),
            sidechain: self.is_sidechain(),
            call: Heard {
                at: sent.unwrap_or(written_at),
                whole: sent.map(|it| written_at.since(it)),
                agent: agent.to_owned(),
                streamed: true,
                model: model.to_owned(),
                input,
                read,
                output,
                goes_on: thread.tool_result,
                stop: text(&message.stop_reason).to_owned(),
                line: place.line,
                ..Heard::default()
            },
        }))
    }
}
