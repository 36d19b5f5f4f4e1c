//! Who gets how much when everybody wants more: shares, starvation, penalties.

use super::*;

const SECOND: u64 = 1_000_000_000;

/// Somebody who always wants the same: asks, and comes back exactly when told.
#[derive(Clone, Copy)]
struct Client {
    ask: Ask,
    next: u64,
    served: u64,
    longest: u64,
    since: u64,
}

fn client(priority: Priority, tokens: u64) -> Client {
    Client {
        ask: Ask {
            need: need(tokens),
            priority,
            user: UserSlot::NONE,
            caller: Caller::Asking,
            queues: false,
        },
        next: 0,
        served: 0,
        longest: 0,
        since: 0,
    }
}

/// Lets the clients ask until then, from the first one that is due; ties go to the last in order.
fn run(pool: &mut Pool, clients: &mut [Client], until: u64) {
    loop {
        let first = clients.iter_mut().rev().min_by_key(|it| it.next).unwrap();
        if first.next > until {
            return;
        }
        let now = first.next;
        match pool.take(&first.ask, Monotonic(now)) {
            Admission::Granted(taken) => {
                pool.settle(taken, &first.ask.need, Monotonic(now));
                first.served += first.ask.need.units;
                first.longest = first.longest.max(now - first.since);
                first.since = now;
            }
            Admission::Deferred { wait, .. } => {
                first.next = now + nanos(wait.at_least()).max(1);
            }
            Admission::NeverFits { .. } => panic!("cannot ever be served"),
        }
    }
}

fn backlogged(sizes: [u64; 4]) -> Vec<Client> {
    let classes = Priority::ALL.iter().zip(sizes);
    classes.map(|(class, size)| client(*class, size)).collect()
}

#[track_caller]
fn assert_shares(buckets: &str, sizes: [u64; 4]) {
    let mut pool = Pool::new(spec(buckets), Monotonic(0));
    let mut clients = backlogged(sizes);
    // The stock is spent first; what follows is flow alone.
    run(&mut pool, &mut clients, 0);
    for client in &mut clients {
        client.served = 0;
    }
    run(&mut pool, &mut clients, 400 * SECOND);
    let total: u64 = clients.iter().map(|it| it.served).sum();
    assert!(total >= 3_900, "of 4000 refilled only {total} were spent");
    for client in clients {
        let (class, size) = (client.ask.priority, client.ask.need.units);
        let fair = 4_000 * class.share_percent() / 100;
        let allowed = 40 + 2 * size;
        assert!(
            client.served.abs_diff(fair) <= allowed,
            "{class} got {} instead of {fair} of {total} in {buckets} with {sizes:?}",
            client.served
        );
    }
}

#[test]
fn four_backlogged_classes_get_their_shares_whatever_the_sizes_of_their_calls() {
    for sizes in [
        [1; 4],
        [10; 4],
        [1, 3, 7, 20],
        [20, 7, 3, 1],
        [50, 1, 50, 1],
    ] {
        for threshold in [0, 60, 100] {
            assert_shares(&format!("units 100 10/s over {threshold}"), sizes);
        }
    }
}

#[test]
fn a_large_call_is_not_starved_by_a_flood_of_small_ones() {
    for class in Priority::ALL {
        for flood in Priority::ALL.iter().filter(|it| *it != class) {
            for threshold in [0, 60] {
                let text = format!("units 100 10/s over {threshold}");
                let mut pool = Pool::new(spec(&text), Monotonic(0));
                let mut clients = [client(*flood, 1), client(*class, 90)];
                run(&mut pool, &mut clients, 600 * SECOND);
                // Its share earns 90 units within this long; the stock may help it once.
                let bound = 90 * 100 / (10 * class.share_percent()) + 1;
                let longest = clients[1].longest / SECOND;
                assert!(
                    clients[1].served >= 90 && longest <= bound,
                    "{class} waited {longest} s behind a flood of {flood}, over {threshold}"
                );
            }
        }
    }
}

#[test]
fn a_class_that_is_alone_gets_the_whole_flow() {
    for class in Priority::ALL {
        let mut pool = Pool::new(spec("units 100 10/s over 40"), Monotonic(0));
        let mut clients = [client(*class, 7)];
        run(&mut pool, &mut clients, 400 * SECOND);
        let refilled = 4_000;
        assert!(
            clients[0].served >= refilled * 99 / 100,
            "{class} alone got {}",
            clients[0].served
        );
    }
}

/// Every second `spender` asks for units, beside somebody who always waits for input tokens;
/// `units` is all that there ever is above the flow of 100 a second. What the spender got, and its
/// penalty, every five minutes.
#[track_caller]
fn check_half_speed(spender: Ask, waiting: Ask, mut pool: Pool, expected: Expect) {
    let mut transcript = String::new();
    let mut served = 0;
    for second in 0..3_600_u64 {
        let now = Monotonic(second * SECOND);
        let waits = pool.take(&waiting, now);
        assert!(matches!(waits, Admission::Deferred { .. }), "{waits:?}");
        if let Admission::Granted(taken) = pool.take(&spender, now) {
            served += spender.need.units;
            pool.settle(taken, &spender.need, now);
        }
        if second % 300 == 299 {
            write!(transcript, "{:>4} s: {served:>6}", second + 1).unwrap();
            for penalty in pool.snapshot(now).penalties {
                let who = penalty.user.unwrap_or_default();
                let class = penalty.priority.map_or("", Priority::word);
                let left = penalty.left_seconds;
                write!(transcript, ", {who}{class} half speed for {left} s").unwrap();
            }
            transcript.push('\n');
            served = 0;
        }
    }
    expected.assert_eq(&transcript);
}

/// Units and input tokens, of which the input tokens are spent.
fn pool_without_input() -> Pool {
    let mut pool = Pool::new(
        spec("units 1000000 100/s over 100000, input 100000 1/s"),
        Monotonic(0),
    );
    let input_tokens = 100_000;
    pool.debit(
        &Need {
            input_tokens,
            ..Need::default()
        },
        Monotonic(0),
    );
    pool
}

fn wants(priority: Priority, user: UserSlot, units: u64, input_tokens: u64) -> Ask {
    Ask {
        need: Need {
            units,
            input_tokens,
            ..Need::default()
        },
        priority,
        user,
        caller: Caller::Asking,
        queues: false,
    }
}

#[test]
fn a_class_far_above_its_share_while_others_wait_refills_at_half_speed() {
    // 50 a second where 10 are fair: 24,000 too many in ten minutes, to be paid at 5 a second;
    // after an hour it is forgiven.
    check_half_speed(
        wants(Priority::Low, UserSlot::NONE, 50, 0),
        wants(Priority::Critical, UserSlot::NONE, 1, 50_000),
        pool_without_input(),
        expect![[r#"
             300 s:  15000
             600 s:  15000
             900 s:   1550, low half speed for 3301 s
            1200 s:   1500, low half speed for 3001 s
            1500 s:   1500, low half speed for 2701 s
            1800 s:   1500, low half speed for 2401 s
            2100 s:   1500, low half speed for 2101 s
            2400 s:   1500, low half speed for 1801 s
            2700 s:   1500, low half speed for 1501 s
            3000 s:   1500, low half speed for 1201 s
            3300 s:   1500, low half speed for 901 s
            3600 s:   1500, low half speed for 601 s
        "#]],
    );
}

#[test]
fn a_user_far_above_its_share_while_others_wait_refills_at_half_speed() {
    // 150 a second where two users share 100: 60,000 too many in ten minutes, to be paid at 25 a
    // second. They are of one class, so that the class is not alone to blame.
    let mut pool = pool_without_input();
    let [ann, bob] = ["ann", "bob"].map(|it| pool.user("acme", it, Monotonic(0)));
    check_half_speed(
        wants(Priority::Critical, ann, 150, 0),
        wants(Priority::Critical, bob, 1, 50_000),
        pool,
        expect![[r#"
             300 s:  45000
             600 s:  45000
             900 s:   7650, ann half speed for 2107 s
            1200 s:   7500, ann half speed for 1807 s
            1500 s:   7500, ann half speed for 1507 s
            1800 s:   7500, ann half speed for 1207 s
            2100 s:   7500, ann half speed for 907 s
            2400 s:   7500, ann half speed for 607 s
            2700 s:   7500, ann half speed for 307 s
            3000 s:   7500, ann half speed for 7 s
            3300 s:  44250
            3600 s:  45000
        "#]],
    );
}

#[test]
fn nobody_is_held_back_for_what_nobody_else_wanted() {
    let mut pool = pool_without_input();
    let ann = pool.user("acme", "ann", Monotonic(0));
    check_half_speed(
        wants(Priority::Low, ann, 150, 0),
        wants(Priority::Low, ann, 1, 90_000),
        pool,
        expect![[r#"
             300 s:  45000
             600 s:  45000
             900 s:  45000
            1200 s:  45000
            1500 s:  45000
            1800 s:  45000
            2100 s:  45000
            2400 s:  45000
            2700 s:  45000
            3000 s:  45000
            3300 s:  45000
            3600 s:  45000
        "#]],
    );
}

#[test]
fn what_nobody_has_earned_is_lent_and_leaves_a_class_what_it_has() {
    let mut pool = pool_without_input();
    let now = Monotonic(0);
    let level = pool.snapshot(now).buckets[0].level;
    let all = wants(
        Priority::High,
        UserSlot::NONE,
        u64::try_from(level).unwrap(),
        0,
    );
    pool.debit(&all.need, now);
    // Of 100 a second it earns 30, and below the threshold the two lower classes their 30.
    let large = wants(Priority::High, UserSlot::NONE, 5_000, 0);
    assert!(matches!(pool.check(&large, now), Check::Deferred { .. }));
    let now = Monotonic(10 * SECOND);
    let of = |units| wants(Priority::High, UserSlot::NONE, units, 0);
    assert!(pool.fits_lent(&of(401), 0, now).is_none());
    assert!(
        pool.fits_lent(&of(400), 1, now).is_none(),
        "kept for others"
    );
    assert!(pool.fits(&of(401), 0, now).is_some());
    let lent = pool.fits_lent(&of(400), 0, now).unwrap();
    let taken = pool.commit(lent, now);
    let earned = pool.fits(&of(300), 0, now).unwrap();
    let own = pool.commit(earned, now);
    assert!(pool.fits(&of(1), 0, now).is_none());
    pool.release(taken, now);
    pool.release(own, now);
}

#[test]
fn who_waits_in_a_queue_earns_nobody_a_penalty() {
    let mut pool = pool_without_input();
    let [ann, bob] = ["ann", "bob"].map(|it| pool.user("acme", it, Monotonic(0)));
    let queues = |ask: Ask| Ask {
        queues: true,
        ..ask
    };
    let spender = queues(wants(Priority::Low, ann, 150, 0));
    let waiting = queues(wants(Priority::Critical, bob, 1, 50_000));
    for second in 0..1_200 {
        let now = Monotonic(second * SECOND);
        let _deferred = pool.check(&waiting, now);
        if let Admission::Granted(taken) = pool.take(&spender, now) {
            pool.settle(taken, &spender.need, now);
        }
        assert!(pool.snapshot(now).penalties.is_empty(), "after {second} s");
    }
}

#[test]
fn a_restart_forgives_nobody_and_lasts_no_longer_than_it_did() {
    let mut pool = pool_without_input();
    let [ann, bob] = ["ann", "bob"].map(|it| pool.user("acme", it, Monotonic(0)));
    let waiting = wants(Priority::Critical, bob, 1, 50_000);
    let spender = wants(Priority::Critical, ann, 150, 0);
    for second in 0..700 {
        let now = Monotonic(second * SECOND);
        assert!(matches!(
            pool.take(&waiting, now),
            Admission::Deferred { .. }
        ));
        if let Admission::Granted(taken) = pool.take(&spender, now) {
            pool.settle(taken, &spender.need, now);
        }
    }
    let then = Monotonic(700 * SECOND);
    let (levels, penalties) = (pool.export(then), pool.export_penalties(then));

    let restart = |down: u64| {
        let (down, now) = (Duration::from_secs(down), Monotonic(5));
        let mut again = Pool::new(pool.spec().clone(), now);
        again.restore(&levels, down, now);
        again.restore_penalties(&penalties, down, now);
        (again, now)
    };
    let wait = |pool: &mut Pool, now| {
        let spender = Ask {
            user: pool.user("acme", "ann", now),
            ..spender
        };
        // It holds back only while somebody else waits.
        let waiting = Ask {
            user: pool.user("acme", "bob", now),
            ..waiting
        };
        assert!(matches!(pool.check(&waiting, now), Check::Deferred { .. }));
        match pool.check(&spender, now) {
            Check::Deferred { wait, reason, .. } => format!("{wait}: {reason}"),
            other => format!("{other:?}"),
        }
    };
    let was = wait(&mut pool.clone(), then);
    assert!(was.ends_with("refills at half speed"), "{was}");
    let (mut again, now) = restart(0);
    assert_eq!(again.snapshot(now).penalties, pool.snapshot(then).penalties);
    assert_eq!(wait(&mut again, now), was);

    let (again, now) = restart(100);
    let left = |pool: &Pool, now| pool.snapshot(now).penalties[0].left_seconds;
    assert_eq!(left(&again, now), left(&pool, then) - 100);
    let (again, now) = restart(10_000);
    assert!(again.snapshot(now).penalties.is_empty());
}

#[test]
fn a_penalty_is_explained_and_its_wait_is_exact() {
    let mut pool = pool_without_input();
    let [ann, bob] = ["ann", "bob"].map(|it| pool.user("acme", it, Monotonic(0)));
    let waiting = wants(Priority::Critical, bob, 1, 50_000);
    let spender = wants(Priority::Critical, ann, 150, 0);
    let mut second = 0;
    let (now, wait, reason) = loop {
        let now = second * SECOND;
        assert!(!matches!(
            pool.take(&waiting, Monotonic(now)),
            Admission::Granted(_)
        ));
        match pool.take(&spender, Monotonic(now)) {
            Admission::Granted(taken) => pool.settle(taken, &spender.need, Monotonic(now)),
            Admission::Deferred { wait, reason, .. } => break (now, wait, reason),
            Admission::NeverFits { .. } => panic!("units do not refuse"),
        }
        second += 1;
    };
    assert_eq!(
        reason.to_string(),
        "this user took more than twice its fair share while others waited, and refills at half speed"
    );
    let due = now + nanos(wait.at_least());
    let passes = |at| matches!(pool.clone().check(&spender, Monotonic(at)), Check::Clear(_));
    assert!(passes(due) && !passes(due - 1), "{wait} is not exact");
    let Check::Clear(cleared) = pool.clone().check(&spender, Monotonic(due)) else {
        panic!("deferred after the wait")
    };
    assert!(
        matches!(
            cleared.notes(),
            [Note::Penalised {
                subject: crate::Subject::User,
                ..
            }]
        ),
        "{:?}",
        cleared.notes()
    );
}
