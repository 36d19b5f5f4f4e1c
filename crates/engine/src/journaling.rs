//! Frames on their way into the journal: queued in the order of the books, written by whoever comes
//! first, for all who wait.
//!
//! Writing costs a system call. Done under the lock of an organisation's books it would hold up
//! every other call of that organisation; so under the lock a frame is only queued.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tidegate_ledger::journal::{self, Journal, Position};

/// A buffer that grew beyond this in a burst is given back.
const BUFFER_KEPT: usize = 256 * 1024;

/// The way into the journal.
pub(crate) struct Journaling {
    journal: Arc<dyn Journal>,
    queued: Mutex<Vec<u8>>,
    /// Held while writing. The buffer is the one that is being written.
    writing: Mutex<Writing>,
    /// The segment that was written to last.
    segment: AtomicU64,
}

#[derive(Default)]
struct Writing {
    buffer: Vec<u8>,
    /// The last write failed, and with it the frames of everybody who had queued one.
    failed: Option<io::ErrorKind>,
}

impl Journaling {
    pub(crate) fn new(journal: Arc<dyn Journal>) -> Self {
        Self {
            journal,
            queued: Mutex::default(),
            writing: Mutex::default(),
            segment: AtomicU64::new(0),
        }
    }

    /// Queues the frames that `encode` appends. They are in the journal once a later
    /// [`Self::write`] has returned.
    pub(crate) fn queue<T>(&self, encode: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        encode(&mut self.queued.lock())
    }

    /// Returns when everything that was queued before is written, by this call or by another, or
    /// could not be.
    pub(crate) fn write(&self) -> io::Result<()> {
        let mut writing = self.writing.lock();
        let Writing { buffer, failed } = &mut *writing;
        std::mem::swap(buffer, &mut self.queued.lock());
        if buffer.is_empty() {
            return failed.map_or(Ok(()), |it| Err(it.into()));
        }
        let written = self.journal.append(buffer);
        buffer.clear();
        if buffer.capacity() > BUFFER_KEPT {
            *buffer = Vec::new();
        }
        *failed = written.as_ref().err().map(io::Error::kind);
        let at = written?;
        self.segment.store(at.segment, Ordering::Relaxed);
        Ok(())
    }

    /// Tries a journal again that could not be written, by a record that says nothing; `Ok` where
    /// the last write succeeded anyway.
    pub(crate) fn try_again(&self) -> io::Result<()> {
        let mut writing = self.writing.lock();
        if writing.failed.is_none() {
            return Ok(());
        }
        let mut frame = Vec::new();
        journal::encode_tried(&mut frame).map_err(io::Error::other)?;
        let at = self.journal.append(&frame)?;
        writing.failed = None;
        self.segment.store(at.segment, Ordering::Relaxed);
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
