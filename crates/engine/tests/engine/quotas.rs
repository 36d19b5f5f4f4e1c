//! Quotas of calls and admissions: waited for or refused, given back, and kept over a restart.

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use tidegate_admission::{OnExcess, QuotaFigure, QuotaFigures, QuotaKind, QuotaTable};
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk},
    call::{Routed, Signals},
    flight::InFlight,
    gate::Turn,
    places::PlaceKey,
    reserve::Obstacle,
    settings::Settings,
    writer::Stores,
};
use tidegate_ledger::Service;
use tidegate_observe::calls::Outcome;
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{Enforcement, NanoUsd};

use crate::harness::{ENFORCED, ManualClock, World, answered, body, end, keyed, keyless, settings};

/// These quotas of each user, and no others.
fn of_users(limits: &[(QuotaKind, u64)], on_excess: OnExcess) -> Settings {
    let mut user = QuotaFigures::UNLIMITED;
    for (kind, limit) in limits {
        *user.of_mut(*kind) = QuotaFigure {
            limit: NonZeroU64::new(*limit),
            enforcement: ENFORCED,
        };
    }
    user.on_excess = on_excess;
    let mut settings = settings(|_| {});
    settings.quotas = Arc::new(QuotaTable {
        user,
        ..QuotaTable::unlimited()
    });
    settings
}

fn routed(world: &World, user: &str, task: &str) -> Box<Routed> {
    let signals = Signals {
        task: Some(task),
        ..Signals::default()
    };
    world.route(world.identify(&keyed(user), &signals, &body(100)), "sonnet")
}

fn settle(call: InFlight) {
    call.settle(end(Some(answered(5, 5)), Outcome::Answered));
}

/// What a call is told that is over a quota.
#[track_caller]
fn over(world: &World, user: &str, task: &str, expected: Expect) {
    let (routed, obstacle) = world
        .engine
        .reserve(routed(world, user, task), world.engine.now())
        .unwrap_err();
    let told = world
        .engine
        .explain(&routed.platform, &routed.spender(), obstacle);
    let may_wait = obstacle.wait();
    expected.assert_eq(&format!(
        "{}\nretry after {:?}, may wait {may_wait:?}\n",
        told.sentence, told.wait
    ));
}

#[test]
fn a_call_over_a_rate_is_refused_with_the_exact_wait_where_it_may_not_queue() {
    let world = World::start(of_users(&[(QuotaKind::CallRate, 2)], OnExcess::Refuse));
    let calls = [world.send(&keyed("ann"), 10), world.send(&keyed("ann"), 10)];
    over(
        &world,
        "ann",
        "t",
        expect![[r#"
        quota `user.calls_per_minute`: 2 of 2 are taken, and this call needs 1 · try again in 30 s, or raise `quotas.user.calls_per_minute`
        retry after Some(30s), may wait None
    "#]],
    );
    let other = world.reserve(&keyed("ben"), 10).unwrap();
    world.engine.give_back(other.holding);
    world.clock.advance(Duration::from_secs(30));
    let later = world.reserve(&keyed("ann"), 10).unwrap();
    world.engine.give_back(later.holding);
    calls.into_iter().for_each(settle);
}

#[test]
fn a_call_over_a_slot_waits_and_has_its_turn_when_one_ends() {
    let world = World::start(of_users(&[(QuotaKind::CallsAtOnce, 1)], OnExcess::Queue));
    let running = world.send(&keyed("ann"), 10);
    over(
        &world,
        "ann",
        "t",
        expect![[r#"
        quota `user.calls_at_once`: 1 of 1 are taken, and this call needs 1 · try again when a call has ended, or raise `quotas.user.calls_at_once`
        retry after Some(1s), may wait Some(0ns)
    "#]],
    );
    let key = |name: &str| PlaceKey::of("local", name, "s", &[b"body"]);
    let mut waiting = world
        .engine
        .wait(routed(&world, "ann", "t"), key("ann"))
        .unwrap();
    assert!(waiting.turn_now().is_none());
    // Others are not held up by somebody's quota.
    let mut other = world
        .engine
        .wait(routed(&world, "ben", "t"), key("ben"))
        .unwrap();
    let Some(Turn::Reserved(theirs)) = other.turn_now() else {
        panic!("ben has a slot of his own")
    };
    world.engine.give_back(theirs.holding);
    running.settle(end(Some(answered(5, 5)), Outcome::Answered));
    world.clock.advance(Duration::from_secs(1));
    world.engine.look_at_queues();
    let Some(Turn::Reserved(reserved)) = waiting.turn_now() else {
        panic!("its slot is free")
    };
    world.engine.give_back(reserved.holding);
    world.assert_sound();
}

#[test]
fn a_task_waits_until_another_was_idle_or_is_ended() {
    let world = World::start(of_users(&[(QuotaKind::TasksAtOnce, 1)], OnExcess::Queue));
    let running = world.send(&keyed("ann"), 10);
    over(
        &world,
        "ann",
        "other",
        expect![[r#"
        quota `user.tasks_at_once`: 1 of 1 are taken, and this call needs 1 · try again when a task has ended, or raise `quotas.user.tasks_at_once`
        retry after Some(1s), may wait Some(0ns)
    "#]],
    );
    running.settle(end(Some(answered(5, 5)), Outcome::Answered));
    over(
        &world,
        "ann",
        "other",
        expect![[r#"
            quota `user.tasks_at_once`: 1 of 1 are taken, and this call needs 1 · try again in 10 s, or raise `quotas.user.tasks_at_once`
            retry after Some(10s), may wait Some(10s)
        "#]],
    );
    let (organisation, user): (Arc<str>, Arc<str>) = ("local".into(), "ann".into());
    assert!(world.engine.end_task(&organisation, &user, &"t".into()));
    let other = world
        .engine
        .reserve(routed(&world, "ann", "other"), world.engine.now());
    world.engine.give_back(other.unwrap().holding);
}

#[test]
fn what_can_not_fit_before_a_far_day_is_not_queued() {
    let world = World::start(of_users(&[(QuotaKind::TasksPerDay, 1)], OnExcess::Queue));
    let running = world.send(&keyed("ann"), 10);
    over(
        &world,
        "ann",
        "other",
        expect![[r#"
        quota `user.tasks_per_day`: 1 of 1 are taken, and this call needs 1 · try again in 12 h 0 min, or raise `quotas.user.tasks_per_day`
        retry after Some(43200s), may wait None
    "#]],
    );
    settle(running);
}

#[test]
fn tokens_are_charged_as_they_were_used_and_kept_over_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let stores = || Stores {
        ledger: store.clone(),
        calls: store.clone(),
        settings: store.clone(),
        journal: Arc::new(MemoryJournal::default()),
    };
    let quota = || of_users(&[(QuotaKind::TokensPerMonth, 1_000_000)], OnExcess::Queue);
    let clock = ManualClock::start();
    {
        let world = World::on(quota(), stores(), clock.clone());
        let call = world.send(&keyed("ann"), 10);
        call.settle(end(Some(answered(999_000, 900)), Outcome::Answered));
        world.engine.flush();
    }
    let world = World::on(quota(), stores(), clock);
    let _known = routed(&world, "ann", "t");
    let used: Vec<u64> = world.engine.quotas(None)[0]
        .1
        .iter()
        .map(|it| it.used)
        .collect();
    assert_eq!(used, [999_900]);
}

#[test]
fn built_in_quotas_watch_calls_without_a_key() {
    let mut watched = settings(|_| {});
    let mut user = QuotaFigures::UNLIMITED;
    *user.of_mut(QuotaKind::CallsAtOnce) = QuotaFigure {
        limit: NonZeroU64::new(1),
        enforcement: Enforcement::BuiltIn,
    };
    watched.quotas = Arc::new(QuotaTable {
        user,
        ..QuotaTable::unlimited()
    });
    let world = World::start(watched);
    let calls = [world.send(&keyless(), 10), world.send(&keyless(), 10)];
    let told: Vec<Vec<String>> = calls
        .iter()
        .map(|it| {
            it.record()
                .would_refuse
                .iter()
                .map(ToString::to_string)
                .collect()
        })
        .collect();
    assert_eq!(told, [vec![], vec!["user.calls_at_once".to_owned()]]);
    let refused = world.reserve(&keyed("local"), 10);
    assert!(matches!(refused, Err(Obstacle::Quota(_))));
    calls.into_iter().for_each(settle);
}

#[test]
fn tools_are_counted_by_admissions() {
    let world = World::start(of_users(&[(QuotaKind::ToolRate, 1)], OnExcess::Queue));
    let ask = AdmissionAsk {
        service: Some(Service::Tools),
        tokens: 1,
        cost: NanoUsd(0),
        ..AdmissionAsk::default()
    };
    let admitted = world.engine.admit(&keyed("ann"), &ask).unwrap().unwrap();
    world
        .engine
        .settle_reservation(&keyed("ann"), admitted.reservation, Actual::default())
        .unwrap();
    let refused = world
        .engine
        .admit(&keyed("ann"), &ask)
        .unwrap()
        .unwrap_err();
    expect![[r#"
        quota `user.tools_per_minute`: 1 of 1 are taken, and this call needs 1 · try again in 1 min 0 s, or raise `quotas.user.tools_per_minute` Some(For(60s))
    "#]].assert_eq(&format!("{} {:?}\n", refused.reasons[0], refused.wait));
    world.clock.advance(Duration::from_mins(1));
    let again = world.engine.admit(&keyed("ann"), &ask).unwrap().unwrap();
    // What was not used is given back.
    world
        .engine
        .release_reservation(&keyed("ann"), again.reservation)
        .unwrap();
    let _again = world.engine.admit(&keyed("ann"), &ask).unwrap().unwrap();
}
