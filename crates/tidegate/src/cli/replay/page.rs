//! One self-contained page: tables, and plots of load against what it costs.

use std::fmt::Write as _;

use tidegate_sim::replay::{
    grid::{Cell, Grid},
    measure::{FIGURES, Figure},
};

use super::{cells_of, shown};

/// What is plotted against load.
const PLOTTED: [&str; 6] = [
    "provider 429s per 1,000 calls",
    "clean tasks, %",
    "mean wait, s",
    "longest wait, s",
    "critical: p99 wait, s",
    "completed calls per million counted tokens",
];

/// Colours that can be told apart, also by those who see few.
const COLOURS: [&str; 8] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c510a",
];

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;\
color:#1b1b1b;background:#fff}table{border-collapse:collapse;font-size:13px;margin:1rem 0}\
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd}\
th:first-child,td:first-child{text-align:left}svg{margin:.5rem;background:#fafafa}\
.plots{display:flex;flex-wrap:wrap}small{color:#555}.best{font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}svg{background:#222}\
th,td{border-color:#444}small{color:#aaa}}";

/// The page.
pub(super) fn page(grid: &Grid, cells: &[Cell]) -> String {
    let mut out = String::new();
    let days = grid.seeds.len();
    let hours = grid.fleet.open_for.as_secs_f64() / 3_600.0;
    put(
        &mut out,
        format_args!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>Tidegate replay</title><style>{STYLE}</style><h1>Tidegate replay</h1>\
<p>An emulated provider, not the real one: {} requests, {} counted input and {} output tokens a minute, a burst of {} s. \
Sessions begin for {hours} h. {days} days, the same for every system; means with 95 % intervals over days.</p>",
            grid.fleet.limits.requests_per_minute,
            grid.fleet.limits.input_tokens_per_minute,
            grid.fleet.limits.output_tokens_per_minute,
            grid.fleet.limits.burst_seconds,
        ),
    );
    legend(&mut out, grid);
    out.push_str("<div class=plots>");
    for name in PLOTTED {
        if let Some(figure) = FIGURES.iter().find(|it| it.name == name) {
            plot(&mut out, grid, cells, figure);
        }
    }
    out.push_str("</div>");
    for load in &grid.loads {
        table(&mut out, grid, cells, *load);
    }
    out
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // A string takes everything.
    out.write_fmt(what).unwrap_or_default();
}

fn legend(out: &mut String, grid: &Grid) {
    out.push_str("<p>");
    for (system, colour) in grid.systems.iter().zip(COLOURS) {
        let word = system.word();
        put(
            out,
            format_args!("<span style=\"color:{colour}\">&#9632;</span> {word} &emsp;"),
        );
    }
    out.push_str("</p>");
}

fn table(out: &mut String, grid: &Grid, cells: &[Cell], load: f64) {
    put(out, format_args!("<h2>Load {load}</h2><table><tr><th>"));
    for system in &grid.systems {
        put(out, format_args!("<th>{}", system.word()));
    }
    for figure in FIGURES {
        put(out, format_args!("<tr><td>{}", figure.name));
        for cell in cells_of(cells, load) {
            let text = shown(cell.interval(figure.of), figure.digits);
            put(out, format_args!("<td>{text}"));
        }
    }
    out.push_str("</table>");
}

/// Width and height of a plot, and of its margin.
const SIZE: (f64, f64) = (330.0, 220.0);
const MARGIN: f64 = 40.0;

fn plot(out: &mut String, grid: &Grid, cells: &[Cell], figure: &Figure) {
    let (wide, high) = SIZE;
    let most_load = grid.loads.iter().copied().fold(f64::MIN, f64::max);
    let least_load = grid.loads.iter().copied().fold(f64::MAX, f64::min);
    let intervals = cells.iter().filter_map(|it| it.interval(figure.of));
    let most = intervals.map(|it| it.high).fold(0.0, f64::max).max(1e-9);
    let span = (most_load - least_load).max(1e-9);
    let x = |load: f64| MARGIN + (wide - 2.0 * MARGIN) * (load - least_load) / span;
    let y = |value: f64| high - MARGIN - (high - 2.0 * MARGIN) * value / most;
    let title = figure.name;
    put(
        out,
        format_args!(
            "<svg width={wide} height={high} role=img aria-label=\"{title} by load\">\
<text x={MARGIN} y=20 font-size=13 fill=currentColor>{title}</text>\
<path d=\"M{MARGIN} {MARGIN}V{0}H{1}\" fill=none stroke=currentColor opacity=.4 />\
<text x=4 y={2} font-size=11 fill=currentColor>{most:.3$}</text><text x=4 y={0} font-size=11 fill=currentColor>0</text>",
            high - MARGIN,
            wide - MARGIN,
            MARGIN + 4.0,
            figure.digits.min(1),
        ),
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
