//! Sections: a table of keys from which the reader, the reference and the documentation come.

use tidegate_observe::redact::redact;

use super::{
    problem::{Problem, nearest},
    tree::{Content, Node, Origin, Table, key},
    value::Setting,
};

/// A section of the configuration.
pub(super) trait Section: Sized {
    /// What it is for, in lines.
    const DOC: &'static [&'static str];

    /// Its keys, for the documentation.
    fn keys() -> Vec<Key>;

    /// Reads it; `None` where something is wrong, which is in the reader's problems then.
    fn read(reader: &mut Reader, at: &At<'_>) -> Option<Self>;
}

/// One key, as it is documented.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) doc: &'static [&'static str],
    pub(super) shape: Shape,
}

/// What a key holds.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// A value; `text` is its default, or an example where `is_example`.
    Value {
        form: String,
        text: &'static str,
        presence: Presence,
    },
    /// A table.
    Section(Vec<Key>, &'static [&'static str]),
    /// Tables by name.
    Named(Vec<Key>, &'static [&'static str]),
    /// A list of tables, and its default in TOML.
    List(Vec<Key>, &'static str),
}

/// Whether a value may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Then it has its default.
    Defaulted,
    /// Then there is none.
    Optional,
    /// No.
    Required,
}

/// A table that is being read, and what it is called.
#[derive(Clone, Debug)]
pub(super) struct At<'a> {
    pub(super) path: String,
    pub(super) table: Option<&'a Table>,
    pub(super) origin: Origin,
}

impl At<'_> {
    fn key(&self, name: &str) -> String {
        if self.path.is_empty() {
            key(name)
        } else {
            format!("{}.{}", self.path, key(name))
        }
    }
}

/// A value in effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effective {
    /// Its key, with its tables.
    pub(crate) key: String,
    /// Its value in TOML, secrets replaced.
    pub(crate) value: String,
    /// Where it comes from.
    pub(crate) origin: Origin,
}

/// What reading has found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Reader {
    /// Where the names of tables are written that have one.
    names: Vec<(String, Origin)>,
    pub(super) problems: Vec<Problem>,
    pub(super) effective: Vec<Effective>,
}

impl Reader {
    pub(super) fn refuse(&mut self, origin: Origin, key: String, message: impl Into<String>) {
        self.problems.push(Problem {
            origin,
            key,
            message: message.into(),
        });
    }

    /// Where somebody said what a key's value is or gave a table its name, or else where the first key
    /// beside it was said: what is wrong with a default is that it does not fit what was said.
    pub(super) fn origin(&self, key: &str) -> Origin {
        let of = |it: &Effective| it.origin.clone();
        let said = |it: &&Effective| it.origin != Origin::BuiltIn;
        let own = self.effective.iter().find(|it| it.key == key).filter(said);
        let beside = || {
            let (table, _) = key.rsplit_once('.')?;
            self.effective.iter().find(|it| {
                let rest = it.key.strip_prefix(table);
                rest.is_some_and(|it| it.starts_with('.')) && it.origin != Origin::BuiltIn
            })
        };
        let name = self.names.iter().find(|it| it.0 == key);
        if let Some((_, origin)) = name {
            return origin.clone();
        }
        own.or_else(beside).map_or(Origin::BuiltIn, of)
    }

    /// Whether any value below `prefix` was said by someone.
    pub(super) fn is_named(&self, prefix: &str) -> bool {
        self.effective.iter().any(|it| {
            let rest = it.key.strip_prefix(prefix);
            rest.is_some_and(|it| it.is_empty() || it.starts_with('.'))
                && it.origin != Origin::BuiltIn
        })
    }

    /// Refuses keys that are none of `known`.
    pub(super) fn only(&mut self, at: &At<'_>, known: &[&str]) {
        let entries = at.table.into_iter().flat_map(Table::entries);
        for entry in entries.filter(|it| !known.contains(&it.name.as_str())) {
            let remedy = match nearest(&entry.name, known.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let message = format!("this key is not known; {remedy}");
            self.refuse(entry.origin.clone(), at.key(&entry.name), message);
        }
    }

    fn take<T: Setting>(&mut self, key: String, node: &Node) -> Option<T> {
        match T::read(node) {
            Ok(value) => {
                let value_text = if T::SECRET {
                    "\"[redacted]\"".to_owned()
                } else {
                    redact(&node.to_toml()).into_owned()
                };
                self.effective.push(Effective {
                    key,
                    value: value_text,
                    origin: node.origin.clone(),
                });
                Some(value)
            }
            Err(message) => {
                self.refuse(node.origin.clone(), key, message);
                None
            }
        }
    }

    /// A value with a default, which is TOML.
    pub(super) fn value<T: Setting>(
        &mut self,
        at: &At<'_>,
        name: &str,
        default: &str,
    ) -> Option<T> {
        let node = at.table.and_then(|it| it.get(name)).cloned();
        let node = node.or_else(|| Node::built_in(default));
        match node {
            Some(node) => self.take(at.key(name), &node),
            // A default that is no TOML is a defect that the reference's own test finds.
            None => self.required(at, name, default),
        }
    }

    /// A value that may be absent.
    #[expect(
        clippy::option_option,
        reason = "outside: whether it could be read; inside: whether it is there"
    )]
    pub(super) fn optional<T: Setting>(
        &mut self,
        at: &At<'_>,
        name: &str,
        _example: &str,
    ) -> Option<Option<T>> {
        match at.table.and_then(|it| it.get(name)) {
            Some(node) => self.take(at.key(name), node).map(Some),
            None => Some(None),
        }
    }

    /// A value that must be there.
    pub(super) fn required<T: Setting>(
        &mut self,
        at: &At<'_>,
        name: &str,
        example: &str,
    ) -> Option<T> {
        if let Some(node) = at.table.and_then(|it| it.get(name)) {
            return self.take(at.key(name), node);
        }
        let message = format!("it is missing; write `{name} = {example}` or the like");
        self.refuse(at.origin.clone(), at.key(name), message);
        None
    }

    /// A table; an absent one is read as an empty one.
    pub(super) fn section<S: Section>(&mut self, at: &At<'_>, name: &str) -> Option<S> {
        let path = at.key(name);
        match at.table.and_then(|it| it.get(name)) {
            Some(node) => {
                let at = self.table(path, node)?;
                S::read(self, &at)
            }
            None => S::read(
                self,
                &At {
                    path,
                    table: None,
                    origin: at.origin.clone(),
                },
            ),
        }
    }

    fn table<'a>(&mut self, path: String, node: &'a Node) -> Option<At<'a>> {
        let origin = node.origin.clone();
        if let Content::Table(table) = node.strict() {
            return Some(At {
                path,
                table: Some(table),
                origin,
            });
        }
        // The value is not told: it may be a key, pasted a level too high.
        let message = format!(
            "{} is not a table; write [{path}] and its keys below",
            node.kind()
        );
        self.refuse(origin, path, message);
        None
    }

    /// Tables by name, in the order they were written.
    pub(super) fn named<S: Section>(
        &mut self,
        at: &At<'_>,
        name: &str,
    ) -> Option<Vec<(String, S)>> {
        let path = at.key(name);
        let Some(node) = at.table.and_then(|it| it.get(name)) else {
            return Some(Vec::new());
        };
        let outer = self.table(path, node)?;
        let mut all = Some(Vec::new());
        for entry in outer.table.into_iter().flat_map(Table::entries) {
            let path = outer.key(&entry.name);
            self.names.push((path.clone(), entry.origin.clone()));
            let read = self
                .table(path, &entry.node)
                .and_then(|at| S::read(self, &at));
            match (&mut all, read) {
                (Some(all), Some(section)) => all.push((entry.name.clone(), section)),
                // Go on, so that all problems are told at once.
                (all, _) => *all = None,
            }
        }
        all
    }

    /// A list of tables, replaced as a whole.
    pub(super) fn list<S: Section>(
        &mut self,
        at: &At<'_>,
        name: &str,
        default: &str,
    ) -> Option<Vec<S>> {
        let path = at.key(name);
        let written = at.table.and_then(|it| it.get(name)).cloned();
        let node = written.or_else(|| Node::built_in(default))?;
        let Content::List(nodes) = node.strict() else {
            let message = format!(
                "{} is not a list of tables; write [[{path}]] before each",
                node.kind()
            );
            self.refuse(node.origin.clone(), path, message);
            return None;
        };
        let mut all = Some(Vec::new());
        for (number, node) in nodes.iter().enumerate() {
            let read = self
                .table(format!("{path}[{number}]"), node)
                .and_then(|at| S::read(self, &at));
            match (&mut all, read) {
                (Some(all), Some(section)) => all.push(section),
                (all, _) => *all = None,
            }
        }
        all
    }
}

/// The type a key's value has.
macro_rules! key_type {
    (value $type:ty) => { $type };
    (required $type:ty) => { $type };
    (section $type:ty) => { $type };
    (optional $type:ty) => { Option<$type> };
    (named $type:ty) => { Vec<(String, $type)> };
    (list $type:ty) => { Vec<$type> };
}

macro_rules! read_key {
    (section $reader:ident $at:ident $type:ty, $name:expr,) => {
        $reader.section::<$type>($at, $name)
    };
    (named $reader:ident $at:ident $type:ty, $name:expr,) => {
        $reader.named::<$type>($at, $name)
    };
    ($kind:ident $reader:ident $at:ident $type:ty, $name:expr, $text:tt) => {
        $reader.$kind::<$type>($at, $name, stringify!($text))
    };
}

macro_rules! key_shape {
    (section $type:ty,) => { Shape::Section(<$type>::keys(), <$type>::DOC) };
    (named $type:ty,) => { Shape::Named(<$type>::keys(), <$type>::DOC) };
    (list $type:ty, $text:tt) => { Shape::List(<$type>::keys(), stringify!($text)) };
    (value $type:ty, $text:tt) => { key_shape!(@ Defaulted $type, $text) };
    (optional $type:ty, $text:tt) => { key_shape!(@ Optional $type, $text) };
    (required $type:ty, $text:tt) => { key_shape!(@ Required $type, $text) };
    (@ $presence:ident $type:ty, $text:tt) => {
        Shape::Value {
            form: <$type as Setting>::form(),
            text: stringify!($text),
            presence: Presence::$presence,
        }
    };
}

/// Declares sections. Each key has its documentation, its kind (`value`, `optional`, `required`,
/// `section`, `named`, `list`), its type, and as TOML its default or an example.
macro_rules! sections {
    ($(
        $(#[doc = $doc:literal])+
        $name:ident {
            $($(#[doc = $key_doc:literal])+ $kind:ident $key:ident: $type:ty $(= $text:tt)?;)+
        }
    )+) => {$(
        $(#[doc = $doc])+
        #[derive(Clone, Debug)]
        pub(super) struct $name {
            $($(#[doc = $key_doc])+ pub(super) $key: key_type!($kind $type),)+
        }

        impl Section for $name {
            const DOC: &'static [&'static str] = &[$($doc),+];

            fn keys() -> Vec<Key> {
                vec![$(Key {
                    name: stringify!($key),
                    doc: &[$($key_doc),+],
                    shape: key_shape!($kind $type, $($text)?),
                }),+]
            }

            fn read(reader: &mut Reader, at: &At<'_>) -> Option<Self> {
                reader.only(at, &[$(stringify!($key)),+]);
                $(let $key = read_key!($kind reader at $type, stringify!($key), $($text)?);)+
                Some(Self { $($key: $key?,)+ })
            }
        }
    )+};
}

pub(super) use {key_shape, key_type, read_key, sections};
