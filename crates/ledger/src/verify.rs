//! Checks a whole ledger from its rows alone.

use tidegate_types::NanoUsd;

use crate::{CHAIN_START, ChainHash, Defect, Fold, Overrun, Row, Seq, chain_after};

/// Findings that are kept in full; of more, the number is told. A ledger with a thousand is not
/// repaired line by line.
pub const FINDINGS_MAX: usize = 1_000;

/// What a row has against it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// A row is missing, doubled or out of order.
    #[error("row {found} stands where row {expected} belongs")]
    Order {
        /// The place that comes next.
        expected: Seq,
        /// The place the row says it has.
        found: Seq,
    },
    /// The row, or one before it, is not what was appended.
    #[error("row {0} is not what was appended: its chain does not follow")]
    Chain(Seq),
    /// The payload is no entry.
    #[error("row {seq} cannot be read: {what}")]
    Unreadable {
        /// Which.
        seq: Seq,
        /// What the parser says.
        what: String,
    },
    /// The row is as appended, and its entry cannot be.
    #[error("row {seq}: {defect}")]
    Defect {
        /// Which.
        seq: Seq,
        /// What is wrong.
        defect: Defect,
    },
}

/// What `ledger verify` says.
#[derive(Debug)]
pub struct Report {
    /// Rows read.
    pub rows: u64,
    /// Reservations in them.
    pub reservations: usize,
    /// Those that have not ended.
    pub open: usize,
    /// Of them: held.
    pub held: NanoUsd,
    /// The chain after the last row: keep it elsewhere, and a rewritten ledger is found out.
    pub head: ChainHash,
    /// What was booked above its hold.
    pub overruns: Vec<Overrun>,
    /// What is wrong, in order; at most [`FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// How much is wrong.
    pub findings_total: u64,
    /// The state that the rows lead to, to be compared with stored balances.
    pub fold: Fold,
}

impl Report {
    /// Whether nothing is wrong.
    pub const fn is_clean(&self) -> bool {
        self.findings_total == 0
    }

    fn find(&mut self, finding: Finding) {
        self.findings_total += 1;
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

/// Reads rows in order and says what is wrong with them: every reservation begins once and ends at
/// most once, amounts conserve, no call that a hard limit bound passed it, and every row is the one
/// that was appended. Overruns are no fault, and are listed.
///
/// What was cut off at the end cannot be seen in the rows: compare `rows` and `head` with what
/// is known from elsewhere, and `fold` with the stored balances.
pub fn verify(rows: impl IntoIterator<Item = Row>) -> Report {
    let mut report = Report {
        rows: 0,
        reservations: 0,
        open: 0,
        held: NanoUsd::ZERO,
        head: CHAIN_START,
        overruns: Vec::new(),
        findings: Vec::new(),
        findings_total: 0,
        fold: Fold::default(),
    };
    let mut expected = 1;
    for row in rows {
        examine(&mut report, &row, expected);
        // Go on from what is there: one missing row is one finding, not one per row after it.
        expected = row.seq.saturating_add(1);
        report.head = row.chain;
        report.rows += 1;
    }
    report.reservations = report.fold.reservations();
    report.open = report.fold.open_reservations().count();
    report.held = report.fold.open_reservations().map(|it| it.held).sum();
    report
}

fn examine(report: &mut Report, row: &Row, expected: Seq) {
    let seq = row.seq;
    if seq != expected {
        report.find(Finding::Order {
            expected,
            found: seq,
        });
    }
    if chain_after(report.head, &row.payload) != row.chain {
        report.find(Finding::Chain(seq));
    }
    match row.entry() {
        Err(error) => report.find(Finding::Unreadable {
            seq,
            what: error.to_string(),
        }),
        Ok(entry) => match report.fold.apply(&entry) {
            Ok(overrun) => report.overruns.extend(overrun),
            Err(defect) => report.find(Finding::Defect { seq, defect }),
        },
    }
}

#[cfg(test)]
mod tests;
