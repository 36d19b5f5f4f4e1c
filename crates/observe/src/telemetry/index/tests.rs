use proptest::prelude::*;
use tidegate_types::Timestamp;

use super::*;
use crate::telemetry::{exact_key, logs, word_key};

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(7, |sum, it| {
        sum.wrapping_mul(31).wrapping_add(u32::from(*it))
    })
}

fn index(groups: usize) -> PartIndex {
    let mut all = Vec::new();
    let mut counts = Counts::default();
    for group in 0..groups {
        let mut batch = Batch::new(Kind::Logs);
        let at = Timestamp::from_seconds(1_000 * group as u64);
        batch
            .row(at)
            .text(logs::BODY, "one two")
            .text(logs::TASK, "t");
        let bits = Findable::group(&batch);
        counts.add(&Counts::of(&batch));
        let mut it = GroupIndex::of(&batch, &bits);
        it.sums = vec![1, u32::MAX];
        it.paged = vec![ColumnPages {
            column: group,
            pages: vec![(1 << group, u32::MAX), (0, 7)],
        }];
        all.push(it);
    }
    let mut index = PartIndex::new(Kind::Logs, all, counts);
    index.part_bytes = 12_345;
    index.footer_sum = 9;
    index.filters_sum = 8;
    index.replaces = vec![3, 1 << 60];
    index
}

fn read(bytes: &[u8]) -> Result<PartIndex, DamagedIndex> {
    let (preamble, head) = bytes.split_at(PREAMBLE_BYTES);
    let (length, expected) = PartIndex::preamble(preamble.try_into().unwrap())?;
    assert_eq!((length, expected), (head.len(), sum(head)));
    PartIndex::decode(head)
}

#[test]
fn rows_are_found_by_their_words_and_by_whole_values() {
    let mut batch = Batch::new(Kind::Logs);
    batch
        .row(Timestamp(1))
        .text(logs::BODY, "Disk FULL")
        .text(logs::TASK, "nightly run")
        .wide(logs::TRACE, 0xabc);
    let bits = Findable::block(&batch);
    let trace = "00000000000000000000000000000abc";
    let may_hold = |key| bits.may_hold(key);
    let exact = |name, value| may_hold(exact_key(name, value));
    assert!(may_hold(word_key("full")) && may_hold(word_key("DISK")));
    assert!(exact("task", "Nightly Run") && exact("trace_id", trace));
    assert!(!may_hold(word_key("nightly")) && !exact("session", "nightly run"));
}

#[test]
fn words_are_found_in_the_pages_of_their_rows_also_where_there_are_very_many() {
    let mut batch = Batch::new(Kind::Logs);
    for row in 0..2_000u32 {
        let words = (0..200).map(|it| (row * 200 + it).wrapping_mul(0x9e37_79b9) % 500_000);
        let body: Vec<String> = words.map(|it| it.to_string()).collect();
        batch.row(Timestamp(1)).text(logs::BODY, &body.join(" "));
    }
    let filters = Findable::group(&batch);
    for row in (0..2_000).step_by(13) {
        for word in batch.text(logs::BODY, row).unwrap().split(' ') {
            let rows = filters.pages(word_key(word), 4).rows(2_000);
            assert!(
                rows.iter().any(|it| it.contains(&row)),
                "{word} of {row}: {rows:?}"
            );
        }
    }
}

#[test]
fn rows_share_a_page_with_those_that_begin_alike_and_stand_there_by_time() {
    let mut batch = Batch::new(Kind::Logs);
    for row in 0..2_000u64 {
        let body = format!("{} took {row} ms", ["b 7", "a 2", "c"][(row % 3) as usize]);
        batch.row(Timestamp(10_000 - row)).text(logs::BODY, &body);
    }
    batch.number(1);
    let arranged = batch.gather(&batch.by_page());
    let of_page = |page: usize| {
        let rows = page * PAGE_ROWS..2_000.min((page + 1) * PAGE_ROWS);
        let begins = |row| arranged.text(logs::BODY, row).map(|it| &it[..1]);
        let begins: std::collections::BTreeSet<_> = rows.clone().filter_map(begins).collect();
        let times = &arranged.integers(AT)[rows];
        (begins.into_iter().collect::<String>(), times.is_sorted())
    };
    let pages: Vec<_> = (0..4).map(of_page).collect();
    let expected = ["a", "ab", "bc", "c"].map(|it| (it.to_owned(), true));
    assert_eq!(pages, expected);
}

#[test]
fn an_index_that_begins_otherwise_or_is_too_long_is_refused() {
    let mut bytes = [0; PREAMBLE_BYTES];
    expect_test::expect!["the index is damaged: it begins otherwise"]
        .assert_eq(&PartIndex::preamble(&bytes).unwrap_err().to_string());
    bytes[..8].copy_from_slice(MAGIC);
    bytes[8..12].fill(0xff);
    expect_test::expect!["the index is damaged: its head is too long"]
        .assert_eq(&PartIndex::preamble(&bytes).unwrap_err().to_string());
}

proptest! {
    #[test]
    fn an_index_comes_back_as_it_was_and_knows_where_its_filters_are(groups in 0..9usize) {
        let mut index = index(groups);
        let bytes = index.encode(sum);
        prop_assert_eq!(read(&bytes).unwrap(), index.clone());
        let mut at = index.head_bytes();
        for group in 0..groups {
            let (ids, words) = index.filters_at(group);
            prop_assert_eq!(ids, at);
            at += index.groups[group].ids.bytes() as u64;
            prop_assert_eq!(words, at);
            at += index.groups[group].words.bytes() as u64;
        }
        prop_assert_eq!(index.file_bytes(), at);
    }

    #[test]
    fn a_head_that_breaks_off_is_refused(at in any::<prop::sample::Index>()) {
        let bytes = index(3).encode(sum);
        let head = &bytes[PREAMBLE_BYTES..];
        prop_assert!(PartIndex::decode(&head[..at.index(head.len())]).is_err());
    }
}
