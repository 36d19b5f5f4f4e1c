//! The panels' rows.

use ratatui::layout::Constraint;
use tidegate_admission::Resource;
use tidegate_control::wire::{Bucket, BucketLimit, Budget};
use tidegate_types::{NanoUsd, Priority};

use super::{
    Tone,
    snapshot::{Snapshot, used_ppm},
};
use crate::cli::status::spoken;

/// The parts of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Panel {
    Buckets,
    Budgets,
    Queue,
    Running,
    Approvals,
    Cooldowns,
}

impl Panel {
    /// In the order in which the tab key goes through them.
    pub(super) const ALL: [Self; 6] = [
        Self::Buckets,
        Self::Budgets,
        Self::Queue,
        Self::Running,
        Self::Approvals,
        Self::Cooldowns,
    ];

    /// What is said where it has no rows.
    pub(super) const fn empty(self) -> &'static str {
        match self {
            Self::Buckets => "no platform has buckets",
            Self::Budgets => "no budget is in use",
            Self::Queue => "no call waits",
            Self::Running => "no call runs",
            Self::Approvals => "nothing waits for approval",
            Self::Cooldowns => "every provider is asked",
        }
    }

    /// Whether something can be done with a row of it, so that it matters which is chosen.
    pub(super) const fn is_chosen_from(self) -> bool {
        matches!(self, Self::Queue | Self::Approvals)
    }
}

/// What a panel shows.
pub(super) struct Rows {
    pub(super) title: String,
    pub(super) widths: Vec<Constraint>,
    pub(super) lines: Vec<Row>,
}

/// One of its lines.
pub(super) struct Row {
    pub(super) cells: Vec<Cell>,
    pub(super) tone: Tone,
}

/// A part of a line.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) right: bool,
}

fn left(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        right: false,
    }
}

fn right(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        right: true,
    }
}

/// What a panel shows of a snapshot.
pub(super) fn rows(panel: Panel, snapshot: &Snapshot) -> Rows {
    match panel {
        Panel::Buckets => buckets(snapshot),
        Panel::Budgets => budgets(snapshot),
        Panel::Queue => queue(snapshot),
        Panel::Running => running(snapshot),
        Panel::Approvals => approvals(snapshot),
        Panel::Cooldowns => cooldowns(snapshot),
    }
}

/// Quarters that are begun.
fn bar(ppm: u64) -> String {
    let full = usize::try_from(ppm.min(1_000_000).div_ceil(250_000)).unwrap_or(0);
    "█".repeat(full) + &"░".repeat(4 - full)
}

/// `950`, `12k`, `3.4M`: three digits are enough to see.
fn short(number: u64) -> String {
    let scaled = |unit: u64, letter: char| {
        let tenths = number / (unit / 10);
        match tenths {
            0..100 if !tenths.is_multiple_of(10) => {
                format!("{}.{}{letter}", tenths / 10, tenths % 10)
            }
            _ => format!("{}{letter}", tenths / 10),
        }
    };
    match number {
        0..1_000 => number.to_string(),
        1_000..1_000_000 => scaled(1_000, 'k'),
        1_000_000..1_000_000_000 => scaled(1_000_000, 'M'),
        _ => scaled(1_000_000_000, 'G'),
    }
}

fn amount(number: u64, resource: Resource) -> String {
    if resource == Resource::NanoUsd {
        return format!("${}", short(number / 1_000_000_000));
    }
    short(number)
}

fn buckets(snapshot: &Snapshot) -> Rows {
    let mut rows = Vec::new();
    let platforms = snapshot.status.iter().flat_map(|it| &it.platforms);
    for platform in platforms {
        for bucket in &platform.buckets {
            let limits = snapshot.limits.iter().flat_map(|it| &it.buckets);
            let mut limits =
                limits.filter(|it| it.platform == platform.platform && it.name == bucket.name);
            rows.push(bucket_row(&platform.platform, bucket, limits.next()));
        }
    }
    Rows {
        title: "buckets: left, refill".to_owned(),
        widths: vec![
            Constraint::Fill(1),
            Constraint::Length(4),
            Constraint::Length(10),
            Constraint::Length(9),
        ],
        lines: rows,
    }
}

fn bucket_row(platform: &str, it: &Bucket, limit: Option<&BucketLimit>) -> Row {
    let level = u64::try_from(it.level).unwrap_or(0);
    let ppm = u128::from(level) * 1_000_000 / u128::from(it.capacity.max(1));
    let shown = match it.level {
        ..0 => format!("-{}", amount(it.level.unsigned_abs(), it.resource)),
        _ => amount(level, it.resource),
    };
    let refill = limit.and_then(|it| it.refill.as_ref()).map(|refill| {
        // Configured in whole seconds; what is shorter is shown as a second.
        let period = spoken_period(refill.period_seconds);
        format!("+{}/{period}", amount(refill.amount, it.resource))
    });
    Row {
        tone: match it.level {
            ..=0 => Tone::Bad,
            _ if level < it.threshold => Tone::Warning,
            _ => Tone::Plain,
        },
        cells: vec![
            left(format!("{platform}.{}", it.name)),
            left(bar(u64::try_from(ppm).unwrap_or(u64::MAX))),
            right(format!("{shown}/{}", amount(it.capacity, it.resource))),
            right(refill.unwrap_or_default()),
        ],
    }
}

fn spoken_period(seconds: f64) -> String {
    for (unit, length) in [("s", 1.0), ("min", 60.0), ("h", 3_600.0), ("d", 86_400.0)] {
        if (seconds - length).abs() < 1e-9 {
            return unit.to_owned();
        }
    }
    format!("{seconds:.0}s")
}

fn budgets(snapshot: &Snapshot) -> Rows {
    let rows = snapshot.budgets.iter().map(budget_row);
    Rows {
        title: "budgets: spent and held".to_owned(),
        widths: vec![
            Constraint::Fill(1),
            Constraint::Length(4),
            Constraint::Length(15),
        ],
        lines: rows.collect(),
    }
}

fn budget_row(it: &Budget) -> Row {
    let of = it.task.as_ref().or(it.user.as_ref());
    let used = it.spent.nano_usd.saturating_add(it.held.nano_usd);
    let ppm = used_ppm(it);
    let limit = super::snapshot::limit(it).unwrap_or(0);
    let dollars = |nano: u64| format!("${}.{:02}", nano / 1_000_000_000, nano / 10_000_000 % 100);
    Row {
        tone: match ppm {
            950_000.. => Tone::Bad,
            800_000.. => Tone::Warning,
            _ if it.soft_passed => Tone::Warning,
            _ => Tone::Plain,
        },
        cells: vec![
            left(format!(
                "{}: {}",
                of.unwrap_or(&it.organisation),
                it.level.replace('_', " ")
            )),
            left(bar(ppm)),
            right(format!("{} of ${}", dollars(used), limit / 1_000_000_000)),
        ],
    }
}

fn queue(snapshot: &Snapshot) -> Rows {
    let waiting = snapshot.queues.iter().flat_map(|it| &it.waiting);
    let rows: Vec<Row> = waiting
        .clone()
        .map(|it| Row {
            tone: if it.away { Tone::Warning } else { Tone::Plain },
            cells: vec![
                left(it.priority.to_string()),
                left(it.user.clone()),
                left(it.model.clone()),
                left(it.platform.clone()),
                right(format!("{} of {}", it.place, it.of)),
                right(spoken(it.waited_ms / 1_000)),
                right(spoken(it.wait_p90_ms.div_ceil(1_000))),
                left(if it.away { "away" } else { "held" }),
            ],
        })
        .collect();
    let classes = Priority::ALL.iter().rev().filter_map(|class| {
        let count = waiting.clone().filter(|it| it.priority == *class).count();
        (count > 0).then(|| format!("{count} {class}"))
    });
    let classes: Vec<String> = classes.collect();
    let title = match rows.len() {
        0 => "queue".to_owned(),
        count => format!(
            "queue: {count} wait, {}: place, waited, at most",
            classes.join(", ")
        ),
    };
    Rows {
        title,
        widths: vec![
            Constraint::Length(8),
            Constraint::Fill(1),
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(9),
            Constraint::Length(11),
            Constraint::Length(11),
            Constraint::Length(4),
        ],
        lines: rows,
    }
}

fn running(snapshot: &Snapshot) -> Rows {
    let calls = snapshot.running.as_ref();
    let rows = calls.iter().flat_map(|it| &it.calls).map(|it| Row {
        tone: match it.phase.as_str() {
            "parked" => Tone::Warning,
            "answering" => Tone::Good,
            _ => Tone::Plain,
        },
        cells: vec![
            left(it.phase.clone()),
            left(it.user.clone()),
            left(it.task.clone()),
            left(it.model.clone()),
            left(it.platform.clone().unwrap_or_default()),
            right(spoken(it.lasts_ms / 1_000)),
        ],
    });
    Rows {
        title: format!("running calls: {}", calls.map_or(0, |it| it.count)),
        widths: vec![
            Constraint::Length(9),
            Constraint::Fill(1),
            Constraint::Fill(2),
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(11),
        ],
        lines: rows.collect(),
    }
}

fn approvals(snapshot: &Snapshot) -> Rows {
    let rows = snapshot.approvals.iter().map(|it| {
        let of = it.task.as_ref().or(it.user.as_ref());
        let of = of.unwrap_or(&it.organisation);
        Row {
            tone: Tone::Warning,
            cells: vec![
                left(format!("{of}: {}", it.level.replace('_', " "))),
                left(it.asked_by.clone()),
                right(NanoUsd::from(&it.spent).to_string()),
                right(format!("of {}", NanoUsd::from(&it.limit))),
            ],
        }
    });
    Rows {
        title: "approvals that are asked for".to_owned(),
        widths: vec![
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(9),
            Constraint::Length(9),
        ],
        lines: rows.collect(),
    }
}

fn cooldowns(snapshot: &Snapshot) -> Rows {
    let status = snapshot.status.iter();
    let rows = status.flat_map(|it| &it.cooldowns).map(|it| {
        let whose: Vec<&str> = [it.account.as_deref(), it.models.as_deref()]
            .into_iter()
            .flatten()
            .collect();
        Row {
            tone: Tone::Bad,
            cells: vec![
                left(format!("{} {}", it.provider, whose.join(" "))),
                left(it.cause.replace('_', " ")),
                right(match it.left_seconds {
                    0 => "trying".to_owned(),
                    seconds => spoken(seconds),
                }),
            ],
        }
    });
    Rows {
        title: "providers that are not asked".to_owned(),
        widths: vec![
            Constraint::Fill(2),
            Constraint::Fill(1),
            Constraint::Length(11),
        ],
        lines: rows.collect(),
    }
}
