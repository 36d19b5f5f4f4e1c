//! Root tasks: which are counted, which have a slot, and how long they have been at work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_types::Monotonic;

use super::{
    Subjects, TASKS_MAX,
    subject::{FREED, Subject},
};
use crate::Wait;

/// Of those that are forgotten at once, one in so many: a full table is seldom looked through.
const FORGOTTEN_ONE_IN: usize = 4;

/// Idle tasks looked at for when a slot becomes free. Beyond them only the earliest it can be is known.
const LOOKED_AT_MAX: usize = 64;

/// No task.
const NONE: u32 = u32::MAX;

/// Which task, as long as it is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TaskAt {
    index: u32,
    generation: u32,
}

#[derive(Clone, Debug)]
struct Task {
    generation: u32,
    key: (u32, Arc<str>),
    subjects: Subjects,
    /// It has begun: its beginning was counted.
    counted: bool,
    /// Holds a slot of each of its subjects.
    has_slot: bool,
    running: u32,
    /// When its last call ended, or the one that runs began.
    changed: Monotonic,
    /// Time in calls and tools, but for what runs now.
    busy: Duration,
    /// Its neighbours among those that hold a slot and do nothing: who was idle before it, and after.
    before: u32,
    after: u32,
}

/// The root tasks of one organisation.
///
/// Those that hold a slot and do nothing are a list in the order in which they became idle, through the
/// tasks themselves: each operation takes the same time, however many there are.
#[derive(Clone, Debug)]
pub(super) struct Tasks {
    all: Vec<Task>,
    free: Vec<u32>,
    index: BTreeMap<(u32, Arc<str>), u32>,
    /// How many hold a slot.
    active: usize,
    /// The longest idle of those that hold one, and the last.
    first_idle: u32,
    last_idle: u32,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            free: Vec::new(),
            index: BTreeMap::new(),
            active: 0,
            first_idle: NONE,
            last_idle: NONE,
        }
    }
}

impl Tasks {
    pub(super) fn find(&self, user: u32, name: &Arc<str>) -> Option<TaskAt> {
        let index = *self.index.get(&(user, Arc::clone(name)))?;
        let generation = self.all[index as usize].generation;
        Some(TaskAt { index, generation })
    }

    fn get(&self, at: TaskAt) -> Option<&Task> {
        let task = self.all.get(at.index as usize)?;
        (task.generation == at.generation).then_some(task)
    }

    fn get_mut(&mut self, at: TaskAt) -> Option<&mut Task> {
        let task = self.all.get_mut(at.index as usize)?;
        (task.generation == at.generation).then_some(task)
    }

    pub(super) fn is_known(&self, at: TaskAt) -> bool {
        self.get(at).is_some()
    }

    /// Whether its beginning was counted, and whether it has a slot.
    pub(super) fn standing(&self, at: TaskAt) -> (bool, bool) {
        self.get(at)
            .map_or((false, false), |it| (it.counted, it.has_slot))
    }

    /// Its beginning is counted.
    pub(super) fn count(&mut self, at: TaskAt) {
        if let Some(task) = self.get_mut(at) {
            task.counted = true;
        }
    }

    /// Remembers a task that may begin. `None`: there are too many, all of them at work.
    pub(super) fn add(
        &mut self,
        user: u32,
        name: &Arc<str>,
        subjects: Subjects,
        now: Monotonic,
    ) -> Option<TaskAt> {
        if self.index.len() >= TASKS_MAX {
            self.forget();
        }
        if self.index.len() >= TASKS_MAX {
            return None;
        }
        let key = (user, Arc::clone(name));
        let task = Task {
            generation: 0,
            key: key.clone(),
            subjects,
            counted: false,
            has_slot: false,
            running: 0,
            changed: now,
            busy: Duration::ZERO,
            before: NONE,
            after: NONE,
        };
        let index = if let Some(index) = self.free.pop() {
            let place = &mut self.all[index as usize];
            let generation = place.generation;
            *place = Task { generation, ..task };
            index
        } else {
            self.all.push(task);
            u32::try_from(self.all.len() - 1).unwrap_or(u32::MAX)
        };
        self.index.insert(key, index);
        let generation = self.all[index as usize].generation;
        Some(TaskAt { index, generation })
    }

    /// Forgets the longest unused of those that do nothing.
    fn forget(&mut self) {
        let unused = self.all.iter().enumerate();
        let mut unused: Vec<(Monotonic, usize)> = unused
            .filter(|(_, it)| !it.has_slot && it.running == 0)
            .map(|(at, it)| (it.changed, at))
            .collect();
        unused.sort_unstable();
        for (_, at) in unused.iter().take(TASKS_MAX / FORGOTTEN_ONE_IN) {
            let task = &mut self.all[*at];
            if self.index.remove(&task.key).is_some() {
                task.generation = task.generation.wrapping_add(1);
                self.free.push(u32::try_from(*at).unwrap_or(u32::MAX));
            }
        }
    }

    /// The task has been given its slot, of these subjects.
    pub(super) fn occupy(&mut self, at: TaskAt, subjects: Subjects) {
        let Some(task) = self.get_mut(at).filter(|it| !it.has_slot) else {
            return;
        };
        task.has_slot = true;
        task.subjects = subjects;
        let is_idle = task.running == 0;
        self.active += 1;
        if is_idle {
            self.link(at.index);
        }
    }

    /// A call of it begins.
    pub(super) fn begin(&mut self, at: TaskAt, now: Monotonic) {
        let Some(task) = self.get_mut(at) else { return };
        task.running += 1;
        if task.running == 1 {
            task.changed = now;
            if task.has_slot {
                self.unlink(at.index);
            }
        }
    }

    /// A call of it has ended.
    pub(super) fn end(&mut self, at: TaskAt, now: Monotonic) {
        let Some(task) = self.get_mut(at) else { return };
        debug_assert!(task.running > 0, "an end without a beginning");
        task.running = task.running.saturating_sub(1);
        if task.running == 0 {
            task.busy += now.since(task.changed);
            task.changed = now;
            if task.has_slot {
                self.link(at.index);
            }
        }
    }

    /// Appends to the idle.
    fn link(&mut self, index: u32) {
        let last = std::mem::replace(&mut self.last_idle, index);
        match self.all.get_mut(last as usize) {
            Some(last) => last.after = index,
            None => self.first_idle = index,
        }
        let task = &mut self.all[index as usize];
        (task.before, task.after) = (last, NONE);
    }

    /// Takes out of the idle.
    fn unlink(&mut self, index: u32) {
        let task = &mut self.all[index as usize];
        let before = std::mem::replace(&mut task.before, NONE);
        let after = std::mem::replace(&mut task.after, NONE);
        match self.all.get_mut(before as usize) {
            Some(it) => it.after = after,
            None => self.first_idle = after,
        }
        match self.all.get_mut(after as usize) {
            Some(it) => it.before = before,
            None => self.last_idle = before,
        }
    }

    /// Those that hold a slot and do nothing, the longest idle first.
    fn idle(&self) -> impl Iterator<Item = &Task> {
        let first = self.all.get(self.first_idle as usize);
        std::iter::successors(first, |it| self.all.get(it.after as usize))
    }

    /// How long it has been at work by now.
    pub(super) fn busy(&self, at: TaskAt, now: Monotonic) -> Duration {
        self.get(at).map_or(Duration::ZERO, |it| {
            let current = if it.running > 0 {
                now.since(it.changed)
            } else {
                Duration::ZERO
            };
            it.busy + current
        })
    }

    /// Takes the slot of a task that is over.
    pub(super) fn finish(&mut self, at: TaskAt, subjects: &mut [Subject]) -> bool {
        let Some(task) = self.get(at).filter(|it| it.has_slot) else {
            return false;
        };
        if task.running == 0 {
            self.unlink(at.index);
        }
        self.vacate(at.index, subjects);
        true
    }

    /// Gives the slot of a task back that is not among the idle any more.
    fn vacate(&mut self, index: u32, subjects: &mut [Subject]) {
        let task = &mut self.all[index as usize];
        task.has_slot = false;
        self.active -= 1;
        for it in task.subjects.iter() {
            subjects[it].free_task();
        }
    }

    /// Takes the slots of those that were idle for so long. Says whether there were any.
    pub(super) fn sweep(
        &mut self,
        subjects: &mut [Subject],
        idle: Duration,
        now: Monotonic,
    ) -> bool {
        let before = self.active;
        while let Some(task) = self.all.get(self.first_idle as usize)
            && now >= task.changed.after(idle)
        {
            let index = self.first_idle;
            self.unlink(index);
            self.vacate(index, subjects);
        }
        self.active < before
    }

    /// When so many slots of a subject will have become free if its tasks do nothing more; where too
    /// many are at work or before it, the earliest that it can be.
    pub(super) fn idle_by(
        &self,
        subject: usize,
        count: u64,
        idle: Duration,
        now: Monotonic,
    ) -> Wait {
        let ends = |it: &Task| it.changed.after(idle).since(now);
        let missing = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        if missing >= LOOKED_AT_MAX {
            let first = self.idle().next();
            return first.map_or(FREED, |it| Wait::Freed { at_least: ends(it) });
        }
        let looked_at = self.idle().take(LOOKED_AT_MAX);
        let mut of_subject = looked_at.filter(|it| it.subjects.iter().any(|at| at == subject));
        if let Some(last) = of_subject.nth(missing) {
            return Wait::For(ends(last));
        }
        let beyond = self.idle().nth(LOOKED_AT_MAX);
        beyond.map_or(FREED, |it| Wait::Freed { at_least: ends(it) })
    }

    pub(super) const fn active(&self) -> usize {
        self.active
    }
}
