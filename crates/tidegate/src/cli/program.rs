//! What `tidegate run` changes for the program it starts: where its calls go, never who pays.

use std::{collections::BTreeMap, ffi::OsStr, net::SocketAddr, path::Path};

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

/// The variables to set so that the program's calls go through the gateway at `address`, and the
/// line that says so. For Claude Code that is the base URL and the hints on what each request is
/// for; credentials are left alone.
///
/// A value that the user's own environment has is replaced only for base URLs: they are what the
/// user asked for by `run`.
pub(crate) fn environment(
    assistant: Assistant,
    address: SocketAddr,
    theirs: &BTreeMap<String, String>,
) -> (Vec<(&'static str, String)>, String) {
    let url = format!("http://{address}");
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
