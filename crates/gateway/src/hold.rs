//! A call that can't go now is held: in silence for as long as a head can be, then with its stream
//! opened and pinged.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::Response;
use tidegate_engine::{
    call::{Identified, Routed},
    places::PlaceKey,
    settings::Platform,
};
use tidegate_observe::event;
use tidegate_providers::question;
use tokio::{sync::Notify, time::Instant};

use crate::{
    attempt::{How, Tried},
    gateway::{Call, Gateway},
    headers::text,
    inlet::Held,
    opened::{About, open},
    patience::{Stay, Waiter},
    reply::ReplyBody,
    server::Answering,
};

/// The word from whoever waits for a turn to whoever holds the client that its stream is to be opened.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Since when its client waits.
    began: Instant,
    is_open: AtomicBool,
    opened: Notify,
}

impl Opening {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            is_open: AtomicBool::new(false),
            opened: Notify::new(),
        }
    }
}

/// How a client waits, from when it began to.
#[derive(Debug)]
pub(crate) struct Client<'a> {
    stay: Stay,
    opening: &'a Opening,
}

impl Client<'_> {
    /// For how long it has waited.
    pub(crate) fn waited(&self) -> Duration {
        self.opening.began.elapsed()
    }

    /// Whether it can be held for so much longer.
    pub(crate) fn can_wait(&self, longer: Duration) -> bool {
        self.waited().saturating_add(longer) <= self.stay.longest()
    }

    /// For how long it can be held as it is now.
    pub(crate) fn left(&self) -> Duration {
        let until = match self.stay.opened {
            Some((_, until)) if self.is_open() => until,
            _ => self.stay.silent,
        };
        until.saturating_sub(self.waited())
    }

    /// For how long nothing has to be done about it.
    pub(crate) fn quiet(&self) -> Duration {
        match self.stay.opened {
            Some((at, _)) if !self.is_open() => at.saturating_sub(self.waited()),
            _ => self.left(),
        }
    }

    /// Has it held for longer, where that is worth it: it will have to wait for `longer` still. Its
    /// stream is opened only if its turn will come in time, since any status can be sent until then.
    pub(crate) fn hold_on(&mut self, longer: Duration) -> bool {
        if self.is_open() {
            return false;
        }
        let waited = self.waited();
        if let Some((at, until)) = self.stay.opened
            && waited >= at
        {
            if waited.saturating_add(longer) <= until {
                self.opening.is_open.store(true, Ordering::Relaxed);
                self.opening.opened.notify_one();
                return true;
            }
            self.stay.opened = None;
        }
        waited < self.stay.silent
    }

    fn is_open(&self) -> bool {
        self.opening.is_open.load(Ordering::Relaxed)
    }
}

impl Gateway {
    /// Holds a call until it has its turn and an answer, or as long as its client can be held.
    pub(crate) async fn hold(
        self: Arc<Self>,
        call: Call,
        identified: Box<Identified>,
        held: Held,
        (platform, key): (Arc<Platform>, PlaceKey),
    ) -> Response<ReplyBody> {
        let about = About {
            gateway: Arc::clone(&self),
            dialect: call.dialect,
            call: identified.record.id,
            key: is_told_apart(&identified).then_some(key),
            ping_every: self.patience.load().ping_every,
        };
        let opening = Arc::new(Opening::new());
        let mut answering = self.answering(call, identified, held, (platform, key), &opening);
        tokio::select! {
            biased;
            answer = &mut answering => return answer,
            () = opening.opened.notified() => {}
        }
        let call = about.call;
        about.gateway.engine.report(&event::StreamOpened { call });
        open(about, answering)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a part of the call")]
    fn answering(
        self: Arc<Self>,
        call: Call,
        identified: Box<Identified>,
        mut held: Held,
        (platform, key): (Arc<Platform>, PlaceKey),
        opening: &Arc<Opening>,
    ) -> Answering {
        let opening = Arc::clone(opening);
        Box::pin(async move {
            let how = How {
                is_last: true,
                wait: Some((key, &opening)),
            };
            let mut identified = identified;
            loop {
                let tried = self.try_platform(&call, identified, &platform, &mut held, how);
                match Box::pin(tried).await {
                    Tried::Answer(answer) => return answer,
                    // Its bucket turned out to be short of what it takes: the provider says by how much.
                    Tried::Next(again, ending) if ending.again => identified = again,
                    Tried::Next(identified, ending) => {
                        return self.unanswered(&call, identified.record, Some(ending));
                    }
                }
            }
        })
    }

    /// How the client of a call waits that begins to now.
    pub(crate) fn client<'a>(
        &self,
        call: &Call,
        routed: &Routed,
        opening: &'a Opening,
    ) -> Client<'a> {
        // A task that has to be done by then gains nothing from a turn that comes later.
        let deadline = routed.call.record.deadline;
        let waiter = Waiter {
            headers: &call.parts.headers,
            claude_code: call.claude_code,
            stream: call.metered && routed.call.facts.stream,
            max_wait: routed.call.max_wait,
            in_time: deadline.map(|it| it.since(self.engine.now().wall)),
            durations: self.engine.durations(routed),
        };
        Client {
            stay: self.patience.load().stay(&waiter),
            opening,
        }
    }

    /// The answer that is kept for this call, where it continues one that is over.
    pub(crate) fn continued(
        &self,
        identified: &Identified,
        key: PlaceKey,
    ) -> Option<Response<ReplyBody>> {
        if self.continuations.is_empty() || !is_told_apart(identified) {
            return None;
        }
        let taken = self.continuations.take(key, identified.facts.stream);
        let (call, answer) = taken?;
        let status = answer.status().as_u16().into();
        self.engine.report(&event::CallContinued { call, status });
        Some(answer)
    }

    /// The same as [`Gateway::place_key`], where anything is kept at all: it is as costly as the body is
    /// long.
    pub(crate) fn key_of_kept(
        &self,
        call: &Call,
        identified: &Identified,
        held: &Held,
    ) -> Option<PlaceKey> {
        let is_any_kept = self.engine.keeps_places() || !self.continuations.is_empty();
        is_any_kept.then(|| Self::place_key(call, identified, held))
    }

    /// By what a client is known that asks again: its session and what it asks, or, where it names no
    /// session, every byte of the body.
    pub(crate) fn place_key(call: &Call, identified: &Identified, held: &Held) -> PlaceKey {
        let record = &identified.record;
        let agent = text(&call.parts.headers, "x-claude-code-agent-id").unwrap_or_default();
        let whose = [call.parts.uri.path().as_bytes(), agent.as_bytes()];
        let asked = is_told_apart(identified)
            .then(|| question(call.dialect, &held.bytes))
            .flatten();
        let [first, second, third, fourth] = asked.unwrap_or([&held.bytes, b"", b"", b""]);
        let asked = [whose[0], whose[1], first, second, third, fourth];
        PlaceKey::of(
            &record.organisation,
            &record.user,
            &identified.tracked,
            &asked,
        )
    }
}

/// Whether the call names its session, so that the next that asks the same there is the same client's.
fn is_told_apart(identified: &Identified) -> bool {
    identified.record.session.is_some()
}
