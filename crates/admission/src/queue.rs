//! Who goes next among the calls that wait for one platform.
//!
//! Three levels. Between **classes** the pool's shares decide: a class whose call waits earns its
//! part of the refill, and what nobody has earned is lent to whoever fits, the higher class first, but
//! for what `critical` is short of. Inside a class the **user** who was served least goes first: a
//! virtual token counter (VTC), charged with what a call is predicted to take, corrected with what it
//! took, and lifted to the least of those who wait when its user comes back. Inside a user the **call**
//! with the highest response ratio `(wait + size) / size` goes first, so that small calls are quick and
//! large ones age; four times that while the session's prompt cache is about to expire, since waiting
//! longer would make the call dearer by an order of magnitude. One whose cache has expired is as large
//! as it is without.
//!
//! What goes first and does not fit is overtaken by what fits (**backfill**), unless the overtaking
//! user was served a largest call more than the one who is overtaken. Each call has a deadline: its
//! class's [`patience`], and what the work before it, itself and a largest call take at its class's
//! share. Where somebody would be late if all were not served by age from now on, or the prompt cache of
//! the first is about to expire, the oldest or that one **locks** the class: what the class earns is kept
//! for it, but for calls that delay it by less than [`BACKFILL_MAX`] in all. What nobody has earned may
//! pass it as before. What a class has borrowed from a full bucket is paid back first, so it locks earlier by
//! that; a call whose borrowing would make somebody late does not start before the oldest. Where it was borrowed
//! of what a locked class has earned, no class below that one takes what comes back.
//!
//! Sizes are flow times: how long the slowest bucket takes to refill what a call takes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use arrayvec::ArrayVec;
use tidegate_types::{Monotonic, Priority};

use crate::{Ask, BucketIndex, Cleared, Need, Pool, Taken, pool::nanos};

mod ages;
mod estimate;
mod line;
mod size;

pub use estimate::{Calibration, Factor, Outlook};

use estimate::Learned;
use line::{Head, Line, Spot};

/// Calls that wait for one platform at most. At some 400 bytes each, and the kilobytes of their
/// bodies elsewhere, more would be a leak and not a queue.
pub const QUEUE_MAX: usize = 100_000;

/// How long the calls that overtake a locked one may delay it, together.
pub const BACKFILL_MAX: Duration = Duration::from_secs(2);

/// How long before the end of its prompt cache a call becomes urgent.
pub const URGENT_BEFORE: Duration = Duration::from_mins(1);

/// How often a call that a penalty holds back is looked at: it holds back only while others wait.
const PAUSE_LOOK: Duration = Duration::from_secs(1);

/// How often calls that could overtake a locked one, or wait for what was borrowed from it, are looked at.
const LENT_LOOK: Duration = Duration::from_secs(1);

/// Candidates for overtaking that are looked at for one decision.
const BACKFILL_LOOKS: usize = 16;

/// How long a call of that class may be overtaken, less what overtaking may still add then.
pub const fn patience(class: Priority) -> Duration {
    Duration::from_secs(match class {
        Priority::Critical => 20,
        Priority::High => 60,
        Priority::Medium => 180,
        Priority::Low => 600,
    })
}

/// One waiting call. Smaller ones came earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

impl Ticket {
    /// The ticket of a call that is in no queue.
    pub const NONE: Self = Self(0);
}

/// A call that begins to wait, or goes on waiting.
#[derive(Clone, Copy, Debug)]
pub struct Waiting {
    /// What it asks its pool for.
    pub ask: Ask,
    /// Since when it waits: before now for one that was sent away and came back.
    pub since: Monotonic,
    /// The prompt cache of its session, if it has one.
    pub warm: Option<Warm>,
}

/// A prompt cache that the size of a call counts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warm {
    /// When it expires.
    pub until: Monotonic,
    /// What the call takes from then on.
    pub cold: Need,
}

/// No room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{QUEUE_MAX} calls wait for this platform, which is all that may: try again later")]
pub struct QueueFull;

/// The calls that wait for one platform. Its owner holds the lock of the [`Pool`] around it.
///
/// A property each: no class is kept from its share by another; two users of a class who both wait
/// are served alike, but for two largest calls, one that overtook and one that locked; nobody waits
/// longer than its [`patience`] and the work before it take at its class's share.
#[derive(Debug)]
pub struct Queue {
    lines: [Line; Priority::ALL.len()],
    places: BTreeMap<Ticket, Place>,
    /// When calls become urgent, and when that ends.
    turns: BTreeSet<(Monotonic, Ticket)>,
    /// Those of the ones set aside that a penalty holds back: they take what nobody else is short of.
    paused: BTreeSet<Ticket>,
    last: u64,
    /// How many of each class wait, those that are set aside included.
    waiting: [usize; Priority::ALL.len()],
    calibration: [Calibration; Priority::ALL.len()],
    learned: Learned,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            lines: std::array::from_fn(|at| Line::new(Priority::ALL[at])),
            places: BTreeMap::new(),
            turns: BTreeSet::new(),
            paused: BTreeSet::new(),
            last: 0,
            waiting: [0; Priority::ALL.len()],
            calibration: [Calibration::default(); Priority::ALL.len()],
            learned: Learned::default(),
        }
    }
}

/// Where a call stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    waiting: Waiting,
    /// Its flow time, in nanoseconds; at least one.
    size: u64,
    urgent: bool,
    /// It is not looked at: something other than the buckets holds it back.
    aside: bool,
    /// When it is looked at again.
    back_at: Option<Monotonic>,
    /// What it was told when it came, to be compared with what became of it.
    told: Option<Outlook>,
    deadline: Monotonic,
}

impl Place {
    /// Takes what it takes without its prompt cache, once that has expired.
    fn cool_down(&mut self, pool: &Pool, now: Monotonic) {
        let expired = self.waiting.warm.filter(|it| it.until <= now);
        let Some(Warm { cold, .. }) = expired else {
            return;
        };
        self.waiting.warm = None;
        self.waiting.ask.need = cold;
        let Ask {
            caller, priority, ..
        } = self.waiting.ask;
        let size = pool.flow_of(&cold, caller).max(1);
        // It is promised a start after what it takes.
        let more = size.saturating_sub(self.size).saturating_mul(100) / priority.share_percent();
        self.deadline = Monotonic(self.deadline.0.saturating_add(more));
        self.size = size;
    }

    const fn spot(&self, ticket: Ticket) -> Spot {
        Spot {
            user: self.waiting.ask.user,
            since: self.waiting.since,
            ticket,
            size: self.size,
            urgent: self.urgent,
            deadline: self.deadline,
        }
    }
}

/// What a look at the queue found.
#[derive(Debug)]
#[must_use]
pub enum Next {
    /// This call fits now. Its leave is good for one commit, before anything else; then
    /// [`Queue::started`], or [`Queue::set_aside`] where something else holds it back.
    Fits(Ticket, Cleared),
    /// This one is larger than that hard limit: no wait can help. Let it [leave](Queue::leave).
    Never(Ticket, BucketIndex),
    /// Nobody fits now.
    Nobody {
        /// When somebody will, if nothing is settled before: to look again then.
        at: Option<Monotonic>,
    },
}

impl Queue {
    /// Whether nobody waits, so that a call may ask its pool itself.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// Whether somebody waits who goes before a newcomer of that class.
    pub fn holds_up(&self, class: Priority) -> bool {
        let above = Priority::ALL.iter().filter(|it| **it >= class);
        above
            .map(|it| &self.lines[it.index()])
            .any(|it| it.len() > 0)
    }

    /// How alike the users of a class were served since calls began to wait, in billionths: Jain's
    /// index, all of it where everybody got the same. `None` where nobody was served.
    pub fn fairness(&self, class: Priority) -> Option<u64> {
        self.lines[class.index()].fairness()
    }

    /// How many of a class wait for its buckets, and since when the first of them does.
    pub fn class(&self, class: Priority) -> (usize, Option<Monotonic>) {
        let line = &self.lines[class.index()];
        (line.len(), line.oldest())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Everybody, in the order of arrival.
    pub fn tickets(&self) -> impl Iterator<Item = (Ticket, &Waiting)> {
        self.places
            .iter()
            .map(|(ticket, it)| (*ticket, &it.waiting))
    }

    /// The call that holds this ticket.
    pub fn get(&self, ticket: Ticket) -> Option<&Waiting> {
        self.places.get(&ticket).map(|it| &it.waiting)
    }

    /// Lets a call wait.
    pub fn enter(
        &mut self,
        waiting: Waiting,
        pool: &Pool,
        now: Monotonic,
    ) -> Result<Ticket, QueueFull> {
        if self.places.len() >= QUEUE_MAX {
            return Err(QueueFull);
        }
        self.turn(pool, now);
        self.last += 1;
        let ticket = Ticket(self.last);
        let ask = &waiting.ask;
        let size = pool.flow_of(&ask.need, ask.caller).max(1);
        let line = &self.lines[ask.priority.index()];
        let place = Place {
            waiting,
            size,
            deadline: line.deadline(waiting.since, size, pool.overdraft_flow(ask)),
            urgent: is_urgent(&waiting, now),
            aside: false,
            back_at: None,
            told: None,
        };
        self.note_turns(ticket, &waiting, now);
        self.line(waiting.ask.priority).add(place.spot(ticket));
        self.waiting[waiting.ask.priority.index()] += 1;
        self.places.insert(ticket, place);
        Ok(ticket)
    }

    /// Takes a call out: it was cancelled, or its client has gone.
    pub fn leave(&mut self, ticket: Ticket) -> Option<Waiting> {
        let place = self.places.remove(&ticket)?;
        self.waiting[place.waiting.ask.priority.index()] -= 1;
        self.forget_turns(ticket, &place);
        self.paused.remove(&ticket);
        if !place.aside {
            self.line(place.waiting.ask.priority)
                .remove(place.spot(ticket));
        }
        self.rest_if_empty();
        Some(place.waiting)
    }

    /// Takes a call out that has started: its user is charged.
    pub fn started(&mut self, ticket: Ticket, now: Monotonic) {
        let Some(place) = self.places.remove(&ticket) else {
            return;
        };
        self.forget_turns(ticket, &place);
        self.paused.remove(&ticket);
        let class = place.waiting.ask.priority;
        self.waiting[class.index()] -= 1;
        if let Some(told) = place.told {
            let waited = now.since(told.at);
            self.calibration[class.index()].score(&told, waited);
            self.learned.learn(&told, waited);
        }
        let line = self.line(class);
        if !place.aside {
            line.remove(place.spot(ticket));
        }
        line.serve(&place.spot(ticket));
        self.rest_if_empty();
    }

    /// Corrects what the user of a call is charged, now that it is known what it took.
    pub fn settled(&mut self, taken: &Taken, actual: &Need, pool: &Pool) {
        if !self.is_empty() {
            let after = pool.flow_of(actual, taken.caller);
            let line = self.line(taken.priority);
            line.correct(taken.user, taken.flow_nanos, after);
        }
    }

    /// Something other than the buckets holds this call back: others go first until then, or until
    /// it is [resumed](Self::resume). Its time runs on.
    pub fn set_aside(&mut self, ticket: Ticket, until: Option<Monotonic>) {
        let Some(place) = self.places.get_mut(&ticket) else {
            return;
        };
        let (class, spot) = (place.waiting.ask.priority, place.spot(ticket));
        self.paused.remove(&ticket);
        let before = (place.aside, place.back_at);
        (place.aside, place.back_at) = (true, until);
        if let (_, Some(at)) = before {
            self.turns.remove(&(at, ticket));
        }
        self.turns.extend(until.map(|at| (at, ticket)));
        if !before.0 {
            self.line(class).remove(spot);
        }
    }

    /// The call is looked at again.
    pub fn resume(&mut self, ticket: Ticket) {
        if let Some(place) = self.places.get_mut(&ticket)
            && place.aside
        {
            place.aside = false;
            place.back_at = None;
            self.paused.remove(&ticket);
            let (class, spot) = (place.waiting.ask.priority, place.spot(ticket));
            self.line(class).add(spot);
        }
    }

    /// All that were set aside are looked at again.
    pub fn resume_all(&mut self) {
        let aside = self.places.iter().filter(|(_, it)| it.aside);
        let aside: Vec<_> = aside.map(|(ticket, _)| *ticket).collect();
        for ticket in aside {
            self.resume(ticket);
        }
    }

    /// Moves a call to another class, or makes its class's patience with it run out.
    pub fn promote(&mut self, ticket: Ticket, class: Priority, pool: &Pool) -> bool {
        let Some(place) = self.places.get_mut(&ticket) else {
            return false;
        };
        let (before, aside) = (place.spot(ticket), place.aside);
        let was = std::mem::replace(&mut place.waiting.ask.priority, class);
        let overdraft = pool.overdraft_flow(&place.waiting.ask);
        let line = &self.lines[class.index()];
        place.deadline = line.deadline(before.since, before.size, overdraft);
        let after = place.spot(ticket);
        self.waiting[was.index()] -= 1;
        self.waiting[class.index()] += 1;
        if !aside {
            self.line(was).remove(before);
            self.line(class).add(after);
        }
        true
    }

    /// Who goes next, if anybody fits. Marks the classes that wait in the pool, so that they earn
    /// their shares.
    pub fn next(&mut self, pool: &mut Pool, now: Monotonic) -> Next {
        self.turn(pool, now);
        let mut kept = 0;
        let mut locked: ArrayVec<Ask, { Priority::ALL.len() }> = ArrayVec::new();
        let mut soonest: Option<Monotonic> = None;
        for class in Priority::ALL.iter().rev() {
            let Some(head) = self.unpaused_head(*class, pool, now) else {
                continue;
            };
            let ask = self.places[&head.spot.ticket].waiting.ask;
            if let Some(bucket) = pool.never_fits(&ask) {
                return Next::Never(head.spot.ticket, bucket);
            }
            if !locked.is_empty() && !pool.leaves_earned(&ask, &locked, now) {
                pool.waits(&ask, now);
                soonest = soonest.into_iter().chain([now.after(LENT_LOOK)]).min();
                continue;
            }
            if let Some(cleared) = pool.fits(&ask, kept, now) {
                return Next::Fits(head.spot.ticket, cleared);
            }
            pool.waits(&ask, now);
            let others = self.lines[class.index()].backfill(&head, now, BACKFILL_LOOKS);
            for other in &others {
                if let Some(cleared) = self.passes(&head, other, kept, (pool, now)) {
                    return Next::Fits(other.ticket, cleared);
                }
            }
            let smallest = others.iter().min_by_key(|it| it.size).map(|it| it.ticket);
            let at = pool.fits_at(&ask, kept, now);
            let others_at = if head.locks {
                // They may have what nobody has earned, and that may be more in a while.
                smallest.map(|_| now.after(LENT_LOOK))
            } else {
                let ask = smallest.map(|it| self.places[&it].waiting.ask);
                ask.and_then(|it| pool.fits_at(&it, kept, now))
            };
            soonest = soonest.into_iter().chain(at).chain(others_at).min();
            if !head.locks {
                let locks_at = self.lines[class.index()].locks_at();
                soonest = soonest.into_iter().chain(locks_at).min();
            }
            // Where somebody borrowed of what it has earned, what comes back is its own first.
            locked.extend(head.locks.then_some(ask));
            // What nobody has earned is lent to whoever fits, but for what `critical` waits for.
            if *class == Priority::Critical {
                kept |= pool.short_of(&ask, now);
            }
        }
        if let Some((ticket, cleared)) = self.unwanted(pool, kept, now) {
            return Next::Fits(ticket, cleared);
        }
        let turn = self.turns.first().map(|it| it.0);
        Next::Nobody {
            at: soonest.into_iter().chain(turn).min(),
        }
    }

    /// Who goes first of a class. Those whom a penalty keeps from starting are set aside meanwhile:
    /// others need not wait for that.
    fn unpaused_head(&mut self, class: Priority, pool: &mut Pool, now: Monotonic) -> Option<Head> {
        loop {
            let oldest = self.lines[class.index()].locked()?;
            let owed = pool.owed_flow(&self.places[&oldest.spot.ticket].waiting.ask, now);
            let mut head = self.line(class).head(owed.now, now)?;
            if !self.starts_in_time(&head.spot, pool, now) {
                head = oldest;
            }
            let ask = self.places[&head.spot.ticket].waiting.ask;
            let Some(until) = pool.paused_until(&ask, now.0) else {
                return Some(head);
            };
            // The others may have had their turns before that.
            let soon = now.after(PAUSE_LOOK).min(Monotonic(until));
            self.set_aside(head.spot.ticket, Some(soon));
            self.paused.insert(head.spot.ticket);
        }
    }

    /// Whether what its class would owe if it started now, out of turn, makes nobody late.
    fn starts_in_time(&self, it: &Spot, pool: &mut Pool, now: Monotonic) -> bool {
        let ask = &self.places[&it.ticket].waiting.ask;
        let owed = pool.owed_flow(ask, now);
        self.lines[ask.priority.index()].is_in_time(owed.after, now)
    }

    /// Leave for a call to overtake the one that goes first: a locked one with what nobody has earned, and else
    /// with little.
    fn passes(
        &mut self,
        head: &Head,
        other: &Spot,
        kept: u32,
        (pool, now): (&mut Pool, Monotonic),
    ) -> Option<Cleared> {
        let ask = self.places[&other.ticket].waiting.ask;
        if !head.locks {
            let in_time = self.starts_in_time(other, pool, now);
            return pool.fits(&ask, kept, now).filter(|_| in_time);
        }
        if let Some(cleared) = pool.fits_lent(&ask, kept, now) {
            return Some(cleared);
        }
        let line = &mut self.lines[ask.priority.index()];
        let cleared = pool
            .fits(&ask, kept, now)
            .filter(|_| line.may_pass(other))?;
        line.pass(other);
        Some(cleared)
    }

    /// The first of those whom a penalty holds back that fits what nobody else is short of.
    fn unwanted(&self, pool: &mut Pool, kept: u32, now: Monotonic) -> Option<(Ticket, Cleared)> {
        let mut paused = self.paused.iter().take(BACKFILL_LOOKS);
        paused.find_map(|ticket| {
            let ask = self.places.get(ticket)?.waiting.ask;
            Some((*ticket, pool.fits_unwanted(&ask, kept, now)?))
        })
    }

    fn line(&mut self, class: Priority) -> &mut Line {
        &mut self.lines[class.index()]
    }

    /// With nobody left to be compared with, nobody was served more than others.
    fn rest_if_empty(&mut self) {
        if self.places.is_empty() {
            for line in &mut self.lines {
                line.rest();
            }
        }
    }

    /// Moves the calls whose urgency has begun or ended: with their prompt cache, which makes them larger.
    fn turn(&mut self, pool: &Pool, now: Monotonic) {
        while let Some((at, ticket)) = self.turns.first().copied()
            && at <= now
        {
            self.turns.pop_first();
            let Some(place) = self.places.get_mut(&ticket) else {
                continue;
            };
            let returns = place.back_at.is_some_and(|it| it <= now);
            let (class, before) = (place.waiting.ask.priority, place.spot(ticket));
            place.urgent = is_urgent(&place.waiting, now);
            place.cool_down(pool, now);
            let (aside, after) = (place.aside, place.spot(ticket));
            if before != after && !aside {
                let line = self.line(class);
                line.remove(before);
                line.add(after);
            }
            if returns {
                self.resume(ticket);
            }
        }
    }

    fn note_turns(&mut self, ticket: Ticket, waiting: &Waiting, now: Monotonic) {
        let turns = turns_of(waiting)
            .into_iter()
            .flatten()
            .filter(|it| *it > now);
        self.turns.extend(turns.map(|at| (at, ticket)));
    }

    fn forget_turns(&mut self, ticket: Ticket, place: &Place) {
        let turns = turns_of(&place.waiting).into_iter().chain([place.back_at]);
        for at in turns.flatten() {
            self.turns.remove(&(at, ticket));
        }
    }
}

fn turns_of(waiting: &Waiting) -> [Option<Monotonic>; 2] {
    let end = waiting.warm.map(|it| it.until);
    let begin = end.map(|it| Monotonic(it.0.saturating_sub(nanos(URGENT_BEFORE))));
    [begin, end]
}

fn is_urgent(waiting: &Waiting, now: Monotonic) -> bool {
    matches!(turns_of(waiting), [Some(begin), Some(end)] if begin <= now && now < end)
}

#[cfg(test)]
mod tests;
