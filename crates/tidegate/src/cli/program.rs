//! What `tidegate run` does to the program it starts: it says where its calls go, never who pays,
//! and otherwise stays out of its way.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    os::unix::process::ExitStatusExt as _,
    path::Path,
    process::ExitStatus,
};

use anyhow::Context as _;
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

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

/// Starts `program` (its name and arguments) before the gateway at `address`, passes signals on,
/// and gives the code to exit with: the program's own, or 128 and the signal that ended it.
///
/// Must run on a tokio runtime. The terminal's own signals (interrupt, quit) reach the program
/// from the terminal; they are passed on only where there is none.
pub(crate) async fn govern(
    program: &[OsString],
    address: SocketAddr,
    theirs: &BTreeMap<String, String>,
) -> anyhow::Result<u8> {
    let (name, arguments) = program.split_first().context(
        "no program is named: write it behind two dashes, like `tidegate run -- claude`",
    )?;
    let (set, line) = environment(assistant(name), address, theirs);
    // Where standard error is gone there is nobody left to tell.
    let _gone = writeln!(std::io::stderr(), "{line}");
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut quit = signal(SignalKind::quit())?;
    let mut child = Command::new(name)
        .args(arguments)
        .envs(set)
        .spawn()
        .with_context(|| {
            let name = name.to_string_lossy();
            format!("`{name}` cannot be started: is it installed, and its folder in PATH?")
        })?;
    let at_terminal = std::io::stdin().is_terminal();
    loop {
        let (sent, by_terminal) = tokio::select! {
            ended = child.wait() => return Ok(exit_code(ended?)),
            _ = terminate.recv() => (rustix::process::Signal::TERM, false),
            _ = hangup.recv() => (rustix::process::Signal::HUP, false),
            _ = interrupt.recv() => (rustix::process::Signal::INT, true),
            _ = quit.recv() => (rustix::process::Signal::QUIT, true),
        };
        if by_terminal && at_terminal {
            continue;
        }
        // The id is there until `wait` has taken the program's end, so no other program has it.
        let id = child.id().and_then(|it| i32::try_from(it).ok());
        if let Some(pid) = id.and_then(rustix::process::Pid::from_raw) {
            // One that has just ended needs no signal.
            let _ended = rustix::process::kill_process(pid, sent);
        }
    }
}

/// As shells do it.
fn exit_code(ended: ExitStatus) -> u8 {
    let by_signal = ended.signal().map(|it| it.saturating_add(128));
    let code = ended.code().or(by_signal).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
