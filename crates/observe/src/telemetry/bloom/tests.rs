use proptest::prelude::*;

use super::*;

/// Hashes as they come: spread over all 64 bits.
fn hashes(from: u64, many: u64) -> Vec<u64> {
    let hash = |it: u64| super::super::token::word_key(&format!("word{it}")).hash;
    (from..from + many).map(hash).collect()
}

#[test]
fn few_keys_that_were_not_put_in_seem_to_be_there() {
    let wrongly = |bits| {
        let bloom = Bloom::of(&mut hashes(0, 80_000), bits);
        let asked = hashes(1_000_000, 100_000);
        asked.iter().filter(|it| bloom.may_hold(**it)).count()
    };
    // In 100,000.
    let (words, ids) = (wrongly(10), wrongly(16));
    assert!((900..1_600).contains(&words), "{words}");
    assert!(ids < 150, "{ids}");
}

#[test]
fn an_empty_filter_holds_nothing_and_takes_nothing() {
    let bloom = Bloom::of(&mut Vec::new(), 10);
    assert_eq!((bloom.bytes().len(), bloom.may_hold(7)), (0, false));
    assert_eq!(Bloom::from_bytes(vec![0; 65]), None);
}

proptest! {
    #[test]
    fn what_was_put_in_is_there_also_when_it_is_asked_block_by_block(
        put in prop::collection::vec(any::<u64>(), 1..300), bits in 1..20usize,
    ) {
        let bloom = Bloom::of(&mut put.clone(), bits);
        let again = Bloom::from_bytes(bloom.bytes().to_vec()).unwrap();
        for hash in put {
            prop_assert!(again.may_hold(hash));
            let block = again.shape().block_of(hash).unwrap() * BLOCK_BYTES;
            prop_assert!(Bloom::block_may_hold(&again.bytes()[block..block + BLOCK_BYTES], hash));
        }
    }
}
