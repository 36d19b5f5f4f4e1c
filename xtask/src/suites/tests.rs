use expect_test::expect;

use super::*;

fn ran(passed: u32, failed: u32, skipped: u32) -> Ending {
    Ending::Ran(Tally {
        passed,
        failed,
        skipped,
    })
}

fn missing() -> Ending {
    Ending::NotRun("PyPI's clients: no network\nand more".to_owned())
}

#[test]
fn every_suite_is_told_and_the_last_line_is_the_sum() {
    let second = Duration::from_millis(1_234);
    let endings = [
        ("fmt", ran(1, 0, 0), second),
        ("unit", ran(400, 2, 3), second),
        ("claude-gateway", missing(), second),
        ("docs", Ending::Failed("ended with 101".to_owned()), second),
    ];
    expect![[r#"
        suite           result   passed  failed  skipped  seconds  why
        fmt             ran      1       0       0        1.2
        unit            failed   400     2       3        1.2
        claude-gateway  not run  0       0       1        1.2      PyPI's clients: no network
        docs            failed   0       1       0        1.2      ended with 101

        401 passed, 3 failed, 4 skipped"#]]
    .assert_eq(&summary(&endings));
}

#[test]
fn what_could_not_run_fails_only_a_strict_run() {
    let fails =
        |ending, strict| code(&[("it", ending, Duration::ZERO)], strict) == ExitCode::FAILURE;
    assert!(!fails(ran(3, 0, 1), true));
    assert!(fails(ran(3, 1, 0), false));
    assert!(fails(Ending::Failed(String::new()), false));
    assert!(!fails(missing(), false));
    assert!(fails(missing(), true));
}

#[test]
fn names_are_unique_and_an_unknown_one_is_refused() {
    let names: Vec<&str> = SUITES.iter().copied().flatten().map(|it| it.name).collect();
    let unique: std::collections::BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
    let choice = Choice {
        only: vec!["fmt".to_owned(), "fnt".to_owned()],
        ..Choice::default()
    };
    let error = choice.suites().unwrap_err().to_string();
    assert!(error.contains("`fnt`"), "{error}");
}

#[test]
fn cargo_s_closing_lines_are_summed() {
    let output = "running 3 tests\n...\n\
        test result: ok. 3 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
        test result: FAILED. 5 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n";
    let sum = Tally {
        passed: 8,
        failed: 2,
        skipped: 1,
    };
    assert_eq!(Tally::of_cargo(output), sum);
    assert_eq!(
        Tally::of_cargo("error: could not compile"),
        Tally::default()
    );
}

#[test]
fn a_client_program_without_its_closing_line_counts_as_ended_early() {
    let output = "ok   a\nFAIL b: 3 passed, says who\n1 passed, 1 failed\n";
    let counted = Tally {
        passed: 1,
        failed: 1,
        skipped: 0,
    };
    assert_eq!(Tally::of_program(output), Some(counted));
    assert_eq!(Tally::of_program("ok   a\nTraceback\n"), None);
}
