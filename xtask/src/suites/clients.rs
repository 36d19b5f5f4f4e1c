//! The official SDKs and Claude Code, unchanged: against the emulated provider itself, then through the gateway.

mod agreement;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use super::{Rig, Suite, Tally};
use crate::{
    bound,
    packages::Package,
    scratch::Scratch,
    server::{self, Server},
    shell,
};

const PYTHON: &[Package] = &[Package::PythonClients];
const NODE: &[Package] = &[Package::PythonClients, Package::NodeClients];

pub(super) const SUITES: &[Suite] = &[
    Suite {
        name: "python-provider",
        proves: "PyPI's SDKs and the emulated provider understand each other",
        needs: PYTHON,
        run: |rig| directly(rig, python),
    },
    Suite {
        name: "agreement",
        proves: "the emulated provider says to PyPI's SDK what it says to the judge, call for call",
        needs: PYTHON,
        run: agreement::suite,
    },
    Suite {
        name: "python-gateway",
        proves: "PyPI's SDKs notice nothing of the gateway",
        needs: PYTHON,
        run: |rig| through_gateway(rig, python),
    },
    Suite {
        name: "node-provider",
        proves: "npm's SDKs and the emulated provider understand each other",
        needs: NODE,
        run: |rig| directly(rig, node),
    },
    Suite {
        name: "node-gateway",
        proves: "npm's SDKs notice nothing of the gateway",
        needs: NODE,
        run: |rig| through_gateway(rig, node),
    },
    Suite {
        name: "claude-provider",
        proves: "Claude Code works with the emulated provider: tools, subagents, its screen",
        needs: NODE,
        run: |rig| directly(rig, claude),
    },
    Suite {
        name: "claude-gateway",
        proves: "Claude Code works through the gateway: tools, subagents, its screen",
        needs: NODE,
        run: |rig| through_gateway(rig, claude),
    },
    Suite {
        name: "top",
        proves: "`tidegate top` on a real terminal: what waits, a call cancelled, a gateway gone and back, the terminal left as it was",
        needs: PYTHON,
        run: top,
    },
    Suite {
        name: "claude-waiting",
        proves: "Claude Code waits for its turn, in silence or pinged, and notices nothing, or is told why not (longer waits with --slow)",
        needs: NODE,
        run: claude_waiting,
    },
    Suite {
        name: "claude-approvals",
        proves: "Claude Code waits for somebody's yes at a soft limit, goes on with it, and shows a no",
        needs: NODE,
        run: claude_approvals,
    },
    Suite {
        name: "claude-shows",
        proves: "Claude Code's own screens show our budgets: events, notice, bar, status line",
        needs: NODE,
        run: claude_shows,
    },
    Suite {
        name: "claude-telemetry",
        proves: "Claude Code's own telemetry is taken by every protocol, joins its calls, and keeps no prompt",
        needs: NODE,
        run: claude_telemetry,
    },
    Suite {
        name: "claude-login",
        proves: "Claude Code signs in with a code, takes our settings over and signs out; our hook blocks a prompt that would be refused",
        needs: LOGIN,
        run: claude_login,
    },
];

/// Claude Code's managed settings are put where it alone sees them.
const LOGIN: &[Package] = &[
    Package::PythonClients,
    Package::NodeClients,
    Package::Debian {
        program: "unshare",
        package: "util-linux",
    },
];

/// The operator pays for whoever has a key, and nobody waits for others' tasks.
const OPERATOR_PAYS: &str = r#"
version = 1

[quotas.user]
mode = "watch"

[providers.anthropic]
api_key = "sk-ant-api03-made-up-operator"
"#;

/// One call at a time, so that whoever comes second waits.
const ONE_SLOT: &str = r#"
version = 1

[platforms.sonnet.buckets.slots]
resource = "concurrency"
capacity = 1
mode = "enforce"
"#;

/// Heads are held back for a few seconds only, so that streams are opened soon.
const OPENS_SOON: &str = r#"
[waiting]
silent = "8s"
opened = "2m"
ping = "1s"
"#;

/// Somebody is asked before any task spends more than a hundredth of a cent.
const ASKS: &str = r#"
version = 1

[budgets.task]
soft = "0.0001"
mode = "enforce"
"#;

/// Where the clients are pointed at, and where they may write.
struct Target<'a> {
    rig: &'a Rig,
    url: String,
    home: PathBuf,
}

/// The programs of one language, run one after the other.
type Programs = fn(&Target<'_>) -> anyhow::Result<Tally>;

fn directly(rig: &Rig, programs: Programs) -> anyhow::Result<Tally> {
    in_scratch("provider", |scratch| {
        let provider = server::provider(rig.program()?, scratch.path(), &[])?;
        let tally = programs(&Target {
            rig,
            url: provider.url(),
            home: scratch.folder("client")?,
        })?;
        ended_well("provider", provider)?;
        Ok(tally)
    })
}

fn through_gateway(rig: &Rig, programs: Programs) -> anyhow::Result<Tally> {
    in_scratch("gateway", |scratch| {
        let program = rig.program()?;
        let provider = server::provider(program, scratch.path(), &[])?;
        let gateway = server::gateway(program, scratch.path(), &provider, None)?;
        let tally = programs(&Target {
            rig,
            url: gateway.url(),
            home: scratch.folder("client")?,
        })?;
        ended_well("gateway", gateway)?;
        ledger_is_clean(program, scratch.path())?;
        Ok(tally)
    })
}

fn claude_telemetry(rig: &Rig) -> anyhow::Result<Tally> {
    let (grpc, http) = (server::free_address()?, server::free_address()?);
    let configuration = format!("version = 1\n[otlp]\ngrpc = \"{grpc}\"\nhttp = \"{http}\"\n");
    claude_with(rig, "telemetry", &configuration, "claude_telemetry.py")
}

fn claude_approvals(rig: &Rig) -> anyhow::Result<Tally> {
    claude_with(rig, "approvals", ASKS, "claude_approvals.py")
}

/// The live view of the same program as the gateway's.
fn top(rig: &Rig) -> anyhow::Result<Tally> {
    in_scratch("top", |scratch| {
        let program = rig.program()?;
        let provider = server::provider(program, scratch.path(), &[])?;
        let gateway = server::gateway(program, scratch.path(), &provider, Some(ONE_SLOT))?;
        let target = Target {
            rig,
            url: gateway.url(),
            home: scratch.folder("client")?,
        };
        let mut command = client(&rig.packages.python()?, &target);
        command.env("TIDEGATE", program);
        command.env("TIDEGATE_DATA", scratch.path().join("data"));
        let tally = self::program(command.arg(shell::root().join("e2e/python/top.py")))?;
        ended_well("provider", provider)?;
        ended_well("gateway", gateway)?;
        ledger_is_clean(program, scratch.path())?;
        Ok(tally)
    })
}

fn claude_waiting(rig: &Rig) -> anyhow::Result<Tally> {
    let opens_soon = format!("{ONE_SLOT}{OPENS_SOON}");
    let opened = claude_with(rig, "opened", &opens_soon, "claude_opened.py")?;
    Ok(opened + claude_with(rig, "waiting", ONE_SLOT, "claude_waiting.py")?)
}

fn claude_shows(rig: &Rig) -> anyhow::Result<Tally> {
    claude_with(rig, "shows", OPERATOR_PAYS, "claude_shows.py")
}

fn claude_login(rig: &Rig) -> anyhow::Result<Tally> {
    claude_with(rig, "login", OPERATOR_PAYS, "claude_login.py")
}

/// A program that uses Claude Code through a gateway with this configuration, and the gateway's own commands.
fn claude_with(rig: &Rig, name: &str, configuration: &str, file: &str) -> anyhow::Result<Tally> {
    in_scratch(name, |scratch| {
        let program = rig.program()?;
        let provider = server::provider(program, scratch.path(), &[])?;
        let gateway = server::gateway(program, scratch.path(), &provider, Some(configuration))?;
        let target = Target {
            rig,
            url: gateway.url(),
            home: scratch.folder("client")?,
        };
        let mut command = claude_program(&target, file)?;
        command.env("TIDEGATE", program);
        command.env("TIDEGATE_DATA", scratch.path().join("data"));
        if rig.slow {
            command.env("SLOW", "1");
        }
        let tally = self::program(&mut command)?;
        ended_well("provider", provider)?;
        ended_well("gateway", gateway)?;
        ledger_is_clean(program, scratch.path())?;
        Ok(tally)
    })
}

/// The scratch folder is kept where something failed.
fn in_scratch(
    name: &str,
    run: impl FnOnce(&Scratch) -> anyhow::Result<Tally>,
) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new(name)?;
    let done = run(&scratch);
    if !done.as_ref().is_ok_and(|tally| tally.failed == 0) {
        scratch.keep();
    }
    done
}

/// A server that is asked to end does so, and says that all went well.
fn ended_well(name: &str, server: Server) -> anyhow::Result<()> {
    let status = server.stop().with_context(|| name.to_owned())?;
    anyhow::ensure!(status.success(), "the {name} ended with {status}");
    Ok(())
}

/// Whatever the clients did, the books balance.
fn ledger_is_clean(program: &Path, home: &Path) -> anyhow::Result<()> {
    let mut verify = server::tidegate(program, home);
    verify.env("TIDEGATE_DATA", home.join("data"));
    shell::read(verify.args(["ledger", "verify"]))?;
    Ok(())
}

fn python(target: &Target<'_>) -> anyhow::Result<Tally> {
    let python = target.rig.packages.python()?;
    let run = |file: &str| {
        let mut command = client(&python, target);
        program(command.arg(shell::root().join("e2e/python").join(file)))
    };
    Ok(run("anthropic_sdk.py")? + run("openai_sdk.py")?)
}

fn node(target: &Target<'_>) -> anyhow::Result<Tally> {
    let (modules, node) = target.rig.packages.node()?;
    let run = |file: &str| {
        // Node looks for packages beside the program's file, so the programs are put beside the packages.
        let beside = modules.join("programs");
        copy_folder(&shell::root().join("e2e/js"), &beside)?;
        program(client(&node, target).arg(beside.join(file)))
    };
    Ok(run("anthropic_sdk.mjs")? + run("openai_sdk.mjs")?)
}

fn claude(target: &Target<'_>) -> anyhow::Result<Tally> {
    program(&mut claude_program(target, "claude_code.py")?)
}

/// A program of ours that uses Claude Code.
fn claude_program(target: &Target<'_>, file: &str) -> anyhow::Result<Command> {
    let (modules, _) = target.rig.packages.node()?;
    let python = target.rig.packages.python()?;
    let mut command = client(&python, target);
    command.env("CLAUDE", claude_in(&modules)?);
    command.arg(shell::root().join("e2e/python").join(file));
    Ok(command)
}

/// Claude Code is a program of its own, in the package for this machine.
pub(super) fn claude_in(modules: &Path) -> anyhow::Result<PathBuf> {
    let vendor = modules.join("node_modules/@anthropic-ai");
    let folders = std::fs::read_dir(&vendor).with_context(|| vendor.display().to_string())?;
    let programs = folders.filter_map(|it| Some(it.ok()?.path().join("claude")));
    let mut found = programs.filter(|it| it.is_file());
    found
        .next()
        .context("npm's package of Claude Code has no program for this machine")
}

/// A client with an environment that holds nothing of the developer's.
fn client(program: &Path, target: &Target<'_>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().current_dir(&target.home);
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("HOME", &target.home);
    command.env("BASE_URL", &target.url);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("PYTHONUNBUFFERED", "1");
    command
}

/// Runs a client program to its end; one that ends without its closing line is a failure.
fn program(command: &mut Command) -> anyhow::Result<Tally> {
    let (status, output) = shell::tee(command, bound::CLIENT_PROGRAM)?;
    let tally = Tally::of_program(&output);
    tally.with_context(|| format!("the client program ended early, with {status}"))
}

fn copy_folder(from: &Path, to: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(to)?;
    for file in std::fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            std::fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}
