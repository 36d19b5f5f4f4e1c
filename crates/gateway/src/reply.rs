//! What is sent to a client.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;

use crate::{opened::Opened, relay::Relay};

/// Why a body broke off.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The body of an answer.
pub enum ReplyBody {
    /// All of it, known before the head was sent.
    Whole(Option<Bytes>),
    /// An upstream answer, passed on as it comes.
    Relayed(Box<Relay>),
    /// A stream that was opened before there is an answer.
    Opened(Box<Opened>),
    /// Somebody else's.
    Other(UnsyncBoxBody<Bytes, BodyError>),
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Whole(_) => "Whole",
            Self::Relayed(_) => "Relayed",
            Self::Opened(_) => "Opened",
            Self::Other(_) => "Other",
        })
    }
}

impl ReplyBody {
    /// A body that is known now.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|it| Ok(Frame::data(it)))),
            Self::Relayed(relay) => relay
                .poll_piece(cx)
                .map(|it| it.map(|it| it.map(Frame::data))),
            Self::Opened(opened) => opened.poll_frame(cx),
            Self::Other(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Relayed(_) | Self::Opened(_) => false,
            Self::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |it| it.len() as u64))
            }
            Self::Relayed(_) | Self::Opened(_) => SizeHint::default(),
            Self::Other(body) => body.size_hint(),
        }
    }
}
