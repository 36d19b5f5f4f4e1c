//! The emulated provider has one set of rules: what it says over HTTP to an official SDK is what it says to the judge,
//! who has no sockets, call for call.
//!
//! A session is played by the judge. Each of its tries is then sent by the SDK at the same moment of the provider's time,
//! which stands still between them, with a body that has as many tokens and begins with as many of the call before.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use tidegate_sim::{
    ProviderSpec,
    replay::{Call, CallId, DAY_BEGINS, Plan, SystemKind, Task, Transcript, run},
    spec::{AnswerSpec, LatencySpec, LimitSpec, LineSpec},
};
use tidegate_types::Priority;

use super::{Rig, Tally, Target, client, ended_well, in_scratch, program};
use crate::{report, server, shell};

/// Calls of the session.
const CALLS: u64 = 90;

/// With fewer refusals than this, limits would hardly have been met.
const REFUSALS_MIN: usize = 20;

/// What the judge's clients ask for.
const MODEL: &str = "claude-opus-4-5-20251101";

pub(super) fn suite(rig: &Rig) -> anyhow::Result<Tally> {
    in_scratch("agreement", |scratch| {
        let plan = plan();
        let script = script(&plan)?;
        let file = scratch.path().join("script.json");
        std::fs::write(&file, script.to_string())?;
        let spec = scratch.path().join("spec.json");
        std::fs::write(&spec, serde_json::to_string(&plan.provider)?)?;
        let options = ["--spec", spec.to_str().context("the folder is no Unicode")?];
        let provider = server::provider(rig.program()?, scratch.path(), &options)?;
        let target = Target {
            rig,
            url: provider.url(),
            home: scratch.folder("client")?,
        };
        let tally = compare(&target, &file)?;
        ended_well("provider", provider)?;
        Ok(tally)
    })
}

fn compare(target: &Target<'_>, script: &Path) -> anyhow::Result<Tally> {
    let python = target.rig.packages.python()?;
    let mut command = client(&python, target);
    command.env("SCRIPT", script);
    program(command.arg(shell::root().join("e2e/python/agreement.py")))
}

/// Limits that a session meets every minute, and a clock that goes on when it is told to.
fn provider() -> ProviderSpec {
    // All of an answer comes with its first byte, so that no step of it lies between two calls.
    let answer = LineSpec {
        base_us: 360_000,
        output_us: 1_390,
        counted_1k_us: 11_500,
        total_1k_us: 12_400,
    };
    ProviderSpec {
        seed: 11,
        driven_from: Some(DAY_BEGINS.seconds()),
        limits: LimitSpec {
            requests_per_minute: 5,
            input_tokens_per_minute: 12_000,
            output_tokens_per_minute: 1_500,
            tokens_per_minute: 12_000,
            burst_seconds: 60,
        },
        latency: LatencySpec {
            first_byte: answer,
            whole: LineSpec::default(),
        },
        answer: AnswerSpec {
            tokens_per_event: 50,
            ..AnswerSpec::default()
        },
        // A byte is a token, here as in every plan.
        bytes_per_token_tenths: 10,
        ..ProviderSpec::default()
    }
}

/// One session: turns that grow, some of them large; pauses, some longer than a cache lives; conversations that are
/// compacted to less, once to less than is ever cached; answers of any length.
fn plan() -> Plan {
    let model: Arc<str> = MODEL.into();
    let mut calls: Vec<Call> = Vec::new();
    for at in 0..CALLS {
        let before = calls.last().map_or(0, |it: &Call| it.input);
        let anew = at % 17 == 0;
        let input = match at {
            _ if at % 34 == 17 => 700,
            _ if anew => 2_500 + at * 13,
            _ if at % 7 == 3 => before + 9_000 + at,
            _ => before + 400 + (at * 37) % 700,
        };
        let earlier = u32::try_from(at).ok().and_then(|it| it.checked_sub(1));
        let earlier = earlier.filter(|_| !anew);
        calls.push(Call {
            model: Arc::clone(&model),
            agent: None,
            input,
            cached: earlier.map_or(0, |_| before),
            reads: earlier.map(|call| CallId { task: 0, call }),
            output: 20 + (at * 53) % 600,
            bytes: input,
            served_in: None,
            think: Duration::from_millis(match at % 13 {
                5 => 320_000,
                9 => 45_000,
                _ => 700 + (at * 211) % 3_000,
            }),
            streamed: true,
            goes_on: false,
        });
    }
    let ends = Duration::from_hours(8);
    Plan {
        name: "agreement".to_owned(),
        provider: provider(),
        tasks: vec![Task {
            starts: Duration::from_secs(3),
            priority: Priority::Medium,
            tenant: 0,
            calls,
        }],
        users: vec!["tenant-00000".into()],
        open_for: ends,
        ends,
        seed: 5,
        budget: None,
        overruns_per_mille: 0,
    }
}

/// What the judge saw, for the client program: the calls, and each try of them in order.
fn script(plan: &Plan) -> anyhow::Result<Value> {
    let mut written = Vec::new();
    let transcript = Transcript::to(&mut written).with_heads();
    run(plan, SystemKind::Retry10, transcript)?;
    let mut tries: Vec<Value> = Vec::new();
    for line in String::from_utf8(written)?.lines() {
        let fact: Value = serde_json::from_str(line)?;
        let what = fact.get("what").and_then(Value::as_str).unwrap_or_default();
        match what {
            "taken" | "refused" => tries.push(json!({ what: fact })),
            "begun" | "ended" => {
                let last = tries.last_mut().and_then(Value::as_object_mut);
                let last = last.context("an answer began before its call was taken")?;
                last.insert(what.to_owned(), fact);
            }
            _ => {}
        }
    }
    let refused = tries.iter().filter(|it| it.get("refused").is_some());
    let refused = refused.count();
    ensure!(
        refused >= REFUSALS_MIN,
        "the session met only {refused} limits: it proves too little"
    );
    report::say(format_args!(
        "{CALLS} calls in {} tries, {refused} of them refused",
        tries.len()
    ));
    let calls = plan.tasks.iter().flat_map(|it| &it.calls);
    let calls =
        calls.map(|it| json!({"input": it.input, "goes_on_from": it.cached, "output": it.output}));
    Ok(json!({
        "model": MODEL,
        "calls": calls.collect::<Vec<_>>(),
        "tries": tries,
    }))
}
