//! Those who ask before they act, and wait for leave.

use std::{sync::Arc, time::Duration};

use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk, AdmissionView, Admitted, Answer, Outcome, Patience},
    identity::Principal,
    settings::Settings,
    writer::Stores,
};
use tidegate_observe::notice::Topic;
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{AdmissionId, Role};

use crate::alerts::Heard;
use crate::harness::{ENFORCED, ManualClock, World, hard, keyed, settings, usd};

/// One platform that has 100 units, one more each second.
fn slow() -> Settings {
    let mut it = settings(|_| {});
    let units = BucketSpec {
        name: "units".to_owned(),
        resource: Resource::Units,
        capacity: 100,
        refill: Some(Refill {
            amount: 1,
            period: Duration::from_secs(1),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement: ENFORCED,
    };
    let platform = Arc::make_mut(&mut it.platforms[0]);
    platform.pool = PoolSpec::try_new("sonnet", vec![units]).unwrap();
    it
}

fn units(tokens: u64) -> AdmissionAsk {
    AdmissionAsk {
        tokens,
        ..AdmissionAsk::default()
    }
}

/// How long a machine that is busy may take to book a turn.
const PATIENCE: Duration = Duration::from_secs(30);

const PATIENT: Patience = Patience {
    wait: Duration::from_hours(1),
    hold: Duration::from_mins(1),
};

impl World {
    fn wait_for(&self, user: &str, ask: &AdmissionAsk) -> AdmissionId {
        match self
            .engine
            .admit_or_wait(&keyed(user), ask, PATIENT)
            .unwrap()
        {
            Answer::Waits(id) => id,
            other => panic!("{other:?}"),
        }
    }

    fn seen(&self, user: &str, id: AdmissionId) -> AdmissionView {
        self.engine.admission(&keyed(user), id).unwrap()
    }

    fn advance(&self, time: Duration) {
        self.clock.advance(time);
        self.engine.look_at_queues();
    }

    /// Waits until the thread that books turns has told what became of it.
    fn decided(&self, user: &str, id: AdmissionId) -> Outcome {
        let mut followed = self.engine.follow_admission(&keyed(user), id).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        let decided = async {
            let decided = followed.wait_for(|it| !matches!(it, Outcome::Waiting));
            let decided = tokio::time::timeout(PATIENCE, decided).await;
            decided.unwrap().unwrap().clone()
        };
        runtime.unwrap().block_on(decided)
    }

    fn approved(&self, user: &str, id: AdmissionId) -> Arc<Admitted> {
        match self.decided(user, id) {
            Outcome::Approved(admitted, _) => admitted,
            other => panic!("{other:?}"),
        }
    }

    fn settle(&self, user: &str, admitted: &Admitted) {
        let settled =
            self.engine
                .settle_reservation(&keyed(user), admitted.reservation, Actual::default());
        settled.unwrap();
    }
}

fn waits(world: &World, principal: &Principal, ask: &AdmissionAsk) -> Answer {
    world.engine.admit_or_wait(principal, ask, PATIENT).unwrap()
}

#[test]
fn who_can_go_now_does_not_wait() {
    let world = World::start(slow());
    let Answer::Admitted(admitted) = waits(&world, &keyed("ada"), &units(100)) else {
        panic!("there is room")
    };
    world.settle("ada", &admitted);
    world.assert_sound();
}

#[test]
fn leave_comes_in_turn_and_is_told() {
    let world = World::start(slow());
    let Answer::Admitted(first) = waits(&world, &keyed("ada"), &units(100)) else {
        panic!("there is room")
    };
    let second = world.wait_for("ada", &units(30));
    let third = world.wait_for("ada", &units(10));
    let places = [second, third].map(|it| world.seen("ada", it).outlook.unwrap());
    assert_eq!(places.map(|it| (it.place, it.of)), [(1, 2), (2, 2)]);
    assert!(places[0].p50 >= Duration::from_secs(29));
    let reason = world.seen("ada", third).reason;
    assert!(reason.contains("sonnet.units"), "{reason}");
    // By its own measure the shorter has waited for longer.
    world.advance(Duration::from_secs(10));
    let third = world.approved("ada", third);
    assert!(matches!(
        world.seen("ada", second).outcome,
        Outcome::Waiting
    ));
    world.advance(Duration::from_secs(30));
    let second = world.approved("ada", second);
    for it in [&first, &second, &third] {
        world.settle("ada", it);
    }
    world.assert_sound();
}

#[test]
fn a_wait_that_would_be_too_long_is_refused_at_once_with_the_estimate() {
    let world = World::start(slow());
    let _first = waits(&world, &keyed("ada"), &units(100));
    let hasty = Patience {
        wait: Duration::from_secs(20),
        ..PATIENT
    };
    let ask = units(30);
    let answer = world.engine.admit_or_wait(&keyed("ada"), &ask, hasty);
    let Answer::NotAdmitted(not) = answer.unwrap() else {
        panic!("it can't be met")
    };
    let last = not.reasons.last().unwrap();
    assert!(
        last.contains("it would probably wait 30 s, and may wait 20 s"),
        "{last}"
    );
    assert!(world.engine.waiting(|_| true).is_empty());
}

#[test]
fn what_no_wait_meets_is_refused_and_not_kept() {
    let world = World::start(settings(|it| it.task = hard("1")));
    let ask = AdmissionAsk {
        task: Some("t".to_owned()),
        cost: usd("2"),
        ..AdmissionAsk::default()
    };
    assert!(matches!(
        waits(&world, &keyed("ada"), &ask),
        Answer::NotAdmitted(_)
    ));
}

#[test]
fn leave_that_nobody_fetches_is_given_back() {
    let world = World::start(slow());
    let _first = waits(&world, &keyed("ada"), &units(100));
    let id = world.wait_for("ada", &units(30));
    world.advance(Duration::from_secs(30));
    let _approved = world.approved("ada", id);
    world.advance(Duration::from_secs(61));
    world.engine.tidy();
    assert!(matches!(world.seen("ada", id).outcome, Outcome::Lapsed));
    assert_eq!(world.engine.reservations(|_| true).len(), 1);
    world.assert_sound();
}

#[test]
fn leave_that_was_fetched_is_its_holders() {
    let world = World::start(slow());
    let _first = waits(&world, &keyed("ada"), &units(100));
    let id = world.wait_for("ada", &units(30));
    world.advance(Duration::from_secs(30));
    let admitted = world.approved("ada", id);
    world.engine.fetched_admission(id);
    world.advance(Duration::from_secs(61));
    world.engine.tidy();
    world.settle("ada", &admitted);
    world.assert_sound();
}

#[test]
fn a_wait_is_ended_by_whoever_asked() {
    let world = World::start(slow());
    let _first = waits(&world, &keyed("ada"), &units(100));
    let id = world.wait_for("bob", &units(5));
    let end = |user| world.engine.cancel_admission(&keyed(user), id);
    assert_eq!(
        (end("ada"), end("bob"), end("bob")),
        (None, Some(true), Some(false))
    );
    assert!(matches!(world.seen("bob", id).outcome, Outcome::Cancelled));
    assert!(world.engine.waiting(|_| true).is_empty());
}

fn beyond_the_soft_limit() -> AdmissionAsk {
    AdmissionAsk {
        task: Some("t".to_owned()),
        cost: usd("1.50"),
        ..AdmissionAsk::default()
    }
}

#[test]
fn a_wait_ends_when_it_has_lasted_as_long_as_it_may() {
    let world = World::start(settings(|it| it.task.enforcement = ENFORCED));
    let id = world.wait_for("ada", &beyond_the_soft_limit());
    world.clock.advance(Duration::from_mins(59));
    world.engine.tidy();
    assert!(matches!(world.seen("ada", id).outcome, Outcome::Waiting));
    world.clock.advance(Duration::from_mins(1));
    world.engine.tidy();
    let Outcome::Refused(not) = world.seen("ada", id).outcome else {
        panic!("an hour has passed")
    };
    assert_eq!(not.reasons, ["it has waited 1 h 0 min, as long as it may"]);
}

#[test]
fn somebodys_yes_lets_a_request_go_on_that_would_pass_a_soft_limit() {
    let world = World::start(settings(|it| it.task.enforcement = ENFORCED));
    let id = world.wait_for("ada", &beyond_the_soft_limit());
    assert!(
        world.seen("ada", id).reason.contains("soft limit"),
        "{}",
        world.seen("ada", id).reason
    );
    let [open] = &world.engine.approvals(|_| true)[..] else {
        panic!("one request is open")
    };
    let boss = Principal {
        role: Role::Approver,
        ..keyed("boss")
    };
    world
        .engine
        .approve(&boss, open.id, Some(usd("2")))
        .unwrap();
    world.engine.tidy();
    let admitted = world.approved("ada", id);
    world.settle("ada", &admitted);
    world.assert_sound();
}

#[test]
fn those_who_wait_survive_a_restart_with_their_places() {
    let store = Arc::new(MemoryStore::default());
    let clock = ManualClock::start();
    let run = || {
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store.clone(),
            journal: Arc::new(MemoryJournal::default()),
        };
        World::on(slow(), stores, clock.clone())
    };
    let world = run();
    let _first = waits(&world, &keyed("ada"), &units(100));
    let early = world.wait_for("ada", &units(60));
    clock.advance(Duration::from_secs(5));
    let later = world.wait_for("ada", &units(60));
    let third = world.wait_for("bob", &units(3));
    clock.advance(Duration::from_secs(5));
    drop(world);
    let world = run();
    let waited = world.engine.waiting(|it| it.user == "ada");
    assert_eq!(waited[0].waited, Duration::from_secs(10));
    assert_eq!(waited[1].waited, Duration::from_secs(5));
    let place = |it| world.seen("ada", it).outlook.unwrap().place;
    assert!(place(early) < place(later));
    world.advance(Duration::from_secs(65));
    world.advance(Duration::from_secs(65));
    let (early, later) = (world.approved("ada", early), world.approved("ada", later));
    world.settle("ada", &early);
    world.settle("ada", &later);
    // Leave that nobody had fetched is given again.
    let third = world.approved("bob", third);
    world.settle("bob", &third);
    world.assert_sound();
}

#[test]
fn the_channel_that_a_request_names_is_told_what_became_of_it() {
    let heard = Arc::new(Heard::default());
    let store = Arc::new(MemoryStore::default());
    let stores = Stores {
        ledger: store.clone(),
        calls: store.clone(),
        settings: store,
        journal: Arc::new(MemoryJournal::default()),
    };
    let world = World::telling(slow(), stores, ManualClock::start(), heard.clone());
    let _first = waits(&world, &keyed("ada"), &units(100));
    let named = AdmissionAsk {
        notify: Some("ci".to_owned()),
        ..units(30)
    };
    let id = world.wait_for("ada", &named);
    let _silent = world.wait_for("ada", &units(5));
    world.advance(Duration::from_secs(50));
    let admitted = world.approved("ada", id);
    let reservation = admitted.reservation;
    let told = heard.texts(Topic::AdmissionDecided);
    let [told] = &told[..] else {
        panic!("it is told once: {told:?}")
    };
    assert!(
        told.starts_with(&format!(
            "the request {id} of ada for leave is approved: {reservation} is kept until "
        )),
        "{told}"
    );
}
