//! `tidegate keys`: through the running gateway, or in the store itself where none runs.

use anyhow::Context as _;
use clap::{Args, Subcommand};
use tidegate_control::wire::{Key, KeyMade, KeyRequest, KeyRevoked, Keys};
use tidegate_ledger::keys::{self, KeyStore, SECRET_BYTES};
use tidegate_observe::{
    audit::{Action, Actor, AuditRow, AuditStore as _},
    redact::redact,
};
use tidegate_store::{DirectoryLock, SqliteStore};
use tidegate_types::{Clock as _, IdSource, KeyId, Priority, Role, SystemClock, Timestamp};

use super::{
    Client, Format, Said,
    table::{Table, Tone, plain, toned},
};
use crate::config::Settings;

/// Bytes of a name, a user or an organisation: as many as the control API takes.
const TEXT_BYTES_MAX: usize = 256;

/// What can be done with keys.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// All keys, without their secrets
    List(Format),
    /// Make a key; its secret is shown once. Works while no gateway runs, too
    Add(AddArgs),
    /// Refuse a key from now on
    Revoke {
        /// The key's id, as in the list
        id: KeyId,
        /// How to print
        #[command(flatten)]
        format: Format,
    },
}

/// Options of `keys add`.
#[derive(Clone, Debug, Args)]
pub(crate) struct AddArgs {
    /// What people call it
    #[arg(value_parser = text)]
    pub(crate) name: String,
    /// The user it acts as
    #[arg(long, value_parser = text)]
    pub(crate) user: String,
    /// The organisation that pays [default: the local one]
    #[arg(long, value_parser = text)]
    pub(crate) organisation: Option<String>,
    /// What it may do: caller, viewer, approver, operator or admin
    #[arg(long, default_value = "caller")]
    pub(crate) role: Role,
    /// The highest priority its calls may claim: low, medium, high or critical
    #[arg(long, default_value = "high")]
    pub(crate) highest_priority: Priority,
    /// The priority of calls that say nothing
    #[arg(long)]
    pub(crate) default_priority: Option<Priority>,
    /// The type of tasks that say nothing
    #[arg(long, value_parser = text)]
    pub(crate) default_task_type: Option<String>,
    /// How to print
    #[command(flatten)]
    pub(crate) format: Format,
}

/// A text that the control API takes.
fn text(value: &str) -> Result<String, String> {
    let fits = !value.is_empty() && value.len() <= TEXT_BYTES_MAX;
    if fits && !value.chars().any(char::is_control) {
        return Ok(value.to_owned());
    }
    Err(format!(
        "it must be a text of 1 to {TEXT_BYTES_MAX} bytes without control characters"
    ))
}

impl AddArgs {
    fn request(&self) -> anyhow::Result<KeyRequest> {
        let highest = self.highest_priority;
        if let Some(default) = self.default_priority.filter(|it| *it > highest) {
            anyhow::bail!(
                "--default-priority {default} is above --highest-priority {highest}: raise that, or lower this"
            );
        }
        let names = [
            Some(&self.name),
            Some(&self.user),
            self.organisation.as_ref(),
            self.default_task_type.as_ref(),
        ];
        if names.into_iter().flatten().any(|it| redact(it) != *it) {
            anyhow::bail!(
                "one of these names looks like a key, token or password: names are kept and shown, so choose another"
            );
        }
        Ok(KeyRequest {
            name: self.name.clone(),
            role: self.role,
            user: self.user.clone(),
            organisation: self.organisation.clone(),
            default_priority: self.default_priority,
            highest_priority: Some(highest),
            default_task_type: self.default_task_type.clone(),
        })
    }
}

/// Where keys are kept.
enum Ring {
    /// By a gateway that runs.
    Gateway(Client),
    /// In the store, which is ours alone for the moment.
    Store {
        store: Box<SqliteStore>,
        organisation: String,
        now: Timestamp,
    },
}

pub(super) fn answer(command: &KeysCommand, settings: &Settings) -> anyhow::Result<Said> {
    let ring = Ring::of(settings)?;
    match command {
        KeysCommand::List(format) => {
            let keys = ring.list()?;
            if format.json {
                return Said::json(&keys);
            }
            Ok(Said::fine(show(&keys.keys)))
        }
        KeysCommand::Add(add) => {
            let made = ring.add(add.request()?)?;
            if add.format.json {
                return Said::json(&made);
            }
            Ok(Said::fine(format!(
                "{}\n{} acts as {} of {} with role {}. This is the only time its secret is shown.",
                plain(&made.secret),
                made.key.id,
                plain(&made.key.user),
                plain(&made.key.organisation),
                made.key.role
            )))
        }
        KeysCommand::Revoke { id, format } => {
            let revoked = ring.revoke(*id)?;
            if format.json {
                return Said::json(&revoked);
            }
            Ok(Said::fine(format!("{id} is refused from now on")))
        }
    }
}

impl Ring {
    fn of(settings: &Settings) -> anyhow::Result<Self> {
        let client = Client::of(settings)?;
        if client.is_running() {
            return Ok(Self::Gateway(client));
        }
        let now = SystemClock::start().now();
        let lock = DirectoryLock::take(&settings.data, now).context(
            "no gateway answers, and its data folder can't be had without it; name another with --data",
        )?;
        Ok(Self::Store {
            store: Box::new(SqliteStore::open(lock)?),
            organisation: settings.local.organisation.to_string(),
            now,
        })
    }

    fn list(&self) -> anyhow::Result<Keys> {
        match self {
            Self::Gateway(client) => Ok(client.get("/api/v1/keys")?),
            Self::Store { store, .. } => {
                let keys = KeyStore::list(&**store)?;
                Ok(Keys {
                    keys: keys.into_iter().map(Key::from).collect(),
                })
            }
        }
    }

    fn add(&self, request: KeyRequest) -> anyhow::Result<KeyMade> {
        let (store, now, organisation) = match self {
            Self::Gateway(client) => return Ok(client.post("/api/v1/keys", &request)?),
            Self::Store {
                store,
                now,
                organisation,
            } => (store, *now, organisation.clone()),
        };
        let mut random = [0; SECRET_BYTES];
        getrandom::fill(&mut random).context("the system gives no randomness")?;
        let secret = keys::secret(&random);
        let key = keys::Key {
            id: IdSource::new().next(now),
            name: request.name,
            hash: keys::hash(secret.expose()),
            role: request.role,
            user: request.user,
            organisation: request.organisation.unwrap_or(organisation),
            default_priority: request.default_priority,
            highest_priority: request.highest_priority.unwrap_or(Priority::High),
            default_task_type: request.default_task_type,
            created_at: now,
            revoked_at: None,
        };
        store.insert(&key)?;
        store.append(&change(&key, Action::KeyAdded, now))?;
        Ok(KeyMade {
            key: key.into(),
            secret: secret.expose().clone(),
        })
    }

    fn revoke(&self, id: KeyId) -> anyhow::Result<KeyRevoked> {
        let (store, now) = match self {
            Self::Gateway(client) => return Ok(client.delete(&format!("/api/v1/keys/{id}"))?),
            Self::Store { store, now, .. } => (store, *now),
        };
        let known = KeyStore::list(&**store)?;
        let key = known.iter().find(|it| it.id == id);
        match key {
            Some(key) if KeyStore::revoke(&**store, id, now)? => {
                store.append(&change(key, Action::KeyRevoked, now))?;
                Ok(KeyRevoked { id })
            }
            _ => anyhow::bail!("there is no key in force `{id}`: `tidegate keys list` shows them"),
        }
    }
}

/// The row of a change in the audit: whoever can write the data folder has its token.
fn change(key: &keys::Key, action: Action, at: Timestamp) -> AuditRow {
    AuditRow {
        at,
        who: Actor::Local,
        role: Role::Admin,
        organisation: Some(key.organisation.as_str().into()),
        action,
        object: key.id.to_string(),
        before: None,
        after: None,
    }
}

/// Keys for people.
pub(super) fn show(keys: &[Key]) -> String {
    let mut table = Table::new(&["key", "name", "user", "role", "up to", "made", "state"]);
    for key in keys {
        table.row([
            key.id.to_string(),
            plain(&key.name),
            plain(&format!("{} of {}", key.user, key.organisation)),
            key.role.to_string(),
            key.highest_priority.to_string(),
            plain(&key.created_at),
            match &key.revoked_at {
                None => toned("in force", Tone::Good),
                Some(at) => toned(&format!("revoked {at}"), Tone::Bad),
            },
        ]);
    }
    if table.is_empty() {
        "there are no keys; make one with `tidegate keys add NAME --user USER`\n".to_owned()
    } else {
        table.show()
    }
}

#[cfg(test)]
mod tests;
