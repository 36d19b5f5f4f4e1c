use proptest::prelude::*;
use tidegate_types::Timestamp;

use super::*;
use crate::telemetry::{Kind, logs};

fn batch(rows: &[(u64, String)]) -> Batch {
    let mut batch = Batch::new(Kind::Logs);
    for (second, level) in rows {
        batch
            .row(Timestamp::from_seconds(*second))
            .text(logs::LEVEL, level);
    }
    batch
}

#[test]
fn words_beyond_the_bound_are_counted_together() {
    let rows: Vec<(u64, String)> = (0..100).map(|it| (0, format!("word{it}"))).collect();
    let counts = Counts::of(&batch(&rows));
    let others: u64 = counts
        .iter()
        .filter(|it| it.1 == OTHER)
        .map(|it| it.2)
        .sum();
    assert_eq!(counts.iter().count(), WORDS_MAX);
    assert_eq!(others, 100 - (WORDS_MAX as u64 - 1));
}

#[test]
fn bytes_that_are_no_counts_are_refused() {
    let whole = Counts::of(&batch(&[(0, "a".into()), (60, "b".into())])).encode();
    for end in 0..whole.len() {
        assert!(Counts::decode(&whole[..end]).is_err(), "{end}");
    }
    assert!(
        Counts::decode(&[1, 1, b'a', 1, 0, 1, 1]).is_err(),
        "a word that is not there"
    );
}

proptest! {
    #[test]
    fn the_counts_of_parts_are_those_of_the_whole_and_survive_storage(
        rows in prop::collection::vec((0..600u64, "[abc]?"), 0..60), at in 0..60usize,
    ) {
        let (one, two) = rows.split_at(at.min(rows.len()));
        let mut sum = Counts::of(&batch(one));
        sum.add(&Counts::decode(&Counts::of(&batch(two)).encode()).unwrap());
        let sorted = |counts: &Counts| {
            let mut them: Vec<_> = counts.iter().map(|it| (it.0, it.1.to_owned(), it.2)).collect();
            them.sort();
            them
        };
        prop_assert_eq!(sorted(&sum), sorted(&Counts::of(&batch(&rows))));
        prop_assert_eq!(sum.iter().map(|it| it.2).sum::<u64>(), rows.len() as u64);
    }
}
