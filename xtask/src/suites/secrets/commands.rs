//! The command line and the API, which show what was kept.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{super::wire, Site, api, left::Left, mark, until};
use crate::server::Server;

/// Configurations that are refused, each with an operator's secret in it.
const REFUSED: [&str; 9] = [
    "version = 1\nproviders.anthropic.api_key = [\"SECRET\"]\n",
    "version = 1\nproviders.anthropic = \"SECRET\"\n",
    "version = 1\nproviders.anthropic.api_key = \"SECRET\n",
    "version = 1\n[[providers]]\napi_key = \"TEXT\"\n",
    "version = 1\nproviders.anthropic.api_kee = \"SECRET\"\n",
    "version = 1\nproviders.anthropic.base_url = \"https://me:TEXT@host\"\n",
    "version = 1\n\"SECRET\" = 1\n",
    "version = 1\nproviders.openai = \"TEXT\"\n",
    "version = 1\nproviders.openai.api_key = { key = \"TEXT\" }\n",
];

/// Makes a key of each kind while no gateway runs, and remembers their secrets.
pub(super) fn make_keys(site: &Site, left: &mut Left<'_>) -> anyhow::Result<Vec<String>> {
    let mut secrets = Vec::new();
    for role in ["caller", "operator"] {
        let mut add = site.tidegate();
        add.args([
            "keys",
            "add",
            "harbour",
            "--user",
            "harbour-master",
            "--json",
            "--role",
            role,
        ]);
        let output = add.output().context("no key can be made")?;
        let made: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let secret = made["secret"].as_str().context("a key without a secret")?;
        // Its secret is shown here, once; what else was said is searched.
        left.keep("keys add", &output.stderr);
        left.watch_for(secret, None);
        secrets.push(secret.to_owned());
    }
    Ok(secrets)
}

/// Names that operators give: none may be a secret, with a gateway and without.
pub(super) fn name_by_secrets(site: &Site, left: &mut Left<'_>) -> anyhow::Result<()> {
    let (key, text) = (mark::key("KeyName"), mark::key("KeyUser"));
    for line in [
        format!("keys add {key} --user harbour-master"),
        format!("keys add harbour --user {text}"),
        format!("keys add harbour --user harbour-master --organisation {text}"),
    ] {
        let done = say_as(&mut site.tidegate(), &line, "keys add", left)?;
        ensure!(!done, "a key was made with a secret for a name");
    }
    Ok(())
}

/// Has the gateway read configurations that are wrong: what is wrong is told, the secret is not.
pub(super) fn refuse_configurations(
    site: &Site,
    gateway: &Server,
    left: &mut Left<'_>,
) -> anyhow::Result<()> {
    let right = std::fs::read_to_string(site.file())?;
    let pid = Pid::from_raw(i32::try_from(gateway.id())?).context("no process id")?;
    for (at, text) in REFUSED.iter().enumerate() {
        let text = text.replace("SECRET", &mark::key("Configured"));
        let text = text.replace("TEXT", &mark::text("ConfiguredText"));
        std::fs::write(site.file(), &text)?;
        for line in ["config check", "config show", "doctor", "status"] {
            let said = say(&mut site.tidegate(), line, left)?;
            ensure!(line != "config check" || !said, "`{text}` was taken");
        }
        kill_process(pid, Signal::HUP)?;
        let refusals = || gateway.words().matches("config_refused").count();
        until("the configuration is refused", || Ok(refusals() > at))?;
    }
    std::fs::write(site.file(), right)?;
    let mut with_variable = site.tidegate();
    with_variable.env("TIDEGATE__PROVIDERS__OPENAI", mark::text("Variable"));
    say(&mut with_variable, "config check", left)?;
    Ok(())
}

/// Asks for everything that can be shown. Returns how many calls ended how.
pub(super) fn look_around(
    site: &Site,
    gateway: &Server,
    left: &mut Left<'_>,
) -> anyhow::Result<BTreeMap<String, u32>> {
    let token = std::fs::read_to_string(site.data().join("token"))?;
    left.watch_for(token.trim(), Some(site.data().join("token")));
    until("the hang-ups are settled", || {
        Ok(outcomes(&api(gateway, site, "/api/v1/calls?limit=1000")?).contains_key("client_gone"))
    })?;
    show_everything(site, left)?;
    ask_for_everything(site, gateway, left)?;
    let calls = api(gateway, site, "/api/v1/calls?limit=1000")?;
    // Records are kept compressed: what is searched of them is what is told, of each.
    let logs = site.home.join(super::LOGS);
    let export = format!("logs --export {}", logs.display());
    ensure!(
        say(&mut site.tidegate(), &export, left)?,
        "logs can't be exported"
    );
    ensure!(calls["next"].is_null(), "more calls than are looked at");
    for call in calls["calls"].as_array().into_iter().flatten() {
        let id = call["id"].as_str().unwrap_or_default();
        left.keep(
            "a call",
            api(gateway, site, &format!("/api/v1/calls/{id}"))?
                .to_string()
                .as_bytes(),
        );
    }
    Ok(outcomes(&calls))
}

/// What the command line shows.
fn show_everything(site: &Site, left: &mut Left<'_>) -> anyhow::Result<()> {
    for line in [
        "status",
        "status --json",
        "calls",
        "calls --json",
        "logs --limit 10000",
        "logs --limit 10000 --json",
        "logs --every 1h",
        "activity",
        "activity --by hour,organisation,user,platform,model,task_type,class --json",
        "task --all",
        "task --all --json",
        "quota",
        "quota --json",
        "top",
        "budget",
        "budget --json",
        "budget --ended",
        "keys list",
        "keys list --json",
        "ledger unknown",
        "ledger unknown --json",
        "ledger verify",
        "ledger export",
        "config show",
        "config show --json",
        "config check",
        "doctor",
        "doctor --json",
        "prices",
        "prices reprice",
        "prices reprice --json",
    ] {
        let fine = say(&mut site.tidegate(), line, left)?;
        ensure!(
            fine || line.starts_with("doctor"),
            "`tidegate {line}` failed"
        );
    }
    Ok(())
}

/// What the API answers.
fn ask_for_everything(site: &Site, gateway: &Server, left: &mut Left<'_>) -> anyhow::Result<()> {
    let operator = wire::operator(&site.data())?;
    for path in [
        "/metrics",
        "/healthz",
        "/readyz",
        "/api/v1/status",
        "/api/v1/tasks",
        "/api/v1/quotas",
        "/api/v1/calls/running",
        "/api/v1/limits",
        "/api/v1/budgets?limit=1000",
        "/api/v1/keys",
        "/api/v1/reservations",
        "/api/v1/audit",
        "/api/v1/config",
        "/api/v1/prices",
        "/api/v1/ledger/entries",
        "/api/v1/calls?limit=1000",
        "/api/v1/logs?limit=10000",
        "/api/v1/activity",
    ] {
        let request = wire::request("GET", path, &[&operator], "");
        let answer = wire::once(&gateway.address, &request)?;
        ensure!(answer.status == 200, "{path}: {}", answer.text());
        left.keep(path, &answer.body);
    }
    Ok(())
}

fn outcomes(calls: &Value) -> BTreeMap<String, u32> {
    let mut outcomes = BTreeMap::new();
    for call in calls["calls"].as_array().into_iter().flatten() {
        let word = call["outcome"]["kind"].as_str().unwrap_or_default();
        *outcomes.entry(word.to_owned()).or_default() += 1;
    }
    outcomes
}

/// What the command line reads by itself while no gateway runs.
pub(super) fn read_what_is_kept(site: &Site, left: &mut Left<'_>) -> anyhow::Result<()> {
    for line in [
        "ledger export",
        "ledger verify",
        "keys list",
        "config show",
        "doctor",
        "status",
        "calls",
    ] {
        // Some need a gateway and say so: that is searched as well.
        say(&mut site.tidegate(), line, left)?;
    }
    Ok(())
}

/// Runs a command and keeps all it says; whether it was content.
pub(super) fn say(program: &mut Command, line: &str, left: &mut Left<'_>) -> anyhow::Result<bool> {
    say_as(program, line, line, left)
}

/// The same, where the line itself is no name for what it said.
fn say_as(
    program: &mut Command,
    line: &str,
    name: &str,
    left: &mut Left<'_>,
) -> anyhow::Result<bool> {
    let output = program.args(line.split(' ')).output();
    let output = output.with_context(|| format!("cannot start `tidegate {name}`"))?;
    left.keep(&format!("tidegate {name}"), &output.stdout);
    left.keep(&format!("tidegate {name}, its errors"), &output.stderr);
    Ok(output.status.success())
}
