//! Tasks over a restart: what is written down of those that changed, and how it is read back.
//!
//! With the tasks stands which calls were running, so that after a crash the calls whose records
//! were kept and not counted yet are counted once.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_types::{CallId, Complexity, IdSource, Priority, TaskId, Timestamp};

use crate::{
    Estimates, TaskState, TaskView, Used,
    table::{Born, Key, Tasks},
    task::{Facts, Task, priority_raw},
    used::Sums,
};

/// What the settings begin with under which tasks are kept, one for each slot.
pub const TASKS: &str = "task\n";

/// The setting that says up to where calls are counted.
pub const COUNTED: &str = "tasks_counted";

/// How far ids run ahead of the clock at most, in nanoseconds: a million of them a millisecond.
const RAN_AHEAD_MAX: u64 = 1_000_000_000;

/// One task as it is written down.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Saved {
    id: TaskId,
    slot: u32,
    organisation: Arc<str>,
    user: Arc<str>,
    name: Arc<str>,
    /// The slot of the task above it, and which task had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    parent: Option<(u32, TaskId)>,
    depth: u32,
    created: Timestamp,
    explicit: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task_type: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    complexity: Option<Complexity>,
    estimates: Estimates,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<Arc<str>>,
    progress: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<Arc<str>>,
    state: TaskState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    priority: Option<Priority>,
    superseded: bool,
    started: u64,
    ended: u64,
    active: u64,
    own: Used,
    tree: Used,
}

impl Saved {
    fn of(task: &Task, slot: u32) -> Self {
        let facts = task.facts.lock().clone();
        let parent = task.parent.as_ref();
        Self {
            id: task.id,
            slot,
            organisation: Arc::clone(&task.organisation),
            user: Arc::clone(&task.user),
            name: Arc::clone(&task.name),
            parent: parent.and_then(|it| Some((it.slot?, it.id))),
            depth: task.depth,
            created: task.created,
            explicit: task.explicit,
            task_type: facts.task_type,
            complexity: facts.complexity,
            estimates: facts.estimates,
            deadline: facts.deadline,
            session: facts.session,
            progress: facts.progress,
            note: facts.note,
            state: task.state(),
            priority: task.own_priority(),
            superseded: task.superseded.load(Ordering::Relaxed),
            started: task.started.load(Ordering::Relaxed),
            ended: task.ended.load(Ordering::Relaxed),
            active: task.active.load(Ordering::Relaxed),
            own: task.own.read(),
            tree: task.tree.read(),
        }
    }

    fn restored(self, slot: Option<u32>, hash: u64, parent: Option<Arc<Task>>) -> Task {
        Task {
            id: self.id,
            organisation: self.organisation,
            user: self.user,
            name: self.name,
            depth: parent.as_ref().map_or(0, |it| it.depth + 1),
            parent,
            slot,
            hash,
            created: self.created,
            explicit: self.explicit,
            facts: Mutex::new(Facts {
                task_type: self.task_type,
                complexity: self.complexity,
                estimates: self.estimates,
                deadline: self.deadline,
                session: self.session,
                progress: self.progress,
                note: self.note,
            }),
            state: AtomicU8::new(self.state.raw()),
            priority: AtomicU8::new(priority_raw(self.priority)),
            superseded: AtomicBool::new(self.superseded),
            running: AtomicU32::new(0),
            started: AtomicU64::new(self.started),
            ended: AtomicU64::new(self.ended),
            active: AtomicU64::new(self.active),
            own: Sums::of(&self.own),
            tree: Sums::of(&self.tree),
            dirty: AtomicBool::new(false),
            told: AtomicU8::new(self.state.raw() + 1),
        }
    }
}

/// Which calls are counted: those with an id up to `before`, but for the `open`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Counted {
    before: u64,
    open: Vec<CallId>,
}

impl Counted {
    /// Where nothing was written down yet: calls of before there was a registry are none of its
    /// tasks'.
    pub fn from_now_on(now: Timestamp) -> Self {
        Self {
            before: IdSource::first_at(now).saturating_sub(1),
            open: Vec::new(),
        }
    }

    /// Whether that call is.
    pub fn has(&self, call: CallId) -> bool {
        call.raw() <= self.before && !self.open.contains(&call)
    }

    /// No call that arrived before this is missing.
    pub fn since(&self) -> Timestamp {
        let first = self.open.iter().map(|it| it.raw());
        let first = first.min().unwrap_or(u64::MAX).min(self.before);
        // Ids may run ahead of the clock where very many are given.
        Timestamp(IdSource::time_of(first).0.saturating_sub(RAN_AHEAD_MAX))
    }

    /// As it is written down under [`COUNTED`].
    pub fn written(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// What has changed, as of one moment.
#[derive(Clone, Debug)]
pub struct Changed {
    tasks: Vec<Saved>,
    counted: Counted,
    turned: Vec<Arc<Task>>,
}

impl Changed {
    /// Those that have begun, ended, or were changed by somebody's word since this was last asked.
    pub fn turned(&self, now: Timestamp) -> Vec<TaskView> {
        self.turned.iter().map(|it| it.view(now)).collect()
    }

    /// As it is written down, all of it or nothing: names of settings and their values.
    pub fn written(&self) -> Vec<(String, Vec<u8>)> {
        let tasks = self.tasks.iter().map(|it| {
            let bytes = serde_json::to_vec(it).unwrap_or_default();
            (format!("{TASKS}{:05}", it.slot), bytes)
        });
        let counted = (COUNTED.to_owned(), self.counted.written());
        tasks.chain([counted]).collect()
    }
}

/// A call of an earlier run, as its record tells of it.
#[derive(Clone, Copy, Debug)]
pub struct Past<'a> {
    /// Whose it was, and what it was for.
    pub key: Key<'a>,
    /// The root of that.
    pub root: &'a Arc<str>,
    /// The task above that.
    pub parent: Option<&'a Arc<str>>,
    /// The session that it was part of.
    pub session: Option<&'a Arc<str>>,
    /// When it arrived.
    pub at: Timestamp,
    /// What it used.
    pub used: Used,
}

impl Tasks {
    /// What has changed since this was last asked, as of one moment: no call ends meanwhile. `None`:
    /// nothing has.
    pub fn changed(&self) -> Option<Changed> {
        if self.dirty.lock().is_empty() {
            return None;
        }
        let shards: Vec<_> = self.all().map(Mutex::lock).collect();
        let dirty = std::mem::take(&mut *self.dirty.lock());
        let counted = Counted {
            before: self.ids.last(),
            open: shards
                .iter()
                .flat_map(|it| it.running.keys().copied())
                .collect(),
        };
        let saved = dirty.iter().filter_map(|it| {
            it.dirty.store(false, Ordering::Relaxed);
            Some(Saved::of(it, it.slot?))
        });
        let tasks = saved.collect();
        let turned = dirty.iter().filter(|it| it.is_to_tell());
        Some(Changed {
            tasks,
            counted,
            turned: turned.cloned().collect(),
        })
    }

    /// What could not be written down has changed still.
    pub fn unwritten(&self, changed: &Changed) {
        for it in &changed.tasks {
            let key = Key {
                organisation: &it.organisation,
                user: &it.user,
                name: &it.name,
            };
            if let Some(task) = self.find(&key) {
                self.mark(&task);
            }
        }
    }

    /// Takes over the tasks of an earlier run. Returns which calls they count; `None`: nothing was
    /// written down.
    pub fn restore(&self, recalled: Recalled) -> Option<Counted> {
        let mut all = recalled.saved;
        // Those above others first.
        all.sort_by_key(|it| (it.depth, it.id));
        let mut known: HashMap<TaskId, Arc<Task>, RandomState> = HashMap::default();
        for saved in all {
            let parent = match saved.parent {
                // Whose parent was forgotten was forgotten before it.
                Some((_, id)) => match known.get(&id) {
                    Some(parent) => Some(Arc::clone(parent)),
                    None => continue,
                },
                None => None,
            };
            let key = Key {
                organisation: &saved.organisation,
                user: &saved.user,
                name: &saved.name,
            };
            let hash = key.hash();
            let mut shard = self.shard(hash);
            let Some(slot) = shard.take_slot(saved.slot) else {
                continue;
            };
            let moved = slot != saved.slot;
            let task = Arc::new(saved.restored(Some(slot), hash, parent));
            known.insert(task.id, Arc::clone(&task));
            shard.put(&task);
            if moved {
                self.mark(&task);
            }
        }
        recalled.counted
    }

    /// Counts a call whose record was kept and which was not counted.
    pub fn recount(&self, past: &Past<'_>) {
        let root = past.root;
        let key = |name| Key { name, ..past.key };
        let born = Born {
            wall: past.at,
            session: past.session,
        };
        let in_tree =
            |name, above: Option<&Arc<Task>>| self.ensure_in_tree(&key(name), root, above, born);
        let task = in_tree(root, None).and_then(|root| match past.parent {
            None => Ok(root),
            Some(parent) if *parent == root.name => in_tree(past.key.name, Some(&root)),
            Some(parent) => in_tree(past.key.name, Some(&in_tree(parent, Some(&root))?)),
        });
        // One that can't be had any more is in no view either.
        if let Ok(task) = task {
            if !task.state().is_ended() {
                task.run(past.at);
            }
            self.add_used(&task, &past.used, past.at);
        }
    }
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub struct Recalled {
    saved: Vec<Saved>,
    counted: Option<Counted>,
}

impl Recalled {
    /// Reads the values of the settings that begin with [`TASKS`], and of [`COUNTED`]. What can't be
    /// read was written by another version, and is left out.
    pub fn read(tasks: impl IntoIterator<Item = Vec<u8>>, counted: Option<&[u8]>) -> Self {
        let mut newest: HashMap<TaskId, Saved, RandomState> = HashMap::default();
        for bytes in tasks {
            let Ok(saved) = serde_json::from_slice::<Saved>(&bytes) else {
                continue;
            };
            let known = newest.get(&saved.id);
            if known.is_none_or(|it| it.active <= saved.active) {
                newest.insert(saved.id, saved);
            }
        }
        Self {
            saved: newest.into_values().collect(),
            counted: counted.and_then(|it| serde_json::from_slice(it).ok()),
        }
    }

    /// The last id that was given to a task.
    pub fn last_task(&self) -> u64 {
        let ids = self.saved.iter().map(|it| it.id.raw());
        ids.max().unwrap_or(0)
    }

    /// The last id that was given when it was written down.
    pub fn last_id(&self) -> u64 {
        self.counted.as_ref().map_or(0, |it| it.before)
    }
}
