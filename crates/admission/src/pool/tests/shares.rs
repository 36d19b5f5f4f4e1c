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

#[test]
fn a_user_far_above_its_share_refills_at_half_speed_until_the_excess_is_paid() {
    check(
        "units 100000 100/s",
        "
        0 take high 100000 by ann
        0 take high 5000 by bob
        0 take high 1 by ann
        300000 debit 25000
        300000 take high 5000 by bob
        300100 take high 5 by ann
        600100 take high 1 by ann
        600100 take high 1 by ann
        ",
        expect![[r#"
            0 take high 100000 by ann -> granted 0; units 0
            0 take high 5000 by bob  -> deferred 50s (units: less is left than this call needs); units 0
            0 take high 1 by ann     -> deferred 10ms (units: less is left than this call needs); units 0
            300000 debit 25000       -> ; units 5000
            300000 take high 5000 by bob -> granted 1; units 0
            300100 take high 5 by ann -> granted 2; units 5
            600100 take high 1 by ann -> granted 3; units 30004
            600100 take high 1 by ann -> granted 4; units 30003
        "#]],
    );
}

#[test]
fn a_class_far_above_its_share_while_others_wait_is_held_to_half_of_it() {
    let mut pool = Pool::new(
        spec("units 1000000 100/s over 900000, input 100000 1/s"),
        Monotonic(0),
    );
    let ask = |priority, units, input_tokens| Ask {
        need: Need {
            units,
            input_tokens,
            ..Need::default()
        },
        priority,
        user: UserSlot::NONE,
        caller: Caller::Asking,
    };
    // Critical waits for input tokens all the time; low takes half of the units' flow.
    let waiting = ask(Priority::Critical, 1, 50_000);
    let spender = ask(Priority::Low, 50, 0);
    let mut transcript = String::new();
    let mut served = 0;
    let first = pool.take(&ask(Priority::Critical, 1, 100_000), Monotonic(0));
    assert!(matches!(first, Admission::Granted(_)), "{first:?}");
    for second in 0..2_400_u64 {
        let now = Monotonic(second * SECOND);
        let waits = pool.take(&waiting, now);
        assert!(matches!(waits, Admission::Deferred { .. }), "{waits:?}");
        if let Admission::Granted(taken) = pool.take(&spender, now) {
            served += 50;
            pool.settle(taken, &spender.need, now);
        }
        if second % 300 == 299 {
            let penalties = pool.snapshot(now).penalties;
            let left = penalties.iter().map(|it| it.left_seconds);
            writeln!(
                transcript,
                "after {:>4} s: {served:>5} in 300 s, half speed for {:?} s more",
                second + 1,
                left.collect::<Vec<_>>()
            )
            .unwrap();
            served = 0;
        }
    }
    expect![[r#"
        after  300 s: 15000 in 300 s, half speed for [] s more
        after  600 s: 15000 in 300 s, half speed for [] s more
        after  900 s:  1550 in 300 s, half speed for [3301] s more
        after 1200 s:  1500 in 300 s, half speed for [3001] s more
        after 1500 s:  1500 in 300 s, half speed for [2701] s more
        after 1800 s:  1500 in 300 s, half speed for [2401] s more
        after 2100 s:  1500 in 300 s, half speed for [2101] s more
        after 2400 s:  1500 in 300 s, half speed for [1801] s more
    "#]].assert_eq(&transcript);
}
