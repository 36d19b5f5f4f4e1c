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
        let bits = Findable::of(&batch, 0..1);
        counts.add(&Counts::of(&batch));
        let mut it = GroupIndex::of(&batch, &bits);
        it.sums = vec![1, u32::MAX];
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
    let bits = Findable::of(&batch, 0..1);
    let trace = "00000000000000000000000000000abc";
    let exact = |name, value| bits.may_hold(exact_key(name, value));
    assert!(bits.may_hold(word_key("full")) && bits.may_hold(word_key("DISK")));
    assert!(exact("task", "Nightly Run") && exact("trace_id", trace));
    assert!(!bits.may_hold(word_key("nightly")) && !exact("session", "nightly run"));
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
            for section in [Section::Ids, Section::Words] {
                let (start, shape) = index.filter_at(group, section);
                prop_assert_eq!(start, at);
                at += shape.bytes() as u64;
            }
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
