//! Holding more for a reservation that is open.

use std::{collections::HashMap, sync::Arc, time::Duration};

use foldhash::fast::RandomState;
use tidegate_ledger::{CallEntry, Entry, Event, Levels, Line, Shortage};
use tidegate_types::{Caller, NanoUsd, ReservationId, Timestamp};

use super::{AdmissionError, OpenReservation};
use crate::{Engine, identity::Principal, spender::Spender, views::sentence_of_approval};

impl Engine {
    /// Holds more for a reservation, for longer.
    ///
    /// May wait up to two seconds for the store, with no lock held.
    pub fn extend_reservation(
        &self,
        principal: &Principal,
        id: ReservationId,
        more: NanoUsd,
        longer: Duration,
    ) -> Result<Timestamp, AdmissionError> {
        loop {
            let (path, enforced) = {
                let mut all = self.open.0.lock();
                let open = Self::theirs(&mut all, principal, id)?;
                // What a budget has no room for is not asked of the store.
                let fits = open
                    .holding
                    .with_hold(|books, hold| books.check_extension(hold, more, Caller::Asking));
                let fits = fits.transpose().map_err(|it| self.short(open, &it))?;
                if let Some(shortage) = fits.and_then(|it| it.unapproved) {
                    return Err(AdmissionError::Short(sentence_of_approval(&shortage)));
                }
                (Arc::clone(&open.path), open.holding.enforced())
            };
            let covered = self.cover(&path, enforced, more);
            covered.map_err(|it| AdmissionError::Unwritable(it.to_string()))?;
            let extended = self.extend_covered(principal, id, more, (longer, enforced));
            self.journal();
            if !matches!(extended, Ok(Some(_))) {
                self.uncover(&path, enforced, more);
            }
            // Other levels bind it by now: they have to be covered instead.
            if let Some(expires) = extended? {
                return Ok(expires);
            }
        }
    }

    /// Holds more of levels that leases cover; `None` where those that bind it are others.
    fn extend_covered(
        &self,
        principal: &Principal,
        id: ReservationId,
        more: NanoUsd,
        (longer, enforced): (Duration, Levels),
    ) -> Result<Option<Timestamp>, AdmissionError> {
        let now = self.clock.now();
        let mut all = self.open.0.lock();
        // It may have ended while the store was waited for.
        let open = Self::theirs(&mut all, principal, id)?;
        if open.holding.enforced() != enforced {
            return Ok(None);
        }
        let line = Line::new(Entry::Call(CallEntry {
            reservation: id,
            ordinal: open.next_ordinal,
            at: now,
            path: Arc::clone(&open.path),
            enforced,
            event: Event::Extend {
                by: more,
                until: Some(open.lasts_until(now, longer)),
            },
        }));
        let extended = open.holding.with_hold(|books, hold| {
            books.extend(hold, more, Caller::Asking)?;
            self.book(line);
            Ok::<(), Shortage>(())
        });
        let extended = extended.ok_or(AdmissionError::NotOpen(id))?;
        extended.map_err(|it| self.short(open, &it))?;
        open.next_ordinal += 1;
        Ok(Some(open.last_until(now, longer)))
    }

    fn short(&self, open: &OpenReservation, shortage: &Shortage) -> AdmissionError {
        AdmissionError::Short(self.explain_to_asker(&Spender::from(&*open.path), shortage))
    }

    fn theirs<'a>(
        all: &'a mut HashMap<ReservationId, OpenReservation, RandomState>,
        principal: &Principal,
        id: ReservationId,
    ) -> Result<&'a mut OpenReservation, AdmissionError> {
        let open = all
            .get_mut(&id)
            .filter(|it| principal.may_touch(&it.path.organisation, &it.path.user));
        open.ok_or(AdmissionError::NotOpen(id))
    }
}
