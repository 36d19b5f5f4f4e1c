//! Values of a file, by their names: whatever is wrong with one names file, line, name, value and remedy.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Map, Value};
use tidegate_types::{Timestamp, Tokens};

use super::{
    TraceError,
    source::{BoundedLines, Lines, Reader},
};
use crate::limits::TRACE_LINE_BYTES_MAX;

/// More tokens than any call can have; what is above is a mistake in the file.
pub(super) const TOKENS_MAX: u64 = 1_000_000_000;

/// More seconds than any trace lasts: ten years.
const SECONDS_MAX: f64 = 315_360_000.0;

/// How much of a wrong value is repeated.
const SHOWN_MAX: usize = 60;

/// Where a value stands, for what is said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) path: &'a Path,
    pub(super) line: u64,
}

impl Place<'_> {
    /// A value that can't be: its name, itself, and what to write instead.
    pub(super) fn wrong(self, name: &str, value: &str, remedy: &str) -> TraceError {
        let short: String = value.chars().take(SHOWN_MAX).collect();
        let more = if short.len() < value.len() { "…" } else { "" };
        self.error(format!("`{name}` is `{short}{more}`: {remedy}"))
    }

    pub(super) fn error(self, reason: impl Into<String>) -> TraceError {
        TraceError::line(self.path, self.line, reason)
    }

    fn tokens(self, name: &str, value: &str) -> Result<Tokens, TraceError> {
        match value.parse() {
            Ok(tokens) if tokens <= TOKENS_MAX => Ok(Tokens(tokens)),
            _ => {
                let remedy = format!("write a whole number of tokens, {TOKENS_MAX} at most");
                Err(self.wrong(name, value, &remedy))
            }
        }
    }

    fn seconds(self, name: &str, value: &str) -> Result<Duration, TraceError> {
        let number = value.parse::<f64>().ok();
        let number = number.filter(|it| (0.0..=SECONDS_MAX).contains(it));
        number
            .map(Duration::from_secs_f64)
            .ok_or_else(|| self.wrong(name, value, "write seconds, 0 or more"))
    }

    /// A moment, as most programs write it; without a zone it is UTC.
    pub(super) fn moment(self, name: &str, value: &str) -> Result<Timestamp, TraceError> {
        let zoned = value.parse::<jiff::Timestamp>();
        let parsed = zoned.or_else(|_| {
            let bare = value.parse::<jiff::civil::DateTime>()?;
            bare.to_zoned(jiff::tz::TimeZone::UTC)
                .map(|it| it.timestamp())
        });
        let nanos = parsed.ok().map(jiff::Timestamp::as_nanosecond);
        let nanos = nanos.and_then(|it| u64::try_from(it).ok());
        nanos.map(Timestamp).ok_or_else(|| {
            let remedy = "write a time like 2026-07-14T12:00:00.5Z";
            self.wrong(name, value, remedy)
        })
    }
}

/// A CSV file whose first line names its columns.
pub(super) struct Table {
    path: PathBuf,
    reader: csv::Reader<BoundedLines<Reader>>,
    record: csv::StringRecord,
    /// Where the columns are that are wanted; `None`: the file has no such column, and may lack it.
    columns: Vec<(&'static str, Option<usize>)>,
}

impl Table {
    /// Reads the first line. The file must have all columns that are `wanted`, those that are `optional` it may lack,
    /// and others are passed over.
    pub(super) fn open(
        path: &Path,
        reader: Reader,
        wanted: &[&'static str],
        optional: &[&'static str],
    ) -> Result<Self, TraceError> {
        let mut reader = csv::Reader::from_reader(BoundedLines::new(reader, TRACE_LINE_BYTES_MAX));
        let place = Place { path, line: 1 };
        let head = reader
            .headers()
            .map_err(|error| place.error(error.to_string()))?;
        let names: Vec<&str> = head.iter().map(|it| it.trim_matches('\u{feff}')).collect();
        let find = |name: &&'static str| (*name, names.iter().position(|it| it.trim() == *name));
        let columns: Vec<_> = wanted.iter().chain(optional).map(find).collect();
        let missing = columns.iter().take(wanted.len()).find(|it| it.1.is_none());
        if let Some((name, _)) = missing {
            let there: String = names.join(", ").chars().take(400).collect();
            let reason = format!("there is no column `{name}`; there are {there}");
            return Err(place.error(reason));
        }
        Ok(Self {
            path: path.to_owned(),
            reader,
            record: csv::StringRecord::new(),
            columns,
        })
    }

    /// The next row; `None`: there is none.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>, TraceError> {
        match self.reader.read_record(&mut self.record) {
            Ok(false) => Ok(None),
            Ok(true) => {
                let line = self.record.position().map_or(0, csv::Position::line);
                Ok(Some(Record {
                    place: Place {
                        path: &self.path,
                        line,
                    },
                    table: self,
                }))
            }
            Err(error) => {
                let line = error.position().map(csv::Position::line);
                let line = line.unwrap_or_else(|| self.reader.position().line());
                let reason = match error.kind() {
                    csv::ErrorKind::UnequalLengths {
                        expected_len, len, ..
                    } => {
                        format!("it has {len} fields: the first line names {expected_len} columns")
                    }
                    csv::ErrorKind::Utf8 { .. } => {
                        "it is not UTF-8: save the file as that".to_owned()
                    }
                    _ => error.to_string(),
                };
                Err(TraceError::line(&self.path, line, reason))
            }
        }
    }
}

/// A row of a [`Table`].
#[derive(Clone, Copy)]
pub(super) struct Record<'a> {
    pub(super) place: Place<'a>,
    table: &'a Table,
}

impl<'a> Record<'a> {
    /// A column's text; empty where the file has no such column.
    pub(super) fn text(&self, name: &str) -> &'a str {
        let found = self.table.columns.iter().find(|it| it.0 == name);
        let at = found.and_then(|it| it.1);
        at.and_then(|it| self.table.record.get(it))
            .unwrap_or_default()
            .trim()
    }

    pub(super) fn tokens(&self, name: &str) -> Result<Tokens, TraceError> {
        self.place.tokens(name, self.text(name))
    }

    pub(super) fn seconds(&self, name: &str) -> Result<Duration, TraceError> {
        self.place.seconds(name, self.text(name))
    }

    /// As [`Self::seconds`]; `None` where nothing is written.
    pub(super) fn optional_seconds(&self, name: &str) -> Result<Option<Duration>, TraceError> {
        let text = self.text(name);
        (!text.is_empty())
            .then(|| self.place.seconds(name, text))
            .transpose()
    }

    /// A whole number below 2³².
    pub(super) fn count(&self, name: &str) -> Result<u32, TraceError> {
        let text = self.text(name);
        text.parse().map_err(|_| {
            self.place
                .wrong(name, text, "write a whole number, 0 or more")
        })
    }

    /// A number above 0.
    pub(super) fn positive(&self, name: &str) -> Result<f64, TraceError> {
        let text = self.text(name);
        let number = text
            .parse::<f64>()
            .ok()
            .filter(|it| it.is_finite() && *it > 0.0);
        number.ok_or_else(|| self.place.wrong(name, text, "write a number above 0"))
    }

    pub(super) fn moment(&self, name: &str) -> Result<Timestamp, TraceError> {
        self.place.moment(name, self.text(name))
    }
}

/// A JSON object and its line.
pub(super) type Numbered = (u64, Map<String, Value>);

/// The objects of a file that has one on each line.
pub(super) struct Objects {
    path: PathBuf,
    lines: Lines,
}

impl Objects {
    pub(super) fn new(path: &Path, reader: Reader) -> Self {
        Self {
            path: path.to_owned(),
            lines: Lines::new(path, reader, TRACE_LINE_BYTES_MAX),
        }
    }

    /// The next object and its line; `None`: there is none.
    pub(super) fn next(&mut self) -> Result<Option<Numbered>, TraceError> {
        let Some(line) = self.lines.next()? else {
            return Ok(None);
        };
        match serde_json::from_slice(line.text) {
            Ok(map) => Ok(Some((line.number, map))),
            Err(error) => {
                let reason = format!("it is no JSON object: {}", on_its_line(&error));
                Err(TraceError::line(&self.path, line.number, reason))
            }
        }
    }
}

/// What is wrong with a line of JSON, which does not know that it is one of many.
pub(super) fn on_its_line(error: &serde_json::Error) -> String {
    error.to_string().replace("at line 1 column", "at column")
}

/// A JSON object, read by its keys.
#[derive(Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) place: Place<'a>,
    pub(super) map: &'a Map<String, Value>,
    /// What it is in, for what is said of its keys: `usage.`, or nothing.
    pub(super) within: &'static str,
}

impl<'a> Object<'a> {
    /// What is wrong with a key, as [`Place::wrong`].
    pub(super) fn wrong(&self, key: &str, remedy: &str) -> TraceError {
        let name = format!("{}{key}", self.within);
        match self.map.get(key) {
            None => self.place.error(format!("`{name}` is missing: {remedy}")),
            Some(value) => self.place.wrong(&name, &value.to_string(), remedy),
        }
    }

    /// A text; `None` where there is none.
    pub(super) fn text(&self, key: &str) -> Option<&'a str> {
        let text = self.map.get(key).and_then(Value::as_str);
        text.filter(|it| !it.is_empty())
    }

    /// A whole number, 0 or more.
    pub(super) fn whole(&self, key: &str, remedy: &str) -> Result<u64, TraceError> {
        let number = self.map.get(key).and_then(Value::as_u64);
        number.ok_or_else(|| self.wrong(key, remedy))
    }

    pub(super) fn tokens(&self, key: &str) -> Result<Tokens, TraceError> {
        let remedy = "write a whole number of tokens";
        let tokens = self.whole(key, remedy)?;
        if tokens > TOKENS_MAX {
            return Err(self.wrong(key, &format!("{remedy}, {TOKENS_MAX} at most")));
        }
        Ok(Tokens(tokens))
    }

    /// As [`Self::tokens`]; none where the key is missing or null.
    pub(super) fn tokens_or_none(&self, key: &str) -> Result<Tokens, TraceError> {
        match self.map.get(key) {
            None | Some(Value::Null) => Ok(Tokens(0)),
            Some(_) => self.tokens(key),
        }
    }

    /// The object at a key; `None` where there is none.
    pub(super) fn object(&self, key: &str, within: &'static str) -> Option<Self> {
        let map = self.map.get(key)?.as_object()?;
        Some(Self {
            place: self.place,
            map,
            within,
        })
    }
}
