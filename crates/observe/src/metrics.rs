//! Instruments: a closed list of them, handles that cost one atomic addition, Prometheus text.
//!
//! A [`Family`] is one metric with its label names; [`Family::with`] gives the handle of one label
//! set, which the caller keeps where it can. Values are integers: seconds and dollars are counted
//! in billionths and written exactly.

mod catalogue;
mod exposition;

use std::{
    collections::HashMap,
    fmt,
    hash::BuildHasher as _,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::RwLock;
use tidegate_types::{Monotonic, NanoUsd, Tokens};

pub use catalogue::Registry;
pub use exposition::MEDIA_TYPE;

/// Label sets one metric keeps apart. A thousand series of 200 bytes are 200 KB of memory and one
/// page of a scrape; whatever comes after is folded into the label set `other`, and counted.
pub const LABEL_SETS_MAX: usize = 1_000;

/// Bytes of a label's value that are kept. Model ids and platform names are far shorter; what is
/// longer came from a client that wants to fill our memory.
pub const LABEL_BYTES_MAX: usize = 120;

/// The value every label of a folded label set has.
pub const OTHER: &str = "other";

/// What a metric counts, which is the last word of its name (before `total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Whole things; the word names them: `calls`, `tokens`, `bytes`.
    Count(&'static str),
    /// Seconds, kept in nanoseconds.
    Seconds,
    /// US dollars, kept in nano-dollars.
    Dollars,
    /// A fraction of a whole, kept in billionths.
    Ratio,
}

impl Unit {
    /// The word in the metric's name.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Count(word) => word,
            Self::Seconds => "seconds",
            Self::Dollars => "dollars",
            Self::Ratio => "ratio",
        }
    }

    /// How many of what is kept make one of what is shown.
    const fn scale(self) -> u64 {
        match self {
            Self::Count(_) => 1,
            Self::Seconds | Self::Dollars | Self::Ratio => 1_000_000_000,
        }
    }
}

/// What kind of instrument a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// Prometheus' word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric, as the catalogue lists it.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// `tidegate_<component>_<metric>_<unit>[_total]`.
    pub name: &'static str,
    /// What kind of instrument it is.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// Its labels' names, in the order of [`Family::with`].
    pub labels: &'static [&'static str],
    /// What it means, in one sentence without a full stop.
    pub help: &'static str,
}

/// A handle on one series, cheap to clone and to use.
pub trait Instrument: Clone + fmt::Debug {
    /// Prometheus' kind of it.
    const KIND: Kind;
    /// A series at zero. `unit` chooses a histogram's buckets.
    fn zero(unit: Unit) -> Self;
}

/// A figure that only rises. Wraps at 2⁶⁴, as Prometheus counters may.
#[derive(Clone, Debug, Default)]
pub struct Counter(Arc<AtomicU64>);

impl Counter {
    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// Adds `amount`, in what the metric keeps (nano-dollars for [`Unit::Dollars`]).
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Adds money to a [`Unit::Dollars`] counter.
    pub fn add_money(&self, amount: NanoUsd) {
        self.add(amount.0);
    }

    /// Adds tokens.
    pub fn add_tokens(&self, amount: Tokens) {
        self.add(amount.0);
    }

    /// The figure now.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Instrument for Counter {
    const KIND: Kind = Kind::Counter;
    fn zero(_: Unit) -> Self {
        Self::default()
    }
}

/// A figure that rises and falls.
#[derive(Clone, Debug, Default)]
pub struct Gauge(Arc<AtomicI64>);

impl Gauge {
    /// Sets it, in what the metric keeps; what does not fit 63 bits becomes the most that does.
    pub fn set(&self, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets it to a value that may be negative.
    pub fn set_signed(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Sets a [`Unit::Ratio`] gauge to `part / whole`, or to 0 of nothing; exact to 10⁻⁹, rounded
    /// down.
    pub fn set_ratio(&self, part: u64, whole: u64) {
        let billionths = u128::from(part) * u128::from(Unit::Ratio.scale());
        let ratio = billionths.checked_div(u128::from(whole)).unwrap_or(0);
        self.set(u64::try_from(ratio).unwrap_or(u64::MAX));
    }

    /// Adds `amount`, which may be negative.
    pub fn add(&self, amount: i64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Counts one more until what is given back is dropped.
    pub fn hold(&self) -> Held {
        self.add(1);
        Held(self.clone())
    }

    /// The figure now.
    pub fn value(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One of what a gauge counts, as long as it is there.
#[derive(Debug)]
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

impl Instrument for Gauge {
    const KIND: Kind = Kind::Gauge;
    fn zero(_: Unit) -> Self {
        Self::default()
    }
}

/// Upper bounds for times, in nanoseconds: 50 µs (what we add) to 10 min (the longest stream).
const SECONDS_BOUNDS: &[u64] = &[
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
    30_000_000_000,
    60_000_000_000,
    300_000_000_000,
    600_000_000_000,
];

/// Upper bounds for money, in nano-dollars: 0.1 cent to 100 $.
const DOLLARS_BOUNDS: &[u64] = &[
    1_000_000,
    5_000_000,
    10_000_000,
    50_000_000,
    100_000_000,
    500_000_000,
    1_000_000_000,
    5_000_000_000,
    10_000_000_000,
    100_000_000_000,
];

/// Upper bounds for fractions, in billionths.
const RATIO_BOUNDS: &[u64] = &[
    100_000_000,
    250_000_000,
    500_000_000,
    750_000_000,
    900_000_000,
    1_000_000_000,
];

/// Upper bounds for counts: powers of four up to 2³⁰.
const COUNT_BOUNDS: &[u64] = &[
    1,
    4,
    16,
    64,
    256,
    1_024,
    4_096,
    16_384,
    65_536,
    262_144,
    1_048_576,
    16_777_216,
    1_073_741_824,
];

const fn bounds(unit: Unit) -> &'static [u64] {
    match unit {
        Unit::Count(_) => COUNT_BOUNDS,
        Unit::Seconds => SECONDS_BOUNDS,
        Unit::Dollars => DOLLARS_BOUNDS,
        Unit::Ratio => RATIO_BOUNDS,
    }
}

/// Counts of observations by size.
#[derive(Clone, Debug)]
pub struct Histogram(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    bounds: &'static [u64],
    /// Observations per bucket, not cumulative; one more than `bounds` for what is above them all.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    /// Counts one observation, in what the metric keeps.
    pub fn observe(&self, value: u64) {
        let at = self.0.bounds.partition_point(|it| *it < value);
        if let Some(cell) = self.0.counts.get(at) {
            cell.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Counts one duration in a [`Unit::Seconds`] histogram.
    pub fn observe_duration(&self, took: Duration) {
        self.observe(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Counts one amount in a [`Unit::Dollars`] histogram.
    pub fn observe_money(&self, amount: NanoUsd) {
        self.observe(amount.0);
    }

    /// A timer that began at `start`.
    pub fn timer(&self, start: Monotonic) -> Timer {
        Timer {
            histogram: self.clone(),
            start,
        }
    }

    /// How many observations there were.
    pub fn count(&self) -> u64 {
        let counts = self.0.counts.iter().map(|it| it.load(Ordering::Relaxed));
        counts.fold(0, u64::saturating_add)
    }

    /// Their sum, in what the metric keeps.
    pub fn sum(&self) -> u64 {
        self.0.sum.load(Ordering::Relaxed)
    }
}

impl Instrument for Histogram {
    const KIND: Kind = Kind::Histogram;
    fn zero(unit: Unit) -> Self {
        let bounds = bounds(unit);
        Self(Arc::new(Cells {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }))
    }
}

/// Measures one duration. It reads no clock: whoever stops it says what time it is.
#[derive(Debug)]
#[must_use = "a timer that is not stopped measures nothing"]
pub struct Timer {
    histogram: Histogram,
    start: Monotonic,
}

impl Timer {
    /// Counts the time since the start.
    pub fn stop(self, now: Monotonic) -> Duration {
        let took = now.since(self.start);
        self.histogram.observe_duration(took);
        took
    }
}

/// One metric: its definition and the series of each of its label sets. `N` is the number of
/// labels, so that a wrong number of values does not compile.
#[derive(Debug)]
pub struct Family<I, const N: usize> {
    definition: Definition,
    series: RwLock<Series<I, N>>,
    /// Uses of label sets that were folded into [`OTHER`].
    folded: AtomicU64,
}

/// A label set and its series.
type Labelled<I, const N: usize> = ([Arc<str>; N], I);

#[derive(Debug)]
struct Series<I, const N: usize> {
    hasher: foldhash::fast::RandomState,
    /// By hash of the label values, so that a look-up needs no key of its own and allocates
    /// nothing. Two sets with one hash share a list.
    by_hash: HashMap<u64, Vec<Labelled<I, N>>, foldhash::fast::RandomState>,
    len: usize,
}

impl<I: Instrument, const N: usize> Family<I, N> {
    pub(crate) fn new(definition: Definition) -> Self {
        Self {
            definition,
            series: RwLock::new(Series {
                hasher: foldhash::fast::RandomState::default(),
                by_hash: HashMap::default(),
                len: 0,
            }),
            folded: AtomicU64::new(0),
        }
    }

    /// What the metric is.
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// The handle for these label values, in the order of the definition's labels. Values longer
    /// than [`LABEL_BYTES_MAX`] are cut; once [`LABEL_SETS_MAX`] sets exist, a new one gets the
    /// handle of the set whose values are all [`OTHER`], and the use is counted.
    pub fn with(&self, values: [&str; N]) -> I {
        let values = values.map(cut);
        {
            let series = self.series.read();
            if let Some(found) = series.find(&values) {
                return found;
            }
        }
        let mut series = self.series.write();
        if let Some(found) = series.find(&values) {
            return found;
        }
        if series.len < LABEL_SETS_MAX {
            return series.insert(values, self.definition.unit);
        }
        self.folded.fetch_add(1, Ordering::Relaxed);
        let other = [OTHER; N];
        match series.find(&other) {
            Some(found) => found,
            None => series.insert(other, self.definition.unit),
        }
    }

    /// Forgets one label set: what it counted no longer appears. For gauges of things that are
    /// gone (a platform that left the configuration).
    pub fn forget(&self, values: [&str; N]) {
        let values = values.map(cut);
        let mut series = self.series.write();
        let hash = series.hash(&values);
        let Some(list) = series.by_hash.get_mut(&hash) else {
            return;
        };
        let before = list.len();
        list.retain(|(found, _)| !same(found, &values));
        let gone = before - list.len();
        series.len -= gone;
    }

    /// Uses of label sets that were folded.
    pub fn folded(&self) -> u64 {
        self.folded.load(Ordering::Relaxed)
    }

    /// Every series, sorted by its label values.
    fn sorted(&self) -> Vec<Labelled<I, N>> {
        let series = self.series.read();
        let mut all: Vec<_> = series.by_hash.values().flatten().cloned().collect();
        drop(series);
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }
}

impl<I: Instrument, const N: usize> Series<I, N> {
    fn hash(&self, values: &[&str; N]) -> u64 {
        self.hasher.hash_one(values)
    }

    fn find(&self, values: &[&str; N]) -> Option<I> {
        let list = self.by_hash.get(&self.hash(values))?;
        let found = list.iter().find(|(found, _)| same(found, values));
        found.map(|(_, series)| series.clone())
    }

    fn insert(&mut self, values: [&str; N], unit: Unit) -> I {
        let series = I::zero(unit);
        let list = self.by_hash.entry(self.hash(&values)).or_default();
        list.push((values.map(Arc::from), series.clone()));
        self.len += 1;
        series
    }
}

fn same<const N: usize>(found: &[Arc<str>; N], values: &[&str; N]) -> bool {
    found.iter().zip(values).all(|(a, b)| **a == **b)
}

/// At most [`LABEL_BYTES_MAX`] bytes of `value`, without splitting a character.
fn cut(value: &str) -> &str {
    let end = value.floor_char_boundary(LABEL_BYTES_MAX);
    value.get(..end).unwrap_or(value)
}

#[cfg(test)]
mod tests;
