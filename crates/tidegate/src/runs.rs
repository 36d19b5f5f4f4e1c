//! Who uses a gateway that was started for programs: each `tidegate run` shares a lock, and the
//! gateway ends when it can have that lock for itself.
//!
//! The system frees a lock when its process ends, however it ends, so that no gateway outlives the
//! last program that was started with it by more than a moment.

use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use anyhow::Context as _;

/// The file whose lock all users share.
const USERS: &str = "runs.lock";

/// The file whose lock whoever looks for a gateway has, so that two don't start one each.
const STARTING: &str = "runs-starting.lock";

/// The lock of the users, held or not.
#[derive(Debug)]
pub(crate) struct Users(File);

impl Users {
    /// Holds nothing yet.
    pub(crate) fn of(data: &Path) -> anyhow::Result<Self> {
        Ok(Self(open(data, USERS)?))
    }

    /// Is one of them from here on. Waits for a gateway that is ending.
    pub(crate) fn join(data: &Path) -> anyhow::Result<Self> {
        let users = Self::of(data)?;
        users.0.lock_shared().with_context(|| refused(data))?;
        Ok(users)
    }

    /// Is none of them any more.
    pub(crate) fn leave(&self) -> Left {
        if self.0.unlock().is_ok() && self.are_none() {
            return Left::Nobody;
        }
        match self.0.try_lock_shared() {
            Err(TryLockError::WouldBlock) => Left::Ending,
            Ok(()) | Err(TryLockError::Error(_)) => Left::Others,
        }
    }

    /// True where there is none, and then there can be none until this is dropped.
    pub(crate) fn are_none(&self) -> bool {
        match self.0.try_lock() {
            Ok(()) => true,
            // Where it can't be told, somebody may be there.
            Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
        }
    }
}

/// Who is there when one user has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// No user; and there can be none until the lock is dropped.
    Nobody,
    /// Somebody has the lock alone: the gateway has noticed, and ends.
    Ending,
    /// Other users, as far as can be told.
    Others,
}

/// Looks for a gateway, or starts one, while nobody else does. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Starting(#[expect(dead_code, reason = "held for its lock")] File);

impl Starting {
    /// Waits for whoever is at it.
    pub(crate) fn begin(data: &Path) -> anyhow::Result<Self> {
        let file = open(data, STARTING)?;
        file.lock().with_context(|| refused(data))?;
        Ok(Self(file))
    }
}

fn open(data: &Path, name: &str) -> anyhow::Result<File> {
    let path = data.join(name);
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("`{}` can't be written", path.display()))
}

fn refused(data: &Path) -> String {
    format!("a file in `{}` can't be locked", data.display())
}
