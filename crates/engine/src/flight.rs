//! A call on its way: journaled, sent, and settled exactly once, however it ends.

mod charge;

use std::{sync::Arc, time::Duration};

use tidegate_ledger::{CallEntry, Entry, EntryPath, Event, Line, SettledMoney, Settlement};
use tidegate_observe::{
    calls::{CallRecord, Outcome, WouldWait},
    event,
    metrics::{Held, Registry},
};
use tidegate_providers::{Metered, accounting::Counted};
use tidegate_types::{Monotonic, NanoUsd, ReservationId, Tokens};

use crate::{
    Engine, account,
    books::binds,
    call::{Identified, Moment, Routed},
    estimate::Seen,
    gate::Gate,
    heard::Trying,
    reserve::{Found, Holding, Reserved},
    sessions::Proven,
    tasks::Begun,
};
use charge::Charge;
use tidegate_admission::{Need, Note, Resource, Short, Sizes, Taken};

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

impl End {
    /// The end of a call of which nothing was sent.
    #[must_use]
    pub const fn unsent() -> Self {
        Self {
            outcome: Outcome::UpstreamUnreachable,
            status: 0,
            metered: None,
            answer_bytes: 0,
            request_id: None,
        }
    }
}

/// A call that a limit binds could not be booked in a way that survives what may come.
#[derive(Debug, thiserror::Error)]
pub enum Unbookable {
    /// It could not be journaled.
    #[error(
        "the ledger can't be written, so nothing that it limits can be sent: see `tidegate status`"
    )]
    Unwritable,
    /// No lease covers it.
    #[error("{0}")]
    Uncovered(String),
}

impl Engine {
    /// Journals a reservation, so that it survives whatever happens to us, and lets the call go.
    ///
    /// Where the journal can't be written, calls that no enforced limit binds go on and are
    /// counted; the others end here, with everything given back.
    ///
    /// May wait up to two seconds for the store, where a lease has to be granted first.
    pub fn send(
        self: &Arc<Self>,
        reserved: Reserved,
        now: Moment,
    ) -> Result<InFlight, (Box<Routed>, Unbookable)> {
        self.sent(reserved, now, false)
    }

    /// The same for those who must not wait for the store. `Err` gives back what would have to:
    /// [`Self::send`] does that.
    #[expect(
        clippy::result_large_err,
        reason = "moved on at once, into a thread that may wait"
    )]
    pub fn send_at_once(
        self: &Arc<Self>,
        reserved: Reserved,
        now: Moment,
    ) -> Result<Result<InFlight, (Box<Routed>, Unbookable)>, Reserved> {
        let Reserved {
            routed, holding, ..
        } = &reserved;
        let writable = self.writer.health().is_writable();
        let path = routed.path.entry();
        if writable && !self.covers_at_once(path, holding.enforced(), holding.bound()) {
            return Err(reserved);
        }
        Ok(self.sent(reserved, now, writable))
    }

    fn sent(
        self: &Arc<Self>,
        reserved: Reserved,
        now: Moment,
        covered: bool,
    ) -> Result<InFlight, (Box<Routed>, Unbookable)> {
        let Reserved {
            mut routed,
            holding,
            sizes,
            found,
            cap,
        } = reserved;
        let reservation = self.ids.next(now.wall);
        let path = Arc::clone(routed.path.entry());
        let entry = CallEntry {
            reservation,
            ordinal: 0,
            at: now.wall,
            path: Arc::clone(&path),
            enforced: holding.enforced(),
            event: Event::Reserve {
                bound: holding.bound(),
                expected: routed.expected.min(holding.bound()),
                would_refuse: found.would_refuse,
            },
        };
        // A store that fails would let entries pile up: until it writes again, nothing is booked.
        let writable = self.writer.health().is_writable();
        if writable
            && !covered
            && let Err(uncovered) = self.cover(&path, holding.enforced(), holding.bound())
        {
            self.give_back(holding);
            return Err((routed, Unbookable::Uncovered(uncovered.to_string())));
        }
        let booked = writable
            && self
                .book_reserve(entry, &routed.platform.name, &routed.need)
                .is_ok();
        if (writable || covered) && !booked {
            self.uncover(&path, holding.enforced(), holding.bound());
        }
        if !booked {
            if binds(&routed, &holding) {
                self.give_back(holding);
                return Err((routed, Unbookable::Unwritable));
            }
            let call = routed.call.record.id;
            self.report(&event::CallUnbooked { call });
        }
        routed.note_first_sent();
        let record = &mut routed.call.record;
        record.reservation = Some(reservation);
        record.bound = holding.bound();
        record.max_tokens_sent = cap.or(record.max_tokens_asked);
        self.note(&mut routed, &found);
        let lowered = cap.zip(found.capped_by.map(tidegate_ledger::LevelKind::word));
        self.tell(&routed, &found, lowered);
        routed.call.ongoing.now(Begun::Sent);
        Ok(InFlight {
            _counted: self.registry.open_calls.with([]).hold(),
            engine: Arc::clone(self),
            routed,
            holding,
            reservation,
            path,
            lowered,
            sizes,
            booked,
            sent_at: now,
            first_byte_at: None,
            refused_for: None,
        })
    }

    /// Puts into words what the reservation found, for the record and its reader.
    fn note(&self, routed: &mut Routed, found: &Found) {
        let record = &mut routed.call.record;
        for note in &found.notes {
            match note {
                Note::WouldWait { bucket, wait, .. } => {
                    let limit = self.bucket_name(&routed.platform, *bucket);
                    let wait_ms = wait.at_least().as_millis();
                    record.would_wait = Some(WouldWait {
                        limit,
                        wait_ms: u64::try_from(wait_ms).unwrap_or(u64::MAX),
                    });
                }
                Note::WouldRefuse { bucket } => {
                    let limit = self.bucket_name(&routed.platform, *bucket);
                    record.would_refuse.push(limit);
                }
                Note::Overdraft { .. } | Note::Penalised { .. } => {
                    record.warnings.push(note.to_string().into());
                }
            }
        }
        let quotas = found.quotas.iter();
        let quotas = quotas.map(|(scope, kind)| account::name(scope, kind).into());
        record.would_refuse.extend(quotas);
        for level in routed.path.entry().kinds() {
            if found.would_refuse.contains(level) {
                record.would_refuse.push(level.word().into());
            }
            if found.soft_passed.contains(level) {
                record
                    .warnings
                    .push(format!("soft limit {level} passed").into());
            }
            if found.overage.contains(level) {
                record
                    .warnings
                    .push(format!("limit {level} passed, as allowed").into());
            }
        }
    }
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
        for crossing in &settled.crossed {
            self.report_reached(Some(reservation), crossing);
        }
    }

    /// Reports what is unusual about a call that goes.
    fn tell(&self, routed: &Routed, found: &Found, lowered: Option<(Tokens, &'static str)>) {
        let record = &routed.call.record;
        let call = record.id;
        if let Some((Tokens(sent), limit)) = lowered {
            let asked = record.max_tokens_asked.map_or(routed.cap.0, |it| it.0);
            self.report(&event::MaxTokensLowered {
                call,
                limit,
                asked,
                sent,
            });
        }
        if !routed.price.known && routed.is_charged() {
            self.report(&event::PriceUnknown {
                provider: &routed.platform.provider,
                model: &record.model_sent,
                charged_as: &routed.price.row,
            });
        }
        if let Some(WouldWait { limit, wait_ms }) = &record.would_wait {
            let would_wait = Some(wait_ms.div_ceil(1_000));
            self.report(&event::LimitWatched {
                call,
                limit,
                would_wait,
            });
        }
        for limit in &record.would_refuse {
            self.report(&event::LimitWatched {
                call,
                limit,
                would_wait: None,
            });
        }
        for level in routed.path.entry().kinds() {
            let limit = level.word();
            if found.soft_passed.contains(level) {
                self.report(&event::SoftLimitPassed { call, limit });
            }
            if found.soft_crossed.contains(level) {
                self.report(&event::SoftLimitCrossed { call, limit });
            }
            if found.overage.contains(level) {
                self.report(&event::OverageUsed { call, limit });
            }
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
        let (mut routed, charge, _now) = self.close(end);
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
        let engine = Arc::clone(&self.engine);
        let (sent_at, first_byte_at) = (self.sent_at, self.first_byte_at);
        let (routed, charge, now) = self.close(&end);
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
        engine.finish(record)
    }

    /// Ends a try that another platform is to make good, and gives the call back for that. What the
    /// try cost is booked; the call has one record, at its end.
    pub fn abandon(self, end: &End) -> Box<Identified> {
        let (mut routed, charge, _now) = self.close(end);
        charge.write(&mut routed.call.record);
        let platform = Arc::clone(&routed.platform.name);
        routed.call.record.tried.push(platform);
        routed.call
    }

    /// Ends a call of which nothing was sent, and so nothing is owed, and gives everything back as
    /// if it had never been taken. Returns its finished record.
    pub fn release(self, outcome: Outcome) -> Arc<CallRecord> {
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
        let mut record = self.routed.call.record;
        record.outcome = outcome;
        engine.finish(record)
    }

    fn close(self, end: &End) -> (Box<Routed>, Charge, Moment) {
        let now = self.engine.now();
        let charge = Charge::of(&self.routed, end, self.first_byte_at.is_some());
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
        engine.journal();
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
        (routed, charge, now)
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
