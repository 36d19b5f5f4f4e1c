//! `tidegate run -- PROGRAM`: a program whose calls are governed, with the gateway it needs.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{ExitCode, ExitStatus, Stdio},
};

use anyhow::{Context as _, bail};
use tidegate_types::{Clock as _, NanoUsd, SystemClock};
use tokio::{
    process::Command,
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::{
        Assistant, Client, RunArgs, assistant, cloud, environment, not_overruled, same_origins,
        set_by_settings,
    },
    config::{self, Settings, Sources},
    runs::{Left, Starting, Users},
    serve,
};

/// What a shell adds to the number of a signal that ended a program.
const SIGNALLED: i32 = 128;

/// Starts the program, lets its calls go through a gateway that answers or through one that it
/// starts, and ends as the program ends.
pub(crate) fn run(sources: &Sources, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let settings = config::load(sources)?.settings;
    let (program, rest) = args.program.split_first().context("no program is named")?;
    let kind = assistant(program);
    if args.budget.is_some() && kind != Assistant::ClaudeCode {
        bail!(
            "--budget works with Claude Code, whose calls can carry a task's name: for other programs make a key and set its user's limit (`tidegate keys add`, `tidegate budget set`)"
        );
    }
    serve::create_private(&settings.data)?;
    let users = Users::join(&settings.data)?;
    let gateway = Gateway::found_or_started(sources, &settings)?;
    let status = governed(
        &settings,
        args.budget,
        gateway.address,
        (kind, program, rest),
    );
    gateway.leave(&users);
    Ok(exit_code(status?))
}

/// Runs the program with its calls going to `address`.
fn governed(
    settings: &Settings,
    budget: Option<NanoUsd>,
    address: SocketAddr,
    (kind, program, rest): (Assistant, &OsStr, &[OsString]),
) -> anyhow::Result<ExitStatus> {
    let mut theirs: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let by_settings = match kind {
        Assistant::ClaudeCode => set_by_settings(&theirs, &std::env::current_dir()?),
        Assistant::Other => BTreeMap::new(),
    };
    let values = by_settings
        .iter()
        .map(|(name, it)| (name.clone(), it.value.clone()));
    theirs.extend(values);
    match cloud(kind, &theirs) {
        Some((variable, cloud)) if budget.is_some() => bail!(
            "--budget can't limit calls that {variable} sends to {cloud}, past the gateway: unset it, or leave --budget out"
        ),
        Some(_) => {}
        None => {
            not_overruled(address, &by_settings, budget.is_some())?;
            same_origins(kind, address, &theirs, |it| settings.base_url(it))?;
        }
    }
    let (mut set, line) = environment(kind, address, &theirs);
    let task = budget.map(|budget| limit(settings, address, budget));
    let headers = task.transpose()?.map(|task| with_task(&theirs, &task));
    if let Some(headers) = headers {
        set.push(("ANTHROPIC_CUSTOM_HEADERS", headers));
    }
    crate::cli::say(&line);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    runtime.block_on(attend(program, rest, set))
}

/// The gateway that the program's calls go through.
#[derive(Debug)]
struct Gateway {
    address: SocketAddr,
    /// Its process, where this is the `run` that started it.
    started: Option<std::process::Child>,
}

impl Gateway {
    /// One that answers; else one that is started, as a process of its own: programs of other
    /// `run`s may come to use it, and need it for longer than ours.
    fn found_or_started(sources: &Sources, settings: &Settings) -> anyhow::Result<Self> {
        let _nobody_else = Starting::begin(&settings.data)?;
        let there = Client::of(settings).ok().filter(Client::is_running);
        match there {
            Some(client) => Ok(Self {
                address: client.address(),
                started: None,
            }),
            None => Self::start(sources, settings),
        }
    }

    fn start(sources: &Sources, settings: &Settings) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("this program's own file is not known")?;
        let mut command = std::process::Command::new(own);
        for (option, value) in [("--config", &sources.file), ("--data", &sources.data)] {
            if let Some(value) = value {
                command.arg(option).arg(value);
            }
        }
        command.args(["serve", "--for-runs"]);
        if crate::ports::holder(settings.listen.port()).is_some() {
            // Somebody else's port is no reason not to run: nobody has to know ours by heart.
            command.args(["--listen", "127.0.0.1:0"]);
        }
        // What is typed at the terminal to end the program is not meant for the gateway.
        command.process_group(0);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut process = command.spawn().context("the gateway can't be started")?;
        let mut line = String::new();
        if let Some(said) = process.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        if let Ok(address) = line.trim().parse() {
            return Ok(Self {
                address,
                started: Some(process),
            });
        }
        let ended = process.wait_with_output()?;
        let why = String::from_utf8_lossy(&ended.stderr);
        let why = why.trim();
        bail!("{}", why.strip_prefix("tidegate: ").unwrap_or(why));
    }

    /// The program is gone. Where nobody else uses the gateway that was started for it, that is
    /// ended and waited for; what was left open is given as long as any call when a gateway stops.
    fn leave(self, users: &Users) {
        let left = users.leave();
        let Some(mut started) = self.started else {
            return;
        };
        match left {
            Left::Others => return,
            Left::Ending => {}
            Left::Nobody => pass_on(Some(started.id()), rustix::process::Signal::TERM),
        }
        // Where it can't be waited for it is gone.
        started.wait().map(drop).unwrap_or_default();
    }
}

/// Limits a task of its own name, and returns that name.
fn limit(settings: &Settings, address: SocketAddr, budget: NanoUsd) -> anyhow::Result<String> {
    let client = Client::of(settings)?.at(address);
    // Processes get the same number again, in containers nearly always, and a task's budget has no end.
    let began = SystemClock::start().now();
    let task = format!("run-{}-{}", began.0 / 1_000_000, std::process::id());
    let organisation = &settings.local.organisation;
    crate::cli::limit_task(&client, organisation, &task, budget)?;
    Ok(task)
}

/// The user's own headers, with the task's name among them.
fn with_task(theirs: &BTreeMap<String, String>, task: &str) -> String {
    let own = format!("x-tidegate-task: {task}");
    match theirs.get("ANTHROPIC_CUSTOM_HEADERS") {
        Some(headers) if !headers.is_empty() => format!("{headers}\n{own}"),
        _ => own,
    }
}

/// Runs the program to its end, passing on the signals that ask us to end, but for those that the
/// terminal has sent to the program itself.
async fn attend(
    program: &OsStr,
    rest: &[OsString],
    set: Vec<(&'static str, String)>,
) -> anyhow::Result<ExitStatus> {
    // Before the program runs: a signal in between would end us and leave it alone.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut command = Command::new(program);
    command.args(rest).envs(set).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| {
        format!(
            "`{}` can't be started: is it installed, and on the PATH?",
            program.display()
        )
    })?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => pass_on(child.id(), rustix::process::Signal::TERM),
            _ = hangup.recv() => pass_on(child.id(), rustix::process::Signal::HUP),
            _ = interrupt.recv() => {
                if !is_typed_at(child.id()) {
                    pass_on(child.id(), rustix::process::Signal::INT);
                }
            }
        }
    }
}

/// Whether what is typed at our terminal reaches the program itself. It would take the same interrupt
/// from us for a second one, with which some programs end at once.
fn is_typed_at(process: Option<u32>) -> bool {
    let id = process.and_then(|it| i32::try_from(it).ok());
    let id = id.and_then(rustix::process::Pid::from_raw);
    let Ok(terminal) = std::fs::File::open("/dev/tty") else {
        return false;
    };
    let group = rustix::process::getpgid(id);
    let foreground = rustix::termios::tcgetpgrp(&terminal);
    matches!((group, foreground), (Ok(group), Ok(foreground)) if group == foreground)
}

fn pass_on(process: Option<u32>, signal: rustix::process::Signal) {
    let id = process.and_then(|it| i32::try_from(it).ok());
    if let Some(process) = id.and_then(rustix::process::Pid::from_raw) {
        // A program that is gone needs no signal.
        rustix::process::kill_process(process, signal).unwrap_or_default();
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let signalled = || status.signal().map(|it| it + SIGNALLED);
    let code = status.code().or_else(signalled).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}
