//! The transcript, line by line.

use std::{collections::HashMap, io::BufRead};

use serde::Deserialize;

use crate::{Finding, Report};

/// Findings that are kept: a transcript with more is broken throughout.
const FINDINGS_MAX: usize = 1_000;

/// The longest line: facts have under 300 bytes.
const LINE_BYTES_MAX: usize = 64 << 10;

/// A transcript that can't be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuditError {
    /// Reading failed.
    #[error("line {line} can't be read: {source}")]
    Read {
        /// Which, from 1.
        line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// A line is no fact.
    #[error("line {line} is no fact: {reason}")]
    Fact {
        /// Which, from 1.
        line: u64,
        /// Why.
        reason: String,
    },
    /// The first line does not say what the limits are.
    #[error("the first line must be a `day` with its limits")]
    NoDay,
}

/// A fact, as it is written.
#[derive(Debug, Deserialize)]
struct Fact {
    /// Nanoseconds since the day began.
    at: u64,
    what: String,
    #[serde(default)]
    call: String,
    /// `day`: counted input a minute.
    #[serde(default)]
    input_per_minute: u64,
    /// `day`: seconds of refill that the bucket holds.
    #[serde(default)]
    burst_seconds: u64,
    /// `day`: the hard limit in billionths of a dollar.
    #[serde(default)]
    limit: Option<u64>,
    /// `granted`, `settled`: counted input; expected, then used.
    #[serde(default)]
    input: u64,
    /// `granted`: billionths of a dollar.
    #[serde(default)]
    held: u64,
    /// `settled`: billionths of a dollar.
    #[serde(default)]
    cost: u64,
}

/// Where a call stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    #[default]
    Unknown,
    Ready,
    Taken,
    Begun,
    Ended,
}

/// What is open for a call.
#[derive(Clone, Copy, Debug)]
struct Grant {
    input: u64,
    held: u64,
}

/// A bucket in billionths of tokens per the sixtieth of a second, so that nothing is rounded: a token is
/// 6 × 10¹⁰ of them, and a limit of `n` a minute gives `n` every nanosecond.
#[derive(Debug, Default)]
struct Level {
    per_minute: i128,
    capacity: i128,
    left: i128,
    at: u64,
}

/// Of the unit of [`Level`], in a token.
const TOKEN: i128 = 60_000_000_000;

impl Level {
    fn full(per_minute: u64, burst_seconds: u64) -> Self {
        let capacity = i128::from(per_minute) * i128::from(burst_seconds) * 1_000_000_000;
        Self {
            per_minute: per_minute.into(),
            capacity,
            left: capacity,
            at: 0,
        }
    }

    fn refill(&mut self, at: u64) {
        let passed = i128::from(at.saturating_sub(self.at));
        self.at = self.at.max(at);
        self.left = (self.left + passed * self.per_minute).min(self.capacity);
    }

    /// Takes `tokens`; answers how many it lacked for that, where it was not full.
    fn take(&mut self, tokens: u64) -> u64 {
        let need = i128::from(tokens) * TOKEN;
        let lacked = need.min(self.capacity) - self.left;
        self.left -= need;
        u64::try_from((lacked + TOKEN - 1) / TOKEN).unwrap_or(0)
    }

    fn correct(&mut self, from: u64, to: u64) {
        let more = (i128::from(from) - i128::from(to)) * TOKEN;
        self.left = (self.left + more).min(self.capacity);
    }

    fn debt(&self) -> u64 {
        u64::try_from(-self.left / TOKEN).unwrap_or(0)
    }
}

#[derive(Default)]
struct Day {
    report: Report,
    line: u64,
    at: u64,
    phases: HashMap<String, Phase>,
    grants: HashMap<String, Grant>,
    level: Level,
    settled: u64,
    held: u64,
    lacked_max: u64,
    lacked: Vec<(u64, String, u64)>,
}

/// Audits a transcript.
pub fn audit(transcript: impl BufRead) -> Result<Report, AuditError> {
    let mut day = Day::default();
    let mut lines = transcript;
    let mut text = String::new();
    loop {
        text.clear();
        day.line += 1;
        let line = day.line;
        let mut limited = std::io::Read::take(&mut lines, LINE_BYTES_MAX as u64);
        let read = limited.read_line(&mut text);
        let read = read.map_err(|source| AuditError::Read { line, source })?;
        if read == 0 {
            break;
        }
        let fact = serde_json::from_str::<Fact>(&text).map_err(|error| AuditError::Fact {
            line,
            reason: error.to_string(),
        })?;
        if line == 1 {
            day.begin(&fact)?;
        } else {
            day.fact(fact);
        }
    }
    if day.line == 1 {
        return Err(AuditError::NoDay);
    }
    Ok(day.finish())
}

impl Day {
    fn begin(&mut self, fact: &Fact) -> Result<(), AuditError> {
        if fact.what != "day" || fact.input_per_minute == 0 || fact.burst_seconds == 0 {
            return Err(AuditError::NoDay);
        }
        self.level = Level::full(fact.input_per_minute, fact.burst_seconds);
        self.report.limit = fact.limit;
        Ok(())
    }

    fn fact(&mut self, fact: Fact) {
        if fact.at < self.at {
            self.find(
                &fact.call,
                format!("time steps back from {} to {}", self.at, fact.at),
            );
        }
        self.at = self.at.max(fact.at);
        self.level.refill(self.at);
        match fact.what.as_str() {
            "ready" => self.goes(fact.call, Phase::Unknown, Phase::Ready),
            "taken" => {
                self.report.taken += 1;
                self.goes(fact.call, Phase::Ready, Phase::Taken);
            }
            "begun" => self.goes(fact.call, Phase::Taken, Phase::Begun),
            "ended" => self.goes(fact.call, Phase::Begun, Phase::Ended),
            "granted" => self.granted(fact),
            "settled" => self.settled(&fact),
            "refused" => self.refused(&fact.call),
            _ => {}
        }
    }

    fn goes(&mut self, call: String, from: Phase, to: Phase) {
        let phase = self.phases.get(&call).copied().unwrap_or_default();
        if phase != from {
            self.find(&call, format!("it goes from {phase:?} to {to:?}"));
        }
        self.phases.insert(call, to);
    }

    fn granted(&mut self, fact: Fact) {
        if self.grants.contains_key(&fact.call) {
            self.find(
                &fact.call,
                "it is granted while an earlier grant is open".to_owned(),
            );
        }
        let lacked = self.level.take(fact.input);
        if lacked > 0 {
            self.lacked.push((self.line, fact.call.clone(), lacked));
        }
        self.held = self.held.saturating_add(fact.held);
        let committed = self.settled.saturating_add(self.held);
        self.report.committed_max = self.report.committed_max.max(committed);
        let overran: u64 = self.report.overruns.iter().map(|it| it.1).sum();
        if let Some(limit) = self.report.limit
            && fact.held > 0
            && committed > limit.saturating_add(overran)
        {
            self.find(
                &fact.call,
                format!("settled and held are {committed} n$, and the hard limit is {limit}"),
            );
        }
        let grant = Grant {
            input: fact.input,
            held: fact.held,
        };
        self.grants.insert(fact.call, grant);
    }

    fn settled(&mut self, fact: &Fact) {
        let Some(grant) = self.grants.remove(&fact.call) else {
            self.find(
                &fact.call,
                "it is settled, and nothing is granted".to_owned(),
            );
            return;
        };
        self.report.settled += 1;
        self.level.correct(grant.input, fact.input);
        self.report.debt_max = self.report.debt_max.max(self.level.debt());
        let error = grant.input.abs_diff(fact.input);
        self.report.estimate_error_max = self.report.estimate_error_max.max(error);
        self.held = self.held.saturating_sub(grant.held);
        self.settled = self.settled.saturating_add(fact.cost);
        if self.report.limit.is_some() && fact.cost > grant.held {
            let by = fact.cost - grant.held;
            self.report.overruns.push((fact.call.clone(), by));
        }
    }

    fn refused(&mut self, call: &str) {
        // Direct clients are refused without a grant.
        if let Some(grant) = self.grants.remove(call) {
            self.level.correct(grant.input, 0);
            self.held = self.held.saturating_sub(grant.held);
        }
    }

    fn finish(mut self) -> Report {
        self.report.lines = self.line - 1;
        // A grant can be wrong by what the estimates of all that ran were wrong by, and no more: a call whose
        // prefix had gone cold was granted for little, and those after it found less than was there.
        let may = self.report.debt_max.max(self.report.estimate_error_max);
        for (line, call, lacked) in std::mem::take(&mut self.lacked) {
            self.lacked_max = self.lacked_max.max(lacked);
            if lacked > may {
                let what = format!("it is granted where the bucket lacks {lacked} tokens for it");
                self.line = line;
                self.find(&call, what);
            }
        }
        let ended = |(call, _): &(&String, &Grant)| self.phases.get(*call) == Some(&Phase::Ended);
        let open: Vec<String> = (self.grants.iter().filter(ended))
            .map(|(call, _)| call.clone())
            .collect();
        for call in open {
            self.find(
                &call,
                "it has ended, and its grant is still open".to_owned(),
            );
        }
        self.report
    }

    fn find(&mut self, call: &str, what: String) {
        if self.report.findings.len() < FINDINGS_MAX {
            self.report.findings.push(Finding {
                line: self.line,
                call: call.to_owned(),
                what,
            });
        }
    }
}
