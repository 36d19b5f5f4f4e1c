//! The program's own records as rows: calls, their log lines and spans, logs, tasks.

mod calls;
mod lines;
mod logs;
mod spans;
mod tasks;

pub use calls::{call_of, put_call};
pub use lines::Lines;
pub use logs::{OwnLogs, put_log};
pub use spans::{CALL_OPERATION, put_spans};
pub use tasks::put_task;

/// The program's name among services.
pub const SERVICE: &str = "tidegate";

/// A count as a column has it.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
