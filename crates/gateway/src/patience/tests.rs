use std::fmt::Write as _;

use expect_test::{Expect, expect};
use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// Lines of `claude|sdk [stream] [max N] [in N] [first N] [whole N] [HEADER=VALUE]…`.
#[track_caller]
fn check(patience: &Patience, script: &str, expected: Expect) {
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let seconds = |name: &str| {
            let at = words.iter().position(|it| *it == name)?;
            Some(Duration::from_secs(words[at + 1].parse().unwrap()))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in words.iter().filter_map(|it| it.split_once('=')) {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.insert(name, HeaderValue::from_str(value).unwrap());
        }
        let stay = patience.stay(&Waiter {
            headers: &headers,
            claude_code: words[0] == "claude",
            stream: words.contains(&"stream"),
            max_wait: seconds("max"),
            in_time: seconds("in"),
            durations: Durations {
                first_byte: seconds("first"),
                whole: seconds("whole"),
            },
        });
        let opened = stay.opened.map(|(at, until)| {
            format!(
                ", opened after {} until {}",
                at.as_secs_f64(),
                until.as_secs_f64()
            )
        });
        let silent = stay.silent.as_secs_f64();
        writeln!(
            told,
            "{line:<58} -> silent {silent}{}",
            opened.unwrap_or_default()
        )
        .unwrap();
    }
    expected.assert_eq(&told);
}

#[test]
fn patience_is_what_the_client_says_less_what_the_answer_takes() {
    check(
        &Patience::default(),
        "
        sdk
        sdk x-stainless-timeout=600
        sdk x-stainless-timeout=90000
        sdk x-stainless-read-timeout=10.0
        sdk x-stainless-timeout=-4
        sdk x-stainless-timeout=NOT_GIVEN
        sdk whole 20
        sdk whole 900
        sdk max 5
        sdk max 5 in 3
        ",
        expect![[r#"
            sdk                                                        -> silent 540
            sdk x-stainless-timeout=600                                -> silent 540
            sdk x-stainless-timeout=90000                              -> silent 540
            sdk x-stainless-read-timeout=10.0                          -> silent 5
            sdk x-stainless-timeout=-4                                 -> silent 540
            sdk x-stainless-timeout=NOT_GIVEN                          -> silent 540
            sdk whole 20                                               -> silent 580
            sdk whole 900                                              -> silent 300
            sdk max 5                                                  -> silent 5
            sdk max 5 in 3                                             -> silent 3
        "#]],
    );
}

#[test]
fn a_stream_is_opened_when_its_head_can_be_held_back_no_longer() {
    check(
        &Patience::default(),
        "
        claude
        claude stream
        claude stream x-stainless-timeout=600
        claude stream x-stainless-timeout=600 first 40 whole 120
        claude stream x-stainless-timeout=600 first 4 whole 500
        claude stream first 1000
        claude x-stainless-timeout=300
        claude stream max 100
        claude stream in 300
        sdk stream
        sdk stream x-stainless-timeout=100
        ",
        expect![[r#"
            claude                                                     -> silent 230
            claude stream                                              -> silent 230, opened after 230 until 330
            claude stream x-stainless-timeout=600                      -> silent 230, opened after 230 until 330
            claude stream x-stainless-timeout=600 first 40 whole 120   -> silent 200, opened after 200 until 330
            claude stream x-stainless-timeout=600 first 4 whole 500    -> silent 236, opened after 236 until 300
            claude stream first 1000                                   -> silent 120, opened after 120 until 330
            claude x-stainless-timeout=300                             -> silent 230
            claude stream max 100                                      -> silent 100
            claude stream in 300                                       -> silent 230, opened after 230 until 300
            sdk stream                                                 -> silent 540, opened after 230 until 330
            sdk stream x-stainless-timeout=100                         -> silent 50
        "#]],
    );
}

#[test]
fn clients_are_held_as_was_configured_for_what_their_agents_begin_with() {
    let client = |agent: &str, timeout: Option<u64>, opens| ClientPatience {
        agent: agent.to_owned(),
        timeout: timeout.map(Duration::from_secs),
        opens,
    };
    let patience = Patience {
        clients: vec![
            client("nightly/", Some(2_000), true),
            client("nightly/2", Some(100), true),
            client("claude-cli/", None, false),
        ],
        ..Patience::default()
    };
    check(
        &patience,
        "
        sdk stream user-agent=Nightly/1 x-stainless-timeout=7
        sdk stream user-agent=nightly/2
        sdk stream user-agent=weekly/2
        claude stream user-agent=claude-cli/2.1
        ",
        expect![[r#"
            sdk stream user-agent=Nightly/1 x-stainless-timeout=7      -> silent 1940, opened after 230 until 330
            sdk stream user-agent=nightly/2                            -> silent 50
            sdk stream user-agent=weekly/2                             -> silent 540, opened after 230 until 330
            claude stream user-agent=claude-cli/2.1                    -> silent 230
        "#]],
    );
    let never = Patience {
        opened: Duration::ZERO,
        ..Patience::default()
    };
    check(
        &never,
        "claude stream",
        expect![[r#"
        claude stream                                              -> silent 230
    "#]],
    );
}

proptest! {
    /// Of a client's time the answer keeps its part, and a stream is opened only to wait for longer.
    #[test]
    fn no_client_is_held_for_longer_than_it_waits(
        timeout in 0_u64..4_000,
        silent in 0_u64..4_000,
        opened in 0_u64..4_000,
        whole in proptest::option::of(0_u64..4_000),
        (claude_code, stream) in any::<(bool, bool)>(),
    ) {
        let seconds = Duration::from_secs;
        let patience = Patience {
            silent: seconds(silent),
            opened: seconds(opened),
            timeout: seconds(timeout),
            ..Patience::default()
        };
        let stay = patience.stay(&Waiter {
            headers: &HeaderMap::new(),
            claude_code,
            stream,
            max_wait: None,
            in_time: None,
            durations: Durations { first_byte: None, whole: whole.map(seconds) },
        });
        prop_assert!(stay.longest() <= seconds(timeout));
        if let Some((at, until)) = stay.opened {
            prop_assert!(stream && at < until && until <= seconds(opened));
            prop_assert!(at <= seconds(silent));
        }
        if claude_code {
            prop_assert!(stay.silent <= seconds(silent));
        }
    }
}
