//! Reads a part: some columns of a group at a time, each with one read, compared with its checksum.

use std::{fs::File, ops::Range, path::Path, slice::from_ref, sync::Arc};

use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use tidegate_observe::telemetry::{
    AT, Batch, ColumnPages, Counts, Findable, GroupIndex, ID, Kind, PAGE_ROWS, PartIndex,
};

use super::{Part, PartPaths, Selection, checksum, chunk::Chunk, columns, decode::Encoded, write};
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
            return Err(self.differs(&format!("row group {group}"), place));
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

    /// Reads some columns of some rows of a group. Those that have no value there stay as they are.
    pub(crate) fn read(
        &self,
        group: usize,
        places: impl IntoIterator<Item = usize>,
        rows: &Selection,
    ) -> Result<Batch, SegmentsError> {
        let index = &self.part.index.groups[group];
        let mut batch = Batch::unfilled(self.part.row.kind, rows.rows());
        for place in places {
            let Some(column) = self.open.places[place] else {
                continue;
            };
            if index.present >> place & 1 == 0 {
                continue;
            }
            let paged = index.paged.iter().find(|it| it.column == column);
            let runs = rows.by_pages();
            let pages: usize = runs.iter().map(|(pages, _)| pages.len()).sum();
            if let Some(paged) = paged.filter(|_| pages < index.pages()) {
                for (pages, wanted) in runs {
                    let some = self.some_pages((group, place), paged, pages)?;
                    self.decode(&mut batch, place, &some, &wanted)?;
                }
            } else {
                let chunk = self.chunk(group, place)?;
                let whole = self.open.whole(group, column, chunk, index.rows)?;
                self.decode(&mut batch, place, &whole, rows.runs())?;
            }
        }
        Ok(batch)
    }

    /// Pages of a column that stand one after another.
    fn some_pages(
        &self,
        (group, place): (usize, usize),
        paged: &ColumnPages,
        run: Range<usize>,
    ) -> Result<Encoded, SegmentsError> {
        let path = &self.open.paths.records;
        let rows = self.part.index.groups[group].rows;
        let whole = self.open.metadata.row_group(group).column(paged.column);
        let before = paged.pages.iter().take(run.start);
        let start = whole.byte_range().0 + before.map(|it| u64::from(it.0)).sum::<u64>();
        let found = paged.pages.get(run.clone()).unwrap_or_default();
        let chunk = self
            .open
            .bytes(start, found.iter().map(|it| u64::from(it.0)).sum())?;
        let mut left = &chunk.bytes[..];
        for (page, (length, sum)) in run.clone().zip(found) {
            let length = usize::try_from(*length).unwrap_or(usize::MAX);
            let (bytes, rest) = left.split_at(length.min(left.len()));
            if crc32fast::hash(bytes) != *sum {
                let what = format!("page {page} of row group {group}");
                return Err(self.differs(&what, place));
            }
            left = rest;
        }
        let rows = rows.min(run.end * PAGE_ROWS) - run.start * PAGE_ROWS;
        let some = Encoded::some_pages(whole, chunk, rows);
        some.map_err(|it| SegmentsError::parquet(path, it))
    }

    /// Adds the values of some rows of a column to those that a batch has of it.
    fn decode(
        &self,
        batch: &mut Batch,
        place: usize,
        column: &Encoded,
        wanted: &[Range<usize>],
    ) -> Result<(), SegmentsError> {
        let many: usize = wanted.iter().map(ExactSizeIterator::len).sum();
        // Where few are wanted, the others are passed over.
        let (all, few) = (0..column.rows, 0..many);
        let (read, taken) = if many * FEW < column.rows {
            (wanted, from_ref(&few))
        } else {
            (from_ref(&all), wanted)
        };
        let decoded = column.decode(self.part.row.kind, place, read);
        let decoded = decoded.map_err(|it| SegmentsError::parquet(&self.open.paths.records, it))?;
        batch.append_column(place, decoded, taken);
        Ok(())
    }

    fn differs(&self, what: &str, place: usize) -> SegmentsError {
        let name = self.part.row.kind.schema().columns[place].name;
        let what = format!("the checksum of `{name}` in {what} differs");
        SegmentsError::damaged(&self.open.paths.records, what)
    }
}

/// Where fewer than one in so many rows are wanted, the others' values are passed over.
const FEW: usize = 8;

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
        self.bytes(start, length)
    }

    fn bytes(&self, start: u64, length: u64) -> Result<Chunk, SegmentsError> {
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

    /// A column of a group, whole.
    fn whole(
        &self,
        group: usize,
        column: usize,
        chunk: Chunk,
        rows: usize,
    ) -> Result<Encoded, SegmentsError> {
        let row_group = self.metadata.row_group(group);
        if usize::try_from(row_group.num_rows()) != Ok(rows) {
            let what = "a row group has not the rows of its index";
            return Err(SegmentsError::damaged(&self.paths.records, what));
        }
        Ok(Encoded::whole(row_group.column(column), chunk, rows))
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

/// Makes a part's index anew from its records, and writes it.
pub(crate) fn rebuild_index(kind: Kind, paths: &PartPaths) -> Result<PartIndex, SegmentsError> {
    // Without an index only the file's own checksum says that the bytes are what was written. Older
    // files have none, and not every reader of bytes that are not stops in order.
    let rebuilt = std::panic::catch_unwind(|| rebuild(kind, paths));
    rebuilt.unwrap_or_else(|_| Err(SegmentsError::damaged(&paths.records, "it can't be read")))
}

fn rebuild(kind: Kind, paths: &PartPaths) -> Result<PartIndex, SegmentsError> {
    let open = OpenRecords::open(paths, kind, None)?;
    checksum::check(&paths.records, &open.file)?;
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
                let whole = open.whole(group, *column, open.chunk(group, *column)?, rows)?;
                let decoded = whole.decode(kind, place, from_ref(&(0..rows)));
                batch.adopt(decoded.map_err(|it| SegmentsError::parquet(&paths.records, it))?);
            }
        }
        let bits = Findable::group(&batch);
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
