//! The ledger's rows, and whether they hold.

use serde::{Deserialize, Serialize};
use tidegate_types::ReservationId;
use utoipa::{IntoParams, ToSchema};

use super::Money;

/// A settlement above its hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Overrun {
    /// Whose.
    #[schema(value_type = String)]
    pub reservation: ReservationId,
    /// When.
    pub at: String,
    /// By how much.
    pub by: Money,
    /// Why, as far as it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

/// What reading the whole ledger found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Verification {
    /// Whether nothing is wrong.
    pub clean: bool,
    /// Rows read.
    pub rows: u64,
    /// Reservations in them.
    pub reservations: u64,
    /// Those that have not ended.
    pub open: u64,
    /// What they hold.
    pub held: Money,
    /// The chain after the last row, in hexadecimal: keep it elsewhere, and a rewritten ledger is
    /// found out.
    pub head: String,
    /// What was booked above its hold; no fault. The first 1,000.
    pub overruns: Vec<Overrun>,
    /// How many there were.
    pub overruns_total: u64,
    /// What is wrong, in order; the first 1,000.
    pub findings: Vec<String>,
    /// How much is wrong.
    pub findings_total: u64,
}

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryRow {
    /// Its place: 1, 2, 3, … without gaps.
    pub seq: u64,
    /// The chain after it: SHA-256 of the chain before it and of `payload`, in hexadecimal.
    pub chain: String,
    /// The entry as JSON, byte for byte as it was appended.
    pub payload: String,
}

/// Rows in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Entries {
    /// Of the rows that were read, those that may be seen: the token's holder sees all, so that the
    /// chain can be followed; others those of their organisation, callers their own.
    pub rows: Vec<EntryRow>,
    /// Where to read on; null at the end.
    pub next: Option<u64>,
}

/// Which rows to read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EntriesQuery {
    /// From this place on: 1 where it is not said.
    #[param(value_type = Option<u64>)]
    pub from: Option<String>,
    /// Read at most this many rows: 1,000 where it is not said, up to 10,000.
    #[param(value_type = Option<u64>)]
    pub limit: Option<String>,
}
