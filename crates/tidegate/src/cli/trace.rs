//! `tidegate trace`: a waterfall.

use std::collections::{HashMap, HashSet};

use clap::Args;
use serde_json::{Map, Value};
use tidegate_control::wire::Trace;
use tidegate_types::Timestamp;

use super::{
    Client, Format, Said,
    client::escaped,
    logs::long,
    table::{Table, Tone, line, many, plain, toned},
};

/// The narrowest and the widest waterfall, in characters: a bar of ten tells nothing, one of a hundred
/// is followed by no eye.
const WIDTH: std::ops::RangeInclusive<usize> = 20..=72;

/// What stands beside the bars of a usual trace.
const BESIDE: usize = 56;

/// Options of `trace`.
#[derive(Clone, Debug, Args)]
pub(crate) struct TraceArgs {
    /// The trace, 32 hexadecimal digits; a call that is part of it, `call_…`; or all of a session or a
    /// prompt: `session:ID`, `prompt:ID`
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

pub(super) fn answer(args: &TraceArgs, client: &Client) -> anyhow::Result<Said> {
    let path = format!("/api/v1/traces/{}", escaped(&args.id));
    let trace: Trace = client.get(&path)?;
    if args.format.json {
        return Said::json(&trace);
    }
    let columns = ratatui::crossterm::terminal::size().map_or(100, |it| usize::from(it.0));
    let width = columns.saturating_sub(BESIDE);
    Ok(Said::fine(show(
        &trace,
        width.clamp(*WIDTH.start(), *WIDTH.end()),
    )))
}

/// A span, as far as it is drawn.
#[derive(Debug)]
struct Span<'a> {
    all: &'a Map<String, Value>,
    began: u64,
    nanos: u64,
}

impl<'a> Span<'a> {
    fn of(all: &'a Map<String, Value>) -> Self {
        let text = |name: &str| all.get(name).and_then(Value::as_str).unwrap_or_default();
        let began = text("time").parse::<jiff::Timestamp>();
        let began = began.map_or(0, jiff::Timestamp::as_nanosecond);
        Self {
            all,
            began: Timestamp(u64::try_from(began).unwrap_or(0)).0,
            nanos: all.get("duration_ns").and_then(Value::as_u64).unwrap_or(0),
        }
    }

    fn text(&self, name: &str) -> &'a str {
        let value = self.all.get(name).and_then(Value::as_str);
        value.unwrap_or_default()
    }

    fn is_error(&self) -> bool {
        self.text("status") == "error"
    }
}

/// The spans with how deep each is: those below another follow it, in the order in which they began.
fn in_order<'a>(spans: &'a [Span<'a>]) -> Vec<(usize, &'a Span<'a>)> {
    let known: HashSet<&str> = spans.iter().map(|it| it.text("span_id")).collect();
    let mut below: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut next: Vec<(usize, usize)> = Vec::new();
    for (place, span) in spans.iter().enumerate() {
        let parent = span.text("parent_span_id");
        if parent.is_empty() || !known.contains(parent) || parent == span.text("span_id") {
            next.push((0, place));
        } else {
            below.entry(parent).or_default().push(place);
        }
    }
    next.reverse();
    let mut seen = vec![false; spans.len()];
    let mut order = Vec::new();
    let mut walk = |next: &mut Vec<(usize, usize)>| {
        while let Some((depth, place)) = next.pop() {
            // Ids that come twice must not make it walk in circles.
            if std::mem::replace(&mut seen[place], true) {
                continue;
            }
            order.push((depth, &spans[place]));
            let inside = below.get(spans[place].text("span_id"));
            let inside = inside.into_iter().flatten().rev();
            next.extend(inside.map(|it| (depth + 1, *it)));
        }
    };
    walk(&mut next);
    // What is only below itself is shown all the same.
    let mut rest: Vec<(usize, usize)> = (0..spans.len()).rev().map(|it| (0, it)).collect();
    walk(&mut rest);
    order
}

fn show(trace: &Trace, width: usize) -> String {
    let spans: Vec<Span<'_>> = trace.spans.iter().map(Span::of).collect();
    let first = spans.iter().map(|it| it.began).min().unwrap_or(0);
    let last = spans
        .iter()
        .map(|it| it.began.saturating_add(it.nanos))
        .max();
    let whole = last.unwrap_or(0).saturating_sub(first).max(1);
    let mut out = String::new();
    let services: HashSet<&str> = spans.iter().map(|it| it.text("service")).collect();
    let errors = spans.iter().filter(|it| it.is_error()).count();
    let (what, id) = match (&trace.session, &trace.task) {
        (Some(session), _) => ("session", Some(session)),
        (None, Some(task)) => ("task", Some(task)),
        (None, None) => ("trace", trace.trace_id.as_ref()),
    };
    let mut head = format!(
        "{what} {}: {}, {}, {}",
        plain(id.map_or("", |it| it)),
        many(spans.len() as u64, "span"),
        many(services.len() as u64, "service"),
        long(whole)
    );
    if errors > 0 {
        head.push_str(&toned(&format!(", {errors} failed"), Tone::Bad));
    }
    line(&mut out, &head);
    let mut table = Table::new(&["span", "service", ">took", &axis(whole, width)]);
    for (depth, span) in in_order(&spans) {
        let name = format!("{}{}", "  ".repeat(depth.min(12)), span.text("operation"));
        let name: String = name.chars().take(34).collect();
        let bar = bar(span.began - first, span.nanos, whole, width);
        let (name, bar) = if span.is_error() {
            (toned(&name, Tone::Bad), toned(&bar, Tone::Bad))
        } else if span.text("operation") == "wait" {
            (plain(&name), toned(&bar, Tone::Warning))
        } else {
            (plain(&name), plain(&bar))
        };
        let service: String = span.text("service").chars().take(12).collect();
        let why = span.text("message");
        let why = if why.is_empty() {
            String::new()
        } else {
            format!("  {}", plain(why))
        };
        table.row([
            name,
            plain(&service),
            long(span.nanos),
            format!("{bar}{why}"),
        ]);
    }
    out.push_str(&table.show());
    if trace.cut {
        line(&mut out, "it has more spans than are shown");
    }
    out
}

/// `0` on the left, the whole length on the right.
fn axis(whole: u64, width: usize) -> String {
    let end = long(whole);
    let space = width.saturating_sub(1 + end.chars().count());
    format!("0{}{end}", " ".repeat(space))
}

/// Where a span lies in the whole; at least a mark.
fn bar(after: u64, nanos: u64, whole: u64, width: usize) -> String {
    let place = |it: u64| {
        let place = u128::from(it) * (width as u128) / u128::from(whole);
        usize::try_from(place).unwrap_or(width).min(width)
    };
    let start = place(after).min(width - 1);
    let end = place(after.saturating_add(nanos)).max(start + 1);
    let mark = if nanos == 0 { "·" } else { "█" };
    format!("{}{}", " ".repeat(start), mark.repeat(end - start))
}

#[cfg(test)]
mod tests;
