//! `anthropic-ratelimit-unified-*`: how much of a subscription, or of a gateway's budget, is used.

use tidegate_types::Timestamp;

use super::{PartsPerMillion, WINDOWS_MAX, fraction, reset};

/// Names that look like windows and are other things.
const NO_WINDOWS: [&str; 2] = ["slow", "grace"];

/// Whether calls pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnifiedStatus {
    /// They do.
    Allowed,
    /// They do, and the limit is near.
    AllowedWarning,
    /// They don't.
    Rejected,
    /// A word that is not known.
    Other(String),
}

/// One window of the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnifiedWindow {
    /// As in the header: `5h`, `7d`, `7d_oi`, …
    pub name: String,
    /// Whether it lets calls pass.
    pub status: Option<UnifiedStatus>,
    /// When it starts anew.
    pub reset: Option<Timestamp>,
    /// How much of it is used.
    pub utilization: Option<PartsPerMillion>,
    /// The warning threshold that was passed last.
    pub surpassed_threshold: Option<PartsPerMillion>,
}

/// What may be used beyond the plan.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overage {
    /// Whether it lets calls pass.
    pub status: Option<UnifiedStatus>,
    /// When it starts anew.
    pub reset: Option<Timestamp>,
    /// How much of it is used.
    pub utilization: Option<PartsPerMillion>,
    /// The warning threshold that was passed last.
    pub surpassed_threshold: Option<PartsPerMillion>,
    /// Whether calls are charged to it now.
    pub in_use: Option<bool>,
    /// Why there is none: `org_level_disabled`, `out_of_credits`, `org_spend_cap_reached`, …
    pub disabled_reason: Option<String>,
    /// `daily`, `weekly`, `monthly`.
    pub period: Option<String>,
    /// `group_pool` where it is shared.
    pub scope: Option<String>,
}

/// All that the headers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unified {
    /// Whether calls pass, all windows together.
    pub status: Option<UnifiedStatus>,
    /// When that will change.
    pub reset: Option<Timestamp>,
    /// The window that decided: `five_hour`, `seven_day_opus`, `overage`, …
    pub representative_claim: Option<String>,
    /// In the order in which they were first named.
    pub windows: Vec<UnifiedWindow>,
    /// Where any header speaks of it.
    pub overage: Option<Overage>,
    /// Whether another model can be used instead: `available`.
    pub fallback: Option<String>,
    /// Where a fallback model sets in.
    pub fallback_percentage: Option<PartsPerMillion>,
    /// Everything else, by what follows `anthropic-ratelimit-unified-`.
    pub others: Vec<(String, String)>,
}

impl Unified {
    /// Whether calls are refused now. The summary decides: while overage is in use, calls pass
    /// though a window is rejected. Without a summary every window must let them.
    pub fn is_rejected(&self) -> bool {
        match &self.status {
            Some(summary) => *summary == UnifiedStatus::Rejected,
            None => self.windows.iter().any(UnifiedWindow::is_rejected),
        }
    }

    /// When calls pass again: all windows must let them, so the latest reset of those that refuse
    /// counts; where none is named, the summary's or the overage's, whichever is later.
    ///
    /// `None` where calls pass, or nothing says when they will.
    pub fn rejected_until(&self) -> Option<Timestamp> {
        if !self.is_rejected() {
            return None;
        }
        let refusing = self.windows.iter().filter(|it| it.is_rejected());
        let latest = refusing.filter_map(|it| it.reset).max();
        latest.or_else(|| {
            self.reset
                .max(self.overage.as_ref().and_then(|it| it.reset))
        })
    }

    /// Whether calls are refused though the windows that hold for every model (`5h`, `7d`) are not
    /// used up: then another model passes, and another account would not help.
    pub fn only_other_models_pass(&self) -> bool {
        let general = |it: &&UnifiedWindow| matches!(it.name.as_str(), "5h" | "7d");
        let has_room = |it: &UnifiedWindow| {
            !it.is_rejected() && it.utilization.is_some_and(|it| it < PartsPerMillion::WHOLE)
        };
        let mut general = self.windows.iter().filter(general).peekable();
        self.is_rejected() && general.peek().is_some() && general.all(has_room)
    }

    /// Takes in the header `anthropic-ratelimit-unified-{name}`.
    pub(super) fn observe(&mut self, name: &str, value: &str, now: Timestamp) {
        match name {
            "status" => self.status = Some(status(value)),
            "reset" => self.reset = reset(value, now),
            "representative-claim" => self.representative_claim = Some(value.to_owned()),
            "fallback" => self.fallback = Some(value.to_owned()),
            "fallback-percentage" => self.fallback_percentage = fraction(value),
            _ => {
                let overage = name.strip_prefix("overage-");
                let taken = match overage {
                    Some(rest) => {
                        let overage = self.overage.get_or_insert_default();
                        overage.observe(rest, value, now)
                    }
                    None => self.window(name, value, now),
                };
                if !taken && self.others.len() < WINDOWS_MAX {
                    self.others.push((name.to_owned(), value.to_owned()));
                }
            }
        }
    }

    /// Whether `name` is a field of a window, whichever that is.
    fn window(&mut self, name: &str, value: &str, now: Timestamp) -> bool {
        const FIELDS: [&str; 4] = ["-status", "-reset", "-utilization", "-surpassed-threshold"];
        let found = FIELDS
            .iter()
            .find_map(|field| Some((name.strip_suffix(field)?, *field)));
        let Some((window, field)) = found else {
            return false;
        };
        let word = |it: u8| it.is_ascii_lowercase() || it.is_ascii_digit() || it == b'_';
        if window.is_empty() || !window.bytes().all(word) || NO_WINDOWS.contains(&window) {
            return false;
        }
        let at = self.windows.iter().position(|it| it.name == window);
        let at = match at {
            Some(at) => at,
            None if self.windows.len() < WINDOWS_MAX => {
                self.windows.push(UnifiedWindow {
                    name: window.to_owned(),
                    ..UnifiedWindow::default()
                });
                self.windows.len() - 1
            }
            None => return true,
        };
        if let Some(it) = self.windows.get_mut(at) {
            match field {
                "-status" => it.status = Some(status(value)),
                "-reset" => it.reset = reset(value, now),
                "-utilization" => it.utilization = fraction(value),
                _ => it.surpassed_threshold = fraction(value),
            }
        }
        true
    }
}

impl UnifiedWindow {
    fn is_rejected(&self) -> bool {
        self.status == Some(UnifiedStatus::Rejected)
    }
}

impl Overage {
    /// Whether `name` is a field of this.
    fn observe(&mut self, name: &str, value: &str, now: Timestamp) -> bool {
        match name {
            "status" => self.status = Some(status(value)),
            "reset" => self.reset = reset(value, now),
            "utilization" => self.utilization = fraction(value),
            "surpassed-threshold" => self.surpassed_threshold = fraction(value),
            "in-use" => self.in_use = value.parse().ok(),
            "disabled-reason" => self.disabled_reason = Some(value.to_owned()),
            "period" => self.period = Some(value.to_owned()),
            "scope" => self.scope = Some(value.to_owned()),
            _ => return false,
        }
        true
    }
}

fn status(value: &str) -> UnifiedStatus {
    match value {
        "allowed" => UnifiedStatus::Allowed,
        "allowed_warning" => UnifiedStatus::AllowedWarning,
        "rejected" => UnifiedStatus::Rejected,
        other => UnifiedStatus::Other(other.to_owned()),
    }
}
