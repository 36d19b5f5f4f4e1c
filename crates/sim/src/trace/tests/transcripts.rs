//! Claude Code's transcripts: what a folder of them says once, however often it is written.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

use super::super::*;

/// A transcript's lines, in the words of this test.
#[derive(Default)]
struct Transcript {
    text: String,
    session: String,
}

impl Transcript {
    fn of(session: &str) -> Self {
        Self {
            session: session.to_owned(),
            ..Self::default()
        }
    }

    fn line(mut self, kind: &str, second: u32, more: &str) -> Self {
        writeln!(
            self.text,
            r#"{{"type":"{kind}","sessionId":"{}","timestamp":"2026-07-14T12:{:02}:{:02}.000Z",{more}}}"#,
            self.session,
            second / 60,
            second % 60
        )
        .unwrap();
        self
    }

    fn prompt(self, second: u32) -> Self {
        self.line(
            "user",
            second,
            r#""message":{"role":"user","content":"please"}"#,
        )
    }

    fn result(self, second: u32) -> Self {
        let more = r#""message":{"role":"user","content":[{"tool_use_id":"t","type":"tool_result","content":"a"}]}"#;
        self.line("user", second, more)
    }

    fn answer(self, second: u32, id: u32, tokens: (u64, u64, u64), more: &str) -> Self {
        let (plain, read, output) = tokens;
        let message = format!(
            r#""requestId":"req_{id}",{more}"message":{{"id":"msg_{id}","model":"claude-opus-5-5","stop_reason":"tool_use","content":[],"usage":{{"input_tokens":{plain},"cache_read_input_tokens":{read},"cache_creation_input_tokens":100,"output_tokens":{output}}}}}"#
        );
        self.line("assistant", second, &message)
    }
}

/// What a folder with these files is read as.
#[track_caller]
fn check(files: &[(&str, &Transcript)], expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    for (name, transcript) in files {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &transcript.text).unwrap();
    }
    let mut out = String::new();
    match Reading::default().load(folder.path()) {
        Ok(loaded) => {
            writeln!(out, "{}, {} passed over", loaded.format, loaded.passed_over).unwrap();
            let Traffic::Sessions(all) = loaded.traffic else {
                panic!("no sessions");
            };
            for row in all.iter().flat_map(|it| &it.rows) {
                writeln!(
                    out,
                    "{} {} at {:?}: in {}, cached {} ({:?}), out {}, took {:?}, thought {:?}, {}",
                    row.trace,
                    row.agent,
                    row.at,
                    row.input.0,
                    row.cached.0,
                    row.cache_age,
                    row.output.0,
                    row.api,
                    row.think,
                    row.input_types,
                )
                .unwrap();
            }
        }
        Err(error) => writeln!(out, "{}", tidegate_types::with_causes(&error)).unwrap(),
    }
    expected.assert_eq(&out.replace(&folder.path().display().to_string(), ""));
}

fn original() -> Transcript {
    Transcript::of("one")
        .line("summary", 0, r#""summary":"a day","leafUuid":"x""#)
        .prompt(0)
        .answer(4, 1, (10, 0, 5), "")
        // The same answer's second block, with the counts of its end.
        .answer(6, 1, (10, 0, 50), "")
        .result(9)
        .answer(12, 2, (20, 110, 60), "")
        .prompt(1_000)
        .answer(1_010, 3, (400, 0, 70), "")
}

#[test]
fn an_answer_with_several_blocks_is_counted_once_and_takes_from_prompt_to_last_block() {
    check(
        &[("p/one.jsonl", &original())],
        expect![[r#"
        claude-code, 0 passed over
        one main at 0ns: in 110, cached 0 (None), out 50, took Some(6s), thought 0ns, text
        one main at 9s: in 230, cached 110 (Some(9s)), out 60, took Some(3s), thought 3s, tool_result
        one main at 1000s: in 500, cached 230 (Some(991s)), out 70, took Some(10s), thought 988s, text
    "#]],
    );
}

#[test]
fn what_a_resumed_session_repeats_is_counted_where_it_was_first() {
    let mut resumed = original();
    resumed.text = resumed.text.replace("\"one\"", "\"a-later-one\"");
    resumed.session = "a-later-one".to_owned();
    let resumed = resumed.prompt(1_100).answer(1_105, 4, (10, 500, 80), "");
    check(
        &[
            ("p/a-later-one.jsonl", &resumed),
            ("p/one.jsonl", &original()),
        ],
        expect![[r#"
            claude-code, 3 passed over
            one main at 0ns: in 110, cached 0 (None), out 50, took Some(6s), thought 0ns, text
            one main at 9s: in 230, cached 110 (Some(9s)), out 60, took Some(3s), thought 3s, tool_result
            one main at 1000s: in 500, cached 230 (Some(991s)), out 70, took Some(10s), thought 988s, text
            a-later-one main at 0ns: in 610, cached 500 (None), out 80, took Some(5s), thought 0ns, text
        "#]],
    );
}

#[test]
fn a_subagents_lines_are_its_own_and_its_copy_of_the_main_conversation_is_dropped() {
    let main = original();
    let side = |id: &str| format!(r#""isSidechain":true,"agentId":"{id}","#);
    let (one, two) = (side("a1"), side("b2"));
    let agents = Transcript::of("one")
        .line(
            "user",
            5,
            &format!(r#"{one}"message":{{"content":"look"}}"#),
        )
        .answer(8, 10, (30, 0, 7), &one)
        .answer(9, 1, (10, 0, 50), &one)
        .line(
            "user",
            7,
            &format!(r#"{two}"message":{{"content":"look"}}"#),
        )
        .answer(11, 11, (40, 0, 8), &two);
    check(
        &[
            ("p/one.jsonl", &main),
            ("p/one/subagents/agent-a1.jsonl", &agents),
        ],
        expect![[r#"
            claude-code, 1 passed over
            one main at 0ns: in 110, cached 0 (None), out 50, took Some(6s), thought 0ns, text
            one s1 at 5s: in 130, cached 0 (Some(5s)), out 7, took Some(3s), thought 0ns, text
            one s2 at 7s: in 140, cached 0 (Some(2s)), out 8, took Some(4s), thought 0ns, text
            one main at 9s: in 230, cached 110 (Some(9s)), out 60, took Some(3s), thought 0ns, tool_result
            one main at 1000s: in 500, cached 230 (Some(991s)), out 70, took Some(10s), thought 988s, text
        "#]],
    );
}

#[test]
fn what_no_provider_answered_and_a_last_line_without_an_end_are_passed_over() {
    let mut cut = Transcript::of("one")
        .prompt(0)
        .answer(4, 1, (10, 0, 5), "")
        .answer(5, 2, (10, 0, 5), r#""isApiErrorMessage":true,"#)
        .line(
            "assistant",
            6,
            r#""message":{"id":"m","model":"<synthetic>","usage":{}}"#,
        );
    cut.text.push_str(r#"{"type":"assist"#);
    check(
        &[("one.jsonl", &cut)],
        expect![[r#"
        claude-code, 2 passed over
        one main at 0ns: in 110, cached 0 (None), out 5, took Some(4s), thought 0ns, text
    "#]],
    );
}

#[test]
fn a_line_that_is_wrong_is_named_with_its_key() {
    let good = || Transcript::of("one").prompt(0);
    let broken = |text: &str| {
        let mut transcript = good();
        transcript.text.push_str(text);
        transcript.text.push('\n');
        transcript
    };
    check(
        &[("one.jsonl", &broken("{nothing"))],
        expect![[r#"
        trace /one.jsonl, line 2: it is no line of a transcript: key must be a string at column 2
    "#]],
    );
    let no_id = r#"{"type":"assistant","timestamp":"2026-07-14T12:00:00Z","message":{"model":"m","usage":{"input_tokens":1,"output_tokens":1}}}"#;
    check(
        &[("one.jsonl", &broken(no_id))],
        expect![[r#"
        trace /one.jsonl, line 2: `message.id` is missing: an answer without one can't be told from its copies; leave the line out
    "#]],
    );
    let negative = no_id
        .replace("\"model\"", "\"id\":\"x\",\"model\"")
        .replace(":1,", ":-1,");
    check(
        &[("one.jsonl", &broken(&negative))],
        expect![[r#"
        trace /one.jsonl, line 2: `message.usage.input_tokens` is `-1`: write a whole number of tokens
    "#]],
    );
    let no_time = r#"{"type":"user","message":{"content":"a"}}"#;
    check(
        &[("one.jsonl", &broken(no_time))],
        expect![[r#"
        trace /one.jsonl, line 2: `timestamp` is `null`: write a time like 2026-07-14T12:00:00.5Z
    "#]],
    );
    check(
        &[("notes.txt", &good())],
        expect![[r#"
        trace : it is read as `claude-code` and has no call that could be played (0 passed over); --format names another format
    "#]],
    );
}
