//! Configuration: a file, the environment and the command line, laid over what is built in.
//!
//! What was written becomes a [`tree`] whose every value knows its place; [`sections`] says which
//! keys there are and reads them; [`check`] makes [`Settings`] of that, or says everything that is
//! wrong at once.

mod check;
mod problem;
mod reference;
mod schema;
mod sections;
mod settings;
mod start;
mod tree;
mod value;
mod variables;

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub(crate) use problem::{Problem, Problems};
pub(crate) use reference::{markdown, reference};
pub(crate) use schema::Effective;
pub(crate) use settings::*;
pub(crate) use start::changed;
pub(crate) use tree::Origin;
pub(crate) use variables::VARIABLE_PREFIX;

use schema::{At, Reader, Section as _};
use sections::Root;
use tree::{Content, Node, Table};

/// The format of files that this program reads.
const VERSION: u64 = 1;

/// The largest configuration file; a thousand organisations fit into it.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where a configuration is taken from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// `--config`.
    pub(crate) file: Option<PathBuf>,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--data`.
    pub(crate) data: Option<PathBuf>,
    /// `--enforce`.
    pub(crate) enforce: bool,
    /// The environment.
    pub(crate) environment: BTreeMap<String, String>,
}

/// A configuration in effect.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// As the program uses it.
    pub(crate) settings: Settings,
    /// Value by value, with where each comes from, in the order of the reference.
    pub(crate) effective: Vec<Effective>,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// The file cannot be read.
    #[error("the configuration `{}` cannot be read; name another with --config or TIDEGATE_CONFIG", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It can be read, and is wrong.
    #[error(transparent)]
    Refused(#[from] Problems),
}

impl Sources {
    /// Nothing but the environment of this process. Variables that are no Unicode are left out:
    /// none of ours is.
    pub(crate) fn of_process() -> Self {
        let pairs = std::env::vars_os();
        let text = |it: std::ffi::OsString| it.into_string().ok();
        Self {
            environment: pairs
                .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
                .collect(),
            ..Self::default()
        }
    }

    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.environment.get(name).map(String::as_str);
        value.filter(|it| !it.is_empty())
    }

    /// The file to read: `--config`, `TIDEGATE_CONFIG`, or the usual one if it exists.
    pub(crate) fn config_file(&self) -> Option<PathBuf> {
        let named = self.file.clone();
        let named = named.or_else(|| self.variable("TIDEGATE_CONFIG").map(PathBuf::from));
        named.or_else(|| self.usual_file().filter(|it| it.exists()))
    }

    /// `$XDG_CONFIG_HOME/tidegate/tidegate.toml`, else the same below `~/.config`.
    pub(crate) fn usual_file(&self) -> Option<PathBuf> {
        let folder = self.folder("XDG_CONFIG_HOME", ".config")?;
        Some(folder.join("tidegate").join("tidegate.toml"))
    }

    /// `$XDG_DATA_HOME/tidegate`, else the same below `~/.local/share`.
    pub(crate) fn usual_data(&self) -> Option<PathBuf> {
        Some(
            self.folder("XDG_DATA_HOME", ".local/share")?
                .join("tidegate"),
        )
    }

    /// The XDG recommendation: a relative path in such a variable is ignored.
    fn folder(&self, variable: &str, below_home: &str) -> Option<PathBuf> {
        let named = self.variable(variable).map(PathBuf::from);
        named
            .filter(|it| it.is_absolute())
            .or_else(|| Some(Path::new(self.variable("HOME")?).join(below_home)))
    }

    /// The options of this program that lead to the same configuration and data, as they are typed.
    fn options(&self) -> String {
        let mut options = String::new();
        for (name, value) in [("--config", &self.file), ("--data", &self.data)] {
            if let Some(value) = value {
                let value = value.display().to_string();
                let is_plain = |it: char| it.is_alphanumeric() || "/._-".contains(it);
                let typed = if value.chars().all(is_plain) {
                    value
                } else {
                    format!("'{}'", value.replace('\'', "'\\''"))
                };
                options.extend([name, " ", &typed, " "]);
            }
        }
        options
    }

    /// A text whose commands of ours work as they stand there: with the options that were given.
    pub(crate) fn as_typed(&self, text: &str) -> String {
        let typed = format!("`tidegate {}", self.options());
        // A gateway that we started has said them already.
        let text = text.replace(&typed, "`tidegate ");
        text.replace("`tidegate ", &typed)
    }

    /// Lays the variables and options over `table`.
    fn overlay(&self, table: &mut Table, reader: &mut Reader) {
        self.overlay_keys(table, reader);
        for (variable, key) in variables::ALIASES {
            if let Some(value) = self.variable(variable) {
                let origin = Origin::Environment(variable.to_owned());
                set_text(table, key, value, origin);
            }
        }
        if let Some(listen) = &self.listen {
            set_text(table, "listen", listen, Origin::Flag("--listen"));
        }
        if let Some(data) = &self.data {
            set_text(
                table,
                "data",
                &data.to_string_lossy(),
                Origin::Flag("--data"),
            );
        }
        if self.enforce {
            let node = Node {
                content: Content::Boolean(true),
                origin: Origin::Flag("--enforce"),
            };
            table.set(&["enforce"], node);
        }
    }

    /// Lays the variables over `table` that set keys by their names.
    fn overlay_keys(&self, table: &mut Table, reader: &mut Reader) {
        let keys = Root::keys();
        for (name, value) in &self.environment {
            let Some(rest) = name.strip_prefix(VARIABLE_PREFIX) else {
                continue;
            };
            let origin = Origin::Environment(name.clone());
            let path: Vec<&str> = rest.split("__").collect();
            if path.iter().any(|it| it.is_empty()) {
                let message =
                    "two underscores stand between section and key, like TIDEGATE__LOG__LEVEL";
                reader.refuse(origin, String::new(), message);
                continue;
            }
            let path = variables::spelled(&path, &keys);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            table.set(&path, Node::loose(value, origin));
        }
        for (name, value) in &self.environment {
            // One that holds a secret may be called whatever its owner likes.
            let is_read = value.is_empty() || table.names_variable(name);
            let meant = variables::meant(name, &keys).filter(|_| !is_read);
            if let Some(meant) = meant {
                let origin = Origin::Environment(name.clone());
                let message = format!(
                    "this variable is not known; did you mean `{meant}`? Two underscores stand between its parts"
                );
                reader.refuse(origin, String::new(), message);
            }
        }
    }
}

fn set_text(table: &mut Table, key: &str, text: &str, origin: Origin) {
    let content = Content::Text(text.to_owned());
    table.set(&[key], Node { content, origin });
}

/// Reads and checks the configuration. Either all of it is right, or nothing takes effect.
pub(crate) fn load(sources: &Sources) -> Result<Loaded, LoadError> {
    let file = sources.config_file();
    let text = file.as_deref().map(read).transpose()?;
    let written = file.as_deref().zip(text.as_deref());
    let (settings, effective) = build(written, sources)?;
    Ok(Loaded {
        settings,
        effective,
        file,
    })
}

/// What options and environment say of where a gateway is, as if there were no file; `None` where
/// they are wrong themselves.
pub(crate) fn beside_file(sources: &Sources) -> Option<Settings> {
    let mut sources = sources.clone();
    let says_where = ["TIDEGATE__LISTEN", "TIDEGATE__DATA"];
    sources
        .environment
        .retain(|it, _| !variables::is_of_key(it) || says_where.contains(&it.as_str()));
    build(None, &sources).ok().map(|it| it.0)
}

/// Checks `text` as if it were the file at `path`, with the rest of `sources`.
pub(crate) fn build(
    file: Option<(&Path, &str)>,
    sources: &Sources,
) -> Result<(Settings, Vec<Effective>), Problems> {
    let mut reader = Reader::default();
    let mut table = tree::parse_built_in(BUILT_IN).unwrap_or_default();
    if let Some((path, text)) = file {
        let path: Arc<Path> = Arc::from(path);
        let written = tree::parse(text, &path).map_err(|it| Problems(vec![it]))?;
        check_version(&written, &path)?;
        table.merge(written);
    }
    sources.overlay(&mut table, &mut reader);
    let at = At {
        path: String::new(),
        table: Some(&table),
        origin: Origin::BuiltIn,
    };
    let root = Root::read(&mut reader, &at);
    let settings = root.and_then(|root| check::check(root, &mut reader, sources));
    match settings {
        Some(settings) if reader.problems.is_empty() => Ok((settings, reader.effective)),
        _ => Err(Problems(reader.problems)),
    }
}

/// What is built in: providers and platforms. Everything else is a default of its key.
const BUILT_IN: &str = include_str!("config/builtin.toml");

/// A file of another version is not read any further: its keys may mean something else.
fn check_version(table: &Table, path: &Arc<Path>) -> Result<(), Problems> {
    let refuse = |origin: Origin, message: &str| {
        Err(Problems(vec![Problem {
            origin,
            key: "version".to_owned(),
            message: message.to_owned(),
        }]))
    };
    let Some(node) = table.get("version") else {
        let origin = Origin::File {
            path: path.clone(),
            line: 1,
            column: 1,
        };
        return refuse(
            origin,
            "it is missing; write `version = 1` as the first line",
        );
    };
    match node.strict() {
        Content::Integer(text) if text == "1" => Ok(()),
        _ => refuse(
            node.origin.clone(),
            &format!(
                "`{}` is not a version this program reads; it reads 1",
                node.to_toml()
            ),
        ),
    }
}

fn read(path: &Path) -> Result<String, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let length = std::fs::metadata(path).map_err(unreadable)?.len();
    if length > FILE_BYTES_MAX {
        let message = format!("it has {length} bytes, more than {FILE_BYTES_MAX}");
        return Err(unreadable(io::Error::new(
            io::ErrorKind::FileTooLarge,
            message,
        )));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

#[cfg(test)]
mod tests;
