//! OpenAI Chat Completions: the JSON of an answer, and its chunks.

use super::{Answer, Envelope, Piece, Stop, quoted, script::Event};

pub(super) fn body(answer: &Answer, envelope: &Envelope) -> String {
    let texts = answer.pieces.iter().filter_map(|it| match it {
        Piece::Text(text) => Some(text.as_str()),
        Piece::Thinking(_) | Piece::Tool { .. } => None,
    });
    let text: String = texts.collect();
    let calls: Vec<String> = calls(answer)
        .map(|(_, id, name, input)| {
            let (name, input) = (quoted(name), quoted(input));
            format!(
                r#"{{"id":"call_{id}","type":"function","function":{{"name":{name},"arguments":{input}}}}}"#
            )
        })
        .collect();
    let content = if text.is_empty() {
        "null".to_owned()
    } else {
        quoted(&text)
    };
    let calls = if calls.is_empty() {
        String::new()
    } else {
        format!(r#","tool_calls":[{}]"#, calls.join(","))
    };
    let (stop, usage) = (word(answer.stop), usage(envelope));
    let head = head(envelope, "chat.completion");
    format!(
        r#"{{{head},"choices":[{{"index":0,"message":{{"role":"assistant","content":{content},"refusal":null,"annotations":[]{calls}}},"logprobs":null,"finish_reason":"{stop}"}}],"usage":{usage}}}"#
    )
}

/// The chunks of one step; thinking is not shown.
pub(super) fn frames(answer: &Answer, envelope: &Envelope, event: &Event) -> Vec<String> {
    match *event {
        Event::Start => vec![chunk(
            envelope,
            r#"{"role":"assistant","content":"","refusal":null}"#,
            None,
        )],
        Event::Open(at) => {
            let call = calls(answer).enumerate().find(|(_, it)| it.0 == at);
            let Some((index, (_, id, name, _))) = call else {
                return Vec::new();
            };
            let name = quoted(name);
            let delta = format!(
                r#"{{"tool_calls":[{{"index":{index},"id":"call_{id}","type":"function","function":{{"name":{name},"arguments":""}}}}]}}"#
            );
            vec![chunk(envelope, &delta, None)]
        }
        Event::Delta(at, ref range) => {
            let piece = &answer.pieces[at];
            let text = quoted(&piece.streamed()[range.clone()]);
            let delta = match piece {
                Piece::Thinking(_) => return Vec::new(),
                Piece::Text(_) => format!(r#"{{"content":{text}}}"#),
                Piece::Tool { .. } => {
                    let index = calls(answer).take_while(|it| it.0 != at).count();
                    format!(
                        r#"{{"tool_calls":[{{"index":{index},"function":{{"arguments":{text}}}}}]}}"#
                    )
                }
            };
            vec![chunk(envelope, &delta, None)]
        }
        Event::Close(_) => Vec::new(),
        Event::Finish => {
            let mut frames = vec![chunk(envelope, "{}", Some(answer.stop))];
            if envelope.include_usage {
                let head = head(envelope, "chat.completion.chunk");
                let usage = usage(envelope);
                frames.push(format!(
                    "data: {{{head},\"choices\":[],\"usage\":{usage}}}\n\n"
                ));
            }
            frames.push("data: [DONE]\n\n".into());
            frames
        }
    }
}

fn chunk(envelope: &Envelope, delta: &str, stop: Option<Stop>) -> String {
    let head = head(envelope, "chat.completion.chunk");
    let stop = stop.map_or("null".to_owned(), |it| format!("\"{}\"", word(it)));
    let usage = if envelope.include_usage {
        r#","usage":null"#
    } else {
        ""
    };
    format!(
        "data: {{{head},\"choices\":[{{\"index\":0,\"delta\":{delta},\"logprobs\":null,\"finish_reason\":{stop}}}]{usage}}}\n\n"
    )
}

fn head(envelope: &Envelope, object: &str) -> String {
    let (serial, created, model) = (envelope.serial, envelope.created, quoted(&envelope.model));
    format!(
        r#""id":"chatcmpl-{serial:016x}","object":"{object}","created":{created},"model":{model},"service_tier":"default""#
    )
}

fn usage(envelope: &Envelope) -> String {
    let usage = &envelope.usage;
    let (prompt, cached) = (usage.input_total().0, usage.cache_read.0);
    let (completion, reasoning) = (usage.output.0, usage.reasoning.0);
    let total = prompt + completion;
    format!(
        r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion},"total_tokens":{total},"prompt_tokens_details":{{"cached_tokens":{cached},"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":{reasoning},"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#
    )
}

/// Position, id, name and input of each tool call.
fn calls(answer: &Answer) -> impl Iterator<Item = (usize, &str, &str, &str)> {
    let pieces = answer.pieces.iter().enumerate();
    pieces.filter_map(|(at, it)| match it {
        Piece::Tool { id, name, input } => Some((at, id.as_str(), name.as_str(), input.as_str())),
        Piece::Thinking(_) | Piece::Text(_) => None,
    })
}

const fn word(stop: Stop) -> &'static str {
    match stop {
        Stop::EndTurn => "stop",
        Stop::MaxTokens => "length",
        Stop::ToolUse => "tool_calls",
    }
}
