//! Frames on their way into the journal: queued in the order of the books, written by whoever comes
//! first, for all who wait.
//!
//! Writing costs a system call. Done under the lock of an organisation's books it would hold up
//! every other call of that organisation; so under the lock a frame is only queued. Whoever lets
//! others go first between the two finds their frames written with its own, or its own with theirs.

use std::{
    io,
    ops::RangeInclusive,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tidegate_ledger::journal::{self, Journal, Position};

/// A buffer that grew beyond this in a burst is given back.
const BUFFER_KEPT: usize = 256 * 1024;

/// A place in the queue. They rise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// The way into the journal.
pub(crate) struct Journaling {
    journal: Arc<dyn Journal>,
    queued: Mutex<Queued>,
    /// Held while writing.
    writing: Mutex<Writing>,
    /// The last ticket whose frames were written, or could not be.
    tried: AtomicU64,
    /// The last ticket whose frames could not be; zero where all could.
    failed: AtomicU64,
    /// The segment that was written to last.
    segment: AtomicU64,
}

#[derive(Default)]
struct Queued {
    frames: Vec<u8>,
    last: u64,
}

#[derive(Default)]
struct Writing {
    /// What is being written.
    buffer: Vec<u8>,
    /// The tickets that failed last, one after another, and why.
    failed: Option<(RangeInclusive<u64>, Arc<io::Error>)>,
    /// The last write failed.
    is_failing: bool,
}

impl Journaling {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            queued: Mutex::default(),
            writing: Mutex::default(),
            tried: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            segment: AtomicU64::new(0),
        }
    }

    /// Queues the frames that `encode` appends. They are in the journal once [`Self::write`] has
    /// returned for their ticket.
    pub(crate) fn queue<T>(&self, encode: impl FnOnce(&mut Vec<u8>) -> T) -> (T, Ticket) {
        let mut queued = self.queued.lock();
        queued.last += 1;
        let encoded = encode(&mut queued.frames);
        (encoded, Ticket(queued.last))
    }

    /// Of what was queued last.
    pub(crate) fn last(&self) -> Ticket {
        Ticket(self.queued.lock().last)
    }

    /// Whether nothing is left to be done for this ticket.
    pub(crate) fn is_tried(&self, ticket: Ticket) -> bool {
        self.tried.load(Ordering::Acquire) >= ticket.0
    }

    /// Returns when everything up to this ticket is written, by this call or by another, or could
    /// not be.
    pub(crate) fn write(&self, ticket: Ticket) -> Result<(), Arc<io::Error>> {
        if !self.is_tried(ticket) {
            let mut writing = self.writing.lock();
            if !self.is_tried(ticket) {
                self.write_queued(&mut writing);
            }
        }
        if ticket.0 > self.failed.load(Ordering::Relaxed) {
            return Ok(());
        }
        match &self.writing.lock().failed {
            Some((tickets, why)) if tickets.contains(&ticket.0) => Err(Arc::clone(why)),
            _ => Ok(()),
        }
    }

    fn write_queued(&self, writing: &mut Writing) {
        let last = {
            let mut queued = self.queued.lock();
            std::mem::swap(&mut writing.buffer, &mut queued.frames);
            queued.last
        };
        if writing.buffer.is_empty() {
            self.tried.store(last, Ordering::Release);
            return;
        }
        let written = self.append(&writing.buffer);
        writing.buffer.clear();
        if writing.buffer.capacity() > BUFFER_KEPT {
            writing.buffer = Vec::new();
        }
        writing.is_failing = written.is_err();
        if let Err(refused) = written {
            let next = self.tried.load(Ordering::Relaxed) + 1;
            let first = match &writing.failed {
                Some((before, _)) if before.end() + 1 == next => *before.start(),
                _ => next,
            };
            writing.failed = Some((first..=last, Arc::new(refused)));
            self.failed.store(last, Ordering::Relaxed);
        }
        self.tried.store(last, Ordering::Release);
    }

    fn append(&self, frames: &[u8]) -> io::Result<()> {
        let at = self.journal.append(frames)?;
        self.segment.store(at.segment, Ordering::Relaxed);
        Ok(())
    }

    /// Tries a journal again that could not be written, by a record that says nothing; `Ok` where
    /// the last write succeeded anyway.
    pub(crate) fn try_again(&self) -> io::Result<()> {
        let mut writing = self.writing.lock();
        if !writing.is_failing {
            return Ok(());
        }
        let mut frame = Vec::new();
        journal::encode_tried(&mut frame).map_err(io::Error::other)?;
        self.append(&frame)?;
        writing.is_failing = false;
        Ok(())
    }

    /// Up to where everything that was written has been queued for the store too: the segment
    /// being written and the one before it are not among it, since threads queue for the store a
    /// little after they write.
    pub(crate) fn settled(&self) -> Position {
        let segment = self.segment.load(Ordering::Relaxed).saturating_sub(1);
        Position { segment, offset: 0 }
    }

    /// Lets the journal forget what is before `up_to`; everything where it is `None`.
    pub(crate) fn forget(&self, up_to: Option<Position>) -> io::Result<()> {
        let all = Position {
            segment: self.segment.load(Ordering::Relaxed),
            offset: u64::MAX,
        };
        self.journal.checkpoint(up_to.unwrap_or(all))
    }
}

#[cfg(test)]
mod tests;
