//! Turns the bytes of a column into values.

use std::{ops::Range, slice::from_ref, sync::Arc};

use parquet::{
    column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader},
    data_type::{BoolType, ByteArrayType, DataType, FixedLenByteArrayType, Int64Type},
    errors::{ParquetError, Result as ParquetResult},
    file::metadata::ColumnChunkMetaData,
};
use tidegate_observe::telemetry::{Batch, ColumnType, Kind, NONE};

use super::{
    chunk::Chunk,
    texts::{self, Texts},
    unpack::Unpacked,
};

/// A column of some rows, as it is in the file.
pub(super) struct Encoded {
    metadata: ColumnChunkMetaData,
    chunk: Arc<Chunk>,
    /// How many rows it has.
    pub(super) rows: usize,
}

impl Encoded {
    /// Of all rows of a group.
    pub(super) fn whole(metadata: &ColumnChunkMetaData, chunk: Chunk, rows: usize) -> Self {
        Self {
            metadata: metadata.clone(),
            chunk: Arc::new(chunk),
            rows,
        }
    }

    /// Of some pages that stand one after another in a column without a dictionary: a column of
    /// their rows.
    pub(super) fn some_pages(
        whole: &ColumnChunkMetaData,
        pages: Chunk,
        rows: usize,
    ) -> ParquetResult<Self> {
        let metadata = whole.clone().into_builder();
        let metadata = metadata
            .set_data_page_offset(i64::try_from(pages.start)?)
            .set_total_compressed_size(i64::try_from(pages.bytes.len())?)
            .set_num_values(i64::try_from(rows)?)
            .build()?;
        Ok(Self {
            metadata,
            chunk: Arc::new(pages),
            rows,
        })
    }

    /// The values of some rows, as the one column of a batch that has any.
    pub(super) fn decode(
        &self,
        kind: Kind,
        place: usize,
        wanted: &[Range<usize>],
    ) -> ParquetResult<Batch> {
        let rows = wanted.iter().map(ExactSizeIterator::len).sum();
        let mut batch = Batch::unfilled(kind, rows);
        self.fill(&mut batch, place, wanted)?;
        Ok(batch)
    }

    fn fill(&self, batch: &mut Batch, place: usize, wanted: &[Range<usize>]) -> ParquetResult<()> {
        match batch.schema().columns[place].holds {
            ColumnType::Time | ColumnType::Integer => {
                let (values, levels) = self.values::<Int64Type>(wanted)?;
                batch.fill_integers(place, present(values, &levels, NONE));
            }
            ColumnType::Flag => {
                let (values, levels) = self.values::<BoolType>(wanted)?;
                let values = values.into_iter().map(i64::from).collect();
                batch.fill_integers(place, present(values, &levels, NONE));
            }
            ColumnType::SpanId => {
                let (values, levels) = self.values::<FixedLenByteArrayType>(wanted)?;
                let ids = values.iter().map(|it| it.data().as_array().copied());
                let ids: Option<Vec<i64>> = ids.map(|it| it.map(i64::from_be_bytes)).collect();
                batch.fill_integers(place, present(ids.ok_or_else(short)?, &levels, NONE));
            }
            ColumnType::TraceId => {
                let (values, levels) = self.values::<FixedLenByteArrayType>(wanted)?;
                let ids = values.iter().map(|it| it.data().as_array().copied());
                let ids: Option<Vec<u128>> = ids.map(|it| it.map(u128::from_be_bytes)).collect();
                batch.fill_wide(place, present(ids.ok_or_else(short)?, &levels, 0));
            }
            ColumnType::Text
                if wanted == from_ref(&(0..self.rows)) && self.fill_texts(batch, place)? => {}
            ColumnType::Word | ColumnType::Text => {
                let (values, levels) = self.values::<ByteArrayType>(wanted)?;
                let texts: Result<Vec<&str>, _> = values
                    .iter()
                    .map(|it| std::str::from_utf8(it.data()))
                    .collect();
                let texts = texts.map_err(|it| ParquetError::External(it.into()))?;
                batch.fill_texts(place, present(texts, &levels, "").into_iter());
            }
        }
        Ok(())
    }

    fn pages(&self) -> ParquetResult<Unpacked> {
        Unpacked::of(self.chunk.clone(), &self.metadata, self.rows)
    }

    /// Fills a column of texts at once, if it is written as we write it.
    fn fill_texts(&self, batch: &mut Batch, place: usize) -> ParquetResult<bool> {
        let optional = self.metadata.column_descr().max_def_level() > 0;
        let texts = texts::read(&mut self.pages()?, self.rows, optional)?;
        let Some(Texts { bytes, ends }) = texts else {
            return Ok(false);
        };
        batch.put_texts(place, bytes, ends);
        Ok(true)
    }

    /// The values that are there, and which rows have one; no levels where all have.
    fn values<T: DataType>(&self, wanted: &[Range<usize>]) -> ParquetResult<(Vec<T::T>, Vec<i16>)> {
        let column = self.metadata.column_descr_ptr();
        let optional = column.max_def_level() > 0;
        let pages = Box::new(self.pages()?);
        let mut reader = get_typed_column_reader::<T>(get_column_reader(column, pages));
        let (mut values, mut levels) = (Vec::new(), Vec::new());
        let mut read = |reader: &mut ColumnReaderImpl<T>, mut many: usize| {
            while many > 0 {
                let definition = optional.then_some(&mut levels);
                let (records, _, _) = reader.read_records(many, definition, None, &mut values)?;
                if records == 0 {
                    return Err(short());
                }
                many -= records;
            }
            Ok(())
        };
        let mut at = 0;
        let mut expected = 0;
        for run in wanted {
            if reader.skip_records(run.start - at)? != run.start - at {
                return Err(short());
            }
            read(&mut reader, run.len())?;
            expected += run.len();
            at = run.end;
        }
        if optional {
            expected = levels.iter().filter(|it| **it > 0).count();
        }
        if values.len() != expected {
            return Err(short());
        }
        Ok((values, levels))
    }
}

fn short() -> ParquetError {
    ParquetError::General("a column breaks off".to_owned())
}

/// A value for each row that was read.
fn present<T: Copy>(values: Vec<T>, levels: &[i16], absent: T) -> Vec<T> {
    if levels.is_empty() {
        return values;
    }
    let mut values = values.into_iter();
    let next = |level: &i16| {
        let there = *level > 0;
        there.then(|| values.next()).flatten().unwrap_or(absent)
    };
    levels.iter().map(next).collect()
}
