//! The program: command line, configuration, choice of backends, wiring, signals.

mod cli;
mod config;

fn main() {}
