//! `tidegate status`.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use tidegate_types::{Mode, NanoUsd};

use super::{
    Client, Format, Said,
    table::{Table, Tone, grouped, plain, toned},
};

/// What `GET /api/v1/status` gives. Fields of later versions are passed over.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) version: String,
    pub(super) writable: bool,
    #[serde(default)]
    pub(super) why_not: Option<String>,
    #[serde(default)]
    pub(super) platforms: Vec<Pool>,
    #[serde(default)]
    pub(super) limits: Vec<LimitView>,
    #[serde(default)]
    pub(super) open_reservations: u64,
    #[serde(default)]
    pub(super) dropped_reservations: u64,
    #[serde(default)]
    pub(super) shed_records: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Pool {
    pub(super) platform: String,
    pub(super) buckets: Vec<Bucket>,
    #[serde(default)]
    pub(super) penalties: Vec<Penalty>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Bucket {
    pub(super) name: String,
    pub(super) resource: String,
    pub(super) capacity: u64,
    pub(super) level: i64,
    pub(super) threshold: u64,
    pub(super) held: u64,
    #[serde(default)]
    pub(super) full_in_seconds: Option<u64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Penalty {
    #[serde(default)]
    pub(super) user: Option<String>,
    #[serde(default)]
    pub(super) priority: Option<String>,
    pub(super) left_seconds: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct LimitView {
    pub(super) limit: String,
    pub(super) keyless: Mode,
    pub(super) asking: Mode,
}

pub(super) fn answer(format: Format, client: &Client) -> anyhow::Result<Said> {
    if format.json {
        return Said::json(&client.get::<serde_json::Value>("/api/v1/status")?);
    }
    let status: Status = client.get("/api/v1/status")?;
    Ok(Said::fine(show(&status, &client.address().to_string())))
}

/// The status for people.
pub(super) fn show(status: &Status, address: &str) -> String {
    let mut out = format!("tidegate {} at http://{address}", plain(&status.version));
    // Writing to a String cannot fail.
    let _infallible = match (status.writable, &status.why_not) {
        (true, _) => writeln!(out, ", {}", toned("ledger writable", Tone::Good)),
        (false, why) => writeln!(
            out,
            ", {}: {}",
            toned("LEDGER NOT WRITABLE", Tone::Bad),
            plain(why.as_deref().unwrap_or("no reason is known"))
        ),
    };
    out.push('\n');
    out.push_str(&buckets(status));
    penalties(&mut out, status);
    limits(&mut out, &status.limits);
    let _infallible = writeln!(out, "\nopen reservations: {}", status.open_reservations);
    for (what, count) in [
        (
            "reservations dropped unsettled",
            status.dropped_reservations,
        ),
        ("records not kept", status.shed_records),
    ] {
        if count > 0 {
            let _infallible = writeln!(out, "{}", toned(&format!("{what}: {count}"), Tone::Bad));
        }
    }
    out
}

fn buckets(status: &Status) -> String {
    let mut table = Table::new(&[
        "bucket", ">left", ">of", "counts", ">held", ">guarded", "full in",
    ]);
    for pool in &status.platforms {
        for bucket in &pool.buckets {
            let amount = |it: i64| shown(it, &bucket.resource);
            let unsigned = |it: u64| shown(i64::try_from(it).unwrap_or(i64::MAX), &bucket.resource);
            let left = amount(bucket.level);
            let threshold = i64::try_from(bucket.threshold).unwrap_or(i64::MAX);
            let tone = match bucket.level {
                level if level <= 0 => Some(Tone::Bad),
                level if level < threshold => Some(Tone::Warning),
                _ => None,
            };
            table.row([
                plain(&format!("{}.{}", pool.platform, bucket.name)),
                tone.map_or(left.clone(), |it| toned(&left, it)),
                unsigned(bucket.capacity),
                plain(&bucket.resource).replace("nano_usd", "dollars"),
                unsigned(bucket.held),
                unsigned(bucket.threshold),
                match bucket.full_in_seconds {
                    None => String::new(),
                    Some(0) => "now".to_owned(),
                    Some(seconds) => spoken(seconds),
                },
            ]);
        }
    }
    if table.is_empty() {
        "no platform has buckets\n".to_owned()
    } else {
        table.show()
    }
}

/// An amount of a resource; money is kept in billionths.
fn shown(amount: i64, resource: &str) -> String {
    if resource != "nano_usd" {
        return grouped(amount);
    }
    let sign = if amount < 0 { "-" } else { "" };
    format!("{sign}{}", NanoUsd(amount.unsigned_abs()))
}

/// `45 s`, `3 min 20 s`, `5 h 10 min`, `2 d 3 h`.
pub(super) fn spoken(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, m) => format!("{m} min {} s", seconds % 60),
        (0, h, m) => format!("{h} h {} min", m % 60),
        (d, h, _) => format!("{d} d {} h", h % 24),
    }
}

fn penalties(out: &mut String, status: &Status) {
    for pool in &status.platforms {
        for penalty in &pool.penalties {
            let whose = penalty.user.as_deref().or(penalty.priority.as_deref());
            let whose = plain(whose.unwrap_or("somebody"));
            let left = spoken(penalty.left_seconds);
            let line = format!(
                "{whose} refills at half speed on {} for {left}",
                pool.platform
            );
            out.push_str(&toned(&line, Tone::Warning));
            out.push('\n');
        }
    }
}

fn limits(out: &mut String, limits: &[LimitView]) {
    let watched: Vec<String> = limits
        .iter()
        .filter(|it| it.keyless == Mode::Watch)
        .map(|it| plain(&it.limit))
        .collect();
    let _infallible = if watched.is_empty() {
        writeln!(out, "\nall limits are enforced for everyone")
    } else {
        writeln!(
            out,
            "\nonly watched for calls without a key: {}\nenforce them with `tidegate serve --enforce`",
            watched.join(", ")
        )
    };
}
