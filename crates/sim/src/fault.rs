//! Ways in which a provider fails, and how a test asks for them.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits;

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// What goes wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum FaultKind { $($(#[$doc])* $variant),+ }

        impl FaultKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The written form.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

kinds! {
    /// TCP reset before any byte of the answer (HTTP/2: the stream is reset).
    Reset = "reset",
    /// The headers come late: by `=MS` milliseconds, 3,000 by default. Then all is well.
    SlowHeaders = "slow-headers",
    /// TCP reset after `=N` events, 2 by default; half-way through an answer that is not streamed.
    ResetMidStream = "reset-mid-stream",
    /// The connection is closed after `=N` events without the end that HTTP prescribes.
    CutMidStream = "cut-mid-stream",
    /// The HTTP body ends in order after `=N` events, but the stream's own end never came.
    CloseMidStream = "close-mid-stream",
    /// As `close-mid-stream`, in the middle of the event that follows.
    CloseMidEvent = "close-mid-event",
    /// After `=N` events nothing more comes, for ten minutes; then it is cut.
    StallMidStream = "stall-mid-stream",
    /// An error event after `=N` events, in the dialect; then the body ends. Not streamed: 500.
    ErrorEvent = "error-event",
    /// 200 with a body that is neither JSON nor an event stream.
    Garbage = "garbage",
    /// 200 with the first half of the JSON of an answer that is not streamed; a stream's
    /// `close-mid-event`.
    TruncatedJson = "truncated-json",
    /// 400, the request is wrong.
    BadRequest = "400",
    /// 401, the credential is wrong.
    Unauthorized = "401",
    /// 402, billing.
    PaymentRequired = "402",
    /// 403, not permitted.
    Forbidden = "403",
    /// 404, no such model.
    NotFound = "404",
    /// 413, too large.
    TooLarge = "413",
    /// 429 with `retry-after: N`, 1 second by default.
    RateLimited = "429",
    /// 429 for a spending cap: no `retry-after`, an error code that says so.
    SpendCap = "spend-cap",
    /// 500, the provider's own error.
    Internal = "500",
    /// 503, as OpenAI says "overloaded".
    Unavailable = "503",
    /// 504, timed out.
    TimedOut = "504",
    /// 529, as Anthropic says "overloaded".
    Overloaded = "529",
}

/// A fault as it is asked for: `KIND[=NUMBER][*TIMES]`.
///
/// `=NUMBER` is milliseconds for `slow-headers`, seconds for `429`, and a count of events for those in
/// mid-stream; elsewhere it has no meaning. `*TIMES` limits it to the first so many requests that ask
/// for it with the same credential and the same prompt: `529*2` fails twice, and the second retry
/// succeeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// Its number, where one was given.
    pub number: Option<u32>,
    /// How often it strikes; always, where not given.
    pub times: Option<u32>,
}

impl Fault {
    /// This kind, with its default number, every time.
    pub const fn new(kind: FaultKind) -> Self {
        Self {
            kind,
            number: None,
            times: None,
        }
    }

    /// Events that pass before a fault in mid-stream: 2 unless given.
    pub fn after_events(self) -> usize {
        usize::try_from(self.number.unwrap_or(2)).unwrap_or(usize::MAX)
    }

    /// How late slow headers are: 3 s unless given, ten minutes at most.
    pub fn delay(self) -> Duration {
        Duration::from_millis(self.number.unwrap_or(3_000).into()).min(limits::WAIT_MAX)
    }

    /// The status an immediate refusal has, if this is one.
    pub const fn status(self) -> Option<u16> {
        match self.kind {
            FaultKind::BadRequest => Some(400),
            FaultKind::Unauthorized => Some(401),
            FaultKind::PaymentRequired => Some(402),
            FaultKind::Forbidden => Some(403),
            FaultKind::NotFound => Some(404),
            FaultKind::TooLarge => Some(413),
            FaultKind::RateLimited | FaultKind::SpendCap => Some(429),
            FaultKind::Internal => Some(500),
            FaultKind::Unavailable => Some(503),
            FaultKind::TimedOut => Some(504),
            FaultKind::Overloaded => Some(529),
            FaultKind::Reset
            | FaultKind::SlowHeaders
            | FaultKind::ResetMidStream
            | FaultKind::CutMidStream
            | FaultKind::CloseMidStream
            | FaultKind::CloseMidEvent
            | FaultKind::StallMidStream
            | FaultKind::ErrorEvent
            | FaultKind::Garbage
            | FaultKind::TruncatedJson => None,
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.word())?;
        if let Some(number) = self.number {
            write!(f, "={number}")?;
        }
        if let Some(times) = self.times {
            write!(f, "*{times}")?;
        }
        Ok(())
    }
}

/// A text that is not a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no fault: write KIND[=NUMBER][*TIMES], KIND one of {known}", known = known())]
pub struct ParseFaultError(String);

fn known() -> String {
    let words: Vec<&str> = FaultKind::ALL.iter().map(|it| it.word()).collect();
    words.join(", ")
}

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, ParseFaultError> {
        let refuse = || ParseFaultError(text.chars().take(60).collect());
        let number = |digits: Option<&str>| {
            digits
                .map(str::parse::<u32>)
                .transpose()
                .map_err(|_| refuse())
        };
        let (rest, times) = match text.trim().split_once('*') {
            Some((rest, times)) => (rest, Some(times)),
            None => (text.trim(), None),
        };
        let (word, count) = match rest.split_once('=') {
            Some((word, count)) => (word, Some(count)),
            None => (rest, None),
        };
        let kind = FaultKind::ALL.iter().find(|it| it.word() == word);
        Ok(Self {
            kind: *kind.ok_or_else(refuse)?,
            number: number(count)?,
            times: number(times)?,
        })
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
