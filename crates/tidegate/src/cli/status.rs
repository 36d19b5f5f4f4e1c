//! `tidegate status`.

use tidegate_admission::Resource;
use tidegate_control::wire::{Bucket, LimitMode, NoticeChannel, Platform, Status};
use tidegate_types::{Mode, NanoUsd};

use super::{
    Client, Format, Said,
    table::{Table, Tone, grouped, line, plain, toned},
};

mod providers;

/// What people do about each reason for which calls are not taken.
const REMEDIES: [(&str, &str); 2] = [
    (
        "ledger_unwritable",
        "free space in the data folder, or make it writable: calls go on by themselves then",
    ),
    (
        "draining",
        "wait for its end, or send a second SIGTERM to cut what is in flight",
    ),
];

pub(super) fn answer(format: Format, client: &Client) -> anyhow::Result<Said> {
    if format.json {
        return Said::json(&client.get::<serde_json::Value>("/api/v1/status")?);
    }
    let status: Status = client.get("/api/v1/status")?;
    Ok(Said::fine(show(&status, &client.address().to_string())))
}

/// The status for people: what is wrong comes first.
pub(super) fn show(status: &Status, address: &str) -> String {
    let mut out = format!("tidegate {} at http://{address}", plain(&status.version));
    readiness(&mut out, status);
    out.push('\n');
    out.push_str(&buckets(&status.platforms));
    penalties(&mut out, &status.platforms);
    providers::words(&mut out, &status.platforms);
    providers::cooldowns(&mut out, &status.cooldowns);
    out.push_str(&providers::windows(&status.plan_windows));
    channels(&mut out, &status.notice_channels);
    limits(&mut out, status);
    reservations(&mut out, status);
    out
}

fn readiness(out: &mut String, status: &Status) {
    if status.ready {
        let ready = toned("takes calls, the ledger is writable", Tone::Good);
        line(out, &format!(", {ready}"));
        return;
    }
    line(out, "");
    for reason in &status.reasons {
        let text = format!("NOT READY: {}", reason.message);
        line(out, &toned(&text, Tone::Bad));
        if let Some(says) = &status.store_says
            && reason.code == "ledger_unwritable"
        {
            line(out, &format!("  the store says: {}", plain(says)));
        }
        let remedy = REMEDIES.iter().find(|(code, _)| *code == reason.code);
        if let Some((_, remedy)) = remedy {
            line(out, &format!("  what to do: {remedy}"));
        }
    }
}

/// Channels for notices that something is wrong with.
fn channels(out: &mut String, channels: &[NoticeChannel]) {
    for it in channels {
        if let Some(since) = &it.failing_since {
            let says = it.says.as_deref().unwrap_or_default();
            let text = format!(
                "notices to `{}` are not taken since {since} ({}), {} wait: see `tidegate notify test {}`",
                plain(&it.name),
                plain(says),
                it.waiting,
                plain(&it.name),
            );
            line(out, &toned(&text, Tone::Bad));
        }
        if it.lost > 0 {
            let text = format!("{} notices to `{}` were given up", it.lost, plain(&it.name));
            line(out, &toned(&text, Tone::Warning));
        }
    }
}

fn buckets(platforms: &[Platform]) -> String {
    let mut table = Table::new(&[
        "bucket", ">left", ">of", "counts", ">held", ">guarded", "full in", "does",
    ]);
    for platform in platforms {
        for bucket in &platform.buckets {
            table.row(row(&platform.platform, bucket));
        }
    }
    if table.is_empty() {
        "no platform has buckets\n".to_owned()
    } else {
        table.show()
    }
}

fn row(platform: &str, bucket: &Bucket) -> [String; 8] {
    let amount = |it: i64| shown(it, bucket.resource);
    let unsigned = |it: u64| amount(i64::try_from(it).unwrap_or(i64::MAX));
    let left = amount(bucket.level);
    let threshold = i64::try_from(bucket.threshold).unwrap_or(i64::MAX);
    let tone = match bucket.level {
        level if level <= 0 => Some(Tone::Bad),
        level if level < threshold => Some(Tone::Warning),
        _ => None,
    };
    [
        plain(&format!("{platform}.{}", bucket.name)),
        tone.map_or(left.clone(), |it| toned(&left, it)),
        unsigned(bucket.capacity),
        match bucket.resource {
            Resource::NanoUsd => "dollars".to_owned(),
            other => other.word().replace('_', " "),
        },
        unsigned(bucket.held),
        unsigned(bucket.threshold),
        match bucket.full_in_seconds {
            None => String::new(),
            Some(0) => "now".to_owned(),
            Some(seconds) => spoken(seconds),
        },
        binding(bucket.keyless, bucket.asking).to_owned(),
    ]
}

/// What a limit does, in words: to calls without a key, and to all others.
pub(super) const fn binding(keyless: Mode, asking: Mode) -> &'static str {
    match (keyless, asking) {
        (Mode::Enforce, _) => "enforce",
        (Mode::Watch, Mode::Enforce) => "enforce with a key",
        (Mode::Watch, Mode::Watch) => "watch",
    }
}

/// An amount of a resource; money is kept in billionths.
fn shown(amount: i64, resource: Resource) -> String {
    if resource != Resource::NanoUsd {
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

fn penalties(out: &mut String, platforms: &[Platform]) {
    for platform in platforms {
        for penalty in &platform.penalties {
            let class = penalty.priority.map(|it| format!("the class {it}"));
            let user = penalty
                .user
                .as_ref()
                .map(|user| match &penalty.organisation {
                    Some(organisation) => format!("{organisation}/{user}"),
                    None => user.clone(),
                });
            let whose = user.or(class);
            let text = format!(
                "{} refills at half speed on {} for {}",
                whose.as_deref().unwrap_or("somebody"),
                platform.platform,
                spoken(penalty.left_seconds)
            );
            line(out, &toned(&text, Tone::Warning));
        }
    }
}

fn limits(out: &mut String, status: &Status) {
    let names = |wanted: fn(&LimitMode) -> bool| {
        let limits = status.limits.iter().filter(|it| wanted(it));
        let names: Vec<String> = limits.map(|it| plain(&it.limit)).collect();
        names.join(", ")
    };
    let named = names(|it| it.asking == Mode::Watch);
    let built_in = names(|it| it.keyless == Mode::Watch && it.asking == Mode::Enforce);
    out.push('\n');
    if named.is_empty() && built_in.is_empty() {
        line(out, "all limits are enforced for everyone");
    }
    if !built_in.is_empty() {
        let text = format!("only watched for calls without a key: {built_in}");
        line(out, &text);
        let command = plain(&status.watched.enforce_with);
        line(out, &format!("enforce them with `{command}`"));
    }
    if !named.is_empty() {
        let text = format!("only watched for everyone, as somebody said: {named}");
        line(out, &text);
    }
}

fn reservations(out: &mut String, status: &Status) {
    out.push('\n');
    let Status {
        open_reservations: open,
        unknown_reservations: unknown,
        dropped_reservations: dropped,
        shed_records: shed,
        ..
    } = *status;
    line(out, &format!("open reservations: {}", grouped(open)));
    let mut found = |count: u64, text: String| {
        if count > 0 {
            line(out, &toned(&text, Tone::Bad));
        }
    };
    found(
        unknown,
        format!(
            "of them left unknown by a crash: {} (`tidegate ledger unknown` lists them, `tidegate ledger settle` ends one)",
            grouped(unknown)
        ),
    );
    found(
        dropped,
        format!(
            "reservations dropped unsettled: {}: a defect of Tidegate, please report it with the log",
            grouped(dropped)
        ),
    );
    found(
        shed,
        format!(
            "records of calls that were not kept: {} (the ledger has what they cost; the disk is too slow or full)",
            grouped(shed)
        ),
    );
}
