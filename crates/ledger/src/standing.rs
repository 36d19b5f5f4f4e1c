//! Where one reservation stands, and which entries may follow.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_types::{NanoUsd, ReservationId, Timestamp};

use crate::{Asked, CallEntry, Defect, EntryPath, Event, Levels};

/// A reservation as its entries leave it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenReservation {
    /// Which.
    pub reservation: ReservationId,
    /// Where it pays.
    pub path: Arc<EntryPath>,
    /// The levels whose hard limits bind it.
    pub enforced: Levels,
    /// What it holds.
    pub held: NanoUsd,
    /// When it began.
    pub began_at: Timestamp,
    /// When it expires, if whether it was answered is not known.
    pub unknown_until: Option<Timestamp>,
    /// What its holder was promised, where somebody asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Asked>,
    /// The ordinal of its next entry.
    pub next_ordinal: u32,
}

/// What an ended reservation is booked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `None` if it was released.
    pub cost: Option<NanoUsd>,
    /// The ordinal that a correction would have.
    pub next_ordinal: u32,
}

/// Where a reservation that began stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It holds money.
    Open(OpenReservation),
    /// It ended.
    Ended(Ended),
}

impl Standing {
    /// Where it stands after the entry; `Err` if the entry cannot follow. `was` is `None` for a
    /// reservation that never began.
    pub fn after(was: Option<&Self>, entry: &CallEntry) -> Result<Self, Defect> {
        let reservation = entry.reservation;
        match (&entry.event, was) {
            (Event::Reserve { bound, asked, .. }, None) => {
                due(entry, 0)?;
                Ok(Self::Open(OpenReservation {
                    reservation,
                    path: Arc::clone(&entry.path),
                    enforced: entry.enforced,
                    held: *bound,
                    began_at: entry.at,
                    unknown_until: None,
                    asked: asked.clone(),
                    next_ordinal: 1,
                }))
            }
            (Event::Reserve { .. }, Some(_)) => Err(Defect::BeginsAgain(reservation)),
            (Event::Correct { from, to, .. }, Some(Self::Ended(ended))) => {
                ended.corrected(entry, *from, *to)
            }
            (Event::Correct { .. }, _) => Err(Defect::NotSettled(reservation)),
            (_, Some(Self::Open(open))) => open.after(entry),
            (event, None | Some(Self::Ended(_))) => Err(Defect::NotOpen {
                reservation,
                event: event.word(),
            }),
        }
    }

    /// The ordinal of its next entry.
    pub const fn next_ordinal(&self) -> u32 {
        match self {
            Self::Open(it) => it.next_ordinal,
            Self::Ended(it) => it.next_ordinal,
        }
    }
}

impl Ended {
    fn corrected(self, entry: &CallEntry, from: NanoUsd, to: NanoUsd) -> Result<Standing, Defect> {
        let cost = self.cost.ok_or(Defect::NotSettled(entry.reservation))?;
        due(entry, self.next_ordinal)?;
        amount(entry.reservation, cost, from)?;
        Ok(Standing::Ended(Self {
            cost: Some(to),
            next_ordinal: self.next_ordinal + 1,
        }))
    }
}

impl OpenReservation {
    fn after(&self, entry: &CallEntry) -> Result<Standing, Defect> {
        due(entry, self.next_ordinal)?;
        if self.path != entry.path {
            return Err(Defect::Moved(self.reservation));
        }
        let next_ordinal = self.next_ordinal + 1;
        let end = |held: NanoUsd, cost| {
            amount(self.reservation, self.held, held)?;
            Ok(Standing::Ended(Ended { cost, next_ordinal }))
        };
        let next = Self {
            next_ordinal,
            ..self.clone()
        };
        match &entry.event {
            Event::Extend { by, until } => Ok(Standing::Open(Self {
                held: self.held.saturating_add(*by),
                enforced: entry.enforced,
                asked: next.asked.clone().map(|it| Asked {
                    until: until.unwrap_or(it.until),
                    ..it
                }),
                ..next
            })),
            Event::Unknown { until } => Ok(Standing::Open(Self {
                unknown_until: Some(*until),
                ..next
            })),
            Event::Settle(it) => end(it.held, Some(it.cost)),
            Event::Release { held, .. } => end(*held, None),
            Event::Expire { held } => end(*held, Some(*held)),
            Event::Reserve { .. } => Err(Defect::BeginsAgain(self.reservation)),
            Event::Correct { .. } => Err(Defect::NotSettled(self.reservation)),
        }
    }
}

fn due(entry: &CallEntry, expected: u32) -> Result<(), Defect> {
    if entry.ordinal == expected {
        return Ok(());
    }
    Err(Defect::Ordinal {
        reservation: entry.reservation,
        expected,
        found: entry.ordinal,
    })
}

fn amount(reservation: ReservationId, stands: NanoUsd, says: NanoUsd) -> Result<(), Defect> {
    if stands == says {
        return Ok(());
    }
    Err(Defect::Amount {
        reservation,
        stands,
        says,
    })
}
