//! `tidegate hook`: what Claude Code runs before a prompt begins, and when it has ended.
//!
//! A prompt that could only be refused is blocked with the reason, one that will wait is told so. When
//! a prompt has ended its task has; with the session what still waits for it is given up. It is quick
//! and never in the way: where no gateway answers in time everything goes on, and that is said once.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use serde_json::json;
use tidegate_control::wire::{Budget, Outlook, Session, Task, TaskChangeRequest, WaitChanged};
use tidegate_types::{Mode, NanoUsd};

use super::{
    Client, Said,
    client::{ClientError, escaped},
    status::spoken,
    statusline::{Asked, client, session_path},
    table::plain,
};
use crate::config::{self, Sources};

/// How long the gateway may take for one answer, of which there are three at most. All of it is in
/// memory there, and somebody has pressed the return key.
const PATIENCE: Duration = Duration::from_millis(300);

/// Seconds after which Claude Code need not wait for it any longer: many times what it may take.
pub(super) const SECONDS_MAX: u64 = 5;

/// The largest event that is read: a prompt with pasted files. What is longer is let through.
const INPUT_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A wait is said from here on: shorter ones are over before anybody has read it.
const LONG: Duration = Duration::from_mins(1);

/// In the data folder: the session that was told last that no gateway answers.
const DOWN_FILE: &str = "hook.down";

/// The events that it is for.
pub(super) const EVENTS: [&str; 4] = ["UserPromptSubmit", "Stop", "StopFailure", "SessionEnd"];

/// What Claude Code says of an event.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    hook_event_name: String,
    session_id: String,
    prompt_id: Option<String>,
}

/// Reads the event on standard input and says what Claude Code is to do; nothing where nothing is.
pub(super) fn answer(sources: &Sources) -> Said {
    let mut input = Vec::new();
    let mut stdin = std::io::stdin().lock().take(INPUT_BYTES_MAX);
    // What can't be read says nothing.
    stdin.read_to_end(&mut input).map(drop).unwrap_or_default();
    let told: Told = serde_json::from_slice(&input).unwrap_or_default();
    if told.session_id.is_empty() {
        return Said::default();
    }
    let asked = Asked::of(&sources.environment);
    let known = client(sources, &asked).map(|it| it.hurried(PATIENCE));
    let Some(gateway) = known else {
        return Said::default();
    };
    let down = Down::of(sources);
    let said = match told.hook_event_name.as_str() {
        "UserPromptSubmit" => before(&gateway, &asked, &told),
        "Stop" => ended(&gateway, &asked, &told, "completed"),
        "StopFailure" => ended(&gateway, &asked, &told, "failed"),
        "SessionEnd" => left(&gateway, &asked, &told),
        _ => return Said::default(),
    };
    match said {
        Ok(said) => {
            down.is_over();
            said.map_or_else(Said::default, Said::fine)
        }
        // It answered, and does not know what it was asked for.
        Err(ClientError::Refused { .. }) => Said::default(),
        Err(unanswered) => down.say(&told.session_id, &unanswered),
    }
}

/// What is known before a prompt begins.
fn before(gateway: &Client, asked: &Asked, told: &Told) -> Result<Option<String>, ClientError> {
    let prompt = told.prompt_id.as_deref();
    let path = session_path(asked, &told.session_id, prompt, true);
    let session: Session = gateway.get(&path)?;
    Ok(verdict(&session, asked.key.is_some()))
}

/// What Claude Code is told of a prompt: not to begin it, or how long it will wait. `asking`: its
/// calls carry a key, so that also limits nobody named bind them.
fn verdict(session: &Session, asking: bool) -> Option<String> {
    if session.task_state.as_deref() == Some("cancelled") {
        let reason =
            "Tidegate: the task was cancelled, and its calls would be refused: name another one.";
        return Some(blocked(reason));
    }
    if let Some(spent) = session.budgets.iter().find(|it| is_spent(it, asking)) {
        return Some(blocked(&reason(spent)));
    }
    let longest = session.queues.iter().max_by_key(|it| it.wait_p50_ms)?;
    let wait = Duration::from_millis(longest.wait_p50_ms);
    (wait >= LONG).then(|| json!({ "systemMessage": waiting(longest) }).to_string())
}

fn blocked(reason: &str) -> String {
    json!({ "decision": "block", "reason": plain(reason) }).to_string()
}

/// Whether a hard limit that binds the caller has nothing left that nobody holds.
fn is_spent(budget: &Budget, asking: bool) -> bool {
    let mode = if asking {
        budget.limit.asking
    } else {
        budget.limit.keyless
    };
    let settled = budget.limit.hard.as_ref();
    let settled = settled.is_some_and(|it| NanoUsd::from(&budget.spent) >= NanoUsd::from(it));
    // What running calls hold may come back; what is spent does not.
    settled && mode == Mode::Enforce && !budget.limit.overage_allowed
}

fn reason(budget: &Budget) -> String {
    let of = budget.limit.hard.as_ref().map(NanoUsd::from);
    let of = of.map_or_else(String::new, |it| format!(" of {it}"));
    let until = match &budget.window {
        Some(window) => format!("it resets at {}", window.ends_at),
        None => "it does not reset".to_owned(),
    };
    format!(
        "Tidegate: the budget `{}` is spent: {}{of}; {until}. An operator can raise it with `tidegate budget set`.",
        budget.level,
        NanoUsd::from(&budget.spent),
    )
}

fn waiting(queue: &Outlook) -> String {
    let seconds = |millis: u64| spoken(millis.div_ceil(1_000));
    plain(&format!(
        "Tidegate: calls wait on {}: about {}, in one of ten cases more than {}",
        queue.platform,
        seconds(queue.wait_p50_ms),
        seconds(queue.wait_p90_ms),
    ))
}

/// A prompt has ended, and its task with it: its slot is given back at once. A task that has a name of
/// its own goes on.
fn ended(
    gateway: &Client,
    asked: &Asked,
    told: &Told,
    state: &str,
) -> Result<Option<String>, ClientError> {
    if asked.task.is_some() {
        return Ok(None);
    }
    let prompt = told.prompt_id.as_deref();
    let session: Session = gateway.get(&session_path(asked, &told.session_id, prompt, false))?;
    let task = session.task.as_deref().or(prompt);
    let Some(task) = task else { return Ok(None) };
    let change = TaskChangeRequest {
        state: Some(state.to_owned()),
        ..TaskChangeRequest::default()
    };
    let path = format!("/api/v1/tasks/{}", escaped(task));
    gateway.patch::<Task>(&path, &change)?;
    Ok(None)
}

/// The session has ended: places that are kept for its calls are given up.
fn left(gateway: &Client, asked: &Asked, told: &Told) -> Result<Option<String>, ClientError> {
    let path = session_path(asked, &told.session_id, told.prompt_id.as_deref(), false);
    let session: Session = gateway.get(&path)?;
    // One: more would take longer than anybody waits for a program to end.
    if let Some(kept) = session.waiting.iter().find(|it| it.away) {
        let path = format!("/api/v1/queue/{}", escaped(&kept.id));
        gateway.delete::<WaitChanged>(&path)?;
    }
    Ok(None)
}

/// Remembers whom it was said that no gateway answers.
struct Down(Option<PathBuf>);

impl Down {
    fn of(sources: &Sources) -> Self {
        let data = config::load(sources).map(|it| it.settings.data);
        Self(data.ok().map(|it| it.join(DOWN_FILE)))
    }

    fn is_over(&self) {
        if let Some(file) = self.0.as_deref().filter(|it| it.exists()) {
            // What can't be removed is said once less.
            fs::remove_file(file).unwrap_or_default();
        }
    }

    /// Says it, unless the session was told already.
    fn say(&self, session: &str, why: &ClientError) -> Said {
        let Some(file) = self.0.as_deref() else {
            return Said::default();
        };
        if fs::read_to_string(file).is_ok_and(|it| it == session) || !remember(file, session) {
            return Said::default();
        }
        let message =
            format!("Tidegate does not answer, and nothing is checked before a prompt: {why}");
        Said::fine(json!({ "systemMessage": plain(&message) }).to_string())
    }
}

/// False where it can't be remembered: better never said than each time.
fn remember(file: &Path, session: &str) -> bool {
    fs::write(file, session).is_ok()
}

#[cfg(test)]
mod tests;
