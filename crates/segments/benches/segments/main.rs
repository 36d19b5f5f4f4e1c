//! What a record costs: bytes on the disk, and processor time from a batch in memory to a merged
//! part; and how long questions take.
//!
//! Prints one JSON object a line. Processor time is that of the whole process, sealing and merging
//! included; records are made before it is measured. `TIDEGATE_LOGHUB` names the folder of
//! [loghub](https://github.com/logpai/loghub)'s samples, `TIDEGATE_RECORDS` how many there are.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures, prints and stops where it can't"
)]

mod corpus;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use corpus::{Chance, Corpus, RequestIds};
use tidegate_observe::telemetry::{Batch, Filter, Kind, logs};
use tidegate_segments::{Options, Query, Segments};
use tidegate_types::{Clock as _, SystemClock, Timestamp};

/// Records of one batch, as an exporter sends them.
const BATCH: usize = 1_000;

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
    for ids in [RequestIds::PerTrace, RequestIds::PerRecord] {
        let directory = tempfile::tempdir().unwrap();
        measure(directory.path(), &loghub, ids, records);
    }
}

fn measure(directory: &Path, loghub: &Path, ids: RequestIds, records: usize) {
    let clock = Arc::new(SystemClock::start());
    // Made in pieces, so that they need not all be in memory.
    let hour = Duration::from_hours(1);
    let start = Timestamp(clock.now().0 - u64::try_from(hour.as_nanos()).unwrap());
    let mut corpus = Corpus::new(loghub, ids, start);
    let (store, _) = Segments::open(directory, Options::default(), clock).unwrap();
    let recent = Recent::of(&store, &mut corpus);
    let mut cpu = 0.0;
    let mut made: Vec<Batch> = Vec::new();
    let mut left = records;
    while left > 0 {
        made.clear();
        made.extend((0..(left.div_ceil(BATCH)).min(500)).map(|_| corpus.batch(BATCH)));
        left = left.saturating_sub(made.len() * BATCH);
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
    ask(&store, ids);
}

/// What blocks take, before anything is sealed.
struct Recent {
    bytes_per_record: f64,
}

impl Recent {
    fn of(store: &Segments, corpus: &mut Corpus) -> Self {
        let before = store.status().unwrap().recent_bytes;
        for _ in 0..4 {
            store
                .append(corpus.batch(BATCH), None)
                .unwrap()
                .wait()
                .unwrap();
        }
        let bytes = store.status().unwrap().recent_bytes - before;
        let bytes_per_record = ratio(bytes, 4 * BATCH as u64);
        Self { bytes_per_record }
    }
}

fn ask(store: &Segments, ids: RequestIds) {
    let everything = store.rows(Query::latest(Filter::all(Kind::Logs), 40_000));
    let traces: Vec<String> = everything
        .map(Result::unwrap)
        .step_by(200)
        .filter_map(|it| Some(it.text(logs::REQUEST)?.to_owned()))
        .collect();
    let mut chance = Chance(3);
    let words = [
        "terminating",
        "MRAppMaster",
        "password",
        "workerEnv",
        "exception",
        "zzz_nothing",
    ];
    let report = |what: &str, mut times: Vec<Duration>| {
        times.sort();
        let p95 = times[(times.len() * 95 / 100).min(times.len() - 1)];
        println!(
            "{{\"ids\":\"{ids:?}\",\"ask\":\"{what}\",\"p95_ms\":{:.2}}}",
            p95.as_secs_f64() * 1e3
        );
    };
    let time = |work: &mut dyn FnMut()| {
        let began = Instant::now();
        work();
        began.elapsed()
    };
    let lookups = traces.iter().map(|it| {
        let filter = Filter::exactly(Kind::Logs, "request_id", it);
        time(&mut || assert!(store.rows(Query::latest(filter.clone(), 100)).count() > 0))
    });
    report("by request id", lookups.collect());
    let latest = words.iter().map(|it| {
        let filter = Filter::parse(Kind::Logs, it).unwrap();
        time(&mut || assert!(store.rows(Query::latest(filter.clone(), 100)).count() <= 100))
    });
    report("latest 100 with a word", latest.collect());
    let rare = (0..20).map(|_| {
        let filter = Filter::parse(Kind::Logs, &format!("{}", chance.below(100_000_000))).unwrap();
        time(&mut || drop(store.count(&Query::latest(filter.clone(), 0)).unwrap()))
    });
    report("count of a rare number", rare.collect());
    let hourly = (0..20).map(|_| {
        let query = Query::latest(Filter::all(Kind::Logs), 0);
        time(&mut || drop(store.histogram(&query, Duration::from_hours(1)).unwrap()))
    });
    report("histogram by the hour", hourly.collect());
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(one: u64, two: u64) -> f64 {
    one as f64 / two as f64
}

/// Processor time of this process, its threads included.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ratio(ticks, 100)
}

/// The most memory that this process ever had.
fn resident_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|it| it.starts_with("VmHWM")).unwrap();
    line.split_ascii_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        / 1024
}
