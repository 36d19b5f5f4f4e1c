//! Which dialect a route speaks, and refusals in it.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use tidegate_engine::views::Told;
use tidegate_ledger::LevelKind;
use tidegate_providers::{Dialect, Period, Refusal, refuse};
use tidegate_types::{CallId, Timestamp};

use crate::{claude_code, headers::text, reply::ReplyBody};

/// What a path and method ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route {
    /// A call that is priced and limited.
    Metered(Dialect),
    /// One that costs nothing and is only counted against rates.
    Counted(Dialect),
    /// Whether anybody is here.
    Probe,
    /// What the caller has spent, for Claude Code's screens.
    Usage,
    /// Nothing we meter, so nothing that passes.
    Nothing(Dialect),
}

/// The route of a request.
pub(crate) fn route(method: &Method, path: &str, headers: &HeaderMap) -> Route {
    match (method, path) {
        (&Method::POST, "/v1/messages") => Route::Metered(Dialect::Anthropic),
        (&Method::POST, "/v1/chat/completions") => Route::Metered(Dialect::OpenAiChat),
        (&Method::POST, "/v1/responses") => Route::Metered(Dialect::OpenAiResponses),
        (&Method::POST, "/v1/messages/count_tokens") => Route::Counted(Dialect::Anthropic),
        (&Method::GET, "/v1/models") => Route::Counted(spoken(path, headers)),
        (&Method::GET, path) if is_model(path) => Route::Counted(spoken(path, headers)),
        (&Method::HEAD | &Method::GET, "/") => Route::Probe,
        (&Method::GET, claude_code::USAGE) if claude_code::is_gateway_mode(headers) => Route::Usage,
        _ => Route::Nothing(spoken(path, headers)),
    }
}

/// A model has a name of its own: dots that lead elsewhere, or a slash in disguise, would be another
/// route to who decodes them.
fn is_model(path: &str) -> bool {
    let is_name = |id: &str| {
        let decoded = id.to_ascii_lowercase().replace("%2e", ".");
        !id.is_empty()
            && !id.contains(['/', '\\'])
            && !["%2f", "%5c", "%25"].iter().any(|it| decoded.contains(it))
            && !decoded.bytes().all(|it| it == b'.')
    };
    path.strip_prefix("/v1/models/").is_some_and(is_name)
}

/// Where the path belongs to no dialect alone, the headers of Anthropic's clients tell.
fn spoken(path: &str, headers: &HeaderMap) -> Dialect {
    let anthropic = path.starts_with("/v1/messages")
        || path == claude_code::USAGE
        || headers.contains_key("anthropic-version")
        || headers.contains_key("x-api-key");
    if anthropic {
        Dialect::Anthropic
    } else if path.starts_with("/v1/responses") {
        Dialect::OpenAiResponses
    } else {
        Dialect::OpenAiChat
    }
}

/// Whether Claude Code asks, whose patience with `retry-after` is its own.
pub(crate) fn is_claude_code(headers: &HeaderMap) -> bool {
    let agent = text(headers, "user-agent").unwrap_or_default();
    agent.starts_with("claude-cli/") || agent.starts_with("claude-code/")
}

/// A refusal as it is sent.
pub(crate) fn refused(
    dialect: Dialect,
    claude_code: bool,
    refusal: &Refusal,
    id: CallId,
    now: Timestamp,
) -> Response<ReplyBody> {
    let id = id.to_string();
    let answer = refuse(dialect, claude_code, refusal, &id, now);
    let mut response = Response::new(ReplyBody::whole(Bytes::from(answer.body)));
    *response.status_mut() =
        StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-tidegate-call-id"), id);
    }
    response
}

/// The form in which a limit's word is told.
pub(crate) fn refusal(told: &Told, obstacle: &tidegate_engine::reserve::Obstacle) -> Refusal {
    use tidegate_engine::reserve::Obstacle;
    let sentence = told.sentence.clone();
    match obstacle {
        Obstacle::Wait { .. }
        | Obstacle::Held { .. }
        | Obstacle::Cooling(_)
        | Obstacle::Queued { .. }
        | Obstacle::QueueFull => Refusal::Rate {
            sentence,
            wait: told.wait.unwrap_or_default(),
        },
        Obstacle::Cancelled | Obstacle::Approval(_) => Refusal::Denied { sentence },
        Obstacle::TaskCancelled => Refusal::InvalidRequest { sentence },
        Obstacle::Quota(_) => match told.wait {
            Some(wait) => Refusal::Rate { sentence, wait },
            None => Refusal::NeverFits { sentence },
        },
        Obstacle::NeverFits { .. } => Refusal::NeverFits { sentence },
        Obstacle::Budget(shortage) => Refusal::Budget {
            sentence,
            retry_after: None,
            resets_at: told.resets_at,
            period: match shortage.level {
                LevelKind::UserDay => Some(Period::Daily),
                LevelKind::Organisation | LevelKind::UserMonth | LevelKind::Service(_) => {
                    Some(Period::Monthly)
                }
                LevelKind::Task => None,
            },
            shared: matches!(
                shortage.level,
                LevelKind::Organisation | LevelKind::Service(_)
            ),
        },
        Obstacle::Stale => Refusal::CounterUnreadable { sentence },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_metered_does_not_pass() {
        let route = |method: Method, path: &str| route(&method, path, &HeaderMap::new());
        for (method, path) in [
            (Method::POST, "/v1/messages/batches"),
            (Method::POST, "/v1/files"),
            (Method::GET, "/v1/messages"),
            (Method::POST, "/v1/complete"),
            (Method::POST, "/v1/embeddings"),
            (Method::GET, "/v1/models/a/b"),
            (Method::GET, "/v1/models/.."),
            (Method::GET, "/v1/models/%2E%2e"),
            (Method::GET, "/v1/models/..%2Ffiles%2ffile_1"),
            (Method::GET, "/v1/models/a%252fb"),
            (Method::GET, "/v1/models/..\\files"),
            (Method::POST, "//v1/messages"),
            (Method::POST, "/v1/messages/"),
            (Method::POST, "/v1/chat/completions/../../files"),
        ] {
            let found = route(method, path);
            assert!(matches!(found, Route::Nothing(_)), "{path}: {found:?}");
        }
        assert_eq!(
            route(Method::POST, "/v1/messages"),
            Route::Metered(Dialect::Anthropic)
        );
    }
}
