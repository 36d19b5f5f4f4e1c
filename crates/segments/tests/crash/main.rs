//! Killed processes and power cuts: what was acknowledged is there, once, and nothing else is.
//!
//! The child of these tests is this program itself, started again with its task in the environment.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test: stopping is the point"
)]

mod child;
mod faults;
mod journal;
mod kills;
mod power;
