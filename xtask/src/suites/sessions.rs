//! Every recorded session of an assistant through the gateway: watched, nothing is in its way; enforced, limits come late.

mod fixture;
mod replay;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tidegate_sim::trace::{self, Session};

use super::{
    Rig, Suite, Tally,
    wire::{self, Line},
};
use crate::{
    bench::clock,
    report,
    scratch::Scratch,
    server::{self, Server},
    shell,
};
use replay::{Refused, Replay, Replayed, Stop};

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "sessions",
    proves: "recorded sessions pass a watching gateway untouched, and use most of an enforced limit before it refuses",
    needs: &[],
    run,
}];

/// The variable that asks for all sessions: 26 GB, which want a release build and six minutes.
const WANTED: &str = "TIDEGATE_SESSIONS";

/// One session in this many is replayed where nobody asks for all.
const SAMPLE: usize = 10;

/// Sessions at once.
const LANES: usize = 8;

/// A task's hard limit where nobody says otherwise.
const TASK_LIMIT: u64 = 5_000_000_000;

/// How much of the limit a prompt that costs more must be able to use, at the median, before its first refusal.
const USED_MIN_PERCENT: u64 = 80;

/// How much faster than recorded all sessions must pass.
const SPEED_MIN: f64 = 100.0;

/// The file of the data set that is replayed; the data set is at `TIDEGATE_DATASETS`, else beside the project.
const FILE: &str = "traces/claude_code_requests.csv.gz";

/// Limits that no replay meets, and each call in a log of what passed over the wire.
const PROVIDER: &str = r#"{
    "limits": { "requests_per_minute": 1000000000, "input_tokens_per_minute": 1000000000,
                "output_tokens_per_minute": 1000000000, "tokens_per_minute": 1000000000, "burst_seconds": 3600 },
    "cache": { "enabled": false },
    "log": { "records": 0, "file": "WIRE" }
}"#;

fn run(rig: &Rig) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("sessions")?;
    let done = in_folder(rig.quick()?, &scratch);
    if done.is_err() {
        scratch.keep();
    }
    done
}

fn in_folder(program: &Path, scratch: &Scratch) -> anyhow::Result<Tally> {
    let (mut sessions, skipped) = sessions()?;
    // The longest first, so that no lane is left alone with one at the end.
    sessions
        .sort_by_key(|it| std::cmp::Reverse(it.rows.iter().map(|row| row.input.0).sum::<u64>()));
    if !skipped && std::env::var_os(WANTED).is_none() {
        report::say(format_args!(
            "one recorded session in {SAMPLE}; {WANTED}=1 replays all, best after `cargo build --release`"
        ));
        sessions = sessions.into_iter().step_by(SAMPLE).collect();
    }
    watched(program, &scratch.folder("watched")?, &sessions)?;
    enforced(program, &scratch.folder("enforced")?, &sessions)?;
    let both = Tally::passed() + Tally::passed();
    Ok(if skipped {
        both + Tally::skipped()
    } else {
        both
    })
}

/// The recorded sessions, else a few made up; and whether the recorded ones are missing.
fn sessions() -> anyhow::Result<(Vec<Session>, bool)> {
    let file = super::dataset(FILE);
    if file.is_file() {
        let read: Result<Vec<Session>, _> = trace::sessions(trace::load(&file)).collect();
        return Ok((read?, false));
    }
    report::say(format_args!(
        "{} is not there, so the recorded sessions are not replayed: a few made-up ones are. TIDEGATE_DATASETS says where the data is",
        file.display()
    ));
    Ok((fixture::sessions(), true))
}

/// A provider and a gateway with what came to pass between them.
struct Site {
    provider: Server,
    gateway: Server,
    wire: PathBuf,
    home: PathBuf,
}

impl Site {
    fn start(program: &Path, home: &Path, configuration: Option<&str>) -> anyhow::Result<Self> {
        let wire = home.join("wire.jsonl");
        let spec = home.join("provider.json");
        let text = |path: &Path| {
            path.to_str()
                .map(str::to_owned)
                .context("a path that is no text")
        };
        std::fs::write(&spec, PROVIDER.replace("WIRE", &text(&wire)?))?;
        let provider = server::provider(program, home, &["--spec", &text(&spec)?])?;
        let gateway = server::gateway(program, home, &provider, configuration)?;
        Ok(Self {
            provider,
            gateway,
            wire,
            home: home.to_owned(),
        })
    }

    /// Replays all sessions and says how fast that was.
    fn replay(&self, sessions: &[Session], stop: Stop) -> anyhow::Result<Replayed> {
        let began = clock::now();
        let all = Replay::new(&self.gateway.address, sessions, stop).run(LANES)?;
        let took = began.elapsed().as_secs_f64();
        let lanes = f64::from(u32::try_from(LANES)?);
        let speed = all.recorded.as_secs_f64() / lanes / took;
        report::say(format_args!(
            "{} calls of {} sessions, {:.1} GB, {LANES} at once, in {took:.0} s: {speed:.0} × the speed at which they were answered \
             when they were recorded, with no pause between them",
            all.calls,
            sessions.len(),
            f64::from(u32::try_from(all.bytes / 1_000_000)?) / 1e3,
        ));
        Ok(Replayed { speed, ..all })
    }

    /// What the provider saw, call by call.
    fn seen(&self) -> anyhow::Result<Vec<Value>> {
        let text = std::fs::read_to_string(&self.wire)?;
        let read = |line| serde_json::from_str(line).context("the wire log");
        text.lines().map(read).collect()
    }

    fn stop(self) -> anyhow::Result<()> {
        ensure!(
            self.gateway.stop()?.success(),
            "the gateway did not end well"
        );
        ensure!(
            self.provider.stop()?.success(),
            "the provider did not end well"
        );
        Ok(())
    }
}

/// With no configuration nothing is refused, held back or altered, and the budgets say what enforcing would have done.
fn watched(program: &Path, home: &Path, sessions: &[Session]) -> anyhow::Result<()> {
    let site = Site::start(program, home, None)?;
    let all = site.replay(sessions, Stop::AtAnyRefusal)?;
    let refused = all.refused.len();
    ensure!(
        refused == 0,
        "{refused} calls were refused, and limits only watch"
    );
    // A debug build on a slow machine tells nothing about speed.
    ensure!(
        all.speed >= SPEED_MIN || std::env::var_os(WANTED).is_none(),
        "{:.0} × is slower than {SPEED_MIN} ×",
        all.speed
    );
    let seen = site.seen()?;
    let answered = seen
        .iter()
        .filter(|it| it["status"] == 200 && it["complete"] == true)
        .count();
    ensure!(
        answered == all.calls,
        "{} calls, and the provider answered {answered}",
        all.calls
    );
    let altered = seen
        .iter()
        .filter(|it| it["max_tokens"] != json!(replay::MAX_TOKENS))
        .count();
    ensure!(
        altered == 0,
        "{altered} calls were sent with another cap than they came with"
    );
    let sizes: u64 = seen.iter().filter_map(|it| it["body_bytes"].as_u64()).sum();
    ensure!(
        sizes == all.bytes,
        "{} bytes were sent, and {sizes} arrived",
        all.bytes
    );

    let waits = waits(&site.gateway, all.calls)?;
    ensure!(
        waits.held_back == 0,
        "{} calls were held back",
        waits.held_back
    );
    report::say(format_args!(
        "watched: no refusal, no wait, nothing altered; from body to provider {} µs at the median, {} µs at p99; {} calls carry \
         `would refuse` or `would wait`",
        waits.decided_p50, waits.decided_p99, waits.would
    ));
    report::say(would_refuse(program, &site)?);
    site.stop()
}

/// Where the time of watched calls went, by the gateway's own records.
#[derive(Debug, Default)]
struct Waits {
    held_back: usize,
    would: usize,
    decided_p50: u64,
    decided_p99: u64,
}

/// Reads the records of all calls, newest first.
fn waits(gateway: &Server, calls: usize) -> anyhow::Result<Waits> {
    let mut line = Line::open(&gateway.address)?;
    let mut waits = Waits::default();
    let mut decided = Vec::new();
    let mut before = String::new();
    loop {
        let path = format!("/api/v1/calls?limit=1000{before}");
        let page = line.call(&wire::request("GET", &path, &[], ""))?.json()?;
        let records = page["calls"].as_array().context("no calls")?;
        for it in records {
            let phase = |name: &str| it["phases"][name].as_u64().unwrap_or(0);
            waits.held_back += usize::from(phase("wait") > 0);
            let would = ["would_refuse", "would_wait"]
                .iter()
                .any(|name| !it[*name].is_null());
            waits.would += usize::from(would);
            decided.push(phase("estimate") + phase("route") + phase("reserve"));
        }
        match page["next"].as_str() {
            Some(next) => before = format!("&before={next}"),
            None => break,
        }
    }
    ensure!(
        decided.len() == calls,
        "{calls} calls, and {} records of them",
        decided.len()
    );
    decided.sort_unstable();
    let at = |percent: usize| {
        decided
            .get(decided.len() * percent / 100)
            .copied()
            .unwrap_or(0)
    };
    (waits.decided_p50, waits.decided_p99) = (at(50), at(99));
    Ok(waits)
}

/// What `tidegate budget` says enforcing would have done.
fn would_refuse(program: &Path, site: &Site) -> anyhow::Result<String> {
    let mut command = server::tidegate(program, &site.home);
    let told = shell::read(
        command
            .args(["budget", "--json", "--data"])
            .arg(site.home.join("data")),
    )?;
    let told: Value = serde_json::from_str(&told)?;
    let budgets = told["budgets"].as_array().context("no budgets")?;
    let of = |level: &str| -> u64 {
        let counts = budgets.iter().filter(|it| it["level"] == level);
        counts.filter_map(|it| it["would_refuse"].as_u64()).sum()
    };
    let spent = budgets.iter().find(|it| it["level"] == "user_day");
    let spent = spent
        .and_then(|it| it["spent"]["usd"].as_str())
        .unwrap_or("?");
    ensure!(
        of("user_day") > 0,
        "${spent} in a day, and a limit of $20 would have refused nothing"
    );
    Ok(format!(
        "`tidegate budget`: ${spent} spent; enforcing would have refused {} calls by the user's day, {} by the user's month, {} by \
         tasks that it lists",
        of("user_day"),
        of("user_month"),
        of("task")
    ))
}

/// With a task limit of $5, prompts use most of it, what is answered is answered whole, and subagents of a fresh task all run.
fn enforced(program: &Path, home: &Path, sessions: &[Session]) -> anyhow::Result<()> {
    let configuration = "version = 1\nlog.level = \"warning\"\n[budgets.task]\nhard = \"5\"\n";
    let site = Site::start(program, home, Some(configuration))?;
    let began_together = replay::subagents(&site.gateway.address)?;
    report::say(format_args!(
        "enforced: {began_together} parallel subagent calls on a fresh task all ran"
    ));
    let all = site.replay(sessions, Stop::AtPromptRefusal)?;
    ensure!(all.cut.is_empty(), "answers were cut: {:?}", all.cut);
    // A prompt that costs less than the limit can be refused too: what its next call can cost at most, with a context of
    // hundreds of thousands of tokens that is in no cache any more, is half of the limit.
    let (beyond, below): (Vec<_>, Vec<_>) =
        all.refused.iter().partition(|it| it.recorded > TASK_LIMIT);
    let used = Percentiles::of(&beyond);
    report::say(format_args!(
        "enforced: {} of {} prompts cost more than the limit, and were let through to {used}; {} that cost less were refused at {}; \
         {} answers came under a lowered cap, none was cut",
        beyond.len(),
        all.prompts,
        below.len(),
        Percentiles::of(&below),
        all.capped,
    ));
    ensure!(!beyond.is_empty(), "no prompt met the limit");
    ensure!(
        used.median >= USED_MIN_PERCENT,
        "prompts were let through to {} % of the limit at the median, and {USED_MIN_PERCENT} % are promised",
        used.median
    );
    let mut verify = server::tidegate(program, home);
    site.stop()?;
    shell::read(
        verify
            .args(["ledger", "verify", "--data"])
            .arg(home.join("data")),
    )?;
    Ok(())
}

/// How much of the limit prompts had used when they were refused, in percent.
struct Percentiles {
    quarter: u64,
    median: u64,
    three_quarters: u64,
}

impl Percentiles {
    fn of(refused: &[&Refused]) -> Self {
        let mut used: Vec<u64> = refused
            .iter()
            .map(|it| it.spent * 100 / TASK_LIMIT)
            .collect();
        used.sort_unstable();
        let at = |percent: usize| used.get(used.len() * percent / 100).copied().unwrap_or(0);
        Self {
            quarter: at(25),
            median: at(50),
            three_quarters: at(75),
        }
    }
}

impl std::fmt::Display for Percentiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} % of it at the median (quartiles {} and {} %)",
            self.median, self.quarter, self.three_quarters
        )
    }
}
