//! The telemetry store's files: as other programs read them, and as kills and power cuts leave them.

use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::{Rig, Suite, Tally};
use crate::{bound, packages::Package, scratch::Scratch, shell};

pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "telemetry-parts",
        proves: "pyarrow and DuckDB read the telemetry store's parts, and find what was sent",
        needs: &[Package::PythonReaders],
        run: parts,
    },
    Suite {
        name: "telemetry-crash",
        proves: "killed or without power, the telemetry store loses nothing acknowledged (200 and 50 times with --slow)",
        needs: &[],
        run: crash,
    },
];

fn parts(rig: &Rig) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("telemetry-parts")?;
    let mut fill = shell::cargo([
        "run",
        "--quiet",
        "--package",
        "tidegate-segments",
        "--example",
        "parts",
        "--",
    ]);
    let paths = shell::show(fill.arg(scratch.path()), bound::CARGO)?;
    let paths: Vec<&str> = paths
        .lines()
        .filter(|it| it.ends_with(".parquet"))
        .collect();
    ensure!(!paths.is_empty(), "no part was written");
    let mut read = Command::new(rig.packages.readers()?);
    read.arg(shell::root().join("e2e/python/parts.py"));
    let (_, output) = shell::tee(read.arg(scratch.path()).args(paths), bound::CLIENT_PROGRAM)?;
    Tally::of_program(&output).context("the reader did not come to its end")
}

fn crash(rig: &Rig) -> anyhow::Result<Tally> {
    let (kills, cuts) = if rig.slow {
        ("200", "50")
    } else {
        ("12", "12")
    };
    let mut test = shell::cargo([
        "test",
        "--quiet",
        "--package",
        "tidegate-segments",
        "--test",
        "crash",
    ]);
    test.env("TIDEGATE_TEST_KILLS", kills)
        .env("TIDEGATE_TEST_CUTS", cuts);
    let (status, output) = shell::tee(&mut test, bound::CARGO)?;
    let tally = Tally::of_cargo(&output);
    if !status.success() && tally.failed == 0 {
        bail!("the tests could not be built or did not end");
    }
    Ok(tally)
}
