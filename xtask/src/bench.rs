//! Measures what the README promises: rounds interleaved, medians with quartiles, the machine and the date beside them.

pub(crate) mod clock;
mod figure;
mod http;
mod load;
mod memory;
mod program;
mod proxies;
mod request;
mod usage;

use std::{fs, path::PathBuf, process::ExitCode};

use anyhow::bail;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::{
    packages::{NGINX, Package},
    report, shell,
    suites::Rig,
};
use figure::Figure;

/// A group of figures that are measured together.
struct Measure {
    name: &'static str,
    tells: &'static str,
    needs: &'static [Package],
    run: fn(&Rig, Rounds) -> anyhow::Result<Vec<Figure>>,
}

const MEASURES: &[Measure] = &[
    Measure {
        name: "reserve",
        tells: "from `Routed` to `Reserved` inside the engine",
        needs: &[],
        run: program::reserve,
    },
    Measure {
        name: "gateway",
        tells: "the gateway beside nginx: processor time per call, latency, first byte",
        needs: &[NGINX],
        run: proxies::measure,
    },
    Measure {
        name: "memory",
        tells: "memory idle, under load, with open streams, and after",
        needs: &[],
        run: memory::measure,
    },
    Measure {
        name: "start",
        tells: "from the start of the process to its first answer",
        needs: &[],
        run: program::start,
    },
    Measure {
        name: "build",
        tells: "a clean release build, and the size of what comes out",
        needs: &[],
        run: program::build,
    },
];

/// The gateway's configuration while it is measured.
const GOVERNED: &str = include_str!("bench/governed.toml");

/// How often each thing is measured.
#[derive(Debug, Clone, Copy)]
struct Rounds(u32);

impl Rounds {
    /// For what takes long and varies little.
    fn at_most(self, most: u32) -> Self {
        Self(self.0.min(most))
    }
}

/// Which figures are measured.
#[derive(Debug, clap::Args)]
pub(crate) struct Choice {
    /// Measures only these
    #[arg(value_name = "NAME")]
    only: Vec<String>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
    /// Lists what can be measured
    #[arg(long)]
    list: bool,
    /// Rounds; everything compared is measured once in each
    #[arg(long, default_value_t = ROUNDS, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// A program to measure in place of the one that is built from this tree
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

/// Odd, so that the median is a round that was measured; enough for quartiles.
const ROUNDS: u32 = 9;

/// Measures the chosen figures and prints them.
///
/// # Errors
/// An unknown name, or a measurement that could not be made. A missed promise is in the exit code.
pub(crate) fn run(choice: &Choice) -> anyhow::Result<ExitCode> {
    if choice.list {
        for it in MEASURES {
            report::say(format_args!("{:<10} {}", it.name, it.tells));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let known = |name: &String| MEASURES.iter().any(|it| it.name == name);
    if let Some(unknown) = choice.only.iter().find(|name| !known(name)) {
        bail!("no bench `{unknown}`: `cargo xtask bench --list` shows them");
    }
    let chosen =
        |it: &&Measure| choice.only.is_empty() || choice.only.iter().any(|name| name == it.name);
    let rig = Rig::release(choice.program.as_deref())?;
    let (mut told, mut failed) = (Vec::new(), Vec::new());
    for measure in MEASURES.iter().filter(chosen) {
        for package in measure.needs {
            rig.packages.ensure(*package).map_err(anyhow::Error::msg)?;
        }
        match (measure.run)(&rig, Rounds(choice.rounds)) {
            Ok(figures) => told.extend(figures.iter().map(Figure::told)),
            // The others took their time, and stay worth it.
            Err(error) => failed.push(format!("{}: {error:#}", measure.name)),
        }
    }
    let machine = machine();
    if choice.json {
        let whole = serde_json::json!({ "machine": machine, "figures": told });
        report::say(serde_json::to_string_pretty(&whole)?);
    } else {
        report::say(format_args!("{machine}\n\n{}", figure::table(&told)));
    }
    for failure in &failed {
        report::say(format_args!("not measured: {failure}"));
    }
    let kept = told.iter().all(figure::Told::kept);
    Ok(if kept && failed.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Processor, cores, memory, kernel, commit and date: a figure without them says nothing.
fn machine() -> String {
    let file = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or("unknown", |(_, it)| it.trim()).to_owned()
    };
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let run = |program: &str, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        let text = shell::read(command.current_dir(shell::root()).args(arguments));
        text.map_or("unknown".to_owned(), |it| it.trim().to_owned())
    };
    format!(
        "{}, {cores} cores, {} memory, Linux {}; commit {}; {}",
        field(&file("/proc/cpuinfo"), "model name"),
        field(&file("/proc/meminfo"), "MemTotal"),
        file("/proc/sys/kernel/osrelease").trim(),
        run("git", &["describe", "--always", "--dirty"]),
        run("date", &["+%Y-%m-%d"]),
    )
}

/// As many open files as the system lets this process and its children have: a stream takes two in a proxy.
fn raise_open_files() -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    Ok(setrlimit(Resource::Nofile, limit)?)
}
