//! What can be asked: rows, how many, and how many of each level over time.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use tidegate_observe::telemetry::{Batch, Counts, Filter};
use tidegate_types::{Disposition, Timestamp};

use crate::{
    error::SegmentsError,
    scan::{Rows, Source, View},
    segments::{Core, Segments, nanos},
};

/// The most rows that one query gives. Whoever wants more asks on from the last one.
pub const QUERY_ROWS_MAX: usize = 1_000_000;

/// The most bars of one histogram: wider than any screen.
const BARS_MAX: u64 = 10_000;

const MINUTE: i64 = 60_000_000_000;

/// Which rows are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// What they must be.
    pub filter: Filter,
    /// From this time on.
    pub from: Timestamp,
    /// Up to this time, without it.
    pub to: Timestamp,
    /// Only rows that come before this one, in time or, at the same time, by id: to read on.
    pub before: Option<(i64, i64)>,
    /// At most so many; more than [`QUERY_ROWS_MAX`] gives that many.
    pub limit: usize,
}

impl Query {
    /// The latest rows that match, of all times.
    pub fn latest(filter: Filter, limit: usize) -> Self {
        Self {
            filter,
            from: Timestamp(0),
            to: Timestamp(u64::MAX),
            before: None,
            limit,
        }
    }

    /// The same between two times, without the second.
    #[must_use]
    pub fn between(self, from: Timestamp, to: Timestamp) -> Self {
        Self { from, to, ..self }
    }

    /// The times of rows that are shown: those that are too old are not, though they may be there.
    pub(crate) fn range(&self, core: &Core) -> Range<i64> {
        let keep = core.options.keep.of(self.filter.kind());
        let keep = i64::try_from(keep.as_nanos()).unwrap_or(i64::MAX);
        let oldest = nanos(core.clock.now()).saturating_sub(keep);
        nanos(self.from).max(oldest)..nanos(self.to)
    }

    pub(crate) fn rows_max(&self) -> usize {
        self.limit.min(QUERY_ROWS_MAX)
    }
}

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum QueryError {
    /// It took longer than any may.
    #[error(
        "the query took longer than {seconds} s; ask for a shorter time, or by an id or a rarer word"
    )]
    TooLong {
        /// What it may take.
        seconds: u64,
    },
    /// A histogram would have too many bars, or bars of no length.
    #[error("{bars} bars are more than {most}; ask for longer ones, of whole minutes")]
    TooManyBars {
        /// What it would have.
        bars: u64,
        /// What it may have.
        most: u64,
    },
    /// A file could not be read.
    #[error("telemetry could not be read")]
    Unreadable(#[source] SegmentsError),
}

impl QueryError {
    /// What the caller should do.
    pub const fn disposition(&self) -> Disposition {
        match self {
            Self::TooLong { .. } | Self::TooManyBars { .. } => Disposition::FixRequest,
            Self::Unreadable(_) => Disposition::Escalate,
        }
    }
}

/// How many rows match.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// The rows.
    pub rows: u64,
    /// What could not be read and was left out, with the reason.
    pub damaged: Vec<String>,
}

/// How many rows of each level, status, outcome or state there are from a time on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bar {
    /// When it begins.
    pub at: Timestamp,
    /// By level; those without one, and of rare ones, are under the empty word.
    pub counts: BTreeMap<String, u64>,
}

impl Segments {
    /// The rows that match, newest first, as they are now.
    pub fn rows(&self, query: Query) -> Rows {
        Rows::new(self.core(), query)
    }

    /// How many rows match; the query's limit has no say.
    ///
    /// # Errors
    /// A query that takes too long, or a file that can't be read.
    pub fn count(&self, query: &Query) -> Result<Counted, QueryError> {
        let mut view = View::of(self.core());
        let range = query.range(self.core());
        let mut rows = 0;
        for source in view.sources(query) {
            rows += if is_whole(query, &source, &range) {
                source.rows() as u64
            } else {
                let found = view.open(query, &source, None)?;
                found.map_or(0, |it| it.rows.len() as u64)
            };
        }
        let damaged = std::mem::take(&mut view.damaged);
        Ok(Counted { rows, damaged })
    }

    /// Shows all rows that match, some at a time and in no order, with these columns and those of the
    /// filter: for sums, since no row is taken out. The query's limit has no say. Returns what could
    /// not be read and was left out, with the reason.
    ///
    /// # Errors
    /// A query that takes too long, or a file that can't be read.
    pub fn visit(
        &self,
        query: &Query,
        columns: &[usize],
        mut each: impl FnMut(&Batch, &[u32]),
    ) -> Result<Vec<String>, QueryError> {
        let mut view = View::of(self.core());
        for source in view.sources(query) {
            if let Some(found) = view.open(query, &source, Some(columns))? {
                each(&found.batch, &found.rows);
            }
        }
        Ok(std::mem::take(&mut view.damaged))
    }

    /// How many rows match in each step of time, by level. Steps are whole minutes; the first
    /// begins at the query's time rounded down to the minute, and the last is whole. Steps without
    /// rows are left out.
    ///
    /// Without a condition no record is read.
    ///
    /// # Errors
    /// More steps than 10,000, a query that takes too long, or a file that can't be read.
    pub fn histogram(&self, query: &Query, step: Duration) -> Result<Vec<Bar>, QueryError> {
        let core = self.core();
        let minutes = i64::try_from(step.as_secs() / 60).unwrap_or(i64::MAX);
        let mut view = View::of(core);
        let mut sources = view.sources(query);
        let range = query.range(core);
        let first = sources.iter().map(|it| it.times().0).min();
        let last = sources.iter().map(|it| it.times().1).max();
        let (Some(first), Some(last)) = (first, last) else {
            return Ok(Vec::new());
        };
        let start = first.max(range.start).div_euclid(MINUTE);
        let end = last.min(range.end.saturating_sub(1)).div_euclid(MINUTE) + 1;
        let bars = u64::try_from(end - start)
            .unwrap_or(0)
            .checked_div(minutes.unsigned_abs());
        let bars = bars.unwrap_or(u64::MAX);
        if bars > BARS_MAX {
            let most = BARS_MAX;
            return Err(QueryError::TooManyBars { bars, most });
        }
        let mut counts = Counts::default();
        if query.filter.is_all() && query.before.is_none() {
            add_parts(&mut sources, &(start..end), &mut counts);
        }
        let whole = Query {
            from: minute(start),
            to: minute(end),
            ..query.clone()
        };
        for source in sources {
            count_source(&mut view, &whole, &source, &mut counts)?;
        }
        Ok(bars_of(&counts, start..end, minutes))
    }
}

/// Counts parts by their indexes, and leaves the other sources.
fn add_parts(sources: &mut Vec<Source>, minutes: &Range<i64>, counts: &mut Counts) {
    let mut seen = BTreeSet::new();
    sources.retain(|it| match it {
        Source::Block(..) => true,
        Source::Group(part, _, lens) => {
            if seen.insert(part.row.id) {
                counts.add_within(&lens.counts(&part.index.counts), minutes);
            }
            false
        }
    });
}

/// Whether all rows of a source match.
fn is_whole(query: &Query, source: &Source, range: &Range<i64>) -> bool {
    let (first, last) = source.times();
    let inside = range.contains(&first) && range.contains(&last);
    query.filter.is_all() && query.before.is_none() && inside
}

fn count_source(
    view: &mut View,
    query: &Query,
    source: &Source,
    to: &mut Counts,
) -> Result<(), QueryError> {
    if let Source::Block(head, lens) = source
        && query.filter.is_all()
        && query.before.is_none()
        && let Some(counts) = view
            .counts(head.id)
            .ok()
            .and_then(|it| Counts::decode(&it).ok())
    {
        let minutes = nanos(query.from).div_euclid(MINUTE)..nanos(query.to).div_euclid(MINUTE);
        to.add_within(&lens.counts(&counts), &minutes);
        return Ok(());
    }
    let counted = query.filter.kind().schema().counted;
    let Some(found) = view.open(query, source, Some(counted.as_slice()))? else {
        return Ok(());
    };
    to.add(&Counts::of(&found.batch.gather(&found.rows)));
    Ok(())
}

fn minute(minutes: i64) -> Timestamp {
    Timestamp(u64::try_from(minutes.saturating_mul(MINUTE)).unwrap_or(0))
}

fn bars_of(counts: &Counts, minutes: Range<i64>, step: i64) -> Vec<Bar> {
    let mut bars: BTreeMap<i64, BTreeMap<String, u64>> = BTreeMap::new();
    for (at, word, count) in counts.iter().filter(|it| minutes.contains(&it.0)) {
        let start = at - (at - minutes.start).rem_euclid(step);
        let bar = bars.entry(start).or_default();
        *bar.entry(word.to_owned()).or_default() += count;
    }
    let bar = |(start, counts)| Bar {
        at: minute(start),
        counts,
    };
    bars.into_iter().map(bar).collect()
}
