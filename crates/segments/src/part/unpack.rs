//! Pages of a column, unpacked.
//!
//! The `parquet` crate makes a zstd context for each column that it reads, and another to write with:
//! for pages as short as ours, that is most of the work. Here it reads pages as they are, and each
//! thread keeps one context to unpack them.

use std::{cell::RefCell, io::Cursor, sync::Arc};

use bytes::Bytes;
use parquet::{
    basic::Compression,
    column::page::{Page, PageMetadata, PageReader},
    errors::{ParquetError, Result},
    file::{metadata::ColumnChunkMetaData, serialized_reader::SerializedPageReader},
};
use zstd::{bulk::Decompressor, zstd_safe::get_frame_content_size};

use super::chunk::Chunk;

/// The longest page that is read: a damaged length must not take all memory.
const PAGE_BYTES_MAX: u64 = 1 << 30;

/// The pages of a column, or of some of its rows.
pub(super) struct Unpacked {
    pages: SerializedPageReader<Chunk>,
    is_packed: bool,
}

impl Unpacked {
    pub(super) fn of(
        chunk: Arc<Chunk>,
        metadata: &ColumnChunkMetaData,
        rows: usize,
    ) -> Result<Self> {
        let is_packed = matches!(metadata.compression(), Compression::ZSTD(_));
        let builder = metadata.clone().into_builder();
        let metadata = if is_packed {
            &builder.set_compression(Compression::UNCOMPRESSED).build()?
        } else {
            metadata
        };
        Ok(Self {
            pages: SerializedPageReader::new(chunk, metadata, rows, None)?,
            is_packed,
        })
    }

    fn unpack(&self, mut page: Page) -> Result<Page> {
        match &mut page {
            _ if !self.is_packed => {}
            Page::DataPageV2 {
                buf,
                def_levels_byte_len,
                rep_levels_byte_len,
                is_compressed,
                ..
            } => {
                let levels = u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len);
                if *is_compressed {
                    *buf = unpack(buf, usize::try_from(levels)?)?;
                }
            }
            Page::DataPage { buf, .. } | Page::DictionaryPage { buf, .. } => {
                *buf = unpack(buf, 0)?;
            }
        }
        Ok(page)
    }
}

impl Iterator for Unpacked {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Unpacked {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        page.map(|it| self.unpack(it)).transpose()
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn supports_deferred_dictionary(&self) -> bool {
        self.pages.supports_deferred_dictionary()
    }

    fn take_deferred_dictionary(&mut self) -> Result<Option<Page>> {
        let page = self.pages.take_deferred_dictionary()?;
        page.map(|it| self.unpack(it)).transpose()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

thread_local! {
    static CONTEXT: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Unpacks what comes after the first so many bytes.
fn unpack(bytes: &[u8], plain: usize) -> Result<Bytes> {
    let too_short = || ParquetError::General("a page breaks off".to_owned());
    let (plain, packed) = bytes.split_at_checked(plain).ok_or_else(too_short)?;
    if packed.is_empty() {
        return Ok(Bytes::copy_from_slice(plain)); // no row has a value
    }
    let size = get_frame_content_size(packed).ok().flatten();
    let size = size.filter(|it| *it <= PAGE_BYTES_MAX);
    let size = size.and_then(|it| usize::try_from(it).ok());
    let size = size.ok_or_else(|| ParquetError::General("a page is no zstd frame".to_owned()))?;
    let mut out = Vec::with_capacity(plain.len() + size);
    out.extend_from_slice(plain);
    let mut to = Cursor::new(&mut out);
    to.set_position(plain.len() as u64);
    CONTEXT.with_borrow_mut(|it| {
        let context = match it {
            Some(context) => context,
            None => it.insert(Decompressor::new()?),
        };
        context.decompress_to_buffer(packed, &mut to)
    })?;
    Ok(out.into())
}
