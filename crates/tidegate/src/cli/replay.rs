//! `tidegate replay`: recorded traffic, played against an emulated provider under one system or another.

mod page;
#[cfg(test)]
mod tests;

use std::{
    fs::File,
    io::{BufWriter, IsTerminal as _, Write as _},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use tidegate_sim::{
    replay::{
        Fleet, Plan, SystemKind, Transcript,
        grid::{COMPARED_WITH, Cell, Grid},
        measure::FIGURES,
        run,
        stats::Interval,
    },
    trace::{self, Session},
};

use super::{
    Said,
    table::{Table, line},
};

/// Runs of one grid at most: a day of eight hours takes seconds.
const RUNS_MAX: usize = 10_000;

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Recorded sessions: a CSV file, gzipped or not, with a row for each call
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// What the day would take of the input limit if there were none; more with commas
    #[arg(
        long,
        default_value = "0.75",
        value_delimiter = ',',
        value_name = "PART"
    )]
    load: Vec<f64>,
    /// Who stands between clients and provider; more with commas
    #[arg(
        long,
        default_value = "retry-10,tidegate",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    system: Vec<String>,
    /// Days to play, each drawn from its seed: `4-13` or `1,2,7`
    #[arg(long, default_value = "1-3")]
    seeds: Seeds,
    /// How long sessions begin, in hours; the day goes on for a quarter of it then, until all is done
    #[arg(long, default_value_t = 8.0)]
    hours: f64,
    /// The provider keeps so many seconds of unused allowance
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    burst: u32,
    /// JSON for programs instead of a table for people
    #[arg(long)]
    json: bool,
    /// Writes a page with tables and plots there, in one file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Writes everything that happened there, of one load, seed and system
    #[arg(long, value_name = "FILE")]
    transcript: Option<PathBuf>,
}

/// Which days.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seeds(Vec<u64>);

/// Seeds that can be asked for at once.
const SEEDS_MAX: usize = 1_000;

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no list of seeds: write `4-13` or `1,2,7`");
        let number = |it: &str| it.trim().parse::<u64>().map_err(|_| wrong());
        let mut seeds = Vec::new();
        for part in text.split(',') {
            let range: RangeInclusive<u64> = match part.split_once('-') {
                Some((from, to)) => number(from)?..=number(to)?,
                None => number(part)?..=number(part)?,
            };
            for seed in range {
                if seeds.len() == SEEDS_MAX {
                    return Err(format!("`{text}` is more than {SEEDS_MAX} seeds"));
                }
                if !seeds.contains(&seed) {
                    seeds.push(seed);
                }
            }
        }
        if seeds.is_empty() {
            return Err(wrong());
        }
        Ok(Self(seeds))
    }
}

pub(super) fn answer(args: &ReplayArgs) -> anyhow::Result<Said> {
    let systems = systems(&args.system)?;
    let fleet = fleet(args)?;
    let grid = Grid {
        fleet,
        loads: args.load.clone(),
        systems,
        seeds: args.seeds.0.clone(),
    };
    anyhow::ensure!(
        grid.runs() <= RUNS_MAX,
        "{} loads × {} seeds × {} systems are {} runs: ask for {RUNS_MAX} at most",
        grid.loads.len(),
        grid.seeds.len(),
        grid.systems.len(),
        grid.runs()
    );
    let sessions = sessions(&args.trace)?;
    if let Some(file) = &args.transcript {
        return transcript(&grid, &sessions, file);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = Bar::of(grid.runs());
    let cells = grid.play(&sessions, threads, &|done| bar.at(done))?;
    bar.end();
    if let Some(file) = &args.html {
        let page = page::page(&grid, &cells);
        std::fs::write(file, page)
            .with_context(|| format!("{}: can't be written", file.display()))?;
    }
    if args.json {
        return Said::json(&json(&grid, &cells));
    }
    Ok(Said::fine(show(&grid, &cells)))
}

fn fleet(args: &ReplayArgs) -> anyhow::Result<Fleet> {
    anyhow::ensure!(
        (0.1..=24.0).contains(&args.hours),
        "`--hours` is {}: set it from 0.1 to 24",
        args.hours
    );
    anyhow::ensure!(
        (1..=3_600).contains(&args.burst),
        "`--burst` is {}: set it from 1 to 3600",
        args.burst
    );
    let mut fleet = Fleet::w1(0.0, 0);
    fleet.open_for = Duration::from_secs_f64(args.hours * 3_600.0);
    fleet.then = fleet.open_for / 4;
    fleet.limits.burst_seconds = args.burst;
    Ok(fleet)
}

fn systems(names: &[String]) -> anyhow::Result<Vec<SystemKind>> {
    let known = || {
        let words = SystemKind::ALL.iter().map(|it| it.word());
        words.collect::<Vec<_>>().join(", ")
    };
    let system = |name: &String| {
        let all = SystemKind::ALL.iter();
        let found = all.copied().find(|it| it.word() == name.trim());
        found.with_context(|| format!("there is no system `{name}`; there are {}", known()))
    };
    names.iter().map(system).collect()
}

fn sessions(file: &Path) -> anyhow::Result<Vec<Session>> {
    let sessions = trace::sessions(trace::load(file));
    Ok(sessions.collect::<Result<_, _>>()?)
}

/// Plays one day, and writes down what happened.
fn transcript(grid: &Grid, sessions: &[Session], file: &Path) -> anyhow::Result<Said> {
    let ([load], [seed], [system]) = (&*grid.loads, &*grid.seeds, &*grid.systems) else {
        anyhow::bail!(
            "a transcript is of one day: name one `--load`, one of `--seeds` and one `--system`"
        );
    };
    let fleet = Fleet {
        load: *load,
        seed: *seed,
        ..grid.fleet.clone()
    };
    let plan: Plan = fleet.plan(sessions)?;
    let created = File::create(file);
    let created = created.with_context(|| format!("{}: can't be written", file.display()))?;
    let mut to = BufWriter::new(created);
    let played = run(&plan, *system, Transcript::to(&mut to))?;
    to.flush()
        .with_context(|| format!("{}: can't be written", file.display()))?;
    Ok(Said::fine(format!(
        "{} calls of {} tasks under `{}`, transcript {:016x}",
        plan.len(),
        plan.tasks.len(),
        system.word(),
        played.hash
    )))
}

/// Tells on a terminal how far it is.
struct Bar {
    of: usize,
    shown: bool,
}

/// Columns of the bar.
const BAR_COLUMNS: usize = 40;

impl Bar {
    fn of(of: usize) -> Self {
        Self {
            of,
            shown: std::io::stderr().is_terminal(),
        }
    }

    fn at(&self, done: usize) {
        if self.shown {
            let full = "█".repeat(BAR_COLUMNS * done / self.of.max(1));
            let mut to = std::io::stderr().lock();
            let bar = write!(to, "\r{full:░<BAR_COLUMNS$} {done} of {} runs", self.of);
            // Nobody needs to see it.
            bar.and_then(|()| to.flush()).unwrap_or_default();
        }
    }

    fn end(&self) {
        if self.shown {
            let mut to = std::io::stderr().lock();
            write!(to, "\r{:BAR_COLUMNS$}                \r", "").unwrap_or_default();
        }
    }
}

/// An interval as people read it.
fn shown(interval: Option<Interval>, digits: usize) -> String {
    match interval {
        None => "–".to_owned(),
        Some(it) if it.n == 1 => format!("{:.digits$}", it.mean),
        Some(it) => format!(
            "{:.digits$} [{:.digits$} {:.digits$}]",
            it.mean, it.low, it.high
        ),
    }
}

fn cells_of(cells: &[Cell], load: f64) -> impl Iterator<Item = &Cell> {
    cells
        .iter()
        .filter(move |it| it.load.to_bits() == load.to_bits())
}

/// Tables for people.
fn show(grid: &Grid, cells: &[Cell]) -> String {
    let mut out = String::new();
    line(
        &mut out,
        "An emulated provider, not the real one; the same days for every system.",
    );
    for load in &grid.loads {
        line(&mut out, "");
        let days = grid.seeds.len();
        line(
            &mut out,
            &format!(
                "load {load} of the input limit · {days} days · mean [95 % interval over days]"
            ),
        );
        let heads = cells_of(cells, *load).map(|it| format!(">{}", it.system.word()));
        let heads: Vec<String> = std::iter::once(String::new()).chain(heads).collect();
        let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
        let mut table = Table::new(&heads);
        for figure in FIGURES {
            let of = |it: &Cell| shown(it.interval(figure.of), figure.digits);
            let row = std::iter::once(figure.name.to_owned());
            table.cells(row.chain(cells_of(cells, *load).map(of)).collect());
        }
        let change = |it: &Cell| {
            let percent = |it: Interval| Interval {
                mean: 100.0 * it.mean,
                low: 100.0 * it.low,
                high: 100.0 * it.high,
                n: it.n,
            };
            shown(it.cost_change().map(percent), 1)
        };
        let name = format!(
            "cost of calls that {} completed too, %",
            COMPARED_WITH.word()
        );
        let row = std::iter::once(name);
        table.cells(row.chain(cells_of(cells, *load).map(change)).collect());
        out.push_str(&table.show());
    }
    out
}

/// The same for programs, with every day.
fn json(grid: &Grid, cells: &[Cell]) -> serde_json::Value {
    let interval = |it: Option<Interval>| {
        it.map(|it| serde_json::json!({"mean": it.mean, "low": it.low, "high": it.high, "n": it.n}))
    };
    let cell = |it: &Cell| {
        let figures = FIGURES.iter().map(|figure| {
            (
                figure.name.to_owned(),
                serde_json::json!(interval(it.interval(figure.of))),
            )
        });
        serde_json::json!({
            "load": it.load,
            "system": it.system.word(),
            "figures": figures.collect::<serde_json::Map<_, _>>(),
            "cost_change": interval(it.cost_change()),
            "days": it.days,
        })
    };
    serde_json::json!({
        "seeds": grid.seeds,
        "hours": grid.fleet.open_for.as_secs_f64() / 3_600.0,
        "burst_seconds": grid.fleet.limits.burst_seconds,
        "cells": cells.iter().map(cell).collect::<Vec<_>>(),
    })
}
