//! `tidegate top`: what the gateway does now, live.

mod keys;
mod live;
mod panels;
mod snapshot;
#[cfg(test)]
mod tests;

use std::io::IsTerminal as _;

use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Modifier, Style},
    text::Line,
    widgets::{Block, Borders, Widget as _},
};

use self::{
    keys::View,
    panels::{Panel, Rows},
    snapshot::Snapshot,
};
use super::{Client, Said, colours, table::plain};
use crate::config::Settings;

/// The width of the one frame that is printed where nobody looks at a terminal.
const PRINTED_WIDTH: u16 = 120;

/// The most lines of it.
const PRINTED_HEIGHT_MAX: u16 = 400;

/// One frame as text where output is no terminal; else the live view, until it is left.
pub(super) fn answer(settings: &Settings) -> anyhow::Result<Said> {
    if !std::io::stdout().is_terminal() {
        let snapshot = Snapshot::fetch(&Client::of(settings)?)?;
        return Ok(Said::fine(printed(&snapshot)));
    }
    live::run(settings, colours())?;
    Ok(Said::default())
}

/// The frame as lines of text, with all rows there are.
fn printed(snapshot: &Snapshot) -> String {
    let rows: usize = Panel::ALL
        .iter()
        .map(|it| panels::rows(*it, snapshot).lines.len().max(1) + 1)
        .sum();
    let height = u16::try_from(rows + 1).unwrap_or(PRINTED_HEIGHT_MAX);
    let area = Rect::new(0, 0, PRINTED_WIDTH, height.min(PRINTED_HEIGHT_MAX));
    let mut buffer = Buffer::empty(area);
    let paint = Paint {
        snapshot,
        view: None,
        colours: false,
    };
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    paint.head(head, &mut buffer);
    let heights = Panel::ALL.iter().map(|it| {
        let rows = panels::rows(*it, snapshot).lines.len().max(1) + 1;
        Constraint::Length(u16::try_from(rows).unwrap_or(u16::MAX))
    });
    let places = Layout::vertical(heights).split(body);
    for (panel, place) in Panel::ALL.iter().zip(places.iter()) {
        paint.panel(*panel, *place, &mut buffer);
    }
    let lines = area.rows().map(|row| {
        let cells = row.columns().filter_map(|it| buffer.cell((it.x, it.y)));
        let line: String = cells.map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

/// A frame: what is known, where the user is in it, and whether colours are wanted.
struct Paint<'a> {
    snapshot: &'a Snapshot,
    /// `None`: nobody is there to choose anything.
    view: Option<&'a View>,
    colours: bool,
}

impl Paint<'_> {
    /// Draws the whole screen.
    fn draw(&self, area: Rect, buffer: &mut Buffer) {
        let lines = [
            Constraint::Length(1),
            Constraint::Fill(1),
            Constraint::Length(1),
        ];
        let [head, body, foot] = Layout::vertical(lines).areas(area);
        self.head(head, buffer);
        for (panel, place) in places(body, self.snapshot) {
            self.panel(panel, place, buffer);
        }
        self.foot(foot, buffer);
    }

    fn head(&self, area: Rect, buffer: &mut Buffer) {
        let (text, tone) = self.snapshot.headline();
        let style = self.tone(tone).add_modifier(Modifier::BOLD);
        Line::styled(plain(&text), style).render(area, buffer);
    }

    fn foot(&self, area: Rect, buffer: &mut Buffer) {
        let Some(view) = self.view else { return };
        let (text, tone) = view.foot();
        Line::styled(plain(&text), self.tone(tone)).render(area, buffer);
    }

    fn panel(&self, panel: Panel, area: Rect, buffer: &mut Buffer) {
        let Rows {
            title,
            widths,
            lines: rows,
        } = panels::rows(panel, self.snapshot);
        let chosen = self.view.filter(|it| it.panel == panel);
        let style = match chosen {
            Some(_) => Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED),
            None => Style::new().add_modifier(Modifier::BOLD),
        };
        let block = Block::new()
            .borders(Borders::TOP)
            .title(Line::styled(format!(" {title} "), style));
        let inside = block.inner(area);
        block.render(area, buffer);
        if rows.is_empty() {
            Line::raw(panel.empty()).render(inside, buffer);
            return;
        }
        let height = usize::from(inside.height);
        let at = self.view.map_or(0, |it| it.row(panel, self.snapshot));
        let first = (at + 1).saturating_sub(height);
        let columns = Layout::horizontal(widths.iter().copied()).spacing(1);
        for ((place, row), line) in rows.iter().enumerate().skip(first).zip(inside.rows()) {
            let mut style = self.tone(row.tone);
            if self.snapshot.gone.is_some() {
                style = style.add_modifier(Modifier::DIM);
            }
            if chosen.is_some() && place == at && panel.is_chosen_from() {
                style = style.add_modifier(Modifier::REVERSED);
                buffer.set_style(line, style);
            }
            for (cell, place) in row.cells.iter().zip(columns.split(line).iter()) {
                let text = Line::styled(plain(&cell.text), style);
                // What does not fit loses its end, not its sign.
                let text = if cell.right && text.width() <= usize::from(place.width) {
                    text.right_aligned()
                } else {
                    text
                };
                text.render(*place, buffer);
            }
        }
    }

    /// The terminal's own colours, where they are wanted.
    fn tone(&self, tone: Tone) -> Style {
        if !self.colours {
            return match tone {
                Tone::Bad => Style::new().add_modifier(Modifier::BOLD),
                Tone::Plain | Tone::Good | Tone::Warning => Style::new(),
            };
        }
        match tone {
            Tone::Plain => Style::new(),
            Tone::Good => Style::new().fg(Color::Green),
            Tone::Warning => Style::new().fg(Color::Yellow),
            Tone::Bad => Style::new().fg(Color::Red),
        }
    }
}

/// How a line is to be seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Tone {
    #[default]
    Plain,
    Good,
    Warning,
    Bad,
}

/// Where the panels are. What waits and runs has the room that the others leave.
fn places(area: Rect, snapshot: &Snapshot) -> [(Panel, Rect); 6] {
    let count = |panel| panels::rows(panel, snapshot).lines.len().max(1) + 1;
    let length = |one, other, most: u16| {
        let rows = u16::try_from(count(one).max(count(other))).unwrap_or(u16::MAX);
        // A third of the screen for each pair, so that none takes it all.
        Constraint::Length(rows.min(most).min(area.height / 3).max(2))
    };
    let [limits, queue, running, last] = Layout::vertical([
        length(Panel::Buckets, Panel::Budgets, 16),
        Constraint::Fill(1),
        Constraint::Fill(1),
        length(Panel::Approvals, Panel::Cooldowns, 8),
    ])
    .areas(area);
    let beside = |one, other| {
        Layout::horizontal([Constraint::Fill(one), Constraint::Fill(other)]).spacing(1)
    };
    let [buckets, budgets] = beside(4, 3).areas(limits);
    let [approvals, cooldowns] = beside(1, 1).areas(last);
    [
        (Panel::Buckets, buckets),
        (Panel::Budgets, budgets),
        (Panel::Queue, queue),
        (Panel::Running, running),
        (Panel::Approvals, approvals),
        (Panel::Cooldowns, cooldowns),
    ]
}
