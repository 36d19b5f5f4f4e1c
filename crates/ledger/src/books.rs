//! One organisation's budgets in memory: check all levels of a call, then commit all of them.
//!
//! The caller holds the organisation's lock from `check` to `commit`; nothing here waits,
//! allocates or divides on that way.

mod alerts;
mod room;
mod slot;
mod spending;
mod verdict;

use std::{collections::HashMap, sync::Arc};

use arrayvec::ArrayVec;
use foldhash::fast::RandomState;
use tidegate_types::{Caller, NanoUsd, Timestamp};

use self::alerts::Samples;
pub use self::alerts::{Foresight, Looked, Pace, Told};
pub use self::room::{Headroom, PathRoom};
use self::slot::{Label, Slot, seconds};
pub use self::spending::Spending;
pub use self::verdict::{
    ClearedMoney, Crossing, LevelView, MoneyAsk, MoneyCheck, SettledMoney, Shortage,
};
use crate::{
    Balance, BudgetPolicy, Derived, EntryPath, LevelKey, LevelKind, Levels, Period, Service,
    Window, entry::LEVELS_MAX,
};

/// Resolved paths that are kept, so that a call's second request finds its own. Beyond this many
/// all are forgotten and resolved again: 64 Ki of them are about 40 MiB.
const PATHS_MAX: usize = 65_536;

/// Where a call pays, resolved. Valid until a window ends, limits change or slots are evicted;
/// then [`Books::check`] says `Stale`, and it is resolved again.
#[derive(Clone, Debug)]
pub struct Path {
    slots: Slots,
    epoch: u64,
    until: Timestamp,
    entry: Arc<EntryPath>,
}

impl Path {
    /// The path as the ledger's entries carry it.
    pub const fn entry(&self) -> &Arc<EntryPath> {
        &self.entry
    }
}

/// Indices of a path's slots, in the order of their check.
#[derive(Clone, Copy, Debug)]
struct Slots {
    at: [u32; LEVELS_MAX],
    len: u8,
}

impl Slots {
    fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        let used = &self.at[..usize::from(self.len)];
        used.iter().map(|it| *it as usize)
    }
}

/// Money set aside for one call on all levels of its path. Ends exactly once: [`Books::settle`]
/// or [`Books::release`] consume it. Dropped without either, it stays held until a restart, which
/// is the safe side.
#[derive(Debug)]
#[must_use = "a hold that is neither settled nor released stays held"]
pub struct Hold {
    slots: Slots,
    bound: NanoUsd,
    expected: NanoUsd,
    enforced: Levels,
}

impl Hold {
    /// What is held.
    pub const fn bound(&self) -> NanoUsd {
        self.bound
    }

    /// The levels whose hard limit bound the call, for its entries.
    pub const fn enforced(&self) -> Levels {
        self.enforced
    }
}

/// The windows that are open. They only ever move on: a clock that steps back opens no old one.
#[derive(Clone, Copy, Debug)]
struct Calendar {
    month: Window,
    day: Window,
    until: Timestamp,
}

type Map<K, V> = HashMap<K, V, RandomState>;

/// The resolved paths of one user: without a task, and by root task; by service.
#[derive(Debug, Default)]
struct UserPaths {
    plain: [Option<Path>; 3],
    tasks: Map<Arc<str>, [Option<Path>; 3]>,
}

/// One organisation's budgets. The caller holds its lock.
///
/// Invariants: no slot's settled and held amounts pass a hard limit through a call that it
/// binds; they never pass what 64 bits hold; a slot with open holds is never evicted.
#[derive(Debug)]
pub struct Books {
    organisation: Arc<str>,
    policy: Arc<BudgetPolicy>,
    calendar: Option<Calendar>,
    /// Rises whenever paths that were resolved before are no longer right.
    epoch: u64,
    slots: Vec<Slot>,
    labels: Vec<Label>,
    free: Vec<u32>,
    index: Map<LevelKey, u32>,
    paths: Map<Arc<str>, UserPaths>,
    paths_len: usize,
    /// Up to where soft limits were raised by approvals.
    approved: Map<LevelKey, NanoUsd>,
    /// Levels of which something was told that is not kept yet.
    unsaved: Vec<u32>,
}

impl Books {
    /// Empty books: the first call on each level finds its balance missing, see
    /// [`Books::missing_balances`].
    pub fn new(organisation: &str, policy: Arc<BudgetPolicy>) -> Self {
        Self {
            organisation: organisation.into(),
            policy,
            calendar: None,
            epoch: 0,
            slots: Vec::new(),
            labels: Vec::new(),
            free: Vec::new(),
            index: Map::default(),
            paths: Map::default(),
            paths_len: 0,
            approved: Map::default(),
            unsaved: Vec::new(),
        }
    }

    /// Whose books they are.
    pub const fn organisation(&self) -> &Arc<str> {
        &self.organisation
    }

    /// Puts other limits, or another zone, in force. What is spent and held stays.
    pub fn set_policy(&mut self, policy: Arc<BudgetPolicy>) {
        self.policy = policy;
        if let Some(calendar) = &mut self.calendar {
            calendar.until = Timestamp(0);
        }
        for (slot, label) in self.slots.iter_mut().zip(&mut self.labels) {
            label.window = window_of(&self.policy, &label.key);
            label.limit = *self.policy.limit(&label.key);
            slot.limit_to(
                &label.limit,
                approved(&self.approved, &label.key),
                label.window,
            );
            if slot.loaded {
                slot.aim(&mut label.told);
            }
        }
        self.forget_paths();
    }

    /// Lets a level's soft limit be passed up to `to`, for as long as it lives: somebody approved it.
    /// Less than what was approved before changes nothing.
    pub fn approve(&mut self, key: &LevelKey, to: NanoUsd) {
        let before = self.approved.entry(key.clone()).or_default();
        *before = (*before).max(to);
        let to = *before;
        if let Some(at) = self.index.get(key) {
            let at = *at as usize;
            let label = &self.labels[at];
            self.slots[at].limit_to(&label.limit, to, label.window);
        }
    }

    /// Opens the windows of `at` if they are later than those that are open. For start-up, with
    /// the latest time of the durable ledger: then a clock that stepped back while nothing ran
    /// opens no old window either.
    pub fn not_before(&mut self, at: Timestamp) {
        let _calendar = self.turn(at);
    }

    /// Where a call of this user pays. Creates what is missing; a path that was resolved before
    /// is found without allocating.
    pub fn path(
        &mut self,
        user: &str,
        task: Option<&str>,
        service: Service,
        now: Timestamp,
    ) -> Path {
        let calendar = self.turn(now);
        if let Some(path) = self.known_path(user, task, service) {
            return path.clone();
        }
        let entry = EntryPath {
            organisation: Arc::clone(&self.organisation),
            user: user.into(),
            task: task.map(Into::into),
            service,
            month: calendar.month,
            day: calendar.day,
            derived: Derived::default(),
        };
        let path = Path {
            slots: self.slots_of(&entry),
            epoch: self.epoch,
            until: calendar.until,
            entry: Arc::new(entry),
        };
        self.remember(&path);
        path
    }

    /// The levels of a path that the durable ledger was never asked about. Until each of them is
    /// [loaded](Books::load), `check` says `Stale`.
    pub fn missing_balances(&self, path: &EntryPath) -> Vec<LevelKey> {
        let missing = path.keys().iter().filter(|it| !self.is_loaded(it));
        missing.cloned().collect()
    }

    /// Whether all levels of a path that was just resolved are [loaded](Books::load).
    pub fn is_ready(&self, path: &Path) -> bool {
        path.slots.iter().all(|it| self.slots[it].loaded)
    }

    /// Takes over what the durable ledger says about a level, with what open reservations hold on
    /// it: they are [adopted](Books::adopt) afterwards. Changes nothing, and says `false`, where
    /// the level is known already.
    pub fn load(&mut self, key: &LevelKey, balance: Balance) -> bool {
        let slot = self.slot_of(key);
        let label = &mut self.labels[slot];
        let fresh = self.slots[slot].load(balance);
        if fresh {
            self.slots[slot].aim(&mut label.told);
            label.notional = balance.notional;
            label.would_refuse = balance.would_refuse;
        }
        fresh
    }

    /// Whether all levels have the money. Changes nothing.
    ///
    /// Hard limits compare what is settled and held, with this bound; soft limits what is
    /// settled and expected, with this expectation. A call that can cost nothing passes.
    pub fn check(&self, path: &Path, ask: &MoneyAsk, now: Timestamp) -> MoneyCheck {
        match self.room(path, ask.caller, now) {
            Some(room) => self.check_room(path, &room, ask, now),
            None => MoneyCheck::Stale,
        }
    }

    /// The same where the room of the path is known, for the same caller and under the same hold of the lock.
    #[inline]
    pub fn check_room(
        &self,
        path: &Path,
        room: &PathRoom,
        ask: &MoneyAsk,
        now: Timestamp,
    ) -> MoneyCheck {
        if room.has(ask) {
            return MoneyCheck::Clear(ClearedMoney {
                enforced: room.enforced,
                at: now,
                ..ClearedMoney::of(ask)
            });
        }
        match self.examine(&path.slots, ask) {
            Ok(cleared) => MoneyCheck::Clear(ClearedMoney { at: now, ..cleared }),
            Err(shortage) => MoneyCheck::Refused(shortage),
        }
    }

    /// Holds what `check` cleared, on every level. The lock was held since.
    #[inline]
    pub fn commit(&mut self, path: &Path, cleared: &ClearedMoney) -> Hold {
        debug_assert_eq!(path.epoch, self.epoch, "commit under the lock of the check");
        let used_at = seconds(cleared.at);
        for at in path.slots.iter() {
            let slot = &mut self.slots[at];
            slot.hold(cleared.bound, cleared.expected);
            slot.pin(used_at);
        }
        if !cleared.would_refuse.is_empty() {
            self.count_refused(path, cleared.would_refuse);
        }
        Hold {
            slots: path.slots,
            bound: cleared.bound,
            expected: cleared.expected,
            enforced: cleared.enforced,
        }
    }

    #[cold]
    fn count_refused(&mut self, path: &Path, would_refuse: Levels) {
        for (place, at) in path.slots.iter().enumerate() {
            if would_refuse.contains_place(place) {
                self.labels[at].would_refuse += 1;
            }
        }
    }

    /// Holds more for a running call, on every level, or changes nothing. The windows are those of
    /// its reservation, whatever the time is now.
    pub fn extend(
        &mut self,
        hold: &mut Hold,
        more: NanoUsd,
        caller: Caller,
    ) -> Result<ClearedMoney, Shortage> {
        let cleared = self.examine(&hold.slots, &MoneyAsk::more(more, caller))?;
        for at in hold.slots.iter() {
            self.slots[at].hold(cleared.bound, cleared.expected);
        }
        hold.bound = hold.bound.saturating_add(more);
        hold.expected = hold.expected.saturating_add(cleared.expected);
        hold.enforced = cleared.enforced;
        Ok(cleared)
    }

    /// Says whether [`Self::extend`] would hold so much more now. Changes nothing.
    pub fn check_extension(
        &self,
        hold: &Hold,
        more: NanoUsd,
        caller: Caller,
    ) -> Result<ClearedMoney, Shortage> {
        self.examine(&hold.slots, &MoneyAsk::more(more, caller))
    }

    /// Ends a hold with what the call cost. Never refused and never cut: a cost above the hold is
    /// booked in full, and is an overrun.
    pub fn settle(&mut self, hold: Hold, cost: NanoUsd, notional: NanoUsd) -> SettledMoney {
        let mut crossed = ArrayVec::new();
        let mut soft_crossed = ArrayVec::new();
        for at in hold.slots.iter() {
            let passed = self.slots[at].is_soft_passed();
            self.end(at, &hold, cost);
            if self.slots[at].is_soft_passed() && !passed {
                soft_crossed.push(self.labels[at].key.kind);
            }
            crossed.extend(self.crossing(at));
            if !notional.is_zero() {
                let label = &mut self.labels[at];
                label.notional = label.notional.saturating_add(notional);
            }
        }
        SettledMoney {
            cost,
            overrun: cost.saturating_sub(hold.bound),
            crossed,
            soft_crossed,
        }
    }

    /// Ends a hold of a call that cost nothing and was not answered.
    pub fn release(&mut self, hold: Hold) {
        for at in hold.slots.iter() {
            self.end(at, &hold, NanoUsd::ZERO);
        }
    }

    fn end(&mut self, at: usize, hold: &Hold, cost: NanoUsd) {
        let slot = &mut self.slots[at];
        slot.end(hold.bound, hold.expected, cost);
        slot.leaving = false;
    }

    /// Takes over an open reservation of an earlier run. What it holds is part of the balances
    /// that were [loaded](Books::load); `Err` names those that still have to be.
    pub fn adopt(
        &mut self,
        path: &EntryPath,
        held: NanoUsd,
        enforced: Levels,
    ) -> Result<Hold, Vec<LevelKey>> {
        let missing = self.missing_balances(path);
        if !missing.is_empty() {
            return Err(missing);
        }
        let slots = self.slots_of(path);
        for at in slots.iter() {
            self.slots[at].adopt(held);
            self.slots[at].leaving = false;
        }
        Ok(Hold {
            slots,
            bound: held,
            expected: held,
            enforced,
        })
    }

    /// The cost of a call that ended was another one. Levels that are not in memory are left to
    /// the durable ledger: append the correction first.
    pub fn correct(&mut self, path: &EntryPath, from: NanoUsd, to: NanoUsd) {
        for key in path.keys() {
            if let Some(at) = self.index.get(key) {
                let slot = &mut self.slots[*at as usize];
                slot.correct(from, to);
                slot.leaving = false;
            }
        }
    }

    /// The levels in memory that are wanted, in the order in which they were first used.
    pub fn levels(&self, wanted: impl Fn(&LevelKey) -> bool) -> Vec<LevelView> {
        let all = self.slots.iter().zip(&self.labels);
        all.filter(|(slot, label)| slot.loaded && wanted(&label.key))
            .map(|(slot, label)| slot.view(label))
            .collect()
    }

    /// Forgets levels that nothing holds money on: those whose window has ended, and tasks that
    /// were not used since `idle_since`; but for those of which something was [told](Self::told_changed)
    /// that is not kept yet. Says how many.
    ///
    /// A level goes in the second of two rounds between which nothing was booked on it; they are
    /// loaded again when they are needed. So by the second round everything that was booked before
    /// the first must be durable, and that is the caller's to see to.
    pub fn evict(&mut self, now: Timestamp, idle_since: Timestamp) -> usize {
        let mut gone = 0;
        let taken: Vec<u32> = self.index.values().copied().collect();
        for at in taken {
            let (slot, label) = (&mut self.slots[at as usize], &mut self.labels[at as usize]);
            let over = match label.window {
                Some(window) => window.end <= now,
                None => !slot.is_used_since(idle_since),
            };
            let leaving = over && slot.is_idle() && !label.unsaved;
            let was_leaving = std::mem::replace(&mut slot.leaving, leaving);
            if was_leaving && leaving {
                slot.clear();
                self.index.remove(&label.key);
                self.free.push(at);
                gone += 1;
            }
        }
        if gone > 0 {
            self.forget_paths();
        }
        gone
    }

    #[cold]
    fn examine(&self, slots: &Slots, ask: &MoneyAsk) -> Result<ClearedMoney, Shortage> {
        let mut cleared = ClearedMoney::of(ask);
        for (place, at) in slots.iter().enumerate() {
            self.slots[at].examine(place, ask.caller, &mut cleared)?;
        }
        Ok(cleared)
    }

    fn turn(&mut self, now: Timestamp) -> Calendar {
        match self.calendar {
            Some(calendar) if now < calendar.until => calendar,
            last => {
                let zone = self.policy.zone(&self.organisation);
                let latest = |period, last: Option<Window>| {
                    let window = Window::at(period, zone, now);
                    let last = last.filter(|it| it.opens > window.opens);
                    last.map_or(window, |it| Window::containing(period, zone, it.opens))
                };
                let month = latest(Period::Month, last.map(|it| it.month));
                let day = latest(Period::Day, last.map(|it| it.day));
                let until = month.end.min(day.end);
                let calendar = Calendar { month, day, until };
                self.calendar = Some(calendar);
                self.forget_paths();
                calendar
            }
        }
    }

    fn forget_paths(&mut self) {
        self.epoch += 1;
        self.paths.clear();
        self.paths_len = 0;
    }

    fn known_path(&self, user: &str, task: Option<&str>, service: Service) -> Option<&Path> {
        let user = self.paths.get(user)?;
        let by_service = match task {
            Some(task) => user.tasks.get(task)?,
            None => &user.plain,
        };
        by_service[service.index()].as_ref()
    }

    fn remember(&mut self, path: &Path) {
        if self.paths_len >= PATHS_MAX {
            self.paths.clear();
            self.paths_len = 0;
        }
        self.paths_len += 1;
        let entry = &path.entry;
        let user = self.paths.entry(Arc::clone(&entry.user)).or_default();
        let by_service = match &entry.task {
            Some(task) => user.tasks.entry(Arc::clone(task)).or_default(),
            None => &mut user.plain,
        };
        by_service[entry.service.index()] = Some(path.clone());
    }

    fn is_loaded(&self, key: &LevelKey) -> bool {
        let slot = self.index.get(key);
        slot.is_some_and(|it| self.slots[*it as usize].loaded)
    }

    fn slots_of(&mut self, path: &EntryPath) -> Slots {
        let mut slots = Slots {
            at: [0; LEVELS_MAX],
            len: 0,
        };
        for key in path.keys() {
            // Cannot fail: a slab of 2^32 slots would be 300 GiB.
            slots.at[usize::from(slots.len)] = u32::try_from(self.slot_of(key)).unwrap_or(u32::MAX);
            slots.len += 1;
        }
        slots
    }

    fn slot_of(&mut self, key: &LevelKey) -> usize {
        if let Some(at) = self.index.get(key) {
            return *at as usize;
        }
        let label = Label {
            key: key.clone(),
            window: window_of(&self.policy, key),
            limit: *self.policy.limit(key),
            notional: NanoUsd::ZERO,
            would_refuse: 0,
            told: Told::default(),
            unsaved: false,
            samples: Samples::default(),
        };
        let approved = approved(&self.approved, key);
        let mut slot = Slot::new(key.kind, &label.limit, approved, label.window);
        slot.set_used_at(self.calendar.map_or(Timestamp(0), |it| it.day.start));
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            self.labels[at as usize] = label;
            at
        } else {
            self.slots.push(slot);
            self.labels.push(label);
            u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
        };
        self.index.insert(key.clone(), at);
        at as usize
    }
}

fn approved(all: &Map<LevelKey, NanoUsd>, key: &LevelKey) -> NanoUsd {
    all.get(key).copied().unwrap_or_default()
}

fn window_of(policy: &BudgetPolicy, key: &LevelKey) -> Option<Window> {
    let zone = policy.zone(&key.organisation);
    let period = LevelKind::period(key.kind)?;
    Some(Window::containing(period, zone, key.opens?))
}

#[cfg(test)]
mod tests;
