//! Rows from a CSV file, plain or gzipped, one at a time.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::{Path, PathBuf},
    time::Duration,
};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tidegate_types::Tokens;

use super::{Row, TraceError};
use crate::limits::TRACE_LINE_BYTES_MAX;

/// The columns as they are written.
#[derive(Deserialize)]
struct Columns {
    trace: String,
    agent: String,
    seq: u32,
    t_s: f64,
    kind: String,
    model: String,
    input_tokens: u64,
    output_tokens: u64,
    cached_tokens: u64,
    cache_age_s: Option<f64>,
    ttft_s: Option<f64>,
    api_s: Option<f64>,
    think_s: Option<f64>,
    stop: String,
    input_types: String,
    output_types: String,
}

/// Rows in the order of the file; ends after the first error.
pub struct Rows {
    path: PathBuf,
    records: csv::DeserializeRecordsIntoIter<Box<dyn Read + Send>, Columns>,
    /// An error in the header, still to be told.
    early: Option<TraceError>,
    failed: bool,
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// Reads a trace file, gzipped if its name ends in `.gz`, without ever holding more than a row.
///
/// A file that cannot be opened is the first and only item.
pub fn load(path: &Path) -> impl Iterator<Item = Result<Row, TraceError>> {
    let (rows, error) = match File::open(path) {
        Ok(file) => {
            let file = BufReader::new(file);
            let reader: Box<dyn Read + Send> = if path.extension().is_some_and(|it| it == "gz") {
                Box::new(MultiGzDecoder::new(file))
            } else {
                Box::new(file)
            };
            (Some(read(path, reader)), None)
        }
        Err(source) => {
            let path = path.to_owned();
            (None, Some(Err(TraceError::Open { path, source })))
        }
    };
    error.into_iter().chain(rows.into_iter().flatten())
}

/// Reads rows from `reader`; `path` is what errors call it.
pub fn read(path: &Path, reader: impl Read + Send + 'static) -> Rows {
    let bounded: Box<dyn Read + Send> = Box::new(BoundedLines { reader, length: 0 });
    let mut reader = csv::Reader::from_reader(bounded);
    // Asked for here, since the iterator would pass over an error in it.
    let header = reader.headers().map(drop);
    let early = header.map_err(|error| TraceError::line(path, 1, error.to_string()));
    Rows {
        path: path.to_owned(),
        records: reader.into_deserialize(),
        early: early.err(),
        failed: false,
    }
}

impl Iterator for Rows {
    type Item = Result<Row, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.early.take() {
            self.failed = true;
            return Some(Err(error));
        }
        if self.failed {
            return None;
        }
        let columns = self.records.next()?;
        let line = self.records.reader().position().line();
        let row = match columns {
            Ok(columns) => {
                // The position is that of what follows.
                let line = line.saturating_sub(1);
                row(columns, line).map_err(|reason| TraceError::line(&self.path, line, reason))
            }
            Err(error) => {
                let line = error.position().map_or(line, csv::Position::line);
                Err(TraceError::line(&self.path, line, error.to_string()))
            }
        };
        self.failed = row.is_err();
        Some(row)
    }
}

/// More tokens than any call can have; what is above is a mistake in the file.
const TOKENS_MAX: u64 = 1_000_000_000;

fn row(columns: Columns, line: u64) -> Result<Row, String> {
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|_| format!("`{name}` is {value}: not a time"))
    };
    let optional = |name: &str, value: Option<f64>| value.map(|it| seconds(name, it)).transpose();
    for (name, tokens) in [
        ("input_tokens", columns.input_tokens),
        ("output_tokens", columns.output_tokens),
    ] {
        if tokens > TOKENS_MAX {
            return Err(format!("`{name}` is {tokens}: over {TOKENS_MAX}"));
        }
    }
    if columns.cached_tokens > columns.input_tokens {
        return Err(format!(
            "`cached_tokens` is {}: more than the input of {}",
            columns.cached_tokens, columns.input_tokens
        ));
    }
    let streamed = match columns.kind.as_str() {
        "s" => true,
        "n" => false,
        other => return Err(format!("`kind` is `{other}`: neither `s` nor `n`")),
    };
    Ok(Row {
        seq: columns.seq,
        at: seconds("t_s", columns.t_s)?,
        streamed,
        input: Tokens(columns.input_tokens),
        output: Tokens(columns.output_tokens),
        cached: Tokens(columns.cached_tokens),
        cache_age: optional("cache_age_s", columns.cache_age_s)?,
        first_byte: optional("ttft_s", columns.ttft_s)?,
        api: optional("api_s", columns.api_s)?,
        think: optional("think_s", columns.think_s)?.unwrap_or_default(),
        trace: columns.trace,
        agent: columns.agent,
        model: columns.model,
        stop: columns.stop,
        input_types: columns.input_types,
        output_types: columns.output_types,
        line,
    })
}

/// Fails on a line that is too long, before it is held in memory.
struct BoundedLines<R> {
    reader: R,
    length: usize,
}

impl<R: Read> Read for BoundedLines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        for line in buffer[..count].split_inclusive(|it| *it == b'\n') {
            self.length += line.len();
            if self.length > TRACE_LINE_BYTES_MAX {
                let reason = format!("a line is longer than {TRACE_LINE_BYTES_MAX} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            }
            if line.ends_with(b"\n") {
                self.length = 0;
            }
        }
        Ok(count)
    }
}
