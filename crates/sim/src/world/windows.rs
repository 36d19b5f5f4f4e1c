//! The windows of a claude.ai login (rule 9).

use std::time::Duration;

use tidegate_types::{Timestamp, Usage};

use super::{Account, Limit, class::model_family, headers::Headers};
use crate::spec::SubscriptionSpec;

const FIVE_HOURS: Duration = Duration::from_hours(5);
const WEEK: Duration = Duration::from_hours(7 * 24);
/// Units are held in tenths, since a cache read weighs a tenth.
const TENTHS: u128 = 10;

#[derive(Clone, Debug)]
struct Window {
    label: String,
    claim: String,
    span: Duration,
    /// Weeks begin at this anchor; five hours begin with a call.
    anchor: Option<Timestamp>,
    /// Models of this family alone; all where `None`.
    family: Option<String>,
    tenths: u128,
    used: u128,
    ends: Timestamp,
}

#[derive(Clone, Debug)]
pub(super) struct Windows(Vec<Window>);

impl Windows {
    pub(super) fn new(spec: &SubscriptionSpec, account: Account) -> Self {
        let window = |label: &str, claim: &str, span, units: u64| Window {
            label: label.to_owned(),
            claim: claim.to_owned(),
            span,
            anchor: None,
            family: None,
            tenths: u128::from(units) * TENTHS,
            used: 0,
            ends: Timestamp(0),
        };
        let anchor = Some(Timestamp::from_seconds(
            account.fingerprint % WEEK.as_secs(),
        ));
        let claim = match spec.scoped_label.strip_prefix("7d_") {
            Some("oi") => "seven_day_overage_included".to_owned(),
            Some(family) => format!("seven_day_{family}"),
            None => spec.scoped_label.clone(),
        };
        Self(vec![
            window("5h", "five_hour", FIVE_HOURS, spec.five_hour_units),
            Window {
                anchor,
                ..window("7d", "seven_day", WEEK, spec.seven_day_units)
            },
            Window {
                anchor,
                family: Some(spec.scoped_family.clone()),
                ..window(&spec.scoped_label, &claim, WEEK, spec.scoped_units)
            },
        ])
    }

    /// Whether a call for `model` may run; if not, how long to the latest reset of those used up.
    pub(super) fn wait_for(
        &mut self,
        model: &str,
        now: Timestamp,
    ) -> Result<(), (Limit, Duration)> {
        self.turn(now);
        let used_up = self
            .0
            .iter()
            .filter(|it| it.covers(model) && it.used >= it.tenths);
        match used_up.map(|it| it.ends.since(now)).max() {
            Some(wait) => Err((Limit::Window, wait)),
            None => Ok(()),
        }
    }

    /// Opens windows that have ended.
    pub(super) fn turn(&mut self, now: Timestamp) {
        for window in &mut self.0 {
            window.turn(now);
        }
    }

    /// Adds what a call used.
    pub(super) fn charge(&mut self, model: &str, usage: &Usage) {
        let counted = usage.input.0 + usage.cache_write_5m.0 + usage.cache_write_1h.0;
        let tenths = u128::from(counted) * TENTHS
            + u128::from(usage.cache_read.0)
            + u128::from(usage.output.0) * 5 * TENTHS;
        for window in self.0.iter_mut().filter(|it| it.covers(model)) {
            window.used += tenths;
        }
    }

    pub(super) fn headers(&self, model: &str, headers: &mut Headers) {
        let applying = || self.0.iter().filter(|it| it.covers(model));
        // In proportion: a/b > c/d compares a·d with c·b. Of windows that refuse, the latest reset binds.
        let binding = applying().max_by(|a, b| {
            let refused = (a.used >= a.tenths).cmp(&(b.used >= b.tenths));
            let share = (a.used * b.tenths).cmp(&(b.used * a.tenths));
            let both = a.used >= a.tenths && b.used >= b.tenths;
            refused.then(if both { a.ends.cmp(&b.ends) } else { share })
        });
        let mut put = |name: &str, value: String| {
            headers.put(format!("anthropic-ratelimit-unified-{name}"), value);
        };
        if let Some(window) = binding {
            put("status", window.status().to_owned());
            put("reset", window.ends.seconds().to_string());
            put("representative-claim", window.claim.clone());
        }
        for window in &self.0 {
            let label = &window.label;
            put(&format!("{label}-status"), window.status().to_owned());
            put(&format!("{label}-reset"), window.ends.seconds().to_string());
            let percent = window.used * 100 / window.tenths;
            let utilization = format!("{}.{:02}", percent / 100, percent % 100);
            put(&format!("{label}-utilization"), utilization);
            if let Some(threshold) = window.threshold() {
                put(
                    &format!("{label}-surpassed-threshold"),
                    threshold.to_owned(),
                );
            }
        }
    }
}

impl Window {
    fn covers(&self, model: &str) -> bool {
        let family = self.family.as_deref();
        family.is_none_or(|it| model_family(model) == Some(it))
    }

    /// Begins anew if it has ended. Window ends are whole seconds, as headers show them.
    fn turn(&mut self, now: Timestamp) {
        if now < self.ends {
            return;
        }
        self.used = 0;
        let now_seconds = now.seconds();
        let span = self.span.as_secs();
        let begin = match self.anchor {
            Some(anchor) => now_seconds - (now_seconds + span - anchor.seconds()) % span,
            None => now_seconds,
        };
        self.ends = Timestamp::from_seconds(begin + span);
    }

    fn status(&self) -> &'static str {
        match self.used {
            used if used >= self.tenths => "rejected",
            used if used * 4 >= self.tenths * 3 => "allowed_warning",
            _ => "allowed",
        }
    }

    fn threshold(&self) -> Option<&'static str> {
        match self.used {
            used if used * 10 >= self.tenths * 9 => Some("0.9"),
            used if used * 4 >= self.tenths * 3 => Some("0.75"),
            _ => None,
        }
    }
}
