//! What is this work done for, whose is it, how far is it, what did it use?
//!
//! [`Tasks`] holds the tasks of all users, in trees. A task appears with its first call (a prompt, a
//! subagent, a name in a header), or is created before it. It stays where it appeared: its parent, its
//! tree and its owner never change. What its calls used is added to it and to every task above it when
//! they end, never summed up anew. No IO and no clock: the time is an argument, and so is what was
//! written down; who may do what, and which words may be kept, the caller has decided.

mod changes;
mod kept;
mod running;
mod state;
mod table;
mod task;
#[cfg(test)]
mod tests;
mod used;
mod views;

use std::time::Duration;

pub use self::{
    changes::{NewTask, TaskChange, TaskError},
    kept::{COUNTED, Changed, Counted, Past, Recalled, TASKS},
    running::{Begun, Ongoing},
    state::TaskState,
    table::{Called, Key, Place, TASKS_MAX, Tasks},
    task::{Estimates, Task},
    used::Used,
    views::{RUNNING_MAX, RunningView, TREE_MAX, TaskFilter, TaskTree, TaskView},
};

/// How deep trees may be: what a call used is added to as many tasks, and nobody nests deeper by
/// intent.
pub const DEPTH_MAX: u32 = 64;

/// A task that appeared by itself and did nothing for this long is over, until it is called for
/// again: no tool of a coding assistant runs for longer.
pub const OVER_AFTER: Duration = Duration::from_mins(10);
