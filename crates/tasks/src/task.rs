//! One task: where it stands in its tree, how far it is, and what was said of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_types::{Complexity, NanoUsd, Priority, TaskId, Timestamp};

use crate::{OVER_AFTER, TaskState, used::Sums};

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

/// What is seldom read and seldom changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) task_type: Option<Arc<str>>,
    pub(crate) complexity: Option<Complexity>,
    pub(crate) estimates: Estimates,
    pub(crate) deadline: Option<Timestamp>,
    pub(crate) session: Option<Arc<str>>,
    pub(crate) progress: u8,
    pub(crate) note: Option<Arc<str>>,
}

/// One task.
#[derive(Debug)]
pub struct Task {
    /// Told apart from all others, also of the same name.
    pub(crate) id: TaskId,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Whose it is.
    pub user: Arc<str>,
    /// What calls name it.
    pub name: Arc<str>,
    pub(crate) parent: Option<Arc<Task>>,
    pub(crate) depth: u32,
    /// Where it is kept; `None`: there was no room, and it is forgotten with its last call.
    pub(crate) slot: Option<u32>,
    pub(crate) hash: u64,
    pub(crate) created: Timestamp,
    /// It was created before its first call: what was said then holds for calls that name only it.
    pub(crate) explicit: bool,
    pub(crate) facts: Mutex<Facts>,
    pub(crate) state: AtomicU8,
    /// Its own priority, one more than its place among all; 0: that of the task above it.
    pub(crate) priority: AtomicU8,
    /// Another task of the name has taken its place for calls to come.
    pub(crate) superseded: AtomicBool,
    /// Calls that run, of its whole tree.
    pub(crate) running: AtomicU32,
    /// When it began and ended, and when it last did something; 0: not yet.
    pub(crate) started: AtomicU64,
    pub(crate) ended: AtomicU64,
    pub(crate) active: AtomicU64,
    pub(crate) own: Sums,
    pub(crate) tree: Sums,
    /// It has changed since it was last written down.
    pub(crate) dirty: AtomicBool,
    /// The state that was told last, one more than its form; 0: what it is now is to be told.
    pub(crate) told: AtomicU8,
}

impl Task {
    /// Itself, then those above it.
    pub(crate) fn upwards(self: &Arc<Self>) -> impl Iterator<Item = &Arc<Self>> {
        std::iter::successors(Some(self), |it| it.parent.as_ref())
    }

    /// The root of its tree.
    pub fn root(self: &Arc<Self>) -> &Arc<Self> {
        self.upwards().last().unwrap_or(self)
    }

    /// Whether no task is above it.
    pub fn is_root(&self) -> bool {
        self.parent.is_none()
    }

    /// The name of the task above it.
    pub fn parent_name(&self) -> Option<&Arc<str>> {
        self.parent.as_ref().map(|it| &it.name)
    }

    pub(crate) fn state(&self) -> TaskState {
        TaskState::of_raw(self.state.load(Ordering::SeqCst))
    }

    /// Whether its state is to be told; it is told with that.
    pub(crate) fn is_to_tell(&self) -> bool {
        let now = self.state().raw() + 1;
        self.told.swap(now, Ordering::Relaxed) != now
    }

    pub(crate) fn set_state(&self, state: TaskState) {
        self.state.store(state.raw(), Ordering::SeqCst);
    }

    /// As people see it: one that appeared by itself is over when it did nothing for long.
    pub(crate) fn seen_state(&self, now: Timestamp) -> TaskState {
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
    pub fn cancelled(self: &Arc<Self>) -> Option<&Arc<Self>> {
        self.upwards().find(|it| it.state() == TaskState::Cancelled)
    }

    /// Whether it was called off, or is below one that was.
    pub fn is_cancelled(self: &Arc<Self>) -> bool {
        self.cancelled().is_some()
    }

    /// A call goes for it: it runs, and so does all above it, also what had come to an end.
    pub fn run(self: &Arc<Self>, now: Timestamp) {
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
    pub fn resume(self: &Arc<Self>, now: Timestamp) {
        let running = |it: &Arc<Self>| it.state() == TaskState::Running;
        if !self.upwards().all(running) {
            self.run(now);
        }
    }

    pub(crate) fn active(&self) -> Timestamp {
        Timestamp(self.active.load(Ordering::Relaxed))
    }

    pub(crate) fn own_priority(&self) -> Option<Priority> {
        let raw = self.priority.load(Ordering::Relaxed);
        let place = usize::from(raw).checked_sub(1)?;
        Priority::ALL.get(place).copied()
    }

    pub(crate) fn set_priority(&self, priority: Option<Priority>) {
        self.priority
            .store(priority_raw(priority), Ordering::Relaxed);
    }

    /// Its own priority, else that of the nearest task above it that has one.
    pub fn priority(self: &Arc<Self>) -> Option<Priority> {
        self.upwards().find_map(|it| it.own_priority())
    }

    /// Until when it is wanted: its own deadline, or the nearest above it.
    pub fn deadline(self: &Arc<Self>) -> Option<Timestamp> {
        self.upwards().find_map(|it| it.facts.lock().deadline)
    }

    /// Type and complexity that it was created with, for calls that say none.
    pub fn said(&self) -> (Option<Arc<str>>, Option<Complexity>) {
        if !self.explicit {
            return (None, None);
        }
        let facts = self.facts.lock();
        (facts.task_type.clone(), facts.complexity)
    }
}

pub(crate) fn priority_raw(priority: Option<Priority>) -> u8 {
    let place = priority.and_then(|it| Priority::ALL.iter().position(|known| *known == it));
    place.and_then(|it| u8::try_from(it + 1).ok()).unwrap_or(0)
}
