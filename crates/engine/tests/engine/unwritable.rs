//! A ledger that can't be written: enforced limits refuse, watched ones pass and are counted.

use std::sync::Arc;

use tidegate_engine::{
    admissions::{Actual, AdmissionAsk, AdmissionError},
    flight::{InFlight, Unbookable},
};
use tidegate_observe::calls::Outcome;
use tidegate_store::MemoryJournal;

use crate::{
    gated::Gated,
    harness::{ManualClock, World, answered, end, keyed, keyless, settings, usd},
};

/// What a full disk says.
const FULL: Option<&str> = Some("no space left");

fn world() -> (World, Arc<MemoryJournal>) {
    let journal = Arc::new(MemoryJournal::default());
    (
        World::with_journal(settings(|_| {}), journal.clone()),
        journal,
    )
}

#[test]
fn a_call_that_limits_bind_is_not_sent_and_holds_nothing() {
    let (world, journal) = world();
    journal.refuse(FULL);
    for _ in 0..2 {
        let reserved = world.reserve(&keyed("ada"), 1_000).unwrap();
        let refused = world.engine.send(reserved, world.engine.now());
        let (routed, refused) = refused.unwrap_err();
        assert!(refused.to_string().contains("ledger"), "{refused}");
        assert_eq!(routed.call.record.reservation, None);
    }
    assert_eq!(world.units("sonnet"), 1_000);
    let held: u64 = world.engine.levels(None).iter().map(|it| it.held.0).sum();
    assert_eq!(held, 0);
    assert!(!world.engine.health().is_writable());
    let why = world.engine.health().why().unwrap();
    assert!(why.contains("storage") || why.contains("space"), "{why}");
    assert_eq!(world.rows(), "");
}

/// What was said to be settled would be open again after a crash.
#[test]
fn a_reservation_is_not_ended_that_nobody_could_remember() {
    let (world, journal) = world();
    let ada = keyed("ada");
    let ask = AdmissionAsk {
        cost: usd("0.10"),
        ..AdmissionAsk::default()
    };
    let admit = || world.engine.admit(&ada, &ask).unwrap().unwrap().reservation;
    let (settled, released) = (admit(), admit());
    journal.refuse(FULL);
    let reserved = world.reserve(&ada, 1_000).unwrap();
    drop(world.engine.send(reserved, world.engine.now()));
    let settle = || {
        world
            .engine
            .settle_reservation(&ada, settled, Actual::default())
    };
    let release = || world.engine.release_reservation(&ada, released);
    let unwritable = |it: &AdmissionError| matches!(it, AdmissionError::Unwritable(_));
    assert!(settle().is_err_and(|it| unwritable(&it)));
    assert!(release().is_err_and(|it| unwritable(&it)));
    assert_eq!(world.engine.reservations(|_| true).len(), 2);
    journal.refuse(None);
    world.engine.flush();
    assert_eq!(settle().unwrap(), usd("0.10"));
    release().unwrap();
    assert_eq!(world.engine.reservations(|_| true).len(), 0);
}

#[test]
fn a_call_that_is_only_watched_passes_and_is_counted() {
    let (world, journal) = world();
    journal.refuse(FULL);
    let call = world.send(&keyless(), 1_000);
    let record = call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(record.cost, usd("0.000188"));
    // Its end has no beginning to follow, so it is not booked either.
    assert_eq!(world.rows(), "");
    let text = world.engine.registry().expose();
    let unbooked = text
        .lines()
        .find(|it| it.contains("unbooked") && !it.starts_with('#'));
    assert!(unbooked.is_some_and(|it| it.ends_with(" 1")), "{text}");
}

/// Whoever lets others go first learns of its own beginning, though another wrote it or failed to.
#[test]
fn a_call_that_gives_way_before_it_goes_is_booked_or_holds_nothing() {
    let (world, journal) = world();
    let settle = |it: InFlight| it.settle(end(Some(answered(12, 7)), Outcome::Answered));
    // The first call of a task waits for a lease, and so for the store.
    settle(world.send(&keyed("ada"), 10));
    let begin = || {
        let reserved = world.reserve(&keyed("ada"), 10).unwrap();
        let sending = world.engine.send_at_once(reserved, world.engine.now());
        sending.unwrap_or_else(|_| panic!("the lease covers it"))
    };
    let (one, two) = (begin(), begin());
    let first = two.sent().map_err(|it| it.1).unwrap();
    journal.refuse(FULL);
    let late = begin();
    let second = one.sent().map_err(|it| it.1).unwrap();
    let (routed, refused) = late.sent().unwrap_err();
    assert!(matches!(refused, Unbookable::Unwritable), "{refused}");
    assert_eq!(routed.call.record.reservation, None);
    journal.refuse(None);
    let (_, to_journal) = first.settle_queued(end(Some(answered(12, 7)), Outcome::Answered));
    assert!(!to_journal.is_written());
    settle(second);
    assert!(to_journal.is_written());
    drop(to_journal);
    assert_eq!(world.rows().lines().count(), 6);
    let held: u64 = world.engine.levels(None).iter().map(|it| it.held.0).sum();
    assert_eq!(held, 0);
}

#[test]
fn nobody_is_admitted_while_it_could_not_be_remembered() {
    let (world, journal) = world();
    journal.refuse(FULL);
    let ask = AdmissionAsk {
        tokens: 100,
        cost: usd("0.10"),
        ..AdmissionAsk::default()
    };
    let refused = world.engine.admit(&keyed("ada"), &ask).unwrap_err();
    assert!(
        matches!(refused, AdmissionError::Unwritable(_)),
        "{refused}"
    );
    assert_eq!(world.units("sonnet"), 1_000);
    assert_eq!(world.engine.status().open_reservations, 0);
}

#[test]
fn a_call_on_its_way_is_settled_though_the_journal_has_filled_up() {
    let (world, journal) = world();
    let call = world.send(&keyed("ada"), 1_000);
    journal.refuse(FULL);
    call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    let rows = world.rows();
    assert!(rows.ends_with("settle $0.000188\n"), "{rows}");
}

#[test]
fn what_was_refused_passes_once_there_is_room() {
    let (world, journal) = world();
    journal.refuse(FULL);
    let reserved = world.reserve(&keyed("ada"), 1_000).unwrap();
    let (routed, _) = world.engine.send(reserved, world.engine.now()).unwrap_err();
    journal.refuse(None);
    // Its record goes to the store, which shows that something can be written.
    world.engine.finish(routed.call.record);
    world.engine.flush();
    assert!(world.engine.health().is_writable());
    let call = world.send(&keyed("ada"), 1_000);
    call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(world.rows().lines().count(), 2);
}

/// Its store works all the while, and what is not booked but recorded goes there.
#[test]
fn a_journal_that_fails_is_unwritable_until_an_append_succeeds() {
    let (world, journal) = world();
    journal.refuse(FULL);
    for _ in 0..3 {
        let reserved = world.reserve(&keyed("ada"), 1_000).unwrap();
        let (routed, _) = world.engine.send(reserved, world.engine.now()).unwrap_err();
        world.engine.finish(routed.call.record);
        world.engine.flush();
        assert!(!world.engine.health().is_writable());
        assert!(world.engine.health().why().is_some());
    }
    journal.refuse(None);
    world.engine.flush();
    assert!(world.engine.health().is_writable());
    let call = world.send(&keyed("ada"), 1_000);
    call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    assert_eq!(world.rows().lines().count(), 2);
}

/// The refusal goes to whoever called; where the ledger is kept is the operator's matter.
#[test]
fn a_client_is_not_told_which_file_failed_and_the_operator_is() {
    let ledger = Arc::new(Gated::default());
    let world = World::on(settings(|_| {}), ledger.stores(), ManualClock::start());
    ledger.refuse_leases();
    let reserved = world.reserve(&keyed("ada"), 1_000).unwrap();
    let (_, refused) = world.engine.send(reserved, world.engine.now()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the ledger can't be read or written: see `tidegate status`"
    );
    let why = world.engine.health().why().unwrap();
    assert!(why.contains("/var/lib/tidegate/state.db"), "{why}");
    assert_eq!(world.units("sonnet"), 1_000);
}

#[test]
fn a_ledger_that_fails_is_told_once_and_so_is_its_return() {
    let (world, journal) = world();
    journal.refuse(FULL);
    for _ in 0..3 {
        let call = world.send(&keyless(), 10);
        call.settle(end(Some(answered(10, 5)), Outcome::Answered));
        world.engine.tidy();
    }
    journal.refuse(None);
    world.engine.flush();
    world.engine.tidy();
    let told = world.told();
    let told: Vec<&str> = told
        .lines()
        .filter(|it| it.starts_with("ledger_"))
        .collect();
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("ledger_unwritable reason="), "{told:?}");
    assert_eq!(told[1], "ledger_writable unbooked_calls=3");
    assert!(world.engine.registry().failed_commits.with([]).value() > 0);
}
