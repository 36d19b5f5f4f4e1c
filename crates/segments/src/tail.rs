//! Follows what is taken in.

use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_observe::telemetry::{Batch, Filter, Row};
use tokio::sync::broadcast::{self, error::RecvError, error::TryRecvError};

use crate::{lens::Lens, limits::TAIL_BATCHES};

/// Where new records go to those who follow.
#[derive(Debug, Default)]
pub(crate) struct Tails(Mutex<Option<broadcast::Sender<Arc<Batch>>>>);

impl Tails {
    /// Sends to all who follow, if there are any. Never waits.
    pub(crate) fn send(&self, batch: Arc<Batch>) {
        let mut sender = self.0.lock();
        if sender.as_ref().is_some_and(|it| it.send(batch).is_err()) {
            *sender = None; // nobody is left; its last batches go, too
        }
    }

    pub(crate) fn follow(&self, filter: Filter) -> Tail {
        let mut sender = self.0.lock();
        let sender = sender.get_or_insert_with(|| broadcast::channel(TAIL_BATCHES).0);
        Tail {
            filter,
            batches: sender.subscribe(),
        }
    }
}

/// What a follower gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tailed {
    /// Records that match, in the order in which they were taken in; at least one.
    Rows(Vec<Row>),
    /// The follower was too slow, and missed so many batches.
    Missed(u64),
}

/// Follows the records that match a filter. One that is not asked misses records, and holds
/// nothing up.
#[derive(Debug)]
pub struct Tail {
    filter: Filter,
    batches: broadcast::Receiver<Arc<Batch>>,
}

impl Tail {
    /// Waits for the next records that match; `None` when the store is closed.
    pub async fn next(&mut self) -> Option<Tailed> {
        loop {
            match self.batches.recv().await {
                Ok(batch) => {
                    if let Some(rows) = self.matching(&batch) {
                        return Some(rows);
                    }
                }
                Err(RecvError::Lagged(missed)) => return Some(Tailed::Missed(missed)),
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// What matches of that which is there already.
    pub fn ready(&mut self) -> Option<Tailed> {
        loop {
            match self.batches.try_recv() {
                Ok(batch) => {
                    if let Some(rows) = self.matching(&batch) {
                        return Some(rows);
                    }
                }
                Err(TryRecvError::Lagged(missed)) => return Some(Tailed::Missed(missed)),
                Err(TryRecvError::Empty | TryRecvError::Closed) => return None,
            }
        }
    }

    fn matching(&self, batch: &Batch) -> Option<Tailed> {
        let lens = Lens::between(self.filter.kind(), batch.kind())?;
        let batch = lens.see(batch);
        let matching = (0..batch.rows()).filter(|it| self.filter.matches(&batch, *it));
        let rows: Vec<Row> = matching.map(|it| batch.take(it)).collect();
        (!rows.is_empty()).then_some(Tailed::Rows(rows))
    }
}
