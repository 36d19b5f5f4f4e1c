//! What the engine reports, and what its instruments show.

use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use tidegate_engine::{call::Signals, identity::Principal};
use tidegate_ledger::{CallEntry, Entry, Event, LevelKind, Limit, Limits, Line, Settlement};
use tidegate_observe::calls::Outcome;
use tidegate_types::NanoUsd;

use crate::{
    gated::Gated,
    harness::{ManualClock, World, answered, body, end, hard, keyed, keyless, settings, usd},
};

const OPUS: (&str, u64) = ("claude-opus-5-5", 1_000);

/// One answered call of `model` with this output cap, and what was reported of it.
#[track_caller]
fn check(
    who: &Principal,
    (model, cap): (&str, u64),
    limits: impl FnOnce(&mut Limits),
    expected: Expect,
) {
    let world = World::start(settings(limits));
    let signals = Signals {
        task: Some("t"),
        ..Signals::default()
    };
    let body = body(cap).replace("claude-opus-5-5", model);
    let routed = world.route(world.identify(who, &signals, &body), "sonnet");
    let reserved = world.engine.reserve(routed, world.engine.now());
    let reserved = reserved.map_err(|(_, obstacle)| obstacle).unwrap();
    let sent = world.engine.send(reserved, world.engine.now());
    let sent = sent.map_err(|(_, refused)| refused).unwrap();
    sent.settle(end(Some(answered(10, 5)), Outcome::Answered));
    expected.assert_eq(&world.told());
}

fn soft(limit: &str, hard: &str) -> Limit {
    Limit {
        soft: Some(usd(limit)),
        ..self::hard(hard)
    }
}

#[test]
fn an_ordinary_call_is_reported_once_at_its_end() {
    let nothing = expect![""];
    check(&keyed("ada"), OPUS, |_| {}, nothing);
}

#[test]
fn a_passed_soft_limit_is_told() {
    let limits = |it: &mut Limits| *it.of_mut(LevelKind::Task) = soft("0.0001", "100");
    check(
        &keyless(),
        OPUS,
        limits,
        expect![[r#"
        soft_limit_passed limit="task"
        soft_limit_crossed limit="task"
    "#]],
    );
}

#[test]
fn a_limit_is_told_once_for_each_threshold_and_not_for_each_call() {
    let limits = |it: &mut Limits| *it.of_mut(LevelKind::Task) = soft("0.0002", "0.01");
    let world = World::start(settings(limits));
    for _call in 0..12 {
        let call = world.send(&keyless(), 30);
        call.settle(end(Some(answered(10, 25)), Outcome::Answered));
    }
    let told = world.told();
    let warned: Vec<_> = told.lines().filter(|it| !it.contains("passed")).collect();
    expect![[r#"
        soft_limit_crossed limit="task"
        limit_reached limit="task" percent=50 spent="$0.0054" of="$0.01""#]]
    .assert_eq(&warned.join("\n"));
}

#[test]
fn a_limit_that_may_be_passed_is_told_when_it_is() {
    let limits = |it: &mut Limits| {
        let limit = it.of_mut(LevelKind::Task);
        *limit = hard("0.0001");
        limit.soft = None;
        limit.overage_allowed = true;
    };
    check(
        &keyed("ada"),
        OPUS,
        limits,
        expect![[r#"
            overage_used limit="task"
            limit_reached limit="task" percent=100 spent="$0.00014" of="$0.0001"
        "#]],
    );
}

#[test]
fn a_lowered_cap_is_told_with_its_limit() {
    let limits = |it: &mut Limits| *it.of_mut(LevelKind::UserDay) = hard("2");
    check(
        &keyed("ada"),
        ("claude-opus-5-5", 64_000),
        limits,
        expect![[r#"
        max_tokens_lowered limit="user_day" asked=64000 sent=32000
    "#]],
    );
}

#[test]
fn a_limit_that_only_watches_tells_what_it_would_have_done() {
    let limits = |it: &mut Limits| *it.of_mut(LevelKind::Task) = hard("0.0001");
    check(
        &keyless(),
        OPUS,
        limits,
        expect![[r#"
            limit_watched limit="task"
            limit_reached limit="task" percent=100 spent="$0.00014" of="$0.0001"
        "#]],
    );
}

#[test]
fn a_model_without_a_price_is_told_with_the_row_that_is_charged() {
    check(
        &keyed("ada"),
        ("model-of-tomorrow", 1_000),
        |_| {},
        expect![[r#"
            price_unknown provider="anthropic" model="model-of-tomorrow" charged_as="dearest of anthropic"
        "#]],
    );
}

#[test]
fn a_client_that_hangs_up_is_told_and_open_calls_are_counted_while_they_are() {
    let world = World::start(settings(|_| {}));
    let open = || world.measured("tidegate_gateway_open_calls");
    let (one, other) = (world.send(&keyed("ada"), 10), world.send(&keyed("ada"), 10));
    assert_eq!(open(), "tidegate_gateway_open_calls 2\n");
    one.settle(end(None, Outcome::ClientGone));
    assert_eq!(open(), "tidegate_gateway_open_calls 1\n");
    other.abandon(&end(None, Outcome::UpstreamLost));
    assert_eq!(open(), "");
    assert_eq!(world.told(), "client_gone answer_bytes=1\n");
}

#[test]
fn commits_are_counted_and_timed() {
    let world = World::start(settings(|_| {}));
    world.engine.flush();
    let before = world.engine.registry().committed_entries.with([]).value();
    let call = world.send(&keyed("ada"), 10);
    call.settle(end(Some(answered(10, 5)), Outcome::Answered));
    world.engine.flush();
    let registry = world.engine.registry();
    assert_eq!(registry.committed_entries.with([]).value(), before + 2);
    assert!(registry.commit_time.with([]).count() > 0);
}

#[test]
fn an_entry_that_contradicts_the_ledger_is_told_as_a_broken_promise() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    let call = world.send(&keyed("ada"), 10);
    world.engine.flush();
    let row = world.ledger.rows(1, usize::MAX).unwrap().pop().unwrap();
    let Entry::Call(begun) = row.entry().unwrap() else {
        panic!("the last entry is the call's")
    };
    // Somebody else settles it.
    let Event::Reserve { bound, .. } = begun.event else {
        panic!("the call's first entry")
    };
    let settlement = Settlement {
        held: bound,
        cost: NanoUsd::ZERO,
        notional: NanoUsd::ZERO,
        estimated: false,
        cause: None,
        usage: None,
        platform: "sonnet".into(),
        model: Arc::default(),
        price_version: Arc::default(),
    };
    let entry = CallEntry {
        ordinal: 1,
        event: Event::Settle(Box::new(settlement)),
        ..begun
    };
    world
        .ledger
        .append_lines(&[Line::new(Entry::Call(entry))])
        .unwrap();
    call.settle(end(Some(answered(10, 5)), Outcome::Answered));
    world.engine.flush();
    world.engine.tidy();
    world.clock.advance(Duration::from_secs(1));
    world.engine.tidy();
    expect![[r#"
        invariant_broken invariant="L2" seen="1 entries contradicted the ledger"
    "#]]
    .assert_eq(&world.told());
}
