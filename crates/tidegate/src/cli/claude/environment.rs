//! The environment that Claude Code's settings give it. What they say stands before what it is started
//! with.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;

use super::{Place, SETTINGS_BYTES_MAX};

/// Where an organisation's own settings are; nobody's stand before them.
const MANAGED: [&str; 2] = [
    "/etc/claude-code/managed-settings.json",
    "/Library/Application Support/ClaudeCode/managed-settings.json",
];

/// What a settings file sets, and which one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Set {
    /// The value.
    pub(crate) value: String,
    /// The file.
    pub(crate) file: PathBuf,
}

/// What settings set for a session in this folder, by the variable. A file that can't be read sets
/// nothing, as Claude Code has it.
pub(crate) fn set_by_settings(
    environment: &BTreeMap<String, String>,
    folder: &Path,
) -> BTreeMap<String, Set> {
    let users = Place::of(environment).ok().map(|it| it.settings);
    let own = folder.join(".claude");
    let project = ["settings.json", "settings.local.json"].map(|it| own.join(it));
    let files = users
        .into_iter()
        .chain(project)
        .chain(MANAGED.map(PathBuf::from));
    let mut all = BTreeMap::new();
    // The later one stands before the earlier.
    for file in files {
        for (name, value) in environment_in(&file).unwrap_or_default() {
            let file = file.clone();
            all.insert(name, Set { value, file });
        }
    }
    all
}

fn environment_in(file: &Path) -> Option<Vec<(String, String)>> {
    let length = fs::metadata(file).ok()?.len();
    let text = (length <= SETTINGS_BYTES_MAX).then(|| fs::read_to_string(file));
    let settings: Value = serde_json::from_str(&text?.ok()?).ok()?;
    let members = settings.get("env")?.as_object()?.iter();
    let texts = members.filter_map(|(name, value)| {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Number(_) | Value::Bool(_) => value.to_string(),
            _ => return None,
        };
        Some((name.clone(), text))
    });
    Some(texts.collect())
}
