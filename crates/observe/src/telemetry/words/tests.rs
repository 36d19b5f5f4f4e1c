use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::telemetry::word_key;

fn hash(word: u32) -> u64 {
    word_key(&format!("word{word}")).hash
}

/// Which pages a word is said to be in.
fn pages_of(words: &Words, word: u64, pages: usize) -> BTreeSet<usize> {
    let found = words.pages(word, pages);
    let is_in = |it: &usize| !(found & Pages::one(*it)).is_none();
    (0..pages).filter(is_in).collect()
}

#[test]
fn a_word_is_in_its_pages_and_few_that_are_not_there_seem_to_be() {
    // As in life: most words once, some in a few pages, few everywhere.
    let mut put = Vec::new();
    for word in 0..20_000u32 {
        put.push((hash(word), u8::try_from(word % 32).unwrap()));
    }
    for word in 20_000..22_000u32 {
        put.extend((0..word % 12).map(|it| (hash(word), u8::try_from(it * 2).unwrap())));
    }
    for word in 22_000..22_100 {
        put.extend((0..32).map(|it| (hash(word), it)));
    }
    let words = Words::of(&mut put, 32);
    let distinct: BTreeSet<u64> = put.iter().map(|it| it.0).collect();
    let bits = words.bytes().len() * 8 / distinct.len();
    assert!((12..16).contains(&bits), "{bits} bits for each word");
    let more = (0..20_000).map(|it| pages_of(&words, hash(it), 32).len() - 1);
    assert!(
        more.sum::<usize>() < 20_000 / 10,
        "too many pages are read in vain"
    );
    assert_eq!(words.pages(hash(22_050), 32), Pages::ALL);
    let strangers = (30_000..50_000).filter(|it| !words.pages(hash(*it), 32).is_none());
    let seem = strangers.count();
    assert!((800..1_700).contains(&seem), "{seem} of 20,000");
}

#[test]
fn without_words_nothing_is_there_and_nothing_is_stored() {
    let none = Words::of(&mut Vec::new(), 32);
    assert_eq!(
        (none.bytes().len(), none.shape()),
        (0, WordsShape::default())
    );
    assert_eq!(none.pages(7, 32), Pages::NONE);
}

#[test]
fn where_there_are_very_many_words_the_table_is_wider() {
    let mut put: Vec<_> = (0..60_000).map(|it| (hash(it), 3)).collect();
    let words = Words::of(&mut put, 5);
    assert!(words.bytes().len() > 1 << 16);
    assert!((0..60_000).all(|it| pages_of(&words, hash(it), 5).contains(&3)));
}

proptest! {
    #[test]
    fn what_was_put_in_is_found_in_its_pages_also_when_it_is_read_piece_by_piece(
        put in prop::collection::vec((any::<u64>(), 0..32u8), 0..600), pages in 1..33usize,
    ) {
        let put: Vec<(u64, u8)> = put
            .into_iter()
            .map(|(word, page)| ((word % 400).wrapping_mul(0x9e37_79b9_7f4a_7c15), page % u8::try_from(pages).unwrap()))
            .collect();
        let words = Words::of(&mut put.clone(), pages);
        let shape = words.shape();
        prop_assert_eq!(words.bytes().len(), shape.bytes());
        for (word, page) in put {
            prop_assert!(pages_of(&words, word, pages).contains(&usize::from(page)));
            let entry = shape.entry(shape.bucket_of(word).unwrap());
            let bucket = shape.bucket(&words.bytes()[entry]).unwrap();
            let found = Words::pages_in_bucket(&words.bytes()[bucket], word, pages);
            prop_assert_eq!(found, words.pages(word, pages));
        }
    }

    #[test]
    fn bytes_that_are_no_words_say_anything_but_are_never_read_beyond_their_end(
        bytes in prop::collection::vec(any::<u8>(), 0..200), buckets in 0..50u32, word in any::<u64>(), pages in 1..33usize,
    ) {
        let shape = WordsShape { buckets, bytes: u32::try_from(bytes.len()).unwrap() };
        Words::from_bytes(shape, bytes).pages(word, pages);
    }
}
