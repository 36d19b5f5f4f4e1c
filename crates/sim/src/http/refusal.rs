//! Refusals as answers: status, headers and body in the caller's dialect.

use std::time::Duration;

use crate::{
    Fault, FaultKind,
    answer::Refused,
    world::{Family, Headers, Limit},
};

fn refused(status: u16, message: impl Into<String>) -> Refused {
    Refused {
        status,
        message: message.into(),
        code: None,
        headers: Headers::default(),
    }
}

pub(super) fn malformed(message: String) -> Refused {
    refused(400, message)
}

pub(super) fn unauthorized() -> Refused {
    refused(401, "invalid x-api-key")
}

pub(super) fn no_such_route(path: &str) -> Refused {
    let path: String = path.chars().take(200).collect();
    refused(404, format!("no such route: {path}"))
}

pub(super) fn no_such_model(model: &str) -> Refused {
    let model: String = model.chars().take(200).collect();
    refused(404, format!("model: {model}"))
}

pub(super) fn too_large() -> Refused {
    refused(413, "Request exceeds the maximum size")
}

/// A limit was met (rule 7). `headers` are the pool's.
pub(super) fn limited(
    family: Family,
    limit: Limit,
    wait: Duration,
    mut headers: Headers,
) -> Refused {
    let seconds = wait.as_nanos().div_ceil(1_000_000_000).max(1);
    headers.put("retry-after", seconds.to_string());
    let what = match limit {
        Limit::Requests => "requests per minute",
        Limit::InputTokens => "input tokens per minute",
        Limit::OutputTokens => "output tokens per minute",
        Limit::Tokens => "tokens per minute",
        Limit::Window => "usage window",
    };
    let message = match family {
        Family::Anthropic if limit == Limit::Window => {
            "This request would exceed your account's rate limit. Please try again later."
                .to_owned()
        }
        Family::Anthropic => {
            format!("This request would exceed your organization's rate limit: {what}")
        }
        Family::OpenAi => {
            let millis = wait.as_nanos().div_ceil(1_000_000);
            headers.put("retry-after-ms", millis.to_string());
            format!("Rate limit reached on {what}. Please try again in {millis}ms.")
        }
    };
    Refused {
        headers,
        ..refused(429, message)
    }
}

/// The bill has reached the cap (rule 10).
pub(super) fn spend_cap(family: Family, headers: Headers) -> Refused {
    let (message, code) = match family {
        Family::Anthropic => (
            "Your organization has reached its monthly spend limit.",
            "enforced_spend_limit_reached",
        ),
        Family::OpenAi => (
            "You have reached your organization's spend limit.",
            "organization_spend_limit_exceeded",
        ),
    };
    Refused {
        code: Some(code),
        headers,
        ..refused(429, message)
    }
}

/// What a fault with a status answers; `None` for the others.
pub(super) fn on_demand(family: Family, fault: Fault) -> Option<Refused> {
    let status = fault.status()?;
    if fault.kind == FaultKind::SpendCap {
        return Some(spend_cap(family, Headers::default()));
    }
    let message = match status {
        400 => "messages: this request is refused on demand",
        401 => "invalid x-api-key",
        402 => "Your credit balance is too low",
        403 => "Your credential does not permit this",
        404 => "model: not found",
        413 => "Request exceeds the maximum size",
        429 => "This request would exceed your organization's rate limit",
        503 | 529 => "Overloaded",
        504 => "The request timed out",
        _ => "Internal server error",
    };
    let mut answer = refused(status, message);
    if status == 429 {
        let seconds = fault.number.unwrap_or(1);
        answer.headers.put("retry-after", seconds.to_string());
    }
    Some(answer)
}
