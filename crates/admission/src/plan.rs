//! Windows of plans, of which a provider tells how much is used and not how much there is: how large
//! they are is learned, with an uncertainty, from what calls through here cost meanwhile.
//!
//! The size is counted in list prices, in billionths of a dollar: nobody says in what the provider
//! counts, and that weighs models, caches and output about as it does. What others use of the same
//! plan makes a window look smaller: what is learned is what such a window holds for us beside them.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};
use tidegate_types::{Monotonic, NanoUsd};

use crate::{PERIOD_MAX, Place};

/// Plans kept at once; beyond it the one that was not heard of for longest is forgotten.
pub const PLANS_MAX: usize = 1_024;

/// Windows of one plan: providers have four.
pub const PLAN_WINDOWS_MAX: usize = 8;

/// Classes of models that count towards one window.
const CLASSES_MAX: usize = 16;

/// Comparisons kept of each window.
const SAMPLES_MAX: usize = 8;

/// How much more must be used, in millionths, for a comparison: five steps of what is told.
const SAMPLE_PPM_MIN: u64 = 50_000;

/// What is told of use is rounded to hundredths: two words are off by at most so many millionths.
const ROUNDING_PPM: u64 = 10_000;

/// Use is believed up to ten times the whole: beyond a plan there may be more, and more is a mistake.
const USED_PPM_MAX: u64 = 10_000_000;

/// Resets of one window that lie closer together than this are the same one.
const SAME_RESET: u64 = 120_000_000_000;

/// One comparison has nothing to be compared with itself: so many millionths of doubt at least.
const ALONE_PPM: u128 = 250_000;

const MILLION: u128 = 1_000_000;

/// One window, as the head of an answer tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSaid<'a> {
    /// As the provider calls it: `5h`, `7d`, …
    pub name: &'a str,
    /// How much of it is used, in millionths.
    pub used_ppm: Option<u64>,
    /// It lets no call pass.
    pub refuses: bool,
    /// Until it begins anew.
    pub resets_in: Option<Duration>,
}

/// One window of a plan, for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WindowView {
    /// The provider.
    pub provider: String,
    /// Whose plan.
    pub account: String,
    /// As the provider calls it.
    pub window: String,
    /// How much of it was used when it was last heard of, in millionths; what was used before it began
    /// anew does not count.
    pub used_ppm: u64,
    /// It lets no call pass until then.
    pub refuses: bool,
    /// Until it begins anew, in seconds, rounded up. `None` where that is not known, or has passed.
    pub resets_in_seconds: Option<u64>,
    /// What it holds in all, at list prices; `None` until it is learned.
    pub size: Option<NanoUsd>,
    /// How far off that may be, either way.
    pub size_error: Option<NanoUsd>,
}

/// One window, to be kept over a restart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWindow {
    provider: String,
    account: String,
    window: String,
    used_ppm: u64,
    refuses: bool,
    resets_in: Option<Duration>,
    classes: Vec<String>,
    samples: Vec<Sample>,
}

/// What was used between two words, and what our calls cost meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Sample {
    ppm: u64,
    spent: u64,
}

#[derive(Clone, Debug)]
struct Window {
    name: Arc<str>,
    used_ppm: u64,
    refuses: bool,
    resets_at: Option<u64>,
    /// The models whose answers name it: what they cost counts.
    classes: ArrayVec<Arc<str>, CLASSES_MAX>,
    spent: u64,
    /// What was used, and what calls had cost, when the comparison began.
    anchor: Option<(u64, u64)>,
    samples: ArrayVec<Sample, SAMPLES_MAX>,
}

#[derive(Clone, Debug, Default)]
struct Plan {
    heard_at: u64,
    windows: ArrayVec<Window, PLAN_WINDOWS_MAX>,
}

/// The plans of all accounts.
#[derive(Clone, Debug, Default)]
pub struct Plans(BTreeMap<(Arc<str>, Arc<str>), Plan>);

impl Plans {
    /// Whether no account has one.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Hears what an answer tells of the windows of the account that paid for it. Answers how many
    /// figures made no sense.
    pub fn hear(&mut self, place: &Place, said: &[WindowSaid<'_>], now: Monotonic) -> u32 {
        let key = (Arc::clone(&place.provider), Arc::clone(&place.account));
        if said.is_empty() {
            return 0;
        }
        self.make_room(&key);
        let plan = self.0.entry(key).or_default();
        plan.heard_at = now.0;
        let heard = said.iter().map(|it| plan.hear(it, &place.models, now));
        heard
            .filter(|made_sense| !made_sense)
            .count()
            .try_into()
            .unwrap_or(u32::MAX)
    }

    /// Counts what a call cost at list price, whoever pays.
    pub fn spend(&mut self, place: &Place, cost: NanoUsd) {
        let key = (Arc::clone(&place.provider), Arc::clone(&place.account));
        let Some(plan) = self.0.get_mut(&key) else {
            return;
        };
        for window in &mut plan.windows {
            if window.classes.contains(&place.models) {
                window.spent = window.spent.saturating_add(cost.0);
            }
        }
    }

    /// All windows.
    pub fn views(&self, now: Monotonic) -> Vec<WindowView> {
        let windows = self.windows();
        let view = |((provider, account), it): (&(Arc<str>, Arc<str>), &Window)| {
            let left = it.left(now);
            // A window whose end has passed has begun anew, unused as far as is known.
            let is_over = it.resets_at.is_some() && left.is_none();
            let size = it.size();
            WindowView {
                provider: provider.to_string(),
                account: account.to_string(),
                window: it.name.to_string(),
                used_ppm: if is_over { 0 } else { it.used_ppm },
                refuses: it.refuses && !is_over,
                resets_in_seconds: left
                    .map(|it| it.as_nanos().div_ceil(1_000_000_000))
                    .and_then(|it| u64::try_from(it).ok()),
                size: size.map(|it| it.0),
                size_error: size.map(|it| it.1),
            }
        };
        windows.map(view).collect()
    }

    /// All windows, for [`Self::restore`].
    pub fn export(&self, now: Monotonic) -> Vec<SavedWindow> {
        let windows = self.windows();
        let saved = windows.map(|((provider, account), it)| SavedWindow {
            provider: provider.to_string(),
            account: account.to_string(),
            window: it.name.to_string(),
            used_ppm: it.used_ppm,
            refuses: it.refuses,
            resets_in: it.left(now),
            classes: it.classes.iter().map(ToString::to_string).collect(),
            samples: it.samples.to_vec(),
        });
        saved.collect()
    }

    /// Goes on with those of an earlier run. What was spent meanwhile is not known: comparisons begin
    /// anew.
    pub fn restore(&mut self, saved: &[SavedWindow], elapsed: Duration, now: Monotonic) {
        for it in saved {
            let key = (it.provider.as_str().into(), it.account.as_str().into());
            if self.0.len() >= PLANS_MAX && !self.0.contains_key(&key) {
                return;
            }
            let left = it
                .resets_in
                .map(|it| it.min(PERIOD_MAX).saturating_sub(elapsed));
            let classes = it.classes.iter().take(CLASSES_MAX);
            let window = Window {
                name: it.window.as_str().into(),
                used_ppm: it.used_ppm.min(USED_PPM_MAX),
                refuses: it.refuses,
                resets_at: left.map(|it| now.after(it).0),
                classes: classes.map(|it| it.as_str().into()).collect(),
                spent: 0,
                anchor: None,
                samples: it.samples.iter().take(SAMPLES_MAX).copied().collect(),
            };
            let plan = self.0.entry(key).or_default();
            // A plan that has more than may be was saved by another version.
            let _beyond = plan.windows.try_push(window);
        }
    }

    fn windows(&self) -> impl Iterator<Item = (&(Arc<str>, Arc<str>), &Window)> {
        let plans = self.0.iter();
        plans.flat_map(|(key, plan)| plan.windows.iter().map(move |it| (key, it)))
    }

    fn make_room(&mut self, key: &(Arc<str>, Arc<str>)) {
        if self.0.len() < PLANS_MAX || self.0.contains_key(key) {
            return;
        }
        let oldest = self.0.iter().min_by_key(|it| it.1.heard_at);
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            self.0.remove(&oldest);
        }
    }
}

impl Plan {
    /// Whether it made sense.
    fn hear(&mut self, said: &WindowSaid<'_>, models: &Arc<str>, now: Monotonic) -> bool {
        let used = said.used_ppm.filter(|it| *it <= USED_PPM_MAX);
        let resets_in = said.resets_in.filter(|it| *it <= PERIOD_MAX);
        let made_sense = used == said.used_ppm && resets_in == said.resets_in;
        let at = self.windows.iter().position(|it| *it.name == *said.name);
        let at = at.unwrap_or_else(|| {
            let _full = self.windows.try_push(Window::new(said.name));
            self.windows.len() - 1
        });
        let Some(window) = self.windows.get_mut(at).filter(|it| *it.name == *said.name) else {
            return made_sense;
        };
        if !window.classes.contains(models) {
            let _full = window.classes.try_push(Arc::clone(models));
            // What these models cost was not counted until now.
            window.anchor = None;
        }
        window.refuses = said.refuses;
        if let Some(resets_in) = resets_in {
            window.resets_at(now.after(resets_in).0);
        }
        if let Some(used) = used {
            window.used(used);
        }
        made_sense
    }
}

impl Window {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            used_ppm: 0,
            refuses: false,
            resets_at: None,
            classes: ArrayVec::new(),
            spent: 0,
            anchor: None,
            samples: ArrayVec::new(),
        }
    }

    /// Another end is that of another window: nothing of the last one can be compared with it.
    fn resets_at(&mut self, at: u64) {
        let same = self
            .resets_at
            .is_some_and(|it| it.abs_diff(at) < SAME_RESET);
        if !same {
            self.anchor = None;
        }
        self.resets_at = Some(at);
    }

    fn used(&mut self, ppm: u64) {
        let now = (ppm, self.spent);
        self.used_ppm = ppm;
        let Some((from, spent)) = self.anchor.filter(|it| it.0 <= ppm) else {
            self.anchor = Some(now);
            return;
        };
        if ppm - from < SAMPLE_PPM_MIN {
            return;
        }
        if self.samples.is_full() {
            self.samples.remove(0);
        }
        self.samples.push(Sample {
            ppm: ppm - from,
            spent: self.spent.saturating_sub(spent),
        });
        self.anchor = Some(now);
    }

    fn left(&self, now: Monotonic) -> Option<Duration> {
        let left = Monotonic(self.resets_at?).since(now);
        (!left.is_zero()).then_some(left)
    }

    /// What it holds in all, and how far off that may be: by what is told being rounded, and by how
    /// far the comparisons lie apart.
    fn size(&self) -> Option<(NanoUsd, NanoUsd)> {
        let of = |spent: u128, ppm: u128| spent * MILLION / ppm.max(1);
        let ppm: u128 = self.samples.iter().map(|it| u128::from(it.ppm)).sum();
        let spent: u128 = self.samples.iter().map(|it| u128::from(it.spent)).sum();
        if spent == 0 {
            return None;
        }
        let size = of(spent, ppm);
        let each = self.samples.iter();
        let each = each.map(|it| of(u128::from(it.spent), u128::from(it.ppm)));
        let (least, most) = each.fold((u128::MAX, 0), |(a, b), it| (a.min(it), b.max(it)));
        let doubt = match self.samples.len() {
            1 => size * ALONE_PPM / MILLION,
            _ => (most - least) / 2,
        };
        let rounding = size * u128::from(ROUNDING_PPM) / ppm.max(1);
        let amount = |it: u128| NanoUsd(u64::try_from(it).unwrap_or(u64::MAX));
        Some((amount(size), amount(doubt.max(rounding))))
    }
}

#[cfg(test)]
mod tests;
