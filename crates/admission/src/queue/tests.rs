use std::{collections::BTreeMap, fmt::Write as _};

use expect_test::{Expect, expect};
use tidegate_types::{Caller, Enforcement, Mode};

use super::*;
use crate::{BucketSpec, Check, Owner, PoolSpec, Refill, Resource, Taken};

mod fairness;

const SECOND: u64 = 1_000_000_000;

fn units(capacity: u64, per_second: u64, threshold: u64) -> BucketSpec {
    BucketSpec {
        name: "units".into(),
        resource: Resource::Units,
        capacity,
        refill: Some(Refill {
            amount: per_second,
            period: Duration::from_secs(1),
        }),
        threshold,
        owner: Owner::Provider,
        enforcement: Enforcement::Named(Mode::Enforce),
    }
}

fn need(units: u64) -> Need {
    Need {
        units,
        requests: 1,
        ..Need::default()
    }
}

/// A pool with its queue, and a clock that goes from one event to the next.
struct World {
    pool: Pool,
    queue: Queue,
    now: Monotonic,
    names: BTreeMap<Ticket, String>,
    /// Who started, in order: name, when, and how long it had waited.
    started: Vec<(String, u64, u64)>,
    running: Vec<(Taken, Need)>,
    /// Kept while they run, where calls are not settled at once.
    holds: bool,
}

impl World {
    fn new(buckets: Vec<BucketSpec>) -> Self {
        let spec = PoolSpec::try_new("test", buckets).unwrap();
        Self {
            pool: Pool::new(spec, Monotonic(0)),
            queue: Queue::default(),
            now: Monotonic(0),
            names: BTreeMap::new(),
            started: Vec::new(),
            running: Vec::new(),
            holds: false,
        }
    }

    /// Takes everything that is there.
    fn drained(mut self) -> Self {
        let level = self.pool.snapshot(self.now).buckets[0].level;
        self.pool
            .debit(&need(u64::try_from(level).unwrap()), self.now);
        self
    }

    fn ask(&mut self, class: Priority, user: &str, size: u64) -> Ask {
        Ask {
            need: need(size),
            priority: class,
            user: self.pool.user("acme", user, self.now),
            caller: Caller::Asking,
            queues: true,
        }
    }

    fn enter(&mut self, name: &str, class: Priority, user: &str, size: u64) -> Ticket {
        let ask = self.ask(class, user, size);
        self.enter_warm(name, ask, None)
    }

    fn enter_warm(&mut self, name: &str, ask: Ask, warm_until: Option<Monotonic>) -> Ticket {
        let waiting = Waiting {
            ask,
            since: self.now,
            // Without its prompt cache a call takes four times as much.
            warm: warm_until.map(|until| Warm {
                until,
                cold: need(ask.need.units * 4),
            }),
        };
        let ticket = self.queue.enter(waiting, &self.pool, self.now).unwrap();
        self.names.insert(ticket, name.to_owned());
        ticket
    }

    /// Starts all that fit now. Answers when to look again.
    fn start(&mut self) -> Option<Monotonic> {
        loop {
            match self.queue.next(&mut self.pool, self.now) {
                Next::Fits(ticket, cleared) => {
                    let waiting = *self.queue.get(ticket).unwrap();
                    let taken = self.pool.commit(cleared, self.now);
                    self.queue.started(ticket, self.now);
                    let need = waiting.ask.need;
                    if self.holds {
                        self.running.push((taken, need));
                    } else {
                        self.pool.settle(taken, &need, self.now);
                    }
                    let waited = nanos(self.now.since(waiting.since));
                    let name = self.names[&ticket].clone();
                    self.started.push((name, self.now.0, waited));
                }
                Next::Never(ticket, _) => {
                    self.queue.leave(ticket);
                }
                Next::Nobody { at } => {
                    assert!(
                        at.is_none_or(|at| at > self.now),
                        "it would be asked for ever"
                    );
                    return at;
                }
            }
        }
    }

    /// Lets time pass until then.
    fn run(&mut self, until: u64) {
        let until = Monotonic(until);
        loop {
            let at = self.start();
            match at.filter(|at| *at <= until) {
                Some(at) => self.now = at,
                None => break,
            }
        }
        self.now = until;
        let _at = self.start();
    }
}

/// Runs a script and compares what started when. Lines:
///
/// - `<second> <name> <class> <user> <size> [warm <seconds>]`: a call comes
/// - `<second> cancel <name>`, `<second> aside <name> [until <second>]`, `<second> promote <name> <class>`
/// - `<second> spend <units>`
#[track_caller]
fn check(mut world: World, script: &str, expected: Expect) {
    let mut tickets: BTreeMap<String, Ticket> = BTreeMap::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let seconds = |at: usize| words[at].parse::<u64>().unwrap() * SECOND;
        world.run(seconds(0));
        match words[1] {
            "cancel" => {
                let _gone = world.queue.leave(tickets[words[2]]);
            }
            "aside" => {
                let until = words.get(4).map(|_| Monotonic(seconds(4)));
                world.queue.set_aside(tickets[words[2]], until);
            }
            "promote" => {
                let class = words[3].parse().unwrap();
                assert!(world.queue.promote(tickets[words[2]], class, &world.pool));
            }
            "spend" => world
                .pool
                .debit(&need(words[2].parse().unwrap()), world.now),
            name => {
                let warm = words
                    .get(6)
                    .map(|_| world.now.after(Duration::from_nanos(seconds(6))));
                let (class, size) = (words[2].parse().unwrap(), words[4].parse().unwrap());
                let ask = world.ask(class, words[3], size);
                let ticket = world.enter_warm(name, ask, warm);
                tickets.insert(name.to_owned(), ticket);
            }
        }
    }
    world.run(100_000 * SECOND);
    let mut shown = String::new();
    for (name, at, waited) in &world.started {
        let (at, waited) = (seconds(*at), seconds(*waited));
        writeln!(shown, "{at} {name}, waited {waited}").unwrap();
    }
    for (ticket, _) in world.queue.tickets() {
        writeln!(shown, "{} waits", world.names[&ticket]).unwrap();
    }
    expected.assert_eq(&shown);
}

fn seconds(nanos: u64) -> String {
    format!("{:.1}", Duration::from_nanos(nanos).as_secs_f64())
}

/// 100 units, 10 a second, nothing left.
fn slow() -> World {
    World::new(vec![units(100, 10, 0)]).drained()
}

#[test]
fn the_smaller_call_goes_first_until_the_larger_one_has_waited_its_part() {
    check(
        slow(),
        "0 large high ada 80
         0 small high ada 10
         5 next high ada 10",
        expect![[r#"
            1.0 small, waited 1.0
            5.0 next, waited 0.0
            10.0 large, waited 10.0
        "#]],
    );
}

#[test]
fn what_only_watches_a_caller_does_not_measure_its_calls() {
    let watched = BucketSpec {
        name: "requests".into(),
        resource: Resource::Requests,
        capacity: 1,
        refill: Some(Refill {
            amount: 1,
            period: Duration::from_hours(1),
        }),
        enforcement: Enforcement::Named(Mode::Watch),
        ..units(1, 1, 0)
    };
    let mut world = World::new(vec![units(100, 10, 0), watched]);
    let ask = world.ask(Priority::High, "ada", 80);
    let Check::Clear(cleared) = world.pool.check(&ask, world.now) else {
        panic!("the bucket is full");
    };
    let taken = world.pool.commit(cleared, world.now);
    assert_eq!(taken.flow_nanos, 8 * SECOND);
    world.pool.release(taken, world.now);
    let ticket = world.enter("waits", Priority::High, "ada", 80);
    assert_eq!(world.queue.places[&ticket].size, 8 * SECOND);
}

#[test]
fn users_take_turns_by_what_they_were_served() {
    check(
        slow(),
        "0 a1 high ada 20
         0 a2 high ada 20
         0 a3 high ada 20
         0 b1 high bob 20
         0 b2 high bob 20",
        expect![[r#"
            2.0 a1, waited 2.0
            4.0 b1, waited 4.0
            6.0 a2, waited 6.0
            8.0 b2, waited 8.0
            10.0 a3, waited 10.0
        "#]],
    );
}

#[test]
fn who_comes_back_is_not_owed_what_was_not_asked_for() {
    check(
        slow(),
        "0 a1 high ada 30
         0 a2 high ada 30
         0 a3 high ada 30
         8 b1 high bob 30
         8 b2 high bob 30
         8 b3 high bob 30",
        expect![[r#"
            3.0 a1, waited 3.0
            6.0 a2, waited 6.0
            9.0 a3, waited 9.0
            12.0 b1, waited 4.0
            15.0 b2, waited 7.0
            18.0 b3, waited 10.0
        "#]],
    );
}

#[test]
fn a_higher_class_goes_first_and_a_lower_one_gets_its_share() {
    check(
        slow(),
        "0 l1 low ada 10
         0 l2 low ada 10
         0 c1 critical ada 30
         0 c2 critical ada 30
         0 c3 critical ada 30
         0 c4 critical ada 30",
        expect![[r#"
            3.3 c1, waited 3.3
            6.7 c2, waited 6.7
            10.0 c3, waited 10.0
            10.0 l1, waited 10.0
            13.3 c4, waited 13.3
            14.0 l2, waited 14.0
        "#]],
    );
}

#[test]
fn a_call_whose_prompt_cache_expires_goes_first() {
    check(
        slow(),
        "0 cold high ada 40
         0 warm high ada 50 warm 50",
        expect![[r#"
            5.0 warm, waited 5.0
            9.0 cold, waited 9.0
        "#]],
    );
}

#[test]
fn small_calls_overtake_until_a_large_one_locks() {
    let mut script = "0 large critical ada 90\n".to_owned();
    for second in 0..40 {
        writeln!(script, "{second} s{second} critical bob 9").unwrap();
    }
    check(
        slow(),
        &script,
        expect![[r#"
        0.9 s0, waited 0.9
        1.8 s1, waited 0.8
        2.7 s2, waited 0.7
        3.6 s3, waited 0.6
        4.5 s4, waited 0.5
        5.4 s5, waited 0.4
        6.3 s6, waited 0.3
        7.2 s7, waited 0.2
        8.1 s8, waited 0.1
        9.0 s9, waited 0.0
        10.0 s10, waited 0.0
        18.9 large, waited 18.9
        19.8 s11, waited 8.8
        20.7 s12, waited 8.7
        21.6 s13, waited 8.6
        22.5 s14, waited 8.5
        23.4 s15, waited 8.4
        24.3 s16, waited 8.3
        25.2 s17, waited 8.2
        26.1 s18, waited 8.1
        27.0 s19, waited 8.0
        27.9 s20, waited 7.9
        28.8 s21, waited 7.8
        29.7 s22, waited 7.7
        30.6 s23, waited 7.6
        31.5 s24, waited 7.5
        32.4 s25, waited 7.4
        33.3 s26, waited 7.3
        34.2 s27, waited 7.2
        35.1 s28, waited 7.1
        36.0 s29, waited 7.0
        36.9 s30, waited 6.9
        37.8 s31, waited 6.8
        38.7 s32, waited 6.7
        39.6 s33, waited 6.6
        40.5 s34, waited 6.5
        41.4 s35, waited 6.4
        42.3 s36, waited 6.3
        43.2 s37, waited 6.2
        44.1 s38, waited 6.1
        45.0 s39, waited 6.0
    "#]],
    );
}

#[test]
fn what_is_cancelled_or_held_back_elsewhere_does_not_hold_up_others() {
    check(
        slow(),
        "0 a high ada 40
         0 b high ada 40
         0 c high ada 40
         0 aside a until 9
         1 cancel b",
        expect![[r#"
            4.0 c, waited 4.0
            9.0 a, waited 9.0
        "#]],
    );
}

#[test]
fn a_promoted_call_keeps_its_time() {
    check(
        slow(),
        "0 a high ada 50
         0 b low ada 50
         1 promote b critical",
        expect![[r#"
            8.3 b, waited 8.3
            11.1 a, waited 11.1
        "#]],
    );
}

#[test]
fn a_call_that_can_never_fit_is_named() {
    let mut world = World::new(vec![
        units(100, 10, 0),
        BucketSpec {
            name: "dollars".into(),
            resource: Resource::NanoUsd,
            capacity: 5,
            ..units(5, 1, 0)
        },
    ]);
    let mut ask = world.ask(Priority::High, "ada", 1);
    ask.need.nano_usd = 6;
    let waiting = Waiting {
        ask,
        since: world.now,
        warm: None,
    };
    let ticket = world.queue.enter(waiting, &world.pool, world.now).unwrap();
    assert!(matches!(
        world.queue.next(&mut world.pool, world.now),
        Next::Never(it, _) if it == ticket
    ));
}

#[test]
fn a_slot_that_is_freed_goes_to_who_waits() {
    let slots = BucketSpec {
        name: "slots".into(),
        resource: Resource::Concurrency,
        capacity: 1,
        refill: None,
        ..units(1, 1, 0)
    };
    let mut world = World::new(vec![slots]);
    world.holds = true;
    world.enter("a", Priority::High, "ada", 1);
    world.enter("b", Priority::Low, "ada", 1);
    world.enter("c", Priority::High, "bob", 1);
    world.run(SECOND);
    let mut ended = 1;
    while let Some((taken, need)) = world.running.pop() {
        ended += 1;
        world.now = Monotonic(ended * SECOND);
        world.pool.settle(taken, &need, world.now);
        let _at = world.start();
    }
    let order: Vec<_> = world.started.iter().map(|it| it.0.as_str()).collect();
    assert_eq!(order, ["a", "c", "b"]);
}

#[test]
fn no_more_wait_than_may() {
    let mut world = slow();
    let ask = world.ask(Priority::Low, "ada", 1);
    let waiting = Waiting {
        ask,
        since: world.now,
        warm: None,
    };
    for _call in 0..QUEUE_MAX {
        let _ticket = world.queue.enter(waiting, &world.pool, world.now).unwrap();
    }
    let refused = world.queue.enter(waiting, &world.pool, world.now);
    assert_eq!(refused, Err(QueueFull));
}

#[test]
fn a_place_and_a_wait_are_told_and_hold() {
    let mut world = slow();
    let mut tickets = Vec::new();
    for (name, user, size) in [
        ("a", "ada", 20),
        ("b", "ada", 30),
        ("c", "bob", 10),
        ("d", "bob", 50),
    ] {
        tickets.push((name, world.enter(name, Priority::High, user, size)));
    }
    let mut shown = String::new();
    for (name, ticket) in &tickets {
        let it = world
            .queue
            .outlook(*ticket, &world.pool, world.now)
            .unwrap();
        writeln!(shown, "{name}: {} of {}, {:?}", it.place, it.of, it.p50).unwrap();
        world.queue.told(*ticket, it);
    }
    world.run(100 * SECOND);
    for (name, at, _) in &world.started {
        writeln!(shown, "{name} at {}", seconds(*at)).unwrap();
    }
    expect![[r#"
        a: 1 of 4, 2s
        b: 2 of 4, 7s
        c: 1 of 4, 1s
        d: 2 of 4, 7s
        c at 1.0
        a at 3.0
        b at 6.0
        d at 11.0
    "#]]
    .assert_eq(&shown);
}

#[test]
fn a_call_whose_prompt_cache_expires_while_it_waits_takes_what_it_takes_without() {
    check(
        slow(),
        "0 held high ada 10 warm 30
         0 spend 400
         41 other high bob 20",
        expect![[r#"
            42.0 other, waited 1.0
            46.0 held, waited 46.0
        "#]],
    );
}
