//! A journal that can fail.

use std::{
    io,
    sync::atomic::{AtomicBool, Ordering},
};

use tidegate_ledger::journal::{Journal, Position, ReadBack};
use tidegate_store::MemoryJournal;

/// A journal on a disk that may be full.
#[derive(Debug, Default)]
pub(super) struct FillingJournal {
    journal: MemoryJournal,
    pub(super) full: AtomicBool,
}

impl Journal for FillingJournal {
    fn append(&self, frames: &[u8]) -> io::Result<Position> {
        if self.full.load(Ordering::Relaxed) {
            return Err(io::Error::other("/secret/place/journal: no space left"));
        }
        self.journal.append(frames)
    }

    fn sync(&self) -> io::Result<()> {
        self.journal.sync()
    }

    fn checkpoint(&self, up_to: Position) -> io::Result<()> {
        self.journal.checkpoint(up_to)
    }

    fn read_back(&self) -> io::Result<ReadBack> {
        self.journal.read_back()
    }
}
