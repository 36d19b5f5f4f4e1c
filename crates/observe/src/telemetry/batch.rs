//! Rows of one kind, column by column.

mod order;
mod texts;

use std::{borrow::Cow, fmt::Write as _, ops::Range};

use serde_json::{Map, Value as Json};
use tidegate_types::Timestamp;

pub(super) use self::texts::Texts;
use super::schema::{AT, ColumnType, ID, Kind, Schema};
use crate::record::rfc3339_nanos;

/// Stands for "absent" among integers: the one value a column can't hold.
pub const NONE: i64 = i64::MIN;

/// The longest text of one column of one row. What is longer is cut, and says so: a log line of
/// that length is a file somebody printed.
pub const TEXT_BYTES_MAX: usize = 64 * 1024;

/// About what the attributes of a call take.
const ATTRIBUTES_BYTES: usize = 1 << 10;

/// Rows of one kind. Columns may be missing from one that was read for a few of them: their values
/// are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    schema: &'static Schema,
    rows: usize,
    columns: Vec<Values>,
}

/// The values of one column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    Integers(Vec<i64>),
    Wide(Vec<u128>),
    Texts(Texts),
}

/// A value as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Of a column of times, integers, flags or spans.
    Integer(i64),
    /// Of a column of traces.
    Wide(u128),
    /// Of a column of words or texts; never empty.
    Text(&'a str),
}

impl Values {
    pub(super) fn new(holds: ColumnType) -> Self {
        Self::with_room(holds, 0)
    }

    /// None yet, with room for so many but for their text.
    fn with_room(holds: ColumnType, rows: usize) -> Self {
        match holds {
            ColumnType::Time | ColumnType::Integer | ColumnType::Flag | ColumnType::SpanId => {
                Self::Integers(Vec::with_capacity(rows))
            }
            ColumnType::TraceId => Self::Wide(Vec::with_capacity(rows)),
            ColumnType::Word | ColumnType::Text => Self::Texts(Texts {
                bytes: String::new(),
                ends: Vec::with_capacity(rows),
            }),
        }
    }

    #[inline]
    fn len(&self) -> usize {
        match self {
            Self::Integers(them) => them.len(),
            Self::Wide(them) => them.len(),
            Self::Texts(them) => them.ends.len(),
        }
    }

    fn pad(&mut self, rows: usize) {
        match self {
            Self::Integers(them) => them.resize(rows, NONE),
            Self::Wide(them) => them.resize(rows, 0),
            Self::Texts(them) => them.pad(rows),
        }
    }

    fn extend(&mut self, from: &Self, rows: Range<usize>) {
        match (self, from) {
            (Self::Integers(to), Self::Integers(from)) => to.extend_from_slice(&from[rows]),
            (Self::Wide(to), Self::Wide(from)) => to.extend_from_slice(&from[rows]),
            (Self::Texts(to), Self::Texts(from)) => to.append(from, rows),
            _ => {}
        }
    }

    /// With these runs of rows of another, one run after another.
    fn gathered(mut self, from: &Self, runs: &[Range<usize>]) -> Self {
        if let (Self::Texts(to), Self::Texts(from)) = (&mut self, from) {
            to.bytes
                .reserve(runs.iter().map(|it| from.bytes_of(it)).sum());
        }
        for run in runs {
            self.extend(from, run.clone());
        }
        self
    }
}

/// Rows as runs of such as stand one after another: most do, and are copied at once.
fn runs(rows: &[u32]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for row in rows.iter().filter_map(|it| usize::try_from(*it).ok()) {
        match runs.last_mut().filter(|it| it.end == row) {
            Some(run) => run.end += 1,
            None => runs.push(row..row + 1),
        }
    }
    runs
}

impl Batch {
    /// No rows yet.
    pub fn new(kind: Kind) -> Self {
        Self::with_room(kind, 0)
    }

    /// No rows yet, with room for so many, whose attributes are about a KiB each.
    pub fn with_room(kind: Kind, rows: usize) -> Self {
        let schema = kind.schema();
        let columns = schema.columns.iter();
        let columns = columns.map(|it| Values::with_room(it.holds, rows));
        let mut columns: Vec<Values> = columns.collect();
        if let Some(place) = schema.attributes()
            && let Values::Texts(them) = &mut columns[place]
        {
            them.bytes.reserve(rows * ATTRIBUTES_BYTES);
        }
        Self {
            schema,
            rows: 0,
            columns,
        }
    }

    /// Of these columns, which have one value for each row or, where they were not read, none.
    pub(super) fn of_columns(kind: Kind, rows: usize, columns: Vec<Values>) -> Self {
        Self {
            schema: kind.schema(),
            rows,
            columns,
        }
    }

    /// What its rows are.
    pub fn kind(&self) -> Kind {
        self.schema.kind
    }

    /// Its columns.
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Whether it has no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// About what it occupies in memory.
    pub fn bytes(&self) -> usize {
        let sizes = self.columns.iter().map(|it| match it {
            Values::Integers(them) => them.len() * 8,
            Values::Wide(them) => them.len() * 16,
            Values::Texts(them) => them.bytes.len() + them.ends.len() * 4,
        });
        sizes.sum()
    }

    /// Begins a row; it is there when the writer is dropped, with what was not set absent. Its
    /// [`ID`] is given when it is taken in. Times beyond the year 2262 are cut there.
    pub fn row(&mut self, at: Timestamp) -> RowWriter<'_> {
        let mut writer = RowWriter { batch: self };
        writer.integer(AT, i64::try_from(at.0).unwrap_or(i64::MAX));
        writer
    }

    /// Puts in the rows of a batch of the same kind.
    ///
    /// # Panics
    /// If the batch is of another kind, or has fewer rows.
    pub fn extend(&mut self, from: &Self, rows: Range<usize>) {
        assert!(
            self.kind() == from.kind(),
            "rows of {} and {} don't mix: keep a batch for each kind",
            self.kind(),
            from.kind()
        );
        for (to, from) in self.columns.iter_mut().zip(&from.columns) {
            if from.len() < rows.end {
                to.pad(self.rows + rows.len());
            } else {
                to.extend(from, rows.clone());
            }
        }
        self.rows += rows.len();
    }

    /// Puts in one row of the same kind.
    ///
    /// # Panics
    /// If it is of another kind.
    pub fn put_row(&mut self, row: &Row) {
        self.extend(&row.batch, 0..1);
    }

    /// The rows at these places, in this order.
    #[must_use]
    pub fn gather(&self, rows: &[u32]) -> Self {
        let runs = runs(rows);
        let gathered = self
            .columns
            .iter()
            .zip(self.schema.columns)
            .map(|(it, column)| {
                if it.len() == self.rows {
                    Values::with_room(column.holds, rows.len()).gathered(it, &runs)
                } else {
                    Values::new(column.holds)
                }
            });
        Self {
            schema: self.schema,
            rows: rows.len(),
            columns: gathered.collect(),
        }
    }

    /// Gives its rows the ids that follow `first`, in order.
    pub fn number(&mut self, first: i64) {
        let rows = i64::try_from(self.rows).unwrap_or(i64::MAX);
        self.columns[ID] = Values::Integers((first..first.saturating_add(rows)).collect());
    }

    /// Replaces a time that is outside of `sane` by `now`, keeping what it was in `claimed_time`
    /// where the kind has that column.
    pub fn correct_times(&mut self, sane: &Range<i64>, now: i64) {
        let claimed = self.schema.place("claimed_time");
        for row in 0..self.rows {
            let Some(at) = self.integer(AT, row).filter(|it| !sane.contains(it)) else {
                continue;
            };
            self.set(AT, row, now);
            if let Some(claimed) = claimed {
                self.set(claimed, row, at);
            }
        }
    }

    fn set(&mut self, column: usize, row: usize, value: i64) {
        if let Values::Integers(them) = &mut self.columns[column]
            && let Some(it) = them.get_mut(row)
        {
            *it = value;
        }
    }

    /// The value of a column of times, integers, flags or spans.
    pub fn integer(&self, column: usize, row: usize) -> Option<i64> {
        match &self.columns[column] {
            Values::Integers(them) => them.get(row).copied().filter(|it| *it != NONE),
            Values::Wide(_) | Values::Texts(_) => None,
        }
    }

    /// The value of a column of words or texts.
    pub fn text(&self, column: usize, row: usize) -> Option<&str> {
        match &self.columns[column] {
            Values::Texts(them) => them.get(row).filter(|it| !it.is_empty()),
            Values::Integers(_) | Values::Wide(_) => None,
        }
    }

    /// The value of a column of traces.
    pub fn wide(&self, column: usize, row: usize) -> Option<u128> {
        match &self.columns[column] {
            Values::Wide(them) => them.get(row).copied().filter(|it| *it != 0),
            Values::Integers(_) | Values::Texts(_) => None,
        }
    }

    /// The value of any column.
    pub fn value(&self, column: usize, row: usize) -> Option<Value<'_>> {
        match &self.columns[column] {
            Values::Integers(_) => self.integer(column, row).map(Value::Integer),
            Values::Wide(_) => self.wide(column, row).map(Value::Wide),
            Values::Texts(_) => self.text(column, row).map(Value::Text),
        }
    }

    /// The values of a column of times, integers, flags or spans, [`NONE`] where they are absent;
    /// nothing for another column.
    pub fn integers(&self, column: usize) -> &[i64] {
        match &self.columns[column] {
            Values::Integers(them) => them,
            Values::Wide(_) | Values::Texts(_) => &[],
        }
    }

    /// The text of all rows of a column one after another, and where each ends in it; nothing for
    /// another column.
    pub fn texts(&self, column: usize) -> (&str, &[u32]) {
        match &self.columns[column] {
            Values::Texts(them) => (&them.bytes, &them.ends),
            Values::Integers(_) | Values::Wide(_) => ("", &[]),
        }
    }

    /// Whether some row has a value of this column.
    pub fn has(&self, column: usize) -> bool {
        match &self.columns[column] {
            Values::Integers(them) => them.iter().any(|it| *it != NONE),
            Values::Wide(them) => them.iter().any(|it| *it != 0),
            Values::Texts(them) => !them.bytes.is_empty(),
        }
    }

    /// The columns that have a value in some row, the first as the lowest bit.
    pub fn present(&self) -> u64 {
        let present = (0..self.columns.len()).filter(|it| self.has(*it));
        present.fold(0, |bits, it| bits | 1 << it)
    }

    /// Puts whole columns in place: integers, [`NONE`] where they are absent.
    ///
    /// # Panics
    /// If there are more or fewer values than rows.
    pub fn fill_integers(&mut self, column: usize, values: Vec<i64>) {
        assert!(values.len() == self.rows, "one value for each row");
        if let Values::Integers(them) = &mut self.columns[column] {
            *them = values;
        }
    }

    /// Puts whole columns in place: ids of traces, 0 where they are absent.
    ///
    /// # Panics
    /// If there are more or fewer values than rows.
    pub fn fill_wide(&mut self, column: usize, values: Vec<u128>) {
        assert!(values.len() == self.rows, "one value for each row");
        if let Values::Wide(them) = &mut self.columns[column] {
            *them = values;
        }
    }

    /// Puts whole columns in place: texts, empty where they are absent.
    ///
    /// # Panics
    /// If there are more or fewer values than rows.
    pub fn fill_texts<'a>(
        &mut self,
        column: usize,
        values: impl ExactSizeIterator<Item = &'a str>,
    ) {
        assert!(values.len() == self.rows, "one value for each row");
        if let Values::Texts(them) = &mut self.columns[column] {
            *them = Texts::default();
            for text in values {
                them.push(text);
            }
        }
    }

    /// Puts a whole column of texts in place: all of them one after another, and where that of each row
    /// ends.
    ///
    /// # Panics
    /// If there are more or fewer ends than rows.
    pub fn put_texts(&mut self, column: usize, bytes: String, ends: Vec<u32>) {
        assert!(ends.len() == self.rows, "one end for each row");
        if let Values::Texts(them) = &mut self.columns[column] {
            *them = Texts { bytes, ends };
        }
    }

    /// Takes over a column of another batch with as many rows, which holds the same type.
    pub(super) fn copy_column(&mut self, to: usize, from: &Self, column: usize) {
        self.columns[to] = from.columns[column].clone();
    }

    /// Takes over the columns that another batch has values of and this one has not been given.
    ///
    /// # Panics
    /// If it has more or fewer rows.
    pub fn adopt(&mut self, from: Self) {
        assert!(self.rows == from.rows, "the same rows have as many values");
        for (to, from) in self.columns.iter_mut().zip(from.columns) {
            if to.len() == 0 {
                *to = from;
            }
        }
    }

    /// Adds values of some rows of another batch to those that it has of a column.
    pub fn append_column(&mut self, column: usize, mut from: Self, rows: &[Range<usize>]) {
        let to = &mut self.columns[column];
        if to.len() == 0 && matches!(rows, [all] if *all == (0..from.rows)) {
            std::mem::swap(to, &mut from.columns[column]);
            return;
        }
        for run in rows {
            to.extend(&from.columns[column], run.clone());
        }
    }

    /// As many rows without values, to be filled column by column.
    pub fn unfilled(kind: Kind, rows: usize) -> Self {
        Self {
            rows,
            ..Self::new(kind)
        }
    }

    /// One row, taken out.
    pub fn take(&self, row: usize) -> Row {
        let mut taken = Self::new(self.kind());
        taken.extend(self, row..row + 1);
        Row { batch: taken }
    }

    pub(super) fn columns(&self) -> &[Values] {
        &self.columns
    }
}

/// Writes one row. A value that is set twice keeps the first, and one of another type than its
/// column is a defect of the caller.
#[derive(Debug)]
pub struct RowWriter<'a> {
    batch: &'a mut Batch,
}

impl RowWriter<'_> {
    /// Sets a time, an integer, a flag or a span.
    pub fn integer(&mut self, column: usize, value: i64) -> &mut Self {
        let rows = self.batch.rows;
        if let Some(Values::Integers(them)) = self.missing(column) {
            them.resize(rows, NONE);
            them.push(value);
        }
        self
    }

    /// Sets a trace.
    pub fn wide(&mut self, column: usize, value: u128) -> &mut Self {
        let rows = self.batch.rows;
        if let Some(Values::Wide(them)) = self.missing(column) {
            them.resize(rows, 0);
            them.push(value);
        }
        self
    }

    /// Sets a word or a text. One that is longer than [`TEXT_BYTES_MAX`] is cut.
    pub fn text(&mut self, column: usize, value: &str) -> &mut Self {
        let rows = self.batch.rows;
        if let Some(it @ Values::Texts(_)) = self.missing(column) {
            if it.len() < rows {
                it.pad(rows);
            }
            if let Values::Texts(them) = it {
                them.push(&cut(value));
            }
        }
        self
    }

    /// The column, unless this row has its value.
    fn missing(&mut self, column: usize) -> Option<&mut Values> {
        let rows = self.batch.rows;
        let values = &mut self.batch.columns[column];
        (values.len() <= rows).then_some(values)
    }
}

impl Drop for RowWriter<'_> {
    fn drop(&mut self) {
        self.batch.rows += 1;
        let rows = self.batch.rows;
        for values in &mut self.batch.columns {
            if values.len() < rows {
                values.pad(rows);
            }
        }
    }
}

fn cut(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(TEXT_BYTES_MAX - 40);
    Cow::Owned(format!(
        "{}… ({} bytes cut)",
        &text[..end],
        text.len() - end
    ))
}

/// One row of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    batch: Batch,
}

impl Row {
    /// What it is.
    pub fn kind(&self) -> Kind {
        self.batch.kind()
    }

    /// When it happened.
    pub fn at(&self) -> Timestamp {
        Timestamp(
            self.batch
                .integer(AT, 0)
                .map_or(0, |it| u64::try_from(it).unwrap_or(0)),
        )
    }

    /// Its number.
    pub fn id(&self) -> i64 {
        self.batch.integer(ID, 0).unwrap_or(0)
    }

    /// The value of a column.
    pub fn value(&self, column: usize) -> Option<Value<'_>> {
        self.batch.value(column, 0)
    }

    /// The text of a column.
    pub fn text(&self, column: usize) -> Option<&str> {
        self.batch.text(column, 0)
    }

    /// The integer of a column.
    pub fn integer(&self, column: usize) -> Option<i64> {
        self.batch.integer(column, 0)
    }

    /// As a JSON object without absent columns: times in RFC 3339, ids in hexadecimal digits, and
    /// what is JSON in a text as JSON.
    pub fn json(&self) -> Json {
        let mut object = Map::new();
        for (place, column) in self.batch.schema.columns.iter().enumerate() {
            let Some(value) = self.value(place) else {
                continue;
            };
            let shown = match value {
                Value::Text(text)
                    if matches!(column.name, "attributes" | "events" | "links" | "point") =>
                {
                    serde_json::from_str(text).unwrap_or_else(|_| text.into())
                }
                Value::Integer(it) if column.holds == ColumnType::Flag => Json::Bool(it != 0),
                Value::Integer(it) if column.holds == ColumnType::Integer => it.into(),
                _ => shown(column.holds, value).into(),
            };
            object.insert(column.name.to_owned(), shown);
        }
        Json::Object(object)
    }
}

/// The written form of a value, as filters take it.
pub(super) fn shown(holds: ColumnType, value: Value<'_>) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _infallible = match (holds, value) {
        (ColumnType::Time, Value::Integer(it)) => {
            out = rfc3339_nanos(Timestamp(u64::try_from(it).unwrap_or(0)));
            Ok(())
        }
        (ColumnType::SpanId, Value::Integer(it)) => write!(out, "{:016x}", it.cast_unsigned()),
        (_, Value::Integer(it)) => write!(out, "{it}"),
        (_, Value::Wide(it)) => write!(out, "{it:032x}"),
        (_, Value::Text(it)) => write!(out, "{it}"),
    };
    out
}

#[cfg(test)]
mod tests;
