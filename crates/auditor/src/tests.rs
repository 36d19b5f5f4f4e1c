use super::*;

const DAY: &str =
    r#"{"at":0,"what":"day","input_per_minute":60000,"burst_seconds":60,"limit":1000}"#;

/// A sound day: one call after the other, each of 30,000 tokens held at 400 and costing 300.
fn sound() -> Vec<String> {
    let mut lines = vec![DAY.to_owned()];
    for (call, second) in [(0, 1), (1, 40), (2, 80)] {
        let at = |more: u64| (second + more) * 1_000_000_000;
        lines.extend([
            format!(r#"{{"at":{},"what":"ready","call":"0.{call}"}}"#, at(0)),
            format!(
                r#"{{"at":{},"what":"granted","call":"0.{call}","input":30000,"output":1,"held":400}}"#,
                at(1)
            ),
            format!(r#"{{"at":{},"what":"taken","call":"0.{call}","counted":30000,"read":0}}"#, at(1)),
            format!(r#"{{"at":{},"what":"begun","call":"0.{call}"}}"#, at(2)),
            format!(r#"{{"at":{},"what":"ended","call":"0.{call}","counted":30000,"read":0,"output":9}}"#, at(9)),
            format!(
                r#"{{"at":{},"what":"settled","call":"0.{call}","input":30000,"output":9,"cost":300}}"#,
                at(9)
            ),
        ]);
    }
    lines
}

fn audited(lines: &[String]) -> Report {
    audit(lines.join("\n").as_bytes()).unwrap()
}

/// What is found once a line of the sound day is another.
fn found(line: usize, from: &str, to: &str) -> String {
    let mut lines = sound();
    assert!(lines[line].contains(from), "{}", lines[line]);
    lines[line] = lines[line].replace(from, to);
    let report = audited(&lines);
    let all = report.findings.iter();
    all.fold(String::new(), |told, it| {
        told + &format!("{} {}: {}\n", it.line, it.call, it.what)
    })
}

#[test]
fn a_sound_day_has_no_findings() {
    let report = audited(&sound());
    assert_eq!(report.findings, []);
    assert_eq!((report.taken, report.settled), (3, 3));
    assert_eq!((report.committed_max, report.limit), (1_000, Some(1_000)));
    assert_eq!((report.debt_max, report.estimate_error_max), (0, 0));
    assert!(report.to_string().ends_with("nothing was found\n"));
}

#[test]
fn time_that_steps_back_is_found() {
    let found = found(9, "41000000000", "400000");
    assert!(found.contains("time steps back"), "{found}");
}

#[test]
fn a_call_that_is_taken_twice_is_found() {
    let found = found(9, "\"call\":\"0.1\"", "\"call\":\"0.0\"");
    assert!(
        found.contains("0.0: it goes from Ended to Taken"),
        "{found}"
    );
}

#[test]
fn a_hold_above_the_hard_limit_is_found() {
    let found = found(14, "\"held\":400", "\"held\":401");
    assert!(found.contains("settled and held are 1001 n$"), "{found}");
}

#[test]
fn a_grant_that_the_bucket_cannot_hold_is_found() {
    let found = found(8, "\"input\":30000", "\"input\":59999");
    assert_eq!(found, "");
    // The third comes while the bucket still has debt of the second.
    let mut lines = sound();
    lines[8] = lines[8].replace("\"input\":30000", "\"input\":60000");
    lines[12] = lines[12].replace("\"input\":30000", "\"input\":60000");
    lines[14] = lines[14].replace("\"at\":81000000000", "\"at\":51000000000");
    lines[13] = lines[13].replace("\"at\":80000000000", "\"at\":50000000000");
    let report = audited(&lines);
    let found: Vec<&str> = report.findings.iter().map(|it| &*it.what).collect();
    assert!(
        found.iter().any(|it| it.contains("the bucket lacks")),
        "{found:?}"
    );
}

#[test]
fn a_grant_that_is_never_settled_is_found() {
    let found = found(18, "settled", "forgotten");
    assert!(
        found.contains("0.2: it has ended, and its grant is still open"),
        "{found}"
    );
}

#[test]
fn a_settlement_of_nothing_is_found() {
    let found = found(6, "\"call\":\"0.0\"", "\"call\":\"7.7\"");
    assert!(
        found.contains("7.7: it is settled, and nothing is granted"),
        "{found}"
    );
}

#[test]
fn an_overrun_is_listed_and_what_follows_is_not_blamed_for_it() {
    let mut lines = sound();
    lines[6] = lines[6].replace("\"cost\":300", "\"cost\":450");
    let report = audited(&lines);
    assert_eq!(report.overruns, [("0.0".to_owned(), 50)]);
    assert_eq!(report.findings.len(), 1, "{report}");
}

#[test]
fn what_is_no_transcript_is_refused_with_its_line() {
    let error = |text: &str| audit(text.as_bytes()).unwrap_err().to_string();
    assert!(error("").contains("first line"));
    assert!(error("{\"at\":0,\"what\":\"ready\"}").contains("first line"));
    assert!(error(&format!("{DAY}\nnonsense")).contains("line 2"));
}
