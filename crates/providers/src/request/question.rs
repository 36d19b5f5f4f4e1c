//! What a request asks, whatever the form of the answer.

use crate::{Dialect, json::fields};

/// The parts of a body that say what is asked of which model: bodies that agree in all of them ask the
/// same. How the answer is to come (streamed or whole, its output cap, its thinking) is in none of
/// them, and neither is the system's prompt, in which clients write what changes with each try.
///
/// `None` for what is no JSON object, or has no conversation.
pub fn question(dialect: Dialect, body: &[u8]) -> Option<[&[u8]; 4]> {
    let names = match dialect {
        Dialect::Anthropic | Dialect::OpenAiChat => ["messages", "model", "", ""],
        Dialect::OpenAiResponses => ["input", "model", "previous_response_id", "conversation"],
    };
    let parts = fields(body, names).ok()?;
    parts[0]?;
    Some(parts.map(Option::unwrap_or_default))
}
