//! A gateway that is killed again and again while calls run through it, and what its books say afterwards.

mod load;
mod round;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{Rig, Suite, Tally};
use crate::{
    bench::clock,
    report,
    scratch::Scratch,
    server::{self, Server},
    shell,
};
use round::Rounds;

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "crash",
    proves: "killed under load, the gateway loses no settlement, passes no limit and gives back the rest",
    needs: &[],
    run,
}];

/// How often it is killed, unless `TIDEGATE_CRASH_ROUNDS` says otherwise.
const ROUNDS: u32 = 100;

/// What a task may spend: a few dozen calls.
const TASK_LIMIT: u64 = 1_000_000_000;

/// One limit binds, the others are out of the way. Calls carry no key, so a limit must be named to bind them.
const CONFIGURATION: &str = r#"
version = 1
log.level = "warning"
budgets.task = { hard = "1", soft = "1" }
budgets.user_day = { hard = "1_000_000" }
budgets.user_month = { hard = "1_000_000" }
budgets.organisation = { hard = "1_000_000" }
budgets.llm = { hard = "1_000_000" }
quotas.user = { mode = "watch" }
"#;

/// Answers take a moment, so that some are always on their way; streams trickle.
const PROVIDER: &str = r#"{
    "latency": { "first_byte": { "base_us": 3000 }, "whole": { "base_us": 15000 } },
    "answer": { "tokens": 160, "tokens_per_event": 8 },
    "limits": { "requests_per_minute": 1000000000, "input_tokens_per_minute": 1000000000,
                "output_tokens_per_minute": 1000000000, "tokens_per_minute": 1000000000 }
}"#;

fn run(rig: &Rig) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("crash")?;
    let done = in_folder(rig.program()?, scratch.path());
    if done.is_err() {
        scratch.keep();
    }
    done.map(|()| Tally::passed())
}

fn in_folder(program: &Path, home: &Path) -> anyhow::Result<()> {
    let wanted = std::env::var("TIDEGATE_CRASH_ROUNDS").ok();
    let rounds = wanted.map_or(Ok(ROUNDS), |it| it.parse());
    let rounds = rounds.context("TIDEGATE_CRASH_ROUNDS is no number of rounds")?;
    let spec = home.join("provider.json");
    std::fs::write(&spec, PROVIDER)?;
    let options = ["--spec", spec.to_str().context("a path that is no text")?];
    let site = Site {
        program: program.to_owned(),
        home: home.to_owned(),
        provider: server::provider(program, home, &options)?,
    };
    let began = clock::now();
    let mut all = Rounds::new(TASK_LIMIT);
    let mut gateway = site.gateway()?;
    for number in 0..rounds {
        let next = all.run(&site, gateway, number);
        gateway = next.with_context(|| format!("round {number}"))?;
    }
    ensure!(gateway.stop()?.success(), "the gateway did not end well");
    all.close(&site)?;
    report::say(format_args!(
        "{all}, in {:.0} s",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// Where it all happens.
struct Site {
    program: PathBuf,
    home: PathBuf,
    provider: Server,
}

impl Site {
    fn gateway(&self) -> anyhow::Result<Server> {
        server::gateway(
            &self.program,
            &self.home,
            &self.provider,
            Some(CONFIGURATION),
        )
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    /// What a command of the program says; an error if it finds something wrong.
    fn says(&self, arguments: &[&str]) -> anyhow::Result<String> {
        let mut command = server::tidegate(&self.program, &self.home);
        shell::read(command.args(arguments).arg("--data").arg(self.data()))
    }

    fn verify(&self) -> anyhow::Result<()> {
        self.says(&["ledger", "verify"]).map(drop)
    }
}
