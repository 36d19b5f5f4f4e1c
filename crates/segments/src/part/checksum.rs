//! The checksum that a part's records carry in themselves. Indexes have finer ones; this is for the
//! part whose index is lost, when nothing else tells its records from damaged ones.

use std::{fs::File, os::unix::fs::FileExt as _, path::Path};

use parquet::file::metadata::KeyValue;

use super::read::read_footer;
use crate::{error::SegmentsError, files};

/// Names it among what the file says of itself.
const NAME: &str = "tidegate.crc32";

/// It is written in so many hexadecimal digits, which stand as zeros while it is worked out.
const DIGITS: usize = 8;

/// What stands between its name and its digits: the field's tag, and how many bytes follow.
const BETWEEN: [u8; 2] = [0x18, 8];

/// So much of a file is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// The place that a new file has for it.
pub(super) fn blank() -> KeyValue {
    KeyValue::new(NAME.to_owned(), "0".repeat(DIGITS))
}

/// Writes it into a file that is whole, and has a place for it.
pub(super) fn write(path: &Path, file: &File) -> Result<(), SegmentsError> {
    let Some(at) = find(path, file)? else {
        let what = "it has no place for its checksum";
        return Err(SegmentsError::damaged(path, what));
    };
    let digits = format!("{:08x}", sum(path, file, at)?);
    let written = file.write_all_at(digits.as_bytes(), at);
    written.map_err(|it| SegmentsError::io(path, it))
}

/// Compares a file with it. A file without one was written by an older version, and passes.
pub(super) fn check(path: &Path, file: &File) -> Result<(), SegmentsError> {
    let Some(at) = find(path, file)? else {
        return Ok(());
    };
    let digits = files::read_at(path, file, at, DIGITS)?;
    if digits != format!("{:08x}", sum(path, file, at)?).as_bytes() {
        return Err(SegmentsError::damaged(path, "its checksum differs"));
    }
    Ok(())
}

/// Where its digits are in a file.
fn find(path: &Path, file: &File) -> Result<Option<u64>, SegmentsError> {
    let footer = read_footer(path, file)?;
    let mark = [NAME.as_bytes(), &BETWEEN].concat();
    // What a file says of itself stands behind all that it says of its columns.
    let found = footer.windows(mark.len() + DIGITS);
    let found = found.rev().position(|it| it.starts_with(&mark));
    // From the end of the digits: the rest of the footer, its length, and four letters.
    let behind = found.map(|it| (it + DIGITS + size_of::<[u32; 2]>()) as u64);
    Ok(behind.and_then(|it| files::size(path).checked_sub(it)))
}

/// Of all bytes of a file, but for the digits.
fn sum(path: &Path, file: &File, digits: u64) -> Result<u32, SegmentsError> {
    let length = files::size(path);
    let after = digits + DIGITS as u64;
    let mut hasher = crc32fast::Hasher::new();
    for (mut at, end) in [(0, digits), (after, length)] {
        while at < end {
            let piece = usize::try_from(end - at).map_or(PIECE_BYTES, |it| it.min(PIECE_BYTES));
            hasher.update(&files::read_at(path, file, at, piece)?);
            at += piece as u64;
        }
    }
    Ok(hasher.finalize())
}
