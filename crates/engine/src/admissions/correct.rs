//! What a reservation really cost that was booked at an estimate.

use std::sync::Arc;

use tidegate_ledger::{
    CallEntry, Defect, Ended, Entry, Event, Fold, LevelKind, Line, Row, Standing, StoreError,
};
use tidegate_observe::{audit::Action, event};
use tidegate_types::{NanoUsd, ReservationId};

use crate::{Engine, approvals::dollars, identity::Principal, keys::Change};

/// A cost that stands corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Corrected {
    /// As it was booked before.
    pub from: NanoUsd,
    /// As it is.
    pub to: NanoUsd,
}

/// Why a cost was not corrected.
#[derive(Debug, thiserror::Error)]
pub enum CorrectionError {
    /// None of that name, or not theirs.
    #[error("there is no reservation {0}")]
    Unknown(ReservationId),
    /// It has not ended.
    #[error(
        "{0} is open, and nothing is booked on it yet: settle it (`tidegate ledger settle {0} COST`)"
    )]
    Open(ReservationId),
    /// It ended without a cost.
    #[error(
        "{0} was released and cost nothing: to book a cost, ask for another admission and settle that"
    )]
    Released(ReservationId),
    /// It was settled at what it was said to cost.
    #[error(
        "{reservation} was settled at {cost}, which is no estimate, and stands: what a price table had wrong, `tidegate prices reprice` shows"
    )]
    Exact {
        /// Which.
        reservation: ReservationId,
        /// What is booked.
        cost: NanoUsd,
    },
    /// It can't be read, or not written down.
    #[error("the ledger can't be read or written: {0}")]
    Store(String),
}

/// What is booked on a reservation that ended on an estimate.
struct Booked {
    first: CallEntry,
    cost: NanoUsd,
    next_ordinal: u32,
    /// Somebody has said what it cost.
    corrected: bool,
}

impl Engine {
    /// Puts the real cost in the place of one that was estimated, or that a reservation expired at;
    /// also of an earlier correction. The principal's right is the caller's to check, but for whose
    /// it is. To say again what is booked by a correction changes nothing.
    ///
    /// Levels follow, those of windows that are over too. What the call's record says stays.
    pub fn correct_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
        to: NanoUsd,
    ) -> Result<Corrected, CorrectionError> {
        // Only corrections happen to what has ended: one at a time, and each is stored before the next.
        let _one_at_a_time = self.correcting.lock();
        let booked = self.booked_estimate(principal, id)?;
        let from = booked.cost;
        let corrected = Corrected { from, to };
        if booked.corrected && from == to {
            return Ok(corrected);
        }
        let path = booked.first.path;
        let change = Change::by(principal, Action::EstimateCorrected, id.to_string());
        let account = self.books(&path.organisation);
        let missing = account.lock().missing_balances(&path);
        // Else a level could be loaded after this, as it was before.
        self.load(&account, &missing);
        {
            let mut books = account.lock();
            if !books.missing_balances(&path).is_empty() {
                return Err(self.unstored());
            }
            books.correct(&path, from, to);
            self.book(Line::new(Entry::Call(CallEntry {
                reservation: id,
                ordinal: booked.next_ordinal,
                at: self.clock.now(),
                path: Arc::clone(&path),
                enforced: booked.first.enforced,
                event: Event::Correct {
                    from,
                    to,
                    by: change.who.to_string(),
                },
            })));
        }
        self.journal();
        self.flush();
        self.report(&event::EstimateCorrected {
            reservation: id,
            organisation: &path.organisation,
            service: LevelKind::Service(path.service).word(),
            from,
            to,
        });
        let said = |cost: NanoUsd| Some(format!("{{\"cost_usd\":\"{}\"}}", dollars(cost)));
        self.audit(Change {
            organisation: Some(Arc::clone(&path.organisation)),
            ..change.from_to(said(from), said(to))
        });
        if !self.health().is_writable() {
            // It is on its way, and said to be there by whoever asks again.
            return Err(self.unstored());
        }
        Ok(corrected)
    }

    /// What is booked on a reservation, by the store's rows.
    fn booked_estimate(
        &self,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<Booked, CorrectionError> {
        self.flush();
        if !self.health().is_writable() {
            return Err(self.unstored());
        }
        let unread = |error: StoreError| CorrectionError::Store(error.to_string());
        let rows = self.stores.ledger.history(id).map_err(unread)?;
        let entries = call_entries(&rows);
        let theirs = |it: &&CallEntry| {
            let path = &it.path;
            principal.may_touch(&path.organisation, &path.user)
        };
        let first = entries.first().filter(theirs);
        let first = first.ok_or(CorrectionError::Unknown(id))?.clone();
        let ended = match standing(&entries, id) {
            Ok(Some(Standing::Ended(ended))) => ended,
            Ok(_) => return Err(CorrectionError::Open(id)),
            Err(defect) => return Err(CorrectionError::Store(defect.to_string())),
        };
        let Ended { cost, next_ordinal } = ended;
        let cost = cost.ok_or(CorrectionError::Released(id))?;
        let estimated = |it: &CallEntry| match &it.event {
            Event::Settle(it) => it.estimated,
            event => matches!(event, Event::Expire { .. }),
        };
        if !entries.iter().any(estimated) {
            let reservation = id;
            return Err(CorrectionError::Exact { reservation, cost });
        }
        let is_correction = |it: &CallEntry| matches!(it.event, Event::Correct { .. });
        Ok(Booked {
            first,
            cost,
            next_ordinal,
            corrected: entries.last().is_some_and(is_correction),
        })
    }

    fn unstored(&self) -> CorrectionError {
        let why = self.health().why();
        CorrectionError::Store(why.unwrap_or_else(|| "see the log".to_owned()))
    }
}

fn call_entries(rows: &[Row]) -> Vec<CallEntry> {
    let entry = |row: &Row| match row.entry() {
        Ok(Entry::Call(entry)) => Some(entry),
        Ok(Entry::Policy(_)) | Err(_) => None,
    };
    rows.iter().filter_map(entry).collect()
}

fn standing(entries: &[CallEntry], id: ReservationId) -> Result<Option<Standing>, Defect> {
    let mut fold = Fold::default();
    for entry in entries {
        fold.apply(&Entry::Call(entry.clone()))?;
    }
    Ok(fold.standing(id))
}
