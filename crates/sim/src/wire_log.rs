//! What passed over the wire, one record per request: written for an auditor who reads nothing else.

use std::{
    collections::VecDeque,
    fs::File,
    io::{self, Write},
    time::Duration,
};

use parking_lot::{Condvar, Mutex};
use serde::{Deserialize, Serialize};
use tidegate_types::{Timestamp, Usage};

use crate::spec::LogSpec;

/// One request and its answer. Holds no credential and no text of a prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireRecord {
    /// When the request's body had arrived, in the provider's time.
    pub at: Timestamp,
    /// When the last byte was handed to the connection, or the caller had gone.
    pub ended_at: Timestamp,
    /// The id sent in `request-id` or `x-request-id`.
    pub request_id: String,
    /// The method.
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The first eight hex digits of the credential's SHA-256; empty without a credential.
    pub credential: String,
    /// The names of the request's headers, sorted, without their values.
    pub header_names: Vec<String>,
    /// `x-claude-code-session-id`, if there was one.
    pub session: Option<String>,
    /// The size of the request's body.
    pub body_bytes: u64,
    /// A fingerprint of the request's body ([`body_fingerprint`]).
    pub body_fingerprint: u64,
    /// The model asked for; empty where none was understood.
    pub model: String,
    /// The output cap asked for.
    pub max_tokens: Option<u64>,
    /// Whether the answer was streamed.
    pub stream: bool,
    /// The status sent; 0 where the connection was reset before.
    pub status: u16,
    /// The fault that struck, as it is written.
    pub fault: Option<String>,
    /// What the provider bills: all input of an admitted call, and the output that was produced.
    pub usage: Option<Usage>,
    /// Whether the answer was handed over to its end. Not so after a fault or where the caller hung up.
    pub complete: bool,
}

/// Equal bodies have equal fingerprints; different ones differ but for chance in 2⁶⁴. The same in every process.
pub fn body_fingerprint(body: &[u8]) -> u64 {
    use std::hash::BuildHasher;
    foldhash::fast::FixedState::default().hash_one(body)
}

#[derive(Debug, Default)]
struct Kept {
    newest: VecDeque<WireRecord>,
    written: u64,
    file: Option<File>,
    failed: Option<String>,
}

/// A bounded log: the newest records in memory, all of them in a file if one is named.
#[derive(Debug)]
pub(crate) struct WireLog {
    records: usize,
    kept: Mutex<Kept>,
    grown: Condvar,
}

impl WireLog {
    /// Opens the file for appending.
    pub(crate) fn open(spec: &LogSpec) -> io::Result<Self> {
        let open = |path| File::options().create(true).append(true).open(path);
        let file = spec.file.as_ref().map(open).transpose()?;
        Ok(Self {
            records: spec.records,
            kept: Mutex::new(Kept {
                file,
                ..Kept::default()
            }),
            grown: Condvar::new(),
        })
    }

    pub(crate) fn write(&self, record: WireRecord) {
        let mut kept = self.kept.lock();
        kept.written += 1;
        if let Some(file) = &mut kept.file {
            // One write per line, unbuffered: what is logged outlives a killed process.
            let line = serde_json::to_string(&record).map_err(io::Error::from);
            let outcome = line.and_then(|line| file.write_all(format!("{line}\n").as_bytes()));
            if let Err(error) = outcome {
                kept.failed.get_or_insert(error.to_string());
            }
        }
        if self.records > 0 {
            if kept.newest.len() >= self.records {
                kept.newest.pop_front();
            }
            kept.newest.push_back(record);
        }
        drop(kept);
        self.grown.notify_all();
    }

    /// The newest records, oldest first.
    pub(crate) fn newest(&self) -> Vec<WireRecord> {
        self.kept.lock().newest.iter().cloned().collect()
    }

    /// Why the file is incomplete, if it is.
    pub(crate) fn failed(&self) -> Option<String> {
        self.kept.lock().failed.clone()
    }

    /// Blocks until `count` records have been written since the start, for `patience` at most; then the newest.
    pub(crate) fn wait_for(&self, count: u64, patience: Duration) -> Vec<WireRecord> {
        let mut kept = self.kept.lock();
        let missing = |kept: &mut Kept| kept.written < count;
        self.grown.wait_while_for(&mut kept, missing, patience);
        kept.newest.iter().cloned().collect()
    }
}
