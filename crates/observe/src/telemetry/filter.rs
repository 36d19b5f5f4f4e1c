//! The filter language: which rows are wanted.
//!
//! ```text
//! level:>=warning "connection refused" (service:api or service:worker) -host:db1
//! task:nightly* attributes.http.status:>499 duration_ns:>1.5s request_id:*
//! ```
//!
//! What stands side by side must all be true; `or` and `not` (or `-`) are words of the language,
//! and parentheses group. A bare word or a phrase is looked for in the texts of a row, as whole
//! words and without regard to the case of ASCII letters; a value is compared as a whole in the
//! same way.

mod parse;

use std::{collections::BTreeSet, ops::Range};

use serde_json::Value as Json;

use super::{
    Batch,
    batch::{Value, shown},
    pages::Pages,
    schema::{ColumnType, Kind, Schema, Search},
    token::{Key, contains, exact_key, tokens, word_key},
};

/// A condition on rows of one kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    kind: Kind,
    node: Node,
}

/// What is wrong with a filter's text, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} (at character {})", .text[..at.start].chars().count() + 1)]
pub struct FilterError {
    text: String,
    at: Range<usize>,
    what: String,
}

impl FilterError {
    /// The bytes of the text that are wrong.
    pub fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    /// Three lines for people: what is wrong, the text, and a mark below the place.
    pub fn pointed(&self) -> String {
        let before = self.text[..self.at.start].chars().count();
        let marked = self.text[self.at.clone()].chars().count().max(1);
        format!(
            "{}\n  {}\n  {}{}",
            self.what,
            self.text,
            " ".repeat(before),
            "^".repeat(marked)
        )
    }
}

/// A condition.
#[derive(Clone, Debug, PartialEq)]
enum Node {
    Every(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    /// These words, one after another, in any text.
    Words(Vec<String>),
    Column(usize, Test),
    Attribute(String, Test),
}

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq)]
enum Test {
    Present,
    Equal(String),
    /// Exactly this, in this case.
    Same(String),
    Prefix(String),
    /// These words, one after another.
    Words(Vec<String>),
    Number(Comparison, f64),
    Integer(Comparison, i64),
    /// One of these, of a list that has an order.
    OneOf(Vec<&'static str>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    fn holds<T: PartialOrd>(self, one: T, two: T) -> bool {
        match self {
            Self::Equal => one == two,
            Self::Less => one < two,
            Self::LessOrEqual => one <= two,
            Self::Greater => one > two,
            Self::GreaterOrEqual => one >= two,
        }
    }
}

impl Filter {
    /// Every row.
    pub fn all(kind: Kind) -> Self {
        Self {
            kind,
            node: Node::Every(Vec::new()),
        }
    }

    /// From its written form; an empty one is every row.
    ///
    /// # Errors
    /// What is no filter for this kind, with the place.
    pub fn parse(kind: Kind, text: &str) -> Result<Self, FilterError> {
        let node = parse::parse(kind.schema(), text)?;
        Ok(Self { kind, node })
    }

    /// Rows that have exactly this value in this column, such as the id of a trace in its written form,
    /// or the name of somebody, in this case of its letters. A column that the kind lacks has no
    /// value, so that no row matches.
    pub fn exactly(kind: Kind, column: &str, value: &str) -> Self {
        let node = match kind.schema().place(column) {
            Some(place) => Node::Column(place, Test::Same(value.to_owned())),
            None => Node::Any(Vec::new()),
        };
        Self { kind, node }
    }

    /// Rows that both choose.
    ///
    /// # Panics
    /// If they are for different kinds.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        assert!(self.kind == other.kind, "filters of one kind can be joined");
        Self {
            kind: self.kind,
            node: Node::Every(vec![self.node, other.node]),
        }
    }

    /// Rows that one of both chooses.
    ///
    /// # Panics
    /// If they are for different kinds.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        assert!(self.kind == other.kind, "filters of one kind can be joined");
        Self {
            kind: self.kind,
            node: Node::Any(vec![self.node, other.node]),
        }
    }

    /// The kind it is for.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it excludes nothing.
    pub fn is_all(&self) -> bool {
        fn all(node: &Node) -> bool {
            matches!(node, Node::Every(parts) if parts.iter().all(all))
        }
        all(&self.node)
    }

    /// The columns it looks at.
    pub fn columns(&self) -> BTreeSet<usize> {
        let mut columns = BTreeSet::new();
        self.node.columns(self.kind.schema(), &mut columns);
        columns
    }

    /// Where rows may match, among rows of which `pages` says where they may have what.
    pub fn may_match(&self, pages: &mut impl FnMut(Key) -> Pages) -> Pages {
        self.node.may_match(self.kind.schema(), pages)
    }

    /// Whether a row matches. The batch must have the columns of [`Self::columns`].
    pub fn matches(&self, batch: &Batch, row: usize) -> bool {
        self.node.matches(batch, row)
    }

    /// Which rows match: for each whether it does. Faster than asking for one after another, since
    /// words are looked for in all rows at once.
    pub fn matching(&self, batch: &Batch) -> Vec<bool> {
        self.node.matching(batch)
    }
}

impl Node {
    fn columns(&self, schema: &Schema, to: &mut BTreeSet<usize>) {
        match self {
            Self::Every(parts) | Self::Any(parts) => {
                for part in parts {
                    part.columns(schema, to);
                }
            }
            Self::Not(part) => part.columns(schema, to),
            Self::Words(_) => to.extend(texts(schema)),
            Self::Column(place, _) => {
                to.insert(*place);
            }
            Self::Attribute(..) => to.extend(schema.attributes()),
        }
    }

    fn may_match(&self, schema: &Schema, pages: &mut impl FnMut(Key) -> Pages) -> Pages {
        match self {
            Self::Every(parts) => every(parts, |it| it.may_match(schema, pages)),
            Self::Any(parts) => any(parts, |it| it.may_match(schema, pages)),
            Self::Words(words) => every(words, |it| pages(word_key(it))),
            Self::Column(place, test) => {
                let column = &schema.columns[*place];
                match (test, column.search) {
                    (Test::Equal(value) | Test::Same(value), Search::Exact) => {
                        pages(exact_key(column.name, value))
                    }
                    (Test::OneOf(values), Search::Exact) => {
                        any(values, |it| pages(exact_key(column.name, it)))
                    }
                    (Test::Words(words), Search::Words) => every(words, |it| pages(word_key(it))),
                    _ => Pages::ALL,
                }
            }
            // The words of a value stand in the object as they are, but for those with escapes.
            Self::Attribute(_, Test::Equal(value))
                if value
                    .bytes()
                    .all(|it| it.is_ascii_alphanumeric() || it == b'_') =>
            {
                every(tokens(value), |it| pages(word_key(it)))
            }
            Self::Not(_) | Self::Attribute(..) => Pages::ALL,
        }
    }

    fn matching(&self, batch: &Batch) -> Vec<bool> {
        match self {
            Self::Every(parts) => {
                let mut rows = vec![true; batch.rows()];
                for part in parts {
                    join(&mut rows, &part.matching(batch), |one, two| one && two);
                }
                rows
            }
            Self::Any(parts) => {
                let mut rows = vec![false; batch.rows()];
                for part in parts {
                    join(&mut rows, &part.matching(batch), |one, two| one || two);
                }
                rows
            }
            Self::Not(part) => part.matching(batch).into_iter().map(|it| !it).collect(),
            Self::Words(words) => {
                let mut rows = vec![false; batch.rows()];
                for place in texts(batch.schema()) {
                    mark_words(batch, place, words, &mut rows);
                }
                rows
            }
            Self::Column(place, Test::Words(words)) => {
                let mut rows = vec![false; batch.rows()];
                mark_words(batch, *place, words, &mut rows);
                rows
            }
            Self::Column(..) | Self::Attribute(..) => (0..batch.rows())
                .map(|row| self.matches(batch, row))
                .collect(),
        }
    }

    fn matches(&self, batch: &Batch, row: usize) -> bool {
        match self {
            Self::Every(parts) => parts.iter().all(|it| it.matches(batch, row)),
            Self::Any(parts) => parts.iter().any(|it| it.matches(batch, row)),
            Self::Not(part) => !part.matches(batch, row),
            Self::Words(words) => texts(batch.schema())
                .filter_map(|it| batch.text(it, row))
                .any(|text| contains(text, words)),
            Self::Column(place, test) => {
                let value = batch.value(*place, row);
                value.is_some_and(|it| test.holds(batch.schema().columns[*place].holds, it))
            }
            Self::Attribute(name, test) => {
                let object = batch
                    .schema()
                    .attributes()
                    .and_then(|it| batch.text(it, row));
                // Most objects do not have the name at all: they need not be read.
                let object = object.filter(|it| it.contains(last_part(name)));
                let object = object.and_then(|it| serde_json::from_str::<Json>(it).ok());
                let value = object.as_ref().and_then(|it| attribute(it, name));
                value.is_some_and(|it| test.holds_for(it))
            }
        }
    }
}

impl Test {
    fn holds(&self, holds: ColumnType, value: Value<'_>) -> bool {
        match (self, value) {
            (Self::Present, _) => true,
            (Self::Integer(comparison, wanted), Value::Integer(it)) => {
                comparison.holds(it, *wanted)
            }
            (_, Value::Text(text)) => self.holds_for_text(text),
            (Self::Equal(_) | Self::Same(_) | Self::Prefix(_), _) => {
                self.holds_for_text(&shown(holds, value))
            }
            _ => false,
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Equal(wanted) => text.eq_ignore_ascii_case(wanted),
            Self::Same(wanted) => text == wanted,
            Self::Prefix(wanted) => {
                let start = text.as_bytes().get(..wanted.len());
                start.is_some_and(|it| it.eq_ignore_ascii_case(wanted.as_bytes()))
            }
            Self::Words(words) => contains(text, words),
            Self::OneOf(words) => words.iter().any(|it| text.eq_ignore_ascii_case(it)),
            Self::Number(comparison, wanted) => {
                let number = text.parse::<f64>().ok();
                number.is_some_and(|it| comparison.holds(it, *wanted))
            }
            Self::Integer(comparison, wanted) => {
                let number = text.parse::<i64>().ok();
                number.is_some_and(|it| comparison.holds(it, *wanted))
            }
        }
    }

    fn holds_for(&self, value: &Json) -> bool {
        match (self, value) {
            (_, Json::Null) => false,
            (Self::Present, _) => true,
            (Self::Number(comparison, wanted), Json::Number(it)) => {
                it.as_f64().is_some_and(|it| comparison.holds(it, *wanted))
            }
            (_, Json::String(text)) => self.holds_for_text(text),
            (_, Json::Array(them)) => them.iter().any(|it| self.holds_for(it)),
            (_, other) => self.holds_for_text(&other.to_string()),
        }
    }
}

/// Where all may be.
fn every<T>(parts: impl IntoIterator<Item = T>, mut pages: impl FnMut(T) -> Pages) -> Pages {
    let mut left = Pages::ALL;
    for part in parts {
        left = left & pages(part);
        if left.is_none() {
            break; // the others need not be asked
        }
    }
    left
}

/// Where one of them may be.
fn any<T>(parts: impl IntoIterator<Item = T>, mut pages: impl FnMut(T) -> Pages) -> Pages {
    let parts = parts.into_iter();
    parts.fold(Pages::NONE, |found, it| found | pages(it))
}

fn join(rows: &mut [bool], others: &[bool], how: fn(bool, bool) -> bool) {
    for (row, other) in rows.iter_mut().zip(others) {
        *row = how(*row, *other);
    }
}

/// Marks the rows that have these words in a column: the longest word is looked for in the whole
/// column, and only where it stands are the words compared.
fn mark_words(batch: &Batch, place: usize, words: &[String], rows: &mut [bool]) {
    let (all, ends) = batch.texts(place);
    let Some(longest) = words.iter().max_by_key(|it| it.len()) else {
        return;
    };
    let lower = all.to_ascii_lowercase();
    let wanted = longest.to_ascii_lowercase();
    let finder = memchr::memmem::Finder::new(&wanted);
    let place_of = |it: &u32| usize::try_from(*it).unwrap_or(usize::MAX);
    let (mut row, mut at) = (0, 0);
    while let Some(found) = lower.as_bytes().get(at..).and_then(|it| finder.find(it)) {
        row += ends[row..].partition_point(|it| place_of(it) <= at + found);
        if let Some(mark) = rows.get_mut(row).filter(|it| !**it) {
            *mark = batch.text(place, row).is_some_and(|it| contains(it, words));
        }
        // From the next row on: what was found may have ended in it, before the word itself.
        at = ends.get(row).map_or(usize::MAX, place_of);
    }
}

/// The columns in which bare words are looked for.
fn texts(schema: &Schema) -> impl Iterator<Item = usize> {
    let columns = schema.columns.iter().enumerate();
    columns.filter_map(|(place, it)| (it.search == Search::Words).then_some(place))
}

/// The value under a name: `http.status` is a name with a dot, or `status` inside of `http`.
fn attribute<'a>(object: &'a Json, name: &str) -> Option<&'a Json> {
    if let Some(found) = object.get(name) {
        return Some(found);
    }
    let mut dots = name.match_indices('.').map(|(at, _)| at);
    dots.find_map(|dot| attribute(object.get(&name[..dot])?, &name[dot + 1..]))
}

/// What an object with the name must have in it, however it is nested.
fn last_part(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

#[cfg(test)]
mod tests;
