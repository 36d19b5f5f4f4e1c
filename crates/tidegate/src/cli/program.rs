//! What `tidegate run` changes for the program it starts: where its calls go, never who pays.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use super::claude::Set;

/// A program that `run` knows how to point at a gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assistant {
    /// Claude Code.
    ClaudeCode,
    /// Any other: both kinds of SDKs read their base URL from the environment.
    Other,
}

/// Which assistant a program is, by its file's name.
pub(crate) fn assistant(program: &OsStr) -> Assistant {
    match Path::new(program).file_stem().and_then(OsStr::to_str) {
        Some("claude") => Assistant::ClaudeCode,
        _ => Assistant::Other,
    }
}

/// Variables with which Claude Code calls a cloud that sells its models, and that cloud.
const CLOUDS: [(&str, &str); 6] = [
    ("CLAUDE_CODE_USE_BEDROCK", "Amazon Bedrock"),
    ("CLAUDE_CODE_USE_MANTLE", "Amazon Bedrock"),
    ("CLAUDE_CODE_USE_ANTHROPIC_AWS", "Anthropic on AWS"),
    ("CLAUDE_CODE_USE_VERTEX", "Google Vertex AI"),
    (
        "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
        "Anthropic on Google Cloud",
    ),
    ("CLAUDE_CODE_USE_FOUNDRY", "Microsoft Foundry"),
];

/// Whether a variable sends Claude Code's calls to a cloud.
pub(super) fn is_cloud(variable: &str) -> bool {
    CLOUDS.iter().any(|(name, _)| *name == variable)
}

/// What sends Claude Code's calls past every gateway: the variable, and where they go.
pub(crate) fn cloud(
    assistant: Assistant,
    theirs: &BTreeMap<String, String>,
) -> Option<(&'static str, &'static str)> {
    let is_on = |name: &str| {
        let value = theirs.get(name).map(|it| it.to_ascii_lowercase());
        matches!(value.as_deref(), Some("1" | "true" | "yes" | "on"))
    };
    let mut clouds = CLOUDS.into_iter();
    clouds.find(|it| assistant == Assistant::ClaudeCode && is_on(it.0))
}

/// The program has a base URL of its own: what it pays there with is not for anybody else.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{variable}` is `{url}`, and calls through the gateway go to `{ours}`, with the credential that is meant for the former: unset it, or set providers.{provider}.base_url to it and reload the gateway"
)]
pub(crate) struct OtherOrigin {
    variable: &'static str,
    url: String,
    ours: String,
    provider: &'static str,
}

/// Refuses where the program's own base URL is neither the gateway nor where that sends its calls.
pub(crate) fn same_origins(
    assistant: Assistant,
    address: SocketAddr,
    theirs: &BTreeMap<String, String>,
    base_url: impl Fn(&str) -> String,
) -> Result<(), OtherOrigin> {
    let variables: &[(&str, &str)] = match assistant {
        Assistant::ClaudeCode => &[("ANTHROPIC_BASE_URL", "anthropic")],
        Assistant::Other => &[
            ("ANTHROPIC_BASE_URL", "anthropic"),
            ("OPENAI_BASE_URL", "openai"),
        ],
    };
    for (variable, provider) in variables.iter().copied() {
        let url = theirs.get(variable).map_or("", |it| it.trim());
        let ours = base_url(provider);
        if !url.is_empty() && !leads_to(url, address) && origin(url) != origin(&ours) {
            return Err(OtherOrigin {
                variable,
                url: without_credentials(url),
                ours,
                provider,
            });
        }
    }
    Ok(())
}

/// A base URL without what both kinds of SDKs add themselves.
fn origin(url: &str) -> &str {
    let url = url.trim_end_matches('/');
    url.strip_suffix("/v1").unwrap_or(url)
}

/// Claude Code's settings say otherwise than `run`, and stand before it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Overruled {
    /// Calls would go past the gateway.
    #[error(
        "`ANTHROPIC_BASE_URL` is `{url}` in `{}`, which stands before what `tidegate run` sets: calls would go past the gateway; take it out there (`tidegate claude uninstall`, where `install` has put it there)", file.display()
    )]
    Origin {
        /// As it may be shown.
        url: String,
        /// The settings.
        file: PathBuf,
    },
    /// Calls would not carry the name of their task.
    #[error(
        "`ANTHROPIC_CUSTOM_HEADERS` is set in `{}`, and stands before the header by which --budget limits the run: take it out there, or leave --budget out", file.display()
    )]
    Headers {
        /// The settings.
        file: PathBuf,
    },
}

/// Refuses where what Claude Code's settings set would undo what `run` sets.
pub(crate) fn not_overruled(
    address: SocketAddr,
    by_settings: &BTreeMap<String, Set>,
    is_limited: bool,
) -> Result<(), Overruled> {
    let set = |name: &str| by_settings.get(name).filter(|it| !it.value.is_empty());
    if let Some(it) = set("ANTHROPIC_BASE_URL").filter(|it| !leads_to(it.value.trim(), address)) {
        return Err(Overruled::Origin {
            url: without_credentials(&it.value),
            file: it.file.clone(),
        });
    }
    match set("ANTHROPIC_CUSTOM_HEADERS") {
        Some(it) if is_limited => Err(Overruled::Headers {
            file: it.file.clone(),
        }),
        _ => Ok(()),
    }
}

fn leads_to(url: &str, address: SocketAddr) -> bool {
    let by_name = format!("http://localhost:{}", address.port());
    let origin = origin(url);
    origin == format!("http://{address}") || address.ip().is_loopback() && origin == by_name
}

/// A URL as it may be shown.
fn without_credentials(url: &str) -> String {
    let (url, _query) = url.split_once('?').unwrap_or((url, ""));
    let shown = match url.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let (_user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
            format!("{scheme}://{host}{path}")
        }
        None => url.to_owned(),
    };
    tidegate_observe::redact::redact(&shown).into_owned()
}

/// The variables to set so that the program's calls go through the gateway at `address`, and the
/// line that says so. For Claude Code that is the base URL and the hints on what each request is
/// for; credentials are left alone. Where its calls go past every gateway, nothing is set.
///
/// A value that the user's own environment has is replaced only for base URLs: they are what the
/// user asked for by `run`, and have passed [`same_origins`].
pub(crate) fn environment(
    assistant: Assistant,
    address: SocketAddr,
    theirs: &BTreeMap<String, String>,
) -> (Vec<(&'static str, String)>, String) {
    let url = format!("http://{address}");
    if let Some((variable, cloud)) = cloud(assistant, theirs) {
        let line = format!(
            "tidegate: Claude Code's calls do NOT go through the gateway: {variable} sends them to {cloud}; unset it to have them governed"
        );
        return (Vec::new(), line);
    }
    match assistant {
        Assistant::ClaudeCode => {
            let mut set = vec![("ANTHROPIC_BASE_URL", url.clone())];
            let hints = "CLAUDE_CODE_GATEWAY_HINT_HEADERS";
            if !theirs.contains_key(hints) {
                set.push((hints, "1".to_owned()));
            }
            let line = format!(
                "tidegate: Claude Code's calls go through {url}; its own login or key pays"
            );
            (set, line)
        }
        Assistant::Other => {
            let set = vec![
                ("ANTHROPIC_BASE_URL", url.clone()),
                ("OPENAI_BASE_URL", format!("{url}/v1")),
            ];
            let line = format!(
                "tidegate: calls of Anthropic and OpenAI SDKs go through {url}; their own keys pay"
            );
            (set, line)
        }
    }
}
