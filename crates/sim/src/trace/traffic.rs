//! What a trace says of who asked for what and when.

use std::{path::Path, sync::Arc, time::Duration};

use tidegate_types::Tokens;

use super::{
    Format, Rates, Session, TraceError, azure, burst, mooncake, own, rates, reading, sessions,
    source::Source, transcripts,
};
use crate::limits::TRACE_CALLS_MAX;

/// Recorded traffic.
#[derive(Clone, Debug, PartialEq)]
pub enum Traffic {
    /// Sessions: closed loops, whose next call comes after the answer.
    Sessions(Vec<Session>),
    /// Calls that come when they come, whatever became of those before: an open loop. In the order of their times.
    Calls(Vec<Arrival>),
    /// How often each client asks, time by time.
    Rates(Rates),
}

/// A call that comes when it comes.
#[derive(Clone, Debug, PartialEq)]
pub struct Arrival {
    /// When, since the first of its trace.
    pub at: Duration,
    /// The model.
    pub model: Arc<str>,
    /// All input.
    pub input: Tokens,
    /// The output.
    pub output: Tokens,
    /// What it begins with that an earlier call has sent.
    pub shared: Option<Shared>,
}

/// The beginning of a prompt that another call has sent before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The call that sent it last, by its place in the trace.
    pub with: u32,
    /// How long it is; less than the input.
    pub tokens: Tokens,
}

/// What was read of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// The format it is in.
    pub format: Format,
    /// It.
    pub traffic: Traffic,
    /// Calls that are not played: those that no provider answered, and copies.
    pub passed_over: u64,
}

/// The model of calls that name none, which is what prices are then for.
pub(super) const MODEL: &str = "claude-opus-4-5-20251101";

/// How a trace is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Its format; `None`: as its content says.
    pub format: Option<Format>,
    /// Of traces of calls that come when they come, only so much from the first on is read.
    pub within: Duration,
    /// Of such traces, only the calls of this model.
    pub model: Option<String>,
}

impl Default for Reading {
    fn default() -> Self {
        Self {
            format: None,
            within: Duration::MAX,
            model: None,
        }
    }
}

impl Reading {
    /// Reads a file, or the folder of Claude Code's transcripts. Of files that can be read row by row, no more is held
    /// than what is played; [`limits`](crate::limits) says how much that can be.
    pub fn load(&self, path: &Path) -> Result<Loaded, TraceError> {
        if path.is_dir() {
            return match self.format {
                None | Some(Format::ClaudeCode) => self.finished(path, transcripts::load(path)?),
                Some(other) => Err(TraceError::Nothing {
                    path: path.to_owned(),
                    reason: format!(
                        "it is a folder, and `{other}` is the format of a file: name one"
                    ),
                }),
            };
        }
        let source = Source::open(path)?;
        let format = self.format.or_else(|| Format::of(&source.beginning));
        let loaded = match format {
            None => {
                return Err(TraceError::Unknown {
                    path: path.to_owned(),
                });
            }
            Some(Format::Sessions) => {
                let mut read = Vec::new();
                let mut calls = 0;
                for session in sessions(reading::rows(path, source.reader)) {
                    let session = session?;
                    calls += session.rows.len();
                    within_memory(path, calls)?;
                    read.push(session);
                }
                Loaded {
                    format: Format::Sessions,
                    traffic: Traffic::Sessions(read),
                    passed_over: 0,
                }
            }
            Some(Format::Azure) => azure::load(source, self)?,
            Some(Format::BurstGpt) => burst::load(source, self)?,
            Some(Format::Mooncake) => mooncake::load(source, self)?,
            Some(Format::ServeGen) => rates::load(source, self)?,
            Some(Format::Tidegate) => own::load(source)?,
            Some(Format::ClaudeCode) => transcripts::load_one(source)?,
        };
        self.finished(path, loaded)
    }

    fn finished(&self, path: &Path, loaded: Loaded) -> Result<Loaded, TraceError> {
        let nothing = |reason: String| {
            let path = path.to_owned();
            Err(TraceError::Nothing { path, reason })
        };
        let (empty, sessions) = match &loaded.traffic {
            Traffic::Sessions(all) => (all.is_empty(), true),
            Traffic::Calls(all) => (all.is_empty(), false),
            Traffic::Rates(all) => (all.windows.is_empty(), false),
        };
        if let Some(model) = &self.model {
            if sessions {
                return nothing(format!(
                    "sessions are played whole, so that `{model}` alone can't be: leave the model out"
                ));
            }
            if empty {
                return nothing(format!("it has no call of the model `{model}`"));
            }
        }
        if empty {
            let over = loaded.passed_over;
            return nothing(format!(
                "it is read as `{}` and has no call that could be played ({over} passed over); --format names another format",
                loaded.format
            ));
        }
        Ok(loaded)
    }
}

/// Refuses to hold more calls than there is memory for.
pub(super) fn within_memory(path: &Path, calls: usize) -> Result<(), TraceError> {
    if calls <= TRACE_CALLS_MAX {
        return Ok(());
    }
    Err(TraceError::Nothing {
        path: path.to_owned(),
        reason: format!(
            "it has more than {TRACE_CALLS_MAX} calls, which is the most that is held at once: ask for fewer hours, or give a part of it"
        ),
    })
}

/// Calls in the order of their times, as they are read.
pub(super) struct Arrivals<'a> {
    reading: &'a Reading,
    began: Option<Duration>,
    all: Vec<Arrival>,
    models: Vec<Arc<str>>,
}

/// What becomes of a call that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// It is played, and has this place.
    At(u32),
    /// It is of another model.
    Other,
    /// It is later than all that is wanted.
    Late,
    /// It is earlier than the one before it.
    Early,
}

impl<'a> Arrivals<'a> {
    pub(super) const fn new(reading: &'a Reading) -> Self {
        Self {
            reading,
            began: None,
            all: Vec::new(),
            models: Vec::new(),
        }
    }

    /// The name of a model, kept once.
    fn model(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.models.iter().find(|it| &***it == name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.models.push(Arc::clone(&new));
        new
    }

    /// Takes a call of this model, which came then by the trace's own clock.
    pub(super) fn take(&mut self, at: Duration, model: &str, tokens: (Tokens, Tokens)) -> Taken {
        let began = *self.began.get_or_insert(at);
        let last = self.all.last().map_or(Duration::ZERO, |it| it.at);
        let Some(at) = at.checked_sub(began).filter(|it| *it >= last) else {
            return Taken::Early;
        };
        if at > self.reading.within {
            return Taken::Late;
        }
        let wanted = self.reading.model.as_deref();
        if wanted.is_some_and(|it| it != model) {
            return Taken::Other;
        }
        let place = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        let model = self.model(model);
        let (input, output) = tokens;
        self.all.push(Arrival {
            at,
            model,
            input,
            output,
            shared: None,
        });
        Taken::At(place)
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Arrival> {
        self.all.last_mut()
    }

    pub(super) const fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn loaded(self, format: Format, passed_over: u64) -> Loaded {
        Loaded {
            format,
            traffic: Traffic::Calls(self.all),
            passed_over,
        }
    }
}
