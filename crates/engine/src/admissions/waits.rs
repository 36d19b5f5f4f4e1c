//! Those who asked and wait for leave: in the queue, or for somebody's yes; over restarts too.
//!
//! Whoever asked learns what became of it by looking, or by being told (`watch`). Leave that nobody
//! comes for is given back: a program that has gone does not pay for what it never did.

mod kept;
mod views;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use foldhash::fast::RandomState;
use parking_lot::{Condvar, Mutex};
use tidegate_admission::{Outlook, Ticket, Waiting as Entering};
use tidegate_types::{AdmissionId, Timestamp};
use tokio::sync::watch;

use kept::Saved;
pub use views::AdmissionView;

use super::{AdmissionAsk, AdmissionError, Admitted, NotAdmitted, sought::Sought};
use crate::{
    Engine,
    call::Moment,
    gate::SharedGate,
    identity::Principal,
    reserve::{Found, Holding, Obstacle},
    views::spoken,
    work::Work,
};

/// Requests that wait, or whose outcome is still told, at once. Each has about 1 KiB.
pub(super) const WAITS_MAX: usize = 10_000;

/// How long a request waits where its sender does not say.
pub const WAIT_DEFAULT: Duration = Duration::from_hours(1);
/// The longest that one may wait.
pub const WAIT_MAX: Duration = Duration::from_hours(24);
/// How long leave is kept for whoever asked for it, where that one does not say.
pub const HOLD_DEFAULT: Duration = Duration::from_mins(1);
/// The longest that leave may be kept for.
pub const HOLD_MAX: Duration = Duration::from_mins(15);

/// How long an outcome is told to whoever asks for it.
const TOLD_FOR: Duration = Duration::from_hours(1);

/// How long somebody who asks can wait, and is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// At most so long for leave; 24 hours at most.
    pub wait: Duration,
    /// Leave is kept for so long, to be fetched; 15 minutes at most.
    pub hold: Duration,
}

/// What is answered at once.
#[derive(Debug)]
pub enum Answer {
    /// Leave.
    Admitted(Admitted),
    /// No leave, and no wait helps, or none as long as that.
    NotAdmitted(Box<NotAdmitted>),
    /// It waits.
    Waits(AdmissionId),
}

/// What became of a request that waited.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// It waits still.
    Waiting,
    /// Leave, and until when it is kept for whoever asked.
    Approved(Arc<Admitted>, Timestamp),
    /// No leave: no wait helps any more.
    Refused(Arc<NotAdmitted>),
    /// Somebody ended the wait.
    Cancelled,
    /// Nobody came for the leave in time: it was given back.
    Lapsed,
}

/// A turn, for somebody who asked.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) id: AdmissionId,
    pub(crate) sought: Box<Sought>,
    pub(crate) taken: Result<(Holding, Found), Obstacle>,
}

#[derive(Debug)]
struct Waiter {
    saved: Saved,
    platform: Arc<str>,
    place: Place,
    outcome: watch::Sender<Outcome>,
    /// Whoever asked has seen the outcome.
    fetched: bool,
    /// When it was decided.
    decided: Option<Moment>,
}

#[derive(Clone, Debug)]
enum Place {
    /// On its way into a queue, or out of it.
    Moving,
    Queued(SharedGate, Ticket),
    /// Something other than buckets keeps it: it is tried again once a second.
    Parked(Obstacle),
    Over,
}

/// Those who wait, and the turns that are on their way to them.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    all: Mutex<HashMap<AdmissionId, Waiter, RandomState>>,
    inbox: Arc<Inbox>,
}

#[derive(Debug, Default)]
struct Inbox {
    turns: Mutex<(VecDeque<Decided>, bool)>,
    changed: Condvar,
}

impl Inbox {
    /// Waits for a turn. `false`: there will be none any more.
    fn wait(&self) -> bool {
        let mut turns = self.turns.lock();
        while turns.0.is_empty() && !turns.1 {
            self.changed.wait(&mut turns);
        }
        !turns.1
    }

    fn next(&self) -> Option<Decided> {
        self.turns.lock().0.pop_front()
    }
}

impl Waits {
    /// Takes a turn, to be booked where that may wait for the store.
    pub(crate) fn decided(&self, decided: Decided) {
        self.inbox.turns.lock().0.push_back(decided);
        self.inbox.changed.notify_one();
    }

    fn is_full(&self) -> bool {
        self.all.lock().len() >= WAITS_MAX
    }

    fn put(&self, id: AdmissionId, place: Place) {
        if let Some(waiter) = self.all.lock().get_mut(&id) {
            waiter.place = place;
        }
    }
}

impl Engine {
    /// Decides on a request for leave; lets it wait where it can't be given now and a wait helps.
    ///
    /// May wait for the store, with no lock held: a request that waits is kept before this returns.
    pub fn admit_or_wait(
        &self,
        principal: &Principal,
        ask: &AdmissionAsk,
        patience: Patience,
    ) -> Result<Answer, AdmissionError> {
        let now = self.now();
        let asker = self.asker(principal, ask, now)?;
        let ask = Arc::new(ask.clone());
        let mut sought = self.sought(&asker, &ask, now)?;
        let obstacle = match self.seek(&mut sought, now) {
            Ok((holding, found)) => {
                return self
                    .keep(&sought, holding, &found, now)
                    .map(Answer::Admitted);
            }
            Err(obstacle) => obstacle,
        };
        let may = patience.wait.min(WAIT_MAX);
        let until = now.wall.after(may);
        if !is_met_by_waiting(&obstacle, until) {
            let not = self.not_admitted(&sought, obstacle, now);
            return Ok(Answer::NotAdmitted(Box::new(not)));
        }
        if obstacle.wait().is_some_and(|it| it > may) {
            let not = self.too_late(&sought, obstacle, may, now);
            return Ok(Answer::NotAdmitted(Box::new(not)));
        }
        if self.waits.is_full() {
            return Err(AdmissionError::TooManyWait);
        }
        let saved = Saved {
            organisation: asker.organisation,
            user: asker.user,
            priority: asker.priority,
            ask,
            since: now.wall,
            until,
            hold: patience.hold.min(HOLD_MAX),
        };
        let id = self.ids.next(now.wall);
        self.let_wait(id, saved, (Box::new(sought), obstacle), now)
    }

    /// Keeps a request, and puts it where it waits.
    fn let_wait(
        &self,
        id: AdmissionId,
        saved: Saved,
        (sought, obstacle): (Box<Sought>, Obstacle),
        now: Moment,
    ) -> Result<Answer, AdmissionError> {
        let kept = self.save_wait(id, &saved);
        kept.map_err(|it| AdmissionError::Unwritable(it.to_string()))?;
        let since = saved.since;
        let waiter = Waiter {
            saved,
            platform: Arc::clone(&sought.platform.name),
            place: Place::Moving,
            outcome: watch::Sender::new(Outcome::Waiting),
            fetched: false,
            decided: None,
        };
        self.waits.all.lock().insert(id, waiter);
        match self.line_up(id, sought, (obstacle, since), now) {
            Ok(()) => Ok(Answer::Waits(id)),
            Err((sought, obstacle)) => {
                self.forget_wait(id);
                let not = self.not_admitted(&sought, obstacle, now);
                Ok(Answer::NotAdmitted(Box::new(not)))
            }
        }
    }

    /// Puts a request into its queue, or aside where something other than buckets keeps it.
    fn line_up(
        &self,
        id: AdmissionId,
        sought: Box<Sought>,
        (obstacle, since): (Obstacle, Timestamp),
        now: Moment,
    ) -> Result<(), (Box<Sought>, Obstacle)> {
        if obstacle.wait().is_none() {
            self.waits.put(id, Place::Parked(obstacle));
            return Ok(());
        }
        let waited = now.wall.since(since);
        let entering = Entering {
            ask: sought.bucket_ask(),
            since: tidegate_types::Monotonic(now.mono.0.saturating_sub(nanos(waited))),
            warm: None,
        };
        let gate = Arc::clone(&sought.gate);
        let mut locked = gate.lock();
        let Ok(ticket) = locked.enter(entering, now.mono) else {
            drop(locked);
            return Err((sought, Obstacle::QueueFull));
        };
        locked.seat(ticket, Work::Admission(id, sought));
        drop(locked);
        self.waits.put(id, Place::Queued(Arc::clone(&gate), ticket));
        self.look(&gate);
        Ok(())
    }

    /// Its place, and how long it will wait.
    fn admission_outlook(&self, id: AdmissionId) -> Option<Outlook> {
        let Place::Queued(gate, ticket) = self.waits.all.lock().get(&id)?.place.clone() else {
            return None;
        };
        let now = self.clock.monotonic();
        let mut gate = gate.lock();
        let outlook = gate.queue.outlook(ticket, &gate.pool, now)?;
        gate.queue.told(ticket, outlook);
        Some(outlook)
    }

    /// Takes a request out of the queue, if it waits in one.
    fn withdraw(&self, id: AdmissionId) -> Option<Box<Sought>> {
        let (gate, ticket) = {
            let mut all = self.waits.all.lock();
            let waiter = all.get_mut(&id)?;
            let Place::Queued(gate, ticket) = &waiter.place else {
                return None;
            };
            let place = (Arc::clone(gate), *ticket);
            waiter.place = Place::Moving;
            place
        };
        let left = gate.lock().leave(ticket)?;
        self.look(&gate);
        match left.work {
            Work::Admission(_, sought) => Some(sought),
            Work::Call(_) => None,
        }
    }

    /// What is told where the wait would be longer than it may be.
    fn too_late(
        &self,
        sought: &Sought,
        obstacle: Obstacle,
        may: Duration,
        now: Moment,
    ) -> NotAdmitted {
        let mut not = self.not_admitted(sought, obstacle, now);
        let wait = obstacle.wait().map(spoken).unwrap_or_default();
        not.reasons.push(format!(
            "it would probably wait {wait}, and may wait {} · let it wait for longer, or ask for less",
            spoken(may)
        ));
        not
    }

    /// Books the turns that have come. May wait for the store.
    pub(crate) fn book_decided(&self) {
        while let Some(decided) = self.waits.inbox.next() {
            self.book_turn(decided);
        }
    }

    fn book_turn(
        &self,
        Decided {
            id,
            mut sought,
            taken,
        }: Decided,
    ) {
        let now = self.now();
        let obstacle = match taken {
            Ok((holding, found)) => {
                if !self.is_waited_for(id) {
                    self.give_back(holding);
                    return;
                }
                match self.keep(&sought, holding, &found, now) {
                    Ok(admitted) => self.tell_approved(id, admitted, now),
                    Err(refused) => self.tell_refused(id, refused.to_string(), &sought, now),
                }
                return;
            }
            Err(obstacle) => obstacle,
        };
        let until = self.waits.all.lock().get(&id).map(|it| it.saved.until);
        match until {
            None => {}
            Some(_) if obstacle == Obstacle::Cancelled => {
                self.tell_outcome(id, Outcome::Cancelled, now);
                self.unsave(id);
            }
            Some(until) if is_met_by_waiting(&obstacle, until) => {
                if let Obstacle::Approval(_) = obstacle
                    && let Err(again) = self.seek(&mut sought, now).map(|it| self.give_back(it.0))
                {
                    // Seeking opened the request for approval.
                    self.waits.put(id, Place::Parked(again));
                } else {
                    self.waits.put(id, Place::Parked(obstacle));
                }
            }
            Some(_) => {
                let not = self.not_admitted(&sought, obstacle, now);
                self.tell_not(id, not, now);
            }
        }
    }

    fn is_waited_for(&self, id: AdmissionId) -> bool {
        let all = self.waits.all.lock();
        all.get(&id).is_some_and(|it| it.decided.is_none())
    }

    fn tell_approved(&self, id: AdmissionId, admitted: Admitted, now: Moment) {
        let reservation = admitted.reservation;
        let hold = self.waits.all.lock().get(&id).map(|it| it.saved.hold);
        let until = now.wall.after(hold.unwrap_or_default());
        let outcome = Outcome::Approved(Arc::new(admitted), until);
        if !self.tell_outcome(id, outcome, now) {
            self.end_unused(reservation);
        }
    }

    /// Tells what became of a request. `false`: nobody waits for it any more.
    fn tell_outcome(&self, id: AdmissionId, outcome: Outcome, now: Moment) -> bool {
        let mut all = self.waits.all.lock();
        let Some(waiter) = all.get_mut(&id).filter(|it| it.decided.is_none()) else {
            return false;
        };
        self.tell_channel(id, &waiter.saved, &outcome);
        waiter.place = Place::Over;
        waiter.decided = Some(now);
        waiter.outcome.send_replace(outcome);
        true
    }

    fn tell_refused(&self, id: AdmissionId, why: String, sought: &Sought, now: Moment) {
        let mut not = self.not_admitted(sought, Obstacle::Stale, now);
        not.reasons = vec![why];
        self.tell_not(id, not, now);
    }

    fn tell_not(&self, id: AdmissionId, not: NotAdmitted, now: Moment) {
        self.tell_outcome(id, Outcome::Refused(Arc::new(not)), now);
        self.unsave(id);
    }

    /// To be called about once a second: tries what is parked, gives back what nobody came for, ends
    /// waits that have lasted as long as they may, and forgets what was told.
    pub(crate) fn tidy_waits(&self) {
        let now = self.now();
        let (mut late, mut parked, mut lapsed, mut over) = (vec![], vec![], vec![], vec![]);
        {
            let all = self.waits.all.lock();
            for (id, it) in all.iter() {
                match (&*it.outcome.borrow(), it.decided) {
                    (Outcome::Approved(admitted, until), _)
                        if !it.fetched && *until <= now.wall =>
                    {
                        lapsed.push((*id, admitted.reservation));
                    }
                    (_, Some(at)) if now.mono.since(at.mono) > TOLD_FOR => over.push(*id),
                    (Outcome::Waiting, None) if it.saved.until <= now.wall => late.push(*id),
                    (Outcome::Waiting, None) if matches!(it.place, Place::Parked(_)) => {
                        parked.push(*id);
                    }
                    _ => {}
                }
            }
        }
        for id in over {
            self.forget_wait(id);
        }
        for (id, reservation) in lapsed {
            self.end_unused(reservation);
            if let Some(waiter) = self.waits.all.lock().get_mut(&id) {
                waiter.outcome.send_replace(Outcome::Lapsed);
                waiter.fetched = true;
            }
            self.unsave(id);
        }
        late.sort_unstable();
        for id in late {
            self.end_late(id, now);
        }
        parked.sort_unstable();
        for id in parked {
            self.try_parked(id, now);
        }
    }

    fn end_late(&self, id: AdmissionId, now: Moment) {
        let Some(saved) = self.saved_wait(id) else {
            return;
        };
        let withdrawn = self.withdraw(id);
        let asker = saved.asker();
        let sought = match withdrawn {
            Some(sought) => Ok(*sought),
            None => self.sought(&asker, &saved.ask, now),
        };
        if let Ok(sought) = sought {
            let why = format!(
                "it has waited {}, as long as it may",
                spoken(saved.patience())
            );
            self.tell_refused(id, why, &sought, now);
        }
    }

    /// Tries again what something other than buckets kept waiting.
    fn try_parked(&self, id: AdmissionId, now: Moment) {
        let Some(saved) = self.saved_wait(id) else {
            return;
        };
        let mut sought = match self.sought(&saved.asker(), &saved.ask, now) {
            Ok(sought) => sought,
            Err(gone) => return self.tell_gone(id, &saved, &gone, now),
        };
        let taken = self.seek(&mut sought, now);
        if let Err(obstacle) = &taken
            && obstacle.wait().is_some()
        {
            let again = self.line_up(id, Box::new(sought), (*obstacle, saved.since), now);
            if let Err((_, full)) = again {
                self.waits.put(id, Place::Parked(full));
            }
            return;
        }
        let sought = Box::new(sought);
        self.book_turn(Decided { id, sought, taken });
    }

    fn tell_gone(&self, id: AdmissionId, saved: &Saved, why: &AdmissionError, now: Moment) {
        let not = NotAdmitted {
            platform: saved.ask.platform.as_deref().unwrap_or("-").into(),
            wait: None,
            alternative: None,
            limit: "platform".into(),
            shortage: None,
            reasons: vec![why.to_string()],
        };
        self.tell_not(id, not, now);
    }
}

impl Waiter {
    fn is_of(&self, principal: &Principal) -> bool {
        principal.may_touch(&self.saved.organisation, &self.saved.user)
    }
}

/// Whether it may be met if it waits until then.
fn is_met_by_waiting(obstacle: &Obstacle, until: Timestamp) -> bool {
    match obstacle {
        Obstacle::Approval(_) => true,
        Obstacle::Budget(shortage) => {
            !shortage.never_fits() && shortage.resets_at.is_some_and(|it| it <= until)
        }
        other => other.wait().is_some(),
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
