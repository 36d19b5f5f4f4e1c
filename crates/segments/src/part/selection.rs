//! Some of the rows of a group.

use std::ops::Range;

use tidegate_observe::telemetry::{PAGE_ROWS, Pages};

/// Rows of a group, as runs that ascend and don't touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    runs: Vec<Range<usize>>,
}

impl Selection {
    /// Those of some pages of a group of so many rows.
    pub(crate) fn of_pages(pages: Pages, rows: usize) -> Self {
        let runs = pages.rows(rows);
        Self { runs }
    }

    /// All rows of a group of so many.
    pub(crate) fn all(rows: usize) -> Self {
        let runs = std::iter::once(0..rows)
            .filter(|it| !it.is_empty())
            .collect();
        Self { runs }
    }

    /// How many there are.
    pub(crate) fn rows(&self) -> usize {
        self.runs.iter().map(ExactSizeIterator::len).sum()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(super) fn runs(&self) -> &[Range<usize>] {
        &self.runs
    }

    /// Those of these rows that are marked, each of which has a mark.
    pub(crate) fn marked(&self, marks: &[bool]) -> Self {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let rows = self.runs.iter().cloned().flatten();
        for (row, _) in rows.zip(marks).filter(|(_, marked)| **marked) {
            match runs.last_mut().filter(|it| it.end == row) {
                Some(run) => run.end += 1,
                None => runs.push(row..row + 1),
            }
        }
        Self { runs }
    }

    /// The runs of pages that have some of these rows, each with its rows among those of its pages.
    pub(super) fn by_pages(&self) -> Vec<(Range<usize>, Vec<Range<usize>>)> {
        let mut found: Vec<(Range<usize>, Vec<Range<usize>>)> = Vec::new();
        for run in &self.runs {
            let pages = run.start / PAGE_ROWS..run.end.div_ceil(PAGE_ROWS);
            match found.last_mut().filter(|(it, _)| it.end >= pages.start) {
                Some((to, _)) => to.end = pages.end,
                None => found.push((pages, Vec::new())),
            }
            if let Some((pages, runs)) = found.last_mut() {
                let before = pages.start * PAGE_ROWS;
                runs.push(run.start - before..run.end - before);
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
