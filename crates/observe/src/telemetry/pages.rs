//! Pages of a row group: runs of rows that can be read without the others.

use std::ops::{BitAnd, BitOr, Range};

/// Rows of a page. Its texts are some forty kilobytes, and packed a fifth of that: a word is looked
/// for in them in a twentieth of a millisecond.
pub const PAGE_ROWS: usize = 512;

/// The most pages of a group that are told apart.
pub const PAGES_MAX: usize = 32;

/// Some of the pages of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pages(u32);

impl Pages {
    /// All of them.
    pub const ALL: Self = Self(u32::MAX);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// One of them, from 0 on; all that are beyond [`PAGES_MAX`] count as the last.
    pub(super) fn one(page: usize) -> Self {
        Self(1 << page.min(PAGES_MAX - 1))
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// A bit for each page, that of the first the lowest.
    pub(super) fn bits(self) -> u32 {
        self.0
    }

    /// How many there are.
    pub(super) fn count(self) -> u32 {
        self.0.count_ones()
    }

    /// Whether there are none.
    pub fn is_none(self) -> bool {
        self == Self::NONE
    }

    /// Which rows these are, in a group of so many.
    pub fn rows(self, rows: usize) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (page, start) in (0..rows).step_by(PAGE_ROWS).enumerate() {
            if (self & Self::one(page)).is_none() {
                continue;
            }
            let end = rows.min(start + PAGE_ROWS);
            match runs.last_mut().filter(|it| it.end == start) {
                Some(run) => run.end = end,
                None => runs.push(start..end),
            }
        }
        runs
    }
}

impl BitAnd for Pages {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Pages {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// All of them or none.
impl From<bool> for Pages {
    fn from(all: bool) -> Self {
        if all { Self::ALL } else { Self::NONE }
    }
}

#[cfg(test)]
mod tests;
