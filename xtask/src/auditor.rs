//! An auditor who trusts nobody: from the ledger's exported rows and what callers saw on the wire alone, and with none of the
//! program's own code, it says whether a limit was ever passed, a settlement lost or anything counted twice.

use std::{
    collections::{BTreeMap, HashMap},
    fmt::Write as _,
};

use serde::Deserialize;
use sha2::{Digest as _, Sha256};

/// Findings that are kept: who has as many needs no more to know.
const FINDINGS_MAX: usize = 20;

/// What it has read so far.
#[derive(Debug, Default)]
pub(crate) struct Auditor {
    /// Hard limits by the kind of their level, in nano-dollars.
    limits: BTreeMap<&'static str, i128>,
    rows: u64,
    chain: [u8; 32],
    levels: HashMap<(&'static str, String), Standing>,
    reservations: HashMap<String, Audited>,
    findings: Vec<String>,
}

/// A level's money, in nano-dollars.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) held: i128,
    pub(crate) spent: i128,
    /// The most that both together ever were.
    pub(crate) peak: i128,
}

/// A reservation by its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Audited {
    pub(crate) task: Option<String>,
    /// What is held, or was when it ended.
    pub(crate) held: i128,
    pub(crate) ended: Option<Ended>,
    /// Whether a crash left it open.
    pub(crate) unknown: bool,
}

/// How a reservation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With its cost in nano-dollars and the output tokens that were reported.
    Settled {
        cost: i128,
        output: Option<u64>,
    },
    Released,
    Expired,
}

/// What a caller saw on the wire: answers that came whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// An admission was approved.
    Approved { reservation: String, nanos: i128 },
    /// A settlement was confirmed.
    Settled { reservation: String, nanos: i128 },
    /// A release was confirmed.
    Released { reservation: String },
    /// A gateway call came to its end; no other of its task used as much output.
    Completed { task: String, output: u64 },
}

#[derive(Debug, Deserialize)]
struct Row {
    seq: u64,
    chain: String,
    payload: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Payload {
    Call(Call),
    Policy(serde::de::IgnoredAny),
}

#[derive(Debug, Deserialize)]
struct Call {
    reservation: String,
    path: Path,
    event: Event,
}

#[derive(Debug, Deserialize)]
struct Path {
    organisation: String,
    user: String,
    task: Option<String>,
    day: Window,
}

#[derive(Debug, Deserialize)]
struct Window {
    opens: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Event {
    Reserve { bound: u64 },
    Extend { by: u64 },
    Settle(Settlement),
    Release { held: u64 },
    Unknown {},
    Expire { held: u64 },
    Correct { from: u64, to: u64 },
}

#[derive(Debug, Deserialize)]
struct Settlement {
    held: u64,
    cost: u64,
    usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
struct Usage {
    output: u64,
}

impl Auditor {
    /// With hard limits by kind of level: `task`, `user_day`.
    pub(crate) fn new(limits: &[(&'static str, u64)]) -> Self {
        let nanos = limits.iter().map(|(kind, it)| (*kind, i128::from(*it)));
        Self {
            limits: nanos.collect(),
            ..Self::default()
        }
    }

    /// The row that it has to read next.
    pub(crate) const fn next(&self) -> u64 {
        self.rows + 1
    }

    /// Reads rows as `tidegate ledger export` prints them, from [`Auditor::next`] on.
    pub(crate) fn read(&mut self, export: &str) {
        for line in export.lines() {
            match serde_json::from_str(line) {
                Ok(row) => self.row(&row),
                Err(error) => self.find(format!("`{line}` is no row: {error}")),
            }
        }
    }

    /// Compares what callers saw with the rows.
    pub(crate) fn compare<'a>(&mut self, seen: impl IntoIterator<Item = &'a Seen>) {
        let completed: HashMap<(&str, u64), u32> = self.outputs();
        let findings: Vec<String> = seen
            .into_iter()
            .filter_map(|it| self.contradicts(it, &completed))
            .collect();
        for finding in findings {
            self.find(finding);
        }
    }

    /// What is wrong; empty where nothing is.
    pub(crate) fn findings(&self) -> &[String] {
        &self.findings
    }

    /// The reservations that have not ended.
    pub(crate) fn open(&self) -> impl Iterator<Item = (&String, &Audited)> {
        self.reservations
            .iter()
            .filter(|(_, it)| it.ended.is_none())
    }

    /// How many reservations there are.
    pub(crate) fn reservations(&self) -> usize {
        self.reservations.len()
    }

    /// All levels of a kind.
    pub(crate) fn levels(&self, kind: &str) -> impl Iterator<Item = Standing> {
        let of_kind = self.levels.iter().filter(move |((it, _), _)| *it == kind);
        of_kind.map(|(_, standing)| *standing)
    }

    /// A task of the local user.
    pub(crate) fn task(&self, task: &str) -> Standing {
        let key = ("task", format!("local/local/{task}"));
        self.levels.get(&key).copied().unwrap_or_default()
    }

    fn row(&mut self, row: &Row) {
        if row.seq != self.rows + 1 {
            let due = self.rows + 1;
            self.find(format!("row {} stands where row {due} belongs", row.seq));
        }
        self.rows = row.seq;
        let chained = Sha256::new()
            .chain_update(self.chain)
            .chain_update(&row.payload);
        self.chain = chained.finalize().into();
        if hex(&self.chain) != row.chain {
            self.find(format!("row {}: its chain does not follow", row.seq));
        }
        match serde_json::from_str(&row.payload) {
            Ok(Payload::Call(call)) => self.call(row.seq, call),
            Ok(Payload::Policy(_)) => {}
            Err(error) => self.find(format!("row {}: {error}", row.seq)),
        }
    }

    fn call(&mut self, seq: u64, call: Call) {
        let (held, spent) = match self.apply(&call) {
            Ok(moved) => moved,
            Err(why) => {
                self.find(format!("row {seq}, {}: {why}", call.reservation));
                return;
            }
        };
        let Path {
            organisation,
            user,
            task,
            day,
        } = call.path;
        let day = format!("{organisation}/{user}/{}", day.opens);
        let task = task.map(|it| format!("{organisation}/{user}/{it}"));
        for (kind, key) in [Some(("user_day", day)), task.map(|it| ("task", it))]
            .into_iter()
            .flatten()
        {
            let level = self.levels.entry((kind, key.clone())).or_default();
            level.held += held;
            level.spent += spent;
            let both = level.held + level.spent;
            level.peak = level.peak.max(both);
            let limit = self.limits.get(kind).copied();
            if limit.is_some_and(|limit| both > limit && held + spent > 0) {
                self.find(format!(
                    "row {seq}: {kind} {key} stands at {both}, above its limit"
                ));
            }
        }
    }

    /// Takes in an event; what it adds to held and to spent.
    fn apply(&mut self, call: &Call) -> Result<(i128, i128), String> {
        if let Event::Reserve { bound } = call.event {
            let begun = Audited {
                task: call.path.task.clone(),
                held: bound.into(),
                ended: None,
                unknown: false,
            };
            let again = self.reservations.insert(call.reservation.clone(), begun);
            return again.map_or(Ok((bound.into(), 0)), |_| Err("begins twice".to_owned()));
        }
        let known = self.reservations.get_mut(&call.reservation);
        let it = known.ok_or("was never begun")?;
        let correction = matches!(call.event, Event::Correct { .. });
        if it.ended.is_some() != correction {
            return Err(format!("{:?} after {:?}", call.event, it.ended));
        }
        it.apply(&call.event)
    }

    fn contradicts(&self, seen: &Seen, completed: &HashMap<(&str, u64), u32>) -> Option<String> {
        let found = |id: &String| self.reservations.get(id);
        let agrees = match seen {
            Seen::Approved { reservation, nanos } => {
                found(reservation).is_some_and(|it| it.ended.is_some() || it.held == *nanos)
            }
            Seen::Settled { reservation, nanos } => {
                let ended = found(reservation).and_then(|it| it.ended);
                matches!(ended, Some(Ended::Settled { cost, .. }) if cost == *nanos)
            }
            Seen::Released { reservation } => {
                found(reservation).and_then(|it| it.ended) == Some(Ended::Released)
            }
            Seen::Completed { task, output } => {
                completed.get(&(task.as_str(), *output)) == Some(&1)
            }
        };
        (!agrees).then(|| format!("a caller saw {seen:?}, and the ledger does not say so"))
    }

    /// How many settlements of a task reported so much output.
    fn outputs(&self) -> HashMap<(&str, u64), u32> {
        let mut outputs = HashMap::new();
        for it in self.reservations.values() {
            if let (
                Some(task),
                Some(Ended::Settled {
                    output: Some(output),
                    ..
                }),
            ) = (&it.task, it.ended)
            {
                *outputs.entry((task.as_str(), output)).or_default() += 1;
            }
        }
        outputs
    }

    fn find(&mut self, finding: String) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

impl Audited {
    /// What an event after the first adds to held and to spent.
    fn apply(&mut self, event: &Event) -> Result<(i128, i128), String> {
        let whole = |held: u64, it: &Self| {
            let same = i128::from(held) == it.held;
            same.then_some(-it.held)
                .ok_or(format!("ends with {held}, and {} was held", it.held))
        };
        Ok(match event {
            Event::Reserve { .. } => return Err("begins twice".to_owned()),
            Event::Extend { by } => {
                self.held += i128::from(*by);
                ((*by).into(), 0)
            }
            Event::Settle(end) => {
                let freed = whole(end.held, self)?;
                let (cost, output) = (i128::from(end.cost), end.usage.as_ref().map(|it| it.output));
                self.ended = Some(Ended::Settled { cost, output });
                (freed, cost)
            }
            Event::Release { held } => {
                let freed = whole(*held, self)?;
                self.ended = Some(Ended::Released);
                (freed, 0)
            }
            Event::Unknown {} => {
                self.unknown = true;
                (0, 0)
            }
            Event::Expire { held } => {
                let freed = whole(*held, self)?;
                self.ended = Some(Ended::Expired);
                (freed, -freed)
            }
            Event::Correct { from, to } => (0, i128::from(*to) - i128::from(*from)),
        })
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests;
