use super::*;

#[test]
fn two_that_were_made_alike_change_alike_and_hardly_repeat_themselves() {
    let changed = || {
        let mut mutator = Mutator::new(7, &["WORD"]);
        let each = (0..1_000).map(|_| mutator.mutated_text("a text of some length"));
        each.collect::<Vec<String>>()
    };
    let all = changed();
    assert_eq!(all, changed());
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert!(different.len() > 500, "{}", different.len());
    assert!(all.iter().any(|it| it.contains("WORD")));
    assert!(all.iter().any(|it| it.len() < 15));
    assert!(all.iter().any(|it| it.len() > 30));
}

#[test]
fn nothing_is_changed_into_something_or_nothing() {
    let mut mutator = Mutator::new(1, &["x"]);
    let all: Vec<String> = (0..100).map(|_| mutator.mutated_text("")).collect();
    assert!(all.iter().any(String::is_empty) && all.iter().any(|it| !it.is_empty()));
}
