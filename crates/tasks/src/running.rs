//! The calls that run for tasks.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU8, Ordering},
};

use parking_lot::Mutex;
use tidegate_types::{CallId, Monotonic, Timestamp};

use crate::{
    Task,
    table::{Called, Tasks},
};

/// What a call is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// It is sized, routed and reserved.
    Preparing,
    /// It waits for its turn.
    Waiting,
    /// It waits for somebody's approval.
    Parked,
    /// It was sent, and no answer has begun.
    Sent,
    /// Its answer is passed on.
    Answering,
}

impl Begun {
    const ALL: [Self; 5] = [
        Self::Preparing,
        Self::Waiting,
        Self::Parked,
        Self::Sent,
        Self::Answering,
    ];

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Waiting => "waiting",
            Self::Parked => "parked",
            Self::Sent => "sent",
            Self::Answering => "answering",
        }
    }
}

/// A call that runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) call: CallId,
    pub(crate) task: Arc<Task>,
    pub(crate) model: Arc<str>,
    pub(crate) since: Timestamp,
    pub(crate) began: Monotonic,
    platform: Mutex<Option<Arc<str>>>,
    phase: AtomicU8,
    /// Its record is finished: what it used is counted.
    ended: AtomicBool,
}

impl Running {
    pub(crate) fn new(task: Arc<Task>, it: &Called<'_>) -> Self {
        Self {
            call: it.call,
            task,
            model: Arc::clone(it.model),
            since: it.wall,
            began: it.mono,
            platform: Mutex::new(None),
            phase: AtomicU8::new(0),
            ended: AtomicBool::new(false),
        }
    }

    pub(crate) fn phase(&self) -> Begun {
        let raw = usize::from(self.phase.load(Ordering::Relaxed));
        Begun::ALL.get(raw).copied().unwrap_or(Begun::Preparing)
    }

    pub(crate) fn platform(&self) -> Option<Arc<str>> {
        self.platform.lock().clone()
    }
}

/// A call that runs, for as long as it does. Dropped without a finished record, it was never made.
#[derive(Debug)]
pub struct Ongoing {
    tasks: Arc<Tasks>,
    running: Arc<Running>,
}

impl Ongoing {
    pub(crate) fn new(tasks: &Arc<Tasks>, running: Arc<Running>) -> Self {
        Self {
            tasks: Arc::clone(tasks),
            running,
        }
    }

    /// What it is made for.
    pub fn task(&self) -> &Arc<Task> {
        &self.running.task
    }

    /// It does something else now.
    pub fn now(&self, phase: Begun) {
        let raw = Begun::ALL.iter().position(|it| *it == phase);
        let raw = raw.and_then(|it| u8::try_from(it).ok()).unwrap_or(0);
        self.running.phase.store(raw, Ordering::Relaxed);
    }

    /// It goes to that platform, if it goes.
    pub fn goes_to(&self, platform: &Arc<str>) {
        *self.running.platform.lock() = Some(Arc::clone(platform));
    }
}

impl Drop for Ongoing {
    fn drop(&mut self) {
        if !self.running.ended.load(Ordering::Relaxed) {
            let task = &self.running.task;
            let mut shard = self.tasks.shard(task.hash);
            shard.end(self.running.call);
            self.running.leave();
        }
    }
}

impl Running {
    /// It runs no more.
    pub(crate) fn leave(&self) {
        if !self.ended.swap(true, Ordering::Relaxed) {
            for it in self.task.upwards() {
                it.running.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}
