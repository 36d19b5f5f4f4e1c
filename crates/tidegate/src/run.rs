//! `tidegate run -- PROGRAM`: a program whose calls are governed, with the gateway it needs.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::ExitStatusExt as _,
    process::{ExitCode, ExitStatus},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use tidegate_gateway::server::Phase;
use tidegate_types::NanoUsd;
use tokio::{
    process::{Child, Command},
    signal::unix::{SignalKind, signal},
};

use crate::{
    cli::{Assistant, Client, RunArgs, assistant, environment},
    config::{self, Settings, Sources},
    serve::{self, Serving},
};

/// What a shell adds to the number of a signal that ended a program.
const SIGNALLED: i32 = 128;

/// Starts the program, lets its calls go through a gateway that answers or through one of its own,
/// and ends as the program ends.
pub(crate) fn run(sources: Sources, args: &RunArgs) -> anyhow::Result<ExitCode> {
    let settings = config::load(&sources)?.settings;
    let (program, rest) = args.program.split_first().context("no program is named")?;
    let kind = assistant(program);
    if args.budget.is_some() && kind != Assistant::ClaudeCode {
        bail!(
            "--budget works with Claude Code, whose calls can carry a task's name: for other programs make a key and set its user's limit (`tidegate keys add`, `tidegate budget set`)"
        );
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime can't be started")?;
    let there = Client::of(&settings).ok().filter(Client::is_running);
    runtime.block_on(async {
        let own = match &there {
            Some(_) => None,
            None => Some(own_gateway(sources, &settings).await?),
        };
        let address = match (&there, &own) {
            (Some(client), _) => client.address(),
            (None, Some(own)) => own.address,
            (None, None) => unreachable!("one of them is there"),
        };
        let theirs: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let (mut set, line) = environment(kind, address, &theirs);
        let task = args.budget.map(|budget| limit(&settings, address, budget));
        let headers = task.transpose()?.map(|task| with_task(&theirs, &task));
        if let Some(headers) = headers {
            set.push(("ANTHROPIC_CUSTOM_HEADERS", headers));
        }
        crate::cli::say(&line);
        let status = attend(program, rest, set).await;
        if let Some(own) = own {
            own.end().await?;
        }
        Ok(exit_code(status?))
    })
}

/// A gateway that lives as long as the program.
struct Own {
    address: SocketAddr,
    serving: Arc<Serving>,
    serves: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Own {
    /// The program is gone; what it left open is given as long as any call when a gateway stops.
    async fn end(self) -> anyhow::Result<()> {
        let (serving, mut serves) = (self.serving, self.serves);
        serving.phase.send_replace(Phase::Draining);
        let drain = serving.loaded.lock().settings.server.drain;
        if let Ok(served) = tokio::time::timeout(drain, &mut serves).await {
            return served?;
        }
        serving.gateway.close();
        serving.phase.send_replace(Phase::Closing);
        serves.await?
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is joined when the program has ended"
)]
async fn own_gateway(sources: Sources, settings: &Settings) -> anyhow::Result<Own> {
    let taken = crate::ports::holder(settings.listen.port()).is_some();
    // Somebody else's port is no reason not to run: nobody has to know ours by heart.
    let listen = taken.then(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let (serving, listener) = serve::start(sources, listen).await?;
    let address = listener.local_addr()?;
    let serves = {
        let serving = Arc::clone(&serving);
        tokio::spawn(async move { serving.until_drained(listener).await })
    };
    Ok(Own {
        address,
        serving,
        serves,
    })
}

/// Limits a task of its own name, and returns that name.
fn limit(settings: &Settings, address: SocketAddr, budget: NanoUsd) -> anyhow::Result<String> {
    let client = Client::of(settings)?.at(address);
    let task = format!("run-{}", std::process::id());
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

/// Runs the program to its end, passing on the signals that ask us to end. The terminal sends its
/// own to the program itself.
async fn attend(
    program: &OsStr,
    rest: &[std::ffi::OsString],
    set: Vec<(&'static str, String)>,
) -> anyhow::Result<ExitStatus> {
    let mut command = Command::new(program);
    command.args(rest).envs(set).kill_on_drop(true);
    let mut child = command.spawn().with_context(|| {
        format!(
            "`{}` can't be started: is it installed, and on the PATH?",
            program.display()
        )
    })?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    loop {
        tokio::select! {
            status = child.wait() => return Ok(status?),
            _ = terminate.recv() => pass_on(&child, rustix::process::Signal::TERM),
            _ = hangup.recv() => pass_on(&child, rustix::process::Signal::HUP),
            // Typed at the terminal, it has reached the program already: it decides.
            _ = interrupt.recv() => {}
        }
    }
}

fn pass_on(child: &Child, signal: rustix::process::Signal) {
    let id = child.id().and_then(|it| i32::try_from(it).ok());
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
