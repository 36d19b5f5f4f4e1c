//! What the gateway says of itself at one moment.

use tidegate_control::wire::{
    Approval, Approvals, Budget, Budgets, Limits, Queues, RunningCalls, Status,
};

use super::Tone;
use crate::cli::client::{Client, ClientError};

/// Everything that is shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// Where it was asked.
    pub(super) address: String,
    /// `None` until it has answered.
    pub(super) status: Option<Status>,
    pub(super) queues: Option<Queues>,
    pub(super) budgets: Vec<Budget>,
    pub(super) running: Option<RunningCalls>,
    pub(super) approvals: Vec<Approval>,
    pub(super) limits: Option<Limits>,
    /// Why it does not answer now; what is shown is of before.
    pub(super) gone: Option<String>,
}

impl Snapshot {
    /// Asks for all of it: each is in memory there but the budgets, which are one query.
    pub(super) fn fetch(client: &Client) -> Result<Self, ClientError> {
        let budgets: Budgets = client.get("/api/v1/budgets?limit=1")?;
        let approvals: Approvals = client.get("/api/v1/approvals")?;
        Ok(Self {
            address: client.address().to_string(),
            status: Some(client.get("/api/v1/status")?),
            queues: Some(client.get("/api/v1/queue")?),
            budgets: limited(budgets.budgets),
            running: Some(client.get("/api/v1/calls/running")?),
            approvals: open(approvals.approvals),
            limits: Some(client.get("/api/v1/limits")?),
            gone: None,
        })
    }

    /// The first line: whether it serves.
    pub(super) fn headline(&self) -> (String, Tone) {
        let address = &self.address;
        if let Some(gone) = &self.gone {
            let gone = gone.lines().next().unwrap_or_default();
            return (format!("GONE: {gone}; waiting for it"), Tone::Bad);
        }
        match &self.status {
            None => (format!("asking http://{address}"), Tone::Warning),
            Some(it) if it.ready => {
                let version = &it.version;
                (
                    format!("tidegate {version} at http://{address} takes calls"),
                    Tone::Good,
                )
            }
            Some(it) => {
                let reasons: Vec<&str> = it.reasons.iter().map(|it| it.message.as_str()).collect();
                (format!("NOT READY: {}", reasons.join("; ")), Tone::Bad)
            }
        }
    }
}

/// Those with a limit, the fullest first.
fn limited(mut budgets: Vec<Budget>) -> Vec<Budget> {
    budgets.retain(|it| limit(it).is_some_and(|it| it > 0));
    budgets.sort_by_key(|it| std::cmp::Reverse(used_ppm(it)));
    budgets
}

/// Those that somebody can still decide on.
fn open(mut approvals: Vec<Approval>) -> Vec<Approval> {
    approvals.retain(|it| it.state == "open");
    approvals
}

/// The limit that a budget is measured by.
pub(super) fn limit(budget: &Budget) -> Option<u64> {
    let limit = budget.limit.hard.as_ref().or(budget.limit.soft.as_ref());
    limit.map(|it| it.nano_usd)
}

/// How much of it is spent and held, in millionths.
pub(super) fn used_ppm(budget: &Budget) -> u64 {
    let used = budget.spent.nano_usd.saturating_add(budget.held.nano_usd);
    let of = limit(budget).unwrap_or(0).max(1);
    u64::try_from(u128::from(used) * 1_000_000 / u128::from(of)).unwrap_or(u64::MAX)
}
