//! Reads a part: some columns of a group at a time, each with one read, compared with its checksum.

use std::{fs::File, path::Path, sync::Arc};

use bytes::{Buf as _, Bytes};
use parquet::{
    column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader},
    data_type::{BoolType, ByteArrayType, DataType, FixedLenByteArrayType, Int64Type},
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataReader},
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use tidegate_observe::telemetry::{
    AT, Batch, ColumnType, Counts, Findable, GroupIndex, ID, Kind, NONE, PartIndex,
};

use super::{
    Part, PartPaths, columns,
    texts::{self, Texts},
    write,
};
use crate::{error::SegmentsError, files, limits::GROUP_ROWS};

/// The longest column of a row group that is read: a damaged length must not take all memory.
const CHUNK_BYTES_MAX: u64 = 1 << 30;

/// A part whose records are open.
#[derive(Debug)]
pub(crate) struct PartReader {
    part: Arc<Part>,
    open: OpenRecords,
}

impl PartReader {
    pub(crate) fn open(part: &Arc<Part>) -> Result<Self, SegmentsError> {
        let sum = Some(part.index.footer_sum);
        let open = OpenRecords::open(&part.paths, part.row.kind, sum)?;
        if open.metadata.num_row_groups() != part.index.groups.len() {
            let what = "its row groups are not those of its index";
            return Err(SegmentsError::damaged(&part.paths.records, what));
        }
        let part = part.clone();
        Ok(Self { part, open })
    }

    pub(crate) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    pub(crate) fn metadata(&self) -> &ParquetMetaData {
        &self.open.metadata
    }

    /// The bytes of a column, by its place in our schema, as they are in the file.
    pub(crate) fn chunk(&self, group: usize, place: usize) -> Result<Chunk, SegmentsError> {
        let Some(column) = self.open.places[place] else {
            let what = "it lacks a column; it was written by an older version";
            return Err(SegmentsError::damaged(&self.open.paths.records, what));
        };
        let chunk = self.open.chunk(group, column)?;
        let sum = self.part.index.groups[group].sums.get(column);
        if sum.is_some_and(|it| *it != crc32fast::hash(&chunk.bytes)) {
            let name = self.part.row.kind.schema().columns[place].name;
            let what = format!("the checksum of `{name}` in row group {group} differs");
            return Err(SegmentsError::damaged(&self.open.paths.records, what));
        }
        Ok(chunk)
    }

    /// Whether it has all columns that its kind has by now.
    pub(crate) fn is_current(&self) -> bool {
        self.open
            .places
            .iter()
            .enumerate()
            .all(|(place, it)| *it == Some(place))
    }

    /// Reads some columns of a group, by their places.
    pub(crate) fn read(
        &self,
        group: usize,
        places: impl IntoIterator<Item = usize>,
    ) -> Result<Batch, SegmentsError> {
        let rows = self.part.index.groups[group].rows;
        let mut batch = Batch::unfilled(self.part.row.kind, rows);
        self.fill(&mut batch, group, places, None)?;
        Ok(batch)
    }

    /// Reads further columns of a group: of all rows, or of these alone, which ascend.
    pub(crate) fn fill(
        &self,
        batch: &mut Batch,
        group: usize,
        places: impl IntoIterator<Item = usize>,
        wanted: Option<&[u32]>,
    ) -> Result<(), SegmentsError> {
        let present = self.part.index.groups[group].present;
        for place in places {
            if self.open.places[place].is_some() && present >> place & 1 == 1 {
                let chunk = self.chunk(group, place)?;
                self.open.decode(batch, (group, place), chunk, wanted)?;
            }
        }
        Ok(())
    }
}

/// The records' file, and where our columns are in it.
#[derive(Debug)]
struct OpenRecords {
    paths: PartPaths,
    file: File,
    metadata: ParquetMetaData,
    footer_sum: u32,
    places: Vec<Option<usize>>,
}

impl OpenRecords {
    /// With a checksum, the end of the file is read only if it is what was written.
    fn open(paths: &PartPaths, kind: Kind, sum: Option<u32>) -> Result<Self, SegmentsError> {
        let file = files::open(&paths.records)?;
        let footer = read_footer(&paths.records, &file)?;
        let footer_sum = crc32fast::hash(&footer);
        if sum.is_some_and(|it| it != footer_sum) {
            let what = "the checksum of its end differs";
            return Err(SegmentsError::damaged(&paths.records, what));
        }
        let metadata = ParquetMetaDataReader::decode_metadata(&footer);
        let metadata = metadata.map_err(|it| SegmentsError::parquet(&paths.records, it))?;
        let schema = kind.schema();
        let wanted = columns::file_schema(schema);
        let wanted = wanted.map_err(|it| SegmentsError::parquet(&paths.records, it))?;
        let found = metadata.file_metadata().schema_descr().columns();
        let mut places = Vec::with_capacity(schema.columns.len());
        for (column, wanted) in schema.columns.iter().zip(wanted.get_fields()) {
            let place = found.iter().position(|it| it.name() == column.name);
            if let Some(it) = place.map(|it| found[it].self_type())
                && (it.get_physical_type() != wanted.get_physical_type()
                    || it.get_basic_info().repetition() != wanted.get_basic_info().repetition())
            {
                let what = format!("`{}` has another type", column.name);
                return Err(SegmentsError::damaged(&paths.records, what));
            }
            places.push(place);
        }
        if places[AT].is_none() || places[ID].is_none() {
            let what = "it has no times or no ids";
            return Err(SegmentsError::damaged(&paths.records, what));
        }
        Ok(Self {
            paths: paths.clone(),
            file,
            metadata,
            footer_sum,
            places,
        })
    }

    fn chunk(&self, group: usize, column: usize) -> Result<Chunk, SegmentsError> {
        let (start, length) = self.metadata.row_group(group).column(column).byte_range();
        let within = length <= CHUNK_BYTES_MAX;
        let length = usize::try_from(length).ok().filter(|_| within);
        let Some(length) = length else {
            let what = "a column is longer than any that is written";
            return Err(SegmentsError::damaged(&self.paths.records, what));
        };
        let bytes = files::read_at(&self.paths.records, &self.file, start, length)?;
        Ok(Chunk {
            start,
            bytes: bytes.into(),
        })
    }

    fn decode(
        &self,
        batch: &mut Batch,
        (group, place): (usize, usize),
        chunk: Chunk,
        wanted: Option<&[u32]>,
    ) -> Result<(), SegmentsError> {
        let Some(column) = self.places[place] else {
            return Ok(());
        };
        let row_group = self.metadata.row_group(group);
        let rows = batch.rows();
        if usize::try_from(row_group.num_rows()) != Ok(rows) {
            let what = "a row group has not the rows of its index";
            return Err(SegmentsError::damaged(&self.paths.records, what));
        }
        let decoded = Decoder {
            metadata: row_group.column(column),
            chunk: Arc::new(chunk),
            rows,
            wanted,
        }
        .fill(batch, place);
        decoded.map_err(|it| SegmentsError::parquet(&self.paths.records, it))
    }
}

/// What stands at the end of a Parquet file: where everything is, its length, and four letters.
pub(super) fn read_footer(path: &Path, file: &File) -> Result<Vec<u8>, SegmentsError> {
    const END: u64 = 8;

    let whole = files::size(path);
    let damaged = || SegmentsError::damaged(path, "it does not end as a Parquet file");
    let end = files::read_at(path, file, whole.checked_sub(END).ok_or_else(damaged)?, 8)?;
    let (numbers, _) = end.as_chunks::<4>();
    let length = u32::from_le_bytes(numbers[0]);
    let start = whole
        .checked_sub(END + u64::from(length))
        .ok_or_else(damaged)?;
    if &numbers[1] != b"PAR1" {
        return Err(damaged());
    }
    files::read_at(
        path,
        file,
        start,
        usize::try_from(length).unwrap_or(usize::MAX),
    )
}

/// A column of a row group, in memory.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// Where it begins in the file: offsets count from the file's beginning.
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let at = start
            .checked_sub(self.start)
            .and_then(|it| usize::try_from(it).ok());
        let at = at.filter(|it| *it <= self.bytes.len());
        let at =
            at.ok_or_else(|| ParquetError::General("a page is not in its column".to_owned()))?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        if length > bytes.len() {
            return Err(ParquetError::General("a page breaks off".to_owned()));
        }
        Ok(bytes.slice(..length))
    }
}

/// Turns a column's bytes into values.
struct Decoder<'a> {
    metadata: &'a parquet::file::metadata::ColumnChunkMetaData,
    chunk: Arc<Chunk>,
    rows: usize,
    /// The rows whose values are wanted, where those are few.
    wanted: Option<&'a [u32]>,
}

impl Decoder<'_> {
    fn fill(&self, batch: &mut Batch, place: usize) -> ParquetResult<()> {
        match batch.schema().columns[place].holds {
            ColumnType::Time | ColumnType::Integer => {
                let (values, levels) = self.values::<Int64Type>()?;
                batch.fill_integers(place, self.spread(values, &levels, NONE));
            }
            ColumnType::Flag => {
                let (values, levels) = self.values::<BoolType>()?;
                let values = values.into_iter().map(i64::from).collect();
                batch.fill_integers(place, self.spread(values, &levels, NONE));
            }
            ColumnType::SpanId => {
                let (values, levels) = self.values::<FixedLenByteArrayType>()?;
                let ids = values.iter().map(|it| it.data().as_array().copied());
                let ids: Option<Vec<i64>> = ids.map(|it| it.map(i64::from_be_bytes)).collect();
                batch.fill_integers(place, self.spread(ids.ok_or_else(short)?, &levels, NONE));
            }
            ColumnType::TraceId => {
                let (values, levels) = self.values::<FixedLenByteArrayType>()?;
                let ids = values.iter().map(|it| it.data().as_array().copied());
                let ids: Option<Vec<u128>> = ids.map(|it| it.map(u128::from_be_bytes)).collect();
                batch.fill_wide(place, self.spread(ids.ok_or_else(short)?, &levels, 0));
            }
            ColumnType::Text if self.fill_texts(batch, place)? => {}
            ColumnType::Word | ColumnType::Text => {
                let (values, levels) = self.values::<ByteArrayType>()?;
                let texts: Result<Vec<&str>, _> = values
                    .iter()
                    .map(|it| std::str::from_utf8(it.data()))
                    .collect();
                let texts = texts.map_err(|it| ParquetError::External(it.into()))?;
                if let Some(wanted) = self.wanted {
                    let texts = present(texts, &levels, "");
                    batch.fill_some_texts(place, wanted, texts.into_iter());
                    return Ok(());
                }
                batch.fill_texts(place, self.spread(texts, &levels, "").into_iter());
            }
        }
        Ok(())
    }

    /// Fills a column of texts at once, if it is written as we write it.
    fn fill_texts(&self, batch: &mut Batch, place: usize) -> ParquetResult<bool> {
        let optional = self.metadata.column_descr().max_def_level() > 0;
        let mut pages =
            SerializedPageReader::new(self.chunk.clone(), self.metadata, self.rows, None)?;
        let Some(Texts { bytes, ends }) = texts::read(&mut pages, self.rows, optional)? else {
            return Ok(false);
        };
        batch.put_texts(place, bytes, ends);
        Ok(true)
    }

    /// The values that are there, and which rows have one; no levels where all have.
    fn values<T: DataType>(&self) -> ParquetResult<(Vec<T::T>, Vec<i16>)> {
        let pages = SerializedPageReader::new(self.chunk.clone(), self.metadata, self.rows, None)?;
        let column = self.metadata.column_descr_ptr();
        let optional = column.max_def_level() > 0;
        let mut reader = get_typed_column_reader::<T>(get_column_reader(column, Box::new(pages)));
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
        let mut expected = self.rows;
        match self.wanted {
            None => read(&mut reader, self.rows)?,
            Some(wanted) => {
                expected = wanted.len();
                let mut at = 0;
                for row in wanted.iter().filter_map(|it| usize::try_from(*it).ok()) {
                    if reader.skip_records(row - at)? != row - at {
                        return Err(short());
                    }
                    read(&mut reader, 1)?;
                    at = row + 1;
                }
            }
        }
        if optional {
            expected = levels.iter().filter(|it| **it > 0).count();
        }
        if values.len() != expected {
            return Err(short());
        }
        Ok((values, levels))
    }

    /// Puts values where their rows are.
    fn spread<V: Copy>(&self, values: Vec<V>, levels: &[i16], absent: V) -> Vec<V> {
        let values = present(values, levels, absent);
        let Some(wanted) = self.wanted else {
            return values;
        };
        let mut all = vec![absent; self.rows];
        for (row, value) in wanted.iter().zip(values) {
            if let Some(to) = usize::try_from(*row).ok().and_then(|it| all.get_mut(it)) {
                *to = value;
            }
        }
        all
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

/// Makes a part's index anew from its records, and writes it.
pub(crate) fn rebuild_index(kind: Kind, paths: &PartPaths) -> Result<PartIndex, SegmentsError> {
    // Without an index nothing says that the bytes are what was written, and not every reader of
    // bytes that are not stops in order.
    let rebuilt = std::panic::catch_unwind(|| rebuild(kind, paths));
    rebuilt.unwrap_or_else(|_| Err(SegmentsError::damaged(&paths.records, "it can't be read")))
}

fn rebuild(kind: Kind, paths: &PartPaths) -> Result<PartIndex, SegmentsError> {
    let open = OpenRecords::open(paths, kind, None)?;
    let mut groups = Vec::new();
    let mut counts = Counts::default();
    let mut filters = Vec::new();
    for group in 0..open.metadata.num_row_groups() {
        let rows = usize::try_from(open.metadata.row_group(group).num_rows());
        let rows = rows.ok().filter(|it| *it <= GROUP_ROWS).ok_or_else(|| {
            SegmentsError::damaged(
                &paths.records,
                "a row group is larger than any that is written",
            )
        })?;
        let mut batch = Batch::unfilled(kind, rows);
        for (place, column) in open.places.iter().enumerate() {
            if let Some(column) = column {
                let chunk = open.chunk(group, *column)?;
                open.decode(&mut batch, (group, place), chunk, None)?;
            }
        }
        let bits = Findable::of(&batch, 0..rows);
        groups.push(GroupIndex::of(&batch, &bits));
        filters.extend(bits.ids.bytes());
        filters.extend(bits.words.bytes());
        counts.add(&Counts::of(&batch));
    }
    let mut index = PartIndex::new(kind, groups, counts);
    write::sum_columns(&paths.records, &open.file, &open.metadata, &mut index)?;
    index.part_bytes = files::size(&paths.records);
    index.footer_sum = open.footer_sum;
    let new = paths.index.with_extension("index.new");
    write::write_index(&new, &mut index, &filters)?;
    files::rename(&new, &paths.index)?;
    Ok(index)
}
