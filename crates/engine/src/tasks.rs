//! Tasks: what calls are made for. Who may do what with them, when they are written down, and what
//! becomes of calls whose task is called off; the registry itself knows none of that.

mod changes;
mod kept;

use std::sync::Arc;

pub use tidegate_tasks::{
    DEPTH_MAX, Estimates, NewTask, OVER_AFTER, RUNNING_MAX, RunningView, TASKS_MAX, TREE_MAX,
    TaskChange, TaskError, TaskFilter, TaskState, TaskTree, TaskView, Used,
};

use tidegate_observe::calls::CallRecord;
use tidegate_tasks::Key;
pub(crate) use tidegate_tasks::{Begun, Called, Ongoing, Place, Recalled, Task, Tasks};
use tidegate_types::TaskId;

pub(crate) use self::kept::recalled;
use crate::Engine;

/// What one call used; nothing where it was not sent.
pub fn used_by(record: &CallRecord) -> Used {
    if !record.outcome.was_sent() {
        return Used::default();
    }
    let usage = record.usage.unwrap_or_default();
    let cache_write = usage.cache_write_5m.0;
    Used {
        calls: 1,
        input: usage.input.0,
        cache_read: usage.cache_read.0,
        cache_write: cache_write.saturating_add(usage.cache_write_1h.0),
        output: usage.output.0,
        cost: record.cost,
        notional: record.notional,
        micros: record
            .phases
            .first_byte
            .saturating_add(record.phases.stream),
    }
}

impl Engine {
    /// A call's record is finished: adds what it used to its task and all above it.
    pub(crate) fn finish_for_task(&self, record: &CallRecord) {
        let Some(name) = &record.task else { return };
        let key = Key {
            organisation: &record.organisation,
            user: &record.user,
            name,
        };
        let now = self.clock.now();
        self.tasks.finish(record.id, &key, &used_by(record), now);
    }

    /// Tasks, those that appeared last first, at most `limit`; and whether there are more.
    pub fn tasks(&self, filter: &TaskFilter, limit: usize) -> (Vec<TaskView>, bool) {
        self.tasks.list(filter, limit, self.clock.now())
    }

    /// The one task that a filter names: of several of the same user, the one that calls are for.
    pub fn find_task(&self, filter: &TaskFilter) -> Result<TaskView, TaskError> {
        self.tasks.the_one(filter, self.clock.now())
    }

    /// A task with all below it.
    pub fn task_tree(&self, id: TaskId) -> Option<TaskTree> {
        self.tasks.tree(id, self.clock.now())
    }

    /// Whether a root task was ended by somebody's word.
    pub fn has_ended(&self, organisation: &Arc<str>, user: &Arc<str>, task: &Arc<str>) -> bool {
        self.tasks.has_ended(&Key {
            organisation,
            user,
            name: task,
        })
    }

    /// The calls that run and are wanted by organisation and user, oldest first, at most
    /// [`RUNNING_MAX`]; and how many there are.
    pub fn running(&self, wanted: impl Fn(&str, &str) -> bool) -> (Vec<RunningView>, usize) {
        self.tasks.running(wanted, self.clock.monotonic())
    }
}
