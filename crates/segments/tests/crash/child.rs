//! What the process does that is killed: it appends, seals and merges as fast as it can, and says
//! what was acknowledged.

use std::{io::Write as _, path::Path, process::Command, sync::Arc, time::Duration};

use tidegate_observe::telemetry::{Batch, Filter, Kind, logs};
use tidegate_segments::{BodyHash, Keep, Options, Query, Segments};
use tidegate_types::{Clock as _, SystemClock};

/// Names the directory that the child works in.
pub(crate) const DIRECTORY: &str = "TIDEGATE_TEST_DIRECTORY";

/// Names the first batch that the child sends.
pub(crate) const FIRST: &str = "TIDEGATE_TEST_FIRST";

/// How many batches it sends; without it, it goes on until it is killed.
pub(crate) const BATCHES: &str = "TIDEGATE_TEST_BATCHES";

/// Records of each batch.
pub(crate) const ROWS: usize = 40;

/// The options of parent and child: small enough that everything happens often.
pub(crate) fn options() -> Options {
    Options {
        keep: Keep::default(),
        seal_after: Duration::from_millis(1),
        ..Options::default()
    }
}

/// This program as a child that does [`work`].
pub(crate) fn command(directory: &Path, first: u64) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "child::work", "--ignored", "--nocapture"]);
    command
        .env(DIRECTORY, directory)
        .env(FIRST, first.to_string());
    command
}

pub(crate) fn body_of(batch: u64, row: usize) -> String {
    format!("batch {batch} row {row}")
}

/// The batches that are there, each whole and once, in ascending order; and that the index finds
/// what a scan does.
pub(crate) fn batches(store: &Segments) -> Vec<u64> {
    let mut rows = store.rows(Query::latest(Filter::all(Kind::Logs), usize::MAX));
    let mut seen: Vec<(u64, usize)> = Vec::new();
    for row in rows.by_ref() {
        let row = row.unwrap();
        let words: Vec<&str> = row.text(logs::BODY).unwrap().split(' ').collect();
        seen.push((words[1].parse().unwrap(), words[3].parse().unwrap()));
    }
    assert_eq!(rows.damaged(), [""; 0]);
    seen.sort_unstable();
    let mut batches: Vec<u64> = seen.iter().map(|it| it.0).collect();
    batches.dedup();
    let whole = batches
        .iter()
        .flat_map(|it| (0..ROWS).map(|row| (*it, row)));
    assert!(
        whole.eq(seen.iter().copied()),
        "a batch is there in part, or twice"
    );
    if let Some(last) = batches.last() {
        let filter = Filter::exactly(Kind::Logs, "request_id", &format!("req-{last}"));
        let found = store.count(&Query::latest(filter, 0)).unwrap();
        assert_eq!(found.rows, ROWS as u64, "the index finds batch {last}");
    }
    batches
}

#[test]
#[ignore = "the process that the other tests start and kill"]
fn work() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return; // somebody runs ignored tests
    };
    let number = |name| {
        std::env::var(name)
            .ok()
            .and_then(|it| it.parse::<u64>().ok())
    };
    let (first, batches) = (number(FIRST).unwrap(), number(BATCHES).unwrap_or(u64::MAX));
    let clock = Arc::new(SystemClock::start());
    let opened = Segments::open(Path::new(&directory), options(), clock.clone());
    let (store, recovery) = opened.unwrap();
    assert_eq!(recovery.damaged, [""; 0]);
    let _tending = (batches == u64::MAX).then(|| store.start_tending(drop).unwrap());
    let mut receipts = std::collections::VecDeque::new();
    let mut said = std::io::stdout();
    for batch in first..first.saturating_add(batches) {
        let mut rows = Batch::new(Kind::Logs);
        for row in 0..ROWS {
            rows.row(clock.now())
                .text(logs::BODY, &body_of(batch, row))
                .text(logs::REQUEST, &format!("req-{batch}"));
        }
        let hash = BodyHash::of(&batch.to_be_bytes());
        receipts.push_back((batch, store.append(rows, Some(hash)).unwrap()));
        if receipts.len() > 4 {
            let (batch, receipt) = receipts.pop_front().unwrap();
            receipt.wait().unwrap();
            writeln!(said, "acknowledged {batch}").unwrap();
        }
        // The thread would tend once a second: here it happens all the time.
        if batch % 3 == 0 {
            let tended = store.tend();
            assert!(tended.failed.is_empty(), "{:?}", tended.failed);
        }
    }
}
