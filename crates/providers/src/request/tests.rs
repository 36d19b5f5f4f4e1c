use std::fmt::Write as _;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::Dialect::{Anthropic, OpenAiChat, OpenAiResponses};

mod properties;

/// What differs from a body that says nothing but its model, one fact a line.
fn told(facts: &RequestFacts) -> String {
    let mut told = String::new();
    let mut tell = |name: &str, value: &dyn std::fmt::Debug, plain: &dyn std::fmt::Debug| {
        let (value, plain) = (format!("{value:?}"), format!("{plain:?}"));
        if value != plain {
            writeln!(told, "{name}: {value}").unwrap();
        }
    };
    tell("model", &facts.model, &"m");
    tell("cap", &facts.output_cap, &None::<OutputCap>);
    tell("stream", &facts.stream, &false);
    tell("include_usage", &facts.include_usage, &None::<bool>);
    tell("thinking", &facts.thinking_budget, &None::<u64>);
    tell("choices", &facts.choices, &1);
    tell("messages", &facts.messages, &0);
    tell("tools", &facts.tools, &0);
    tell("ends in tool result", &facts.ends_in_tool_result, &false);
    tell("cache write", &facts.cache_write, &CacheWrite::None);
    tell("references", &facts.references, &0);
    tell("stored context", &facts.stored_context, &false);
    tell("background", &facts.background, &false);
    tell("server tool uses", &facts.server_tool_uses, &0);
    tell("other models", &facts.other_models, &Vec::<String>::new());
    tell("modifiers", &facts.modifiers, &Modifiers::default());
    tell("session", &facts.session, &None::<String>);
    tell("quota probe", &facts.quota_probe, &false);
    told
}

/// Scans a body and compares what it says, or why it is refused.
#[track_caller]
fn check(dialect: Dialect, body: &str, expected: Expect) {
    let outcome = match scan(dialect, body.as_bytes()) {
        Ok(facts) => told(&facts),
        Err(error) => format!("{error}\n"),
    };
    expected.assert_eq(&outcome);
}

#[test]
fn claude_code_s_request_says_all_that_is_needed() {
    let user = json!({"device_id": "ab", "account_uuid": "", "session_id": "1fbf07ad-6a2c"});
    let body = json!({
        "model": "claude-opus-5-5",
        "messages": [
            {"role": "user", "content": [
                {"type": "text", "text": "fix \"model\": \"x\" in {this"},
            ]},
            {"role": "assistant", "content": [
                {"type": "tool_use", "id": "t1", "name": "Read", "input": {"cache_control": {"ttl": "1h"}, "url": "x"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "a\\"}],
                 "cache_control": {"type": "ephemeral"}},
            ]},
            {"role": "system", "content": "be brief"},
        ],
        "system": [{"type": "text", "text": "You are", "cache_control": {"type": "ephemeral"}}],
        "tools": [
            {"name": "Read", "input_schema": {"type": "object", "properties": {"max_uses": {"type": "web_search"}}}},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
        "metadata": {"user_id": user.to_string()},
        "max_tokens": 128_000,
        "thinking": {"type": "enabled", "budget_tokens": 31_999},
        "stream": true,
    });
    check(
        Anthropic,
        &body.to_string(),
        expect![[r#"
        model: "claude-opus-5-5"
        cap: Some(OutputCap { value: 128000, digits: 14..20 })
        stream: true
        thinking: Some(31999)
        messages: 4
        tools: 2
        ends in tool result: true
        cache write: FiveMinutes
        server tool uses: 8
        session: Some("1fbf07ad-6a2c")
    "#]],
    );
}

#[test]
fn the_dearest_cache_write_counts() {
    let body = |inner: &str| format!(r#"{{"model":"m","messages":[{inner}]}}"#);
    let block = |control: &str| {
        body(&format!(
            r#"{{"role":"user","content":[{{"type":"document","source":{{"type":"content","content":[{{"type":"text","text":"x","cache_control":{control}}}]}}}}]}}"#
        ))
    };
    for (control, write) in [
        ("null", CacheWrite::None),
        (r#"{"type":"ephemeral"}"#, CacheWrite::FiveMinutes),
        (
            r#"{"type":"ephemeral","ttl":"5m"}"#,
            CacheWrite::FiveMinutes,
        ),
        (r#"{"type":"ephemeral","ttl":"1h"}"#, CacheWrite::OneHour),
        (
            r#"{"type":"ephemeral","t\u0074l":"1\u0068"}"#,
            CacheWrite::OneHour,
        ),
        (r#"{"type":"ephemeral","ttl":"9d"}"#, CacheWrite::OneHour),
    ] {
        let facts = scan(Anthropic, block(control).as_bytes()).unwrap();
        assert_eq!(facts.cache_write, write, "{control}");
    }
    let in_text = body(r#"{"role":"user","content":"\"cache_control\":{\"ttl\":\"1h\"}"}"#);
    let facts = scan(Anthropic, in_text.as_bytes()).unwrap();
    assert_eq!(facts.cache_write, CacheWrite::None);
}

#[test]
fn content_by_reference_is_counted_and_inline_content_is_not() {
    let count = |dialect, messages: Value| {
        let key = if dialect == OpenAiResponses {
            "input"
        } else {
            "messages"
        };
        let body = json!({"model": "m", key: messages}).to_string();
        scan(dialect, body.as_bytes()).unwrap().references
    };
    let anthropic = json!([{"role": "user", "content": [
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        {"type": "container_upload", "file_id": "file_2"},
        {"type": "search_result", "source": "https://x", "content": [{"type": "text", "text": "t"}]},
        {"type": "tool_result", "content": [{"type": "image", "source": {"type": "url", "url": "https://z"}}]},
        {"type": "web_search_tool_result", "content": [{"type": "web_search_result", "url": "https://q"}]},
    ]}]);
    assert_eq!(count(Anthropic, anthropic), 4);
    let chat = json!([{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "file", "file": {"file_id": "file-1"}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,AA", "filename": "a"}},
    ]}]);
    assert_eq!(count(OpenAiChat, chat), 2);
    let responses = json!([
        {"role": "user", "content": [
            {"type": "input_image", "image_url": "https://x/y.png"},
            {"type": "input_image", "image_url": "data:image/png;base64,AAAA"},
            {"type": "input_file", "file_url": "https://x/y.pdf"},
            {"type": "input_file", "file_id": "file-1"},
        ]},
        {"type": "item_reference", "id": "msg_1"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "f"}]},
    ]);
    assert_eq!(count(OpenAiResponses, responses), 5);
}

#[test]
fn server_tools_count_their_uses_and_client_tools_do_not() {
    check(
        Anthropic,
        r#"{"model":"m","mcp_servers":[{"url":"https://x"}],"tools":[
            {"type":"custom","name":"a","input_schema":{}},{"name":"b"},
            {"type":"bash_20250124","name":"bash"},{"type":"text_editor_20250728"},
            {"type":"mcp_toolset","mcp_server_name":"x"},
            {"type":"web_fetch_20250910","max_uses":3},{"max_uses":null,"type":"code_execution_20250825"},
            {"type":"advisor_20260301","model":"claude-opus-5-5","max_uses":1}],
            "fallbacks":[{"model":"claude-fable-5-2"},"claude-sonnet-5-5"]}"#,
        expect![[r#"
            tools: 8
            server tool uses: 44
            other models: ["claude-opus-5-5", "claude-fable-5-2", "claude-sonnet-5-5"]
        "#]],
    );
    check(
        OpenAiResponses,
        r#"{"model":"m","tools":[{"type":"function"},{"type":"web_search"},{"type":"file_search"},
            {"type":"computer_use_preview"},{"type":"mcp"}],"max_tool_calls":7}"#,
        expect![[r#"
            tools: 5
            server tool uses: 7
        "#]],
    );
    check(
        OpenAiChat,
        r#"{"model":"m","tools":[{"type":"function","function":{"parameters":{"type":"web_search"}}}],
            "web_search_options":{}}"#,
        expect![[r#"
            tools: 1
            server tool uses: 20
        "#]],
    );
}

#[test]
fn modifiers_stored_context_and_background_are_seen() {
    check(
        Anthropic,
        r#"{"model":"m","speed":"fast","inference_geo":"us","service_tier":"standard_only"}"#,
        expect![[r#"
            modifiers: Modifiers { batch: false, fast: true, flex: false, regional: true }
        "#]],
    );
    check(
        OpenAiResponses,
        r#"{"model":"m","service_tier":"flex","previous_response_id":"resp_1","background":true,
            "input":"hello","max_output_tokens":9}"#,
        expect![[r#"
            cap: Some(OutputCap { value: 9, digits: 134..135 })
            messages: 1
            stored context: true
            background: true
            modifiers: Modifiers { batch: false, fast: false, flex: true, regional: false }
        "#]],
    );
    check(
        OpenAiChat,
        r#"{"model":"m","service_tier":"priority","n":3,"stream":true,
            "stream_options":{"include_usage":false},"max_tokens":null,"max_completion_tokens":77}"#,
        expect![[r#"
            cap: Some(OutputCap { value: 77, digits: 155..157 })
            stream: true
            include_usage: Some(false)
            choices: 3
            modifiers: Modifiers { batch: false, fast: true, flex: false, regional: false }
        "#]],
    );
}

#[test]
fn who_speaks_last_tells_a_tool_s_result_from_a_turn() {
    let ends = |dialect, messages: &str| {
        let key = if dialect == OpenAiResponses {
            "input"
        } else {
            "messages"
        };
        let body = format!(r#"{{"{key}":[{messages}],"model":"m"}}"#);
        scan(dialect, body.as_bytes()).unwrap().ends_in_tool_result
    };
    let result = r#"{"content":[{"type":"tool_result","content":"x"},{"type":"text","text":"y"}],"role":"user"}"#;
    let user = r#"{"role":"user","content":"hi"}"#;
    let system = r#"{"role":"system","content":"be brief"}"#;
    assert!(ends(Anthropic, result));
    assert!(ends(Anthropic, &format!("{user},{result},{system}")));
    assert!(!ends(Anthropic, &format!("{result},{user}")));
    assert!(!ends(Anthropic, ""));
    let tool = r#"{"role":"tool","tool_call_id":"c","content":"x"}"#;
    assert!(ends(OpenAiChat, &format!("{user},{tool}")));
    assert!(!ends(OpenAiChat, &format!("{tool},{user}")));
    let output = r#"{"type":"function_call_output","call_id":"c","output":"x"}"#;
    assert!(ends(OpenAiResponses, &format!("{user},{output}")));
    assert!(ends(
        OpenAiResponses,
        &format!(r#"{output},{{"role":"developer","content":"x"}}"#)
    ));
    assert!(!ends(OpenAiResponses, &format!("{output},{user}")));
}

#[test]
fn both_forms_of_the_session_are_read() {
    for (user, session) in [
        (
            r#"{"device_id":"d","account_uuid":"","session_id":"1f-2a"}"#,
            Some("1f-2a"),
        ),
        ("user_abc_account_1-2_session_3-4", Some("3-4")),
        ("user-123", None),
        (r#"{"session_id":7}"#, None),
        ("_session_", None),
        ("_session_a\nb", None),
    ] {
        let body = json!({"model": "m", "metadata": {"user_id": user}}).to_string();
        let facts = scan(Anthropic, body.as_bytes()).unwrap();
        assert_eq!(facts.session.as_deref(), session, "{user}");
    }
}

#[test]
fn the_quota_probe_is_known() {
    check(
        Anthropic,
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"quota"}],"metadata":{"user_id":"u"}}"#,
        expect![[r#"
            cap: Some(OutputCap { value: 1, digits: 26..27 })
            messages: 1
            quota probe: true
        "#]],
    );
    check(
        Anthropic,
        r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"hi"}]}"#,
        expect![[r#"
            cap: Some(OutputCap { value: 1, digits: 26..27 })
            messages: 1
        "#]],
    );
}

#[test]
fn a_conversation_keeps_its_fingerprint_from_turn_to_turn() {
    let body = |messages: Value| json!({"model": "m", "messages": messages}).to_string();
    let fingerprint = |messages: Value| {
        scan(Anthropic, body(messages).as_bytes())
            .unwrap()
            .conversation
    };
    let cached = json!({"type": "ephemeral"});
    let first = json!([{"role": "user", "content": [{"type": "text", "text": "hi", "cache_control": cached}]}]);
    let second = json!([
        {"role": "system", "content": "brief"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "go on"},
    ]);
    assert_eq!(fingerprint(first.clone()), fingerprint(second));
    let other = json!([{"role": "user", "content": "ho"}]);
    assert_ne!(fingerprint(first), fingerprint(other));
    assert_eq!(fingerprint(json!([])), 0);
    // Stored: must be the same in every version.
    assert_eq!(
        fingerprint(json!([{"role": "user", "content": "hello, world"}])),
        8_870_919_137_498_248_908
    );
}

/// Scans bodies, one a line, and compares why they are refused.
#[track_caller]
fn check_refused(dialect: Dialect, bodies: &str, expected: Expect) {
    let bodies = bodies.lines().map(str::trim).filter(|it| !it.is_empty());
    let refused = bodies.map(|it| {
        let error = scan(dialect, it.as_bytes()).expect_err(it);
        assert_eq!(error.disposition(), Disposition::FixRequest);
        format!("{it}\n  {error}\n")
    });
    expected.assert_eq(&refused.collect::<String>());
}

#[test]
fn what_limits_depend_on_is_refused_where_it_is_unclear() {
    check_refused(
        Anthropic,
        r#"
        {"model":"a","model":"b"}
        {"model":"a","\u006dodel":"b"}
        {"model":"a","Max_Tokens":5}
        {"model":"a","max_tokens":-4}
        {"model":"a","max_tokens":4294967296}
        {"model":"a","max_tokens":99999999999999999999999999}
        {"model":"a","max_tokens":1e3}
        {"model":"a","max_tokens":"5"}
        {"model":"a","max_tokens":010}
        "#,
        expect![[r#"
            {"model":"a","model":"b"}
              `model` is there more than once: send it once
            {"model":"a","\u006dodel":"b"}
              `model` is there more than once: send it once
            {"model":"a","Max_Tokens":5}
              `Max_Tokens` is read as `max_tokens` by some providers: write `max_tokens`
            {"model":"a","max_tokens":-4}
              `max_tokens` is -4: send a whole number from 0 to 4294967295
            {"model":"a","max_tokens":4294967296}
              `max_tokens` is 4294967296: send a whole number from 0 to 4294967295
            {"model":"a","max_tokens":99999999999999999999999999}
              `max_tokens` is 99999999999999999999999999: send a whole number from 0 to 4294967295
            {"model":"a","max_tokens":1e3}
              `max_tokens` is 1e3: send a whole number from 0 to 4294967295
            {"model":"a","max_tokens":"5"}
              `max_tokens` is a string: send a whole number
            {"model":"a","max_tokens":010}
              the body is not valid JSON: a number was expected at byte 29
        "#]],
    );
}

#[test]
fn what_is_missing_or_of_another_type_is_refused() {
    check_refused(
        Anthropic,
        r#"
        {"model":7}
        {"model":""}
        {"model":"a\u000ax-api-key: b"}
        {"max_tokens":5}
        {"model":"a","stream":"yes"}
        {"model":"a","messages":"a secret"}
        {"model":"a","thinking":{"budget_tokens":1,"budget_tokens":9}}
        "#,
        expect![[r#"
            {"model":7}
              `model` is 7: send the model's name as a string
            {"model":""}
              `model` has 0 bytes: send a name of 1 to 256
            {"model":"a\u000ax-api-key: b"}
              `model` holds a control character: send the plain name
            {"max_tokens":5}
              `model` is missing: name it in the body
            {"model":"a","stream":"yes"}
              `stream` is a string: send true or false
            {"model":"a","messages":"a secret"}
              `messages` is a string: send a list of messages
            {"model":"a","thinking":{"budget_tokens":1,"budget_tokens":9}}
              `thinking.budget_tokens` is there more than once: send it once
        "#]],
    );
}

#[test]
fn what_chat_limits_depend_on_is_refused_where_it_is_unclear() {
    check_refused(
        OpenAiChat,
        r#"
        {"model":"a","n":129}
        {"model":"a","max_tokens":5,"max_completion_tokens":6}
        {"model":"a","stream_options":{"include_usage":true,"include_usage":false}}
        {"model":"a","stream_options":7}
        "#,
        expect![[r#"
            {"model":"a","n":129}
              `n` is 129: send a whole number from 1 to 128
            {"model":"a","max_tokens":5,"max_completion_tokens":6}
              `max_tokens` and `max_completion_tokens` are both set: send only `max_completion_tokens`
            {"model":"a","stream_options":{"include_usage":true,"include_usage":false}}
              `stream_options.include_usage` is there more than once: send it once
            {"model":"a","stream_options":7}
              `stream_options` is 7: send an object
        "#]],
    );
}

#[test]
fn what_is_no_json_object_is_refused_with_its_place() {
    check_refused(
        OpenAiChat,
        r#"
        [1]
        "model"
        model
        {"model":"a"} x
        {"model":"a",
        {"model":"a",}
        {"model":"a"
        {"model":"a\ud800"}
        {'model':'a'}
        "#,
        expect![[r#"
            [1]
              the body is not a JSON object: send one that has `model` and the messages
            "model"
              the body is not a JSON object: send one that has `model` and the messages
            model
              the body is not valid JSON: a value was expected at byte 0
            {"model":"a"} x
              the body is not valid JSON: the end of the text was expected at byte 14
            {"model":"a",
              the body is not valid JSON: a string was expected at byte 13
            {"model":"a",}
              the body is not valid JSON: a string was expected at byte 13
            {"model":"a"
              the body is not valid JSON: `,` or the closing bracket was expected at byte 12
            {"model":"a\ud800"}
              the body is not valid JSON: a well-formed string was expected at byte 10
            {'model':'a'}
              the body is not valid JSON: a string was expected at byte 1
        "#]],
    );
    assert!(matches!(
        scan(Anthropic, b""),
        Err(RequestError::Malformed { at: 0, .. })
    ));
}

#[test]
fn content_that_is_nested_too_deep_is_refused() {
    let mut block = json!({"type": "text", "text": "x"});
    for _ in 0..20 {
        block = json!({"type": "tool_result", "content": [block]});
    }
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": [block]}]}).to_string();
    assert_eq!(scan(Anthropic, body.as_bytes()), Err(RequestError::TooDeep));
}

#[test]
fn only_the_named_values_change() {
    let body = r#"{ "max_tokens" : 128000,"messages":[{"role":"user","content":"\"max_tokens\" : 128000"}], "model":"a" }"#;
    let facts = scan(Anthropic, body.as_bytes()).unwrap();
    let change = |change: Rewrite<'_>| {
        rewrite(Anthropic, body.as_bytes(), &facts, &change)
            .map(|it| String::from_utf8(it).unwrap())
    };
    assert_eq!(change(Rewrite::default()), None);
    let same = Rewrite {
        output_cap: Some(128_000),
        model: Some("a"),
        include_usage: true,
    };
    assert_eq!(change(same), None);
    let both = Rewrite {
        output_cap: Some(32_000),
        model: Some("hf:x/\"y\""),
        include_usage: false,
    };
    expect![[r#"{ "max_tokens" : 32000,"messages":[{"role":"user","content":"\"max_tokens\" : 128000"}], "model":"hf:x/\"y\"" }"#]].assert_eq(&change(both).unwrap());
}

#[test]
fn what_the_body_does_not_say_is_put_in_front() {
    let ask = Rewrite {
        output_cap: Some(9),
        model: None,
        include_usage: true,
    };
    for (body, expected) in [
        (
            r#"{"model":"a","stream":true}"#,
            expect![[
                r#"{"max_completion_tokens":9,"stream_options":{"include_usage":true},"model":"a","stream":true}"#
            ]],
        ),
        (
            r#"{"stream_options":null,"model":"a","stream":true,"max_tokens":null}"#,
            expect![[
                r#"{"stream_options":{"include_usage":true},"model":"a","stream":true,"max_tokens":9}"#
            ]],
        ),
        (
            r#"{"stream_options":{ },"model":"a","stream":true,"max_tokens":9}"#,
            expect![[
                r#"{"stream_options":{"include_usage":true },"model":"a","stream":true,"max_tokens":9}"#
            ]],
        ),
        (
            r#"{"stream_options":{"x":1},"model":"a","stream":true,"max_tokens":9}"#,
            expect![[
                r#"{"stream_options":{"include_usage":true,"x":1},"model":"a","stream":true,"max_tokens":9}"#
            ]],
        ),
        (
            r#"{"stream_options":{"include_usage":false,"x":1},"model":"a","stream":true,"max_tokens":9}"#,
            expect![[
                r#"{"stream_options":{"include_usage":true,"x":1},"model":"a","stream":true,"max_tokens":9}"#
            ]],
        ),
        (
            r#"{"stream_options":{"include_usage":null},"model":"a","stream":true,"max_tokens":9}"#,
            expect![[
                r#"{"stream_options":{"include_usage":true},"model":"a","stream":true,"max_tokens":9}"#
            ]],
        ),
        (
            r#"{"model":"a","max_tokens":1}"#,
            expect![[r#"{"model":"a","max_tokens":9}"#]],
        ),
    ] {
        let facts = scan(OpenAiChat, body.as_bytes()).unwrap();
        let changed = rewrite(OpenAiChat, body.as_bytes(), &facts, &ask).unwrap();
        expected.assert_eq(&String::from_utf8(changed).unwrap());
    }
}
