//! Telemetry: what its records look like, and how they are packed, found and filtered.
//!
//! One machinery for all kinds: a [`Schema`] says which columns a kind has, a [`Batch`] holds rows
//! of it, [`Filter`] chooses rows, and [`PartIndex`] says where chosen rows can be at all.

mod batch;
mod bloom;
mod counts;
mod filter;
mod index;
mod own;
mod pages;
mod schema;
mod token;
mod wire;
mod words;

pub use batch::{Batch, NONE, Row, RowWriter, TEXT_BYTES_MAX, Value};
pub use bloom::{BLOCK_BYTES, Bloom, BloomShape};
pub use counts::{Counts, OTHER, WORDS_MAX};
pub use filter::{Filter, FilterError};
pub use index::{
    BlockFilters, ColumnPages, DamagedIndex, Findable, GroupFilters, GroupIndex, INDEX_HEAD_MAX,
    PREAMBLE_BYTES, PartIndex,
};
pub use own::{
    CALL_OPERATION, Lines, OwnLogs, SERVICE, call_of, put_call, put_log, put_spans, put_task,
};
pub use pages::{PAGE_ROWS, PAGES_MAX, Pages};
pub use schema::{
    AT, Column, ColumnType, ID, Kind, Schema, Search, calls, logs, metrics, spans, tasks,
};
pub use token::{Key, Section, exact_key, tokens, word_key};
pub use wire::{BLOCK_ROWS_MAX, UnreadableBatch};
pub use words::{Words, WordsShape};
