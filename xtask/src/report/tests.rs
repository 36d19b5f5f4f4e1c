use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_cell() {
    let rows = [
        vec!["suite", "result"],
        vec!["a-long-name", "ran"],
        vec!["b"],
    ];
    let rows: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(|&cell| cell.to_owned()).collect())
        .collect();
    assert_eq!(table(&rows), "suite        result\na-long-name  ran\nb");
}
