use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;

use tidegate_ledger::{Line, journal::encode_entry};

use super::*;
use crate::contract::{
    journal::{frame, journal_contract, kept},
    reserve,
};

fn journal() -> (FileJournal, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (FileJournal::open(directory.path()).unwrap(), directory)
}

/// With a segment for every three records or so.
fn short() -> (FileJournal, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (
        FileJournal::open_as(directory.path(), "boot 1", 200).unwrap(),
        directory,
    )
}

journal_contract!(journal());

mod of_many_segments {
    use super::*;

    journal_contract!(short());
}

#[test]
fn segments_below_a_checkpoint_are_deleted() {
    let (journal, directory) = short();
    let positions: Vec<_> = (0..50)
        .map(|it| journal.append(&frame(it)).unwrap())
        .collect();
    let there = segments(directory.path()).unwrap();
    assert!(there.len() > 5, "{there:?}");
    journal.checkpoint(positions[49]).unwrap();
    assert_eq!(
        segments(directory.path()).unwrap(),
        there[there.len() - 1..]
    );
}

#[test]
fn a_killed_process_loses_nothing_and_the_next_begins_behind_it() {
    let (first, directory) = short();
    first.append(&frame(1)).unwrap();
    // Not dropped: a killed process closes nothing in order.
    std::mem::forget(first);
    let second = FileJournal::open_as(directory.path(), "boot 1", 200).unwrap();
    second.append(&frame(2)).unwrap();
    assert_eq!(kept(&second), [1, 2]);
    assert!(second.read_back().unwrap().complete);
}

#[test]
fn a_segment_torn_at_any_byte_hides_no_later_one() {
    let (first, directory) = short();
    first.append(&frame(1)).unwrap();
    first.append(&frame(2)).unwrap();
    let path = path(directory.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (title, first_end) = (TITLE.len() + "boot 1\n".len(), whole.len() - frame(2).len());
    for cut in 0..whole.len() {
        fs::write(&path, &whole[..cut]).unwrap();
        let next = FileJournal::open_as(directory.path(), "boot 1", 200).unwrap();
        next.append(&frame(3)).unwrap();
        let back = next.read_back().unwrap();
        let found = back.segments.iter().flat_map(|it| {
            tidegate_ledger::journal::decode(it).filter_map(|it| match it {
                tidegate_ledger::journal::Found::Record(it) => Some(it),
                _ => None,
            })
        });
        let expected = 1 + usize::from(cut >= first_end);
        assert_eq!(found.count(), expected, "cut at {cut}");
        assert_eq!(back.complete, cut >= title, "cut at {cut}");
        let last = next.writing.lock().segment;
        fs::remove_file(super::path(directory.path(), last)).unwrap();
    }
}

#[test]
fn another_start_of_the_machine_makes_the_journal_incomplete_until_its_checkpoint() {
    let (first, directory) = short();
    first.append(&frame(1)).unwrap();
    let second = FileJournal::open_as(directory.path(), "boot 2", 200).unwrap();
    let position = second.append(&frame(2)).unwrap();
    assert!(!second.read_back().unwrap().complete);
    second.checkpoint(position).unwrap();
    let back = second.read_back().unwrap();
    assert!(back.complete);
    assert_eq!(kept(&second), [2]);
}

#[test]
fn a_machine_that_does_not_name_its_start_is_never_complete() {
    let directory = tempfile::tempdir().unwrap();
    let journal = FileJournal::open_as(directory.path(), "", 200).unwrap();
    assert!(!journal.read_back().unwrap().complete);
}

#[test]
fn segments_are_private() {
    let (_journal, directory) = short();
    let mode = fs::metadata(path(directory.path(), 1))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn whoever_only_looks_finds_the_entries_of_all_segments_and_leaves_no_trace() {
    let (journal, directory) = short();
    assert_eq!(journaled_entries(directory.path()).unwrap(), []);
    let nowhere = directory.path().join("nowhere");
    assert_eq!(journaled_entries(&nowhere).unwrap(), []);
    let mut cut = Vec::new();
    for reservation in 1..=9 {
        cut.clear();
        encode_entry(&Line::new(reserve(reservation, 80)), &mut cut).unwrap();
        journal.append(&cut).unwrap();
    }
    // What a crash cut off, and what belongs to no entry.
    journal.append(&frame(1)).unwrap();
    journal.append(&cut[..20]).unwrap();
    let there = segments(directory.path()).unwrap();
    assert!(there.len() > 3, "{there:?}");
    let names: Vec<_> = (1..=9).map(|it| (ReservationId::from_raw(it), 0)).collect();
    assert_eq!(journaled_entries(directory.path()).unwrap(), names);
    assert_eq!(segments(directory.path()).unwrap(), there);
}
