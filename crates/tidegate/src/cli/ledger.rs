//! `tidegate ledger`.

use std::collections::BTreeMap;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tidegate_control::wire::{
    CorrectRequest, Corrected, Entries, Reservations, SettleRequest, Settled, Usd, Verification,
};
use tidegate_ledger::{LedgerStore as _, Seq, verify_store};
use tidegate_store::{SqliteStore, journaled_entries};
use tidegate_types::{NanoUsd, ReservationId};

use super::{
    Client, Format, Said,
    table::{Table, Tone, grouped, line, plain, toned},
};
use crate::{config::Settings, wiring::JOURNAL};

/// Rows read at a time: a few hundred kilobytes.
const ROWS_AT_A_TIME: usize = 1_000;

/// Findings that people are shown; `--json` gives all that were kept.
const SHOWN_MAX: usize = 20;

/// What can be done with the ledger.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum LedgerCommand {
    /// Read every row and say what is wrong; exits with 1 if anything is
    Verify(Format),
    /// Print every row as one line of JSON, in order
    Export(ExportArgs),
    /// Reservations that have not ended, those a crash left unknown, and those nobody settled
    Unknown(Format),
    /// Settle a reservation whose usage is unknown
    Settle(CostArgs),
    /// Put the real cost in the place of one that was estimated
    Correct(CostArgs),
}

/// Options of `ledger export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Begin with this row
    #[arg(long, default_value_t = 1)]
    pub(crate) from: Seq,
}

/// Options of `ledger settle` and `ledger correct`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CostArgs {
    /// The reservation: `resv_…`
    pub(crate) reservation: ReservationId,
    /// What it cost, in dollars
    pub(crate) cost: NanoUsd,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(command: &LedgerCommand, settings: &Settings) -> anyhow::Result<Said> {
    match command {
        LedgerCommand::Verify(format) => {
            // By this process, not by the one that wrote it.
            let report = Verification::from(&verify_store(&read_all(settings)?)?);
            let said = if format.json {
                Said::json(&report)?
            } else {
                Said::fine(show_report(&report))
            };
            Ok(Said {
                failed: !report.clean,
                ..said
            })
        }
        LedgerCommand::Export(args) => export(args.from, settings),
        LedgerCommand::Unknown(format) => {
            let path = "/api/v1/reservations";
            let client = Client::of(settings)?;
            if format.json {
                return Said::json(&client.get::<serde_json::Value>(path)?);
            }
            Ok(Said::fine(show_open(&client.get(path)?)))
        }
        LedgerCommand::Settle(args) => settle(args, &Client::of(settings)?),
        LedgerCommand::Correct(args) => correct(args, &Client::of(settings)?),
    }
}

fn settle(args: &CostArgs, client: &Client) -> anyhow::Result<Said> {
    let path = format!("/api/v1/reservations/{}/settle", args.reservation);
    let request = SettleRequest {
        cost_usd: Some(Usd(args.cost)),
        ..SettleRequest::default()
    };
    if args.format.json {
        return Said::json(&client.post::<serde_json::Value>(&path, &request)?);
    }
    let settled: Settled = client.post(&path, &request)?;
    let cost = NanoUsd::from(&settled.cost);
    Ok(Said::fine(format!(
        "{} is settled at {cost}",
        settled.reservation
    )))
}

fn correct(args: &CostArgs, client: &Client) -> anyhow::Result<Said> {
    let path = format!("/api/v1/reservations/{}/correct", args.reservation);
    let request = CorrectRequest {
        cost_usd: Usd(args.cost),
    };
    if args.format.json {
        return Said::json(&client.post::<serde_json::Value>(&path, &request)?);
    }
    let Corrected {
        reservation,
        from,
        to,
    } = client.post(&path, &request)?;
    let (from, to) = (NanoUsd::from(&from), NanoUsd::from(&to));
    Ok(Said::fine(format!(
        "{reservation} was booked at {from}, and is at {to} now"
    )))
}

/// The ledger with all that was acknowledged until now, beside whoever writes it. What can't be in it
/// yet is said on standard error.
fn read_all(settings: &Settings) -> anyhow::Result<SqliteStore> {
    let store = read(settings)?;
    let journaled = journaled_entries(&settings.data.join(JOURNAL))?;
    let waiting = missing(&store, &journaled)?;
    if waiting.is_empty() {
        return Ok(store);
    }
    // Whoever asks for rows has what waits written first. Whether anybody answered shows below.
    let _written = Client::of(settings)?.get::<Entries>("/api/v1/ledger/entries?limit=1");
    let waiting = missing(&store, &waiting)?.len();
    if waiting > 0 {
        super::say(&format!(
            "{} of the journal are not in the ledger yet, and not in what follows: `tidegate serve` takes them over when it starts; where a gateway runs, `tidegate status` says what keeps it from that",
            match waiting {
                1 => "1 entry".to_owned(),
                _ => format!("{} entries", grouped(waiting as u64)),
            }
        ));
    }
    Ok(store)
}

/// Those entries that the store has not.
fn missing(
    store: &SqliteStore,
    entries: &[(ReservationId, u32)],
) -> anyhow::Result<Vec<(ReservationId, u32)>> {
    let mut rows: BTreeMap<ReservationId, usize> = BTreeMap::new();
    let mut missing = Vec::new();
    for (reservation, ordinal) in entries {
        let stored = match rows.get(reservation) {
            Some(stored) => *stored,
            None => store.history(*reservation)?.len(),
        };
        rows.insert(*reservation, stored);
        // A reservation's rows are stored in the order of their ordinals, without gaps.
        if *ordinal as usize >= stored {
            missing.push((*reservation, *ordinal));
        }
    }
    Ok(missing)
}

/// The ledger, beside whoever writes it.
fn read(settings: &Settings) -> anyhow::Result<SqliteStore> {
    let data = &settings.data;
    anyhow::ensure!(
        data.exists(),
        "there is no ledger in `{}` yet: it begins with the first `tidegate serve`, or name its folder with --data",
        data.display()
    );
    Ok(SqliteStore::read(data)?)
}

/// Writes rows as they are read: a ledger does not fit in memory.
fn export(from: Seq, settings: &Settings) -> anyhow::Result<Said> {
    let store = read_all(settings)?;
    let mut next = from;
    loop {
        let rows = store.rows(next, ROWS_AT_A_TIME)?;
        let Some(last) = rows.last() else { break };
        next = last.seq.saturating_add(1);
        let mut lines = String::new();
        for row in &rows {
            lines.push_str(&serde_json::to_string(row)?);
            lines.push('\n');
        }
        match super::write(&lines) {
            // Whoever reads has enough.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written.context("the rows can't be written")?,
        }
    }
    Ok(Said::default())
}

/// A report for people.
pub(super) fn show_report(report: &Verification) -> String {
    let mut out = format!(
        "rows: {}, reservations: {}, {} open that hold {}\nhead {}\n",
        grouped(report.rows),
        grouped(report.reservations),
        grouped(report.open),
        NanoUsd::from(&report.held),
        plain(&report.head)
    );
    if report.overruns_total > 0 {
        let overruns = grouped(report.overruns_total);
        line(&mut out, &format!("{overruns} settled above their hold"));
    }
    if report.clean {
        line(&mut out, &toned("nothing is wrong", Tone::Good));
        return out;
    }
    for finding in report.findings.iter().take(SHOWN_MAX) {
        line(&mut out, &toned(finding, Tone::Bad));
    }
    let all = format!(
        "{} findings; `tidegate ledger verify --json` lists them",
        grouped(report.findings_total)
    );
    line(&mut out, &all);
    out
}

/// Reservations for people: open ones, oldest first; then those that ended without anybody's word.
pub(super) fn show_open(all: &Reservations) -> String {
    let mut table = Table::new(&["reservation", "user", "task", ">held", "state"]);
    for it in &all.open {
        table.row([
            it.reservation.to_string(),
            plain(&format!("{} of {}", it.user, it.organisation)),
            plain(it.task.as_deref().unwrap_or_default()),
            NanoUsd::from(&it.held).to_string(),
            if it.unknown {
                let text = format!("unknown, settled at what it holds at {}", it.expires_at);
                toned(&text, Tone::Warning)
            } else {
                plain(&format!("open until {}", it.expires_at))
            },
        ]);
    }
    for it in &all.expired {
        let text = format!("settled at its bound at {}, nobody said otherwise", it.at);
        table.row([
            it.reservation.to_string(),
            plain(&format!("{} of {}", it.user, it.organisation)),
            plain(it.task.as_deref().unwrap_or_default()),
            NanoUsd::from(&it.cost).to_string(),
            toned(&text, Tone::Warning),
        ]);
    }
    if table.is_empty() {
        return "no reservation is open\n".to_owned();
    }
    let mut out = table.show();
    if all.more > 0 {
        line(&mut out, &format!("{} more are open", grouped(all.more)));
    }
    if !all.expired.is_empty() {
        line(
            &mut out,
            "what was settled at its bound is put right with `tidegate ledger correct RESERVATION COST`",
        );
    }
    out
}
