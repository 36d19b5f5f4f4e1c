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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_asked_whatever_the_form_of_the_answer() {
        let streamed = br#"{"model":"m","stream":true,"max_tokens":32000,"system":"a","messages":[{"role":"user","content":"hi"}]}"#;
        let whole =
            br#"{ "max_tokens":64000, "messages": [{"role":"user","content":"hi"}],"model":"m"}"#;
        let other = br#"{"model":"m","messages":[{"role":"user","content":"ho"}]}"#;
        let of = |body| question(Dialect::Anthropic, body).unwrap();
        assert_eq!(of(streamed), of(whole));
        assert_ne!(of(streamed), of(other));
        let other_model = br#"{"model":"n","messages":[{"role":"user","content":"hi"}]}"#;
        assert_ne!(of(streamed), of(other_model));
    }

    #[test]
    fn what_the_provider_has_stored_of_a_conversation_is_part_of_the_question() {
        let of = |body| question(Dialect::OpenAiResponses, body).unwrap();
        let first = br#"{"model":"m","input":"hi","previous_response_id":"a"}"#;
        let second = br#"{"model":"m","input":"hi","previous_response_id":"b"}"#;
        assert_ne!(of(first), of(second));
    }

    #[test]
    fn what_has_no_conversation_asks_nothing() {
        for body in [
            &b"{}"[..],
            b"",
            b"[1]",
            br#"{"model":"m"}"#,
            br#"{"messages":"#,
        ] {
            assert_eq!(question(Dialect::OpenAiChat, body), None);
        }
    }
}
