//! Every fact the program reports: one struct each, from which its log record and its metrics come.

mod facts;
mod settled;

use std::{borrow::Cow, sync::Arc};

use tidegate_types::Timestamp;

use crate::{
    metrics::Registry,
    record::{Context, Correlation, Fields, Level, LogId, LogRecord, Origin},
};

pub use facts::*;
pub use settled::{CallRefused, CallSettled};

/// Something that happened, in the past tense.
pub trait Event {
    /// One word for filters: the type's name in snake case.
    const NAME: &'static str;
    /// Which part of the program speaks.
    const COMPONENT: &'static str;
    /// One lower-case sentence without a full stop; the values travel as fields.
    const MESSAGE: &'static str;

    /// How much it matters.
    fn level(&self) -> Level;

    /// The values.
    fn fields(&self) -> Fields;

    /// What it is about.
    fn correlation(&self) -> Correlation {
        Correlation::default()
    }

    /// What was going on.
    fn context(&self) -> Context {
        Context::default()
    }

    /// Adds it to its metrics. An event that another one counts, or that a gauge shows, adds
    /// nothing.
    fn count(&self, _registry: &Registry) {}

    /// Its log record.
    fn record(&self, stamp: Stamp) -> LogRecord {
        LogRecord {
            at: stamp.at,
            id: stamp.id,
            level: self.level(),
            component: Cow::Borrowed(Self::COMPONENT),
            event: Cow::Borrowed(Self::NAME),
            message: Cow::Borrowed(Self::MESSAGE),
            correlation: self.correlation(),
            fields: self.fields(),
            context: self.context(),
            origin: stamp.origin,
        }
    }
}

/// When and where a record is made: what the caller knows and an event does not.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// The time.
    pub at: Timestamp,
    /// The record's id.
    pub id: LogId,
    /// The machine, process and thread.
    pub origin: Arc<Origin>,
}

#[cfg(test)]
mod tests;
