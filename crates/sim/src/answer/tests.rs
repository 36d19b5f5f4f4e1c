use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

const TOOLS: &str = r#""tools":[{"type":"function","name":"Bash"}]"#;

fn ask(dialect: Dialect, prompt: &str, max_tokens: u64) -> Ask {
    let prompt = quoted(prompt);
    let body = match dialect {
        Dialect::Messages => format!(
            r#"{{"model":"claude-opus-5-5","max_tokens":{max_tokens},{TOOLS},"messages":[{{"role":"user","content":{prompt}}}]}}"#
        ),
        Dialect::Chat => format!(
            r#"{{"model":"gpt-5","max_tokens":{max_tokens},"stream_options":{{"include_usage":true}},{TOOLS},"messages":[{{"role":"user","content":{prompt}}}]}}"#
        ),
        Dialect::Responses => format!(
            r#"{{"model":"gpt-5","max_output_tokens":{max_tokens},{TOOLS},"input":{prompt}}}"#
        ),
    };
    Ask::parse(dialect, body.as_bytes(), false).unwrap()
}

fn envelope(ask: &Ask, answer: &Answer) -> Envelope {
    Envelope {
        dialect: ask.dialect,
        serial: 0xabc,
        model: ask.model.clone(),
        created: 1_767_225_600,
        usage: Usage {
            input: Tokens(12),
            cache_read: Tokens(500),
            cache_write_5m: Tokens(600),
            cache_write_1h: Tokens(400),
            output: Tokens(answer.output),
            reasoning: Tokens(answer.reasoning),
            ..Usage::default()
        },
        include_usage: ask.include_usage,
    }
}

fn plan(ask: &Ask) -> Answer {
    Answer::plan(ask, None, &ProviderSpec::default(), 0xabc)
}

/// The whole answer, and the stream of the same answer, in one dialect.
#[track_caller]
fn check(dialect: Dialect, prompt: &str, expected: Expect) {
    let ask = ask(dialect, prompt, 1_000);
    let answer = plan(&ask);
    let envelope = envelope(&ask, &answer);
    let mut seen = String::from_utf8(answer.body(&envelope).to_vec()).unwrap();
    serde_json::from_str::<serde_json::Value>(&seen).unwrap();
    seen.push_str("\n\n");
    for frame in Script::new(answer, envelope, 12) {
        let text = std::str::from_utf8(&frame.bytes).unwrap();
        let json = text
            .lines()
            .find_map(|it| it.strip_prefix("data: "))
            .unwrap();
        assert!(
            json == "[DONE]" || serde_json::from_str::<serde_json::Value>(json).is_ok(),
            "{json}"
        );
        seen.push_str(text.trim_end());
        seen.push('\n');
    }
    expected.assert_eq(&seen);
}

const PROMPT: &str = "sim:think hm\nsim:say “High” water\nsim:tool Bash {\"command\":\"ls -l /\"}";

#[test]
fn messages_thinks_speaks_and_calls() {
    check(
        Dialect::Messages,
        PROMPT,
        expect![[r#"
        {"id":"msg_000000000000000000000abc","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"thinking","thinking":"hm","signature":"c2ltLXNpZ25hdHVyZQ=="},{"type":"text","text":"“High” water"},{"type":"tool_use","id":"toolu_0000000000000abc00000000","name":"Bash","input":{"command":"ls -l /"}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":1000,"cache_read_input_tokens":500,"cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},"output_tokens":13,"output_tokens_details":{"thinking_tokens":1},"service_tier":"standard"}}

        event: message_start
        data: {"type":"message_start","message":{"id":"msg_000000000000000000000abc","type":"message","role":"assistant","model":"claude-opus-5-5","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":12,"cache_creation_input_tokens":1000,"cache_read_input_tokens":500,"cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400},"output_tokens":1,"output_tokens_details":{"thinking_tokens":0},"service_tier":"standard"}}}
        event: content_block_start
        data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
        event: ping
        data: {"type":"ping"}
        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"c2ltLXNpZ25hdHVyZQ=="}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":0}
        event: content_block_start
        data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"“High” w"}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"ater"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":1}
        event: content_block_start
        data: {"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_0000000000000abc00000000","name":"Bash","input":{}}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"command\":\""}}
        event: content_block_delta
        data: {"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"ls -l /\"}"}}
        event: content_block_stop
        data: {"type":"content_block_stop","index":2}
        event: message_delta
        data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":13,"output_tokens_details":{"thinking_tokens":1}}}
        event: message_stop
        data: {"type":"message_stop"}
    "#]],
    );
}

#[test]
fn chat_speaks_and_calls_and_ends_with_usage() {
    check(
        Dialect::Chat,
        PROMPT,
        expect![[r#"
        {"id":"chatcmpl-0000000000000abc","object":"chat.completion","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"“High” water","refusal":null,"annotations":[],"tool_calls":[{"id":"call_0000000000000abc00000000","type":"function","function":{"name":"Bash","arguments":"{\"command\":\"ls -l /\"}"}}]},"logprobs":null,"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":1512,"completion_tokens":13,"total_tokens":1525,"prompt_tokens_details":{"cached_tokens":500,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}

        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"content":"“High” w"},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"content":"ater"},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"call_0000000000000abc00000000","type":"function","function":{"name":"Bash","arguments":""}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"command\":\""}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"ls -l /\"}"}}]},"logprobs":null,"finish_reason":null}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"tool_calls"}],"usage":null}
        data: {"id":"chatcmpl-0000000000000abc","object":"chat.completion.chunk","created":1767225600,"model":"gpt-5","service_tier":"default","choices":[],"usage":{"prompt_tokens":1512,"completion_tokens":13,"total_tokens":1525,"prompt_tokens_details":{"cached_tokens":500,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}
        data: [DONE]
    "#]],
    );
}

#[test]
fn responses_thinks_speaks_and_calls() {
    check(
        Dialect::Responses,
        PROMPT,
        expect![[r#"
        {"id":"resp_0000000000000abc","object":"response","created_at":1767225600,"status":"completed","error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"gpt-5","output":[{"id":"rs_0000000000000abc0000","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},{"id":"msg_0000000000000abc0001","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"“High” water"}]},{"id":"fc_0000000000000abc0002","type":"function_call","status":"completed","call_id":"call_0000000000000abc00000000","name":"Bash","arguments":"{\"command\":\"ls -l /\"}"}],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"service_tier":"default","usage":{"input_tokens":1512,"input_tokens_details":{"cached_tokens":500},"output_tokens":13,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":1525}}

        event: response.created
        data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_0000000000000abc","object":"response","created_at":1767225600,"status":"in_progress","error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"gpt-5","output":[],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"service_tier":"default","usage":null}}
        event: response.in_progress
        data: {"type":"response.in_progress","sequence_number":1,"response":{"id":"resp_0000000000000abc","object":"response","created_at":1767225600,"status":"in_progress","error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"gpt-5","output":[],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"service_tier":"default","usage":null}}
        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":2,"output_index":0,"item":{"id":"rs_0000000000000abc0000","type":"reasoning","summary":[],"content":[]}}
        event: response.reasoning_text.delta
        data: {"type":"response.reasoning_text.delta","sequence_number":3,"item_id":"rs_0000000000000abc0000","output_index":0,"content_index":0,"delta":"hm"}
        event: response.reasoning_text.done
        data: {"type":"response.reasoning_text.done","sequence_number":4,"item_id":"rs_0000000000000abc0000","output_index":0,"content_index":0,"text":"hm"}
        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":5,"output_index":0,"item":{"id":"rs_0000000000000abc0000","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]}}
        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":6,"output_index":1,"item":{"id":"msg_0000000000000abc0001","type":"message","status":"in_progress","role":"assistant","content":[]}}
        event: response.content_part.added
        data: {"type":"response.content_part.added","sequence_number":7,"item_id":"msg_0000000000000abc0001","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":""}}
        event: response.output_text.delta
        data: {"type":"response.output_text.delta","sequence_number":8,"item_id":"msg_0000000000000abc0001","output_index":1,"content_index":0,"delta":"“High” w","logprobs":[]}
        event: response.output_text.delta
        data: {"type":"response.output_text.delta","sequence_number":9,"item_id":"msg_0000000000000abc0001","output_index":1,"content_index":0,"delta":"ater","logprobs":[]}
        event: response.output_text.done
        data: {"type":"response.output_text.done","sequence_number":10,"item_id":"msg_0000000000000abc0001","output_index":1,"content_index":0,"text":"“High” water","logprobs":[]}
        event: response.content_part.done
        data: {"type":"response.content_part.done","sequence_number":11,"item_id":"msg_0000000000000abc0001","output_index":1,"content_index":0,"part":{"type":"output_text","annotations":[],"logprobs":[],"text":"“High” water"}}
        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":12,"output_index":1,"item":{"id":"msg_0000000000000abc0001","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"“High” water"}]}}
        event: response.output_item.added
        data: {"type":"response.output_item.added","sequence_number":13,"output_index":2,"item":{"id":"fc_0000000000000abc0002","type":"function_call","status":"in_progress","call_id":"call_0000000000000abc00000000","name":"Bash","arguments":""}}
        event: response.function_call_arguments.delta
        data: {"type":"response.function_call_arguments.delta","sequence_number":14,"item_id":"fc_0000000000000abc0002","output_index":2,"delta":"{\"command\":\""}
        event: response.function_call_arguments.delta
        data: {"type":"response.function_call_arguments.delta","sequence_number":15,"item_id":"fc_0000000000000abc0002","output_index":2,"delta":"ls -l /\"}"}
        event: response.function_call_arguments.done
        data: {"type":"response.function_call_arguments.done","sequence_number":16,"item_id":"fc_0000000000000abc0002","output_index":2,"name":"Bash","arguments":"{\"command\":\"ls -l /\"}"}
        event: response.output_item.done
        data: {"type":"response.output_item.done","sequence_number":17,"output_index":2,"item":{"id":"fc_0000000000000abc0002","type":"function_call","status":"completed","call_id":"call_0000000000000abc00000000","name":"Bash","arguments":"{\"command\":\"ls -l /\"}"}}
        event: response.completed
        data: {"type":"response.completed","sequence_number":18,"response":{"id":"resp_0000000000000abc","object":"response","created_at":1767225600,"status":"completed","error":null,"incomplete_details":null,"instructions":null,"metadata":{},"model":"gpt-5","output":[{"id":"rs_0000000000000abc0000","type":"reasoning","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},{"id":"msg_0000000000000abc0001","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","annotations":[],"logprobs":[],"text":"“High” water"}]},{"id":"fc_0000000000000abc0002","type":"function_call","status":"completed","call_id":"call_0000000000000abc00000000","name":"Bash","arguments":"{\"command\":\"ls -l /\"}"}],"parallel_tool_calls":true,"temperature":1.0,"tool_choice":"auto","tools":[],"top_p":1.0,"service_tier":"default","usage":{"input_tokens":1512,"input_tokens_details":{"cached_tokens":500},"output_tokens":13,"output_tokens_details":{"reasoning_tokens":1},"total_tokens":1525}}}
    "#]],
    );
}

#[test]
fn an_answer_is_cut_at_the_requests_own_cap() {
    for dialect in [Dialect::Messages, Dialect::Chat, Dialect::Responses] {
        let ask = ask(dialect, "sim:tokens 500", 20);
        let answer = plan(&ask);
        assert_eq!((answer.stop, answer.output), (Stop::MaxTokens, 20));
        assert_eq!(answer.pieces[0].streamed().len(), 72);
    }
    let calls = ask(
        Dialect::Messages,
        "sim:say a\nsim:tool Bash {\"command\":\"ls\"}",
        3,
    );
    let answer = plan(&calls);
    assert_eq!((answer.stop, answer.pieces.len()), (Stop::MaxTokens, 1));
}

#[test]
fn a_tool_that_is_not_offered_is_not_called() {
    let answer = plan(&ask(Dialect::Messages, "sim:tool Edit {}", 100));
    assert_eq!(answer.stop, Stop::EndTurn);
    assert!(matches!(&answer.pieces[..], [Piece::Text(_)]));
}

#[test]
fn a_scripted_output_has_its_length_unless_the_cap_is_lower() {
    let usage = Usage {
        output: Tokens(300),
        reasoning: Tokens(40),
        ..Usage::default()
    };
    let planned = |cap| {
        let ask = ask(Dialect::Messages, "hello", cap);
        let answer = Answer::plan(&ask, Some(&usage), &ProviderSpec::default(), 1);
        (
            answer.output,
            answer.reasoning,
            answer.stop,
            answer.pieces[0].streamed().len(),
        )
    };
    assert_eq!(planned(1_000), (300, 40, Stop::EndTurn, 1_080));
    assert_eq!(planned(100), (100, 40, Stop::MaxTokens, 360));
}

#[test]
fn structured_output_fits_its_schema() {
    let schema = serde_json::json!({"type":"object","properties":{"title":{"type":"string"},"n":{"type":"integer"},"kind":{"enum":["a","b"]}}});
    let value = schema::instance(&schema);
    assert_eq!(
        value,
        serde_json::json!({"title":"tide table","n":1,"kind":"a"})
    );
}

#[test]
fn errors_have_the_form_of_their_family() {
    let refused = |status, code| Refused {
        status,
        message: "no".into(),
        code,
        headers: Headers::default(),
    };
    let mut seen = String::new();
    for family in [
        crate::world::Family::Anthropic,
        crate::world::Family::OpenAi,
    ] {
        for status in [400, 401, 402, 403, 404, 413, 429, 500, 503, 504, 529] {
            let refused = refused(status_in(family, status), None);
            let body = error_body(family, &refused, "req_1");
            serde_json::from_str::<serde_json::Value>(&body).unwrap();
            writeln!(seen, "{} {body}", refused.status).unwrap();
        }
    }
    let capped = error_body(
        crate::world::Family::Anthropic,
        &refused(429, Some("capped")),
        "req_1",
    );
    seen += &capped;
    expect![[r#"
        400 {"type":"error","error":{"type":"invalid_request_error","message":"no"},"request_id":"req_1"}
        401 {"type":"error","error":{"type":"authentication_error","message":"no"},"request_id":"req_1"}
        402 {"type":"error","error":{"type":"billing_error","message":"no"},"request_id":"req_1"}
        403 {"type":"error","error":{"type":"permission_error","message":"no"},"request_id":"req_1"}
        404 {"type":"error","error":{"type":"not_found_error","message":"no"},"request_id":"req_1"}
        413 {"type":"error","error":{"type":"request_too_large","message":"no"},"request_id":"req_1"}
        429 {"type":"error","error":{"type":"rate_limit_error","message":"no"},"request_id":"req_1"}
        500 {"type":"error","error":{"type":"api_error","message":"no"},"request_id":"req_1"}
        529 {"type":"error","error":{"type":"overloaded_error","message":"no"},"request_id":"req_1"}
        504 {"type":"error","error":{"type":"timeout_error","message":"no"},"request_id":"req_1"}
        529 {"type":"error","error":{"type":"overloaded_error","message":"no"},"request_id":"req_1"}
        400 {"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}
        401 {"error":{"message":"no","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}
        402 {"error":{"message":"no","type":"insufficient_quota","param":null,"code":"credit_balance_exhausted"}}
        403 {"error":{"message":"no","type":"permission_error","param":null,"code":null}}
        404 {"error":{"message":"no","type":"invalid_request_error","param":null,"code":"model_not_found"}}
        413 {"error":{"message":"no","type":"invalid_request_error","param":null,"code":null}}
        429 {"error":{"message":"no","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}
        500 {"error":{"message":"no","type":"server_error","param":null,"code":null}}
        503 {"error":{"message":"no","type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}
        504 {"error":{"message":"no","type":"server_error","param":null,"code":null}}
        503 {"error":{"message":"no","type":"service_unavailable_error","param":null,"code":"server_is_overloaded"}}
        {"type":"error","error":{"type":"rate_limit_error","message":"no","details":{"error_code":"capped"}},"request_id":"req_1"}"#]].assert_eq(&seen);
}

proptest! {
    /// Whatever is said, the stream carries all of it, and all its output, in order.
    #[test]
    fn a_stream_carries_the_whole_answer(text in "[a-zé“🌊 \"\\\\]{1,80}", step in 1_usize..20) {
        let ask = ask(Dialect::Messages, "x", 100_000);
        let mut answer = plan(&ask);
        answer.pieces = vec![Piece::Text(text.clone())];
        let output = answer.output;
        let envelope = envelope(&ask, &answer);
        let (mut heard, mut produced) = (String::new(), Tokens(0));
        for frame in Script::new(answer, envelope, step) {
            prop_assert!(frame.produced >= produced);
            produced = frame.produced;
            let whole = std::str::from_utf8(&frame.bytes).unwrap();
            let json = whole.lines().find_map(|it| it.strip_prefix("data: ")).unwrap();
            let event: serde_json::Value = serde_json::from_str(json).unwrap();
            heard += event["delta"]["text"].as_str().unwrap_or_default();
        }
        prop_assert_eq!(heard, text);
        prop_assert_eq!(produced, Tokens(output));
    }
}
