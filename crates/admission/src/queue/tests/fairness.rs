//! The promises, for any traffic.

use proptest::prelude::*;

use super::*;

/// A class, a user, a size in units, and when it comes in milliseconds.
#[derive(Clone, Debug)]
struct Arrival {
    class: Priority,
    user: usize,
    size: u64,
    at: u64,
}

fn arrivals(
    sizes: impl Strategy<Value = u64> + Clone + 'static,
) -> impl Strategy<Value = Vec<Arrival>> {
    let one = (
        prop::sample::select(Priority::ALL),
        0_usize..4,
        sizes,
        0_u64..120_000,
    );
    let one = one.prop_map(|(class, user, size, at)| Arrival {
        class,
        user,
        size,
        at,
    });
    prop::collection::vec(one, 1..120).prop_map(|mut all| {
        all.sort_by_key(|it| it.at);
        all
    })
}

const USERS: [&str; 4] = ["ada", "bob", "cleo", "dan"];

fn float(whole: u64) -> f64 {
    f64::from(u32::try_from(whole).unwrap())
}

/// Keeps `depth` calls of each class and user waiting; answers what each class was served, in order.
fn backlogged(
    classes: &[(Priority, u64)],
    users: &[&str],
    seconds: u64,
) -> Vec<(Priority, u64, String)> {
    let mut world = World::new(vec![units(200, 100, 0)]).drained();
    let mut served = Vec::new();
    let mut seen = 0;
    let refill = |world: &mut World, class: Priority, user: &str, size: u64| {
        world.enter(&format!("{class} {user} {size}"), class, user, size);
    };
    for _depth in 0..4 {
        for (class, size) in classes {
            for user in users {
                refill(&mut world, *class, user, *size);
            }
        }
    }
    while world.now.0 < seconds * SECOND {
        let at = world.start();
        let fresh: Vec<_> = world.started[seen..]
            .iter()
            .map(|it| it.0.clone())
            .collect();
        for name in fresh {
            let words: Vec<&str> = name.split(' ').collect();
            let (class, size) = (words[0].parse().unwrap(), words[2].parse().unwrap());
            served.push((class, size, words[1].to_owned()));
            refill(&mut world, class, words[1], size);
        }
        let before = seen;
        seen = world.started.len();
        if seen == before {
            world.now = at.expect("time helps");
        }
    }
    served
}

fn percent_of(served: &[(Priority, u64, String)], class: Priority) -> f64 {
    let of = |it: &(Priority, u64, String)| float(it.1);
    let all: f64 = served.iter().map(of).sum();
    let own: f64 = served.iter().filter(|it| it.0 == class).map(of).sum();
    100.0 * own / all
}

#[test]
fn backlogged_classes_are_within_a_point_of_their_shares_over_200_of_the_largest_calls() {
    let classes: Vec<_> = Priority::ALL.iter().copied().zip([7, 20, 3, 11]).collect();
    let served = backlogged(&classes, &["ada"], 400);
    let mut worst = 0.0_f64;
    let mut from = 0;
    while from < served.len() {
        let mut sum = 0;
        let to = served[from..].iter().position(|it| {
            sum += it.1;
            sum >= 200 * 20
        });
        let Some(to) = to else { break };
        let window = &served[from..=from + to];
        for class in Priority::ALL {
            let off = percent_of(window, *class) - float(class.share_percent());
            worst = worst.max(off.abs());
        }
        from += 7;
    }
    assert!(worst <= 1.0, "off by {worst} points");
}

#[test]
fn a_class_alone_gets_everything() {
    for class in Priority::ALL {
        let served = backlogged(&[(*class, 10)], &["ada", "bob"], 100);
        let sum: u64 = served.iter().map(|it| it.1).sum();
        // 100 a second for 100 seconds.
        assert!(sum >= 9_900, "{class} got {sum}");
    }
}

#[test]
fn two_users_of_a_class_are_served_alike_whatever_their_calls_are() {
    let mut world = World::new(vec![units(200, 100, 0)]).drained();
    let sizes = [("ada", 1), ("bob", 50)];
    for _depth in 0..20 {
        for (user, size) in sizes {
            world.enter(user, Priority::High, user, size);
        }
    }
    let (mut seen, mut served, mut worst) = (0, [0_i64; 2], 0);
    while world.now.0 < 300 * SECOND {
        let at = world.start();
        let fresh: Vec<_> = world.started[seen..]
            .iter()
            .map(|it| it.0.clone())
            .collect();
        seen = world.started.len();
        for name in &fresh {
            let which = usize::from(name == "bob");
            served[which] += sizes[which].1.cast_signed();
            worst = worst.max((served[0] - served[1]).abs());
            world.enter(name, Priority::High, name, sizes[which].1);
        }
        if fresh.is_empty() {
            world.now = at.expect("time helps");
        }
    }
    // Two largest calls, one that overtook, one that locked.
    assert!(worst <= 4 * 50, "{worst}");
    assert!(served[0] > 14_000, "{served:?}");
}

/// Who waits longer than its class's patience A_p + (the work before it in its class + its size + one
/// largest call) / (its share of the refill), and by how much.
fn late(all: &[Arrival]) -> Vec<String> {
    let mut world = World::new(vec![units(100, 20, 0)]).drained();
    let largest = all.iter().map(|it| it.size).max().unwrap();
    let mut bounds: BTreeMap<String, u64> = BTreeMap::new();
    for (number, it) in all.iter().enumerate() {
        world.run(it.at * 1_000_000);
        let name = number.to_string();
        let before: u64 = world
            .queue
            .tickets()
            .filter(|(_, waiting)| waiting.ask.priority == it.class)
            .map(|(_, waiting)| waiting.ask.need.units)
            .sum();
        let work = before + it.size + largest;
        let bound = work * SECOND * 100 / (20 * it.class.share_percent());
        bounds.insert(name.clone(), nanos(patience(it.class)) + bound);
        world.enter(&name, it.class, USERS[it.user], it.size);
    }
    world.run(100_000 * SECOND);
    assert!(world.queue.is_empty());
    let late = world.started.iter().filter(|it| it.2 > bounds[&it.0]);
    late.map(|(name, _, waited)| {
        format!(
            "{name} waited {} of {}",
            seconds(*waited),
            seconds(bounds[name])
        )
    })
    .collect()
}

/// Two minutes of calls, always the same for a number: xorshift.
fn minutes(number: u64) -> Vec<Arrival> {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678_9ABC_DEF1;
    let mut random = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let count = 1 + random(119);
    let one = |_| Arrival {
        class: Priority::ALL[usize::try_from(random(4)).unwrap()],
        user: usize::try_from(random(4)).unwrap(),
        size: 1 + random(59),
        at: random(120_000),
    };
    let mut all: Vec<Arrival> = (0..count).map(one).collect();
    all.sort_by_key(|it| it.at);
    all
}

/// In each of these, a call that was not the oldest started from a full bucket with what others had earned, and
/// what its class then owed made an older one late.
#[test]
fn what_a_class_owes_makes_nobody_late() {
    let numbers = [
        35, 261, 1_586, 1_669, 1_919, 2_223, 3_485, 4_525, 5_901, 6_284, 10_507, 13_392,
    ];
    for number in numbers {
        assert_eq!(late(&minutes(number)), Vec::<String>::new(), "{number}");
    }
}

/// In each of these, a call started from a full bucket with what another class had earned for its oldest, and a
/// third class took what came back.
#[test]
fn what_one_class_borrows_makes_nobody_of_another_late() {
    for number in [57_201, 60_548, 76_264] {
        assert_eq!(late(&minutes(number)), Vec::<String>::new(), "{number}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nobody_waits_longer_than_its_patience_and_the_work_before_it(all in arrivals(1_u64..60)) {
        prop_assert_eq!(late(&all), Vec::<String>::new());
    }

    /// Whatever happens, everybody who stays is started, once, and nobody twice.
    #[test]
    fn nobody_is_lost_and_nobody_is_started_twice(
        all in arrivals(1_u64..160),
        acts in prop::collection::vec((0_usize..120, 0_u8..5), 0..60),
    ) {
        let mut world = World::new(vec![units(100, 20, 30)]).drained();
        let mut tickets = Vec::new();
        let mut gone = 0;
        for (number, it) in all.iter().enumerate() {
            world.run(it.at * 1_000_000);
            tickets.push(world.enter(&number.to_string(), it.class, USERS[it.user], it.size));
            let Some((which, act)) = acts.get(number) else { continue };
            let Some(ticket) = tickets.get(*which).copied() else { continue };
            match act {
                0 => gone += usize::from(world.queue.leave(ticket).is_some()),
                1 => world.queue.set_aside(ticket, None),
                2 => world.queue.set_aside(ticket, Some(world.now.after(Duration::from_secs(7)))),
                3 => world.queue.resume(ticket),
                _ => {
                    let _moved = world.queue.promote(ticket, Priority::ALL[which % 4], &world.pool);
                }
            }
        }
        world.queue.resume_all();
        world.run(1_000_000 * SECOND);
        let mut names: Vec<_> = world.started.iter().map(|it| &it.0).collect();
        names.sort();
        names.dedup();
        prop_assert_eq!(names.len(), world.started.len());
        prop_assert_eq!(names.len() + gone, all.len());
    }
}

/// A day of calls that come at random, with hours in which more come than the bucket refills.
#[test]
fn one_wait_in_ten_is_longer_than_its_p90_over_a_day() {
    let mut world = World::new(vec![units(600, 10, 0)]).drained();
    // Any sequence without a pattern: a linear congruential generator.
    let mut state = 7_u64;
    let mut random = |below: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let mut at = 0;
    let mut number = 0;
    while at < 24 * 3_600 * 1_000 {
        let busy = (at / 3_600_000) % 4 == 1;
        at += random(if busy { 2_000 } else { 2_500 });
        world.run(at * 1_000_000);
        // As often as each has shares: who takes more than twice its own is penalised.
        let class = match random(10) {
            0..4 => Priority::Critical,
            4..7 => Priority::High,
            7..9 => Priority::Medium,
            _ => Priority::Low,
        };
        let user = USERS[usize::try_from(random(4)).unwrap()];
        let size = 1 + random(20) * random(3);
        number += 1;
        let ticket = world.enter(&number.to_string(), class, user, size);
        let outlook = world.queue.outlook(ticket, &world.pool, world.now).unwrap();
        // As the gateway does: who goes at once was told nothing.
        if outlook.p90 > Duration::ZERO {
            world.queue.told(ticket, outlook);
        }
    }
    world.run(at * 1_000_000 + 100_000 * SECOND);
    let (mut scored, mut beyond) = (0, 0);
    for class in Priority::ALL {
        let it = world.queue.calibration(*class);
        scored += it.scored;
        beyond += it.beyond_p90;
    }
    assert!(scored > 5_000, "{scored}");
    let part = float(beyond) / float(scored);
    assert!((0.08..=0.12).contains(&part), "{part} of {scored}");
}

#[test]
fn fairness_is_one_where_all_were_served_alike_and_falls_where_they_were_not() {
    let mut world = World::new(vec![units(200, 100, 0)]).drained();
    for _call in 0..20 {
        for user in ["ada", "bob"] {
            world.enter(user, Priority::High, user, 10);
        }
    }
    world.run(2 * SECOND);
    assert_eq!(world.queue.fairness(Priority::High), Some(1_000_000_000));
    assert_eq!(world.queue.fairness(Priority::Low), None);
    world.enter("late", Priority::High, "late", 1);
    for _call in 0..20 {
        world.enter("ada", Priority::High, "ada", 10);
    }
    world.run(3 * SECOND);
    assert!(world.queue.fairness(Priority::High).unwrap() < 1_000_000_000);
}
