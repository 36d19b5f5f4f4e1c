//! Our own refusals, in the form that each dialect's clients act on.

use std::time::Duration;

use tidegate_types::Timestamp;

use crate::{
    Dialect, ErrorKind,
    error::{anthropic_error, openai_error},
};

/// Longest `retry-after` that Claude Code waits for and tries again; one above 60 s makes it give up
/// at once, and it adds up to 20 % to what it is told.
pub const CLAUDE_CODE_WAIT_MAX: Duration = Duration::from_secs(58);

/// What a budget's window is called in Anthropic's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Period {
    /// One day.
    Daily,
    /// A week from Monday.
    Weekly,
    /// A calendar month.
    Monthly,
}

impl Period {
    /// The written form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
        }
    }
}

/// Why a call is not made. Each holds the sentence that people read: why, which limit, until when,
/// what else would work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A limit on money is reached. No retry helps until it resets or is raised.
    Budget {
        /// For people.
        sentence: String,
        /// Until there is money again, where known and other than `resets_at`.
        retry_after: Option<Duration>,
        /// When the window ends; `None` for a limit that no window resets.
        resets_at: Option<Timestamp>,
        /// The window; `None` for a limit that has none of these.
        period: Option<Period>,
        /// Others spend from it too: it is not the user's own.
        shared: bool,
    },
    /// The ledger cannot be read or written, and enforced limits refuse then.
    CounterUnreadable {
        /// For people.
        sentence: String,
    },
    /// Somebody who may decide about it said no. No retry helps.
    Denied {
        /// For people.
        sentence: String,
    },
    /// A rate limit: the same call fits later.
    Rate {
        /// For people. Must tell the true wait, since `retry-after` may be shorter.
        sentence: String,
        /// Until it fits.
        wait: Duration,
    },
    /// The call is larger than what a limit can ever hold.
    NeverFits {
        /// For people.
        sentence: String,
    },
    /// No credential, or a wrong one.
    Unauthenticated {
        /// For people.
        sentence: String,
    },
    /// The credential may not do this.
    Forbidden {
        /// For people.
        sentence: String,
    },
    /// No such route: what is not metered does not pass.
    NotFound {
        /// For people.
        sentence: String,
    },
    /// The request cannot be understood.
    InvalidRequest {
        /// For people.
        sentence: String,
    },
    /// The body is larger than what is taken.
    TooLarge {
        /// For people.
        sentence: String,
    },
    /// The head is larger than what is taken.
    HeadTooLarge {
        /// For people.
        sentence: String,
    },
    /// No memory for another body right now.
    Busy {
        /// For people.
        sentence: String,
        /// Until a try makes sense.
        wait: Duration,
    },
    /// The gateway is stopping.
    Stopping {
        /// For people.
        sentence: String,
        /// Until a try makes sense.
        wait: Duration,
    },
    /// Upstream could not be reached, or broke off before its answer began.
    UpstreamUnreachable {
        /// For people.
        sentence: String,
    },
    /// Upstream did not begin its answer in time.
    UpstreamTimeout {
        /// For people.
        sentence: String,
    },
}

/// Whether the client should send the same request again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Retry {
    /// As its own rules say.
    Unsaid,
    Never,
    After(Duration),
}

/// A whole answer of our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, but for the content's length.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: Vec<u8>,
}

/// The refusal in its dialect's form.
///
/// Times that are told in seconds are rounded up. Claude Code is told to wait at most
/// [`CLAUDE_CODE_WAIT_MAX`]; the true wait is in `x-tidegate-wait-seconds`. `request_id` is the id
/// under which the call is recorded.
pub fn refuse(
    dialect: Dialect,
    client_is_claude_code: bool,
    refusal: &Refusal,
    request_id: &str,
    now: Timestamp,
) -> Answer {
    let mut headers = vec![("content-type", "application/json".to_owned())];
    let id_header = match dialect {
        Dialect::Anthropic => "request-id",
        Dialect::OpenAiChat | Dialect::OpenAiResponses => "x-request-id",
    };
    headers.push((id_header, request_id.to_owned()));
    match refusal.retry() {
        Retry::Unsaid => {}
        Retry::Never => {
            headers.extend(
                refusal
                    .time_left(now)
                    .map(|it| ("retry-after", seconds_up(it))),
            );
            headers.push(("x-should-retry", "false".to_owned()));
        }
        Retry::After(wait) => retry_headers(&mut headers, dialect, client_is_claude_code, wait),
    }
    if dialect == Dialect::Anthropic {
        refusal.unified_headers(&mut headers);
    }
    let kind = refusal.kind();
    let body = match dialect {
        Dialect::Anthropic => anthropic_error(&kind, refusal.sentence(), Some(request_id)),
        Dialect::OpenAiChat | Dialect::OpenAiResponses => openai_error(&kind, refusal.sentence()),
    };
    Answer {
        status: refusal.status(),
        headers,
        body: body.into_bytes(),
    }
}

fn retry_headers(
    headers: &mut Vec<(&'static str, String)>,
    dialect: Dialect,
    client_is_claude_code: bool,
    wait: Duration,
) {
    let told = if client_is_claude_code {
        wait.min(CLAUDE_CODE_WAIT_MAX)
    } else {
        wait
    };
    headers.push(("retry-after", seconds_up(told)));
    if dialect != Dialect::Anthropic {
        let millis = told.as_nanos().div_ceil(1_000_000).max(1);
        headers.push(("retry-after-ms", millis.to_string()));
    }
    headers.push(("x-tidegate-wait-seconds", seconds_up(wait)));
}

/// Whole seconds, rounded up; at least 1, since 0 means at once.
fn seconds_up(wait: Duration) -> String {
    let up = u64::from(wait.subsec_nanos() > 0);
    wait.as_secs().saturating_add(up).max(1).to_string()
}

/// The second at which something is over.
const fn second_up(at: Timestamp) -> u64 {
    at.0.div_ceil(1_000_000_000)
}

impl Refusal {
    /// The sentence that people read.
    pub fn sentence(&self) -> &str {
        match self {
            Self::Budget { sentence, .. }
            | Self::CounterUnreadable { sentence }
            | Self::Denied { sentence }
            | Self::Rate { sentence, .. }
            | Self::NeverFits { sentence }
            | Self::Unauthenticated { sentence }
            | Self::Forbidden { sentence }
            | Self::NotFound { sentence }
            | Self::InvalidRequest { sentence }
            | Self::TooLarge { sentence }
            | Self::HeadTooLarge { sentence }
            | Self::Busy { sentence, .. }
            | Self::Stopping { sentence, .. }
            | Self::UpstreamUnreachable { sentence }
            | Self::UpstreamTimeout { sentence } => sentence,
        }
    }

    /// The same refusal in other words.
    #[must_use]
    pub fn with_sentence(mut self, words: String) -> Self {
        match &mut self {
            Self::Budget { sentence, .. }
            | Self::CounterUnreadable { sentence }
            | Self::Denied { sentence }
            | Self::Rate { sentence, .. }
            | Self::NeverFits { sentence }
            | Self::Unauthenticated { sentence }
            | Self::Forbidden { sentence }
            | Self::NotFound { sentence }
            | Self::InvalidRequest { sentence }
            | Self::TooLarge { sentence }
            | Self::HeadTooLarge { sentence }
            | Self::Busy { sentence, .. }
            | Self::Stopping { sentence, .. }
            | Self::UpstreamUnreachable { sentence }
            | Self::UpstreamTimeout { sentence } => *sentence = words,
        }
        self
    }

    /// The status it is answered with.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Budget { .. }
            | Self::CounterUnreadable { .. }
            | Self::Denied { .. }
            | Self::Rate { .. }
            | Self::NeverFits { .. }
            | Self::Busy { .. } => 429,
            Self::Unauthenticated { .. } => 401,
            Self::Forbidden { .. } => 403,
            Self::NotFound { .. } => 404,
            Self::InvalidRequest { .. } => 400,
            Self::TooLarge { .. } => 413,
            Self::HeadTooLarge { .. } => 431,
            Self::Stopping { .. } => 503,
            Self::UpstreamUnreachable { .. } => 502,
            Self::UpstreamTimeout { .. } => 504,
        }
    }

    /// The kind of error the client is told.
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Budget { .. } | Self::CounterUnreadable { .. } | Self::Denied { .. } => {
                ErrorKind::SpendCap
            }
            Self::Rate { .. } | Self::NeverFits { .. } | Self::Busy { .. } => ErrorKind::RateLimit,
            Self::Unauthenticated { .. } => ErrorKind::Authentication,
            Self::Forbidden { .. } => ErrorKind::Permission,
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::InvalidRequest { .. } | Self::HeadTooLarge { .. } => ErrorKind::InvalidRequest,
            Self::TooLarge { .. } => ErrorKind::TooLarge,
            Self::Stopping { .. } => ErrorKind::Overloaded,
            Self::UpstreamUnreachable { .. } => ErrorKind::Api,
            Self::UpstreamTimeout { .. } => ErrorKind::Timeout,
        }
    }

    const fn retry(&self) -> Retry {
        match self {
            Self::Rate { wait, .. } | Self::Busy { wait, .. } | Self::Stopping { wait, .. } => {
                Retry::After(*wait)
            }
            // Claude Code asks seven times after a bare 401 and six times after a bare 400.
            Self::Budget { .. }
            | Self::CounterUnreadable { .. }
            | Self::Denied { .. }
            | Self::NeverFits { .. }
            | Self::Unauthenticated { .. }
            | Self::Forbidden { .. }
            | Self::NotFound { .. }
            | Self::InvalidRequest { .. }
            | Self::TooLarge { .. }
            | Self::HeadTooLarge { .. } => Retry::Never,
            Self::UpstreamUnreachable { .. } | Self::UpstreamTimeout { .. } => Retry::Unsaid,
        }
    }

    /// Until a budget can be spent from again.
    fn time_left(&self, now: Timestamp) -> Option<Duration> {
        match self {
            Self::Budget {
                retry_after,
                resets_at,
                ..
            } => retry_after.or_else(|| resets_at.map(|it| it.since(now))),
            _ => None,
        }
    }

    /// The headers from which Claude Code knows in its own terms that a budget is the reason.
    /// `representative-claim` and `overage-status` are left out: with them it would show a sentence
    /// of its own instead of ours.
    fn unified_headers(&self, headers: &mut Vec<(&'static str, String)>) {
        match self {
            Self::Budget {
                resets_at,
                period,
                shared,
                ..
            } => {
                headers.push(("anthropic-ratelimit-unified-status", "rejected".to_owned()));
                if let Some(at) = resets_at {
                    let second = second_up(*at).to_string();
                    headers.push(("anthropic-ratelimit-unified-reset", second.clone()));
                    headers.push(("anthropic-ratelimit-unified-overage-reset", second));
                }
                let one = || "1".to_owned();
                headers.push(("anthropic-ratelimit-unified-overage-utilization", one()));
                headers.push((
                    "anthropic-ratelimit-unified-overage-surpassed-threshold",
                    one(),
                ));
                if let Some(period) = period {
                    let period = period.word().to_owned();
                    headers.push(("anthropic-ratelimit-unified-overage-period", period));
                }
                headers.push((
                    "anthropic-ratelimit-unified-overage-disabled-reason",
                    "org_spend_cap_reached".to_owned(),
                ));
                if *shared {
                    let scope = "group_pool".to_owned();
                    headers.push(("anthropic-ratelimit-unified-overage-scope", scope));
                }
            }
            Self::CounterUnreadable { .. } => headers.push((
                "anthropic-ratelimit-unified-overage-disabled-reason",
                "fetch_error".to_owned(),
            )),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
