use super::*;

fn sh(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    command
}

#[test]
fn output_is_kept_and_the_status_is_told() {
    let limit = Duration::from_secs(10);
    let (status, text) = tee(&mut sh("echo one; echo two; exit 3"), limit).unwrap();
    assert_eq!((status.code(), text.as_str()), (Some(3), "one\ntwo\n"));
    let error = show(&mut sh("exit 3"), limit).unwrap_err();
    assert!(error.to_string().contains("exit status: 3"), "{error}");
}

#[test]
fn a_program_that_hangs_is_killed_and_named() {
    let error = tee(&mut sh("exec tail -f /dev/null"), Duration::from_millis(50)).unwrap_err();
    assert!(
        format!("{error:#}").contains("was killed after"),
        "{error:#}"
    );
}

#[test]
fn what_a_quiet_program_complains_of_is_in_the_error() {
    let error = read(&mut sh("echo no such thing >&2; exit 1")).unwrap_err();
    assert!(error.to_string().contains("no such thing"), "{error}");
}

#[test]
fn a_quiet_program_that_fails_is_quoted_by_its_last_line() {
    let limit = Duration::from_secs(10);
    quietly(&mut sh("echo much; echo more >&2"), limit).unwrap();
    let error = quietly(
        &mut sh("echo much; echo no such package >&2; echo; exit 1"),
        limit,
    );
    assert_eq!(error.unwrap_err().to_string(), "no such package");
    let error = quietly(&mut sh("exit 4"), limit).unwrap_err();
    assert!(error.to_string().contains("exit status: 4"), "{error}");
}
