//! Reservations of those who ask before they act.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use expect_test::expect;
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk, AdmissionError, Admitted, NotAdmitted},
    identity::Principal,
    writer::Stores,
};
use tidegate_ledger::LevelKind;
use tidegate_store::{DirectoryLock, FileJournal, MemoryStore, SqliteStore};
use tidegate_types::{Clock as _, NanoUsd, Priority, Role};

use crate::{
    gated::Gated,
    harness::{ManualClock, World, hard, keyed, settings, usd},
};

fn dime(task: &str) -> AdmissionAsk {
    AdmissionAsk {
        task: Some(task.to_owned()),
        cost: usd("0.10"),
        ..AdmissionAsk::default()
    }
}

fn units(tokens: u64) -> AdmissionAsk {
    AdmissionAsk {
        tokens,
        ..AdmissionAsk::default()
    }
}

impl World {
    fn admit(
        &self,
        principal: &Principal,
        ask: &AdmissionAsk,
    ) -> Result<Admitted, Box<NotAdmitted>> {
        self.engine.admit(principal, ask).unwrap()
    }
}

/// Ten thousand reservations of $0.10 at once on a task of $5.
fn exactly_fifty(world: &World) {
    let principal = keyed("ada");
    let admitted = AtomicUsize::new(0);
    let ids = parking_lot::Mutex::new(Vec::new());
    let ask = |_| match world.admit(&principal, &dime("t")) {
        Ok(it) => {
            admitted.fetch_add(1, Ordering::Relaxed);
            ids.lock().push(it.reservation);
        }
        Err(refused) => assert_eq!(&*refused.limit, "task"),
    };
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..1_250).for_each(ask));
        }
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 50);
    let held = |world: &World| {
        let mut levels = world.engine.levels(None).into_iter();
        let task = levels.find(|it| it.key.kind == LevelKind::Task);
        task.map(|it| (it.held, it.spent)).unwrap()
    };
    assert_eq!(held(world), (usd("5"), NanoUsd::ZERO));
    world.engine.flush();
    world.assert_sound();
    // What is given back and what is settled below its hold can be spent again, to the cent.
    for (place, id) in ids.into_inner().into_iter().enumerate() {
        if place % 2 == 0 {
            world.engine.release_reservation(&principal, id).unwrap();
        } else {
            let cost = Some(usd("0.02"));
            let actual = Actual {
                cost,
                ..Actual::default()
            };
            world
                .engine
                .settle_reservation(&principal, id, actual)
                .unwrap();
        }
    }
    assert_eq!(held(world), (NanoUsd::ZERO, usd("0.50")));
    let again = (0..100).filter(|_| world.admit(&principal, &dime("t")).is_ok());
    assert_eq!(again.count(), 45);
    world.engine.flush();
    world.assert_sound();
}

#[test]
fn ten_thousand_at_once_admit_exactly_fifty_in_memory() {
    exactly_fifty(&World::start(settings(|it| it.task = hard("5"))));
}

#[test]
fn ten_thousand_at_once_admit_exactly_fifty_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let lock = DirectoryLock::take(directory.path(), clock.now()).unwrap();
    let store = Arc::new(SqliteStore::open(lock).unwrap());
    let stores = Stores {
        ledger: store.clone(),
        calls: Arc::new(MemoryStore::default()),
        settings: store,
        journal: Arc::new(FileJournal::open(directory.path()).unwrap()),
    };
    exactly_fifty(&World::on(
        settings(|it| it.task = hard("5")),
        stores,
        clock,
    ));
}

#[test]
fn a_reservation_ends_once_and_changes_nothing_after_that() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    let id = world.admit(&ada, &dime("t")).unwrap().reservation;
    let cost = world.engine.settle_reservation(&ada, id, Actual::default());
    assert_eq!(cost.unwrap(), usd("0.10"));
    for again in [
        world
            .engine
            .settle_reservation(&ada, id, Actual::default())
            .map(|_| ()),
        world.engine.release_reservation(&ada, id),
        world
            .engine
            .extend_reservation(&ada, id, usd("1"), Duration::ZERO)
            .map(|_| ()),
    ] {
        assert!(matches!(again, Err(AdmissionError::NotOpen(it)) if it == id));
    }
    expect![[r#"
        0: reserve $0.10
        0: settle $0.10, estimated
    "#]]
    .assert_eq(&world.rows());
}

#[test]
fn anothers_reservation_is_not_there() {
    let world = World::start(settings(|_| {}));
    let id = world.admit(&keyed("ada"), &dime("t")).unwrap().reservation;
    let elsewhere = Principal {
        organisation: "other".into(),
        ..keyed("ada")
    };
    let viewer = Principal {
        role: Role::Viewer,
        ..keyed("ada")
    };
    let their_operator = Principal {
        role: Role::Operator,
        ..elsewhere.clone()
    };
    for other in [keyed("bob"), elsewhere, viewer, their_operator] {
        let engine = &world.engine;
        let nothing = Duration::ZERO;
        for refused in [
            engine
                .settle_reservation(&other, id, Actual::default())
                .map(|_| ()),
            engine.release_reservation(&other, id),
            engine
                .extend_reservation(&other, id, usd("1"), nothing)
                .map(|_| ()),
        ] {
            assert!(
                matches!(refused, Err(AdmissionError::NotOpen(_))),
                "{other:?}"
            );
        }
    }
    let operator = Principal {
        role: Role::Operator,
        ..keyed("bob")
    };
    world.engine.release_reservation(&operator, id).unwrap();
    expect![[r#"
        0: reserve $0.10
        0: release $0.10
    "#]]
    .assert_eq(&world.rows());
}

#[test]
fn what_nobody_settles_in_time_is_settled_at_its_bound() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    let ask = AdmissionAsk {
        tokens: 100,
        ..dime("t")
    };
    let admitted = world.admit(&ada, &ask).unwrap();
    assert_eq!(
        admitted.expires_at.since(world.clock.now()),
        Duration::from_mins(15)
    );
    world
        .clock
        .advance(Duration::from_mins(15) - Duration::from_nanos(1));
    world.engine.tidy();
    assert_eq!(world.engine.reservations(|_| true).len(), 1);
    world.clock.advance(Duration::from_nanos(1));
    world.engine.tidy();
    assert!(world.engine.reservations(|_| true).is_empty());
    expect![[r#"
        0: reserve $0.10
        0: expire $0.10
    "#]]
    .assert_eq(&world.rows());
    assert_eq!(world.units("sonnet"), 900);
}

/// Units alone, as most who ask ask for: what expires was used, or nobody would ever settle.
#[test]
fn units_that_nobody_settles_are_spent_too() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    let _kept = world.admit(&ada, &units(100)).unwrap();
    let given_back = world.admit(&ada, &units(100)).unwrap().reservation;
    assert_eq!(world.units("sonnet"), 800);
    world.engine.release_reservation(&ada, given_back).unwrap();
    assert_eq!(world.units("sonnet"), 900);
    world.clock.advance(Duration::from_mins(15));
    world.engine.tidy();
    assert_eq!(world.units("sonnet"), 900);
    expect![[r#"
        0: reserve $0.00
        1: reserve $0.00
        1: release $0.00
        0: expire $0.00
    "#]]
    .assert_eq(&world.rows());
}

#[test]
fn a_reservation_holds_more_and_longer_where_there_is_room() {
    let world = World::start(settings(|it| it.task = hard("0.25")));
    let ada = keyed("ada");
    let id = world.admit(&ada, &dime("t")).unwrap().reservation;
    let extend = |more: &str| {
        let longer = Duration::from_hours(1);
        world.engine.extend_reservation(&ada, id, usd(more), longer)
    };
    let until = extend("0.15").unwrap();
    assert_eq!(until.since(world.clock.now()), Duration::from_hours(1));
    // Also what is more than a lease could ever cover.
    for more in ["0.01", "400"] {
        let refused = extend(more).unwrap_err();
        assert!(matches!(refused, AdmissionError::Short(_)), "{refused}");
    }
    world.clock.advance(Duration::from_mins(59));
    world.engine.tidy();
    let cost = world.engine.settle_reservation(&ada, id, Actual::default());
    assert_eq!(cost.unwrap(), usd("0.25"));
    let spent = world.measured("tidegate_ledger_spent");
    assert_eq!(
        spent,
        "tidegate_ledger_spent_dollars_total{organisation=\"local\",service=\"llm\",platform=\"sonnet\"} 0.25\n"
    );
    expect![[r#"
        0: reserve $0.10
        0: extend $0.15
        0: settle $0.25, estimated
    "#]]
    .assert_eq(&world.rows());
}

/// It is their approval that is asked for, whether all is wanted at once or bit by bit.
#[test]
fn a_reservation_is_not_extended_past_a_soft_limit_that_somebody_has_to_approve() {
    let world = World::start(settings(|it| {
        it.task = hard("5");
        it.task.soft = Some(usd("1"));
    }));
    let ada = keyed("ada");
    let id = world.admit(&ada, &dime("t")).unwrap().reservation;
    let extend = |more: &str| {
        let longer = Duration::from_hours(1);
        world.engine.extend_reservation(&ada, id, usd(more), longer)
    };
    extend("0.60").unwrap();
    let refused = extend("0.60").unwrap_err().to_string();
    assert!(refused.contains("somebody has to approve"), "{refused}");
    extend("0.30").unwrap();
    // Time alone is written down as well: it was promised.
    extend("0").unwrap();
    world.engine.release_reservation(&ada, id).unwrap();
    expect![[r#"
        0: reserve $0.10
        0: extend $0.60
        0: extend $0.30
        0: extend $0.00
        0: release $1.00
    "#]]
    .assert_eq(&world.rows());
}

/// A lease that ends soon is renewed, which waits for the store.
#[test]
fn who_waits_for_the_store_to_hold_more_keeps_nobody_from_ending() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    let ada = keyed("ada");
    let [longer, other, third] =
        ["a", "b", "c"].map(|task| world.admit(&ada, &dime(task)).unwrap().reservation);
    world.engine.flush();
    world.clock.advance(Duration::from_mins(11));
    let asked = ledger.leases_asked();
    let (told, ended) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let closed = ledger.close();
        let extending = scope.spawn(|| {
            let (more, time) = (usd("0.01"), Duration::from_mins(5));
            world.engine.extend_reservation(&ada, longer, more, time)
        });
        while ledger.leases_asked() == asked {
            thread::yield_now();
        }
        scope.spawn(|| {
            world.engine.release_reservation(&ada, other).unwrap();
            let view = world.engine.reservation(third).unwrap();
            told.send(view.held).unwrap();
        });
        let in_time = ended.recv_timeout(Duration::from_secs(30));
        drop(closed);
        assert_eq!(in_time, Ok(usd("0.10")));
        extending.join().unwrap().unwrap();
    });
    assert_eq!(world.engine.reservation(longer).unwrap().held, usd("0.11"));
    world.engine.flush();
    world.assert_sound();
}

/// A client that names no task begins one with each call: the store must not be waited for once for each.
#[test]
fn first_calls_of_many_tasks_ask_the_store_together() {
    const TASKS: usize = 8;
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    let ada = keyed("ada");
    // All of them together within what her day's budget leases.
    let small = |task: &str| AdmissionAsk {
        cost: usd("0.001"),
        ..dime(task)
    };
    world.admit(&ada, &small("first")).unwrap();
    let asked = ledger.leases_asked();
    thread::scope(|scope| {
        let closed = ledger.close();
        let (world, ada) = (&world, &ada);
        for task in 0..TASKS {
            scope.spawn(move || world.admit(ada, &small(&format!("task-{task}"))).unwrap());
        }
        while ledger.leases_asked() == asked || world.engine.leases_waiting() < TASKS - 1 {
            thread::yield_now();
        }
        drop(closed);
    });
    assert_eq!(ledger.leases_asked() - asked, 2);
    world.engine.flush();
    world.assert_sound();
}

#[test]
fn what_ended_while_the_store_was_waited_for_holds_no_more() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    let ada = keyed("ada");
    let id = world.admit(&ada, &dime("t")).unwrap().reservation;
    world.engine.flush();
    world.clock.advance(Duration::from_mins(11));
    let asked = ledger.leases_asked();
    thread::scope(|scope| {
        let closed = ledger.close();
        let extending = scope.spawn(|| {
            let time = Duration::from_mins(5);
            world.engine.extend_reservation(&ada, id, usd("0.01"), time)
        });
        while ledger.leases_asked() == asked {
            thread::yield_now();
        }
        world.engine.release_reservation(&ada, id).unwrap();
        drop(closed);
        let refused = extending.join().unwrap().unwrap_err();
        assert!(matches!(refused, AdmissionError::NotOpen(_)), "{refused}");
    });
    expect![[r#"
        0: reserve $0.10
        0: release $0.10
    "#]]
    .assert_eq(&world.rows());
}

#[test]
fn a_settlement_above_its_hold_is_booked_in_full_with_its_cause() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    let id = world.admit(&ada, &dime("t")).unwrap().reservation;
    let actual = Actual {
        cost: Some(usd("6")),
        tokens: Some(70),
        ..Actual::default()
    };
    world.engine.settle_reservation(&ada, id, actual).unwrap();
    expect![[r#"
        0: reserve $0.10
        0: settle $6.00 (settled above its hold)
    "#]]
    .assert_eq(&world.rows());
    assert_eq!(world.units("sonnet"), 930);
    let refused = world.admit(&ada, &dime("t")).unwrap_err();
    assert_eq!(&*refused.limit, "task");
}

#[test]
fn a_refusal_names_the_limit_the_wait_and_what_would_take_it() {
    let world = World::start(settings(|_| {}));
    let ada = keyed("ada");
    assert!(world.admit(&ada, &units(950)).is_ok());
    let refused = world.admit(&ada, &units(100)).unwrap_err();
    assert_eq!(&*refused.limit, "sonnet.units");
    assert_eq!(refused.alternative.as_deref(), Some("spare"));
    assert!(refused.wait.unwrap().at_least() > Duration::from_hours(24));
    let refused = world.admit(
        &ada,
        &AdmissionAsk {
            cost: usd("21"),
            ..AdmissionAsk::default()
        },
    );
    let refused = refused.unwrap_err();
    assert_eq!(&*refused.limit, "user_day");
    assert!(refused.shortage.unwrap().resets_at.is_some());
    expect!["budget `user_day` of $20.00 can't hold this call: $0.00 spent, $0.00 held by running calls, $21.00 needed at most · more than it ever holds · raise it with `tidegate budget set user_day <amount>`, or ask for less with a smaller cost_usd"].assert_eq(&refused.reasons.join("\n"));
}

#[test]
fn nobody_asks_for_another_user_or_an_unknown_platform() {
    let world = World::start(settings(|_| {}));
    let as_bob = AdmissionAsk {
        user: Some("bob".to_owned()),
        ..units(1)
    };
    let refused = world.engine.admit(&keyed("ada"), &as_bob).unwrap_err();
    assert!(matches!(refused, AdmissionError::OtherUser { .. }));
    let operator = Principal {
        role: Role::Operator,
        ..keyed("ada")
    };
    assert!(world.admit(&operator, &as_bob).is_ok());
    let on_mars = AdmissionAsk {
        platform: Some("mars".to_owned()),
        ..units(1)
    };
    let refused = world.engine.admit(&keyed("ada"), &on_mars).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "there is no platform `mars`; there are sonnet, spare"
    );
}

#[test]
fn a_priority_is_asked_for_within_the_keys_highest() {
    let world = World::start(settings(|_| {}));
    let ada = Principal {
        highest_priority: Priority::Low,
        ..keyed("ada")
    };
    assert!(world.admit(&ada, &units(1_000)).is_ok());
    // Only `critical` may overdraw, and this key may not be that.
    let ask = AdmissionAsk {
        priority: Some(Priority::Critical),
        ..units(50)
    };
    assert!(world.admit(&ada, &ask).is_err());
    assert!(world.admit(&keyed("bob"), &ask).is_ok());
}
