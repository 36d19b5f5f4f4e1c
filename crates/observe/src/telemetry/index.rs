//! The index that stands beside a part: where in it a record can be, and counts by the minute.

use std::ops::Range;

use super::{
    Batch,
    bloom::{BLOCK_BYTES, Bloom, BloomShape},
    counts::Counts,
    pages::{PAGE_ROWS, Pages},
    schema::{AT, ColumnType, Kind, Search},
    token::{ExactKeys, Key, Section, first_new, hash_words},
    wire::{Bytes, UnreadableBatch, put, unzigzag, zigzag},
    words::{Words, WordsShape},
};

/// Bits for each word of a block: about one in eighty blocks is read in vain.
const WORD_BITS: usize = 10;

/// Bits for each whole value: lookups by id ask every group there is.
const EXACT_BITS: usize = 16;

/// What an index file begins with. One that begins otherwise, as those whose filters knew no pages
/// do, is made anew.
const MAGIC: &[u8; 8] = b"TGINDEX3";

/// The magic, the head's length and the head's checksum.
pub const PREAMBLE_BYTES: usize = 16;

/// The longest head that is read: that of a thousand million records.
pub const INDEX_HEAD_MAX: usize = 64 << 20;

/// An index that can't be used; it can be made anew from its part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the index is damaged: {0}")]
pub struct DamagedIndex(&'static str);

impl From<UnreadableBatch> for DamagedIndex {
    fn from(_: UnreadableBatch) -> Self {
        Self("its head breaks off")
    }
}

/// What the rows of a block can be found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockFilters {
    /// Whole values of columns.
    pub ids: Bloom,
    /// Words of texts.
    pub words: Bloom,
}

impl BlockFilters {
    /// Whether a row with this key may be among them.
    pub fn may_hold(&self, key: Key) -> bool {
        match key.section {
            Section::Ids => self.ids.may_hold(key.hash),
            Section::Words => self.words.may_hold(key.hash),
        }
    }
}

/// What the rows of a group can be found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupFilters {
    /// Whole values of columns.
    pub ids: Bloom,
    /// Words of texts, with their pages.
    pub words: Words,
}

impl GroupFilters {
    /// Where a row with this key may be, among rows of so many pages.
    pub fn pages(&self, key: Key, pages: usize) -> Pages {
        match key.section {
            Section::Ids => self.ids.may_hold(key.hash).into(),
            Section::Words => self.words.pages(key.hash, pages),
        }
    }
}

/// What rows can be found by, as it is gathered.
#[derive(Debug)]
pub struct Findable {
    ids: Vec<u64>,
    /// Words, each with a page it stands in.
    words: Vec<(u64, u8)>,
    /// Keys that came lately: most words come again at once, and need no sorting.
    lately: Vec<u64>,
    /// From so many words on, those that came again are looked for.
    crowded: usize,
}

const LATELY: usize = 1 << 12;

/// Words that are gathered before it is looked whether they came again: more than a group has as a rule, two
/// megabytes.
const CROWDED_MIN: usize = 1 << 17;

impl Findable {
    /// The filters of a block.
    pub fn block(batch: &Batch) -> BlockFilters {
        let mut found = Self::of(batch, batch.rows());
        let mut words = found.words.into_iter().map(|(it, _)| it).collect();
        BlockFilters {
            ids: Bloom::of(&mut found.ids, EXACT_BITS),
            words: Bloom::of(&mut words, WORD_BITS),
        }
    }

    /// The filters of a row group.
    pub fn group(batch: &Batch) -> GroupFilters {
        let mut found = Self::of(batch, PAGE_ROWS);
        GroupFilters {
            ids: Bloom::of(&mut found.ids, EXACT_BITS),
            words: Words::of(&mut found.words, batch.rows().div_ceil(PAGE_ROWS)),
        }
    }

    fn of(batch: &Batch, page_rows: usize) -> Self {
        let mut found = Self {
            ids: Vec::new(),
            words: Vec::new(),
            lately: vec![0; LATELY],
            crowded: CROWDED_MIN,
        };
        let present = batch.present();
        let columns = batch.schema().columns.iter().enumerate();
        for (place, column) in columns.filter(|(place, _)| present >> place & 1 == 1) {
            match column.search {
                Search::Scan => {}
                Search::Words => {
                    for (page, start) in (0..batch.rows()).step_by(page_rows.max(1)).enumerate() {
                        let rows = start..batch.rows().min(start + page_rows);
                        found.words(batch, place, (page, rows));
                    }
                }
                Search::Exact => found.exact(batch, place),
            }
        }
        found
    }

    fn words(&mut self, batch: &Batch, place: usize, (page, rows): (usize, Range<usize>)) {
        let page = u8::try_from(page).unwrap_or(u8::MAX);
        let mut before = "";
        for text in rows.filter_map(|it| batch.text(place, it)) {
            let new = text.get(first_new(text, before)..).unwrap_or(text);
            hash_words(new, |it| {
                // The same word of another page is another key.
                let key = it.rotate_left(u32::from(page));
                if Self::is_new(&mut self.lately, key) {
                    self.words.push((it, page));
                }
            });
            before = text;
            if self.words.len() >= self.crowded {
                self.words.sort_unstable();
                self.words.dedup();
                self.crowded = CROWDED_MIN.max(2 * self.words.len());
            }
        }
    }

    fn exact(&mut self, batch: &Batch, place: usize) {
        let column = batch.schema().columns[place];
        let keys = ExactKeys::of(column.name);
        let mut note = |hash| {
            if Self::is_new(&mut self.lately, hash) {
                self.ids.push(hash);
            }
        };
        if column.holds == ColumnType::TraceId {
            let mut before = 0;
            for wide in (0..batch.rows()).filter_map(|it| batch.wide(place, it)) {
                if wide != before {
                    note(keys.of_trace(wide).hash);
                }
                before = wide;
            }
            return;
        }
        let mut before = "";
        for text in (0..batch.rows()).filter_map(|it| batch.text(place, it)) {
            if text != before {
                note(keys.key(text).hash);
            }
            before = text;
        }
    }

    /// Whether a key did not come lately.
    fn is_new(lately: &mut [u64], key: u64) -> bool {
        let place = usize::try_from(key % LATELY as u64).unwrap_or(0);
        let is_new = lately[place] != key;
        lately[place] = key;
        is_new
    }
}

/// Where the pages of a column are, one after another, that can be read one by one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ColumnPages {
    /// The column's place in the part.
    pub column: usize,
    /// The bytes of each page and their checksum.
    pub pages: Vec<(u32, u32)>,
}

/// What is known of one row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupIndex {
    /// Its rows.
    pub rows: usize,
    /// Its earliest time, in nanoseconds since 1970.
    pub first: i64,
    /// Its latest time.
    pub last: i64,
    /// Which columns have a value in some row, as [`Batch::present`] says: others need not be read.
    pub present: u64,
    /// The filter of whole values.
    pub ids: BloomShape,
    /// The words.
    pub words: WordsShape,
    /// The checksum of each column's bytes in the part, in the order of the part's columns.
    pub sums: Vec<u32>,
    /// The columns of which single pages can be read.
    pub paged: Vec<ColumnPages>,
}

impl GroupIndex {
    /// The index of rows with these filters; checksums and pages are added when they were written.
    pub fn of(batch: &Batch, filters: &GroupFilters) -> Self {
        let times = batch.integers(AT);
        Self {
            rows: batch.rows(),
            first: times.iter().copied().min().unwrap_or(0),
            last: times.iter().copied().max().unwrap_or(0),
            present: batch.present(),
            ids: filters.ids.shape(),
            words: filters.words.shape(),
            sums: Vec::new(),
            paged: Vec::new(),
        }
    }

    fn filter_bytes(&self) -> usize {
        self.ids.bytes() + self.words.bytes()
    }

    /// How many pages it has.
    pub fn pages(&self) -> usize {
        self.rows.div_ceil(PAGE_ROWS)
    }

    fn encode(&self, before: i64, head: &mut Vec<u8>) {
        put(head, self.rows as u64);
        put(head, zigzag(self.first.wrapping_sub(before)));
        put(head, zigzag(self.last.wrapping_sub(self.first)));
        put(head, self.present);
        put(head, u64::from(self.ids.blocks));
        put(head, u64::from(self.words.buckets));
        put(head, u64::from(self.words.bytes));
        put(head, self.sums.len() as u64);
        head.extend(self.sums.iter().flat_map(|it| it.to_be_bytes()));
        put(head, self.paged.len() as u64);
        for it in &self.paged {
            put(head, it.column as u64);
            put(head, it.pages.len() as u64);
            for (bytes, sum) in &it.pages {
                put(head, u64::from(*bytes));
                head.extend(sum.to_be_bytes());
            }
        }
    }

    fn decode(from: &mut Bytes<'_>, before: i64) -> Result<Self, DamagedIndex> {
        let rows = from.length()?;
        let first = before.wrapping_add(unzigzag(from.number()?));
        let last = first.wrapping_add(unzigzag(from.number()?));
        let present = from.number()?;
        let ids = BloomShape {
            blocks: narrow(from.number()?)?,
        };
        let words = WordsShape {
            buckets: narrow(from.number()?)?,
            bytes: narrow(from.number()?)?,
        };
        let length = from.length()?.saturating_mul(4);
        let (sums, _) = from.take(length)?.as_chunks();
        let sums = sums.iter().map(|it| u32::from_be_bytes(*it)).collect();
        let mut paged = Vec::new();
        for _ in 0..from.length()? {
            let column = from.length()?;
            let mut pages = Vec::new();
            for _ in 0..from.length()? {
                let bytes = narrow(from.number()?)?;
                let (sum, _) = from.take(4)?.as_chunks();
                pages.push((bytes, u32::from_be_bytes(sum[0])));
            }
            paged.push(ColumnPages { column, pages });
        }
        Ok(Self {
            rows,
            first,
            last,
            present,
            ids,
            words,
            sums,
            paged,
        })
    }
}

/// An index without its filters, which are read piece by piece from behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartIndex {
    /// What the part holds.
    pub kind: Kind,
    /// The part's own size.
    pub part_bytes: u64,
    /// The checksum of the end of the part, which says where everything is.
    pub footer_sum: u32,
    /// The parts whose records it holds, too: they are obsolete where both are there.
    pub replaces: Vec<u64>,
    /// Its row groups.
    pub groups: Vec<GroupIndex>,
    /// Its records by the minute.
    pub counts: Counts,
    /// The checksum of all filters.
    pub filters_sum: u32,
    /// The length of everything before the filters.
    head_bytes: u64,
}

impl PartIndex {
    /// The index of a part, to be completed by [`Self::encode`].
    pub fn new(kind: Kind, groups: Vec<GroupIndex>, counts: Counts) -> Self {
        Self {
            kind,
            part_bytes: 0,
            footer_sum: 0,
            replaces: Vec::new(),
            groups,
            counts,
            filters_sum: 0,
            head_bytes: 0,
        }
    }

    /// All rows.
    pub fn rows(&self) -> usize {
        self.groups.iter().map(|it| it.rows).sum()
    }

    /// The earliest and the latest time.
    pub fn times(&self) -> (i64, i64) {
        let first = self.groups.iter().map(|it| it.first).min();
        let last = self.groups.iter().map(|it| it.last).max();
        (first.unwrap_or(0), last.unwrap_or(0))
    }

    /// Where the filters of a group begin in the file: those of whole values, then the words.
    pub fn filters_at(&self, group: usize) -> (u64, u64) {
        let before = self.groups.iter().take(group);
        let before: usize = before.map(GroupIndex::filter_bytes).sum();
        let ids = self.head_bytes + before as u64;
        (ids, ids + self.groups[group].ids.bytes() as u64)
    }

    /// The length of the whole file.
    pub fn file_bytes(&self) -> u64 {
        let filters: usize = self.groups.iter().map(GroupIndex::filter_bytes).sum();
        self.head_bytes + filters as u64
    }

    /// Where the filters begin.
    pub fn head_bytes(&self) -> u64 {
        self.head_bytes
    }

    /// What stands before the filters. `sum` is the checksum of a piece of bytes.
    pub fn encode(&mut self, sum: impl Fn(&[u8]) -> u32) -> Vec<u8> {
        let mut head = vec![self.kind.code()];
        put(&mut head, self.part_bytes);
        put(&mut head, u64::from(self.footer_sum));
        put(&mut head, u64::from(self.filters_sum));
        put(&mut head, self.replaces.len() as u64);
        for it in &self.replaces {
            put(&mut head, *it);
        }
        put(&mut head, self.groups.len() as u64);
        let mut before = 0;
        for it in &self.groups {
            it.encode(before, &mut head);
            before = it.first;
        }
        head.extend(self.counts.encode());
        let mut out = MAGIC.to_vec();
        out.extend(u32::try_from(head.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend(sum(&head).to_be_bytes());
        out.extend(head);
        self.head_bytes = out.len() as u64;
        out
    }

    /// The length of the head and its checksum, by the file's first [`PREAMBLE_BYTES`].
    ///
    /// # Errors
    /// A file that is no index, or whose head would be longer than [`INDEX_HEAD_MAX`].
    pub fn preamble(bytes: &[u8; PREAMBLE_BYTES]) -> Result<(usize, u32), DamagedIndex> {
        let (magic, rest) = bytes.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(DamagedIndex("it begins otherwise"));
        }
        let (numbers, _) = rest.as_chunks::<4>();
        let length = usize::try_from(u32::from_be_bytes(numbers[0])).unwrap_or(usize::MAX);
        if length > INDEX_HEAD_MAX {
            return Err(DamagedIndex("its head is too long"));
        }
        Ok((length, u32::from_be_bytes(numbers[1])))
    }

    /// From the head's bytes, whose checksum was found to be right.
    ///
    /// # Errors
    /// Bytes that [`Self::encode`] did not write.
    pub fn decode(head: &[u8]) -> Result<Self, DamagedIndex> {
        let mut from = Bytes(head);
        let kind = Kind::from_code(from.take(1)?[0]).ok_or(DamagedIndex("its kind is unknown"))?;
        let part_bytes = from.number()?;
        let footer_sum = narrow(from.number()?)?;
        let filters_sum = narrow(from.number()?)?;
        let mut replaces = Vec::new();
        for _ in 0..from.length()? {
            replaces.push(from.number()?);
        }
        let mut groups = Vec::new();
        let mut before = 0i64;
        for _ in 0..from.length()? {
            let group = GroupIndex::decode(&mut from, before)?;
            before = group.first;
            groups.push(group);
        }
        Ok(Self {
            kind,
            part_bytes,
            footer_sum,
            replaces,
            groups,
            counts: Counts::decode(from.0)?,
            filters_sum,
            head_bytes: (PREAMBLE_BYTES + head.len()) as u64,
        })
    }
}

fn narrow(number: u64) -> Result<u32, DamagedIndex> {
    u32::try_from(number).map_err(|_| DamagedIndex("a number is too large"))
}

const _: () = assert!(BLOCK_BYTES == 64, "stored shapes count blocks of 64 bytes");

#[cfg(test)]
mod tests;
