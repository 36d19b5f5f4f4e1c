//! The store as a whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tidegate_observe::telemetry::{Batch, Filter, Kind};
use tidegate_types::{Clock, IdSource, Timestamp};

use crate::{
    append::{self, BodyHash, Queue, Receipt},
    catalogue::{self, Catalogue},
    directory::{self, Layout},
    error::{Refused, SegmentsError},
    limits::{BLOCK_ROWS, BUSY_WAIT, OWN_BYTES_MAX, Options, QUEUE_BYTES_MAX, RETRY_RECENT},
    part::Part,
    tail::{Tail, Tails},
};

/// The telemetry of one directory. Appends, queries and tending may go on at the same time, from
/// any thread.
#[derive(Debug)]
pub struct Segments {
    core: Arc<Core>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

/// What all threads share.
///
/// Locks are taken in this order: `house`, `parts`, the catalogue's.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) layout: Layout,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) catalogue: Catalogue,
    /// The parts that the catalogue has. Changed together with it, and read together with it.
    pub(crate) parts: RwLock<Arc<Vec<Arc<Part>>>>,
    /// What all parts take on the disk, also those that only a reader still has.
    pub(crate) space: Arc<AtomicU64>,
    pub(crate) queue: Queue,
    pub(crate) tails: Tails,
    /// Held by whoever seals, merges and drops: one at a time.
    pub(crate) house: Mutex<House>,
    /// Whether recent records have most of their share of the disk.
    crowded: AtomicBool,
    /// Parts that went for the budget since the start.
    pub(crate) crowded_out: AtomicU64,
    ids: IdSource,
}

/// What only tending changes.
#[derive(Debug)]
pub(crate) struct House {
    /// The id of the next part.
    pub(crate) next_part: u64,
}

/// What was found when a directory was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Files of parts that were never finished, or that had been dropped; removed.
    pub orphans: usize,
    /// Parts that were found without a catalogue and taken into a new one.
    pub adopted: usize,
    /// What could not be read and was set aside, with the reason.
    pub damaged: Vec<String>,
}

/// How full the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes of recent records in the database, without its log.
    pub recent_bytes: u64,
    /// Bytes of the database's log.
    pub log_bytes: u64,
    /// Bytes of parts and their indexes.
    pub part_bytes: u64,
    /// Parts.
    pub parts: usize,
    /// The time of the oldest record of each kind that a part has: the proof of retention.
    pub oldest: BTreeMap<Kind, Timestamp>,
    /// Whether batches are refused for now.
    pub busy: bool,
}

impl Segments {
    /// Opens a directory, makes what is missing, and puts right what a crash has left.
    ///
    /// # Errors
    /// A directory that another process has, or that can't be written. Damaged files are no
    /// error: they are set aside and reported.
    pub fn open(
        directory: &Path,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Recovery), SegmentsError> {
        let space = Arc::new(AtomicU64::new(0));
        let found = directory::open(directory, &options, &space, clock.now())?;
        let last = found.catalogue.ask(catalogue::last_block)?;
        let after = u64::try_from(last).unwrap_or(0) + BLOCK_ROWS as u64;
        // Without its database nothing says which was the last; a million a millisecond is more than any.
        let after = after.max(IdSource::first_at(clock.now()).saturating_sub(1));
        let core = Arc::new(Core {
            layout: found.layout,
            options,
            clock,
            catalogue: found.catalogue,
            parts: RwLock::new(Arc::new(found.parts)),
            space,
            queue: Queue::default(),
            tails: Tails::default(),
            house: Mutex::new(House {
                next_part: found.next_part,
            }),
            crowded: AtomicBool::new(false),
            crowded_out: AtomicU64::new(0),
            ids: IdSource::after(after),
        });
        core.look_at_recent();
        let shared = core.clone();
        let named = std::thread::Builder::new().name("telemetry".to_owned());
        let writer = named.spawn(move || append::run(&shared));
        let writer = writer.map_err(|it| SegmentsError::io(directory, it))?;
        let segments = Self {
            core,
            writer: Mutex::new(Some(writer)),
        };
        Ok((segments, found.recovery))
    }

    /// Takes a batch in. With a hash, one that was taken within the last 10 minutes under the same
    /// hash is acknowledged and not kept again.
    ///
    /// Never waits: word on the batch comes by the receipt.
    ///
    /// # Errors
    /// Why it was refused at once, and when to send it again.
    pub fn append(&self, batch: Batch, hash: Option<BodyHash>) -> Result<Receipt, Refused> {
        if self.core.crowded.load(Ordering::Relaxed) {
            return Err(Refused::Busy {
                retry_after: RETRY_RECENT,
            });
        }
        self.core.queue.put(batch, hash, QUEUE_BYTES_MAX)
    }

    /// As [`Self::append`], for the program's own records: they have room of their own in the queue,
    /// and are taken as long as recent records have any room left.
    pub(crate) fn append_own(&self, batch: Batch) -> Result<Receipt, Refused> {
        let most = QUEUE_BYTES_MAX + OWN_BYTES_MAX;
        self.core.queue.put(batch, None, most)
    }

    /// Returns when all that was appended before is durable, or refused. Waits for the disk.
    pub fn flush(&self) {
        self.core.queue.flush();
    }

    /// Follows the records that match, from now on, as they become durable.
    pub fn tail(&self, filter: Filter) -> Tail {
        self.core.tails.follow(filter)
    }

    /// How full it is.
    ///
    /// # Errors
    /// A database that can't be read.
    pub fn status(&self) -> Result<Status, SegmentsError> {
        let (recent_bytes, log_bytes) = self.core.catalogue.used_bytes()?;
        let parts = self.core.parts.read().clone();
        let mut oldest = BTreeMap::new();
        for part in parts.iter() {
            let at = Timestamp(u64::try_from(part.times.0).unwrap_or(0));
            let known = oldest.entry(part.row.kind).or_insert(at);
            *known = at.min(*known);
        }
        Ok(Status {
            recent_bytes,
            log_bytes,
            part_bytes: self.core.space.load(Ordering::Relaxed),
            parts: parts.len(),
            oldest,
            busy: self.core.crowded.load(Ordering::Relaxed),
        })
    }

    /// Commits what was taken in, and takes nothing more. Queries go on.
    pub fn close(&self) {
        self.core.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            // A writer that panicked has said so.
            let _ended = writer.join();
        }
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

impl Drop for Segments {
    /// Commits what was taken in, and stops.
    fn drop(&mut self) {
        self.close();
    }
}

impl Core {
    /// Gives the rows of a batch ids that follow each other and those of the batch before, and returns
    /// the first. The denser they are, the less room they take.
    pub(crate) fn number(&self, batch: &mut Batch) -> i64 {
        let first = self.ids.run::<Record>(batch.rows() as u64);
        let first = first.raw().cast_signed();
        batch.number(first);
        first
    }

    /// Sees how much of their share of the disk recent records have.
    pub(crate) fn look_at_recent(&self) {
        let most = self.options.log_bytes() / 2;
        let looked = self
            .shorten_log(most)
            .and_then(|()| self.catalogue.used_bytes());
        let Ok((used, log)) = looked else {
            return; // whoever writes next is told why
        };
        let share = self.options.recent_bytes;
        let crowded = used > share - share / 8 || log > most;
        self.crowded.store(crowded, Ordering::Relaxed);
    }

    /// Empties the database's log where readers let it grow. As long as one still reads it, it stays.
    pub(crate) fn shorten_log(&self, most: u64) -> Result<(), SegmentsError> {
        if self.catalogue.used_bytes()?.1 <= most {
            return Ok(());
        }
        self.catalogue.ask(|it| {
            it.busy_timeout(Duration::ZERO)?;
            let shortened = it.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            it.busy_timeout(BUSY_WAIT)?;
            shortened
        })
    }

    /// Puts parts into the catalogue and takes others and some blocks out of it, in one
    /// transaction: whoever reads sees all of it or nothing.
    pub(crate) fn publish(&self, swap: Swap) -> Result<(), SegmentsError> {
        let mut parts = self.parts.write();
        let changed = self.catalogue.change(|change| {
            for id in &swap.blocks {
                catalogue::drop_block(change, *id)?;
            }
            for part in &swap.gone {
                catalogue::drop_part(change, part.row.id)?;
            }
            for part in &swap.new {
                catalogue::put_part(change, part.row)?;
            }
            Ok(())
        });
        if let Err(error) = changed {
            // Nobody knows whether the disk has it: the files stay until the next start tells.
            let left: u64 = swap.new.iter().map(|it| it.bytes).sum();
            self.space.fetch_add(left, Ordering::Relaxed);
            return Err(error);
        }
        let gone = |it: &&Arc<Part>| !swap.gone.iter().any(|gone| Arc::ptr_eq(gone, it));
        let left = parts.iter().filter(gone).cloned();
        let mut all: Vec<Arc<Part>> = left.chain(swap.new).collect();
        all.sort_by_key(|it| it.row.id);
        *parts = Arc::new(all);
        for part in &swap.gone {
            part.condemn();
        }
        Ok(())
    }

    /// Sets a part aside that can't be read: it is no longer in the catalogue, and its files are
    /// kept for a person to look at.
    pub(crate) fn set_aside(&self, part: &Arc<Part>) -> Result<(), SegmentsError> {
        let mut parts = self.parts.write();
        if !parts.iter().any(|it| Arc::ptr_eq(it, part)) {
            return Ok(());
        }
        self.catalogue
            .change(|it| catalogue::drop_part(it, part.row.id))?;
        let left = parts.iter().filter(|it| !Arc::ptr_eq(it, part)).cloned();
        *parts = Arc::new(left.collect());
        directory::set_aside(&self.layout, &[&part.paths.records, &part.paths.index])
    }

    /// The paths of parts of this kind: for those who look at files.
    pub(crate) fn part_paths(&self, kind: Kind) -> Vec<PathBuf> {
        let parts = self.parts.read();
        let of_kind = parts.iter().filter(|it| it.row.kind == kind);
        of_kind.map(|it| it.paths.records.clone()).collect()
    }
}

impl Segments {
    /// The Parquet files that hold what was sealed of a kind. They stay as they are until they are
    /// merged or dropped.
    pub fn part_files(&self, kind: Kind) -> Vec<PathBuf> {
        self.core.part_paths(kind)
    }
}

/// What changes in one transaction.
#[derive(Debug, Default)]
pub(crate) struct Swap {
    pub(crate) blocks: Vec<i64>,
    pub(crate) gone: Vec<Arc<Part>>,
    pub(crate) new: Vec<Arc<Part>>,
}

/// Kind of a record's number.
enum Record {}

/// Nanoseconds since 1970, signed; times after 2262 end there.
pub(crate) fn nanos(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}
