//! One self-contained page: what we lose, plots of load against what it costs, of waits by class and of the quota over
//! time, and all figures as tables.

mod plots;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use tidegate_sim::replay::{
    Arrivals, Contender, SystemKind,
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
.plots{display:flex;flex-wrap:wrap}small{color:#555}.best{font-weight:600}.lost{background:#fbe3d6}\
.wide{overflow-x:auto}\
@media(prefers-color-scheme:dark){body{color:#eee;background:#161616}svg{background:#222}\
th,td{border-color:#444}small{color:#aaa}.lost{background:#4a2a18}}";

/// The page; `what` says what was played.
pub(super) fn page(grid: &Grid, cells: &[Cell], what: &str) -> String {
    let mut out = String::new();
    let days = grid.seeds.len();
    let hours = grid.fleet.open_for.as_secs_f64() / 3_600.0;
    put(
        &mut out,
        format_args!(
            "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
<title>Tidegate replay</title><style>{STYLE}</style><h1>Tidegate replay</h1>\
<p>An emulated provider, not the real one. {what}. {} Sessions begin for {hours} h. {days} days, the same for every system; \
means with 95 % intervals over days.</p>",
            limits(grid),
        ),
    );
    legend(&mut out, grid);
    lost(&mut out, grid, cells);
    out.push_str("<h2>Against load</h2><div class=plots>");
    for name in PLOTTED {
        if let Some(figure) = FIGURES.iter().find(|it| it.name == name) {
            plots::by_load(&mut out, grid, cells, figure);
        }
    }
    out.push_str("</div><h2>Waits by class</h2><p>Mean wait of a call by the priority of its task.</p><div class=plots>");
    for load in &grid.loads {
        plots::by_class(&mut out, grid, cells, *load);
    }
    out.push_str("</div><h2>Quota over time</h2><p>Counted input that the provider took, as a part of its limit, in each half of an hour (of days under two hours: in each five minutes); the mean of all days. Pings are left out.</p><div class=plots>");
    for load in &grid.loads {
        plots::over_time(&mut out, grid, cells, *load);
    }
    out.push_str("</div>");
    for load in &grid.loads {
        table(&mut out, grid, cells, *load);
    }
    out
}

/// The provider's limits, where they are the same whatever the load is.
fn limits(grid: &Grid) -> String {
    let limits = &grid.fleet.limits;
    if grid.fleet.arrivals == Arrivals::Recorded {
        return format!(
            "The provider's limits are set so that the traffic makes the load; a burst of {} s.",
            limits.burst_seconds
        );
    }
    format!(
        "{} requests, {} counted input and {} output tokens a minute (made larger or smaller by one factor where calls come as recorded), a burst of {} s.",
        limits.requests_per_minute,
        limits.input_tokens_per_minute,
        limits.output_tokens_per_minute,
        limits.burst_seconds
    )
}

/// Whether a system could stand there in earnest: it has limits, and does not know what comes.
fn is_real(system: &Contender) -> bool {
    !matches!(
        system.kind(),
        SystemKind::Unlimited | SystemKind::Clairvoyant
    )
}

fn mean(cell: &Cell, figure: &Figure) -> Option<f64> {
    cell.interval(figure.of).map(|it| it.mean)
}

/// The cell that is best at a figure, of those at a load that could be there in earnest.
fn best<'a>(cells: &'a [Cell], load: f64, figure: &Figure) -> Option<&'a Cell> {
    let real = cells_of(cells, load).filter(|it| is_real(&it.system));
    real.filter(|it| mean(it, figure).is_some())
        .reduce(|one, other| {
            let (a, b) = (mean(one, figure), mean(other, figure));
            match a.zip(b) {
                Some((a, b)) if figure.better.than(b, a) => other,
                _ => one,
            }
        })
}

/// Whether a cell is Tidegate's, and another system is better at this.
fn is_lost(cell: &Cell, best: Option<&Cell>, figure: &Figure) -> bool {
    let ours = cell.system.kind() == SystemKind::Tidegate;
    let rival = best.filter(|it| it.system.kind() != SystemKind::Tidegate);
    let pair = mean(cell, figure).zip(rival.and_then(|it| mean(it, figure)));
    ours && pair.is_some_and(|(own, other)| figure.better.than(other, own))
}

/// The cells in which another system is better than Tidegate, first of all.
fn lost(out: &mut String, grid: &Grid, cells: &[Cell]) {
    let mut rows = String::new();
    for load in &grid.loads {
        for figure in FIGURES {
            let best = best(cells, *load, figure);
            for cell in cells_of(cells, *load) {
                let Some(best) = best.filter(|_| is_lost(cell, best, figure)) else {
                    continue;
                };
                let (own, other) = (cell.interval(figure.of), best.interval(figure.of));
                let clear = own
                    .zip(other)
                    .is_some_and(|(own, other)| own.low > other.high || other.low > own.high);
                put(
                    &mut rows,
                    format_args!(
                        "<tr><td>{}<td>{load}<td>{}<td>{}<td>{}<td>{}<td>{}",
                        figure.name,
                        cell.system.word(),
                        shown(own, figure.digits),
                        best.system.word(),
                        shown(other, figure.digits),
                        if clear { "" } else { "intervals overlap" },
                    ),
                );
            }
        }
    }
    out.push_str("<h2>Where Tidegate loses</h2>");
    if rows.is_empty() {
        out.push_str("<p>In no figure is another of these systems better.</p>");
    } else {
        put(
            out,
            format_args!(
                "<div class=wide><table><tr><th>figure<th>load<th>system<th>has<th>better is<th>with<th>{rows}</table></div>"
            ),
        );
    }
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
    put(
        out,
        format_args!("<h2>Load {load}</h2><div class=wide><table><tr><th>"),
    );
    for system in &grid.systems {
        put(out, format_args!("<th>{}", system.word()));
    }
    for figure in FIGURES {
        put(out, format_args!("<tr><td>{}", figure.name));
        let best = best(cells, load, figure);
        for cell in cells_of(cells, load) {
            let text = shown(cell.interval(figure.of), figure.digits);
            let is_best = best.is_some_and(|it| mean(it, figure) == mean(cell, figure));
            let told = figure.better.than(0.0, 1.0) || figure.better.than(1.0, 0.0);
            let class = match (is_lost(cell, best, figure), is_best && told) {
                (true, _) => " class=lost",
                (_, true) if is_real(&cell.system) => " class=best",
                _ => "",
            };
            put(out, format_args!("<td{class}>{text}"));
        }
    }
    out.push_str("</table></div>");
}
