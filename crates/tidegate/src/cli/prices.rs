//! `tidegate prices`.

use clap::Args;
use tidegate_providers::prices::ListedPrice;

use super::{
    Format, Said,
    table::{Table, grouped, plain},
};
use crate::config::Settings;

/// Options of `prices`.
#[derive(Clone, Debug, Args)]
pub(crate) struct PricesArgs {
    /// Only models whose provider or id contains this
    pub(crate) filter: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(args: &PricesArgs, settings: &Settings) -> anyhow::Result<Said> {
    let wanted = |it: &ListedPrice<'_>| {
        let filter = args.filter.as_deref().unwrap_or_default();
        it.model.contains(filter) || it.provider.contains(filter)
    };
    let rows: Vec<ListedPrice<'_>> = settings.prices.rows().filter(wanted).collect();
    if args.format.json {
        return Said::json(&rows.iter().map(view).collect::<Vec<_>>());
    }
    Ok(Said::fine(show(&rows)))
}

/// Prices per token, in dollars per million tokens, as texts: they are exact.
fn view(row: &ListedPrice<'_>) -> serde_json::Value {
    let rates = &row.price.rates;
    serde_json::json!({
        "provider": row.provider,
        "model": row.model,
        "usd_per_mtok": {
            "input": rates.input.to_string(),
            "cache_read": rates.cache_read.to_string(),
            "cache_write_5m": rates.cache_write_5m.to_string(),
            "cache_write_1h": rates.cache_write_1h.to_string(),
            "output": rates.output.to_string(),
        },
        "tiers": row.price.tiers.len(),
        "context": row.price.context,
        "output_max": row.price.output_max,
        "version": row.version,
        "source": row.source,
        "date": row.date,
    })
}

/// Prices for people.
fn show(rows: &[ListedPrice<'_>]) -> String {
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
    for row in rows {
        let rates = &row.price.rates;
        table.row([
            plain(row.provider),
            plain(row.model),
            rates.input.to_string(),
            rates.cache_read.to_string(),
            rates.cache_write_5m.to_string(),
            rates.cache_write_1h.to_string(),
            rates.output.to_string(),
            grouped(row.price.context.0),
            plain(row.version),
        ]);
    }
    if table.is_empty() {
        return "no model in the table matches; unknown models cost as much as the dearest\n"
            .to_owned();
    }
    format!("dollars per million tokens\n{}", table.show())
}
