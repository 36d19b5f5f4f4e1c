//! A reserved call on its way out: booked, then let go.

use std::sync::Arc;

use tidegate_admission::Note;
use tidegate_ledger::{CallEntry, Event};
use tidegate_observe::{calls::WouldWait, event};
use tidegate_types::{ReservationId, Tokens};

use super::InFlight;
use crate::{
    Engine, account,
    books::{Beginning, binds},
    call::{Moment, Routed},
    reserve::{Found, Reserved},
    tasks::Begun,
};

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

/// A reserved call whose beginning is on its way into the journal. It may go once it is there.
#[derive(Debug)]
#[must_use = "what is neither sent nor ended stays held"]
pub struct Sending {
    engine: Arc<Engine>,
    reserved: Reserved,
    reservation: ReservationId,
    now: Moment,
    /// None where the store fails: entries would pile up, so that until it writes again nothing is
    /// booked.
    beginning: Option<Beginning>,
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
        let (path, holding) = (reserved.routed.path.entry(), &reserved.holding);
        let writable = self.writer.health().is_writable();
        if writable && let Err(uncovered) = self.cover(path, holding.enforced(), holding.bound()) {
            self.give_back(reserved.holding);
            return Err((
                reserved.routed,
                Unbookable::Uncovered(uncovered.to_string()),
            ));
        }
        self.begin_sending(reserved, now, writable).sent()
    }

    /// The same in two steps, for those who must not wait for the store, and have others to let go
    /// before they wait for the journal. `Err` gives back what would have to: [`Self::send`] does
    /// that.
    #[expect(
        clippy::result_large_err,
        reason = "moved on at once, into a thread that may wait"
    )]
    pub fn send_at_once(
        self: &Arc<Self>,
        reserved: Reserved,
        now: Moment,
    ) -> Result<Sending, Reserved> {
        let (path, holding) = (reserved.routed.path.entry(), &reserved.holding);
        let writable = self.writer.health().is_writable();
        if writable && !self.covers_at_once(path, holding.enforced(), holding.bound()) {
            return Err(reserved);
        }
        Ok(self.begin_sending(reserved, now, writable))
    }

    /// Queues the beginning of a call for the journal. Leases cover it, unless the store fails.
    fn begin_sending(self: &Arc<Self>, reserved: Reserved, now: Moment, writable: bool) -> Sending {
        let reservation = self.ids.next(now.wall);
        let Reserved {
            routed, holding, ..
        } = &reserved;
        let beginning = writable.then(|| {
            let entry = CallEntry {
                reservation,
                ordinal: 0,
                at: now.wall,
                path: Arc::clone(routed.path.entry()),
                enforced: holding.enforced(),
                event: Event::Reserve {
                    bound: holding.bound(),
                    expected: routed.expected.min(holding.bound()),
                    would_refuse: reserved.found.would_refuse,
                    asked: None,
                },
            };
            self.queue_reserve(entry, &routed.platform.name, &routed.need)
        });
        Sending {
            engine: Arc::clone(self),
            reserved,
            reservation,
            now,
            beginning,
        }
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

impl Sending {
    /// Waits until its beginning is in the journal, unless it is already, and lets the call go.
    pub fn sent(self) -> Result<InFlight, (Box<Routed>, Unbookable)> {
        let Self {
            engine,
            reserved,
            reservation,
            now,
            beginning,
        } = self;
        let Reserved {
            mut routed,
            holding,
            sizes,
            found,
            cap,
        } = reserved;
        let path = Arc::clone(routed.path.entry());
        let booked = beginning.is_some_and(|it| {
            let booked = engine.booked(it).is_ok();
            if !booked {
                engine.uncover(&path, holding.enforced(), holding.bound());
            }
            booked
        });
        if !booked {
            if binds(&routed, &holding) {
                engine.give_back(holding);
                return Err((routed, Unbookable::Unwritable));
            }
            let call = routed.call.record.id;
            engine.report(&event::CallUnbooked { call });
        }
        routed.note_first_sent();
        let record = &mut routed.call.record;
        record.reservation = Some(reservation);
        record.bound = holding.bound();
        record.max_tokens_sent = cap.or(record.max_tokens_asked);
        engine.note(&mut routed, &found);
        let lowered = cap.zip(found.capped_by.map(tidegate_ledger::LevelKind::word));
        engine.tell(&routed, &found, lowered);
        routed.call.ongoing.now(Begun::Sent);
        Ok(InFlight {
            _counted: engine.registry.open_calls.with([]).hold(),
            engine,
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
}
