//! What a record costs: bytes on the disk, and processor time from a batch in memory to a merged
//! part; how long questions take, and whether their answers are right.
//!
//! Prints one JSON object a line. Processor time is that of the whole process, sealing and merging
//! included; records are made before it is measured. `TIDEGATE_LOGHUB` names the folder of
//! [loghub](https://github.com/logpai/loghub)'s samples, `TIDEGATE_RECORDS` how many there are,
//! `TIDEGATE_KEEP` a directory that stays: what is there already is not made again, but asked.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures, prints and stops where it can't"
)]

mod ask;
mod corpus;
mod cost;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ask::Sample;
use corpus::{Corpus, RequestIds};
use cost::{cpu_seconds, ratio, resident_mib};
use tidegate_observe::telemetry::Batch;
use tidegate_segments::{Options, Segments};
use tidegate_types::{Clock as _, SystemClock, Timestamp};

/// The program's own allocator.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Records of one batch, as an exporter sends them.
const BATCH: usize = 1_000;

/// Batches by which blocks are measured, before the others.
const RECENT_BATCHES: usize = 4;

/// From so many records on they are those of weeks.
const MANY: usize = 5_000_000;

/// One batch in so many is looked at, to know what to ask for.
const SEEN: usize = 20;

/// Batches that are on their way at the same time.
const FLYING: usize = 8;

fn main() {
    // `cargo test` builds and runs benches too: then once through is enough.
    let measuring = std::env::args().any(|it| it == "--bench");
    let records = std::env::var("TIDEGATE_RECORDS")
        .ok()
        .map(|it| it.parse().unwrap());
    let records = records.unwrap_or(if measuring { 2_000_000 } else { 4_000 });
    let loghub = std::env::var_os("TIDEGATE_LOGHUB").map_or_else(
        || {
            let package = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
            Path::new(&package).join("../../../shared/data/loghub")
        },
        PathBuf::from,
    );
    if let Some(kept) = std::env::var_os("TIDEGATE_KEEP") {
        return measure(Path::new(&kept), &loghub, RequestIds::PerRecord, records);
    }
    for ids in [RequestIds::PerTrace, RequestIds::PerRecord] {
        let directory = tempfile::tempdir().unwrap();
        measure(directory.path(), &loghub, ids, records);
    }
}

/// The time in which records were said: days where there are many, so that they are in many parts.
fn span(records: usize) -> Duration {
    let days = Duration::from_hours(24 * 20);
    let dense = Duration::from_micros(50) * u32::try_from(records).unwrap_or(u32::MAX);
    if records < MANY { dense } else { days }
}

fn measure(directory: &Path, loghub: &Path, ids: RequestIds, records: usize) {
    let clock = Arc::new(SystemClock::start());
    let (hour, span) = (Duration::from_hours(1), span(records));
    let start = Timestamp(clock.now().0 - u64::try_from((hour + span).as_nanos()).unwrap());
    let step = span / u32::try_from(records).unwrap();
    let mut corpus = Corpus::new(loghub, ids, start, step);
    let mut sample = Sample::default();
    let (store, _) = Segments::open(directory, Options::default(), clock).unwrap();
    if store.status().unwrap().parts > 0 {
        while sample.is_hungry() {
            sample.see(&corpus.batch(BATCH));
        }
        return ask::ask(&store, &sample);
    }
    let recent = Recent::of(&store, &mut corpus);
    let mut cpu = 0.0;
    let mut made: Vec<Batch> = Vec::new();
    let mut left = records;
    // Made in pieces, so that they need not all be in memory.
    while left > 0 {
        made.clear();
        made.extend((0..(left.div_ceil(BATCH)).min(500)).map(|_| corpus.batch(BATCH)));
        left = left.saturating_sub(made.len() * BATCH);
        let seen = made.iter().step_by(SEEN);
        for batch in seen {
            if sample.is_hungry() {
                sample.see(batch);
            }
        }
        let before = cpu_seconds();
        let mut flying = std::collections::VecDeque::new();
        for batch in &made {
            if flying.len() == FLYING {
                let receipt: tidegate_segments::Receipt = flying.pop_front().unwrap();
                receipt.wait().unwrap();
            }
            flying.push_back(store.append(batch.clone(), None).unwrap());
        }
        for receipt in flying {
            receipt.wait().unwrap();
        }
        let tended = store.tend();
        assert!(tended.failed.is_empty(), "{:?}", tended.failed);
        cpu += cpu_seconds() - before;
    }
    let before = cpu_seconds();
    store.seal_all();
    cpu += cpu_seconds() - before;
    let status = store.status().unwrap();
    let records = records as u64;
    println!(
        "{{\"ids\":\"{ids:?}\",\"bodies\":{},\"records\":{records},\"block_bytes_per_record\":{:.1},\
         \"part_bytes_per_record\":{:.2},\"parts\":{},\"records_per_cpu_second\":{:.0},\"resident_mib\":{}}}",
        corpus.bodies(),
        recent.bytes_per_record,
        ratio(status.part_bytes, records),
        status.parts,
        ratio(records, 1) / cpu,
        resident_mib(),
    );
    ask::ask(&store, &sample);
    // The same records as before: all of them are drawn from one seed.
    let mut again = Corpus::new(loghub, ids, start, step);
    let batches = usize::try_from(records).unwrap().div_ceil(BATCH) + RECENT_BATCHES;
    let records = (0..batches).map(|_| again.batch(BATCH));
    ask::check(&store, &sample, records);
}

/// What blocks take, before anything is sealed.
struct Recent {
    bytes_per_record: f64,
}

impl Recent {
    fn of(store: &Segments, corpus: &mut Corpus) -> Self {
        let before = store.status().unwrap().recent_bytes;
        for _ in 0..RECENT_BATCHES {
            store
                .append(corpus.batch(BATCH), None)
                .unwrap()
                .wait()
                .unwrap();
        }
        let bytes = store.status().unwrap().recent_bytes - before;
        let bytes_per_record = ratio(bytes, (RECENT_BATCHES * BATCH) as u64);
        Self { bytes_per_record }
    }
}
