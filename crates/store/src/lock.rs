//! One process per data directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use tidegate_ledger::StoreError;
use tidegate_types::Timestamp;

use crate::failure;

/// The name of the lock's file in the data directory.
const LOCK: &str = "lock";

/// Holds a data directory for this process. The system frees it when the process ends, however it
/// ends: no stale lock is left behind.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
    directory: PathBuf,
}

impl DirectoryLock {
    /// Takes the directory, and makes it (for this user alone) where it is missing.
    /// [`StoreError::InUse`] names the process that has it. `now` is written down as our start.
    pub fn take(directory: &Path, now: Timestamp) -> Result<Self, StoreError> {
        make_directory(directory).map_err(|it| failure::of_io(directory, it))?;
        let path = directory.join(LOCK);
        let fail = |error| failure::of_io(&path, error);
        let mut file = private().open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path.clone(), &mut file)),
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        let note = format!("{} {}\n", std::process::id(), started(now));
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        file.write_all(note.as_bytes()).map_err(fail)?;
        Ok(Self {
            _file: file,
            directory: directory.to_owned(),
        })
    }

    /// Which directory it is.
    pub fn directory(&self) -> &Path {
        &self.directory
    }
}

/// Options for files that only this user may read.
pub(crate) fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

fn make_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory)
}

fn started(now: Timestamp) -> String {
    let seconds = i64::try_from(now.seconds()).unwrap_or(i64::MAX);
    let instant = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
    instant.to_string()
}

fn in_use(path: PathBuf, file: &mut File) -> StoreError {
    let mut note = String::new();
    // Whoever has it may not have written its note yet.
    if file.read_to_string(&mut note).is_err() {
        note.clear();
    }
    let (pid, started) = note.trim().split_once(' ').unwrap_or_default();
    StoreError::InUse {
        path,
        pid: pid.parse().unwrap_or(0),
        started: started.to_owned(),
    }
}

#[cfg(test)]
mod tests;
