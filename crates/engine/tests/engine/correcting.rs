//! What was booked at an estimate, once it is known what it cost.

use std::{sync::Arc, thread, time::Duration};

use expect_test::expect;
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk, CorrectionError},
    identity::Principal,
};
use tidegate_ledger::LevelKind;
use tidegate_store::MemoryJournal;
use tidegate_types::{ReservationId, Role};

use crate::harness::{World, hard, keyed, settings, usd};

fn operator() -> Principal {
    Principal {
        role: Role::Operator,
        ..keyed("bob")
    }
}

fn dime(world: &World) -> Option<ReservationId> {
    let ask = AdmissionAsk {
        task: Some("t".to_owned()),
        cost: usd("0.10"),
        ..AdmissionAsk::default()
    };
    let admitted = world.engine.admit(&keyed("ada"), &ask).unwrap();
    admitted.ok().map(|it| it.reservation)
}

fn expire(world: &World) {
    world.clock.advance(Duration::from_mins(15));
    world.engine.tidy();
}

#[test]
fn a_correction_gives_back_what_the_estimate_had_too_much() {
    let world = World::start(settings(|it| it.task = hard("0.25")));
    let first = dime(&world).unwrap();
    dime(&world).unwrap();
    expire(&world);
    assert_eq!(dime(&world), None);
    let correct = |to| {
        let corrected = world
            .engine
            .correct_reservation(&operator(), first, usd(to))
            .unwrap();
        (corrected.from, corrected.to)
    };
    assert_eq!(correct("0.02"), (usd("0.10"), usd("0.02")));
    // Said again it changes nothing; another one begins where this one ended.
    assert_eq!(correct("0.02"), (usd("0.02"), usd("0.02")));
    assert_eq!(correct("0.05"), (usd("0.02"), usd("0.05")));
    let third = dime(&world).unwrap();
    world
        .engine
        .settle_reservation(&keyed("ada"), third, Actual::default())
        .unwrap();
    expect![[r#"
        0: reserve $0.10
        1: reserve $0.10
        0: expire $0.10
        1: expire $0.10
        0: correct $0.10 to $0.02
        0: correct $0.02 to $0.05
        2: reserve $0.10
        2: settle $0.10, estimated
    "#]]
    .assert_eq(&world.rows());
    expect![[r#"
        tidegate_ledger_corrected_dollars_total{organisation="local",service="llm",direction="down"} 0.08
        tidegate_ledger_corrected_dollars_total{organisation="local",service="llm",direction="up"} 0.03
    "#]]
    .assert_eq(&world.measured("tidegate_ledger_corrected"));
    world.assert_sound();
}

/// Its first correction takes it off the list of those that nobody said anything of, also where the
/// bound was right.
#[test]
fn a_bound_that_was_right_can_be_confirmed() {
    let world = World::start(settings(|_| {}));
    let id = dime(&world).unwrap();
    expire(&world);
    world.engine.flush();
    assert_eq!(world.ledger.uncorrected(9).unwrap().len(), 1);
    let confirm = || {
        world
            .engine
            .correct_reservation(&operator(), id, usd("0.10"))
            .unwrap()
    };
    let (_once, _again) = (confirm(), confirm());
    assert_eq!(world.ledger.uncorrected(9).unwrap().len(), 0);
    expect![[r#"
        0: reserve $0.10
        0: expire $0.10
        0: correct $0.10 to $0.10
    "#]]
    .assert_eq(&world.rows());
}

#[test]
fn corrections_at_once_each_begin_where_another_ended() {
    const PEOPLE: u64 = 16;
    let world = World::start(settings(|_| {}));
    let id = dime(&world).unwrap();
    expire(&world);
    thread::scope(|scope| {
        for cents in 1..=PEOPLE {
            let world = &world;
            let to = usd(&format!("0.{:02}", cents + 10));
            scope.spawn(move || {
                world
                    .engine
                    .correct_reservation(&operator(), id, to)
                    .unwrap()
            });
        }
    });
    let rows = world.ledger.history(id).unwrap();
    assert_eq!(rows.len() as u64, 2 + PEOPLE);
    world.assert_sound();
}

/// Levels whose window is over are no longer in memory, and come back as they were before.
#[test]
fn what_a_window_that_is_over_was_charged_is_corrected_too() {
    let world = World::start(settings(|_| {}));
    let id = dime(&world).unwrap();
    expire(&world);
    for _ in 0..3 {
        world.clock.advance(Duration::from_hours(24 * 40));
        world.engine.flush();
        world.engine.tidy();
    }
    world
        .engine
        .correct_reservation(&operator(), id, usd("0.01"))
        .unwrap();
    let balances = world.ledger.balances(None).unwrap();
    assert!(balances.len() >= 5);
    for (level, balance) in balances {
        assert_eq!(balance.spent, usd("0.01"), "{level}");
    }
    // The task has no window: what it may still spend follows.
    let levels = world.engine.levels(None);
    let task = levels.iter().find(|it| it.key.kind == LevelKind::Task);
    assert_eq!(task.unwrap().spent, usd("0.01"));
    world.assert_sound();
}

#[test]
fn what_others_own_or_nobody_estimated_stays_as_it_is() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    let refused = |principal: &Principal, id| {
        world
            .engine
            .correct_reservation(principal, id, usd("0.01"))
            .unwrap_err()
    };
    let (exact, released, expired) = (dime(&world), dime(&world), dime(&world));
    let (exact, released, expired) = (exact.unwrap(), released.unwrap(), expired.unwrap());
    let said = refused(&operator(), exact);
    assert!(matches!(said, CorrectionError::Open(_)), "{said}");
    let actual = Actual {
        cost: Some(usd("0.03")),
        ..Actual::default()
    };
    world
        .engine
        .settle_reservation(&ada, exact, actual)
        .unwrap();
    world.engine.release_reservation(&ada, released).unwrap();
    expire(&world);
    let before = world.rows();
    let said = refused(&operator(), exact);
    assert!(matches!(said, CorrectionError::Exact { .. }), "{said}");
    let said = refused(&operator(), released);
    assert!(matches!(said, CorrectionError::Released(_)), "{said}");
    let stranger = Principal {
        organisation: "acme".into(),
        ..operator()
    };
    let said = refused(&stranger, expired);
    assert!(matches!(said, CorrectionError::Unknown(_)), "{said}");
    let said = refused(&operator(), ReservationId::from_raw(1));
    assert!(matches!(said, CorrectionError::Unknown(_)), "{said}");
    assert_eq!(world.rows(), before);
    world.assert_sound();
}

/// Asked again, it was done.
#[test]
fn a_correction_is_acknowledged_when_it_is_written() {
    let journal = Arc::new(MemoryJournal::default());
    let world = World::with_journal(settings(|_| {}), journal.clone());
    let id = dime(&world).unwrap();
    expire(&world);
    let correct = || {
        world
            .engine
            .correct_reservation(&operator(), id, usd("0.01"))
    };
    journal.refuse(Some("no space left"));
    for _ in 0..2 {
        let refused = correct().unwrap_err();
        assert!(matches!(refused, CorrectionError::Store(_)), "{refused}");
    }
    journal.refuse(None);
    assert_eq!(correct().unwrap().to, usd("0.01"));
    expect![[r#"
        0: reserve $0.10
        0: expire $0.10
        0: correct $0.10 to $0.01
    "#]]
    .assert_eq(&world.rows());
}
