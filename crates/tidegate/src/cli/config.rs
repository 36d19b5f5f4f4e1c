//! `tidegate config`.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::Value;

use super::{
    Client, Format, Said,
    table::{Table, plain},
};
use crate::config::{LoadError, Loaded, Sources, beside_file, load, reference};

/// What can be done with the configuration.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Read it and say what is wrong; exits with 1 if anything is
    Check {
        /// The file; otherwise the one that `serve` would read
        file: Option<PathBuf>,
    },
    /// What is in effect, and where each value comes from
    Show(Format),
    /// A commented file with every key and its default
    Reference,
}

pub(super) fn answer(command: &ConfigCommand, sources: &Sources) -> anyhow::Result<Said> {
    match command {
        ConfigCommand::Check { file } => check(file.as_ref(), sources),
        ConfigCommand::Show(format) => {
            let values = match load(sources) {
                Ok(loaded) => values(&loaded),
                Err(error) => in_effect(sources, error)?,
            };
            if format.json {
                return Said::json(&values);
            }
            Ok(Said::fine(show(&values)))
        }
        ConfigCommand::Reference => Ok(Said::fine(reference())),
    }
}

fn check(file: Option<&PathBuf>, sources: &Sources) -> anyhow::Result<Said> {
    let mut sources = sources.clone();
    if let Some(file) = file {
        sources.file = Some(file.clone());
    }
    match load(&sources) {
        Ok(loaded) => {
            let what = loaded
                .file
                .map_or("the built-in configuration".to_owned(), |it| {
                    format!("`{}`", it.display())
                });
            Ok(Said::fine(format!("{what} is right")))
        }
        Err(LoadError::Refused(problems)) => {
            let count = problems.0.len();
            let noun = if count == 1 { "problem" } else { "problems" };
            Ok(Said {
                failed: true,
                ..Said::fine(format!(
                    "{}\n{count} {noun}",
                    plain_lines(&problems.to_string())
                ))
            })
        }
        Err(error) => Err(error.into()),
    }
}

fn plain_lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain).collect();
    lines.join("\n")
}

fn values(loaded: &Loaded) -> Vec<Value> {
    let value = |it: &crate::config::Effective| {
        serde_json::json!({
            "key": it.key,
            "value": it.value,
            "origin": it.origin.to_string(),
        })
    };
    loaded.effective.iter().map(value).collect()
}

/// Where the configuration is wrong: what the gateway has that runs with an earlier one.
fn in_effect(sources: &Sources, error: LoadError) -> anyhow::Result<Vec<Value>> {
    let client = beside_file(sources).and_then(|it| Client::of(&it).ok());
    let Some(client) = client.filter(Client::is_running) else {
        return Err(error.into());
    };
    super::passed_over(&error);
    super::say(&format!(
        "what the gateway at {} has in effect:",
        client.address()
    ));
    Ok(client.get("/api/v1/config")?)
}

/// Values for people.
fn show(values: &[Value]) -> String {
    let mut table = Table::new(&["key", "value", "from"]);
    for it in values {
        let text = |name: &str| plain(it[name].as_str().unwrap_or_default());
        table.row([text("key"), text("value"), text("origin")]);
    }
    table.show()
}
