//! `tidegate activity`.

use clap::Args;
use tidegate_control::wire::{Activities, Activity};
use tidegate_types::{Clock as _, NanoUsd, SystemClock};

use super::{
    Client, Format, Said,
    calls::Since,
    client::query,
    logs::{at, long},
    table::{Table, Tone, grouped, line, plain, toned},
};

/// Options of `activity`.
#[derive(Clone, Debug, Args)]
pub(crate) struct ActivityArgs {
    /// Calls since then: how long ago (90m, 12h, 30d), or a time like 2026-07-14T12:00:00Z [default: 1d]
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only calls before then
    #[arg(long, value_name = "WHEN")]
    pub(crate) until: Option<Since>,
    /// What has sums of its own: hour, organisation, user, platform, model, task_type, class
    #[arg(
        long,
        value_name = "COLUMNS",
        default_value = "hour,platform,task_type,user"
    )]
    pub(crate) by: String,
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

pub(super) fn answer(args: &ActivityArgs, client: &Client) -> anyhow::Result<Said> {
    let now = SystemClock::start().now();
    let (since, until) = (at(args.since, now), at(args.until, now));
    let path = query(
        "/api/v1/activity",
        &[
            ("by", Some(&args.by)),
            ("since", since.as_deref()),
            ("until", until.as_deref()),
            ("user", args.user.as_deref()),
            ("organisation", args.organisation.as_deref()),
        ],
    );
    let activities: Activities = client.get(&path)?;
    if args.format.json {
        return Said::json(&activities);
    }
    Ok(Said::fine(show(&activities)))
}

/// A column that sums may have in common.
type Common = (&'static str, fn(&Activity) -> Option<&String>);

const COMMON: [Common; 7] = [
    ("hour", |it| it.hour.as_ref()),
    ("organisation", |it| it.organisation.as_ref()),
    ("user", |it| it.user.as_ref()),
    ("platform", |it| it.platform.as_ref()),
    ("model", |it| it.model.as_ref()),
    ("task type", |it| it.task_type.as_ref()),
    ("class", |it| it.class.as_ref()),
];

fn show(activities: &Activities) -> String {
    let Some(first) = activities.activity.first() else {
        return "no call is recorded in that time\n".to_owned();
    };
    let common: Vec<&Common> = COMMON.iter().filter(|it| it.1(first).is_some()).collect();
    let mut heads: Vec<&str> = common.iter().map(|it| it.0).collect();
    heads.extend([
        ">calls",
        ">failed",
        ">refused",
        ">in",
        ">cached",
        ">out",
        ">cost",
        ">first byte",
        ">waited",
    ]);
    let mut table = Table::new(&heads);
    for it in &activities.activity {
        let mut cells: Vec<String> = common
            .iter()
            .map(|(_, of)| plain(of(it).map_or("", String::as_str)))
            .collect();
        let counted = |count: u64, tone| {
            let text = grouped(count);
            if count == 0 { text } else { toned(&text, tone) }
        };
        let each = |micros: u64| long(micros / it.calls.max(1) * 1_000);
        cells.extend([
            grouped(it.calls),
            counted(it.failed, Tone::Bad),
            counted(it.refused, Tone::Warning),
            grouped(it.input_tokens + it.cache_write_tokens),
            grouped(it.cache_read_tokens),
            grouped(it.output_tokens),
            NanoUsd(it.cost_nano_usd).to_string(),
            each(it.first_byte_us),
            each(it.wait_us),
        ]);
        table.cells(cells);
    }
    let mut shown = table.show();
    if activities.cut {
        line(
            &mut shown,
            "there are more than are shown: ask for a shorter time, or by less",
        );
    }
    shown
}

#[cfg(test)]
mod tests;
