//! One round: load, kill, restart, and what the auditor makes of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::mpsc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use tidegate_sim::Seeded;

use super::{
    super::wire::{self, Line},
    Site,
    load::{InFlight, Witness, Work},
};
use crate::{
    auditor::{Auditor, Seen},
    server::Server,
};

/// The kill comes after this many answers at least, and so many more at most: while the first calls are under way, when a limit
/// is first met, or well into the second task.
const ANSWERS_MIN: u32 = 8;
const ANSWERS_MORE: u32 = 90;

/// No answer at all for so long, with eight callers, is a gateway that hangs.
const SILENCE: Duration = Duration::from_secs(30);

/// What all rounds together have shown.
#[derive(Debug)]
#[expect(
    clippy::struct_field_names,
    reason = "how many rounds there were is `rounds`"
)]
pub(super) struct Rounds {
    auditor: Auditor,
    limit: u64,
    seed: Seeded,
    seen: Vec<Seen>,
    rounds: u32,
    refusals: u64,
    in_flight: usize,
    left_open: usize,
    lost_max: i128,
}

impl Rounds {
    pub(super) fn new(limit: u64) -> Self {
        Self {
            auditor: Auditor::new(&[("task", limit)]),
            limit,
            seed: Seeded::new(100),
            seen: Vec::new(),
            rounds: 0,
            refusals: 0,
            in_flight: 0,
            left_open: 0,
            lost_max: 0,
        }
    }

    /// Loads the gateway, kills it, and returns the one that was started after it.
    pub(super) fn run(
        &mut self,
        site: &Site,
        gateway: Server,
        number: u32,
    ) -> anyhow::Result<Server> {
        let work = Work::new(&gateway.address, number);
        let answers = ANSWERS_MIN + self.seed.below(ANSWERS_MORE);
        let witnesses = load(&work, gateway, answers)?;
        self.take(&witnesses);
        site.verify().context("after the kill")?;
        let gateway = site.gateway().context("after the kill")?;
        let listed = open(site)?;
        site.verify().context("after the restart")?;
        self.audit(site)?;
        self.compare(&witnesses, &listed)?;
        self.spend_the_rest(&gateway, &work.task())?;
        self.settle_open(site, &gateway, &listed)?;
        self.rounds += 1;
        Ok(gateway)
    }

    /// After a graceful stop: everything seen is in the books, and nothing is open.
    pub(super) fn close(&mut self, site: &Site) -> anyhow::Result<()> {
        site.verify()?;
        self.audit(site)?;
        let open: Vec<_> = self.auditor.open().collect();
        ensure!(open.is_empty(), "a graceful stop left {open:?}");
        ensure!(
            self.refusals > 0,
            "no limit was ever met: the load is too small"
        );
        Ok(())
    }

    fn take(&mut self, witnesses: &[Witness]) {
        for it in witnesses {
            self.seen.extend(it.seen.iter().cloned());
            self.refusals += it.refusals;
            self.in_flight += usize::from(it.in_flight.is_some());
        }
    }

    /// Reads the rows that are new, and holds everything that was ever seen against them.
    fn audit(&mut self, site: &Site) -> anyhow::Result<()> {
        let from = self.auditor.next().to_string();
        let export = site.says(&["ledger", "export", "--from", &from])?;
        self.auditor.read(&export);
        self.auditor.compare(&self.seen);
        let findings = self.auditor.findings();
        ensure!(findings.is_empty(), "the auditor: {}", findings.join("\n"));
        Ok(())
    }

    /// What is open is what callers hold, and what was in flight; each is listed, calls of the gateway's as unknown.
    fn compare(&mut self, witnesses: &[Witness], listed: &Listed) -> anyhow::Result<()> {
        let open: BTreeMap<_, _> = self.auditor.open().collect();
        ensure!(
            open.keys().copied().eq(listed.keys()),
            "open by the ledger {:?}, listed {listed:?}",
            open.keys()
        );
        let kept: BTreeSet<&String> = witnesses.iter().flat_map(|it| &it.kept).collect();
        let missing: Vec<_> = kept.iter().filter(|it| !open.contains_key(**it)).collect();
        ensure!(
            missing.is_empty(),
            "held by callers, and not open: {missing:?}"
        );
        let unknown = |id: &String| listed.get(id).copied().unwrap_or_default();
        let taken: Vec<_> = kept.iter().filter(|it| unknown(it)).collect();
        ensure!(
            taken.is_empty(),
            "held by callers, and said to be unknown: {taken:?}"
        );

        let in_flight: Vec<&InFlight> = witnesses
            .iter()
            .filter_map(|it| it.in_flight.as_ref())
            .collect();
        let ending: BTreeSet<&String> =
            in_flight.iter().filter_map(|it| it.ends.as_ref()).collect();
        let mut lost: BTreeMap<(&str, bool), (usize, i128)> = BTreeMap::new();
        let others = open
            .iter()
            .filter(|(id, _)| !kept.contains(**id) && !ending.contains(**id));
        for (id, it) in others {
            let task = it.task.as_deref().unwrap_or_default();
            let of_task = lost.entry((task, unknown(id))).or_default();
            of_task.0 += 1;
            of_task.1 += it.held;
        }
        // What nobody holds and nobody was ending must have been in flight, for its task and within its bound.
        for ((task, unknown), (calls, held)) in &lost {
            let beginning = in_flight
                .iter()
                .filter(|it| it.ends.is_none() && it.task == *task && it.holds != *unknown);
            let bounds: Vec<i128> = beginning.map(|it| it.bound.into()).collect();
            ensure!(
                *calls <= bounds.len(),
                "{task}: {calls} are open (unknown: {unknown}), and {} were in flight",
                bounds.len()
            );
            let most: i128 = bounds.iter().sum();
            ensure!(
                *held <= most,
                "{task}: {held} are held for calls in flight of at most {most}"
            );
        }
        let all: i128 = lost.values().map(|(_, held)| held).sum();
        self.lost_max = self.lost_max.max(all);
        self.left_open += lost.values().map(|(calls, _)| calls).sum::<usize>();
        Ok(())
    }

    /// What is neither spent nor held can be spent at once, to the last billionth of a dollar, and no more.
    fn spend_the_rest(&self, gateway: &Server, task: &str) -> anyhow::Result<()> {
        let standing = self.auditor.task(task);
        let left = i128::from(self.limit) - standing.spent - standing.held;
        let left = u64::try_from(left).context("less than nothing is left")?;
        let mut line = Line::open(&gateway.address)?;
        let mut ask = |nanos: u64| -> anyhow::Result<Option<String>> {
            let usd = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            let body = json!({ "cost_usd": usd, "task": task }).to_string();
            let answer = line.call(&wire::request("POST", "/api/v1/admissions", &[], &body))?;
            Ok(answer.json()?["reservation"].as_str().map(str::to_owned))
        };
        ensure!(
            ask(left + 1)?.is_none(),
            "{task}: more than the {left} that are left was admitted"
        );
        let whole = ask(left)?;
        let whole =
            whole.with_context(|| format!("{task}: the {left} that are left can't be spent"))?;
        ensure!(
            ask(1)?.is_none(),
            "{task}: something was admitted after all was taken"
        );
        let path = format!("/api/v1/reservations/{whole}/release");
        line.call(&wire::request("POST", &path, &[], ""))?.json()?;
        Ok(())
    }

    /// Who holds a reservation still says what it cost. Of what is unknown an operator does: of the first on the command
    /// line, of the rest over the API.
    fn settle_open(
        &mut self,
        site: &Site,
        gateway: &Server,
        listed: &Listed,
    ) -> anyhow::Result<()> {
        let operator = wire::operator(&site.data())?;
        let proof = [operator.as_str()];
        let mut line = Line::open(&gateway.address)?;
        let open = self.auditor.open();
        let open: Vec<(String, i128)> = open.map(|(id, it)| (id.clone(), it.held)).collect();
        let mut by_command = false;
        for (id, held) in open {
            let nanos = held / 2;
            let usd = format!("0.{nanos:09}");
            ensure!(held <= 1_000_000_000, "a hold of more than $1");
            let unknown = listed.get(&id) == Some(&true);
            if unknown && !by_command {
                site.says(&["ledger", "settle", &id, &usd])?;
                by_command = true;
            } else {
                let path = format!("/api/v1/reservations/{id}/settle");
                let body = json!({ "cost_usd": usd }).to_string();
                let headers = if unknown { &proof[..] } else { &[] };
                line.call(&wire::request("POST", &path, headers, &body))?
                    .json()?;
            }
            self.seen.push(Seen::Settled {
                reservation: id,
                nanos,
            });
        }
        Ok(())
    }
}

/// Lets the callers work until so many answers came, then kills the gateway under them.
fn load(work: &Work, gateway: Server, answers: u32) -> anyhow::Result<Vec<Witness>> {
    let (event, events) = mpsc::channel();
    thread::scope(|scope| {
        let callers: Vec<_> = work
            .callers()
            .map(|caller| {
                let event = event.clone();
                scope.spawn(move || caller.work(&event))
            })
            .collect();
        drop(event);
        let came = (0..answers)
            .take_while(|_| events.recv_timeout(SILENCE).is_ok())
            .count();
        drop(gateway); // SIGKILL
        let mut witnesses = Vec::new();
        for caller in callers {
            let Ok((witness, strange)) = caller.join() else {
                bail!("a caller panicked");
            };
            if let Some(strange) = strange {
                bail!("a caller was {strange}");
            }
            witnesses.push(witness);
        }
        ensure!(
            came == answers as usize,
            "only {came} answers came before silence"
        );
        Ok(witnesses)
    })
}

/// What is listed as open, by reservation, and whether it is said to be unknown; nobody has asked for anything yet.
type Listed = BTreeMap<String, bool>;

fn open(site: &Site) -> anyhow::Result<Listed> {
    let told: Value = serde_json::from_str(&site.says(&["ledger", "unknown", "--json"])?)?;
    let open = told["open"].as_array().context("no list of what is open")?;
    let each = open.iter().map(|it| {
        let id = it["reservation"].as_str().context("one without its id")?;
        let unknown = it["unknown"].as_bool().context("one without `unknown`")?;
        Ok((id.to_owned(), unknown))
    });
    each.collect()
}

impl fmt::Display for Rounds {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            to,
            "killed {} times: {} rows, {} reservations, {} answers held against them, {} refusals by the limit; {} requests in \
             flight left {} reservations open, at most ${:.2} at once",
            self.rounds,
            self.auditor.next() - 1,
            self.auditor.reservations(),
            self.seen.len(),
            self.refusals,
            self.in_flight,
            self.left_open,
            dollars(self.lost_max),
        )
    }
}

fn dollars(nanos: i128) -> f64 {
    // Amounts of a test are far below what a float holds exactly.
    f64::from(u32::try_from(nanos / 10_000).unwrap_or(u32::MAX)) / 1e5
}
