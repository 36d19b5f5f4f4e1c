use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_types::mutate::Mutator;

use super::*;

/// Reads each line as a header and shows what it was taken for.
#[track_caller]
fn check(headers: &str, expected: Expect) {
    let mut seen = String::new();
    for header in headers.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let read = TraceParent::parse(header);
        let shown = read.map_or("ignored".to_owned(), |it| {
            format!("{it} sampled={}", it.sampled)
        });
        writeln!(seen, "{shown}").unwrap();
    }
    expected.assert_eq(&seen);
}

#[test]
fn a_header_of_any_known_or_later_version_is_read() {
    check(
        "
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03
        cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-what-the-future-brings
        ",
        expect![[r#"
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 sampled=true
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00 sampled=false
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 sampled=true
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 sampled=true
            00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 sampled=true
        "#]],
    );
}

#[test]
fn a_header_that_breaks_the_rules_is_ignored() {
    check(
        "
        ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        00-00000000000000000000000000000000-b7ad6b7169203331-01
        00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01
        00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more
        cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01.more
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331
        00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-011
        00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        0é-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
        ",
        expect![[r#"
            ignored
            ignored
            ignored
            ignored
            ignored
            ignored
            ignored
            ignored
            ignored
            ignored
        "#]],
    );
}

#[test]
fn a_child_stays_in_its_trace_under_a_span_of_its_own() {
    let parent = TraceParent::root(7, 8);
    let child = parent.child(9);
    assert_eq!((child.trace_id, child.sampled), (parent.trace_id, true));
    assert_ne!(child.span_id, parent.span_id);
    assert_eq!(
        parent.child(0).span_id.to_string(),
        "0000000000000001",
        "0 is no span"
    );
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(trace: u128, span: u64, sampled: bool) {
        let written = TraceParent { sampled, ..TraceParent::root(trace, span) };
        prop_assert_eq!(TraceParent::parse(&written.to_string()), Some(written));
    }

    #[test]
    fn no_text_stops_the_reader(text in ".{0,80}") {
        if let Some(read) = TraceParent::parse(&text) {
            prop_assert!(text.contains(&read.trace_id.to_string()));
        }
    }
}

#[test]
fn a_broken_header_is_read_as_it_stands_or_ignored() {
    let words = &[
        "-",
        "00-",
        "ff-",
        "0",
        "F",
        "+",
        " ",
        "0000000000000000",
        "\u{0}",
        "é",
    ];
    let mut mutator = Mutator::new(0x5EED_0041, words);
    let (mut read, mut ignored) = (0, 0);
    for _ in 0..20_000 {
        let header =
            mutator.mutated_text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        match TraceParent::parse(&header) {
            Some(it) => {
                read += 1;
                let ids = format!("-{}-{}-", it.trace_id, it.span_id);
                assert_eq!(header.find(&ids), Some(2), "{header}");
            }
            None => ignored += 1,
        }
    }
    assert!(
        read > 100 && ignored > 10_000,
        "{read} read, {ignored} ignored"
    );
}
