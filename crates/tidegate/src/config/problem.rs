//! What is wrong with a configuration: all of it at once, each with its place and remedy.

use std::fmt;

use tidegate_observe::redact::redact;

use super::tree::Origin;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// Which key, with its tables: `platforms.sonnet.provider`. Empty for a file that is no TOML.
    pub(crate) key: String,
    /// What is wrong, with the value, and what to write instead. Secrets in it are not shown.
    pub(crate) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.origin)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", redact(&self.key))?;
        }
        // Somebody may have pasted a key where none belongs.
        f.write_str(&redact(&self.message))
    }
}

/// Why a configuration is refused. Nothing of it took effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problems(pub(crate) Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The known word that `written` was most likely meant to be: the nearest one, if a few slips of
/// the finger lead to it.
pub(crate) fn nearest<'a>(
    written: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // One slip in three letters; beyond that a suggestion is a guess.
    let slips_max = (written.chars().count() / 3).max(1);
    let distances = known.into_iter().map(|it| (slips(written, it), it));
    let (slips, found) = distances.min_by_key(|(slips, _)| *slips)?;
    (slips <= slips_max).then_some(found)
}

/// Letters to change, add, leave out or swap with their neighbour to get from `a` to `b`.
fn slips(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let width = b.len() + 1;
    let mut rows = vec![(0..width).collect::<Vec<usize>>()];
    let cell = |rows: &[Vec<usize>], row: usize, column: usize| {
        let row = rows.get(row).and_then(|it| it.get(column));
        row.copied().unwrap_or(usize::MAX)
    };
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let left = row.last().copied().unwrap_or(0).saturating_add(1);
            let above = cell(&rows, i, j + 1).saturating_add(1);
            let mut best = left.min(above);
            best = best.min(cell(&rows, i, j).saturating_add(usize::from(x != y)));
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(y) && b.get(j - 1) == Some(x);
            if swapped {
                best = best.min(cell(&rows, i - 1, j - 1).saturating_add(1));
            }
            row.push(best);
        }
        rows.push(row);
    }
    cell(&rows, a.len(), b.len())
}
