//! Tasks that are created before their first call, and what is done with them.

use std::sync::{Arc, atomic::Ordering};

use tidegate_types::{Complexity, Priority, TaskId, Timestamp};

use crate::{
    DEPTH_MAX, Estimates, TASKS_MAX, TaskState,
    table::{Birth, Key, Tasks},
    task::{Facts, Task},
};

/// A task that somebody creates. What is left out is not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewTask {
    /// What calls name it; left out: a name of ours.
    pub name: Option<String>,
    /// The task above it, which must be there.
    pub parent: Option<String>,
    /// Whose it is; left out: the creator's own.
    pub user: Option<String>,
    /// What kind of task it is.
    pub task_type: Option<String>,
    /// How much it matters; left out: as much as the task above it.
    pub priority: Option<Priority>,
    /// How hard it is.
    pub complexity: Option<Complexity>,
    /// What it is expected to take.
    pub estimates: Estimates,
    /// Until when it is wanted.
    pub deadline: Option<Timestamp>,
    /// The session that it is part of.
    pub session: Option<String>,
    /// A word on it.
    pub note: Option<String>,
}

/// What is changed about a task. What is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskChange {
    /// How far it is.
    pub state: Option<TaskState>,
    /// How much of it is done, in percent.
    pub progress: Option<u64>,
    /// A word on that.
    pub note: Option<String>,
    /// How much it matters.
    pub priority: Option<Priority>,
    /// Until when it is wanted.
    pub deadline: Option<Timestamp>,
}

/// Why something is not done with a task, or for it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// There is none of that name, or none that may be seen.
    #[error("there is no task `{0}`: see `tidegate task` for those there are")]
    Unknown(Arc<str>),
    /// Several users have one of that name.
    #[error("several users have a task `{task}`: say whose ({users})")]
    Several {
        /// Its name.
        task: Arc<str>,
        /// Some of them.
        users: String,
    },
    /// The name is taken.
    #[error("`{user}` has a task `{task}` already: choose another name, or change that one")]
    Exists {
        /// Its name.
        task: Arc<str>,
        /// Whose.
        user: Arc<str>,
    },
    /// The task above it is not there.
    #[error(
        "`{user}` has no task `{parent}` that another could be below: create it first; a task and those below it are one user's"
    )]
    UnknownParent {
        /// As it was named.
        parent: Arc<str>,
        /// Whose it would have to be.
        user: Arc<str>,
    },
    /// It would be below itself.
    #[error("task `{task}` can't be below `{parent}`, which is that task or is below it")]
    Cycle {
        /// The task.
        task: Arc<str>,
        /// What was to be above it.
        parent: Arc<str>,
    },
    /// It was created somewhere else.
    #[error("task `{task}` was created {}, not below `{asked}`: leave the parent out", place(.parent.as_ref()))]
    OtherParent {
        /// The task.
        task: Arc<str>,
        /// What is above it.
        parent: Option<Arc<str>>,
        /// What was to be.
        asked: Arc<str>,
    },
    /// Too many tasks are above it.
    #[error("task `{task}` is below {} others, and no more may be", DEPTH_MAX)]
    TooDeep {
        /// The task.
        task: Arc<str>,
    },
    /// There is no room.
    #[error(
        "{} tasks are remembered, and all of them are in use: end some that are over",
        TASKS_MAX
    )]
    TooMany,
    /// It was called off.
    #[error(
        "task `{task}` was cancelled, and no call is made for it or for what is below it: begin another task"
    )]
    Cancelled {
        /// The task that was.
        task: Arc<str>,
    },
    /// It has come to an end.
    #[error("task `{task}` is {}, which nothing changes any more; a call for it begins it again, unless it was cancelled", .state.word())]
    Ended {
        /// The task.
        task: Arc<str>,
        /// How.
        state: TaskState,
    },
    /// No task goes back to where it has not begun.
    #[error("task `{task}` can't become {}: it can be started, completed, failed or cancelled", .state.word())]
    Backwards {
        /// The task.
        task: Arc<str>,
        /// As it was asked.
        state: TaskState,
    },
    /// It is no percentage.
    #[error("`progress` is a whole number from 0 to 100, and not {0}")]
    Progress(u64),
    /// It is somebody else's.
    #[error(
        "only an operator may create or change tasks of others, and `{user}` is not the user of this key"
    )]
    OtherUser {
        /// Whose.
        user: Arc<str>,
    },
}

fn place(parent: Option<&Arc<str>>) -> String {
    match parent {
        Some(parent) => format!("below `{parent}`"),
        None => "as the root of a tree".to_owned(),
    }
}

impl Tasks {
    /// Creates a task of that user before its first call. Its type, priority, complexity, deadline and
    /// parent hold for the calls that name it. Whose it may be is decided by the caller: `new.user` is
    /// not looked at.
    pub fn create(
        &self,
        organisation: &Arc<str>,
        user: &Arc<str>,
        new: NewTask,
        now: Timestamp,
    ) -> Result<Arc<Task>, TaskError> {
        let name: Arc<str> = new.name.map_or_else(
            || {
                let id: TaskId = self.next_id(now);
                id.to_string().into()
            },
            Arc::from,
        );
        let key = Key {
            organisation,
            user,
            name: &name,
        };
        let parent = new.parent.map(Arc::from);
        let parent = parent.map(|it| self.parent(&key, it)).transpose()?;
        let birth = Birth {
            at: now,
            explicit: true,
            priority: new.priority,
            facts: Facts {
                task_type: new.task_type.map(Arc::from),
                complexity: new.complexity,
                estimates: new.estimates,
                deadline: new.deadline,
                session: new.session.map(Arc::from),
                progress: 0,
                note: new.note.map(Arc::from),
            },
        };
        let hash = key.hash();
        let mut shard = self.shard(hash);
        if shard.find(hash, &key).is_some() {
            return Err(TaskError::Exists {
                task: Arc::clone(&name),
                user: Arc::clone(user),
            });
        }
        self.add(&mut shard, &key, parent.as_ref(), birth)
    }

    /// The task that a new one is to be below.
    fn parent(&self, new: &Key<'_>, parent: Arc<str>) -> Result<Arc<Task>, TaskError> {
        if parent == *new.name {
            return Err(TaskError::Cycle {
                task: Arc::clone(new.name),
                parent,
            });
        }
        let key = Key {
            name: &parent,
            ..*new
        };
        let Some(found) = self.find(&key) else {
            let user = Arc::clone(new.user);
            return Err(TaskError::UnknownParent { parent, user });
        };
        match found.cancelled() {
            Some(it) => Err(TaskError::Cancelled {
                task: Arc::clone(&it.name),
            }),
            None => Ok(found),
        }
    }

    /// Changes a task, all of it or nothing. With one that is called off, so is all below it; their calls
    /// that wait are the caller's to refuse.
    pub fn change(
        &self,
        task: &Arc<Task>,
        change: &TaskChange,
        now: Timestamp,
    ) -> Result<(), TaskError> {
        if let Some(progress) = change.progress.filter(|it| *it > 100) {
            return Err(TaskError::Progress(progress));
        }
        task.tell(change, now)?;
        task.told.store(0, Ordering::Relaxed);
        if change.priority.is_some() {
            task.set_priority(change.priority);
        }
        let begins = change.state == Some(TaskState::Running)
            || change.progress.is_some() && change.state.is_none();
        if begins {
            task.run(now);
        }
        task.upwards().for_each(|it| self.mark(it));
        if change.state == Some(TaskState::Cancelled) {
            self.call_off_below(task, now);
        }
        Ok(())
    }

    fn call_off_below(&self, task: &Arc<Task>, now: Timestamp) {
        for below in self.below_of(task) {
            if !below.state().is_ended() {
                below.end(TaskState::Cancelled, now);
                self.mark(&below);
            }
        }
    }
}

impl Task {
    fn tell(&self, change: &TaskChange, now: Timestamp) -> Result<(), TaskError> {
        let name = || Arc::clone(&self.name);
        // One change of a task at a time: what it is when it is looked at it is when it changes.
        let mut facts = self.facts.lock();
        let state = self.state();
        if state.is_ended() {
            return Err(TaskError::Ended {
                task: name(),
                state,
            });
        }
        match change.state {
            Some(TaskState::Pending) => {
                let state = TaskState::Pending;
                return Err(TaskError::Backwards {
                    task: name(),
                    state,
                });
            }
            Some(ended) if ended.is_ended() => self.end(ended, now),
            Some(_) | None => {}
        }
        if let Some(progress) = change.progress {
            facts.progress = u8::try_from(progress).unwrap_or(100);
        }
        if change.state == Some(TaskState::Completed) {
            facts.progress = 100;
        }
        if let Some(note) = &change.note {
            facts.note = (!note.is_empty()).then(|| note.as_str().into());
        }
        facts.deadline = change.deadline.or(facts.deadline);
        Ok(())
    }

    fn end(&self, state: TaskState, now: Timestamp) {
        self.set_state(state);
        self.ended.store(now.0, Ordering::Relaxed);
        self.active.fetch_max(now.0, Ordering::Relaxed);
    }
}
