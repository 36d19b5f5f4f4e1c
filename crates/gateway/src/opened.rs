//! A stream that is opened while its call still waits: pinged until there is an answer, which it then
//! becomes, or ends with.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header};
use http_body::{Body as _, Frame};
use serde::Deserialize;
use tidegate_engine::places::PlaceKey;
use tidegate_providers::{Dialect, ErrorKind, error_signal, stream_error};
use tidegate_types::CallId;
use tokio::time::{Interval, MissedTickBehavior};

use crate::{
    gateway::Gateway,
    reply::{BodyError, ReplyBody},
    server::Answering,
};

/// What is said where an error has no words that could be repeated.
const WORDLESS: &str = "the provider refused this call; ask again to be told how";

/// What is said where a stream was asked for and a whole answer came.
const NOT_STREAMED: &str = "the provider did not stream its answer; ask again without streaming";

/// What an opened stream has to know of its call.
pub(crate) struct About {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) dialect: Dialect,
    pub(crate) call: CallId,
    /// For whom its answer is kept where the stream can't be that; `None` for nobody, since nothing
    /// tells who asks again.
    pub(crate) key: Option<PlaceKey>,
    pub(crate) ping_every: Duration,
}

/// The body of an opened stream.
pub struct Opened {
    about: About,
    state: State,
    pings: Interval,
}

enum State {
    /// There is no answer yet.
    Waits(Answering),
    /// There is, and it is a stream.
    Passes(ReplyBody),
    /// There is, and it is none: this is the last that is sent.
    Ends(Bytes),
    Over,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opened")
    }
}

/// The head of a stream whose call still waits, and the stream: what `answering` will answer.
pub(crate) fn open(about: About, answering: Answering) -> Response<ReplyBody> {
    let headers = head(&about);
    let mut pings = tokio::time::interval(about.ping_every);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let opened = Opened {
        about,
        state: State::Waits(answering),
        pings,
    };
    let mut response = Response::new(ReplyBody::Opened(Box::new(opened)));
    *response.headers_mut() = headers;
    response
}

fn head(about: &About) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let event_stream = HeaderValue::from_static("text/event-stream; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, event_stream);
    let no_cache = HeaderValue::from_static("no-cache");
    headers.insert(header::CACHE_CONTROL, no_cache);
    // A proxy that collects the pings keeps them from whoever waits for them.
    let unbuffered = HeaderName::from_static("x-accel-buffering");
    headers.insert(unbuffered, HeaderValue::from_static("no"));
    if let Ok(id) = HeaderValue::from_str(&about.call.to_string()) {
        let theirs = match about.dialect {
            Dialect::Anthropic => "request-id",
            Dialect::OpenAiChat | Dialect::OpenAiResponses => "x-request-id",
        };
        headers.insert(HeaderName::from_static(theirs), id.clone());
        headers.insert(HeaderName::from_static("x-tidegate-call-id"), id);
    }
    headers
}

/// What keeps a stream of the dialect open and says nothing.
const fn ping(dialect: Dialect) -> &'static [u8] {
    match dialect {
        Dialect::Anthropic => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        // These have none: a comment is what every reader of events passes over.
        Dialect::OpenAiChat | Dialect::OpenAiResponses => b": waiting\n\n",
    }
}

impl Opened {
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            match &mut self.state {
                State::Waits(_) if self.about.gateway.is_closed() => {
                    let About { dialect, call, .. } = self.about;
                    let answer = self.about.gateway.stopping(dialect, false, call);
                    // Ended, and accounted, before that is told.
                    self.state = State::Over;
                    self.state = self.about.follow(answer);
                }
                State::Waits(answering) => {
                    // The first is due at once, and takes the head along.
                    if self.pings.poll_tick(cx).is_ready() {
                        let ping = Bytes::from_static(ping(self.about.dialect));
                        return Poll::Ready(Some(Ok(Frame::data(ping))));
                    }
                    let Poll::Ready(answer) = answering.as_mut().poll(cx) else {
                        return Poll::Pending;
                    };
                    self.state = self.about.follow(answer);
                }
                State::Passes(body) => return Pin::new(body).poll_frame(cx),
                State::Ends(_) => {
                    let State::Ends(last) = std::mem::replace(&mut self.state, State::Over) else {
                        continue;
                    };
                    return Poll::Ready(Some(Ok(Frame::data(last))));
                }
                State::Over => return Poll::Ready(None),
            }
        }
    }
}

impl About {
    /// What becomes of the stream now that there is an answer.
    fn follow(&self, answer: Response<ReplyBody>) -> State {
        let (parts, body) = answer.into_parts();
        let body = match body {
            ReplyBody::Whole(body) => body.unwrap_or_default(),
            ReplyBody::Relayed(relay) if parts.status.is_success() && relay.is_stream() => {
                return State::Passes(ReplyBody::Relayed(relay));
            }
            // Too long to be kept.
            _ => return State::Ends(self.error(&ErrorKind::Api, NOT_STREAMED)),
        };
        let last = if parts.status.is_success() {
            self.error(&ErrorKind::Api, NOT_STREAMED)
        } else {
            let signal = error_signal(self.dialect, parts.status.as_u16(), &body);
            let words = words(&body);
            self.error(&signal.kind, words.as_deref().unwrap_or(WORDLESS))
        };
        if let Some(key) = self.key {
            let whole = Response::from_parts(parts, body);
            // Before its client hears of the error, and asks again.
            self.gateway.continuations.keep(key, self.call, &whole);
        }
        State::Ends(last)
    }

    fn error(&self, kind: &ErrorKind, words: &str) -> Bytes {
        stream_error(self.dialect, kind, words, 0).into()
    }
}

/// The message of an error's body, which is alike in all dialects.
fn words(body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Body {
        error: Said,
    }
    #[derive(Deserialize)]
    struct Said {
        message: String,
    }
    let body: Body = serde_json::from_slice(body).ok()?;
    Some(body.error.message).filter(|it| !it.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errors_words_are_found_in_every_dialects_body() {
        let anthropic = br#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 3 > 2"}}"#;
        assert_eq!(
            words(anthropic).as_deref(),
            Some("prompt is too long: 3 > 2")
        );
        let openai = br#"{"error":{"message":"no \"such\" model","type":"invalid_request_error","param":null,"code":null}}"#;
        assert_eq!(words(openai).as_deref(), Some("no \"such\" model"));
        for other in [
            &b"<html>"[..],
            b"",
            br#"{"error":"x"}"#,
            br#"{"error":{"message":""}}"#,
        ] {
            assert_eq!(words(other), None);
        }
    }
}
