//! Reads the transcript of a replayed day, and says which promises it breaks.
//!
//! It shares no code with what wrote the transcript: its buckets and sums are its own. What the lines say is
//! documented in `docs/replay.md`.
//!
//! What it checks:
//!
//! - **order**: time never steps back; each call is ready, granted, taken, begun and ended in this order, and
//!   taken once; what was granted is settled once or refused.
//! - **hard limits**: settled and held together are never above the limit, but for overruns, which are listed.
//! - **rates**: what is granted fits a bucket of the provider's size, kept from grants and settlements alone: a
//!   bucket that a grant finds emptier than it needs is a finding where it lacks more than the estimates of
//!   the calls that run may have been wrong by. How deep the debt came to be is reported.

mod day;
mod report;

pub use day::{AuditError, audit};
pub use report::{Finding, Report};

#[cfg(test)]
mod tests;
