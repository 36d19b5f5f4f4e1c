//! That a task has begun, was changed, or has come to an end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_types::{Complexity, NanoUsd, Priority, TaskId, Timestamp};

use crate::redact::Redactor;

/// A task at a moment at which it turned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskRecord {
    /// Tells it from others of its name.
    pub id: TaskId,
    /// When that was noticed: within a second.
    pub at: Timestamp,
    /// How far it is then: `pending`, `running`, `completed`, `failed`, `cancelled`.
    pub state: Arc<str>,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Whose it is.
    pub user: Arc<str>,
    /// What calls name it.
    pub task: Arc<str>,
    /// The root of its tree.
    pub root: Arc<str>,
    /// The task above it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
    /// What kind of task it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Arc<str>>,
    /// How hard it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<Complexity>,
    /// How much it matters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<Priority>,
    /// The session that it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// How much of it is done, in percent, as was said.
    pub progress: u8,
    /// A word on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<Arc<str>>,
    /// Calls so far, of its whole tree; the same holds for what follows.
    pub calls: u64,
    /// Input, cached or not.
    pub input: u64,
    /// Output.
    pub output: u64,
    /// What it was charged.
    pub cost: NanoUsd,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
}

impl TaskRecord {
    /// Removes secrets from every text that came from outside. Organisation and user are not among
    /// them: operators name those.
    pub fn redact(&mut self, redactor: &Redactor) {
        let texts = [
            Some(&mut self.task),
            Some(&mut self.root),
            self.parent.as_mut(),
            self.task_type.as_mut(),
            self.session.as_mut(),
            self.note.as_mut(),
        ];
        for text in texts.into_iter().flatten() {
            if let std::borrow::Cow::Owned(clean) = redactor.redact(text) {
                *text = clean.into();
            }
        }
    }
}
