//! From a filter's text to its conditions.

use std::ops::Range;

use super::{Comparison, FilterError, Node, Test};
use crate::{
    record::Level,
    telemetry::{
        schema::{ColumnType, Schema, Search},
        token::tokens,
    },
};

/// The longest text: what a person writes, or a program in which a person clicks.
const TEXT_MAX: usize = 4096;

/// The deepest nesting, so that reading and asking cannot exhaust the stack.
const DEPTH_MAX: usize = 32;

pub(super) fn parse(schema: &'static Schema, text: &str) -> Result<Node, FilterError> {
    let mut parser = Parser {
        schema,
        text,
        at: 0,
        depth: 0,
    };
    if text.len() > TEXT_MAX {
        return parser.refuse(0..0, format!("the filter is longer than {TEXT_MAX} bytes"));
    }
    let node = parser.any()?;
    parser.skip_space();
    match parser.peek() {
        None => Ok(node),
        Some(_) => parser.refuse(
            parser.at..parser.at + 1,
            "this `)` closes nothing; put it in quotes to look for it".to_owned(),
        ),
    }
}

struct Parser<'a> {
    schema: &'static Schema,
    text: &'a str,
    at: usize,
    depth: usize,
}

/// A piece of text as it was written.
struct Piece {
    text: String,
    at: Range<usize>,
    quoted: bool,
}

impl Parser<'_> {
    fn refuse<T>(&self, at: Range<usize>, what: String) -> Result<T, FilterError> {
        Err(FilterError {
            text: self.text.to_owned(),
            at,
            what,
        })
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn skip_space(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    /// Takes a word of the language, if it is next and ends there.
    fn keyword(&mut self, word: &str) -> bool {
        self.skip_space();
        let rest = &self.text[self.at..];
        let next = rest.get(..word.len());
        let found = next.is_some_and(|it| it.eq_ignore_ascii_case(word))
            && !rest[word.len()..].starts_with(|it: char| !ends_word(it));
        if found {
            self.at += word.len();
        }
        found
    }

    fn any(&mut self) -> Result<Node, FilterError> {
        let mut parts = vec![self.every()?];
        loop {
            let start = self.at;
            if !self.keyword("or") {
                break;
            }
            let empty = |it: &Node| matches!(it, Node::Every(them) if them.is_empty());
            let right = self.every()?;
            if empty(&right) || parts.last().is_some_and(empty) {
                self.skip_space();
                let at = self.text[start..].find(|it: char| !it.is_whitespace());
                let at = start + at.unwrap_or(0);
                return self.refuse(
                    at..at + 2,
                    "`or` needs a condition on both sides".to_owned(),
                );
            }
            parts.push(right);
        }
        Ok(one_of(parts, Node::Any))
    }

    fn every(&mut self) -> Result<Node, FilterError> {
        let mut parts = Vec::new();
        loop {
            self.skip_space();
            let start = self.at;
            match self.peek() {
                None | Some(')') => break,
                Some(_) if self.keyword("or") => {
                    self.at = start;
                    break;
                }
                Some(_) if self.keyword("and") => {
                    self.skip_space();
                    if parts.is_empty() || matches!(self.peek(), None | Some(')')) {
                        let what = "`and` needs a condition on both sides".to_owned();
                        return self.refuse(start..start + 3, what);
                    }
                }
                Some(_) => parts.push(self.one()?),
            }
        }
        Ok(one_of(parts, Node::Every))
    }

    fn one(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            let what = format!("conditions are nested deeper than {DEPTH_MAX}");
            return self.refuse(self.at..self.at + 1, what);
        }
        let start = self.at;
        let node = if self.peek() == Some('-') || self.keyword("not") {
            if self.at == start {
                self.at += 1;
            }
            self.skip_space();
            if matches!(self.peek(), None | Some(')')) {
                let what = "a condition must follow what excludes it".to_owned();
                return self.refuse(start..self.at, what);
            }
            Node::Not(Box::new(self.one()?))
        } else if self.peek() == Some('(') {
            self.at += 1;
            let inner = self.any()?;
            self.skip_space();
            if self.peek() != Some(')') {
                return self.refuse(start..start + 1, "this `(` is not closed".to_owned());
            }
            self.at += 1;
            inner
        } else {
            self.term()?
        };
        self.depth -= 1;
        Ok(node)
    }

    fn term(&mut self) -> Result<Node, FilterError> {
        let first = self.piece(&[':'])?;
        if !first.quoted && self.peek() == Some(':') {
            self.at += 1;
            return self.condition(&first);
        }
        Ok(Node::Words(self.words(&first)?))
    }

    /// The words of a piece, of which there must be one.
    fn words(&self, piece: &Piece) -> Result<Vec<String>, FilterError> {
        let words: Vec<String> = tokens(&piece.text).map(str::to_owned).collect();
        if words.is_empty() {
            let what = "there is no word to look for; letters, digits and `_` make words";
            return self.refuse(piece.at.clone(), what.to_owned());
        }
        Ok(words)
    }

    /// What follows `name:`.
    fn condition(&mut self, name: &Piece) -> Result<Node, FilterError> {
        let comparison = self.comparison();
        let start = self.at;
        if self.peek().is_none_or(ends_word) {
            let what = format!("a value must follow `{}:`; `{0}:*` asks for any", name.text);
            return self.refuse(name.at.start..start, what);
        }
        let value = self.piece(&[])?;
        if let Some(attribute) = name.text.strip_prefix("attributes.") {
            let test = self.attribute_test(comparison, &value)?;
            return Ok(Node::Attribute(attribute.to_owned(), test));
        }
        // A prompt of Claude Code is the task that its calls belong to.
        let column = match &*name.text {
            "prompt" => "task",
            text => text,
        };
        let Some(place) = self.schema.place(column) else {
            return self.refuse(name.at.clone(), self.unknown(name));
        };
        let test = self.column_test(place, comparison, &value)?;
        Ok(Node::Column(place, test))
    }

    fn comparison(&mut self) -> Option<Comparison> {
        let forms = [
            (">=", Comparison::GreaterOrEqual),
            ("<=", Comparison::LessOrEqual),
            (">", Comparison::Greater),
            ("<", Comparison::Less),
        ];
        let rest = &self.text[self.at..];
        let (form, comparison) = forms.into_iter().find(|(form, _)| rest.starts_with(form))?;
        self.at += form.len();
        Some(comparison)
    }

    fn unknown(&self, name: &Piece) -> String {
        // Half of the letters at most, or everything would be near a short name.
        let near = |it: &&str| distance(it, &name.text) <= (it.len() / 2).min(2);
        let names = || self.schema.columns.iter().map(|it| it.name);
        let kind = self.schema.kind;
        let text = &name.text;
        match names().find(|it| near(it)) {
            Some(meant) => format!("{kind} have no column `{text}`; did you mean `{meant}`?"),
            None if text.bytes().all(|it| it.is_ascii_digit()) => {
                format!("{kind} have no column `{text}`; put text with a colon in quotes")
            }
            None => format!(
                "{kind} have no column `{text}`, but {}; other values are under `attributes.{text}`, and text with a \
                 colon belongs in quotes",
                names().collect::<Vec<_>>().join(", ")
            ),
        }
    }

    fn column_test(
        &self,
        place: usize,
        comparison: Option<Comparison>,
        value: &Piece,
    ) -> Result<Test, FilterError> {
        let column = &self.schema.columns[place];
        if !value.quoted && value.text == "*" && comparison.is_none() {
            return Ok(Test::Present);
        }
        // What is no level would match nothing, and that without a word.
        if column.name == "level" && (comparison.is_some() || prefix(value).is_none()) {
            return self.levels(comparison, value);
        }
        match column.holds {
            ColumnType::Time => {
                let comparison = comparison.unwrap_or(Comparison::Equal);
                let at: Option<jiff::Timestamp> = value.text.parse().ok();
                let nanos = at.and_then(|it| i64::try_from(it.as_nanosecond()).ok());
                nanos.map_or_else(
                    || {
                        let what = "a time is written as 2026-11-21T10:00:00Z".to_owned();
                        self.refuse(value.at.clone(), what)
                    },
                    |it| Ok(Test::Integer(comparison, it)),
                )
            }
            ColumnType::Integer | ColumnType::Flag => {
                let comparison = comparison.unwrap_or(Comparison::Equal);
                number(column.name, column.holds, &value.text).map_or_else(
                    || self.refuse(value.at.clone(), number_form(column.name, column.holds)),
                    |it| Ok(Test::Integer(comparison, it)),
                )
            }
            ColumnType::SpanId | ColumnType::TraceId | ColumnType::Word | ColumnType::Text => {
                if comparison.is_some() {
                    let what = format!("`{}` is a text, which has no order", column.name);
                    return self.refuse(value.at.clone(), what);
                }
                match (column.search, prefix(value)) {
                    (_, Some(prefix)) => Ok(Test::Prefix(prefix.to_owned())),
                    (Search::Words, None) => Ok(Test::Words(self.words(value)?)),
                    (Search::Exact | Search::Scan, None) => Ok(Test::Equal(value.text.clone())),
                }
            }
        }
    }

    fn levels(&self, comparison: Option<Comparison>, value: &Piece) -> Result<Test, FilterError> {
        match (value.text.parse::<Level>(), comparison) {
            (Ok(wanted), None) => Ok(Test::Equal(wanted.word().to_owned())),
            (Ok(wanted), Some(comparison)) => {
                let those = Level::ALL
                    .into_iter()
                    .filter(|it| comparison.holds(*it, wanted));
                Ok(Test::OneOf(those.map(Level::word).collect()))
            }
            (Err(error), _) => self.refuse(value.at.clone(), error.to_string()),
        }
    }

    fn attribute_test(
        &self,
        comparison: Option<Comparison>,
        value: &Piece,
    ) -> Result<Test, FilterError> {
        if let Some(comparison) = comparison {
            let finite = value.text.parse::<f64>().ok().filter(|it| it.is_finite());
            return finite.map_or_else(
                || self.refuse(value.at.clone(), "a number must follow".to_owned()),
                |it| Ok(Test::Number(comparison, it)),
            );
        }
        if !value.quoted && value.text == "*" {
            return Ok(Test::Present);
        }
        Ok(match prefix(value) {
            Some(prefix) => Test::Prefix(prefix.to_owned()),
            None => Test::Equal(value.text.clone()),
        })
    }

    /// A word up to a space, a parenthesis or one of these; or a text in quotes, in which a
    /// backslash lets the next character stand for itself.
    fn piece(&mut self, ends: &[char]) -> Result<Piece, FilterError> {
        let start = self.at;
        if self.peek() != Some('"') {
            let rest = &self.text[start..];
            let end = rest.find(|it: char| ends_word(it) || it == '"' || ends.contains(&it));
            self.at = start + end.unwrap_or(rest.len());
            if self.at == start {
                let what = "a word must stand here".to_owned();
                return self.refuse(start..start + 1, what);
            }
            return Ok(Piece {
                text: self.text[start..self.at].to_owned(),
                at: start..self.at,
                quoted: false,
            });
        }
        let mut text = String::new();
        let mut escaped = false;
        for (place, it) in self.text[start + 1..].char_indices() {
            match it {
                '\\' if !escaped => escaped = true,
                '"' if !escaped => {
                    self.at = start + 1 + place + 1;
                    let (at, quoted) = (start..self.at, true);
                    return Ok(Piece { text, at, quoted });
                }
                _ => {
                    text.push(it);
                    escaped = false;
                }
            }
        }
        self.refuse(start..start + 1, "this quote is not closed".to_owned())
    }
}

fn ends_word(it: char) -> bool {
    it.is_whitespace() || it == '(' || it == ')'
}

fn one_of(mut parts: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn prefix(value: &Piece) -> Option<&str> {
    (!value.quoted)
        .then(|| value.text.strip_suffix('*'))
        .flatten()
}

/// How long one of each unit is, in nanoseconds.
const UNITS: &[(&str, f64)] = &[
    ("ns", 1.0),
    ("us", 1e3),
    ("ms", 1e6),
    ("s", 1e9),
    ("m", 60e9),
    ("h", 3600e9),
];

/// Beyond this, the next larger integer would not be exact; no duration is as long.
const EXACT_MAX: f64 = 9e15;

/// A number in the unit of its column, which the column's name ends with.
fn number(name: &str, holds: ColumnType, text: &str) -> Option<i64> {
    if holds == ColumnType::Flag {
        return match text {
            "true" | "yes" | "1" => Some(1),
            "false" | "no" | "0" => Some(0),
            _ => None,
        };
    }
    if let Ok(number) = text.parse() {
        return Some(number);
    }
    let own = unit_of(name)?;
    let digits = text.trim_end_matches(|it: char| it.is_ascii_alphabetic());
    let (_, unit) = UNITS
        .iter()
        .find(|(unit, _)| *unit == &text[digits.len()..])?;
    let value = digits.parse::<f64>().ok()? * unit / own;
    #[expect(clippy::cast_possible_truncation, reason = "checked just before")]
    (value.abs() <= EXACT_MAX).then(|| value.round() as i64)
}

fn unit_of(name: &str) -> Option<f64> {
    let unit = name.rsplit_once('_')?.1;
    let found = UNITS.iter().find(|(it, _)| *it == unit);
    found.map(|(_, nanos)| *nanos)
}

fn number_form(name: &str, holds: ColumnType) -> String {
    match (holds, unit_of(name)) {
        (ColumnType::Flag, _) => format!("`{name}` is true or false"),
        (_, Some(_)) => format!("`{name}` takes a number, or a time such as 250ms, 1.5s or 2m"),
        (_, None) => format!("`{name}` takes a whole number"),
    }
}

/// How many letters must be changed, put in or left out; at most a few are of interest.
fn distance(one: &str, two: &str) -> usize {
    let two: Vec<char> = two.chars().collect();
    let mut row: Vec<usize> = (0..=two.len()).collect();
    for (at, it) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (place, other) in two.iter().enumerate() {
            let changed = diagonal + usize::from(it != *other);
            diagonal = row[place + 1];
            row[place + 1] = changed.min(row[place] + 1).min(diagonal + 1);
        }
    }
    row[two.len()]
}
