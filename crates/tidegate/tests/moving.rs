//! What an earlier version kept is taken over, once.

use std::path::Path;

use rusqlite::Connection;
use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_types::{CallId, Clock as _, NanoUsd, SystemClock, Timestamp};

use crate::world::World;

/// `calls.db` as the version before made it.
const SCHEMA: &str = "
CREATE TABLE blocks (
    id INTEGER PRIMARY KEY,
    calls INTEGER NOT NULL,
    lowest INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    latest INTEGER NOT NULL,
    records BLOB NOT NULL
) STRICT;
CREATE TABLE names (
    what TEXT NOT NULL,
    name TEXT NOT NULL,
    block INTEGER NOT NULL,
    PRIMARY KEY (what, name, block)
) STRICT, WITHOUT ROWID;
";

/// Writes such a file.
fn old_calls(data: &Path, blocks: &[Vec<CallRecord>]) {
    let file = Connection::open(data.join("calls.db")).unwrap();
    file.pragma_update(None, "journal_mode", "wal").unwrap();
    file.execute_batch(SCHEMA).unwrap();
    for block in blocks {
        let plain = rmp_serde::to_vec_named(block).unwrap();
        let put = "INSERT INTO blocks (calls, lowest, highest, latest, records) VALUES (?1, ?2, ?3, ?4, ?5)";
        let numbers = |it: &CallRecord| i64::from_str_radix(&it.id.to_string()[5..], 16).unwrap();
        let latest = block.iter().map(|it| it.at.0).max().unwrap();
        file.execute(
            put,
            rusqlite::params![
                i64::try_from(block.len()).unwrap(),
                block.iter().map(numbers).min().unwrap(),
                block.iter().map(numbers).max().unwrap(),
                i64::try_from(latest).unwrap(),
                lz4_flex::compress_prepend_size(&plain),
            ],
        )
        .unwrap();
    }
}

fn call(number: u64, at: Timestamp) -> CallRecord {
    let mut call = CallRecord::arrived(CallId::from_raw(number), at, "anthropic_messages");
    call.organisation = "local".into();
    call.user = "local".into();
    call.session = Some(format!("old-{}", number % 3).into());
    call.model_sent = "claude-opus-5-5".into();
    call.outcome = Outcome::Answered;
    call.cost = NanoUsd(number * 1_000_000);
    call
}

#[test]
fn calls_of_an_earlier_version_are_there_once_however_often_moving_them_is_interrupted() {
    let world = World::new();
    std::fs::create_dir_all(world.data()).unwrap();
    let now = SystemClock::start().now();
    let hours = |count: u64| Timestamp(now.0 - count * 3_600_000_000_000);
    let old: Vec<CallRecord> = (1..=700).map(|it| call(it, hours(it))).collect();
    // Older than any call is kept.
    let too_old = call(701, hours(24 * 400));
    let mut blocks: Vec<Vec<CallRecord>> = old.chunks(256).map(<[_]>::to_vec).collect();
    blocks.push(vec![too_old]);
    old_calls(&world.data(), &blocks);
    let (file, moved) = (
        world.data().join("calls.db"),
        world.data().join("calls.db.moved"),
    );
    // Where nothing can be kept, it stays where it is.
    let obstacle = world.data().join("telemetry");
    std::fs::write(&obstacle, "in the way").unwrap();
    world.serve().program.stop();
    assert!(file.exists() && !moved.exists());
    std::fs::remove_file(&obstacle).unwrap();
    let count = "logs --count event:call_settled";
    let gateway = world.serve();
    assert_eq!(world.said(count), "700\n");
    let told = world.said("logs event:calls_moved");
    assert!(told.contains("records=701"), "{told}");
    gateway.program.stop();
    assert!(!file.exists() && moved.exists());
    // As if it had ended just before it gave the file its other name.
    std::fs::rename(&moved, &file).unwrap();
    let gateway = world.serve();
    assert_eq!(world.said(count), "700\n");
    let one = world.json("calls call_0000000000000007 --json");
    assert_eq!(one["session"], "old-1");
    assert_eq!(one["cost"], 7_000_000);
    assert_eq!(world.said(&format!("{count} session:old-2")), "233\n");
    gateway.program.stop();
    assert!(!file.exists());
}
