//! What is due now and then: sealing, merging, dropping.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use tidegate_observe::telemetry::{Batch, Kind};

use crate::{
    catalogue::PartRow,
    error::SegmentsError,
    files,
    limits::{DAY_NANOS as DAY, GROUP_ROWS, GROUP_ROWS_MIN, MERGE_PARTS, PART_ROWS_MAX},
    part::{Part, PartReader, PartWriter, Selection, Written},
    seal,
    segments::{Core, House, Segments, Swap, nanos},
};

/// How often the thread looks whether something is due.
const EVERY: Duration = Duration::from_secs(1);

/// What was done.
#[derive(Debug, Default)]
pub struct Tended {
    /// Records that were sealed.
    pub sealed_rows: usize,
    /// Parts that became larger ones.
    pub merged_parts: usize,
    /// Parts that were too old.
    pub expired_parts: usize,
    /// Parts that had to go for the budget, whose records were not yet too old.
    pub crowded_out_parts: usize,
    /// What could not be read and was set aside.
    pub damaged: Vec<String>,
    /// What could not be done, and is tried again the next time.
    pub failed: Vec<SegmentsError>,
}

impl Segments {
    /// Does what is due. Takes as long as it takes; appends and queries go on meanwhile.
    pub fn tend(&self) -> Tended {
        self.core().tend(false)
    }

    /// The same, and seals also what is not due yet: for tests, and before files are copied.
    pub fn seal_all(&self) -> Tended {
        self.core().tend(true)
    }

    /// Tends from now on, every second, on a thread of its own, until the value is dropped.
    ///
    /// # Errors
    /// A system that gives no further thread.
    pub fn start_tending(
        &self,
        mut each: impl FnMut(Tended) + Send + 'static,
    ) -> Result<Tending, SegmentsError> {
        let core = self.core().clone();
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let stopped = stop.clone();
        let named = std::thread::Builder::new().name("telemetry-tend".to_owned());
        let thread = named.spawn(move || {
            loop {
                each(core.tend(false));
                let mut is_over = stopped.0.lock();
                if !*is_over {
                    stopped.1.wait_for(&mut is_over, EVERY);
                }
                if *is_over {
                    return;
                }
            }
        });
        let path = &self.core().layout.parts;
        let thread = Some(thread.map_err(|it| SegmentsError::io(path, it))?);
        Ok(Tending { stop, thread })
    }
}

/// A thread that tends. Ends with this value, when it has finished what it does.
#[derive(Debug)]
pub struct Tending {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Tending {
    fn drop(&mut self) {
        *self.stop.0.lock() = true;
        self.stop.1.notify_all();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so.
            let _ended = thread.join();
        }
    }
}

impl Core {
    fn tend(&self, all: bool) -> Tended {
        let mut house = self.house.lock();
        let mut tended = Tended::default();
        match self.expire() {
            Ok(parts) => tended.expired_parts = parts,
            Err(error) => tended.failed.push(error),
        }
        self.remake_indexes(&mut tended);
        let before = self.crowded_out.load(Ordering::Relaxed);
        for kind in Kind::ALL {
            match seal::seal(self, &mut house, kind, all) {
                Ok(sealed) => {
                    tended.sealed_rows += sealed.rows;
                    tended.damaged.extend(sealed.damaged);
                }
                Err(error) => tended.failed.push(error),
            }
        }
        while let Some(run) = self.next_merge() {
            match self.merge(&mut house, &run) {
                Ok(0) => break,
                Ok(parts) => tended.merged_parts += parts,
                Err(Unmerged::Damaged(part, error)) => {
                    tended.damaged.push(error.to_string());
                    if let Err(error) = self.set_aside(&part) {
                        tended.failed.push(error);
                        break;
                    }
                }
                Err(Unmerged::Failed(error)) => {
                    tended.failed.push(error);
                    break;
                }
            }
        }
        let crowded_out = self.crowded_out.load(Ordering::Relaxed) - before;
        tended.crowded_out_parts = usize::try_from(crowded_out).unwrap_or(usize::MAX);
        if let Err(error) = self.shorten_log(self.options.log_bytes() / 4) {
            tended.failed.push(error);
        }
        self.look_at_recent();
        if tended.sealed_rows == 0 {
            self.catalogue.rest();
        }
        tended
    }

    /// Makes indexes anew whose filters were found to be damaged.
    fn remake_indexes(&self, tended: &mut Tended) {
        let all = self.parts.read().clone();
        for old in all.iter().filter(|it| it.lacks_filters()) {
            let path = &old.paths.index;
            let what = "the checksum of its filters differs; it was made anew";
            tended
                .damaged
                .push(SegmentsError::damaged(path, what).to_string());
            let remade = files::remove(path)
                .and_then(|()| Part::open(&self.layout.parts, old.row, &self.space));
            let mut parts = self.parts.write();
            let others = parts.iter().filter(|it| !Arc::ptr_eq(it, old)).cloned();
            match remade {
                Ok(part) => {
                    let mut all: Vec<Arc<Part>> = others.chain([Arc::new(part)]).collect();
                    all.sort_by_key(|it| it.row.id);
                    *parts = Arc::new(all);
                }
                Err(error) => tended.failed.push(error),
            }
        }
    }

    /// Drops the parts whose records are all too old.
    fn expire(&self) -> Result<usize, SegmentsError> {
        let now = nanos(self.clock.now());
        let too_old = |it: &&Arc<Part>| {
            let keep = self.options.keep.of(it.row.kind);
            let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
            it.times.1 < now.saturating_sub(keep)
        };
        let gone: Vec<Arc<Part>> = self.parts.read().iter().filter(too_old).cloned().collect();
        let parts = gone.len();
        if parts > 0 {
            self.publish(Swap {
                gone,
                ..Swap::default()
            })?;
        }
        Ok(parts)
    }

    /// Makes room for so many bytes of a new part: drops the oldest logs and spans, then the oldest
    /// of the rest. Whether there is room now: what is dropped may still be read for a while.
    pub(crate) fn has_room(&self, bytes: u64) -> Result<bool, SegmentsError> {
        let most = self.options.parts_bytes();
        let mut parts: Vec<Arc<Part>> = self.parts.read().iter().cloned().collect();
        parts.sort_by_key(|it| {
            let dear = !matches!(it.row.kind, Kind::Logs | Kind::Spans | Kind::Metrics);
            (dear, it.times.1)
        });
        let mut kept: u64 = parts.iter().map(|it| it.bytes).sum();
        let mut gone = Vec::new();
        for part in parts {
            if kept + bytes <= most {
                break;
            }
            kept -= part.bytes;
            gone.push(part);
        }
        if !gone.is_empty() {
            self.crowded_out
                .fetch_add(gone.len() as u64, Ordering::Relaxed);
            self.publish(Swap {
                gone,
                ..Swap::default()
            })?;
        }
        Ok(self.space.load(Ordering::Relaxed) + bytes <= most)
    }

    /// Parts to be merged: of one kind and day, either as many small ones as make a larger one, or
    /// what is left of a day that is over.
    fn next_merge(&self) -> Option<Vec<Arc<Part>>> {
        let mut days: BTreeMap<(Kind, i64, u8), Vec<Arc<Part>>> = BTreeMap::new();
        let mut over: BTreeMap<(Kind, i64), Vec<Arc<Part>>> = BTreeMap::new();
        let today = nanos(self.clock.now()).div_euclid(DAY);
        for part in self.parts.read().iter() {
            let day = part.times.0.div_euclid(DAY);
            let small = part.index.rows() <= PART_ROWS_MAX / 2;
            if !small {
                continue;
            }
            let key = (part.row.kind, day, part.row.level);
            days.entry(key).or_default().push(part.clone());
            if day + 1 < today {
                over.entry((part.row.kind, day))
                    .or_default()
                    .push(part.clone());
            }
        }
        let full = days.into_values().find(|it| it.len() >= MERGE_PARTS);
        let run = full.or_else(|| over.into_values().find(|it| it.len() > 1))?;
        let mut rows = 0;
        let fits = |it: &Arc<Part>| {
            rows += it.index.rows();
            rows <= PART_ROWS_MAX
        };
        let run: Vec<Arc<Part>> = run.into_iter().take_while(fits).collect();
        (run.len() > 1).then_some(run)
    }

    /// Makes one part of several. Returns how many; none where there is no room for a while.
    fn merge(&self, house: &mut House, run: &[Arc<Part>]) -> Result<usize, Unmerged> {
        let Some(first) = run.first() else {
            return Ok(0);
        };
        let need: u64 = run.iter().map(|it| it.bytes).sum();
        let need = need + need / 8 + (64 << 10);
        // Merging is never worth a record.
        if self.space.load(Ordering::Relaxed) + need > self.options.parts_bytes() {
            return Ok(0);
        }
        let id = house.next();
        let kind = first.row.kind;
        let mut writer =
            PartWriter::create(&self.layout.parts, kind, id).map_err(Unmerged::Failed)?;
        if let Err(error) = copy_all(&mut writer, run) {
            writer.abandon();
            return Err(error);
        }
        let replaces = run.iter().map(|it| it.row.id).collect();
        let level = run.iter().map(|it| it.row.level).max().unwrap_or(0);
        let finish = || {
            let _written: Written = writer.finish(replaces)?;
            let level = level.saturating_add(1);
            let part = Part::open(&self.layout.parts, PartRow { id, kind, level }, &self.space)?;
            self.publish(Swap {
                blocks: Vec::new(),
                gone: run.to_vec(),
                new: vec![Arc::new(part)],
            })
        };
        finish().map_err(Unmerged::Failed)?;
        Ok(run.len())
    }
}

/// Why parts were not merged.
enum Unmerged {
    Failed(SegmentsError),
    /// One of them can't be read.
    Damaged(Arc<Part>, SegmentsError),
}

/// Copies large groups as they are, and joins the rows of small ones.
fn copy_all(writer: &mut PartWriter, run: &[Arc<Part>]) -> Result<(), Unmerged> {
    let Some(first) = run.first() else {
        return Ok(());
    };
    let mut rest = Batch::new(first.row.kind);
    for part in run {
        let unreadable = |error| match error {
            error @ SegmentsError::Damaged { .. } => Unmerged::Damaged(part.clone(), error),
            other => Unmerged::Failed(other),
        };
        let reader = PartReader::open(part).map_err(unreadable)?;
        let filters = part.filters().map_err(unreadable)?;
        let columns = 0..part.row.kind.schema().columns.len();
        for (group, index) in part.index.groups.iter().enumerate() {
            if let Some(filters) = &filters
                && index.rows >= GROUP_ROWS_MIN
                && reader.is_current()
            {
                let bits = filters.of_group(group).map_err(unreadable)?;
                writer.copy(&reader, group, &bits).map_err(unreadable)?;
                continue;
            }
            let all = Selection::all(index.rows);
            let batch = reader
                .read(group, columns.clone(), &all)
                .map_err(unreadable)?;
            rest.extend(&batch, 0..batch.rows());
            if rest.rows() >= GROUP_ROWS {
                rest = write_sorted(writer, &rest, GROUP_ROWS).map_err(Unmerged::Failed)?;
            }
        }
        writer.count(&part.index.counts);
    }
    write_sorted(writer, &rest, 1).map_err(Unmerged::Failed)?;
    Ok(())
}

/// Writes rows in groups of [`GROUP_ROWS`], as long as there are `least`, and returns the others.
fn write_sorted(
    writer: &mut PartWriter,
    batch: &Batch,
    least: usize,
) -> Result<Batch, SegmentsError> {
    let order = batch.by_time();
    let mut left = &order[..];
    while left.len() >= least.max(1) {
        let (group, more) = left.split_at(left.len().min(GROUP_ROWS));
        writer.group(&batch.gather(group))?;
        left = more;
    }
    Ok(batch.gather(left))
}
