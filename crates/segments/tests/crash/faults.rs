//! A disk that becomes full or read-only at any moment: what can't be kept is refused, what was
//! acknowledged is there, and everything goes on when the disk does.

use std::{path::Path, process::Command, sync::Arc};

use tidegate_observe::telemetry::{Batch, Kind, logs};
use tidegate_segments::{Refused, Segments, SegmentsError};
use tidegate_types::{Clock as _, SystemClock};

use crate::{
    child::{DIRECTORY, ROWS, batches, body_of, options},
    power::recorder,
};

/// Tells the child to go on after failures.
const FAULTS: &str = "TIDEGATE_TEST_FAULTS";

/// Linux's numbers for "no space left on device" and "read-only file system".
const ENOSPC: &str = "28";
const EROFS: &str = "30";

#[test]
#[ignore = "the process that the other tests start on a failing disk"]
fn work() {
    let (Some(directory), Some(_)) = (std::env::var_os(DIRECTORY), std::env::var_os(FAULTS)) else {
        return; // somebody runs ignored tests
    };
    let clock = Arc::new(SystemClock::start());
    let opened = Segments::open(Path::new(&directory), options(), clock.clone());
    let store = match opened {
        Ok((store, _)) => store,
        Err(error) => return tell(&error),
    };
    for batch in 0..60 {
        let mut rows = Batch::new(Kind::Logs);
        for row in 0..ROWS {
            rows.row(clock.now())
                .text(logs::BODY, &body_of(batch, row))
                .text(logs::REQUEST, &format!("req-{batch}"));
        }
        match store
            .append(rows, None)
            .and_then(tidegate_segments::Receipt::wait)
        {
            Ok(_) => println!("acknowledged {batch}"),
            Err(Refused::Unwritten(error)) => tell(&error),
            Err(other) => panic!("{other:?}"),
        }
        if batch % 3 == 0 {
            let tended = store.tend();
            assert!(tended.damaged.is_empty(), "{tended:?}");
            tended.failed.iter().for_each(tell);
        }
        // What is there is served, whatever the disk does to what is new.
        if batch % 10 == 0 {
            batches(&store);
        }
    }
}

fn tell(error: &SegmentsError) {
    let kind = match error {
        SegmentsError::Full { .. } => "full",
        SegmentsError::ReadOnly { .. } => "read-only",
        SegmentsError::Failed { .. } => "failed",
        other => panic!("a disk without room damages nothing: {other}"),
    };
    println!("refused {kind}");
}

/// Runs the child on a disk that fails after so many writes; how many batches were acknowledged,
/// and how many things were refused.
fn run(library: &Path, directory: &Path, errno: &str, after: usize) -> (usize, Vec<String>) {
    let data = directory.join("data");
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "faults::work", "--ignored", "--nocapture"]);
    child.env(DIRECTORY, &data).env(FAULTS, "1");
    child.env("LD_PRELOAD", library).env("RECORD_ROOT", &data);
    child
        .env("FAIL_AFTER", after.to_string())
        .env("FAIL_WITH", errno);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "after {after}: {text}\n{errors}");
    let words = |word: &str| -> Vec<String> {
        let found = text
            .lines()
            .filter_map(|it| Some(it.split_once(word)?.1.to_owned()));
        found.collect()
    };
    let acknowledged: Vec<u64> = words("acknowledged ")
        .iter()
        .map(|it| it.parse().unwrap())
        .collect();

    // The disk works again.
    let clock = Arc::new(SystemClock::start());
    let (store, recovery) = Segments::open(&data, options(), clock).unwrap();
    assert_eq!(recovery.damaged, [""; 0], "after {after}");
    let there = batches(&store);
    assert_eq!(there, acknowledged, "after {after}");
    let tended = store.seal_all();
    assert!(
        tended.failed.is_empty() && tended.damaged.is_empty(),
        "after {after}: {tended:?}"
    );
    assert_eq!(batches(&store), acknowledged, "after {after}");
    (acknowledged.len(), words("refused "))
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_without_room_loses_nothing_acknowledged_and_says_what_it_is() {
    let scratch = tempfile::tempdir().unwrap();
    let scratch = scratch.path().canonicalize().unwrap();
    let library = recorder(&scratch);
    let (mut some, mut refused) = (0, Vec::new());
    for (errno, steps) in [
        (ENOSPC, [0, 5, 23, 61, 130, 333, 700]),
        (EROFS, [1, 9, 40, 99, 200, 450, 900]),
    ] {
        for after in steps {
            let directory = scratch.join(format!("{errno}-{after}"));
            std::fs::create_dir(&directory).unwrap();
            let (acknowledged, said) = run(&library, &directory, errno, after);
            some += usize::from((1..60).contains(&acknowledged));
            refused.extend(said);
        }
    }
    assert!(
        some >= 4,
        "the disk fails before, while and after batches are taken: {some}"
    );
    assert!(refused.iter().any(|it| it == "full"), "{refused:?}");
}
