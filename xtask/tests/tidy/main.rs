//! Rules about the tree that no linter knows. Each is a function that returns findings, shown to find something in a small
//! broken tree, and then to find nothing in ours.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test: stopping is the point"
)]

mod dependencies;
mod layers;
mod names;
mod purity;
mod size;
mod tree;
mod words;

/// Fails with all findings, one on a line.
fn none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
