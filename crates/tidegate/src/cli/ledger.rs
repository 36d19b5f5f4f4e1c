//! `tidegate ledger`.

use std::{fmt::Write as _, io::Write as _};

use clap::{Args, Subcommand};
use tidegate_ledger::{LedgerStore as _, OpenReservation, Report, Seq, verify_store};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_store::SqliteStore;
use tidegate_types::{NanoUsd, ReservationId};

use super::{
    Client, Format, Said,
    table::{Table, Tone, grouped, plain, toned},
};
use crate::config::Settings;

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
    /// Reservations that have not ended, and those a crash left unknown
    Unknown(Format),
    /// Settle a reservation whose usage is unknown
    Settle(SettleArgs),
}

/// Options of `ledger export`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ExportArgs {
    /// Begin with this row
    #[arg(long, default_value_t = 1)]
    pub(crate) from: Seq,
}

/// Options of `ledger settle`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SettleArgs {
    /// The reservation: `resv_…`
    pub(crate) reservation: ReservationId,
    /// What it cost, in dollars
    pub(crate) cost: NanoUsd,
}

pub(super) fn answer(command: &LedgerCommand, settings: &Settings) -> anyhow::Result<Said> {
    match command {
        LedgerCommand::Verify(format) => {
            let report = verify_store(&read(settings)?)?;
            let said = if format.json {
                Said::json(&summary(&report))?
            } else {
                Said::fine(show_report(&report))
            };
            Ok(Said {
                failed: !report.is_clean(),
                ..said
            })
        }
        LedgerCommand::Export(args) => export(args.from, settings),
        LedgerCommand::Unknown(format) => {
            let open = read(settings)?.open_reservations()?;
            if format.json {
                return Said::json(&open.iter().map(view).collect::<Vec<_>>());
            }
            Ok(Said::fine(show_open(&open)))
        }
        LedgerCommand::Settle(args) => {
            let client = Client::of(settings)?;
            let path = format!("/api/v1/reservations/{}/settle", args.reservation);
            let body = serde_json::json!({ "cost": args.cost.to_string() });
            let _answer: serde_json::Value = client.post(&path, &body)?;
            let SettleArgs { reservation, cost } = args;
            Ok(Said::fine(format!("{reservation} is settled at {cost}")))
        }
    }
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
    let store = read(settings)?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    let mut next = from;
    loop {
        let rows = store.rows(next, ROWS_AT_A_TIME)?;
        let Some(last) = rows.last() else { break };
        next = last.seq.saturating_add(1);
        for row in &rows {
            serde_json::to_writer(&mut out, row)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()?;
    Ok(Said::default())
}

fn summary(report: &Report) -> serde_json::Value {
    let texts = |it: &mut dyn Iterator<Item = String>| it.collect::<Vec<_>>();
    serde_json::json!({
        "clean": report.is_clean(),
        "rows": report.rows,
        "reservations": report.reservations,
        "open": report.open,
        "held_nano_usd": report.held,
        "head": report.head.to_string(),
        "overruns": report.overruns.len(),
        "findings": texts(&mut report.findings.iter().map(ToString::to_string)),
        "findings_total": report.findings_total,
    })
}

/// A report for people.
pub(super) fn show_report(report: &Report) -> String {
    let mut out = format!(
        "{} rows, {} reservations, {} open that hold {}\nhead {}\n",
        grouped(report.rows),
        grouped(report.reservations),
        grouped(report.open),
        report.held,
        report.head
    );
    // Writing to a String cannot fail.
    if !report.overruns.is_empty() {
        let _infallible = writeln!(out, "{} settled above their hold", report.overruns.len());
    }
    if report.is_clean() {
        let _infallible = writeln!(out, "{}", toned("nothing is wrong", Tone::Good));
        return out;
    }
    for finding in report.findings.iter().take(SHOWN_MAX) {
        let _infallible = writeln!(out, "{}", toned(&finding.to_string(), Tone::Bad));
    }
    let _infallible = writeln!(
        out,
        "{} findings; `tidegate ledger verify --json` lists them",
        grouped(report.findings_total)
    );
    out
}

fn view(open: &OpenReservation) -> serde_json::Value {
    serde_json::json!({
        "reservation": open.reservation,
        "at": open.began_at,
        "organisation": &*open.path.organisation,
        "user": &*open.path.user,
        "held_nano_usd": open.held,
        "unknown_until": open.unknown_until,
    })
}

/// Open reservations for people, oldest first.
fn show_open(open: &[OpenReservation]) -> String {
    let mut table = Table::new(&["reservation", "since", "user", ">held", "state"]);
    for it in open {
        table.row([
            it.reservation.to_string(),
            rfc3339_seconds(it.began_at),
            plain(&format!("{} of {}", it.path.user, it.path.organisation)),
            it.held.to_string(),
            it.unknown_until.map_or("running".to_owned(), |until| {
                let until = rfc3339_seconds(until);
                let text = format!("unknown, settled at what it holds after {until}");
                toned(&text, Tone::Warning)
            }),
        ]);
    }
    if table.is_empty() {
        "no reservation is open\n".to_owned()
    } else {
        table.show()
    }
}
