//! The judge judged: the same day is the same to the last byte, and nobody sees the future.

use std::{fmt::Write as _, io::BufReader, path::Path, time::Duration};

use tidegate_types::NanoUsd;

use super::*;
use crate::trace::{self, Session};

/// Six sessions of our own making: short turns, a large cold start, a pause longer than a cache lives, a
/// compaction, a subagent, and one that is larger than the bucket.
fn sessions() -> Vec<Session> {
    let mut csv = String::from(
        "trace,agent,seq,t_s,kind,model,input_tokens,output_tokens,cached_tokens,cache_age_s,ttft_s,api_s,think_s,stop,input_types,output_types\n",
    );
    for (session, first) in [20_000_u64, 60_000, 150_000, 300_000, 90_000, 600_000]
        .into_iter()
        .enumerate()
    {
        let mut at = 0.0;
        for seq in 0..24_u64 {
            let think: f64 = if seq % 9 == 8 { 420.0 } else { 6.0 };
            let (input, cached) = match seq {
                0 => (first, 0),
                15 => (first / 2, first / 4),
                _ => (first + seq * 2_500, (first + (seq - 1) * 2_500) / 64 * 64),
            };
            let age = if seq == 0 {
                String::new()
            } else {
                format!("{:.1}", think + 8.0)
            };
            let think = if seq == 0 { 0.0 } else { think };
            at += think + 8.0;
            let agent = if seq % 7 == 3 { "s1" } else { "main" };
            writeln!(csv,
                "{session},{agent},{seq},{at:.1},s,claude-opus-4-6,{input},{},{cached},{age},,8.0,{think:.1},tool_use,tool_result,text",
                100 + seq * 40).unwrap();
        }
    }
    let rows = trace::read(Path::new("ours"), std::io::Cursor::new(csv));
    trace::sessions(rows).collect::<Result<_, _>>().unwrap()
}

fn day(load: f64, seed: u64) -> Plan {
    let fleet = Fleet {
        open_for: Duration::from_mins(40),
        then: Duration::from_mins(20),
        ..Fleet::w1(load, seed)
    };
    fleet.plan(&sessions()).unwrap()
}

fn transcript(plan: &Plan, kind: SystemKind) -> Vec<u8> {
    let mut written = Vec::new();
    run(plan, kind, Transcript::to(&mut written)).unwrap();
    written
}

#[test]
fn the_same_seed_makes_the_same_day_to_the_last_byte() {
    for kind in SystemKind::ALL {
        let (one, other) = (
            transcript(&day(0.9, 7), *kind),
            transcript(&day(0.9, 7), *kind),
        );
        assert!(one == other, "{}", kind.word());
        assert!(one != transcript(&day(0.9, 8), *kind), "{}", kind.word());
    }
}

#[test]
fn what_comes_later_changes_nothing_that_was_before() {
    let plan = day(0.9, 3);
    for kind in SystemKind::ALL
        .iter()
        .filter(|it| **it != SystemKind::Clairvoyant)
    {
        let played = run(&plan, *kind, Transcript::none()).unwrap();
        let before = transcript(&plan, *kind);
        for minute in [4_u64, 11, 23] {
            let since = Duration::from_mins(minute);
            let ready = |id: CallId| played.calls[id.task as usize][id.call as usize].ready;
            let other = plan.with_other_future(since, ready, minute);
            let after = transcript(&other, *kind);
            let upto = |all: &[u8]| -> Vec<u8> {
                let lines = all.split_inclusive(|it| *it == b'\n');
                let at = |line: &[u8]| -> u128 {
                    let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                    value["at"].as_u64().unwrap().into()
                };
                lines
                    .take_while(|it| at(it) <= since.as_nanos())
                    .flatten()
                    .copied()
                    .collect()
            };
            assert!(
                upto(&before) == upto(&after),
                "{} at minute {minute}",
                kind.word()
            );
            assert!(before != after, "{} at minute {minute}", kind.word());
        }
    }
}

#[test]
fn every_call_is_played_and_the_unlimited_wait_for_nothing() {
    let plan = day(0.5, 1);
    let unlimited = run(&plan, SystemKind::Unlimited, Transcript::none()).unwrap();
    for kind in SystemKind::ALL {
        let played = run(&plan, *kind, Transcript::none()).unwrap();
        let measured = measure(&plan, &played, &unlimited);
        assert!(measured.completed > 0, "{}", kind.word());
        assert!(measured.clean_tasks <= measured.tasks, "{}", kind.word());
        if *kind == SystemKind::Unlimited {
            assert_eq!(measured.waits.longest.to_bits(), 0.0_f64.to_bits());
            assert_eq!(measured.provider_429s, 0);
        }
    }
}

/// The load is what an unlimited run takes of the limit on average, over many days.
#[test]
fn a_load_is_what_the_unlimited_take_of_the_limit() {
    let mut taken = 0.0;
    let days = 60;
    for seed in 1..=days {
        let plan = day(0.75, seed);
        let played = run(&plan, SystemKind::Unlimited, Transcript::none()).unwrap();
        for call in played.calls.iter().flatten() {
            if call.taken.is_some_and(|it| it < plan.open_for) {
                taken += fleet::to_f64(run::counted(&call.usage));
            }
        }
    }
    let load = taken / (450_000.0 * 40.0) / fleet::to_f64(days);
    assert!((0.65..0.85).contains(&load), "{load}");
}

fn audited(plan: &Plan) -> tidegate_auditor::Report {
    let written = transcript(plan, SystemKind::Tidegate);
    tidegate_auditor::audit(BufReader::new(written.as_slice())).unwrap()
}

#[test]
fn an_auditor_of_its_own_finds_nothing_wrong() {
    let report = audited(&day(0.75, 2));
    let wrong = |it: &&tidegate_auditor::Finding| !it.what.contains("lacks");
    let wrong: Vec<_> = report.findings.iter().filter(wrong).collect();
    assert!(wrong.is_empty(), "{report}");
    assert!(
        report.taken > 100 && report.settled + 10 > report.taken,
        "{report}"
    );
}

#[test]
fn a_hard_limit_holds_and_planted_overruns_are_all_listed() {
    let mut plan = day(0.75, 2);
    plan.budget = Some(NanoUsd::from_usd(60));
    let report = audited(&plan);
    assert_eq!(report.limit, Some(60_000_000_000));
    assert!(report.committed_max <= 60_000_000_000, "{report}");
    assert!(report.committed_max > 50_000_000_000, "{report}");
    assert_eq!(report.overruns, []);
    plan.overruns_per_mille = 30;
    let report = audited(&plan);
    let planted = {
        let written = String::from_utf8(transcript(&plan, SystemKind::Tidegate)).unwrap();
        written.matches("\"output\":512000,\"cost\"").count()
    };
    assert!(planted > 0);
    assert_eq!(report.overruns.len(), planted, "{report}");
}

#[test]
fn what_makes_no_day_is_refused() {
    let error = |fleet: Fleet| fleet.plan(&sessions()).unwrap_err().to_string();
    assert!(error(Fleet::w1(0.0, 1)).contains("`load` is 0"));
    let nobody = Fleet {
        tenants: 0,
        ..Fleet::w1(0.5, 1)
    };
    assert!(error(nobody).contains("`tenants`"));
    assert_eq!(
        Fleet::w1(0.5, 1).plan(&[]).unwrap_err(),
        FleetError::NoSessions
    );
}
