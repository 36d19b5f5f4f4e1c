//! Every bucket of one platform, decided together.

use std::time::Duration;

use arrayvec::ArrayVec;
use tidegate_types::{Caller, Monotonic, Priority};

use crate::{
    Admission, Ask, BUCKETS_MAX, BucketIndex, BucketSpec, Check, Cleared, Need, Note, PoolSpec,
    Resource, Taken, USERS_MAX, UserSlot,
    bucket::{Bucket, Order},
    flow::{Fit, WAITING_GRACE},
    pacing::{Pace, Share},
    users::Users,
    view::SavedLevel,
};

mod deferral;
mod observing;
mod penalties;
mod queued;

pub use penalties::{Penalised, SavedPenalty};

const CLASSES: usize = Priority::ALL.len();

/// See [`Pool::is_small`]: four seconds' refill of a bucket that holds a minute's.
const SMALL_PART: u64 = 16;

/// One platform's buckets, its users' penalties and who waits. The caller holds the lock around it.
///
/// Invariant, for every bucket and any interval `t`: what enforced calls reserve in it and don't
/// give back is at most capacity + overdraft + refill · t, and at most one call larger than the
/// capacity, which starts from a full bucket. What settlement adds is debt: it is counted and
/// delays later calls.
///
/// Time never runs backwards here: a `now` that is earlier than a former one counts as that one.
#[derive(Debug)]
#[cfg_attr(test, derive(Clone))]
pub struct Pool {
    pub(crate) spec: PoolSpec,
    pub(crate) buckets: ArrayVec<Bucket, BUCKETS_MAX>,
    pub(crate) users: Users,
    pub(crate) classes: [Class; CLASSES],
    waiters: [Waiter; 2],
    now: u64,
    /// When the pace of some bucket is to be looked at; the end of time where all run at theirs.
    relax_at: u64,
    /// Whether nothing that refills makes the callers of this index wait.
    by_watched: [bool; 2],
    /// Rises with everything that changes a level. A [`Cleared`] is worth something while it is
    /// the last; peaks are ordered by it.
    sequence: u64,
}

/// What is known of one class over all buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Class {
    pub(crate) pace: Pace,
    waits_until: u64,
}

/// One of the two users who wait longest: enough to tell whether anybody else waits.
#[derive(Clone, Copy, Debug)]
struct Waiter {
    user: UserSlot,
    until: u64,
}

/// Buckets by their bit.
type Mask = u32;

/// What the first look at the buckets found.
#[derive(Clone, Copy, Debug, Default)]
struct Findings {
    /// Enforced ones that the call doesn't fit now.
    hold: Mask,
    /// Watched ones that it doesn't fit now.
    watched: Mask,
    /// Any enforced one that it takes from.
    enforced: Mask,
    overdrawn: Mask,
}

impl Pool {
    /// Every bucket full.
    pub fn new(spec: PoolSpec, now: Monotonic) -> Self {
        let full = |it: &BucketSpec| Bucket::full(it.clone(), now.0, 0);
        let buckets: ArrayVec<Bucket, BUCKETS_MAX> = spec.buckets().iter().map(full).collect();
        Self {
            by_watched: by_watched(&buckets),
            buckets,
            spec,
            users: Users::new(USERS_MAX),
            classes: [Class {
                pace: Pace::NEW,
                waits_until: 0,
            }; CLASSES],
            waiters: [Waiter {
                user: UserSlot::NONE,
                until: 0,
            }; 2],
            now: now.0,
            relax_at: u64::MAX,
            sequence: 0,
        }
    }

    /// What the pool was last configured to be.
    pub const fn spec(&self) -> &PoolSpec {
        &self.spec
    }

    /// What a bucket is. `None` where it is no longer configured, or belongs to another pool.
    pub fn bucket(&self, bucket: BucketIndex) -> Option<&BucketSpec> {
        let bucket = self.buckets.get(bucket.index())?;
        (!bucket.is_retired()).then_some(&bucket.spec)
    }

    /// Takes new figures. A bucket of the same name and resource keeps its level (capped to the new
    /// capacity), debt, claims and what is outstanding; others begin full.
    pub fn reconfigure(&mut self, spec: PoolSpec, now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        let same = |a: &BucketSpec, b: &BucketSpec| a.name == b.name && a.resource == b.resource;
        for bucket in &mut self.buckets {
            bucket.flow.advance(now);
            let wanted = spec.buckets().iter().find(|it| same(it, &bucket.spec));
            match wanted.filter(|_| !bucket.is_retired()) {
                Some(wanted) => bucket.reconfigure(wanted, self.sequence),
                None => bucket.retire(),
            }
        }
        for wanted in spec.buckets() {
            let mut live = self.buckets.iter().filter(|it| !it.is_retired());
            if live.any(|it| same(wanted, &it.spec)) {
                continue;
            }
            let fresh = Bucket::full(wanted.clone(), now, self.sequence);
            match self.buckets.iter_mut().find(|it| it.is_retired()) {
                Some(place) => *place = fresh,
                // At most as many are live as a specification may have.
                None => self.buckets.push(fresh),
            }
        }
        self.by_watched = by_watched(&self.buckets);
        self.spec = spec;
    }

    /// The user of that name in an organisation, from now on one of those who share the flow. May
    /// allocate; beyond [`USERS_MAX`] the one who was not seen for longest is forgotten.
    pub fn user(&mut self, organisation: &str, name: &str, now: Monotonic) -> UserSlot {
        let now = self.clock(now);
        let slot = self.users.intern(organisation, name);
        self.users.see(slot, now);
        slot
    }

    /// Whether the call fits every bucket now. Takes nothing; what is deferred is remembered as
    /// waiting, so that its class earns its share meanwhile.
    #[inline]
    pub fn check(&mut self, ask: &Ask, now: Monotonic) -> Check {
        let now = self.clock(now);
        self.sequence += 1;
        self.users.see(ask.user, now);
        if self.has_plainly(ask, now) && !self.is_penalised(ask, now) {
            return Check::Clear(Cleared {
                plain: true,
                ..self.cleared(ask, Vec::new())
            });
        }
        self.check_closely(ask, now)
    }

    #[cold]
    fn check_closely(&mut self, ask: &Ask, now: u64) -> Check {
        let found = self.look(ask, now);
        if found.hold | found.watched | found.overdrawn == 0 && !self.is_penalised(ask, now) {
            return Check::Clear(self.cleared(ask, Vec::new()));
        }
        self.weigh(ask, found, now)
    }

    /// Whether every bucket has what the call needs, and there is nothing to say about it: what nearly
    /// all calls find.
    #[inline]
    fn has_plainly(&mut self, ask: &Ask, now: u64) -> bool {
        let need = ask.need.by_place();
        let mut has = true;
        for bucket in &mut self.buckets {
            let tokens = bucket.needed_of(&need);
            if tokens > 0 {
                bucket.flow.advance(now);
                has &= bucket.has_plainly(tokens, ask.priority);
            }
        }
        has
    }

    /// How the call fits each bucket.
    fn look(&mut self, ask: &Ask, now: u64) -> Findings {
        let mut found = Findings::default();
        let mut bit: Mask = 1;
        for bucket in &mut self.buckets {
            let tokens = bucket.needed(&ask.need);
            if tokens > 0 {
                bucket.flow.advance(now);
                let watched = bucket.watches(ask.caller);
                if !watched {
                    found.enforced |= bit;
                }
                let fit = bucket.flow.fit(bucket.flow.cost(tokens), ask.priority);
                if fit == Fit::Not || bucket.never_fits(tokens) {
                    *(if watched {
                        &mut found.watched
                    } else {
                        &mut found.hold
                    }) |= bit;
                } else if fit == Fit::Overdraws {
                    found.overdrawn |= bit;
                }
            }
            bit <<= 1;
        }
        found
    }

    /// Takes what the last check of this pool allowed. Cannot fail.
    ///
    /// A `Cleared` from before another check, or after anything else has changed this pool, would
    /// overshoot: that is a programmer's error and stops here.
    #[inline]
    pub fn commit(&mut self, cleared: Cleared, now: Monotonic) -> Taken {
        let mut taken = Taken::nothing(&cleared);
        self.commit_to(&mut taken, &cleared, now);
        taken
    }

    /// The same, written to where it will stay: it is large. `into` holds nothing yet.
    #[inline]
    pub fn commit_into(&mut self, into: &mut Option<Taken>, cleared: &Cleared, now: Monotonic) {
        debug_assert!(into.is_none(), "what is held already would be lost");
        self.commit_to(into.insert(Taken::nothing(cleared)), cleared, now);
    }

    #[inline]
    fn commit_to(&mut self, taken: &mut Taken, cleared: &Cleared, now: Monotonic) {
        let now = self.clock(now);
        assert!(
            cleared.sequence == self.sequence,
            "commit under the same hold of the lock as the check, before anything else"
        );
        let need = cleared.need.by_place();
        let (class, caller) = (cleared.priority, cleared.caller);
        let watched = self.measured_by_watched(caller);
        let mut flow_nanos = 0;
        for (bucket, charge) in self.buckets.iter_mut().zip(&mut taken.charges) {
            let tokens = bucket.needed_of(&need);
            if tokens > 0 {
                if bucket.refills() && bucket.watches(caller) == watched {
                    flow_nanos = flow_nanos.max(bucket.flow_nanos(tokens));
                }
                bucket.flow.advance(now);
                let (mut given, at) = (tokens, (cleared.sequence, now));
                if cleared.plain {
                    bucket.charge_plainly(tokens, at);
                } else {
                    let by = (caller, cleared.lent);
                    (given, charge.earned) = bucket.charge(tokens, class, by, at);
                }
                charge.tokens = given;
                charge.refundable = given;
            }
        }
        taken.flow_nanos = flow_nanos;
        self.sequence += 1;
        if !cleared.queues || self.has_penalty(class, cleared.user, now) {
            self.count_usage(class, cleared.user, flow_nanos, now);
        }
    }

    /// [`Self::check`], and [`Self::commit`] where it is clear.
    pub fn take(&mut self, ask: &Ask, now: Monotonic) -> Admission {
        let check = self.check(ask, now);
        self.follow(check, now)
    }

    /// Takes what a check has just cleared, and says what it has not.
    fn follow(&mut self, check: Check, now: Monotonic) -> Admission {
        match check {
            Check::Clear(cleared) => Admission::Granted(self.commit(cleared, now)),
            Check::Deferred {
                wait,
                bucket,
                reason,
            } => Admission::Deferred {
                wait,
                bucket,
                reason,
            },
            Check::NeverFits { bucket } => Admission::NeverFits { bucket },
        }
    }

    /// Ends a reservation with what was really used. More than was taken becomes debt, less is
    /// given back, as if only the actual had ever been taken: never above the capacity, and not
    /// what meanwhile would have overflowed. Frees the concurrency slot.
    pub fn settle(&mut self, taken: Taken, actual: &Need, now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        let by = (taken.priority, taken.caller);
        let order = Order {
            taken: taken.sequence,
            topped_up: taken.topped_up,
            now: self.sequence,
        };
        for (bucket, charge) in self.buckets.iter_mut().zip(taken.charges) {
            bucket.flow.advance(now);
            let used = match bucket.spec.resource {
                Resource::Concurrency => 0,
                resource => actual.of(resource),
            };
            bucket.settle(charge, used, by, order);
        }
        let (before, after) = (taken.flow_nanos, self.flow_of(actual, taken.caller));
        self.correct_usage(&taken, before.abs_diff(after), after < before, now);
    }

    /// Ends a reservation of which nothing was used, as if it had never been taken.
    pub fn release(&mut self, taken: Taken, now: Monotonic) {
        self.settle(taken, &Need::default(), now);
    }

    /// Takes more for a call that runs: its answer turns out longer than reserved. It cannot be
    /// refused; where it doesn't fit, it is debt.
    pub fn top_up(&mut self, taken: &mut Taken, more: &Need, now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        let order = Order {
            taken: taken.sequence,
            topped_up: taken.topped_up,
            now: self.sequence,
        };
        for (bucket, charge) in self.buckets.iter_mut().zip(&mut taken.charges) {
            bucket.flow.advance(now);
            let tokens = bucket.needed(more);
            bucket.top_up(charge, tokens, taken.caller, order);
        }
        taken.topped_up = self.sequence;
        let flow = self.flow_of(more, taken.caller);
        self.correct_usage(taken, flow, false, now);
        taken.flow_nanos = taken.flow_nanos.saturating_add(flow);
    }

    /// Books usage that no check of this pool has seen: of another program on the same account, or
    /// from before a restart. Where it doesn't fit, it is debt. Takes no concurrency.
    pub fn debit(&mut self, need: &Need, now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        for bucket in &mut self.buckets {
            let tokens = bucket.needed(need);
            if tokens > 0 && bucket.flow.refills() {
                bucket.flow.advance(now);
                bucket.debit(tokens, Caller::Asking, self.sequence);
            }
        }
    }

    /// Sets levels that an earlier run saved, refilled for the wall-clock time that has passed
    /// since: zero where the clock stepped back. Buckets that were not saved, or counted something
    /// else, keep their level. Meant for a new pool, before its first call.
    pub fn restore(&mut self, saved: &[SavedLevel], elapsed: Duration, now: Monotonic) {
        let now = self.clock(now);
        self.sequence += 1;
        let elapsed = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        for bucket in self.buckets.iter_mut().filter(|it| !it.is_retired()) {
            bucket.flow.advance(now);
            let (name, resource) = (&bucket.spec.name, bucket.spec.resource);
            let same = |it: &&SavedLevel| it.bucket == *name && it.resource == resource;
            if let Some(level) = saved.iter().find(same).filter(|_| bucket.flow.refills()) {
                bucket.flow.restore(i128::from(level.tokens), elapsed);
            }
        }
    }

    #[inline]
    pub(crate) fn clock(&mut self, now: Monotonic) -> u64 {
        if now.0 > self.now {
            self.now = now.0;
            if self.now >= self.relax_at {
                self.relax();
            }
        }
        self.now
    }

    /// The time a view is of: never before what the pool has seen.
    pub(crate) fn at(&self, now: Monotonic) -> u64 {
        self.now.max(now.0)
    }

    fn cleared(&self, ask: &Ask, notes: Vec<Note>) -> Cleared {
        Cleared {
            sequence: self.sequence,
            need: ask.need,
            priority: ask.priority,
            user: ask.user,
            caller: ask.caller,
            queues: ask.queues,
            lent: false,
            plain: false,
            notes,
        }
    }

    #[inline]
    fn is_penalised(&self, ask: &Ask, now: u64) -> bool {
        self.has_penalty(ask.priority, ask.user, now)
    }

    #[inline]
    fn has_penalty(&self, class: Priority, user: UserSlot, now: u64) -> bool {
        let class = &self.classes[class.index()].pace;
        let user = self.users.user(user).map(|it| &it.pace);
        class.penalised_until(now).is_some()
            || user.is_some_and(|it| it.penalised_until(now).is_some())
    }

    /// Whether what a call takes could be set aside for a while without being missed: at most one part in
    /// `SMALL_PART` of each bucket that measures it, since what overflows meanwhile is lost. A slot is not.
    pub fn is_small(&self, ask: &Ask) -> bool {
        let small = |it: &Bucket| {
            let needed = it.needed(&ask.need);
            needed.saturating_mul(SMALL_PART) <= it.spec.capacity
        };
        self.measuring(ask.caller).all(small)
    }

    /// The flow time of a call: how long the slowest of the buckets that measure it takes to refill it.
    #[inline]
    pub(crate) fn flow_of(&self, need: &Need, caller: Caller) -> u64 {
        let need = need.by_place();
        let times = self.measuring(caller);
        let times = times.map(|it| it.flow_nanos(it.needed_of(&need)));
        times.max().unwrap_or(0)
    }

    /// The buckets by which the calls of a caller are measured: what refills and makes it wait, or, where nothing
    /// does, what refills and watches it.
    #[inline]
    fn measuring(&self, caller: Caller) -> impl Iterator<Item = &Bucket> {
        let watched = self.measured_by_watched(caller);
        let refilling = self.buckets.iter().filter(|it| it.refills());
        refilling.filter(move |it| it.watches(caller) == watched)
    }

    /// Whether it is the watched buckets by which the calls of a caller are measured.
    #[inline]
    const fn measured_by_watched(&self, caller: Caller) -> bool {
        match caller {
            Caller::Keyless => self.by_watched[0],
            Caller::Asking => self.by_watched[1],
        }
    }

    #[inline]
    fn count_usage(&mut self, class: Priority, user: UserSlot, flow: u64, now: u64) {
        let soon = now.saturating_add(nanos(WAITING_GRACE));
        let others_wait = self.other_class_waits(class, now);
        let state = &mut self.classes[class.index()];
        state.waits_until = state.waits_until.min(soon);
        state.pace.spend(flow, class_share(class), others_wait, now);

        let others_wait = self.other_user_waits(user, now);
        let share = Share {
            part: 1,
            of: self.users.present(),
        };
        for waiter in self.waiters.iter_mut().filter(|it| it.user == user) {
            waiter.until = waiter.until.min(soon);
        }
        if let Some(acting) = self.users.user_mut(user) {
            acting.pace.spend(flow, share, others_wait, now);
            if acting.pace.penalised_until(now).is_some() {
                self.users.note_penalty(user, now);
            }
        }
    }

    fn correct_usage(&mut self, taken: &Taken, flow: u64, less: bool, now: u64) {
        if taken.queues && !self.has_penalty(taken.priority, taken.user, now) {
            return;
        }
        let class = &mut self.classes[taken.priority.index()];
        class.pace.correct(flow, less, now);
        if let Some(user) = self.users.user_mut(taken.user) {
            user.pace.correct(flow, less, now);
        }
    }

    fn other_class_waits(&self, class: Priority, now: u64) -> bool {
        let others = Priority::ALL.iter().filter(|it| **it != class);
        others
            .map(|it| self.classes[it.index()].waits_until)
            .any(|until| until > now)
    }

    fn other_user_waits(&self, user: UserSlot, now: u64) -> bool {
        let others = self.waiters.iter().filter(|it| it.user != user);
        others.map(|it| it.until).any(|until| until > now)
    }
}

fn by_watched(buckets: &[Bucket]) -> [bool; 2] {
    let refilling = || buckets.iter().filter(|it| it.refills());
    [Caller::Keyless, Caller::Asking].map(|caller| refilling().all(|it| it.watches(caller)))
}

fn class_share(class: Priority) -> Share {
    let percent = class.share_percent();
    Share {
        part: u32::try_from(percent).unwrap_or(u32::MAX),
        of: 100,
    }
}

pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
