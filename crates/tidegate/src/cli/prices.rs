//! `tidegate prices`.

mod reprice;

use clap::{Args, Subcommand};
use tidegate_control::wire::{Price, Prices};

use super::{
    Client, Format, Said,
    table::{Table, grouped, line, plain},
};
use crate::config::Settings;

/// Options of `prices`.
#[derive(Clone, Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PricesArgs {
    /// What else can be done with prices
    #[command(subcommand)]
    pub(crate) command: Option<PricesCommand>,
    /// Only models whose provider or id contains this
    pub(crate) filter: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What can be done with prices.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum PricesCommand {
    /// What recorded calls would cost by the prices of today, beside what was booked; changes nothing
    Reprice(reprice::RepriceArgs),
}

/// What the running gateway charges; where none runs, what it would.
pub(super) fn answer(args: &PricesArgs, settings: &Settings) -> anyhow::Result<Said> {
    if let Some(PricesCommand::Reprice(args)) = &args.command {
        return reprice::answer(args, settings);
    }
    let client = Client::of(settings)?;
    let mut prices = if client.is_running() {
        client.get("/api/v1/prices")?
    } else {
        Prices::from(&settings.prices)
    };
    if let Some(filter) = args.filter.as_deref() {
        let wanted = |it: &Price| it.model.contains(filter) || it.provider.contains(filter);
        prices.prices.retain(wanted);
    }
    if args.format.json {
        return Said::json(&prices);
    }
    Ok(Said::fine(show(&prices)))
}

/// Prices for people.
pub(super) fn show(prices: &Prices) -> String {
    let mut table = Table::new(&[
        "provider",
        "model",
        ">input",
        ">read",
        ">write 5m",
        ">write 1h",
        ">output",
        ">context",
        "table",
    ]);
    for row in &prices.prices {
        let each = &row.per_million;
        table.row([
            plain(&row.provider),
            plain(&row.model),
            plain(&each.input),
            plain(&each.cache_read),
            plain(&each.cache_write_5m),
            plain(&each.cache_write_1h),
            plain(&each.output),
            grouped(row.context),
            plain(&row.version),
        ]);
    }
    let mut out = if table.is_empty() {
        "no model in the table matches; unknown models cost as much as the dearest\n".to_owned()
    } else {
        format!("dollars per million tokens\n{}", table.show())
    };
    if !prices.free_providers.is_empty() {
        let free = plain(&prices.free_providers.join(", "));
        line(&mut out, &format!("without cost: {free}"));
    }
    out
}
