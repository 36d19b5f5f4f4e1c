//! The journal: what was decided, written before the first byte goes upstream.
//!
//! A record is a frame of a mark, the payload's length, the CRC-32 of length and payload, and the
//! payload: a letter for its kind, and an entry's JSON or a taking's numbers. The mark lets reading
//! go on behind damage.

use std::{io, sync::Arc};

use tidegate_types::{ReservationId, Timestamp};

use crate::Line;

/// What every frame begins with.
const MARK: [u8; 4] = *b"\xf1TGj";

/// Mark, length, CRC.
const HEADER_BYTES: usize = 12;

/// The largest payload. An entry is a few hundred bytes; a table of limits can be long.
pub const PAYLOAD_BYTES_MAX: usize = 16 << 20;

/// The kinds of payloads.
const ENTRY: u8 = b'E';
const TAKING: u8 = b'T';
const TRIED: u8 = b'N';

/// One thing to remember across a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// An entry of the ledger, on its way to the store.
    Entry(Line),
    /// What a reservation took of its platform's buckets.
    Taking(Taking),
    /// Nothing happened: the journal could not be written, and was tried again.
    Tried,
}

/// What a reservation took of a platform's buckets, whose levels are saved less often than
/// entries are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// Which reservation.
    pub reservation: ReservationId,
    /// When.
    pub at: Timestamp,
    /// Whose buckets.
    pub platform: Arc<str>,
    /// How much: units, requests, input tokens, output tokens, tokens, nano-dollars.
    pub need: [u64; 6],
}

/// A record of so many bytes is longer than [`PAYLOAD_BYTES_MAX`]: it can't be written.
#[derive(Debug, thiserror::Error)]
#[error("record of {0} bytes is longer than {PAYLOAD_BYTES_MAX}")]
pub struct TooLong(usize);

/// Appends the frame of an entry to `out`; leaves `out` as it was on an error.
pub fn encode_entry(line: &Line, out: &mut Vec<u8>) -> Result<(), TooLong> {
    frame_of(out, |out| {
        out.push(ENTRY);
        out.extend_from_slice(line.text().as_bytes());
    })
}

/// Appends the frame of what a reservation took of its buckets; leaves `out` as it was on an error.
pub fn encode_taking(taking: &Taking, out: &mut Vec<u8>) -> Result<(), TooLong> {
    frame_of(out, |out| {
        out.push(TAKING);
        let numbers = [taking.reservation.raw(), taking.at.0];
        for number in numbers.iter().chain(&taking.need) {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(taking.platform.as_bytes());
    })
}

/// Appends the frame of a try to write.
pub fn encode_tried(out: &mut Vec<u8>) -> Result<(), TooLong> {
    frame_of(out, |out| out.push(TRIED))
}

fn frame_of(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&[0; HEADER_BYTES - MARK.len()]);
    write(out);
    let payload = out.len() - start - HEADER_BYTES;
    let length = u32::try_from(payload).ok();
    let Some(length) = length.filter(|_| payload <= PAYLOAD_BYTES_MAX) else {
        out.truncate(start);
        return Err(TooLong(payload));
    };
    let length = length.to_le_bytes();
    let crc = checksum(length, &out[start + HEADER_BYTES..]).to_le_bytes();
    out[start + 4..start + 8].copy_from_slice(&length);
    out[start + 8..start + 12].copy_from_slice(&crc);
    Ok(())
}

/// The record in a payload.
fn record(payload: &[u8]) -> Option<Record> {
    let (kind, rest) = payload.split_first()?;
    match *kind {
        ENTRY => {
            let text = std::str::from_utf8(rest).ok()?;
            Some(Record::Entry(Line::parse(text).ok()?))
        }
        TAKING => {
            let (numbers, platform) = rest.split_at_checked(64)?;
            let mut numbers = numbers
                .as_chunks::<8>()
                .0
                .iter()
                .copied()
                .map(u64::from_le_bytes);
            Some(Record::Taking(Taking {
                reservation: ReservationId::from_raw(numbers.next()?),
                at: Timestamp(numbers.next()?),
                platform: std::str::from_utf8(platform).ok()?.into(),
                need: std::array::from_fn(|_| numbers.next().unwrap_or(0)),
            }))
        }
        TRIED => Some(Record::Tried),
        _ => None,
    }
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
    Some((record(payload)?, at + HEADER_BYTES + size))
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
