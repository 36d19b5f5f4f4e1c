//! `tidegate claude install|uninstall`: Claude Code's own settings file, so that every session goes
//! through the gateway and shows it, without `tidegate run`.
//!
//! Only a few members are touched. What they were is written down beside the file, and so is what
//! they were set to: what somebody has changed since is theirs, and stays. To lists of hooks one is
//! added, and taken out again.

mod environment;
mod hooks;
mod members;
mod telemetry;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Assistant, Said, cloud, same_origins};
use crate::config::{self, Settings, Sources};
pub(crate) use environment::{Set, set_by_settings};
use members::Members;
pub(super) use telemetry::Goes;

/// What can be done to Claude Code's settings.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ClaudeCommand {
    /// Let every session's calls go through the gateway, and show it in the status line
    Install(InstallArgs),
    /// Take back what `install` set, and nothing else
    Uninstall,
}

/// Options of `claude install`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct InstallArgs {
    /// Take the place of a status line that is there already
    #[arg(long)]
    pub(crate) replace_status_line: bool,
    /// Leave Claude Code's own telemetry as it is
    #[arg(long)]
    pub(crate) no_telemetry: bool,
}

const STATUS_LINE: &[&str] = &["statusLine"];
const BASE_URL: &[&str] = &["env", "ANTHROPIC_BASE_URL"];
const HINTS: &[&str] = &["env", "CLAUDE_CODE_GATEWAY_HINT_HEADERS"];

/// All that is set to one value, in the order in which it is set.
fn touched() -> impl DoubleEndedIterator<Item = &'static [&'static str]> {
    let always = [STATUS_LINE, BASE_URL, HINTS];
    always.into_iter().chain(telemetry::MEMBERS)
}

/// The largest settings file that is read. Theirs have a few kilobytes.
const SETTINGS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What `install` did to one member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    /// As it was written before; `None` where it was not there.
    before: Option<String>,
    /// What it was set to.
    set: Value,
}

/// What `install` did, by the member's path, and whether it made the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    made_the_file: bool,
    made_env: bool,
    /// Whether there were no hooks.
    #[serde(default)]
    made_hooks: bool,
    done: BTreeMap<String, Done>,
    /// What was added to lists of hooks, by the event.
    #[serde(default)]
    hooks: BTreeMap<String, hooks::Added>,
}

pub(super) fn answer(command: &ClaudeCommand, sources: &Sources) -> anyhow::Result<Said> {
    let place = Place::of(&sources.environment)?;
    match command {
        ClaudeCommand::Install(args) => {
            let settings = config::load(sources)?.settings;
            if settings.listen.port() == 0 {
                bail!(
                    "the gateway listens on whatever port is free: give it one with the key `listen`"
                );
            }
            let address = super::client::reachable(settings.listen);
            let wanted = Wanted {
                status_line: to_run(sources, "statusline")?,
                hook: to_run(sources, "hook")?,
                base_url: format!("http://{address}"),
                replaces: args.replace_status_line,
                telemetry: (!args.no_telemetry).then(|| sources.environment.clone()),
            };
            goes_nowhere_else(sources, &settings, address)?;
            install(&place, &wanted)
        }
        ClaudeCommand::Uninstall => uninstall(&place),
    }
}

/// Refuses where calls would go past the gateway all the same, or where they go to another origin
/// now: what they pay with there is not for anybody else.
fn goes_nowhere_else(
    sources: &Sources,
    settings: &Settings,
    address: std::net::SocketAddr,
) -> anyhow::Result<()> {
    let folder = std::env::current_dir()?;
    let mut theirs = sources.environment.clone();
    let by_settings = set_by_settings(&sources.environment, &folder);
    theirs.extend(by_settings.into_iter().map(|(name, it)| (name, it.value)));
    if let Some((variable, cloud)) = cloud(Assistant::ClaudeCode, &theirs) {
        bail!(
            "{variable} sends Claude Code's calls to {cloud}, past the gateway: take it out of the environment and of Claude Code's settings first"
        );
    }
    let base_url = |it: &str| settings.base_url(it);
    same_origins(Assistant::ClaudeCode, address, &theirs, base_url)?;
    Ok(())
}

/// The settings file, and what lies beside it.
#[derive(Clone, Debug)]
struct Place {
    settings: PathBuf,
    backup: PathBuf,
    record: PathBuf,
}

impl Place {
    /// `$CLAUDE_CONFIG_DIR`, else `~/.claude`. A settings file that is a link stays one.
    fn of(environment: &BTreeMap<String, String>) -> anyhow::Result<Self> {
        let named = |name: &str| environment.get(name).filter(|it| !it.is_empty());
        let folder = match (named("CLAUDE_CONFIG_DIR"), named("HOME")) {
            (Some(folder), _) => PathBuf::from(folder),
            (None, Some(home)) => Path::new(home).join(".claude"),
            (None, None) => bail!("neither CLAUDE_CONFIG_DIR nor HOME is set: set one of them"),
        };
        let settings = folder.join("settings.json");
        Ok(Self {
            backup: folder.join("settings.json.before-tidegate"),
            record: folder.join("settings.json.tidegate"),
            settings: settings.canonicalize().unwrap_or(settings),
        })
    }

    /// The settings; `None` where there are none.
    fn read(&self) -> anyhow::Result<Option<String>> {
        let name = self.settings.display();
        match fs::metadata(&self.settings) {
            Ok(it) if it.len() > SETTINGS_BYTES_MAX => {
                bail!("`{name}` is larger than 4 MiB: it is no settings file of Claude Code")
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let text = fs::read_to_string(&self.settings);
        text.map(Some)
            .with_context(|| format!("`{name}` can't be read: see who may read it"))
    }

    /// The members of the settings, or where and why they can't be changed.
    fn members(&self, text: &str) -> anyhow::Result<Members> {
        Members::of(text).with_context(|| self.unchanged())
    }

    fn unchanged(&self) -> String {
        format!(
            "`{}` is left as it is: repair the line that is named below, and try again",
            self.settings.display()
        )
    }

    fn recorded(&self) -> anyhow::Result<Option<Record>> {
        let name = self.record.display();
        match fs::read_to_string(&self.record) {
            Ok(text) => serde_json::from_str(&text).map(Some).with_context(|| {
                format!("`{name}` can't be understood: what was there before is in `settings.json.before-tidegate` beside it")
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("`{name}` can't be read")),
        }
    }
}

/// Where Claude Code's telemetry goes, for a gateway at this address; `None` where it has no settings
/// that can be read.
pub(super) fn telemetry_goes(
    environment: &BTreeMap<String, String>,
    base_url: &str,
) -> Option<Goes> {
    let text = Place::of(environment).ok()?.read().ok()??;
    let settings: Value = serde_json::from_str(&text).ok()?;
    Some(telemetry::goes(&settings, environment, base_url))
}

/// What the settings are to say.
struct Wanted {
    status_line: String,
    hook: String,
    base_url: String,
    replaces: bool,
    /// Whether telemetry is to come here, and the environment, which may say where it goes.
    telemetry: Option<BTreeMap<String, String>>,
}

/// What Claude Code is to run: this program, with the options it was given.
fn to_run(sources: &Sources, what: &str) -> anyhow::Result<String> {
    let own = std::env::current_exe().context("this program's own file is not known")?;
    let mut command = quoted(&own.to_string_lossy());
    for (option, value) in [("--config", &sources.file), ("--data", &sources.data)] {
        if let Some(value) = value {
            // Claude Code runs it elsewhere.
            let whole = std::path::absolute(value)?;
            command.extend([" ", option, " ", &quoted(&whole.to_string_lossy())]);
        }
    }
    command.extend([" ", what]);
    Ok(command)
}

/// A word of a shell.
fn quoted(word: &str) -> String {
    let plain = |it: char| it.is_ascii_alphanumeric() || "/._-+:@%".contains(it);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn install(place: &Place, wanted: &Wanted) -> anyhow::Result<Said> {
    let before = place.read()?;
    let mut members = place.members(before.as_deref().unwrap_or_default())?;
    let mut record = place.recorded()?.unwrap_or_else(|| Record {
        made_the_file: before.is_none(),
        made_env: members.get(&["env"]).is_none(),
        made_hooks: members.get(&["hooks"]).is_none(),
        ..Record::default()
    });
    let theirs = is_theirs(&members, &record, STATUS_LINE) && !wanted.replaces;
    let decided = wanted.telemetry.as_ref().and_then(|environment| {
        telemetry::decided(&members, &record, (environment, &wanted.base_url))
    });
    let sends = wanted.telemetry.is_some() && decided.is_none();
    for path in touched() {
        let left = path == STATUS_LINE && theirs;
        if left || (!sends && telemetry::MEMBERS.contains(&path)) {
            continue;
        }
        let value = match path {
            STATUS_LINE => {
                serde_json::json!({ "type": "command", "command": wanted.status_line })
            }
            BASE_URL => Value::from(wanted.base_url.as_str()),
            HINTS => Value::from("1"),
            other => Value::from(telemetry::value(other[1], &wanted.base_url)),
        };
        let was = members.raw(path).map(str::to_owned);
        let done = record.done.entry(path.join(".")).or_insert(Done {
            before: was,
            set: Value::Null,
        });
        members
            .set(path, &value.to_string())
            .with_context(|| place.unchanged())?;
        done.set = value;
    }
    hooks::add(&mut members, &mut record.hooks, &wanted.hook).with_context(|| place.unchanged())?;
    write_all(place, before.as_deref(), members.text(), &record)?;
    let mut said = format!(
        "Claude Code's calls go through {} from its next start on, with its own login or key; `tidegate serve` has to run there\nset in {}\n",
        wanted.base_url,
        place.settings.display()
    );
    if theirs {
        said.push_str("its status line is yours and was left alone: --replace-status-line puts Tidegate's there\n");
    }
    match decided {
        Some(name) => said.extend([
            "its telemetry goes where `",
            &name,
            "` says and was left alone\n",
        ]),
        None if sends => said.push_str("its telemetry comes here, too: `tidegate logs`\n"),
        None => {}
    }
    said.push_str("`tidegate claude uninstall` takes it back\n");
    Ok(Said::fine(said))
}

/// Whether a member is there and was not set by `install`.
fn is_theirs(members: &Members, record: &Record, path: &[&str]) -> bool {
    let ours = record.done.get(&path.join("."));
    members
        .get(path)
        .is_some_and(|it| ours.is_none_or(|ours| ours.set != it))
}

/// The record first: whatever happens after, it can be taken back.
fn write_all(
    place: &Place,
    before: Option<&str>,
    after: &str,
    record: &Record,
) -> anyhow::Result<()> {
    let folder = place.settings.parent().unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("`{}` can't be made", folder.display()))?;
    if let Some(before) = before
        && !place.backup.exists()
    {
        replace(&place.backup, before, &place.settings)?;
    }
    let record = serde_json::to_string_pretty(record)? + "\n";
    replace(&place.record, &record, &place.settings)?;
    replace(&place.settings, after, &place.settings)
}

/// Puts a text in the place of a file, at once or not at all, with the permissions of another; those
/// of a new file are its owner's alone.
fn replace(file: &Path, text: &str, like: &Path) -> anyhow::Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    let failed = || format!("`{}` can't be written", file.display());
    let beside = file.with_extension(format!("tidegate-{}", std::process::id()));
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut new = options.open(&beside).with_context(failed)?;
    new.write_all(text.as_bytes()).with_context(failed)?;
    if let Ok(known) = fs::metadata(like) {
        fs::set_permissions(&beside, known.permissions()).with_context(failed)?;
    }
    new.sync_all().with_context(failed)?;
    fs::rename(&beside, file).with_context(failed)
}

fn uninstall(place: &Place) -> anyhow::Result<Said> {
    let name = place.settings.display();
    let Some(record) = place.recorded()? else {
        return Ok(Said::fine(format!(
            "nothing to take back: `tidegate claude install` has set nothing in {name}"
        )));
    };
    let mut kept = Vec::new();
    if let Some(text) = place.read()? {
        let mut members = place.members(&text)?;
        for path in touched().rev() {
            let Some(done) = record.done.get(&path.join(".")) else {
                continue;
            };
            match (members.get(path), &done.before) {
                (Some(now), _) if now != done.set => kept.push(path.join(".")),
                (Some(_), Some(before)) => members.set(path, before)?,
                (Some(_), None) => members.remove(path),
                (None, _) => {}
            }
        }
        kept.extend(hooks::take_out(&mut members, &record.hooks)?);
        let empty = serde_json::json!({});
        if record.made_hooks && members.get(&["hooks"]).as_ref() == Some(&empty) {
            members.remove(&["hooks"]);
        }
        if record.made_env && members.get(&["env"]).as_ref() == Some(&empty) {
            members.remove(&["env"]);
        }
        if record.made_the_file && members.get(&[]) == Some(empty) {
            fs::remove_file(&place.settings)
                .with_context(|| format!("`{name}` can't be removed"))?;
        } else {
            replace(&place.settings, members.text(), &place.settings)?;
        }
        if fs::read_to_string(&place.backup).is_ok_and(|it| it == members.text()) {
            // It says nothing any more that the settings don't.
            fs::remove_file(&place.backup).unwrap_or_default();
        }
    }
    fs::remove_file(&place.record)
        .with_context(|| format!("`{}` can't be removed", place.record.display()))?;
    let mut said = format!("{name} says what it said before `tidegate claude install`\n");
    if !kept.is_empty() {
        let kept = kept.join(", ");
        said.extend(["but for ", &kept, ", which somebody has changed since\n"]);
    }
    Ok(Said::fine(said))
}

#[cfg(test)]
mod tests;
