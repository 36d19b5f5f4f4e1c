//! Our hook in Claude Code's lists of hooks, beside those that others have put there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::members::{Members, Unchangeable};
use crate::cli::hook;

/// What was added to one list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Added {
    /// The list as it was written before; `None` where it was not there.
    before: Option<String>,
    /// What was added at its end.
    entry: Value,
}

/// Adds our hook to the list of each event; one that was added before is replaced.
pub(super) fn add(
    members: &mut Members,
    added: &mut BTreeMap<String, Added>,
    command: &str,
) -> Result<(), Unchangeable> {
    let entry = json!({
        "hooks": [{ "type": "command", "command": command, "timeout": hook::SECONDS_MAX }],
    });
    for event in hook::EVENTS {
        let path = ["hooks", event];
        let mut list = members.list(&path)?.unwrap_or_default();
        let added = added.entry(event.to_owned()).or_insert_with(|| Added {
            before: members.raw(&path).map(str::to_owned),
            entry: Value::Null,
        });
        list.retain(|it| *it != added.entry);
        list.push(entry.clone());
        members.set(&path, &Value::Array(list).to_string())?;
        added.entry = entry.clone();
    }
    Ok(())
}

/// Takes our hook out of each list; those where it is no more are named.
pub(super) fn take_out(
    members: &mut Members,
    added: &BTreeMap<String, Added>,
) -> Result<Vec<String>, Unchangeable> {
    let mut kept = Vec::new();
    for (event, Added { before, entry }) in added.iter().rev() {
        let path = ["hooks", event.as_str()];
        let Some(now) = members.list(&path)? else {
            continue;
        };
        let rest: Vec<Value> = now.iter().filter(|it| *it != entry).cloned().collect();
        if rest.len() == now.len() {
            kept.push(path.join("."));
            continue;
        }
        let was = before.as_deref().map(serde_json::from_str::<Vec<Value>>);
        match (before, was) {
            (Some(before), Some(Ok(was))) if was == rest => members.set(&path, before)?,
            (None, _) if rest.is_empty() => members.remove(&path),
            _ => members.set(&path, &Value::Array(rest).to_string())?,
        }
    }
    Ok(kept)
}
