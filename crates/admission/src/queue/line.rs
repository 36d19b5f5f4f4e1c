//! The calls of one class that wait.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    time::Duration,
};

use arrayvec::ArrayVec;
use tidegate_types::{Monotonic, Priority};

use super::{
    BACKFILL_MAX, Ticket,
    ages::{Age, Ages, span},
    patience,
    size::SizeClass,
};
use crate::{UserSlot, pool::nanos};

/// How much more a call counts whose prompt cache is about to expire.
const URGENT_FACTOR: u128 = 4;

/// Candidates of one user for overtaking.
const LOOKS_PER_USER: usize = 4;

/// Where a call is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    pub(super) user: UserSlot,
    pub(super) since: Monotonic,
    pub(super) ticket: Ticket,
    pub(super) size: u64,
    pub(super) urgent: bool,
    /// When it is promised to have started, whatever comes after it.
    pub(super) deadline: Monotonic,
}

impl Spot {
    pub(super) const fn age(&self) -> Age {
        (self.since, self.ticket)
    }
}

/// The call that goes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) spot: Spot,
    /// It would be late otherwise, or its prompt cache is so close to its end, that hardly anybody may
    /// overtake it.
    pub(super) locks: bool,
}

#[derive(Debug)]
pub(super) struct Line {
    class: Priority,
    /// Everybody who waits, or was served while others did.
    members: BTreeMap<UserSlot, Member>,
    /// Those who wait, the least served first, with what they wait for.
    order: BTreeMap<(u64, UserSlot), Load>,
    ages: Ages,
    /// What the last user who stopped waiting was served.
    last_left: u64,
    /// The largest call served since the queue was empty.
    largest: u64,
    /// What the class had earned and went past locked calls, as flow time in nanoseconds.
    passed: u64,
    /// The sizes of all that wait, together.
    work: u128,
}

/// A user's calls.
#[derive(Debug, Default)]
struct Member {
    /// Flow time it was served, in nanoseconds: VTC's virtual counter.
    served: u64,
    lanes: BTreeMap<(SizeClass, bool), BTreeMap<(Monotonic, Ticket), Spot>>,
    load: Load,
}

/// How many calls wait, and their sizes together.
#[derive(Clone, Copy, Debug, Default)]
struct Load {
    waiting: usize,
    work: u128,
}

impl Line {
    pub(super) const fn new(class: Priority) -> Self {
        Self {
            class,
            members: BTreeMap::new(),
            order: BTreeMap::new(),
            ages: Ages::new(class),
            last_left: 0,
            largest: 0,
            passed: 0,
            work: 0,
        }
    }

    /// When a call of that size that came then starts at the latest: after its class's patience, and what the
    /// work before it, itself, and one largest call take at its class's share. Before anybody earns for it,
    /// `overdrawn` may still have to be paid back, as flow time in nanoseconds.
    pub(super) fn deadline(&self, since: Monotonic, size: u64, overdrawn: u64) -> Monotonic {
        let flow = self.work + u128::from(size) + u128::from(self.largest.max(size));
        let nanos = |flow: u128| u64::try_from(span(flow, self.class)).unwrap_or(u64::MAX);
        let paying_back = Duration::from_nanos(nanos(u128::from(overdrawn)));
        // Overtaking may still delay it by as much.
        let patience = patience(self.class).saturating_sub(BACKFILL_MAX);
        let patience = patience.saturating_sub(paying_back);
        Monotonic(since.after(patience).0.saturating_add(nanos(flow)))
    }

    pub(super) fn add(&mut self, spot: Spot) {
        let first = self.order.first_key_value();
        let least = first.map_or(self.last_left, |it| it.0.0);
        let member = self.members.entry(spot.user).or_default();
        if member.load.waiting == 0 {
            member.served = member.served.max(least);
        }
        member.load.waiting += 1;
        member.load.work += u128::from(spot.size);
        self.order.insert((member.served, spot.user), member.load);
        let lane = member.lanes.entry(lane(&spot)).or_default();
        lane.insert(spot.age(), spot);
        self.ages.insert(spot);
        self.work += u128::from(spot.size);
    }

    pub(super) fn remove(&mut self, spot: Spot) {
        let at = spot.age();
        if !self.ages.remove(at) {
            return;
        }
        self.work -= u128::from(spot.size);
        let Some(member) = self.members.get_mut(&spot.user) else {
            return;
        };
        if let Some(lane) = member.lanes.get_mut(&lane(&spot)) {
            lane.remove(&at);
        }
        if member
            .lanes
            .get(&lane(&spot))
            .is_some_and(BTreeMap::is_empty)
        {
            member.lanes.remove(&lane(&spot));
        }
        member.load.waiting -= 1;
        member.load.work -= u128::from(spot.size);
        if member.load.waiting == 0 {
            self.order.remove(&(member.served, spot.user));
            self.last_left = member.served;
        } else {
            self.order.insert((member.served, spot.user), member.load);
        }
    }

    /// Charges the user of a call that has started.
    pub(super) fn serve(&mut self, spot: &Spot) {
        self.largest = self.largest.max(spot.size);
        self.correct(spot.user, 0, spot.size);
    }

    /// Charges a user `after` in place of `before`.
    pub(super) fn correct(&mut self, user: UserSlot, before: u64, after: u64) {
        let Some(member) = self.members.get_mut(&user) else {
            return;
        };
        let was = member.served;
        member.served = was.saturating_add(after).saturating_sub(before);
        if member.load.waiting > 0 {
            self.order.remove(&(was, user));
            self.order.insert((member.served, user), member.load);
        }
    }

    /// Nobody waits any more, in any class.
    pub(super) fn rest(&mut self) {
        *self = Self::new(self.class);
    }

    /// Whether nobody would be late if all were served by age from now on, after what the class owes has been
    /// paid back.
    pub(super) fn is_in_time(&self, owed: u64, now: Monotonic) -> bool {
        let paying_back = span(u128::from(owed), self.class);
        let free = |it: Monotonic| i128::from(it.0) - paying_back > i128::from(now.0);
        self.locks_at().is_none_or(free)
    }

    /// Who goes first where somebody would be late otherwise.
    pub(super) fn locked(&self) -> Option<Head> {
        let spot = *self.ages.oldest()?;
        Some(Head { spot, locks: true })
    }

    /// Who goes first, where the class owes so much.
    pub(super) fn head(&mut self, owed: u64, now: Monotonic) -> Option<Head> {
        let locked = self.locked()?;
        let head = if self.is_in_time(owed, now) {
            let ((_, user), _) = self.order.first_key_value()?;
            let firsts = self.members.get(user)?.firsts();
            let firsts = firsts.map(|it| (Ratio::of(it, now), it));
            let spot = *firsts.max_by_key(|it| it.0)?.1;
            // Smaller calls would always find room first, and its cache would be gone.
            let locks = spot.urgent;
            Head { spot, locks }
        } else {
            locked
        };
        if !head.locks {
            self.passed = 0;
        }
        Some(head)
    }

    /// When the first call will lock the line.
    pub(super) fn locks_at(&self) -> Option<Monotonic> {
        self.ages.latest()
    }

    /// Who may overtake it, in the order in which they are asked.
    pub(super) fn backfill(&self, head: &Head, now: Monotonic, looks: usize) -> Vec<Spot> {
        let least = self.order.first_key_value().map_or(0, |it| it.0.0);
        let largest = self.largest.max(head.spot.size);
        let mut found = Vec::with_capacity(looks);
        for (served, user) in self.order.keys() {
            if *served > least.saturating_add(largest) || found.len() >= looks {
                break;
            }
            let Some(member) = self.members.get(user) else {
                continue;
            };
            let firsts = member.seconds(head.spot);
            let mut smallest: Option<&Spot> = None;
            let mut best: ArrayVec<(Ratio, &Spot), { LOOKS_PER_USER + 1 }> = ArrayVec::new();
            for it in firsts {
                smallest = smallest.into_iter().chain([it]).min_by_key(|it| it.size);
                let ratio = Ratio::of(it, now);
                let at = best.partition_point(|(other, _)| *other > ratio);
                if at < LOOKS_PER_USER {
                    best.insert(at, (ratio, it));
                    best.truncate(LOOKS_PER_USER);
                }
            }
            found.extend(best.iter().map(|(_, it)| **it));
            // Whatever is left of a bucket, the smallest is the last that could use it.
            let smallest = smallest.filter(|it| !best.iter().any(|(_, other)| other == it));
            found.extend(smallest);
        }
        found
    }

    /// A call passes a locked one, and takes what the class has earned.
    pub(super) const fn pass(&mut self, by: &Spot) {
        self.passed = self.passed.saturating_add(by.size);
    }

    /// Whether all that pass a locked call, this one included, delay it by less than [`BACKFILL_MAX`] at its
    /// class's share.
    pub(super) fn may_pass(&self, it: &Spot) -> bool {
        let passed = u128::from(self.passed.saturating_add(it.size));
        span(passed, self.class) < i128::from(nanos(BACKFILL_MAX))
    }

    pub(super) fn oldest(&self) -> Option<Monotonic> {
        self.ages.oldest().map(|it| it.since)
    }

    /// Jain's index over what users were served, in billionths.
    pub(super) fn fairness(&self) -> Option<u64> {
        // In microseconds: their squares' sum then fits for any number of users and years.
        let served = self
            .members
            .values()
            .map(|it| u128::from(it.served / 1_000));
        let (mut users, mut sum, mut squares) = (0_u128, 0_u128, 0_u128);
        for it in served.filter(|it| *it > 0) {
            users += 1;
            sum = sum.saturating_add(it);
            squares = squares.saturating_add(it.saturating_mul(it));
        }
        // n · Σx², over a billion: the index is (Σx)² of that.
        let all_alike = users.saturating_mul(squares).div_ceil(1_000_000_000);
        let index = sum.saturating_mul(sum).checked_div(all_alike)?;
        Some(u64::try_from(index).unwrap_or(u64::MAX).min(1_000_000_000))
    }

    pub(super) fn len(&self) -> usize {
        self.ages.len()
    }

    pub(super) const fn work(&self) -> u128 {
        self.work
    }

    /// Calls, and their sizes together, that are likely to go before this one.
    pub(super) fn before(&self, spot: &Spot, now: Monotonic) -> Ahead {
        let Some(own) = self.members.get(&spot.user) else {
            return Ahead::default();
        };
        let mut ahead = own.before(spot, now);
        let within = ahead.work;
        for ((served, user), other) in &self.order {
            if *user == spot.user {
                continue;
            }
            // Until both were served alike: what this user gets before the call, and what it is ahead.
            let lead = i128::from(own.served) - i128::from(*served);
            let until = i128::try_from(within)
                .unwrap_or(i128::MAX)
                .saturating_add(lead);
            let Ok(until) = u128::try_from(until) else {
                break; // Served more than all of that already, and so are all who follow.
            };
            let work = other.work.min(until);
            let part = work
                .saturating_mul(other.waiting as u128)
                .checked_div(other.work);
            ahead.work += work;
            ahead.calls += usize::try_from(part.unwrap_or(0)).unwrap_or(usize::MAX);
        }
        ahead
    }
}

/// What stands before a call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Ahead {
    pub(super) calls: usize,
    /// Flow time, in nanoseconds.
    pub(super) work: u128,
}

/// Calls of one lane that are counted one by one for an estimate.
const COUNTED_MAX: usize = 100;

impl Member {
    /// The oldest call of each lane.
    fn firsts(&self) -> impl Iterator<Item = &Spot> {
        self.lanes.values().filter_map(|it| it.values().next())
    }

    /// The same, as if that one were not there.
    fn seconds(&self, without: Spot) -> impl Iterator<Item = &Spot> {
        let lanes = self.lanes.values();
        lanes.filter_map(move |it| it.values().find(|it| **it != without))
    }

    /// Its own calls that go before this one.
    fn before(&self, spot: &Spot, now: Monotonic) -> Ahead {
        let mut ahead = Ahead::default();
        let own = Ratio::of(spot, now);
        for lane in self.lanes.values() {
            let before = |it: &&Spot| Ratio::of(it, now) > own;
            // In a lane the order is that of age: what comes before stands in front.
            let (mut calls, mut work) = (0_usize, 0_u128);
            for it in lane.values().take_while(before).take(COUNTED_MAX) {
                calls += 1;
                work += u128::from(it.size);
            }
            if calls == COUNTED_MAX {
                let rest = lane.len().saturating_sub(COUNTED_MAX) / 2;
                work += work / calls as u128 * rest as u128;
                calls += rest;
            }
            ahead.calls += calls;
            ahead.work += work;
        }
        ahead
    }
}

fn lane(spot: &Spot) -> (SizeClass, bool) {
    (SizeClass::of(spot.size), spot.urgent)
}

/// A response ratio, then an age. Compared exactly: no rounding decides who goes first.
#[derive(Clone, Copy, Debug)]
struct Ratio {
    above: u128,
    below: u64,
    age: Reverse<(Monotonic, Ticket)>,
}

impl Ratio {
    fn of(it: &Spot, now: Monotonic) -> Self {
        let below = SizeClass::of(it.size).size();
        let waited = nanos(now.since(it.since));
        let factor = if it.urgent { URGENT_FACTOR } else { 1 };
        Self {
            // Below 2⁶⁷, so that its product with a size may pass 128 bits only for waits of centuries.
            above: (u128::from(waited) + u128::from(below)) * factor,
            below,
            age: Reverse(it.age()),
        }
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        let ours = self.above.saturating_mul(u128::from(other.below));
        let theirs = other.above.saturating_mul(u128::from(self.below));
        ours.cmp(&theirs).then_with(|| self.age.cmp(&other.age))
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ratio {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ratio {}
