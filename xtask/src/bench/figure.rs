//! A measured number: one value for each round, summed up as its median and quartiles.

use serde::Serialize;

use crate::report;

/// One number of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Figure {
    /// What is measured, such as `cpu per call, streamed`.
    pub(crate) name: String,
    /// Whose: `tidegate`, `nginx`, `ratio`.
    pub(crate) subject: &'static str,
    /// Such as `µs`; empty for ratios.
    pub(crate) unit: &'static str,
    /// In the order of the rounds.
    pub(crate) rounds: Vec<f64>,
    /// What the median must not pass, where we promise something.
    pub(crate) at_most: Option<f64>,
}

/// What is told of a figure.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Told {
    name: String,
    subject: &'static str,
    unit: &'static str,
    median: f64,
    lower_quartile: f64,
    upper_quartile: f64,
    rounds: usize,
    at_most: Option<f64>,
    /// Whether the median is at most `at_most`; always where nothing is promised.
    kept: bool,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, subject: &'static str, unit: &'static str) -> Self {
        Self {
            name: name.into(),
            subject,
            unit,
            rounds: Vec::new(),
            at_most: None,
        }
    }

    pub(crate) const fn at_most(mut self, bound: f64) -> Self {
        self.at_most = Some(bound);
        self
    }

    /// Round by round: what the two were measured beside each other is compared, so that a slow minute of the machine
    /// cancels out. Rounds that only one of them has are left out.
    pub(crate) fn against(
        &self,
        other: &Self,
        subject: &'static str,
        how: fn(f64, f64) -> f64,
    ) -> Self {
        let pairs = self.rounds.iter().zip(&other.rounds);
        Self {
            subject,
            rounds: pairs.map(|(one, two)| how(*one, *two)).collect(),
            ..self.clone()
        }
    }

    pub(crate) fn told(&self) -> Told {
        let median = quantile(&self.rounds, 0.5);
        Told {
            name: self.name.clone(),
            subject: self.subject,
            unit: self.unit,
            median,
            lower_quartile: quantile(&self.rounds, 0.25),
            upper_quartile: quantile(&self.rounds, 0.75),
            rounds: self.rounds.len(),
            at_most: self.at_most,
            kept: self.at_most.is_none_or(|bound| median <= bound),
        }
    }
}

impl Told {
    pub(crate) const fn kept(&self) -> bool {
        self.kept
    }
}

/// The value below which that share of the values lies, between two neighbours in proportion; 0 of none.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return 0.0;
    };
    // Counted from the left rather than computed as an index: a float is no index.
    let place = share * count(last);
    let below = sorted
        .iter()
        .enumerate()
        .take_while(|(at, _)| count(*at) <= place)
        .last();
    let Some((at, low)) = below else { return 0.0 };
    let high = sorted.get(at + 1).unwrap_or(low);
    low + (high - low) * (place - count(at))
}

/// Exact below 2³², which no bench of ours reaches.
pub(crate) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

/// For people.
pub(crate) fn table(figures: &[Told]) -> String {
    let head = ["figure", "of", "median", "quartiles", "unit", "at most", ""];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for it in figures {
        let bound = it.at_most.map(number).unwrap_or_default();
        let word = match (it.at_most, it.kept) {
            (None, _) => "",
            (Some(_), true) => "kept",
            (Some(_), false) => "MISSED",
        };
        let quartiles = format!(
            "{} – {}",
            number(it.lower_quartile),
            number(it.upper_quartile)
        );
        let (subject, unit, word) = (it.subject.to_owned(), it.unit.to_owned(), word.to_owned());
        rows.push(vec![
            it.name.clone(),
            subject,
            number(it.median),
            quartiles,
            unit,
            bound,
            word,
        ]);
    }
    report::table(&rows)
}

/// Three digits that mean something: more would pretend.
fn number(value: f64) -> String {
    match value.abs() {
        it if it >= 100.0 => format!("{value:.0}"),
        it if it >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests;
