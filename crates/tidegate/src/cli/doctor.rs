//! `tidegate doctor`.

use std::{io, net::TcpListener, path::Path};

use rustix::fs::{Access, access};
use serde::Serialize;
use tidegate_control::wire::{LimitMode, NoticeChannel, Status, TelemetryStatus};
use tidegate_types::Mode;

use super::{
    Client, Format, Said,
    claude::{self, Goes, set_by_settings},
    client::TOKEN_FILE,
    program::is_cloud,
    table::{Table, Tone, plain, toned},
};
use crate::config::{Settings, Sources, beside_file, load};

/// What one look found.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Finding {
    pub(super) what: &'static str,
    pub(super) state: State,
    /// What was seen and, where something is wrong, what to do.
    pub(super) detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    Fine,
    Note,
    Wrong,
}

pub(super) fn answer(format: Format, sources: &Sources) -> anyhow::Result<Said> {
    let findings = examine(sources);
    let failed = findings.iter().any(|it| it.state == State::Wrong);
    let said = if format.json {
        Said::json(&findings)?
    } else {
        Said::fine(show(&findings))
    };
    Ok(Said { failed, ..said })
}

/// Looks at everything once. Changes nothing.
pub(super) fn examine(sources: &Sources) -> Vec<Finding> {
    let mut all = Vec::new();
    let loaded = load(sources);
    let is_right = loaded.is_ok();
    let settings = match loaded {
        Ok(loaded) => {
            let file = loaded.file.map(|it| it.display().to_string());
            let file = file.unwrap_or_else(|| "built in".to_owned());
            all.push(finding("configuration", State::Fine, file));
            Some(loaded.settings)
        }
        Err(error) => {
            all.push(finding("configuration", State::Wrong, error.to_string()));
            beside_file(sources)
        }
    };
    let Some(settings) = &settings else {
        return all;
    };
    let (answers, status) = gateway(settings);
    all.push(data(&settings.data));
    all.push(token(&settings.data, status.is_some()));
    all.extend(answers);
    // What a wrong file says of these is not known.
    if is_right {
        all.extend(credentials(settings));
    }
    if is_right || status.is_some() {
        all.push(limits(settings, status.as_ref()));
    }
    if is_right {
        all.extend(otlp(settings));
    }
    all.extend(assistant(sources));
    all.extend(claude_code(sources, settings));
    all
}

/// Whether telemetry of others is taken where it is to be.
fn otlp(settings: &Settings) -> Vec<Finding> {
    let running = Client::of(settings).is_ok_and(|it| it.is_running());
    let addresses = [("grpc", settings.otlp.grpc), ("http", settings.otlp.http)];
    let named = addresses
        .into_iter()
        .filter_map(|(key, at)| Some((key, at?)));
    let look = |(key, at): (&str, std::net::SocketAddr)| {
        let (state, detail) = match crate::ports::holder(at.port()) {
            Some(holder) if holder.ends_with("(tidegate)") => {
                (State::Fine, format!("{key} is taken at {at}"))
            }
            Some(holder) => (
                State::Note,
                format!("{holder} has {at}: stop it, or name another address with otlp.{key}"),
            ),
            None => (
                State::Note,
                format!("nobody listens at {at}: start the gateway anew"),
            ),
        };
        finding("OTLP", state, detail)
    };
    named.filter(|_| running).map(look).collect()
}

/// Where Claude Code's own telemetry goes.
fn claude_code(sources: &Sources, settings: &Settings) -> Option<Finding> {
    let base_url = format!("http://{}", super::client::reachable(settings.listen));
    let (state, detail) = match claude::telemetry_goes(&sources.environment, &base_url)? {
        Goes::Here => (State::Fine, "its telemetry comes here".to_owned()),
        Goes::Nowhere => (
            State::Note,
            "it sends no telemetry: `tidegate claude install` has it sent here".to_owned(),
        ),
        Goes::Elsewhere(url) => {
            let url = tidegate_observe::redact::redact(&url).into_owned();
            (State::Note, format!("its telemetry goes to {url}"))
        }
    };
    Some(finding("Claude Code", state, detail))
}

fn finding(what: &'static str, state: State, detail: impl Into<String>) -> Finding {
    Finding {
        what,
        state,
        detail: detail.into(),
    }
}

fn data(folder: &Path) -> Finding {
    let shown = folder.display();
    match std::fs::metadata(folder) {
        Ok(it) if !it.is_dir() => {
            let detail = format!("`{shown}` is no folder; name another with --data");
            finding("data folder", State::Wrong, detail)
        }
        // Asked of the system: a folder may be on a disk that is mounted to be read.
        Ok(_) if access(folder, Access::WRITE_OK).is_err() => {
            let detail =
                format!("`{shown}` cannot be written; allow it, or name another with --data");
            finding("data folder", State::Wrong, detail)
        }
        Ok(_) => finding("data folder", State::Fine, shown.to_string()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let detail = format!("`{shown}` will be made by the first `tidegate serve`");
            finding("data folder", State::Note, detail)
        }
        Err(error) => finding("data folder", State::Wrong, format!("`{shown}`: {error}")),
    }
}

fn token(folder: &Path, is_running: bool) -> Finding {
    use std::os::unix::fs::PermissionsExt as _;
    let file = folder.join(TOKEN_FILE);
    match std::fs::metadata(&file) {
        Ok(it) if it.permissions().mode() & 0o077 != 0 => {
            let detail = format!("others may read it: `chmod 600 {}`", file.display());
            finding("local token", State::Wrong, detail)
        }
        Ok(_) => finding("local token", State::Fine, "only its owner may read it"),
        Err(_) if is_running => {
            let detail = format!(
                "`{}` is gone: no change is taken until the gateway is started anew, which writes one",
                file.display()
            );
            finding("local token", State::Wrong, detail)
        }
        Err(_) => finding(
            "local token",
            State::Note,
            "`tidegate serve` will write one",
        ),
    }
}

/// What it answers, and what it says of itself, if it does.
fn gateway(settings: &Settings) -> (Vec<Finding>, Option<Status>) {
    let client = match Client::of(settings) {
        Ok(client) => client,
        Err(error) => {
            let found = finding("gateway", State::Wrong, error.to_string());
            return (vec![found], None);
        }
    };
    let address = client.address();
    if !client.is_running() {
        // Nobody answers HTTP there. Does anybody else sit on the port?
        let found = match TcpListener::bind(settings.listen) {
            Ok(_) => {
                let detail = format!("none runs at {address}; start one with `tidegate serve`");
                finding("gateway", State::Note, detail)
            }
            Err(error) => {
                let detail = format!(
                    "another program has {}: {error}; stop it, or listen elsewhere with --listen",
                    settings.listen
                );
                finding("gateway", State::Wrong, detail)
            }
        };
        return (vec![found], None);
    }
    let mut all = vec![finding(
        "gateway",
        State::Fine,
        format!("answers at {address}"),
    )];
    match client.get::<Status>("/api/v1/status") {
        Ok(status) => {
            all.push(ledger(&status));
            all.extend(status.telemetry.as_ref().map(telemetry));
            all.extend(channels(&status));
            (all, Some(status))
        }
        Err(error) => {
            all.push(finding("status", State::Wrong, error.to_string()));
            (all, None)
        }
    }
}

/// Channels for notices, each with what it answers where it takes none.
fn channels(status: &Status) -> Vec<Finding> {
    let one = |it: &NoticeChannel| match (&it.failing_since, it.lost) {
        (Some(since), _) => {
            let says = it.says.as_deref().unwrap_or_default();
            let detail = format!(
                "`{}` takes none since {since} ({says}), {} wait: `tidegate notify test {}`",
                it.name, it.waiting, it.name
            );
            finding("notices", State::Wrong, detail)
        }
        (None, 0) => finding(
            "notices",
            State::Fine,
            format!("`{}` ({})", it.name, it.format),
        ),
        (None, lost) => {
            let detail = format!(
                "`{}` lost {lost}, given up or refused: see the log",
                it.name
            );
            finding("notices", State::Note, detail)
        }
    };
    status.notice_channels.iter().map(one).collect()
}

fn ledger(status: &Status) -> Finding {
    if status.ready {
        return finding("ledger", State::Fine, "can be written");
    }
    let reasons: Vec<&str> = status
        .reasons
        .iter()
        .map(|it| it.message.as_str())
        .collect();
    let says = status.store_says.as_deref();
    let says = says.map_or(String::new(), |it| format!(" ({it})"));
    finding("ledger", State::Wrong, reasons.join("; ") + &says)
}

/// What is kept of what happens.
fn telemetry(of: &TelemetryStatus) -> Finding {
    if let Some(why) = &of.failing {
        let detail = format!("nothing is kept of what happens, calls go on: {why}");
        return finding("telemetry", State::Wrong, detail);
    }
    if !of.enabled {
        let detail = "nothing is kept of what happens: telemetry.enabled = false";
        return finding("telemetry", State::Note, detail);
    }
    let size = bytes(of.stored_bytes);
    if of.damaged > 0 {
        let detail = format!(
            "{} could not be read and were set aside: see the folder `telemetry/damaged` of the data, and the log",
            of.damaged
        );
        return finding("telemetry", State::Note, detail);
    }
    if of.crowded_out_parts > 0 {
        let detail = format!(
            "{size}: the oldest records have to go before their time; raise telemetry.disk to keep them"
        );
        return finding("telemetry", State::Note, detail);
    }
    finding("telemetry", State::Fine, size)
}

/// `12.3 MiB`.
fn bytes(count: u64) -> String {
    let (unit, scale) = match count {
        0..0x10_0000 => ("KiB", 1 << 10),
        0x10_0000..0x4000_0000 => ("MiB", 1 << 20),
        _ => ("GiB", 1 << 30),
    };
    format!("{}.{} {unit}", count / scale, count % scale * 10 / scale)
}

fn credentials(settings: &Settings) -> Vec<Finding> {
    let mut all = Vec::new();
    for (name, provider) in &settings.providers {
        let whose = if provider.credential.is_some() {
            let who = if provider.local_may_spend {
                "everyone"
            } else {
                "calls with a key"
            };
            format!("{name}: the operator's, spent by {who}")
        } else {
            format!("{name}: each caller's own is forwarded")
        };
        all.push(finding("credential", State::Fine, whose));
        let abroad = provider.base_url.starts_with("http://")
            && !["http://127.", "http://localhost", "http://[::1]"]
                .iter()
                .any(|it| provider.base_url.starts_with(it));
        if abroad {
            let detail = format!(
                "{name}: credentials travel unencrypted to {}; use https",
                provider.base_url
            );
            all.push(finding("credential", State::Note, detail));
        }
    }
    all
}

/// Which limits don't bind the local user: by the gateway's word, since operators may have named some
/// while it runs; where none runs, by the configuration's.
fn limits(settings: &Settings, status: Option<&Status>) -> Finding {
    let only_watches = |it: &&LimitMode| it.keyless == Mode::Watch && it.asking == Mode::Enforce;
    let watched = status.map(|it| it.limits.iter().filter(only_watches));
    let watched: Option<Vec<String>> = watched.map(|it| it.map(|it| it.limit.clone()).collect());
    let watched = watched.unwrap_or_else(|| settings.built_in_limits());
    if watched.is_empty() {
        return finding("limits", State::Fine, "enforced for everyone");
    }
    let detail = format!(
        "only watched for calls without a key: {}; enforce them with `tidegate serve --enforce`",
        watched.join(", ")
    );
    finding("limits", State::Note, detail)
}

/// What the environment does to Claude Code behind a gateway.
fn assistant(sources: &Sources) -> Vec<Finding> {
    let value = |name: &str| sources.environment.get(name).filter(|it| !it.is_empty());
    let mut all: Vec<Finding> = claude_codes_settings(sources).collect();
    for name in ["ANTHROPIC_BASE_URL", "OPENAI_BASE_URL"] {
        if let Some(url) = value(name) {
            let url = tidegate_observe::redact::redact(url);
            all.push(finding(
                "environment",
                State::Note,
                format!("{name} is {url}; programs that read it go there"),
            ));
        }
    }
    let proxy = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    let proxied = proxy.iter().any(|it| value(it).is_some());
    let spared = ["NO_PROXY", "no_proxy"]
        .iter()
        .filter_map(|it| value(it))
        .any(|it| it.contains("127.0.0.1") || it == "*");
    if proxied && !spared {
        let detail = "a proxy is set and NO_PROXY does not name 127.0.0.1: assistants may send calls for the gateway to the proxy";
        all.push(finding("environment", State::Note, detail));
    }
    all
}

/// What stands in Claude Code's settings that says where its calls go, before what it is started with.
fn claude_codes_settings(sources: &Sources) -> impl Iterator<Item = Finding> {
    let folder = std::env::current_dir().unwrap_or_default();
    let by_settings = set_by_settings(&sources.environment, &folder);
    by_settings.into_iter().filter_map(|(name, it)| {
        let says = match name.as_str() {
            "ANTHROPIC_BASE_URL" => "Claude Code's calls go there, whatever `tidegate run` sets",
            "ANTHROPIC_CUSTOM_HEADERS" => {
                "`tidegate run --budget` can't limit Claude Code beside it"
            }
            name if is_cloud(name) => "Claude Code's calls go past the gateway where it is on",
            _ => return None,
        };
        let file = it.file.display();
        let detail = match name.as_str() {
            "ANTHROPIC_BASE_URL" => {
                let url = tidegate_observe::redact::redact(&it.value);
                format!("{name} is {url} in {file}; {says}")
            }
            // Headers may hold what nobody else is to see.
            _ => format!("{name} is set in {file}; {says}"),
        };
        Some(finding("claude code", State::Note, detail))
    })
}

/// Findings for people.
pub(super) fn show(findings: &[Finding]) -> String {
    let mut table = Table::new(&["what", "state", "detail"]);
    for it in findings {
        let state = match it.state {
            State::Fine => toned("fine", Tone::Good),
            State::Note => toned("note", Tone::Warning),
            State::Wrong => toned("WRONG", Tone::Bad),
        };
        table.row([it.what.to_owned(), state, plain(&it.detail)]);
    }
    table.show()
}
