//! `tidegate approvals`, `approve` and `deny`.

use clap::Args;
use tidegate_control::wire::{Approval, Approvals, DecideRequest, Usd};
use tidegate_types::{ApprovalId, NanoUsd};

use super::{
    Client, Format, Said,
    table::{Table, Tone, line, plain, toned},
};

/// Options of `approve`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ApproveArgs {
    /// The request, as in the list
    pub(crate) id: ApprovalId,
    /// By how much the soft limit is raised, in dollars [default: by as much as it is]
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) amount: Option<NanoUsd>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Options of `deny`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DenyArgs {
    /// The request, as in the list
    pub(crate) id: ApprovalId,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn list(format: Format, client: &Client) -> anyhow::Result<Said> {
    let path = "/api/v1/approvals";
    if format.json {
        return Said::json(&client.get::<serde_json::Value>(path)?);
    }
    Ok(Said::fine(show(&client.get(path)?)))
}

pub(super) fn approve(args: &ApproveArgs, client: &Client) -> anyhow::Result<Said> {
    let request = DecideRequest {
        approve: true,
        amount: args.amount.map(Usd),
    };
    decide(args.id, request, args.format, client)
}

pub(super) fn deny(args: &DenyArgs, client: &Client) -> anyhow::Result<Said> {
    let request = DecideRequest {
        approve: false,
        amount: None,
    };
    decide(args.id, request, args.format, client)
}

fn decide(
    id: ApprovalId,
    request: DecideRequest,
    format: Format,
    client: &Client,
) -> anyhow::Result<Said> {
    let decided: Approval = client.post(&format!("/api/v1/approvals/{id}"), &request)?;
    if format.json {
        return Said::json(&decided);
    }
    let what = match &decided.approved_to {
        Some(to) => format!(
            "`{}` may be spent from up to {}",
            decided.level,
            NanoUsd::from(to)
        ),
        None => format!("`{}` stays at its soft limit", decided.level),
    };
    Ok(Said::fine(format!("{id} is {}: {what}\n", decided.state)))
}

/// Requests for people.
pub(super) fn show(approvals: &Approvals) -> String {
    let mut table = Table::new(&[
        "request", "state", "level", "of", "asked by", ">limit", ">spent", ">asked", "until",
    ]);
    for it in &approvals.approvals {
        let of = it
            .task
            .as_ref()
            .or(it.user.as_ref())
            .unwrap_or(&it.organisation);
        table.row([
            it.id.to_string(),
            state(&it.state),
            plain(&it.level),
            plain(of),
            plain(&it.asked_by),
            NanoUsd::from(&it.limit).to_string(),
            NanoUsd::from(&it.spent).to_string(),
            NanoUsd::from(&it.asked).to_string(),
            plain(&it.until),
        ]);
    }
    if table.is_empty() {
        return "nothing waits for approval\n".to_owned();
    }
    let mut shown = table.show();
    if approvals.approvals.iter().any(|it| it.state == "open") {
        line(
            &mut shown,
            "decide with `tidegate approve REQUEST` or `tidegate deny REQUEST`",
        );
    }
    shown
}

fn state(word: &str) -> String {
    match word {
        "open" => toned(word, Tone::Warning),
        "denied" => toned(word, Tone::Bad),
        _ => plain(word),
    }
}
