use proptest::prelude::*;

use super::*;

#[test]
fn words_are_runs_of_letters_digits_and_underscores() {
    let found: Vec<&str> = tokens("GET /v2/blk_-38: Straße, 10.0.0.1!").collect();
    assert_eq!(
        found,
        ["GET", "v2", "blk_", "38", "Straße", "10", "0", "0", "1"]
    );
    assert_eq!(tokens(" .,-").count(), 0);
}

#[test]
fn words_are_found_one_after_another_as_whole_ones_in_any_case() {
    let has = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|it| (*it).to_owned()).collect();
        contains("Connection refused: connection to db1 refused", &words)
    };
    assert!(has(&["CONNECTION", "refused"]));
    assert!(has(&["connection", "to"]));
    assert!(has(&["refused", "connection"]));
    assert!(!has(&["connect"]));
    assert!(!has(&["nection"]));
    assert!(!has(&["connection", "db1"]));
    assert!(!has(&["refused", "refused"]));
    assert!(!has(&[]));
}

#[test]
fn stored_hashes_never_change() {
    assert_eq!(word_key("Refused").hash, 18_425_393_050_938_572_981);
    assert_eq!(exact_key("task", "t1").hash, 5_655_491_017_296_393_660);
}

proptest! {
    #[test]
    fn every_word_of_a_text_is_hashed_as_it_is_asked_for(text in "\\PC{0,60}") {
        let mut hashed = Vec::new();
        hash_words(&text, |it| hashed.push(it));
        let asked: Vec<u64> = tokens(&text).map(|it| word_key(it).hash).collect();
        prop_assert_eq!(hashed, asked);
    }

    #[test]
    fn a_text_contains_what_stands_in_it(text in "[a-cA-C .ß]{0,30}", start in 0..9usize, many in 1..4usize) {
        let all: Vec<String> = tokens(&text).map(str::to_lowercase).collect();
        let piece: Vec<String> = all.iter().skip(start).take(many).cloned().collect();
        prop_assert_eq!(contains(&text, &piece), !piece.is_empty());
    }
}

proptest! {
    #[test]
    fn what_is_new_in_a_text_begins_with_a_whole_word(
        shared in "[ab_.é ]{0,70}", one in "[ab. ]{0,20}", two in "[ab. ]{0,20}",
    ) {
        let (text, before) = (format!("{shared}{one}"), format!("{shared}{two}"));
        let mut hashed = Vec::new();
        hash_words(&before, |it| hashed.push(it));
        hash_words(&text[first_new(&text, &before)..], |it| hashed.push(it));
        hash_words(&text, |it| assert!(hashed.contains(&it)));
    }
}
