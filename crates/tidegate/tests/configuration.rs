//! Configuration as its writers meet it: checked, shown, documented.

use expect_test::{Expect, expect};

use crate::world::World;

/// Checks a file and compares what is said of it; the exit code says whether it is right.
#[track_caller]
fn check(toml: &str, code: i32, expected: Expect) {
    let world = World::new();
    let file = world.path("try.toml");
    std::fs::write(&file, toml).unwrap();
    let answer = world.ask(&format!("config check {}", file.display()));
    assert_eq!(answer.code, code, "{answer:?}");
    expected.assert_eq(&world.normal(&answer.out));
}

#[test]
fn everything_wrong_in_a_file_is_said_at_once_with_line_key_and_remedy() {
    check(
        "version = 1\n",
        0,
        expect![[r#"
        `HOME/try.toml` is right
    "#]],
    );
    check(
        "version = 1\nlisten = 8787\n\n[budgets.task]\nhrad = \"5\"\nsoft = \"-1\"\n\n[platforms.a]\nprovider = \"nobody\"\n",
        1,
        expect![[r#"
            HOME/try.toml:5:1: budgets.task.hrad: this key is not known; did you mean `hard`?
            HOME/try.toml:6:8: budgets.task.soft: `"-1"` is not an amount in dollars, like 5, "0.25" or "$12.50", or "none"
            2 problems
        "#]],
    );
    check(
        "version = 2\n",
        1,
        expect![[r#"
        HOME/try.toml:1:11: version: `2` is not a version this program reads; it reads 1
        1 problem
    "#]],
    );
    check(
        "version = 1\n[budgets\n",
        1,
        expect![[r#"
        HOME/try.toml:2:9: this is not TOML: unclosed table, expected `]`
        1 problem
    "#]],
    );
}

#[test]
fn a_gateway_does_not_start_with_what_the_check_refuses() {
    let mut world = World::new();
    world.configure("[budgets.task]\nhard = \"five\"\n");
    for line in [
        "serve --listen 127.0.0.1:0",
        "config show",
        "status",
        "run -- true",
    ] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 1, "{line}: {answer:?}");
        assert!(
            answer.err.contains("tidegate.toml:3:8: budgets.task.hard"),
            "{answer:?}"
        );
    }
}

#[test]
fn certificates_that_cannot_be_read_are_said_with_their_line_by_all_who_check() {
    let mut world = World::new();
    world.configure("[providers.anthropic]\nca_file = \"/nowhere/ca.pem\"\n");
    for line in ["config check", "doctor", "serve"] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 1, "{line}: {answer:?}");
        let said = answer.out + &answer.err;
        let place =
            "tidegate.toml:3:11: providers.anthropic.ca_file: `/nowhere/ca.pem` cannot be read";
        assert!(said.contains(place), "{line}: {said}");
    }
}

#[test]
fn a_file_or_variable_that_is_not_there_or_not_known_is_named() {
    let mut world = World::new();
    let missing = world.ask("config check /nowhere/tidegate.toml");
    assert_eq!(missing.code, 1);
    assert!(
        missing.err.contains("/nowhere/tidegate.toml"),
        "{missing:?}"
    );
    world.set("TIDEGATE__BUDGETS__TASK__HRAD", "5");
    let answer = world.ask("config check");
    assert_eq!(answer.code, 1);
    let said = answer.out + &answer.err;
    assert!(said.contains("TIDEGATE__BUDGETS__TASK__HRAD"), "{said}");
}

#[test]
fn what_is_in_effect_is_shown_with_where_it_comes_from_and_without_secrets() {
    let mut world = World::new();
    world.configure("[budgets.task]\nhard = \"7\"\n");
    world.set("TIDEGATE__LOG__LEVEL", "debug");
    world.set(
        "TIDEGATE__PROVIDERS__ANTHROPIC__API_KEY",
        "sk-ant-api03-very-secret",
    );
    let shown = world.normal(&world.said("config show"));
    let lines: Vec<&str> = shown
        .lines()
        .filter(|it| {
            [
                "budgets.task.hard",
                "log.level",
                "providers.anthropic.api_key",
                "version",
            ]
            .iter()
            .any(|key| it.starts_with(key))
        })
        .collect();
    expect![[r#"
        version  1  HOME/tidegate.toml:1:11
        providers.anthropic.api_key  "[redacted]"  TIDEGATE__PROVIDERS__ANTHROPIC__API_KEY
        budgets.task.hard  "7"  HOME/tidegate.toml:3:8
        log.level  "debug"  TIDEGATE__LOG__LEVEL"#]]
    .assert_eq(&lines.join("\n"));
    let json = world.said("config show --json");
    assert!(!(shown + &json).contains("very-secret"));
}

#[test]
fn the_reference_is_a_file_that_changes_nothing() {
    let world = World::new();
    let file = world.path("reference.toml");
    std::fs::write(&file, world.said("config reference")).unwrap();
    let checked = world.said(&format!("config check {}", file.display()));
    assert!(checked.ends_with("is right\n"), "{checked}");
    let values = |line: &str| {
        let shown = world.json(line);
        let pair = |it: &serde_json::Value| (it["key"].clone(), it["value"].clone());
        shown
            .as_array()
            .unwrap()
            .iter()
            .map(pair)
            .collect::<Vec<_>>()
    };
    let with_it = format!("config show --json --config {}", file.display());
    assert_eq!(values(&with_it), values("config show --json"));
}

#[test]
fn a_gateway_is_looked_at_also_where_the_file_is_wrong_meanwhile() {
    let (mut world, _provider) = World::with_provider();
    world.configure("[budgets.task]\nhard = \"7\"\n");
    let _gateway = world.serve();
    world.configure("[budgets.task]\nhard = \"five\"\n");
    for line in ["status", "budget", "calls", "quota", "config show"] {
        let answer = world.ask(line);
        assert_eq!(answer.code, 0, "{line}: {answer:?}");
        let warned = answer.err.contains("warning: the configuration is wrong");
        assert!(
            warned && answer.err.contains("tidegate.toml:3:8"),
            "{answer:?}"
        );
    }
    let shown = world.normal(&world.said("config show"));
    assert!(shown.contains("budgets.task.hard  \"7\""), "{shown}");
    let doctor = world.ask("doctor");
    assert_eq!(doctor.code, 1);
    let told = world.normal(&doctor.out);
    assert!(told.contains("configuration  WRONG"), "{told}");
    assert!(told.contains("gateway  fine  answers at ADDRESS"), "{told}");
}

#[test]
fn the_doctor_asks_the_gateway_which_limits_only_watch() {
    let (world, _provider) = World::with_provider();
    let _gateway = world.serve();
    world.said("budget set user_day 5");
    world.said("budget set llm none");
    let told = world.said("doctor");
    assert!(
        told.contains("only watched for calls without a key: "),
        "{told}"
    );
    assert!(
        !told.contains("user_day") && !told.contains("llm"),
        "{told}"
    );
}
