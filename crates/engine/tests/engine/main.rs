//! The engine with real stores: phases of a call, admissions, restarts, and a ledger that fails.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    clippy::format_push_string,
    reason = "a test: stopping is the point, and its transcripts are text"
)]

mod admitting;
mod alerts;
mod awaiting;
mod correcting;
mod gated;
mod harness;
mod headers;
mod hearing;
mod housekeeping;
mod queueing;
mod quotas;
mod registry;
mod reserving;
mod restarting;
mod secrets;
mod tasks;
mod telling;
mod unwritable;
