//! OpenAI Responses: the JSON of an answer, and its events.

use super::{Answer, Envelope, Piece, Stop, messages::sse, quoted, script::Event};

pub(super) fn body(answer: &Answer, envelope: &Envelope) -> String {
    response(answer, envelope, true)
}

/// The events of one step. `sequence` numbers them across the stream.
pub(super) fn frames(
    answer: &Answer,
    envelope: &Envelope,
    event: &Event,
    sequence: &mut u64,
) -> Vec<String> {
    let mut number = |kind: &str, fields: &str| {
        let json = format!(r#"{{"type":"{kind}","sequence_number":{sequence},{fields}}}"#);
        *sequence += 1;
        sse(kind, &json)
    };
    match *event {
        Event::Start => {
            let response = response(answer, envelope, false);
            let fields = format!(r#""response":{response}"#);
            vec![
                number("response.created", &fields),
                number("response.in_progress", &fields),
            ]
        }
        Event::Open(at) => {
            let piece = &answer.pieces[at];
            let item = item(piece, envelope, at, false);
            let mut frames = vec![number(
                "response.output_item.added",
                &format!(r#""output_index":{at},"item":{item}"#),
            )];
            if matches!(piece, Piece::Text(_)) {
                let (place, part) = (place(piece, envelope, at), part(""));
                let fields = format!(r#"{place},"content_index":0,"part":{part}"#);
                frames.push(number("response.content_part.added", &fields));
            }
            frames
        }
        Event::Delta(at, ref range) => {
            let piece = &answer.pieces[at];
            let text = quoted(&piece.streamed()[range.clone()]);
            let place = place(piece, envelope, at);
            vec![match piece {
                Piece::Thinking(_) => number(
                    "response.reasoning_text.delta",
                    &format!(r#"{place},"content_index":0,"delta":{text}"#),
                ),
                Piece::Text(_) => number(
                    "response.output_text.delta",
                    &format!(r#"{place},"content_index":0,"delta":{text},"logprobs":[]"#),
                ),
                Piece::Tool { .. } => number(
                    "response.function_call_arguments.delta",
                    &format!(r#"{place},"delta":{text}"#),
                ),
            }]
        }
        Event::Close(at) => closing(&answer.pieces[at], envelope, at, &mut number),
        Event::Finish => {
            let kind = match answer.stop {
                Stop::MaxTokens => "response.incomplete",
                Stop::EndTurn | Stop::ToolUse => "response.completed",
            };
            let response = response(answer, envelope, true);
            vec![number(kind, &format!(r#""response":{response}"#))]
        }
    }
}

fn closing(
    piece: &Piece,
    envelope: &Envelope,
    at: usize,
    number: &mut impl FnMut(&str, &str) -> String,
) -> Vec<String> {
    let place = place(piece, envelope, at);
    let text = quoted(piece.streamed());
    let mut frames = match piece {
        Piece::Thinking(_) => vec![number(
            "response.reasoning_text.done",
            &format!(r#"{place},"content_index":0,"text":{text}"#),
        )],
        Piece::Text(_) => {
            let part = part(piece.streamed());
            vec![
                number(
                    "response.output_text.done",
                    &format!(r#"{place},"content_index":0,"text":{text},"logprobs":[]"#),
                ),
                number(
                    "response.content_part.done",
                    &format!(r#"{place},"content_index":0,"part":{part}"#),
                ),
            ]
        }
        Piece::Tool { name, .. } => vec![number(
            "response.function_call_arguments.done",
            &format!(r#"{place},"name":{},"arguments":{text}"#, quoted(name)),
        )],
    };
    let item = item(piece, envelope, at, true);
    frames.push(number(
        "response.output_item.done",
        &format!(r#""output_index":{at},"item":{item}"#),
    ));
    frames
}

fn place(piece: &Piece, envelope: &Envelope, at: usize) -> String {
    let id = item_id(piece, envelope, at);
    format!(r#""item_id":"{id}","output_index":{at}"#)
}

fn item_id(piece: &Piece, envelope: &Envelope, at: usize) -> String {
    let prefix = match piece {
        Piece::Thinking(_) => "rs",
        Piece::Text(_) => "msg",
        Piece::Tool { .. } => "fc",
    };
    format!("{prefix}_{:016x}{at:04x}", envelope.serial)
}

fn part(text: &str) -> String {
    let text = quoted(text);
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{text}}}"#)
}

fn item(piece: &Piece, envelope: &Envelope, at: usize, done: bool) -> String {
    let id = item_id(piece, envelope, at);
    let status = if done { "completed" } else { "in_progress" };
    match piece {
        Piece::Thinking(text) => {
            let content = if done {
                format!(r#"{{"type":"reasoning_text","text":{}}}"#, quoted(text))
            } else {
                String::new()
            };
            format!(r#"{{"id":"{id}","type":"reasoning","summary":[],"content":[{content}]}}"#)
        }
        Piece::Text(text) => {
            let content = if done { part(text) } else { String::new() };
            format!(
                r#"{{"id":"{id}","type":"message","status":"{status}","role":"assistant","content":[{content}]}}"#
            )
        }
        Piece::Tool {
            id: call,
            name,
            input,
        } => {
            let name = quoted(name);
            let arguments = quoted(if done { input } else { "" });
            format!(
                r#"{{"id":"{id}","type":"function_call","status":"{status}","call_id":"call_{call}","name":{name},"arguments":{arguments}}}"#
            )
        }
    }
}

fn response(answer: &Answer, envelope: &Envelope, done: bool) -> String {
    let (serial, created, model) = (envelope.serial, envelope.created, quoted(&envelope.model));
    let (status, incomplete) = match (done, answer.stop) {
        (false, _) => ("in_progress", "null"),
        (true, Stop::MaxTokens) => ("incomplete", r#"{"reason":"max_output_tokens"}"#),
        (true, Stop::EndTurn | Stop::ToolUse) => ("completed", "null"),
    };
    let (output, usage) = if done {
        let items = answer.pieces.iter().enumerate();
        let items: Vec<String> = items.map(|(at, it)| item(it, envelope, at, true)).collect();
        (items.join(","), usage(envelope))
    } else {
        (String::new(), "null".into())
    };
    format!(
        r#"{{"id":"resp_{serial:016x}","object":"response","created_at":{created},"status":"{status}","error":null,"incomplete_details":{incomplete},"instructions":null,"metadata":{{}},"model":{model},"output":[{output}],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"service_tier":"default","usage":{usage}}}"#
    )
}

fn usage(envelope: &Envelope) -> String {
    let usage = &envelope.usage;
    let (input, cached) = (usage.input_total().0, usage.cache_read.0);
    let (output, reasoning) = (usage.output.0, usage.reasoning.0);
    let total = input + output;
    format!(
        r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":{cached}}},"output_tokens":{output},"output_tokens_details":{{"reasoning_tokens":{reasoning}}},"total_tokens":{total}}}"#
    )
}
