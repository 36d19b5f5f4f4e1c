//! Why a request was not taken, in the words of HTTP and of gRPC.

use std::time::Duration;

use http::StatusCode;
use tidegate_segments::{Refused, SegmentsError};
use tidegate_types::Disposition;

use crate::{
    json::MalformedJson,
    limits::{
        BODY_BYTES_MAX, BODY_PATIENCE, RETRY_BUSY, RETRY_STOPPING, RETRY_UNWRITTEN,
        UNPACKED_BYTES_MAX,
    },
    wire::Malformed,
};

/// Why a request was not taken. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Nobody is known behind it.
    #[error("{0}")]
    Unidentified(String),
    /// Whoever is behind it may not send.
    #[error("a key of the role {0} may look and not send: use one with the role caller")]
    Forbidden(&'static str),
    /// Its body is too long.
    #[error("the body is longer than {BODY_BYTES_MAX} bytes: send smaller batches")]
    TooLarge,
    /// Its body becomes too long.
    #[error("the body is longer than {UNPACKED_BYTES_MAX} bytes unpacked: send smaller batches")]
    Bomb,
    /// It is not packed as it says.
    #[error("the body is not gzip as it says: {0}")]
    NotGzip(String),
    /// It is packed in a way that is not known.
    #[error("`{0}` is not an encoding that is taken: send gzip, or nothing packed")]
    Encoding(String),
    /// It is of a type that is not known.
    #[error("`{0}` is not a type that is taken: send application/x-protobuf or application/json")]
    MediaType(String),
    /// It is no message.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// It is no JSON, or of another shape.
    #[error(transparent)]
    MalformedJson(#[from] MalformedJson),
    /// It ends too early.
    #[error("the body broke off")]
    Lost,
    /// It takes too long to come.
    #[error("the body took longer than {} s", BODY_PATIENCE.as_secs())]
    Slow,
    /// There is no such route.
    #[error("there is no `{0}` here: OTLP is POST /v1/logs, /v1/traces and /v1/metrics")]
    NoRoute(String),
    /// Requests fill the memory there is for them.
    #[error("too much telemetry is on its way; send it again in {} s", RETRY_BUSY.as_secs())]
    Busy,
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] Refused),
}

impl Refusal {
    /// What the sender should do.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::Busy => Disposition::RetryAfter(RETRY_BUSY),
            Self::Store(refused) => match refused {
                Refused::Busy { retry_after } => Disposition::RetryAfter(*retry_after),
                Refused::Unwritten(_) => Disposition::RetryAfter(RETRY_UNWRITTEN),
                Refused::Closed => Disposition::RetryAfter(RETRY_STOPPING),
                Refused::TooLarge { .. } => Disposition::FixRequest,
            },
            Self::Unidentified(_)
            | Self::Forbidden(_)
            | Self::TooLarge
            | Self::Bomb
            | Self::NotGzip(_)
            | Self::Encoding(_)
            | Self::MediaType(_)
            | Self::Malformed(_)
            | Self::MalformedJson(_)
            | Self::Lost
            | Self::Slow
            | Self::NoRoute(_) => Disposition::FixRequest,
        }
    }

    /// When to send it again, where that helps.
    pub(crate) const fn retry_after(&self) -> Option<Duration> {
        match self.disposition() {
            Disposition::RetryAfter(wait) => Some(wait),
            Disposition::TryElsewhere | Disposition::FixRequest | Disposition::Escalate => None,
        }
    }

    /// What must be seen to by somebody, where it is that.
    pub(crate) const fn trouble(&self) -> Option<&SegmentsError> {
        match self {
            Self::Store(Refused::Unwritten(error)) => Some(error),
            _ => None,
        }
    }

    /// The status over HTTP. What may be sent again is 503 and not 429: of both, the exporters of some
    /// languages send only the former again.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Unidentified(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::TooLarge | Self::Bomb | Self::Store(Refused::TooLarge { .. }) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::Encoding(_) | Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotGzip(_)
            | Self::Malformed(_)
            | Self::MalformedJson(_)
            | Self::Lost
            | Self::Slow => StatusCode::BAD_REQUEST,
            Self::NoRoute(_) => StatusCode::NOT_FOUND,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The status over gRPC. `RESOURCE_EXHAUSTED` comes without a time and says "never".
    pub(crate) const fn code(&self) -> Code {
        match self {
            Self::Unidentified(_) => Code::Unauthenticated,
            Self::Forbidden(_) => Code::PermissionDenied,
            Self::TooLarge | Self::Bomb | Self::Store(Refused::TooLarge { .. }) => {
                Code::ResourceExhausted
            }
            Self::Encoding(_) | Self::MediaType(_) | Self::NoRoute(_) => Code::Unimplemented,
            Self::NotGzip(_)
            | Self::Malformed(_)
            | Self::MalformedJson(_)
            | Self::Lost
            | Self::Slow => Code::InvalidArgument,
            Self::Busy | Self::Store(_) => Code::Unavailable,
        }
    }
}

/// A status of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument,
    PermissionDenied,
    ResourceExhausted,
    Unimplemented,
    Unavailable,
    Unauthenticated,
}

impl Code {
    /// Its number.
    pub(crate) const fn number(self) -> u64 {
        match self {
            Self::InvalidArgument => 3,
            Self::PermissionDenied => 7,
            Self::ResourceExhausted => 8,
            Self::Unimplemented => 12,
            Self::Unavailable => 14,
            Self::Unauthenticated => 16,
        }
    }

    /// Its name.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::InvalidArgument => "INVALID_ARGUMENT",
            Self::PermissionDenied => "PERMISSION_DENIED",
            Self::ResourceExhausted => "RESOURCE_EXHAUSTED",
            Self::Unimplemented => "UNIMPLEMENTED",
            Self::Unavailable => "UNAVAILABLE",
            Self::Unauthenticated => "UNAUTHENTICATED",
        }
    }
}
