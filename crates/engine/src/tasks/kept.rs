//! Tasks over a restart: written down when they change, at most once a second, and read back.
//!
//! With the tasks stands which calls were running, so that after a crash the calls whose records
//! were kept and not counted yet are counted once.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidegate_ledger::StoreError;
use tidegate_observe::calls::{CallFilter, CallRecord, LIST_MAX};
use tidegate_types::{CallId, Complexity, IdSource, Priority, TaskId, Timestamp};

use super::{
    Estimates, Facts, Sums, Task, TaskState, Used, priority_raw,
    table::{Key, Tasks},
};
use crate::{Engine, writer::Stores};

/// What the settings begin with under which tasks are kept, one for each slot.
const TASKS: &str = "task\n";

/// The setting that says up to where calls are counted.
const COUNTED: &str = "tasks_counted";

/// Records of calls that are counted again after a crash at most: a second's worth is lost by one,
/// and this is a hundred times that.
const RECOUNTED_MAX: usize = 1_000_000;

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
        }
    }
}

/// Which calls are counted: those with an id up to `before`, but for the `open`.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted {
    before: u64,
    open: Vec<CallId>,
}

impl Counted {
    fn has(&self, call: CallId) -> bool {
        call.raw() <= self.before && !self.open.contains(&call)
    }
}

impl Tasks {
    /// What has changed, as of one moment: no call ends meanwhile.
    fn changed(&self) -> (Vec<Saved>, Counted) {
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
        (saved.collect(), counted)
    }

    /// Tasks of an earlier run, those above others first.
    fn restore(&self, mut all: Vec<Saved>) {
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
    }

    /// Counts a call whose record was kept and which was not counted.
    fn recount(&self, record: &CallRecord) {
        let (Some(name), Some(root)) = (&record.task, &record.root_task) else {
            return;
        };
        let key = |name| Key {
            organisation: &record.organisation,
            user: &record.user,
            name,
        };
        let in_tree =
            |name, above: Option<&Arc<Task>>| self.ensure_in_tree(&key(name), root, above, record);
        let task = in_tree(root, None).and_then(|root| match &record.parent {
            None => Ok(root),
            Some(parent) if *parent == root.name => in_tree(name, Some(&root)),
            Some(parent) => in_tree(name, Some(&in_tree(parent, Some(&root))?)),
        });
        // One that can't be had any more is in no view either.
        if let Ok(task) = task {
            if !task.state().is_ended() {
                task.run(record.at);
            }
            self.add_used(&task, &Used::of(record), record.at);
        }
    }
}

/// What an earlier run left.
#[derive(Debug, Default)]
pub(crate) struct Recalled {
    saved: Vec<Saved>,
    counted: Option<Counted>,
}

impl Recalled {
    /// The last id that was given to a task.
    pub(crate) fn last_task(&self) -> u64 {
        let ids = self.saved.iter().map(|it| it.id.raw());
        ids.max().unwrap_or(0)
    }

    /// The last id that was given when it was written down.
    pub(crate) fn last_id(&self) -> u64 {
        self.counted.as_ref().map_or(0, |it| it.before)
    }
}

/// Reads what an earlier run left. What can't be read was written by another version, and is left
/// out.
pub(crate) fn recalled(stores: &Stores) -> Result<Recalled, StoreError> {
    let rows = stores.settings.settings_below(TASKS)?;
    let mut newest: HashMap<TaskId, Saved, RandomState> = HashMap::default();
    for (_, bytes) in rows {
        let Ok(saved) = serde_json::from_slice::<Saved>(&bytes) else {
            continue;
        };
        let known = newest.get(&saved.id);
        if known.is_none_or(|it| it.active <= saved.active) {
            newest.insert(saved.id, saved);
        }
    }
    let counted = stores.settings.setting(COUNTED)?;
    Ok(Recalled {
        saved: newest.into_values().collect(),
        counted: counted.and_then(|it| serde_json::from_slice(&it).ok()),
    })
}

impl Engine {
    /// Takes over what an earlier run left, and counts what a crash kept it from counting.
    pub(crate) fn recall_tasks(&self, recalled: Recalled) {
        self.tasks.restore(recalled.saved);
        let Some(counted) = recalled.counted else {
            // Calls of before there was a registry are none of its tasks'.
            let first = Counted {
                before: IdSource::first_at(self.clock.now()).saturating_sub(1),
                open: Vec::new(),
            };
            let first = serde_json::to_vec(&first).unwrap_or_default();
            if let Err(unwritten) = self.keep_setting(COUNTED, &first) {
                self.writer.health().failed(&unwritten);
            }
            return;
        };
        let first = counted.open.iter().map(|it| it.raw());
        let first = first.min().unwrap_or(u64::MAX).min(counted.before);
        // Ids may run ahead of the clock where very many are given.
        let since = IdSource::time_of(first).0.saturating_sub(RAN_AHEAD_MAX);
        let since = Timestamp(since);
        let mut seen = HashSet::<CallId, RandomState>::default();
        let mut before = None;
        let mut page = Vec::new();
        while seen.len() < RECOUNTED_MAX {
            let filter = CallFilter {
                since: Some(since),
                before,
                limit: LIST_MAX,
                ..CallFilter::default()
            };
            match self.stores.calls.list(&filter) {
                Ok(records) => page.extend(records),
                // The sums are a view: they do not keep the gateway from starting.
                Err(_unreadable) => return,
            }
            let Some(last) = page.last().map(|it: &CallRecord| it.id) else {
                return;
            };
            before = Some(last);
            for record in page.drain(..) {
                if !counted.has(record.id) && seen.insert(record.id) {
                    self.tasks.recount(&record);
                }
            }
        }
    }

    /// Writes down the tasks that have changed.
    pub(crate) fn save_tasks(&self) {
        if self.tasks.dirty.lock().is_empty() {
            return;
        }
        let (saved, counted) = self.tasks.changed();
        let mut values: Vec<(String, Vec<u8>)> = saved
            .iter()
            .map(|it| {
                let bytes = serde_json::to_vec(it).unwrap_or_default();
                (format!("{TASKS}{:05}", it.slot), bytes)
            })
            .collect();
        let counted = serde_json::to_vec(&counted).unwrap_or_default();
        values.push((COUNTED.to_owned(), counted));
        let values: Vec<(&str, &[u8])> = values
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_slice()))
            .collect();
        if let Err(unwritten) = self.stores.settings.set(&values) {
            self.writer.health().failed(&unwritten);
            for it in &saved {
                let key = Key {
                    organisation: &it.organisation,
                    user: &it.user,
                    name: &it.name,
                };
                if let Some(task) = self.tasks.find(&key) {
                    self.tasks.mark(&task);
                }
            }
        }
    }
}
