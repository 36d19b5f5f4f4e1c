//! OpenTelemetry's SDKs send telemetry to a gateway that refuses it at first and is killed in between: all of it is there, once.

use std::{
    collections::HashSet,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use tidegate_observe::telemetry::{Filter, Kind};
use tidegate_segments::{Options, Query, Segments};
use tidegate_types::SystemClock;

use super::{Rig, Suite, Tally};
use crate::{bound, packages::Package, report, scratch::Scratch, server, shell};

pub(super) const SUITES: &[Suite] = &[Suite {
    name: "otlp-sdks",
    proves: "what OpenTelemetry's SDKs send by every transport is there once, though it was refused at first and we were killed in between",
    needs: &[
        Package::PythonClients,
        Package::PythonSenders,
        Package::NodeSenders,
    ],
    run: sdks,
}];

/// Spans of each sender, and as many logs.
const RECORDS: usize = 20_480;

/// Between two looks at how far senders are.
const LOOK: Duration = Duration::from_millis(100);

/// By SDK and transport.
const SENDERS: [(&str, &str); 5] = [
    ("python", "grpc"),
    ("python", "http/protobuf"),
    ("node", "grpc"),
    ("node", "http/protobuf"),
    ("node", "http/json"),
];

fn sdks(rig: &Rig) -> anyhow::Result<Tally> {
    let scratch = Scratch::try_new("otlp")?;
    let done = send(rig, &scratch);
    if !done.as_ref().is_ok_and(|it| it.failed == 0) {
        scratch.keep();
    }
    done
}

fn send(rig: &Rig, scratch: &Scratch) -> anyhow::Result<Tally> {
    let program = rig.quick()?;
    let home = scratch.path();
    let provider = server::provider(program, home, &[])?;
    let (grpc, http) = (server::free_address()?, server::free_address()?);
    let configuration = format!("version = 1\n[otlp]\ngrpc = \"{grpc}\"\nhttp = \"{http}\"\n");
    let start = || server::gateway(program, home, &provider, Some(&configuration));
    // A file where the store's folder is to be: nothing can be kept, and everything is refused.
    let obstacle = scratch.folder("data")?.join("telemetry");
    fs::write(&obstacle, "in the way")?;
    let gateway = start()?;
    let mut senders = Vec::new();
    for (sdk, transport) in SENDERS {
        let to = if transport == "grpc" {
            grpc.as_str()
        } else {
            http.as_str()
        };
        senders.push(Sender::start(rig, home, (sdk, transport), to)?);
    }
    until("each of them was refused", || {
        Ok(senders.iter().all(|it| it.said().contains("refused")))
    })?;
    fs::remove_file(&obstacle)?;
    let third = RECORDS * SENDERS.len() / 3;
    until("a third of all logs is there", || {
        Ok(logs(program, home) >= third)
    })?;
    // That is a kill -9.
    drop(gateway);
    let gateway = start()?;
    for sender in &mut senders {
        let ended = shell::wait(&mut sender.child, bound::CLIENT_PROGRAM)?;
        ensure!(ended.success(), "{}: {}", sender.name, sender.said());
    }
    ensure!(gateway.stop()?.success(), "the gateway did not end well");
    count(&home.join("data/telemetry"))
}

/// A program that sends.
struct Sender {
    name: String,
    child: Child,
    output: PathBuf,
}

impl Sender {
    fn start(
        rig: &Rig,
        home: &Path,
        (sdk, transport): (&str, &str),
        to: &str,
    ) -> anyhow::Result<Self> {
        let name = format!("{sdk} {transport}");
        let output = home.join(format!("{}.log", name.replace([' ', '/'], "-")));
        let programs = shell::root().join("e2e/otlp");
        let mut command = if sdk == "python" {
            let mut command = Command::new(rig.packages.python_senders()?);
            command.arg("-u").arg(programs.join("sender.py"));
            command
        } else {
            let (modules, node) = rig.packages.node_senders()?;
            let mut command = Command::new(node);
            command.env("NODE_MODULES", modules);
            command.arg(programs.join("sender.mjs"));
            command
        };
        command.args([transport, &format!("http://{to}"), &RECORDS.to_string()]);
        let file = File::create(&output)?;
        command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        let child = command.spawn().with_context(|| name.clone())?;
        Ok(Self {
            name,
            child,
            output,
        })
    }

    fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        // An error means that it has ended already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// How many logs there are that the senders sent, by the gateway's word.
fn logs(program: &Path, home: &Path) -> usize {
    let mut command = server::tidegate(program, home);
    command.env("TIDEGATE_DATA", home.join("data"));
    command.args(["logs", "--count", "component:e2e"]);
    // Where nothing can be kept yet, it says so.
    let said = shell::read(&mut command).unwrap_or_default();
    let digits: String = said.chars().filter(char::is_ascii_digit).collect();
    digits.parse().unwrap_or(0)
}

fn until(what: &str, mut is_so: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = crate::bench::clock::now();
    while !is_so()? {
        ensure!(
            began.elapsed() < bound::CLIENT_PROGRAM,
            "waited in vain until {what}"
        );
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Counts what each sender has in the store: every number once.
fn count(directory: &Path) -> anyhow::Result<Tally> {
    let clock = Arc::new(SystemClock::start());
    let (store, recovery) = Segments::open(directory, Options::default(), clock)?;
    ensure!(recovery.damaged.is_empty(), "{:?}", recovery.damaged);
    let mut tally = Tally::default();
    for (sdk, transport) in SENDERS {
        for kind in [Kind::Logs, Kind::Spans] {
            let service = format!("{sdk} {transport}");
            let filter = Filter::exactly(kind, "service", &service);
            let mut rows = 0;
            let mut different = HashSet::new();
            for row in store.rows(Query::latest(filter, usize::MAX)) {
                rows += 1;
                different.insert(row?.json()["attributes"]["sequence"].as_i64());
            }
            let whole = rows == RECORDS && different.len() == RECORDS && !different.contains(&None);
            tally = tally
                + if whole {
                    Tally::passed()
                } else {
                    Tally::failed()
                };
            report::say(format_args!(
                "{} {service}: {rows} {kind}, {} different",
                if whole { "ok   " } else { "FAIL " },
                different.len()
            ));
        }
    }
    Ok(tally)
}
