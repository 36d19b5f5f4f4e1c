//! Everything a developer repeats, as `cargo xtask <what>`.

fn main() {}
