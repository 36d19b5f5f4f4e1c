//! `tidegate calls`.

use std::{str::FromStr, time::Duration};

use clap::Args;
use tidegate_control::wire::{Call, Calls};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    record::{rfc3339, rfc3339_seconds},
};
use tidegate_types::{CallId, Clock as _, NanoUsd, SystemClock, Timestamp};

use super::{
    Client, Format, Said,
    client::query,
    table::{Table, Tone, grouped, line, plain, toned},
};

/// Options of `calls`.
#[derive(Clone, Debug, Args)]
pub(crate) struct CallsArgs {
    /// Everything about this call: `call_…`, as in `x-tidegate-call-id`
    pub(crate) id: Option<CallId>,
    /// Only calls since then: how long ago (90s, 15m, 2h, 3d), or a time like 2026-07-14T12:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub(crate) since: Option<Since>,
    /// Only this user's
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Only this task's, with its whole tree
    #[arg(long)]
    pub(crate) task: Option<String>,
    /// Only this session's
    #[arg(long)]
    pub(crate) session: Option<String>,
    /// Only this organisation's
    #[arg(long)]
    pub(crate) organisation: Option<String>,
    /// Only calls before this one, to read on
    #[arg(long, value_name = "CALL")]
    pub(crate) before: Option<CallId>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub(crate) limit: u16,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// Since when: so long ago, or a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// So long ago.
    Ago(Duration),
    /// Then.
    Time(Timestamp),
}

/// A text that says no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither how long ago (90s, 15m, 2h, 3d) nor a time like 2026-07-14T12:00:00Z")]
pub(crate) struct ParseSinceError(String);

impl FromStr for Since {
    type Err = ParseSinceError;

    fn from_str(text: &str) -> Result<Self, ParseSinceError> {
        let refuse = || ParseSinceError(text.chars().take(40).collect());
        if let Ok(time) = text.parse::<jiff::Timestamp>() {
            let nanos = u64::try_from(time.as_nanosecond()).map_err(|_| refuse())?;
            return Ok(Self::Time(Timestamp(nanos)));
        }
        let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
        let seconds: u64 = match text.get(digits.len()..) {
            Some("s") => 1,
            Some("m" | "min") => 60,
            Some("h") => 3_600,
            Some("d") => 86_400,
            _ => return Err(refuse()),
        };
        let number: u64 = digits.parse().map_err(|_| refuse())?;
        let seconds = number.checked_mul(seconds).ok_or_else(refuse)?;
        Ok(Self::Ago(Duration::from_secs(seconds)))
    }
}

impl Since {
    /// The time it is, at `now`.
    pub(super) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Time(time) => time,
            Self::Ago(long) => {
                let nanos = u64::try_from(long.as_nanos()).unwrap_or(u64::MAX);
                Timestamp(now.0.saturating_sub(nanos))
            }
        }
    }
}

impl CallsArgs {
    pub(super) fn path(&self, now: Timestamp) -> String {
        if let Some(id) = self.id {
            return format!("/api/v1/calls/{id}");
        }
        let since = self.since.map(|it| rfc3339(it.at(now)));
        let before = self.before.map(|it| it.to_string());
        query(
            "/api/v1/calls",
            &[
                ("limit", Some(&self.limit.to_string())),
                ("since", since.as_deref()),
                ("organisation", self.organisation.as_deref()),
                ("user", self.user.as_deref()),
                ("task", self.task.as_deref()),
                ("session", self.session.as_deref()),
                ("before", before.as_deref()),
            ],
        )
    }
}

pub(super) fn answer(args: &CallsArgs, client: &Client) -> anyhow::Result<Said> {
    let path = args.path(SystemClock::start().now());
    if args.format.json {
        return Said::json(&client.get::<serde_json::Value>(&path)?);
    }
    if args.id.is_some() {
        return Ok(Said::fine(show_one(&client.get::<Call>(&path)?.record)));
    }
    let calls: Calls = client.get(&path)?;
    let records = calls.calls.iter().map(|it| &it.record);
    let mut shown = show(records);
    if let Some(next) = calls.next {
        let text = format!("older ones: `tidegate calls --before {next}`");
        line(&mut shown, &text);
    }
    Ok(Said::fine(shown))
}

/// Calls for people, as they come: newest first.
pub(super) fn show<'a>(calls: impl IntoIterator<Item = &'a CallRecord>) -> String {
    let mut table = Table::new(&[
        "call", "at", "user", "platform", "model", "outcome", ">in", ">out", ">cost", ">took",
    ]);
    for call in calls {
        let usage = call.usage.unwrap_or_default();
        table.row([
            call.id.to_string(),
            rfc3339_seconds(call.at),
            plain(&call.user),
            plain(&call.platform),
            plain(&call.model_sent),
            outcome(call),
            grouped(usage.input_total().0),
            grouped(usage.output.0),
            cost(call),
            format!("{} ms", grouped(call.phases.total() / 1_000)),
        ]);
    }
    if table.is_empty() {
        "no call is recorded\n".to_owned()
    } else {
        table.show()
    }
}

fn outcome(call: &CallRecord) -> String {
    let word = match &call.outcome {
        Outcome::Refused { limit } => format!("refused by {limit}"),
        Outcome::Ended { limit } => format!("ended at {limit}"),
        other => other.word().replace('_', " "),
    };
    match &call.outcome {
        Outcome::Answered if call.would_refuse.is_empty() => plain(&word),
        Outcome::Answered => {
            let text = format!("answered, {} would refuse", call.would_refuse.join(", "));
            toned(&text, Tone::Warning)
        }
        Outcome::Invalid { .. }
        | Outcome::ClientGone
        | Outcome::Refused { .. }
        | Outcome::Ended { .. } => toned(&word, Tone::Warning),
        _ => toned(&word, Tone::Bad),
    }
}

fn cost(call: &CallRecord) -> String {
    let about = if call.estimated { "≈" } else { "" };
    if call.notional > call.cost {
        return format!("{about}({})", call.notional);
    }
    format!("{about}{}", call.cost)
}

/// One call with every figure.
pub(super) fn show_one(call: &CallRecord) -> String {
    let mut table = Table::new(&["call", &call.id.to_string()]);
    let mut line = |name: &str, value: String| {
        if !value.is_empty() {
            table.row([name.to_owned(), value]);
        }
    };
    about(call, &mut line);
    usage(call, &mut line);
    money(call, &mut line);
    overspend(call, &mut line);
    phases(call, &mut line);
    line("would refuse", plain(&call.would_refuse.join(", ")));
    if let Some(wait) = &call.would_wait {
        line(
            "would wait",
            plain(&format!("{} ms for {}", wait.wait_ms, wait.limit)),
        );
    }
    for warning in &call.warnings {
        line("warning", plain(warning));
    }
    line(
        "repeats",
        call.retry_of.map_or(String::new(), |it| it.to_string()),
    );
    line(
        "trace",
        call.trace_id.map_or(String::new(), |it| it.to_string()),
    );
    table.show()
}

/// Who sent what where.
fn about(call: &CallRecord, line: &mut impl FnMut(&str, String)) {
    let text = |it: &Option<std::sync::Arc<str>>| it.as_deref().map_or(String::new(), plain);
    line("at", rfc3339(call.at));
    line(
        "outcome",
        format!("{}, status {}", outcome(call), call.status),
    );
    line(
        "user",
        plain(&format!("{} of {}", call.user, call.organisation)),
    );
    line(
        "key",
        call.key.map_or("none".to_owned(), |it| it.to_string()),
    );
    line("session", text(&call.session));
    line("task", text(&call.task));
    line("root task", text(&call.root_task));
    line("parent", text(&call.parent));
    line(
        "class and priority",
        format!("{}, {}", call.class, call.priority),
    );
    line(
        "platform",
        plain(&format!("{} ({})", call.platform, call.provider)),
    );
    line("tried before", plain(&call.tried.join(", ")));
    line("model", model(call));
    line(
        "request",
        format!(
            "{} {}, {} bytes",
            call.dialect,
            plain(&call.path),
            grouped(call.body_bytes)
        ),
    );
    line(
        "answer",
        format!(
            "{} bytes{}",
            grouped(call.answer_bytes),
            if call.stream { ", streamed" } else { "" }
        ),
    );
    line("provider's id", text(&call.request_id));
}

fn model(call: &CallRecord) -> String {
    if call.model_asked == call.model_sent {
        plain(&call.model_sent)
    } else {
        plain(&format!(
            "{}, asked for {}",
            call.model_sent, call.model_asked
        ))
    }
}

fn usage(call: &CallRecord, line: &mut impl FnMut(&str, String)) {
    let Some(usage) = call.usage else { return };
    for (name, tokens) in [
        ("input", usage.input),
        ("cache read", usage.cache_read),
        ("cache written 5m", usage.cache_write_5m),
        ("cache written 1h", usage.cache_write_1h),
        ("output", usage.output),
        ("of it reasoning", usage.reasoning),
    ] {
        if tokens.0 > 0 {
            line(name, format!("{} tokens", grouped(tokens.0)));
        }
    }
    if let (Some(asked), Some(sent)) = (call.max_tokens_asked, call.max_tokens_sent)
        && asked != sent
    {
        line(
            "output cap",
            format!("{}, asked for {}", grouped(sent.0), grouped(asked.0)),
        );
    }
}

fn money(call: &CallRecord, line: &mut impl FnMut(&str, String)) {
    let estimated = if call.estimated { " (estimated)" } else { "" };
    line("cost", format!("{}{estimated}", call.cost));
    if !call.notional.is_zero() {
        line("list price", call.notional.to_string());
    }
    line(
        "expected, held",
        format!("{}, {}", call.expected, call.bound),
    );
    let known = if call.price_known {
        ""
    } else {
        " (model unknown: dearest row)"
    };
    line(
        "price table",
        format!("{}{known}", plain(&call.price_version)),
    );
    line(
        "reservation",
        call.reservation.map_or(String::new(), |it| it.to_string()),
    );
}

/// Why it cost far more than expected: what each cause added, and the figures of both sides.
fn overspend(call: &CallRecord, line: &mut impl FnMut(&str, String)) {
    let Some(found) = &call.overspend else { return };
    line(
        "overspent",
        toned(
            &format!("{} above the {} expected", found.excess(), found.expected),
            Tone::Warning,
        ),
    );
    for share in &found.shares {
        let sign = if share.nano_usd < 0 { '-' } else { '+' };
        let amount = NanoUsd(share.nano_usd.unsigned_abs());
        let name = format!("  {}", share.cause.word());
        let why = if share.nano_usd < 0 {
            "less than expected"
        } else {
            share.cause.sentence()
        };
        line(&name, format!("{sign}{amount}, {why}"));
    }
    let real = call.usage.unwrap_or_default();
    let was = &found.expected_usage;
    for (name, was, is) in [
        ("  input", was.input, real.input),
        ("  cache read", was.cache_read, real.cache_read),
        ("  output", was.output, real.output),
    ] {
        if was != is {
            let text = format!("{} tokens, expected were {}", grouped(is.0), grouped(was.0));
            line(name, text);
        }
    }
}

fn phases(call: &CallRecord, line: &mut impl FnMut(&str, String)) {
    let phases = &call.phases;
    let all = [
        ("identify", phases.identify),
        ("estimate", phases.estimate),
        ("route", phases.route),
        ("reserve", phases.reserve),
        ("wait", phases.wait),
        ("first byte", phases.first_byte),
        ("stream", phases.stream),
        ("settle", phases.settle),
    ];
    let parts: Vec<String> = all
        .iter()
        .filter(|(_, micros)| *micros > 0)
        .map(|(name, micros)| format!("{name} {}", grouped(micros)))
        .collect();
    line(
        "took (µs)",
        format!("{}: {}", grouped(phases.total()), parts.join(", ")),
    );
    line("we added (µs)", grouped(phases.added()));
}
