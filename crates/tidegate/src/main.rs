//! The program: command line, configuration, choice of backends, wiring, signals.

fn main() {}
