//! Tables for people: columns as wide as they must be, and colours that can be taken away.

/// Marks in a text that become colours on a terminal and nothing elsewhere. Private-use characters,
/// which no name, model or message contains; those that come from outside are taken out.
const MARKS: [(char, &str); 4] = [
    ('\u{e000}', "\u{1b}[0m"),
    ('\u{e001}', "\u{1b}[32m"),
    ('\u{e002}', "\u{1b}[33m"),
    ('\u{e003}', "\u{1b}[31m"),
];

/// How a value is to be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warning,
    Bad,
}

/// `text` in a colour.
pub(super) fn toned(text: &str, tone: Tone) -> String {
    let mark = match tone {
        Tone::Good => '\u{e001}',
        Tone::Warning => '\u{e002}',
        Tone::Bad => '\u{e003}',
    };
    format!("{mark}{}\u{e000}", plain(text))
}

/// A text from outside: without control characters, which could change what a terminal shows.
pub(super) fn plain(text: &str) -> String {
    let shown = |it: &char| !it.is_control() && !is_mark(*it);
    text.chars().filter(shown).collect()
}

fn is_mark(character: char) -> bool {
    MARKS.iter().any(|(mark, _)| *mark == character)
}

/// What is printed: with colours, or without.
pub(super) fn for_reader(text: &str, colours: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match MARKS.iter().find(|(mark, _)| *mark == character) {
            Some((_, code)) if colours => out.push_str(code),
            Some(_) => {}
            None => out.push(character),
        }
    }
    out
}

/// Adds a line to a text.
pub(super) fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push('\n');
}

/// `1 span`, `2 spans`.
pub(super) fn many(count: u64, what: &str) -> String {
    format!(
        "{} {what}{}",
        grouped(count),
        if count == 1 { "" } else { "s" }
    )
}

/// A table. Columns whose head begins with `>` are aligned to the right.
#[derive(Clone, Debug)]
pub(super) struct Table {
    right: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these heads.
    pub(super) fn new(heads: &[&str]) -> Self {
        let bare = |it: &&str| it.trim_start_matches('>').to_owned();
        Self {
            right: heads.iter().map(|it| it.starts_with('>')).collect(),
            rows: vec![heads.iter().map(bare).collect()],
        }
    }

    /// Adds a row. Its cells were made [`plain`] or [`toned`] where they come from outside.
    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.into());
    }

    /// Adds a row where the number of columns is not known beforehand.
    pub(super) fn cells(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Whether there is nothing but heads.
    pub(super) fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    /// The lines, without trailing spaces.
    pub(super) fn show(&self) -> String {
        let columns = self.right.len();
        let widths: Vec<usize> = (0..columns)
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at));
                cells.map(|it| width(it)).max().unwrap_or(0)
            })
            .collect();
        let mut out = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for ((cell, wide), right) in row.iter().zip(&widths).zip(&self.right) {
                let space = " ".repeat(wide.saturating_sub(width(cell)));
                if !line.is_empty() {
                    line.push_str("  ");
                }
                if *right {
                    line.push_str(&space);
                    line.push_str(cell);
                } else {
                    line.push_str(cell);
                    line.push_str(&space);
                }
            }
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }
}

/// Characters that are seen. Names, numbers and models are one column a character.
fn width(text: &str) -> usize {
    text.chars().filter(|it| !is_mark(*it)).count()
}

/// Tokens and units: `12,345`.
pub(super) fn grouped(number: impl std::fmt::Display) -> String {
    let text = number.to_string();
    let (sign, digits) = text
        .strip_prefix('-')
        .map_or(("", text.as_str()), |it| ("-", it));
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
