//! The bytes of a column of a row group, or of some of its pages.

use bytes::{Buf as _, Bytes};
use parking_lot::Mutex;
use parquet::{
    column::page::PageReader as _,
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::ColumnChunkMetaData,
        reader::{ChunkReader, Length},
        serialized_reader::SerializedPageReader,
    },
};
use std::sync::Arc;
use tidegate_observe::telemetry::PAGE_ROWS;

/// A column of a row group, in memory.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    /// Where it begins in the file: offsets count from the file's beginning.
    pub(super) start: u64,
    pub(super) bytes: Bytes,
}

impl Chunk {
    /// The bytes of each of its pages, if any program can read them one by one as we do: all of
    /// [`PAGE_ROWS`] rows but the last, without a dictionary before them.
    pub(super) fn pages(
        &self,
        metadata: &ColumnChunkMetaData,
        rows: usize,
    ) -> ParquetResult<Option<Vec<Bytes>>> {
        let noted = Arc::new(Noted {
            chunk: self,
            starts: Mutex::default(),
        });
        if metadata.dictionary_page_offset().is_some() || rows <= PAGE_ROWS {
            return Ok(None);
        }
        let mut reader = SerializedPageReader::new(noted.clone(), metadata, rows, None)?;
        for start in (0..rows).step_by(PAGE_ROWS) {
            let page = reader.peek_next_page()?;
            let found = page.and_then(|it| it.num_rows);
            if found != Some(PAGE_ROWS.min(rows - start)) {
                return Ok(None);
            }
            reader.skip_next_page()?;
        }
        let mut starts = std::mem::take(&mut *noted.starts.lock());
        starts.push(self.len());
        let pages = starts
            .windows(2)
            .map(|it| Ok(self.from(it[0])?.slice(..usize::try_from(it[1] - it[0])?)));
        pages.collect::<ParquetResult<_>>().map(Some)
    }

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

/// Notes where headers of pages are read: that is where the pages begin.
struct Noted<'a> {
    chunk: &'a Chunk,
    starts: Mutex<Vec<u64>>,
}

impl Length for Noted<'_> {
    fn len(&self) -> u64 {
        self.chunk.len()
    }
}

impl ChunkReader for Noted<'_> {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        self.starts.lock().push(start);
        self.chunk.get_read(start)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        self.chunk.get_bytes(start, length)
    }
}
