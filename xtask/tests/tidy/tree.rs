//! The files that belong to the project.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Folders that hold what was built, installed or fetched.
const NOT_OURS: &[&str] = &[
    "target",
    "node_modules",
    ".git",
    "__pycache__",
    "fuzz/corpus",
];

/// The root of the tree that cargo tests, which need not be the one this was built in: several
/// clones may share a folder of built files.
pub(crate) fn root() -> PathBuf {
    let xtask = std::env::var_os("CARGO_MANIFEST_DIR").unwrap();
    Path::new(&xtask).parent().unwrap().to_owned()
}

/// A file of the tree: its path from the root, and its text.
#[derive(Debug, Clone)]
pub(crate) struct Text {
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Text {
    pub(crate) fn new(path: &str, text: &str) -> Self {
        let (path, text) = (path.to_owned(), text.to_owned());
        Self { path, text }
    }

    /// The name of the crate's folder, for files of `crates/`.
    pub(crate) fn krate(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether the file holds only tests, as ours are kept in files of their own.
    pub(crate) fn is_test(&self) -> bool {
        self.path.ends_with("tests.rs")
            || self.path.contains("/tests/")
            || self.path.contains("/benches/")
    }
}

/// Every text file with one of these endings, in the order of paths.
pub(crate) fn texts(endings: &[&str]) -> Vec<Text> {
    let root = root();
    let mut waiting = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(path) = waiting.pop() {
        let from_root = path.strip_prefix(&root).unwrap().display().to_string();
        if path.is_dir() {
            let ours = !NOT_OURS
                .iter()
                .any(|it| from_root == *it || from_root.ends_with(&format!("/{it}")));
            if ours {
                waiting.extend(fs::read_dir(&path).unwrap().map(|it| it.unwrap().path()));
            }
        } else if endings.iter().any(|it| from_root.ends_with(it)) {
            // Not text: a recorded stream with broken bytes, an image.
            if let Ok(text) = fs::read_to_string(&path) {
                found.push(Text::new(&from_root, &text));
            }
        }
    }
    found.sort_by(|one, two| one.path.cmp(&two.path));
    assert!(
        !found.is_empty(),
        "no file ends with {endings:?}: the walk is broken"
    );
    found
}

/// What one `Cargo.toml` says.
#[derive(Debug)]
pub(crate) struct Manifest {
    pub(crate) name: String,
    /// All kinds: normal, build, dev; for all targets.
    pub(crate) dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) dev: bool,
    /// Its version is the workspace's.
    pub(crate) workspace: bool,
}

impl Manifest {
    pub(crate) fn parse(text: &str) -> Self {
        let table: toml::Table = text.parse().unwrap();
        let mut dependencies = Vec::new();
        let targets = table.get("target").and_then(toml::Value::as_table);
        let targets = targets.into_iter().flat_map(toml::Table::values);
        let tables = targets.filter_map(toml::Value::as_table);
        for table in std::iter::once(&table).chain(tables) {
            for kind in ["dependencies", "build-dependencies", "dev-dependencies"] {
                let found = table.get(kind).and_then(toml::Value::as_table);
                for (name, it) in found.into_iter().flatten() {
                    let dev = kind == "dev-dependencies";
                    let (name, workspace) = (name.clone(), it.get("workspace").is_some());
                    dependencies.push(Dependency {
                        name,
                        dev,
                        workspace,
                    });
                }
            }
        }
        let name = table["package"]["name"].as_str().unwrap().to_owned();
        Self { name, dependencies }
    }
}

/// Those of `crates/` and of `xtask`.
pub(crate) fn manifests() -> Vec<Manifest> {
    let ours = |it: &Text| it.path.ends_with("/Cargo.toml") && !it.path.contains("/fuzz/");
    let found = texts(&["Cargo.toml"]).into_iter().filter(ours);
    found.map(|it| Manifest::parse(&it.text)).collect()
}
