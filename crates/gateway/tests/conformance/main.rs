//! The gateway against emulated providers: what the client gets, what the provider sees, and what
//! is booked, for every way in which a call can go.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::large_types_passed_by_value,
    clippy::format_push_string,
    reason = "a test: stopping is the point, and its transcripts are text"
)]

mod approvals;
mod broken;
mod clients;
mod connections;
mod fallback;
mod faults;
mod harness;
mod hearing;
mod input;
mod limits;
mod opened;
mod passing;
mod patience;
mod quotas;
mod shows;
mod unusual;
mod waiting;
