//! The table of tasks: found by owner and name, bounded, in sharded locks.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use foldhash::fast::{FixedState, RandomState};
use hashbrown::HashTable;
use parking_lot::{Mutex, MutexGuard};
use tidegate_types::{CallId, IdSource, Monotonic, Priority, TaskId, Timestamp};

use crate::{
    DEPTH_MAX, TaskError, TaskState, Used,
    running::{Ongoing, Running},
    task::{Facts, Task, priority_raw},
    used::Sums,
};

/// Tasks remembered: those of a team of 1,000 for a day. Those that ended go first, then the longest
/// unused. About 60 MiB.
pub const TASKS_MAX: usize = 65_536;

/// Locks, so that calls of different tasks rarely meet.
const SHARDS: usize = 16;

const SHARD_MAX: usize = TASKS_MAX / SHARDS;

/// Of a full shard, one in so many is forgotten at once: it is seldom looked through.
const FORGOTTEN_ONE_IN: usize = 8;

/// Whose task, and what it is called.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    /// Who pays.
    pub organisation: &'a Arc<str>,
    /// Whose it is.
    pub user: &'a Arc<str>,
    /// What calls name it.
    pub name: &'a Arc<str>,
}

impl Key<'_> {
    pub(crate) fn hash(&self) -> u64 {
        FixedState::default().hash_one((self.organisation, self.user, self.name))
    }

    fn is(&self, task: &Task) -> bool {
        *task.name == **self.name
            && *task.user == **self.user
            && *task.organisation == **self.organisation
    }
}

/// Where a call says that its task is.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// It names the task alone.
    Named,
    /// It names the task above it.
    Below(&'a Arc<str>),
    /// An agent that the client's program started, in the tree of a prompt or turn.
    Agent {
        /// The task that started it.
        parent: &'a Arc<str>,
        /// The prompt or turn.
        root: &'a Arc<str>,
    },
}

impl Place<'_> {
    fn agrees(&self, task: &Arc<Task>) -> bool {
        match self {
            Self::Named => true,
            // Names that are nothing but secrets are all the same, and a task is not below itself.
            Self::Below(parent) => task.parent_name() == Some(parent) || task.name == **parent,
            Self::Agent { parent, root } => {
                task.explicit || (task.parent_name() == Some(parent) && task.root().name == **root)
            }
        }
    }
}

/// A call that begins.
#[derive(Clone, Copy, Debug)]
pub struct Called<'a> {
    /// The call.
    pub call: CallId,
    /// Who pays.
    pub organisation: &'a Arc<str>,
    /// Who sent it.
    pub user: &'a Arc<str>,
    /// The task that it is for.
    pub task: &'a Arc<str>,
    /// Where that is.
    pub place: Place<'a>,
    /// The session that it is part of.
    pub session: Option<&'a Arc<str>>,
    /// The model it asks for.
    pub model: &'a Arc<str>,
    /// The priority that it claims, which becomes its task's.
    pub priority: Option<Priority>,
    /// When it arrived.
    pub wall: Timestamp,
    /// The same, on the clock that never steps back.
    pub mono: Monotonic,
}

impl<'a> Called<'a> {
    const fn key(&self, name: &'a Arc<str>) -> Key<'a> {
        Key {
            organisation: self.organisation,
            user: self.user,
            name,
        }
    }
}

/// Running calls of a shard for which room is kept when a burst is over.
const RUNNING_KEPT: usize = 64;

/// One lock's part of the table.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) tasks: HashTable<Arc<Task>>,
    pub(crate) running: HashMap<CallId, Arc<Running>, RandomState>,
    /// Slots that nobody has.
    free: Vec<u32>,
}

impl Shard {
    fn new(place: usize) -> Self {
        let first = place * SHARD_MAX;
        let slots = first..first + SHARD_MAX;
        Self {
            tasks: HashTable::new(),
            running: HashMap::default(),
            free: slots
                .rev()
                .filter_map(|it| u32::try_from(it).ok())
                .collect(),
        }
    }

    /// The task that calls of this name are for.
    pub(crate) fn find(&self, hash: u64, key: &Key<'_>) -> Option<&Arc<Task>> {
        let current = |it: &Arc<Task>| key.is(it) && !it.superseded.load(Ordering::Relaxed);
        self.tasks.find(hash, current)
    }

    /// The call runs no more. What a burst of them took is given back.
    pub(crate) fn end(&mut self, call: CallId) -> Option<Arc<Running>> {
        let ended = self.running.remove(&call);
        let used = self.running.len().max(RUNNING_KEPT);
        if self.running.capacity() / 8 > used {
            self.running.shrink_to(2 * used);
        }
        ended
    }

    /// Gives a slot; forgets tasks where there is none left. `None`: all of them are in use.
    fn slot(&mut self) -> Option<u32> {
        if self.free.is_empty() {
            self.forget();
        }
        self.free.pop()
    }

    /// Takes a slot that an earlier run gave, if it is one of this shard's and free.
    pub(crate) fn take_slot(&mut self, slot: u32) -> Option<u32> {
        match self.free.iter().position(|it| *it == slot) {
            Some(at) => Some(self.free.swap_remove(at)),
            None => self.slot(),
        }
    }

    pub(crate) fn put(&mut self, task: &Arc<Task>) {
        if task.slot.is_some() {
            self.tasks
                .insert_unique(task.hash, Arc::clone(task), |it| it.hash);
        }
    }

    /// Forgets those that nobody refers to: no running call, no task below, nothing to be written.
    fn forget(&mut self) {
        let unused = self.tasks.iter().filter(|it| Arc::strong_count(it) == 1);
        let mut unused: Vec<(bool, u64, u64, u32)> = unused
            .map(|it| {
                let open = !it.state().is_ended() && it.explicit;
                (open, it.active().0, it.hash, it.slot.unwrap_or(u32::MAX))
            })
            .collect();
        unused.sort_unstable();
        for (_, _, hash, slot) in unused.into_iter().take(SHARD_MAX / FORGOTTEN_ONE_IN) {
            if let Ok(found) = self.tasks.find_entry(hash, |it| it.slot == Some(slot)) {
                found.remove();
                self.free.push(slot);
            }
        }
    }
}

/// The tasks of all users, and the calls that run.
#[derive(Debug)]
pub struct Tasks {
    shards: [Mutex<Shard>; SHARDS],
    pub(crate) dirty: Mutex<Vec<Arc<Task>>>,
    /// Of calls.
    pub(crate) ids: Arc<IdSource>,
    /// Of tasks.
    own_ids: IdSource,
}

impl Tasks {
    /// None yet. `ids` are those of calls, `after` is the last id that an earlier run gave a task.
    pub fn new(ids: Arc<IdSource>, after: u64) -> Self {
        Self {
            shards: std::array::from_fn(|it| Mutex::new(Shard::new(it))),
            dirty: Mutex::default(),
            ids,
            own_ids: IdSource::after(after),
        }
    }

    /// An id that no task has.
    pub fn next_id(&self, now: Timestamp) -> TaskId {
        self.own_ids.next(now)
    }

    pub(crate) fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // The lower bits choose the place within the table.
        let at = usize::try_from(hash >> 48).unwrap_or(0) % SHARDS;
        self.shards[at].lock()
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Mutex<Shard>> {
        self.shards.iter()
    }

    /// The task that calls of this name are for.
    pub fn find(&self, key: &Key<'_>) -> Option<Arc<Task>> {
        let hash = key.hash();
        self.shard(hash).find(hash, key).cloned()
    }

    /// Finds the call's task, or lets it appear, and counts the call among those that run.
    pub fn begin(self: &Arc<Self>, it: &Called<'_>) -> Result<Ongoing, TaskError> {
        let key = it.key(it.task);
        let hash = key.hash();
        {
            let mut shard = self.shard(hash);
            let known = shard.find(hash, &key);
            if let Some(task) = known.filter(|task| it.place.agrees(task)).map(Arc::clone) {
                let running = Self::start(&mut shard, task, it)?;
                drop(shard);
                return Ok(self.ongoing(running));
            }
        }
        let task = self.place(it)?;
        let running = Self::start(&mut self.shard(hash), task, it)?;
        Ok(self.ongoing(running))
    }

    /// The same for whoever asks without a call: nothing runs then.
    pub fn asked(&self, it: &Called<'_>) -> Result<Arc<Task>, TaskError> {
        let known = self.find(&it.key(it.task));
        let task = match known.filter(|task| it.place.agrees(task)) {
            Some(task) => task,
            None => self.place(it)?,
        };
        if let Some(called_off) = task.cancelled() {
            return Err(TaskError::Cancelled {
                task: Arc::clone(&called_off.name),
            });
        }
        if it.priority.is_some() {
            task.set_priority(it.priority);
        }
        task.run(it.wall);
        task.upwards().for_each(|it| self.mark(it));
        Ok(task)
    }

    /// Outside the lock: marks what has changed.
    fn ongoing(self: &Arc<Self>, running: Arc<Running>) -> Ongoing {
        for it in running.task.upwards() {
            self.mark(it);
        }
        Ongoing::new(self, running)
    }

    fn start(
        shard: &mut Shard,
        task: Arc<Task>,
        it: &Called<'_>,
    ) -> Result<Arc<Running>, TaskError> {
        if let Some(called_off) = task.cancelled() {
            return Err(TaskError::Cancelled {
                task: Arc::clone(&called_off.name),
            });
        }
        if it.priority.is_some() {
            task.set_priority(it.priority);
        }
        task.run(it.wall);
        for above in task.upwards() {
            above.running.fetch_add(1, Ordering::Relaxed);
        }
        let running = Arc::new(Running::new(task, it));
        shard.running.insert(it.call, Arc::clone(&running));
        Ok(running)
    }

    /// Lets a task appear where its first call says that it is.
    #[cold]
    fn place(&self, it: &Called<'_>) -> Result<Arc<Task>, TaskError> {
        let born = Born {
            wall: it.wall,
            session: it.session,
        };
        let named = |name| self.ensure(&it.key(name), None, born);
        match it.place {
            Place::Named => named(it.task),
            Place::Below(parent) if parent == it.task => named(it.task),
            Place::Below(parent) => {
                let above = named(parent)?;
                self.below(&it.key(it.task), &above, born)
            }
            Place::Agent { parent, root } => {
                let root = named(root)?;
                let parent = if *parent == root.name || parent == it.task {
                    Arc::clone(&root)
                } else {
                    self.agent(&it.key(parent), &root, born)?
                };
                self.agent(&it.key(it.task), &parent, born)
            }
        }
    }

    /// The task of that name, which appears below `parent` if it is not known.
    fn ensure(
        &self,
        key: &Key<'_>,
        parent: Option<&Arc<Task>>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        let hash = key.hash();
        let mut shard = self.shard(hash);
        match shard.find(hash, key) {
            Some(found) => Ok(Arc::clone(found)),
            None => self.appear(&mut shard, key, parent, born),
        }
    }

    /// A task that a call names below another.
    fn below(
        &self,
        key: &Key<'_>,
        parent: &Arc<Task>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        if parent.upwards().any(|it| key.is(it)) {
            return Err(TaskError::Cycle {
                task: Arc::clone(key.name),
                parent: Arc::clone(&parent.name),
            });
        }
        let found = self.ensure(key, Some(parent), born)?;
        let is_there = found.parent_name() == Some(&parent.name);
        if is_there {
            return Ok(found);
        }
        if found.explicit {
            return Err(TaskError::OtherParent {
                task: Arc::clone(key.name),
                parent: found.parent_name().cloned(),
                asked: Arc::clone(&parent.name),
            });
        }
        self.supersede(key, &found, parent, born)
    }

    /// An agent in the tree of `above`, which is its parent unless it is known to have another there.
    fn agent(
        &self,
        key: &Key<'_>,
        above: &Arc<Task>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        let known = above.upwards().find(|it| key.is(it));
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }
        let found = self.ensure(key, Some(above), born)?;
        if found.explicit || Arc::ptr_eq(found.root(), above.root()) {
            return Ok(found);
        }
        self.supersede(key, &found, above, born)
    }

    /// The task of a call of an earlier run, in the tree that its record names. It appears there if it
    /// is not known, and is not the one that calls to come are for where another is.
    pub(crate) fn ensure_in_tree(
        &self,
        key: &Key<'_>,
        root: &Arc<str>,
        parent: Option<&Arc<Task>>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        let hash = key.hash();
        let mut shard = self.shard(hash);
        let there = |it: &Arc<Task>| {
            key.is(it) && it.root().name == *root && it.parent.is_some() == parent.is_some()
        };
        if let Some(found) = shard.tasks.find(hash, there) {
            return Ok(Arc::clone(found));
        }
        let current = shard.find(hash, key).is_some();
        let task = self.appear(&mut shard, key, parent, born)?;
        task.superseded.store(current, Ordering::Relaxed);
        Ok(task)
    }

    /// A name that is used again below another task is another task.
    fn supersede(
        &self,
        key: &Key<'_>,
        found: &Arc<Task>,
        parent: &Arc<Task>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        let hash = key.hash();
        let mut shard = self.shard(hash);
        let current = shard.find(hash, key);
        if let Some(faster) = current.filter(|it| !Arc::ptr_eq(it, found)) {
            return Ok(Arc::clone(faster));
        }
        found.superseded.store(true, Ordering::Relaxed);
        self.mark(found);
        self.appear(&mut shard, key, Some(parent), born)
    }

    fn appear(
        &self,
        shard: &mut Shard,
        key: &Key<'_>,
        parent: Option<&Arc<Task>>,
        born: Born<'_>,
    ) -> Result<Arc<Task>, TaskError> {
        let facts = Facts {
            session: born.session.cloned(),
            ..Facts::default()
        };
        self.add(shard, key, parent, Birth::of(born.wall, facts))
    }

    pub(crate) fn add(
        &self,
        shard: &mut Shard,
        key: &Key<'_>,
        parent: Option<&Arc<Task>>,
        birth: Birth,
    ) -> Result<Arc<Task>, TaskError> {
        let depth = parent.map_or(0, |it| it.depth + 1);
        if depth >= DEPTH_MAX {
            return Err(TaskError::TooDeep {
                task: Arc::clone(key.name),
            });
        }
        let slot = shard.slot();
        if slot.is_none() && birth.explicit {
            return Err(TaskError::TooMany);
        }
        let task = Arc::new(Task {
            id: self.next_id(birth.at),
            organisation: Arc::clone(key.organisation),
            user: Arc::clone(key.user),
            name: Arc::clone(key.name),
            parent: parent.cloned(),
            depth,
            slot,
            hash: key.hash(),
            created: birth.at,
            explicit: birth.explicit,
            facts: Mutex::new(birth.facts),
            state: AtomicU8::new(TaskState::Pending.raw()),
            priority: AtomicU8::new(priority_raw(birth.priority)),
            superseded: AtomicBool::new(false),
            running: AtomicU32::new(0),
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            active: AtomicU64::new(birth.at.0),
            own: Sums::default(),
            tree: Sums::default(),
            dirty: AtomicBool::new(false),
            told: AtomicU8::new(0),
        });
        shard.put(&task);
        self.mark(&task);
        Ok(task)
    }

    /// Has it written down with the next save.
    pub(crate) fn mark(&self, task: &Arc<Task>) {
        if task.slot.is_some() && !task.dirty.swap(true, Ordering::Relaxed) {
            self.dirty.lock().push(Arc::clone(task));
        }
    }

    /// A call for the task of that name is over: adds what it used to that and all above it. Nothing
    /// happens where it was not counted among those that run, or has been ended already.
    pub fn finish(&self, call: CallId, key: &Key<'_>, used: &Used, now: Timestamp) {
        let mut shard = self.shard(key.hash());
        // Those that a limit refuses at the door are no task's.
        let Some(running) = shard.end(call) else {
            return;
        };
        running.leave();
        // Under the lock: a save sees the call either running or counted.
        self.add_used(&running.task, used, now);
    }

    pub(crate) fn add_used(&self, task: &Arc<Task>, used: &Used, now: Timestamp) {
        task.own.add(used);
        for it in task.upwards() {
            it.tree.add(used);
            it.active.fetch_max(now.0, Ordering::Relaxed);
            self.mark(it);
        }
    }
}

/// How a task appears that nobody created.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Born<'a> {
    pub(crate) wall: Timestamp,
    pub(crate) session: Option<&'a Arc<str>>,
}

/// What a task begins with.
#[derive(Debug)]
pub(crate) struct Birth {
    pub(crate) at: Timestamp,
    pub(crate) explicit: bool,
    pub(crate) priority: Option<Priority>,
    pub(crate) facts: Facts,
}

impl Birth {
    const fn of(at: Timestamp, facts: Facts) -> Self {
        Self {
            at,
            explicit: false,
            priority: None,
            facts,
        }
    }
}
