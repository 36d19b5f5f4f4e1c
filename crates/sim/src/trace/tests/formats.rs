//! Every format by a few lines of our own making, and by the public files where they are.

use std::{fmt::Write as _, time::Duration};

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::super::*;

/// What a file of this text is read as, or why it can't be.
fn said(reading: &Reading, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("trace");
    std::fs::write(&file, text).unwrap();
    let said = match reading.load(&file) {
        Ok(loaded) => shown(&loaded),
        Err(error) => format!("{}\n", tidegate_types::with_causes(&error)),
    };
    said.replace(&folder.path().display().to_string(), "")
}

fn shown(loaded: &Loaded) -> String {
    let mut out = format!("{}, {} passed over\n", loaded.format, loaded.passed_over);
    match &loaded.traffic {
        Traffic::Sessions(all) => {
            for it in all {
                writeln!(
                    out,
                    "{} of {:?}, {:?}, began {:?}, fork of {:?}",
                    it.trace,
                    it.user,
                    it.priority,
                    it.began.map(|it| it.0),
                    it.fork_of
                )
                .unwrap();
                for row in &it.rows {
                    writeln!(
                        out,
                        "  {} {} at {:?} {} in {} of it cached {} ({:?}) out {} took {:?} thought {:?} {} {}",
                        row.line,
                        row.agent,
                        row.at,
                        row.model,
                        row.input.0,
                        row.cached.0,
                        row.cache_age,
                        row.output.0,
                        row.api,
                        row.think,
                        row.input_types,
                        row.stop,
                    )
                    .unwrap();
                }
            }
        }
        Traffic::Calls(all) => {
            for it in all {
                writeln!(
                    out,
                    "at {:?} {} in {} out {} shared {:?}",
                    it.at,
                    it.model,
                    it.input.0,
                    it.output.0,
                    it.shared.map(|it| (it.with, it.tokens.0))
                )
                .unwrap();
            }
        }
        Traffic::Rates(all) => {
            for it in &all.windows {
                writeln!(
                    out,
                    "{} {} at {:?} {}/s {:?} {}",
                    it.model, it.client, it.at, it.rate, it.family, it.shape
                )
                .unwrap();
            }
        }
    }
    out
}

#[track_caller]
fn check(text: &str, expected: Expect) {
    expected.assert_eq(&said(&Reading::default(), text));
}

const AZURE: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8\r\n";

#[test]
fn azures_calls_come_one_by_one() {
    check(
        AZURE,
        expect![[r#"
        azure, 0 passed over
        at 0ns claude-opus-4-5-20251101 in 4808 out 10 shared None
        at 52ms claude-opus-4-5-20251101 in 3180 out 8 shared None
    "#]],
    );
    check(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,2162,5\n",
        expect![[r#"
            azure, 0 passed over
            at 0ns claude-opus-4-5-20251101 in 2162 out 5 shared None
        "#]],
    );
    check(
        &format!("{AZURE}2023-11-16 18:17:04.0000000,1,1\n"),
        expect![[r#"
            trace /trace, line 3: `TIMESTAMP` is `2023-11-16 18:17:04.0000000`: it is before the row above: sort the file by time
        "#]],
    );
    check(
        &format!("{AZURE}yesterday,1,1\n"),
        expect![[r#"
        trace /trace, line 3: `TIMESTAMP` is `yesterday`: write a time like 2026-07-14T12:00:00.5Z
    "#]],
    );
    check(
        &format!("{AZURE}2023-11-16 18:17:05,many,1\n"),
        expect![[r#"
        trace /trace, line 3: `ContextTokens` is `many`: write a whole number of tokens, 1000000000 at most
    "#]],
    );
    check(
        &format!("{AZURE}2023-11-16 18:17:05,1\n"),
        expect![[r#"
        trace /trace, line 3: it has 2 fields: the first line names 3 columns
    "#]],
    );
    check(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n",
        expect![[r#"
        trace /trace: it is read as `azure` and has no call that could be played (0 passed over); --format names another format
    "#]],
    );
}

#[test]
fn bursts_calls_have_models_and_those_that_failed_are_passed_over() {
    let text = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,ChatGPT,472,18,490,Conversation log\n45,ChatGPT,1087,0,1087,API log\n118,GPT-4,417,276,693,Conversation log\n";
    check(
        text,
        expect![[r#"
        burstgpt, 1 passed over
        at 0ns ChatGPT in 472 out 18 shared None
        at 113s GPT-4 in 417 out 276 shared None
    "#]],
    );
    let only = Reading {
        model: Some("GPT-4".to_owned()),
        ..Reading::default()
    };
    expect![[r#"
        burstgpt, 2 passed over
        at 113s GPT-4 in 417 out 276 shared None
    "#]]
    .assert_eq(&said(&only, text));
    let none = Reading {
        model: Some("GPT-9".to_owned()),
        ..Reading::default()
    };
    expect![[r#"
        trace /trace: it has no call of the model `GPT-9`
    "#]]
    .assert_eq(&said(&none, text));
    check(
        "Timestamp,Model,Request tokens,Response tokens\n-1,a,1,1\n",
        expect![[r#"
            trace /trace, line 2: `Timestamp` is `-1`: write seconds, 0 or more
        "#]],
    );
}

#[test]
fn mooncakes_calls_share_what_the_last_one_with_the_same_blocks_had() {
    let call = |at: u64, input: u64, ids: &str| {
        format!(
            "{{\"timestamp\": {at}, \"input_length\": {input}, \"output_length\": 6, \"hash_ids\": [{ids}]}}\n"
        )
    };
    let text = [
        call(0, 1_500, "1, 2, 3"),
        call(10, 1_600, "1, 2, 4, 5"),
        call(10, 1_400, "1, 2, 3"),
        call(12, 512, "1"),
        call(20, 700, "9, 2"),
    ];
    check(
        &text.concat(),
        expect![[r#"
        mooncake, 0 passed over
        at 0ns claude-opus-4-5-20251101 in 1500 out 6 shared None
        at 10ms claude-opus-4-5-20251101 in 1600 out 6 shared Some((0, 1024))
        at 10ms claude-opus-4-5-20251101 in 1400 out 6 shared Some((0, 1399))
        at 12ms claude-opus-4-5-20251101 in 512 out 6 shared Some((2, 511))
        at 20ms claude-opus-4-5-20251101 in 700 out 6 shared None
    "#]],
    );
    check(
        &format!("{}{}", text[1], text[0]),
        expect![[r#"
        trace /trace, line 2: `timestamp` is `0`: it is before the row above: sort the file by time
    "#]],
    );
    check(
        "{\"timestamp\": \"0\", \"input_length\": 1, \"output_length\": 6, \"hash_ids\": []}\n",
        expect![[r#"
            trace /trace, line 1: `timestamp` is `"0"`: write milliseconds since the trace began, a whole number
        "#]],
    );
    check(
        "{\"timestamp\": 0, \"input_length\": 1, \"hash_ids\": []}\n",
        expect![[r#"
            trace /trace, line 1: `output_length` is missing: write a whole number of tokens
        "#]],
    );
    check(
        "{\"timestamp\": 0, \"input_length\": 1, \"output_length\": 6, \"hash_ids\": [\"a\"]}\n",
        expect![[r#"
            trace /trace, line 1: `hash_ids` is `["a"]`: write a list of whole numbers
        "#]],
    );
    check(
        "{\"timestamp\": 0, \"input_length\": 1,\n",
        expect![[r#"
        trace /trace, line 1: it is no JSON object: EOF while parsing a value at column 35
    "#]],
    );
}

#[test]
fn rates_of_clients_are_windows() {
    let head = "model,client,t_s,rate_rps,cv,dist,p1,p2\n";
    let good = "m-large,3,1200,0.5,1.0,Gamma,0.9,2.2\nm-large,3,1800,0.25,1.0,Weibull,0.001,2.2\n";
    check(
        &format!("{head}{good}"),
        expect![[r#"
        servegen, 0 passed over
        m-large 3 at 1200s 0.5/s Gamma 0.9
        m-large 3 at 1800s 0.25/s Weibull 0.1
    "#]],
    );
    check(
        &format!("{head}{good}m-large,3,1800,0.25,1.0,Pareto,1,2.2\n"),
        expect![[r#"
            trace /trace, line 4: `dist` is `Pareto`: write `Gamma` or `Weibull`
        "#]],
    );
    check(
        &format!("{head}{good}m-large,3,1800,0.25,1.0,Gamma,1,2.2\n"),
        expect![[r#"
            trace /trace, line 4: `t_s` is `1800`: it is before the row above: sort the file by time
        "#]],
    );
    check(
        &format!("{head}{good}m-large,3,2400,0,1.0,Gamma,1,2.2\n"),
        expect![[r#"
            trace /trace, line 4: `rate_rps` is `0`: write a number above 0
        "#]],
    );
    check(
        &format!("{head}{good}m-large,x,2400,1,1.0,Gamma,1,2.2\n"),
        expect![[r#"
        trace /trace, line 4: `client` is `x`: write a whole number, 0 or more
    "#]],
    );
}

fn record(id: u32, at: u64, more: &str) -> String {
    format!(
        r#"{{"id":"call_000000000000{id:04}","at":{at},"organisation":"acme","user":"ann","class":"main","priority":"high","dialect":"anthropic_messages","model_asked":"claude-opus-5-5","model_sent":"claude-opus-5-5","stream":true,"status":200,"outcome":{{"kind":"answered"}},"usage":{{"input":20,"cache_read":3000,"cache_write_5m":980,"output":70}},"phases":{{"wait":500000,"first_byte":1000000,"stream":2000000}}{more}}}"#
    )
}

#[test]
fn our_own_export_becomes_sessions_and_what_nobody_answered_is_passed_over() {
    let second = 1_000_000_000;
    let lines = [
        record(1, 100 * second, r#","session":"s""#),
        record(2, 110 * second, r#","session":"s""#).replace("\"high\"", "\"low\""),
        record(3, 105 * second, ""),
        record(4, 120 * second, r#","session":"s""#).replace("\"answered\"", "\"refused\""),
        record(5, 900 * second, r#","session":"s""#)
            .replace("3000", "0")
            .replace("980", "5000"),
        record(6, 901 * second, r#","session":"s","parent":"a-1""#)
            .replace("\"main\"", "\"subagent\""),
    ];
    let export = lines.iter().map(|it| {
        format!("{{\"time\":\"2026-11-21T10:00:00Z\",\"level\":\"INFO\",\"event\":\"call_settled\",\"attributes\":{it}}}\n")
    });
    let other = "{\"time\":\"2026-11-21T10:00:00Z\",\"event\":\"started\",\"attributes\":{\"listen\":\"x\"}}\n";
    let export: String = export.chain([other.to_owned()]).collect();
    check(
        &export,
        expect![[r#"
        tidegate, 1 passed over
        s of Some("ann"), Some(High), began Some(100000000000), fork of None
          1 main at 0ns claude-opus-5-5 in 4000 of it cached 3000 (None) out 70 took Some(3s) thought 0ns text 
          2 main at 10s claude-opus-5-5 in 4000 of it cached 3000 (Some(10s)) out 70 took Some(3s) thought 6.5s text 
          5 main at 800s claude-opus-5-5 in 5020 of it cached 4000 (Some(790s)) out 70 took Some(3s) thought 786.5s text 
          6 s1 at 801s claude-opus-5-5 in 4000 of it cached 3000 (Some(1s)) out 70 took Some(3s) thought 0ns text 
        call_0000000000000003 of Some("ann"), Some(High), began Some(105000000000), fork of None
          3 main at 0ns claude-opus-5-5 in 4000 of it cached 3000 (None) out 70 took Some(3s) thought 0ns text 
    "#]],
    );
    let plain = lines.join("\n");
    assert_eq!(
        said(&Reading::default(), &plain),
        said(&Reading::default(), &export)
    );
    let pretty: Vec<serde_json::Value> = lines
        .iter()
        .map(|it| serde_json::from_str(it).unwrap())
        .collect();
    let document = serde_json::json!({"calls": pretty, "next": null});
    let document = serde_json::to_string_pretty(&document).unwrap();
    check(
        &document,
        expect![[r#"
        tidegate, 1 passed over
        s of Some("ann"), Some(High), began Some(100000000000), fork of None
          3 main at 0ns claude-opus-5-5 in 4000 of it cached 3000 (None) out 70 took Some(3s) thought 0ns text 
          31 main at 10s claude-opus-5-5 in 4000 of it cached 3000 (Some(10s)) out 70 took Some(3s) thought 6.5s text 
          114 main at 800s claude-opus-5-5 in 5020 of it cached 4000 (Some(790s)) out 70 took Some(3s) thought 786.5s text 
          142 s1 at 801s claude-opus-5-5 in 4000 of it cached 3000 (Some(1s)) out 70 took Some(3s) thought 0ns text 
        call_0000000000000003 of Some("ann"), Some(High), began Some(105000000000), fork of None
          59 main at 0ns claude-opus-5-5 in 4000 of it cached 3000 (None) out 70 took Some(3s) thought 0ns text 
    "#]],
    );
}

#[test]
fn a_call_of_ours_that_is_wrong_is_named_with_its_key() {
    check(
        &record(1, 5, "").replace("\"high\"", "\"urgent\""),
        expect![[r#"
            trace /trace, line 1: `priority` is `"urgent"`: write critical, high, medium or low
        "#]],
    );
    check(
        &record(1, 5, "").replace("\"cache_read\":3000", "\"cache_read\":-1"),
        expect![[r#"
            trace /trace, line 1: `usage.cache_read` is `-1`: write a whole number of tokens
        "#]],
    );
    check(
        &record(1, 5, "").replace("\"at\":5", "\"at\":\"today\""),
        expect![[r#"
            trace /trace, line 1: `at` is `"today"`: write nanoseconds since 1970, a whole number
        "#]],
    );
    let record: serde_json::Value = serde_json::from_str(&record(1, 5, "")).unwrap();
    let document = serde_json::json!({"calls": [record], "next": null});
    let document = serde_json::to_string_pretty(&document).unwrap();
    let broken = document.replace("\"call_0000000000000001\"", "5");
    check(
        &broken,
        expect![[r#"
        trace /trace, line 3: `id` is `5`: write the call's id, as Tidegate exports it
    "#]],
    );
}

#[test]
fn what_no_format_begins_with_is_said_and_a_named_format_is_believed() {
    check(
        "hello,world\n1,2\n",
        expect![[r#"
        trace /trace: its beginning is of no format that is known: name one with --format, of sessions, azure, burstgpt, mooncake, servegen, tidegate, claude-code
    "#]],
    );
    check(
        "",
        expect![[r#"
        trace /trace: its beginning is of no format that is known: name one with --format, of sessions, azure, burstgpt, mooncake, servegen, tidegate, claude-code
    "#]],
    );
    let named = Reading {
        format: Some(Format::Azure),
        ..Reading::default()
    };
    expect![[r#"
        trace /trace, line 1: there is no column `TIMESTAMP`; there are hello, world
    "#]]
    .assert_eq(&said(&named, "hello,world\n1,2\n"));
    let sessions = Reading {
        model: Some("m".to_owned()),
        ..Reading::default()
    };
    let text = "trace,agent,seq,t_s,kind,model,input_tokens,output_tokens,cached_tokens,cache_age_s,ttft_s,api_s,think_s,stop,input_types,output_types\na,main,0,0,n,m,10,1,0,,,,,,,\n";
    expect![[r#"
        trace /trace: sessions are played whole, so that `m` alone can't be: leave the model out
    "#]]
    .assert_eq(&said(&sessions, text));
    for format in Format::ALL {
        assert_eq!(format.word().parse::<Format>(), Ok(*format));
    }
    assert!(
        "csv"
            .parse::<Format>()
            .unwrap_err()
            .to_string()
            .contains("sessions, azure")
    );
}

#[test]
fn no_more_is_read_than_is_wanted_of_recorded_times() {
    let text = format!("{AZURE}2023-11-16 18:27:05,7,1\nthis is never looked at\n");
    let reading = Reading {
        within: Duration::from_mins(5),
        ..Reading::default()
    };
    expect![[r#"
        azure, 0 passed over
        at 0ns claude-opus-4-5-20251101 in 4808 out 10 shared None
        at 52ms claude-opus-4-5-20251101 in 3180 out 8 shared None
    "#]]
    .assert_eq(&said(&reading, &text));
}

/// The file of this name of the public data, where it is.
fn public(name: &str) -> Option<Loaded> {
    let root = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let beside = Path::new(&root).join("../../../shared/data/traces");
    let named = std::env::var_os("TIDEGATE_TRACES").map(PathBuf::from);
    let path = named.unwrap_or(beside).join(name);
    if !path.exists() {
        #[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
        {
            eprintln!("skipped: {} is not here", path.display());
        }
        return None;
    }
    Some(Reading::default().load(&path).unwrap())
}

#[test]
fn the_public_files_are_read_whole() {
    let count = |name: &str| {
        public(name).map(|loaded| {
            let count = match &loaded.traffic {
                Traffic::Sessions(all) => all.iter().map(|it| it.rows.len()).sum(),
                Traffic::Calls(all) => all.len(),
                Traffic::Rates(all) => all.windows.len(),
            };
            (loaded.format, count)
        })
    };
    for (name, format, rows) in [
        ("claude_code_requests.csv.gz", Format::Sessions, 28_075),
        ("azure_llm_2023_code.csv.gz", Format::Azure, 8_819),
        ("mooncake_fast25_syn.jsonl.gz", Format::Mooncake, 3_993),
        ("servegen_client_rates.csv.gz", Format::ServeGen, 159_029),
    ] {
        if let Some(found) = count(name) {
            assert_eq!(found, (format, rows), "{name}");
        }
    }
}

proptest! {
    /// Whatever a file holds, it is read or refused with its name, and nothing panics.
    #[test]
    fn any_bytes_are_read_or_refused_by_name(
        format in prop::sample::select(Format::ALL),
        head in prop::sample::select(vec![
            "", AZURE, "Timestamp,Model,Request tokens,Response tokens\n",
            "model,client,t_s,rate_rps,dist,p1\n", "{\"calls\": [", "{\"type\":\"user\",",
        ]),
        rest in prop::collection::vec(prop_oneof![
            Just(b','), Just(b'\n'), Just(b'"'), Just(b'{'), Just(b'}'), Just(b'1'), any::<u8>(),
        ], 0..200),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("any");
        std::fs::write(&file, [head.as_bytes(), &rest].concat()).unwrap();
        let reading = Reading { format: Some(format), ..Reading::default() };
        if let Err(error) = reading.load(&file) {
            prop_assert!(error.to_string().contains("any"), "{error}");
        }
    }
}
