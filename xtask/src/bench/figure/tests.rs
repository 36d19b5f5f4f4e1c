use expect_test::expect;

use super::*;

fn figure(rounds: &[f64]) -> Figure {
    Figure {
        rounds: rounds.to_vec(),
        ..Figure::new("cpu per call", "tidegate", "µs")
    }
}

#[test]
fn quartiles_lie_between_neighbours() {
    let values = [9.0, 1.0, 5.0, 3.0, 7.0];
    let close = |share, value: f64| (quantile(&values, share) - value).abs() < 1e-9;
    assert!(close(0.5, 5.0) && close(0.25, 3.0) && close(0.75, 7.0));
    assert!(close(0.0, 1.0) && close(1.0, 9.0) && close(0.9, 8.2));
    assert!(quantile(&[], 0.5).abs() < 1e-9);
    assert!((quantile(&[4.0], 0.99) - 4.0).abs() < 1e-9);
}

#[test]
fn a_promise_is_kept_or_missed_by_the_median() {
    let told = [
        figure(&[30.0, 31.0, 200.0]).at_most(35.0).told(),
        figure(&[36.0, 37.0, 1.0]).at_most(35.0).told(),
        figure(&[0.123, 123.4, 12.34]).told(),
    ];
    expect![[r"
        figure        of        median  quartiles    unit  at most
        cpu per call  tidegate  31.0    30.5 – 116   µs    35.0     kept
        cpu per call  tidegate  36.0    18.5 – 36.5  µs    35.0     MISSED
        cpu per call  tidegate  12.3    6.23 – 67.9  µs"]]
    .assert_eq(&table(&told));
}

#[test]
fn subjects_are_compared_round_by_round() {
    let (ours, theirs) = (figure(&[20.0, 60.0, 33.0]), figure(&[10.0, 30.0, 22.0]));
    let ratio = ours.against(&theirs, "ratio", |one, two| one / two);
    assert_eq!(ratio.rounds, [2.0, 2.0, 1.5]);
}
