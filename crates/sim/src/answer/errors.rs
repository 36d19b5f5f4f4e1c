//! Error bodies and error events of both families.

use super::{Refused, quoted};
use crate::{ask::Dialect, world::Family};

/// The body of an error answer.
pub(crate) fn error_body(family: Family, refused: &Refused, request_id: &str) -> String {
    let message = quoted(&refused.message);
    match family {
        Family::Anthropic => {
            let kind = anthropic_kind(refused.status);
            let details = refused.code.map_or(String::new(), |code| {
                format!(r#","details":{{"error_code":"{code}"}}"#)
            });
            let request_id = quoted(request_id);
            format!(
                r#"{{"type":"error","error":{{"type":"{kind}","message":{message}{details}}},"request_id":{request_id}}}"#
            )
        }
        Family::OpenAi => {
            let (kind, code) = openai_kind(refused);
            let code = code.map_or("null".to_owned(), quoted);
            format!(
                r#"{{"error":{{"message":{message},"type":"{kind}","param":null,"code":{code}}}}}"#
            )
        }
    }
}

/// The status as this family says it: OpenAI has no 529.
pub(crate) const fn status_in(family: Family, status: u16) -> u16 {
    match (family, status) {
        (Family::OpenAi, 529) => 503,
        (Family::Anthropic, 503) => 529,
        _ => status,
    }
}

fn anthropic_kind(status: u16) -> &'static str {
    match status {
        400 => "invalid_request_error",
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        _ => "api_error",
    }
}

fn openai_kind(refused: &Refused) -> (&'static str, Option<&'static str>) {
    match refused.status {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("credit_balance_exhausted")),
        403 => ("permission_error", None),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 if refused.code.is_some() => ("insufficient_quota", refused.code),
        429 => ("rate_limit_exceeded", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}

/// An error event inside a stream that had begun.
pub(crate) fn error_event(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Messages => {
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n"
        }
        Dialect::Chat => {
            "data: {\"error\":{\"message\":\"The server is overloaded\",\"type\":\"service_unavailable_error\",\"param\":null,\"code\":\"server_is_overloaded\"}}\n\n"
        }
        Dialect::Responses => {
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_is_overloaded\",\"message\":\"The server is overloaded\",\"param\":null,\"sequence_number\":99}\n\n"
        }
    }
}
