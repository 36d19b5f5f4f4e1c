//! A call that waits for its turn.

use std::{cmp::Reverse, sync::Arc, time::Duration};

pub use tidegate_admission::Outlook;
use tidegate_admission::{Ticket, Waiting as Entering};
use tidegate_ledger::StoreError;
use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_types::Monotonic;
use tokio::sync::{Notify, oneshot};

use crate::{
    Engine,
    call::Routed,
    estimate::Durations,
    gate::{SharedGate, Turn},
    places::{KEPT_BEYOND, Kept, KeptAt, Place, PlaceKey, REMEMBERED_MAX, Remembered},
    reserve::{Obstacle, Reserved},
    tasks::Begun,
    views::Told,
    work::{To, WaitingCall, Work},
};

/// The setting under which places are kept.
const PLACES: &str = "queue_places";

/// A place in a queue, for as long as its client is there. Dropped, it is given up.
#[derive(Debug)]
pub struct Waiting {
    engine: Arc<Engine>,
    gate: SharedGate,
    ticket: Ticket,
    since: Monotonic,
    key: PlaceKey,
    /// `None` once the turn was taken, or the place is kept for later.
    turn: Option<oneshot::Receiver<Turn>>,
    away: Arc<Notify>,
}

impl Engine {
    /// Lets a call wait for its turn, at the place that is kept for it if there is one. It may have
    /// its turn at once.
    pub fn wait(
        self: &Arc<Self>,
        routed: Box<Routed>,
        key: PlaceKey,
    ) -> Result<Waiting, (Box<Routed>, Obstacle)> {
        let now = self.now().mono;
        let kept = self.places.take(key, now);
        let since = kept.as_ref().map_or(now, |it| it.since);
        let since = since.min(routed.call.refused.since.unwrap_or(since));
        let (sender, receiver) = oneshot::channel();
        let shared = Arc::clone(&routed.gate);
        let away = Arc::<Notify>::default();
        let of_waiting = Arc::clone(&away);
        let waiting = |ticket, gate| Waiting {
            engine: Arc::clone(self),
            gate,
            ticket,
            since,
            key,
            turn: Some(receiver),
            away: of_waiting,
        };
        let routed = match kept.map(|it| it.place) {
            Some(Place::Ready(reserved)) if is_like(&reserved.routed, &routed) => {
                let turn = Turn::Reserved(Box::new(reserved.now_for(routed)));
                if let Err(Turn::Reserved(unused)) = sender.send(turn) {
                    self.give_back(unused.holding);
                }
                return Ok(waiting(Ticket::NONE, shared));
            }
            Some(Place::Queued(gate, ticket)) => {
                let mut locked = gate.lock();
                if let Some(call) = locked
                    .call_mut(ticket)
                    .filter(|it| is_like(&it.routed, &routed))
                {
                    call.routed = routed;
                    call.to = To::Client(sender);
                    (call.away, call.is_sent_away) = (away, false);
                    // Its turn may have come meanwhile, and gone to others.
                    locked.queue.resume(ticket);
                    drop(locked);
                    self.look(&gate);
                    return Ok(waiting(ticket, gate));
                }
                let _left = locked.leave(ticket);
                routed
            }
            Some(Place::Ready(other)) => {
                self.give_back(other.holding);
                routed
            }
            Some(Place::Remembered) | None => routed,
        };
        let entering = Entering {
            ask: routed.ask(),
            since,
            warm: routed.warm(),
        };
        let call = WaitingCall {
            routed,
            key,
            to: To::Client(sender),
            away,
            is_sent_away: false,
        };
        let ticket = entered(&shared, call, entering, now)?;
        self.look(&shared);
        Ok(waiting(ticket, shared))
    }

    /// Has clients that wait sent away, their places kept, until so many bytes of request bodies are
    /// given back: of the lowest class that waits the largest first. Says how many bytes that are.
    pub fn send_away(&self, bytes: u64) -> u64 {
        let mut freed = 0;
        while freed < bytes {
            let gates = self.gates.load();
            let largest = gates.values().filter_map(|gate| {
                let locked = gate.lock();
                let here = locked.waiters().filter_map(|(ticket, it)| {
                    let record = &it.work.call().filter(|it| it.is_here())?.routed.call.record;
                    Some((Reverse(record.priority), record.body_bytes, ticket))
                });
                here.max().map(|it| (it, Arc::clone(gate)))
            });
            let Some(((_, size, ticket), gate)) = largest.max_by_key(|it| it.0) else {
                break;
            };
            if let Some(call) = gate.lock().call_mut(ticket) {
                call.is_sent_away = true;
                call.away.notify_one();
            }
            freed += size.max(1);
        }
        freed
    }

    /// How long the answer to a call will probably take.
    pub fn durations(&self, routed: &Routed) -> Durations {
        let record = &routed.call.record;
        self.outputs.durations(&record.model_sent, record.class)
    }

    /// Whether a place is kept under that key, and on which platform, if that is known.
    pub fn kept_at(&self, key: PlaceKey) -> Option<KeptAt> {
        self.places.kept_at(key)
    }

    /// Whether any place is kept at all.
    pub fn keeps_places(&self) -> bool {
        !self.places.is_empty()
    }

    /// Ends the places whose clients did not come back.
    pub(crate) fn expire_places(&self) {
        for kept in self.places.expired(self.clock.monotonic()) {
            self.end_place(kept.place);
        }
    }

    /// Writes down who waits, so that a restart costs nobody its place.
    pub(crate) fn remember_places(&self) {
        let now = self.now();
        let mut all = self.places.remember(now);
        let gates: Vec<SharedGate> = self.gates.load().values().cloned().collect();
        for gate in gates {
            let gate = gate.lock();
            let here = gate.waiters().filter_map(|(ticket, it)| {
                let call = it.work.call()?;
                let since = gate.queue.get(ticket)?.since;
                matches!(call.to, To::Client(_)).then_some((call.key, since))
            });
            let until = now.mono.after(KEPT_BEYOND);
            let here = here.map(|(key, since)| Remembered::of(key, since, until, now));
            all.extend(here.take(REMEMBERED_MAX.saturating_sub(all.len())));
        }
        // Most of the time nobody waits: then there is nothing to write either.
        if self.places.is_written(all.is_empty()) {
            return;
        }
        let bytes = serde_json::to_vec(&all).unwrap_or_default();
        if let Err(unwritten) = self.keep_setting(PLACES, &bytes) {
            self.writer.health().failed(&unwritten);
        }
    }

    /// Takes over the places of an earlier run.
    pub(crate) fn recall_places(&self) -> Result<(), StoreError> {
        let kept = self.setting(PLACES)?;
        // What can't be read was written by another version: its clients wait anew.
        let kept = kept.and_then(|it| serde_json::from_slice::<Vec<Remembered>>(&it).ok());
        self.places.restore(&kept.unwrap_or_default(), self.now());
        Ok(())
    }

    pub(crate) fn end_place(&self, place: Place) {
        match place {
            Place::Queued(gate, ticket) => {
                let _left = gate.lock().leave(ticket);
                self.look(&gate);
            }
            Place::Ready(reserved) => self.give_back(reserved.holding),
            Place::Remembered => {}
        }
    }
}

impl Waiting {
    /// Waits for the turn. Asked again after it has come, it never comes.
    pub async fn turn(&mut self) -> Turn {
        if let Some(receiver) = &mut self.turn
            && let Ok(turn) = receiver.await
        {
            self.turn = None;
            return turn;
        }
        std::future::pending().await
    }

    /// Notified when its client has to be sent away, so that others have room.
    pub fn away(&self) -> Arc<Notify> {
        Arc::clone(&self.away)
    }

    /// The turn, if it has come already.
    pub fn turn_now(&mut self) -> Option<Turn> {
        let turn = self.turn.as_mut()?.try_recv().ok()?;
        self.turn = None;
        Some(turn)
    }

    /// Where the call stands and how long it will probably wait. `None`: it waits no longer.
    pub fn outlook(&self) -> Option<Outlook> {
        let now = self.engine.clock.monotonic();
        let mut gate = self.gate.lock();
        let outlook = gate.queue.outlook(self.ticket, &gate.pool, now)?;
        gate.queue.told(self.ticket, outlook);
        Some(outlook)
    }

    /// What keeps it waiting, for its sender. `None`: it waits no longer.
    pub fn told(&self) -> Option<Told> {
        let (platform, spender, obstacle) = {
            let now = self.engine.now();
            let mut gate = self.gate.lock();
            let waiter = gate.waiter(self.ticket)?;
            let (platform, ask) = (Arc::clone(waiter.work.platform()), waiter.work.ask());
            let spender = waiter.work.spender();
            let other = waiter.obstacle(self.engine.holds.wait(), now.mono);
            let obstacle = other.unwrap_or_else(|| gate.obstacle(&ask, now));
            (platform, spender, obstacle)
        };
        Some(self.engine.explain(&platform, &spender, obstacle))
    }

    /// For how long its provider would refuse it at least, where it would.
    pub fn cooling(&self) -> Option<Duration> {
        let mut gate = self.gate.lock();
        let call = gate.call_mut(self.ticket)?;
        let now = self.engine.clock.monotonic();
        let cooldown = self.engine.standing.wait(&call.routed, now)?;
        Some(cooldown.left)
    }

    /// How long it has waited, what it waited before it was sent away included.
    pub fn waited(&self) -> Duration {
        self.engine.clock.monotonic().since(self.since)
    }

    /// Keeps the place for when the client comes back, that long after it was told to. Gives back
    /// the record of this try; `Err`: the turn has come meanwhile.
    pub async fn keep(mut self, back_in: Duration) -> Result<Box<CallRecord>, Turn> {
        let engine = Arc::clone(&self.engine);
        let until = engine.clock.monotonic().after(back_in).after(KEPT_BEYOND);
        let kept = {
            let mut gate = self.gate.lock();
            gate.call_mut(self.ticket).map(|call| {
                call.to = To::Kept;
                self.turn = None;
                let kept = Kept {
                    at: KeptAt::Platform(Arc::clone(&call.routed.platform.name)),
                    since: self.since,
                    until,
                    place: Place::Queued(Arc::clone(&self.gate), self.ticket),
                };
                let record = call.routed.call.record.clone();
                (record, engine.places.keep(self.key, kept))
            })
        };
        let Some((record, replaced)) = kept else {
            // It is on its way.
            return Err(self.turn().await);
        };
        // Another request of the same body was kept, or there is no room: that one loses its place.
        if let Some(lost) = replaced {
            engine.end_place(lost.place);
        }
        Ok(record)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(mut receiver) = self.turn.take() else {
            return;
        };
        receiver.close();
        let routed = match receiver.try_recv() {
            Ok(Turn::Reserved(reserved)) => {
                self.engine.give_back(reserved.holding);
                Some(reserved.routed)
            }
            Ok(Turn::Refused(routed, _)) => Some(routed),
            Err(_) => {
                let left = self.gate.lock().leave(self.ticket);
                self.engine.look(&self.gate);
                left.and_then(|it| match it.work {
                    Work::Call(call) => Some(call.routed),
                    Work::Admission(..) => None,
                })
            }
        };
        // Its client has gone while it waited.
        if let Some(routed) = routed {
            let mut record = routed.call.record;
            record.outcome = Outcome::ClientGone;
            record.phases.wait = micros(self.waited());
            self.engine.finish(record);
        }
    }
}

/// Lets a call wait, unless its task is called off.
fn entered(
    gate: &SharedGate,
    call: WaitingCall,
    entering: Entering,
    now: Monotonic,
) -> Result<Ticket, (Box<Routed>, Obstacle)> {
    // Under the lock under which those of a task that is called off are taken out.
    let mut gate = gate.lock();
    if call.routed.is_called_off() {
        return Err((call.routed, Obstacle::TaskCancelled));
    }
    let Ok(ticket) = gate.enter(entering, now) else {
        return Err((call.routed, Obstacle::QueueFull));
    };
    if let Some(pause) = call.routed.call.refused.pause {
        // Its provider would refuse it until then, whatever the buckets say.
        gate.queue.set_aside(ticket, Some(now.after(pause)));
    }
    call.routed.call.ongoing.now(Begun::Waiting);
    gate.seat(ticket, Work::Call(call));
    Ok(ticket)
}

/// Whether the call that came back asks for the same as the one that was kept. One with another
/// output cap keeps its age alone: what was set aside, or is waited for, is not what it needs.
fn is_like(kept: &Routed, back: &Routed) -> bool {
    let (ours, theirs) = (kept.ask(), back.ask());
    ours.priority == theirs.priority
        && ours.user == theirs.user
        && ours.caller == theirs.caller
        && Arc::ptr_eq(&kept.gate, &back.gate)
        && kept.cap == back.cap
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Reserved {
    /// What was set aside for a call, for the same call that has come back.
    fn now_for(self, routed: Box<Routed>) -> Self {
        Self { routed, ..self }
    }
}
