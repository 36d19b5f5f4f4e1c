//! Recorded Claude Code sessions as a CSV file with a row for each call, one at a time.

use std::path::{Path, PathBuf};

use super::{
    Row, TraceError,
    fields::{Record, Table},
    source::{Reader, Source},
};

/// The columns that the file must have.
pub(super) const COLUMNS: [&str; 16] = [
    "trace",
    "agent",
    "seq",
    "t_s",
    "kind",
    "model",
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_age_s",
    "ttft_s",
    "api_s",
    "think_s",
    "stop",
    "input_types",
    "output_types",
];

/// Rows in the order of the file; ends after the first error.
pub struct Rows {
    path: PathBuf,
    /// `None` once there is no more to say.
    table: Option<Table>,
    /// An error in the header, still to be told.
    early: Option<TraceError>,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads a trace file, gzipped or not, without ever holding more than a row.
///
/// A file that cannot be opened is the first and only item.
pub fn load(path: &Path) -> impl Iterator<Item = Result<Row, TraceError>> {
    let (rows, error) = match Source::open(path) {
        Ok(source) => (Some(rows(path, source.reader)), None),
        Err(error) => (None, Some(Err(error))),
    };
    error.into_iter().chain(rows.into_iter().flatten())
}

/// Reads rows from `reader`; `path` is what errors call it.
pub fn read(path: &Path, reader: impl std::io::Read + Send + 'static) -> Rows {
    rows(path, Box::new(reader))
}

pub(super) fn rows(path: &Path, reader: Reader) -> Rows {
    let opened = Table::open(path, reader, &COLUMNS, &[]);
    let (table, early) = match opened {
        Ok(table) => (Some(table), None),
        Err(error) => (None, Some(error)),
    };
    Rows {
        path: path.to_owned(),
        table,
        early,
    }
}

impl Iterator for Rows {
    type Item = Result<Row, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.early.take() {
            return Some(Err(error));
        }
        let next = self.table.as_mut()?.next();
        let row = next.and_then(|it| it.map(|it| row(&it)).transpose());
        if !matches!(row, Ok(Some(_))) {
            self.table = None;
        }
        row.transpose()
    }
}

fn row(of: &Record<'_>) -> Result<Row, TraceError> {
    let (input, cached) = (of.tokens("input_tokens")?, of.tokens("cached_tokens")?);
    if cached > input {
        let text = of.text("cached_tokens");
        let remedy = format!(
            "it is part of `input_tokens`, which is {}: write no more than that",
            input.0
        );
        return Err(of.place.wrong("cached_tokens", text, &remedy));
    }
    let streamed = match of.text("kind") {
        "s" => true,
        "n" => false,
        other => {
            let remedy = "write `s` where the answer was streamed, else `n`";
            return Err(of.place.wrong("kind", other, remedy));
        }
    };
    Ok(Row {
        trace: of.text("trace").to_owned(),
        agent: of.text("agent").to_owned(),
        seq: of.count("seq")?,
        at: of.seconds("t_s")?,
        streamed,
        model: of.text("model").to_owned(),
        input,
        output: of.tokens("output_tokens")?,
        cached,
        cache_age: of.optional_seconds("cache_age_s")?,
        first_byte: of.optional_seconds("ttft_s")?,
        api: of.optional_seconds("api_s")?,
        think: of.optional_seconds("think_s")?.unwrap_or_default(),
        stop: of.text("stop").to_owned(),
        input_types: of.text("input_types").to_owned(),
        output_types: of.text("output_types").to_owned(),
        line: of.place.line,
    })
}
