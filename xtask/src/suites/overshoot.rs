//! Ten thousand callers at once on a limit that fifty fit in: over HTTP, on SQLite, with an auditor looking on.

use std::path::Path;

use anyhow::{Context as _, ensure};

use super::{
    Rig, Suite, Tally,
    wire::{self, Line},
};
use crate::{
    auditor::{Auditor, Seen},
    bench::clock,
    report,
    scratch::Scratch,
    server::{self, Server},
    shell,
};

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "overshoot",
    proves: "10,000 reservations at once on a $5 limit: exactly 50 are admitted, and no event passes it",
    needs: &[],
    run: |rig| {
        let task = run(rig, &TASK)?;
        Ok(task + run(rig, &USER_DAY)?)
    },
}];

/// How many ask at once.
const CALLERS: usize = 10_000;

/// Files that a process has open beside its connections, and to spare.
const OTHER_FILES: u64 = 1_000;

/// Connections that are opened before the gateway is waited for: a system's queue of them may be as short as 128, and one
/// that finds it full is tried again only after a second.
const BACKLOG: usize = 100;

const DOLLAR: u64 = 1_000_000_000;

/// What each asks for: $0.10.
const ASKED: u64 = DOLLAR / 10;

/// Which limit is in the way.
struct Case {
    level: &'static str,
    configuration: &'static str,
    ask: &'static str,
}

const TASK: Case = Case {
    level: "task",
    configuration: "version = 1\nlog.level = \"warning\"\nbudgets.task.hard = \"5\"\nquotas.user.mode = \"watch\"\n",
    ask: r#"{"cost_usd":"0.10","task":"crowd"}"#,
};

const USER_DAY: Case = Case {
    level: "user_day",
    configuration: "version = 1\nlog.level = \"warning\"\nbudgets.user_day.hard = \"5\"\nquotas.user.mode = \"watch\"\n",
    ask: r#"{"cost_usd":"0.10"}"#,
};

fn run(rig: &Rig, case: &Case) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("overshoot")?;
    let done = in_folder(rig.program()?, scratch.path(), case);
    if done.is_err() {
        scratch.keep();
    }
    done.map(|()| Tally::passed())
}

fn in_folder(program: &Path, home: &Path, case: &Case) -> anyhow::Result<()> {
    let provider = server::provider(program, home, &["--unlimited"])?;
    let gateway = server::gateway(program, home, &provider, Some(case.configuration))?;
    let mut crowd = Crowd::gather(&gateway)?;
    let mut seen = Vec::new();

    let first = crowd.ask(case, &mut seen)?;
    expect(case, "a limit of $5.00", first.len(), 50)?;

    // $0.04 is spent by each of 25, nothing by the rest: $4.00 are left.
    let (settled, released) = first.split_at(first.len() / 2);
    crowd.settle(settled, "0.04", &mut seen)?;
    crowd.release(released, &mut seen)?;
    let second = crowd.ask(case, &mut seen)?;
    expect(case, "the $4.00 that were left", second.len(), 40)?;

    // While 10,000 ask, the 40 are released: each may make room for one more, and for no two.
    let third = crowd.ask_while_releasing(case, &second, &mut seen)?;
    let after = crowd.ask(case, &mut seen)?;
    expect(
        case,
        "40 places that came free meanwhile",
        third.len() + after.len(),
        40,
    )?;

    let mut auditor = Auditor::new(&[(case.level, 5 * DOLLAR)]);
    let mut export = server::tidegate(program, home);
    let reads = ["ledger", "export", "--data"];
    ensure!(gateway.stop()?.success(), "the gateway did not end well");
    auditor.read(&shell::read(export.args(reads).arg(home.join("data")))?);
    auditor.compare(&seen);
    let approved = first.len() + second.len() + third.len() + after.len();
    ensure!(
        auditor.findings().is_empty(),
        "{}",
        auditor.findings().join("\n")
    );
    ensure!(
        auditor.reservations() == approved,
        "{approved} were approved, and the ledger has {} reservations",
        auditor.reservations()
    );
    let peak = auditor
        .levels(case.level)
        .map(|it| it.peak)
        .max()
        .unwrap_or(0);
    ensure!(
        peak == i128::from(5 * DOLLAR),
        "the limit was never reached: {peak}"
    );
    report::say(format_args!(
        "{}: the auditor read {} rows; settled + held reached {peak} of {} nano-dollars and never passed it",
        case.level,
        auditor.next() - 1,
        5 * DOLLAR,
    ));
    Ok(())
}

fn expect(case: &Case, of: &str, admitted: usize, wanted: usize) -> anyhow::Result<()> {
    ensure!(
        admitted == wanted,
        "{}: {admitted} reservations of $0.10 were admitted on {of}, and {wanted} fit",
        case.level
    );
    Ok(())
}

/// The callers: as many connections as the system allows, each with the same number of requests under way.
struct Crowd {
    lines: Vec<Line>,
    each: usize,
}

impl Crowd {
    fn gather(gateway: &Server) -> anyhow::Result<Self> {
        use rustix::process::{Resource, getrlimit};
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let most = usize::try_from(files.saturating_sub(OTHER_FILES).max(1)).unwrap_or(CALLERS);
        let each = CALLERS.div_ceil(most.min(CALLERS));
        let mut lines = Vec::new();
        for at in 0..CALLERS / each {
            let mut line =
                Line::open(&gateway.address).context("cannot open as many connections")?;
            if at % BACKLOG == 0 {
                // Connections are taken in order: once this one is answered, all before it were.
                line.call(&wire::request("GET", "/healthz", &[], ""))?;
            }
            lines.push(line);
        }
        Ok(Self { lines, each })
    }

    /// Everybody asks before anybody is heard. The reservations that were approved.
    fn ask(&mut self, case: &Case, seen: &mut Vec<Seen>) -> anyhow::Result<Vec<String>> {
        let began = clock::now();
        let request = wire::request("POST", "/api/v1/admissions", &[], case.ask);
        for line in &mut self.lines {
            line.send(&request.repeat(self.each))?;
        }
        let mut approved = Vec::new();
        for line in &mut self.lines {
            for _ in 0..self.each {
                approved.extend(admitted(line, case)?);
            }
        }
        report::say(format_args!(
            "{}: {} asked at once on {} connections, {} were admitted, in {:.1} s",
            case.level,
            self.lines.len() * self.each,
            self.lines.len(),
            approved.len(),
            began.elapsed().as_secs_f64()
        ));
        seen.extend(approved.iter().map(|it| Seen::Approved {
            reservation: it.clone(),
            nanos: ASKED.into(),
        }));
        Ok(approved)
    }

    /// Everybody asks, and some release what they have at the same time, on the same connections.
    fn ask_while_releasing(
        &mut self,
        case: &Case,
        held: &[String],
        seen: &mut Vec<Seen>,
    ) -> anyhow::Result<Vec<String>> {
        let ask = wire::request("POST", "/api/v1/admissions", &[], case.ask);
        let share = (self.lines.len() / held.len().max(1)).max(1);
        let mut releases = held.iter();
        let mut expected = Vec::new();
        for (at, line) in self.lines.iter_mut().enumerate() {
            let release = if at % share == 0 {
                releases.next()
            } else {
                None
            };
            let mut bytes = release
                .map(|it| ending(it, "release", ""))
                .unwrap_or_default();
            bytes.extend(ask.repeat(self.each));
            line.send(&bytes)?;
            expected.push(release);
        }
        ensure!(
            releases.next().is_none(),
            "fewer connections than reservations"
        );
        let mut approved = Vec::new();
        for (line, release) in self.lines.iter_mut().zip(expected) {
            if let Some(reservation) = release {
                line.answer()?.json()?;
                seen.push(Seen::Released {
                    reservation: reservation.clone(),
                });
            }
            for _ in 0..self.each {
                approved.extend(admitted(line, case)?);
            }
        }
        let places = approved.iter().map(|it| Seen::Approved {
            reservation: it.clone(),
            nanos: ASKED.into(),
        });
        seen.extend(places);
        report::say(format_args!(
            "{}: while {} were released, {} of those who asked meanwhile were admitted",
            case.level,
            held.len(),
            approved.len()
        ));
        Ok(approved)
    }

    fn settle(&mut self, held: &[String], usd: &str, seen: &mut Vec<Seen>) -> anyhow::Result<()> {
        let body = format!(r#"{{"cost_usd":"{usd}"}}"#);
        for (line, reservation) in self.lines.iter_mut().zip(held) {
            let answer = line.call(&ending(reservation, "settle", &body))?.json()?;
            let nanos = answer["cost"]["nano_usd"].as_u64().context("no cost")?;
            seen.push(Seen::Settled {
                reservation: reservation.clone(),
                nanos: nanos.into(),
            });
        }
        Ok(())
    }

    fn release(&mut self, held: &[String], seen: &mut Vec<Seen>) -> anyhow::Result<()> {
        for (line, reservation) in self.lines.iter_mut().zip(held) {
            line.call(&ending(reservation, "release", ""))?.json()?;
            seen.push(Seen::Released {
                reservation: reservation.clone(),
            });
        }
        Ok(())
    }
}

fn ending(reservation: &str, how: &str, body: &str) -> Vec<u8> {
    let path = format!("/api/v1/reservations/{reservation}/{how}");
    wire::request("POST", &path, &[], body)
}

/// The reservation, if it was approved; a refusal must name the limit.
fn admitted(line: &mut Line, case: &Case) -> anyhow::Result<Option<String>> {
    let answer = line.answer()?.json()?;
    if let Some(reservation) = answer["reservation"].as_str() {
        return Ok(Some(reservation.to_owned()));
    }
    let limit = answer["limit"].as_str();
    ensure!(
        limit == Some(case.level),
        "refused by another limit: {answer}"
    );
    Ok(None)
}
