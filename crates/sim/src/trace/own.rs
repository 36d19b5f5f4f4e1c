//! What Tidegate exports of its calls: `tidegate logs event:call_settled --export calls.jsonl`, a line for each, or the
//! document of `tidegate calls --json`.
//!
//! Calls of a session follow each other; one without a session is a session of its own. A call that no provider
//! answered is passed over, since what it would have used is not known.

use std::{collections::BTreeMap, io::Read as _, time::Duration};

use serde_json::{Map, Value};
use tidegate_types::{Priority, Timestamp};

use super::{
    Format, Loaded, Openings, Session, TraceError, Traffic,
    fields::{Object, Objects, Place},
    heard::{self, Heard},
    source::Source,
    traffic::within_memory,
};
use crate::limits::CALLS_DOCUMENT_BYTES_MAX;

/// Outcomes of calls that a provider answered, so that what they used is known.
const ANSWERED: [&str; 3] = ["answered", "ended", "client_gone"];

pub(super) fn load(source: Source) -> Result<Loaded, TraceError> {
    let path = source.path.clone();
    let mut calls = Calls::default();
    if is_document(&source.beginning) {
        document(source, &mut calls)?;
    } else {
        let mut objects = Objects::new(&path, source.reader);
        while let Some((line, map)) = objects.next()? {
            calls.read(Place { path: &path, line }, &map)?;
        }
    }
    Ok(calls.loaded())
}

/// Whether it is the document of `tidegate calls --json`, which is one object over many lines.
fn is_document(beginning: &[u8]) -> bool {
    let text = beginning.trim_ascii_start();
    let inside = text.strip_prefix(b"{").unwrap_or_default();
    inside.trim_ascii_start().starts_with(b"\"calls\"")
}

fn document(source: Source, calls: &mut Calls) -> Result<(), TraceError> {
    let path = &source.path;
    let mut text = Vec::new();
    let most = CALLS_DOCUMENT_BYTES_MAX as u64 + 1;
    let read = source.reader.take(most).read_to_end(&mut text);
    let place = Place { path, line: 1 };
    read.map_err(|error| place.error(error.to_string()))?;
    if text.len() > CALLS_DOCUMENT_BYTES_MAX {
        let reason = format!(
            "it is longer than {CALLS_DOCUMENT_BYTES_MAX} bytes: export with `tidegate logs event:call_settled --export calls.jsonl`, which is read line by line"
        );
        return Err(place.error(reason));
    }
    let parsed: Map<String, Value> = serde_json::from_slice(&text).map_err(|error| {
        let line = u64::try_from(error.line()).unwrap_or(0);
        Place { path, line }.error(format!("it is no JSON object: {error}"))
    })?;
    let list = parsed.get("calls").and_then(Value::as_array);
    let Some(list) = list else {
        return Err(place.error("`calls` is no list: write what `tidegate calls --json` says"));
    };
    // Where each begins: a line with nothing but a brace, two levels in.
    let mut lines = lines_of_calls(&text);
    for call in list {
        let line = lines.next().unwrap_or(1);
        let Some(map) = call.as_object() else {
            return Err(Place { path, line }.error("a call is no JSON object"));
        };
        calls.read(Place { path, line }, map)?;
    }
    Ok(())
}

/// The lines on which the calls of a document begin, as Tidegate writes it.
fn lines_of_calls(text: &[u8]) -> impl Iterator<Item = u64> {
    let lines = text.split(|it| *it == b'\n').zip(1_u64..);
    lines
        .filter(|(line, _)| *line == b"    {")
        .map(|(_, number)| number)
}

/// The calls of a session, and whose they are.
#[derive(Default)]
struct Held {
    user: Option<String>,
    priority: Option<Priority>,
    calls: Vec<Heard>,
}

#[derive(Default)]
struct Calls {
    /// By organisation, user and session; calls without a session by their own id.
    sessions: BTreeMap<(String, String, String), Held>,
    count: usize,
    passed_over: u64,
}

impl Calls {
    /// Reads a call's record, or the log line that has it in its attributes. Other log lines are passed over.
    fn read(&mut self, place: Place<'_>, map: &Map<String, Value>) -> Result<(), TraceError> {
        let object = Object {
            place,
            map,
            within: "",
        };
        let line = object.object("attributes", "attributes.");
        if line.is_some() && object.text("event") != Some("call_settled") {
            return Ok(());
        }
        let record = line.unwrap_or(object);
        let id = record
            .text("id")
            .ok_or_else(|| record.wrong("id", "write the call's id, as Tidegate exports it"))?;
        let Some(call) = heard(&record)? else {
            self.passed_over += 1;
            return Ok(());
        };
        self.count += 1;
        within_memory(place.path, self.count)?;
        let text = |key: &str| record.text(key).unwrap_or_default().to_owned();
        let session = record.text("session").unwrap_or(id).to_owned();
        let held = self
            .sessions
            .entry((text("organisation"), text("user"), session))
            .or_default();
        held.user = record.text("user").map(str::to_owned);
        let earlier = held.calls.first().is_none_or(|it| call.at < it.at);
        if earlier {
            held.priority = priority(&record)?;
        }
        held.calls.push(call);
        Ok(())
    }

    fn loaded(self) -> Loaded {
        let mut sessions: Vec<Session> = self
            .sessions
            .into_iter()
            .map(|((_, _, name), it)| heard::session(name, (it.user, it.priority), it.calls))
            .collect();
        // As they began; those of one moment by name.
        sessions.sort_by(|one, other| (one.began, &one.trace).cmp(&(other.began, &other.trace)));
        let mut openings = Openings::default();
        for it in &mut sessions {
            it.fork_of = openings.fork_of(&it.trace, &it.rows);
        }
        Loaded {
            format: Format::Tidegate,
            traffic: Traffic::Sessions(sessions),
            passed_over: self.passed_over,
        }
    }
}

fn priority(record: &Object<'_>) -> Result<Option<Priority>, TraceError> {
    let Some(word) = record.text("priority") else {
        return Ok(None);
    };
    let found = Priority::ALL.iter().find(|it| it.word() == word);
    let remedy = "write critical, high, medium or low";
    found
        .map(|it| Some(*it))
        .ok_or_else(|| record.wrong("priority", remedy))
}

/// The call of a record; `None`: nobody answered it, or it was none.
fn heard(record: &Object<'_>) -> Result<Option<Heard>, TraceError> {
    let remedy = "write what Tidegate exports: an object with a `kind`";
    let outcome = record.object("outcome", "outcome.");
    let outcome = outcome.ok_or_else(|| record.wrong("outcome", remedy))?;
    let kind = outcome
        .text("kind")
        .ok_or_else(|| outcome.wrong("kind", "write how the call ended"))?;
    let model = record.text("model_sent").or(record.text("model_asked"));
    let usage = record.object("usage", "usage.");
    let (Some(model), Some(usage)) = (model, usage) else {
        return Ok(None);
    };
    if !ANSWERED.contains(&kind) {
        return Ok(None);
    }
    let at = record.whole("at", "write nanoseconds since 1970, a whole number")?;
    let (plain, read) = (usage.tokens("input")?, usage.tokens_or_none("cache_read")?);
    let written = ["cache_write_5m", "cache_write_1h"].map(|it| usage.tokens_or_none(it));
    let mut input = plain.saturating_add(read);
    for part in written {
        input = input.saturating_add(part?);
    }
    let phases = record.object("phases", "phases.");
    let micros = |name: &str| {
        let Some(phases) = phases else {
            return Ok(Duration::ZERO);
        };
        let number = phases.whole(name, "write microseconds, a whole number")?;
        Ok(Duration::from_micros(number))
    };
    let (wait, first, rest) = (micros("wait")?, micros("first_byte")?, micros("stream")?);
    let known = |it: Duration| (!it.is_zero()).then_some(it);
    Ok(Some(Heard {
        at: Timestamp(at),
        // Under another configuration it waits as long as that one has it wait.
        waited: wait,
        first_byte: known(first),
        whole: known(first + rest),
        agent: if record.text("class") == Some("subagent") {
            record.text("parent").unwrap_or("subagent").to_owned()
        } else {
            "main".to_owned()
        },
        streamed: record.map.get("stream") == Some(&Value::Bool(true)),
        model: model.to_owned(),
        input,
        read,
        output: usage.tokens("output")?,
        goes_on: false,
        stop: String::new(),
        line: record.place.line,
    }))
}
