//! The program itself: how soon it serves, what it costs to build, how large it is; and what the engine's own bench prints.

use std::{fs, io::Write as _, net::TcpStream};

use anyhow::Context as _;
use serde::Deserialize;

use super::{Rounds, clock, figure::Figure, usage};
use crate::{bound, scratch::Scratch, server, shell, suites::Rig};

/// From the start of the process to its first answer.
pub(super) fn start(rig: &Rig, rounds: Rounds) -> anyhow::Result<Vec<Figure>> {
    let mut serves = Figure::new("start to first answer", "tidegate", "ms").at_most(100.0);
    let scratch = Scratch::try_new("start")?;
    let program = rig.program()?;
    let provider = server::provider(program, scratch.path(), &["--bench"])?;
    for round in 0..rounds.0 {
        let home = scratch.folder(&format!("round-{round}"))?;
        let began = clock::now();
        let gateway = server::gateway(program, &home, &provider, Some(super::GOVERNED))?;
        let mut stream = TcpStream::connect(&gateway.address)?;
        write!(
            stream,
            "GET /healthz HTTP/1.1\r\nhost: {}\r\n\r\n",
            gateway.address
        )?;
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut stream, &mut answer)?;
        serves.rounds.push(began.elapsed().as_secs_f64() * 1e3);
        anyhow::ensure!(&answer == b"HTTP/1.1 200", "/healthz answered {answer:?}");
    }
    Ok(vec![serves])
}

/// Once: everything is built, dependencies too.
pub(super) fn build(_: &Rig, _: Rounds) -> anyhow::Result<Vec<Figure>> {
    let mut time = Figure::new("clean release build", "tidegate", "CPU-minutes").at_most(10.0);
    let mut size = Figure::new("stripped binary", "tidegate", "MB").at_most(25.0);
    let scratch = Scratch::try_new("build")?;
    let before = usage::ended_children()?;
    let mut cargo = shell::cargo(["build", "--release", "--quiet"]);
    shell::show(cargo.env("CARGO_TARGET_DIR", scratch.path()), bound::CARGO)?;
    let spent = usage::ended_children()?.saturating_sub(before);
    time.rounds.push(spent.as_secs_f64() / 60.0);
    let bytes = fs::metadata(scratch.path().join("release/tidegate"))?.len();
    size.rounds.push(f64::from(u32::try_from(bytes)?) / 1e6);
    Ok(vec![time, size])
}

/// A line of a bench program: one figure of one round.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    name: String,
    unit: Unit,
    value: f64,
    at_most: Option<f64>,
}

#[derive(Deserialize)]
enum Unit {
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "allocations")]
    Allocations,
}

impl Unit {
    const fn name(&self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns",
            Self::Allocations => "allocations",
        }
    }
}

/// `cargo bench -p tidegate-engine --bench reserve`, which prints a JSON object for each figure on a line of its own:
/// `{"name":"…","unit":"ns","value":210.0,"at_most":300.0}`.
pub(super) fn reserve(_: &Rig, rounds: Rounds) -> anyhow::Result<Vec<Figure>> {
    let mut figures: Vec<Figure> = Vec::new();
    for _ in 0..rounds.0 {
        let mut bench = shell::cargo([
            "bench",
            "--quiet",
            "--package",
            "tidegate-engine",
            "--bench",
            "reserve",
        ]);
        add(&mut figures, &shell::read(&mut bench)?)?;
    }
    anyhow::ensure!(!figures.is_empty(), "the bench printed no figure");
    Ok(figures)
}

/// Joins one round's lines to the figures of the rounds before.
fn add(figures: &mut Vec<Figure>, output: &str) -> anyhow::Result<()> {
    for line in output.lines().filter(|it| it.starts_with('{')) {
        let it: Line = serde_json::from_str(line).with_context(|| line.to_owned())?;
        match figures.iter_mut().find(|known| known.name == it.name) {
            Some(known) => known.rounds.push(it.value),
            None => figures.push(Figure {
                rounds: vec![it.value],
                at_most: it.at_most,
                ..Figure::new(it.name, "engine", it.unit.name())
            }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
