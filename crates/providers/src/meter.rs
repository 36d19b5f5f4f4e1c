//! Usage, read as an answer passes.

mod anthropic;
mod chat;
mod closing;
mod counts;
mod responses;

use tidegate_types::{Tokens, Usage};

use crate::{
    Dialect, ErrorSignal,
    json::Text,
    sse::{Boundaries, EVENT_BYTES_MAX, Event},
};
use chat::Spelling;
use closing::Opened;
use counts::Counts;

/// Longest answer, not streamed, whose usage is read, in bytes. The longest texts that models give
/// take a tenth of it; what is longer (pictures) passes, and its usage stays unknown.
pub const WHOLE_BYTES_MAX: usize = 8 << 20;

/// Bytes of text that one token is taken for where a stream died before it told its usage.
pub const BYTES_PER_TOKEN: u64 = 4;

/// Longest id, model or stop reason that is kept of an answer.
const WORD_BYTES_MAX: usize = 256;

/// Memory that is kept between events; larger buffers are given back once their event is read.
const PENDING_BYTES_KEPT: usize = 4 << 10;

/// Reads an answer's usage while its bytes pass. Changes and delays nothing.
///
/// Takes any chunking. Never fails: what cannot be understood is passed over and counted. Holds at
/// most one event of 1 MiB, or one whole answer of [`WHOLE_BYTES_MAX`].
#[derive(Debug)]
pub struct Meter {
    reader: Reader,
    tally: Tally,
}

#[derive(Debug)]
enum Reader {
    Stream {
        boundaries: Boundaries,
        /// The start of an event that isn't complete.
        pending: Vec<u8>,
        /// In an event that is longer than what may be held.
        passing: bool,
    },
    Whole {
        body: Vec<u8>,
        passing: bool,
    },
}

/// What an answer told until now.
#[derive(Debug)]
struct Tally {
    dialect: Dialect,
    counts: Counts,
    /// The counts are those of the end of the answer.
    final_counts: bool,
    complete: bool,
    error: Option<ErrorSignal>,
    text_bytes: u64,
    first_content_seen: bool,
    answer_id: Option<String>,
    model: Option<String>,
    stop_reason: Option<String>,
    sequence: u64,
    passed_over: u64,
    unread_bytes: u64,
    spelling: Option<Spelling>,
    opened: Opened,
}

/// Which modifiers of its price an answer names. Of the others the request's hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// `speed`, or the service tier.
    pub speed: bool,
    /// Where it was served.
    pub geography: bool,
}

/// What an answer told, once it is over.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own about one answer"
)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metered {
    /// The provider's count if it is final. Otherwise an estimate: the input side as far as it was
    /// told, and as output the larger of what was counted last and the text delivered, at
    /// [`BYTES_PER_TOKEN`] rounded up. `None` if nothing was told and no text came.
    pub usage: Option<Usage>,
    /// Whether `usage` is the provider's own last count.
    pub usage_is_final: bool,
    /// Whether the provider told the input side. If not, it is 0 in `usage` and must be estimated.
    pub input_is_known: bool,
    /// Whether the provider told figures that no answer can have. None of them is in `usage` then.
    pub usage_is_absurd: bool,
    /// Which modifiers `usage` has from the answer.
    pub said: Said,
    /// Whether the answer came to its own end: `message_stop`, `[DONE]`,
    /// `response.completed|incomplete|failed`, or a whole JSON body.
    pub complete: bool,
    /// The error event in the stream, or the error body.
    pub error: Option<ErrorSignal>,
    /// Bytes of answer text, thinking and tool input that were delivered, unescaped.
    pub text_bytes: u64,
    /// The provider's id of the answer.
    pub answer_id: Option<String>,
    /// The model that answered.
    pub model: Option<String>,
    /// Why the answer ended, in the dialect's own word.
    pub stop_reason: Option<String>,
    /// Events that were too long or could not be understood.
    pub passed_over: u64,
    /// What they took, or a whole answer of which no text could be read: text may be in it.
    pub unread_bytes: u64,
}

impl Meter {
    /// A meter that has seen nothing.
    pub const fn new(dialect: Dialect, streamed: bool) -> Self {
        let reader = if streamed {
            Reader::Stream {
                boundaries: Boundaries::new(),
                pending: Vec::new(),
                passing: false,
            }
        } else {
            Reader::Whole {
                body: Vec::new(),
                passing: false,
            }
        };
        Self {
            reader,
            tally: Tally::new(dialect),
        }
    }

    /// Takes the next bytes of the answer's body, cut anywhere.
    pub fn observe(&mut self, bytes: &[u8]) {
        let tally = &mut self.tally;
        match &mut self.reader {
            Reader::Stream {
                boundaries,
                pending,
                passing,
            } => {
                let mut rest = bytes.get(boundaries.tail(bytes)..).unwrap_or_default();
                let mut event = Event::default();
                while let Some(end) = boundaries.next_with(rest, |line| event.add(line)) {
                    let (whole, after) = rest.split_at(end);
                    rest = after;
                    // Of one that began in a piece before, this is only the end.
                    let event = std::mem::take(&mut event);
                    if std::mem::take(passing) || pending.len() + whole.len() > EVENT_BYTES_MAX {
                        tally.passed_over += 1;
                        tally.unread_bytes += (pending.len() + whole.len()) as u64;
                        *pending = Vec::new();
                    } else if pending.is_empty() {
                        tally.event(&event);
                    } else {
                        pending.extend_from_slice(whole);
                        tally.event(&Event::parse(pending));
                        pending.clear();
                        pending.shrink_to(PENDING_BYTES_KEPT);
                    }
                }
                tally.unread_bytes += hold(rest, pending, passing, EVENT_BYTES_MAX);
            }
            Reader::Whole { body, passing } => {
                tally.first_content_seen |= !bytes.is_empty();
                tally.unread_bytes += hold(bytes, body, passing, WHOLE_BYTES_MAX);
            }
        }
    }

    /// What is known of the usage now, output estimated from the text where the provider's count is
    /// behind it. `None` while nothing is known. Of an answer that is not streamed, nothing is known
    /// before [`Meter::finish`].
    pub fn usage(&self) -> Option<Usage> {
        self.tally.usage()
    }

    /// Whether the model has begun to answer: text, thinking, a tool's input, or a block that was
    /// opened for one of them. Of an answer that is not streamed: its first byte.
    pub const fn first_content_seen(&self) -> bool {
        self.tally.first_content_seen
    }

    /// Bytes of answer text delivered until now, as in [`Metered::text_bytes`].
    pub const fn text_bytes(&self) -> u64 {
        self.tally.text_bytes
    }

    /// The `sequence_number` of the last Responses event; 0 before one came, and in other dialects.
    pub const fn sequence(&self) -> u64 {
        self.tally.sequence
    }

    /// What was learned, once no more bytes come, for whatever reason.
    pub fn finish(self) -> Metered {
        let Self { reader, mut tally } = self;
        match reader {
            // A last event without its blank line still says what it says.
            Reader::Stream { pending, .. } if !pending.is_empty() => {
                tally.event(&Event::parse(&pending));
            }
            Reader::Stream { passing, .. } | Reader::Whole { passing, .. } if passing => {
                tally.passed_over += 1;
            }
            Reader::Stream { .. } => {}
            Reader::Whole { body, .. } => tally.whole(&body),
        }
        tally.into_metered()
    }
}

/// Adds `bytes` to what is held, unless that would be too much: then lets go of it. Says of how many
/// bytes.
fn hold(bytes: &[u8], held: &mut Vec<u8>, passing: &mut bool, max: usize) -> u64 {
    if *passing || bytes.is_empty() {
        return bytes.len() as u64;
    }
    let all = held.len() + bytes.len();
    if all > max {
        *passing = true;
        *held = Vec::new();
        all as u64
    } else {
        held.extend_from_slice(bytes);
        0
    }
}

impl Tally {
    const fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            counts: Counts::new(),
            final_counts: false,
            complete: false,
            error: None,
            text_bytes: 0,
            first_content_seen: false,
            answer_id: None,
            model: None,
            stop_reason: None,
            sequence: 0,
            passed_over: 0,
            unread_bytes: 0,
            spelling: None,
            opened: Opened::new(),
        }
    }

    fn event(&mut self, event: &Event<'_>) {
        if event.data.is_empty() {
            return;
        }
        let understood = match self.dialect {
            Dialect::Anthropic => self.anthropic_event(event),
            Dialect::OpenAiChat => self.chat_event(&event.data),
            Dialect::OpenAiResponses => self.responses_event(event),
        };
        if understood.is_err() {
            self.passed_over += 1;
            self.unread_bytes += event.data.len() as u64;
        }
    }

    fn whole(&mut self, body: &[u8]) {
        let understood = match self.dialect {
            Dialect::Anthropic => self.anthropic_whole(body),
            Dialect::OpenAiChat => self.chat_whole(body),
            Dialect::OpenAiResponses => self.responses_whole(body),
        };
        match understood {
            Ok(()) => {
                self.complete = true;
                self.final_counts = self.counts.are_told();
            }
            Err(_malformed) => {
                self.passed_over += 1;
                if self.text_bytes == 0 {
                    self.unread_bytes += body.len() as u64;
                }
            }
        }
    }

    /// What came after the end may have made the counts unbelievable.
    fn is_final(&self) -> bool {
        self.final_counts && self.counts.are_told()
    }

    fn usage(&self) -> Option<Usage> {
        let by_text = Tokens(self.text_bytes.div_ceil(BYTES_PER_TOKEN));
        let mut usage = match self.counts.usage(self.dialect) {
            Some(usage) => usage,
            None if self.text_bytes == 0 => return None,
            None => Usage::default(),
        };
        if !self.is_final() {
            usage.output = usage.output.max(by_text);
        }
        Some(usage)
    }

    fn into_metered(self) -> Metered {
        Metered {
            usage: self.usage(),
            usage_is_final: self.is_final(),
            input_is_known: self.counts.input_is_known(),
            usage_is_absurd: !self.counts.are_believed(),
            said: self.counts.said(),
            complete: self.complete,
            error: self.error,
            text_bytes: self.text_bytes,
            answer_id: self.answer_id,
            model: self.model,
            stop_reason: self.stop_reason,
            passed_over: self.passed_over,
            unread_bytes: self.unread_bytes,
        }
    }

    fn add_text(&mut self, raw: Option<&[u8]>) {
        let text = raw.and_then(crate::json::string);
        let length = text.map_or(0, |it| it.decoded_len());
        self.add_bytes(length);
    }

    const fn add_bytes(&mut self, length: usize) {
        self.text_bytes = self.text_bytes.saturating_add(length as u64);
        self.first_content_seen |= length > 0;
    }
}

/// The string's value, if the raw value is a string short enough to be a word of the protocol.
fn word(raw: Option<&[u8]>) -> Option<String> {
    let text = crate::json::string(raw?)?;
    (text.raw.len() <= WORD_BYTES_MAX)
        .then(|| Text::to_text(text).ok())
        .flatten()
}

/// Whether the raw value is there and no `null`.
fn is_told(raw: Option<&[u8]>) -> Option<&[u8]> {
    raw.filter(|it| *it != b"null")
}

#[cfg(test)]
pub(crate) mod tests;
