//! The record of one call: every figure of it, once.

mod kept;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_types::{
    CallId, Complexity, KeyId, NanoUsd, Priority, RequestClass, ReservationId, Timestamp, Tokens,
    Usage,
};

use crate::{
    RecordStoreError,
    overspend::Overspend,
    redact::Redactor,
    trace::{SpanId, TraceId},
};

pub(crate) use kept::Kept;

/// The most records one [`CallStore::list`] gives: a screenful of a program, 2 MiB at worst.
pub const LIST_MAX: usize = 1_000;

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// The whole answer reached the client.
    Answered,
    /// A limit refused it, or told it to come back later. Nothing was sent upstream.
    Refused {
        /// The limit's name, as in `would_refuse`.
        limit: Arc<str>,
    },
    /// The request itself was at fault (syntax, credential, route, size). Nothing was sent upstream.
    Invalid {
        /// The stable code of the error the client got.
        code: Arc<str>,
    },
    /// Refused because we lacked memory or could not write the ledger. Nothing was sent upstream.
    Shed {
        /// What we lacked: `body_memory`, `ledger`.
        lacking: Arc<str>,
    },
    /// The client hung up before the end.
    ClientGone,
    /// The provider answered with an error status, which was passed on.
    UpstreamError,
    /// The provider sent an error event inside its stream.
    StreamError,
    /// No answer began: the connection, TLS or the wait for headers failed.
    UpstreamUnreachable,
    /// The answer broke off after it had begun.
    UpstreamLost,
    /// We ended its answer at a quota, in good order.
    Ended {
        /// The quota's name.
        limit: Arc<str>,
    },
    /// We stopped before the call ended; what it used is not known.
    Interrupted,
}

impl Outcome {
    /// The word for labels, tables and filters.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused { .. } => "refused",
            Self::Invalid { .. } => "invalid",
            Self::Shed { .. } => "shed",
            Self::ClientGone => "client_gone",
            Self::UpstreamError => "upstream_error",
            Self::StreamError => "stream_error",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamLost => "upstream_lost",
            Self::Ended { .. } => "ended",
            Self::Interrupted => "interrupted",
        }
    }

    /// Whether anything was sent to a provider, so that the call may have cost money.
    pub const fn was_sent(&self) -> bool {
        match self {
            Self::Refused { .. } | Self::Invalid { .. } | Self::Shed { .. } => false,
            Self::Answered
            | Self::ClientGone
            | Self::UpstreamError
            | Self::StreamError
            | Self::UpstreamUnreachable
            | Self::UpstreamLost
            | Self::Ended { .. }
            | Self::Interrupted => true,
        }
    }
}

/// Time spent in each phase, in whole microseconds, rounded down. A phase that did not happen is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PhaseMicros {
    /// From the first byte of the request to a known caller, body included.
    pub identify: u64,
    /// Sizing the request.
    pub estimate: u64,
    /// Choosing the platform.
    pub route: u64,
    /// Checking and taking buckets and budgets.
    pub reserve: u64,
    /// Held back by us before sending, on purpose.
    pub wait: u64,
    /// From sending the request upstream to the first byte of its answer.
    pub first_byte: u64,
    /// From the first to the last byte of the answer.
    pub stream: u64,
    /// Booking the result.
    pub settle: u64,
}

impl PhaseMicros {
    /// All phases together.
    pub const fn total(&self) -> u64 {
        self.added()
            .saturating_add(self.wait)
            .saturating_add(self.first_byte)
            .saturating_add(self.stream)
    }

    /// What we add to a call that is not held back: everything but the provider's own time.
    pub const fn added(&self) -> u64 {
        self.identify
            .saturating_add(self.estimate)
            .saturating_add(self.route)
            .saturating_add(self.reserve)
            .saturating_add(self.settle)
    }
}

/// A wait that a watched limit would have caused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WouldWait {
    /// The limit's name.
    pub limit: Arc<str>,
    /// How long, in whole milliseconds, rounded up.
    pub wait_ms: u64,
}

/// One call, from its first byte to its settlement. The log record, the metrics, `tidegate calls`
/// and the API all come from this.
///
/// Holds no prompt, no answer and no credential. Texts that clients choose (task, session, model)
/// are passed through [`Self::redact`] before the record is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each a column of its own"
)]
pub struct CallRecord {
    /// Our own id, also sent to the client as `x-tidegate-call-id`.
    pub id: CallId,
    /// When the request arrived.
    pub at: Timestamp,
    /// Who pays.
    #[serde(default)]
    pub organisation: Arc<str>,
    /// Who acts.
    #[serde(default)]
    pub user: Arc<str>,
    /// The key it came with, if it came with one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The run of an agent it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<Arc<str>>,
    /// The task it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<Arc<str>>,
    /// The root of that task's tree, whose limits apply; equal to `task` for a root task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_task: Option<Arc<str>>,
    /// The task or agent that asked for this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Arc<str>>,
    /// What kind of task the caller says it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<Arc<str>>,
    /// What the assistant says the request is for.
    pub class: RequestClass,
    /// The priority it was admitted with.
    pub priority: Priority,
    /// How hard its task is, where the caller said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complexity: Option<Complexity>,
    /// Until when its task is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Units it weighed in the platform's unit bucket.
    #[serde(default)]
    pub units: u64,
    /// Whether limits nobody named bound it.
    #[serde(default)]
    pub keyless: bool,
    /// Wire format: `anthropic_messages`, `openai_chat`, `openai_responses`, or `admission`.
    #[serde(default)]
    pub dialect: Arc<str>,
    /// The path that was asked for, without its query.
    #[serde(default)]
    pub path: Arc<str>,
    /// Where it was sent; empty if it was not.
    #[serde(default)]
    pub provider: Arc<str>,
    /// The platform whose quota it used; empty if none was chosen.
    #[serde(default)]
    pub platform: Arc<str>,
    /// Platforms that were tried before `platform`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tried: Vec<Arc<str>>,
    /// The model in the client's request.
    #[serde(default)]
    pub model_asked: Arc<str>,
    /// The model in the request we sent.
    #[serde(default)]
    pub model_sent: Arc<str>,
    /// Whether the client asked for a stream.
    #[serde(default)]
    pub stream: bool,
    /// The HTTP status the client got; 0 if it got none.
    #[serde(default)]
    pub status: u16,
    /// How it ended.
    pub outcome: Outcome,
    /// What it used, where the provider said so or it could be estimated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// Whether `usage` or `cost` is our estimate rather than the provider's figure.
    #[serde(default)]
    pub estimated: bool,
    /// What it was charged.
    #[serde(default)]
    pub cost: NanoUsd,
    /// The list price where the call itself was charged less (subscriptions).
    #[serde(default)]
    pub notional: NanoUsd,
    /// What was expected before it was sent.
    #[serde(default)]
    pub expected: NanoUsd,
    /// The most that was held for it.
    #[serde(default)]
    pub bound: NanoUsd,
    /// Whether the price table knows the model.
    #[serde(default)]
    pub price_known: bool,
    /// The version of the price table it was charged by.
    #[serde(default)]
    pub price_version: Arc<str>,
    /// The hold on quota and budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reservation: Option<ReservationId>,
    /// The provider's own id of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<Arc<str>>,
    /// The trace it is part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// Our span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span_id: Option<SpanId>,
    /// The caller's span.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent_span_id: Option<SpanId>,
    /// Where the time went.
    #[serde(default)]
    pub phases: PhaseMicros,
    /// Size of the request body.
    #[serde(default)]
    pub body_bytes: u64,
    /// Size of the answer's body, as far as it was passed on.
    #[serde(default)]
    pub answer_bytes: u64,
    /// The output cap the client asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_asked: Option<Tokens>,
    /// The output cap that was sent; lower than asked where a hard limit lowered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_sent: Option<Tokens>,
    /// Watched limits that would have refused it, in check order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub would_refuse: Vec<Arc<str>>,
    /// The longest wait a watched limit would have caused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub would_wait: Option<WouldWait>,
    /// What the client was warned of: passed soft limits, allowed overage, altered values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Arc<str>>,
    /// Why it cost far more than was expected, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overspend: Option<Box<Overspend>>,
    /// The earlier call this one repeats (same session and body).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_of: Option<CallId>,
}

impl CallRecord {
    /// A call that has just arrived: nobody is known yet, nothing was sent, and if it ended here
    /// it would have been interrupted.
    pub fn arrived(id: CallId, at: Timestamp, dialect: impl Into<Arc<str>>) -> Self {
        let none: Arc<str> = Arc::from("");
        Self {
            id,
            at,
            organisation: none.clone(),
            user: none.clone(),
            key: None,
            session: None,
            task: None,
            root_task: None,
            parent: None,
            task_type: None,
            class: RequestClass::Unknown,
            priority: RequestClass::Unknown.default_priority(),
            complexity: None,
            deadline: None,
            units: 0,
            keyless: false,
            dialect: dialect.into(),
            path: none.clone(),
            provider: none.clone(),
            platform: none.clone(),
            tried: Vec::new(),
            model_asked: none.clone(),
            model_sent: none.clone(),
            stream: false,
            status: 0,
            outcome: Outcome::Interrupted,
            usage: None,
            estimated: false,
            cost: NanoUsd::ZERO,
            notional: NanoUsd::ZERO,
            expected: NanoUsd::ZERO,
            bound: NanoUsd::ZERO,
            price_known: false,
            price_version: none,
            reservation: None,
            request_id: None,
            trace_id: None,
            span_id: None,
            parent_span_id: None,
            phases: PhaseMicros::default(),
            body_bytes: 0,
            answer_bytes: 0,
            max_tokens_asked: None,
            max_tokens_sent: None,
            would_refuse: Vec::new(),
            would_wait: None,
            warnings: Vec::new(),
            overspend: None,
            retry_of: None,
        }
    }

    /// Removes secrets from every text that came from outside. Organisation and user are not among
    /// them: operators name those, and books are kept by them.
    pub fn redact(&mut self, redactor: &Redactor) {
        let texts = [
            self.session.as_mut(),
            self.task.as_mut(),
            self.root_task.as_mut(),
            self.parent.as_mut(),
            self.task_type.as_mut(),
            Some(&mut self.path),
            Some(&mut self.model_asked),
            Some(&mut self.model_sent),
            self.request_id.as_mut(),
        ];
        let lists = self.warnings.iter_mut().chain(&mut self.would_refuse);
        for text in texts.into_iter().flatten().chain(lists) {
            if let std::borrow::Cow::Owned(clean) = redactor.redact(text) {
                *text = clean.into();
            }
        }
    }
}

/// Which calls to list. An absent field excludes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CallFilter {
    /// Only calls this organisation pays for.
    pub organisation: Option<Arc<str>>,
    /// Only calls of this user.
    pub user: Option<Arc<str>>,
    /// Only calls of this task or of the tree it is the root of.
    pub task: Option<Arc<str>>,
    /// Only calls of this session.
    pub session: Option<Arc<str>>,
    /// Only calls that arrived at this time or later.
    pub since: Option<Timestamp>,
    /// Only calls that arrived before this one, to read on after a page.
    pub before: Option<CallId>,
    /// At most this many; more than [`LIST_MAX`] gives `LIST_MAX`, 0 gives the store's page of 100.
    pub limit: usize,
}

impl CallFilter {
    /// How many records a store gives at most.
    pub fn page(&self) -> usize {
        const PAGE: usize = 100;
        match self.limit {
            0 => PAGE,
            some => some.min(LIST_MAX),
        }
    }

    /// Whether `record` is one of them; says nothing about `limit`.
    pub fn matches(&self, record: &CallRecord) -> bool {
        let is = |wanted: &Option<Arc<str>>, found: Option<&Arc<str>>| {
            wanted.as_ref().is_none_or(|it| Some(it) == found)
        };
        is(&self.organisation, Some(&record.organisation))
            && is(&self.user, Some(&record.user))
            && (is(&self.task, record.task.as_ref()) || is(&self.task, record.root_task.as_ref()))
            && is(&self.session, record.session.as_ref())
            && self.since.is_none_or(|it| record.at >= it)
            && self.before.is_none_or(|it| record.id < it)
    }
}

/// Keeps call records.
pub trait CallStore: Send + Sync {
    /// Takes them in, without waiting for a disk: they are kept within a second, or counted as shed. A
    /// record that is given twice, because it was not known whether it had been kept, is one.
    fn append(&self, records: &[Arc<CallRecord>]) -> Result<(), RecordStoreError>;

    /// Returns when what was appended before is kept and can be found, or was shed.
    fn flush(&self) {}

    /// The record of one call, if it is kept.
    fn get(&self, id: CallId) -> Result<Option<CallRecord>, RecordStoreError>;

    /// The newest matching records, newest first, at most [`CallFilter::page`] of them.
    fn list(&self, filter: &CallFilter) -> Result<Vec<CallRecord>, RecordStoreError>;
}

#[cfg(test)]
mod tests;
