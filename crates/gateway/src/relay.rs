//! An upstream stream on its way to the client: passed on as it comes, metered as it passes,
//! settled when it ends, however it ends.

use std::{
    collections::VecDeque,
    fmt,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http::{header, response::Parts};
use tidegate_engine::{
    account::{self, QuotaKind, QuotaScope},
    flight::{End, ToJournal},
};
use tidegate_observe::{calls::Outcome, event, metrics::Held};
use tidegate_providers::{Dialect, ErrorKind, Meter, StreamRelay, stream_error};
use tokio::time::{Instant, Sleep};

use crate::{
    flying::Flying,
    quota::{Quota, first_event},
    reply::BodyError,
    upstream::AnswerBody,
};

/// Bytes of an answer that are passed on as one piece at most.
const JOINED_BYTES_MAX: usize = 64 * 1024;

/// What can stand behind the last bytes of a body.
enum Behind {
    End,
    Loss(hyper::Error),
}

/// A call's end on its way into the journal: what is left of the answer follows it.
struct Settled {
    end: ToJournal,
    /// Others were let go first since: one write takes what they have for the journal too.
    gave_way: bool,
}

/// What a relay is told of its answer.
#[derive(Debug)]
pub(crate) struct Relaying {
    pub(crate) dialect: Dialect,
    pub(crate) streamed: bool,
    pub(crate) drop_usage_chunk: bool,
    pub(crate) status: u16,
    pub(crate) request_id: Option<Arc<str>>,
    /// A stream that is silent for this long is lost.
    pub(crate) silence_max: Duration,
}

/// Why nothing is to be passed on.
enum Waited {
    /// It may still come.
    On,
    /// Nothing has come for too long.
    InSilence,
    /// The answer's time is over.
    ForQuota,
}

/// The body of a relayed answer.
pub struct Relay {
    about: Relaying,
    body: AnswerBody,
    flying: Flying,
    meter: Option<Meter>,
    stream: Option<StreamRelay>,
    /// Pieces to send before anything else is read. At most three (a relay gives two, an end one), but
    /// where an answer comes close to its quota: then one for each event of what was read at once.
    ready: VecDeque<Bytes>,
    /// What the body said behind the bytes that were read last: its end, or its loss.
    behind: Option<Behind>,
    passed_bytes: u64,
    quota: Quota,
    watch: Pin<Box<Sleep>>,
    heard_at: Instant,
    over: bool,
    settled: Option<Settled>,
    _counted: Option<Held>,
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("about", &self.about)
            .field("passed_bytes", &self.passed_bytes)
            .finish_non_exhaustive()
    }
}

/// The runtime's own timer needs the runtime's own clock; nothing is decided by it but silence.
fn runtime_now() -> Instant {
    Instant::now()
}

/// Whether an answer is a stream of events. Media types ignore case (RFC 9110, 8.3.1); a success that has
/// none, or one that says nothing, is what was asked for.
pub(crate) fn is_stream(answer: &Parts, asked: bool) -> bool {
    let Some(kind) = answer.headers.get(header::CONTENT_TYPE) else {
        return asked && answer.status.is_success();
    };
    let kind = kind.as_bytes().split(|it| *it == b';').next();
    let kind = kind.unwrap_or_default().trim_ascii();
    kind.eq_ignore_ascii_case(b"text/event-stream")
        || (asked
            && answer.status.is_success()
            && kind.eq_ignore_ascii_case(b"application/octet-stream"))
}

impl Relay {
    pub(crate) fn new(about: Relaying, body: AnswerBody, mut flying: Flying) -> Self {
        let now = runtime_now();
        let quota = flying
            .in_flight()
            .filter(|_| about.streamed)
            .map_or_else(|| Quota::none(now), |it| Quota::of(it, now));
        let first_look = quota.next_look(now + about.silence_max);
        let streams = flying.in_flight().filter(|_| about.streamed);
        Self {
            _counted: streams.map(|it| it.registry().open_streams.with([]).hold()),
            meter: Some(Meter::new(about.dialect, about.streamed)),
            stream: about
                .streamed
                .then(|| StreamRelay::new(about.dialect, about.drop_usage_chunk)),
            ready: VecDeque::new(),
            behind: None,
            passed_bytes: 0,
            quota,
            watch: Box::pin(tokio::time::sleep_until(first_look)),
            heard_at: now,
            over: false,
            settled: None,
            about,
            body,
            flying,
        }
    }

    /// Whether it is passed on event by event.
    pub(crate) const fn is_stream(&self) -> bool {
        self.about.streamed
    }

    /// Takes bytes that were read before it was known that they are to be relayed.
    pub(crate) fn take(&mut self, bytes: Bytes) {
        if self.quota.may_end_in(self.meter.as_ref(), bytes.len()) {
            self.take_up_to_quota(bytes);
        } else {
            self.take_all(bytes);
        }
    }

    fn take_all(&mut self, bytes: Bytes) {
        if let Some(meter) = &mut self.meter {
            meter.observe(&bytes);
        }
        match &mut self.stream {
            Some(stream) => self.ready.extend(stream.push(bytes)),
            None => self.ready.push_back(bytes),
        }
    }

    /// Takes event by event, and ends the answer with the one that passes its quota.
    fn take_up_to_quota(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let event = bytes.split_to(first_event(&bytes));
            self.take_all(event);
            if self.quota.is_passed(self.meter.as_ref()) {
                self.end_at_quota(self.quota.output);
                return;
            }
        }
    }

    /// Ends a stream as the provider would have at its output limit. Its connection is closed with
    /// the body, which ends the generation.
    fn end_at_quota(&mut self, (scope, kind): (QuotaScope, QuotaKind)) {
        let (Some(meter), Some(stream)) = (self.meter.take(), self.stream.take()) else {
            return;
        };
        let mut end = Vec::new();
        if let Some(in_flight) = self.flying.in_flight() {
            let record = in_flight.record();
            end = meter.end_early(&record.id.to_string(), &record.model_sent);
        }
        let metered = meter.finish();
        let whole = metered.complete || metered.error.is_some();
        self.ready.extend(stream.end(whole));
        if !whole {
            self.ready.push_back(end.into());
        }
        self.over = true;
        self.behind = None;
        let limit = account::name(scope, kind).into();
        let outcome = match (metered.complete, &metered.error) {
            (_, Some(_)) => Outcome::StreamError,
            (true, None) => Outcome::Answered,
            (false, None) => Outcome::Ended { limit },
        };
        self.settle(outcome, metered);
    }

    /// The next bytes for the client. An answer that is not streamed and breaks off is an error,
    /// which closes the connection: the client sees that it is not whole.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if self.poll_end(cx).is_pending() {
                return Poll::Pending;
            }
            if let Some(piece) = self.ready.pop_front() {
                self.passed_bytes += piece.len() as u64;
                return Poll::Ready(Some(Ok(piece)));
            }
            if self.over {
                return Poll::Ready(None);
            }
            if self.flying.is_cut() {
                if let Some(broken) = self.break_off("the gateway is being stopped") {
                    return Poll::Ready(Some(Err(broken)));
                }
                continue;
            }
            if let Some(Behind::Loss(lost)) = self.behind.take() {
                if let Some(broken) = self.lost(&lost.to_string()) {
                    return Poll::Ready(Some(Err(broken)));
                }
                continue;
            }
            match self.poll_read(cx) {
                Poll::Ready(bytes) => self.heard(bytes),
                Poll::Pending => {
                    match self.waited(cx) {
                        Waited::On => return Poll::Pending,
                        Waited::ForQuota => {
                            self.end_at_quota(self.quota.time);
                            continue;
                        }
                        Waited::InSilence => {}
                    }
                    let silence = self.about.silence_max.as_secs();
                    let reason = format!("nothing came for {silence} s");
                    if let Some(broken) = self.lost(&reason) {
                        return Poll::Ready(Some(Err(broken)));
                    }
                }
            }
        }
    }

    /// Takes what has come already. Where that is all, it returns when the end is in the journal: head
    /// and answer can then be written to the client at once.
    pub(crate) async fn begin(&mut self) {
        let mut is_read = false;
        poll_fn(|cx| {
            if !std::mem::replace(&mut is_read, true)
                && let Poll::Ready(bytes) = self.poll_read(cx)
            {
                self.heard(bytes);
            }
            self.poll_end(cx)
        })
        .await;
    }

    fn heard(&mut self, bytes: Bytes) {
        self.heard_at = runtime_now();
        if self.quota.ends_at <= self.heard_at {
            self.end_at_quota(self.quota.time);
        } else if !bytes.is_empty() {
            self.take(bytes);
        }
    }

    /// Ready when its end is in the journal, or it has none yet.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(Behind::End) = self.behind {
            self.behind = None;
            self.ended();
        }
        let Some(settled) = self.settled.take() else {
            return Poll::Ready(());
        };
        if settled.gave_way || settled.end.is_written() {
            return Poll::Ready(());
        }
        self.settled = Some(Settled {
            gave_way: true,
            ..settled
        });
        let other = std::pin::pin!(tokio::task::yield_now());
        other.poll(cx)
    }

    /// All that has come, up to [`JOINED_BYTES_MAX`], as one piece: a provider writes each event as
    /// a chunk of its own, and a burst of them costs the client and us as much as one. What came
    /// alone is passed on as it is. Empty where only the end came.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Bytes> {
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        loop {
            match self.body.poll_bytes(cx) {
                Poll::Ready(Some(Ok(bytes))) if first.is_empty() => first = bytes,
                Poll::Ready(Some(Ok(bytes))) => {
                    if joined.is_empty() {
                        joined.reserve(2 * (first.len() + bytes.len()));
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&bytes);
                    if joined.len() >= JOINED_BYTES_MAX {
                        break;
                    }
                }
                Poll::Ready(Some(Err(lost))) => {
                    self.behind = Some(Behind::Loss(lost));
                    break;
                }
                Poll::Ready(None) => {
                    self.behind = Some(Behind::End);
                    break;
                }
                Poll::Pending if first.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(if joined.is_empty() {
            first
        } else {
            joined.freeze()
        })
    }

    /// Whether nothing has come for too long, or the answer's time is over. The timer is set anew only
    /// when it goes off, so that a busy stream doesn't pay for it.
    fn waited(&mut self, cx: &mut Context<'_>) -> Waited {
        while self.watch.as_mut().poll(cx).is_ready() {
            let (due, now) = (self.heard_at + self.about.silence_max, runtime_now());
            if self.quota.ends_at <= now {
                return Waited::ForQuota;
            }
            if due <= now {
                return Waited::InSilence;
            }
            self.watch.as_mut().reset(self.quota.next_look(due));
        }
        Waited::On
    }

    /// Upstream closed its answer in good order. A stream that lacks its end was lost all the same.
    fn ended(&mut self) {
        let Some(meter) = self.meter.take() else {
            self.over = true;
            return;
        };
        let sequence = meter.sequence();
        let metered = meter.finish();
        // Some servers that speak chat end without `[DONE]`: its choices have said their end.
        let chat_ended = self.about.dialect == Dialect::OpenAiChat && metered.stop_reason.is_some();
        let whole =
            metered.complete || metered.error.is_some() || !self.about.streamed || chat_ended;
        if let Some(stream) = self.stream.take() {
            self.ready.extend(stream.end(whole));
        }
        let outcome = if metered.error.is_some() {
            Outcome::StreamError
        } else if whole {
            Outcome::Answered
        } else {
            let reason = "upstream ended its answer without an end";
            self.ready.push_back(self.loss(reason, sequence));
            self.report_loss(reason);
            Outcome::UpstreamLost
        };
        self.over = true;
        self.settle(outcome, metered);
    }

    /// Upstream broke off.
    fn lost(&mut self, reason: &str) -> Option<BodyError> {
        if self.meter.is_some() {
            self.report_loss(reason);
        }
        self.break_off("the upstream connection was lost")
    }

    /// Ends an answer that is not whole. A stream ends with an event that says so; anything else is cut.
    fn break_off(&mut self, told: &str) -> Option<BodyError> {
        self.over = true;
        let meter = self.meter.take()?;
        let sequence = meter.sequence();
        let metered = meter.finish();
        // What came after its own end was the connection's: the answer is whole.
        let whole = self.about.streamed && metered.complete;
        let failed = metered.error.is_some();
        if let Some(stream) = self.stream.take() {
            self.ready.extend(stream.end(whole || failed));
            if !whole && !failed {
                self.ready.push_back(self.loss(told, sequence));
            }
        }
        let outcome = match (whole, failed) {
            (true, _) => Outcome::Answered,
            (false, true) => Outcome::StreamError,
            (false, false) if self.flying.is_cut() => Outcome::Interrupted,
            (false, false) => Outcome::UpstreamLost,
        };
        self.settle(outcome, metered);
        let cut =
            || BodyError::from("the upstream connection was lost in the middle of the answer");
        (!self.about.streamed).then(cut)
    }

    fn loss(&self, reason: &str, sequence: u64) -> Bytes {
        let message = format!("{reason}: the answer is not complete; what came of it is accounted");
        stream_error(self.about.dialect, &ErrorKind::Api, &message, sequence).into()
    }

    fn report_loss(&mut self, reason: &str) {
        let answer_bytes = self.passed_bytes;
        if let Some(in_flight) = self.flying.in_flight() {
            in_flight.report(&event::UpstreamLost {
                call: in_flight.record().id,
                platform: &in_flight.record().platform,
                reason,
                answer_bytes,
            });
        }
    }

    fn settle(&mut self, outcome: Outcome, metered: tidegate_providers::Metered) {
        let unsent: u64 = self.ready.iter().map(|it| it.len() as u64).sum();
        if let Some(in_flight) = self.flying.land() {
            let (_record, to_journal) = in_flight.settle_queued(End {
                outcome,
                status: self.about.status,
                metered: Some(metered),
                answer_bytes: self.passed_bytes + unsent,
                request_id: self.about.request_id.take(),
            });
            self.settled = Some(Settled {
                end: to_journal,
                gave_way: false,
            });
        }
    }
}

/// The client hung up. What it used up to here is booked; the provider's connection is closed with
/// the body, which ends the generation.
impl Drop for Relay {
    fn drop(&mut self) {
        let Some(meter) = self.meter.take() else {
            return;
        };
        let metered = meter.finish();
        // An answer that came to its own end was answered, even if nobody read the last bytes.
        let outcome = if metered.complete {
            Outcome::Answered
        } else {
            self.flying.abandoned()
        };
        self.settle(outcome, metered);
    }
}
