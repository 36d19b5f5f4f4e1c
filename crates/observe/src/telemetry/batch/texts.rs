//! Texts one after another, in one piece of memory.

use std::ops::Range;

/// The most text of one column of one batch; what would pass it is left out. Batches are refused
/// long before, by whoever takes them in.
const COLUMN_BYTES_MAX: usize = 1 << 30;

/// Texts one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::telemetry) struct Texts {
    pub(in crate::telemetry) bytes: String,
    pub(in crate::telemetry) ends: Vec<u32>,
}

impl Texts {
    pub(super) fn get(&self, row: usize) -> Option<&str> {
        let end = usize::try_from(*self.ends.get(row)?).ok()?;
        let start = match row.checked_sub(1) {
            Some(before) => usize::try_from(self.ends[before]).ok()?,
            None => 0,
        };
        self.bytes.get(start..end)
    }

    /// Where a row's text begins.
    pub(super) fn start(&self, row: usize) -> u32 {
        let before = row.checked_sub(1).and_then(|it| self.ends.get(it));
        before.copied().unwrap_or(0)
    }

    /// How long the texts of these rows are together.
    pub(super) fn bytes_of(&self, rows: &Range<usize>) -> usize {
        let bytes = self.start(rows.end).saturating_sub(self.start(rows.start));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// Puts in the texts of rows that stand one after another: all at once, unless they don't fit.
    pub(super) fn append(&mut self, from: &Self, rows: Range<usize>) {
        let (start, end) = (from.start(rows.start), from.start(rows.end));
        let place = |it| usize::try_from(it).unwrap_or(usize::MAX);
        let bytes = from.bytes.get(place(start)..place(end)).unwrap_or_default();
        let base = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        if self.bytes.len() + bytes.len() > COLUMN_BYTES_MAX {
            for row in rows {
                self.push(from.get(row).unwrap_or_default());
            }
            return;
        }
        self.bytes.push_str(bytes);
        let ends = from.ends[rows].iter();
        self.ends.extend(ends.map(|it| it - start + base));
    }

    /// Adds rows without a text until there are so many.
    pub(super) fn pad(&mut self, rows: usize) {
        let end = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.ends.resize(rows, end);
    }

    pub(super) fn push(&mut self, text: &str) {
        if self.bytes.len() + text.len() <= COLUMN_BYTES_MAX {
            self.bytes.push_str(text);
        }
        self.ends
            .push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }
}
