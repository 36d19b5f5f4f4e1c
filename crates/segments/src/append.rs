//! Batches are taken in, and committed in groups by a thread of their own.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    io,
    sync::Arc,
};

use parking_lot::{Condvar, Mutex};
use sha2::{Digest as _, Sha256};
use tidegate_observe::telemetry::{AT, Batch, Counts, Findable, Kind};
use tidegate_types::{Clock, Timestamp};
use tokio::sync::oneshot::{self, error::TryRecvError};

use crate::{
    catalogue::{self, NewBlock},
    error::{Refused, SegmentsError},
    limits::{
        AHEAD_MAX, BLOCK_LEVEL, BLOCK_ROWS, FLUSH_WAIT, GROUP_BYTES, GROUP_WAIT, HASHES_KEPT,
        QUEUE_BYTES_MAX, RETRY_QUEUE, RETRY_RECENT,
    },
    segments::{Core, nanos},
};

/// Tells a batch that is sent again from a new one: half of the SHA-256 of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BodyHash([u8; 16]);

impl BodyHash {
    /// The hash of a body as it was received.
    pub fn of(body: &[u8]) -> Self {
        Self::of_parts(&[body])
    }

    /// The hash of what tells it from others, one after another: who sent it to where, and the body
    /// last. What stands before it must tell where it ends.
    pub fn of_parts(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update(part);
        }
        let whole = hash.finalize();
        let mut half = [0; 16];
        half.copy_from_slice(&whole[..16]);
        Self(half)
    }
}

/// A batch is durable, and every query that begins from now on sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Acknowledged {
    /// Its rows.
    pub rows: usize,
    /// Whether it had been taken before: then nothing was added.
    pub repeated: bool,
}

/// Word on a batch, which comes when its group was committed.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Result<Acknowledged, Refused>>);

impl Receipt {
    /// Waits for it.
    ///
    /// # Errors
    /// Why none of it was kept.
    pub async fn acknowledged(self) -> Result<Acknowledged, Refused> {
        self.0.await.unwrap_or(Err(Refused::Closed))
    }

    /// Waits for it on a thread that may wait.
    ///
    /// # Errors
    /// Why none of it was kept.
    ///
    /// # Panics
    /// Inside of an asynchronous task: use [`Self::acknowledged`] there.
    pub fn wait(self) -> Result<Acknowledged, Refused> {
        self.0.blocking_recv().unwrap_or(Err(Refused::Closed))
    }
}

impl Receipt {
    /// The word on it, if it has come. Asked only until then.
    pub(crate) fn ready(&mut self) -> Option<Result<Acknowledged, Refused>> {
        match self.0.try_recv() {
            Ok(word) => Some(word),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(Refused::Closed)),
        }
    }
}

/// A batch that waits to be committed.
#[derive(Debug)]
pub(crate) struct Job {
    batch: Batch,
    hash: Option<BodyHash>,
    reply: oneshot::Sender<Result<Acknowledged, Refused>>,
}

/// What waits to be committed, bounded by its bytes.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    inner: Mutex<Waiting>,
    changed: Condvar,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
    /// Batches that were taken, and those of them whose senders have word.
    taken: u64,
    settled: u64,
}

impl Queue {
    /// Takes a batch, unless so many bytes would wait then.
    pub(crate) fn put(
        &self,
        batch: Batch,
        hash: Option<BodyHash>,
        most_waiting: usize,
    ) -> Result<Receipt, Refused> {
        let bytes = batch.bytes();
        if bytes > QUEUE_BYTES_MAX {
            let most = QUEUE_BYTES_MAX;
            return Err(Refused::TooLarge { bytes, most });
        }
        let mut waiting = self.inner.lock();
        if waiting.closed {
            return Err(Refused::Closed);
        }
        if waiting.bytes + bytes > most_waiting {
            return Err(Refused::Busy {
                retry_after: RETRY_QUEUE,
            });
        }
        let (reply, receipt) = oneshot::channel();
        waiting.bytes += bytes;
        waiting.taken += 1;
        waiting.jobs.push_back(Job { batch, hash, reply });
        self.changed.notify_one();
        Ok(Receipt(receipt))
    }

    /// What waits now, as soon as there is something: after a moment in which more may come,
    /// unless it is enough. `None` when the queue is closed and empty.
    pub(crate) fn gather(&self, clock: &dyn Clock) -> Option<Vec<Job>> {
        let mut waiting = self.inner.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return None;
            }
            self.changed.wait(&mut waiting);
        }
        let began = clock.monotonic();
        while waiting.bytes < GROUP_BYTES && !waiting.closed {
            let Some(left) = GROUP_WAIT.checked_sub(clock.monotonic().since(began)) else {
                break;
            };
            // A clock that stands still must not make this wait for ever.
            if self.changed.wait_for(&mut waiting, left).timed_out() {
                break;
            }
        }
        let mut group = Vec::new();
        let mut bytes = 0;
        while bytes < GROUP_BYTES {
            let Some(job) = waiting.jobs.pop_front() else {
                break;
            };
            bytes += job.batch.bytes();
            group.push(job);
        }
        waiting.bytes = waiting.bytes.saturating_sub(bytes);
        Some(group)
    }

    /// So many more have word.
    fn settle(&self, batches: usize) {
        self.inner.lock().settled += batches as u64;
        self.settled.notify_all();
    }

    /// Returns when everything that was taken before has word; or when a disk is that slow.
    pub(crate) fn flush(&self) {
        let mut waiting = self.inner.lock();
        let target = waiting.taken;
        while waiting.settled < target {
            if self.settled.wait_for(&mut waiting, FLUSH_WAIT).timed_out() {
                return;
            }
        }
    }

    /// Refuses everything from now on; what waits is still committed.
    pub(crate) fn close(&self) {
        self.inner.lock().closed = true;
        self.changed.notify_all();
    }
}

/// Commits group after group, until the queue is closed and empty.
pub(crate) fn run(core: &Core) {
    while let Some(group) = core.queue.gather(&*core.clock) {
        let batches = group.len();
        commit(core, group);
        core.queue.settle(batches);
        core.look_at_recent();
    }
}

fn commit(core: &Core, group: Vec<Job>) {
    let now = core.clock.now();
    let done = known(core, &group, now).and_then(|known| {
        let fresh = group.iter().zip(&known).filter(|(_, known)| !**known);
        let fresh: Vec<&Job> = fresh.map(|(job, _)| job).collect();
        let batches = write(core, &fresh, now)?;
        Ok((known, batches))
    });
    match done {
        Ok((known, batches)) => {
            for batch in batches {
                core.tails.send(batch);
            }
            for (job, repeated) in group.into_iter().zip(known) {
                let rows = job.batch.rows();
                // Whoever no longer waits need not be told.
                let _gone = job.reply.send(Ok(Acknowledged { rows, repeated }));
            }
        }
        Err(error) => {
            let refused = core.refusal(error);
            for job in group {
                let _gone = job.reply.send(Err(refused.clone()));
            }
        }
    }
}

/// Which of the batches were taken before, or stand twice in the group.
fn known(core: &Core, group: &[Job], now: Timestamp) -> Result<Vec<bool>, SegmentsError> {
    let since =
        nanos(now).saturating_sub(i64::try_from(HASHES_KEPT.as_nanos()).unwrap_or(i64::MAX));
    core.catalogue.ask(|catalogue| {
        let mut here = HashSet::new();
        let known = |job: &Job| match job.hash {
            Some(hash) => {
                Ok(!here.insert(hash) || catalogue::knows_hash(catalogue, &hash.0, since)?)
            }
            None => Ok(false),
        };
        group.iter().map(known).collect()
    })
}

/// Makes the batches durable, and gives them as they were written, joined by kind.
fn write(core: &Core, jobs: &[&Job], now: Timestamp) -> Result<Vec<Arc<Batch>>, SegmentsError> {
    let mut blocks = Vec::new();
    for mut batch in joined(jobs) {
        let keep = core.options.keep.of(batch.kind());
        let sane = nanos(Timestamp(
            now.0
                .saturating_sub(u64::try_from(keep.as_nanos()).unwrap_or(u64::MAX)),
        ))..nanos(now.after(AHEAD_MAX));
        batch.correct_times(&sane, nanos(now));
        let first = core.number(&mut batch);
        blocks.push((first, block(&batch)?, batch));
    }
    let expired = now
        .0
        .saturating_sub(u64::try_from(HASHES_KEPT.as_nanos()).unwrap_or(u64::MAX));
    core.catalogue.change(|change| {
        for (first, block, _) in &blocks {
            catalogue::put_block(change, *first, block, nanos(now))?;
        }
        for hash in jobs.iter().filter_map(|it| it.hash) {
            catalogue::put_hash(change, &hash.0, nanos(now))?;
        }
        catalogue::forget_hashes(change, nanos(Timestamp(expired)))
    })?;
    Ok(blocks
        .into_iter()
        .map(|(_, _, batch)| Arc::new(batch))
        .collect())
}

/// The rows of all batches by kind, as many together as a block has. Those that came at the same time
/// are joined in the order of their first records: the more numbers rise with times, the less room
/// they take.
fn joined(jobs: &[&Job]) -> impl Iterator<Item = Batch> {
    let mut batches: Vec<&Batch> = jobs.iter().map(|it| &it.batch).collect();
    batches.sort_by_key(|it| it.integers(AT).first().copied());
    let mut kinds: BTreeMap<Kind, Vec<Batch>> = BTreeMap::new();
    for batch in batches {
        let kind = batch.kind();
        let blocks = kinds.entry(kind).or_default();
        let mut start = 0;
        while start < batch.rows() {
            if blocks.last().is_none_or(|it| it.rows() == BLOCK_ROWS) {
                blocks.push(Batch::new(kind));
            }
            if let Some(block) = blocks.last_mut() {
                let end = batch.rows().min(start + BLOCK_ROWS - block.rows());
                block.extend(batch, start..end);
                start = end;
            }
        }
    }
    kinds.into_values().flatten()
}

fn block(batch: &Batch) -> Result<NewBlock, SegmentsError> {
    let times = batch.integers(AT);
    let plain = batch.encode();
    let records = packed(&plain);
    let records = records.map_err(|it| SegmentsError::io("a block of records".as_ref(), it))?;
    let bits = Findable::block(batch);
    Ok(NewBlock {
        kind: batch.kind(),
        rows: batch.rows(),
        first: times.iter().copied().min().unwrap_or(0),
        last: times.iter().copied().max().unwrap_or(0),
        plain_bytes: batch.bytes(),
        counts: Counts::of(batch).encode(),
        ids: bits.ids.bytes().to_vec(),
        words: bits.words.bytes().to_vec(),
        records,
    })
}

/// With a checksum, which `unpack` compares: the database has none of its pages.
fn packed(plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut compressor = zstd::bulk::Compressor::new(BLOCK_LEVEL)?;
    compressor.include_checksum(true)?;
    compressor.compress(plain)
}

impl Core {
    /// What a batch that could not be written is told: that recent records have their share of
    /// the disk is no failure, but a reason to come back.
    fn refusal(&self, error: SegmentsError) -> Refused {
        let used = self.catalogue.used_bytes().map_or(0, |it| it.0);
        if matches!(error, SegmentsError::Full { .. }) && used > self.options.recent_bytes / 2 {
            return Refused::Busy {
                retry_after: RETRY_RECENT,
            };
        }
        Refused::Unwritten(error)
    }
}
