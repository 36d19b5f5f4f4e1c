//! Figures that no answer can have.

use super::*;

/// One of them in a sum, and the sum is worth nothing for good.
#[test]
fn figures_that_no_answer_can_have_are_not_believed() {
    let whole = |dialect, usage: &str, text: &str| {
        let body = format!(
            r#"{{"content":[{{"type":"text","text":"{text}"}}],"choices":[{{"message":{{"content":"{text}"}}}}],"output":[{{"content":[{{"text":"{text}"}}]}}],"usage":{usage}}}"#
        );
        meter(dialect, false, body.as_bytes())
    };
    for (dialect, usage) in [
        (
            Anthropic,
            r#"{"input_tokens":10,"output_tokens":18446744073709551615}"#,
        ),
        (
            Anthropic,
            r#"{"input_tokens":10,"output_tokens":99999999999999999999}"#,
        ),
        (Anthropic, r#"{"input_tokens":1e30,"output_tokens":5}"#),
        (
            Anthropic,
            r#"{"input_tokens":10,"output_tokens":100000001}"#,
        ),
        (
            Anthropic,
            r#"{"input_tokens":1,"output_tokens":1,"cache_read_input_tokens":100000001}"#,
        ),
        (
            Anthropic,
            r#"{"input_tokens":1,"output_tokens":1,"cache_creation":{"ephemeral_1h_input_tokens":100000001}}"#,
        ),
        (
            Anthropic,
            r#"{"input_tokens":1,"output_tokens":1,"iterations":[{"type":"compaction","output_tokens":60000000},{"type":"compaction","output_tokens":60000000}]}"#,
        ),
        (
            Anthropic,
            r#"{"input_tokens":1,"output_tokens":1,"server_tool_use":{"web_search_requests":100001}}"#,
        ),
        (OpenAiChat, r#"{"prompt_tokens":1,"completion_tokens":1e9}"#),
        (
            OpenAiChat,
            r#"{"prompt_tokens":1,"completion_tokens":1,"cost":100000.01}"#,
        ),
        (
            OpenAiChat,
            r#"{"prompt_tokens":1,"completion_tokens":1,"cost":1e99}"#,
        ),
        (
            OpenAiResponses,
            r#"{"input_tokens":1000000000000,"output_tokens":1}"#,
        ),
    ] {
        let metered = whole(dialect, usage, "eight by");
        assert!(metered.usage_is_absurd && metered.complete, "{usage}");
        assert!(
            !metered.usage_is_final && !metered.input_is_known,
            "{usage}"
        );
        let by_text = Usage {
            output: Tokens(2),
            ..Usage::default()
        };
        assert_eq!(metered.usage, Some(by_text), "{usage}");
        assert_eq!(whole(dialect, usage, "").usage, None, "{usage}");
    }
    let most = r#"{"input_tokens":100000000,"output_tokens":100000000}"#;
    let metered = whole(Anthropic, most, "");
    assert!(metered.usage_is_final && !metered.usage_is_absurd);
}

#[test]
fn a_stream_s_last_figure_is_not_believed_either() {
    let whole = stream(Anthropic, "text");
    let (start, end) = whole.split_at(whole.find("event: message_delta").unwrap());
    let end = format!(
        "data: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{{\"output_tokens\":18446744073709551615}}}}\n\n{end}"
    );
    let absurd = end.split_inclusive("\n\n").next().unwrap();
    let metered = meter(Anthropic, true, format!("{start}{absurd}").as_bytes());
    assert!(metered.usage_is_absurd && !metered.usage_is_final);
    assert_eq!(metered.usage.unwrap().input, Tokens(0));
    // What comes later replaces what came before.
    let metered = meter(Anthropic, true, format!("{start}{end}").as_bytes());
    assert!(metered.usage_is_final && !metered.usage_is_absurd);
}
