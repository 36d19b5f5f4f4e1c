//! Calls that don't fit now: held, in their turn, and sent away with their place kept.

use expect_test::expect;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Resource};
use tidegate_engine::queues::WaitingView;
use tidegate_observe::calls::Outcome;
use tidegate_types::{Enforcement, Mode, Priority};

use crate::harness::{
    Ask, Client, World,
    world::{Setup, admin},
};

/// One call at a time on the home platform of Anthropic's dialect.
fn one_slot(it: &mut Setup) {
    let slots = BucketSpec {
        name: "slots".to_owned(),
        resource: Resource::Concurrency,
        capacity: 1,
        refill: None,
        threshold: 0,
        owner: Owner::Ours,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    it.platform("sonnet", |it| {
        it.pool = PoolSpec::try_new("sonnet", vec![slots]).unwrap();
    });
}

/// Takes the slot, until it is dropped.
fn holder(world: &World) -> Client {
    let mut holder = world.connect();
    holder.send(&Ask::messages("sim:sleep-ms 600000", true).bytes());
    world.until_reserved();
    holder
}

fn waiting(world: &World) -> Vec<WaitingView> {
    world.engine.waiting(|_| true)
}

/// Sends a call, and waits until so many wait.
fn wait(world: &World, ask: &Ask, until: usize) -> Client {
    let mut client = world.connect();
    client.send(&ask.bytes());
    world.until(|| waiting(world).len() == until);
    client
}

/// A client that gives up soon.
fn impatient(prompt: &str) -> Ask {
    Ask::messages(prompt, false).with("x-stainless-read-timeout", "0.1")
}

#[test]
fn a_call_waits_for_its_turn_and_is_answered_as_if_nothing_had_been() {
    for stream in [true, false] {
        let world = World::start(one_slot);
        let holder = holder(&world);
        let mut client = wait(&world, &Ask::messages("hello", stream), 1);
        drop(holder);
        let heard = client.answer().unwrap();
        assert_eq!(heard.status, 200);
        let records = world.settled(2);
        let waited = records.iter().find(|it| it.phases.wait > 0).unwrap();
        assert!(matches!(waited.outcome, Outcome::Answered), "{waited:#?}");
        assert!(waiting(&world).is_empty());
        world.assert_sound();
    }
}

#[test]
fn who_matters_more_goes_first_and_who_waits_is_shown() {
    let world = World::start(one_slot);
    let holder = holder(&world);
    let low = Ask::messages("hello", false).with("x-tidegate-priority", "low");
    let high = Ask::messages("sim:sleep-ms 600000", false).with("x-tidegate-priority", "high");
    let mut low = wait(&world, &low, 1);
    let high = wait(&world, &high, 2);
    let shown: Vec<_> = waiting(&world)
        .into_iter()
        .map(|it| format!("{} {} of {}: {}", it.priority, it.place, it.of, it.reason))
        .collect();
    expect![[r#"
        low 1 of 1: `sonnet.slots` is taken: as many calls are in flight as may be · try again when one of them has ended
        high 1 of 1: `sonnet.slots` is taken: as many calls are in flight as may be · try again when one of them has ended"#]]
    .assert_eq(&shown.join("\n"));
    drop(holder);
    world.until(|| waiting(&world).len() == 1);
    assert_eq!(waiting(&world)[0].priority, Priority::Low);
    drop(high);
    assert_eq!(low.answer().unwrap().status, 200);
    world.settled(3);
    world.assert_sound();
}

#[test]
fn a_call_that_may_not_wait_as_long_as_it_would_is_told_so_at_once() {
    let world = World::start(one_slot);
    let holder = holder(&world);
    for patience in ["0", "0.2"] {
        let heard = world.ask(&Ask::messages("hello", true).with("x-tidegate-max-wait", patience));
        assert_eq!(heard.status, 429);
        assert!(heard.header("retry-after").is_some());
        assert!(
            heard.text().contains("its place in the queue"),
            "{}",
            heard.text()
        );
    }
    let kept = waiting(&world);
    assert!(kept.len() == 1 && kept[0].away, "{kept:#?}");
    drop(holder);
    world.settled(3);
}

#[test]
fn the_largest_of_the_lowest_class_is_sent_away_where_bodies_need_its_memory() {
    let world = World::start(|it| {
        one_slot(it);
        it.bounds.all_bytes_max = 1 << 20;
    });
    let holder = holder(&world);
    let of = |kib: usize, priority| {
        Ask::messages(&"x".repeat(kib << 10), true).with("x-tidegate-priority", priority)
    };
    let mut low = wait(&world, &of(400, "low"), 1);
    let _small = wait(&world, &of(4, "low"), 2);
    let mut high = wait(&world, &of(500, "high"), 3);
    let _newcomer = wait(&world, &of(300, "low"), 4);
    let heard = low.answer().unwrap();
    assert_eq!(heard.status, 429);
    assert!(
        heard.text().contains("its place in the queue"),
        "{}",
        heard.text()
    );
    let away: Vec<_> = waiting(&world)
        .iter()
        .map(|it| (it.priority, it.away))
        .collect();
    let low = (Priority::Low, false);
    assert_eq!(
        away,
        [(Priority::Low, true), low, (Priority::High, false), low]
    );
    drop(holder);
    assert_eq!(high.answer().unwrap().status, 200);
}

#[test]
fn a_client_that_hangs_up_while_it_waits_leaves_the_queue_and_pays_nothing() {
    let world = World::start(one_slot);
    let holder = holder(&world);
    let client = wait(&world, &Ask::messages("hello", true), 1);
    drop(client);
    world.until(|| waiting(&world).is_empty());
    drop(holder);
    let records = world.settled(2);
    let gone = records.iter().find(|it| it.reservation.is_none()).unwrap();
    assert!(matches!(gone.outcome, Outcome::ClientGone), "{gone:#?}");
    assert_eq!(gone.cost.0, 0);
    assert_eq!(world.gateway.body_bytes(), 0);
    world.assert_sound();
}

#[test]
fn a_client_that_was_sent_away_finds_its_turn_kept() {
    let world = World::start(one_slot);
    let holder = holder(&world);
    let sent_away = world.ask(&impatient("mine"));
    assert_eq!(sent_away.status, 429);
    assert!(sent_away.header("retry-after").is_some());
    assert!(sent_away.text().contains("is kept for the same request"));
    assert!(waiting(&world)[0].away);
    // Its turn comes while it is away: what it needs is set aside, and nobody else gets that.
    drop(holder);
    world.until(|| waiting(&world).is_empty());
    assert_eq!(world.ask(&impatient("another's")).status, 429);
    let back = world.ask(&impatient("mine"));
    assert_eq!(back.status, 200, "{}", back.text());
    // And then the other's turn has come.
    assert_eq!(world.ask(&impatient("another's")).status, 200);
    world.settled(5);
    world.assert_sound();
}

#[test]
fn a_client_that_comes_back_before_its_turn_has_the_place_it_had() {
    let world = World::start(one_slot);
    let holder = holder(&world);
    assert_eq!(world.ask(&impatient("first")).status, 429);
    let mut second = wait(&world, &Ask::messages("second", false), 2);
    let first = Ask::messages("first", false).with("x-stainless-read-timeout", "600");
    let mut first = {
        let mut client = world.connect();
        client.send(&first.bytes());
        client
    };
    world.until(|| waiting(&world).iter().all(|it| !it.away));
    let places: Vec<usize> = waiting(&world).iter().map(|it| it.place).collect();
    assert_eq!(places, [1, 2]);
    drop(holder);
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(second.answer().unwrap().status, 200);
    world.settled(4);
    world.assert_sound();
}

#[test]
fn another_platform_that_has_room_is_taken_before_anybody_waits() {
    let world = World::start(|it| {
        one_slot(it);
        it.fall_back();
    });
    let _holder = holder(&world);
    let heard = world.ask(&Ask::messages("hello", false));
    assert_eq!(heard.status, 200);
    assert_eq!(heard.header("x-tidegate-platform"), Some("spare"));
}

#[test]
fn a_wait_that_is_ended_by_hand_is_refused_for_good() {
    let world = World::start(one_slot);
    let _holder = holder(&world);
    let mut client = wait(&world, &Ask::messages("hello", true), 1);
    let call = waiting(&world)[0].id;
    world.engine.cancel_waiting(&admin(), call).unwrap();
    let heard = client.answer().unwrap();
    assert_eq!(heard.status, 429);
    assert_eq!(heard.header("x-should-retry"), Some("false"));
    assert_eq!(heard.json()["error"]["type"], "billing_error");
    assert!(world.engine.cancel_waiting(&admin(), call).is_err());
}
