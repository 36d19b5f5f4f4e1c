use tidegate_sim::replay::{Fleet, Measured, measure::Waits};

use super::*;

fn cell(kind: SystemKind, load: f64, mean: f64) -> Cell {
    let waits = Waits {
        n: 10,
        mean,
        ..Waits::default()
    };
    let day = Measured {
        calls: 10,
        completed: 10,
        waits,
        by_class: [waits; 4],
        input_limit: 1_000,
        counted: 10_000,
        counted_by_slice: vec![2_000; 12],
        ..Measured::default()
    };
    Cell {
        load,
        system: kind.into(),
        days: vec![day.clone(), day],
        cost_of_common: Vec::new(),
    }
}

fn page_of(kinds: &[(SystemKind, f64)]) -> String {
    let grid = Grid {
        fleet: Fleet::w1(0.0, 0),
        loads: vec![0.5],
        systems: kinds.iter().map(|it| it.0.into()).collect(),
        seeds: vec![1, 2],
    };
    let cells: Vec<Cell> = kinds.iter().map(|it| cell(it.0, 0.5, it.1)).collect();
    page(&grid, &cells, "sessions: 10 calls")
}

#[test]
fn a_cell_that_another_system_wins_stands_first_and_is_marked() {
    let page = page_of(&[
        (SystemKind::Retry10, 2.0),
        (SystemKind::Tidegate, 3.0),
        (SystemKind::Clairvoyant, 0.1),
    ]);
    assert!(page.contains("<tr><td>mean wait, s<td>0.5<td>tidegate<td>3.00 [3.00 3.00]<td>retry-10<td>2.00 [2.00 2.00]<td>"), "{page}");
    assert!(page.contains("<td class=lost>3.00 [3.00 3.00]"));
    assert!(page.contains("<td class=best>2.00 [2.00 2.00]"));
    assert!(
        !page.contains("clairvoyant<td>0.10"),
        "a bound is no rival: {page}"
    );
    let won = page_of(&[(SystemKind::Retry10, 2.0), (SystemKind::Tidegate, 1.0)]);
    assert!(won.contains("In no figure is another"), "{won}");
    assert!(!won.contains("class=lost"));
}

#[test]
fn the_page_needs_nothing_but_itself_and_shows_load_classes_and_quota() {
    let page = page_of(&[(SystemKind::Retry10, 2.0), (SystemKind::Tidegate, 3.0)]);
    for title in [
        "provider 429s per 1,000 calls",
        "mean wait at load 0.5, s",
        "part of the input limit at load 0.5, over 1.0 h",
        "retry-10, critical: 2.00 s",
    ] {
        assert!(page.contains(title), "{title}: {page}");
    }
    for outside in ["http:", "https:", "<script", "<link", "url(", "src="] {
        assert!(!page.contains(outside), "{outside}");
    }
    // 2,000 tokens in each five minutes of a limit of 1,000 a minute.
    let lines: Vec<f64> = plots::parts_of_limit(&cell(SystemKind::Tidegate, 0.5, 1.0).days);
    assert_eq!(lines, vec![0.4; 12]);
    let mut long = cell(SystemKind::Tidegate, 0.5, 1.0).days;
    long[0].counted_by_slice = vec![1_000; 25];
    long[1].counted_by_slice = vec![3_000; 25];
    assert_eq!(plots::parts_of_limit(&long), vec![0.4; 4]);
}
