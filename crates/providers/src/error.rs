//! Error bodies of both families, as one typed signal.

use crate::{
    Dialect,
    json::{Text, fields, string},
};

/// Longest error body that is read, in bytes; what providers send has some hundred.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Longest type or code that is kept.
const WORD_BYTES_MAX: usize = 64;

/// What kind of error a provider reported, whatever the words of its dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Too many requests or tokens for now.
    RateLimit,
    /// A limit on money is reached: no retry helps before it is raised or its period ends.
    SpendCap,
    /// The provider has no capacity; the account's quota is not the reason.
    Overloaded,
    /// The request cannot be understood or is not allowed to be so.
    InvalidRequest,
    /// The credential is missing or wrong.
    Authentication,
    /// The credential may not do this.
    Permission,
    /// No such model, route or object.
    NotFound,
    /// The body is too large.
    TooLarge,
    /// The account cannot pay.
    Billing,
    /// It took too long.
    Timeout,
    /// The request collided with another one.
    Conflict,
    /// A failure inside the provider.
    Api,
    /// None of these: the type as it was sent, or the status in words.
    Unknown(String),
}

impl ErrorKind {
    /// The written form, as in records and metrics.
    pub fn word(&self) -> &str {
        match self {
            Self::RateLimit => "rate_limit",
            Self::SpendCap => "spend_cap",
            Self::Overloaded => "overloaded",
            Self::InvalidRequest => "invalid_request",
            Self::Authentication => "authentication",
            Self::Permission => "permission",
            Self::NotFound => "not_found",
            Self::TooLarge => "too_large",
            Self::Billing => "billing",
            Self::Timeout => "timeout",
            Self::Conflict => "conflict",
            Self::Api => "api",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Anthropic's `error.type` for it.
    pub const fn anthropic_type(&self) -> &'static str {
        match self {
            Self::RateLimit => "rate_limit_error",
            Self::SpendCap | Self::Billing => "billing_error",
            Self::Overloaded => "overloaded_error",
            Self::InvalidRequest => "invalid_request_error",
            Self::Authentication => "authentication_error",
            Self::Permission => "permission_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::Timeout => "timeout_error",
            Self::Conflict => "conflict_error",
            Self::Api | Self::Unknown(_) => "api_error",
        }
    }
}

/// OpenAI's `type` and `code` for it.
pub(crate) const fn openai_code(kind: &ErrorKind) -> (&'static str, Option<&'static str>) {
    match kind {
        ErrorKind::RateLimit => ("rate_limit_exceeded", Some("rate_limit_exceeded")),
        ErrorKind::SpendCap => ("insufficient_quota", Some("budget_exceeded")),
        ErrorKind::Billing => ("insufficient_quota", Some("insufficient_quota")),
        ErrorKind::Overloaded => ("service_unavailable_error", Some("server_is_overloaded")),
        ErrorKind::InvalidRequest => ("invalid_request_error", None),
        ErrorKind::Authentication => ("invalid_request_error", Some("invalid_api_key")),
        ErrorKind::Permission => ("permission_error", Some("permission_denied")),
        ErrorKind::NotFound => ("invalid_request_error", Some("not_found")),
        ErrorKind::TooLarge => ("invalid_request_error", Some("request_too_large")),
        ErrorKind::Timeout => ("server_error", Some("timeout")),
        ErrorKind::Conflict => ("invalid_request_error", Some("conflict")),
        ErrorKind::Api | ErrorKind::Unknown(_) => ("server_error", Some("server_error")),
    }
}

/// The text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// An error in Anthropic's form, its members in the documented order.
pub(crate) fn anthropic_error(kind: &ErrorKind, message: &str, request_id: Option<&str>) -> String {
    let (kind, message) = (kind.anthropic_type(), quoted(message));
    let id = request_id.map(|it| format!(r#","request_id":{}"#, quoted(it)));
    let id = id.unwrap_or_default();
    format!(r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}}{id}}}"#)
}

/// An error in the form of OpenAI's bodies and chat streams.
pub(crate) fn openai_error(kind: &ErrorKind, message: &str) -> String {
    let ((kind, code), message) = (openai_code(kind), quoted(message));
    let code = code.map_or_else(|| "null".to_owned(), quoted);
    format!(r#"{{"error":{{"message":{message},"type":"{kind}","param":null,"code":{code}}}}}"#)
}

/// What a provider's error said, without its message, which may quote a prompt or a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorSignal {
    /// What kind it is.
    pub kind: ErrorKind,
    /// The type as it was sent; empty if none was, `unreadable` if it is no word.
    pub message_type: String,
    /// `details.error_code` (Anthropic) or `code` (OpenAI), as it was sent, if it is a word.
    pub code: Option<String>,
}

/// Reads an error body, or the data of an error event (then `status` is 0).
///
/// Both families' forms are understood whatever the dialect, since gateways and compatible providers
/// mix them; `dialect` only decides what 402 means. A body that cannot be understood is judged by
/// its status. The code is believed before the type, and the type before the status.
pub fn error_signal(dialect: Dialect, status: u16, body: &[u8]) -> ErrorSignal {
    let said = Said::read(body).unwrap_or_default();
    let kind = said
        .by_code()
        .or_else(|| said.by_message())
        .or_else(|| said.by_type())
        .or_else(|| by_status(dialect, said.status.unwrap_or(status)));
    let unknown = || match said.kind.as_str() {
        "" => format!("status {status}"),
        kind => kind.to_owned(),
    };
    ErrorSignal {
        kind: kind.unwrap_or_else(|| ErrorKind::Unknown(unknown())),
        message_type: said.kind,
        code: said.code,
    }
}

/// An error as it was written.
#[derive(Default)]
struct Said {
    kind: String,
    code: Option<String>,
    /// A status in the place of a code.
    status: Option<u16>,
    /// The message says that a limit on money was reached, which its type does not.
    is_spend_cap: bool,
}

impl Said {
    fn read(body: &[u8]) -> Option<Self> {
        if body.len() > BODY_BYTES_MAX {
            return None;
        }
        let [error] = fields(body, ["error"]).ok()?;
        // Responses' error event has no object of its own.
        let error = error.filter(|it| it.starts_with(b"{")).unwrap_or(body);
        let names = ["type", "code", "message", "details", "metadata"];
        let [kind, code, message, details, metadata] = fields(error, names).ok()?;
        let inner = |object: Option<&'_ [u8]>, name| {
            let [value] = fields(object?, [name]).ok()?;
            word(value?)
        };
        let status = code.and_then(|it| std::str::from_utf8(it).ok()?.parse().ok());
        let code = inner(details, "error_code")
            .or_else(|| code.and_then(word))
            .or_else(|| inner(metadata, "error_type"));
        let kind = match kind.and_then(string) {
            // The event's own type, where there is no error object.
            Some(it) if it.raw == b"error" => String::new(),
            Some(it) => word_of(&it).unwrap_or_else(|| "unreadable".to_owned()),
            None => String::new(),
        };
        let message = message
            .and_then(string)
            .map(|it| it.raw)
            .unwrap_or_default();
        Some(Self {
            kind,
            code,
            status,
            // A limit that an organisation set for itself comes as a 400 with only these words.
            is_spend_cap: message.starts_with(b"You have reached your specified API usage limits"),
        })
    }

    fn by_code(&self) -> Option<ErrorKind> {
        Some(match self.code.as_deref()? {
            "enforced_spend_limit_reached"
            | "contract_spend_limit_reached"
            | "linked_organization_spend_limit_reached"
            | "organization_spend_limit_exceeded"
            | "project_spend_limit_exceeded"
            | "organization_usage_limit_exceeded"
            | "budget_exceeded"
            | "insufficient_quota" => ErrorKind::SpendCap,
            "credit_balance_exhausted" | "organization_on_hold" => ErrorKind::Billing,
            "rate_limit_exceeded" | "slow_down" | "ramp_limit_exceeded" => ErrorKind::RateLimit,
            "server_is_overloaded" => ErrorKind::Overloaded,
            "invalid_api_key" => ErrorKind::Authentication,
            "model_not_found" => ErrorKind::NotFound,
            "request_body_too_large_after_decoding" => ErrorKind::TooLarge,
            "server_error" => ErrorKind::Api,
            _ => return None,
        })
    }

    fn by_message(&self) -> Option<ErrorKind> {
        self.is_spend_cap.then_some(ErrorKind::SpendCap)
    }

    fn by_type(&self) -> Option<ErrorKind> {
        Some(match self.kind.as_str() {
            "rate_limit_error" | "rate_limit_exceeded" | "tokens" | "requests" => {
                ErrorKind::RateLimit
            }
            "insufficient_quota" => ErrorKind::SpendCap,
            "overloaded_error" | "service_unavailable_error" | "server_is_overloaded" => {
                ErrorKind::Overloaded
            }
            "authentication_error" => ErrorKind::Authentication,
            "permission_error" => ErrorKind::Permission,
            "not_found_error" => ErrorKind::NotFound,
            "request_too_large" => ErrorKind::TooLarge,
            "billing_error" => ErrorKind::Billing,
            "timeout_error" => ErrorKind::Timeout,
            "conflict_error" => ErrorKind::Conflict,
            "api_error" | "server_error" => ErrorKind::Api,
            // OpenAI sends this type with 401, 403, 404 and 413 too: there the status knows more.
            _ => return None,
        })
    }
}

fn by_status(dialect: Dialect, status: u16) -> Option<ErrorKind> {
    Some(match status {
        400 | 405 | 406 | 415 | 422 => ErrorKind::InvalidRequest,
        401 => ErrorKind::Authentication,
        // Elsewhere it means that credits or a key's own cap are used up.
        402 if dialect == Dialect::Anthropic => ErrorKind::Billing,
        402 => ErrorKind::SpendCap,
        403 => ErrorKind::Permission,
        404 => ErrorKind::NotFound,
        408 | 504 => ErrorKind::Timeout,
        409 => ErrorKind::Conflict,
        413 => ErrorKind::TooLarge,
        429 => ErrorKind::RateLimit,
        503 | 529 => ErrorKind::Overloaded,
        500..=599 => ErrorKind::Api,
        _ => return None,
    })
}

fn word(raw: &[u8]) -> Option<String> {
    word_of(&string(raw)?)
}

/// The text, if it is a word of a protocol and cannot be a sentence or a key.
fn word_of(text: &Text<'_>) -> Option<String> {
    let in_word = |it: &u8| it.is_ascii_lowercase() || it.is_ascii_digit() || b"_.".contains(it);
    let is_word = (1..=WORD_BYTES_MAX).contains(&text.raw.len()) && text.raw.iter().all(in_word);
    is_word.then(|| text.to_text().ok()).flatten()
}

#[cfg(test)]
mod tests;
