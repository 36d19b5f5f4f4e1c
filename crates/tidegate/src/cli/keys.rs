//! `tidegate keys`.

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use tidegate_observe::record::rfc3339_seconds;
use tidegate_types::{KeyId, Priority, Role, Timestamp};

use super::{
    Client, Format, Said,
    table::{Table, Tone, plain, toned},
};

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// All keys, without their secrets
    List(Format),
    /// Make a key; its secret is shown once
    Add(AddArgs),
    /// Refuse a key from now on
    Revoke {
        /// The key's id, as in the list
        id: KeyId,
    },
}

/// Options of `keys add`, and the body of `POST /api/v1/keys`.
#[derive(Clone, Debug, Args, Serialize)]
pub(crate) struct AddArgs {
    /// What people call it
    pub(crate) name: String,
    /// The user it acts as
    #[arg(long)]
    pub(crate) user: String,
    /// The organisation that pays
    #[arg(long, default_value = "local")]
    pub(crate) organisation: String,
    /// What it may do: caller, viewer, approver, operator or admin
    #[arg(long, default_value = "caller")]
    pub(crate) role: Role,
    /// The highest priority its calls may claim: low, medium, high or critical
    #[arg(long, default_value = "high")]
    pub(crate) highest_priority: Priority,
    /// The priority of calls that say nothing
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_priority: Option<Priority>,
    /// The type of tasks that say nothing
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) default_task_type: Option<String>,
    /// JSON for programs
    #[arg(long)]
    #[serde(skip)]
    pub(crate) json: bool,
}

/// A key as the API shows it: without hash or secret.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KeyView {
    pub(super) id: KeyId,
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) user: String,
    pub(super) organisation: String,
    pub(super) highest_priority: Priority,
    #[serde(default)]
    pub(super) default_priority: Option<Priority>,
    pub(super) created_at: Timestamp,
    #[serde(default)]
    pub(super) revoked_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Keys {
    keys: Vec<KeyView>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    key: KeyView,
    secret: String,
}

pub(super) fn answer(command: &KeysCommand, client: &Client) -> anyhow::Result<Said> {
    match command {
        KeysCommand::List(Format { json: true }) => {
            Said::json(&client.get::<serde_json::Value>("/api/v1/keys")?)
        }
        KeysCommand::List(_) => Ok(Said::fine(show(&client.get::<Keys>("/api/v1/keys")?.keys))),
        KeysCommand::Add(add) => {
            let added: Added = client.post("/api/v1/keys", add)?;
            if add.json {
                return Said::json(&added);
            }
            Ok(Said::fine(format!(
                "{}\n{} acts as {} of {} with role {}. This is the only time its secret is shown.",
                plain(&added.secret),
                added.key.id,
                plain(&added.key.user),
                plain(&added.key.organisation),
                added.key.role
            )))
        }
        KeysCommand::Revoke { id } => {
            let _answer: serde_json::Value = client.delete(&format!("/api/v1/keys/{id}"))?;
            Ok(Said::fine(format!("{id} is refused from now on")))
        }
    }
}

/// Keys for people.
pub(super) fn show(keys: &[KeyView]) -> String {
    let mut table = Table::new(&["key", "name", "user", "role", "up to", "made", "state"]);
    for key in keys {
        table.row([
            key.id.to_string(),
            plain(&key.name),
            plain(&format!("{} of {}", key.user, key.organisation)),
            key.role.to_string(),
            key.highest_priority.to_string(),
            rfc3339_seconds(key.created_at),
            match key.revoked_at {
                None => toned("in force", Tone::Good),
                Some(at) => toned(&format!("revoked {}", rfc3339_seconds(at)), Tone::Bad),
            },
        ]);
    }
    if table.is_empty() {
        "there are no keys; make one with `tidegate keys add NAME --user USER`\n".to_owned()
    } else {
        table.show()
    }
}
