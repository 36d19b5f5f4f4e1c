//! From a sized call to a settled one: what is held, lowered, refused, and booked.

use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk},
    call::Signals,
    identity::Principal,
    reserve::Obstacle,
    spender::Spender,
};
use tidegate_ledger::{LevelKind, Limits};
use tidegate_observe::calls::Outcome;
use tidegate_providers::{Dialect, Meter};
use tidegate_types::{Mode, NanoUsd};

use crate::harness::{
    ENFORCED, World, answered, body, end, hard, keyed, keyless, line, platform, settings, usd,
};

/// How a call for this many tokens fares where a task may cost $5.
fn fares(principal: &Principal, max_tokens: u64) -> String {
    let world = World::start(settings(|it| it.task = hard("5")));
    match world.reserve(principal, max_tokens) {
        Ok(reserved) => {
            let cap = reserved
                .cap
                .map_or("as asked".to_owned(), |it| it.0.to_string());
            let warned = reserved.found.would_refuse.contains(LevelKind::Task);
            let told = format!(
                "holds {}, cap {cap}{}",
                reserved.holding.bound(),
                if warned { ", would be refused" } else { "" }
            );
            let sent = world.engine.send(reserved, world.engine.now());
            sent.map_err(|it| it.1)
                .unwrap()
                .release(Outcome::ClientGone);
            world.assert_sound();
            told
        }
        Err(Obstacle::Budget(it)) => {
            format!("refused by {}: {} of {}", it.level, it.asked, it.limit)
        }
        Err(other) => format!("{other:?}"),
    }
}

#[track_caller]
fn check(principal: &Principal, expected: Expect) {
    let tokens = [1_000, 62_000, 63_000, 128_000, 1_000_000];
    let told: Vec<String> = tokens
        .iter()
        .map(|it| format!("{it:<9} {}\n", fares(principal, *it)))
        .collect();
    expected.assert_eq(&told.concat());
}

#[test]
fn a_built_in_limit_binds_those_who_ask_and_watches_those_who_dont() {
    check(
        &keyed("ada"),
        expect![[r#"
            1000      holds $0.020184, cap as asked
            62000     holds $1.240188, cap as asked
            63000     holds $1.250188, cap 62500
            128000    holds $1.250188, cap 62500
            1000000   holds $1.250192, cap 62500
        "#]],
    );
    check(
        &keyless(),
        expect![[r#"
            1000      holds $0.020184, cap as asked
            62000     holds $1.240188, cap as asked
            63000     holds $1.260188, cap as asked
            128000    holds $2.560188, cap as asked
            1000000   holds $20.000192, cap as asked, would be refused
        "#]],
    );
}

#[test]
fn the_cap_is_lowered_from_quarter_to_quarter_then_to_its_floors_then_refused() {
    let world = World::start(settings(|it| it.task = hard("5")));
    let mut told = String::new();
    let mut held = Vec::new();
    loop {
        match world.reserve(&keyed("ada"), 128_000) {
            Ok(reserved) => {
                told += &format!("{:?}\n", reserved.cap.unwrap().0);
                let sent = world.engine.send(reserved, world.engine.now());
                held.push(sent.map_err(|it| it.1).unwrap());
            }
            Err(obstacle) => {
                assert!(matches!(obstacle, Obstacle::Held { .. }), "{obstacle:?}");
                break;
            }
        }
    }
    expect![[r#"
        62500
        46872
        35152
        32000
        32000
        32000
        9410
    "#]]
    .assert_eq(&told);
    let bound: u64 = held.iter().map(|it| it.record().bound.0).sum();
    assert!(NanoUsd(bound) <= NanoUsd::from_usd(5));
    for call in held {
        call.settle(end(Some(answered(12, 100)), Outcome::Answered));
    }
    world.assert_sound();
    // What they did not use can be spent at once.
    assert!(
        world
            .reserve(&keyed("ada"), 1_000)
            .map(unused(&world))
            .is_ok()
    );
}

/// What a call is told where a task may cost $5, with this much of it spent and held, and a user
/// this much in a day.
fn told_beside(spent: &str, held: &str, day: &str, max_tokens: u64) -> String {
    let world = World::start(settings(|it| {
        it.task = hard("5");
        it.user_day = hard(day);
    }));
    let ada = keyed("ada");
    let admit = |cost: &str| {
        let ask = AdmissionAsk {
            task: Some("t".to_owned()),
            cost: usd(cost),
            ..AdmissionAsk::default()
        };
        let admitted = world.engine.admit(&ada, &ask).unwrap();
        admitted.unwrap().reservation
    };
    let ends = admit(spent);
    let settled = world
        .engine
        .settle_reservation(&ada, ends, Actual::default());
    assert_eq!(settled.unwrap(), usd(spent));
    let runs = (usd(held) > NanoUsd::ZERO).then(|| admit(held));
    let obstacle = match world.reserve(&ada, max_tokens) {
        Ok(reserved) => {
            unused(&world)(reserved);
            return "passes".to_owned();
        }
        Err(obstacle) => obstacle,
    };
    let settings = world.engine.settings().clone();
    let platform = settings.platform("sonnet").unwrap();
    let spender = Spender {
        organisation: Arc::clone(&ada.organisation),
        user: Arc::clone(&ada.user),
        task: None,
    };
    let told = world.engine.explain(platform, &spender, obstacle);
    if let Some(runs) = runs {
        world.engine.release_reservation(&ada, runs).unwrap();
    }
    // Whoever is told to wait for running calls is let in when they have ended, and nobody else.
    let later = world.reserve(&ada, max_tokens);
    assert_eq!(later.is_ok(), matches!(obstacle, Obstacle::Held { .. }));
    if let Ok(reserved) = later {
        unused(&world)(reserved);
    }
    let wait = told
        .wait
        .map_or("for ever".to_owned(), |it| format!("{it:?}"));
    format!("{wait}: {}", told.sentence)
}

#[test]
fn who_is_kept_out_by_running_calls_alone_is_told_to_come_back_when_they_have_ended() {
    let mut told = String::new();
    for (spent, held, day) in [
        ("1", "3.98", "20"),
        ("1", "4", "5"),
        ("4.99", "0", "20"),
        ("4.95", "0.05", "20"),
        ("4.99", "0.01", "20"),
        ("0.9", "0.1", "1"),
    ] {
        told += &format!("{}\n", told_beside(spent, held, day, 100_000));
    }
    expect![[r#"
        13.125s: budget `task` of $5.00 is held by running calls: $1.00 spent, $3.98 held, $2.000188 needed at most · try again in about 14 s, when some of them have ended, or raise it with `tidegate budget set task <amount>`
        13.125s: budget `user_day` of $5.00 is held by running calls: $1.00 spent, $4.00 held, $2.000188 needed at most · try again in about 14 s, when some of them have ended, or raise it with `tidegate budget set user_day <amount>`
        for ever: budget `task` of $5.00 can't hold this call: $4.99 spent, $0.00 held by running calls, $2.000188 needed at most · does not reset · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input
        for ever: budget `task` of $5.00 can't hold this call: $4.95 spent, $0.05 held by running calls, $2.000188 needed at most · does not reset · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input
        for ever: budget `task` of $5.00 can't hold this call: $4.99 spent, $0.01 held by running calls, $2.000188 needed at most · does not reset · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input
        13.125s: budget `user_day` of $1.00 is held by running calls: $0.90 spent, $0.10 held, $2.000188 needed at most · try again in about 14 s, when some of them have ended, or raise it with `tidegate budget set user_day <amount>`
    "#]].assert_eq(&told);
}

/// B2: with every level too small, the first in order refuses; once that has room, the next.
#[test]
fn levels_refuse_in_their_order() {
    let none = || hard("0.001");
    let mut limits = Limits::BUILT_IN;
    limits.organisation = none();
    limits.user_month = none();
    limits.user_day = none();
    limits.llm = none();
    limits.task = none();
    let mut told = String::new();
    for _ in 0..6 {
        let world = World::start(settings(|it| *it = limits));
        match world.reserve(&keyed("ada"), 1_000) {
            Ok(reserved) => {
                told += "passes\n";
                unused(&world)(reserved);
            }
            Err(Obstacle::Budget(it)) => {
                let resets = if it.resets_at.is_some() {
                    "resets"
                } else {
                    "stays"
                };
                told += &format!("{} {} needs {}, {resets}\n", it.level, it.limit, it.asked);
                *limits.of_mut(it.level) = hard("10");
            }
            Err(other) => panic!("{other:?}"),
        }
    }
    expect![[r#"
        organisation $0.001 needs $0.020184, resets
        user_month $0.001 needs $0.020184, resets
        user_day $0.001 needs $0.020184, resets
        llm $0.001 needs $0.020184, resets
        task $0.001 needs $0.020184, stays
        passes
    "#]]
    .assert_eq(&told);
}

#[test]
fn a_bucket_is_asked_before_the_budgets_and_takes_nothing_where_they_refuse() {
    let mut settings = settings(|it| it.task = hard("0.001"));
    settings.platforms = vec![std::sync::Arc::new(platform("sonnet", ENFORCED))];
    let world = World::start(settings);
    let refused = world.reserve(&keyed("ada"), 1_000).unwrap_err();
    assert!(matches!(refused, Obstacle::Budget(_)), "{refused:?}");
    assert_eq!(world.units("sonnet"), 1_000);
    assert_eq!(
        world
            .engine
            .levels(None)
            .iter()
            .map(|it| it.held.0)
            .sum::<u64>(),
        0
    );
}

#[test]
fn a_settled_call_costs_what_it_used_and_frees_the_rest() {
    let world = World::start(settings(|_| {}));
    let call = world.send(&keyed("ada"), 1_000);
    assert_eq!(world.units("sonnet"), 990);
    let record = call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(line(&record), "answered $0.000188");
    expect![[r#"
        0: reserve $0.020184
        0: settle $0.000188
    "#]]
    .assert_eq(&world.rows());
    assert_eq!(world.units("sonnet"), 990);
}

#[test]
fn a_call_above_its_hold_is_booked_in_full_with_its_cause() {
    let world = World::start(settings(|_| {}));
    let call = world.send(&keyed("ada"), 100);
    let held = call.record().bound;
    let record = call.settle(end(Some(answered(12, 1_000_000)), Outcome::Answered));
    assert!(record.cost > held);
    assert_eq!(record.cost, usd("20.000048"));
    world.engine.flush();
    let report = tidegate_ledger::verify_store(world.ledger.as_ref()).unwrap();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.overruns.len(), 1);
    // The task's $5 are spent four times over: nothing more passes.
    let refused = world.reserve(&keyed("ada"), 100).unwrap_err();
    assert!(matches!(refused, Obstacle::Budget(_)), "{refused:?}");
}

/// Every way to end, and what is booked for it.
#[test]
fn each_end_is_booked_once_and_estimates_are_flagged() {
    let world = World::start(settings(|_| {}));
    let partial = || {
        let mut meter = Meter::new(Dialect::Anthropic, true);
        meter.observe(
            b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n\
              event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"forty bytes of text, which is ten tokens.\"}}\n\n",
        );
        Some(meter.finish())
    };
    let mut told = String::new();
    for (metered, outcome) in [
        (Some(answered(12, 7)), Outcome::Answered),
        (None, Outcome::Answered),
        (partial(), Outcome::ClientGone),
        (None, Outcome::ClientGone),
        (partial(), Outcome::UpstreamLost),
        (None, Outcome::UpstreamLost),
        (partial(), Outcome::StreamError),
        (None, Outcome::UpstreamError),
        (None, Outcome::UpstreamUnreachable),
        (None, Outcome::Interrupted),
    ] {
        let mut call = world.send(&keyed("ada"), 1_000);
        call.first_byte(world.engine.now());
        told += &line(&call.settle(end(metered, outcome)));
        told += "\n";
    }
    expect![[r#"
        answered $0.000188
        answered $0.000076, estimated
        client_gone $0.000268, estimated
        client_gone $0.008316, estimated
        upstream_lost $0.000268, estimated
        upstream_lost $0.000076, estimated
        stream_error $0.000268, estimated
        upstream_error $0.00
        upstream_unreachable $0.00
        interrupted $0.008316, estimated
    "#]]
    .assert_eq(&told);
    expect![[r#"
        0: reserve $0.020184
        0: settle $0.000188
        1: reserve $0.020076
        1: settle $0.000076, estimated (answer without usage)
        2: reserve $0.020076
        2: settle $0.000268, estimated (client hung up)
        3: reserve $0.020076
        3: settle $0.008316, estimated (client hung up)
        4: reserve $0.020076
        4: settle $0.000268, estimated (upstream broke off)
        5: reserve $0.020076
        5: settle $0.000076, estimated (upstream broke off)
        6: reserve $0.020076
        6: settle $0.000268, estimated (error event in the stream)
        7: reserve $0.020076
        7: settle $0.00
        8: reserve $0.020076
        8: settle $0.00
        9: reserve $0.020076
        9: settle $0.008316, estimated (interrupted by a stop)
    "#]]
    .assert_eq(&world.rows());
}

/// It would be all that its levels ever had, and everybody's next call would be refused.
#[test]
fn a_usage_that_no_answer_can_have_is_estimated_instead() {
    let world = World::start(settings(|_| {}));
    for output in [u64::MAX, 100_000_001, 100_000_000] {
        let mut call = world.send(&keyed("ada"), 1_000);
        call.first_byte(world.engine.now());
        let _record = call.settle(end(Some(answered(12, output)), Outcome::Answered));
    }
    expect![[r#"
        0: reserve $0.020184
        0: settle $0.000108, estimated (usage that no answer can have)
        1: reserve $0.020184
        1: settle $0.000108, estimated (usage that no answer can have)
        2: reserve $0.020184
        2: settle $2000.000048
    "#]]
    .assert_eq(&world.rows());
}

/// Of Anthropic's `speed` and `inference_geo`.
#[test]
fn an_answer_that_does_not_name_its_modifiers_costs_what_was_asked_for() {
    let world = World::start(settings(|_| {}));
    let cost = |asked: &str, said: &str| {
        let body = body(1_000).replacen('{', &format!("{{{asked}"), 1);
        let call = world.identify(&keyed("ada"), &Signals::default(), &body);
        let reserved = world
            .engine
            .reserve(world.route(call, "sonnet"), world.engine.now());
        let sent = world
            .engine
            .send(reserved.map_err(|it| it.1).unwrap(), world.engine.now());
        let mut meter = Meter::new(Dialect::Anthropic, false);
        let answer = format!(
            r#"{{"type":"message","usage":{{"input_tokens":1000,"output_tokens":1000,"service_tier":"standard"{said}}}}}"#
        );
        meter.observe(answer.as_bytes());
        let end = end(Some(meter.finish()), Outcome::Answered);
        sent.map_err(|it| it.1).unwrap().settle(end).cost.0
    };
    let plain = cost("", "");
    let fast = r#""speed":"fast","#;
    assert_eq!(cost(fast, ""), 2 * plain);
    assert_eq!(cost(fast, r#","speed":"fast""#), 2 * plain);
    assert_eq!(cost(fast, r#","speed":"standard""#), plain);
    let regional = r#""inference_geo":"us","#;
    assert_eq!(cost(regional, ""), plain * 11 / 10);
    assert_eq!(cost(regional, r#","inference_geo":"global""#), plain);
}

/// Of a stream all that was made is seen, of a whole answer nothing before its end.
#[test]
fn an_unseen_answer_costs_what_is_usual_within_its_cap_and_an_unseen_stream_its_input() {
    let world = World::start(settings(|_| {}));
    let cost = |max_tokens: u64, stream: bool| {
        let body = body(max_tokens).replacen('{', &format!("{{\"stream\":{stream},"), 1);
        let call = world.identify(&keyed("ada"), &Signals::default(), &body);
        let reserved = world
            .engine
            .reserve(world.route(call, "sonnet"), world.engine.now());
        let sent = world
            .engine
            .send(reserved.map_err(|it| it.1).unwrap(), world.engine.now());
        let gone = end(None, Outcome::ClientGone);
        sent.map_err(|it| it.1).unwrap().settle(gone).cost
    };
    let input = cost(1_000, true);
    // 20 $ for a million tokens of output.
    assert_eq!(cost(10, false), input.saturating_add(usd("0.0002")));
    assert!(cost(1_000, false) > cost(10, false));
}

#[test]
fn a_try_that_is_given_up_is_charged_and_the_calls_record_has_both() {
    let world = World::start(settings(|_| {}));
    let call = world.send(&keyed("ada"), 1_000);
    let identified = call.abandon(&end(None, Outcome::UpstreamLost));
    assert_eq!(identified.record.tried, [std::sync::Arc::from("sonnet")]);
    let first = identified.record.cost;
    assert!(first.0 > 0 && identified.record.estimated);
    let routed = world.route(identified, "spare");
    let reserved = world.engine.reserve(routed, world.engine.now());
    let reserved = reserved.map_err(|it| it.1).unwrap();
    let sent = world.engine.send(reserved, world.engine.now());
    let sent = sent.map_err(|it| it.1).unwrap();
    let record = sent.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(record.cost, first.saturating_add(usd("0.000188")));
    assert!(record.estimated);
    let rows = world.rows();
    assert_eq!(rows.matches("settle").count(), 2, "{rows}");
}

#[test]
fn a_call_that_is_never_sent_leaves_nothing_held() {
    let world = World::start(settings(|_| {}));
    let call = world.send(&keyed("ada"), 1_000);
    let taken = world.units("sonnet");
    let identified = call.unsent();
    assert!(
        world.units("sonnet") > taken,
        "units of a call that was not sent"
    );
    assert_eq!(identified.record.tried, [std::sync::Arc::from("sonnet")]);
    expect![[r#"
        0: reserve $0.020184
        0: release $0.020184
    "#]]
    .assert_eq(&world.rows());
    let held: u64 = world.engine.levels(None).iter().map(|it| it.held.0).sum();
    assert_eq!(held, 0);
}

#[test]
fn a_call_pays_into_the_day_of_its_reservation() {
    let world = World::start(settings(|it| it.user_day = hard("0.03")));
    let call = world.send(&keyed("ada"), 1_000);
    // Routed in one day, reserved in the next: the path is resolved again.
    let routed = {
        let call = world.identify(&keyed("ada"), &Signals::default(), &body(1_000));
        world.route(call, "sonnet")
    };
    world.clock.advance(Duration::from_hours(24));
    call.settle(end(Some(answered(12, 1_000)), Outcome::Answered));
    let now = world.engine.now();
    let reserved = world
        .engine
        .reserve(routed, now)
        .map_err(|it| it.1)
        .unwrap();
    let day = reserved.routed.path.entry().day;
    assert!((day.start..day.end).contains(&now.wall));
    unused(&world)(reserved);
    world.rows();
}

#[test]
fn a_subscriptions_call_costs_nothing_and_keeps_its_list_price() {
    let mut settings = settings(|it| it.task = hard("0.000001"));
    let mut it = platform("claude_code", ENFORCED);
    it.subscription = true;
    settings.platforms = vec![std::sync::Arc::new(it)];
    let world = World::start(settings);
    let call = world.identify(&keyed("ada"), &Signals::default(), &body(128_000));
    let routed = world.route(call, "claude_code");
    let reserved = world.engine.reserve(routed, world.engine.now());
    let reserved = reserved.map_err(|it| it.1).unwrap();
    assert_eq!(reserved.cap, None);
    assert_eq!(reserved.holding.bound(), NanoUsd::ZERO);
    let sent = world.engine.send(reserved, world.engine.now());
    let sent = sent.map_err(|it| it.1).unwrap();
    let record = sent.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(
        (record.cost, record.notional),
        (NanoUsd::ZERO, usd("0.000188"))
    );
    assert_eq!(world.units("claude_code"), 990);
    world.rows();
}

#[test]
fn watched_buckets_note_the_wait_and_enforced_ones_make_it() {
    for mode in [Mode::Watch, Mode::Enforce] {
        let mut settings = settings(|_| {});
        let it = platform("sonnet", tidegate_types::Enforcement::Named(mode));
        settings.platforms = vec![std::sync::Arc::new(it)];
        let world = World::start(settings);
        let signals = Signals {
            complexity: Some("expert"),
            ..Signals::default()
        };
        let mut waits = 0;
        for _ in 0..101 {
            let call = world.identify(&keyed("ada"), &signals, &body(10));
            let routed = world.route(call, "sonnet");
            match world.engine.reserve(routed, world.engine.now()) {
                Ok(reserved) => {
                    let sent = world.engine.send(reserved, world.engine.now());
                    let sent = sent.map_err(|it| it.1).unwrap();
                    waits += usize::from(sent.record().would_wait.is_some());
                    sent.settle(end(Some(answered(1, 1)), Outcome::Answered));
                }
                Err((_, Obstacle::Wait { wait, .. })) => {
                    assert_eq!(mode, Mode::Enforce);
                    assert!(wait.at_least() > Duration::from_hours(24));
                    waits += 1;
                }
                Err((_, other)) => panic!("{other:?}"),
            }
        }
        assert_eq!(waits, 1, "{mode}");
        world.assert_sound();
    }
}

/// Ends a reservation that a test does not use.
fn unused(world: &World) -> impl Fn(tidegate_engine::reserve::Reserved) + '_ {
    |reserved| {
        let sent = world.engine.send(reserved, world.engine.now());
        sent.map_err(|it| it.1)
            .unwrap()
            .release(Outcome::ClientGone);
    }
}
