//! Who the users are, told apart by small numbers.

use std::collections::BTreeMap;

use crate::pacing::{Pace, WINDOW_NANOS};

/// Users remembered per platform: at some hundred bytes each a dozen megabytes, and far more than
/// act within an hour, so that whoever goes has no penalty left to lose.
pub const USERS_MAX: usize = 100_000;

const NOBODY: u32 = u32::MAX;

/// A user of one pool. Stays valid while the user is remembered; afterwards it counts as
/// [`UserSlot::NONE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserSlot {
    index: u32,
    /// Tells a user from a later one of the same index.
    generation: u32,
}

impl UserSlot {
    /// A call without a user: it has no share of its own, and no penalty.
    pub const NONE: Self = Self {
        index: NOBODY,
        generation: 0,
    };
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) organisation: Box<str>,
    pub(crate) name: Box<str>,
    pub(crate) pace: Pace,
    generation: u32,
    /// Whether it is among [`Users::under_penalty`].
    noted: bool,
    /// The turn of [`Census`] in which it was last counted.
    turn: u64,
    /// Neighbours by last use.
    newer: u32,
    older: u32,
}

/// Everybody, in order of last use.
#[derive(Clone, Debug)]
pub(crate) struct Users {
    slots: Vec<User>,
    /// By organisation, then by name: users of two organisations may be called the same.
    by_name: BTreeMap<Box<str>, BTreeMap<Box<str>, u32>>,
    newest: u32,
    oldest: u32,
    max: usize,
    /// Those who have a penalty, and perhaps some whose penalty has ended.
    under_penalty: Vec<u32>,
    census: Census,
}

/// Users seen in this ten minutes and in the ten before: whichever is more share the flow.
#[derive(Clone, Copy, Debug, Default)]
struct Census {
    turn: u64,
    ends: u64,
    now: u32,
    before: u32,
}

impl Census {
    fn turn_over(&mut self, now: u64) {
        if now < self.ends {
            return;
        }
        let missed = now - self.ends >= WINDOW_NANOS;
        self.before = if missed { 0 } else { self.now };
        self.now = 0;
        self.turn += 1;
        self.ends = now.saturating_add(WINDOW_NANOS);
    }
}

impl Users {
    /// Nobody yet, and never more than `max`.
    pub(crate) const fn new(max: usize) -> Self {
        Self {
            slots: Vec::new(),
            by_name: BTreeMap::new(),
            newest: NOBODY,
            oldest: NOBODY,
            max,
            under_penalty: Vec::new(),
            census: Census {
                turn: 0,
                ends: 0,
                now: 0,
                before: 0,
            },
        }
    }

    /// The slot of that user; where there is none, a new one, at the cost of the user that was not
    /// seen for longest.
    pub(crate) fn intern(&mut self, organisation: &str, name: &str) -> UserSlot {
        let known = self.by_name.get(organisation);
        if let Some(index) = known.and_then(|it| it.get(name)).copied() {
            self.touch(index);
            return self.slot(index);
        }
        let index = if self.slots.len() < self.max {
            let index = u32::try_from(self.slots.len()).unwrap_or(NOBODY);
            self.slots.push(User {
                organisation: organisation.into(),
                name: name.into(),
                pace: Pace::NEW,
                generation: 0,
                noted: false,
                turn: 0,
                newer: NOBODY,
                older: NOBODY,
            });
            index
        } else {
            self.forget_oldest(organisation, name)
        };
        let members = self.by_name.entry(organisation.into()).or_default();
        members.insert(name.into(), index);
        self.push_newest(index);
        self.slot(index)
    }

    /// Counts the user as present.
    #[inline]
    pub(crate) fn see(&mut self, slot: UserSlot, now: u64) {
        self.census.turn_over(now);
        let turn = self.census.turn;
        let Some(user) = self.user_mut(slot) else {
            return;
        };
        // Whoever calls was interned just before: to be moved to the front once in a window is enough.
        if user.turn != turn {
            user.turn = turn;
            self.census.now += 1;
            self.touch(slot.index);
        }
    }

    /// How many share the flow. At least one.
    pub(crate) fn present(&self) -> u32 {
        self.census.now.max(self.census.before).max(1)
    }

    #[inline]
    pub(crate) fn user_mut(&mut self, slot: UserSlot) -> Option<&mut User> {
        let user = self.slots.get_mut(usize::try_from(slot.index).ok()?)?;
        (user.generation == slot.generation).then_some(user)
    }

    #[inline]
    pub(crate) fn user(&self, slot: UserSlot) -> Option<&User> {
        let user = self.slots.get(usize::try_from(slot.index).ok()?)?;
        (user.generation == slot.generation).then_some(user)
    }

    /// Everybody who has a penalty, and until when.
    pub(crate) fn penalised(&self, now: u64) -> impl Iterator<Item = (&User, u64)> {
        let noted = self.under_penalty.iter().filter_map(|it| self.at(*it));
        noted.filter_map(move |user| Some((user, user.pace.penalised_until(now)?)))
    }

    /// Remembers that the user has a penalty, so that it is found without looking at everybody.
    #[inline]
    pub(crate) fn note_penalty(&mut self, slot: UserSlot, now: u64) {
        if self.user(slot).is_some_and(|it| !it.noted) {
            self.note_new_penalty(slot.index, now);
        }
    }

    #[cold]
    fn note_new_penalty(&mut self, index: u32, now: u64) {
        let slots = &mut self.slots;
        self.under_penalty.retain(|it| {
            let user = usize::try_from(*it).ok().and_then(|it| slots.get_mut(it));
            user.is_some_and(|user| {
                user.noted = user.pace.penalised_until(now).is_some();
                user.noted
            })
        });
        if let Some(user) = self.at_mut(index) {
            user.noted = true;
            self.under_penalty.push(index);
        }
    }

    fn slot(&self, index: u32) -> UserSlot {
        let generation = self.at(index).map_or(0, |it| it.generation);
        UserSlot { index, generation }
    }

    fn at(&self, index: u32) -> Option<&User> {
        self.slots.get(usize::try_from(index).ok()?)
    }

    fn at_mut(&mut self, index: u32) -> Option<&mut User> {
        self.slots.get_mut(usize::try_from(index).ok()?)
    }

    fn touch(&mut self, index: u32) {
        if self.newest != index {
            self.unlink(index);
            self.push_newest(index);
        }
    }

    fn forget_oldest(&mut self, organisation: &str, name: &str) -> u32 {
        let index = self.oldest;
        self.unlink(index);
        if let Some(user) = self.at_mut(index) {
            let left = std::mem::replace(&mut user.organisation, organisation.into());
            let forgotten = std::mem::replace(&mut user.name, name.into());
            user.generation = user.generation.wrapping_add(1);
            user.pace = Pace::NEW;
            user.turn = 0;
            if let Some(members) = self.by_name.get_mut(&left) {
                members.remove(&forgotten);
                if members.is_empty() {
                    self.by_name.remove(&left);
                }
            }
        }
        index
    }

    fn unlink(&mut self, index: u32) {
        let Some((newer, older)) = self.at(index).map(|it| (it.newer, it.older)) else {
            return;
        };
        match self.at_mut(newer) {
            Some(user) => user.older = older,
            None => self.newest = older,
        }
        match self.at_mut(older) {
            Some(user) => user.newer = newer,
            None => self.oldest = newer,
        }
    }

    fn push_newest(&mut self, index: u32) {
        let before = self.newest;
        if let Some(user) = self.at_mut(index) {
            (user.newer, user.older) = (NOBODY, before);
        }
        match self.at_mut(before) {
            Some(user) => user.newer = index,
            None => self.oldest = index,
        }
        self.newest = index;
    }
}

#[cfg(test)]
mod tests;
