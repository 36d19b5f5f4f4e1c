//! The program: command line, configuration, choice of backends, wiring, signals.

mod config;

fn main() {}
