//! Recorded times: limits follow from the load, calls come when they came, and users keep their names.

use proptest::prelude::*;
use tidegate_types::Priority;

use super::*;
use crate::{
    replay::{Arrivals, Transcript, measure},
    trace::{Family, Reading, Row, Shared, Traffic},
};

fn arrival(second: u64, input: u64, shared: Option<Shared>) -> Arrival {
    Arrival {
        at: Duration::from_secs(second),
        model: "claude-opus-4-5".into(),
        input: Tokens(input),
        output: Tokens(100),
        shared,
    }
}

fn fleet(load: f64) -> Fleet {
    Fleet::w1(load, 7)
}

/// What a run without limits takes of the input limit while calls come.
fn load_of(plan: &Plan) -> f64 {
    let played = run(plan, SystemKind::Unlimited, Transcript::none()).unwrap();
    let taken = played.calls.iter().flatten();
    let taken = taken.filter(|it| it.taken.is_some_and(|at| at <= plan.open_for));
    let tokens: u64 = taken.map(|it| counted(&it.usage)).sum();
    let minutes = plan.open_for.as_secs_f64() / 60.0;
    to_f64(tokens) / minutes / to_f64(plan.provider.limits.input_tokens_per_minute)
}

#[test]
fn calls_come_when_they_came_and_the_limits_make_the_load() {
    let calls: Vec<Arrival> = (0..200)
        .map(|it| arrival(it * 3, 2_000 + it, None))
        .collect();
    let traffic = Traffic::Calls(calls);
    for load in [0.5, 0.9] {
        let plan = fleet(load).day(&traffic).unwrap();
        assert_eq!(plan.len(), 200);
        assert_eq!(plan.tasks[10].starts, Duration::from_secs(30));
        let found = load_of(&plan);
        assert!((found - load).abs() < 0.01, "{found} at {load}");
        // The other limits stand as they do in the fleet.
        let limits = &plan.provider.limits;
        let wanted = to_f64(limits.input_tokens_per_minute) / 450.0;
        let off = to_f64(limits.requests_per_minute) - wanted;
        assert!((-0.01..=1.0).contains(&off), "{limits:?}");
    }
    let short = Fleet {
        open_for: Duration::from_mins(1),
        ..fleet(0.5)
    };
    assert_eq!(short.day(&traffic).unwrap().len(), 20);
    let tiny: Vec<Arrival> = (0..200).map(|it| arrival(it, 20, None)).collect();
    let plan = fleet(0.5).day(&Traffic::Calls(tiny)).unwrap();
    // Many small calls: no other limit is nearer than that of input.
    assert!(plan.provider.limits.requests_per_minute >= 119);
    assert!(plan.provider.limits.output_tokens_per_minute >= 11_900);
}

#[test]
fn what_two_calls_share_is_read_from_the_cache_while_it_lives() {
    let shared = |with| {
        Some(Shared {
            with,
            tokens: Tokens(4_000),
        })
    };
    let calls = vec![
        arrival(0, 5_000, None),
        arrival(20, 6_000, shared(0)),
        arrival(40, 4_001, shared(1)),
        arrival(900, 5_000, shared(2)),
    ];
    let plan = fleet(0.5).day(&Traffic::Calls(calls)).unwrap();
    let played = run(&plan, SystemKind::Unlimited, Transcript::none()).unwrap();
    let read: Vec<u64> = played
        .calls
        .iter()
        .map(|it| it[0].usage.cache_read.0)
        .collect();
    assert_eq!(read, [0, 4_000, 4_000, 0]);
}

fn session(name: &str, user: Option<&str>, began: Option<u64>) -> Session {
    let row = |seq: u32| Row {
        trace: name.to_owned(),
        agent: "main".to_owned(),
        seq,
        at: Duration::from_secs(u64::from(seq) * 20),
        streamed: true,
        model: "claude-opus-4-5".to_owned(),
        input: Tokens(20_000 + 1_000 * u64::from(seq)),
        output: Tokens(50),
        cached: Tokens(19_000),
        cache_age: (seq > 0).then_some(Duration::from_secs(20)),
        think: Duration::from_secs(5),
        ..Row::default()
    };
    Session {
        trace: name.to_owned(),
        rows: (0..4).map(row).collect(),
        began: began.map(Timestamp::from_seconds),
        user: user.map(str::to_owned),
        priority: user.map(|_| Priority::Low),
        fork_of: None,
    }
}

#[test]
fn sessions_begin_when_they_began_with_their_own_users_and_priorities() {
    let mut sessions = vec![
        session("b", Some("ann"), Some(5_000)),
        session("a", Some("bob"), Some(4_000)),
        session("c", Some("ann"), Some(4_500)),
        session("d", Some("ann"), Some(4_600)),
    ];
    sessions[3].fork_of = Some("c".to_owned());
    let recorded = Fleet {
        arrivals: Arrivals::Recorded,
        ..fleet(0.75)
    };
    let plan = recorded.day(&Traffic::Sessions(sessions.clone())).unwrap();
    let users = |plan: &Plan| -> Vec<(u64, String, Priority)> {
        let of = |it: &Task| {
            let user = plan.users[usize::from(it.tenant)].to_string();
            (it.starts.as_secs(), user, it.priority)
        };
        plan.tasks.iter().map(of).collect()
    };
    let low = |at, user: &str| (at, user.to_owned(), Priority::Low);
    assert_eq!(
        users(&plan),
        [low(0, "bob"), low(500, "ann"), low(1_000, "ann")]
    );
    let reads: Vec<Option<u32>> = plan.tasks[2]
        .calls
        .iter()
        .map(|it| it.reads.map(|it| it.task))
        .collect();
    assert_eq!(reads, [None, Some(2), Some(2), Some(2)]);
    // Drawn, they keep them, too.
    let drawn = Fleet {
        open_for: Duration::from_mins(10),
        ..fleet(0.5)
    };
    let plan = drawn.day(&Traffic::Sessions(sessions)).unwrap();
    assert!(
        users(&plan)
            .iter()
            .all(|it| it.2 == Priority::Low && it.1 != "tenant-00000")
    );
    let error = recorded.day(&Traffic::Sessions(vec![session("a", None, None)]));
    assert_eq!(error.unwrap_err(), FleetError::NoTimes);
}

fn rates(family: &str, shape: f64, rate: f64) -> Rates {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rates.csv");
    let rows = (0..144).map(|it| format!("m,1,{},{rate},1.0,{family},{shape},1\n", it * 600));
    let rows = rows.collect::<Vec<_>>().concat();
    std::fs::write(
        &file,
        format!("model,client,t_s,rate_rps,cv,dist,p1,p2\n{rows}"),
    )
    .unwrap();
    let loaded = Reading::default().load(&file).unwrap();
    let Traffic::Rates(mut rates) = loaded.traffic else {
        panic!("no rates");
    };
    rates.sizes = vec![(2_000, 30), (500, 5)];
    rates
}

#[test]
fn calls_are_drawn_as_often_as_their_clients_asked_whatever_the_spacing() {
    for (family, shape, rate) in [
        ("Gamma", 0.3, 0.4),
        ("Gamma", 4.0, 1.0),
        ("Weibull", 0.6, 0.4),
        ("Weibull", 2.0, 1.0),
        // Thinned: more than are wanted of all.
        ("Gamma", 1.0, 50.0),
        ("Weibull", 1.5, 300.0),
    ] {
        let rates = rates(family, shape, rate);
        let day = Duration::from_hours(24);
        let calls = rates.draw(day, &mut Seeded::new(3));
        let wanted = (rate * 86_400.0).min(200_000.0);
        let part = to_f64(calls.len() as u64) / wanted;
        assert!(
            (0.95..1.05).contains(&part),
            "{family} {shape} {rate}: {part}"
        );
        assert!(calls.is_sorted_by_key(|it| it.0));
        let again = rates.draw(day, &mut Seeded::new(3));
        assert!(calls.iter().map(|it| it.0).eq(again.iter().map(|it| it.0)));
    }
    assert_eq!(rates("Gamma", 1.0, 0.1).windows[0].family, Family::Gamma);
}

#[test]
fn rates_are_played_with_sizes_of_another_trace_and_not_without() {
    let short = Fleet {
        open_for: Duration::from_hours(1),
        ..fleet(0.8)
    };
    let rates = rates("Gamma", 0.5, 0.2);
    let plan = short.day(&Traffic::Rates(rates.clone())).unwrap();
    let sizes = |it: &Task| matches!(it.calls[0].input, 2_000 | 500);
    assert!(plan.len() > 500 && plan.tasks.iter().all(sizes));
    let unlimited = run(&plan, SystemKind::Unlimited, Transcript::none()).unwrap();
    let played = run(&plan, SystemKind::Tidegate, Transcript::none()).unwrap();
    let measured = measure(&plan, &played, &unlimited);
    assert_eq!(measured.completed, measured.calls);
    let mut none = rates;
    none.sizes.clear();
    let error = short.day(&Traffic::Rates(none)).unwrap_err();
    assert_eq!(error, FleetError::NoSizes);
}

proptest! {
    // Each case plays four days.
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The same seed makes the same day, and every call that is read from stands before the one that reads.
    #[test]
    fn a_day_is_the_same_for_its_seed_and_reads_only_what_was(
        gaps in prop::collection::vec((0_u64..40, 1_u64..9_000, prop::option::of(0_u32..30)), 1..40),
        seed in 0_u64..50,
    ) {
        let mut at = 0;
        let mut calls = Vec::new();
        for (place, (gap, input, with)) in gaps.into_iter().enumerate() {
            at += gap;
            let place = u32::try_from(place).unwrap();
            let with = with.filter(|it| *it < place);
            let shared = with.map(|with| Shared { with, tokens: Tokens(input - 1) });
            calls.push(arrival(at, input, shared));
        }
        let traffic = Traffic::Calls(calls);
        let day = || Fleet { seed, ..fleet(0.7) }.day(&traffic);
        let (one, other) = (day(), day());
        prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
        if let Ok(plan) = one {
            for (place, task) in plan.tasks.iter().enumerate() {
                let place = u32::try_from(place).unwrap();
                prop_assert!(task.calls[0].reads.is_none_or(|it| it.task < place));
            }
            let hash = |plan: &Plan| run(plan, SystemKind::Tidegate, Transcript::hashed()).unwrap().hash;
            prop_assert_eq!(hash(&plan), hash(&other.unwrap()));
        }
    }
}
