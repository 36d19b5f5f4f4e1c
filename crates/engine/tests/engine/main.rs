//! The engine with real stores: phases of a call, admissions, restarts, and a ledger that fails.

mod admitting;
mod harness;
mod reserving;
mod restarting;
mod tasks;
mod unwritable;
