//! Tasks and running calls as people and programs see them.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tidegate_types::{CallId, Complexity, Monotonic, Priority, TaskId, Timestamp};

use crate::{Estimates, Key, Task, TaskError, TaskState, Used, running::Running, table::Tasks};

/// Tasks that a tree is shown with at most.
pub const TREE_MAX: usize = 1_000;

/// Running calls that are listed at most.
pub const RUNNING_MAX: usize = 1_000;

/// A task at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskView {
    /// Tells it from others of its name. Later ones are larger.
    pub id: TaskId,
    /// What calls name it.
    pub name: Arc<str>,
    /// The task above it.
    pub parent: Option<Arc<str>>,
    /// The root of its tree: itself, where none is above it.
    pub root: Arc<str>,
    /// How many tasks are above it.
    pub depth: u32,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Whose it is.
    pub user: Arc<str>,
    /// The session that it is part of.
    pub session: Option<Arc<str>>,
    /// What kind of task it is.
    pub task_type: Option<Arc<str>>,
    /// How much it matters, where it or a task above it says so.
    pub priority: Option<Priority>,
    /// How hard it is.
    pub complexity: Option<Complexity>,
    /// What it is expected to take.
    pub estimates: Estimates,
    /// Until when it is wanted: its own, or the nearest above it.
    pub deadline: Option<Timestamp>,
    /// How far it is.
    pub state: TaskState,
    /// How much of it is done, in percent, as was said.
    pub progress: u8,
    /// A word on it.
    pub note: Option<Arc<str>>,
    /// Whether it was created before its first call.
    pub explicit: bool,
    /// When it was created, or appeared.
    pub created: Timestamp,
    /// When it began.
    pub started: Option<Timestamp>,
    /// When it came to an end.
    pub ended: Option<Timestamp>,
    /// When something last happened for it or below it.
    pub active: Timestamp,
    /// Calls that run now, of its whole tree.
    pub running: u32,
    /// What its own calls used.
    pub own: Used,
    /// The same with all below it.
    pub tree: Used,
}

/// A task with all below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskTree {
    /// The task.
    pub task: TaskView,
    /// Those below it, each after the one above it, at most [`TREE_MAX`].
    pub below: Vec<TaskView>,
}

/// Which tasks are asked for. An absent field excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFilter {
    /// Only this organisation's.
    pub organisation: Option<Arc<str>>,
    /// Only this user's.
    pub user: Option<Arc<str>>,
    /// Only those of this name.
    pub name: Option<Arc<str>>,
    /// Only those that are this far.
    pub state: Option<TaskState>,
    /// Only those of this session.
    pub session: Option<Arc<str>>,
    /// Only those of trees with this root.
    pub root: Option<Arc<str>>,
    /// Only roots.
    pub roots: bool,
    /// Only earlier ones.
    pub before: Option<TaskId>,
}

impl TaskFilter {
    fn matches(&self, task: &Arc<Task>, now: Timestamp) -> bool {
        let is = |wanted: &Option<Arc<str>>, found: &Arc<str>| {
            wanted.as_ref().is_none_or(|it| it == found)
        };
        is(&self.organisation, &task.organisation)
            && is(&self.user, &task.user)
            && is(&self.name, &task.name)
            && self.before.is_none_or(|it| task.id < it)
            && (!self.roots || task.parent.is_none())
            && is(&self.root, &task.root().name)
            && self.state.is_none_or(|it| task.seen_state(now) == it)
            && (self.session.is_none() || self.session == task.root().facts.lock().session)
    }
}

/// A call that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningView {
    /// The call.
    pub call: CallId,
    /// Who pays.
    pub organisation: Arc<str>,
    /// Who sent it.
    pub user: Arc<str>,
    /// Its task.
    pub task: Arc<str>,
    /// The root of that.
    pub root: Arc<str>,
    /// The model it asks for.
    pub model: Arc<str>,
    /// Where it goes, if that is decided.
    pub platform: Option<Arc<str>>,
    /// When it arrived.
    pub since: Timestamp,
    /// How long ago that was.
    pub lasts: Duration,
    /// What it is doing, in a word: `preparing`, `waiting`, `parked`, `sent`, `answering`.
    pub phase: &'static str,
}

impl Task {
    /// How it is at this moment.
    pub fn view(self: &Arc<Self>, now: Timestamp) -> TaskView {
        let deadline = self.deadline();
        let facts = self.facts.lock().clone();
        let time = |raw: u64| (raw > 0).then_some(Timestamp(raw));
        let state = self.seen_state(now);
        let ended = time(self.ended.load(Ordering::Relaxed));
        TaskView {
            id: self.id,
            name: Arc::clone(&self.name),
            parent: self.parent_name().cloned(),
            root: Arc::clone(&self.root().name),
            depth: self.depth,
            organisation: Arc::clone(&self.organisation),
            user: Arc::clone(&self.user),
            session: facts.session,
            task_type: facts.task_type,
            priority: self.priority(),
            complexity: facts.complexity,
            estimates: facts.estimates,
            deadline,
            progress: facts.progress,
            note: facts.note,
            explicit: self.explicit,
            created: self.created,
            started: time(self.started.load(Ordering::Relaxed)),
            ended: ended.or(state.is_ended().then(|| self.active())),
            active: self.active(),
            state,
            running: self.running.load(Ordering::Relaxed),
            own: self.own.read(),
            tree: self.tree.read(),
        }
    }
}

impl Tasks {
    /// The task with that id.
    pub fn by_id(&self, id: TaskId) -> Option<Arc<Task>> {
        self.all().find_map(|shard| {
            let shard = shard.lock();
            shard.tasks.iter().find(|it| it.id == id).cloned()
        })
    }

    fn wanted(&self, wanted: impl Fn(&Arc<Task>) -> bool) -> Vec<Arc<Task>> {
        let mut found = Vec::new();
        for shard in self.all() {
            // Cloned under the lock, looked at outside: a walk up a tree takes a while.
            let all: Vec<Arc<Task>> = shard.lock().tasks.iter().cloned().collect();
            found.extend(all.into_iter().filter(&wanted));
        }
        found
    }

    /// All that are below a task, in no order.
    pub(crate) fn below_of(&self, task: &Arc<Task>) -> Vec<Arc<Task>> {
        self.wanted(|it| {
            it.depth > task.depth && it.upwards().skip(1).any(|above| Arc::ptr_eq(above, task))
        })
    }

    fn all_running(&self) -> Vec<Arc<Running>> {
        let all = self.all().flat_map(|shard| {
            let shard = shard.lock();
            shard.running.values().cloned().collect::<Vec<_>>()
        });
        all.collect()
    }

    /// Tasks, those that appeared last first, at most `limit`; and whether there are more.
    pub fn list(&self, filter: &TaskFilter, limit: usize, now: Timestamp) -> (Vec<TaskView>, bool) {
        let mut found = self.wanted(|it| filter.matches(it, now));
        found.sort_by_key(|it| std::cmp::Reverse(it.id));
        let more = found.len() > limit;
        let views = found.iter().take(limit).map(|it| it.view(now));
        (views.collect(), more)
    }

    /// The one task that a filter names: of several of the same user, the one that calls are for.
    pub fn the_one(&self, filter: &TaskFilter, now: Timestamp) -> Result<TaskView, TaskError> {
        let mut found = self.wanted(|it| filter.matches(it, now));
        found.sort_by_key(|it| {
            (
                it.superseded.load(Ordering::Relaxed),
                std::cmp::Reverse(it.id),
            )
        });
        let name = || filter.name.clone().unwrap_or_default();
        let first = found.first().ok_or_else(|| TaskError::Unknown(name()))?;
        let same = |it: &&Arc<Task>| it.user == first.user && it.organisation == first.organisation;
        let others = found.iter().filter(|it| !same(it)).take(3);
        let others: Vec<&str> = others.map(|it| &*it.user).collect();
        if others.is_empty() {
            return Ok(first.view(now));
        }
        Err(TaskError::Several {
            task: name(),
            users: [&[&*first.user][..], &others].concat().join(", "),
        })
    }

    /// A task with all below it.
    pub fn tree(&self, id: TaskId, now: Timestamp) -> Option<TaskTree> {
        let task = self.by_id(id)?;
        let mut all = self.below_of(&task);
        // Ids rise, and none is older than the one above it: so paths sort a tree.
        let path = |it: &Arc<Task>| {
            let mut path: Vec<TaskId> = it.upwards().map(|it| it.id).collect();
            path.reverse();
            path
        };
        all.sort_by_cached_key(path);
        let below = all.iter().take(TREE_MAX).map(|it| it.view(now));
        Some(TaskTree {
            below: below.collect(),
            task: task.view(now),
        })
    }

    /// Whether a root task was ended by somebody's word.
    pub fn has_ended(&self, key: &Key<'_>) -> bool {
        let found = self.find(key);
        found.is_some_and(|it| it.is_root() && it.state().is_ended())
    }

    /// The calls that run and are wanted by organisation and user, oldest first, at most
    /// [`RUNNING_MAX`]; and how many there are.
    pub fn running(
        &self,
        wanted: impl Fn(&str, &str) -> bool,
        now: Monotonic,
    ) -> (Vec<RunningView>, usize) {
        let mut all = self.all_running();
        all.retain(|it| wanted(&it.task.organisation, &it.task.user));
        all.sort_by_key(|it| it.call);
        let count = all.len();
        let views = all.into_iter().take(RUNNING_MAX).map(|it| RunningView {
            call: it.call,
            organisation: Arc::clone(&it.task.organisation),
            user: Arc::clone(&it.task.user),
            task: Arc::clone(&it.task.name),
            root: Arc::clone(&it.task.root().name),
            model: Arc::clone(&it.model),
            platform: it.platform(),
            since: it.since,
            lasts: now.since(it.began),
            phase: it.phase().word(),
        });
        (views.collect(), count)
    }
}
