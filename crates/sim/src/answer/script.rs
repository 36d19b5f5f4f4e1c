//! An answer as a sequence of stream events, made one at a time.

use std::{collections::VecDeque, ops::Range};

use bytes::Bytes;
use tidegate_types::Tokens;

use super::{Answer, Envelope, chat, messages, produced, responses};
use crate::ask::Dialect;

/// A step of an answer, in no dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    Start,
    /// The block at this position begins.
    Open(usize),
    /// These bytes of it.
    Delta(usize, Range<usize>),
    /// It ends.
    Close(usize),
    Finish,
}

/// One event on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    /// All output that exists once it is sent.
    pub(crate) produced: Tokens,
    /// How far into the answer it is, from 0 to 1,000,000.
    pub(crate) progress_ppm: u32,
}

/// The frames of a streamed answer. Holds the answer and one step's frames, never the whole stream.
#[derive(Debug)]
pub(crate) struct Script {
    answer: Answer,
    envelope: Envelope,
    next: Option<Event>,
    ready: VecDeque<Frame>,
    sequence: u64,
    sent: usize,
    all: usize,
    step: usize,
}

impl Script {
    /// `bytes_per_event` is how much text one event carries; at least one character.
    pub(crate) fn new(answer: Answer, envelope: Envelope, bytes_per_event: usize) -> Self {
        let all = answer.pieces.iter().map(|it| it.streamed().len()).sum();
        Self {
            answer,
            envelope,
            next: Some(Event::Start),
            ready: VecDeque::new(),
            sequence: 0,
            sent: 0,
            all,
            step: bytes_per_event.max(1),
        }
    }

    fn refill(&mut self) {
        while self.ready.is_empty()
            && let Some(event) = self.next.take()
        {
            if let Event::Delta(_, range) = &event {
                self.sent += range.len();
            }
            let output = self.envelope.usage.output.0;
            let (produced, progress_ppm) = match event {
                Event::Finish => (Tokens(output), 1_000_000),
                _ => (
                    produced(self.sent, self.all, output),
                    ppm(self.sent, self.all),
                ),
            };
            let (answer, envelope) = (&self.answer, &self.envelope);
            let texts = match envelope.dialect {
                Dialect::Messages => messages::frames(answer, envelope, &event),
                Dialect::Chat => chat::frames(answer, envelope, &event),
                Dialect::Responses => {
                    responses::frames(answer, envelope, &event, &mut self.sequence)
                }
            };
            self.ready.extend(texts.into_iter().map(|text| Frame {
                bytes: Bytes::from(text),
                produced,
                progress_ppm,
            }));
            self.next = self.after(&event);
        }
    }

    fn after(&self, event: &Event) -> Option<Event> {
        match *event {
            Event::Start => Some(self.open(0)),
            Event::Open(at) => Some(self.delta(at, 0)),
            Event::Delta(at, ref range) => Some(self.delta(at, range.end)),
            Event::Close(at) => Some(self.open(at + 1)),
            Event::Finish => None,
        }
    }

    fn open(&self, at: usize) -> Event {
        if at < self.answer.pieces.len() {
            Event::Open(at)
        } else {
            Event::Finish
        }
    }

    fn delta(&self, at: usize, from: usize) -> Event {
        let text = self.answer.pieces[at].streamed();
        if from >= text.len() {
            return Event::Close(at);
        }
        let mut upto = text.floor_char_boundary(from + self.step);
        if upto == from {
            upto = text.ceil_char_boundary(from + 1);
        }
        Event::Delta(at, from..upto)
    }
}

impl Iterator for Script {
    type Item = Frame;

    fn next(&mut self) -> Option<Frame> {
        self.refill();
        self.ready.pop_front()
    }
}

fn ppm(sent: usize, all: usize) -> u32 {
    let ppm = sent as u128 * 1_000_000 / all.max(1) as u128;
    u32::try_from(ppm).unwrap_or(1_000_000)
}
