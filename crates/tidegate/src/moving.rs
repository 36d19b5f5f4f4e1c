//! What an earlier version kept in another place is moved, once.

use std::path::Path;

use tidegate_engine::Engine;
use tidegate_observe::event;
use tidegate_segments::OwnRecords;
use tidegate_store::OldCalls;

/// Records that are moved together, at least: each batch costs a sync of the disk. A start that goes on
/// where an earlier one ended makes the same batches.
const BATCH: usize = 2_000;

/// How moving records of calls went.
pub(crate) struct Moved {
    records: u64,
    failed: Option<String>,
}

/// Moves the records of `calls.db` to where records of calls are kept now. Where that fails, the file
/// stays, and the next start goes on where this one ended.
pub(crate) fn move_calls(data: &Path, own: &OwnRecords) -> Moved {
    let mut records = 0;
    let failed = match moved(data, own, &mut records) {
        Ok(()) => None,
        Err(error) => Some(format!("{error:#}")),
    };
    Moved { records, failed }
}

fn moved(data: &Path, own: &OwnRecords, records: &mut u64) -> anyhow::Result<()> {
    if own.telemetry().segments().is_none() {
        return Ok(()); // the file is safe where it is
    }
    let Some(mut old) = OldCalls::find(data)? else {
        return Ok(());
    };
    let mut batch = Vec::new();
    loop {
        let block = old.next_block()?;
        let is_last = block.is_none();
        batch.extend(block.into_iter().flatten());
        if is_last || batch.len() >= BATCH {
            own.take_over(&batch)?;
            *records += batch.len() as u64;
            batch.clear();
        }
        if is_last {
            break;
        }
    }
    old.moved()?;
    Ok(())
}

impl Moved {
    /// Reports it.
    pub(crate) fn tell(&self, engine: &Engine) {
        match &self.failed {
            Some(reason) => engine.report(&event::CallsNotMoved { reason }),
            None if self.records > 0 => engine.report(&event::CallsMoved {
                records: self.records,
            }),
            None => {}
        }
    }
}
