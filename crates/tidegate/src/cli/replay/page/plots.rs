//! Plots as SVG: each stands for itself, and its points say what they are.

use tidegate_sim::replay::{
    grid::{Cell, Grid},
    measure::{Figure, Measured, SLICE},
};
use tidegate_types::Priority;

use super::{COLOURS, is_real, put};
use crate::cli::replay::{cells_of, shown};

/// Width and height of a plot, and of its margin.
const SIZE: (f64, f64) = (330.0, 220.0);
const MARGIN: f64 = 40.0;

/// A figure against load, with its intervals.
pub(super) fn by_load(out: &mut String, grid: &Grid, cells: &[Cell], figure: &Figure) {
    let (wide, high) = SIZE;
    let most_load = grid.loads.iter().copied().fold(f64::MIN, f64::max);
    let least_load = grid.loads.iter().copied().fold(f64::MAX, f64::min);
    let intervals = cells.iter().filter_map(|it| it.interval(figure.of));
    let most = intervals.map(|it| it.high).fold(0.0, f64::max).max(1e-9);
    let span = (most_load - least_load).max(1e-9);
    let x = |load: f64| MARGIN + (wide - 2.0 * MARGIN) * (load - least_load) / span;
    let y = |value: f64| high - MARGIN - (high - 2.0 * MARGIN) * value / most;
    let title = figure.name;
    frame(
        out,
        SIZE,
        title,
        &format!("{most:.0$}", figure.digits.min(1)),
    );
    for load in &grid.loads {
        let (at, below) = (x(*load), high - MARGIN + 16.0);
        put(
            out,
            format_args!(
                "<text x={at} y={below} font-size=11 text-anchor=middle fill=currentColor>{load}</text>"
            ),
        );
    }
    for (system, colour) in grid.systems.iter().zip(COLOURS) {
        let of = cells.iter().filter(|it| it.system == *system);
        let points = of.filter_map(|it| Some((it.load, it.interval(figure.of)?)));
        let mut line = String::new();
        for (load, it) in points {
            let (at, mean) = (x(load), y(it.mean));
            let (low, top) = (y(it.low), y(it.high));
            put(
                out,
                format_args!(
                    "<path d=\"M{at} {low}V{top}\" stroke={colour} opacity=.5 /><circle cx={at} cy={mean} r=3 fill={colour}><title>{} at {load}: {}</title></circle>",
                    system.word(),
                    shown(Some(it), figure.digits),
                ),
            );
            put(&mut line, format_args!("{at},{mean} "));
        }
        put(
            out,
            format_args!("<polyline points=\"{line}\" fill=none stroke={colour} />"),
        );
    }
    out.push_str("</svg>");
}

/// A plot of this size, its title, and what its left side goes up to.
fn frame(out: &mut String, (wide, high): (f64, f64), title: &str, most: &str) {
    put(
        out,
        format_args!(
            "<svg width={wide} height={high} role=img aria-label=\"{title}\">\
<text x={MARGIN} y=20 font-size=13 fill=currentColor>{title}</text>\
<path d=\"M{MARGIN} {MARGIN}V{0}H{1}\" fill=none stroke=currentColor opacity=.4 />\
<text x=4 y={2} font-size=11 fill=currentColor>{most}</text><text x=4 y={0} font-size=11 fill=currentColor>0</text>",
            high - MARGIN,
            wide - MARGIN,
            MARGIN + 4.0,
        ),
    );
}

/// The classes, the highest first.
const CLASSES: [Priority; 4] = [
    Priority::Critical,
    Priority::High,
    Priority::Medium,
    Priority::Low,
];

/// Mean waits at a load: a group of bars for each class, a bar for each system.
pub(super) fn by_class(out: &mut String, grid: &Grid, cells: &[Cell], load: f64) {
    let (wide, high) = SIZE;
    let wait = |cell: &Cell, class: Priority| {
        let days = to_f64(cell.days.len());
        let waits = cell.days.iter().map(|it| it.by_class[class.index()].mean);
        waits.sum::<f64>() / days.max(1.0)
    };
    let at_load = || cells_of(cells, load);
    let all = at_load().flat_map(|it| CLASSES.map(|class| wait(it, class)));
    let most = all.fold(0.0, f64::max).max(1e-9);
    let title = format!("mean wait at load {load}, s");
    frame(out, SIZE, &title, &format!("{most:.1}"));
    let group = (wide - 2.0 * MARGIN) / to_f64(CLASSES.len());
    let bar = group / (to_f64(grid.systems.len()) + 1.0);
    for (place, class) in CLASSES.into_iter().enumerate() {
        let left = MARGIN + group * to_f64(place);
        put(
            out,
            format_args!(
                "<text x={} y={} font-size=11 text-anchor=middle fill=currentColor>{class}</text>",
                left + group / 2.0,
                high - MARGIN + 16.0
            ),
        );
        for (at, (cell, colour)) in at_load().zip(COLOURS).enumerate() {
            let wait = wait(cell, class);
            let tall = (high - 2.0 * MARGIN) * wait / most;
            put(
                out,
                format_args!(
                    "<rect x={:.1} y={:.1} width={:.1} height={tall:.1} fill={colour}><title>{}, {class}: {wait:.2} s</title></rect>",
                    left + bar * (to_f64(at) + 0.5),
                    high - MARGIN - tall,
                    bar * 0.9,
                    cell.system.word(),
                ),
            );
        }
    }
    out.push_str("</svg>");
}

/// Slices of a day that are one point together, where it has enough: half an hour.
const SLICES_TOGETHER: usize = 6;

/// With fewer slices, two hours, each is a point.
const SLICES_ENOUGH: usize = 24;

fn together(days: &[Measured]) -> usize {
    let slices = days.iter().map(|it| it.counted_by_slice.len()).max();
    if slices.unwrap_or(0) < SLICES_ENOUGH {
        1
    } else {
        SLICES_TOGETHER
    }
}

/// Counted input as a part of the limit, at a load, over the day: a line for each system.
pub(super) fn over_time(out: &mut String, grid: &Grid, cells: &[Cell], load: f64) {
    let size = (2.0 * SIZE.0, SIZE.1);
    let (wide, high) = size;
    let lines: Vec<(&Cell, &str, Vec<f64>)> = cells_of(cells, load)
        .zip(COLOURS)
        .filter(|(cell, _)| is_real(&cell.system) || grid.systems.len() == 1)
        .map(|(cell, colour)| (cell, colour, parts_of_limit(&cell.days)))
        .collect();
    let points = lines.iter().map(|it| it.2.len()).max().unwrap_or(0).max(2);
    let all = lines.iter().flat_map(|it| it.2.iter().copied());
    let most = all.fold(1.0, f64::max);
    let together = lines.first().map_or(1, |it| together(&it.0.days));
    let hours = SLICE.as_secs_f64() * to_f64(points * together) / 3_600.0;
    let title = format!("part of the input limit at load {load}, over {hours:.1} h");
    frame(out, size, &title, &format!("{most:.2}"));
    let y = |value: f64| high - MARGIN - (high - 2.0 * MARGIN) * value / most;
    put(
        out,
        format_args!(
            "<path d=\"M{MARGIN} {0:.1}H{1}\" stroke=currentColor stroke-dasharray=3 opacity=.5><title>the limit</title></path>",
            y(1.0),
            wide - MARGIN
        ),
    );
    for (cell, colour, values) in lines {
        let mut line = String::new();
        for (at, value) in values.iter().enumerate() {
            let x = MARGIN + (wide - 2.0 * MARGIN) * to_f64(at) / to_f64(points - 1);
            put(&mut line, format_args!("{x:.1},{:.1} ", y(*value)));
        }
        put(
            out,
            format_args!(
                "<polyline points=\"{line}\" fill=none stroke={colour}><title>{}</title></polyline>",
                cell.system.word()
            ),
        );
    }
    out.push_str("</svg>");
}

/// What each point took of the limit, on average over days.
pub(super) fn parts_of_limit(days: &[Measured]) -> Vec<f64> {
    let together = together(days);
    let slices = days.iter().map(|it| it.counted_by_slice.len()).max();
    // What is left over at the end is no whole point.
    let points = slices.unwrap_or(0) / together;
    let minutes = SLICE.as_secs_f64() / 60.0 * to_f64(together);
    let part = |point: usize| {
        let of_day = |it: &Measured| {
            let counted = it.counted_by_slice.iter().skip(point * together);
            let counted = counted.take(together).map(|it| tokens(*it)).sum::<f64>();
            counted / (tokens(it.input_limit).max(1.0) * minutes)
        };
        days.iter().map(of_day).sum::<f64>() / to_f64(days.len()).max(1.0)
    };
    (0..points).map(part).collect()
}

#[expect(clippy::cast_precision_loss, reason = "places in a plot")]
const fn to_f64(count: usize) -> f64 {
    count as f64
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of tokens are far below 2⁵³"
)]
const fn tokens(count: u64) -> f64 {
    count as f64
}
