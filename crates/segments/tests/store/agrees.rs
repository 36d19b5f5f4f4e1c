//! What is asked is what was put in: against a list in memory, whatever was sealed, merged and
//! opened anew in between.

use std::{collections::BTreeMap, time::Duration};

use proptest::prelude::*;
use tidegate_observe::telemetry::{Batch, Filter, Kind, Row, Value, logs, spans};
use tidegate_segments::{Query, Tailed};
use tidegate_types::Timestamp;

use crate::world::{NOW, World, body, logs as some_logs};

#[test]
fn what_was_acknowledged_is_found_at_once_and_after_it_was_sealed_and_opened_anew() {
    let mut world = World::new();
    let taken = world.append(some_logs(
        NOW,
        &["disk is full", "disk is fine", "went home"],
    ));
    assert_eq!((taken.rows, taken.repeated), (3, false));
    for _ in 0..3 {
        assert_eq!(world.bodies("disk"), ["disk is fine", "disk is full"]);
        assert_eq!(world.bodies("\"IS full\""), ["disk is full"]);
        assert_eq!(world.bodies("-disk"), ["went home"]);
        world.seal();
        world.reopen();
    }
    assert_eq!(world.store().part_files(Kind::Logs).len(), 1);
}

#[test]
fn a_batch_that_is_sent_again_within_ten_minutes_is_acknowledged_and_kept_once() {
    let mut world = World::new();
    let send = |world: &World| world.append_once(some_logs(NOW, &["once"]), b"the same body");
    assert!(!send(&world).repeated);
    assert!(send(&world).repeated);
    world.seal();
    world.reopen();
    world.clock.forward(Duration::from_secs(599));
    assert!(send(&world).repeated);
    assert_eq!(world.bodies(""), ["once"]);
    world.clock.forward(Duration::from_secs(2));
    assert!(!send(&world).repeated);
    assert_eq!(world.bodies(""), ["once", "once"]);
}

#[test]
fn a_query_sees_one_moment_whatever_is_sealed_merged_and_added_while_it_reads() {
    let world = World::new();
    for round in 0..8 {
        let bodies: Vec<String> = (0..50)
            .map(|it| format!("round {round} record {it}"))
            .collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        world.append(some_logs(
            NOW.after(Duration::from_secs(100 * round)),
            &bodies,
        ));
        if round % 3 == 0 {
            world.seal();
        }
    }
    let mut rows = world
        .store()
        .rows(Query::latest(Filter::all(Kind::Logs), usize::MAX));
    let mut seen: Vec<String> = Vec::new();
    for row in rows.by_ref() {
        seen.push(body(&row.unwrap()));
        if seen.len().is_multiple_of(40) {
            world.append(some_logs(NOW, &["added meanwhile"]));
            world.seal();
        }
    }
    assert_eq!(rows.damaged(), [""; 0]);
    let expected: Vec<String> = (0..8)
        .rev()
        .flat_map(|round| {
            (0..50)
                .rev()
                .map(move |it| format!("round {round} record {it}"))
        })
        .collect();
    assert_eq!(seen, expected);
    assert_eq!(world.bodies("added").len(), 10);
}

#[test]
fn a_tail_gets_what_matches_and_is_told_what_it_missed() {
    let world = World::new();
    let filter = Filter::parse(Kind::Logs, "fire").unwrap();
    let mut tail = world.store().tail(filter);
    world.append(some_logs(NOW, &["all quiet", "a fire broke out"]));
    let Some(Tailed::Rows(rows)) = tail.ready() else {
        panic!("nothing came");
    };
    assert_eq!(
        rows.iter().map(body).collect::<Vec<_>>(),
        ["a fire broke out"]
    );
    assert_eq!(tail.ready(), None);
    for _ in 0..70 {
        world.append(some_logs(NOW, &["fire"]));
    }
    assert_eq!(tail.ready(), Some(Tailed::Missed(6)));
    assert!(matches!(tail.ready(), Some(Tailed::Rows(_))));
}

#[test]
fn a_time_that_cannot_be_is_replaced_and_kept_beside() {
    let world = World::new();
    let mut batch = Batch::new(Kind::Logs);
    for at in [Timestamp(0), Timestamp(u64::MAX), NOW] {
        batch.row(at).text(logs::BODY, "when");
    }
    world.append(batch);
    let rows = world.rows(Query::latest(Filter::all(Kind::Logs), 9));
    let times: Vec<_> = rows
        .iter()
        .map(|it| (it.at(), it.integer(logs::CLAIMED)))
        .collect();
    assert_eq!(times, [(NOW, None), (NOW, Some(i64::MAX)), (NOW, Some(0))]);
}

#[test]
fn kinds_are_kept_apart_and_share_a_trace() {
    let world = World::new();
    let trace = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c;
    let mut said = Batch::new(Kind::Logs);
    said.row(NOW)
        .wide(logs::TRACE, trace)
        .text(logs::BODY, "said");
    let mut done = Batch::new(Kind::Spans);
    done.row(NOW)
        .wide(spans::TRACE, trace)
        .text(spans::OPERATION, "done")
        .integer(spans::DURATION, 1_500_000_000);
    done.row(NOW)
        .wide(spans::TRACE, trace + 1)
        .text(spans::OPERATION, "other");
    world.append(said);
    world.append(done);
    for _ in 0..2 {
        for (kind, many) in [(Kind::Logs, 1), (Kind::Spans, 1), (Kind::Calls, 0)] {
            let filter = Filter::exactly(kind, "trace_id", &format!("{trace:032x}"));
            assert_eq!(world.rows(Query::latest(filter, 9)).len(), many, "{kind}");
        }
        let slow = Filter::parse(Kind::Spans, "duration_ns:>=1.5s").unwrap();
        let rows = world.rows(Query::latest(slow, 9));
        assert_eq!(rows[0].value(spans::OPERATION), Some(Value::Text("done")));
        world.seal();
    }
}

/// What can happen to a store.
#[derive(Clone, Debug)]
enum Step {
    Append(Vec<(u32, u8, u8, u8)>),
    /// So many rows at once, drawn from a seed: of several pages when they are sealed.
    Many(u32, u32),
    Seal,
    Tend,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let rows = prop::collection::vec((0..200_000u32, any::<u8>(), 0..5u8, 0..40u8), 0..40);
    prop_oneof![
        6 => rows.prop_map(Step::Append),
        1 => (600..3_000u32, any::<u32>()).prop_map(|(rows, seed)| Step::Many(rows, seed)),
        3 => Just(Step::Seal),
        1 => Just(Step::Tend),
        1 => Just(Step::Reopen),
    ]
}

/// Rows that look random.
fn drawn(rows: u32, seed: u32) -> Vec<(u32, u8, u8, u8)> {
    let row = |it: u32| {
        let bits = (it ^ seed).wrapping_mul(0x9e37_79b9).rotate_left(15);
        let [one, two, three, four] = bits.wrapping_mul(0x85eb_ca6b).to_le_bytes();
        let ago = (u32::from(one) << 8 | u32::from(two)) * 3;
        (ago, three, four % 5, one % 40)
    };
    (0..rows).map(row).collect()
}

const LEVELS: [&str; 5] = ["DEBUG", "INFO", "WARNING", "ERROR", ""];
const WORDS: [&str; 6] = ["timeout", "retry", "Straße", "block_7", "x", "10.0.0.1"];

/// What a record of the list is.
type Record = (i64, i64, String, String, String);

fn append(world: &World, list: &mut Vec<Record>, rows: &[(u32, u8, u8, u8)], serial: &mut i64) {
    let mut batch = Batch::new(Kind::Logs);
    for (ago, word, level, session) in rows {
        let at = Timestamp(NOW.0 - u64::from(*ago) * 1_000_000_000);
        let word = usize::from(*word);
        let body = format!("{} {} said {word}", WORDS[word % 6], WORDS[word % 5]);
        let level = LEVELS[usize::from(*level)];
        let session = format!("s-{session}");
        batch
            .row(at)
            .text(logs::LEVEL, level)
            .text(logs::SESSION, &session)
            .text(logs::BODY, &body)
            .integer(logs::PROCESS, *serial);
        list.push((
            i64::try_from(at.0).unwrap(),
            *serial,
            level.to_owned(),
            session,
            body,
        ));
        *serial += 1;
    }
    assert_eq!(world.append(batch).rows, rows.len());
}

fn check(world: &World, list: &[Record], text: &str, wanted: impl Fn(&Record) -> bool) {
    let filter = Filter::parse(Kind::Logs, text).unwrap();
    let mut expected: Vec<&Record> = list.iter().filter(|it| wanted(it)).collect();
    expected.sort_by_key(|it| std::cmp::Reverse((it.0, it.1)));
    let serial = |row: &Row| row.integer(logs::PROCESS).unwrap();
    let latest = world.rows(Query::latest(filter.clone(), 17));
    let serials: Vec<i64> = latest.iter().map(serial).collect();
    let first: Vec<i64> = expected.iter().take(17).map(|it| it.1).collect();
    assert_eq!(serials, first, "{text}");
    // Read on from the last one.
    if let Some(last) = latest.last() {
        let rest = Query {
            before: Some((i64::try_from(last.at().0).unwrap(), last.id())),
            ..Query::latest(filter.clone(), usize::MAX)
        };
        let serials: Vec<i64> = world.rows(rest).iter().map(serial).collect();
        let others: Vec<i64> = expected.iter().skip(17).map(|it| it.1).collect();
        assert_eq!(serials, others, "{text}, read on");
    }
    let query = Query::latest(filter, 0);
    let counted = world.store().count(&query).unwrap();
    assert_eq!(counted.rows, expected.len() as u64, "{text}");
    let mut bars: BTreeMap<(i64, String), u64> = BTreeMap::new();
    for record in &expected {
        let minute = record.0.div_euclid(60_000_000_000);
        *bars.entry((minute, record.2.clone())).or_default() += 1;
    }
    let mut found = BTreeMap::new();
    let histogram = world
        .store()
        .histogram(&query, Duration::from_mins(1))
        .unwrap();
    for bar in histogram {
        let minute = i64::try_from(bar.at.0).unwrap() / 60_000_000_000;
        found.extend(
            bar.counts
                .into_iter()
                .map(|(word, count)| ((minute, word), count)),
        );
    }
    assert_eq!(found, bars, "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_question_is_answered_as_a_list_in_memory_would(
        steps in prop::collection::vec(step(), 1..30),
    ) {
        let mut world = World::new();
        let (mut list, mut serial) = (Vec::new(), 0);
        for step in &steps {
            match step {
                Step::Append(rows) => append(&world, &mut list, rows, &mut serial),
                Step::Many(rows, seed) => {
                    append(&world, &mut list, &drawn(*rows, *seed), &mut serial);
                }
                Step::Seal => {
                    world.seal();
                }
                Step::Tend => {
                    world.clock.forward(Duration::from_secs(61));
                    world.tend();
                }
                Step::Reopen => world.reopen(),
            }
        }
        check(&world, &list, "", |_| true);
        check(&world, &list, "TIMEOUT", |it| it.4.contains("timeout"));
        check(&world, &list, "straße or level:error", |it| {
            it.4.contains("Straße") || it.2 == "ERROR"
        });
        check(&world, &list, "\"10 0 0 1 x\"", |it| it.4.contains("10.0.0.1 x"));
        check(&world, &list, "level:>=warning -retry", |it| {
            matches!(&*it.2, "WARNING" | "ERROR") && !it.4.contains("retry")
        });
        check(&world, &list, "\"said 17\"", |it| it.4.ends_with("said 17"));
        check(&world, &list, "17 or -said or (x 23)", |it| {
            it.4.ends_with(" 17") || (it.4.contains("x ") && it.4.ends_with(" 23"))
        });
        check(&world, &list, "session:s-7 block_7", |it| {
            it.3 == "s-7" && it.4.contains("block_7")
        });
        check(&world, &list, "session:s-1*", |it| it.3.starts_with("s-1"));
        check(&world, &list, "-level:*", |it| it.2.is_empty());
        check(&world, &list, "process:<20", |it| it.1 < 20);
    }
}
