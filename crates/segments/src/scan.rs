//! Rows that match, newest first, as of one moment.

use std::{
    collections::{BTreeSet, BinaryHeap},
    ops::Range,
    sync::Arc,
};

use rusqlite::Connection;
use tidegate_observe::telemetry::{AT, Batch, BlockFilters, Bloom, ID, Pages, Row};
use tidegate_types::Monotonic;

use crate::{
    catalogue::{self, BlockHead},
    error::SegmentsError,
    lens::Lens,
    limits::QUERY_TIME_MAX,
    part::{Filters, Part, PartReader, Selection},
    query::{Query, QueryError},
    seal,
    segments::Core,
};

/// Everything there is at one moment: what is sealed or dropped meanwhile stays readable.
pub(crate) struct View {
    core: Arc<Core>,
    /// Missing where the database can't be read: then parts are all there is.
    reader: Option<Connection>,
    pub(crate) parts: Arc<Vec<Arc<Part>>>,
    pub(crate) damaged: Vec<String>,
    /// Parts of which something can't be read: set aside when this view of them ends, so that it
    /// still has their other groups.
    unreadable: Vec<Arc<Part>>,
    /// Parts that are open, the one that was used last at the end.
    open: Vec<Arc<PartReader>>,
    /// Filters that are open, in the same order.
    filters: Vec<Arc<Filters>>,
    until: Monotonic,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("parts", &self.parts.len())
            .finish_non_exhaustive()
    }
}

impl View {
    pub(crate) fn of(core: &Arc<Core>) -> Self {
        // Parts and blocks change together under this lock.
        let parts = core.parts.read();
        let reader = core.catalogue.reader();
        let until = core.clock.monotonic().after(QUERY_TIME_MAX);
        let mut view = Self {
            core: core.clone(),
            reader: None,
            parts: parts.clone(),
            damaged: Vec::new(),
            unreadable: Vec::new(),
            open: Vec::new(),
            filters: Vec::new(),
            until,
        };
        drop(parts);
        match reader {
            Ok(reader) => view.reader = Some(reader),
            Err(error) => view.damaged.push(error.to_string()),
        }
        view
    }

    /// Blocks and row groups in which rows of the query can be, the latest first.
    pub(crate) fn sources(&mut self, query: &Query) -> Vec<Source> {
        let range = query.range(&self.core);
        let overlaps = |first: i64, last: i64| first < range.end && last >= range.start;
        let mut sources = Vec::new();
        for (kind, lens) in Lens::onto(query.filter.kind()) {
            let heads = match &self.reader {
                Some(reader) => catalogue::blocks(reader, kind),
                None => Ok(Vec::new()),
            };
            match heads {
                Ok(heads) => {
                    let heads = heads.into_iter().filter(|it| overlaps(it.first, it.last));
                    sources.extend(heads.map(|it| Source::Block(it, lens)));
                }
                Err(error) => self.note(SegmentsError::sqlite(self.core.catalogue.path(), error)),
            }
            for part in self.parts.iter().filter(|it| it.row.kind == kind) {
                let groups = part.index.groups.iter().enumerate();
                let groups = groups.filter(|(_, it)| overlaps(it.first, it.last));
                let group = |(group, _)| Source::Group(part.clone(), group, lens);
                sources.extend(groups.map(group));
            }
        }
        sources.sort_by_key(|it| std::cmp::Reverse(it.times().1));
        sources
    }

    /// What could not be read.
    pub(crate) fn note(&mut self, error: SegmentsError) {
        self.damaged.push(error.to_string());
    }

    /// The counts of a block by the minute.
    pub(crate) fn counts(&self, block: i64) -> Result<Vec<u8>, SegmentsError> {
        self.ask(|it| catalogue::counts(it, block))
    }

    fn ask<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, SegmentsError> {
        let path = self.core.catalogue.path();
        let Some(reader) = &self.reader else {
            return Err(SegmentsError::damaged(path, "it could not be opened"));
        };
        work(reader).map_err(|it| SegmentsError::sqlite(path, it))
    }

    /// Opens a source and finds its rows that match, with the columns that are asked for and those that
    /// the filter and the order need; without columns, how many there are. A source that is damaged is
    /// noted, and has none; a damaged part is set aside when the view ends.
    pub(crate) fn open(
        &mut self,
        query: &Query,
        source: &Source,
        columns: Option<&[usize]>,
    ) -> Result<Option<Found>, QueryError> {
        if self.core.clock.monotonic() >= self.until {
            return Err(QueryError::TooLong {
                seconds: QUERY_TIME_MAX.as_secs(),
            });
        }
        let range = query.range(&self.core);
        let found = match source {
            Source::Block(head, lens) => self.open_block(query, (*head, *lens), range),
            Source::Group(part, group, lens) => {
                let wanted = Wanted {
                    range,
                    lens: *lens,
                    columns,
                };
                self.open_group(query, (part, *group), wanted)
            }
        };
        match found {
            Ok(found) => Ok(found),
            Err(error @ SegmentsError::Damaged { .. }) => {
                self.note(error);
                if let Source::Group(part, ..) = source
                    && !self.unreadable.iter().any(|it| Arc::ptr_eq(it, part))
                {
                    self.unreadable.push(part.clone());
                }
                Ok(None)
            }
            Err(other) => Err(QueryError::Unreadable(other)),
        }
    }

    fn open_block(
        &self,
        query: &Query,
        (head, lens): (BlockHead, Lens),
        range: Range<i64>,
    ) -> Result<Option<Found>, SegmentsError> {
        if !query.filter.is_all() {
            let (ids, words) = self.ask(|it| catalogue::filters(it, head.id))?;
            let blooms = (Bloom::from_bytes(ids), Bloom::from_bytes(words));
            // Filters that are damaged exclude nothing.
            if let (Some(ids), Some(words)) = blooms {
                let filters = BlockFilters { ids, words };
                let mut pages = |it| Pages::from(lens.adds(it) || filters.may_hold(it));
                if query.filter.may_match(&mut pages).is_none() {
                    return Ok(None);
                }
            }
        }
        let packed = self.ask(|it| catalogue::records(it, head.id))?;
        let batch = seal::unpack(&packed).map_err(|why| {
            let path = self.core.catalogue.path();
            SegmentsError::damaged(path, format!("block {}: {why}", head.id))
        })?;
        let batch = lens.seen(batch);
        let rows = matching(query, &batch, &range);
        Ok((!rows.is_empty()).then_some(Found { batch, rows }))
    }

    fn open_group(
        &mut self,
        query: &Query,
        (part, group): (&Arc<Part>, usize),
        wanted: Wanted<'_>,
    ) -> Result<Option<Found>, SegmentsError> {
        let Wanted { range, lens, .. } = &wanted;
        let index = &part.index.groups[group];
        let mut pages = Pages::ALL;
        if !query.filter.is_all()
            && let Some(filters) = self.filters_of(part)?
        {
            pages = may_match(query, &filters, (group, *lens))?;
            if pages.is_none() {
                return Ok(None);
            }
        }
        let mut some = SomeRows {
            reader: self.reader_of(part)?,
            group,
            rows: Selection::of_pages(pages, index.rows),
            batch: Batch::new(part.row.kind),
            read: BTreeSet::new(),
        };
        some.read(lens.columns(query.filter.columns()))?;
        // Where a filter has erred, nothing else is read.
        let marks = query.filter.matching(&lens.see(&some.batch));
        some.keep(&marks);
        let is_whole = range.contains(&index.first) && range.contains(&index.last);
        let timeless = wanted.columns.is_none() && is_whole && query.before.is_none();
        if some.rows.is_empty() || timeless {
            return Ok(some.found());
        }
        some.read([AT, ID])?;
        some.keep(&in_time(query, &some.batch, range));
        if let Some(columns) = wanted.columns {
            some.read(lens.columns(columns.iter().copied().collect()))?;
        }
        some.batch = lens.seen(some.batch);
        Ok(some.found())
    }

    /// Opens the filters of a part, unless they are open.
    fn filters_of(&mut self, part: &Arc<Part>) -> Result<Option<Arc<Filters>>, SegmentsError> {
        let mut open = self.filters.iter();
        if let Some(place) = open.position(|it| Arc::ptr_eq(it.part(), part)) {
            let filters = self.filters.remove(place);
            self.filters.push(filters.clone());
            return Ok(Some(filters));
        }
        let Some(filters) = part.filters()?.map(Arc::new) else {
            return Ok(None);
        };
        if self.filters.len() == FILTERS_MAX {
            self.filters.remove(0);
        }
        self.filters.push(filters.clone());
        Ok(Some(filters))
    }

    /// Opens a part, unless it is open.
    fn reader_of(&mut self, part: &Arc<Part>) -> Result<Arc<PartReader>, SegmentsError> {
        if let Some(place) = self.open.iter().position(|it| Arc::ptr_eq(it.part(), part)) {
            let reader = self.open.remove(place);
            self.open.push(reader.clone());
            return Ok(reader);
        }
        let reader = Arc::new(PartReader::open(part)?);
        if self.open.len() == READERS_MAX {
            self.open.remove(0);
        }
        self.open.push(reader.clone());
        Ok(reader)
    }
}

/// What is wanted of a group.
struct Wanted<'a> {
    range: Range<i64>,
    lens: Lens,
    /// Columns, beside those that the filter and the order need; `None`: how many rows there are.
    columns: Option<&'a [usize]>,
}

/// Rows of a group that may still be wanted, and what was read of them.
struct SomeRows {
    reader: Arc<PartReader>,
    group: usize,
    rows: Selection,
    batch: Batch,
    read: BTreeSet<usize>,
}

impl SomeRows {
    /// Reads columns that were not read yet.
    fn read(&mut self, columns: impl IntoIterator<Item = usize>) -> Result<(), SegmentsError> {
        let columns = columns.into_iter().filter(|it| self.read.insert(*it));
        let read = self.reader.read(self.group, columns, &self.rows)?;
        if self.batch.is_empty() {
            self.batch = read;
        } else {
            self.batch.adopt(read);
        }
        Ok(())
    }

    /// Keeps those that are marked.
    fn keep(&mut self, marks: &[bool]) {
        if !marks.contains(&false) {
            return;
        }
        self.rows = self.rows.marked(marks);
        let kept = (0..).zip(marks).filter(|(_, marked)| **marked);
        self.batch = self
            .batch
            .gather(&kept.map(|(it, _)| it).collect::<Vec<u32>>());
    }

    fn found(self) -> Option<Found> {
        let rows = self.batch.by_time();
        (!self.rows.is_empty()).then_some(Found {
            batch: self.batch,
            rows,
        })
    }
}

/// Parts that a query has open at the same time: those of some hours. What is known of each takes
/// a megabyte or two.
const READERS_MAX: usize = 8;

/// Filters that a query has open at the same time: a file for each, asked in turn with those of the
/// same time.
const FILTERS_MAX: usize = 32;

impl Drop for View {
    fn drop(&mut self) {
        for part in &self.unreadable {
            // Where that fails, the next query finds it again.
            let _left = self.core.set_aside(part);
        }
        if let Some(reader) = self.reader.take() {
            self.core.catalogue.give_back(reader);
        }
    }
}

/// Where in a group rows may match. What can't be asked is read.
fn may_match(
    query: &Query,
    filters: &Filters,
    (group, lens): (usize, Lens),
) -> Result<Pages, SegmentsError> {
    let mut failed = None;
    let pages = query.filter.may_match(&mut |key| {
        if lens.adds(key) {
            return Pages::ALL;
        }
        filters.pages(group, key).unwrap_or_else(|error| {
            failed = Some(error);
            Pages::ALL
        })
    });
    failed.map_or(Ok(pages), Err)
}

/// The rows that match, oldest first.
fn matching(query: &Query, batch: &Batch, range: &Range<i64>) -> Vec<u32> {
    let mut marks = query.filter.matching(batch);
    for (mark, in_time) in marks.iter_mut().zip(in_time(query, batch, range)) {
        *mark &= in_time;
    }
    let mut rows = batch.by_time();
    rows.retain(|it| usize::try_from(*it).is_ok_and(|it| marks[it]));
    rows
}

/// For each row whether it is of the time that is asked for.
fn in_time(query: &Query, batch: &Batch, range: &Range<i64>) -> Vec<bool> {
    let (times, ids) = (batch.integers(AT), batch.integers(ID));
    let is_in = |(at, id): (&i64, &i64)| {
        let before = query.before.is_none_or(|it| (*at, *id) < it);
        range.contains(at) && before
    };
    times.iter().zip(ids).map(is_in).collect()
}

/// Where rows can be.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    Block(BlockHead, Lens),
    Group(Arc<Part>, usize, Lens),
}

impl Source {
    pub(crate) fn times(&self) -> (i64, i64) {
        match self {
            Self::Block(head, _) => (head.first, head.last),
            Self::Group(part, group, _) => {
                let index = &part.index.groups[*group];
                (index.first, index.last)
            }
        }
    }

    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Block(head, _) => head.rows,
            Self::Group(part, group, _) => part.index.groups[*group].rows,
        }
    }
}

/// Rows of a source that match, oldest first.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) batch: Batch,
    pub(crate) rows: Vec<u32>,
}

/// An open source, ordered by its newest row.
#[derive(Debug)]
struct Open {
    /// The time and the id of the newest row that is left.
    newest: (i64, i64),
    found: Found,
}

impl Open {
    fn new(found: Found) -> Option<Self> {
        let row = usize::try_from(*found.rows.last()?).ok()?;
        let at = found.batch.integer(AT, row).unwrap_or(0);
        let id = found.batch.integer(ID, row).unwrap_or(0);
        let newest = (at, id);
        Some(Self { newest, found })
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.newest == other.newest
    }
}
impl Eq for Open {}
impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Open {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.newest.cmp(&other.newest)
    }
}

/// The rows that match a query, newest first. They are read as they are asked for, so that the
/// latest few cost little however many there are.
#[derive(Debug)]
pub struct Rows {
    view: View,
    query: Query,
    /// What was not opened yet, the latest last.
    closed: Vec<Source>,
    open: BinaryHeap<Open>,
    /// All columns there are.
    columns: Vec<usize>,
    left: usize,
}

impl Rows {
    pub(crate) fn new(core: &Arc<Core>, query: Query) -> Self {
        let mut view = View::of(core);
        let mut closed = view.sources(&query);
        closed.reverse();
        Self {
            view,
            left: query.rows_max(),
            columns: (0..query.filter.kind().schema().columns.len()).collect(),
            query,
            closed,
            open: BinaryHeap::new(),
        }
    }

    /// What could not be read so far and was left out, with the reason.
    pub fn damaged(&self) -> &[String] {
        &self.view.damaged
    }

    /// Opens what may have a row that is newer than all open ones.
    fn open_next(&mut self) -> Result<(), QueryError> {
        while let Some(source) = self.closed.last() {
            let newest = self.open.peek().map(|it| it.newest.0);
            if newest.is_some_and(|it| it > source.times().1) {
                break;
            }
            let found = self.view.open(&self.query, source, Some(&self.columns))?;
            self.closed.pop();
            self.open.extend(found.and_then(Open::new));
        }
        Ok(())
    }
}

impl Iterator for Rows {
    type Item = Result<Row, QueryError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        if let Err(error) = self.open_next() {
            self.left = 0;
            return Some(Err(error));
        }
        let mut open = self.open.pop()?;
        let row = usize::try_from(open.found.rows.pop()?).ok()?;
        let taken = open.found.batch.take(row);
        self.open.extend(Open::new(open.found));
        self.left -= 1;
        Some(Ok(taken))
    }
}
