//! What to say to a call that does not simply pass: how long, why, and what was noticed.

use std::time::Duration;

use arrayvec::ArrayVec;

use super::{Findings, Mask, Pool, Waiter, nanos};
use crate::{
    Ask, BUCKETS_MAX, BucketIndex, Check, Cleared, NOTES_MAX, Note, Reason, Subject, UserSlot,
    Wait,
    flow::{Flow, WAITING_GRACE, WAITING_MAX},
    pacing::Pace,
};

/// A bucket that has to admit the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gate {
    pub(super) index: usize,
    pub(super) cost: i128,
    pub(super) flow: Flow,
}

/// When a call fits everything, and what it waits for longest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: u64,
    /// A bucket's place; `None` where a penalty lasts longest.
    bound_by: Option<usize>,
}

impl Pool {
    /// The decision over a call that some bucket, watched or not, or a penalty has to do with.
    #[cold]
    pub(super) fn weigh(&mut self, ask: &Ask, found: Findings, now: u64) -> Check {
        if let Some(bucket) = self.first_never(ask, found.hold) {
            return Check::NeverFits { bucket };
        }
        let paused_until = self.paused_until(ask, now);
        if found.hold != 0 || (paused_until.is_some() && found.enforced != 0) {
            return self.defer(ask, found, paused_until, now);
        }
        let penalties = self.penalties(ask, now);
        Check::Clear(self.clear_with_notes(ask, found, &penalties, now))
    }

    /// Leave to take for a call that nothing holds back, with what there is to say about it.
    pub(super) fn clear_with_notes(
        &self,
        ask: &Ask,
        found: Findings,
        penalties: &[(Subject, Pace)],
        now: u64,
    ) -> Cleared {
        let mut notes = Vec::with_capacity(NOTES_MAX);
        self.note_watched(ask, found, &mut notes, now);
        let mut needed = self.buckets.iter().map(|it| it.needed(&ask.need) > 0);
        let first = needed.position(|it| it);
        for (subject, pace) in penalties {
            if let Some(first) = first.filter(|_| pace.may_start() > now) {
                notes.push(Note::WouldWait {
                    bucket: index(first),
                    wait: Wait::For(Duration::from_nanos(pace.may_start() - now)),
                    reason: Reason::Penalty(*subject),
                });
                continue;
            }
            let until = pace.penalised_until(now).unwrap_or(now);
            notes.push(Note::Penalised {
                subject: *subject,
                left: Duration::from_nanos(until - now),
            });
        }
        self.cleared(ask, notes)
    }

    pub(super) fn first_never(&self, ask: &Ask, among: Mask) -> Option<BucketIndex> {
        let mut buckets = self.buckets.iter().enumerate();
        let found = buckets.find(|(at, it)| has(among, *at) && it.never_fits(it.needed(&ask.need)));
        found.map(|(at, _)| index(at))
    }

    /// Who of the call's user and class is held to half speed now.
    pub(super) fn penalties(&self, ask: &Ask, now: u64) -> ArrayVec<(Subject, Pace), 2> {
        let class = self.classes[ask.priority.index()].pace;
        let user = self.users.user(ask.user).map(|it| it.pace);
        let both = [
            (Subject::User, user),
            (Subject::Class(ask.priority), Some(class)),
        ];
        let known = both.into_iter().filter_map(|(who, it)| Some((who, it?)));
        known
            .filter(|(_, it)| it.penalised_until(now).is_some())
            .collect()
    }

    fn defer(&mut self, ask: &Ask, found: Findings, paused: Option<u64>, now: u64) -> Check {
        // As if the class waited without end, which changes nothing until it does end.
        let mut gates = self.gates(ask, found.enforced);
        for gate in &mut gates {
            gate.flow.wait(gate.cost, ask.priority, u64::MAX);
        }
        let start = paused.unwrap_or(now).max(now);
        let with_patience = self.due(&gates, ask, start);

        let mut due = with_patience;
        let counted = (due.at - now).min(nanos(WAITING_MAX));
        let until = now
            .saturating_add(counted)
            .saturating_add(nanos(WAITING_GRACE));
        self.note_waiting(ask, found.enforced, until);
        if due.at - now > counted {
            due = self.due(&self.gates(ask, found.enforced), ask, start);
        }
        if due.at == u64::MAX {
            // Only what its class earns by waiting can ever admit it: then it counts for so long.
            due = with_patience;
            self.note_waiting(
                ask,
                found.enforced,
                due.at.saturating_add(nanos(WAITING_GRACE)),
            );
        }
        self.deferred(ask, found, due, now)
    }

    fn deferred(&self, ask: &Ask, found: Findings, due: Due, now: u64) -> Check {
        let wait = Duration::from_nanos(due.at - now);
        let mut holding = (0..BUCKETS_MAX).filter(|at| has(found.hold, *at));
        let busy = holding.find(|at| !self.buckets[*at].flow.refills());
        if let Some(busy) = busy {
            return Check::Deferred {
                wait: Wait::Freed { at_least: wait },
                bucket: index(busy),
                reason: Reason::Busy,
            };
        }
        let wait = Wait::For(wait);
        let Some(bound_by) = due.bound_by else {
            let longest = self.penalties(ask, now).into_iter();
            let subject = longest.max_by_key(|it| it.1.may_start()).map(|it| it.0);
            let first = found.enforced.trailing_zeros();
            return Check::Deferred {
                wait,
                bucket: index(usize::try_from(first).unwrap_or(0)),
                reason: Reason::Penalty(subject.unwrap_or(Subject::User)),
            };
        };
        let bucket = &self.buckets[bound_by];
        let cost = bucket.flow.cost(bucket.needed(&ask.need));
        Check::Deferred {
            wait,
            bucket: index(bound_by),
            reason: bucket.flow.reason(cost, ask.priority),
        }
    }

    /// The enforced buckets that time can fill, as they are now.
    pub(super) fn gates(&self, ask: &Ask, enforced: Mask) -> ArrayVec<Gate, BUCKETS_MAX> {
        let buckets = self.buckets.iter().enumerate();
        let binding = buckets.filter(|(at, it)| has(enforced, *at) && it.flow.refills());
        binding
            .map(|(index, it)| Gate {
                index,
                cost: it.flow.cost(it.needed(&ask.need)),
                flow: it.flow,
            })
            .collect()
    }

    /// The first time from `start` on at which every gate admits the call. What fits one gate
    /// earlier may no longer fit it when the last one opens (a claim has lapsed): ask again from
    /// there. Each round passes such a lapse for good, so the rounds are few.
    #[expect(
        clippy::unused_self,
        reason = "part of the pool's law, and reads as such where it is used"
    )]
    pub(super) fn due(&self, gates: &[Gate], ask: &Ask, start: u64) -> Due {
        let mut due = Due {
            at: start,
            bound_by: None,
        };
        loop {
            let from = due.at;
            for gate in gates {
                let fits = gate.flow.first_fit(gate.cost, ask.priority, from);
                if fits > due.at {
                    due = Due {
                        at: fits,
                        bound_by: Some(gate.index),
                    };
                }
            }
            if due.at == from {
                return due;
            }
        }
    }

    /// In every bucket that has to admit the call, also where it would fit now: what it needs there
    /// must not be gone when the slowest one is ready.
    pub(super) fn note_waiting(&mut self, ask: &Ask, enforced: Mask, until: u64) {
        let need = ask.need;
        for (at, bucket) in self.buckets.iter_mut().enumerate() {
            if has(enforced, at) {
                let cost = bucket.flow.cost(bucket.needed(&need));
                bucket.flow.wait(cost, ask.priority, until);
            }
        }
        if ask.queues {
            return;
        }
        // Whom a penalty holds back keeps nobody else back by waiting: two who are penalised would
        // leave to each other what both could use.
        let now = self.now;
        if self
            .penalties(ask, now)
            .iter()
            .any(|it| it.1.may_start() > now)
        {
            return;
        }
        let class = &mut self.classes[ask.priority.index()];
        class.waits_until = class.waits_until.max(until);
        self.note_waiter(ask.user, until);
    }

    /// Keeps the two users who wait longest.
    fn note_waiter(&mut self, user: UserSlot, until: u64) {
        if let Some(known) = self.waiters.iter_mut().find(|it| it.user == user) {
            known.until = known.until.max(until);
            return;
        }
        let first = self.waiters.iter_mut().min_by_key(|it| it.until);
        if let Some(first) = first.filter(|it| it.until < until) {
            *first = Waiter { user, until };
        }
    }

    fn note_watched(&self, ask: &Ask, found: Findings, notes: &mut Vec<Note>, now: u64) {
        for (at, it) in self.buckets.iter().enumerate() {
            let bucket = index(at);
            let tokens = it.needed(&ask.need);
            let cost = it.flow.cost(tokens);
            if has(found.overdrawn, at) {
                notes.push(Note::Overdraft { bucket });
            } else if has(found.watched, at) && it.never_fits(tokens) {
                notes.push(Note::WouldRefuse { bucket });
            } else if has(found.watched, at) {
                let reason = it.flow.reason(cost, ask.priority);
                let wait = if it.flow.refills() {
                    let mut flow = it.flow;
                    flow.wait(cost, ask.priority, u64::MAX);
                    let due = flow.first_fit(cost, ask.priority, now);
                    Wait::For(Duration::from_nanos(due - now))
                } else {
                    Wait::Freed {
                        at_least: Duration::ZERO,
                    }
                };
                notes.push(Note::WouldWait {
                    bucket,
                    wait,
                    reason,
                });
            }
        }
    }
}

const fn has(mask: Mask, at: usize) -> bool {
    mask >> at & 1 == 1
}

/// The places that a mask names.
pub(super) fn bits(mask: Mask) -> impl Iterator<Item = usize> {
    (0..BUCKETS_MAX).filter(move |at| has(mask, *at))
}

fn index(at: usize) -> BucketIndex {
    // A pool has at most sixteen buckets.
    BucketIndex(u8::try_from(at).unwrap_or(u8::MAX))
}
