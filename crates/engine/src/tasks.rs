//! Tasks: what calls are made for, in trees; whose they are, how far they are, what they used.
//!
//! A task appears with its first call (a prompt, a subagent, a name in a header), or is created
//! before it. It stays where it appeared: its parent, its tree and its owner never change. What its
//! calls used is added to it and to every task above it when they end, never summed up anew.

mod changes;
mod kept;
mod running;
mod table;
mod views;

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_observe::calls::CallRecord;
use tidegate_types::{Complexity, NanoUsd, Priority, TaskId, Timestamp, UnknownWord};

pub use self::{
    changes::{NewTask, TaskChange, TaskError},
    table::TASKS_MAX,
    views::{RUNNING_MAX, RunningView, TREE_MAX, TaskFilter, TaskTree, TaskView},
};
pub(crate) use self::{
    kept::{Recalled, recalled},
    running::{Begun, Ongoing},
    table::{Called, Place, Tasks},
};

/// How deep trees may be: what a call used is added to as many tasks, and nobody nests deeper by
/// intent.
pub const DEPTH_MAX: u32 = 64;

/// A task that appeared by itself and did nothing for this long is over, until it is called for
/// again: no tool of a coding assistant runs for longer.
pub const OVER_AFTER: Duration = Duration::from_mins(10);

/// How far a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Created, and nothing was done for it yet.
    Pending,
    /// Begun, by a call or by word.
    Running,
    /// Done. A call for it begins it again.
    Completed,
    /// Given up because it went wrong. A call for it begins it again.
    Failed,
    /// Called off, with all below it: no further call is made for them.
    Cancelled,
}

impl TaskState {
    /// All of them, in the order of a task's life.
    pub const ALL: [Self; 5] = [
        Self::Pending,
        Self::Running,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// Their written forms, in the same order.
    pub const WORDS: &'static [&'static str] =
        &["pending", "running", "completed", "failed", "cancelled"];

    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it has come to an end.
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Pending | Self::Running => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    const fn raw(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Running => 1,
            Self::Completed => 2,
            Self::Failed => 3,
            Self::Cancelled => 4,
        }
    }

    fn of_raw(raw: u8) -> Self {
        let known = Self::ALL.get(usize::from(raw));
        known.copied().unwrap_or(Self::Running)
    }
}

impl FromStr for TaskState {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, UnknownWord> {
        let known = Self::ALL.into_iter().find(|it| it.word() == text);
        known.ok_or_else(|| UnknownWord {
            word: text.chars().take(40).collect(),
            known: Self::WORDS,
        })
    }
}

/// What a task is expected to take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Estimates {
    /// Tokens of all classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Money.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<NanoUsd>,
    /// Time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<Duration>,
}

/// What calls that ended have used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Used {
    /// Calls that were sent.
    pub calls: u64,
    /// Input tokens that no cache served.
    pub input: u64,
    /// Input tokens read from a prompt cache.
    pub cache_read: u64,
    /// Input tokens written to one.
    pub cache_write: u64,
    /// Output tokens.
    pub output: u64,
    /// What was charged.
    pub cost: NanoUsd,
    /// The list price of what was charged less.
    pub notional: NanoUsd,
    /// Time that providers took, in microseconds.
    pub micros: u64,
}

impl Used {
    /// What one call used; nothing where it was not sent.
    pub fn of(record: &CallRecord) -> Self {
        if !record.outcome.was_sent() {
            return Self::default();
        }
        let usage = record.usage.unwrap_or_default();
        Self {
            calls: 1,
            input: usage.input.0,
            cache_read: usage.cache_read.0,
            cache_write: usage
                .cache_write_5m
                .0
                .saturating_add(usage.cache_write_1h.0),
            output: usage.output.0,
            cost: record.cost,
            notional: record.notional,
            micros: record
                .phases
                .first_byte
                .saturating_add(record.phases.stream),
        }
    }

    const fn parts(&self) -> [u64; SUMS] {
        [
            self.calls,
            self.input,
            self.cache_read,
            self.cache_write,
            self.output,
            self.cost.0,
            self.notional.0,
            self.micros,
        ]
    }

    const fn of_parts(parts: [u64; SUMS]) -> Self {
        let [
            calls,
            input,
            cache_read,
            cache_write,
            output,
            cost,
            notional,
            micros,
        ] = parts;
        Self {
            calls,
            input,
            cache_read,
            cache_write,
            output,
            cost: NanoUsd(cost),
            notional: NanoUsd(notional),
            micros,
        }
    }
}

/// Figures of [`Used`].
const SUMS: usize = 8;

/// [`Used`] that several add to at once.
#[derive(Debug, Default)]
struct Sums([AtomicU64; SUMS]);

impl Sums {
    fn of(used: &Used) -> Self {
        Self(used.parts().map(AtomicU64::new))
    }

    fn add(&self, used: &Used) {
        for (sum, part) in self.0.iter().zip(used.parts()) {
            // Sums that run over would need 500,000 years of calls.
            sum.fetch_add(part, Ordering::Relaxed);
        }
    }

    fn read(&self) -> Used {
        Used::of_parts(std::array::from_fn(|it| self.0[it].load(Ordering::Relaxed)))
    }
}

/// What is seldom read and seldom changes.
#[derive(Clone, Debug, Default)]
struct Facts {
    task_type: Option<Arc<str>>,
    complexity: Option<Complexity>,
    estimates: Estimates,
    deadline: Option<Timestamp>,
    session: Option<Arc<str>>,
    progress: u8,
    note: Option<Arc<str>>,
}

/// One task.
#[derive(Debug)]
pub(crate) struct Task {
    /// Told apart from all others, also of the same name.
    id: TaskId,
    pub(crate) organisation: Arc<str>,
    pub(crate) user: Arc<str>,
    pub(crate) name: Arc<str>,
    parent: Option<Arc<Task>>,
    depth: u32,
    /// Where it is kept; `None`: there was no room, and it is forgotten with its last call.
    slot: Option<u32>,
    hash: u64,
    created: Timestamp,
    /// It was created before its first call: what was said then holds for calls that name only it.
    explicit: bool,
    facts: Mutex<Facts>,
    state: AtomicU8,
    /// Its own priority, one more than its place among all; 0: that of the task above it.
    priority: AtomicU8,
    /// Another task of the name has taken its place for calls to come.
    superseded: AtomicBool,
    /// Calls that run, of its whole tree.
    running: AtomicU32,
    /// When it began and ended, and when it last did something; 0: not yet.
    started: AtomicU64,
    ended: AtomicU64,
    active: AtomicU64,
    own: Sums,
    tree: Sums,
    /// It has changed since it was last written down.
    dirty: AtomicBool,
}

impl Task {
    /// Itself, then those above it.
    fn upwards(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |it| it.parent.as_ref())
    }

    /// The root of its tree.
    pub(crate) fn root(self: &Arc<Self>) -> &Arc<Self> {
        self.upwards().last().unwrap_or(self)
    }

    /// The name of the task above it.
    pub(crate) fn parent_name(&self) -> Option<&Arc<str>> {
        self.parent.as_ref().map(|it| &it.name)
    }

    fn state(&self) -> TaskState {
        TaskState::of_raw(self.state.load(Ordering::SeqCst))
    }

    fn set_state(&self, state: TaskState) {
        self.state.store(state.raw(), Ordering::SeqCst);
    }

    /// As people see it: one that appeared by itself is over when it did nothing for long.
    fn seen_state(&self, now: Timestamp) -> TaskState {
        let state = self.state();
        let idle = self.running.load(Ordering::Relaxed) == 0
            && now.since(self.active()) >= OVER_AFTER
            && !self.explicit;
        match state {
            TaskState::Running if idle => TaskState::Completed,
            _ => state,
        }
    }

    /// The task that was called off, where this one is or is below one that was.
    pub(crate) fn cancelled(self: &Arc<Self>) -> Option<&Arc<Self>> {
        self.upwards().find(|it| it.state() == TaskState::Cancelled)
    }

    /// Whether it was called off, or is below one that was.
    pub(crate) fn is_cancelled(self: &Arc<Self>) -> bool {
        self.cancelled().is_some()
    }

    /// A call goes for it: it runs, and so does all above it, also what had come to an end.
    pub(crate) fn run(self: &Arc<Self>, now: Timestamp) {
        for it in self.upwards() {
            match it.state() {
                TaskState::Running | TaskState::Cancelled => {}
                TaskState::Pending | TaskState::Completed | TaskState::Failed => {
                    it.set_state(TaskState::Running);
                    it.ended.store(0, Ordering::Relaxed);
                }
            }
            let _first =
                it.started
                    .compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
            it.active.fetch_max(now.0, Ordering::Relaxed);
        }
    }

    /// The same for a call that began before and goes now, which costs next to nothing where all of
    /// them run.
    #[inline]
    pub(crate) fn resume(self: &Arc<Self>, now: Timestamp) {
        let running = |it: &Arc<Self>| it.state() == TaskState::Running;
        if !self.upwards().all(running) {
            self.run(now);
        }
    }

    fn active(&self) -> Timestamp {
        Timestamp(self.active.load(Ordering::Relaxed))
    }

    fn own_priority(&self) -> Option<Priority> {
        let raw = self.priority.load(Ordering::Relaxed);
        let place = usize::from(raw).checked_sub(1)?;
        Priority::ALL.get(place).copied()
    }

    fn set_priority(&self, priority: Option<Priority>) {
        self.priority
            .store(priority_raw(priority), Ordering::Relaxed);
    }

    /// Its own priority, else that of the nearest task above it that has one.
    pub(crate) fn priority(self: &Arc<Self>) -> Option<Priority> {
        self.upwards().find_map(|it| it.own_priority())
    }

    /// Until when it is wanted: its own deadline, or the nearest above it.
    pub(crate) fn deadline(self: &Arc<Self>) -> Option<Timestamp> {
        self.upwards().find_map(|it| it.facts.lock().deadline)
    }

    /// Type and complexity that it was created with, for calls that say none.
    pub(crate) fn said(&self) -> (Option<Arc<str>>, Option<Complexity>) {
        if !self.explicit {
            return (None, None);
        }
        let facts = self.facts.lock();
        (facts.task_type.clone(), facts.complexity)
    }
}

fn priority_raw(priority: Option<Priority>) -> u8 {
    let place = priority.and_then(|it| Priority::ALL.iter().position(|known| *known == it));
    place.and_then(|it| u8::try_from(it + 1).ok()).unwrap_or(0)
}
