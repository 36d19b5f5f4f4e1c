//! Budgets on Claude Code's own screens: what it reads of a gateway whose key it carries.
//!
//! In its gateway mode Claude Code shows what some response headers and one small answer say: a
//! notice, a bar, a status line. The forms are those of the protocol that ships with it (2.1.330).
//! Nothing here is sent to callers who bring a credential of their own: what their provider says of
//! them passes as it is.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, header, request::Parts};
use serde::Deserialize;
use serde_json::json;
use tidegate_engine::{
    Engine,
    flight::InFlight,
    identity::{KEY_PREFIX, Principal},
    spending::Account,
};
use tidegate_ledger::Spending;
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::{NanoUsd, Timestamp};

use crate::{headers::text, reply::ReplyBody};

/// Where Claude Code asks what was spent, at its start and for `/usage`.
pub(crate) const USAGE: &str = "/api/oauth/usage";

/// What all of Anthropic's limit headers begin with. Those of the operator's account are nobody
/// else's to see, and Claude Code would show them as the caller's own.
const LIMITS: &str = "anthropic-ratelimit-";

/// The largest body of a quota probe. It has one word, and a few names of 100 characters.
const PROBE_BYTES_MAX: usize = 2_048;

/// Parts of a limit, in ten-thousandths, from which Claude Code says that it is nearly reached.
const THRESHOLDS: [(u64, &str, &str); 2] =
    [(9_500, "0.95", "critical"), (7_500, "0.75", "warning")];

/// Ten-thousandths in a whole.
const WHOLE: u64 = 10_000;

/// Whether the caller shows a Tidegate key as Claude Code does in its gateway mode: as the bearer
/// token, and nothing else.
pub(crate) fn is_gateway_mode(headers: &HeaderMap) -> bool {
    let token = text(headers, "authorization").and_then(|it| it.split_once(' '));
    token.is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case("bearer") && token.trim_start().starts_with(KEY_PREFIX)
    })
}

/// Puts on an answer what is spent, for callers in gateway mode on platforms that the operator
/// pays for.
pub(crate) fn show(
    answer: &mut HeaderMap,
    asked: &HeaderMap,
    in_flight: &InFlight,
    engine: &Engine,
) {
    let platform = &in_flight.routed.platform;
    if platform.subscription || !is_gateway_mode(asked) {
        return;
    }
    if let Some(spending) = engine.spending(&in_flight.routed) {
        replace(answer, &spending);
    }
}

/// Puts these limits in the place of all others.
fn replace(answer: &mut HeaderMap, spending: &Spending) {
    let theirs: Vec<HeaderName> = answer
        .keys()
        .filter(|it| it.as_str().starts_with(LIMITS))
        .cloned()
        .collect();
    for name in theirs {
        answer.remove(name);
    }
    for (name, value) in limit_headers(spending) {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.insert(HeaderName::from_static(name), value);
        }
    }
}

/// What is spent, in ten-thousandths of the limit, rounded down.
fn used(spending: &Spending) -> u64 {
    let Spending { spent, limit, .. } = spending;
    let parts = u128::from(spent.0) * u128::from(WHOLE);
    let used = parts.checked_div(u128::from(limit.0));
    used.map_or(WHOLE, |it| u64::try_from(it).unwrap_or(u64::MAX))
}

/// The headers of an answer that a limit allowed.
///
/// The claim is `overage`: of all others Claude Code computes the pace by itself. `-scope` is left
/// out for shared limits too: with it nothing would be shown. What is used is below 1 for as long as
/// calls are let through.
fn limit_headers(spending: &Spending) -> Vec<(&'static str, String)> {
    let used = used(spending).min(WHOLE - 1);
    let passed = THRESHOLDS.iter().find(|(part, ..)| used >= *part);
    let status = passed.map_or("allowed", |_| "allowed_warning");
    let reset = second(spending.resets_at).to_string();
    let mut headers = vec![
        ("anthropic-ratelimit-unified-status", status.to_owned()),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "overage".to_owned(),
        ),
        (
            "anthropic-ratelimit-unified-overage-status",
            status.to_owned(),
        ),
        (
            "anthropic-ratelimit-unified-overage-utilization",
            format!("0.{used:04}"),
        ),
        ("anthropic-ratelimit-unified-reset", reset.clone()),
        ("anthropic-ratelimit-unified-overage-reset", reset),
    ];
    if let Some((_, part, _)) = passed {
        headers.push((
            "anthropic-ratelimit-unified-overage-surpassed-threshold",
            (*part).to_owned(),
        ));
    }
    headers
}

/// The second at which something is over.
const fn second(at: Timestamp) -> u64 {
    at.0.div_ceil(1_000_000_000)
}

/// An amount in whole cents, rounded to the nearest.
const fn cents(amount: NanoUsd) -> u64 {
    const NANOS: u64 = 10_000_000;
    amount.0 / NANOS + (amount.0 % NANOS >= NANOS / 2) as u64
}

/// What was spent, as Claude Code draws it: cents, whole percents, and the same reset as the headers.
fn usage(account: &Account) -> serde_json::Value {
    let Some(spending) = &account.tightest else {
        return json!({
            "extra_usage": {
                "is_enabled": false,
                "monthly_limit": null,
                "used_credits": cents(account.month),
                "utilization": null,
                "currency": "USD",
            },
            "limits": [],
        });
    };
    let used = used(spending).min(WHOLE);
    let passed = THRESHOLDS.iter().find(|(part, ..)| used >= *part);
    let group = match spending.level.period() {
        Some(tidegate_ledger::Period::Day) => "daily",
        Some(tidegate_ledger::Period::Week) => "weekly",
        Some(tidegate_ledger::Period::Month) | None => "monthly",
    };
    let percent = used / (WHOLE / 100);
    json!({
        "extra_usage": {
            "is_enabled": true,
            // Of its window, whatever that is: `group` says which.
            "monthly_limit": cents(spending.limit),
            "used_credits": cents(spending.spent),
            "utilization": percent,
            "currency": "USD",
        },
        "limits": [{
            "kind": "spend",
            "group": group,
            "percent": percent,
            "resets_at": rfc3339_seconds(Timestamp::from_seconds(second(spending.resets_at))),
            "severity": passed.map_or("normal", |it| it.2),
            "is_active": true,
        }],
    })
}

/// The answer to [`USAGE`].
pub(crate) fn usage_answer(engine: &Engine, principal: &Principal) -> Response<ReplyBody> {
    answer(&usage(&engine.account(principal)))
}

/// Whether a call only asks for the headers of its answer: Claude Code's first, in gateway mode. It
/// costs nothing to answer it here.
pub(crate) fn is_quota_probe(parts: &Parts, body: &Bytes) -> bool {
    if body.len() > PROBE_BYTES_MAX || !is_gateway_mode(&parts.headers) {
        return false;
    }
    let probe = serde_json::from_slice::<Probe<'_>>(body);
    probe.is_ok_and(|it| {
        it.max_tokens == 1
            && !it.stream
            && matches!(&it.messages[..], [one] if one.role == "user" && one.content == "quota")
    })
}

/// A body of one word, and no other.
#[derive(Debug, Deserialize)]
struct Probe<'a> {
    max_tokens: u64,
    #[serde(default)]
    stream: bool,
    #[serde(borrow)]
    messages: Vec<Word<'a>>,
}

#[derive(Debug, Deserialize)]
struct Word<'a> {
    role: &'a str,
    content: &'a str,
}

/// The answer to a quota probe: no words, and what is spent in the headers.
pub(crate) fn probe_answer(
    engine: &Engine,
    principal: &Principal,
    model: &str,
) -> Response<ReplyBody> {
    let mut answer = answer(&json!({
        "id": "msg_quota",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": "max_tokens",
        "stop_sequence": null,
        "usage": { "input_tokens": 0, "output_tokens": 0 },
    }));
    if let Some(spending) = engine.account(principal).tightest {
        replace(answer.headers_mut(), &spending);
    }
    answer
}

fn answer(body: &serde_json::Value) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(Bytes::from(body.to_string())));
    let headers = response.headers_mut();
    let json = HeaderValue::from_static("application/json");
    headers.insert(header::CONTENT_TYPE, json);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests;
