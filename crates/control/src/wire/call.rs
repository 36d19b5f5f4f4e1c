//! Calls with every figure.

use serde::{Deserialize, Serialize};
use tidegate_observe::calls::CallRecord;
use tidegate_types::CallId;
use utoipa::{IntoParams, ToSchema};

/// One call: its record as it is kept, and beside it what people read more easily.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Call {
    /// The record.
    #[serde(flatten)]
    #[schema(value_type = CallFields)]
    pub record: CallRecord,
    /// When it arrived, to the microsecond.
    #[schema(example = "2026-11-21T10:00:00.123456Z")]
    pub time: String,
    /// Its amounts in dollars.
    pub dollars: CallMoney,
}

/// The amounts of a call as exact decimal texts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CallMoney {
    /// What it was charged.
    pub cost: String,
    /// The list price where the call itself was charged less.
    pub notional: String,
    /// What was expected before it was sent.
    pub expected: String,
    /// The most that was held for it.
    pub bound: String,
}

/// Calls, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Calls {
    /// The calls.
    pub calls: Vec<Call>,
    /// What `before` must be to read on; null at the end.
    #[schema(value_type = Option<String>, example = "call_19aa0c7f3d2e0001")]
    pub next: Option<CallId>,
}

/// Which calls to show.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct CallQuery {
    /// Only calls this organisation pays for.
    pub organisation: Option<String>,
    /// Only calls of this user.
    pub user: Option<String>,
    /// Only calls of this task, or of the tree it is the root of.
    pub task: Option<String>,
    /// Only calls of this session.
    pub session: Option<String>,
    /// Only calls that arrived then or later: an RFC 3339 time, or whole seconds since 1970.
    pub since: Option<String>,
    /// Only calls before this one.
    pub before: Option<String>,
    /// At most this many: 100 where it is not said, up to 1,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
}

/// The fields of a call's record, for the description of the API. A test compares them with the
/// record itself.
#[derive(Debug, ToSchema)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, as the record has them"
)]
pub struct CallFields {
    /// Our own id, also sent to the client as `x-tidegate-call-id`.
    pub id: String,
    /// When the request arrived, in nanoseconds since 1970.
    pub at: u64,
    /// Who pays.
    pub organisation: String,
    /// Who acts.
    pub user: String,
    /// The key it came with.
    #[schema(required = false)]
    pub key: String,
    /// The run of an agent it belongs to.
    #[schema(required = false)]
    pub session: String,
    /// The task it was made for.
    #[schema(required = false)]
    pub task: String,
    /// The root of that task's tree.
    #[schema(required = false)]
    pub root_task: String,
    /// The task or agent that asked for this one.
    #[schema(required = false)]
    pub parent: String,
    /// What kind of task the caller says it is.
    #[schema(required = false)]
    pub task_type: String,
    /// What the assistant says the request is for.
    pub class: String,
    /// The priority it was admitted with.
    pub priority: String,
    /// How hard its task is.
    #[schema(required = false)]
    pub complexity: String,
    /// Until when its task is wanted, in nanoseconds since 1970.
    #[schema(required = false)]
    pub deadline: u64,
    /// Units it weighed.
    pub units: u64,
    /// Whether limits nobody named only watched it.
    pub keyless: bool,
    /// Wire format.
    pub dialect: String,
    /// The path that was asked for.
    pub path: String,
    /// Where it was sent; empty if it was not.
    pub provider: String,
    /// The platform whose quota it used; empty if none was chosen.
    pub platform: String,
    /// Platforms that were tried before, in order.
    #[schema(required = false)]
    pub tried: Vec<String>,
    /// The model in the client's request.
    pub model_asked: String,
    /// The model in the request we sent.
    pub model_sent: String,
    /// Whether the client asked for a stream.
    pub stream: bool,
    /// The HTTP status the client got; 0 if it got none.
    pub status: u16,
    /// How it ended: an object whose `kind` is the word for it.
    #[schema(value_type = Object)]
    pub outcome: String,
    /// Tokens it used, by class.
    #[schema(required = false, value_type = Object)]
    pub usage: String,
    /// Whether usage or cost is our estimate.
    pub estimated: bool,
    /// What it was charged, in billionths of a dollar.
    pub cost: u64,
    /// The list price, in billionths of a dollar.
    pub notional: u64,
    /// What was expected, in billionths of a dollar.
    pub expected: u64,
    /// The most that was held, in billionths of a dollar.
    pub bound: u64,
    /// Whether the price table knows the model.
    pub price_known: bool,
    /// The version of the price table.
    pub price_version: String,
    /// The hold on quota and budget.
    #[schema(required = false)]
    pub reservation: String,
    /// The provider's own id of the request.
    #[schema(required = false)]
    pub request_id: String,
    /// The trace it is part of.
    #[schema(required = false)]
    pub trace_id: String,
    /// Our span.
    #[schema(required = false)]
    pub span_id: String,
    /// The caller's span.
    #[schema(required = false)]
    pub parent_span_id: String,
    /// Where the time went, in whole microseconds by phase.
    #[schema(value_type = Object)]
    pub phases: String,
    /// Bytes of the request's body.
    pub body_bytes: u64,
    /// Bytes of the answer's body.
    pub answer_bytes: u64,
    /// The output cap the client asked for.
    #[schema(required = false)]
    pub max_tokens_asked: u64,
    /// The output cap that was sent.
    #[schema(required = false)]
    pub max_tokens_sent: u64,
    /// Watched limits that would have refused it.
    #[schema(required = false)]
    pub would_refuse: Vec<String>,
    /// The longest wait a watched limit would have caused.
    #[schema(required = false, value_type = Object)]
    pub would_wait: String,
    /// What the client was warned of.
    #[schema(required = false)]
    pub warnings: Vec<String>,
    /// Why it cost far more than was expected, where it did: the estimate, the cost, the tokens that
    /// were expected, and what each cause added, in billionths of a dollar.
    #[schema(required = false, value_type = Object)]
    pub overspend: String,
    /// The earlier call this one repeats.
    #[schema(required = false)]
    pub retry_of: String,
}
