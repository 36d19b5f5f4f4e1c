//! `tidegate prices reprice`: what recorded calls would cost by the price table of today.

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use tidegate_control::wire::{Calls, Prices};
use tidegate_observe::{calls::CallRecord, record::rfc3339};
use tidegate_providers::prices::PriceBook;
use tidegate_types::{Clock as _, NanoUsd, SystemClock, Timestamp};

use crate::{
    cli::{
        Client, Format, Said,
        calls::Since,
        client::query,
        table::{Table, Tone, grouped, line, plain, toned},
    },
    config::Settings,
};

/// Calls read at a time: the most that the gateway gives at once.
const CALLS_AT_A_TIME: &str = "1000";

/// Options of `prices reprice`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RepriceArgs {
    /// Only calls since then: how long ago (90s, 15m, 2h, 3d), or a time like 2026-07-14T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only calls before then
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Since>,
    /// Only models whose id contains this
    #[arg(long)]
    pub(crate) model: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// What the calls of one model were booked at, and what they would be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct ModelCosts {
    provider: String,
    model: String,
    /// The row that prices it now.
    row: String,
    /// Of the price table.
    version: String,
    /// False where no row names the model: it costs as much as the dearest.
    price_known: bool,
    /// With usage.
    calls: u64,
    /// Those of which the usage is an estimate.
    estimated: u64,
    /// Those that were tried elsewhere before: what is booked has that too, what is repriced has not.
    tried_before: u64,
    /// Charged, and the list price of what a subscription paid for.
    #[serde(serialize_with = "dollars")]
    booked_usd: NanoUsd,
    #[serde(serialize_with = "dollars")]
    repriced_usd: NanoUsd,
    /// ModelCosts less booked.
    difference_usd: String,
}

/// All of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Report {
    models: Vec<ModelCosts>,
    /// Calls without usage, which have nothing that a price could be put on.
    without_usage: u64,
    /// The running gateway charges by other prices than the configuration says now.
    gateway_has_other_prices: bool,
    /// Nothing was: the ledger stays as it is.
    ledger_changed: bool,
}

pub(crate) fn answer(args: &RepriceArgs, settings: &Settings) -> anyhow::Result<Said> {
    let client = Client::of(settings)?;
    let mut sums = Sums::new(args, &settings.prices, SystemClock::start().now());
    let since = args.since.map(|it| rfc3339(it.at(sums.now)));
    let mut before = None;
    loop {
        let parameters = [
            ("limit", Some(CALLS_AT_A_TIME)),
            ("since", since.as_deref()),
            ("before", before.as_deref()),
        ];
        let page: Calls = client.get(&query("/api/v1/calls", &parameters))?;
        for call in &page.calls {
            sums.add(&call.record);
        }
        let Some(next) = page.next else { break };
        before = Some(next.to_string());
    }
    let in_force: Prices = client.get("/api/v1/prices")?;
    let report = Report {
        gateway_has_other_prices: in_force != Prices::from(&settings.prices),
        ..sums.report()
    };
    if args.format.json {
        return Said::json(&report);
    }
    Ok(Said::fine(show(&report)))
}

/// Sums by provider and model, as calls are read.
struct Sums<'a> {
    prices: &'a PriceBook,
    model: &'a str,
    until: Option<Timestamp>,
    now: Timestamp,
    models: BTreeMap<(String, String), ModelCosts>,
    without_usage: u64,
}

impl<'a> Sums<'a> {
    fn new(args: &'a RepriceArgs, prices: &'a PriceBook, now: Timestamp) -> Self {
        Self {
            prices,
            model: args.model.as_deref().unwrap_or_default(),
            until: args.until.map(|it| it.at(now)),
            now,
            models: BTreeMap::new(),
            without_usage: 0,
        }
    }

    fn add(&mut self, call: &CallRecord) {
        let wanted = call.model_sent.contains(self.model);
        if !wanted || self.until.is_some_and(|it| call.at >= it) {
            return;
        }
        let Some(usage) = &call.usage else {
            self.without_usage += 1;
            return;
        };
        let quote = self.prices.look_up(&call.provider, &call.model_sent);
        let key = (call.provider.to_string(), call.model_sent.to_string());
        let sum = self.models.entry(key).or_insert_with(|| ModelCosts {
            provider: call.provider.to_string(),
            model: call.model_sent.to_string(),
            row: quote.row.to_string(),
            version: quote.version.to_string(),
            price_known: quote.known,
            ..ModelCosts::default()
        });
        sum.calls += 1;
        sum.estimated += u64::from(call.estimated);
        sum.tried_before += u64::from(!call.tried.is_empty());
        let booked = call.cost.saturating_add(call.notional);
        sum.booked_usd = sum.booked_usd.saturating_add(booked);
        sum.repriced_usd = sum.repriced_usd.saturating_add(quote.price.cost(usage));
    }

    fn report(self) -> Report {
        let difference = |it: ModelCosts| ModelCosts {
            difference_usd: signed(it.booked_usd, it.repriced_usd, ""),
            ..it
        };
        Report {
            models: self.models.into_values().map(difference).collect(),
            without_usage: self.without_usage,
            ..Report::default()
        }
    }
}

fn amount(cost: NanoUsd) -> String {
    cost.to_string().replace('$', "")
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "the form serde calls it in"
)]
fn dollars<S: serde::Serializer>(cost: &NanoUsd, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&amount(*cost))
}

/// How much more, or less.
fn signed(from: NanoUsd, to: NanoUsd, unit: &str) -> String {
    let sign = match to.cmp(&from) {
        std::cmp::Ordering::Less => "-",
        std::cmp::Ordering::Equal => "",
        std::cmp::Ordering::Greater => "+",
    };
    let by = to.saturating_sub(from).max(from.saturating_sub(to));
    format!("{sign}{unit}{}", amount(by))
}

/// A report for people.
fn show(report: &Report) -> String {
    let mut out = String::new();
    if report.models.is_empty() {
        line(
            &mut out,
            "no recorded call has usage that could be repriced",
        );
    } else {
        out = table(report);
    }
    for it in report.models.iter().filter(|it| !it.price_known) {
        let text = format!(
            "no price table knows {} of {}: it is repriced at the dearest ({})",
            it.model, it.provider, it.row
        );
        line(&mut out, &toned(&text, Tone::Warning));
    }
    let sum = |of: fn(&ModelCosts) -> u64| -> u64 { report.models.iter().map(of).sum() };
    let notes = [
        (
            sum(|it| it.estimated),
            "with an estimated usage, which is repriced as it is",
        ),
        (
            sum(|it| it.tried_before),
            "tried elsewhere before: what that cost is booked, and not repriced",
        ),
        (
            report.without_usage,
            "not repriced: refused, unanswered or free, without usage",
        ),
    ];
    for (calls, note) in notes {
        if calls > 0 {
            line(&mut out, &format!("{} {note}", counted(calls)));
        }
    }
    if report.gateway_has_other_prices {
        let text = "repriced by this configuration's prices; the running gateway charges by others until it reads them (`tidegate prices` shows its own)";
        line(&mut out, &toned(text, Tone::Warning));
    }
    line(
        &mut out,
        "nothing is changed: the ledger keeps what was booked",
    );
    out
}

fn table(report: &Report) -> String {
    let mut table = Table::new(&[
        "provider",
        "model",
        ">calls",
        ">booked",
        ">repriced",
        ">difference",
        "table",
    ]);
    let mut all = ModelCosts::default();
    for it in &report.models {
        table.row([
            plain(&it.provider),
            plain(&it.model),
            grouped(it.calls),
            it.booked_usd.to_string(),
            it.repriced_usd.to_string(),
            signed(it.booked_usd, it.repriced_usd, "$"),
            plain(&it.version),
        ]);
        all.calls += it.calls;
        all.booked_usd = all.booked_usd.saturating_add(it.booked_usd);
        all.repriced_usd = all.repriced_usd.saturating_add(it.repriced_usd);
    }
    table.row([
        "all".to_owned(),
        String::new(),
        grouped(all.calls),
        all.booked_usd.to_string(),
        all.repriced_usd.to_string(),
        signed(all.booked_usd, all.repriced_usd, "$"),
        String::new(),
    ]);
    table.show()
}

fn counted(calls: u64) -> String {
    match calls {
        1 => "1 call".to_owned(),
        _ => format!("{} calls", grouped(calls)),
    }
}

#[cfg(test)]
mod tests;
