//! Rows as files.

use std::io::{self, Write};

use serde_json::Value;
use tidegate_observe::telemetry::{Kind, Row};
use tidegate_segments::{ExportError, QueryError, write_parquet};

use crate::error::Error;

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Jsonl,
    Csv,
    Parquet,
}

impl Form {
    pub(super) fn of(asked: Option<&str>) -> Result<Self, Error> {
        match asked {
            None | Some("jsonl") => Ok(Self::Jsonl),
            Some("csv") => Ok(Self::Csv),
            Some("parquet") => Ok(Self::Parquet),
            Some(other) => Err(Error::Value {
                key: "format",
                value: other.chars().take(60).collect(),
                wanted: "jsonl, csv or parquet".to_owned(),
            }),
        }
    }

    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Writes all rows, and flushes.
    pub(super) fn write(
        self,
        kind: Kind,
        rows: impl Iterator<Item = Result<Row, QueryError>>,
        to: &mut (impl Write + Send),
    ) -> Result<(), Broken> {
        match self {
            Self::Jsonl => {
                for row in rows {
                    writeln!(to, "{}", row?.json())?;
                }
            }
            Self::Csv => csv(kind, rows, to)?,
            Self::Parquet => write_parquet(kind, rows, &mut *to)?,
        }
        to.flush()?;
        Ok(())
    }
}

/// Why a file has no end.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// Rows could not be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The same, or they could not be written.
    #[error(transparent)]
    Export(#[from] ExportError),
    /// Nobody reads.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Comma-separated values by RFC 4180: all columns of the kind, named in the first line.
fn csv(
    kind: Kind,
    rows: impl Iterator<Item = Result<Row, QueryError>>,
    to: &mut impl Write,
) -> Result<(), Broken> {
    let names: Vec<&str> = kind.schema().columns.iter().map(|it| it.name).collect();
    write!(to, "{}\r\n", names.join(","))?;
    for row in rows {
        let row = row?.json();
        let cells = names.iter().map(|it| cell(row.get(it)));
        let cells: Vec<String> = cells.collect();
        write!(to, "{}\r\n", cells.join(","))?;
    }
    Ok(())
}

fn cell(value: Option<&Value>) -> String {
    let text = match value {
        None | Some(Value::Null) => return String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    if text.contains(['"', ',', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}
