//! Damaged files: bounded, reported, nothing else lost, other data keeps being served.

use std::{fs, path::Path, time::Duration};

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use proptest::prelude::*;
use tidegate_observe::telemetry::{Filter, Kind, logs::BODY};
use tidegate_segments::Query;

use crate::world::{NOW, World, logs};

/// A part of yesterday, a part of today, and a recent block.
fn world() -> World {
    let world = World::new();
    let yesterday = tidegate_types::Timestamp(NOW.0 - 86_400_000_000_000);
    world.append(logs(yesterday, &["old one", "old two"]));
    world.seal();
    world.append(logs(NOW, &["new one", "new two"]));
    world.seal();
    world.append(logs(NOW.after(Duration::from_mins(1)), &["recent one"]));
    world
}

fn overwrite(path: &Path, at: usize, with: impl Fn(u8) -> u8) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] = with(bytes[at]);
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_part_with_a_damaged_page_is_reported_set_aside_and_the_rest_is_served() {
    let mut world = world();
    let path = world.file("02.parquet");
    overwrite(&path, 20, |it| it ^ 1);
    let (found, damaged) = world.look("");
    assert_eq!(found, ["recent one", "old two", "old one"]);
    assert_eq!(
        damaged,
        [
            "`…/parts/logs-0000000000000002.parquet` is damaged: the checksum of `time` in row group 0 differs"
        ]
    );
    // Once it was reported, it is out of the way, and there for a person to look at.
    for _ in 0..2 {
        assert_eq!(world.look(""), (found.clone(), Vec::new()));
        assert!(
            world
                .directory
                .path()
                .join("damaged")
                .join(path.file_name().unwrap())
                .exists()
        );
        world.reopen();
        assert_eq!(world.recovery, tidegate_segments::Recovery::default());
    }
}

#[test]
fn the_query_that_finds_a_damaged_group_still_has_the_others_of_its_part() {
    let world = World::new();
    let bodies: Vec<String> = (0..20_000).map(|it| format!("record {it}")).collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    let long_ago = tidegate_types::Timestamp(NOW.0 - 20 * 86_400_000_000_000);
    world.append(logs(long_ago, &bodies[..16_384]));
    world.append(logs(
        long_ago.after(Duration::from_secs(16_384)),
        &bodies[16_384..],
    ));
    world.seal();
    overwrite(&world.file("01.parquet"), 20, |it| it ^ 1);
    let (found, damaged) = world.look("record");
    assert_eq!(
        (found.len(), damaged.len()),
        (20_000 - 16_384, 1),
        "{damaged:?}"
    );
    assert_eq!(world.look("record"), (Vec::new(), Vec::new()));
}

#[test]
fn a_damaged_page_of_texts_is_found_by_those_who_read_it_alone() {
    let world = World::new();
    let bodies: Vec<String> = (0..5_000)
        .map(|it| match it {
            7 => "alone at the beginning".to_owned(),
            8 => "zzz at the end".to_owned(),
            it => format!("record number {it}"),
        })
        .collect();
    let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
    world.append(logs(NOW, &bodies));
    world.seal();
    let path = world.file("01.parquet");
    let file = SerializedFileReader::new(fs::File::open(&path).unwrap()).unwrap();
    let (start, _) = file.metadata().row_group(0).column(BODY).byte_range();
    overwrite(&path, usize::try_from(start).unwrap() + 200, |it| it ^ 1);
    // What begins alike shares a page; the last one is another.
    let expected = (vec!["zzz at the end".to_owned()], Vec::new());
    assert_eq!(world.look("zzz"), expected);
    let (found, damaged) = world.look("alone");
    assert_eq!(found, [""; 0]);
    assert_eq!(
        damaged,
        [
            "`…/parts/logs-0000000000000001.parquet` is damaged: the checksum of `body` in page 0 of row group 0 differs"
        ]
    );
    assert_eq!(world.look("zzz"), (Vec::new(), Vec::new()));
}

#[test]
fn a_part_that_was_cut_off_or_is_missing_is_reported_at_the_start() {
    let mut world = world();
    let length = fs::metadata(world.file("01.parquet")).unwrap().len();
    world.close();
    let file = fs::OpenOptions::new()
        .write(true)
        .open(world.file("01.parquet"))
        .unwrap();
    file.set_len(length / 2).unwrap();
    fs::remove_file(world.file("02.parquet")).unwrap();
    world.reopen();
    assert_eq!(world.recovery.damaged.len(), 2, "{:?}", world.recovery);
    assert_eq!(world.look("").0, ["recent one"]);
}

#[test]
fn a_damaged_index_is_made_anew_and_finds_the_same() {
    let length = fs::metadata(world().file("02.index")).unwrap().len();
    for at in (0..length).step_by(7) {
        let mut world = world();
        overwrite(
            &world.file("02.index"),
            usize::try_from(at).unwrap(),
            |it| !it,
        );
        for _ in 0..2 {
            assert_eq!(world.look("new two").0, ["new two"], "byte {at}");
            assert_eq!(world.look("").0.len(), 5, "byte {at}");
            world.store().tend();
            world.reopen();
            assert_eq!(world.recovery.damaged, [""; 0], "byte {at}");
        }
        assert_eq!(
            world.look("new two"),
            (vec!["new two".to_owned()], Vec::new())
        );
    }
}

#[test]
fn a_missing_index_is_made_anew() {
    let mut world = world();
    world.close();
    fs::remove_file(world.file("01.index")).unwrap();
    world.reopen();
    assert_eq!(world.bodies("old"), ["old two", "old one"]);
    assert!(world.file("01.index").exists());
}

#[test]
fn a_part_without_its_index_is_served_only_as_it_was_written() {
    let length = fs::metadata(world().file("01.parquet")).unwrap().len();
    let mut served = 0;
    for at in (0..usize::try_from(length).unwrap()).step_by(29) {
        let mut world = world();
        world.close();
        overwrite(&world.file("01.parquet"), at, |it| it ^ 4);
        fs::remove_file(world.file("01.index")).unwrap();
        world.reopen();
        let found = world.bodies("");
        if found.len() == 5 {
            // The name of the checksum was hit, or what only says who wrote the file.
            assert_eq!(found[3..], ["old two", "old one"], "byte {at}");
            served += 1;
        } else {
            assert_eq!(found, ["recent one", "new two", "new one"], "byte {at}");
            assert_eq!(world.recovery.damaged.len(), 1, "byte {at}");
        }
    }
    assert!(served <= 2, "{served} of {}", length / 29);
}

#[test]
fn without_its_database_every_part_is_found_again() {
    for damage in ["garbage", "gone", "a format to come"] {
        let mut world = world();
        world.close();
        let database = world.directory.path().join("telemetry.db");
        match damage {
            "gone" => fs::remove_file(&database).unwrap(),
            "a format to come" => overwrite(&database, 47, |_| 5),
            _ => fs::write(&database, [0x55; 8192]).unwrap(),
        }
        world.reopen();
        let reported = usize::from(damage != "gone");
        assert_eq!(
            world.recovery.damaged.len(),
            reported,
            "{:?}",
            world.recovery
        );
        assert_eq!(world.recovery.adopted, 2);
        assert_eq!(
            world.bodies(""),
            ["new two", "new one", "old two", "old one"]
        );
        world.append(logs(NOW, &["goes on"]));
        world.seal();
        world.reopen();
        assert_eq!(world.bodies("").len(), 5);
    }
}

#[test]
fn parts_that_were_merged_are_not_found_again_beside_what_they_became() {
    let mut world = World::new();
    for round in 0..8 {
        world.append(logs(NOW, &[&format!("round {round}")]));
        if round == 6 {
            world.seal();
            fs::create_dir(world.directory.path().join("kept")).unwrap();
            copy(
                &world.directory.path().join("parts"),
                &world.directory.path().join("kept"),
            );
        } else {
            world.seal();
        }
    }
    assert_eq!(world.store().part_files(Kind::Logs).len(), 1);
    world.close();
    // The removed files come back, as after a power cut, and the catalogue is lost.
    copy(
        &world.directory.path().join("kept"),
        &world.directory.path().join("parts"),
    );
    fs::remove_file(world.directory.path().join("telemetry.db")).unwrap();
    world.reopen();
    assert_eq!((world.recovery.adopted, world.recovery.orphans), (1, 14));
    assert_eq!(world.bodies("").len(), 8);
}

fn copy(from: &Path, to: &Path) {
    for file in fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_damaged_block_is_reported_and_set_aside_when_the_others_are_sealed() {
    let mut world = world();
    world.append(logs(NOW.after(Duration::from_secs(90)), &["recent two"]));
    world.close();
    let database = rusqlite::Connection::open(world.directory.path().join("telemetry.db")).unwrap();
    let change =
        "UPDATE blocks SET records = x'28b52ffd00' WHERE id = (SELECT min(id) FROM blocks)";
    assert_eq!(database.execute(change, []).unwrap(), 1);
    drop(database);
    world.reopen();
    let (found, damaged) = world.look("");
    assert_eq!(
        found,
        ["recent two", "new two", "new one", "old two", "old one"]
    );
    assert_eq!(damaged.len(), 1, "{damaged:?}");
    assert_eq!(world.store().seal_all().damaged.len(), 1);
    assert_eq!(world.look(""), (found, Vec::new()));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_bytes_change_nothing_is_invented_and_nothing_panics(
        damages in prop::collection::vec((0..5usize, any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut world = world();
        world.close();
        let parts = ["01.parquet", "02.parquet", "01.index", "02.index"];
        for (file, at, byte) in damages {
            let path = parts.get(file).map_or_else(
                || world.directory.path().join("telemetry.db"),
                |it| world.file(it),
            );
            let length = fs::metadata(&path).unwrap().len();
            overwrite(&path, at.index(usize::try_from(length).unwrap()), |_| byte);
        }
        if let Err(newer) = world.try_reopen() {
            // A byte made its format one that is to come: that it is damage can't be told.
            prop_assert!(format!("{newer:?}").contains("update the program"), "{newer:?}");
            return Ok(());
        }
        let known = ["recent one", "new two", "new one", "old two", "old one"];
        for filter in ["", "one", "-two"] {
            let (found, _) = world.look(filter);
            let in_order = known.iter().filter(|it| found.iter().any(|found| found == *it));
            let in_order: Vec<&str> = in_order.copied().collect();
            prop_assert_eq!(found, in_order);
        }
        world.store().seal_all();
        let query = Query::latest(Filter::all(Kind::Logs), 0);
        let counted = world.store().count(&query).unwrap();
        prop_assert!(counted.rows <= 5);
    }
}
