//! The program's own records: taken at any rate, kept as well as the disk allows, counted where not.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tidegate_observe::{
    record::Level,
    telemetry::{Batch, Kind, Lines},
};

use crate::{append::Receipt, error::Refused, limits::OWN_BYTES_MAX, telemetry::Telemetry};

const LEVELS: usize = Level::ALL.len();

/// Takes the program's own records. Nothing here waits for the disk but [`Self::flush`]: what can't
/// be kept is shed, those of level DEBUG first, and counted.
#[derive(Debug)]
pub struct OwnRecords {
    telemetry: Arc<Telemetry>,
    sent: Mutex<Sent>,
    /// Records that were shed, by level.
    shed: [AtomicU64; LEVELS],
}

/// What is on its way to the disk.
#[derive(Debug, Default)]
struct Sent {
    batches: VecDeque<OnItsWay>,
    bytes: usize,
}

#[derive(Debug)]
struct OnItsWay {
    receipt: Receipt,
    bytes: usize,
    levels: [u64; LEVELS],
}

impl OwnRecords {
    /// For this telemetry.
    pub fn new(telemetry: Arc<Telemetry>) -> Self {
        Self {
            telemetry,
            sent: Mutex::default(),
            shed: Default::default(),
        }
    }

    /// What they are put into.
    pub const fn telemetry(&self) -> &Arc<Telemetry> {
        &self.telemetry
    }

    /// Takes records in. They are durable a moment later, as a group.
    pub fn put(&self, batch: Batch) {
        if batch.is_empty() {
            return;
        }
        let mut sent = self.sent.lock();
        self.settle(&mut sent);
        let batch = if sent.bytes > OWN_BYTES_MAX / 2 {
            self.without_debug(batch)
        } else {
            batch
        };
        let (bytes, levels) = (batch.bytes(), levels_of(&batch));
        if sent.bytes + bytes > OWN_BYTES_MAX {
            self.count(&levels);
            return;
        }
        match self.telemetry.append_own(batch) {
            Ok(receipt) => {
                sent.bytes += bytes;
                sent.batches.push_back(OnItsWay {
                    receipt,
                    bytes,
                    levels,
                });
            }
            Err(refused) => self.refused(&refused, &levels),
        }
    }

    /// Returns when what was put before is durable, or shed.
    pub fn flush(&self) {
        if let Some(segments) = self.telemetry.segments() {
            segments.flush();
        }
        self.look();
    }

    /// Takes note of what has become of what was put. To be called about once a second.
    pub fn look(&self) {
        self.settle(&mut self.sent.lock());
    }

    /// How many records were shed since this was last asked, by level.
    pub fn take_shed(&self) -> impl Iterator<Item = (Level, u64)> {
        let counts = self.shed.iter().map(|it| it.swap(0, Ordering::Relaxed));
        Level::ALL.into_iter().zip(counts).filter(|it| it.1 > 0)
    }

    fn settle(&self, sent: &mut Sent) {
        while let Some(first) = sent.batches.front_mut() {
            let Some(word) = first.receipt.ready() else {
                return;
            };
            match word {
                Ok(_) => self.telemetry.note_written(Ok(())),
                Err(refused) => {
                    let levels = first.levels;
                    self.refused(&refused, &levels);
                }
            }
            sent.bytes -= first.bytes;
            sent.batches.pop_front();
        }
    }

    fn refused(&self, why: &Refused, levels: &[u64; LEVELS]) {
        // Where nothing is kept by choice, nothing is missed.
        if !matches!(why, Refused::Closed) {
            self.telemetry.note_written(Err(why));
            self.count(levels);
        }
    }

    fn count(&self, levels: &[u64; LEVELS]) {
        for (count, records) in self.shed.iter().zip(levels) {
            count.fetch_add(*records, Ordering::Relaxed);
        }
    }

    fn without_debug(&self, batch: Batch) -> Batch {
        let rows = 0..u32::try_from(batch.rows()).unwrap_or(u32::MAX);
        let kept = rows.filter(|it| {
            let row = usize::try_from(*it).unwrap_or(0);
            level_of(&batch, row) != Level::Debug
        });
        let kept: Vec<u32> = kept.collect();
        if kept.len() == batch.rows() {
            return batch;
        }
        let mut shed = [0; LEVELS];
        shed[place(Level::Debug)] = (batch.rows() - kept.len()) as u64;
        self.count(&shed);
        batch.gather(&kept)
    }
}

/// How much a record matters: what is told as a line as much as that.
fn level_of(batch: &Batch, row: usize) -> Level {
    let word = batch.schema().counted.and_then(|it| batch.text(it, row));
    let word = word.unwrap_or_default();
    match (batch.kind(), Lines::of(batch.kind())) {
        (_, Some(lines)) => lines.level(word),
        (Kind::Logs, None) => word.parse().unwrap_or(Level::Info),
        (_, None) => Level::Info,
    }
}

fn levels_of(batch: &Batch) -> [u64; LEVELS] {
    let mut levels = [0; LEVELS];
    for row in 0..batch.rows() {
        levels[place(level_of(batch, row))] += 1;
    }
    levels
}

fn place(level: Level) -> usize {
    let place = Level::ALL.iter().position(|it| *it == level);
    place.unwrap_or(0)
}
