//! The telemetry store's files: as other programs read them, and as kills and power cuts leave them.

use std::process::Command;

use anyhow::{Context as _, bail, ensure};

use super::{Rig, Suite, Tally};
use crate::{bound, packages::Package, report, scratch::Scratch, shell};

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
    Suite {
        name: "telemetry-many",
        proves: "of a hundred thousand records (fifty million with --slow) each word's are counted as they were sent",
        needs: &[],
        run: many,
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

/// The store's bench checks what it is answered. Fifty million records take ten minutes when it is optimised, and two
/// gigabytes; a hundred thousand some seconds as it is.
fn many(rig: &Rig) -> anyhow::Result<Tally> {
    let (records, optimised) = if rig.slow {
        ("50000000", &["--release"][..])
    } else {
        ("100000", &[][..])
    };
    let logs = super::dataset("loghub");
    if !logs.is_dir() {
        report::say(format_args!(
            "{} is not there, so records are of six made-up lines. TIDEGATE_DATASETS says where the data is",
            logs.display()
        ));
    }
    let mut bench = shell::cargo(["test", "--quiet", "--package", "tidegate-segments"]);
    bench.args(optimised).args(["--bench", "segments"]);
    bench
        .env("TIDEGATE_RECORDS", records)
        .env("TIDEGATE_LOGHUB", logs);
    let (status, output) = shell::tee(&mut bench, bound::CARGO)?;
    let checked = output.lines().filter(|it| it.contains("\"checked\""));
    let tally = checked.fold(Tally::default(), |all, _| all + Tally::passed());
    ensure!(
        status.success() && tally.passed > 0,
        "records are counted otherwise than they were sent"
    );
    Ok(tally)
}
