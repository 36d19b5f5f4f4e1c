//! What is bounded is refused before its bound, and taken again when there is room.

use std::{fmt::Write as _, time::Duration};

use tidegate_observe::telemetry::{Batch, Filter, Kind, TEXT_BYTES_MAX, logs};
use tidegate_segments::{
    Options, QUEUE_BYTES_MAX, Query, QueryError, Receipt, Refused, Segments, SegmentsError,
};

use crate::world::{NOW, World, body, disk, logs as some_logs};

/// Logs that hardly compress.
fn noise(rows: usize, seed: u64) -> Batch {
    let mut batch = Batch::new(Kind::Logs);
    let mut chance = seed;
    for _ in 0..rows {
        let mut text = String::new();
        for _ in 0..20 {
            chance = chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            write!(text, "{:016x} ", chance ^ (chance >> 29)).unwrap();
        }
        batch.row(NOW).text(logs::BODY, &text);
    }
    batch
}

#[test]
fn recent_records_are_refused_before_their_share_is_full_and_taken_again_after_sealing() {
    let recent_bytes = 2 << 20;
    let world = World::with(Options {
        recent_bytes,
        ..Options::default()
    });
    let mut taken = 0;
    let retry_after = loop {
        match world
            .store()
            .append(noise(100, taken + 1), None)
            .map(Receipt::wait)
        {
            Ok(Ok(_)) => taken += 1,
            Err(Refused::Busy { retry_after }) | Ok(Err(Refused::Busy { retry_after })) => {
                break retry_after;
            }
            other => panic!("{other:?}"),
        }
        assert!(disk(world.directory.path()) <= recent_bytes + recent_bytes / 4 + (64 << 10));
    };
    assert_eq!(retry_after, Duration::from_secs(5));
    assert!(taken > 10, "{taken}");
    assert!(world.store().status().unwrap().busy);
    let query = Query::latest(Filter::all(Kind::Logs), 0);
    assert_eq!(world.store().count(&query).unwrap().rows, taken * 100);
    world.seal();
    assert!(!world.store().status().unwrap().busy);
    world.append(some_logs(NOW, &["there is room again"]));
    assert_eq!(world.store().count(&query).unwrap().rows, taken * 100 + 1);
}

#[test]
fn a_batch_that_would_never_fit_is_refused_with_what_it_may_have() {
    let world = World::new();
    let mut batch = Batch::new(Kind::Logs);
    let long = "x".repeat(TEXT_BYTES_MAX);
    while batch.bytes() <= QUEUE_BYTES_MAX {
        batch.row(NOW).text(logs::BODY, &long);
    }
    let refused = world.store().append(batch, None).unwrap_err().to_string();
    assert!(refused.contains("is larger than 16777216"), "{refused}");
}

#[test]
fn what_outruns_the_disk_is_told_to_come_back() {
    let world = World::new();
    let mut receipts = Vec::new();
    let batch = noise(2_000, 5);
    let refused = loop {
        match world.store().append(batch.clone(), None) {
            Ok(receipt) => receipts.push(receipt),
            Err(refused) => break refused,
        }
        assert!(receipts.len() < 5_000, "the queue has a bound");
    };
    let Refused::Busy { retry_after } = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(retry_after, Duration::from_secs(1));
    let rows: usize = receipts.into_iter().map(|it| it.wait().unwrap().rows).sum();
    let query = Query::latest(Filter::all(Kind::Logs), 0);
    assert_eq!(world.store().count(&query).unwrap().rows, rows as u64);
}

#[test]
fn a_long_text_is_cut_and_says_so() {
    let world = World::new();
    let mut batch = Batch::new(Kind::Logs);
    batch.row(NOW).text(logs::BODY, &"ä".repeat(TEXT_BYTES_MAX));
    world.append(batch);
    let rows = world.rows(Query::latest(Filter::all(Kind::Logs), 1));
    let text = body(&rows[0]);
    assert!(
        text.len() <= TEXT_BYTES_MAX && text.ends_with("bytes cut)"),
        "{}",
        text.len()
    );
}

#[test]
fn an_attribute_of_a_hundred_thousand_values_and_one_that_is_no_json_do_no_harm() {
    let world = World::new();
    let mut batch = Batch::new(Kind::Logs);
    let many: Vec<String> = (0..10_000).map(|it| format!("\"k{it}\":{it}")).collect();
    let many = format!("{{{}}}", many.join(","));
    let deep = format!("{{\"k1\":{}1", "[".repeat(30_000));
    for text in [&many[..60_000], &deep, "{\"k1\":\"yes\"}", "{\"k1\":41}"] {
        batch.row(NOW).text(logs::ATTRIBUTES, text);
    }
    world.append(batch);
    for _ in 0..2 {
        let found = |text| {
            world
                .rows(Query::latest(Filter::parse(Kind::Logs, text).unwrap(), 9))
                .len()
        };
        assert_eq!(found("attributes.k1:yes"), 1);
        assert_eq!(found("attributes.k1:>40"), 1);
        assert_eq!(found("attributes.k1:*"), 2);
        assert_eq!(found("k1"), 4);
        world.seal();
    }
}

#[test]
fn a_histogram_of_too_many_bars_is_refused() {
    let world = World::new();
    for days in [0, 8, 16] {
        let at = tidegate_types::Timestamp(NOW.0 - days * 86_400_000_000_000);
        world.append(some_logs(at, &["a"]));
    }
    let query = Query::latest(Filter::all(Kind::Logs), 0);
    let ask = |seconds| {
        world
            .store()
            .histogram(&query, Duration::from_secs(seconds))
    };
    assert!(
        matches!(ask(60), Err(QueryError::TooManyBars { bars: 23_041, .. })),
        "{:?}",
        ask(60)
    );
    assert!(matches!(ask(59), Err(QueryError::TooManyBars { .. })));
    assert_eq!(ask(3600).unwrap().len(), 3);
}

#[test]
fn one_process_at_a_time_has_a_directory() {
    let world = World::new();
    let again = Segments::open(world.directory.path(), world.options, world.clock.clone());
    assert!(matches!(again, Err(SegmentsError::InUse { .. })));
}

#[test]
fn a_query_ends_after_its_time_and_says_what_to_do() {
    let world = World::new();
    world.append(some_logs(NOW, &["one"]));
    world.seal();
    world.append(some_logs(NOW.after(Duration::from_secs(9)), &["two"]));
    let mut rows = world
        .store()
        .rows(Query::latest(Filter::all(Kind::Logs), 9));
    assert_eq!(body(&rows.next().unwrap().unwrap()), "two");
    world.clock.forward(Duration::from_secs(31));
    let error = rows.next().unwrap().unwrap_err().to_string();
    assert!(error.contains("longer than 30 s"), "{error}");
    assert!(rows.next().is_none());
}
