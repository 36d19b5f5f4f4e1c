//! The spans of a call: derived from its record when a trace is read, and never stored.

use foldhash::fast::FixedState;
use serde_json::{Map, Value as Json, json};
use std::hash::BuildHasher as _;

use super::{SERVICE, signed};
use crate::{
    calls::{CallRecord, Outcome, PhaseMicros},
    telemetry::{Batch, spans},
};

/// The operation of the span that stands for a whole call; those of its phases are named for them.
pub const CALL_OPERATION: &str = "call";

/// A part of a call: what it is called, whether something of it happens elsewhere, how long it took.
struct Phase {
    name: &'static str,
    role: &'static str,
    micros: u64,
    /// Whether it is shown though it took no whole microsecond.
    always: bool,
}

/// In the order in which they follow each other. Sending has no clock of its own: it is where the first
/// byte begins to be waited for.
fn phases(of: &PhaseMicros, sent: bool) -> [Phase; 9] {
    let phase = |name, micros| Phase {
        name,
        role: "internal",
        micros,
        always: false,
    };
    let upstream = |name, micros| Phase {
        role: "client",
        always: sent,
        ..phase(name, micros)
    };
    [
        phase("identify", of.identify),
        phase("estimate", of.estimate),
        phase("route", of.route),
        phase("wait", of.wait),
        phase("reserve", of.reserve),
        upstream("send", 0),
        upstream("first byte", of.first_byte),
        phase("stream", of.stream),
        phase("settle", of.settle),
    ]
}

/// Adds the spans of a call: the call itself, and within it one for each phase that took time, each
/// beginning where the one before it ended. Nothing for a call without a trace.
pub fn put_spans(to: &mut Batch, call: &CallRecord) {
    let (Some(trace), Some(whole)) = (call.trace_id, call.span_id) else {
        return;
    };
    let total = call.phases.total();
    let mut row = to.row(call.at);
    put_common(&mut row, call, CALL_OPERATION, total);
    row.text(spans::STATUS, status(&call.outcome))
        .text(spans::ROLE, "server")
        .wide(spans::TRACE, trace.bits())
        .integer(spans::SPAN, whole.bits().cast_signed())
        .text(spans::ATTRIBUTES, &attributes(call).to_string());
    if let Some(parent) = call.parent_span_id {
        row.integer(spans::PARENT, parent.bits().cast_signed());
    }
    if let Some(request) = &call.request_id {
        row.text(spans::REQUEST, request);
    }
    if status(&call.outcome) == "error" {
        row.text(spans::BODY, call.outcome.word());
    }
    drop(row);
    let mut elapsed = 0u64;
    for (place, phase) in phases(&call.phases, call.outcome.was_sent())
        .iter()
        .enumerate()
    {
        let began = call.at.0.saturating_add(elapsed.saturating_mul(1_000));
        elapsed = elapsed.saturating_add(phase.micros);
        if phase.micros == 0 && !phase.always {
            continue;
        }
        let mut row = to.row(tidegate_types::Timestamp(began));
        put_common(&mut row, call, phase.name, phase.micros);
        row.text(spans::STATUS, "unset")
            .text(spans::ROLE, phase.role)
            .wide(spans::TRACE, trace.bits())
            .integer(spans::SPAN, span_of(whole.bits(), place))
            .integer(spans::PARENT, whole.bits().cast_signed());
    }
}

fn put_common(
    row: &mut crate::telemetry::RowWriter<'_>,
    call: &CallRecord,
    operation: &str,
    micros: u64,
) {
    row.text(spans::ORGANISATION, &call.organisation)
        .text(spans::SERVICE, SERVICE)
        .text(spans::COMPONENT, "gateway")
        .text(spans::OPERATION, operation)
        .text(spans::USER, &call.user)
        .integer(spans::DURATION, signed(micros.saturating_mul(1_000)));
    for (place, text) in [(spans::TASK, &call.task), (spans::SESSION, &call.session)] {
        if let Some(text) = text {
            row.text(place, text);
        }
    }
}

/// The id of a phase's span: the same whenever it is derived.
fn span_of(call: u64, place: usize) -> i64 {
    let hash = FixedState::default().hash_one((call, place as u64));
    hash.max(1).cast_signed()
}

/// That a client hung up or asked for something wrong is no failure of ours.
const fn status(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Answered | Outcome::ClientGone | Outcome::Ended { .. } => "ok",
        Outcome::Refused { .. }
        | Outcome::Invalid { .. }
        | Outcome::Shed { .. }
        | Outcome::UpstreamError
        | Outcome::StreamError
        | Outcome::UpstreamUnreachable
        | Outcome::UpstreamLost
        | Outcome::Interrupted => "error",
    }
}

/// By the names of OpenTelemetry's conventions for GenAI where they have one.
fn attributes(call: &CallRecord) -> Json {
    let mut object = Map::new();
    let mut put = |name: &str, value: Json| {
        object.insert(name.to_owned(), value);
    };
    put("tidegate.call_id", call.id.to_string().into());
    put("tidegate.outcome", call.outcome.word().into());
    put("tidegate.platform", (&*call.platform).into());
    put("tidegate.class", call.class.word().into());
    put("tidegate.priority", call.priority.word().into());
    put("tidegate.cost_nano_usd", call.cost.0.into());
    put("gen_ai.provider.name", (&*call.provider).into());
    put("gen_ai.request.model", (&*call.model_asked).into());
    put("gen_ai.response.model", (&*call.model_sent).into());
    put("http.response.status_code", call.status.into());
    if let Some(usage) = call.usage {
        put("gen_ai.usage.input_tokens", usage.input_total().0.into());
        put("gen_ai.usage.output_tokens", usage.output.0.into());
        put(
            "gen_ai.usage.cache_read.input_tokens",
            usage.cache_read.0.into(),
        );
    }
    if !call.tried.is_empty() {
        put("tidegate.tried", json!(call.tried));
    }
    Json::Object(object)
}
