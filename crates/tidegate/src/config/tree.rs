//! A configuration as it was written: values with the place each comes from.

use std::{fmt, path::Path, sync::Arc};

use toml::de::{DeTable, DeValue};

use super::problem::Problem;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody said anything.
    BuiltIn,
    /// A configuration file.
    File {
        /// The file.
        path: Arc<Path>,
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
    },
    /// An environment variable.
    Environment(String),
    /// An option of the command line.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("default"),
            Self::File { path, line, column } => {
                write!(f, "{}:{line}:{column}", path.display())
            }
            Self::Environment(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) origin: Origin,
}

/// What was written.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A string.
    Text(String),
    /// A whole number, in decimal.
    Integer(String),
    /// A number with a fraction or exponent, as written: money is exact.
    Decimal(String),
    Boolean(bool),
    Date(String),
    List(Vec<Node>),
    Table(Table),
    /// What an environment variable holds: TOML where it reads as that, else a string. Which of
    /// the two is decided by whoever reads it, so that a key like `12345` stays a text.
    Loose(String, Option<Box<Node>>),
}

/// Keys in the order they were written; names are unique.
#[derive(Clone, Debug, Default)]
pub(super) struct Table(Vec<Entry>);

/// One key with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) name: String,
    /// Where the key itself stands.
    pub(super) origin: Origin,
    pub(super) node: Node,
}

impl Table {
    pub(super) fn get(&self, name: &str) -> Option<&Node> {
        let found = self.0.iter().find(|it| it.name == name);
        found.map(|it| &it.node)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.iter()
    }

    /// Lays `over` over this: tables merge, everything else is replaced.
    pub(super) fn merge(&mut self, over: Self) {
        for entry in over.0 {
            match self.0.iter_mut().find(|it| it.name == entry.name) {
                Some(under) => under.merge(entry),
                None => self.0.push(entry),
            }
        }
    }

    /// Sets the value at `path`, making the tables on the way. Names match however they write dashes,
    /// and without lower case whatever their case, since variables can hold neither by convention.
    pub(super) fn set(&mut self, path: &[&str], node: Node) {
        let [name, rest @ ..] = path else { return };
        let at = self.place_of(name).unwrap_or_else(|| {
            self.0.push(Entry {
                name: if has_case(name) {
                    (*name).to_owned()
                } else {
                    plain(name)
                },
                origin: node.origin.clone(),
                node: Node {
                    content: Content::Table(Self::default()),
                    origin: node.origin.clone(),
                },
            });
            self.0.len() - 1
        });
        let Some(entry) = self.0.get_mut(at) else {
            return;
        };
        if rest.is_empty() {
            entry.origin = node.origin.clone();
            entry.node = node;
            return;
        }
        if !matches!(entry.node.content, Content::Table(_)) {
            entry.node = Node {
                content: Content::Table(Self::default()),
                origin: node.origin.clone(),
            };
        }
        if let Content::Table(table) = &mut entry.node.content {
            table.set(rest, node);
        }
    }

    /// Whether a key in it, at any depth, says that a value is in the variable `name`.
    pub(super) fn names_variable(&self, name: &str) -> bool {
        self.entries().any(|it| match it.node.strict() {
            Content::Table(table) => table.names_variable(name),
            _ => it.name.ends_with("_env") && it.node.text() == Some(name),
        })
    }

    /// Where the entry is that a variable means by `name`: what is written like it goes before what is
    /// merely like it.
    fn place_of(&self, name: &str) -> Option<usize> {
        let place = |is_meant: &dyn Fn(&str) -> bool| {
            let mut names = self.0.iter().map(|it| it.name.as_str());
            names.position(is_meant)
        };
        let plain_name = plain(name);
        let like = if has_case(name) { dashless } else { plain };
        place(&|it| it == name)
            .or_else(|| place(&|it| it == plain_name).filter(|_| !has_case(name)))
            .or_else(|| place(&|it| like(it) == like(name)))
    }
}

/// Whether a name says which of its letters are large.
fn has_case(name: &str) -> bool {
    name.chars().any(char::is_lowercase)
}

fn dashless(name: &str) -> String {
    name.replace('-', "_")
}

fn plain(name: &str) -> String {
    dashless(&name.to_ascii_lowercase())
}

impl Entry {
    fn merge(&mut self, over: Self) {
        match (&mut self.node.content, over.node.content) {
            (Content::Table(under), Content::Table(table)) => under.merge(table),
            (_, content) => {
                self.origin = over.origin;
                self.node = Node {
                    content,
                    origin: over.node.origin,
                };
            }
        }
    }
}

impl Node {
    /// What an environment variable holds.
    pub(super) fn loose(text: &str, origin: Origin) -> Self {
        let read = DeValue::parse(text).ok().map(|it| {
            let place = Places::of_one(&origin);
            Box::new(place.node(it.get_ref(), 0))
        });
        Self {
            content: Content::Loose(text.to_owned(), read),
            origin,
        }
    }

    /// What a default in the program's own text says.
    pub(super) fn built_in(text: &str) -> Option<Self> {
        let read = DeValue::parse(text).ok()?;
        Some(Places::of_one(&Origin::BuiltIn).node(read.get_ref(), 0))
    }

    /// What it is when it need not be a text.
    pub(super) fn strict(&self) -> &Content {
        match &self.content {
            Content::Loose(_, Some(node)) => node.strict(),
            other => other,
        }
    }

    /// The text, where it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            Content::Loose(raw, read) => match read.as_deref() {
                Some(Self {
                    content: Content::Text(text),
                    ..
                }) => Some(text),
                _ => Some(raw),
            },
            _ => None,
        }
    }

    /// What it is, where what it says may be a secret of any form: only what no secret can be is quoted.
    pub(super) fn kind(&self) -> String {
        match self.strict() {
            Content::Text(_) | Content::Loose(..) => "a text".to_owned(),
            Content::List(_) => "a list".to_owned(),
            Content::Table(_) => "a table".to_owned(),
            Content::Integer(_) | Content::Decimal(_) | Content::Date(_) | Content::Boolean(_) => {
                format!("`{}`", self.to_toml())
            }
        }
    }

    /// As it would be written in a file, on one line.
    pub(super) fn to_toml(&self) -> String {
        match self.strict() {
            Content::Text(text) | Content::Loose(text, _) => quoted(text),
            Content::Integer(text) | Content::Decimal(text) | Content::Date(text) => text.clone(),
            Content::Boolean(value) => value.to_string(),
            Content::List(nodes) => {
                let inner: Vec<String> = nodes.iter().map(Self::to_toml).collect();
                format!("[{}]", inner.join(", "))
            }
            Content::Table(table) => {
                let pair = |it: &Entry| format!("{} = {}", key(&it.name), it.node.to_toml());
                let inner: Vec<String> = table.entries().map(pair).collect();
                if inner.is_empty() {
                    return "{}".to_owned();
                }
                format!("{{ {} }}", inner.join(", "))
            }
        }
    }
}

/// `text` as a TOML string.
pub(super) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// `name` as a TOML key: bare where it may be.
pub(super) fn key(name: &str) -> String {
    let bare = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'-' | b'_');
    if !name.is_empty() && name.bytes().all(bare) {
        name.to_owned()
    } else {
        quoted(name)
    }
}

/// What the parser says of a key that is there already; the place is the second one's.
const DUPLICATE: &str = "duplicate key";

/// Reads a file's text. Only its syntax can be wrong here.
pub(super) fn parse(text: &str, path: &Arc<Path>) -> Result<Table, Problem> {
    let places = Places {
        starts: line_starts(text),
        text,
        origin: Origin::File {
            path: path.clone(),
            line: 1,
            column: 1,
        },
    };
    match DeTable::parse(text) {
        Ok(table) => Ok(places.table(table.get_ref())),
        Err(error) => {
            let span = error.span().unwrap_or_default();
            let (at, what) = (span.start, text.get(span).unwrap_or_default());
            let message = match error.message().trim() {
                DUPLICATE => format!("the key `{what}` is there twice; keep one of them"),
                other => other.replace('\n', "; "),
            };
            Err(Problem {
                origin: places.origin(at),
                key: String::new(),
                message: format!("this is not TOML: {message}"),
            })
        }
    }
}

/// Reads the program's own text.
pub(super) fn parse_built_in(text: &str) -> Option<Table> {
    let table = DeTable::parse(text).ok()?;
    Some(Places::of_one(&Origin::BuiltIn).table(table.get_ref()))
}

fn line_starts(text: &str) -> Vec<usize> {
    let breaks = text.bytes().enumerate().filter(|(_, it)| *it == b'\n');
    std::iter::once(0)
        .chain(breaks.map(|(at, _)| at + 1))
        .collect()
}

/// Turns offsets into lines and columns.
struct Places<'a> {
    text: &'a str,
    starts: Vec<usize>,
    origin: Origin,
}

impl Places<'_> {
    fn of_one(origin: &Origin) -> Places<'static> {
        Places {
            text: "",
            starts: vec![0],
            origin: origin.clone(),
        }
    }

    fn origin(&self, at: usize) -> Origin {
        let Origin::File { path, .. } = &self.origin else {
            return self.origin.clone();
        };
        let line = self.starts.partition_point(|it| *it <= at);
        let start = line.checked_sub(1).and_then(|it| self.starts.get(it));
        let before = self.text.get(start.copied().unwrap_or(0)..at);
        Origin::File {
            path: path.clone(),
            line,
            column: before.map_or(1, |it| it.chars().count() + 1),
        }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let mut keys: Vec<_> = table.iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        let entry = |(key, value): (&toml::Spanned<_>, &toml::Spanned<_>)| Entry {
            name: String::from(AsRef::<str>::as_ref(key.get_ref())),
            origin: self.origin(key.span().start),
            node: self.node(value.get_ref(), value.span().start),
        };
        Table(keys.into_iter().map(entry).collect())
    }

    fn node(&self, value: &DeValue<'_>, at: usize) -> Node {
        let content = match value {
            DeValue::String(text) => Content::Text(text.to_string()),
            DeValue::Integer(number) => {
                // Beyond 128 bits no setting can hold it: what is written then says so itself.
                let read = i128::from_str_radix(number.as_str(), number.radix());
                Content::Integer(read.map_or(number.as_str().to_owned(), |it| it.to_string()))
            }
            DeValue::Float(number) => Content::Decimal(number.as_str().to_owned()),
            DeValue::Boolean(value) => Content::Boolean(*value),
            DeValue::Datetime(date) => Content::Date(date.to_string()),
            DeValue::Array(values) => {
                let node =
                    |it: &toml::Spanned<DeValue<'_>>| self.node(it.get_ref(), it.span().start);
                Content::List(values.iter().map(node).collect())
            }
            DeValue::Table(table) => Content::Table(self.table(table)),
        };
        Node {
            content,
            origin: self.origin(at),
        }
    }
}
