//! `cargo xtask …`: everything a developer repeats.

mod bench;
mod bound;
mod generate;
mod packages;
mod report;
mod scratch;
mod server;
mod shell;
mod suites;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Everything a developer of Tidegate repeats"
)]
enum Task {
    /// Runs all tests, from formatting to real clients, and sums up what ran
    Test(suites::Choice),
    /// Runs what needs no server: formatting, lints, rules about the tree
    Check,
    /// Measures what the README promises
    Bench(bench::Choice),
    /// Writes the files in `docs/` that the program prints itself
    Generate {
        /// Changes nothing; fails where a file differs from what would be written
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(choice) => suites::run(&choice),
        Task::Check => suites::run(&suites::Choice::checks()),
        Task::Bench(choice) => bench::run(&choice),
        Task::Generate { check } => generate::run(check),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            report::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
