use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(text: &str, expected: Expect) {
    let shown: Vec<String> = steps(text).iter().map(shown).collect();
    expected.assert_eq(&shown.join("\n"));
}

fn shown(step: &Directives) -> String {
    let mut parts = Vec::new();
    parts.extend(step.say.as_ref().map(|it| format!("say `{it}`")));
    parts.extend(step.think.as_ref().map(|it| format!("think `{it}`")));
    parts.extend(step.tokens.map(|it| format!("{it} tokens")));
    parts.extend(
        step.tools
            .iter()
            .map(|it| format!("tool {} {}", it.name, it.input)),
    );
    parts.extend(step.fault.map(|it| format!("fault {it}")));
    if !step.sleep.is_zero() {
        parts.push(format!("sleep {:?}", step.sleep));
    }
    if !step.stream_for.is_zero() {
        parts.push(format!("stream {:?}", step.stream_for));
    }
    parts.join(", ")
}

#[test]
fn directives_are_found_anywhere_in_a_text() {
    check(
        "please sim:say hello, world\nthank you",
        expect!["say `hello, world`"],
    );
    check(
        "sim:tokens 40 sim:sleep-ms 5 sim:stream-ms 900 sim:fault 529*2",
        expect!["40 tokens, fault 529*2, sleep 5ms, stream 900ms"],
    );
    check("<session>sim:tokens 40</session>", expect!["40 tokens"]);
}

#[test]
fn a_tool_takes_one_json_object_and_what_is_inside_it_is_not_read() {
    check(
        r#"sim:tool Agent {"description":"d","prompt":"sim:say hi","subagent_type":"general-purpose"} sim:tool Bash {"command":"ls"}"#,
        expect![[
            r#"tool Agent {"description":"d","prompt":"sim:say hi","subagent_type":"general-purpose"}, tool Bash {"command":"ls"}"#
        ]],
    );
}

#[test]
fn steps_are_cut_by_next() {
    check(
        "sim:tool A {} sim:next sim:tool B {} sim:next sim:say done",
        expect![[r#"
            tool A {}
            tool B {}
            say `done`"#]],
    );
}

#[test]
fn what_only_resembles_a_directive_is_text() {
    for text in [
        "sim: hello",
        "sim:tokens many",
        "sim:tool A [1]",
        "sim:tool A {",
        "sim:fault 418",
        "simple",
        "",
    ] {
        assert_eq!(steps(text), Vec::new(), "{text}");
    }
}

#[test]
fn absurd_numbers_are_brought_within_bounds() {
    let step = &steps("sim:tokens 999999999999 sim:sleep-ms 999999999999")[0];
    assert_eq!(step.tokens, Some(limits::ANSWER_TOKENS_MAX));
    assert_eq!(step.sleep, limits::WAIT_MAX);
}

#[test]
fn a_scripted_usage_that_is_wrong_names_the_part() {
    for (text, part) in [
        ("input=1,outptu=2", "outptu=2"),
        ("input", "input"),
        ("input=-1", "input=-1"),
        ("input=2000000000", "input=2000000000"),
    ] {
        let error = parse_usage(text).unwrap_err().to_string();
        assert!(error.contains(&format!("`{part}`")), "{error}");
    }
}

proptest! {
    #[test]
    fn no_text_breaks_the_reader(text in "(sim:|tool |say |\\{|\\}|\"|A|é|\n| |next|tokens|9|fault |529)*") {
        prop_assert!(steps(&text).len() <= text.len() + 1);
    }

    #[test]
    fn a_usage_reads_as_it_is_written(counts in proptest::array::uniform6(0_u64..1_000_000_000)) {
        let [input, read, short, long, output, reasoning] = counts.map(Tokens);
        let usage = Usage {
            input,
            cache_read: read,
            cache_write_5m: short,
            cache_write_1h: long,
            output,
            reasoning,
            ..Usage::default()
        };
        prop_assert_eq!(parse_usage(&format_usage(&usage)), Ok(usage));
    }
}

/// What users are told.
const DOCUMENT: &str = include_str!("../../../../docs/emulated-provider.md");

#[track_caller]
fn is_told(what: &str) {
    assert!(
        DOCUMENT.contains(what),
        "docs/emulated-provider.md has no {what}"
    );
}

#[test]
fn each_directive_header_and_fault_is_in_the_document() {
    for word in WORDS {
        is_told(&format!("| `sim:{word}"));
        let argument = match word {
            "tool" => "Read {}",
            "fault" => "529",
            _ => "1",
        };
        assert!(
            !steps(&format!("sim:{word} {argument}")).is_empty(),
            "{word}"
        );
    }
    for kind in crate::FaultKind::ALL {
        is_told(&format!("`{}`", kind.word()));
    }
    for header in ["x-sim", "x-sim-fault", "x-sim-usage"] {
        is_told(&format!("| `{header}` |"));
    }
    is_told(&format_usage(&Usage::default()).replace("=0", "=N"));
}

#[test]
fn each_field_of_a_spec_is_in_the_document() {
    let spec = crate::ProviderSpec {
        driven_from: Some(1),
        spend_cap: Some(crate::spec::SpendCapSpec::default()),
        fixed: Some(crate::spec::FixedSpec::default()),
        episodes: vec![
            serde_json::from_str(r#"{"after_ms": 1, "lasts_ms": 1}"#).expect("an episode"),
        ],
        faults: vec![serde_json::from_str(r#"{"fault": "529", "per_mille": 1}"#).expect("a share")],
        ..crate::ProviderSpec::default()
    };
    let spec = serde_json::to_value(spec).expect("JSON");
    for (field, value) in spec.as_object().expect("an object") {
        is_told(&format!("| `{field}` |"));
        for name in names_in(value) {
            is_told(&format!("`{name}`"));
        }
    }
}

/// The names of all fields in a value.
fn names_in(value: &serde_json::Value) -> Vec<String> {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let inner = fields.values().flat_map(names_in);
            fields.keys().cloned().chain(inner).collect()
        }
        Value::Array(values) => values.iter().flat_map(names_in).collect(),
        _ => Vec::new(),
    }
}
