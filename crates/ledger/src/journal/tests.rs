use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{Entry, LimitTable, PolicyEntry};

fn record(at: u64) -> Record {
    match at % 4 {
        3 => Record::Tried,
        0 => {
            let policy = PolicyEntry {
                at: Timestamp(at),
                limits: Arc::new(LimitTable::default()),
            };
            Record::Entry(Line::new(Entry::Policy(policy)))
        }
        _ => Record::Taking(Taking {
            reservation: ReservationId::from_raw(at),
            at: Timestamp(at),
            platform: "sonnet".into(),
            need: [at, 1, u64::MAX, 0, 4, 5],
        }),
    }
}

fn encode(record: &Record, out: &mut Vec<u8>) {
    let encoded = match record {
        Record::Entry(line) => encode_entry(line, out),
        Record::Taking(taking) => encode_taking(taking, out),
        Record::Tried => encode_tried(out),
    };
    encoded.unwrap();
}

fn journal(count: u64) -> (Vec<Record>, Vec<u8>, Vec<usize>) {
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    let records: Vec<Record> = (0..count).map(record).collect();
    for record in &records {
        encode(record, &mut bytes);
        ends.push(bytes.len());
    }
    (records, bytes, ends)
}

fn records(found: impl Iterator<Item = Found>) -> Vec<Record> {
    found
        .filter_map(|it| match it {
            Found::Record(record) => Some(record),
            Found::Damage { .. } | Found::TornTail { .. } => None,
        })
        .collect()
}

#[test]
fn a_journal_cut_at_any_byte_gives_all_whole_records_and_no_damage() {
    let (whole, bytes, ends) = journal(7);
    for cut in 0..=bytes.len() {
        let found: Vec<Found> = decode(&bytes[..cut]).collect();
        let complete = ends.iter().filter(|it| **it <= cut).count() - 1;
        assert_eq!(
            records(found.clone().into_iter()),
            whole[..complete],
            "cut at {cut}"
        );
        let torn = (!ends.contains(&cut)).then_some(Found::TornTail {
            from: ends[complete],
        });
        let rest: Vec<Found> = found.into_iter().skip(complete).collect();
        assert_eq!(rest, Vec::from_iter(torn), "cut at {cut}");
    }
}

#[test]
fn zeros_behind_the_last_record_are_a_torn_tail() {
    let (whole, mut bytes, _) = journal(3);
    let from = bytes.len();
    bytes.extend_from_slice(&[0; 4096]);
    let found: Vec<Found> = decode(&bytes).collect();
    assert_eq!(found.last(), Some(&Found::TornTail { from }));
    assert_eq!(records(found.into_iter()), whole);
}

#[test]
fn an_append_behind_a_torn_record_is_damage_and_loses_nothing_else() {
    let (whole, mut bytes, ends) = journal(3);
    bytes.truncate(ends[3] - 5);
    let from = ends[2];
    let to = bytes.len();
    encode(&record(9), &mut bytes);
    let found: Vec<Found> = decode(&bytes).collect();
    assert!(found.contains(&Found::Damage { from, to }), "{found:?}");
    let mut kept = whole[..2].to_vec();
    kept.push(record(9));
    assert_eq!(records(found.into_iter()), kept);
}

proptest! {
    #[test]
    fn a_changed_byte_costs_its_own_record_alone(at: prop::sample::Index, by in 1_u8..) {
        let (whole, mut bytes, ends) = journal(6);
        let at = at.index(bytes.len());
        bytes[at] = bytes[at].wrapping_add(by);
        let hit = ends.iter().filter(|it| **it <= at).count() - 1;
        let found: Vec<Found> = decode(&bytes).collect();
        let mut expected = whole;
        expected.remove(hit);
        prop_assert_eq!(records(found.clone().into_iter()), expected);
        let told = found.iter().any(|it| match it {
            Found::Damage { from, .. } | Found::TornTail { from } => *from == ends[hit],
            Found::Record(_) => false,
        });
        prop_assert!(told, "{:?}", found);
    }

    #[test]
    fn arbitrary_bytes_are_read_to_their_end(bytes: Vec<u8>) {
        prop_assert!(records(decode(&bytes)).is_empty());
    }
}
