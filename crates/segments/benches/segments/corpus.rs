//! Logs as real programs write them: bodies of loghub in random order, with every digit and every
//! run of hexadecimal digits drawn anew, so that nothing compresses that would not in life.

use std::{fs::File, path::Path, time::Duration};

use flate2::read::GzDecoder;
use tidegate_observe::telemetry::{Batch, Kind, logs};
use tidegate_types::Timestamp;

/// Bodies for where loghub is not: the bench runs, and its figures mean little.
const FEW: &[&str] = &[
    "PacketResponder 1 for block blk_38865049064139660 terminating",
    "Failed password for invalid user admin from 52.80.34.196 port 36312 ssh2",
    "Created MRAppMaster for application appattempt_1445144423722_0020_000001",
    "[req-3ea4052c-895d-4b64-9e2d-04d64c4d94ab] GET /v2/54fadb412c4e/servers/detail status: 200",
    "Received block blk_-1608999687919862906 of size 91178 from /10.250.10.6",
    "workerEnv.init() ok /etc/httpd/conf/workers2.properties",
];

const TENANTS: u64 = 20;
const SERVICES: u64 = 8;
const TRACE_RECORDS: u64 = 20;

/// Traces that go on at the same time.
const TRACES: usize = 64;

/// How often a request id changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestIds {
    PerTrace,
    PerRecord,
}

pub(crate) struct Corpus {
    bodies: Vec<String>,
    chance: Chance,
    traces: Vec<Trace>,
    ids: RequestIds,
    at: Timestamp,
    /// Twice the mean time between two records.
    apart: u64,
}

struct Trace {
    id: u128,
    request: String,
    tenant: u64,
    left: u64,
}

/// SplitMix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let it = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let it = (it ^ (it >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        it ^ (it >> 31)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.next() % most
    }
}

impl Corpus {
    /// From the folder of loghub, where it is there; records come `step` after each other.
    pub(crate) fn new(loghub: &Path, ids: RequestIds, at: Timestamp, step: Duration) -> Self {
        let mut bodies = read_bodies(loghub);
        if bodies.is_empty() {
            bodies = FEW.iter().map(|it| (*it).to_owned()).collect();
        }
        let mut chance = Chance(7);
        let traces = (0..TRACES).map(|_| Trace::new(&mut chance)).collect();
        Self {
            bodies,
            chance,
            traces,
            ids,
            at,
            apart: u64::try_from(step.as_nanos() * 2).unwrap().max(1),
        }
    }

    /// How many different bodies there are before their digits are drawn anew.
    pub(crate) fn bodies(&self) -> usize {
        self.bodies.len()
    }

    /// The next records.
    pub(crate) fn batch(&mut self, rows: usize) -> Batch {
        let mut batch = Batch::new(Kind::Logs);
        for _ in 0..rows {
            let jitter = self.chance.below(self.apart);
            self.at = self.at.after(Duration::from_nanos(jitter));
            let place = usize::try_from(self.chance.below(TRACES as u64)).unwrap();
            if self.traces[place].left == 0 {
                self.traces[place] = Trace::new(&mut self.chance);
            }
            let body = usize::try_from(self.chance.below(self.bodies.len() as u64)).unwrap();
            let body = redrawn(&self.bodies[body], &mut self.chance);
            let service = self.chance.below(SERVICES);
            let level = match self.chance.below(100) {
                0 => "ERROR",
                1..5 => "WARNING",
                5..20 => "DEBUG",
                _ => "INFO",
            };
            let fresh = request_id(&mut self.chance);
            let trace = &mut self.traces[place];
            trace.left -= 1;
            let request = match self.ids {
                RequestIds::PerTrace => &trace.request,
                RequestIds::PerRecord => &fresh,
            };
            batch
                .row(self.at)
                .text(logs::LEVEL, level)
                .text(logs::ORGANISATION, &format!("tenant-{}", trace.tenant))
                .text(logs::SERVICE, &format!("service-{service}"))
                .wide(logs::TRACE, trace.id)
                .text(logs::REQUEST, request)
                .text(logs::BODY, &body);
        }
        batch
    }
}

impl Trace {
    fn new(chance: &mut Chance) -> Self {
        Self {
            id: u128::from(chance.next()) << 64 | u128::from(chance.next()),
            request: request_id(chance),
            tenant: chance.below(TENANTS),
            left: TRACE_RECORDS,
        }
    }
}

fn request_id(chance: &mut Chance) -> String {
    format!("req_{:016x}", chance.next())
}

/// Draws every digit anew, and every character of a run of hexadecimal digits that has a digit.
fn redrawn(body: &str, chance: &mut Chance) -> String {
    let mut out = String::with_capacity(body.len());
    for run in body.split_inclusive(|it: char| !it.is_ascii_alphanumeric()) {
        let word = run.trim_end_matches(|it: char| !it.is_ascii_alphanumeric());
        let hex = word.bytes().all(|it| it.is_ascii_hexdigit())
            && word.bytes().any(|it| it.is_ascii_digit())
            && word.bytes().any(|it| it.is_ascii_alphabetic());
        out.extend(run.chars().map(|it| match it {
            '0'..='9' if !hex => {
                char::from(b"0123456789"[usize::try_from(chance.below(10)).unwrap()])
            }
            '0'..='9' | 'a'..='z' if hex => {
                char::from(b"0123456789abcdef"[usize::try_from(chance.below(16)).unwrap()])
            }
            other => other,
        }));
    }
    out
}

fn read_bodies(loghub: &Path) -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(loghub) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = folder.map(|it| it.unwrap().path()).collect();
    paths.retain(|it| it.to_string_lossy().ends_with("structured.csv.gz"));
    paths.sort();
    let mut bodies = Vec::new();
    for path in paths {
        let mut table = csv::Reader::from_reader(GzDecoder::new(File::open(path).unwrap()));
        let content = table
            .headers()
            .unwrap()
            .iter()
            .position(|it| it == "Content")
            .unwrap();
        bodies.extend(table.records().map(|it| it.unwrap()[content].to_owned()));
    }
    bodies
}
