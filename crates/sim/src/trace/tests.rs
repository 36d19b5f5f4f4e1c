use std::{fmt::Write as _, io::Write as _};

use expect_test::{Expect, expect};

use super::*;
use crate::limits::TRACE_LINE_BYTES_MAX;

mod formats;
mod transcripts;

const HEADER: &str = "trace,agent,seq,t_s,kind,model,input_tokens,output_tokens,cached_tokens,cache_age_s,ttft_s,api_s,think_s,stop,input_types,output_types\n";

fn rows_of(text: &str) -> Rows {
    read(
        Path::new("fixture.csv"),
        std::io::Cursor::new(format!("{HEADER}{text}")),
    )
}

/// Reads rows and shows the sessions, or the error that ended them.
#[track_caller]
fn check(text: &str, expected: Expect) {
    let mut seen = String::new();
    for session in sessions(rows_of(text)) {
        match session {
            Ok(it) => writeln!(
                seen,
                "{}: {} calls, fork of {:?}",
                it.trace,
                it.rows.len(),
                it.fork_of
            ),
            Err(error) => writeln!(seen, "{error}"),
        }
        .unwrap();
    }
    expected.assert_eq(&seen);
}

fn session(name: &str, calls: u64, last: u64) -> String {
    let call = |seq: u64| {
        let output = if seq + 1 == calls { last } else { 7 };
        format!(
            "{name},main,{seq},{seq}.5,n,claude-opus-4-6,{},{output},0,,,1.5,0.0,tool_use,text,text\n",
            100 + seq
        )
    };
    (0..calls).map(call).collect()
}

#[test]
fn sessions_with_the_same_first_eight_calls_are_forks_and_shorter_ones_are_not() {
    let text = [
        session("a", 9, 1),
        session("b", 9, 2),
        session("c", 8, 3),
        session("d", 3, 7),
        session("e", 3, 7),
    ];
    check(
        &text.concat(),
        expect![[r#"
            a: 9 calls, fork of None
            b: 9 calls, fork of Some("a")
            c: 8 calls, fork of None
            d: 3 calls, fork of None
            e: 3 calls, fork of None
        "#]],
    );
}

#[test]
fn an_error_names_file_and_line_and_ends_the_reading() {
    let good = session("a", 1, 7);
    let bad = |row: &str| format!("{good}{row}\n{good}");
    check(
        &bad("a,main,1,x,n,m,1,1,0,,,,0,,,"),
        expect![[r#"
        trace fixture.csv, line 3: `t_s` is `x`: write seconds, 0 or more
    "#]],
    );
    check(
        &bad("a,main,1,1,n,m,1,1,2,,,,0,,,"),
        expect![[r#"
        trace fixture.csv, line 3: `cached_tokens` is `2`: it is part of `input_tokens`, which is 1: write no more than that
    "#]],
    );
    check(
        &bad("a,main,1,-1,n,m,1,1,0,,,,0,,,"),
        expect![[r#"
        trace fixture.csv, line 3: `t_s` is `-1`: write seconds, 0 or more
    "#]],
    );
    check(
        &bad("a,main,1,1,q,m,1,1,0,,,,0,,,"),
        expect![[r#"
        trace fixture.csv, line 3: `kind` is `q`: write `s` where the answer was streamed, else `n`
    "#]],
    );
    check(
        &bad("a,main,1,1,n,m,12.5,1,0,,,,0,,,"),
        expect![[r#"
        trace fixture.csv, line 3: `input_tokens` is `12.5`: write a whole number of tokens, 1000000000 at most
    "#]],
    );
    check(
        &bad("a,main"),
        expect![[r#"
        trace fixture.csv, line 3: it has 2 fields: the first line names 16 columns
    "#]],
    );
}

#[test]
fn an_endless_line_is_refused_before_it_is_held() {
    struct Endless;
    impl std::io::Read for Endless {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(b'a');
            Ok(buffer.len())
        }
    }
    let first = read(Path::new("endless"), Endless).next();
    let error = first.unwrap().unwrap_err().to_string();
    assert!(error.contains(&TRACE_LINE_BYTES_MAX.to_string()), "{error}");
}

#[test]
fn gzipped_and_plain_files_read_alike_and_a_missing_one_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let text = format!("{HEADER}{}", session("a", 3, 7));
    let plain = directory.path().join("rows.csv");
    std::fs::write(&plain, &text).unwrap();
    let gzipped = directory.path().join("rows.csv.gz");
    let file = std::fs::File::create(&gzipped).unwrap();
    let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
    let rows = |path: &Path| load(path).collect::<Result<Vec<Row>, _>>().unwrap();
    assert_eq!(rows(&plain), rows(&gzipped));
    assert_eq!(rows(&plain).len(), 3);
    assert_eq!(rows(&plain)[2].line, 4);
    let missing = load(&directory.path().join("none.csv")).next().unwrap();
    let error = missing.unwrap_err().to_string();
    assert!(error.contains("none.csv"), "{error}");
}

fn call(seq: u32, input: u64, output: u64) -> Row {
    let mut row = rows_of(&session("a", 1, output)).next().unwrap().unwrap();
    row.seq = seq;
    row.input = Tokens(input);
    row.output = Tokens(output);
    if seq > 0 {
        row.input_types = "tool_result".into();
    }
    row
}

#[test]
fn a_body_has_the_bytes_of_its_row_and_begins_with_the_one_before() {
    let mut conversation = Conversation::new("a", 36, Duration::from_mins(5));
    let first = conversation.request(&call(0, 20_000, 300)).body;
    let second = conversation.request(&call(1, 21_000, 50)).body;
    let third = conversation.request(&call(2, 21_100, 50)).body;
    assert_eq!(first.len(), 72_000);
    assert_eq!(second.len(), 75_600);
    assert_eq!(third.len(), 75_960);
    let parse = |body: &[u8]| serde_json::from_slice::<serde_json::Value>(body).unwrap();
    let messages = parse(&third)["messages"].as_array().unwrap().clone();
    assert_eq!(messages.len(), 5);
    assert_eq!(messages[4]["content"][0]["type"], "tool_result");
    assert_eq!(
        messages[4]["content"][0]["cache_control"]["type"],
        "ephemeral"
    );
    assert_eq!(messages[1], parse(&second)["messages"][1]);
}

#[test]
fn a_conversation_that_shrinks_starts_anew_and_a_tiny_one_is_its_envelope() {
    let mut conversation = Conversation::new("a", 36, Duration::from_mins(5));
    conversation.request(&call(0, 20_000, 300));
    let shrunk = conversation.request(&call(1, 5_000, 50)).body;
    assert_eq!(shrunk.len(), 18_000);
    let tiny = Conversation::new("b", 36, Duration::ZERO)
        .request(&call(0, 3, 1))
        .body;
    assert!(serde_json::from_slice::<serde_json::Value>(&tiny).is_ok());
}

#[test]
fn what_was_touched_too_long_ago_is_written_again() {
    let mut row = call(1, 1_000, 5);
    row.cached = Tokens(640);
    row.cache_age = Some(Duration::from_secs(301));
    let cold = row.usage(Duration::from_mins(5));
    assert_eq!(
        (cold.cache_read, cold.cache_write_5m),
        (Tokens(0), Tokens(1_000))
    );
    row.cache_age = Some(Duration::from_mins(5));
    let warm = row.usage(Duration::from_mins(5));
    assert_eq!(
        (warm.cache_read, warm.cache_write_5m),
        (Tokens(640), Tokens(360))
    );
}

#[test]
fn the_recorded_sessions_are_read_whole() {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let beside = Path::new(&root).join("../../../shared/data/traces/claude_code_requests.csv.gz");
    let named = std::env::var_os("TIDEGATE_TRACES").map(PathBuf::from);
    let path = named.map_or(beside, |it| it.join("claude_code_requests.csv.gz"));
    if !path.exists() {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: {} is not here", path.display());
        }
        return;
    }
    let all: Vec<Session> = sessions(load(&path)).collect::<Result<_, _>>().unwrap();
    let calls: usize = all.iter().map(|it| it.rows.len()).sum();
    assert_eq!((all.len(), calls), (419, 28_075));
    let mut conversation = Conversation::new("0001", 36, Duration::from_mins(5));
    for row in &all[0].rows {
        let body = conversation.request(row).body.len() as u64;
        assert_eq!(body, row.input.0 * 36 / 10, "line {}", row.line);
    }
}
