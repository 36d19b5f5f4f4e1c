//! Facts on their way to the one thread that writes them: queued by calls, taken all at once.
//!
//! A call that queues one wakes the thread only where nothing waited before: in the time in which a
//! batch gathers, queueing is a lock and a copy.

use std::{mem, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex, MutexGuard};

/// Facts for which room is kept when a burst is over.
const KEPT: usize = 1_024;

struct Waiting<T> {
    facts: Vec<T>,
    /// Whoever takes is not to gather more.
    urgent: bool,
    /// Nobody takes any more.
    closed: bool,
}

struct Shared<T> {
    waiting: Mutex<Waiting<T>>,
    /// For whoever takes: there is something, or it is urgent.
    arrived: Condvar,
    /// For those who queue: there is room.
    room: Condvar,
    most: usize,
}

impl<T> Shared<T> {
    /// So many are not waited with, lest it be full.
    const fn plenty(&self) -> usize {
        self.most / 2
    }
}

/// The end at which facts are queued.
pub(crate) struct Queue<T>(Arc<Shared<T>>);

/// The end at which they are taken. Once it is dropped, what waits is forgotten and what comes is too.
pub(crate) struct Taker<T>(Arc<Shared<T>>);

/// A queue that holds `most` facts.
pub(crate) fn queue<T>(most: usize) -> (Queue<T>, Taker<T>) {
    let waiting = Waiting {
        facts: Vec::new(),
        urgent: false,
        closed: false,
    };
    let shared = Arc::new(Shared {
        waiting: Mutex::new(waiting),
        arrived: Condvar::new(),
        room: Condvar::new(),
        most,
    });
    (Queue(Arc::clone(&shared)), Taker(shared))
}

impl<T> Queue<T> {
    /// Queues a fact; waits where it is full.
    pub(crate) fn push(&self, fact: T) {
        let mut waiting = self.0.waiting.lock();
        let full = |it: &mut Waiting<T>| it.facts.len() >= self.0.most && !it.closed;
        self.0.room.wait_while(&mut waiting, full);
        self.add(waiting, fact, false);
    }

    /// Queues a fact that is to be taken now, with all that waits; also where it is full.
    pub(crate) fn push_now(&self, fact: T) {
        self.add(self.0.waiting.lock(), fact, true);
    }

    /// Queues a fact; false where it is full.
    pub(crate) fn try_push(&self, fact: T) -> bool {
        let waiting = self.0.waiting.lock();
        let fits = waiting.facts.len() < self.0.most;
        if fits {
            self.add(waiting, fact, false);
        }
        fits
    }

    fn add(&self, mut waiting: MutexGuard<'_, Waiting<T>>, fact: T, urgent: bool) {
        if waiting.closed {
            return;
        }
        waiting.facts.push(fact);
        waiting.urgent |= urgent;
        let wakes = urgent || waiting.facts.len() == 1 || waiting.facts.len() == self.0.plenty();
        drop(waiting);
        if wakes {
            self.0.arrived.notify_one();
        }
    }
}

impl<T> Taker<T> {
    /// Waits up to `patience` for a fact, then for as long as `gather` for others, and takes all. Sooner
    /// where one is urgent, or it is half full.
    pub(crate) fn take(&self, into: &mut Vec<T>, patience: Duration, gather: Duration) {
        let mut waiting = self.0.waiting.lock();
        let arrived = &self.0.arrived;
        arrived.wait_while_for(&mut waiting, |it| it.facts.is_empty(), patience);
        if !waiting.facts.is_empty() {
            let plenty = self.0.plenty();
            let gathers = |it: &mut Waiting<T>| !it.urgent && it.facts.len() < plenty;
            arrived.wait_while_for(&mut waiting, gathers, gather);
        }
        self.hand_over(waiting, into);
    }

    /// Takes what waits now.
    pub(crate) fn take_now(&self, into: &mut Vec<T>) {
        self.hand_over(self.0.waiting.lock(), into);
    }

    fn hand_over(&self, mut waiting: MutexGuard<'_, Waiting<T>>, into: &mut Vec<T>) {
        debug_assert!(into.is_empty(), "what was taken before is to be used first");
        into.shrink_to(KEPT);
        mem::swap(&mut waiting.facts, into);
        waiting.urgent = false;
        drop(waiting);
        self.0.room.notify_all();
    }
}

impl<T> Drop for Taker<T> {
    fn drop(&mut self) {
        let mut waiting = self.0.waiting.lock();
        waiting.closed = true;
        // Dropped without the lock: a fact may hold what somebody waits for.
        let _forgotten = mem::take(&mut waiting.facts);
        drop(waiting);
        self.0.room.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    fn taken(taker: &Taker<u32>, gather: Duration) -> Vec<u32> {
        let mut facts = Vec::new();
        taker.take(&mut facts, LONG, gather);
        facts
    }

    #[test]
    fn what_is_queued_is_taken_all_at_once_and_in_its_order() {
        let (queue, taker) = queue(4);
        (1..=3).for_each(|it| queue.push(it));
        assert_eq!(taken(&taker, Duration::ZERO), [1, 2, 3]);
        let mut nothing = Vec::new();
        taker.take(&mut nothing, Duration::ZERO, LONG);
        assert!(nothing.is_empty());
    }

    #[test]
    fn who_finds_it_full_waits_until_some_are_taken() {
        let (queue, taker) = queue(2);
        (1..=2).for_each(|it| queue.push(it));
        assert!(!queue.try_push(3));
        thread::scope(|scope| {
            scope.spawn(|| queue.push(4));
            assert_eq!(taken(&taker, Duration::ZERO), [1, 2]);
            assert_eq!(taken(&taker, Duration::ZERO), [4]);
        });
        assert!(queue.try_push(5));
    }

    #[test]
    fn what_is_urgent_ends_the_gathering_even_where_it_is_full() {
        let (queue, taker) = queue(8);
        thread::scope(|scope| {
            scope.spawn(|| {
                (1..=3).for_each(|it| queue.push(it));
                queue.push_now(4);
            });
            assert_eq!(taken(&taker, LONG), [1, 2, 3, 4]);
        });
    }

    #[test]
    fn when_nobody_takes_any_more_nobody_waits() {
        let (queue, taker) = queue(1);
        queue.push(1);
        thread::scope(|scope| {
            scope.spawn(|| queue.push(2));
            drop(taker);
        });
        queue.push(3);
        queue.push_now(4);
    }
}
