use super::*;

#[test]
fn pages_are_runs_of_rows_and_the_last_is_shorter() {
    let some = Pages::one(0) | Pages::one(1) | Pages::one(3);
    assert_eq!(some.rows(1_600), [0..1_024, 1_536..1_600]);
    assert_eq!(some.rows(700).first(), Some(&(0..700)));
    assert_eq!(Pages::ALL.rows(16_384).first(), Some(&(0..16_384)));
    assert_eq!(Pages::NONE.rows(16_384), []);
    assert_eq!(
        (Pages::one(3) & some, Pages::one(2) & some),
        (Pages::one(3), Pages::NONE)
    );
}

#[test]
fn what_is_beyond_the_most_pages_counts_as_the_last() {
    assert_eq!(Pages::one(PAGES_MAX + 5), Pages::one(PAGES_MAX - 1));
    let rows = (PAGES_MAX + 1) * PAGE_ROWS;
    let last = Pages::one(PAGES_MAX - 1).rows(rows);
    assert_eq!(last.first(), Some(&(rows - 2 * PAGE_ROWS..rows)));
}
