//! Calls that wait for their turn: none is lost, none has two, and nothing leaks.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use proptest::prelude::*;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    call::{Routed, Signals},
    flight::InFlight,
    gate::Turn,
    places::PlaceKey,
    reserve::Obstacle,
    settings::Settings,
    waiting::Waiting,
    writer::Stores,
};
use tidegate_observe::calls::Outcome;
use tidegate_store::{MemoryJournal, MemoryStore};

use crate::harness::{ENFORCED, ManualClock, World, answered, body, end, keyed, settings};

/// Opus calls weigh 10 units each: four in the bucket, one a second, three at once.
fn narrow() -> Settings {
    of_slots(3)
}

/// The same, with so many slots, and room for as many in the bucket.
fn of_slots(slots: u64) -> Settings {
    let mut it = settings(|_| {});
    let units = BucketSpec {
        name: "units".to_owned(),
        resource: Resource::Units,
        capacity: (slots + 1) * 10,
        refill: Some(Refill {
            amount: 10,
            period: Duration::from_secs(1),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement: ENFORCED,
    };
    let slots = BucketSpec {
        name: "slots".to_owned(),
        resource: Resource::Concurrency,
        capacity: slots,
        refill: None,
        ..units.clone()
    };
    let platform = Arc::make_mut(&mut it.platforms[0]);
    platform.pool = PoolSpec::try_new("sonnet", vec![units, slots]).unwrap();
    it
}

fn routed(world: &World, user: &str, priority: &str) -> Box<Routed> {
    let signals = Signals {
        priority: Some(priority),
        ..Signals::default()
    };
    world.route(world.identify(&keyed(user), &signals, &body(100)), "sonnet")
}

/// A request that its client repeats until it is answered.
struct Client {
    user: &'static str,
    priority: &'static str,
    key: PlaceKey,
    state: State,
}

enum State {
    Waits(Waiting),
    Away,
    Runs(Box<InFlight>),
    Done,
    Gone,
}

const USERS: [&str; 3] = ["ada", "bob", "cleo"];
const PRIORITIES: [&str; 4] = ["low", "medium", "high", "critical"];

#[derive(Clone, Debug)]
enum Act {
    Arrive { user: usize, priority: usize },
    HangUp(usize),
    SendAway(usize),
    ComeBack(usize),
    Settle(usize),
    Advance { ms: u64 },
    Reload,
    Tidy,
    Promote(usize),
    Cancel(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let which = 0_usize..40;
    prop_oneof![
        6 => (0_usize..3, 0_usize..4).prop_map(|(user, priority)| Act::Arrive { user, priority }),
        2 => which.clone().prop_map(Act::HangUp),
        3 => which.clone().prop_map(Act::SendAway),
        3 => which.clone().prop_map(Act::ComeBack),
        5 => which.clone().prop_map(Act::Settle),
        4 => (0_u64..3_000).prop_map(|ms| Act::Advance { ms }),
        1 => Just(Act::Reload),
        1 => Just(Act::Tidy),
        1 => which.clone().prop_map(Act::Promote),
        1 => which.prop_map(Act::Cancel),
    ]
}

struct Play {
    world: World,
    clients: Vec<Client>,
}

impl Play {
    fn new() -> Self {
        Self {
            world: World::start(narrow()),
            clients: Vec::new(),
        }
    }

    fn wait(&mut self, which: usize) {
        let client = &mut self.clients[which];
        let routed = routed(&self.world, client.user, client.priority);
        let waiting = self.world.engine.wait(routed, client.key);
        client.state = State::Waits(waiting.map_err(|(_, it)| it).unwrap());
    }

    fn act(&mut self, act: &Act) {
        match act {
            Act::Arrive { user, priority } => {
                let number = self.clients.len();
                let user = USERS[*user];
                self.clients.push(Client {
                    user,
                    priority: PRIORITIES[*priority],
                    key: PlaceKey::of("local", user, "s", &[&number.to_le_bytes()]),
                    state: State::Gone,
                });
                self.wait(number);
            }
            Act::Advance { ms } => {
                self.world.clock.advance(Duration::from_millis(*ms));
                self.world.engine.look_at_queues();
            }
            Act::Reload => self.reload(),
            Act::Tidy => self.world.engine.tidy(),
            Act::Promote(which) => {
                let waiting = self.world.engine.waiting(|_| true);
                if let Some(it) = waiting.get(*which % waiting.len().max(1)) {
                    let to = tidegate_types::Priority::ALL[which % 4];
                    let promoted = self.world.engine.promote_waiting(&operator(), it.id, to);
                    promoted.unwrap();
                }
            }
            Act::Cancel(which) => {
                let waiting = self.world.engine.waiting(|_| true);
                if let Some(it) = waiting.get(*which % waiting.len().max(1)) {
                    let cancelled = self.world.engine.cancel_waiting(&operator(), it.id);
                    cancelled.unwrap();
                }
            }
            Act::HangUp(which)
            | Act::SendAway(which)
            | Act::ComeBack(which)
            | Act::Settle(which) => {
                if !self.clients.is_empty() {
                    self.act_of(*which % self.clients.len(), act);
                }
            }
        }
        self.turns();
    }

    /// What a client does, where it is in a state to do it.
    fn act_of(&mut self, which: usize, act: &Act) {
        let state = &mut self.clients[which].state;
        let before = std::mem::replace(state, State::Gone);
        *state = match (before, act) {
            (State::Waits(_), Act::HangUp(_)) => State::Gone,
            (State::Waits(waiting), Act::SendAway(_)) => {
                match at_once(waiting.keep(Duration::from_secs(30))) {
                    Ok(_record) => State::Away,
                    Err(turn) => start(&self.world, turn),
                }
            }
            (State::Runs(call), Act::Settle(_)) => {
                call.settle(end(Some(answered(10, 5)), Outcome::Answered));
                State::Done
            }
            (State::Away, Act::ComeBack(_)) => return self.wait(which),
            (before, _) => before,
        };
    }

    /// Whoever has had its turn goes.
    fn turns(&mut self) {
        for client in &mut self.clients {
            if let State::Waits(waiting) = &mut client.state
                && let Some(turn) = waiting.turn_now()
            {
                client.state = start(&self.world, turn);
            }
        }
    }

    fn reload(&self) {
        let (engine, by) = (&self.world.engine, tidegate_observe::audit::Actor::Local);
        engine.reload(narrow(), (*engine.prices()).clone(), by, "nothing");
    }

    fn running(&self) -> usize {
        let all = self.clients.iter();
        all.filter(|it| matches!(it.state, State::Runs(_))).count()
    }

    /// Nothing else happens: everybody who waits has a turn, and everything comes back.
    fn end(mut self) {
        for which in 0..self.clients.len() {
            if matches!(self.clients[which].state, State::Away) {
                self.wait(which);
            }
        }
        for _round in 0..10 * self.clients.len() + 10 {
            self.turns();
            for which in 0..self.clients.len() {
                self.act(&Act::Settle(which));
            }
            self.act(&Act::Advance { ms: 60_000 });
        }
        for client in &self.clients {
            assert!(
                matches!(client.state, State::Done | State::Gone),
                "somebody waits for ever"
            );
        }
        // Places that nobody came back for end, and with them what was set aside.
        self.world.clock.advance(Duration::from_mins(10));
        self.world.engine.tidy();
        assert!(self.world.engine.waiting(|_| true).is_empty());
        assert!(!self.world.engine.keeps_places());
        let view = self.world.engine.pool_views().remove(0);
        for bucket in view.buckets {
            assert_eq!(bucket.held, 0, "{bucket:?}");
            assert_eq!(bucket.level, bucket.capacity.cast_signed(), "{bucket:?}");
        }
        self.world.engine.flush();
        self.world.assert_sound();
    }
}

fn operator() -> tidegate_engine::identity::Principal {
    tidegate_engine::identity::Principal {
        key: None,
        role: tidegate_types::Role::Operator,
        ..keyed("root")
    }
}

/// What never has to wait for anybody.
fn at_once<T>(future: impl Future<Output = T>) -> T {
    let mut context = Context::from_waker(Waker::noop());
    match std::pin::pin!(future).poll(&mut context) {
        Poll::Ready(it) => it,
        Poll::Pending => panic!("it waits"),
    }
}

fn start(world: &World, turn: Turn) -> State {
    match turn {
        Turn::Reserved(reserved) => {
            let sent = world.engine.send(*reserved, world.engine.now());
            State::Runs(Box::new(sent.map_err(|(_, refused)| refused).unwrap()))
        }
        Turn::Refused(_, Obstacle::Cancelled) => State::Gone,
        Turn::Refused(_, obstacle) => panic!("{obstacle:?}"),
    }
}

proptest! {
    /// As many days as `PROPTEST_CASES` says.
    #[test]
    fn no_turn_is_lost_and_none_comes_twice(acts in prop::collection::vec(act(), 1..80)) {
        let mut play = Play::new();
        for act in &acts {
            play.act(act);
            let running = play.running();
            prop_assert!(running <= 3);
            // Whoever could go has gone: looking again, with nothing changed, finds nobody.
            play.reload();
            play.turns();
            prop_assert_eq!(play.running(), running, "somebody was not told");
        }
        play.end();
    }
}

#[test]
fn a_place_survives_a_restart_with_its_age() {
    let store = Arc::new(MemoryStore::default());
    let clock = ManualClock::start();
    let run = || {
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store.clone(),
            journal: Arc::new(MemoryJournal::default()),
        };
        World::on(narrow(), stores, clock.clone())
    };
    let key = PlaceKey::of("local", "ada", "s", &[b"body"]);
    let world = run();
    let holders: Vec<InFlight> = (0..3).map(|_| world.send(&keyed("bob"), 100)).collect();
    let waiting = world.engine.wait(routed(&world, "ada", "high"), key);
    let waiting = waiting.map_err(|(_, it)| it).unwrap();
    clock.advance(Duration::from_secs(20));
    world.engine.tidy();
    for holder in holders {
        holder.settle(end(Some(answered(10, 5)), Outcome::Answered));
    }
    drop((waiting, world));
    let world = run();
    let holders: Vec<InFlight> = (0..3).map(|_| world.send(&keyed("bob"), 100)).collect();
    clock.advance(Duration::from_secs(5));
    let other = PlaceKey::of("local", "cleo", "s", &[b"body"]);
    let _other = world
        .engine
        .wait(routed(&world, "cleo", "high"), other)
        .map_err(|(_, it)| it)
        .unwrap();
    clock.advance(Duration::from_secs(5));
    let back = world
        .engine
        .wait(routed(&world, "ada", "high"), key)
        .map_err(|(_, it)| it)
        .unwrap();
    assert_eq!(back.waited(), Duration::from_secs(30));
    for holder in holders {
        holder.settle(end(Some(answered(10, 5)), Outcome::Answered));
    }
}

#[test]
fn what_was_learned_of_waits_outlasts_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let clock = ManualClock::start();
    let run = || {
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store.clone(),
            journal: Arc::new(MemoryJournal::default()),
        };
        World::on(narrow(), stores, clock.clone())
    };
    // Four calls empty the bucket; the next is told of a second, and waits for a minute.
    let foretold = |world: &World| {
        clock.advance(Duration::from_secs(10));
        for _ in 0..4 {
            let call = world.send(&keyed("bob"), 100);
            call.settle(end(Some(answered(10, 5)), Outcome::Answered));
        }
        let key = PlaceKey::of("local", "ada", "s", &[b"body"]);
        let waiting = world.engine.wait(routed(world, "ada", "high"), key);
        let mut waiting = waiting.map_err(|(_, it)| it).unwrap();
        let told = waiting.outlook().unwrap();
        clock.advance(Duration::from_mins(1));
        world.engine.look_at_queues();
        if let State::Runs(call) = start(world, waiting.turn_now().unwrap()) {
            call.settle(end(Some(answered(10, 5)), Outcome::Answered));
        }
        told.p90
    };
    let world = run();
    let before = foretold(&world);
    let learned = (0..20).fold(before, |_, _| foretold(&world));
    assert!(learned > before * 4, "{before:?} {learned:?}");
    world.engine.flush();
    drop(world);
    let again = foretold(&run());
    // It goes on learning, a step at a time.
    assert!(again > learned / 2, "{learned:?} {again:?}");
}

#[test]
fn what_a_call_gives_back_is_the_next_ones_turn_at_once() {
    let world = World::start(narrow());
    let mut holders: Vec<InFlight> = (0..3).map(|_| world.send(&keyed("bob"), 100)).collect();
    let key = PlaceKey::of("local", "ada", "s", &[b"body"]);
    let waiting = world.engine.wait(routed(&world, "ada", "high"), key);
    let mut waiting = waiting.map_err(|(_, it)| it).unwrap();
    assert!(waiting.turn_now().is_none());
    holders
        .pop()
        .unwrap()
        .settle(end(Some(answered(10, 5)), Outcome::Answered));
    let State::Runs(call) = start(&world, waiting.turn_now().unwrap()) else {
        panic!("it has its turn")
    };
    holders.push(*call);
    for holder in holders {
        holder.settle(end(Some(answered(10, 5)), Outcome::Answered));
    }
}

#[test]
fn a_turn_that_nobody_comes_back_for_is_given_back_when_the_engine_ends() {
    let world = World::start(of_slots(16));
    let holders: Vec<InFlight> = (0..16).map(|_| world.send(&keyed("bob"), 100)).collect();
    let key = PlaceKey::of("local", "ada", "s", &[b"body"]);
    let waiting = world.engine.wait(routed(&world, "ada", "high"), key);
    let waiting = waiting.map_err(|(_, it)| it).unwrap();
    assert!(at_once(waiting.keep(Duration::from_secs(30))).is_ok());
    for holder in holders {
        holder.settle(end(Some(answered(10, 5)), Outcome::Answered));
    }
    let last = world.engine.pool_views();
    assert_eq!(last[0].buckets[1].held, 1, "its turn is kept");
    drop(world);
    World::start(of_slots(16)).assert_sound();
}

/// A large part of what there is would lie idle until its client comes back, or does not.
#[test]
fn a_large_turn_is_not_kept_but_goes_first_when_its_client_is_back() {
    let world = World::start(narrow());
    let mut holders: Vec<InFlight> = (0..3).map(|_| world.send(&keyed("bob"), 100)).collect();
    let key = PlaceKey::of("local", "ada", "s", &[b"body"]);
    let waiting = world.engine.wait(routed(&world, "ada", "high"), key);
    let waiting = waiting.map_err(|(_, it)| it).unwrap();
    assert!(at_once(waiting.keep(Duration::from_secs(30))).is_ok());
    let settle = |it: InFlight| it.settle(end(Some(answered(10, 5)), Outcome::Answered));
    settle(holders.pop().unwrap());
    let held = || world.engine.pool_views()[0].buckets[1].held;
    assert_eq!(held(), 2, "others can have it");
    let waiting = world.engine.wait(routed(&world, "ada", "high"), key);
    let mut waiting = waiting.map_err(|(_, it)| it).unwrap();
    let State::Runs(call) = start(&world, waiting.turn_now().unwrap()) else {
        panic!("it has its turn")
    };
    holders.push(*call);
    for holder in holders {
        settle(holder);
    }
}
