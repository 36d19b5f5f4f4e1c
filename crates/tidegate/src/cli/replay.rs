//! `tidegate replay`: recorded traffic, played against an emulated provider under one system or another.

mod page;
mod system;
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
use clap::{Args, ValueEnum};
use tidegate_sim::{
    replay::{
        Arrivals, Fleet, Plan, Transcript,
        grid::{COMPARED_WITH, Cell, Grid},
        measure::FIGURES,
        run,
        stats::Interval,
    },
    trace::{Format, Loaded, Reading, Traffic},
};

use super::{
    Said,
    table::{Table, grouped, line, many},
};

/// Two weeks: the longest of the public traces.
const HOURS_MAX: f64 = 336.0;

/// Runs of one grid at most: a day of eight hours takes seconds.
const RUNS_MAX: usize = 10_000;

/// Options of `replay`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Recorded traffic: a file, gzipped or not, or a folder of Claude Code's transcripts. What it is is told by its
    /// content: see `--format`
    #[arg(value_name = "FILE")]
    trace: PathBuf,
    /// What it is, whatever its content says: sessions, azure, burstgpt, mooncake, servegen, tidegate, claude-code
    #[arg(long, value_name = "NAME")]
    format: Option<Format>,
    /// Of calls that were recorded without sessions, only those of this model
    #[arg(long, value_name = "MODEL")]
    only: Option<String>,
    /// Another trace, to draw the sizes of calls from where the first has none
    #[arg(long, value_name = "FILE")]
    sizes: Option<PathBuf>,
    /// When sessions begin: drawn at random, as often as makes the load, or when they were recorded, and the
    /// provider's limits follow from the load [default: drawn; calls without sessions always come as recorded]
    #[arg(long, value_name = "HOW")]
    arrivals: Option<When>,
    /// What the day would take of the input limit if there were none; more with commas
    #[arg(
        long,
        default_value = "0.75",
        value_delimiter = ',',
        value_name = "PART"
    )]
    load: Vec<f64>,
    /// Who stands between clients and provider, by name, or a configuration of Tidegate, FILE.toml; more with commas
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
    /// How long sessions begin, in hours, or how much of recorded times is played; the day goes on for a quarter of it
    /// then, until all is done
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

/// When sessions begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// Drawn at random.
    Drawn,
    /// When they were recorded.
    Recorded,
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
    let grid = Grid {
        systems: system::systems(&args.system)?,
        fleet: fleet(args)?,
        loads: args.load.clone(),
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
    let loaded = load(args, &grid.fleet)?;
    if let Some(file) = &args.transcript {
        return transcript(&grid, &loaded.traffic, file);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let bar = Bar::of(grid.runs());
    let cells = grid.play(&loaded.traffic, threads, &|done| bar.at(done));
    bar.end();
    let cells = cells?;
    if let Some(file) = &args.html {
        let page = page::page(&grid, &cells, &what(&loaded));
        std::fs::write(file, page)
            .with_context(|| format!("{}: can't be written", file.display()))?;
    }
    if args.json {
        return Said::json(&json(&grid, &cells, &loaded));
    }
    Ok(Said::fine(show(&grid, &cells, &what(&loaded))))
}

fn fleet(args: &ReplayArgs) -> anyhow::Result<Fleet> {
    anyhow::ensure!(
        (0.1..=HOURS_MAX).contains(&args.hours),
        "`--hours` is {}: set it from 0.1 to {HOURS_MAX}",
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
    fleet.arrivals = match args.arrivals {
        None | Some(When::Drawn) => Arrivals::Drawn,
        Some(When::Recorded) => Arrivals::Recorded,
    };
    Ok(fleet)
}

/// Reads what is to be played, and refuses what can't be played as it is asked for.
fn load(args: &ReplayArgs, fleet: &Fleet) -> anyhow::Result<Loaded> {
    let reading = Reading {
        format: args.format,
        within: fleet.open_for,
        model: args.only.clone(),
    };
    let mut loaded = reading.load(&args.trace)?;
    if args.arrivals == Some(When::Drawn) && !matches!(loaded.traffic, Traffic::Sessions(_)) {
        anyhow::bail!(
            "`--arrivals drawn`: {} has calls without sessions, which come as they were recorded; leave it out",
            args.trace.display()
        );
    }
    match (&mut loaded.traffic, &args.sizes) {
        (Traffic::Rates(rates), Some(file)) => rates.sizes = sizes(file)?,
        (Traffic::Rates(_), None) => anyhow::bail!(
            "{} says when calls come, not how large they are: name a trace to draw that from with --sizes",
            args.trace.display()
        ),
        (_, Some(_)) => anyhow::bail!(
            "`--sizes`: {} says itself how large its calls are; leave it out",
            args.trace.display()
        ),
        (_, None) => {}
    }
    Ok(loaded)
}

/// Input and output of every call of another trace.
fn sizes(file: &Path) -> anyhow::Result<Vec<(u64, u64)>> {
    match Reading::default().load(file)?.traffic {
        Traffic::Sessions(all) => {
            let rows = all.iter().filter(|it| it.fork_of.is_none());
            let rows = rows.flat_map(|it| &it.rows);
            Ok(rows.map(|it| (it.input.0, it.output.0)).collect())
        }
        Traffic::Calls(all) => Ok(all.iter().map(|it| (it.input.0, it.output.0)).collect()),
        Traffic::Rates(_) => anyhow::bail!(
            "`--sizes`: {} has no sizes itself; name a trace of calls",
            file.display()
        ),
    }
}

/// What was read, for people.
fn what(loaded: &Loaded) -> String {
    let format = loaded.format;
    let over = match loaded.passed_over {
        0 => String::new(),
        some => format!(", {} passed over", grouped(some)),
    };
    match &loaded.traffic {
        Traffic::Sessions(all) => {
            let calls: usize = all.iter().map(|it| it.rows.len()).sum();
            let forks = all.iter().filter(|it| it.fork_of.is_some()).count();
            format!(
                "{format}: {} in {}, {} left out{over}",
                many(calls as u64, "call"),
                many(all.len() as u64, "session"),
                many(forks as u64, "fork")
            )
        }
        Traffic::Calls(all) => {
            let calls = many(all.len() as u64, "call");
            format!("{format}: {calls}, each on its own{over}")
        }
        Traffic::Rates(all) => {
            let windows = many(all.windows.len() as u64, "window");
            format!("{format}: {windows} of ten minutes, of which calls are drawn{over}")
        }
    }
}

/// Plays one day, and writes down what happened.
fn transcript(grid: &Grid, traffic: &Traffic, file: &Path) -> anyhow::Result<Said> {
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
    let plan: Plan = fleet.day(traffic)?;
    let created = File::create(file);
    let created = created.with_context(|| format!("{}: can't be written", file.display()))?;
    let mut to = BufWriter::new(created);
    let played = run(&plan, system.clone(), Transcript::to(&mut to))?;
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
fn show(grid: &Grid, cells: &[Cell], what: &str) -> String {
    let mut out = String::new();
    line(
        &mut out,
        "An emulated provider, not the real one; the same days for every system.",
    );
    line(&mut out, what);
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
fn json(grid: &Grid, cells: &[Cell], loaded: &Loaded) -> serde_json::Value {
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
        "format": loaded.format.word(),
        "passed_over": loaded.passed_over,
        "seeds": grid.seeds,
        "hours": grid.fleet.open_for.as_secs_f64() / 3_600.0,
        "burst_seconds": grid.fleet.limits.burst_seconds,
        "cells": cells.iter().map(cell).collect::<Vec<_>>(),
    })
}
