//! Who asks for what, and when, as far as that does not depend on how it is served.

use std::{fmt, sync::Arc, time::Duration};

use tidegate_types::{NanoUsd, Priority};

use crate::ProviderSpec;

/// Everything that a run is made of but the system.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is called in tables.
    pub name: String,
    /// The provider.
    pub provider: ProviderSpec,
    /// Those who work, in the order in which they begin.
    pub tasks: Vec<Task>,
    /// What the users are called whose tasks they are, by their number.
    pub users: Vec<Arc<str>>,
    /// No task begins later than this.
    pub open_for: Duration,
    /// What is not answered by then is censored.
    pub ends: Duration,
    /// Draws of clients: jitter of their retries.
    pub seed: u64,
    /// What all may cost, as a hard limit, where there is one.
    pub budget: Option<NanoUsd>,
    /// Of a thousand answers, how many are longer than the cap that was sent, which no bound can hold: planted, so
    /// that it is seen whether they are noticed.
    pub overruns_per_mille: u32,
}

impl Plan {
    /// A call of it.
    pub fn call(&self, id: CallId) -> &Call {
        &self.task(id).calls[id.call as usize]
    }

    /// The task of a call.
    pub fn task(&self, id: CallId) -> &Task {
        &self.tasks[id.task as usize]
    }

    /// All calls.
    pub fn len(&self) -> usize {
        self.tasks.iter().map(|it| it.calls.len()).sum()
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A client that works through calls one after the other.
#[derive(Clone, Debug)]
pub struct Task {
    /// When it begins, since the day began.
    pub starts: Duration,
    /// How much its user says it matters.
    pub priority: Priority,
    /// Whose it is: a place in [`Plan::users`].
    pub tenant: u16,
    /// Its calls; at least one.
    pub calls: Vec<Call>,
}

/// One call of a task, as it was recorded.
#[derive(Clone, Debug)]
pub struct Call {
    /// The model.
    pub model: Arc<str>,
    /// The subagent that asks, if one does.
    pub agent: Option<Arc<str>>,
    /// All input, in tokens.
    pub input: u64,
    /// The part of it that an earlier call has sent.
    pub cached: u64,
    /// That earlier call. `None` where `cached` is warm whoever asks: tools and system prompt.
    pub reads: Option<CallId>,
    /// Tokens of the answer.
    pub output: u64,
    /// Bytes that its body is announced to have.
    pub bytes: u64,
    /// How long the provider took, where that was recorded.
    pub served_in: Option<Duration>,
    /// The client's pause before it.
    pub think: Duration,
    /// Whether the answer is streamed.
    pub streamed: bool,
    /// Whether it hands back what a tool gave.
    pub goes_on: bool,
}

/// Which call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId {
    /// The task, by its place in the plan.
    pub task: u32,
    /// The call, by its place in the task.
    pub call: u32,
}

impl fmt::Display for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.task, self.call)
    }
}
