//! Route, reserve, send: on the preferred platform, then on its fallbacks, until one answers.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Response, StatusCode};
use tidegate_engine::{
    call::{Identified, Moment, Routed},
    flight::{End, InFlight, Unbookable},
    places::{KeptAt, PlaceKey},
    reserve::{Obstacle, Reserved},
    route::{self, NoRoute},
    settings::Platform,
};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    event,
};
use tidegate_providers::Refusal;

use crate::{
    altered::{Altered, announce, outgoing, path_of},
    claude_code,
    dialect::refusal,
    flying::{Flying, Leaving},
    gateway::{Call, Gateway, Provider, micros},
    headers::{downward, text},
    hold::Opening,
    inlet::Held,
    relay::{Relay, Relaying, is_stream},
    reply::ReplyBody,
    upstream::{AnswerBody, SendError},
    waiting::NoTurn,
    whole::{joined, over_time},
};

/// Bytes of a provider's error that are kept while another platform is tried. Those of the
/// providers have less than 1 KiB.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// What is said where a platform fails and was the last.
const ALONE: &str = "; there is no other platform that could take over";

/// How a platform is tried.
#[derive(Clone, Copy)]
pub(crate) struct How<'a> {
    /// No other comes after it.
    pub(crate) is_last: bool,
    /// Waits for its turn there, at the place that is kept under this key, and has its stream opened if
    /// need be; else only what fits at once goes.
    pub(crate) wait: Option<(PlaceKey, &'a Opening)>,
}

/// How one platform took the call.
pub(crate) enum Tried {
    /// It answers; this goes to the client.
    Answer(Response<ReplyBody>),
    /// It can't; the call goes on to the next, or ends like this where there is none.
    Next(Box<Identified>, Ending),
}

/// How a call ends that no platform answers.
pub(crate) struct Ending {
    refusal: Refusal,
    outcome: Option<Outcome>,
    /// How long it would have to wait there, where that is all.
    wait: Option<Duration>,
    /// The provider refused it because of its rate, and it can wait for its turn there again.
    pub(crate) again: bool,
    /// What the provider itself answered: its words and its wait say more than ours.
    answer: Option<Box<Refused>>,
}

/// A provider's answer that is worth another platform's try.
#[derive(Debug)]
struct Refused {
    status: StatusCode,
    headers: http::HeaderMap,
    /// None where it broke off.
    body: Option<Bytes>,
}

impl Gateway {
    /// Tries the platforms in their order.
    pub(crate) async fn attempt(
        self: Arc<Self>,
        call: Call,
        identified: Box<Identified>,
        mut held: Held,
    ) -> Response<ReplyBody> {
        let key = self.key_of_kept(&call, &identified, &held);
        if let Some(answer) = key.and_then(|it| self.continued(&identified, it)) {
            return answer;
        }
        let settings = self.engine.settings().clone();
        let mut identified = identified;
        let candidates = match route::candidates(&identified, call.dialect, &settings) {
            Ok(candidates) => candidates,
            Err(no_route) => return self.end(&call, identified.record, &unroutable(&no_route)),
        };
        let mut first_ending: Option<Ending> = None;
        // The platform that would have it soonest, where all that it lacks is time.
        let mut soonest: Option<(Duration, &Arc<Platform>)> = None;
        let last = candidates.len() - 1;
        let id = identified.record.id;
        let kept = key.and_then(|it| self.kept_place(it, &candidates));
        let at_once = candidates.iter().filter(|_| kept.is_none()).enumerate();
        for (place, platform) in at_once {
            let how = How {
                is_last: place == last && soonest.is_none(),
                wait: None,
            };
            let tried = self.try_platform(&call, identified, platform, &mut held, how);
            match Box::pin(tried).await {
                Tried::Answer(answer) => {
                    if let (Some(ending), Some(first)) = (first_ending, candidates.first()) {
                        self.engine.report(&event::FellBack {
                            call: id,
                            from: &first.name,
                            to: &platform.name,
                            reason: ending.refusal.sentence().trim_end_matches(ALONE),
                        });
                    }
                    return answer;
                }
                Tried::Next(call, ending) => {
                    identified = call;
                    if let Some(wait) = ending.wait
                        && soonest.is_none_or(|(least, _)| wait < least)
                    {
                        soonest = Some((wait, platform));
                    }
                    first_ending.get_or_insert(ending);
                }
            }
        }
        if let Some(platform) = kept.or(soonest.map(|it| it.1)) {
            let key = key.unwrap_or_else(|| Self::place_key(&call, &identified, &held));
            let platform = (Arc::clone(platform), key);
            // Boxed: most calls never wait, and need no room for it.
            return Box::pin(self.hold(call, identified, held, platform)).await;
        }
        self.unanswered(&call, identified.record, first_ending)
    }

    /// Ends a call that no platform answered.
    pub(crate) fn unanswered(
        &self,
        call: &Call,
        mut record: Box<CallRecord>,
        ending: Option<Ending>,
    ) -> Response<ReplyBody> {
        match ending {
            Some(Ending {
                refusal,
                outcome,
                answer,
                ..
            }) => {
                if let Some(response) = answer.and_then(|it| it.response()) {
                    record.status = response.status().as_u16();
                    record.outcome = Outcome::UpstreamError;
                    self.engine.finish(record);
                    return response;
                }
                record.outcome = outcome.unwrap_or(record.outcome);
                self.end(call, record, &refusal)
            }
            // There is at least one candidate, and each answers or ends.
            None => self.end(call, record, &nothing_answered()),
        }
    }

    /// The platform at which a place is kept under this key, for a client that was sent away before.
    fn kept_place<'a>(
        &self,
        key: PlaceKey,
        candidates: &'a [Arc<Platform>],
    ) -> Option<&'a Arc<Platform>> {
        let at = self.engine.kept_at(key)?;
        let named = candidates
            .iter()
            .find(|it| at == KeptAt::Platform(Arc::clone(&it.name)));
        named.or(candidates.first())
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the try")]
    pub(crate) async fn try_platform(
        &self,
        call: &Call,
        identified: Box<Identified>,
        platform: &Arc<Platform>,
        held: &mut Held,
        how: How<'_>,
    ) -> Tried {
        let Some(provider) = self.providers.load().get(&platform.provider).cloned() else {
            return Tried::Next(identified, Ending::of(nothing_answered()));
        };
        let began = self.engine.now();
        let mut routed = self.engine.route(identified, platform, began);
        let now = self.engine.now();
        routed.call.record.phases.route = micros(now, began);
        let reserved = match how.wait {
            None => self.engine.reserve(routed, now),
            Some(wait) => match Box::pin(self.in_turn(call, routed, held, wait)).await {
                Ok(reserved) => Ok(reserved),
                Err(NoTurn::Refused(routed, obstacle)) => Err((routed, obstacle)),
                Err(NoTurn::SentAway(record, refusal)) => {
                    return Tried::Answer(self.end(call, record, &refusal));
                }
            },
        };
        let reserved = match reserved {
            Ok(reserved) => reserved,
            Err((routed, obstacle)) => return self.obstructed(routed, obstacle),
        };
        // A turn may have come long after.
        let now = how.wait.map_or(now, |_| self.engine.now());
        // Boxed: a call that waits for its turn needs no room for what comes then.
        Box::pin(self.sent(call, (reserved, now), &provider, (held, how.is_last))).await
    }

    /// Sends a call that has everything set aside for it.
    async fn sent(
        &self,
        call: &Call,
        (reserved, now): (Reserved, Moment),
        provider: &Provider,
        (held, is_last): (&mut Held, bool),
    ) -> Tried {
        let sent = match self.engine.send_at_once(reserved, now) {
            Ok(sending) => {
                let mut leaving = Leaving::new(sending, &self.engine, &self.closing);
                // Others have something for the journal too: one write takes it all.
                tokio::task::yield_now().await;
                leaving.sent()
            }
            Err(reserved) => Box::pin(self.send_off_the_worker(reserved, now)).await,
        };
        let mut in_flight = match sent {
            Ok(in_flight) => in_flight,
            Err((routed, unbookable)) => {
                let sentence = unbookable.to_string();
                let refusal = Refusal::CounterUnreadable { sentence };
                return Tried::Next(routed.call, Ending::of(refusal));
            }
        };
        let sent = self.engine.now();
        in_flight.record_mut().phases.reserve = micros(sent, now);
        self.exchange(call, in_flight, provider, (held, is_last))
            .await
    }

    /// Sends a call that has leave to go, and passes its answer on.
    async fn exchange(
        &self,
        call: &Call,
        in_flight: InFlight,
        provider: &Provider,
        (held, is_last): (&mut Held, bool),
    ) -> Tried {
        let outgoing = match outgoing(call, &in_flight, provider, held) {
            Ok(outgoing) => outgoing,
            Err(refusal) => {
                let identified = in_flight.unsent();
                return Tried::Next(identified, Ending::of(refusal));
            }
        };
        let time_left = in_flight.time_left().at;
        let mut flying = Flying::new(in_flight, Arc::clone(&self.closing));
        let path = path_of(call);
        let answer = provider
            .upstream
            .send(outgoing.request, &path, flying.sent());
        let answer = tokio::time::timeout(provider.head_max.min(time_left), answer).await;
        self.hear(&mut flying, &answer);
        let again = flying.in_flight().and_then(|it| it.waits_again());
        let failure = match answer {
            Ok(Ok(answer)) if let Some(wait) = again => {
                let answer = refused(answer, provider, (&mut flying, &outgoing.altered)).await;
                return waits_again(&mut flying, answer, wait);
            }
            Ok(Ok(answer)) if is_last || !is_worth_another(answer.status()) => {
                let answer = self.answered(call, flying, provider, answer, outgoing.altered);
                return Tried::Answer(answer.await);
            }
            Ok(Ok(answer)) => {
                let answer = refused(answer, provider, (&mut flying, &outgoing.altered)).await;
                Failure::Refused(Box::new(answer))
            }
            Ok(Err(error)) => Failure::Send(error),
            Err(_) if time_left < provider.head_max => return self.out_of_time(call, &mut flying),
            Err(_) if flying.sent().load(Ordering::Relaxed) => Failure::Slow,
            Err(_) => Failure::SlowToConnect,
        };
        self.failed(&mut flying, failure)
    }

    fn out_of_time(&self, call: &Call, flying: &mut Flying) -> Tried {
        let (record, refusal) = over_time(flying, 0, None);
        Tried::Answer(self.end(call, record, &refusal))
    }

    /// Waits for the store on a thread that may wait: other calls go on meanwhile. A client that
    /// hangs up meanwhile takes nothing along: what comes of it then ends as unsent.
    async fn send_off_the_worker(
        &self,
        reserved: Reserved,
        now: Moment,
    ) -> Result<InFlight, (Box<Routed>, Unbookable)> {
        let (engine, closing) = (Arc::clone(&self.engine), Arc::clone(&self.closing));
        let sending = move || {
            let sent = engine.send(reserved, now);
            sent.map(|it| Flying::new(it, closing))
        };
        match tokio::task::spawn_blocking(sending).await {
            Ok(sent) => sent.map(|mut flying| {
                let landed = flying.land();
                landed.unwrap_or_else(|| unreachable!("it was started five lines above"))
            }),
            // A defect of ours is as loud there as it would be here.
            Err(panicked) => std::panic::resume_unwind(Box::new(panicked)),
        }
    }

    fn obstructed(&self, mut routed: Box<Routed>, obstacle: Obstacle) -> Tried {
        let told = self
            .engine
            .explain(&routed.platform, &routed.spender(), obstacle);
        routed
            .call
            .record
            .tried
            .push(Arc::clone(&routed.platform.name));
        let outcome = match obstacle {
            Obstacle::Stale => Outcome::Shed {
                lacking: "ledger".into(),
            },
            _ => Outcome::Refused {
                limit: Arc::clone(&told.limit),
            },
        };
        let ending = Ending {
            refusal: refusal(&told, &obstacle),
            outcome: Some(outcome),
            wait: match obstacle {
                // Somebody may approve it any moment, but only where nothing else would do.
                Obstacle::Approval(_) => Some(Duration::MAX),
                _ => obstacle.wait(),
            },
            again: false,
            answer: None,
        };
        Tried::Next(routed.call, ending)
    }

    /// Books a try that came to nothing.
    fn failed(&self, flying: &mut Flying, failure: Failure) -> Tried {
        let Some(in_flight) = flying.land() else {
            unreachable!("nothing but this takes it down before there is an answer")
        };
        let reason = failure.to_string();
        let record = in_flight.record();
        self.engine.report(&event::UpstreamUnreachable {
            call: record.id,
            platform: &record.platform,
            reason: &reason,
        });
        let end = |outcome| End {
            outcome,
            status: 0,
            metered: None,
            answer_bytes: 0,
            request_id: None,
        };
        let (outcome, identified) = match &failure {
            Failure::Send(error) if error.nothing_sent() => {
                (Outcome::UpstreamUnreachable, in_flight.unsent())
            }
            Failure::SlowToConnect => (Outcome::UpstreamUnreachable, in_flight.unsent()),
            Failure::Refused(_) => {
                let outcome = Outcome::UpstreamUnreachable;
                (outcome.clone(), in_flight.abandon(&end(outcome)))
            }
            // It may have begun to work on it, and may bill that.
            Failure::Send(_) | Failure::Slow => {
                let outcome = Outcome::UpstreamLost;
                (outcome.clone(), in_flight.abandon(&end(outcome)))
            }
        };
        let sentence = reason + ALONE;
        let (refusal, answer) = match failure {
            Failure::Slow | Failure::SlowToConnect => (Refusal::UpstreamTimeout { sentence }, None),
            Failure::Send(_) => (Refusal::UpstreamUnreachable { sentence }, None),
            Failure::Refused(answer) => (Refusal::UpstreamUnreachable { sentence }, Some(answer)),
        };
        Tried::Next(
            identified,
            Ending {
                refusal,
                outcome: Some(outcome),
                wait: None,
                again: false,
                answer,
            },
        )
    }

    #[expect(clippy::too_many_arguments, reason = "each is one fact of the answer")]
    async fn answered(
        &self,
        call: &Call,
        mut flying: Flying,
        provider: &Provider,
        answer: Response<AnswerBody>,
        altered: Altered,
    ) -> Response<ReplyBody> {
        let now = self.engine.now();
        let (parts, body) = answer.into_parts();
        let request_id = text(&parts.headers, "request-id")
            .or_else(|| text(&parts.headers, "x-request-id"))
            .map(Arc::from);
        let asked = flying
            .in_flight()
            .is_some_and(|it| call.metered && it.routed.call.facts.stream);
        let is_stream = is_stream(&parts, asked);
        let mut headers = parts.headers;
        downward(&mut headers);
        if let Some(in_flight) = flying.in_flight() {
            in_flight.first_byte(now);
            announce(&mut headers, in_flight, &altered);
            if call.claude_code && parts.status.is_success() {
                claude_code::show(&mut headers, &call.parts.headers, in_flight, &self.engine);
            }
        }
        let about = Relaying {
            dialect: call.dialect,
            streamed: is_stream,
            drop_usage_chunk: altered.include_usage,
            status: parts.status.as_u16(),
            request_id,
            silence_max: provider.silence_max,
        };
        let body = if is_stream {
            let mut relay = Box::new(Relay::new(about, body, flying));
            relay.begin().await;
            ReplyBody::Relayed(relay)
        } else {
            match self.whole(about, body, flying).await {
                Ok(body) => body,
                Err((record, refusal)) => return self.end(call, record, &refusal),
            }
        };
        let mut response = Response::new(body);
        *response.status_mut() = parts.status;
        *response.headers_mut() = headers;
        response
    }
}

impl Ending {
    const fn of(refusal: Refusal) -> Self {
        Self {
            refusal,
            outcome: None,
            wait: None,
            again: false,
            answer: None,
        }
    }
}

impl Refused {
    fn response(self) -> Option<Response<ReplyBody>> {
        let mut response = Response::new(ReplyBody::whole(self.body?));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        Some(response)
    }
}

/// Books a try that its provider refused because of its rate: the call waits for its turn, instead of its client.
fn waits_again(flying: &mut Flying, answer: Refused, wait: Duration) -> Tried {
    let Some(in_flight) = flying.land() else {
        unreachable!("nothing but this takes it down before there is an answer")
    };
    let identified = in_flight.again(&End {
        outcome: Outcome::UpstreamError,
        status: answer.status.as_u16(),
        metered: None,
        answer_bytes: 0,
        request_id: None,
    });
    let ending = Ending {
        wait: Some(wait),
        again: true,
        answer: Some(Box::new(answer)),
        ..Ending::of(nothing_answered())
    };
    Tried::Next(identified, ending)
}

/// Reads an answer that may still be the client's, where no other platform does better.
async fn refused(
    answer: Response<AnswerBody>,
    provider: &Provider,
    (flying, altered): (&mut Flying, &Altered),
) -> Refused {
    let (mut parts, mut body) = answer.into_parts();
    downward(&mut parts.headers);
    if let Some(in_flight) = flying.in_flight() {
        announce(&mut parts.headers, in_flight, altered);
    }
    let (mut pieces, mut length) = (Vec::new(), 0);
    let whole = loop {
        match tokio::time::timeout(provider.silence_max, body.next()).await {
            Ok(None) => break true,
            Ok(Some(Ok(piece))) if length + piece.len() <= REFUSAL_BYTES_MAX => {
                length += piece.len();
                pieces.push(piece);
            }
            Ok(Some(_)) | Err(_) => break false,
        }
    };
    Refused {
        status: parts.status,
        headers: parts.headers,
        body: whole.then(|| joined(pieces, length)),
    }
}

/// Why a try came to nothing.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Send(SendError),
    #[error("the provider answered {}", .0.status.as_u16())]
    Refused(Box<Refused>),
    #[error("the provider did not begin to answer in time")]
    Slow,
    #[error("no connection to the provider was opened in time")]
    SlowToConnect,
}

/// Statuses for which another platform may do better: its quota is exhausted, or it is down.
fn is_worth_another(status: StatusCode) -> bool {
    matches!(status.as_u16(), 429 | 500 | 502 | 503 | 504 | 529)
}

pub(crate) fn unroutable(no_route: &NoRoute) -> Refusal {
    let sentence = no_route.to_string();
    match no_route {
        NoRoute::UnknownPlatform { .. } | NoRoute::OtherDialect { .. } => {
            Refusal::InvalidRequest { sentence }
        }
        NoRoute::NoCredential { .. } | NoRoute::OtherCredential { .. } => {
            Refusal::Unauthenticated { sentence }
        }
        NoRoute::NotForKeyless { .. } => Refusal::Forbidden { sentence },
    }
}

fn nothing_answered() -> Refusal {
    Refusal::UpstreamUnreachable {
        sentence: "no platform could be asked: its provider is not configured any more".to_owned(),
    }
}
