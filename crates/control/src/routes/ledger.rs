//! The ledger's rows, and whether they hold.

use std::sync::Arc;

use axum::{Extension, Json, extract::State};
use tidegate_ledger::{Entry, Report, Row, verify_store};
use tidegate_observe::record::rfc3339;

use crate::{
    Control,
    access::{Sight, Visitor},
    error::Error,
    limits::{OVERRUNS_MAX, ROWS_DEFAULT, ROWS_MAX},
    read::{Asked, number},
    wire::{Entries, EntriesQuery, EntryRow, Overrun, Verification},
};

/// Rows of the ledger in order, as they are stored.
#[utoipa::path(get, path = "/api/v1/ledger/entries", tag = "ledger", params(EntriesQuery),
    responses((status = 200, body = Entries)))]
pub(crate) async fn entries(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
    Asked(query): Asked<EntriesQuery>,
) -> Result<Json<Entries>, Error> {
    let from = number("from", query.from.as_deref(), 1, u64::MAX)?;
    let most = number("limit", query.limit.as_deref(), ROWS_DEFAULT, ROWS_MAX)?;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let sight = visitor.sight();
    control
        .waiting(move |control| {
            control.engine.flush();
            let rows = control.engine.ledger().rows(from, most);
            let rows = rows.map_err(|it| control.store_failed(&it))?;
            let last = rows.last().map(|it| it.seq);
            let next = last.filter(|_| rows.len() == most);
            let seen = rows.into_iter().filter(|it| sees(&sight, it));
            Ok(Json(Entries {
                rows: seen.map(shown).collect(),
                next: next.map(|it| it.saturating_add(1)),
            }))
        })
        .await?
}

/// Limits name every organisation: only who sees all sees them.
fn sees(sight: &Sight, row: &Row) -> bool {
    if matches!(sight, Sight::All) {
        return true;
    }
    match row.entry() {
        Ok(Entry::Call(entry)) => sight.sees_path(&entry.path),
        Ok(Entry::Policy(_)) | Err(_) => false,
    }
}

fn shown(row: Row) -> EntryRow {
    EntryRow {
        seq: row.seq,
        chain: row.chain.to_string(),
        payload: row.payload,
    }
}

/// Read the whole ledger and say what is wrong with it.
///
/// Every reservation begins once and ends at most once, amounts conserve, no enforced limit was
/// passed, no row was changed, and the balances are what the rows lead to. Calls go on meanwhile.
#[utoipa::path(post, path = "/api/v1/ledger/verify", tag = "ledger",
    responses((status = 200, body = Verification)))]
pub(crate) async fn verify(
    State(control): State<Arc<Control>>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Json<Verification>, Error> {
    visitor.must_be_at_home()?;
    control
        .waiting(|control| {
            let Some(_alone) = control.verifying.try_lock() else {
                return Err(Error::Verifying);
            };
            control.engine.flush();
            let report = verify_store(control.engine.ledger());
            let report = report.map_err(|it| control.store_failed(&it))?;
            Ok(Json(Verification::from(&report)))
        })
        .await?
}

impl From<&Report> for Verification {
    fn from(report: &Report) -> Self {
        let overruns = report.overruns.iter().take(OVERRUNS_MAX);
        Self {
            clean: report.is_clean(),
            rows: report.rows,
            reservations: report.reservations as u64,
            open: report.open as u64,
            held: report.held.into(),
            head: report.head.to_string(),
            overruns: overruns
                .map(|it| Overrun {
                    reservation: it.reservation,
                    at: rfc3339(it.at),
                    by: it.by.into(),
                    cause: it.cause.clone(),
                })
                .collect(),
            overruns_total: report.overruns.len() as u64,
            findings: report.findings.iter().map(ToString::to_string).collect(),
            findings_total: report.findings_total,
        }
    }
}
