//! A call on its way: journaled, sent, and settled exactly once, however it ends.

mod charge;
mod sending;

use std::{sync::Arc, time::Duration};

use tidegate_ledger::{CallEntry, Entry, EntryPath, Event, Line, SettledMoney, Settlement};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    event,
    metrics::{Held, Registry},
};
use tidegate_providers::{Metered, accounting::Counted};
use tidegate_types::{Monotonic, NanoUsd, ReservationId, Tokens};

pub use crate::books::ToJournal;
use crate::{
    Engine, account,
    call::{Identified, Moment, Routed},
    estimate::Seen,
    gate::Gate,
    heard::Trying,
    reserve::Holding,
    sessions::Proven,
    tasks::Begun,
};
use charge::Charge;
pub use sending::{Sending, Unbookable};
use tidegate_admission::{Need, Resource, Short, Sizes, Taken};

/// A call that was sent, or is about to be.
#[derive(Debug)]
pub struct InFlight {
    pub(crate) engine: Arc<Engine>,
    /// The call, where it went, and what it costs there.
    pub routed: Box<Routed>,
    holding: Holding,
    reservation: ReservationId,
    /// Its beginning is in the journal; else its end must not be either.
    booked: bool,
    path: Arc<EntryPath>,
    /// The output cap that was sent, where it was lowered, and by which limit.
    pub lowered: Option<(Tokens, &'static str)>,
    /// How large its answer may become.
    pub sizes: Sizes,
    pub(crate) sent_at: Moment,
    first_byte_at: Option<Moment>,
    /// Its provider refused it because of its rate, and when it would have let it through.
    refused_for: Option<Duration>,
    _counted: Held,
}

/// How often a call is tried again that its provider refused because of its rate: each time more is known of
/// what it takes.
const REFUSALS_MAX: u32 = 5;

/// For how long it is then set aside at the longest. What it lacks beyond that is kept for it in its turn.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How a call ended.
#[derive(Debug)]
pub struct End {
    /// In a word.
    pub outcome: Outcome,
    /// The status the client got; 0 for none.
    pub status: u16,
    /// What was read of the answer, if any came.
    pub metered: Option<Metered>,
    /// Bytes of the answer that were passed on.
    pub answer_bytes: u64,
    /// The provider's own id of the request.
    pub request_id: Option<Arc<str>>,
}

impl Engine {
    /// Reports what a settlement did that somebody should know.
    pub(crate) fn tell_settled(
        &self,
        reservation: ReservationId,
        settled: &SettledMoney,
        (platform, held, cause): (&str, NanoUsd, &str),
    ) {
        if !settled.overrun.is_zero() {
            self.report(&event::Overrun {
                reservation,
                platform,
                held,
                overrun: settled.overrun,
                cause,
            });
        }
        for level in &settled.soft_crossed {
            let limit = level.word();
            self.report(&event::SoftLimitSpent { reservation, limit });
        }
        for crossing in &settled.crossed {
            self.report_reached(Some(reservation), crossing);
        }
    }
}

impl InFlight {
    /// The call's record, as far as it is written.
    pub fn record(&self) -> &CallRecord {
        &self.routed.call.record
    }

    /// The record, to write into.
    pub fn record_mut(&mut self) -> &mut CallRecord {
        &mut self.routed.call.record
    }

    /// When it was sent.
    pub(crate) const fn sent_at(&self) -> Moment {
        self.sent_at
    }

    /// Runs `act` on what it holds of its platform's buckets.
    pub(crate) fn with_taken<T>(&self, act: impl FnOnce(&mut Gate, &Taken) -> T) -> Option<T> {
        self.holding.with_taken(act)
    }

    /// Its provider refused it because a bucket that we know is short of what it takes.
    pub(crate) fn was_refused(&mut self, short: Short, wait: Option<Duration>) {
        let waited = Duration::from_micros(self.record().phases.wait);
        let began = Monotonic(self.sent_at.mono.0.saturating_sub(nanos(waited)));
        let refused = &mut self.routed.call.refused;
        refused.since.get_or_insert(began);
        refused.count += 1;
        if matches!(short.resource, Resource::InputTokens | Resource::Tokens) {
            refused.input_at_least = refused.input_at_least.max(short.need);
        }
        refused.pause = wait.map(|it| it.min(PAUSE_MAX));
        if refused.count <= REFUSALS_MAX {
            self.refused_for = wait;
        }
    }

    /// In how long its provider would let it through, where it refused it for want of what the platform's
    /// buckets count: then it can wait for its turn [again](Self::again), instead of its client.
    pub const fn waits_again(&self) -> Option<Duration> {
        self.refused_for
    }

    /// Ends a try that its provider refused, and gives the call back for the next.
    pub fn again(self, end: &End) -> Box<Identified> {
        let (mut routed, charge, ..) = self.close(end);
        charge.write(&mut routed.call.record);
        routed.call
    }

    /// That it tries whether its provider serves again, if it is the one that does.
    pub(crate) const fn take_trying(&mut self) -> Option<Trying> {
        self.holding.take_trying()
    }

    /// The reservation that pays for it.
    pub const fn reservation(&self) -> ReservationId {
        self.reservation
    }

    /// The program's instruments.
    pub fn registry(&self) -> &Registry {
        &self.engine.registry
    }

    /// Counts and logs a fact about the call.
    pub fn report<E: event::Event>(&self, event: &E) {
        self.engine.report(event);
    }

    /// Says that the provider has begun to answer.
    pub fn first_byte(&mut self, now: Moment) {
        self.first_byte_at.get_or_insert(now);
        self.routed.call.ongoing.now(Begun::Answering);
    }

    /// Ends the call: books what it cost, gives back what it did not, remembers what it proved.
    /// Returns its finished record.
    pub fn settle(self, end: End) -> Arc<CallRecord> {
        self.settle_queued(end).0
    }

    /// The same, for those who have others to let go before they wait for the journal.
    pub fn settle_queued(self, end: End) -> (Arc<CallRecord>, ToJournal) {
        let engine = Arc::clone(&self.engine);
        let (sent_at, first_byte_at) = (self.sent_at, self.first_byte_at);
        let (routed, charge, now, to_journal) = self.close(&end);
        let mut record = routed.call.record;
        let before = record.cost;
        charge.write(&mut record);
        let first = routed.call.first_sent.as_ref();
        engine.look_at_cost(&mut record, first, (charge.cost, before), now);
        if end.outcome == Outcome::ClientGone {
            engine.report(&event::ClientGone {
                call: record.id,
                answer_bytes: end.answer_bytes,
            });
        }
        record.status = end.status;
        record.outcome = end.outcome;
        record.answer_bytes = end.answer_bytes;
        record.request_id = end.request_id.map(|it| engine.without_secrets(&it));
        let first = first_byte_at.unwrap_or(now);
        record.phases.first_byte = micros(first.mono.since(sent_at.mono));
        record.phases.stream = micros(now.mono.since(first.mono));
        record.phases.settle = micros(engine.now().mono.since(now.mono));
        (engine.finish(record), to_journal)
    }

    /// Ends a try that another platform is to make good, and gives the call back for that. What the
    /// try cost is booked; the call has one record, at its end.
    pub fn abandon(self, end: &End) -> Box<Identified> {
        let (mut routed, charge, ..) = self.close(end);
        charge.write(&mut routed.call.record);
        let platform = Arc::clone(&routed.platform.name);
        routed.call.record.tried.push(platform);
        routed.call
    }

    /// Ends a try of which nothing was sent, and gives the call back for another: nothing is owed.
    pub fn unsent(self) -> Box<Identified> {
        let mut routed = self.give_back();
        let platform = Arc::clone(&routed.platform.name);
        routed.call.record.tried.push(platform);
        routed.call
    }

    /// Ends a call of which nothing was sent: nothing is owed. Returns its finished record.
    pub fn release(self, outcome: Outcome) -> Arc<CallRecord> {
        let engine = Arc::clone(&self.engine);
        let routed = self.give_back();
        // It runs for its task until its record is there.
        let mut record = routed.call.record;
        record.outcome = outcome;
        engine.finish(record)
    }

    /// Gives everything back as if it had never been taken.
    fn give_back(self) -> Box<Routed> {
        let now = self.engine.now();
        let entry = CallEntry {
            reservation: self.reservation,
            ordinal: 1,
            at: now.wall,
            path: Arc::clone(&self.path),
            enforced: self.holding.enforced(),
            event: Event::Release {
                held: self.holding.bound(),
                reason: "nothing was sent".to_owned(),
            },
        };
        let engine = self.engine;
        let line = self.booked.then(|| Line::new(Entry::Call(entry)));
        let ended = self.holding.end(
            now.mono,
            |gate, taken| gate.release(taken, now.mono),
            |books, hold| {
                books.release(hold);
                if let Some(line) = line {
                    engine.book(line);
                }
            },
        );
        engine.journal();
        let _nothing = engine.after(ended);
        self.routed
    }

    fn close(self, end: &End) -> (Box<Routed>, Charge, Moment, ToJournal) {
        let now = self.engine.now();
        let cap = self.lowered.map_or(self.routed.cap, |(cap, _)| cap);
        let charge = Charge::of(&self.routed, end, self.first_byte_at.is_some(), cap);
        let settlement = Settlement {
            held: self.holding.bound(),
            cost: charge.cost,
            notional: charge.notional,
            estimated: charge.estimated,
            cause: charge.cause.map(str::to_owned),
            usage: charge.usage,
            platform: Arc::clone(&self.routed.platform.name),
            model: Arc::clone(&self.routed.call.record.model_sent),
            price_version: Arc::clone(&self.routed.price.version),
        };
        let entry = CallEntry {
            reservation: self.reservation,
            ordinal: 1,
            at: now.wall,
            path: Arc::clone(&self.path),
            enforced: self.holding.enforced(),
            event: Event::Settle(Box::new(settlement)),
        };
        let actual = self.actual(&charge);
        let Self {
            engine,
            mut routed,
            mut holding,
            reservation,
            booked,
            sizes,
            sent_at,
            first_byte_at,
            ..
        } = self;
        engine.tell_sizes(
            &mut routed.call.record,
            &sizes,
            end,
            now.mono.since(sent_at.mono),
        );
        holding.uses(charge.usage.as_ref().map_or(0, account::quota_tokens));
        let line = booked.then(|| Line::new(Entry::Call(entry)));
        let ended = holding.end(
            now.mono,
            |gate, taken| gate.settle(taken, &actual, now.mono),
            |books, hold| {
                let settled = books.settle(hold, charge.cost, charge.notional);
                engine.tell_crossed(&settled.crossed);
                if let Some(line) = line {
                    engine.book(line);
                }
                settled
            },
        );
        if let Some(settled) = engine.after(ended) {
            let held = routed.call.record.bound;
            let cause = charge.cause.unwrap_or("usage above the bound");
            let of = (&*routed.platform.name, held, cause);
            engine.tell_settled(reservation, &settled, of);
        }
        let list = charge.cost.saturating_add(charge.notional);
        engine.standing.spend(&routed, list);
        engine.holds.learn(now.mono.since(sent_at.mono));
        let times = (sent_at, first_byte_at.unwrap_or(now), now);
        learn(&routed, &engine, &charge, times);
        (routed, charge, now, ToJournal::until_now(engine))
    }

    /// What the provider's limits really counted.
    fn actual(&self, charge: &Charge) -> Need {
        let family = self.routed.platform.family;
        let counted = match &charge.usage {
            Some(usage) => family.accounting().settled(usage),
            None => Counted {
                requests: 1,
                ..Counted::default()
            },
        };
        Need {
            units: self.routed.need.units,
            nano_usd: charge.cost.0,
            requests: counted.requests,
            input_tokens: counted.input_tokens,
            output_tokens: counted.output_tokens,
            tokens: counted.tokens,
        }
    }
}

/// Exact totals make the next call of the conversation exact but for what is new in it.
fn learn(
    routed: &Routed,
    engine: &Engine,
    charge: &Charge,
    (sent, first_byte, now): (Moment, Moment, Moment),
) {
    let call = &routed.call;
    if let (Some(usage), false) = (&charge.usage, charge.estimated) {
        let proven = Proven {
            body_bytes: call.record.body_bytes,
            total: usage.total(),
            at: first_byte.mono,
        };
        engine.sessions.learn(&call.tracked, call.thread, proven);
        let seen = Seen {
            output: usage.output,
            first_byte: first_byte.mono.since(sent.mono),
            whole: now.mono.since(sent.mono),
        };
        engine
            .outputs
            .learn(&call.record.model_sent, call.record.class, &seen);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
