//! What no file of the project says.

use crate::{
    none,
    tree::{Text, texts},
};

/// Each with its reason. Written in pieces, since this file is looked at too.
const BANNED: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "finish it or file it"),
    (concat!("FIX", "ME"), "fix it"),
    (concat!("XX", "X:"), "fix it"),
    (concat!("HA", "CK"), "say what it does and why"),
    (concat!("unimple", "mented!"), "finish it"),
    (concat!("/wo", "rk/"), "a path of somebody's machine"),
    (concat!("/ro", "ot/"), "a path of somebody's machine"),
    (
        concat!("/tm", "p/"),
        "not every machine has it: ask for a temporary folder",
    ),
    (
        concat!("\"resol", "ved\":"),
        "a lock file that names a registry's host works only where it was written",
    ),
];

const ENDINGS: &[&str] = &[
    ".rs",
    ".toml",
    ".md",
    ".json",
    ".py",
    ".mjs",
    ".ts",
    ".svelte",
    ".css",
    ".html",
    ".sql",
    ".txt",
    "Cargo.lock",
    ".ci/run",
];

fn findings(texts: &[Text]) -> Vec<String> {
    let mut findings = Vec::new();
    for it in texts {
        for (at, line) in it.text.lines().enumerate() {
            for (word, why) in BANNED.iter().filter(|(word, _)| line.contains(word)) {
                findings.push(format!("{}:{}: `{word}`: {why}", it.path, at + 1));
            }
        }
    }
    findings
}

#[test]
fn no_file_says_what_none_should() {
    none(&findings(&texts(ENDINGS)));
}

#[test]
fn a_banned_word_is_found_with_its_line() {
    let word = concat!("TO", "DO");
    let broken = [Text::new("a.md", &format!("fine\n\nlater: {word} this"))];
    assert_eq!(
        findings(&broken),
        [format!("a.md:3: `{word}`: finish it or file it")]
    );
}
