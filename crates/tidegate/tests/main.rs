//! The program as its users meet it: started, asked, signalled, and read.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a step that can't be taken is the test's failure"
)]

mod books;
mod commands;
mod configuration;
mod keys;
mod lifecycle;
mod moving;
mod notices;
mod otlp;
mod replay;
mod run;
mod telemetry;
mod unwritable;
mod wire;
mod world;
