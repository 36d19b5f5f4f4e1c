//! Root tasks: which are counted, which have a slot, and how long they have been at work.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_types::Monotonic;

use super::{Subjects, TASKS_MAX, subject::Subject};

/// Of those that are forgotten at once, one in so many: a full table is seldom looked through.
const FORGOTTEN_ONE_IN: usize = 4;

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
}

/// The root tasks of one organisation.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    all: Vec<Task>,
    free: Vec<u32>,
    index: BTreeMap<(u32, Arc<str>), u32>,
    /// Those with a slot.
    active: Vec<u32>,
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
        if let Some(task) = self.get_mut(at)
            && !task.has_slot
        {
            task.has_slot = true;
            task.subjects = subjects;
            self.active.push(at.index);
        }
    }

    /// A call of it begins.
    pub(super) fn begin(&mut self, at: TaskAt, now: Monotonic) {
        if let Some(task) = self.get_mut(at) {
            if task.running == 0 {
                task.changed = now;
            }
            task.running += 1;
        }
    }

    /// A call of it has ended.
    pub(super) fn end(&mut self, at: TaskAt, now: Monotonic) {
        if let Some(task) = self.get_mut(at) {
            debug_assert!(task.running > 0, "an end without a beginning");
            task.running = task.running.saturating_sub(1);
            if task.running == 0 {
                task.busy += now.since(task.changed);
                task.changed = now;
            }
        }
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
        let Some(task) = self.get_mut(at).filter(|it| it.has_slot) else {
            return false;
        };
        task.has_slot = false;
        let held = task.subjects;
        self.active.retain(|it| *it != at.index);
        for it in held.iter() {
            subjects[it].free_task();
        }
        true
    }

    /// Takes the slots of those that were idle for so long. Says whether there were any.
    pub(super) fn sweep(
        &mut self,
        subjects: &mut [Subject],
        idle: Duration,
        now: Monotonic,
    ) -> bool {
        let before = self.active.len();
        let all = &mut self.all;
        self.active.retain(|at| {
            let task = &mut all[*at as usize];
            let stays = task.running > 0 || now < task.changed.after(idle);
            if !stays {
                task.has_slot = false;
                for it in task.subjects.iter() {
                    subjects[it].free_task();
                }
            }
            stays
        });
        self.active.len() < before
    }

    /// When so many slots of a subject will have become free if its tasks do nothing more. `None`:
    /// too many of them are at work.
    pub(super) fn idle_by(&self, subject: usize, count: u64, idle: Duration) -> Option<Monotonic> {
        let of_subject = self.active.iter().map(|it| &self.all[*it as usize]);
        let of_subject = of_subject.filter(|it| it.subjects.iter().any(|at| at == subject));
        let idle_ones = of_subject.filter(|it| it.running == 0);
        let mut ends: Vec<Monotonic> = idle_ones.map(|it| it.changed.after(idle)).collect();
        ends.sort_unstable();
        let last = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        ends.get(last).copied()
    }

    pub(super) fn active(&self) -> usize {
        self.active.len()
    }
}
