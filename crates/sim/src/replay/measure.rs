//! What a day came to, in figures: the same rules for every system.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidegate_providers::prices::PriceBook;
use tidegate_types::{Priority, Usage};

use super::{
    Plan, Played, PlayedCall,
    fleet::to_f64,
    plan::CallId,
    run::{counted, sum},
    stats::{jain, mean, quantile},
};

/// A task may wait this long in all and still be clean.
const CLEAN_WAIT: Duration = Duration::from_secs(30);

/// Or this part of what it takes when nobody waits.
const CLEAN_PART: f64 = 0.1;

/// A critical call that waits longer is downtime.
const CRITICAL_WAIT: f64 = 30.0;

/// The parts of a day of which it is told how much of the quota was taken in each.
pub const SLICE: Duration = Duration::from_mins(5);

/// The model that costs are given at where systems are compared: what most of the recorded calls asked for.
const REFERENCE_MODEL: &str = "claude-opus-4-5-20251101";

/// Waits of a class, in seconds, those of calls that were not answered included.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize)]
pub struct Waits {
    /// How many calls.
    pub n: u64,
    /// Their mean.
    pub mean: f64,
    /// 95 of 100 waited no longer.
    pub p95: f64,
    /// 99 of 100 waited no longer.
    pub p99: f64,
    /// The longest.
    pub longest: f64,
}

impl Waits {
    fn of(mut waits: Vec<f64>) -> Self {
        waits.sort_by(f64::total_cmp);
        Self {
            n: waits.len() as u64,
            mean: mean(&waits).unwrap_or_default(),
            p95: quantile(&waits, 0.95).unwrap_or_default(),
            p99: quantile(&waits, 0.99).unwrap_or_default(),
            longest: waits.last().copied().unwrap_or_default(),
        }
    }
}

/// A day in figures.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Measured {
    /// Calls that clients had ready.
    pub calls: u64,
    /// Those that were answered.
    pub completed: u64,
    /// 429s of the provider, pings included.
    pub provider_429s: u64,
    /// 429s that clients got.
    pub client_429s: u64,
    /// Times that a client gave up.
    pub failed: u64,
    /// Tasks that began.
    pub tasks: u64,
    /// Tasks without a visible limit or failure, whose waits came to at most 30 s or a tenth of what they take
    /// when nobody waits.
    pub clean_tasks: u64,
    /// Waits of all calls, seconds.
    pub waits: Waits,
    /// By class, the lowest first.
    pub by_class: [Waits; 4],
    /// Seconds in which a critical call had waited for more than 30 s.
    pub critical_downtime: f64,
    /// Critical calls that were given up.
    pub critical_failed: u64,
    /// Tokens that the provider counted towards its input limit, pings included.
    pub counted: u64,
    /// Tokens a minute that it may count.
    pub input_limit: u64,
    /// What it counted by when it took the calls, in [`SLICE`]s from the day's beginning; without pings.
    pub counted_by_slice: Vec<u64>,
    /// Output of completed calls.
    pub output: u64,
    /// Pings.
    pub pings: u64,
    /// Dollars for everything, each at its own model's price.
    pub dollars: f64,
    /// The same, all at the price of Claude Opus 4.5.
    pub dollars_opus: f64,
    /// Jain's index over the mean slowdown of tenants.
    pub fairness: f64,
    /// Waits that were quoted and came to an end, and how many were longer than nine of ten should be.
    pub quoted: (u64, u64),
    /// Error of the estimate of counted input, as a part of the true count: half and 95 of 100 are below.
    pub estimate_error: (f64, f64),
}

/// A figure of [`Measured`], for tables.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// What it is called.
    pub name: &'static str,
    /// Digits behind the point.
    pub digits: usize,
    /// It, where there is one.
    pub of: fn(&Measured) -> Option<f64>,
    /// Which of two is the better.
    pub better: Better,
}

/// Which of two figures is the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower.
    Less,
    /// The higher.
    More,
    /// Neither: it says how the day was.
    Neither,
}

impl Better {
    /// Whether `one` is better than `other`.
    pub fn than(self, one: f64, other: f64) -> bool {
        match self {
            Self::Less => one < other,
            Self::More => one > other,
            Self::Neither => false,
        }
    }
}

/// Those that a table shows, in its order.
pub const FIGURES: &[Figure] = &[
    less("provider 429s per 1,000 calls", 1, |it| {
        per_1000(it.provider_429s, it)
    }),
    less("client-visible 429s per 1,000", 1, |it| {
        per_1000(it.client_429s, it)
    }),
    less("failed calls per 1,000", 2, |it| per_1000(it.failed, it)),
    more("clean tasks, %", 1, |it| {
        part(it.clean_tasks, it.tasks).map(|it| 100.0 * it)
    }),
    less("mean wait, s", 2, |it| Some(it.waits.mean)),
    less("p95 wait, s", 1, |it| Some(it.waits.p95)),
    less("p99 wait, s", 1, |it| Some(it.waits.p99)),
    less("longest wait, s", 0, |it| Some(it.waits.longest)),
    less("critical: mean wait, s", 2, |it| Some(it.by_class[3].mean)),
    less("critical: p99 wait, s", 1, |it| Some(it.by_class[3].p99)),
    less("critical: longest wait, s", 0, |it| {
        Some(it.by_class[3].longest)
    }),
    less("critical: failed calls", 2, |it| {
        Some(to_f64(it.critical_failed))
    }),
    less("critical: seconds over 30 s", 0, |it| {
        Some(it.critical_downtime)
    }),
    less("high: mean wait, s", 2, |it| Some(it.by_class[2].mean)),
    less("medium: mean wait, s", 2, |it| Some(it.by_class[1].mean)),
    less("low: mean wait, s", 2, |it| Some(it.by_class[0].mean)),
    less("low: longest wait, s", 0, |it| Some(it.by_class[0].longest)),
    neither("calls", 0, |it| Some(to_f64(it.calls))),
    more("completed, %", 2, |it| {
        part(it.completed, it.calls).map(|it| 100.0 * it)
    }),
    more("completed calls per million counted tokens", 1, |it| {
        part(it.completed, it.counted).map(|it| 1e6 * it)
    }),
    more("output tokens per million counted tokens", 0, |it| {
        part(it.output, it.counted).map(|it| 1e6 * it)
    }),
    less("cost per completed call, $", 4, |it| {
        (it.completed > 0).then(|| it.dollars / to_f64(it.completed))
    }),
    less("the same, all at Opus 4.5's price, $", 4, |it| {
        (it.completed > 0).then(|| it.dollars_opus / to_f64(it.completed))
    }),
    neither("pings", 0, |it| Some(to_f64(it.pings))),
    more("fairness between tenants (Jain)", 3, |it| Some(it.fairness)),
    neither("quoted p90 exceeded, %", 1, |it| {
        part(it.quoted.1, it.quoted.0).map(|it| 100.0 * it)
    }),
    neither("estimate error, median, %", 1, |it| {
        Some(100.0 * it.estimate_error.0)
    }),
    neither("estimate error, p95, %", 0, |it| {
        Some(100.0 * it.estimate_error.1)
    }),
];

type Of = fn(&Measured) -> Option<f64>;

const fn less(name: &'static str, digits: usize, of: Of) -> Figure {
    Figure {
        name,
        digits,
        of,
        better: Better::Less,
    }
}

const fn more(name: &'static str, digits: usize, of: Of) -> Figure {
    Figure {
        better: Better::More,
        ..less(name, digits, of)
    }
}

const fn neither(name: &'static str, digits: usize, of: Of) -> Figure {
    Figure {
        better: Better::Neither,
        ..less(name, digits, of)
    }
}

fn part(of: u64, all: u64) -> Option<f64> {
    (all > 0).then(|| to_f64(of) / to_f64(all))
}

fn per_1000(of: u64, measured: &Measured) -> Option<f64> {
    part(of, measured.calls).map(|it| 1_000.0 * it)
}

/// Measures what a system made of a plan, beside what it would have been without limits.
pub fn measure(plan: &Plan, played: &Played, unlimited: &Played) -> Measured {
    let mut measured = Measured {
        provider_429s: played.pings_refused,
        pings: played.pings.0,
        input_limit: plan.provider.limits.input_tokens_per_minute,
        counted_by_slice: vec![0; slices(plan)],
        ..Measured::default()
    };
    let mut by_class: [Vec<f64>; 4] = Default::default();
    let mut tenants: BTreeMap<u16, Vec<f64>> = BTreeMap::new();
    let (mut errors, mut critical) = (Vec::new(), Vec::new());
    let mut bill = Bill::default();
    for (at, task) in plan.tasks.iter().enumerate() {
        let (calls, free) = (&played.calls[at], &unlimited.calls[at]);
        let mut waited = 0.0;
        let mut limited = false;
        for (at, call) in calls.iter().enumerate() {
            let Some(wait) = wait(plan, call, &free[at]) else {
                break;
            };
            waited += wait;
            limited |= call.seen > 0 || call.failed > 0;
            measured.add(call);
            by_class[task.priority.index()].push(wait);
            if task.priority == Priority::Critical {
                measured.critical_failed += u64::from(call.failed);
                critical.extend(downtime(plan, call));
            }
            errors.extend(estimate_error(call));
            if let (Some(taken), Some(ended)) = (call.taken, call.ended) {
                let service = ended.saturating_sub(taken).as_secs_f64().max(0.001);
                let slowdown = (wait + service) / service;
                tenants.entry(task.tenant).or_default().push(slowdown);
            }
            bill.add(&task.calls[at].model, &call.usage, call.taken.is_some());
        }
        if calls.first().is_some_and(|it| it.ready.is_some()) {
            measured.tasks += 1;
            let may = (CLEAN_PART * duration(free)).max(CLEAN_WAIT.as_secs_f64());
            measured.clean_tasks += u64::from(!limited && waited <= may);
        }
    }
    bill.add(REFERENCE_MODEL, &played.pings.1, played.pings.0 > 0);
    (measured.dollars, measured.dollars_opus) = bill.dollars();
    measured.counted += counted(&played.pings.1);
    measured.waits = Waits::of(by_class.iter().flatten().copied().collect());
    measured.by_class = by_class.map(Waits::of);
    measured.critical_downtime = together(critical);
    let slowdowns = tenants.values().filter_map(|it| mean(it));
    measured.fairness = jain(&slowdowns.collect::<Vec<_>>()).unwrap_or(1.0);
    errors.sort_by(f64::total_cmp);
    let error = |part| quantile(&errors, part).unwrap_or_default();
    measured.estimate_error = (error(0.5), error(0.95));
    measured
}

/// In how many slices calls of a plan can be taken.
fn slices(plan: &Plan) -> usize {
    let slices = plan.ends.as_secs() / SLICE.as_secs() + 1;
    usize::try_from(slices).unwrap_or(1)
}

impl Measured {
    fn add(&mut self, call: &PlayedCall) {
        self.calls += 1;
        self.provider_429s += u64::from(call.refused);
        self.client_429s += u64::from(call.seen);
        self.failed += u64::from(call.failed);
        if let Some(taken) = call.taken {
            let tokens = counted(&call.usage);
            self.counted += tokens;
            let slice = taken.as_secs() / SLICE.as_secs();
            let slice = usize::try_from(slice).unwrap_or(usize::MAX);
            if let Some(it) = self.counted_by_slice.get_mut(slice) {
                *it += tokens;
            }
        }
        if call.ended.is_some() {
            self.completed += 1;
            self.output += call.usage.output.0;
        }
        if let (Some((at, p90)), Some(taken)) = (call.quoted, call.taken) {
            self.quoted.0 += 1;
            self.quoted.1 += u64::from(taken.saturating_sub(at) > p90);
        }
    }
}

/// From ready to the first byte, less what the first byte takes where nobody waits. `None`: it was never ready.
fn wait(plan: &Plan, call: &PlayedCall, free: &PlayedCall) -> Option<f64> {
    let ready = call.ready?;
    let Some(first) = call.first_byte else {
        let until = call.taken.unwrap_or(plan.ends);
        return Some(until.saturating_sub(ready).as_secs_f64());
    };
    let own = call.taken.map(|it| first.saturating_sub(it));
    let taken = free
        .first_byte
        .zip(free.taken)
        .map(|(it, at)| it.saturating_sub(at));
    let serving = taken.or(own).unwrap_or_default();
    let waited = first.saturating_sub(ready).saturating_sub(serving);
    Some(waited.as_secs_f64())
}

/// When a critical call had waited for longer than it should, and until when.
fn downtime(plan: &Plan, call: &PlayedCall) -> Option<(f64, f64)> {
    let from = call.ready?.as_secs_f64() + CRITICAL_WAIT;
    let until = call.taken.unwrap_or(plan.ends).as_secs_f64();
    (until > from).then_some((from, until))
}

/// How long these times are together, overlaps counted once.
fn together(mut spans: Vec<(f64, f64)>) -> f64 {
    spans.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut all, mut end) = (0.0, f64::NEG_INFINITY);
    for (from, until) in spans {
        all += (until - from.max(end)).max(0.0);
        end = end.max(until);
    }
    all
}

fn duration(calls: &[PlayedCall]) -> f64 {
    let from = calls.first().and_then(|it| it.ready).unwrap_or_default();
    let ends = calls.iter().filter_map(|it| it.ended.or(it.taken));
    let until = ends.max().unwrap_or(from);
    until.saturating_sub(from).as_secs_f64()
}

fn estimate_error(call: &PlayedCall) -> Option<f64> {
    call.taken?;
    let (estimate, actual) = (to_f64(call.estimate?), to_f64(counted(&call.usage)));
    Some((estimate - actual).abs() / actual.max(1.0))
}

/// What everything cost.
struct Bill {
    prices: PriceBook,
    by_model: BTreeMap<Arc<str>, Usage>,
}

impl Default for Bill {
    fn default() -> Self {
        Self {
            prices: PriceBook::builtin(),
            by_model: BTreeMap::new(),
        }
    }
}

impl Bill {
    fn add(&mut self, model: &str, usage: &Usage, billed: bool) {
        if billed {
            let all = match self.by_model.get_mut(model) {
                Some(all) => all,
                None => self.by_model.entry(model.into()).or_default(),
            };
            *all = sum(all, usage);
        }
    }

    /// At own prices, and at one model's.
    fn dollars(&self) -> (f64, f64) {
        let cost = |model: &str, usage: &Usage| dollars(&self.prices, model, usage);
        let own = self.by_model.iter().map(|(model, it)| cost(model, it));
        let reference = self.by_model.values().map(|it| cost(REFERENCE_MODEL, it));
        (own.sum(), reference.sum())
    }
}

fn dollars(prices: &PriceBook, model: &str, usage: &Usage) -> f64 {
    to_f64(prices.look_up("anthropic", model).price.cost(usage).0) / 1e9
}

/// What a call cost in two days of the same plan, over the calls that both completed, at Opus 4.5's price:
/// dollars per call in each, and how many those are.
pub fn cost_of_common(plan: &Plan, one: &Played, other: &Played) -> Option<(f64, f64, u64)> {
    let mut usages = (Usage::default(), Usage::default());
    let mut common = 0;
    for id in ids(plan) {
        let of = |it: &Played| it.calls[id.task as usize][id.call as usize];
        let (one, other) = (of(one), of(other));
        if one.ended.is_some() && other.ended.is_some() {
            common += 1;
            usages = (sum(&usages.0, &one.usage), sum(&usages.1, &other.usage));
        }
    }
    let prices = PriceBook::builtin();
    let each = |usage: &Usage, pings: &Usage| {
        dollars(&prices, REFERENCE_MODEL, &sum(usage, pings)) / to_f64(common)
    };
    (common > 0).then(|| {
        (
            each(&usages.0, &one.pings.1),
            each(&usages.1, &other.pings.1),
            common,
        )
    })
}

/// Every call of a plan.
pub fn ids(plan: &Plan) -> impl Iterator<Item = CallId> + '_ {
    plan.tasks.iter().enumerate().flat_map(|(task, it)| {
        let task = u32::try_from(task).unwrap_or(u32::MAX);
        (0..it.calls.len()).map(move |call| CallId {
            task,
            call: u32::try_from(call).unwrap_or(u32::MAX),
        })
    })
}
