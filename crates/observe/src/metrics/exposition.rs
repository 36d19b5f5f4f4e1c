//! Prometheus' text format 0.0.4, and the list of metrics for people.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::{fmt::Write as _, sync::Arc, sync::atomic::Ordering};

use super::{Counter, Definition, Family, Gauge, Histogram, Instrument, Registry};

/// The media type of [`Registry::expose`].
pub const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How many label sets were folded, by metric: the one metric that no family keeps.
const FOLDED: Definition = Definition {
    name: "tidegate_observe_folded_uses_total",
    kind: super::Kind::Counter,
    unit: super::Unit::Count("uses"),
    labels: &["metric"],
    help: " Uses of label sets that were folded into `other` because their metric has too many",
};

/// Something done to every family of a registry.
pub(super) trait Visit {
    fn family<I: Instrument + Expose, const N: usize>(&mut self, family: &Family<I, N>);
}

/// Writes the lines of one series.
pub(super) trait Expose {
    fn lines(&self, out: &mut String, of: &Definition, labels: &str);
}

struct Text {
    out: String,
    folded: Vec<(&'static str, u64)>,
}

impl Visit for Text {
    fn family<I: Instrument + Expose, const N: usize>(&mut self, family: &Family<I, N>) {
        let definition = family.definition();
        if family.folded() > 0 {
            self.folded.push((definition.name, family.folded()));
        }
        let all = family.sorted();
        if all.is_empty() {
            return;
        }
        head(&mut self.out, definition);
        for (values, series) in all {
            series.lines(&mut self.out, definition, &labels(definition, &values));
        }
    }
}

impl Registry {
    /// Everything in Prometheus' text format, in the order of the catalogue, series sorted by
    /// their labels. A metric without series is left out.
    pub fn expose(&self) -> String {
        let mut text = Text {
            out: String::with_capacity(16 * 1024),
            folded: Vec::new(),
        };
        self.each(&mut text);
        let Text { mut out, folded } = text;
        if !folded.is_empty() {
            head(&mut out, &FOLDED);
        }
        for (metric, uses) in folded {
            write_line(&mut out, FOLDED.name, &format!("metric=\"{metric}\""), uses);
        }
        out
    }

    /// The list of metrics as Markdown, for the documentation.
    pub fn catalogue_markdown(&self) -> String {
        let mut out = String::from(
            "# Metrics\n\n\
             `GET /metrics` gives them in Prometheus' text format. A metric keeps at most 1,000 label sets apart;\n\
             what comes after has `other` as its labels and is counted in `tidegate_observe_folded_uses_total`.\n\n\
             | name | kind | unit | labels | meaning |\n| --- | --- | --- | --- | --- |\n",
        );
        for definition in self.catalogue().into_iter().chain([&FOLDED]) {
            let labels: Vec<String> = definition
                .labels
                .iter()
                .map(|it| format!("`{it}`"))
                .collect();
            // Writing to a String cannot fail.
            let _infallible = writeln!(
                out,
                "| `{}` | {} | {} | {} | {} |",
                definition.name,
                definition.kind.word(),
                definition.unit.word(),
                labels.join(", "),
                definition.help.trim(),
            );
        }
        out
    }
}

fn head(out: &mut String, definition: &Definition) {
    let Definition {
        name, kind, help, ..
    } = definition;
    let (kind, help) = (kind.word(), help.trim());
    let _infallible = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

/// `a="1",b="2"`, values escaped as the format demands.
fn labels(definition: &Definition, values: &[Arc<str>]) -> String {
    let mut out = String::new();
    for (name, value) in definition.labels.iter().zip(values) {
        if !out.is_empty() {
            out.push(',');
        }
        out.push_str(name);
        out.push_str("=\"");
        for character in value.chars() {
            match character {
                '\\' => out.push_str("\\\\"),
                '"' => out.push_str("\\\""),
                '\n' => out.push_str("\\n"),
                other => out.push(other),
            }
        }
        out.push('"');
    }
    out
}

fn write_line(out: &mut String, name: &str, labels: &str, value: impl std::fmt::Display) {
    let _infallible = if labels.is_empty() {
        writeln!(out, "{name} {value}")
    } else {
        writeln!(out, "{name}{{{labels}}} {value}")
    };
}

/// A kept value as it is shown: `1500000000` nanoseconds are `1.5` seconds, exactly.
struct Scaled {
    negative: bool,
    kept: u64,
    scale: u64,
}

impl std::fmt::Display for Scaled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.negative {
            f.write_str("-")?;
        }
        write!(f, "{}", self.kept / self.scale)?;
        let rest = self.kept % self.scale;
        if rest == 0 {
            return Ok(());
        }
        // A scale is 1 or 10⁹, and 1 leaves no rest.
        let digits = format!("{rest:09}");
        write!(f, ".{}", digits.trim_end_matches('0'))
    }
}

const fn scaled(kept: u64, of: &Definition) -> Scaled {
    Scaled {
        negative: false,
        kept,
        scale: of.unit.scale(),
    }
}

impl Expose for Counter {
    fn lines(&self, out: &mut String, of: &Definition, labels: &str) {
        write_line(out, of.name, labels, scaled(self.value(), of));
    }
}

impl Expose for Gauge {
    fn lines(&self, out: &mut String, of: &Definition, labels: &str) {
        let value = self.value();
        let shown = Scaled {
            negative: value < 0,
            ..scaled(value.unsigned_abs(), of)
        };
        write_line(out, of.name, labels, shown);
    }
}

impl Expose for Histogram {
    fn lines(&self, out: &mut String, of: &Definition, labels: &str) {
        let comma = if labels.is_empty() { "" } else { "," };
        let bucket = format!("{}_bucket", of.name);
        let mut below = 0_u64;
        let cells = &self.0;
        for (at, cell) in cells.counts.iter().enumerate() {
            below = below.saturating_add(cell.load(Ordering::Relaxed));
            let bound = match cells.bounds.get(at) {
                Some(bound) => scaled(*bound, of).to_string(),
                None => "+Inf".to_owned(),
            };
            let labels = format!("{labels}{comma}le=\"{bound}\"");
            write_line(out, &bucket, &labels, below);
        }
        // The count is the last bucket's, so that the two agree however busy the series is.
        write_line(
            out,
            &format!("{}_sum", of.name),
            labels,
            scaled(self.sum(), of),
        );
        write_line(out, &format!("{}_count", of.name), labels, below);
    }
}
