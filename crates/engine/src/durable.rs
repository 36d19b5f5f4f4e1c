//! Whether what was booked before some moment is in the store by now.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts entries on their way to the store, from one round of housekeeping to the next.
///
/// Entries that a store failing for long made the writer give up never count as stored: then
/// nothing is called durable until a restart has read them back from the journal.
#[derive(Debug, Default)]
pub(crate) struct Durable {
    booked: AtomicU64,
    stored: AtomicU64,
    /// What was booked when the last round ended.
    round: AtomicU64,
}

impl Durable {
    /// Says that an entry is queued for the store. To be called before it is.
    pub(crate) fn booked(&self) {
        self.booked.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that so many more are in the store.
    pub(crate) fn stored(&self, entries: usize) {
        self.stored.fetch_add(entries as u64, Ordering::Relaxed);
    }

    /// True where everything is in the store that was booked before the last round ended.
    pub(crate) fn has_last_round(&self) -> bool {
        self.stored.load(Ordering::Relaxed) >= self.round.load(Ordering::Relaxed)
    }

    /// Ends a round. Whoever looked at books in it has held their lock since, so that what was
    /// booked in them is counted.
    pub(crate) fn end_round(&self) {
        let booked = self.booked.load(Ordering::Relaxed);
        self.round.store(booked, Ordering::Relaxed);
    }
}
