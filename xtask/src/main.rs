//! `cargo xtask …`: everything a developer repeats.

mod auditor;
mod bench;
mod bound;
mod generate;
mod packages;
mod prices;
mod report;
mod scratch;
mod server;
mod shell;
mod suites;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

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
    /// Reads OpenAI's prices out of a litellm wheel and writes crates/providers/prices/openai.toml
    Prices {
        /// The wheel; without it the pinned one is downloaded from PyPI, read and not installed
        wheel: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Test(choice) => suites::run(&choice),
        Task::Check => suites::run(&suites::Choice::checks()),
        Task::Bench(choice) => bench::run(&choice),
        Task::Generate { check } => generate::run(check),
        Task::Prices { wheel } => read_prices(wheel.as_deref()),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            report::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn read_prices(wheel: Option<&Path>) -> anyhow::Result<ExitCode> {
    if let Some(wheel) = wheel {
        prices::update(wheel)?;
        return Ok(ExitCode::SUCCESS);
    }
    let folder = scratch::Scratch::try_new("prices")?;
    let wheel = packages::wheel(PRICES_WHEEL, folder.path())?;
    prices::update(&wheel)?;
    Ok(ExitCode::SUCCESS)
}

/// The release whose prices are checked in: a newer one is a change to be looked at.
const PRICES_WHEEL: &str = "litellm==1.100.5";
