//! What people do with tasks, within what they may, and what calls that wait hear of it.

use std::sync::Arc;

use tidegate_observe::audit::Action;
use tidegate_types::TaskId;

use super::{NewTask, Task, TaskChange, TaskError, TaskState, TaskView};
use crate::{Engine, call::Routed, identity::Principal, keys::Change, reserve::Obstacle};

impl Engine {
    /// Creates a task before its first call. Its type, priority, complexity, deadline and parent hold
    /// for the calls that name it.
    pub fn create_task(&self, by: &Principal, new: NewTask) -> Result<TaskView, TaskError> {
        let now = self.clock.now();
        let user = Self::task_owner(by, new.user.as_deref())?;
        let clean = |text: Option<String>| text.map(|it| self.without_secrets(&it).to_string());
        let new = NewTask {
            name: clean(new.name),
            parent: clean(new.parent),
            session: clean(new.session),
            note: clean(new.note),
            priority: new.priority.map(|it| it.min(by.highest_priority)),
            ..new
        };
        let task = self.tasks.create(&by.organisation, &user, new, now)?;
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
        let note = change.note.as_deref();
        let change = TaskChange {
            note: note.map(|it| self.without_secrets(it).to_string()),
            priority: change.priority.map(|it| it.min(by.highest_priority)),
            ..change.clone()
        };
        self.tasks.change(&task, &change, now)?;
        match change.state {
            Some(TaskState::Cancelled) => self.call_off(by, &task),
            Some(ended) if ended.is_ended() => self.free_slot(&task),
            _ => {}
        }
        self.save_tasks();
        Ok(task.view(now))
    }

    /// Gives back the slot of a root task that has come to an end.
    fn free_slot(&self, task: &Arc<Task>) {
        if task.is_root() {
            self.end_task(&task.organisation, &task.user, &task.name);
        }
    }

    /// Refuses the calls that wait for a task that was called off, or for one below it.
    fn call_off(self: &Arc<Self>, by: &Principal, task: &Arc<Task>) {
        self.calling_off.send_modify(|it| *it += 1);
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
        let mut changes = self.calling_off.subscribe();
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
