//! Layers 0 and 1 decide; they do not read clocks, files, sockets or the environment, and nothing in them waits.

use crate::{
    none,
    tree::{Text, texts},
};

const PURE: &[&str] = &[
    "types",
    "admission",
    "ledger",
    "forecast",
    "routing",
    "providers",
    "faults",
    "observe",
    "tasks",
];

/// Words of the language and of the standard library that pure code has no use for.
const IMPURE: &[&str] = &[
    "async fn",
    ".await",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "TcpStream",
    "UdpSocket",
    "SystemTime",
    "Instant::now",
];

/// The one file that reads clocks, and the words it may use for that.
const CLOCK: &str = "crates/types/src/time.rs";
const CLOCK_WORDS: &[&str] = &["SystemTime", "Instant::now"];

fn findings(texts: &[Text]) -> Vec<String> {
    let mut findings = Vec::new();
    let pure = |it: &&Text| it.krate().is_some_and(|name| PURE.contains(&name)) && !it.is_test();
    for it in texts.iter().filter(pure) {
        let code = it.text.lines().enumerate();
        for (at, line) in code.filter(|(_, line)| !line.trim_start().starts_with("//")) {
            let impure = |word: &&&str| {
                let read = it.path == CLOCK && CLOCK_WORDS.contains(*word);
                line.contains(**word) && !read
            };
            if let Some(word) = IMPURE.iter().find(impure) {
                findings.push(format!("{}:{}: `{word}` in a pure crate", it.path, at + 1));
            }
        }
    }
    findings
}

#[test]
fn the_domain_is_pure() {
    none(&findings(&texts(&[".rs"])));
}

#[test]
fn a_file_and_a_clock_are_found_but_not_in_comments_tests_or_outer_layers() {
    let broken = [
        Text::new(
            "crates/ledger/src/books.rs",
            "use std::fs;\n// std::fs is not for us\nlet at = SystemTime::now();",
        ),
        Text::new("crates/ledger/src/books/tests.rs", "use std::fs;"),
        Text::new(
            "crates/types/src/time.rs",
            "SystemTime::now()\nstd::env::var",
        ),
        Text::new("crates/store/src/file.rs", "use std::fs;"),
    ];
    expect_test::expect![[r"
        crates/ledger/src/books.rs:1: `std::fs` in a pure crate
        crates/ledger/src/books.rs:3: `SystemTime` in a pure crate
        crates/types/src/time.rs:2: `std::env` in a pure crate"]]
    .assert_eq(&findings(&broken).join("\n"));
}
