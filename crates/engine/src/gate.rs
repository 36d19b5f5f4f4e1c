//! A platform's buckets and the calls that wait for them, under one lock; and how those get their turn.
//!
//! Whoever changes what a platform has to give (a call that ends, comes, or goes away) looks who of
//! those that wait fits now and reserves for it, there and then: a turn that is handed over cannot be
//! lost or taken twice. What only time changes is looked at by a thread of its own.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::{Condvar, Mutex};
use tidegate_admission::{
    Ask, Cooldown, Need, Next, Pool, PoolSpec, Queue, QueueFull, QuotaKind, QuotaScope, Reason,
    Taken, Ticket, Wait, Waiting as Entering,
};
use tidegate_ledger::Books;
use tidegate_types::{Monotonic, Priority};

use crate::{
    Engine, StartError,
    admissions::Decided,
    call::{Moment, Routed},
    heard::{COOLING_AGAIN, Standing, Trying},
    places::PlaceKey,
    reserve::{Ended, Obstacle, Reserved, SetAside, pool_check},
    settings::ReserveRules,
    work::{To, WaitingCall, Work},
};

/// How often a call is looked at again that something other than its buckets keeps waiting, such as
/// money that running calls hold: nobody knows when those end, and several may have to.
const AGAIN: Duration = Duration::from_millis(500);

/// A platform's buckets and its queue, as they are shared.
pub type SharedGate = Arc<Mutex<Gate>>;

/// A platform's buckets and its queue.
#[derive(Debug)]
pub struct Gate {
    pub(crate) pool: Pool,
    pub(crate) queue: Queue,
    waiters: BTreeMap<Ticket, Waiter>,
    /// When to look again, as far as time alone decides.
    look_at: Option<Monotonic>,
}

/// Who waits.
#[derive(Debug)]
pub(crate) struct Waiter {
    pub(crate) work: Work,
    /// What besides the buckets kept it from its turn when it last could have had it.
    pub(crate) lacks: Option<Lack>,
}

/// What a call that waits lacked besides room in the buckets.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Lack {
    /// The money of a budget that running calls held, or room in a quota.
    Room(Obstacle),
    /// Its provider, which would have refused it until then.
    Provider(Cooldown, Monotonic),
}

/// What became of a call that waited.
#[derive(Debug)]
pub enum Turn {
    /// It has what it needs.
    Reserved(Box<Reserved>),
    /// No wait helps any more.
    Refused(Box<Routed>, Obstacle),
}

impl Turn {
    fn of(
        decided: Result<SetAside, Obstacle>,
        routed: Box<Routed>,
        trying: Option<Trying>,
    ) -> Self {
        match decided {
            Ok(set_aside) => {
                let mut reserved = set_aside.of(routed);
                reserved.holding.set_trying(trying);
                Self::Reserved(Box::new(reserved))
            }
            Err(obstacle) => Self::Refused(routed, obstacle),
        }
    }
}

/// A turn on its way, told once the lock is free.
enum Handover {
    Call(PlaceKey, To, Turn),
    Admission(Box<Decided>),
}

impl Handover {
    fn of(work: Work, decided: Result<SetAside, Obstacle>, trying: Option<Trying>) -> Self {
        match work {
            Work::Call(WaitingCall {
                routed, key, to, ..
            }) => Self::Call(key, to, Turn::of(decided, routed, trying)),
            Work::Admission(id, sought) => {
                let taken = decided.map(|it| (it.holding, it.found));
                Self::Admission(Box::new(Decided { id, sought, taken }))
            }
        }
    }
}

impl Gate {
    pub(crate) fn new(pool: Pool) -> Self {
        Self {
            pool,
            queue: Queue::default(),
            waiters: BTreeMap::new(),
            look_at: None,
        }
    }

    /// As a new pool, with nobody waiting.
    pub(crate) fn shared(pool: PoolSpec, now: Monotonic) -> SharedGate {
        Arc::new(Mutex::new(Self::new(Pool::new(pool, now))))
    }

    /// Whether somebody waits who goes before a newcomer of that class.
    #[inline]
    pub(crate) fn holds_up(&self, class: Priority) -> bool {
        !self.queue.is_empty() && self.queue.holds_up(class)
    }

    /// Why a newcomer can't go now, seeing who waits.
    #[cold]
    pub(crate) fn obstacle(&mut self, ask: &Ask, now: Moment) -> Obstacle {
        match pool_check(&mut self.pool, ask, now) {
            // It has to wait for as long as somebody else wants what it would take, and no longer.
            Err(Obstacle::Wait {
                reason: Reason::Penalty(_),
                ..
            })
            | Ok(_) => {}
            Err(obstacle) => return obstacle,
        }
        let entering = Entering {
            ask: *ask,
            since: now.mono,
            warm: None,
        };
        let Ok(ticket) = self.queue.enter(entering, &self.pool, now.mono) else {
            return Obstacle::QueueFull;
        };
        let outlook = self.queue.outlook(ticket, &self.pool, now.mono);
        self.queue.leave(ticket);
        outlook.map_or(Obstacle::QueueFull, |it| Obstacle::Queued {
            ahead: it.place.saturating_sub(1),
            wait: it.p50,
        })
    }

    /// Ends what a call took, with what it used.
    pub(crate) fn settle(&mut self, taken: Taken, actual: &Need, now: Monotonic) {
        self.queue.settled(&taken, actual, &self.pool);
        self.pool.settle(taken, actual, now);
    }

    /// Ends what a call took and did not use.
    pub(crate) fn release(&mut self, taken: Taken, now: Monotonic) {
        self.settle(taken, &Need::default(), now);
    }

    /// Lets somebody wait, who has to be [seated](Self::seat) then, under the same lock.
    pub(crate) fn enter(
        &mut self,
        entering: Entering,
        now: Monotonic,
    ) -> Result<Ticket, QueueFull> {
        self.queue.enter(entering, &self.pool, now)
    }

    /// Says who holds a ticket.
    pub(crate) fn seat(&mut self, ticket: Ticket, work: Work) {
        self.waiters.insert(ticket, Waiter { work, lacks: None });
    }

    /// Takes a call out that has not had its turn.
    pub(crate) fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        self.queue.leave(ticket)?;
        self.waiters.remove(&ticket)
    }

    pub(crate) fn waiter_mut(&mut self, ticket: Ticket) -> Option<&mut Waiter> {
        self.waiters.get_mut(&ticket)
    }

    /// The call that holds this ticket.
    pub(crate) fn call_mut(&mut self, ticket: Ticket) -> Option<&mut WaitingCall> {
        self.waiters.get_mut(&ticket)?.work.call_mut()
    }

    /// Everybody who waits, by age.
    pub(crate) fn waiters(&self) -> impl Iterator<Item = (Ticket, &Waiter)> {
        self.waiters.iter().map(|(ticket, it)| (*ticket, it))
    }

    pub(crate) fn waiter(&self, ticket: Ticket) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    /// A quota of an organisation has room again: has its calls that wait for that looked at, which
    /// else were when time alone might have made room.
    pub(crate) fn resume_over_quota(&mut self, organisation: &str) {
        let waits = |it: &Waiter| it.over_quota().is_some() && **it.work.whose().0 == *organisation;
        let waiting = self.waiters.iter().filter(|(_, it)| waits(it));
        let tickets: Vec<Ticket> = waiting.map(|(ticket, _)| *ticket).collect();
        for ticket in tickets {
            self.queue.resume(ticket);
        }
    }

    /// Reserves for all who fit now. Answers what they are to be told, and whose path through the
    /// budgets has to be found again.
    fn turns(
        &mut self,
        standing: &Arc<Standing>,
        rules: &ReserveRules,
        now: Moment,
    ) -> (Vec<Handover>, Vec<Ticket>) {
        let (mut turns, mut stale) = (Vec::new(), Vec::new());
        loop {
            let (ticket, cleared) = match self.queue.next(&mut self.pool, now.mono) {
                Next::Fits(ticket, cleared) => (ticket, cleared),
                Next::Never(ticket, bucket) => {
                    self.queue.leave(ticket);
                    let never = Err(Obstacle::NeverFits { bucket });
                    let waiter = self.waiters.remove(&ticket);
                    turns.extend(waiter.map(|it| Handover::of(it.work, never, None)));
                    continue;
                }
                Next::Nobody { at } => {
                    self.look_at = at;
                    return (turns, stale);
                }
            };
            let Some(waiter) = self.waiters.get_mut(&ticket) else {
                self.queue.leave(ticket);
                continue;
            };
            if let (Some(call), Some(place)) = (waiter.work.call_mut(), self.queue.get(ticket)) {
                // Its prompt cache may have expired while it waited.
                call.routed.need = place.ask.need;
            }
            let trying = match waiter.work.may_go(standing, now.mono) {
                Ok(trying) => trying,
                Err(cooldown) => {
                    waiter.lacks = Some(Lack::Provider(cooldown, now.mono.after(cooldown.left)));
                    let again = now.mono.after(cooldown.left.min(COOLING_AGAIN));
                    self.queue.set_aside(ticket, Some(again));
                    continue;
                }
            };
            if waiter.work.is_away() && !self.pool.is_small(&waiter.work.ask()) {
                // Until it comes back, others can use what it needs. It is old enough by then to go first.
                self.queue.set_aside(ticket, None);
                continue;
            }
            let books = Arc::clone(waiter.work.books());
            let (pool, work) = (&mut self.pool, &mut waiter.work);
            let decided = work.set_aside((pool, cleared), &mut books.lock(), rules, now);
            let again = match &decided {
                Ok(_) => None,
                Err(obstacle) => waiter.again(*obstacle, rules),
            };
            if let Some(again) = again {
                self.queue.set_aside(ticket, Some(now.mono.after(again)));
                stale.extend(matches!(decided, Err(Obstacle::Stale)).then_some(ticket));
                continue;
            }
            if decided.is_ok() {
                self.queue.started(ticket, now.mono);
            } else {
                self.queue.leave(ticket);
            }
            if let Some(waiter) = self.waiters.remove(&ticket) {
                turns.push(Handover::of(waiter.work, decided, trying));
            }
        }
    }
}

impl Waiter {
    /// In how long it is looked at again, where a wait helps against what its turn has met.
    fn again(&mut self, met: Obstacle, rules: &ReserveRules) -> Option<Duration> {
        match met {
            Obstacle::Stale => Some(AGAIN),
            Obstacle::Budget(shortage)
                if !shortage.held.is_zero() && self.work.fits_when_idle(rules) =>
            {
                self.lacks = Some(Lack::Room(met));
                Some(AGAIN)
            }
            Obstacle::Quota(over) if met.wait().is_some() => {
                self.lacks = Some(Lack::Room(met));
                Some(over.wait.map_or(AGAIN, quota_again))
            }
            _ => None,
        }
    }

    /// The quota that keeps it waiting, if one does.
    pub(crate) const fn over_quota(&self) -> Option<(QuotaScope, QuotaKind)> {
        match self.lacks {
            Some(Lack::Room(Obstacle::Quota(over))) => Some((over.scope, over.kind)),
            _ => None,
        }
    }

    /// What keeps it waiting besides the buckets.
    pub(crate) fn obstacle(&self, held: Duration, now: Monotonic) -> Option<Obstacle> {
        match self.lacks? {
            Lack::Room(Obstacle::Budget(shortage)) => Some(Obstacle::Held {
                shortage,
                wait: held,
            }),
            Lack::Room(other) => Some(other),
            Lack::Provider(cooldown, until) if until > now => {
                let left = until.since(now);
                Some(Obstacle::Cooling(Cooldown { left, ..cooldown }))
            }
            Lack::Provider(..) => None,
        }
    }
}

/// When a call is looked at again that a quota keeps waiting: when it would fit, or where only other
/// calls know that, as with money.
fn quota_again(wait: Wait) -> Duration {
    match wait {
        Wait::For(wait) => wait,
        Wait::Freed { at_least } => at_least.max(AGAIN),
    }
}

impl Engine {
    /// Looks who fits now of those that wait there.
    pub(crate) fn look(&self, gate: &SharedGate) {
        let rules = self.settings.load().reserve;
        // What could not be handed over is given back, and may be somebody else's turn.
        loop {
            let now = self.now();
            let (turns, stale) = {
                let mut locked = gate.lock();
                let turns = locked.turns(&self.standing, &rules, now);
                self.wakeups.at(locked.look_at);
                turns
            };
            let mut again = false;
            for handover in turns {
                again |= self.hand_over(handover);
            }
            for ticket in stale {
                again |= self.find_path(gate, ticket, now);
            }
            if !again {
                return;
            }
        }
    }

    /// Finds the way of a waiting call through the budgets again: a window has ended, or limits have
    /// changed. Not under the lock, since it may have to read what levels stand at.
    fn find_path(&self, gate: &SharedGate, ticket: Ticket, now: Moment) -> bool {
        let of = |it: &Waiter| {
            let (books, (_, user)) = (Arc::clone(it.work.books()), it.work.whose());
            let user = Arc::clone(user);
            (books, user, it.work.root().cloned(), it.work.service())
        };
        let Some((books, user, root, service)) = gate.lock().waiter(ticket).map(of) else {
            return false;
        };
        let path = self.loaded_path(&books, |books| {
            books.path(&user, root.as_deref(), service, now.wall)
        });
        let ready = books.lock().is_ready(&path);
        let mut gate = gate.lock();
        if let Some(waiter) = gate.waiter_mut(ticket) {
            waiter.work.set_path(path);
        }
        if ready {
            gate.queue.resume(ticket);
        }
        // Unready: the store can't be read, and the call is looked at again a little later.
        ready
    }

    /// Starts the thread that looks at the queues when time may have made somebody fit. It ends with
    /// the engine.
    pub(crate) fn watch_queues(self: &Arc<Self>) -> Result<(), StartError> {
        let engine = Arc::downgrade(self);
        let (wakeups, clock) = (Arc::clone(&self.wakeups), Arc::clone(&self.clock));
        let watching = move || {
            while wakeups.wait(clock.as_ref()) {
                let Some(engine) = engine.upgrade() else {
                    return;
                };
                engine.look_at_queues();
            }
        };
        let thread = std::thread::Builder::new().name("queues".to_owned());
        let _detached = thread.spawn(watching).map_err(StartError::Thread)?;
        Ok(())
    }

    /// Looks at every platform, where time alone may have made somebody fit.
    pub fn look_at_queues(&self) {
        let now = self.clock.monotonic();
        let gates: Vec<SharedGate> = self.gates.load().values().cloned().collect();
        for gate in gates {
            // Where nobody waits any more there is nothing to look at, whatever was to come.
            let look_at = {
                let gate = gate.lock();
                (!gate.queue.is_empty()).then_some(gate.look_at)
            };
            match look_at {
                Some(at) if at.is_none_or(|at| at <= now) => self.look(&gate),
                Some(at) => self.wakeups.at(at),
                None => {}
            }
        }
    }

    /// Looks at the queues if it is time to. Answers when it is time again, if nothing happens before.
    pub fn look_if_due(&self) -> Option<Monotonic> {
        if self.wakeups.take_due(self.clock.monotonic()) {
            self.look_at_queues();
        }
        self.wakeups.next.lock().at
    }

    /// Looks at every platform: what they have to give has changed.
    pub(crate) fn look_at_all(&self) {
        let gates: Vec<SharedGate> = self.gates.load().values().cloned().collect();
        for gate in gates {
            self.look(&gate);
        }
    }

    /// Tells somebody who was taken out of the queue why that was.
    pub(crate) fn refuse_waiting(&self, waiter: Waiter, why: Obstacle) {
        self.hand_over(Handover::of(waiter.work, Err(why), None));
    }

    /// Says whether something was given back.
    fn hand_over(&self, handover: Handover) -> bool {
        let refused = match handover {
            Handover::Call(_, To::Client(client), turn) => client.send(turn).err(),
            Handover::Call(key, To::Kept, turn) => self.places.ready(key, turn),
            Handover::Admission(decided) => {
                self.waits.decided(*decided);
                None
            }
        };
        match refused {
            Some(Turn::Reserved(reserved)) => {
                let now = self.clock.monotonic();
                let ended = reserved.holding.end(
                    now,
                    |gate, taken| gate.release(taken, now),
                    Books::release,
                );
                ended.waited_for.is_some()
            }
            Some(Turn::Refused(..)) | None => false,
        }
    }

    /// Looks who may have what a call gave back.
    pub(crate) fn after<T>(&self, ended: Ended<T>) -> Option<T> {
        if let Some(gate) = &ended.waited_for {
            self.look(gate);
        }
        ended.books
    }
}

/// When the queues have to be looked at, for the thread that does it.
#[derive(Debug, Default)]
pub(crate) struct Wakeups {
    next: Mutex<Alarm>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Alarm {
    at: Option<Monotonic>,
    closed: bool,
}

impl Wakeups {
    /// Looks then, or earlier.
    pub(crate) fn at(&self, at: Option<Monotonic>) {
        let Some(at) = at else { return };
        let mut next = self.next.lock();
        if next.at.is_none_or(|it| at < it) {
            next.at = Some(at);
            self.changed.notify_one();
        }
    }

    /// Whether it is time; if so, whoever looks says when it is again.
    fn take_due(&self, now: Monotonic) -> bool {
        let mut next = self.next.lock();
        next.at.take_if(|at| *at <= now).is_some()
    }

    /// Ends the thread.
    pub(crate) fn close(&self) {
        self.next.lock().closed = true;
        self.changed.notify_one();
    }

    /// Waits until it is time. `false`: there will be none any more.
    pub(crate) fn wait(&self, clock: &dyn tidegate_types::Clock) -> bool {
        let mut next = self.next.lock();
        loop {
            if next.closed {
                return false;
            }
            let now = clock.monotonic();
            match next.at {
                Some(at) if at <= now => {
                    next.at = None;
                    return true;
                }
                Some(at) => {
                    let _timed_out = self.changed.wait_for(&mut next, at.since(now));
                }
                None => self.changed.wait(&mut next),
            }
        }
    }
}
