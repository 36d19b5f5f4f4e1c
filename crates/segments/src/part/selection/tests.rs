use super::*;

#[test]
fn rows_are_narrowed_by_marks_and_found_by_the_pages_they_are_in() {
    let all = Selection::all(2_000);
    assert_eq!((all.rows(), all.runs().len()), (2_000, 1));
    let marks: Vec<bool> = (0..2_000)
        .map(|it| matches!(it, 3 | 4 | 511 | 512 | 1_999))
        .collect();
    let some = all.marked(&marks);
    assert_eq!(some.runs(), [3..5, 511..513, 1_999..2_000]);
    assert_eq!(
        some.by_pages(),
        [
            (0..2, vec![3..5, 511..513]),
            (3..4, std::iter::once(463..464).collect()),
        ]
    );
    let fewer = some.marked(&[false, true, true, false, true]);
    assert_eq!(fewer.runs(), [4..5, 511..512, 1_999..2_000]);
}

#[test]
fn of_no_rows_there_are_none() {
    let none = Selection::all(0);
    assert_eq!((none.rows(), none.by_pages().len()), (0, 0));
    assert_eq!(Selection::all(9).marked(&[false; 9]), none);
    assert_eq!(Selection::of_pages(Pages::NONE, 9), none);
}
