//! Checks a whole ledger from its rows alone.

use tidegate_types::NanoUsd;

use crate::{
    Balance, CHAIN_START, ChainHash, Defect, Fold, LedgerStore, LevelKey, Overrun, Row, Seq,
    Snapshot, StoreError, chain_after,
};

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
    /// Rows at the end are gone, or were put there by somebody else.
    #[error("the ledger ends at row {rows} ({head}), and its own note says row {noted} ({note})")]
    Head {
        /// Rows read.
        rows: Seq,
        /// The chain after the last of them.
        head: ChainHash,
        /// The last row that was appended.
        noted: Seq,
        /// The chain after it.
        note: ChainHash,
    },
    /// A stored balance is not what the rows lead to.
    #[error("{level} is stored with {stored}, and its entries lead to {folded}")]
    Balance {
        /// Which.
        level: LevelKey,
        /// As stored.
        stored: Balance,
        /// By the rows.
        folded: Balance,
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
    /// The place of the next row.
    due: Seq,
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
/// is known from elsewhere, or use [`verify_store`].
pub fn verify(rows: impl IntoIterator<Item = Row>) -> Report {
    let mut report = Report::empty();
    for row in rows {
        report.take(&row);
    }
    report.close();
    report
}

/// As [`verify`], of a store's rows as they are at one moment, and compares what they lead to with
/// what the store keeps beside them.
pub fn verify_store(store: &dyn LedgerStore) -> Result<Report, StoreError> {
    let mut report = Report::empty();
    let snapshot = store.snapshot(&mut |row| report.take(&row))?;
    report.close();
    report.compare(&snapshot);
    Ok(report)
}

impl Report {
    fn empty() -> Self {
        Self {
            rows: 0,
            reservations: 0,
            open: 0,
            held: NanoUsd::ZERO,
            head: CHAIN_START,
            overruns: Vec::new(),
            findings: Vec::new(),
            findings_total: 0,
            fold: Fold::default(),
            due: 1,
        }
    }

    fn take(&mut self, row: &Row) {
        examine(self, row);
        // Go on from what is there: one missing row is one finding, not one per row after it.
        self.due = row.seq.saturating_add(1);
        self.head = row.chain;
        self.rows += 1;
    }

    fn close(&mut self) {
        self.reservations = self.fold.reservations();
        self.open = self.fold.open_reservations().count();
        self.held = self.fold.open_reservations().map(|it| it.held).sum();
    }

    fn compare(&mut self, snapshot: &Snapshot) {
        let last = self.due - 1;
        if (last, self.head) != (snapshot.rows, snapshot.head) {
            self.find(Finding::Head {
                rows: last,
                head: self.head,
                noted: snapshot.rows,
                note: snapshot.head,
            });
        }
        let mut folded = self.fold.balances().clone();
        for (level, stored) in &snapshot.balances {
            let by_rows = folded.remove(level).unwrap_or_default();
            if by_rows != *stored {
                self.find(Finding::Balance {
                    level: level.clone(),
                    stored: *stored,
                    folded: by_rows,
                });
            }
        }
        for (level, by_rows) in folded {
            self.find(Finding::Balance {
                level,
                stored: Balance::default(),
                folded: by_rows,
            });
        }
    }
}

fn examine(report: &mut Report, row: &Row) {
    let (seq, expected) = (row.seq, report.due);
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
