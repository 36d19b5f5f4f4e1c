//! The calls of one class by age, and when the oldest must be let go first so that each is served in time.

use tidegate_types::{Monotonic, Priority};

use super::{Ticket, line::Spot};

/// Calls of one stretch, at most: to look through all stretches of the largest queue then takes as long as
/// to change one.
const STRETCH_MAX: usize = 256;

/// When a call came, and which it is.
pub(super) type Age = (Monotonic, Ticket);

/// Calls that follow each other in age.
#[derive(Debug, Default)]
struct Stretch {
    calls: Vec<Spot>,
    /// Their sizes, together.
    work: u128,
    /// The least of what their deadlines leave after them and those of the stretch before them.
    latest: i128,
}

impl Stretch {
    fn sum_up(&mut self, class: Priority) {
        self.work = 0;
        self.latest = i128::MAX;
        for it in &self.calls {
            self.work += u128::from(it.size);
            let latest = i128::from(it.deadline.0) - span(self.work, class);
            self.latest = self.latest.min(latest);
        }
    }

    fn last(&self) -> Option<Age> {
        self.calls.last().map(Spot::age)
    }
}

/// Everybody of a class who waits, the oldest first.
#[derive(Debug)]
pub(super) struct Ages {
    stretches: Vec<Stretch>,
    len: usize,
    class: Priority,
}

impl Ages {
    pub(super) const fn new(class: Priority) -> Self {
        Self {
            stretches: Vec::new(),
            len: 0,
            class,
        }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn oldest(&self) -> Option<&Spot> {
        self.stretches.first()?.calls.first()
    }

    pub(super) fn insert(&mut self, spot: Spot) {
        let age = spot.age();
        let at = self
            .stretches
            .partition_point(|it| it.last().is_some_and(|last| last < age));
        // Who comes after everybody goes to the last stretch.
        let at = at.min(self.stretches.len().saturating_sub(1));
        if self.stretches.is_empty() {
            self.stretches.push(Stretch::default());
        }
        let stretch = &mut self.stretches[at];
        let place = stretch.calls.partition_point(|it| it.age() < age);
        stretch.calls.insert(place, spot);
        self.len += 1;
        if stretch.calls.len() > STRETCH_MAX {
            let mut second = Stretch {
                calls: stretch.calls.split_off(STRETCH_MAX / 2),
                ..Stretch::default()
            };
            second.sum_up(self.class);
            stretch.sum_up(self.class);
            self.stretches.insert(at + 1, second);
        } else {
            stretch.sum_up(self.class);
        }
    }

    /// Says whether it was there.
    pub(super) fn remove(&mut self, age: Age) -> bool {
        let at = self
            .stretches
            .partition_point(|it| it.last().is_some_and(|last| last < age));
        let Some(stretch) = self.stretches.get_mut(at) else {
            return false;
        };
        let Ok(place) = stretch.calls.binary_search_by_key(&age, Spot::age) else {
            return false;
        };
        stretch.calls.remove(place);
        self.len -= 1;
        if stretch.calls.is_empty() {
            self.stretches.remove(at);
        } else {
            stretch.sum_up(self.class);
        }
        true
    }

    /// Until when others may go before the oldest: were all served in the order of their age from then on, the
    /// first of them to be late would be just in time.
    pub(super) fn latest(&self) -> Option<Monotonic> {
        let mut before = 0;
        let mut latest = i128::MAX;
        for it in &self.stretches {
            latest = latest.min(it.latest - span(before, self.class));
            before += it.work;
        }
        let at = u64::try_from(latest.max(0)).unwrap_or(u64::MAX);
        (self.len > 0).then_some(Monotonic(at))
    }
}

/// How long so much flow time takes at what the class gets of it at the least, in nanoseconds.
pub(super) fn span(flow: u128, class: Priority) -> i128 {
    let percent = u128::from(class.share_percent());
    i128::try_from(flow.saturating_mul(100) / percent).unwrap_or(i128::MAX)
}

#[cfg(test)]
mod tests;
