//! A store that may not be there: whoever serves goes on without it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tidegate_observe::telemetry::Batch;
use tidegate_types::{Clock, Monotonic, with_causes};

use crate::{
    append::{BodyHash, Receipt},
    error::{Refused, SegmentsError},
    limits::Options,
    segments::{Segments, Status},
    tend::{Tended, Tending},
};

/// Between two tries to open a directory that could not be opened: a person who frees some space
/// sees it taken up at once, and a broken disk is not worn by it.
const REOPEN_EVERY: Duration = Duration::from_secs(10);

/// News that wait to be read. Whoever reads them does so every second.
const NEWS_MAX: usize = 64;

/// The telemetry of a program that serves whether or not it can be kept. Where its directory can't
/// be opened, everything that is appended is refused with the reason, nothing is found, and
/// [`Self::reopen`] tries again.
#[derive(Debug)]
pub struct Telemetry {
    directory: PathBuf,
    options: Options,
    clock: Arc<dyn Clock>,
    /// Held by whoever opens or closes: two that open would keep each other out.
    opening: Mutex<()>,
    standing: RwLock<Standing>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug)]
enum Standing {
    Open {
        segments: Arc<Segments>,
        /// Ends with the standing.
        _tending: Tending,
    },
    Failed {
        why: SegmentsError,
        /// When it was tried last.
        tried: Monotonic,
    },
    Closed,
}

/// What was noticed since the start.
#[derive(Debug, Default)]
struct Seen {
    condition: Condition,
    /// What the last writing of records said, and what the last tending said.
    writing: Option<String>,
    tending: Option<String>,
    news: Vec<News>,
}

/// How it is, as of the last second.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Why records are not kept, or not looked after, at this time.
    pub failing: Option<String>,
    /// How full it is; `None` where it is not open.
    pub status: Option<Status>,
    /// Parts that had to go for the budget before they were too old.
    pub crowded_out_parts: u64,
    /// Files and blocks that could not be read and were set aside.
    pub damaged: u64,
}

/// Something that a person should be told, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Something could not be read and was set aside.
    Damaged(String),
    /// Records can't be kept, or old ones not be looked after.
    Failed(String),
    /// They can again.
    Recovered,
    /// So many parts had to go for the budget, with records that were not yet too old.
    CrowdedOut(usize),
}

impl Telemetry {
    /// Opens a directory. Where that fails, the telemetry is there all the same, and fails.
    pub fn open(directory: &Path, options: Options, clock: Arc<dyn Clock>) -> Self {
        let telemetry = Self {
            directory: directory.to_owned(),
            options,
            clock,
            opening: Mutex::default(),
            standing: RwLock::new(Standing::Closed),
            seen: Arc::default(),
        };
        telemetry.try_open();
        telemetry
    }

    /// One that keeps nothing, by choice.
    pub fn off(clock: Arc<dyn Clock>) -> Self {
        Self {
            directory: PathBuf::new(),
            options: Options::default(),
            clock,
            opening: Mutex::default(),
            standing: RwLock::new(Standing::Closed),
            seen: Arc::default(),
        }
    }

    /// The store, where it is open.
    pub fn segments(&self) -> Option<Arc<Segments>> {
        match &*self.standing.read() {
            Standing::Open { segments, .. } => Some(Arc::clone(segments)),
            Standing::Failed { .. } | Standing::Closed => None,
        }
    }

    /// As [`Segments::append`]; where it is not open, the batch is refused with the reason.
    ///
    /// # Errors
    /// Why it was not taken.
    pub fn append(&self, batch: Batch, hash: Option<BodyHash>) -> Result<Receipt, Refused> {
        match &*self.standing.read() {
            Standing::Open { segments, .. } => segments.append(batch, hash),
            Standing::Failed { why, .. } => Err(Refused::Unwritten(why.clone())),
            Standing::Closed => Err(Refused::Closed),
        }
    }

    pub(crate) fn append_own(&self, batch: Batch) -> Result<Receipt, Refused> {
        match &*self.standing.read() {
            Standing::Open { segments, .. } => segments.append_own(batch),
            Standing::Failed { why, .. } => Err(Refused::Unwritten(why.clone())),
            Standing::Closed => Err(Refused::Closed),
        }
    }

    /// Why it is not open; `None` also where it keeps nothing by choice.
    pub(crate) fn why_not(&self) -> Option<SegmentsError> {
        match &*self.standing.read() {
            Standing::Failed { why, .. } => Some(why.clone()),
            Standing::Open { .. } | Standing::Closed => None,
        }
    }

    /// How it is kept.
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Takes note of how writing a batch ended, so that it is told and shown.
    pub fn note_written(&self, written: Result<(), &Refused>) {
        let failed = match written {
            Err(Refused::Unwritten(error)) => Some(with_causes(error)),
            // That one should come back later is no failure.
            Ok(()) | Err(_) => None,
        };
        let mut seen = self.seen.lock();
        seen.writing = failed;
        seen.judge();
    }

    /// Tries to open what could not be opened, if that was a while ago. May wait for the disk.
    pub fn reopen(&self) {
        let Some(_opening) = self.opening.try_lock() else {
            return;
        };
        let is_due = match &*self.standing.read() {
            Standing::Failed { tried, .. } => self.clock.monotonic().since(*tried) >= REOPEN_EVERY,
            Standing::Open { .. } | Standing::Closed => false,
        };
        if is_due {
            self.try_open();
        }
    }

    /// How it is. Never waits.
    pub fn condition(&self) -> Condition {
        self.seen.lock().condition.clone()
    }

    /// Whether it keeps anything, or would if it could.
    pub fn is_on(&self) -> bool {
        !matches!(&*self.standing.read(), Standing::Closed)
    }

    /// What has happened since this was last asked.
    pub fn take_news(&self) -> Vec<News> {
        std::mem::take(&mut self.seen.lock().news)
    }

    /// Commits what was taken in, and takes nothing more.
    pub fn close(&self) {
        let _opening = self.opening.lock();
        let before = std::mem::replace(&mut *self.standing.write(), Standing::Closed);
        if let Standing::Open { segments, .. } = &before {
            segments.close();
        }
    }

    fn try_open(&self) {
        let opened = self.opened();
        let mut seen = self.seen.lock();
        let standing = match opened {
            Ok(open) => {
                seen.writing = None;
                seen.tending = None;
                open
            }
            Err(why) => {
                seen.writing = Some(with_causes(&why));
                let tried = self.clock.monotonic();
                Standing::Failed { why, tried }
            }
        };
        seen.judge();
        drop(seen);
        *self.standing.write() = standing;
    }

    fn opened(&self) -> Result<Standing, SegmentsError> {
        let clock = Arc::clone(&self.clock);
        let (segments, recovery) = Segments::open(&self.directory, self.options, clock)?;
        let segments = Arc::new(segments);
        let mut seen = self.seen.lock();
        for what in recovery.damaged {
            seen.damaged(what);
        }
        seen.condition.status = segments.status().ok();
        drop(seen);
        let (seen, looked_at) = (Arc::clone(&self.seen), Arc::downgrade(&segments));
        let tending = segments.start_tending(move |it| note_tended(&seen, it, &looked_at))?;
        Ok(Standing::Open {
            segments,
            _tending: tending,
        })
    }
}

fn note_tended(seen: &Mutex<Seen>, tended: Tended, segments: &Weak<Segments>) {
    let status = segments.upgrade().and_then(|it| it.status().ok());
    let mut seen = seen.lock();
    for what in tended.damaged {
        seen.damaged(what);
    }
    if tended.crowded_out_parts > 0 {
        seen.condition.crowded_out_parts += tended.crowded_out_parts as u64;
        seen.tell(News::CrowdedOut(tended.crowded_out_parts));
    }
    seen.tending = tended.failed.first().map(|it| with_causes(it));
    seen.condition.status = status;
    seen.judge();
}

impl Seen {
    fn damaged(&mut self, what: String) {
        self.condition.damaged += 1;
        self.tell(News::Damaged(what));
    }

    /// Says when it begins to fail, fails in another way, or does no longer.
    fn judge(&mut self) {
        let failing = self.writing.as_ref().or(self.tending.as_ref()).cloned();
        if failing == self.condition.failing {
            return;
        }
        self.tell(match &failing {
            Some(why) => News::Failed(why.clone()),
            None => News::Recovered,
        });
        self.condition.failing = failing;
    }

    fn tell(&mut self, news: News) {
        if self.news.len() < NEWS_MAX {
            self.news.push(news);
        }
    }
}
