//! Prebuilt answers for benches: the cheapest upstream that still speaks every dialect.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use memchr::memmem;
use tidegate_types::{Tokens, Usage};

use super::body::{AnswerBody, Prebuilt};
use crate::{
    answer::{Answer, Envelope, Piece, Script, Stop},
    ask::Dialect,
    spec::FixedSpec,
};

/// Bytes of text in one prebuilt event.
const EVENT_TEXT_BYTES: usize = 20;
/// What every prebuilt answer says it used.
const INPUT: Tokens = Tokens(600);
const OUTPUT: Tokens = Tokens(300);

struct Built {
    whole: Bytes,
    events: Arc<[Bytes]>,
}

pub(super) struct Fixed {
    messages: Built,
    chat: Built,
    responses: Built,
    gap: Duration,
}

impl std::fmt::Debug for Fixed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixed")
            .field("gap", &self.gap)
            .finish_non_exhaustive()
    }
}

impl Fixed {
    pub(super) fn build(spec: &FixedSpec) -> Self {
        let built = |dialect| Built {
            whole: whole(dialect, spec.answer_bytes as usize),
            events: events(dialect, spec.stream_events as usize),
        };
        Self {
            messages: built(Dialect::Messages),
            chat: built(Dialect::Chat),
            responses: built(Dialect::Responses),
            gap: Duration::from_micros(spec.event_gap_us.into()),
        }
    }

    pub(super) fn answer(&self, dialect: Dialect, stream: bool) -> AnswerBody {
        let built = match dialect {
            Dialect::Messages => &self.messages,
            Dialect::Chat => &self.chat,
            Dialect::Responses => &self.responses,
        };
        if stream {
            AnswerBody::Prebuilt(Prebuilt::new(Arc::clone(&built.events), self.gap))
        } else {
            AnswerBody::Whole(Some(built.whole.clone()))
        }
    }
}

fn envelope(dialect: Dialect) -> Envelope {
    Envelope {
        dialect,
        serial: 1,
        model: "claude-opus-5-5".into(),
        created: 1_767_225_600,
        usage: Usage {
            input: INPUT,
            output: OUTPUT,
            ..Usage::default()
        },
        include_usage: true,
    }
}

fn saying(bytes: usize) -> Answer {
    let text = "tide gate ".chars().cycle().take(bytes).collect();
    Answer {
        pieces: vec![Piece::Text(text)],
        stop: Stop::EndTurn,
        output: OUTPUT.0,
        reasoning: 0,
    }
}

/// An answer of exactly so many bytes, if its envelope leaves that many.
fn whole(dialect: Dialect, bytes: usize) -> Bytes {
    let bare = saying(1).body(&envelope(dialect)).len();
    saying(1 + bytes.saturating_sub(bare)).body(&envelope(dialect))
}

/// A stream of exactly so many events, if its frame leaves that many.
fn events(dialect: Dialect, count: usize) -> Arc<[Bytes]> {
    let script = |deltas: usize| {
        let answer = saying(deltas * EVENT_TEXT_BYTES);
        Script::new(answer, envelope(dialect), EVENT_TEXT_BYTES).map(|it| it.bytes)
    };
    let around = script(1).count() - 1;
    script(count.saturating_sub(around).max(1)).collect()
}

/// Looks for `"stream": true` in a body that comes in pieces.
#[derive(Default)]
pub(super) struct StreamScan {
    found: bool,
    /// The end of the piece before, in case the key lies across two.
    tail: BytesMut,
}

const KEY: &[u8] = br#""stream""#;
/// The key and a value after it, with some blanks.
const ACROSS: usize = 24;

impl StreamScan {
    pub(super) fn feed(&mut self, piece: &[u8]) {
        if self.found {
            return;
        }
        self.tail
            .extend_from_slice(&piece[..piece.len().min(ACROSS)]);
        self.found = streams(&self.tail);
        if piece.len() > ACROSS {
            self.found |= streams(piece);
            self.tail.clear();
            self.tail.extend_from_slice(&piece[piece.len() - ACROSS..]);
        }
        let extra = self.tail.len().saturating_sub(ACROSS);
        drop(self.tail.split_to(extra));
    }

    pub(super) const fn found(&self) -> bool {
        self.found
    }
}

fn streams(bytes: &[u8]) -> bool {
    memmem::find_iter(bytes, KEY).any(|at| {
        let rest = bytes[at + KEY.len()..].trim_ascii_start();
        let value = rest.strip_prefix(b":").map(<[u8]>::trim_ascii_start);
        value.is_some_and(|it| it.starts_with(b"true"))
    })
}

#[cfg(test)]
mod tests;
