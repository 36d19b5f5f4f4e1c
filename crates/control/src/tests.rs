//! The whole API against an engine in memory.

mod access;
mod admissions;
mod answers;
mod budgets;
mod description;
mod links;
mod logins;
mod refusals;
mod tasks;
mod telemetry;
mod world;
