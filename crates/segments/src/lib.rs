//! Telemetry on disk: recent records as blocks in a database of their own, older ones as ordinary
//! Parquet files, each with an index beside it.
//!
//! [`Segments::append`] takes a batch; when its [`Receipt`] says so, the batch is durable and can be
//! found. [`Segments::rows`], [`Segments::count`] and [`Segments::histogram`] read, each as of one
//! moment, and [`Segments::tail`] follows what comes. [`Segments::tend`] does what is due now and
//! then: it seals blocks into parts, merges parts, and drops what is too old or too much;
//! [`Segments::start_tending`] calls it every second.
//!
//! A program that must go on without it holds a [`Telemetry`], which opens the directory again and
//! again.
//!
//! One process at a time has a directory:
//!
//! ```text
//! telemetry.db                        recent blocks, and the catalogue of parts
//! parts/logs-0000000000000012.parquet records, for every program that reads Parquet
//! parts/logs-0000000000000012.index   where to look in it; made anew if it is lost
//! damaged/                            what could not be read, set aside
//! lock
//! ```

mod append;
mod calls;
mod catalogue;
mod directory;
mod error;
mod files;
mod lens;
mod limits;
mod own;
mod part;
mod query;
mod scan;
mod seal;
mod segments;
mod tail;
mod telemetry;
mod tend;

pub use append::{Acknowledged, BodyHash, Receipt};
pub use error::{Refused, SegmentsError};
pub use limits::{Keep, OWN_BYTES_MAX, Options, QUEUE_BYTES_MAX};
pub use own::OwnRecords;
pub use part::{ExportError, write_parquet};
pub use query::{Bar, Counted, QUERY_ROWS_MAX, Query, QueryError};
pub use scan::Rows;
pub use segments::{Recovery, Segments, Status};
pub use tail::{Tail, Tailed};
pub use telemetry::{Condition, News, Telemetry};
pub use tend::{Tended, Tending};
