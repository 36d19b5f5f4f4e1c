//! What an audit found.

use std::fmt;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The line of the transcript, from 1.
    pub line: u64,
    /// Which call, where it is one's.
    pub call: String,
    /// What is wrong.
    pub what: String,
}

/// What was read, and what was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Lines that were read.
    pub lines: u64,
    /// Calls that the provider took.
    pub taken: u64,
    /// Reservations that were settled.
    pub settled: u64,
    /// Promises that were broken.
    pub findings: Vec<Finding>,
    /// Calls that cost more than was held for them, with how much in billionths of a dollar. Not a finding: no
    /// bound can hold what a provider adds by itself; one that nobody lists would be.
    pub overruns: Vec<(String, u64)>,
    /// The most that was settled and held at once, in billionths of a dollar.
    pub committed_max: u64,
    /// The hard limit, where there was one.
    pub limit: Option<u64>,
    /// The deepest debt of the bucket of input, in tokens.
    pub debt_max: u64,
    /// The largest error of one estimate of input, in tokens.
    pub estimate_error_max: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} lines: {} calls taken by the provider, {} reservations settled",
            self.lines, self.taken, self.settled
        )?;
        if let Some(limit) = self.limit {
            writeln!(
                f,
                "hard limit {limit} n$: at most {} settled and held",
                self.committed_max
            )?;
        }
        writeln!(
            f,
            "input bucket: at most {} tokens of debt; the largest error of an estimate was {}",
            self.debt_max, self.estimate_error_max
        )?;
        for (call, by) in &self.overruns {
            writeln!(f, "overrun: call {call} cost {by} n$ more than was held")?;
        }
        for finding in &self.findings {
            writeln!(
                f,
                "line {}: call {}: {}",
                finding.line, finding.call, finding.what
            )?;
        }
        match self.findings.len() {
            0 => writeln!(f, "nothing was found"),
            1 => writeln!(f, "1 finding"),
            more => writeln!(f, "{more} findings"),
        }
    }
}
