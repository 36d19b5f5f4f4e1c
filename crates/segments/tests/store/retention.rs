//! 400 days pass: nothing is kept too long, nothing goes too early, and the budget holds.

use std::{collections::BTreeMap, time::Duration};

use tidegate_observe::telemetry::{Batch, Filter, Kind, calls, logs, spans};
use tidegate_segments::{Options, Query};
use tidegate_types::Clock as _;

use crate::world::{World, disk};

const DAY: Duration = Duration::from_hours(24);

/// One day's records: logs, every other day spans, one of which comes late, and every fourth a call.
fn one_day(world: &World, day: u64, logs_of_day: usize) {
    let now = world.clock.now();
    let mut said = Batch::new(Kind::Logs);
    for at in 0..logs_of_day {
        let number = (day * 7919 + at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let noise = number.wrapping_mul(number >> 7 | 1);
        let text = format!(
            "day {day} log {at} {number:x} {noise:x} {:x}",
            noise.rotate_left(31) ^ number
        );
        said.row(now)
            .text(logs::LEVEL, "INFO")
            .text(logs::BODY, &text);
    }
    let mut late = Batch::new(Kind::Spans);
    late.row(now).text(spans::OPERATION, "on time");
    late.row(tidegate_types::Timestamp(now.0 - 3 * 86_400_000_000_000))
        .text(spans::OPERATION, "late");
    let mut called = Batch::new(Kind::Calls);
    called
        .row(now)
        .text(calls::OUTCOME, "answered")
        .integer(calls::COST, 7);
    world.append(said);
    if day.is_multiple_of(2) {
        world.append(late);
    }
    if day.is_multiple_of(4) {
        world.append(called);
    }
}

/// How many records are shown, and how many days old the oldest is.
fn shown(world: &World, kind: Kind) -> (usize, u64) {
    let all = world.rows(Query::latest(Filter::all(kind), usize::MAX));
    let oldest = all.last().expect("there are records").at();
    (
        all.len(),
        world.clock.now().since(oldest).as_secs() / 86_400,
    )
}

#[test]
fn over_400_days_each_kind_is_kept_for_its_time_and_no_longer() {
    let world = World::new();
    let mut expired = 0;
    for day in 0..400 {
        one_day(&world, day, 3);
        world.clock.forward(DAY);
        let tended = world.tend();
        assert_eq!(tended.crowded_out_parts, 0);
        expired += tended.expired_parts;
        let keep = BTreeMap::from([(Kind::Logs, 30), (Kind::Spans, 30), (Kind::Calls, 365)]);
        for (kind, oldest) in world.store().status().unwrap().oldest {
            let age = world.clock.now().since(oldest);
            assert!(
                age <= DAY * (keep[&kind] + 1),
                "day {day}: {kind} of {age:?} ago"
            );
        }
    }
    assert!(expired > 300, "{expired}");
    // The clock stands at the beginning of day 400, and what is 30 days old to the moment is shown.
    // Among the logs are the lines of seven calls.
    assert_eq!(shown(&world, Kind::Logs), (30 * 3 + 7, 30));
    assert_eq!(shown(&world, Kind::Spans), (15 + 13, 30));
    assert_eq!(shown(&world, Kind::Calls), (91, 364));
}

#[test]
fn the_budget_is_never_exceeded_and_logs_go_before_calls() {
    let options = Options {
        budget_bytes: 4 << 20,
        recent_bytes: 1 << 20,
        ..Options::default()
    };
    let world = World::with(options);
    let mut crowded_out = 0;
    for day in 0..60 {
        one_day(&world, day, 2_500);
        assert!(
            disk(world.directory.path()) <= options.budget_bytes,
            "day {day}, taken in"
        );
        world.clock.forward(DAY);
        crowded_out += world.tend().crowded_out_parts;
        let bytes = disk(world.directory.path());
        assert!(bytes <= options.budget_bytes, "day {day}: {bytes} bytes");
    }
    assert!(crowded_out > 20, "{crowded_out}");
    assert_eq!(shown(&world, Kind::Calls), (15, 60));
    assert_eq!(
        world.bodies("\"day 59 log\"").len(),
        2_500,
        "the newest logs are there"
    );
}
