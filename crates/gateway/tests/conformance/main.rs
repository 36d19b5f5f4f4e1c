//! The gateway against emulated providers: what the client gets, what the provider sees, and what
//! is booked, for every way in which a call can go.

mod clients;
mod connections;
mod fallback;
mod faults;
mod harness;
mod input;
mod limits;
mod passing;
mod patience;
