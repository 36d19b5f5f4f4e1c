use super::*;

fn ask(dialect: Dialect, body: &str) -> Result<Ask, Malformed> {
    Ask::parse(dialect, body.as_bytes(), false)
}

/// What is said to a Messages conversation of these (role, content) pairs.
#[track_caller]
fn said(turns: &[(&str, &str)]) -> Option<String> {
    let turn =
        |(role, content): &(&str, &str)| format!(r#"{{"role":"{role}","content":{content}}}"#);
    let turns: Vec<String> = turns.iter().map(turn).collect();
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{}]}}"#,
        turns.join(",")
    );
    ask(Dialect::Messages, &body).unwrap().directives.say
}

const RESULT: (&str, &str) = (
    "user",
    r#"[{"type":"tool_result","tool_use_id":"t","content":"sim:say no"}]"#,
);
const CALLED: (&str, &str) = ("assistant", r#""called""#);

#[test]
fn the_newest_text_with_directives_counts() {
    let old = ("user", r#""sim:say old""#);
    let new = (
        "user",
        r#"[{"type":"text","text":"sim:say new"},{"type":"text","text":"<reminder/>"}]"#,
    );
    assert_eq!(said(&[old, CALLED, new]).as_deref(), Some("new"));
    assert_eq!(said(&[old]).as_deref(), Some("old"));
    assert_eq!(
        said(&[old, ("system", r#""sim:say system""#)]).as_deref(),
        Some("old")
    );
}

#[test]
fn each_turn_of_the_assistant_is_one_step_and_after_the_last_there_is_none() {
    let steps = ("user", r#""sim:say one sim:next\nsim:next sim:say three""#);
    let steps = (steps.0, r#""sim:tool A {} sim:next sim:say two""#);
    assert_eq!(said(&[steps]), None);
    assert_eq!(said(&[steps, CALLED, RESULT]).as_deref(), Some("two"));
    assert_eq!(said(&[steps, CALLED, RESULT, CALLED, RESULT]), None);
    assert_eq!(
        said(&[steps, CALLED, CALLED, RESULT]).as_deref(),
        Some("two")
    );
}

#[test]
fn responses_and_chat_read_directives_and_tools_too() {
    let body = r#"{"model":"m","max_output_tokens":5,"input":[{"role":"user","content":[{"type":"input_text","text":"sim:tool a {} sim:next sim:say b"}]},{"type":"function_call","call_id":"c","name":"a","arguments":"{}"},{"type":"function_call_output","call_id":"c","output":"x"}],"tools":[{"type":"function","name":"a"}]}"#;
    let responses = ask(Dialect::Responses, body).unwrap();
    assert_eq!(responses.directives.say.as_deref(), Some("b"));
    assert_eq!(
        (responses.max_tokens, responses.offered("a")),
        (Some(5), Some("a"))
    );
    let body = r#"{"model":"m","max_completion_tokens":6,"max_tokens":7,"messages":[{"role":"user","content":"sim:say c"}],"tools":[{"type":"function","function":{"name":"a"}}]}"#;
    let chat = ask(Dialect::Chat, body).unwrap();
    assert_eq!(chat.directives.say.as_deref(), Some("c"));
    assert_eq!((chat.max_tokens, chat.offered("a")), (Some(6), Some("a")));
}

#[test]
fn the_tool_that_starts_subagents_has_two_names() {
    let body = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"}],"tools":[{"name":"Task"}]}"#;
    let ask = ask(Dialect::Messages, body).unwrap();
    assert_eq!(ask.offered("Agent"), Some("Task"));
    assert_eq!(ask.offered("Bash"), None);
}

#[test]
fn a_breakpoint_that_moves_on_leaves_the_prefix_as_it_was() {
    let first = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":[{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}]}"#;
    let second = r#"{"model":"m","max_tokens":5,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"y"}],"cache_control":{"type":"ephemeral","ttl":"1h"}}"#;
    let first = ask(Dialect::Messages, first).unwrap().blocks;
    let second = ask(Dialect::Messages, second).unwrap().blocks;
    assert_eq!(
        (first[0].chain, first[0].end),
        (second[0].chain, second[0].end)
    );
    assert_eq!(first[0].breakpoint, Some(Life::Short));
    assert_eq!(second[1].breakpoint, Some(Life::Long));
}

#[test]
fn bad_bodies_are_refused_in_words() {
    for (dialect, body, words) in [
        (Dialect::Messages, "", "not valid JSON"),
        (Dialect::Messages, "[]", "not valid JSON"),
        (Dialect::Messages, "{}", "model: Field required"),
        (
            Dialect::Messages,
            r#"{"model":"m"}"#,
            "max_tokens: Field required",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":1}"#,
            "messages: Field required",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":0,"messages":[]}"#,
            "at least 1",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":1,"messages":[]}"#,
            "at least one message",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":-1,"messages":[]}"#,
            "not valid JSON",
        ),
        (
            Dialect::Messages,
            r#"{"model":7,"max_tokens":1,"messages":[]}"#,
            "not valid JSON",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"wizard","content":"x"}]}"#,
            "messages.role",
        ),
        (
            Dialect::Messages,
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}"#,
            "messages.content",
        ),
        (
            Dialect::Chat,
            r#"{"model":"m"}"#,
            "messages: Field required",
        ),
        (
            Dialect::Responses,
            r#"{"model":"m"}"#,
            "input: Field required",
        ),
        (
            Dialect::Responses,
            r#"{"model":"m","input":7}"#,
            "not valid JSON",
        ),
    ] {
        let error = ask(dialect, body).unwrap_err().0;
        assert!(error.contains(words), "{body}: {error}");
    }
}
