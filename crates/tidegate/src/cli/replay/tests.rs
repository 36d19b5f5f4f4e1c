use super::*;

#[test]
fn seeds_are_ranges_and_lists() {
    let seeds = |text: &str| text.parse::<Seeds>().map(|it| it.0);
    assert_eq!(seeds("4-6"), Ok(vec![4, 5, 6]));
    assert_eq!(seeds("1, 2,7,2"), Ok(vec![1, 2, 7]));
    for wrong in ["", "a", "1-", "3-1", "1-2000", "-4"] {
        assert!(seeds(wrong).is_err(), "{wrong}");
    }
}
