//! The log line of a call: derived from its record when it is read, and never stored.
//!
//! Its time is when the call arrived, so that it is found where the record is.

use std::{collections::BTreeSet, sync::LazyLock};

use super::SERVICE;
use crate::{
    event::{CallSettled, Event as _},
    record::Level,
    telemetry::{AT, Batch, Counts, ID, Key, Kind, calls, exact_key, logs, word_key},
};

/// Which column of a call's record each column of its line is.
const SAME: &[(usize, usize)] = &[
    (logs::AT, calls::AT),
    (logs::ID, calls::ID),
    (logs::ORGANISATION, calls::ORGANISATION),
    (logs::TASK, calls::TASK),
    (logs::PARENT_TASK, calls::PARENT_TASK),
    (logs::SESSION, calls::SESSION),
    (logs::USER, calls::USER),
    (logs::TRACE, calls::TRACE),
    (logs::SPAN, calls::SPAN),
    (logs::REQUEST, calls::REQUEST),
    (logs::ATTRIBUTES, calls::ATTRIBUTES),
];

const PHASE: &str = "settle";

/// The columns of a call's record that its line needs for these of its own.
pub fn line_columns(wanted: &BTreeSet<usize>) -> BTreeSet<usize> {
    let same = SAME.iter().filter(|(line, _)| wanted.contains(line));
    let mut columns: BTreeSet<usize> = same.map(|(_, call)| *call).collect();
    columns.extend([AT, ID, calls::OUTCOME]);
    columns
}

/// Whether any call's line may hold this, though no filter of a record says so.
pub fn is_of_a_line(key: Key) -> bool {
    static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
        let levels = Level::ALL
            .into_iter()
            .filter(|it| *it != Level::Debug && *it != Level::Critical);
        let levels = levels.map(|it| exact_key("level", it.word()));
        let fixed = [
            exact_key("service", SERVICE),
            exact_key("component", CallSettled::COMPONENT),
            exact_key("event", CallSettled::NAME),
            exact_key("phase", PHASE),
        ];
        let words = CallSettled::MESSAGE.split(' ').map(word_key);
        levels.chain(fixed).chain(words).collect()
    });
    KEYS.contains(&key)
}

/// The counts of calls by outcome as counts of lines by level.
pub fn line_counts(of: &Counts) -> Counts {
    of.renamed(|outcome| line_level(outcome).word())
}

/// The level of a call's line, by how the call ended.
pub fn line_level(outcome: &str) -> Level {
    match outcome {
        "refused" | "upstream_error" | "ended" => Level::Warning,
        "shed" | "stream_error" | "upstream_unreachable" | "upstream_lost" | "interrupted" => {
            Level::Error
        }
        _ => Level::Info,
    }
}

/// The lines of calls: a row of logs for each row of calls. Columns that the calls were read without
/// are absent.
pub fn lines(of: &Batch) -> Batch {
    let rows = of.rows();
    let mut lines = Batch::unfilled(Kind::Logs, rows);
    for (line, call) in SAME {
        lines.copy_column(*line, of, *call);
    }
    let outcomes: Vec<&str> = (0..rows)
        .map(|it| of.text(calls::OUTCOME, it).unwrap_or_default())
        .collect();
    let fixed = |text: &'static str| std::iter::repeat_n(text, rows);
    lines.fill_texts(logs::SERVICE, fixed(SERVICE));
    lines.fill_texts(logs::COMPONENT, fixed(CallSettled::COMPONENT));
    lines.fill_texts(logs::EVENT, fixed(CallSettled::NAME));
    lines.fill_texts(logs::PHASE, fixed(PHASE));
    lines.fill_texts(logs::LEVEL, outcomes.iter().map(|it| line_level(it).word()));
    // Each of its words is one of the record, or of every line: see [`is_of_a_line`].
    let bodies = outcomes
        .iter()
        .map(|it| format!("{}: {it}", CallSettled::MESSAGE));
    let bodies: Vec<String> = bodies.collect();
    lines.fill_texts(logs::BODY, bodies.iter().map(String::as_str));
    lines
}
