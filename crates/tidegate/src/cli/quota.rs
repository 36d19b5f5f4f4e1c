//! `tidegate quota`.

use clap::Args;
use tidegate_control::wire::{Quota, QuotaLimit, Quotas};
use tidegate_types::Mode;

use super::{
    Client, Format, Said,
    client::query,
    status::spoken,
    table::{Table, Tone, grouped, line, plain, toned},
};

/// Options of `quota`.
#[derive(Clone, Debug, Args)]
pub(crate) struct QuotaArgs {
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(args: &QuotaArgs, client: &Client) -> anyhow::Result<Said> {
    let path = query(
        "/api/v1/quotas",
        &[
            ("organisation", args.organisation.as_deref()),
            ("user", args.user.as_deref()),
        ],
    );
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    Ok(Said::fine(show(&client.get(&path)?)))
}

/// Quotas for people.
pub(super) fn show(quotas: &Quotas) -> String {
    let mut shown = in_use(&quotas.quotas);
    for it in quotas.quotas.iter().filter(|it| it.waiting_count > 0) {
        let first = it.waiting.first().map(|it| it.id.clone());
        let text = format!(
            "{} {} keeps {} waiting, the first is {}",
            plain(&it.of),
            plain(&it.quota.kind),
            match it.waiting_count {
                1 => "1 call".to_owned(),
                count => format!("{} calls", grouped(count)),
            },
            first.unwrap_or_default(),
        );
        line(&mut shown, &toned(&text, Tone::Warning));
    }
    everybody(&mut shown, &quotas.everybody);
    shown
}

fn in_use(quotas: &[Quota]) -> String {
    let mut table = Table::new(&[
        "whose", "as", "quota", ">used", ">limit", ">left", "free", ">waiting", "binds",
    ]);
    for it in quotas {
        let left = it.left.map(grouped);
        table.row([
            plain(&it.of),
            plain(&it.quota.scope.replace('_', " ")),
            plain(&it.quota.kind.replace('_', " ")),
            it.used.map_or_else(String::new, grouped),
            grouped(it.quota.limit),
            match (it.left, left) {
                (Some(0), Some(left)) => toned(&left, Tone::Bad),
                (_, left) => left.unwrap_or_default(),
            },
            free(it),
            match it.waiting_count {
                0 => String::new(),
                count => grouped(count),
            },
            binds(&it.quota).to_owned(),
        ]);
    }
    if table.is_empty() {
        return "nobody that a quota is for has done anything yet\n".to_owned();
    }
    table.show()
}

/// When what is used is free again.
fn free(it: &Quota) -> String {
    match (it.used, it.free_in_seconds) {
        (None, _) => "each".to_owned(),
        (Some(0), _) => String::new(),
        (Some(_), Some(seconds)) => format!("in {}", spoken(seconds)),
        (Some(_), None) => "when it ends".to_owned(),
    }
}

/// Whom a quota binds, in words.
const fn binds(limit: &QuotaLimit) -> &'static str {
    match (limit.keyless, limit.asking, limit.named) {
        (Mode::Enforce, _, _) => "everyone",
        (Mode::Watch, Mode::Watch, _) => "nobody, only watched",
        (Mode::Watch, Mode::Enforce, true) => "calls with a key",
        (Mode::Watch, Mode::Enforce, false) => "calls with a key (built in)",
    }
}

fn everybody(out: &mut String, limits: &[QuotaLimit]) {
    if limits.is_empty() {
        return;
    }
    line(out, "");
    line(out, "for whoever has none of their own:");
    let mut table = Table::new(&["of each", "quota", ">limit", "binds"]);
    for it in limits {
        table.row([
            plain(&it.scope.replace('_', " ")),
            plain(&it.kind.replace('_', " ")),
            grouped(it.limit),
            binds(it).to_owned(),
        ]);
    }
    out.push_str(&table.show());
}

#[cfg(test)]
mod tests;
