use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_types::Timestamp;

use super::*;
use crate::telemetry::{Findable, logs, spans};

/// What each filter says of a few logs: the bodies of those that match, or what is wrong with it.
fn check(filter: &str, expected: Expect) {
    let mut batch = Batch::new(Kind::Logs);
    let mut add = |level: &str, service: &str, body: &str, attributes: &str| {
        batch
            .row(Timestamp::from_seconds(1_784_023_200))
            .text(logs::LEVEL, level)
            .text(logs::SERVICE, service)
            .text(logs::BODY, body)
            .text(logs::ATTRIBUTES, attributes);
    };
    add(
        "ERROR",
        "api",
        "1: Connection refused by 10.0.0.1",
        r#"{"http.status":502,"retry":true}"#,
    );
    add(
        "INFO",
        "api",
        "2: connection was made",
        r#"{"http":{"status":200},"tags":["new","vip"]}"#,
    );
    add(
        "WARNING",
        "worker",
        "3: refused: \"not\" or never",
        r#"{"http.status":"404"}"#,
    );
    add("", "", "4: no level", "");
    let said = match Filter::parse(Kind::Logs, filter) {
        Ok(filter) => {
            let bits = Findable::group(&batch);
            let rows = (0..batch.rows()).filter(|it| filter.matches(&batch, *it));
            let marked = filter.matching(&batch);
            assert!(
                (0..batch.rows()).all(|it| filter.matches(&batch, it) == marked[it]),
                "{filter:?} matches other rows at once: {marked:?}"
            );
            let bodies: Vec<&str> = rows.filter_map(|it| batch.text(logs::BODY, it)).collect();
            let may = filter.may_match(&mut |it| bits.pages(it, 1));
            assert!(
                !may.is_none() || bodies.is_empty(),
                "{filter:?} is not found by its words"
            );
            bodies
                .iter()
                .map(|it| &it[..1])
                .collect::<Vec<_>>()
                .join(" ")
        }
        Err(error) => error.pointed(),
    };
    expected.assert_eq(&said);
}

#[test]
fn words_and_phrases_are_looked_for_in_all_texts() {
    check("", expect!["1 2 3 4"]);
    check("CONNECTION", expect!["1 2"]);
    check("connection refused", expect!["1"]);
    check("\"refused connection\"", expect![""]);
    check("\"connection refused\"", expect!["1"]);
    check("10.0.0.1", expect!["1"]);
    check("vip", expect!["2"]);
    check("\"\\\"not\\\" or\"", expect!["3"]);
}

#[test]
fn conditions_are_joined_excluded_and_grouped() {
    check("connection or never", expect!["1 2 3"]);
    check("refused and not connection", expect!["3"]);
    check("-refused -level:info", expect!["4"]);
    check("(connection or never) service:api", expect!["1 2"]);
    check("connection or never service:api", expect!["1 2"]);
    check("-(connection or never)", expect!["4"]);
    check("not not vip", expect!["2"]);
}

#[test]
fn columns_are_compared_as_a_whole_by_their_beginning_or_by_their_order() {
    check("level:error", expect!["1"]);
    check("level:>=warning", expect!["1 3"]);
    check("level:<warning", expect!["2"]);
    check("service:wor*", expect!["3"]);
    check("service:\"wor*\"", expect![""]);
    check("service:*", expect!["1 2 3"]);
    check("-level:*", expect!["4"]);
    check("body:refused", expect!["1 3"]);
    check("time:>=2026-07-14T10:00:00Z", expect!["1 2 3 4"]);
    check("time:>2026-07-14T10:00:00Z", expect![""]);
}

#[test]
fn attributes_are_found_by_names_with_dots_or_inside_of_each_other() {
    check("attributes.http.status:502", expect!["1"]);
    check("attributes.http.status:>=404", expect!["1 3"]);
    check("attributes.http.status:*", expect!["1 2 3"]);
    check("attributes.tags:VIP", expect!["2"]);
    check("attributes.retry:true", expect!["1"]);
    check("attributes.tags:n*", expect!["2"]);
}

#[test]
fn what_is_wrong_is_shown_where_it_stands() {
    check(
        "refused levle:error",
        expect![[r"
        logs have no column `levle`; did you mean `level`?
          refused levle:error
                  ^^^^^"]],
    );
    check(
        "12:30:01",
        expect![[r"
        logs have no column `12`; put text with a colon in quotes
          12:30:01
          ^^"]],
    );
    check(
        "größe \"open",
        expect![[r#"
        this quote is not closed
          größe "open
                ^"#]],
    );
    check(
        "(a or b",
        expect![[r"
        this `(` is not closed
          (a or b
          ^"]],
    );
    check(
        "a) b",
        expect![[r"
        this `)` closes nothing; put it in quotes to look for it
          a) b
           ^"]],
    );
    check(
        "a or",
        expect![[r"
        `or` needs a condition on both sides
          a or
            ^^"]],
    );
}

#[test]
fn a_condition_that_lacks_something_says_what() {
    check(
        "and a",
        expect![[r"
        `and` needs a condition on both sides
          and a
          ^^^"]],
    );
    check(
        "a -",
        expect![[r"
        a condition must follow what excludes it
          a -
            ^"]],
    );
    check(
        "level:",
        expect![[r"
        a value must follow `level:`; `level:*` asks for any
          level:
          ^^^^^^"]],
    );
    check(
        "process:many",
        expect![[r"
        `process` takes a whole number
          process:many
                  ^^^^"]],
    );
    check(
        "service:>api",
        expect![[r"
        `service` is a text, which has no order
          service:>api
                   ^^^"]],
    );
    check(
        "level:>=loud",
        expect![[r"
        `loud` is none of debug, info, warning, error, critical
          level:>=loud
                  ^^^^"]],
    );
    check(
        "time:>yesterday",
        expect![[r#"
            a time is written as 2026-11-21T10:00:00Z
              time:>yesterday
                    ^^^^^^^^^"#]],
    );
    check(
        "...",
        expect![[r"
        there is no word to look for; letters, digits and `_` make words
          ...
          ^^^"]],
    );
}

#[test]
fn times_are_taken_in_any_unit() {
    let column = |text: &str| match Filter::parse(Kind::Spans, text).map(|it| it.node) {
        Ok(Node::Column(place, Test::Integer(Comparison::Greater, it))) => (place, it),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        column("duration_ns:>1.5s"),
        (spans::DURATION, 1_500_000_000)
    );
    assert_eq!(
        column("duration_ns:>2m"),
        (spans::DURATION, 120_000_000_000)
    );
    assert_eq!(column("duration_ns:>7"), (spans::DURATION, 7));
    assert!(Filter::parse(Kind::Spans, "weight_milli:>2m").is_err());
}

#[test]
fn a_filter_that_is_too_long_or_too_deep_is_refused() {
    let error = |text: &str| Filter::parse(Kind::Logs, text).unwrap_err().to_string();
    expect!["the filter is longer than 4096 bytes (at character 1)"]
        .assert_eq(&error(&"a".repeat(4097)));
    expect!["conditions are nested deeper than 32 (at character 33)"]
        .assert_eq(&error(&"(".repeat(100)));
    expect!["conditions are nested deeper than 32 (at character 33)"]
        .assert_eq(&error(&"-".repeat(100)));
}

/// Texts stand one after another: what ends one and begins the next must not hide a word.
#[test]
fn a_word_that_begins_a_text_is_found_whatever_the_text_before_ends_with() {
    let mut batch = Batch::new(Kind::Logs);
    for body in ["block 8", "88 bytes", "8", "88"] {
        batch.row(Timestamp(1)).text(logs::BODY, body);
    }
    let filter = Filter::parse(Kind::Logs, "88").unwrap();
    assert_eq!(filter.matching(&batch), [false, true, false, true]);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic_and_errors_point_into_it(text in "[a-z:()\"* \\\\ä>=-]{0,40}|\\PC{0,40}") {
        if let Err(error) = Filter::parse(Kind::Logs, &text) {
            prop_assert!(error.at().end <= text.len().max(error.at().start + 1));
            prop_assert!(error.pointed().lines().count() >= 3);
        }
    }

    #[test]
    fn what_matches_is_never_excluded_by_its_words_and_matches_among_others_too(
        rows in prop::collection::vec(("[abAB .]{0,12}", "[ab]{0,2}"), 1..6), text in "(-?(a|b|ab|aa|\"a b\"|task:(a|ab|b\\*)|body:aa?)( or | )){0,4}aa?",
    ) {
        let mut batch = Batch::new(Kind::Logs);
        for (body, task) in &rows {
            batch.row(Timestamp(1)).text(logs::BODY, body).text(logs::TASK, task);
        }
        let bits = Findable::group(&batch);
        let filter = Filter::parse(Kind::Logs, &text).unwrap();
        let may = !filter.may_match(&mut |it| bits.pages(it, 1)).is_none();
        let marked = filter.matching(&batch);
        for row in 0..rows.len() {
            prop_assert!(may || !marked[row], "{text:?} on {rows:?}");
            prop_assert_eq!(filter.matches(&batch, row), marked[row], "{:?} on {:?}", text, rows[row]);
        }
    }
}
