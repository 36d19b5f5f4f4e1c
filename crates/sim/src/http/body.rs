//! Bodies of answers: whole, broken off, prebuilt, or streamed event by event.

use std::{
    io,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tidegate_types::Timestamp;
use tokio::time::{Instant, Sleep};

use super::{
    provider::{Provider, Recording},
    socket::ResetSwitch,
};
use crate::{
    Fault, FaultKind,
    answer::{Script, error_event},
    ask::Dialect,
    limits,
    world::Ticket,
};

/// The body of an answer.
pub(super) enum AnswerBody {
    /// All at once.
    Whole(Option<Bytes>),
    /// Less than it promised, then the end that the fault asks for.
    Broken(Box<Broken>),
    /// Prebuilt events.
    Prebuilt(Prebuilt),
    /// Events as they come about.
    Streamed(Box<Streamed>),
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Self::Broken(broken) => broken.poll(cx),
            Self::Prebuilt(events) => events.poll(cx),
            Self::Streamed(stream) => stream.poll(cx),
        };
        chunk.map(|it| it.map(|it| it.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Self::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Broken(broken) => SizeHint::with_exact(broken.promised),
            Self::Prebuilt(_) | Self::Streamed(_) => SizeHint::default(),
        }
    }
}

type Chunk = Poll<Option<Result<Bytes, io::Error>>>;

fn broken_off() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "broken off on demand")
}

/// What remains to be done once a fault has struck.
enum Ending {
    /// Let what was written go out first, then break.
    Flush,
    /// Break now.
    Break,
    /// End in order.
    End,
}

/// Half of a body that is not streamed.
pub(super) struct Broken {
    promised: u64,
    half: Option<Bytes>,
    ending: Ending,
    stall: Option<Pin<Box<Sleep>>>,
    reset: Option<ResetSwitch>,
    _recording: Recording,
}

impl Broken {
    /// Breaks `whole` off in the middle, as `kind` does.
    pub(super) fn half(
        whole: &Bytes,
        kind: FaultKind,
        reset: ResetSwitch,
        recording: Recording,
    ) -> Self {
        let stall = (kind == FaultKind::StallMidStream)
            .then(|| Box::pin(tokio::time::sleep(limits::WAIT_MAX)));
        Self {
            promised: whole.len() as u64,
            half: Some(whole.slice(..whole.len() / 2)),
            ending: Ending::Flush,
            stall,
            reset: (kind == FaultKind::ResetMidStream).then_some(reset),
            _recording: recording,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Chunk {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(half)));
        }
        if let Some(stall) = &mut self.stall {
            ready!(stall.as_mut().poll(cx));
        }
        poll_ending(&mut self.ending, self.reset.as_ref(), cx)
    }
}

/// Pending once, so that the connection flushes what it has; then the break.
fn poll_ending(ending: &mut Ending, reset: Option<&ResetSwitch>, cx: &mut Context<'_>) -> Chunk {
    match ending {
        Ending::Flush => {
            *ending = Ending::Break;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
        Ending::Break => {
            if let Some(reset) = reset {
                reset.store(true, Ordering::Relaxed);
            }
            Poll::Ready(Some(Err(broken_off())))
        }
        Ending::End => Poll::Ready(None),
    }
}

/// Events made beforehand, at a fixed pace.
pub(super) struct Prebuilt {
    events: Arc<[Bytes]>,
    next: usize,
    gap: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Prebuilt {
    pub(super) const fn new(events: Arc<[Bytes]>, gap: Duration) -> Self {
        Self {
            events,
            next: 0,
            gap,
            sleep: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Chunk {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        let Some(event) = self.events.get(self.next) else {
            return Poll::Ready(None);
        };
        self.next += 1;
        if !self.gap.is_zero() {
            self.sleep = Some(Box::pin(tokio::time::sleep(self.gap)));
        }
        Poll::Ready(Some(Ok(event.clone())))
    }
}

/// A stream that follows the rules as it goes. Dropped early, it has produced what was taken from it.
pub(super) struct Streamed {
    provider: Arc<Provider>,
    dialect: Dialect,
    script: std::iter::Peekable<Script>,
    ticket: Ticket,
    recording: Recording,
    began: (Instant, Timestamp),
    /// From the first event to the last.
    spread: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    fault: Option<Fault>,
    reset: ResetSwitch,
    sent: usize,
    ending: Option<Ending>,
}

/// What a stream is made of, beside its script.
pub(super) struct Streaming {
    pub(super) provider: Arc<Provider>,
    pub(super) dialect: Dialect,
    pub(super) ticket: Ticket,
    pub(super) recording: Recording,
    pub(super) spread: Duration,
    pub(super) fault: Option<Fault>,
    pub(super) reset: ResetSwitch,
}

impl Streamed {
    pub(super) fn new(script: Script, of: Streaming) -> Self {
        Self {
            began: (Instant::now(), of.provider.now()),
            provider: of.provider,
            dialect: of.dialect,
            script: script.peekable(),
            ticket: of.ticket,
            recording: of.recording,
            spread: of.spread,
            sleep: None,
            fault: of.fault,
            reset: of.reset,
            sent: 0,
            ending: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Chunk {
        if let Some(sleep) = &mut self.sleep {
            ready!(sleep.as_mut().poll(cx));
            self.sleep = None;
        }
        if let Some(ending) = &mut self.ending {
            let kind = self.fault.map(|it| it.kind);
            let reset = (kind == Some(FaultKind::ResetMidStream)).then_some(&self.reset);
            return poll_ending(ending, reset, cx);
        }
        let Some(next) = self.script.peek() else {
            return Poll::Ready(None);
        };
        let after = self.spread.mul_f64(f64::from(next.progress_ppm) / 1e6);
        let due = self.began.0 + after;
        if !self.provider.reach(self.began.1, after) && due > Instant::now() {
            let mut sleep = Box::pin(tokio::time::sleep_until(due));
            if sleep.as_mut().poll(cx).is_pending() {
                self.sleep = Some(sleep);
                return Poll::Pending;
            }
        }
        if let Some(fault) = self.fault.filter(|it| it.after_events() == self.sent)
            && let Some(chunk) = self.strike(fault, cx)
        {
            return chunk;
        }
        self.sent += 1;
        let Some(frame) = self.script.next() else {
            return Poll::Ready(None);
        };
        let more = frame.produced.saturating_sub(self.ticket.produced());
        self.provider.produce(&mut self.ticket, more);
        self.recording.record.usage = Some(self.ticket.used());
        self.recording.record.complete = self.script.peek().is_none();
        Poll::Ready(Some(Ok(frame.bytes)))
    }

    /// What the fault does instead of the next event; `None` for faults that do nothing here.
    fn strike(&mut self, fault: Fault, cx: &mut Context<'_>) -> Option<Chunk> {
        match fault.kind {
            FaultKind::ResetMidStream | FaultKind::CutMidStream => {
                self.ending = Some(Ending::Flush);
                Some(self.poll(cx))
            }
            FaultKind::StallMidStream => {
                self.ending = Some(Ending::Break);
                self.sleep = Some(Box::pin(tokio::time::sleep(limits::WAIT_MAX)));
                Some(self.poll(cx))
            }
            FaultKind::CloseMidStream => {
                self.ending = Some(Ending::End);
                Some(Poll::Ready(None))
            }
            FaultKind::CloseMidEvent | FaultKind::TruncatedJson => {
                self.ending = Some(Ending::End);
                let frame = self.script.next()?;
                let half = frame.bytes.slice(..frame.bytes.len() / 2);
                Some(Poll::Ready(Some(Ok(half))))
            }
            FaultKind::ErrorEvent => {
                self.ending = Some(Ending::End);
                let event = Bytes::from_static(error_event(self.dialect).as_bytes());
                Some(Poll::Ready(Some(Ok(event))))
            }
            _ => None,
        }
    }
}
