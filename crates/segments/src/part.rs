//! A part: a Parquet file, and the index beside it.

mod checksum;
mod chunk;
mod columns;
mod decode;
mod export;
mod read;
mod selection;
mod texts;
mod unpack;
mod write;

use std::{
    fs::File,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
    },
};

use tidegate_observe::telemetry::{
    BLOCK_BYTES, Bloom, GroupFilters, Key, Kind, PREAMBLE_BYTES, Pages, PartIndex, Section, Words,
};

pub use self::export::{ExportError, write_parquet};
pub(crate) use self::{
    read::{PartReader, rebuild_index},
    selection::Selection,
    write::{PartWriter, Written},
};
use crate::{catalogue::PartRow, error::SegmentsError, files};

/// Ends the name of what holds records.
const RECORDS: &str = "parquet";

/// Ends the name of an index.
const INDEX: &str = "index";

/// Where a part's two files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartPaths {
    pub(crate) records: PathBuf,
    pub(crate) index: PathBuf,
}

impl PartPaths {
    pub(crate) fn new(directory: &Path, kind: Kind, id: u64) -> Self {
        let name = |end| directory.join(format!("{kind}-{id:016x}.{end}"));
        Self {
            records: name(RECORDS),
            index: name(INDEX),
        }
    }

    /// The kind and the id that a file's name tells, if it is that of a part's records.
    pub(crate) fn parse(name: &str) -> Option<(Kind, u64)> {
        let (kind, id) = name
            .strip_suffix(RECORDS)?
            .strip_suffix('.')?
            .split_once('-')?;
        let digits = id.len() == 16 && id.bytes().all(|it| it.is_ascii_hexdigit());
        let id = u64::from_str_radix(id, 16).ok().filter(|_| digits)?;
        Some((kind.parse().ok()?, id))
    }
}

/// A part that can be read. Its files are there for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) row: PartRow,
    pub(crate) paths: PartPaths,
    pub(crate) index: PartIndex,
    /// What both files take.
    pub(crate) bytes: u64,
    /// The times of its records.
    pub(crate) times: (i64, i64),
    /// Whether the catalogue has forgotten it: its files go when its last reader does.
    condemned: AtomicBool,
    /// What is known of its filters.
    filters: AtomicU8,
    /// What all parts take.
    space: Arc<AtomicU64>,
}

impl Part {
    /// Opens a part whose index can be read; its records are looked at when they are read. `space`
    /// is what all parts take, and grows by this one.
    pub(crate) fn open(
        directory: &Path,
        row: PartRow,
        space: &Arc<AtomicU64>,
    ) -> Result<Self, SegmentsError> {
        let paths = PartPaths::new(directory, row.kind, row.id);
        let records = files::open(&paths.records)?;
        let length = records
            .metadata()
            .map_err(|it| SegmentsError::io(&paths.records, it))?;
        let index = match read_index(&paths.index) {
            Ok(index) if index.kind == row.kind => index,
            // The index can be made anew from the records, and must fit them.
            Ok(_) | Err(_) => rebuild_index(row.kind, &paths)?,
        };
        if index.part_bytes != length.len() {
            let what = format!("it has {} bytes, not {}", length.len(), index.part_bytes);
            return Err(SegmentsError::damaged(&paths.records, what));
        }
        let bytes = length.len() + files::size(&paths.index);
        space.fetch_add(bytes, Ordering::Relaxed);
        Ok(Self {
            row,
            paths,
            times: index.times(),
            index,
            bytes,
            condemned: AtomicBool::new(false),
            filters: AtomicU8::new(UNCHECKED),
            space: space.clone(),
        })
    }

    /// Says that no more queries will have it.
    pub(crate) fn condemn(&self) {
        self.condemned.store(true, Ordering::Relaxed);
    }

    /// Whether its filters were found to be damaged: its index is to be made anew.
    pub(crate) fn lacks_filters(&self) -> bool {
        self.filters.load(Ordering::Relaxed) == DAMAGED
    }

    /// Opens its filters, which are compared with their checksum the first time; nothing where
    /// they are damaged. A part can do without them, since they only save reading.
    pub(crate) fn filters(self: &Arc<Self>) -> Result<Option<Filters>, SegmentsError> {
        if self.lacks_filters() {
            return Ok(None);
        }
        let path = &self.paths.index;
        let opened = files::open(path).and_then(|file| {
            if self.filters.load(Ordering::Relaxed) == UNCHECKED {
                self.check_filters(&file)?;
            }
            Ok(file)
        });
        match opened {
            Ok(file) => Ok(Some(Filters {
                part: self.clone(),
                file,
            })),
            Err(SegmentsError::Damaged { .. }) => {
                self.filters.store(DAMAGED, Ordering::Relaxed);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    fn check_filters(&self, file: &File) -> Result<(), SegmentsError> {
        let path = &self.paths.index;
        let length = self.index.file_bytes() - self.index.head_bytes();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let bytes = files::read_at(path, file, self.index.head_bytes(), length)?;
        if crc32fast::hash(&bytes) != self.index.filters_sum {
            return Err(SegmentsError::damaged(
                path,
                "the checksum of its filters differs",
            ));
        }
        self.filters.store(SOUND, Ordering::Relaxed);
        Ok(())
    }
}

/// Filters were not compared with their checksum yet.
const UNCHECKED: u8 = 0;
/// They are what was written.
const SOUND: u8 = 1;
/// They are not.
const DAMAGED: u8 = 2;

impl Drop for Part {
    fn drop(&mut self) {
        if *self.condemned.get_mut() {
            // Where that fails, the files are found at the next start.
            let _left = files::remove(&self.paths.records).and(files::remove(&self.paths.index));
        }
        self.space.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// The filters of a part: whole values are asked for with one read of 64 bytes, words with two that are
/// shorter.
#[derive(Debug)]
pub(crate) struct Filters {
    part: Arc<Part>,
    file: File,
}

impl Filters {
    pub(crate) fn part(&self) -> &Arc<Part> {
        &self.part
    }

    fn read(&self, start: u64, bytes: Range<usize>) -> Result<Vec<u8>, SegmentsError> {
        let at = start + bytes.start as u64;
        files::read_at(&self.part.paths.index, &self.file, at, bytes.len())
    }

    /// Where in a group a row with this key may be.
    pub(crate) fn pages(&self, group: usize, key: Key) -> Result<Pages, SegmentsError> {
        let (ids, words) = self.part.index.filters_at(group);
        let index = &self.part.index.groups[group];
        match key.section {
            Section::Ids => {
                let Some(block) = index.ids.block_of(key.hash) else {
                    return Ok(Pages::NONE);
                };
                let at = block * BLOCK_BYTES;
                let block = self.read(ids, at..at + BLOCK_BYTES)?;
                Ok(Bloom::block_may_hold(&block, key.hash).into())
            }
            Section::Words => {
                let Some(bucket) = index.words.bucket_of(key.hash) else {
                    return Ok(Pages::NONE);
                };
                let entry = self.read(words, index.words.entry(bucket))?;
                let Some(bucket) = index.words.bucket(&entry) else {
                    let what = "its table of words says what can't be";
                    return Err(SegmentsError::damaged(&self.part.paths.index, what));
                };
                let bucket = self.read(words, bucket)?;
                Ok(Words::pages_in_bucket(&bucket, key.hash, index.pages()))
            }
        }
    }

    /// A group's filters, whole: to be copied.
    pub(crate) fn of_group(&self, group: usize) -> Result<GroupFilters, SegmentsError> {
        let (ids, words) = self.part.index.filters_at(group);
        let index = &self.part.index.groups[group];
        let found = Bloom::from_bytes(self.read(ids, 0..index.ids.bytes())?);
        let path = &self.part.paths.index;
        Ok(GroupFilters {
            ids: found.ok_or_else(|| SegmentsError::damaged(path, "half a filter"))?,
            words: Words::from_bytes(index.words, self.read(words, 0..index.words.bytes())?),
        })
    }
}

/// Reads an index up to its filters.
fn read_index(path: &Path) -> Result<PartIndex, SegmentsError> {
    let damaged = |what: &dyn ToString| SegmentsError::damaged(path, what.to_string());
    let file = files::open(path)?;
    let preamble = files::read_at(path, &file, 0, PREAMBLE_BYTES)?;
    let preamble = preamble
        .as_array()
        .ok_or_else(|| damaged(&"it is too short"))?;
    let (length, sum) = PartIndex::preamble(preamble).map_err(|it| damaged(&it))?;
    let length_of_file = files::size(path);
    if (PREAMBLE_BYTES + length) as u64 > length_of_file {
        return Err(damaged(&"it is too short"));
    }
    let head = files::read_at(path, &file, PREAMBLE_BYTES as u64, length)?;
    if crc32fast::hash(&head) != sum {
        return Err(damaged(&"the checksum of its head differs"));
    }
    let index = PartIndex::decode(&head).map_err(|it| damaged(&it))?;
    if index.file_bytes() != length_of_file {
        return Err(damaged(&"it has another length than its head says"));
    }
    Ok(index)
}
