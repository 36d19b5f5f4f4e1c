//! `tidegate queue`.

use clap::{Args, Subcommand};
use tidegate_control::wire::{PromoteRequest, Queue, Queues, WaitChanged, WaitingCall};
use tidegate_engine::queues::WaitingId;
use tidegate_types::Priority;

use super::{
    Client, Format, Said,
    client::query,
    status::spoken,
    table::{Table, Tone, line, plain, toned},
};

/// One in ten may wait longer than it was told; with fewer calls that can't be judged.
const JUDGED_FROM: u64 = 20;

/// Options of `queue`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct QueueArgs {
    /// What to do; without it, the waiting calls are listed
    #[command(subcommand)]
    pub(crate) command: Option<QueueCommand>,
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this task's, with its whole tree
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What can be done with a waiting call.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// End its wait: its client is refused, and told not to try again
    Cancel {
        /// The call or the request for leave, as in the list
        id: WaitingId,
        /// How to print
        #[command(flatten)]
        format: Format,
    },
    /// Let it wait in another priority; it keeps the time it has waited
    Promote {
        /// The call or the request for leave, as in the list
        id: WaitingId,
        /// Its priority from now on: low, medium, high or critical
        #[arg(default_value = "critical")]
        priority: Priority,
        /// How to print
        #[command(flatten)]
        format: Format,
    },
}

pub(super) fn answer(args: &QueueArgs, client: &Client) -> anyhow::Result<Said> {
    match &args.command {
        Some(QueueCommand::Cancel { id, format }) => {
            let changed: WaitChanged = client.delete(&format!("/api/v1/queue/{id}"))?;
            told(
                *format,
                changed,
                "is refused, and its client told not to try again",
            )
        }
        Some(QueueCommand::Promote {
            id,
            priority,
            format,
        }) => {
            let body = PromoteRequest {
                priority: *priority,
            };
            let changed = client.put(&format!("/api/v1/queue/{id}"), &body)?;
            told(
                *format,
                changed,
                &format!("waits in priority {priority} from now on"),
            )
        }
        None => list(args, client),
    }
}

fn told(format: Format, changed: WaitChanged, what: &str) -> anyhow::Result<Said> {
    if format.json {
        return Said::json(&changed);
    }
    Ok(Said::fine(format!("{} {what}\n", changed.id)))
}

fn list(args: &QueueArgs, client: &Client) -> anyhow::Result<Said> {
    let path = query(
        "/api/v1/queue",
        &[
            ("organisation", args.organisation.as_deref()),
            ("user", args.user.as_deref()),
            ("task", args.task.as_deref()),
        ],
    );
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    Ok(Said::fine(show(&client.get(&path)?)))
}

/// The queues for people.
pub(super) fn show(queues: &Queues) -> String {
    let mut table = Table::new(&[
        "waits", "platform", "priority", "user", "model", ">place", ">waited", ">about",
        ">at most", "client",
    ]);
    for it in &queues.waiting {
        table.row(row(it));
    }
    let mut shown = if table.is_empty() {
        "no call waits\n".to_owned()
    } else {
        table.show()
    };
    let mut reasons: Vec<&str> = queues.waiting.iter().map(|it| it.reason.as_str()).collect();
    reasons.dedup();
    for reason in reasons.into_iter().take(3) {
        line(&mut shown, &plain(reason));
    }
    for platform in &queues.platforms {
        estimates(&mut shown, platform);
    }
    shown
}

fn row(it: &WaitingCall) -> [String; 10] {
    [
        it.id.clone(),
        plain(&it.platform),
        it.priority.to_string(),
        plain(&it.user),
        plain(&it.model),
        format!("{} of {}", it.place, it.of),
        spoken(it.waited_ms / 1_000),
        spoken(it.wait_p50_ms.div_ceil(1_000)),
        spoken(it.wait_p90_ms.div_ceil(1_000)),
        if it.away {
            toned("away, place kept", Tone::Warning)
        } else {
            "held".to_owned()
        },
    ]
}

/// How far its estimates can be trusted.
fn estimates(out: &mut String, queue: &Queue) {
    for class in queue.classes.iter().filter(|it| it.foretold >= JUDGED_FROM) {
        let text = format!(
            "{} {}: {} of {} waits were longer than `at most` (one in ten should be)",
            plain(&queue.platform),
            class.priority,
            class.beyond_p90,
            class.foretold
        );
        line(out, &text);
    }
}

#[cfg(test)]
mod tests;
