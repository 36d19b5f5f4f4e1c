//! Room on the disk that is kept for the ledger: given back when the disk is full, whoever filled it.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
};

use crate::lock::private;

/// The reserve's size: entries of some thousand calls, until somebody has made room. It is written
/// at the first start, in a few milliseconds.
pub(crate) const RESERVE_BYTES: u64 = 8 << 20;

/// The name of the reserve in the data directory.
pub(crate) const RESERVE: &str = "reserve";

/// A file that takes room and holds nothing.
#[derive(Debug)]
pub(crate) struct Reserve {
    path: PathBuf,
}

impl Reserve {
    /// Makes the reserve, unless it is there. On a disk that has no room for it there is none: that
    /// is no reason not to start.
    pub(crate) fn keep(directory: &Path) -> Self {
        let reserve = Self {
            path: directory.join(RESERVE),
        };
        if reserve.fill().is_err() {
            reserve.give();
        }
        reserve
    }

    fn fill(&self) -> std::io::Result<()> {
        const PIECE: usize = 1 << 20;

        let mut file = private().open(&self.path)?;
        let held = file.metadata()?.len();
        if held == RESERVE_BYTES {
            return Ok(());
        }
        file.set_len(0)?;
        // Written and not only made long: a file of holes keeps no room. It need not be synced:
        // room is taken before that, and nothing in it can be lost.
        let zeros = vec![0; PIECE];
        for _ in 0..RESERVE_BYTES / PIECE as u64 {
            file.write_all(&zeros)?;
        }
        Ok(())
    }

    /// Gives the room back. Whether there was any; it is kept anew at the next start.
    pub(crate) fn give(&self) -> bool {
        match fs::remove_file(&self.path) {
            Ok(()) => true,
            Err(error) => error.kind() != ErrorKind::NotFound,
        }
    }
}
