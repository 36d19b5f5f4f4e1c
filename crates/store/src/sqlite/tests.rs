use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;
use tidegate_ledger::{Entry, Event, LedgerStore, SettingStore as _, verify_store};
use tidegate_types::{NanoUsd, Timestamp};

use super::*;
use crate::{
    MemoryStore,
    contract::{
        NOW, entry,
        ledger::ledger_contract,
        limits,
        records::{call, records_contract},
        reserve, settle,
    },
    reserve::{RESERVE, RESERVE_BYTES},
};

fn open(directory: &Path) -> SqliteStore {
    SqliteStore::open(DirectoryLock::take(directory, NOW).unwrap()).unwrap()
}

fn store() -> (SqliteStore, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    (open(directory.path()), directory)
}

ledger_contract!(store());
records_contract!(store());

fn state(directory: &TempDir) -> Connection {
    Connection::open(directory.path().join("state.db")).unwrap()
}

#[test]
fn all_of_it_is_there_when_it_is_opened_again() {
    let (first, directory) = store();
    first.append_entries(&[
        limits(500),
        reserve(1, 80),
        reserve(2, 5),
        settle(1, 80, 30),
    ]);
    first.set(&[("levels", b"7")]).unwrap();
    let rows = first.rows(0, 9).unwrap();
    drop(first);
    let again = open(directory.path());
    assert_eq!(again.rows(0, 9).unwrap(), rows);
    assert_eq!(again.setting("levels").unwrap().unwrap(), b"7");
    // What the writer had in memory is known again: nothing is appended twice, all goes on.
    again.append_entries(&[
        limits(500),
        reserve(1, 80),
        settle(1, 80, 30),
        settle(2, 5, 5),
    ]);
    assert_eq!(again.rows(0, 9).unwrap().len(), 5);
    assert!(again.open_reservations().unwrap().is_empty());
    assert!(verify_store(&again).unwrap().is_clean());
}

impl SqliteStore {
    fn append_entries(&self, entries: &[Entry]) {
        LedgerStore::append(self, entries).unwrap();
    }
}

#[test]
fn rows_and_changes_cannot_be_changed_through_sql() {
    let (store, directory) = store();
    store.append_entries(&[reserve(1, 80)]);
    let sql = state(&directory);
    for change in [
        "UPDATE entries SET payload = '{}'",
        "DELETE FROM entries",
        "UPDATE audit SET change = '{}'",
        "DELETE FROM audit",
    ] {
        let done = sql.execute(change, []);
        // An empty table has nothing to refuse.
        assert!(done.is_err() || done == Ok(0), "{change}: {done:?}");
    }
    assert!(sql.execute("DELETE FROM entries", []).is_err());
}

/// Changes the file behind the store's back, as somebody with an editor would.
fn tamper(directory: &TempDir, sql: &str) {
    let connection = state(directory);
    let changed = connection
        .execute_batch(
            "DROP TRIGGER entries_are_not_changed; DROP TRIGGER entries_are_not_deleted;",
        )
        .and_then(|()| connection.execute(sql, []));
    assert_eq!(changed, Ok(1), "{sql}");
}

#[test]
fn every_change_behind_the_stores_back_is_found() {
    for sql in [
        "UPDATE entries SET payload = replace(payload, '80', '70') WHERE seq = 2",
        "UPDATE entries SET chain = zeroblob(32) WHERE seq = 3",
        "UPDATE entries SET seq = 9 WHERE seq = 2",
        "DELETE FROM entries WHERE seq = 1",
        "DELETE FROM entries WHERE seq = 4",
        "UPDATE balances SET spent = spent - 1 WHERE kind = 'task'",
        "UPDATE balances SET held = held + 1 WHERE kind = 'llm'",
        "DELETE FROM balances WHERE kind = 'user_day'",
        "UPDATE head SET rows = 3",
    ] {
        let (store, directory) = store();
        store.append_entries(&[
            limits(500),
            reserve(1, 80),
            reserve(2, 5),
            settle(1, 80, 30),
        ]);
        assert!(verify_store(&store).unwrap().is_clean());
        tamper(&directory, sql);
        let report = verify_store(&store).unwrap();
        assert!(!report.is_clean(), "{sql}");
    }
}

#[test]
fn a_reader_sees_what_was_committed_and_writes_nothing() {
    let (store, directory) = store();
    store.append_entries(&[reserve(1, 80)]);
    let reader = SqliteStore::read(directory.path()).unwrap();
    assert_eq!(reader.rows(0, 9).unwrap().len(), 1);
    store.append_entries(&[reserve(2, 80)]);
    assert_eq!(reader.rows(0, 9).unwrap().len(), 2);
    let refused = LedgerStore::append(&reader, &[reserve(3, 80)]);
    assert!(
        matches!(refused, Err(StoreError::ReadOnly { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_full_disk_refuses_the_batch_names_the_file_and_goes_on_when_there_is_room() {
    let (store, directory) = store();
    store.append_entries(&[reserve(1, 80)]);
    let pages = |most: &str| {
        let mut writer = store.state.writer.lock();
        let writer = writer.as_mut().unwrap();
        let set =
            writer
                .connection
                .query_row(&format!("PRAGMA max_page_count = {most}"), [], |it| {
                    it.get::<_, i64>(0)
                });
        set.unwrap()
    };
    let many: Vec<Entry> = (2..2_000).map(|it| reserve(it, 1)).collect();
    let reserve = directory.path().join(RESERVE);
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
    pages("1");
    let refused = LedgerStore::append(&store, &many).unwrap_err();
    assert!(!reserve.exists(), "the room that was kept is given back");
    assert!(matches!(refused, StoreError::Full { .. }), "{refused:?}");
    assert!(refused.to_string().contains("state.db"), "{refused}");
    assert_eq!(store.rows(0, 9).unwrap().len(), 1);
    pages("1000000");
    store.append_entries(&many);
    assert_eq!(store.open_reservations().unwrap().len(), 1_999);
    assert!(verify_store(&store).unwrap().is_clean());
    drop(store);
    drop(open(directory.path()));
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), RESERVE_BYTES);
}

#[test]
fn a_file_that_is_not_ours_or_newer_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("state.db");
    let refused = |directory: &TempDir| {
        let lock = DirectoryLock::take(directory.path(), NOW).unwrap();
        SqliteStore::open(lock).unwrap_err().to_string()
    };
    std::fs::write(&path, "no database at all, but long enough to look at").unwrap();
    assert!(refused(&directory).contains("state.db"));
    std::fs::remove_file(&path).unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.pragma_update(None, "user_version", 3).unwrap();
    assert!(refused(&directory).contains("another program's"));
    drop(foreign);
    std::fs::remove_file(&path).unwrap();
    drop(open(directory.path()));
    let newer = Connection::open(&path).unwrap();
    newer.pragma_update(None, "user_version", 99).unwrap();
    assert!(refused(&directory).contains("newer than this program's"));
}

#[cfg(unix)]
#[test]
fn the_files_are_private() {
    use std::os::unix::fs::PermissionsExt as _;

    let (store, directory) = store();
    store.append_entries(&[reserve(1, 80)]);
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
    }
}

#[test]
fn a_store_that_is_closed_leaves_whole_files() {
    let (store, directory) = store();
    store.append_entries(&[reserve(1, 80)]);
    assert_eq!(store.open_reservations().unwrap().len(), 1);
    drop(store);
    assert!(!directory.path().join("state.db-wal").exists());
}

/// `calls.db` as earlier versions made it.
const OLD_CALLS: &str = "
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

#[test]
fn calls_of_an_earlier_version_are_read_block_by_block_and_once() {
    let directory = tempfile::tempdir().unwrap();
    assert!(OldCalls::find(directory.path()).unwrap().is_none());
    let path = directory.path().join("calls.db");
    let old = Connection::open(&path).unwrap();
    old.pragma_update(None, "journal_mode", "wal").unwrap();
    old.execute_batch(OLD_CALLS).unwrap();
    let blocks = [
        vec![call(1, "ann", Some("t1")), call(2, "bob", None)],
        vec![call(3, "ann", None)],
    ];
    for block in &blocks {
        let plain = rmp_serde::to_vec_named(block).unwrap();
        let put =
            "INSERT INTO blocks (calls, lowest, highest, latest, records) VALUES (1, 1, 1, 1, ?1)";
        old.execute(put, [lz4_flex::compress_prepend_size(&plain)])
            .unwrap();
    }
    drop(old);
    let mut found = OldCalls::find(directory.path()).unwrap().unwrap();
    for block in blocks {
        assert_eq!(found.next_block().unwrap(), Some(block));
    }
    assert_eq!(found.next_block().unwrap(), None);
    found.moved().unwrap();
    assert!(OldCalls::find(directory.path()).unwrap().is_none());
    assert!(directory.path().join("calls.db.moved").exists());
}

/// A random entry of one of a few reservations, valid or not.
fn any_entry() -> impl Strategy<Value = Entry> {
    let amount = prop::sample::select(&[0_u64, 10, 20, 30][..]);
    let event = prop_oneof![
        amount.clone().prop_map(|it| Event::Extend {
            by: NanoUsd(it),
            until: None
        }),
        amount
            .clone()
            .prop_map(|it| Event::Expire { held: NanoUsd(it) }),
        amount.clone().prop_map(|it| Event::Release {
            held: NanoUsd(it),
            reason: String::new()
        }),
        Just(Event::Unknown {
            until: Timestamp(1)
        }),
        (amount.clone(), amount.clone()).prop_map(|(from, to)| Event::Correct {
            from: NanoUsd(from),
            to: NanoUsd(to),
            by: String::new()
        }),
    ];
    prop_oneof![
        2 => (1_u64..6, amount.clone()).prop_map(|(id, bound)| reserve(id, bound)),
        1 => (1_u64..6, amount.clone(), amount).prop_map(|(id, held, cost)| settle(id, held, cost)),
        2 => (1_u64..6, 1_u32..4, event).prop_map(|(id, ordinal, it)| entry(id, ordinal, it)),
        1 => (0_u64..3).prop_map(limits),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sqlite_takes_and_refuses_what_memory_does(
        batches in prop::collection::vec((prop::collection::vec(any_entry(), 1..4), any::<bool>()), 1..40),
    ) {
        let (memory, directory) = (MemoryStore::default(), tempfile::tempdir().unwrap());
        let mut sqlite = open(directory.path());
        for (batch, reopen) in batches {
            let expected = LedgerStore::append(&memory, &batch);
            let found = LedgerStore::append(&sqlite, &batch);
            prop_assert_eq!(
                expected.map_err(|it| it.to_string()),
                found.map_err(|it| it.to_string())
            );
            if reopen {
                drop(sqlite);
                sqlite = open(directory.path());
            }
        }
        prop_assert_eq!(memory.rows(0, 999).unwrap(), sqlite.rows(0, 999).unwrap());
        prop_assert_eq!(memory.balances(None).unwrap(), sqlite.balances(None).unwrap());
        prop_assert_eq!(memory.open_reservations().unwrap(), sqlite.open_reservations().unwrap());
        prop_assert_eq!(memory.uncorrected(99).unwrap(), sqlite.uncorrected(99).unwrap());
        prop_assert!(verify_store(&memory).unwrap().is_clean());
        prop_assert!(verify_store(&sqlite).unwrap().is_clean());
    }
}
