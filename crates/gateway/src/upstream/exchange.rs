//! One request and its answer over a connection, polled by the task that wants the answer.

use std::{
    future::{Future as _, poll_fn},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, uri::PathAndQuery};
use http_body::Body as _;
use hyper::body::Incoming;

use super::{
    ConnectError, Upstream, UpstreamRequest,
    connect::{Link, Owned},
};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Nothing was sent.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The request could not be written down: its path does not fit the base URL.
    #[error("the request's path does not fit the provider's base URL")]
    Target(#[from] http::Error),
    /// The connection ended after (a part of) the request was sent and before an answer came:
    /// whether the provider worked on it is unknown.
    #[error("the connection to {origin} ended before an answer came")]
    Lost {
        /// The origin that was asked.
        origin: String,
        /// What the HTTP library said.
        #[source]
        source: hyper::Error,
    },
}

impl SendError {
    /// True where the provider can't have begun to work on it.
    pub const fn nothing_sent(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Target(_) => true,
            Self::Lost { .. } => false,
        }
    }
}

/// Connections in a row that may close just as a request is handed to them. One is bad luck; more
/// is an origin that hangs up on everyone.
const CLOSING_MAX: u32 = 3;

impl Upstream {
    /// Sends a request and waits for the head of its answer.
    ///
    /// A request that a kept connection refused unsent (it was just closing) goes out again on
    /// another connection. One of which a byte was written is never sent twice: it could be billed
    /// twice. `sent` is true from when a connection has the request, and may have written of it.
    pub async fn send(
        self: &Arc<Self>,
        mut request: UpstreamRequest,
        path: &PathAndQuery,
        sent: &AtomicBool,
    ) -> Result<Response<AnswerBody>, SendError> {
        let mut closing = 0;
        loop {
            match self.link().await? {
                Link::Shared(mut shared) => {
                    *request.uri_mut() = self.origin.target(path, true)?;
                    let lost = |source| self.lost(source);
                    sent.store(true, Ordering::Relaxed);
                    let answer = shared.sender.send_request(request).await.map_err(lost)?;
                    return Ok(answer.map(|body| AnswerBody {
                        body,
                        borrowed: None,
                    }));
                }
                Link::Owned(owned) => {
                    *request.uri_mut() = self.origin.target(path, false)?;
                    sent.store(true, Ordering::Relaxed);
                    match self.exchange(owned, request).await? {
                        Exchanged::Answer(answer) => return Ok(*answer),
                        Exchanged::Unsent(unsent, _) if closing < CLOSING_MAX => {
                            closing += 1;
                            sent.store(false, Ordering::Relaxed);
                            request = *unsent;
                        }
                        Exchanged::Unsent(_, why) => return Err(self.lost(why)),
                    }
                }
            }
        }
    }

    async fn exchange(
        self: &Arc<Self>,
        mut owned: Owned,
        request: UpstreamRequest,
    ) -> Result<Exchanged, SendError> {
        let mut answer = pin!(owned.sender.try_send_request(request));
        let mut driver_done = false;
        let answer = poll_fn(|cx| {
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(answer);
            }
            if !driver_done {
                // Its outcome, good or bad, reaches us through `answer`.
                driver_done = owned.driver.as_mut().poll(cx).is_ready();
            }
            answer.as_mut().poll(cx)
        })
        .await;
        match answer {
            Ok(answer) => {
                let borrowed = (!driver_done).then(|| Borrowed {
                    owned,
                    upstream: Arc::clone(self),
                });
                Ok(Exchanged::Answer(Box::new(
                    answer.map(|body| AnswerBody { body, borrowed }),
                )))
            }
            Err(mut refused) => match refused.take_message() {
                Some(unsent) => Ok(Exchanged::Unsent(Box::new(unsent), refused.into_error())),
                None => Err(self.lost(refused.into_error())),
            },
        }
    }

    fn lost(&self, source: hyper::Error) -> SendError {
        SendError::Lost {
            origin: self.origin.to_string(),
            source,
        }
    }
}

enum Exchanged {
    Answer(Box<Response<AnswerBody>>),
    Unsent(Box<UpstreamRequest>, hyper::Error),
}

/// The body of an answer, and with it the connection it comes over, which is given back to its
/// [`Upstream`] when the body has ended well and closed otherwise.
#[derive(Debug)]
pub struct AnswerBody {
    body: Incoming,
    /// None for HTTP/2, and once given back.
    borrowed: Option<Borrowed>,
}

#[derive(Debug)]
struct Borrowed {
    owned: Owned,
    upstream: Arc<Upstream>,
}

impl AnswerBody {
    /// The next bytes; `None` at a proper end. Trailers are passed over: no dialect has them.
    pub fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, hyper::Error>>> {
        loop {
            let mut frame = Pin::new(&mut self.body).poll_frame(cx);
            if frame.is_pending() {
                // Asking told the connection that more is wanted; now it may read, and hand over.
                if let Some(borrowed) = &mut self.borrowed {
                    if borrowed.owned.driver.as_mut().poll(cx).is_ready() {
                        self.borrowed = None;
                    }
                    frame = Pin::new(&mut self.body).poll_frame(cx);
                }
            }
            return match frame {
                Poll::Pending => Poll::Pending,
                Poll::Ready(None) => {
                    self.give_back(cx);
                    Poll::Ready(None)
                }
                Poll::Ready(Some(Err(lost))) => Poll::Ready(Some(Err(lost))),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(bytes) => Poll::Ready(Some(Ok(bytes))),
                    Err(_trailers) => continue,
                },
            };
        }
    }

    /// The next bytes, awaited.
    pub async fn next(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        poll_fn(|cx| self.poll_bytes(cx)).await
    }

    fn give_back(&mut self, cx: &mut Context<'_>) {
        let Some(Borrowed {
            mut owned,
            upstream,
        }) = self.borrowed.take()
        else {
            return;
        };
        // One more turn lets the connection notice that the exchange is over.
        if owned.driver.as_mut().poll(cx).is_pending() && owned.sender.is_ready() {
            upstream.give_back(owned);
        }
    }
}
