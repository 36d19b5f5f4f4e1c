//! A run in which every call carries secrets in every place that has room for one, and a search through all that it left.

mod ask;
mod calls;
mod commands;
mod left;
mod logins;
mod loose;
mod mark;

use std::{
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Rig, Suite, Tally, wire};
use crate::{
    bench::clock,
    report,
    scratch::Scratch,
    server::{self, Server},
};
use calls::Caller;
use left::Left;

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "secrets",
    proves: "no key, token or prompt text is in any log, error, metric or file that a run left, also one that was killed",
    needs: &[],
    run,
}];

/// A name that is no secret, put where secrets are put: the search would be blind where it is not found.
const PLAIN_TASK: &str = "harbour-task";
const PLAIN_SESSION: &str = "harbour-session";

/// All logs and records of calls, as a file.
const LOGS: &str = "all-logs.jsonl";

/// Everything is logged, one limit binds, and one provider is paid by the operator.
const CONFIGURATION: &str = r#"
version = 1
log.level = "debug"
redact.patterns = ["PATTERN"]
server.drain = "1s"
budgets.task = { hard = "5" }
budgets.user_day = { soft = "0.0001", mode = "watch" }
quotas.user.mode = "watch"

[providers.loose]
family = "anthropic"
base_url = "http://LOOSE"
api_key_env = "PAID_KEY"
local_may_spend = true

[providers.gone]
family = "anthropic"
base_url = "http://127.0.0.1:1"
local_may_spend = true

[platforms.loose]
provider = "loose"
models = ["loose-*"]

[platforms.gone]
provider = "gone"
models = ["gone-*"]

[platforms.narrow]
provider = "anthropic"
models = ["narrow-*"]

[platforms.narrow.buckets.requests]
resource = "requests"
capacity = 1
refill = 1
per = "day"
"#;

fn run(rig: &Rig) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("secrets")?;
    let done = in_folder(rig.program()?, scratch.path());
    if done.is_err() {
        scratch.keep();
    }
    done.map(|()| Tally::passed())
}

fn in_folder(program: &Path, home: &Path) -> anyhow::Result<()> {
    let provider = server::provider(program, home, &["--unlimited"])?;
    let loose = loose::start()?;
    let site = Site {
        program: program.to_owned(),
        home: home.to_owned(),
        provider: provider.url(),
    };
    let text = CONFIGURATION.replace("PATTERN", mark::OPERATORS_PATTERN);
    std::fs::write(site.file(), text.replace("LOOSE", &loose.to_string()))?;
    let mut left = Left::new(home);
    let ours = commands::make_keys(&site, &mut left)?;
    commands::name_by_secrets(&site, &mut left)?;

    let gateway = site.gateway("first.log")?;
    let caller = Caller::new(&gateway.address, &ours);
    caller.send_everything(&mut left)?;
    commands::name_by_secrets(&site, &mut left)?;
    commands::refuse_configurations(&site, &gateway, &mut left)?;
    let refresh = logins::sign_in(&site, &gateway, &mut left)?;
    let outcomes = commands::look_around(&site, &gateway, &mut left)?;
    for wanted in calls::OUTCOMES {
        let many = outcomes.get(wanted).copied().unwrap_or(0);
        ensure!(many > 0, "no call ended as {wanted}: {outcomes:?}");
    }
    let hanging = caller.leave_hanging()?;
    drop(gateway); // SIGKILL
    drop(hanging);
    commands::read_what_is_kept(&site, &mut left)?;
    left.search("after a kill")?;

    let gateway = site.gateway("second.log")?;
    let caller = Caller::new(&gateway.address, &ours);
    caller.send_some()?;
    let refresh = logins::renew(&gateway, &refresh, &mut left)?;
    logins::sign_out(&gateway, &refresh, &mut left)?;
    let _cut = caller.leave_hanging()?;
    commands::look_around(&site, &gateway, &mut left)?;
    ensure!(gateway.stop()?.success(), "the gateway did not end well");
    commands::read_what_is_kept(&site, &mut left)?;
    drop(provider);
    let searched = left.search("after a stop")?;
    let logs = ["data/log/tidegate.jsonl", "first.log", "second.log"];
    left.is_not_blind(&[
        (PLAIN_TASK, &["data/state.db", LOGS]),
        (PLAIN_TASK, &logs),
        (PLAIN_SESSION, &[LOGS]),
        (PLAIN_SESSION, &logs),
    ])?;
    report::say(format_args!(
        "{searched}; calls ended as {}",
        listed(&outcomes)
    ));
    Ok(())
}

fn listed(outcomes: &std::collections::BTreeMap<String, u32>) -> String {
    let each: Vec<String> = outcomes
        .iter()
        .map(|(it, many)| format!("{it} {many}"))
        .collect();
    each.join(", ")
}

/// Where it all happens.
struct Site {
    program: PathBuf,
    home: PathBuf,
    provider: String,
}

impl Site {
    /// The configuration in force.
    fn file(&self) -> PathBuf {
        self.home.join("tidegate.toml")
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// The program, with the operator's secrets in its environment.
    fn tidegate(&self) -> std::process::Command {
        let mut command = server::tidegate(&self.program, &self.home);
        command
            .env("TIDEGATE_LISTEN", "127.0.0.1:0")
            .env("TIDEGATE_DATA", self.data())
            .env("TIDEGATE_CONFIG", self.file())
            .env("TIDEGATE__PROVIDERS__ANTHROPIC__BASE_URL", &self.provider)
            .env("TIDEGATE__PROVIDERS__OPENAI__BASE_URL", &self.provider)
            .env(
                "TIDEGATE__PROVIDERS__GONE__API_KEY",
                mark::text("OperatorsKey"),
            )
            .env("PAID_KEY", mark::key("OperatorsKeyByName"));
        command
    }

    fn gateway(&self, log: &str) -> anyhow::Result<Server> {
        let mut command = self.tidegate();
        Server::start(command.arg("serve"), &self.home.join(log))
    }
}

/// Asks until it is so; what it takes is far less than a second.
fn until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let began = clock::now();
    while !is_so()? {
        if began.elapsed() > PATIENCE {
            bail!("not in time: {what}");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// An answer of the control API to the token's holder.
fn api(gateway: &Server, site: &Site, path: &str) -> anyhow::Result<Value> {
    let operator = wire::operator(&site.data())?;
    let answer = wire::once(
        &gateway.address,
        &wire::request("GET", path, &[&operator], ""),
    )?;
    answer.json().with_context(|| path.to_owned())
}
