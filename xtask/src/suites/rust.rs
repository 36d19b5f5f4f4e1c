//! Cargo's own: formatting, lints, rules about the tree, tests and documentation.

use std::process::Command;

use anyhow::bail;

use super::{Suite, Tally};
use crate::{bound, shell};

/// What only looks at the tree.
pub(super) const CHECKS: &[Suite] = &[
    Suite {
        name: "fmt",
        proves: "the code is formatted",
        needs: &[],
        run: |_| check(&mut shell::cargo(["fmt", "--all", "--check"])),
    },
    Suite {
        name: "clippy",
        proves: "no lint of the workspace is broken",
        needs: &[],
        run: |_| {
            let mut clippy = shell::cargo(["clippy", "--workspace", "--all-targets", "--quiet"]);
            check(clippy.args(["--", "-D", "warnings"]))
        },
    },
    Suite {
        name: "tidy",
        proves: "the tree keeps its rules: layers, sizes, words, dependencies",
        needs: &[],
        run: |_| count(&["--package", "xtask", "--test", "tidy"]),
    },
];

/// What runs the code.
pub(super) const TESTS: &[Suite] = &[
    Suite {
        name: "unit",
        proves: "scripts, properties, contracts and recorded streams of every crate",
        needs: &[],
        run: |_| {
            Ok(count(&["--workspace", "--exclude", "xtask"])?
                + count(&["--package", "xtask", "--bins"])?)
        },
    },
    Suite {
        name: "docs",
        proves: "every link in the documentation leads somewhere",
        needs: &[],
        run: |_| {
            let mut doc = shell::cargo(["doc", "--workspace", "--no-deps", "--quiet"]);
            check(
                doc.arg("--document-private-items")
                    .env("RUSTDOCFLAGS", "-D warnings"),
            )
        },
    },
];

fn check(command: &mut Command) -> anyhow::Result<Tally> {
    shell::show(command, bound::CARGO)?;
    Ok(Tally::passed())
}

/// Runs `cargo test` to its end, whichever tests fail.
fn count(what: &[&str]) -> anyhow::Result<Tally> {
    let mut test = shell::cargo(["test", "--no-fail-fast", "--quiet"]);
    let (status, output) = shell::tee(test.args(what), bound::CARGO)?;
    let tally = Tally::of_cargo(&output);
    if !status.success() && tally.failed == 0 {
        bail!("the tests could not be built or did not end");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    Ok(tally)
}
