//! Tasks that are created before their first call, and what is done with them.

use std::sync::{Arc, atomic::Ordering};

use tidegate_observe::audit::Action;
use tidegate_types::{Complexity, Priority, TaskId, Timestamp};

use super::{
    Estimates, Facts, Task, TaskState, TaskView,
    table::{Birth, Key},
};
use crate::{Engine, call::Routed, identity::Principal, keys::Change, reserve::Obstacle};

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
    #[error(
        "task `{task}` is below {} others, and no more may be",
        super::DEPTH_MAX
    )]
    TooDeep {
        /// The task.
        task: Arc<str>,
    },
    /// There is no room.
    #[error(
        "{} tasks are remembered, and all of them are in use: end some that are over",
        super::TASKS_MAX
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

impl Engine {
    /// Creates a task before its first call. Its type, priority, complexity, deadline and parent hold
    /// for the calls that name it.
    pub fn create_task(&self, by: &Principal, new: NewTask) -> Result<TaskView, TaskError> {
        let now = self.clock.now();
        let user = Self::task_owner(by, new.user.as_deref())?;
        let name: Arc<str> = if let Some(name) = &new.name {
            self.without_secrets(name)
        } else {
            let id: TaskId = self.tasks.next_id(now);
            id.to_string().into()
        };
        let parent = match new.parent.as_deref() {
            Some(parent) => {
                let parent = self.without_secrets(parent);
                if parent == name {
                    return Err(TaskError::Cycle { task: name, parent });
                }
                Some(self.parent(&by.organisation, &user, parent)?)
            }
            None => None,
        };
        let key = Key {
            organisation: &by.organisation,
            user: &user,
            name: &name,
        };
        let birth = Birth {
            at: now,
            explicit: true,
            priority: new.priority.map(|it| it.min(by.highest_priority)),
            facts: Facts {
                task_type: new.task_type.as_deref().map(Arc::from),
                complexity: new.complexity,
                estimates: new.estimates,
                deadline: new.deadline,
                session: new.session.as_deref().map(|it| self.without_secrets(it)),
                progress: 0,
                note: new.note.as_deref().map(|it| self.without_secrets(it)),
            },
        };
        let hash = key.hash();
        let mut shard = self.tasks.shard(hash);
        if shard.find(hash, &key).is_some() {
            return Err(TaskError::Exists { task: name, user });
        }
        let task = self.tasks.add(&mut shard, &key, parent.as_ref(), birth)?;
        drop(shard);
        // What somebody says outlives even a crash; what calls do is written down within a second.
        self.save_tasks();
        Ok(task.view(now))
    }

    fn task_owner(by: &Principal, asked: Option<&str>) -> Result<Arc<str>, TaskError> {
        let user: Arc<str> = asked.map_or_else(|| Arc::clone(&by.user), Arc::from);
        if by.may_touch(&by.organisation, &user) {
            return Ok(user);
        }
        Err(TaskError::OtherUser { user })
    }

    fn parent(
        &self,
        organisation: &Arc<str>,
        user: &Arc<str>,
        parent: Arc<str>,
    ) -> Result<Arc<Task>, TaskError> {
        let key = Key {
            organisation,
            user,
            name: &parent,
        };
        let Some(found) = self.tasks.find(&key) else {
            let user = Arc::clone(user);
            return Err(TaskError::UnknownParent { parent, user });
        };
        match found.cancelled() {
            Some(it) => Err(TaskError::Cancelled {
                task: Arc::clone(&it.name),
            }),
            None => Ok(found),
        }
    }

    /// Changes a task: one's own, or as an operator one of the organisation. All of it or nothing.
    pub fn change_task(
        self: &Arc<Self>,
        by: &Principal,
        id: TaskId,
        change: &TaskChange,
    ) -> Result<TaskView, TaskError> {
        let now = self.clock.now();
        let unknown = || TaskError::Unknown(id.to_string().into());
        let task = self.tasks.by_id(id).ok_or_else(unknown)?;
        if !by.may_touch(&task.organisation, &task.user) {
            let user = Arc::clone(&task.user);
            return Err(TaskError::OtherUser { user });
        }
        if let Some(progress) = change.progress.filter(|it| *it > 100) {
            return Err(TaskError::Progress(progress));
        }
        let name = || Arc::clone(&task.name);
        {
            // One change of a task at a time: what it is when it is looked at it is when it changes.
            let mut facts = task.facts.lock();
            let state = task.state();
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
                Some(ended) if ended.is_ended() => task.end(ended, now),
                Some(_) | None => {}
            }
            if let Some(progress) = change.progress {
                facts.progress = u8::try_from(progress).unwrap_or(100);
            }
            if change.state == Some(TaskState::Completed) {
                facts.progress = 100;
            }
            if let Some(note) = &change.note {
                facts.note = (!note.is_empty()).then(|| self.without_secrets(note));
            }
            facts.deadline = change.deadline.or(facts.deadline);
        }
        if change.priority.is_some() {
            task.set_priority(change.priority.map(|it| it.min(by.highest_priority)));
        }
        let begins = change.state == Some(TaskState::Running)
            || change.progress.is_some() && change.state.is_none();
        if begins {
            task.run(now);
        }
        task.upwards().for_each(|it| self.tasks.mark(it));
        match change.state {
            Some(TaskState::Cancelled) => self.call_off(by, &task, now),
            Some(ended) if ended.is_ended() => {
                self.free_slot(&task);
            }
            _ => {}
        }
        self.save_tasks();
        Ok(task.view(now))
    }

    /// Gives back the slot of a root task that has come to an end.
    fn free_slot(&self, task: &Arc<Task>) {
        if task.parent.is_none() {
            self.end_task(&task.organisation, &task.user, &task.name);
        }
    }

    /// Ends all that is below a task that was called off, and refuses their calls that wait.
    fn call_off(self: &Arc<Self>, by: &Principal, task: &Arc<Task>, now: Timestamp) {
        for below in self.tasks.below_of(task) {
            if !below.state().is_ended() {
                below.end(TaskState::Cancelled, now);
                self.tasks.mark(&below);
            }
        }
        self.tasks.calling_off.send_modify(|it| *it += 1);
        self.refuse_called_off();
        self.free_slot(task);
        let change = Change {
            organisation: Some(Arc::clone(&task.organisation)),
            ..Change::by(by, Action::TaskCancelled, task.name.to_string())
        };
        self.audit(change);
    }

    /// Returns when the task of a call that waits for somebody is called off.
    pub async fn called_off(&self, call: &Routed) {
        let mut changes = self.tasks.calling_off.subscribe();
        while !call.is_called_off() {
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes those of tasks that were called off out of the queues.
    fn refuse_called_off(&self) {
        for gate in self.gates.load().values() {
            let refused: Vec<_> = {
                let mut gate = gate.lock();
                let called_off = gate.waiters().filter(|(_, it)| it.work.is_called_off());
                let tickets: Vec<_> = called_off.map(|(ticket, _)| ticket).collect();
                let left = tickets.into_iter();
                left.filter_map(|ticket| gate.leave(ticket)).collect()
            };
            if refused.is_empty() {
                continue;
            }
            for waiter in refused {
                self.refuse_waiting(waiter, Obstacle::TaskCancelled);
            }
            self.look(gate);
        }
    }
}

impl Routed {
    /// Whether its task, or one above it, was called off.
    pub fn is_called_off(&self) -> bool {
        self.call.ongoing.task().is_cancelled()
    }
}

impl Task {
    fn end(&self, state: TaskState, now: Timestamp) {
        self.set_state(state);
        self.ended.store(now.0, Ordering::Relaxed);
        self.active.fetch_max(now.0, Ordering::Relaxed);
    }
}
