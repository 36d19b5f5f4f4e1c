//! `tidegate logs`.

use std::{fs::File, path::PathBuf, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;
use serde_json::{Map, Value};
use tidegate_control::wire::{LogBars, LogCount, Logs};
use tidegate_observe::{
    record::rfc3339,
    telemetry::{Filter, Kind},
};
use tidegate_types::{Clock as _, NanoUsd, SystemClock, Timestamp};

use super::{
    Client, Format, Said,
    calls::Since,
    client::query,
    table::{Table, Tone, for_reader, grouped, line, many, plain, toned},
};

/// Attributes that are shown of one line: more hide what it says.
const ATTRIBUTES_MAX: usize = 8;

/// The widest bar of a histogram.
const BAR_WIDTH: u64 = 40;

/// Options of `logs`.
#[derive(Clone, Debug, Args)]
pub(crate) struct LogsArgs {
    /// What to look for: `level:>=warning "connection refused" (user:ann or task:nightly*) not refused`
    #[arg(value_name = "FILTER")]
    pub(crate) filter: Vec<String>,
    /// Go on with those that come
    #[arg(short, long, conflicts_with_all = ["count", "every", "export"])]
    pub(crate) follow: bool,
    /// Only those since then: how long ago (90s, 15m, 2h, 3d), or a time like 2026-07-14T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only those before then
    #[arg(long, value_name = "WHEN", conflicts_with = "follow")]
    pub(crate) until: Option<Since>,
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// Only those before this place, to read on
    #[arg(long, value_name = "PLACE", conflicts_with = "follow")]
    pub(crate) before: Option<String>,
    /// At most this many, the latest [default: 50; with --export all]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub(crate) limit: Option<u32>,
    /// How many there are, and nothing else
    #[arg(long)]
    pub(crate) count: bool,
    /// How many there are of each level in each so long time: 5m, 1h, 1d
    #[arg(long, value_name = "LONG", conflicts_with = "count")]
    pub(crate) every: Option<Since>,
    /// Write them to this file, as its name ends: .jsonl, .csv or .parquet
    #[arg(long, value_name = "FILE", conflicts_with_all = ["count", "every", "json"])]
    pub(crate) export: Option<PathBuf>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

impl LogsArgs {
    /// The filter, which is one.
    fn checked(&self) -> anyhow::Result<String> {
        let filter = self.filter.join(" ");
        // Here it can be pointed at.
        Filter::parse(Kind::Logs, &filter).map_err(|it| anyhow!("{}", it.pointed()))?;
        Ok(filter)
    }

    fn path(&self, route: &str, filter: &str, more: &[(&str, Option<&str>)]) -> String {
        let now = SystemClock::start().now();
        let at = |it: Option<Since>| it.map(|it| rfc3339(it.at(now)));
        let (since, until) = (at(self.since), at(self.until));
        let filter = Some(filter).filter(|it| !it.is_empty());
        let asked = [
            ("filter", filter),
            ("since", since.as_deref()),
            ("until", until.as_deref()),
            ("user", self.user.as_deref()),
            ("organisation", self.organisation.as_deref()),
            ("before", self.before.as_deref()),
        ];
        query(route, &[&asked, more].concat())
    }
}

pub(super) fn answer(args: &LogsArgs, client: &Client) -> anyhow::Result<Said> {
    let filter = args.checked()?;
    if args.count {
        let count: LogCount = client.get(&args.path("/api/v1/logs/count", &filter, &[]))?;
        return if args.format.json {
            Said::json(&count)
        } else {
            Ok(Said::fine(grouped(count.count)))
        };
    }
    if let Some(every) = args.every {
        return bars(args, every, &filter, client);
    }
    if let Some(file) = &args.export {
        return export(args, file, &filter, client);
    }
    let limit = args.limit.unwrap_or(50);
    if args.follow {
        return follow(args, limit, &filter, client);
    }
    let limit = limit.to_string();
    let path = args.path("/api/v1/logs", &filter, &[("limit", Some(&limit))]);
    let mut logs: Logs = client.get(&path)?;
    // As they were said: the latest stands where the reader looks.
    logs.logs.reverse();
    if args.format.json {
        let lines = logs.logs.iter().map(serde_json::to_string);
        let lines: Vec<String> = lines.collect::<Result<_, _>>()?;
        return Ok(Said::fine(lines.join("\n")));
    }
    Ok(Said::fine(show(&logs)))
}

fn show(logs: &Logs) -> String {
    let mut shown = String::new();
    if let Some(next) = &logs.next {
        line(
            &mut shown,
            &format!("older ones: `tidegate logs --before {next}`"),
        );
    }
    for log in &logs.logs {
        line(&mut shown, &one(log));
    }
    if logs.logs.is_empty() {
        line(&mut shown, "nothing is recorded of that");
    }
    if logs.unread > 0 {
        let text = format!(
            "{} could not be read: see `tidegate doctor`",
            many(logs.unread, "file")
        );
        line(&mut shown, &toned(&text, Tone::Warning));
    }
    shown
}

/// One log on one line.
fn one(log: &Map<String, Value>) -> String {
    let text = |name: &str| log.get(name).and_then(Value::as_str).unwrap_or_default();
    let level = text("level");
    let level = format!("{level:<8}");
    let level = match level.trim_end() {
        "ERROR" | "CRITICAL" => toned(&level, Tone::Bad),
        "WARNING" => toned(&level, Tone::Warning),
        _ => plain(&level),
    };
    let time = text("time");
    // To the millisecond: what comes after it is of use to programs.
    let time = time
        .get(..23)
        .map_or(time.to_owned(), |it| format!("{it}Z"));
    let who = match (text("service"), text("component")) {
        ("tidegate" | "", component) => component.to_owned(),
        (service, "") => service.to_owned(),
        (service, component) => format!("{service}/{component}"),
    };
    let mut out = format!(
        "{} {level} {:<9} {}",
        plain(&time),
        plain(&who),
        plain(text("body"))
    );
    for (name, value) in values(log) {
        out.push_str("  ");
        out.push_str(&plain(&name));
        out.push('=');
        out.push_str(&plain(&value));
    }
    out.truncate(out.trim_end().len());
    out
}

/// What is shown of a log's values: of a call what tells it from others, else the first few.
fn values(log: &Map<String, Value>) -> Vec<(String, String)> {
    let mut shown: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: Option<&Value>| match value {
        Some(Value::String(it)) if !it.is_empty() => shown.push((name.to_owned(), it.clone())),
        Some(it @ (Value::Number(_) | Value::Bool(_))) => {
            shown.push((name.to_owned(), it.to_string()));
        }
        _ => {}
    };
    let attributes = log.get("attributes").and_then(Value::as_object);
    let is_call = log.get("event").is_some_and(|it| it == "call_settled");
    if let Some(attributes) = attributes {
        if is_call {
            put("call", attributes.get("id"));
            put("model", attributes.get("model_sent"));
            put("status", attributes.get("status"));
            // Its time is when it came, and it is told when it ended.
            let took = attributes.get("phases").map(took);
            put("took", took.map(Value::String).as_ref());
            let cost = attributes.get("cost").and_then(Value::as_u64);
            let cost = cost.map(|it| Value::String(NanoUsd(it).to_string()));
            put("cost", cost.as_ref());
        } else {
            for (name, value) in attributes.iter().take(ATTRIBUTES_MAX) {
                put(name, Some(value));
            }
        }
    }
    for name in ["user", "task", "session"] {
        put(name, log.get(name));
    }
    shown
}

/// How long a call took, by its phases in microseconds.
fn took(phases: &Value) -> String {
    let phases = phases.as_object().into_iter().flatten();
    let micros = phases.filter_map(|(_, it)| it.as_u64());
    long(micros.fold(0, u64::saturating_add).saturating_mul(1_000))
}

fn follow(args: &LogsArgs, limit: u32, filter: &str, client: &Client) -> anyhow::Result<Said> {
    let limit = limit.min(1_000).to_string();
    let path = args.path("/api/v1/logs/tail", filter, &[("limit", Some(&limit))]);
    let json = args.format.json;
    let mut has_enough = false;
    client.follow(&path, |event, data| {
        let said = match event {
            "log" if json => data.to_owned(),
            "log" => match serde_json::from_str(data) {
                Ok(log) => one(&log),
                Err(_) => plain(data),
            },
            "missed" => toned("… too many came at once: some are not shown", Tone::Warning),
            _ => return true,
        };
        has_enough = super::write(&for_reader(&Said::fine(said).text, super::colours())).is_err();
        !has_enough
    })?;
    if has_enough {
        return Ok(Said::default());
    }
    bail!("the gateway has stopped, or ended the connection")
}

fn bars(args: &LogsArgs, every: Since, filter: &str, client: &Client) -> anyhow::Result<Said> {
    let long = match every {
        Since::Ago(long) if !long.is_zero() && long.as_secs().is_multiple_of(60) => long,
        Since::Ago(_) | Since::Time(_) => {
            bail!("`--every` takes a length of whole minutes: 5m, 1h, 1d")
        }
    };
    let step = long.as_secs().to_string();
    let path = args.path("/api/v1/logs/histogram", filter, &[("step", Some(&step))]);
    let bars: LogBars = client.get(&path)?;
    if args.format.json {
        return Said::json(&bars);
    }
    Ok(Said::fine(show_bars(&bars)))
}

fn show_bars(bars: &LogBars) -> String {
    let sum = |it: &tidegate_control::wire::LogBar| it.counts.values().sum::<u64>();
    let most = bars.bars.iter().map(sum).max().unwrap_or(0).max(1);
    let mut table = Table::new(&["from", ">all", ">warnings", ">errors", ""]);
    for bar in &bars.bars {
        let of = |level: &str| bar.counts.get(level).copied().unwrap_or(0);
        let errors = of("ERROR") + of("CRITICAL");
        let all = sum(bar);
        let width = usize::try_from((all * BAR_WIDTH).div_ceil(most)).unwrap_or(0);
        let tone = |count: u64, tone| {
            let text = grouped(count);
            if count == 0 { text } else { toned(&text, tone) }
        };
        table.row([
            plain(&bar.time),
            grouped(all),
            tone(of("WARNING"), Tone::Warning),
            tone(errors, Tone::Bad),
            "█".repeat(width),
        ]);
    }
    if table.is_empty() {
        return "nothing is recorded of that\n".to_owned();
    }
    table.show()
}

fn export(args: &LogsArgs, file: &PathBuf, filter: &str, client: &Client) -> anyhow::Result<Said> {
    let end = file.extension().and_then(|it| it.to_str());
    let Some(form @ ("jsonl" | "csv" | "parquet")) = end else {
        bail!(
            "`{}` says by its end in which form: name it .jsonl, .csv or .parquet",
            file.display()
        );
    };
    let limit = args.limit.map(|it| it.to_string());
    let more = [("format", Some(form)), ("limit", limit.as_deref())];
    let path = args.path("/api/v1/logs/export", filter, &more);
    let unwritable = || format!("`{}` can't be written", file.display());
    let mut to = File::create(file).with_context(unwritable)?;
    let bytes = client.save(&path, &mut to).with_context(unwritable)?;
    let text = format!("{}: {} bytes", file.display(), grouped(bytes));
    Ok(Said::fine(text))
}

/// When `since` was, where there is one.
pub(super) fn at(since: Option<Since>, now: Timestamp) -> Option<String> {
    since.map(|it| rfc3339(it.at(now)))
}

/// How long something takes, in the unit that people would use: `3.2 s`.
pub(super) fn long(nanos: u64) -> String {
    let duration = Duration::from_nanos(nanos);
    match duration.as_micros() {
        0..1_000 => format!("{} µs", duration.as_micros()),
        1_000..1_000_000 => {
            let tenths = duration.as_micros() / 100;
            format!("{}.{} ms", tenths / 10, tenths % 10)
        }
        _ => {
            let hundredths = duration.as_millis() / 10;
            format!("{}.{:02} s", hundredths / 100, hundredths % 100)
        }
    }
}

#[cfg(test)]
mod tests;
