//! A power cut at any moment: what was not synced is gone, or some of it is.

use std::{path::Path, process::Command, sync::Arc};

use tidegate_segments::Segments;
use tidegate_types::SystemClock;

use crate::{
    child::{BATCHES, batches, command, options},
    journal::{Deed, Disk, read},
};

/// How often the power is cut, where nothing else is asked for.
const CUTS: usize = 16;

/// Builds the library that writes down what a process does to its files. Where the program itself
/// was built there is a C compiler, since SQLite is built with it.
pub(crate) fn recorder(directory: &Path) -> std::path::PathBuf {
    let library = directory.join("recorder.so");
    // As it is now: a target directory may have been filled from another clone.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    let source = Path::new(&package).join("tests/crash/recorder.c");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut compile = Command::new(compiler);
    compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-o"]);
    let built = compile
        .arg(&library)
        .arg(source)
        .arg("-ldl")
        .status()
        .unwrap();
    assert!(built.success(), "the recorder is C that compiles");
    library
}

#[test]
#[cfg(target_os = "linux")]
fn after_a_power_cut_everything_acknowledged_is_there_once() {
    let cuts = std::env::var("TIDEGATE_TEST_CUTS").ok();
    let cuts = cuts.map_or(CUTS, |it| it.parse().unwrap());
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let (data, journal) = (scratch.join("data"), scratch.join("journal"));
    let mut child = command(&data, 0);
    child
        .env("LD_PRELOAD", recorder(&scratch))
        .env(BATCHES, "90");
    child.env("RECORD_ROOT", &data).env("RECORD_TO", &journal);
    let output = child.output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    let deeds = read(&journal);
    let merged = |it: &&Deed| matches!(it, Deed::Unlink(path) if path.extension().is_some_and(|it| it == "parquet"));
    let merged = deeds.iter().filter(merged).count();
    assert!(merged >= 8, "only {merged} parts were merged on the way");
    let said = |it: &&Deed| matches!(it, Deed::Said(_));
    assert_eq!(
        deeds.iter().filter(said).count(),
        86,
        "all but the last few were waited for"
    );
    let mut disk = Disk::default();
    let mut done = 0;
    for cut in 0..cuts {
        // Not evenly, so that more cuts are other ones.
        let until = deeds.len() * (cut + 1) / cuts - cut % 7;
        for deed in &deeds[done..until.max(done)] {
            disk.run(deed);
        }
        done = until.max(done);
        check(
            &deeds[..done],
            &disk,
            &data,
            &scratch.join(format!("cut-{cut}")),
            cut,
        );
    }
}

fn check(deeds: &[Deed], disk: &Disk, data: &Path, left: &Path, cut: usize) {
    let acknowledged: Vec<u64> = deeds
        .iter()
        .filter_map(|it| match it {
            Deed::Said(batch) => Some(*batch),
            _ => None,
        })
        .collect();
    // Every other time some of what was not synced has reached the disk, in any order.
    let mut chance = cut as u64;
    disk.cut(data, left, || {
        chance = chance
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        cut % 2 == 1 && (chance >> 40) & 1 == 1
    });
    let clock = Arc::new(SystemClock::start());
    let (store, recovery) = Segments::open(left, options(), clock).unwrap();
    assert_eq!(recovery.damaged, [""; 0], "cut {cut}");
    let there = batches(&store);
    let lost: Vec<_> = acknowledged
        .iter()
        .filter(|it| !there.contains(it))
        .collect();
    assert!(lost.is_empty(), "cut {cut}: {lost:?} were acknowledged");
    let most = there.last().map_or(0, |it| it + 1);
    let sent = acknowledged.last().map_or(0, |it| it + 1) + 6;
    assert!(most <= sent, "cut {cut}: batch {most} was never sent");
    // It goes on from there.
    let tended = store.seal_all();
    assert!(
        tended.failed.is_empty() && tended.damaged.is_empty(),
        "cut {cut}: {tended:?}"
    );
    assert_eq!(batches(&store), there, "cut {cut}");
}
