//! The command line: what can be asked, and the commands that ask a running gateway or read what
//! it keeps.
//!
//! Exit codes: 0 done, 1 failed or found something wrong, 2 wrong usage.

mod activity;
mod approvals;
mod budget;
mod calls;
mod claude;
mod client;
mod config;
mod doctor;
mod hook;
mod keys;
mod ledger;
mod login;
mod logs;
mod notify;
mod prices;
mod program;
mod queue;
mod quota;
mod replay;
mod status;
mod statusline;
mod table;
mod task;
mod top;
mod trace;

use std::{
    ffi::OsString,
    io::{IsTerminal as _, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, Parser, Subcommand};
use tidegate_types::NanoUsd;

use crate::config::{LoadError, Loaded, Settings, Sources};

pub(crate) use claude::set_by_settings;
pub(crate) use client::{ADDRESS_FILE, Client, TOKEN_FILE};
pub(crate) use program::{Assistant, assistant, cloud, environment, not_overruled, same_origins};

/// Something is wrong, or was found wrong.
const FAILED: u8 = 1;

/// Governs how AI agents and coding assistants spend LLM quota and money.
#[derive(Clone, Debug, Parser)]
#[command(name = "tidegate", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The configuration file [default: $TIDEGATE_CONFIG, else the usual one if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The folder for the ledger, the journal and the token
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) data: Option<PathBuf>,
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What can be asked.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the gateway
    Serve(ServeArgs),
    /// Start a program whose calls are governed: `tidegate run -- claude`
    Run(RunArgs),
    /// Platforms, buckets and limits of the running gateway
    Status(Format),
    /// What the gateway does now, live: buckets, queue, budgets, running calls, approvals
    Top,
    /// The newest calls, or everything about one
    Calls(calls::CallsArgs),
    /// What was said, by the gateway and by what sends it telemetry: found, followed, counted, exported
    Logs(logs::LogsArgs),
    /// What one piece of work was made of, and how long each part took: a waterfall
    Trace(trace::TraceArgs),
    /// Usage and performance by the hour, platform, task type and user
    Activity(activity::ActivityArgs),
    /// Calls that wait: their places, and how long it will take; `cancel` and `promote` one
    Queue(queue::QueueArgs),
    /// Tasks: how far they are and what they used; `create`, `start`, `complete`, `cancel` one
    Task(task::TaskArgs),
    /// Quotas: what is used and left, when it is free again, and who waits for it
    Quota(quota::QuotaArgs),
    /// Budgets: what is spent, held and left; `set` changes a limit
    Budget(budget::BudgetArgs),
    /// Requests to pass a soft limit
    Approvals(Format),
    /// Say yes to a request: its soft limit is raised, and what waits goes on
    Approve(approvals::ApproveArgs),
    /// Say no to a request: what waits for it is refused
    Deny(approvals::DenyArgs),
    /// Channels for notices: `test` sends one and says what came back
    #[command(subcommand)]
    Notify(notify::NotifyCommand),
    /// Keys that callers present to the gateway
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Programs that sign in with a code (`/login`): `approve` one, `list` and `revoke` them
    #[command(subcommand)]
    Login(login::LoginCommand),
    /// The ledger: verify, export, settle what a crash left unknown
    #[command(subcommand)]
    Ledger(ledger::LedgerCommand),
    /// One line for Claude Code's status line: the session's JSON comes on standard input
    Statusline,
    /// For Claude Code's hooks: what is known before a prompt begins, and its end; the event's JSON
    /// comes on standard input
    Hook,
    /// Claude Code's settings file: let it use the gateway and show it
    #[command(subcommand)]
    Claude(claude::ClaudeCommand),
    /// What models cost
    Prices(prices::PricesArgs),
    /// The configuration: check, show, reference
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Look for what would keep the gateway or an assistant from working
    Doctor(Format),
    /// What recorded traffic would have met under one system or another: limits, waits, cost
    Replay(replay::ReplayArgs),
    /// An emulated provider, for trying things out
    #[command(subcommand)]
    Sim(SimCommand),
    /// Generated documentation
    #[command(subcommand)]
    Reference(ReferenceCommand),
}

/// How to print.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Format {
    /// JSON for programs instead of a table for people
    #[arg(long)]
    pub(crate) json: bool,
}

/// Options of `serve`.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ServeArgs {
    /// Where to listen [default: 127.0.0.1:8787]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// Enforce the built-in limits for everyone
    #[arg(long)]
    pub(crate) enforce: bool,
    /// Say nothing but the address, and end when no `tidegate run` uses it: how `run` starts one
    #[arg(long, hide = true)]
    pub(crate) for_runs: bool,
}

/// Options of `run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// The most that this run may spend, in dollars
    #[arg(long, value_name = "DOLLARS")]
    pub(crate) budget: Option<NanoUsd>,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    pub(crate) program: Vec<OsString>,
}

/// What can be emulated.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SimCommand {
    /// A provider of both dialects, with limits, prompt cache, latencies and faults
    ///
    /// A prompt says what its answer is to be: `sim:say TEXT`, `sim:tokens N`, `sim:tool NAME {json}`,
    /// `sim:sleep-ms N`, `sim:fault 529*2`; so do the headers `x-sim`, `x-sim-fault` and `x-sim-usage`.
    /// docs/emulated-provider.md has all directives, faults and fields of `--spec`.
    Provider(SimProviderArgs),
}

/// Options of `sim provider`.
#[derive(Clone, Debug, Args)]
pub(crate) struct SimProviderArgs {
    /// Where to listen; port 0 takes a free one, which is printed
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9090")]
    pub(crate) listen: SocketAddr,
    /// What to emulate, as JSON; every field has a default
    #[arg(long, value_name = "FILE")]
    pub(crate) spec: Option<PathBuf>,
    /// No limit that any test would meet
    #[arg(long, conflicts_with = "spec")]
    pub(crate) unlimited: bool,
    /// Prebuilt answers and no rules: the upstream of benches
    #[arg(long, conflicts_with_all = ["spec", "unlimited"])]
    pub(crate) bench: bool,
}

/// What is generated.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum ReferenceCommand {
    /// The control API, as an OpenAPI 3.1 document
    Openapi,
    /// The metrics, as Markdown
    Metrics,
    /// The configuration, as Markdown
    Configuration,
}

impl Cli {
    /// Where the configuration is taken from: these options and this process's environment.
    pub(crate) fn sources(&self) -> Sources {
        let mut sources = Sources {
            file: self.config.clone(),
            data: self.data.clone(),
            ..Sources::of_process()
        };
        if let Command::Serve(serve) = &self.command {
            sources.listen.clone_from(&serve.listen);
            sources.enforce = serve.enforce;
        }
        sources
    }

    /// The configuration that these options lead to.
    pub(crate) fn load(&self) -> Result<Loaded, LoadError> {
        crate::config::load(&self.sources())
    }
}

impl Cli {
    /// Where the gateway is. A configuration that is wrong is told of, and does not keep anybody from
    /// looking at a gateway that runs with an earlier one.
    fn whereabouts(&self) -> Result<Settings, LoadError> {
        let error = match self.load() {
            Ok(loaded) => return Ok(loaded.settings),
            Err(error) => error,
        };
        let Some(settings) = crate::config::beside_file(&self.sources()) else {
            return Err(error);
        };
        passed_over(&error);
        Ok(settings)
    }

    fn client(&self) -> anyhow::Result<Client> {
        Ok(Client::of(&self.whereabouts()?)?)
    }
}

/// Warns that a configuration is wrong, and that it is gone on without it.
fn passed_over(error: &LoadError) {
    say(&format!(
        "tidegate: warning: the configuration is wrong, and passed over:\n{error}"
    ));
}

/// What a command says: text for standard output, and whether something is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Said {
    /// What to print; ends with a line's end unless empty.
    pub(crate) text: String,
    /// Exit with 1.
    pub(crate) failed: bool,
}

impl Said {
    pub(crate) fn fine(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        Self {
            text,
            failed: false,
        }
    }

    fn json(value: &impl serde::Serialize) -> anyhow::Result<Self> {
        Ok(Self::fine(serde_json::to_string_pretty(value)?))
    }
}

/// Answers every command but those that run something (`serve`, `run`, `sim`) and `reference
/// openapi`, which are the caller's: for these it is `None`.
pub(crate) fn answer(cli: &Cli) -> anyhow::Result<Option<Said>> {
    let said = match &cli.command {
        Command::Serve(_)
        | Command::Run(_)
        | Command::Sim(_)
        | Command::Reference(ReferenceCommand::Openapi) => return Ok(None),
        Command::Reference(ReferenceCommand::Metrics) => {
            let registry = tidegate_observe::metrics::Registry::new();
            Said::fine(registry.catalogue_markdown())
        }
        Command::Reference(ReferenceCommand::Configuration) => {
            Said::fine(crate::config::markdown())
        }
        Command::Config(command) => config::answer(command, &cli.sources())?,
        Command::Doctor(format) => doctor::answer(*format, &cli.sources())?,
        Command::Replay(args) => replay::answer(args)?,
        Command::Prices(args) => prices::answer(args, &cli.load()?.settings)?,
        Command::Ledger(command) => ledger::answer(command, &cli.load()?.settings)?,
        Command::Status(format) => status::answer(*format, &cli.client()?)?,
        Command::Top => top::answer(&cli.whereabouts()?)?,
        Command::Calls(args) => calls::answer(args, &cli.client()?)?,
        Command::Logs(args) => logs::answer(args, &cli.client()?)?,
        Command::Trace(args) => trace::answer(args, &cli.client()?)?,
        Command::Activity(args) => activity::answer(args, &cli.client()?)?,
        Command::Queue(args) => queue::answer(args, &cli.client()?)?,
        Command::Task(args) => task::answer(args, &cli.client()?)?,
        Command::Quota(args) => quota::answer(args, &cli.client()?)?,
        Command::Budget(args) => budget::answer(args, &cli.client()?)?,
        Command::Claude(command) => claude::answer(command, &cli.sources())?,
        Command::Hook => hook::answer(&cli.sources()),
        Command::Statusline => statusline::answer(&cli.sources()),
        Command::Approvals(format) => approvals::list(*format, &cli.client()?)?,
        Command::Approve(args) => approvals::approve(args, &cli.client()?)?,
        Command::Deny(args) => approvals::deny(args, &cli.client()?)?,
        Command::Notify(command) => notify::answer(command, &cli.client()?)?,
        Command::Login(command) => login::answer(command, &cli.client()?)?,
        Command::Keys(command) => keys::answer(command, &cli.load()?.settings)?,
    };
    Ok(Some(said))
}

/// Prints what was said; a reader that went away (`| head`) is no failure.
pub(crate) fn print(said: &Said) -> ExitCode {
    match write(&table::for_reader(&said.text, colours())) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::from(FAILED),
        _ if said.failed => ExitCode::from(FAILED),
        _ => ExitCode::SUCCESS,
    }
}

/// Writes to standard output at once.
fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints an error with its causes, each on a line of its own.
/// Commands that it names work as they stand there, beside `sources`.
pub(crate) fn print_error(error: &anyhow::Error, sources: &Sources) -> ExitCode {
    let mut text = format!("tidegate: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str("  because: ");
        text.push_str(&cause.to_string());
        text.push('\n');
    }
    let text = sources.as_typed(&text);
    // Where standard error is gone there is nobody left to tell.
    let _gone = std::io::stderr().lock().write_all(text.as_bytes());
    ExitCode::from(FAILED)
}

/// Says where the gateway serves and which limits only watch, on standard error: standard output
/// belongs to whoever is served.
pub(crate) fn greet(at: SocketAddr, data: &Path, watched: &str, sources: &Sources) {
    let mut text = format!(
        "tidegate serves at http://{at}, data in {}\n",
        data.display()
    );
    if !watched.is_empty() {
        text.push_str("only watched for calls without a key: ");
        text.push_str(watched);
        let listen = sources.listen.as_ref();
        let listen = listen.map_or(String::new(), |it| format!(" --listen {it}"));
        let hint = format!("\nenforce them with `tidegate serve{listen} --enforce`\n");
        text.push_str(&sources.as_typed(&hint));
    }
    // Where standard error is gone there is nobody left to tell.
    let _gone = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Limits what one task may spend.
pub(crate) fn limit_task(
    client: &Client,
    organisation: &str,
    task: &str,
    hard: NanoUsd,
) -> anyhow::Result<()> {
    budget::limit_task(client, organisation, task, hard)
}

/// Says one line on standard error.
pub(crate) fn say(line: &str) {
    // Where standard error is gone there is nobody left to tell.
    writeln!(std::io::stderr().lock(), "{line}").unwrap_or_default();
}

/// Colour only where a person looks: a terminal, and nobody objects.
fn colours() -> bool {
    let objects = std::env::var_os("NO_COLOR").is_some_and(|it| !it.is_empty());
    std::io::stdout().is_terminal() && !objects
}

#[cfg(test)]
mod tests;
