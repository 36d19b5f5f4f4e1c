//! Files and directories, with their names in every error.

use std::{
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use crate::error::SegmentsError;

/// Makes a file for writing and reading that nobody else may read, in place of one that is there.
pub(crate) fn create(path: &Path) -> Result<File, SegmentsError> {
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600);
    options.open(path).map_err(|it| SegmentsError::io(path, it))
}

/// Opens a file for reading.
pub(crate) fn open(path: &Path) -> Result<File, SegmentsError> {
    File::open(path).map_err(|it| SegmentsError::io(path, it))
}

/// Makes a directory that nobody else may read, unless it is there.
pub(crate) fn make_directory(path: &Path) -> Result<(), SegmentsError> {
    use std::os::unix::fs::DirBuilderExt as _;

    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path);
    made.map_err(|it| SegmentsError::io(path, it))
}

/// Makes renamed, new and removed names of a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), SegmentsError> {
    let synced = File::open(path).and_then(|it| it.sync_all());
    synced.map_err(|it| SegmentsError::io(path, it))
}

/// Reads exactly so many bytes.
pub(crate) fn read_at(
    path: &Path,
    file: &File,
    at: u64,
    length: usize,
) -> Result<Vec<u8>, SegmentsError> {
    let mut bytes = vec![0; length];
    let read = file.read_exact_at(&mut bytes, at);
    read.map_err(|it| SegmentsError::io(path, it))?;
    Ok(bytes)
}

/// Its size; none if it is not there.
pub(crate) fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |it| it.len())
}

/// Removes a file, unless it is gone.
pub(crate) fn remove(path: &Path) -> Result<(), SegmentsError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(SegmentsError::io(path, error)),
        _ => Ok(()),
    }
}

pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), SegmentsError> {
    fs::rename(from, to).map_err(|it| SegmentsError::io(from, it))
}
