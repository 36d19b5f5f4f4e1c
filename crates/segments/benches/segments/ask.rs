//! How long questions take.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use tidegate_observe::telemetry::{Batch, Filter, Kind, logs, tokens};
use tidegate_segments::{Query, Segments};

use crate::corpus::Chance;

/// Words that are asked for.
const WORDS: usize = 200;

/// Records that are looked at.
const SAMPLE_ROWS: u64 = 300_000;

/// Ids that are looked up.
const LOOKUPS: usize = 200;

/// Rows of a row group: words that are rarer than one in each are rare.
const GROUP_ROWS: u64 = 16_384;

/// What is known of the records, by looking at some of them.
#[derive(Default)]
pub(crate) struct Sample {
    rows: u64,
    words: HashMap<String, u64>,
    requests: Vec<String>,
}

impl Sample {
    /// Whether more would tell more.
    pub(crate) fn is_hungry(&self) -> bool {
        self.rows < SAMPLE_ROWS
    }

    /// Looks at a batch.
    pub(crate) fn see(&mut self, batch: &Batch) {
        self.rows += batch.rows() as u64;
        for row in 0..batch.rows() {
            for word in tokens(batch.text(logs::BODY, row).unwrap_or_default()) {
                *self.words.entry(word.to_ascii_lowercase()).or_default() += 1;
            }
        }
        let request = batch.text(logs::REQUEST, batch.rows() / 2);
        self.requests.extend(request.map(str::to_owned));
    }

    /// Words, each frequency as likely as ten times it, with whether they are rare.
    fn drawn(&self, chance: &mut Chance) -> Vec<(String, bool)> {
        let mut all: Vec<(u64, &String)> = self.words.iter().map(|(it, n)| (*n, it)).collect();
        all.sort_unstable();
        let most = all.last().map_or(1, |it| it.0);
        let places = u64::from(most.ilog2()) * 1_000;
        let draw = |_| {
            #[expect(clippy::cast_precision_loss, reason = "a draw")]
            let power = chance.below(places.max(1)) as f64 / 1_000.0;
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a frequency above 1 and below the highest"
            )]
            let frequency = power.exp2() as u64;
            let first = all.partition_point(|it| it.0 < frequency);
            let alike = all.partition_point(|it| it.0 <= frequency).max(first + 1) - first;
            let place = first + usize::try_from(chance.below(alike as u64)).unwrap();
            let (count, word) = all[place.min(all.len() - 1)];
            (word.clone(), count * GROUP_ROWS < self.rows)
        };
        (0..WORDS).map(draw).collect()
    }
}

/// Compares the answers with the records, which are made once more: how many have each word, and how many
/// there are.
pub(crate) fn check(store: &Segments, sample: &Sample, records: impl Iterator<Item = Batch>) {
    let drawn = sample.drawn(&mut Chance(3));
    let mut expected: HashMap<&str, u64> = drawn.iter().map(|it| (&*it.0, 0)).collect();
    let mut rows = 0;
    let mut word = String::new();
    for batch in records {
        rows += batch.rows() as u64;
        for row in 0..batch.rows() {
            let mut seen: Vec<&str> = Vec::new();
            for token in tokens(batch.text(logs::BODY, row).unwrap_or_default()) {
                word.clear();
                word.push_str(token);
                word.make_ascii_lowercase();
                if let Some((word, count)) = expected.get_key_value(&*word).map(|it| (*it.0, *it.1))
                    && !seen.contains(&word)
                {
                    seen.push(word);
                    expected.insert(word, count + 1);
                }
            }
        }
    }
    let count = |filter| store.count(&Query::latest(filter, 0)).unwrap().rows;
    for (word, expected) in &expected {
        assert_eq!(count(whole(word)), *expected, "records with {word:?}");
    }
    assert_eq!(count(Filter::all(Kind::Logs)), rows, "all records");
    let query = Query::latest(Filter::all(Kind::Logs), 0);
    let bars = store.histogram(&query, Duration::from_hours(1)).unwrap();
    let shown: u64 = bars.iter().flat_map(|it| it.counts.values()).sum();
    assert_eq!(shown, rows, "records by the hour");
    println!("{{\"checked\":{rows},\"words\":{}}}", expected.len());
}

/// Asks all questions, twice: the second time everything was read before.
pub(crate) fn ask(store: &Segments, sample: &Sample) {
    let words = sample.drawn(&mut Chance(3));
    let step = (sample.requests.len() / LOOKUPS).max(1);
    let requests: Vec<&String> = sample.requests.iter().step_by(step).collect();
    for warm in [false, true] {
        let tell = |what: &str, times: Vec<Took>| report(what, warm, &times);
        let lookups = requests.iter().map(|it| {
            let filter = Filter::exactly(Kind::Logs, "request_id", it);
            timed(|| assert!(store.rows(Query::latest(filter, 100)).count() > 0))
        });
        tell("by request id", lookups.collect());
        let latest = words.iter().map(|(word, _)| {
            let filter = whole(word);
            timed(|| assert!(store.rows(Query::latest(filter, 100)).count() <= 100))
        });
        tell("latest 100 with a word", latest.collect());
        let rare = words.iter().filter(|it| it.1).map(|(word, _)| {
            let filter = whole(word);
            timed(|| drop(store.count(&Query::latest(filter, 0)).unwrap()))
        });
        tell("count of a rare word", rare.collect());
        let hourly = (0..20).map(|_| {
            let query = Query::latest(Filter::all(Kind::Logs), 0);
            timed(|| drop(store.histogram(&query, Duration::from_hours(1)).unwrap()))
        });
        tell("histogram by the hour", hourly.collect());
    }
}

/// Rows with a word, which may be one of the language.
fn whole(word: &str) -> Filter {
    Filter::parse(Kind::Logs, &format!("\"{word}\"")).unwrap()
}

/// How long an answer took, and how much of that a processor worked for it: the rest is the disk and
/// whoever else is on the machine.
#[derive(Clone, Copy)]
struct Took {
    whole: Duration,
    working: Duration,
}

fn timed(work: impl FnOnce()) -> Took {
    let (began, worked) = (Instant::now(), thread_cpu());
    work();
    Took {
        whole: began.elapsed(),
        working: thread_cpu().saturating_sub(worked),
    }
}

/// Processor time of this thread.
fn thread_cpu() -> Duration {
    let said = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos = said.split_ascii_whitespace().next().unwrap();
    Duration::from_nanos(nanos.parse().unwrap())
}

fn report(what: &str, warm: bool, times: &[Took]) {
    if times.is_empty() {
        return;
    }
    let at = |hundredth: usize, of: fn(&Took) -> Duration| {
        let mut sorted: Vec<Duration> = times.iter().map(of).collect();
        sorted.sort();
        sorted[(sorted.len() * hundredth / 100).min(sorted.len() - 1)].as_secs_f64() * 1e3
    };
    println!(
        "{{\"ask\":\"{what}\",\"warm\":{warm},\"many\":{},\"p50_ms\":{:.2},\"p95_ms\":{:.2},\"p50_cpu_ms\":{:.2},\"p95_cpu_ms\":{:.2}}}",
        times.len(),
        at(50, |it| it.whole),
        at(95, |it| it.whole),
        at(50, |it| it.working),
        at(95, |it| it.working),
    );
}
