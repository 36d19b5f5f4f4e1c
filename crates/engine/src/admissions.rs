//! Reservations held for others: those who asked before they act, and those a crash left open.

mod asking;
mod correct;
mod extend;
mod shapes;
pub(crate) mod sought;
mod tasks;
mod waits;

use std::{collections::HashMap, sync::Arc, time::Duration};

pub use correct::{Corrected, CorrectionError};
pub use shapes::{Actual, AdmissionAsk, AdmissionError, Admitted, NotAdmitted, ReservationView};
pub use waits::{
    AdmissionView, Answer, HOLD_DEFAULT, HOLD_MAX, Outcome, Patience, WAIT_DEFAULT, WAIT_MAX,
};
pub(crate) use waits::{Decided, Waits};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidegate_admission::Need;
use tidegate_ledger::{CallEntry, Entry, EntryPath, Event, LevelKind, Line, Settlement};
use tidegate_observe::{audit::Action, event};
use tidegate_types::{Monotonic, NanoUsd, ReservationId, Timestamp};

use crate::{Engine, account, identity::Principal, keys::Change, reserve::Holding};

/// Reservations open at once for those who ask. Each has about 1 KiB.
const OPEN_MAX: usize = 200_000;

/// The longest that one may be announced to take; `extend` goes on from there.
pub const LIFE_MAX: Duration = Duration::from_hours(24);

/// Why a settlement is above its hold: its holder says so.
const OVERRUN: &str = "settled above its hold";

/// A reservation that is not tied to a call in flight.
#[derive(Debug)]
pub struct OpenReservation {
    holding: Holding,
    path: Arc<EntryPath>,
    next_ordinal: u32,
    expires: Timestamp,
    unknown: bool,
    platform: Arc<str>,
    need: Need,
    /// Since when it holds; `None` for one of an earlier run.
    since: Option<Monotonic>,
}

impl OpenReservation {
    /// One of an earlier run: until when it stays, and whether nobody knows what became of it.
    pub(crate) fn adopted(
        holding: Holding,
        open: tidegate_ledger::OpenReservation,
        (expires, unknown): (Timestamp, bool),
    ) -> Self {
        let platform = open.asked.map(|it| it.platform);
        Self {
            holding,
            path: open.path,
            next_ordinal: open.next_ordinal,
            expires,
            unknown,
            platform: platform.unwrap_or_else(|| "unknown".into()),
            need: Need::default(),
            since: None,
        }
    }

    /// Until when it lasts if it is to last that much longer from now.
    fn lasts_until(&self, now: Timestamp, longer: Duration) -> Timestamp {
        self.expires.max(now.after(longer.min(LIFE_MAX)))
    }

    /// Makes it last that much longer from now, unless it does anyway. Says until when.
    fn last_until(&mut self, now: Timestamp, longer: Duration) -> Timestamp {
        self.expires = self.lasts_until(now, longer);
        self.expires
    }

    fn view(&self, id: ReservationId) -> ReservationView {
        ReservationView {
            id,
            path: Arc::clone(&self.path),
            held: self.holding.bound(),
            expires_at: self.expires,
            unknown: self.unknown,
        }
    }
}

/// The open reservations.
#[derive(Debug, Default)]
pub struct Open(Mutex<HashMap<ReservationId, OpenReservation, RandomState>>);

impl Drop for Open {
    fn drop(&mut self) {
        for (_, open) in self.0.get_mut().drain() {
            open.holding.leave();
        }
    }
}

impl Open {
    pub(crate) fn put(&self, id: ReservationId, open: OpenReservation) {
        self.0.lock().insert(id, open);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }

    fn is_full(&self) -> bool {
        self.0.lock().len() >= OPEN_MAX
    }

    pub(crate) fn unknown(&self) -> usize {
        self.0.lock().values().filter(|it| it.unknown).count()
    }

    pub(crate) fn view(&self, id: ReservationId) -> Option<ReservationView> {
        self.0.lock().get(&id).map(|it| it.view(id))
    }

    /// Those whose path is wanted, oldest first.
    pub(crate) fn views(&self, wanted: impl Fn(&EntryPath) -> bool) -> Vec<ReservationView> {
        let mut views: Vec<_> = {
            let all = self.0.lock();
            let wanted = all.iter().filter(|(_, it)| wanted(&it.path));
            wanted.map(|(id, it)| it.view(*id)).collect()
        };
        views.sort_by_key(|it| it.id);
        views
    }
}

impl Engine {
    /// Ends a reservation with what it cost and used, by its holder's or an operator's word.
    ///
    /// While nothing can be written down it stays open, and is to be settled later.
    pub fn settle_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
        actual: Actual,
    ) -> Result<NanoUsd, AdmissionError> {
        self.must_be_writable()?;
        let open = self.take(principal, id)?;
        let held = open.holding.bound();
        let cost = actual.cost.unwrap_or(held);
        let by_operator = open.unknown;
        let settlement = Settlement {
            held,
            cost,
            notional: NanoUsd::ZERO,
            estimated: actual.cost.is_none(),
            cause: match (by_operator, cost > held) {
                (true, _) => Some("settled while unknown".to_owned()),
                (false, true) => Some(OVERRUN.to_owned()),
                (false, false) => None,
            },
            usage: actual.usage,
            platform: Arc::clone(&open.platform),
            model: self.without_secrets(&actual.model.unwrap_or_default()),
            price_version: Arc::default(),
        };
        let need = Need {
            units: actual.tokens.unwrap_or(open.need.units),
            nano_usd: cost.0,
            ..open.need
        };
        self.end(
            id,
            open,
            Event::Settle(Box::new(settlement)),
            cost,
            Some(&need),
        );
        if by_operator {
            self.report(&event::UnknownSettled {
                reservation: id,
                cost,
                by: "operator",
            });
            self.audit(Change::by(
                principal,
                Action::UnknownSettled,
                id.to_string(),
            ));
        }
        self.must_be_writable()?;
        Ok(cost)
    }

    /// Nobody relies on an end that the journal doesn't have.
    fn must_be_writable(&self) -> Result<(), AdmissionError> {
        let why = self.health().why();
        why.map_or(Ok(()), |it| Err(AdmissionError::Unwritable(it)))
    }

    /// Ends a reservation that was not used.
    pub fn release_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<(), AdmissionError> {
        self.must_be_writable()?;
        let open = self.take(principal, id)?;
        self.release(id, open, "released by its holder");
        self.must_be_writable()
    }

    /// Ends a reservation that nobody came for.
    fn end_unused(&self, id: ReservationId) {
        let open = self.open.0.lock().remove(&id);
        if let Some(open) = open {
            self.release(id, open, "nobody came for it");
        }
    }

    fn release(&self, id: ReservationId, open: OpenReservation, reason: &str) {
        let event = Event::Release {
            held: open.holding.bound(),
            reason: reason.to_owned(),
        };
        self.end(id, open, event, NanoUsd::ZERO, None);
    }

    /// Settles at its bound whatever nobody settled in time. To be called about once a second.
    pub fn expire(&self) {
        let now = self.clock.now();
        let mut due: Vec<ReservationId> = {
            let all = self.open.0.lock();
            let due = all.iter().filter(|(_, it)| it.expires <= now);
            due.map(|(id, _)| *id).collect()
        };
        due.sort_unstable();
        for id in due {
            let Some(open) = self.open.0.lock().remove(&id) else {
                continue;
            };
            let held = open.holding.bound();
            // It is taken to have used all that it asked for, also where that was no money.
            let need = open.need;
            self.end(id, open, Event::Expire { held }, held, Some(&need));
            self.report(&event::UnknownSettled {
                reservation: id,
                cost: held,
                by: "expiry",
            });
        }
    }

    fn take(
        &self,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<OpenReservation, AdmissionError> {
        let mut all = self.open.0.lock();
        let theirs = all
            .get(&id)
            .is_some_and(|it| principal.may_touch(&it.path.organisation, &it.path.user));
        let open = if theirs { all.remove(&id) } else { None };
        open.ok_or(AdmissionError::NotOpen(id))
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the end")]
    fn end(
        &self,
        id: ReservationId,
        open: OpenReservation,
        event: Event,
        cost: NanoUsd,
        used: Option<&Need>,
    ) {
        let now = self.now();
        let (organisation, service) = (Arc::clone(&open.path.organisation), open.path.service);
        let entry = CallEntry {
            reservation: id,
            ordinal: open.next_ordinal,
            at: now.wall,
            path: open.path,
            enforced: open.holding.enforced(),
            event,
        };
        let unused = matches!(entry.event, Event::Release { .. });
        if let Some(since) = open.since {
            self.holds.learn(now.mono.since(since));
        }
        let tokens = match &entry.event {
            Event::Settle(it) => it.usage.as_ref().map_or(0, account::quota_tokens),
            _ => 0,
        };
        let line = Line::new(Entry::Call(entry));
        let held = open.holding.bound();
        // Expired: it is taken to have used all that it asked for.
        let used = used.copied().unwrap_or(open.need);
        let mut holding = open.holding;
        if !unused {
            holding.uses(tokens);
        }
        let ended = holding.end(
            now.mono,
            |gate, taken| {
                if unused {
                    gate.release(taken, now.mono);
                } else {
                    gate.settle(taken, &used, now.mono);
                }
            },
            |books, hold| {
                let settled = books.settle(hold, cost, NanoUsd::ZERO);
                self.tell_crossed(&settled.crossed);
                self.book(line);
                settled
            },
        );
        self.journal();
        if !cost.is_zero() {
            let service = LevelKind::Service(service).word();
            let labels = [&*organisation, service, &*open.platform];
            self.registry.spent_dollars.with(labels).add_money(cost);
        }
        if let Some(settled) = self.after(ended) {
            self.tell_settled(id, &settled, (&open.platform, held, OVERRUN));
        }
    }
}
