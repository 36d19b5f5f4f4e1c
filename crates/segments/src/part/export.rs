//! Rows as one Parquet file, written to anything.

use std::{io::Write, sync::Arc};

use parquet::{errors::ParquetError, file::writer::SerializedFileWriter};
use tidegate_observe::telemetry::{Batch, Kind, Row};

use super::{columns, write::write_column};
use crate::{limits::GROUP_ROWS, query::QueryError};

/// Why an export did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The rows could not all be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// They could not be written.
    #[error("the export could not be written")]
    Unwritten(#[source] ParquetError),
}

/// Writes rows of a kind as a Parquet file with the columns that our own parts have.
///
/// # Errors
/// Rows that can't be read, or a writer that takes no more.
pub fn write_parquet<W: Write + Send>(
    kind: Kind,
    rows: impl Iterator<Item = Result<Row, QueryError>>,
    to: W,
) -> Result<(), ExportError> {
    let schema = kind.schema();
    let writer = columns::file_schema(schema).and_then(|it| {
        let properties = Arc::new(columns::properties(schema)?);
        SerializedFileWriter::new(to, it, properties)
    });
    let mut writer = writer.map_err(ExportError::Unwritten)?;
    let mut batch = Batch::new(kind);
    for row in rows {
        batch.put_row(&row?);
        if batch.rows() == GROUP_ROWS {
            write_group(&mut writer, &batch).map_err(ExportError::Unwritten)?;
            batch = Batch::new(kind);
        }
    }
    if !batch.is_empty() {
        write_group(&mut writer, &batch).map_err(ExportError::Unwritten)?;
    }
    let closed = writer.close();
    closed.map(|_| ()).map_err(ExportError::Unwritten)
}

fn write_group<W: Write + Send>(
    to: &mut SerializedFileWriter<W>,
    batch: &Batch,
) -> Result<(), ParquetError> {
    let mut group = to.next_row_group()?;
    for place in 0..batch.schema().columns.len() {
        write_column(&mut group, batch, place)?;
    }
    group.close()?;
    Ok(())
}
