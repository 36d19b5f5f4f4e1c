//! The journal: what was decided, written before the first byte goes upstream.
//!
//! A record is a frame of a mark, the payload's length, the CRC-32 of length and payload, and the
//! payload as JSON. The mark lets reading go on behind damage.

use std::io;

use serde::{Deserialize, Serialize};
use tidegate_types::{ReservationId, Timestamp};

use crate::Entry;

/// What every frame begins with.
const MARK: [u8; 4] = *b"\xf1TGj";

/// Mark, length, CRC.
const HEADER_BYTES: usize = 12;

/// The largest payload. An entry is a few hundred bytes; a table of limits can be long.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// One thing to remember across a crash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// An entry of the ledger, on its way to the store.
    Entry(Entry),
    /// The call of a reservation is about to be sent: from here on it may cost something.
    ///
    /// After a crash, a reservation was certainly not sent if its beginning is read back from a
    /// complete journal and this mark is not; any other that is open may have been.
    Sent {
        /// Whose.
        reservation: ReservationId,
        /// When.
        at: Timestamp,
    },
    /// What a reservation took of its platform's buckets.
    Taking(Taking),
    /// Nothing happened: the journal could not be written, and was tried again.
    Tried,
}

/// What a reservation took of a platform's buckets, whose levels are saved less often than
/// entries are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taking {
    /// Which reservation.
    pub reservation: ReservationId,
    /// When.
    pub at: Timestamp,
    /// Whose buckets.
    pub platform: String,
    /// How much: units, requests, input tokens, output tokens, tokens, nano-dollars.
    pub need: [u64; 6],
}

/// A record that cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    /// Not representable as JSON: a key of a map that is no text, say.
    #[error("record is not representable")]
    Json(#[from] serde_json::Error),
    /// Longer than [`PAYLOAD_BYTES_MAX`].
    #[error("record of {0} bytes is longer than {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
}

/// Appends the frame of a record to `out`; leaves `out` as it was on an error.
pub fn encode(record: &Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    let written = write_frame(record, out);
    if written.is_err() {
        out.truncate(start);
    }
    written
}

fn write_frame(record: &Record, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; HEADER_BYTES - MARK.len()]);
    serde_json::to_writer(&mut *out, record)?;
    let payload = out.len() - start - HEADER_BYTES;
    let length = u32::try_from(payload).ok();
    let length = length.filter(|_| payload <= PAYLOAD_BYTES_MAX);
    let length = length.ok_or(EncodeError::TooLong(payload))?.to_le_bytes();
    let crc = checksum(length, &out[start + HEADER_BYTES..]).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out[start + 8..start + 12].copy_from_slice(&crc);
    Ok(())
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

/// What is found in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record.
    Record(Record),
    /// Bytes that are no record, with records behind them: something was changed or lost.
    Damage {
        /// Where they begin.
        from: usize,
        /// Where the next record begins.
        to: usize,
    },
    /// Bytes at the end that are no whole record: its writing was cut off. Nothing follows.
    TornTail {
        /// Where they begin.
        from: usize,
    },
}

/// Reads the frames of a journal in order.
#[must_use]
pub fn decode(bytes: &[u8]) -> Decode<'_> {
    Decode { bytes, at: 0 }
}

/// Iterates over what a journal holds; see [`decode`].
#[derive(Clone, Debug)]
pub struct Decode<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Iterator for Decode<'_> {
    type Item = Found;

    fn next(&mut self) -> Option<Found> {
        let from = self.at;
        if from >= self.bytes.len() {
            return None;
        }
        if let Some((record, end)) = frame(self.bytes, from) {
            self.at = end;
            return Some(Found::Record(record));
        }
        let next = marks(self.bytes, from + 1).find(|it| frame(self.bytes, *it).is_some());
        self.at = next.unwrap_or(self.bytes.len());
        Some(match next {
            Some(to) => Found::Damage { from, to },
            None => Found::TornTail { from },
        })
    }
}

/// The record whose frame begins here, and where the frame ends.
fn frame(bytes: &[u8], at: usize) -> Option<(Record, usize)> {
    let frame = bytes.get(at..)?;
    let (mark, rest) = frame.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (crc, rest) = rest.split_first_chunk::<4>()?;
    let size = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let payload = rest.get(..size)?;
    if *mark != MARK || size > PAYLOAD_BYTES_MAX {
        return None;
    }
    if checksum(*length, payload) != u32::from_le_bytes(*crc) {
        return None;
    }
    let record = serde_json::from_slice(payload).ok()?;
    Some((record, at + HEADER_BYTES + size))
}

fn marks(bytes: &[u8], from: usize) -> impl Iterator<Item = usize> + '_ {
    let windows = bytes.get(from..).unwrap_or_default().windows(MARK.len());
    let found = windows.enumerate().filter(|(_, it)| **it == MARK);
    found.map(move |(at, _)| from + at)
}

/// A place in the journal, after some record. Later ones are larger, also in later segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The segment's number.
    pub segment: u64,
    /// The bytes of it before this place.
    pub offset: u64,
}

/// Where frames are kept until the store has their entries.
pub trait Journal: Send + Sync {
    /// Appends whole frames. When it returns, a killed process doesn't take them, and a power cut
    /// may. Of an append that failed, nothing is read back.
    fn append(&self, frames: &[u8]) -> io::Result<Position>;

    /// Makes all that was appended durable.
    fn sync(&self) -> io::Result<()>;

    /// All up to here is in the store: it may be forgotten.
    fn checkpoint(&self, up_to: Position) -> io::Result<()>;

    /// All that was appended after the last checkpoint at the least. Records before it may be
    /// among them: the store knows what it has.
    fn read_back(&self) -> io::Result<ReadBack>;
}

/// What a journal still holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadBack {
    /// Its segments, in order; each begins with a frame.
    pub segments: Vec<Vec<u8>>,
    /// Nothing that was appended since the last checkpoint can be missing. False where the
    /// machine was restarted since, or that cannot be told: what was not synced may be gone, and
    /// leases tell how much.
    pub complete: bool,
}

#[cfg(test)]
mod tests;
