//! A real browser with a page from elsewhere that tries to reach the gateway: it gets nothing and changes nothing.

mod attacker;

use std::{
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::Signal;
use serde::Deserialize;

use super::{
    Rig, Suite, Tally,
    wire::{self, Line},
};
use crate::{
    packages::Package,
    report,
    scratch::Scratch,
    server::{self, Server},
    shell,
};
use attacker::Attacker;

const CHROMIUM: Package = Package::Debian {
    program: "chromium",
    package: "chromium",
};

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "browser",
    proves: "a web page from elsewhere reads nothing, changes nothing and spends nothing, also after DNS rebinding",
    needs: &[CHROMIUM],
    run,
}];

/// The name that the rules of the resolver lead to the gateway, as a rebound name would.
const EVIL: &str = "evil.example";

/// A site of the attacker's that stays where it is.
const SITE: &str = "attacker.example";

/// A name whose address changes after the page was loaded from it: the page's own origin is then the gateway.
const REBOUND: &str = "rebound.example";

fn run(rig: &Rig) -> anyhow::Result<Tally> {
    let chromium = rig.packages.ensure(CHROMIUM).map_err(anyhow::Error::msg)?;
    let scratch = Scratch::try_new("browser")?;
    let done = in_folder(rig.program()?, &chromium, &scratch);
    if done.is_err() {
        scratch.keep();
    }
    done
}

fn in_folder(program: &Path, chromium: &Path, scratch: &Scratch) -> anyhow::Result<Tally> {
    let home = scratch.path();
    let spec = home.join("provider.json");
    let log = home.join("wire.jsonl");
    std::fs::write(
        &spec,
        serde_json::json!({ "log": { "file": log } }).to_string(),
    )?;
    let options = ["--spec", spec.to_str().context("a path that is no text")?];
    let provider = server::provider(program, home, &options)?;
    // The operator's own credential is at stake: keyless calls of this machine may spend it.
    let configuration = "version = 1\n[providers.anthropic]\napi_key = \"sk-ant-api03-operator\"\nlocal_may_spend = true\n\
        [providers.openai]\napi_key = \"sk-operator\"\nlocal_may_spend = true\n";
    let gateway = server::gateway(program, home, &provider, Some(configuration))?;
    prepare(&gateway)?;
    let (before, sent) = (state(&gateway, home)?, calls_sent(&log)?);
    ensure!(
        sent == 1,
        "the call that shows that calls pass reached the provider {sent} times"
    );

    let attacker = Attacker::start(&gateway.address)?;
    let port = port_of(&gateway.address)?;
    let mut tally = Tally::default();
    for page in pages(&attacker, port) {
        let told = visit(chromium, scratch, &attacker, port, &page).with_context(|| page.name)?;
        let tries = judge(&told).with_context(|| page.name)?;
        report::say(format_args!(
            "{}: {tries} tries, and nothing was read",
            page.name
        ));
        tally = tally + Tally::passed();
    }
    let after = state(&gateway, home)?;
    ensure!(
        before == after,
        "something was changed:\n{before}\nthen\n{after}"
    );
    let sent = calls_sent(&log)? - sent;
    ensure!(sent == 0, "{sent} calls of the pages reached the provider");
    let refused = refusals(&gateway)?;
    ensure!(
        refused > 0,
        "no try ever reached the gateway: the browser itself refused them all"
    );
    report::say(format_args!(
        "{refused} of the tries reached the control API and were refused; no call reached the provider"
    ));
    Ok(tally)
}

/// A call and a reservation, to be read or stolen.
fn prepare(gateway: &Server) -> anyhow::Result<()> {
    let mut line = Line::open(&gateway.address)?;
    let body = r#"{"model":"claude-opus-5-5","max_tokens":16,"messages":[{"role":"user","content":"mine"}]}"#;
    let version = ["anthropic-version: 2023-06-01"];
    line.call(&wire::request("POST", "/v1/messages", &version, body))?
        .json()?;
    let ask = r#"{"cost_usd":"0.25","task":"mine"}"#;
    line.call(&wire::request("POST", "/api/v1/admissions", &[], ask))?
        .json()?;
    Ok(())
}

/// A page and the targets that it tries.
struct Page {
    name: &'static str,
    url: String,
}

fn pages(attacker: &Attacker, gateway: u16) -> Vec<Page> {
    let own = attacker.port();
    let cross = [
        format!("http://127.0.0.1:{gateway}"),
        format!("http://localhost:{gateway}"),
        format!("http://{EVIL}:{gateway}"),
    ];
    let rebound = format!("http://{REBOUND}:{gateway}");
    attacker.offer("cross", &cross);
    attacker.offer("sandboxed", &cross);
    attacker.offer("rebound", std::slice::from_ref(&rebound));
    vec![
        Page {
            name: "a page of another origin",
            url: format!("http://{SITE}:{own}/attack/cross"),
        },
        Page {
            name: "a page of another port of this machine",
            url: format!("http://127.0.0.1:{own}/attack/cross"),
        },
        Page {
            name: "a page without an origin",
            url: format!("http://{SITE}:{own}/attack/sandboxed"),
        },
        Page {
            name: "a page whose own name was rebound to the gateway",
            url: format!("{rebound}/attack/rebound"),
        },
    ]
}

/// One try, as the page tells of it.
#[derive(Debug, Deserialize)]
struct Try {
    way: String,
    url: String,
    outcome: String,
    body: String,
}

/// Opens the page in a browser of its own and waits for its report.
fn visit(
    chromium: &Path,
    scratch: &Scratch,
    attacker: &Attacker,
    gateway: u16,
    page: &Page,
) -> anyhow::Result<Vec<Try>> {
    let profile = scratch.folder("profile")?;
    let rules = format!(
        "--host-resolver-rules=MAP {REBOUND}:{gateway} 127.0.0.1:{}, MAP {EVIL} 127.0.0.1, MAP {SITE} 127.0.0.1",
        attacker.port()
    );
    let mut command = Command::new(chromium);
    command.env_clear().env("HOME", scratch.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
    ]);
    command.args([
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]);
    // Rules of newer browsers about this machine's addresses would stop the tries: the gateway must not depend on them.
    command.arg("--disable-features=LocalNetworkAccessChecks,PrivateNetworkAccessForNavigations,HttpsUpgrades");
    command.arg("--disable-dev-shm-usage").arg(rules);
    command
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(&page.url);
    let output = std::fs::File::create(scratch.path().join("chromium.log"))?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    // A group of its own, so that all of its processes can be ended.
    let mut browser = command
        .process_group(0)
        .spawn()
        .context("cannot start the browser")?;
    let told = attacker.report();
    rustix::process::kill_process_group(shell::pid(&browser)?, Signal::KILL)?;
    browser.wait()?;
    std::fs::remove_dir_all(&profile).ok(); // the next page makes it anew
    let told = told?;
    serde_json::from_str(&told).with_context(|| format!("the page told `{told}`"))
}

/// Whatever way was tried, no answer that succeeded may have been readable, and no socket open.
fn judge(tries: &[Try]) -> anyhow::Result<usize> {
    let ways: std::collections::BTreeSet<&str> = tries.iter().map(|it| it.way.as_str()).collect();
    ensure!(ways.len() >= 11, "the page tried only {ways:?}");
    for it in tries {
        let status = it.outcome.parse::<u16>().ok();
        let read = match (status, it.outcome.as_str()) {
            (Some(status), _) => status < 400,
            // What a frame of another origin shows can't be read; of the own origin it is a refusal.
            (None, "opaque") => !it.body.is_empty() && !it.body.contains("\"error\""),
            (None, "refused") => false,
            (None, _) => true,
        };
        if read {
            bail!(
                "{} of {} came to {}: {}",
                it.way,
                it.url,
                it.outcome,
                it.body
            );
        }
    }
    Ok(tries.len())
}

/// All that a page could have changed, as text.
fn state(gateway: &Server, home: &Path) -> anyhow::Result<String> {
    let operator = wire::operator(&home.join("data"))?;
    let mut line = Line::open(&gateway.address)?;
    let mut text = String::new();
    let parts = [
        "reservations",
        "limits",
        "keys",
        "audit",
        "ledger/entries?limit=10000",
        "calls?limit=1000",
    ];
    for part in parts {
        let ask = wire::request("GET", &format!("/api/v1/{part}"), &[&operator], "");
        let mut told = line.call(&ask)?.json()?;
        if let Some(calls) = told["calls"].as_array_mut() {
            // Refusals are recorded too, as nobody's calls.
            calls.retain(|it| it["user"] != "");
        }
        text.push_str(&told.to_string());
        text.push('\n');
    }
    Ok(text)
}

/// How many calls the provider has seen.
fn calls_sent(log: &Path) -> anyhow::Result<usize> {
    Ok(std::fs::read_to_string(log)?.lines().count())
}

/// How often the control API refused to know somebody.
fn refusals(gateway: &Server) -> anyhow::Result<u64> {
    let metrics = wire::once(&gateway.address, &wire::request("GET", "/metrics", &[], ""))?;
    ensure!(metrics.status == 200, "no metrics: {}", metrics.status);
    let refused = |line: &&str| {
        line.starts_with("tidegate_control_requests_total")
            && (line.contains("\"403\"") || line.contains("\"401\""))
    };
    let text = metrics.text();
    let counts = text
        .lines()
        .filter(refused)
        .filter_map(|it| it.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(counts.sum())
}

fn port_of(address: &str) -> anyhow::Result<u16> {
    let port = address.rsplit(':').next().and_then(|it| it.parse().ok());
    port.context("an address without a port")
}
