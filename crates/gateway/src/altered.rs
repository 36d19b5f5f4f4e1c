//! What of a call is changed on its way up, and how that is told on its answer.

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use tidegate_engine::{
    flight::InFlight,
    route::{self, Payer},
};
use tidegate_observe::calls::CallRecord;
use tidegate_providers::{Dialect, Refusal, Rewrite, rewrite};
use tidegate_types::Tokens;

use crate::{
    attempt::unroutable,
    gateway::{Call, Provider},
    headers::{Put, Upward, upward},
    inlet::Held,
};

/// What of the caller's request was changed, all of it told in response headers.
#[derive(Debug, Default)]
pub(crate) struct Altered {
    pub(crate) include_usage: bool,
    pub(crate) model: bool,
}

/// A request on its way up.
pub(crate) struct Outgoing {
    pub(crate) request: Request<Full<Bytes>>,
    pub(crate) altered: Altered,
}

/// The request as it is sent: the caller's, but for what [`Altered`] names.
pub(crate) fn outgoing(
    call: &Call,
    in_flight: &InFlight,
    provider: &Provider,
    held: &Held,
) -> Result<Outgoing, Refusal> {
    let routed = &in_flight.routed;
    let facts = &routed.call.facts;
    let record = in_flight.record();
    let untouchable = routed.platform.subscription || !call.metered;
    let asks_usage = call.dialect == Dialect::OpenAiChat && facts.stream;
    let altered = Altered {
        include_usage: !untouchable && asks_usage && facts.include_usage != Some(true),
        model: !untouchable && record.model_sent != record.model_asked,
    };
    let change = Rewrite {
        output_cap: in_flight
            .lowered
            .map(|(Tokens(cap), _)| cap)
            .filter(|_| !untouchable),
        model: altered.model.then_some(&*record.model_sent),
        include_usage: altered.include_usage,
    };
    let body = rewrite(call.dialect, &held.bytes, facts, &change)
        .map_or_else(|| held.bytes.clone(), Bytes::from);
    let payer = route::payer(&routed.call, &routed.platform).map_err(|it| unroutable(&it))?;
    let put = match (payer, &provider.credential) {
        (Payer::Operator, Some((name, value))) => Put::Operators(name.clone(), value.clone()),
        _ => Put::Nothing,
    };
    let strips = payer != Payer::Caller || routed.call.principal.credential_is_ours;
    let headers = upward(Upward {
        from: &call.parts.headers,
        authority: provider.upstream.origin().authority(),
        strip_credentials: strips,
        put,
        traceparent: traceparent(call, record),
        body_bytes: body.len(),
    });
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = call.parts.method.clone();
    *request.headers_mut() = headers;
    Ok(Outgoing { request, altered })
}

/// Our span, where the caller sent its own.
fn traceparent(call: &Call, record: &CallRecord) -> Option<HeaderValue> {
    call.parts.headers.get("traceparent")?;
    let parent = tidegate_observe::trace::TraceParent {
        trace_id: record.trace_id?,
        span_id: record.span_id?,
        sampled: true,
    };
    HeaderValue::from_str(&parent.to_string()).ok()
}

/// The path and query as they came.
pub(crate) fn path_of(call: &Call) -> http::uri::PathAndQuery {
    let path = call.parts.uri.path_and_query().cloned();
    path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"))
}

/// Our own headers on an answer: what was done with the call.
pub(crate) fn announce(headers: &mut http::HeaderMap, in_flight: &InFlight, altered: &Altered) {
    let record = in_flight.record();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(name), value);
        }
    };
    put("x-tidegate-call-id", &record.id.to_string());
    put("x-tidegate-platform", &record.platform);
    if let Some((Tokens(cap), limit)) = in_flight.lowered {
        put("x-tidegate-max-tokens", &format!("{cap}; limit={limit}"));
    }
    if altered.model {
        put("x-tidegate-model", &record.model_sent);
    }
    if altered.include_usage {
        put("x-tidegate-include-usage", "added");
    }
    for warning in &record.warnings {
        put("x-tidegate-warning", warning);
    }
    for limit in &record.would_refuse {
        put("x-tidegate-would-refuse", limit);
    }
}
