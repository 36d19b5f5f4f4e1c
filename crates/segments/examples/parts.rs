//! Fills a store with every kind of record and says what it sent, for programs that read its files:
//! `parts FOLDER` makes `FOLDER/expected.jsonl` and prints the paths of the parts.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a program for a test, that stops where it can't go on"
)]

use std::{fmt::Write as _, path::Path, sync::Arc, time::Duration};

use tidegate_observe::telemetry::{Batch, ColumnType, Kind, Value};
use tidegate_segments::{Options, Segments};
use tidegate_types::{Clock as _, SystemClock, Timestamp};

/// Rows of each kind: more than two row groups.
const ROWS: u64 = 40_000;

/// Rows of one batch.
const BATCH: u64 = 1_000;

/// As many seals as make parts merge.
const SEALS: u64 = 8;

fn main() {
    let folder = std::env::args().nth(1).unwrap();
    let folder = Path::new(&folder);
    let clock = Arc::new(SystemClock::start());
    let hour = Duration::from_hours(1);
    let start = Timestamp(clock.now().0 - u64::try_from(hour.as_nanos()).unwrap());
    let (store, _) = Segments::open(&folder.join("telemetry"), Options::default(), clock).unwrap();
    let mut expected = String::new();
    for kind in Kind::ALL {
        for batch in 0..ROWS / BATCH {
            let batch_of = filled(kind, start, batch * BATCH);
            expect(&batch_of, &mut expected);
            store.append(batch_of, None).unwrap().wait().unwrap();
            if (batch + 1) % (ROWS / BATCH / SEALS) == 0 {
                let tended = store.seal_all();
                assert!(
                    tended.failed.is_empty() && tended.damaged.is_empty(),
                    "{tended:?}"
                );
            }
        }
        for path in store.part_files(kind) {
            println!("{}", path.display());
        }
    }
    std::fs::write(folder.join("expected.jsonl"), expected).unwrap();
}

/// Rows with a value in most columns: of each type, with absences, letters beyond ASCII, and
/// numbers at their ends.
fn filled(kind: Kind, start: Timestamp, from: u64) -> Batch {
    let mut batch = Batch::new(kind);
    for number in from..from + BATCH {
        let mut row = batch.row(start.after(Duration::from_micros(number * 37)));
        for (place, column) in kind.schema().columns.iter().enumerate().skip(2) {
            let mixed = (number + place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let small = i64::try_from(mixed >> 60).unwrap();
            if small == 0 {
                continue;
            }
            match column.holds {
                // A time of its own has only a record whose sender's clock was wrong.
                ColumnType::Time => continue,
                ColumnType::Integer if small == 1 => row.integer(place, i64::MAX),
                ColumnType::Integer if small == 2 => row.integer(place, i64::MIN + 1),
                ColumnType::Integer => row.integer(place, mixed.cast_signed() >> 40),
                ColumnType::Flag => row.integer(place, small & 1),
                ColumnType::SpanId => row.integer(place, mixed.cast_signed()),
                ColumnType::TraceId => {
                    row.wide(place, u128::from(mixed) << 64 | u128::from(number))
                }
                ColumnType::Word => row.text(place, &format!("{}-ä{small}", column.name)),
                ColumnType::Text => row.text(
                    place,
                    &format!("record {number} said: 日本 \"{mixed:x}\"\n"),
                ),
            };
        }
    }
    batch
}

/// Writes what a batch has, column by column and from its own values.
fn expect(batch: &Batch, to: &mut String) {
    for row in 0..batch.rows() {
        write!(to, "{{\"kind_of_record\":\"{}\"", batch.kind()).unwrap();
        for (place, column) in batch.schema().columns.iter().enumerate() {
            let Some(value) = batch.value(place, row) else {
                continue;
            };
            let shown = match (column.holds, value) {
                (ColumnType::Flag, Value::Integer(it)) => (it != 0).to_string(),
                (ColumnType::SpanId, Value::Integer(it)) => {
                    format!("\"{:016x}\"", it.cast_unsigned())
                }
                (_, Value::Integer(it)) => it.to_string(),
                (_, Value::Wide(it)) => format!("\"{it:032x}\""),
                (_, Value::Text(it)) => serde_json::to_string(it).unwrap(),
            };
            write!(to, ",\"{}\":{shown}", column.name).unwrap();
        }
        to.push_str("}\n");
    }
}
