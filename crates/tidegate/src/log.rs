//! The program's own log: to the terminal for people, to a bounded file for keeps, and to telemetry for
//! questions.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, IsTerminal as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::JoinHandle,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidegate_engine::observer::RecordSink;
use tidegate_observe::{
    record::{Level, LogRecord},
    redact::Redactor,
    tasks::TaskRecord,
    telemetry::{Batch, Kind, OwnLogs, put_log, put_task},
};
use tidegate_segments::OwnRecords;

use crate::config::{Log, LogForm, Settings};

/// Records waiting to be written. What comes beyond is dropped and counted: a log never blocks.
const WAITING_MAX: usize = 8_192;

/// Of them, so many may be of level DEBUG: what matters more has room for itself.
const DEBUG_WAITING_MAX: usize = WAITING_MAX / 2;

/// Records that are given to telemetry together, at most.
const BATCH_MAX: usize = 512;

/// Bytes of one file; at most [`FILES_MAX`] are kept.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Files kept, the newest included.
const FILES_MAX: u32 = 4;

/// The handle on the log. Dropping it writes what waits.
#[derive(Debug)]
pub(crate) struct Logger {
    least: AtomicU8,
    /// Records that were dropped, by level.
    shed: [AtomicU64; Level::ALL.len()],
    /// Records that were written, by level.
    written: Arc<[AtomicU64; Level::ALL.len()]>,
    /// Records of level DEBUG that wait.
    debug_waiting: Arc<AtomicUsize>,
    redactor: Arc<ArcSwap<Redactor>>,
    own: Arc<OwnRecords>,
    records: Mutex<Option<SyncSender<LogRecord>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Logger {
    /// Starts the log's thread. Lines of the configured level and above go everywhere.
    pub(crate) fn start(settings: &Settings, own: &Arc<OwnRecords>) -> io::Result<Arc<Self>> {
        let (data, log) = (&settings.data, settings.log);
        let (records, waiting) = sync_channel(WAITING_MAX);
        let redactor = Arc::new(ArcSwap::from_pointee(settings.redactor.clone()));
        let written = Arc::<[AtomicU64; Level::ALL.len()]>::default();
        let debug_waiting = Arc::<AtomicUsize>::default();
        let mut writing = Writing {
            written: Arc::clone(&written),
            debug_waiting: Arc::clone(&debug_waiting),
            own: Arc::clone(own),
            rules: OwnLogs {
                home: Arc::clone(&settings.local.organisation),
            },
            batch: Batch::new(Kind::Logs),
            waiting,
            form: log.form,
            redactor: Arc::clone(&redactor),
            file: Kept::open(data.join("log")).ok(),
        };
        let thread = std::thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || writing.run())?;
        Ok(Arc::new(Self {
            least: AtomicU8::new(rank(log.level)),
            shed: Default::default(),
            written,
            debug_waiting,
            redactor,
            own: Arc::clone(own),
            records: Mutex::new(Some(records)),
            thread: Mutex::new(Some(thread)),
        }))
    }

    /// Takes over another level and other patterns.
    pub(crate) fn reconfigure(&self, log: Log, redactor: Redactor) {
        self.least.store(rank(log.level), Ordering::Relaxed);
        self.redactor.store(Arc::new(redactor));
    }

    /// How many records were dropped since this was last asked, by level.
    pub(crate) fn take_shed(&self) -> impl Iterator<Item = (Level, u64)> {
        taken(&self.shed)
    }

    /// How many records were written since this was last asked, by level.
    pub(crate) fn take_written(&self) -> impl Iterator<Item = (Level, u64)> {
        taken(&*self.written)
    }

    /// Writes what waits, and stops.
    pub(crate) fn close(&self) {
        drop(self.records.lock().take());
        if let Some(thread) = self.thread.lock().take() {
            thread.join().unwrap_or_default();
        }
    }
}

/// The counts that are not 0, which they are from now on.
fn taken(counts: &[AtomicU64]) -> impl Iterator<Item = (Level, u64)> {
    let counts = counts.iter().map(|it| it.swap(0, Ordering::Relaxed));
    Level::ALL.into_iter().zip(counts).filter(|it| it.1 > 0)
}

fn rank(level: Level) -> u8 {
    let place = Level::ALL.iter().position(|it| *it == level);
    u8::try_from(place.unwrap_or(0)).unwrap_or(0)
}

impl RecordSink for Logger {
    fn wants(&self, level: Level) -> bool {
        rank(level) >= self.least.load(Ordering::Relaxed)
    }

    fn write(&self, record: LogRecord) {
        let level = record.level;
        let is_debug = level == Level::Debug;
        let debug_waiting = &self.debug_waiting;
        if is_debug && debug_waiting.load(Ordering::Relaxed) >= DEBUG_WAITING_MAX {
            self.count_shed(level);
            return;
        }
        let refused = match self.records.lock().as_ref() {
            Some(records) => {
                debug_waiting.fetch_add(usize::from(is_debug), Ordering::Relaxed);
                records.try_send(record).err()
            }
            None => None,
        };
        if let Some(TrySendError::Full(_)) = refused {
            debug_waiting.fetch_sub(usize::from(is_debug), Ordering::Relaxed);
            self.count_shed(level);
        }
    }

    fn tasks(&self, turned: &[TaskRecord]) {
        let mut batch = Batch::new(Kind::Tasks);
        for it in turned {
            put_task(&mut batch, it);
        }
        self.own.put(batch);
    }
}

impl Logger {
    fn count_shed(&self, level: Level) {
        if let Some(shed) = self.shed.get(usize::from(rank(level))) {
            shed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Writing {
    written: Arc<[AtomicU64; Level::ALL.len()]>,
    debug_waiting: Arc<AtomicUsize>,
    own: Arc<OwnRecords>,
    rules: OwnLogs,
    /// What is on its way to telemetry.
    batch: Batch,
    waiting: Receiver<LogRecord>,
    form: LogForm,
    redactor: Arc<ArcSwap<Redactor>>,
    file: Option<Kept>,
}

impl Writing {
    fn run(&mut self) {
        while let Ok(record) = self.waiting.recv() {
            self.take(&record);
            // What waits besides goes along.
            while self.batch.rows() < BATCH_MAX
                && let Ok(record) = self.waiting.try_recv()
            {
                self.take(&record);
            }
            self.hand_over();
        }
    }

    fn take(&mut self, record: &LogRecord) {
        let is_debug = record.level == Level::Debug;
        self.debug_waiting
            .fetch_sub(usize::from(is_debug), Ordering::Relaxed);
        let clean = record.redacted(&self.redactor.load());
        let line = clean.json_line();
        let shown = match self.form {
            LogForm::Auto if !io::stderr().is_terminal() => line.clone(),
            LogForm::Auto | LogForm::People => clean.people_line(),
            LogForm::Json => line.clone(),
        };
        // A terminal that is gone, or a full disk, must not stop the program.
        writeln!(io::stderr(), "{}", shown.trim_end()).unwrap_or_default();
        if let Some(file) = &mut self.file {
            file.write(line.trim_end()).unwrap_or_default();
        }
        if let Some(count) = self.written.get(usize::from(rank(record.level))) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        put_log(&mut self.batch, &clean, &self.rules);
    }

    fn hand_over(&mut self) {
        let batch = std::mem::replace(&mut self.batch, Batch::new(Kind::Logs));
        self.own.put(batch);
    }
}

/// `tidegate.jsonl` and its predecessors `tidegate.1.jsonl`, ….
struct Kept {
    folder: PathBuf,
    file: File,
    bytes: u64,
}

impl Kept {
    fn open(folder: PathBuf) -> io::Result<Self> {
        private_folder(&folder)?;
        let file = newest(&folder)?;
        let bytes = file.metadata()?.len();
        Ok(Self {
            folder,
            file,
            bytes,
        })
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.bytes >= FILE_BYTES_MAX {
            self.turn()?;
        }
        self.bytes += line.len() as u64 + 1;
        writeln!(self.file, "{line}")
    }

    fn turn(&mut self) -> io::Result<()> {
        for age in (1..FILES_MAX).rev() {
            let from = match age - 1 {
                0 => self.folder.join("tidegate.jsonl"),
                younger => self.folder.join(format!("tidegate.{younger}.jsonl")),
            };
            if from.exists() {
                fs::rename(from, self.folder.join(format!("tidegate.{age}.jsonl")))?;
            }
        }
        self.file = newest(&self.folder)?;
        self.bytes = 0;
        Ok(())
    }
}

/// Makes the folder if need be, for this user alone, whoever made it.
fn private_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
}

fn newest(folder: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(folder.join("tidegate.jsonl"))
}
