//! Writes a part: group by group, or groups of other parts as they are.

use std::{
    fs::File,
    io::Write,
    ops::Range,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use parquet::{
    column::writer::ColumnCloseResult,
    data_type::{
        BoolType, ByteArray, ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type,
    },
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter},
    },
};
use std::sync::Arc;
use tidegate_observe::telemetry::{
    Batch, ColumnPages, ColumnType, Counts, Findable, GroupFilters, GroupIndex, Kind, NONE,
    PAGE_ROWS, PartIndex,
};

use super::{PartPaths, PartReader, checksum, chunk::Chunk, columns};
use crate::{error::SegmentsError, files};

/// A part that is being written, under names that say so.
pub(crate) struct PartWriter {
    kind: Kind,
    directory: PathBuf,
    paths: PartPaths,
    unfinished: PartPaths,
    file: SerializedFileWriter<File>,
    groups: Vec<GroupIndex>,
    counts: Counts,
    /// The filters of all groups, one after another.
    filters: Vec<u8>,
    rows: usize,
}

/// A part that is whole and durable, and that no catalogue has yet.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) rows: usize,
}

impl PartWriter {
    pub(crate) fn create(directory: &Path, kind: Kind, id: u64) -> Result<Self, SegmentsError> {
        let paths = PartPaths::new(directory, kind, id);
        let unfinished = PartPaths {
            records: paths.records.with_extension("parquet.new"),
            index: paths.index.with_extension("index.new"),
        };
        let file = files::create(&unfinished.records)?;
        let schema = kind.schema();
        let writer = columns::file_schema(schema).and_then(|it| {
            let properties = Arc::new(columns::properties(schema)?);
            SerializedFileWriter::new(file, it, properties)
        });
        let writer = writer.map_err(|it| SegmentsError::parquet(&unfinished.records, it))?;
        Ok(Self {
            kind,
            directory: directory.to_owned(),
            paths,
            unfinished,
            file: writer,
            groups: Vec::new(),
            counts: Counts::default(),
            filters: Vec::new(),
            rows: 0,
        })
    }

    /// Writes rows as one group, in an order of their own. Their records by the minute are to be
    /// added by [`Self::count`].
    pub(crate) fn group(&mut self, batch: &Batch) -> Result<(), SegmentsError> {
        let batch = batch.gather(&batch.by_page());
        let bits = Findable::group(&batch);
        let written = self.write(&batch);
        written.map_err(|it| SegmentsError::parquet(&self.unfinished.records, it))?;
        self.note(GroupIndex::of(&batch, &bits), &bits);
        Ok(())
    }

    fn write(&mut self, batch: &Batch) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for place in 0..batch.schema().columns.len() {
            write_column(&mut group, batch, place)?;
        }
        group.close()?;
        Ok(())
    }

    /// Copies a group of another part, that has all columns of its kind. Its records by the minute
    /// are to be added by [`Self::count`].
    pub(crate) fn copy(
        &mut self,
        from: &PartReader,
        group: usize,
        bits: &GroupFilters,
    ) -> Result<(), SegmentsError> {
        let index = from.part().index.groups[group].clone();
        let chunks: Result<Vec<_>, _> = (0..self.kind.schema().columns.len())
            .map(|it| from.chunk(group, it))
            .collect();
        let chunks = chunks?;
        let written = self.splice(from.metadata(), group, &chunks);
        written.map_err(|it| SegmentsError::parquet(&self.unfinished.records, it))?;
        self.note(index, bits);
        Ok(())
    }

    fn splice(
        &mut self,
        from: &ParquetMetaData,
        group: usize,
        chunks: &[Chunk],
    ) -> Result<(), ParquetError> {
        let metadata = from.row_group(group);
        let mut to = self.file.next_row_group()?;
        for (column, chunk) in metadata.columns().iter().zip(chunks) {
            let closed = ColumnCloseResult {
                bytes_written: u64::try_from(column.compressed_size()).unwrap_or(0),
                rows_written: u64::try_from(metadata.num_rows()).unwrap_or(0),
                metadata: column.clone(),
                bloom_filter: None,
                column_index: None,
                offset_index: None,
            };
            to.append_column(chunk, closed)?;
        }
        to.close()?;
        Ok(())
    }

    /// Adds records by the minute.
    pub(crate) fn count(&mut self, counts: &Counts) {
        self.counts.add(counts);
    }

    fn note(&mut self, index: GroupIndex, bits: &GroupFilters) {
        self.rows += index.rows;
        self.groups.push(index);
        self.filters.extend(bits.ids.bytes());
        self.filters.extend(bits.words.bytes());
    }

    /// Makes both files durable under their names. `replaces` are the parts whose records it holds.
    pub(crate) fn finish(mut self, replaces: Vec<u64>) -> Result<Written, SegmentsError> {
        let path = &self.unfinished.records;
        self.file.append_key_value_metadata(checksum::blank());
        let metadata = self.file.finish();
        let metadata = metadata.map_err(|it| SegmentsError::parquet(path, it))?;
        let file = self.file.inner();
        checksum::write(path, file)?;
        file.sync_all().map_err(|it| SegmentsError::io(path, it))?;
        let mut index = PartIndex::new(self.kind, self.groups, self.counts);
        sum_columns(path, file, &metadata, &mut index)?;
        index.part_bytes = files::size(path);
        index.footer_sum = crc32fast::hash(&super::read::read_footer(path, file)?);
        index.replaces = replaces;
        write_index(&self.unfinished.index, &mut index, &self.filters)?;
        // The index first: a part without one is a part, an index without its part is nothing.
        files::rename(&self.unfinished.index, &self.paths.index)?;
        files::rename(&self.unfinished.records, &self.paths.records)?;
        files::sync_directory(&self.directory)?;
        Ok(Written { rows: self.rows })
    }

    /// Removes what was written.
    pub(crate) fn abandon(self) {
        // Where that fails, the files are found at the next start.
        let _left = files::remove(&self.unfinished.records);
        let _left = files::remove(&self.unfinished.index);
    }
}

/// Writes an index and makes it durable.
pub(super) fn write_index(
    path: &Path,
    index: &mut PartIndex,
    filters: &[u8],
) -> Result<(), SegmentsError> {
    index.filters_sum = crc32fast::hash(filters);
    let mut file = files::create(path)?;
    let written = file
        .write_all(&index.encode(crc32fast::hash))
        .and_then(|()| file.write_all(filters))
        .and_then(|()| file.sync_all());
    written.map_err(|it| SegmentsError::io(path, it))
}

/// Adds the checksum of each column of each group, read back from what was written, and where the
/// pages are that can be read one by one.
pub(super) fn sum_columns(
    path: &Path,
    file: &File,
    metadata: &ParquetMetaData,
    index: &mut PartIndex,
) -> Result<(), SegmentsError> {
    for (group, found) in index.groups.iter_mut().zip(metadata.row_groups()) {
        group.sums.clear();
        group.paged.clear();
        for (place, column) in found.columns().iter().enumerate() {
            let (start, length) = column.byte_range();
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let bytes = files::read_at(path, file, start, length)?.into();
            let chunk = Chunk { start, bytes };
            group.sums.push(crc32fast::hash(&chunk.bytes));
            let pages = chunk.pages(column, group.rows);
            let pages = pages.map_err(|it| SegmentsError::parquet(path, it))?;
            let summed = |it: &Bytes| {
                let length = u32::try_from(it.len()).unwrap_or(u32::MAX);
                (length, crc32fast::hash(it))
            };
            group.paged.extend(pages.map(|it| ColumnPages {
                column: place,
                pages: it.iter().map(summed).collect(),
            }));
        }
    }
    Ok(())
}

/// Writes a column of a group, whose columns are written in order.
pub(super) fn write_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    batch: &Batch,
    place: usize,
) -> Result<(), ParquetError> {
    let Some(mut column) = group.next_column()? else {
        return Err(ParquetError::General("a column is missing".to_owned()));
    };
    // After each piece the writer looks whether a page is full. A column without values is one page.
    let is_paged = columns::is_paged(place, &batch.schema().columns[place]);
    let rows = if is_paged && batch.has(place) {
        PAGE_ROWS
    } else {
        batch.rows().max(1)
    };
    for start in (0..batch.rows()).step_by(rows) {
        let piece = start..batch.rows().min(start + rows);
        write_piece(&mut column, batch, place, piece)?;
    }
    column.close()
}

fn write_piece(
    column: &mut SerializedColumnWriter<'_>,
    batch: &Batch,
    place: usize,
    rows: Range<usize>,
) -> Result<(), ParquetError> {
    let levels =
        |present: &[bool]| -> Vec<i16> { present.iter().map(|it| i16::from(*it)).collect() };
    let holds = batch.schema().columns[place].holds;
    match holds {
        ColumnType::Time | ColumnType::Integer if columns::is_required(place) => {
            let values = &batch.integers(place)[rows];
            let column = column.typed::<Int64Type>();
            column.write_batch(values, None, None)?;
        }
        ColumnType::Time | ColumnType::Integer | ColumnType::Flag | ColumnType::SpanId => {
            let all = &batch.integers(place)[rows];
            let levels = levels(&all.iter().map(|it| *it != NONE).collect::<Vec<_>>());
            let values = all.iter().copied().filter(|it| *it != NONE);
            match holds {
                ColumnType::Flag => {
                    let values: Vec<bool> = values.map(|it| it != 0).collect();
                    let column = column.typed::<BoolType>();
                    column.write_batch(&values, Some(&levels), None)?;
                }
                ColumnType::SpanId => {
                    let values: Vec<FixedLenByteArray> =
                        fixed(values.map(|it| it.to_be_bytes().to_vec())).collect();
                    let column = column.typed::<FixedLenByteArrayType>();
                    column.write_batch(&values, Some(&levels), None)?;
                }
                _ => {
                    let values: Vec<i64> = values.collect();
                    let column = column.typed::<Int64Type>();
                    column.write_batch(&values, Some(&levels), None)?;
                }
            }
        }
        ColumnType::TraceId => {
            let all: Vec<u128> = rows
                .map(|row| batch.wide(place, row).unwrap_or(0))
                .collect();
            let levels = levels(&all.iter().map(|it| *it != 0).collect::<Vec<_>>());
            let values = all.into_iter().filter(|it| *it != 0);
            let values: Vec<FixedLenByteArray> =
                fixed(values.map(|it| it.to_be_bytes().to_vec())).collect();
            let column = column.typed::<FixedLenByteArrayType>();
            column.write_batch(&values, Some(&levels), None)?;
        }
        ColumnType::Word | ColumnType::Text => {
            let (values, levels) = texts(batch, place, rows);
            let column = column.typed::<ByteArrayType>();
            column.write_batch(&values, Some(&levels), None)?;
        }
    }
    Ok(())
}

fn fixed(bytes: impl Iterator<Item = Vec<u8>>) -> impl Iterator<Item = FixedLenByteArray> {
    bytes.map(|it| FixedLenByteArray::from(ByteArray::from(it)))
}

/// The texts of some rows that are there, as pieces of one copy, and which rows have one.
fn texts(batch: &Batch, place: usize, rows: Range<usize>) -> (Vec<ByteArray>, Vec<i16>) {
    let (all, ends) = batch.texts(place);
    let end_of = |row: usize| {
        ends.get(row)
            .map_or(0, |it| usize::try_from(*it).unwrap_or(0))
    };
    let base = rows.start.checked_sub(1).map_or(0, end_of);
    let last = rows.end.checked_sub(1).map_or(0, end_of);
    let all = Bytes::copy_from_slice(&all.as_bytes()[base..last]);
    let mut values = Vec::with_capacity(rows.len());
    let mut levels = Vec::with_capacity(rows.len());
    let mut start = 0;
    for end in rows.map(|it| end_of(it) - base) {
        levels.push(i16::from(end > start));
        if end > start {
            values.push(ByteArray::from(all.slice(start..end)));
        }
        start = end;
    }
    (values, levels)
}
