//! The whole API against an engine in memory.

mod access;
mod admissions;
mod answers;
mod budgets;
mod description;
mod links;
mod refusals;
mod tasks;
mod world;
