//! Anthropic Messages: the JSON of an answer, and its events.

use super::{Answer, Envelope, Piece, Stop, quoted, script::Event};

/// Ends every thinking block; the client hands it back unread.
const SIGNATURE: &str = "c2ltLXNpZ25hdHVyZQ==";

pub(super) fn body(answer: &Answer, envelope: &Envelope) -> String {
    let content: Vec<String> = answer.pieces.iter().map(whole).collect();
    message(
        envelope,
        &content.join(","),
        Some(answer.stop),
        envelope.usage.output.0,
    )
}

/// The events of one step, as they go over the wire; one string per event.
pub(super) fn frames(answer: &Answer, envelope: &Envelope, event: &Event) -> Vec<String> {
    match *event {
        Event::Start => {
            let message = message(envelope, "", None, 1);
            vec![sse(
                "message_start",
                &format!(r#"{{"type":"message_start","message":{message}}}"#),
            )]
        }
        Event::Open(at) => {
            let block = empty(&answer.pieces[at]);
            let mut frames = vec![sse(
                "content_block_start",
                &format!(
                    r#"{{"type":"content_block_start","index":{at},"content_block":{block}}}"#
                ),
            )];
            if at == 0 {
                frames.push(sse("ping", r#"{"type":"ping"}"#));
            }
            frames
        }
        Event::Delta(at, ref range) => {
            let piece = &answer.pieces[at];
            let text = quoted(&piece.streamed()[range.clone()]);
            vec![delta(
                at,
                &match piece {
                    Piece::Thinking(_) => {
                        format!(r#"{{"type":"thinking_delta","thinking":{text}}}"#)
                    }
                    Piece::Text(_) => format!(r#"{{"type":"text_delta","text":{text}}}"#),
                    Piece::Tool { .. } => {
                        format!(r#"{{"type":"input_json_delta","partial_json":{text}}}"#)
                    }
                },
            )]
        }
        Event::Close(at) => {
            let mut frames = Vec::new();
            if matches!(answer.pieces[at], Piece::Thinking(_)) {
                frames.push(delta(
                    at,
                    &format!(r#"{{"type":"signature_delta","signature":"{SIGNATURE}"}}"#),
                ));
            }
            frames.push(sse(
                "content_block_stop",
                &format!(r#"{{"type":"content_block_stop","index":{at}}}"#),
            ));
            frames
        }
        Event::Finish => {
            let (stop, output) = (word(answer.stop), envelope.usage.output.0);
            let thinking = envelope.usage.reasoning.0;
            vec![
                sse(
                    "message_delta",
                    &format!(
                        r#"{{"type":"message_delta","delta":{{"stop_reason":"{stop}","stop_sequence":null}},"usage":{{"output_tokens":{output},"output_tokens_details":{{"thinking_tokens":{thinking}}}}}}}"#
                    ),
                ),
                sse("message_stop", r#"{"type":"message_stop"}"#),
            ]
        }
    }
}

fn delta(at: usize, delta: &str) -> String {
    sse(
        "content_block_delta",
        &format!(r#"{{"type":"content_block_delta","index":{at},"delta":{delta}}}"#),
    )
}

pub(super) fn sse(event: &str, json: &str) -> String {
    format!("event: {event}\ndata: {json}\n\n")
}

fn message(envelope: &Envelope, content: &str, stop: Option<Stop>, output: u64) -> String {
    let (serial, model) = (envelope.serial, quoted(&envelope.model));
    let usage = &envelope.usage;
    let (short, long) = (usage.cache_write_5m.0, usage.cache_write_1h.0);
    let (input, read, written) = (usage.input.0, usage.cache_read.0, short + long);
    let thinking = if stop.is_some() { usage.reasoning.0 } else { 0 };
    let stop = stop.map_or("null".to_owned(), |it| format!("\"{}\"", word(it)));
    format!(
        r#"{{"id":"msg_{serial:024x}","type":"message","role":"assistant","model":{model},"content":[{content}],"stop_reason":{stop},"stop_sequence":null,"usage":{{"input_tokens":{input},"cache_creation_input_tokens":{written},"cache_read_input_tokens":{read},"cache_creation":{{"ephemeral_5m_input_tokens":{short},"ephemeral_1h_input_tokens":{long}}},"output_tokens":{output},"output_tokens_details":{{"thinking_tokens":{thinking}}},"service_tier":"standard"}}}}"#
    )
}

fn whole(piece: &Piece) -> String {
    match piece {
        Piece::Thinking(text) => {
            let text = quoted(text);
            format!(r#"{{"type":"thinking","thinking":{text},"signature":"{SIGNATURE}"}}"#)
        }
        Piece::Text(text) => format!(r#"{{"type":"text","text":{}}}"#, quoted(text)),
        Piece::Tool { id, name, input } => {
            let name = quoted(name);
            format!(r#"{{"type":"tool_use","id":"toolu_{id}","name":{name},"input":{input}}}"#)
        }
    }
}

fn empty(piece: &Piece) -> String {
    match piece {
        Piece::Thinking(_) => r#"{"type":"thinking","thinking":"","signature":""}"#.into(),
        Piece::Text(_) => r#"{"type":"text","text":""}"#.into(),
        Piece::Tool { id, name, .. } => {
            let name = quoted(name);
            format!(r#"{{"type":"tool_use","id":"toolu_{id}","name":{name},"input":{{}}}}"#)
        }
    }
}

const fn word(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "end_turn",
        Stop::MaxTokens => "max_tokens",
        Stop::ToolUse => "tool_use",
    }
}
