//! The one thread that writes to the store: everything that happened, in order, many at a time.
//!
//! A call never waits for it. What a call must not lose it appends to the journal itself, which
//! survives a killed process; this thread turns the journal's facts into rows.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use tidegate_ledger::{
    LedgerStore, Line, SettingStore, StoreError,
    journal::{Journal, Position},
};
use tidegate_observe::calls::{CallRecord, CallStore};
use tidegate_types::{Clock, Disposition, with_causes};

use crate::{
    facts::{Queue, Taker, queue},
    journaling::Journaling,
    notices::NoticeSink,
};

/// Facts waiting to be written. At 10,000 calls a second this is three seconds; beyond it calls
/// are slowed down rather than forgotten.
const WAITING_MAX: usize = 65_536;

/// Facts in one transaction.
const BATCH_MAX: usize = 4_096;

/// Facts for which a batch keeps room when a burst is over.
const KEPT: usize = 1_024;

/// How long the first fact of a batch waits for others. A commit costs a disk's sync whatever is
/// in it, and nobody waits for it: the journal has what matters.
const BATCH_WAIT: Duration = Duration::from_millis(50);

/// How long nothing comes until the store is told that it may rest.
const REST_WAIT: Duration = Duration::from_secs(2);

/// How long the thread sleeps where there is nothing to do.
const IDLE_WAIT: Duration = Duration::from_mins(1);

/// How long to leave a store alone that refused to write.
const RETRY_WAIT: Duration = Duration::from_millis(500);

/// What the writer writes to.
#[derive(Clone)]
pub struct Stores {
    /// Entries of the ledger.
    pub ledger: Arc<dyn LedgerStore>,
    /// Records of calls.
    pub calls: Arc<dyn CallStore>,
    /// Small values.
    pub settings: Arc<dyn SettingStore>,
    /// What calls append to themselves.
    pub journal: Arc<dyn Journal>,
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stores")
    }
}

/// What is sent to the writer.
enum Fact {
    Entry(Box<Line>),
    Call(Arc<CallRecord>),
    /// Everything sent before it is to be written now.
    Flush(SyncSender<()>),
    /// Something could not be written: look whether it can be now.
    Wake,
    /// Something is to be kept that is no entry and no call.
    Save,
    Stop,
}

/// Whether the store takes what it is given.
#[derive(Debug, Default)]
pub struct Health {
    failing: AtomicBool,
    failures: AtomicU64,
    contradictions: AtomicU64,
    why: Mutex<Option<String>>,
}

impl Health {
    /// False while the store or the journal refuses to write.
    pub fn is_writable(&self) -> bool {
        !self.failing.load(Ordering::Relaxed)
    }

    /// Times that writing failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// What the store said last, while it fails.
    pub fn why(&self) -> Option<String> {
        self.why.lock().clone()
    }

    pub(crate) fn failed(&self, error: &dyn std::error::Error) {
        self.failures.fetch_add(1, Ordering::Relaxed);
        *self.why.lock() = Some(with_causes(error));
        self.failing.store(true, Ordering::Relaxed);
    }

    /// Entries that contradicted the ledger and were passed over: each is a defect of ours.
    pub fn contradictions(&self) -> u64 {
        self.contradictions.load(Ordering::Relaxed)
    }

    fn contradicted(&self, error: &dyn std::error::Error) {
        self.contradictions.fetch_add(1, Ordering::Relaxed);
        *self.why.lock() = Some(with_causes(error));
    }

    fn recovered(&self) {
        if self.failing.swap(false, Ordering::Relaxed) {
            *self.why.lock() = None;
        }
    }
}

/// The handle on the writer's thread. Dropping it stops the thread after all is written.
pub(crate) struct Writer {
    facts: Queue<Fact>,
    health: Arc<Health>,
    shed: Arc<AtomicU64>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// What writes where there is no thread: when it is told to flush.
    driven: Option<Mutex<Writing>>,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writer")
    }
}

/// What a writer is made of.
pub(crate) struct Making {
    pub(crate) stores: Stores,
    pub(crate) notices: Arc<dyn NoticeSink>,
    /// Says, at each commit, what else is to be kept.
    pub(crate) snapshot: Snapshot,
    /// Is told which entries are in the store, and how long that took.
    pub(crate) written: Written,
    pub(crate) journaling: Arc<Journaling>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Writer {
    /// Starts the thread; `driven`: there is none, and everything is written by [`Self::flush`].
    pub(crate) fn start(making: Making, driven: bool) -> std::io::Result<Self> {
        let (facts, waiting) = queue(WAITING_MAX);
        let health = Arc::new(Health::default());
        let shed = Arc::<AtomicU64>::default();
        let mut writing = Writing {
            stores: making.stores,
            notices: making.notices,
            save: false,
            waiting,
            health: Arc::clone(&health),
            entries: Vec::new(),
            journaling: making.journaling,
            clock: making.clock,
            checkpoint: Position::default(),
            calls: Vec::new(),
            shed: Arc::clone(&shed),
            snapshot: making.snapshot,
            written: making.written,
        };
        let (thread, driven) = if driven {
            (None, Some(Mutex::new(writing)))
        } else {
            let thread = std::thread::Builder::new().name("writer".to_owned());
            (Some(thread.spawn(move || writing.run())?), None)
        };
        Ok(Self {
            facts,
            health,
            shed,
            thread: Mutex::new(thread),
            driven,
        })
    }

    pub(crate) const fn health(&self) -> &Arc<Health> {
        &self.health
    }

    /// Records of calls that were not kept because too many were waiting.
    pub(crate) fn shed(&self) -> u64 {
        self.shed.load(Ordering::Relaxed)
    }

    /// Queues an entry. Waits where too many are queued: an entry is never forgotten.
    pub(crate) fn entry(&self, line: Line) {
        // The thread lives as long as `self`; if it panicked, the journal still has the entry.
        self.facts.push(Fact::Entry(Box::new(line)));
    }

    /// Queues a call's record; drops it, and counts that, where too many are queued.
    pub(crate) fn call(&self, record: Arc<CallRecord>) {
        if !self.facts.try_push(Fact::Call(record)) {
            self.shed.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Has the thread look whether what failed works again, if it is not busy anyway.
    pub(crate) fn wake(&self) {
        let _awake_where_full = self.facts.try_push(Fact::Wake);
    }

    /// Has the thread keep what changed beside entries and calls. Where too many facts wait, they
    /// have it kept.
    pub(crate) fn save(&self) {
        let _saved_where_full = self.facts.try_push(Fact::Save);
    }

    /// Returns when everything queued before is written, or can't be.
    pub(crate) fn flush(&self) {
        if let Some(driven) = &self.driven {
            driven.lock().write_all();
            return;
        }
        let (done, wait) = sync_channel(1);
        self.facts.push_now(Fact::Flush(done));
        // If the thread panicked, nothing more is written.
        wait.recv().unwrap_or_default();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if self.driven.is_some() {
            self.flush();
            return;
        }
        self.facts.push_now(Fact::Stop);
        if let Some(thread) = self.thread.lock().take() {
            thread.join().unwrap_or_default();
        }
    }
}

/// Says what else is to be kept.
pub(crate) type Snapshot = Box<dyn Fn() -> Vec<(String, Vec<u8>)> + Send>;

/// Is told of entries that are in the store.
pub(crate) type Written = Box<dyn Fn(&[Line], Duration) + Send>;

struct Writing {
    stores: Stores,
    notices: Arc<dyn NoticeSink>,
    /// There is something to keep that is no entry and no call.
    save: bool,
    waiting: Taker<Fact>,
    health: Arc<Health>,
    entries: Vec<Line>,
    journaling: Arc<Journaling>,
    clock: Arc<dyn Clock>,
    /// Up to where the journal was last given up.
    checkpoint: Position,
    calls: Vec<Arc<CallRecord>>,
    /// Records of calls that were not kept.
    shed: Arc<AtomicU64>,
    snapshot: Snapshot,
    written: Written,
}

impl std::fmt::Debug for Writing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Writing")
    }
}

impl Writing {
    /// Writes all that waits.
    fn write_all(&mut self) {
        let mut facts = Vec::new();
        self.waiting.take_now(&mut facts);
        self.take_all(&mut facts, &mut Vec::new());
        self.commit();
    }

    fn run(&mut self) {
        let (mut facts, mut stopping, mut rests) = (Vec::new(), false, true);
        while !stopping {
            let mut flushed = Vec::new();
            // What could not be written is tried again, whether anything new comes or not; and while
            // nothing is booked because the store fails, nothing new would ever come.
            let idle = self.entries.is_empty() && self.health.is_writable();
            let patience = match (idle, rests) {
                (true, true) => IDLE_WAIT,
                (true, false) => REST_WAIT,
                (false, _) => RETRY_WAIT,
            };
            self.waiting.take(&mut facts, patience, BATCH_WAIT);
            if idle && facts.is_empty() && !rests {
                self.rest();
            }
            rests = idle && facts.is_empty();
            stopping = self.take_all(&mut facts, &mut flushed);
            self.commit();
            if stopping && self.entries.is_empty() {
                // Everything is in the store: the next start has nothing to read back.
                let forgotten = self.journaling.forget(None);
                forgotten.unwrap_or_else(|refused| self.health.failed(&refused));
            }
            for done in flushed {
                done.send(()).unwrap_or_default();
            }
        }
    }

    /// Gives back what a burst made room for.
    fn rest(&mut self) {
        self.entries.shrink_to_fit();
        self.calls.shrink_to_fit();
        self.stores.ledger.rest();
    }

    /// Takes facts into the batch, and writes it whenever it is large; true where the last was among them.
    fn take_all(&mut self, facts: &mut Vec<Fact>, flushed: &mut Vec<SyncSender<()>>) -> bool {
        let mut stopping = false;
        for fact in facts.drain(..) {
            stopping |= self.take(fact, flushed);
            let batch = self.entries.len() + self.calls.len();
            if batch >= BATCH_MAX && self.health.is_writable() {
                self.commit();
            }
        }
        stopping
    }

    /// Takes one fact into the batch; true where it was the last.
    fn take(&mut self, fact: Fact, flushed: &mut Vec<SyncSender<()>>) -> bool {
        match fact {
            Fact::Entry(it) => self.entries.push(*it),
            Fact::Call(it) => self.calls.push(it),
            Fact::Flush(done) => flushed.push(done),
            Fact::Wake => {}
            Fact::Save => self.save = true,
            Fact::Stop => return true,
        }
        false
    }

    /// Writes the batch. Entries that can't be written are kept for the next try.
    fn commit(&mut self) {
        let nothing = self.entries.is_empty() && self.calls.is_empty() && !self.save;
        if nothing && self.health.is_writable() {
            return;
        }
        self.hand_over();
        let settled = self.journaling.settled();
        let began = self.clock.monotonic();
        match self.write() {
            Ok(()) => {
                (self.written)(&self.entries, self.clock.monotonic().since(began));
                self.entries.clear();
                self.entries.shrink_to(KEPT);
                self.save = false;
                // A store that works is not enough: nothing is booked that the journal does not take.
                match self.journaling.try_again() {
                    Ok(()) => self.health.recovered(),
                    Err(refused) => self.health.failed(&refused),
                }
                self.forget_journal(settled);
            }
            Err(refused) => {
                self.health.failed(&refused);
                // Up to the bound of the queue; the journal has them all.
                if self.entries.len() > WAITING_MAX {
                    self.entries.clear();
                }
            }
        }
    }

    /// Lets the journal forget what the store has.
    fn forget_journal(&mut self, up_to: Position) {
        if up_to > self.checkpoint {
            match self.journaling.forget(Some(up_to)) {
                Ok(()) => self.checkpoint = up_to,
                Err(refused) => self.health.failed(&refused),
            }
        }
    }

    /// Appends the batch; entries that contradict the store are passed over one by one, so that
    /// they don't hold up the others for ever.
    fn append(&self) -> Result<(), StoreError> {
        match self.stores.ledger.append_lines(&self.entries) {
            Err(conflict) if conflict.disposition() == Disposition::FixRequest => {}
            other => return other,
        }
        for entry in &self.entries {
            match self.stores.ledger.append_lines(std::slice::from_ref(entry)) {
                Err(conflict) if conflict.disposition() == Disposition::FixRequest => {
                    self.health.contradicted(&conflict);
                }
                other => other?,
            }
        }
        Ok(())
    }

    fn write(&self) -> Result<(), StoreError> {
        if !self.entries.is_empty() {
            self.append()?;
        }
        let kept = (self.snapshot)();
        // After what says that notices were given: what is not in here then was given later.
        let unsaved = self.notices.unsaved();
        if !kept.is_empty() || unsaved.is_some() {
            let values: Vec<(&str, &[u8])> = kept
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_slice()))
                .chain(unsaved.iter().map(|it| (it.name, it.value.as_slice())))
                .collect();
            self.stores.settings.set(&values)?;
        }
        if let Some(unsaved) = unsaved {
            self.notices.saved(unsaved.version);
        }
        Ok(())
    }

    /// Hands over the records of calls. They are telemetry: whether they are kept says nothing of the
    /// ledger, and no ledger that fails keeps them back.
    fn hand_over(&mut self) {
        if self.calls.is_empty() {
            return;
        }
        if self.stores.calls.append(&self.calls).is_err() {
            self.shed
                .fetch_add(self.calls.len() as u64, Ordering::Relaxed);
        }
        self.calls.clear();
        self.calls.shrink_to(KEPT);
    }
}
