use expect_test::expect;
use tempfile::TempDir;

use super::*;

/// A folder with these settings, or none.
fn folder(settings: Option<&str>) -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().display().to_string();
    if let Some(text) = settings {
        fs::write(folder.path().join("settings.json"), text).unwrap();
    }
    let environment = BTreeMap::from([("CLAUDE_CONFIG_DIR".to_owned(), name)]);
    let place = Place::of(&environment).unwrap();
    (folder, place)
}

fn wanted() -> Wanted {
    Wanted {
        status_line: "/bin/tidegate statusline".to_owned(),
        hook: "/bin/tidegate hook".to_owned(),
        base_url: "http://127.0.0.1:8787".to_owned(),
        replaces: false,
        telemetry: None,
    }
}

/// What `install` says of telemetry, and what the settings say then.
fn with_telemetry(theirs: &str, environment: &[(&str, &str)]) -> (String, Value) {
    let (_folder, place) = folder(Some(theirs));
    let environment = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let wanted = Wanted {
        telemetry: Some(environment.collect()),
        ..wanted()
    };
    let said = install(&place, &wanted).unwrap();
    let line = said.text.lines().find(|it| it.contains("telemetry"));
    let set = serde_json::from_str(&settings(&place)).unwrap();
    uninstall(&place).unwrap();
    assert_eq!(settings(&place), theirs);
    (line.unwrap_or_default().to_owned(), set)
}

#[test]
fn telemetry_comes_here_where_nobody_has_decided_otherwise() {
    let ours = [
        ("OTEL_LOGS_EXPORTER", "otlp"),
        ("OTEL_LOG_USER_PROMPTS", "1"),
    ];
    for environment in [&[][..], &ours] {
        let (said, set) =
            with_telemetry(r#"{"env":{"OTEL_RESOURCE_ATTRIBUTES":"a=b"}}"#, environment);
        assert_eq!(said, "its telemetry comes here, too: `tidegate logs`");
        assert_eq!(
            set["env"]["OTEL_EXPORTER_OTLP_ENDPOINT"],
            "http://127.0.0.1:8787"
        );
        assert_eq!(set["env"]["CLAUDE_CODE_ENABLE_TELEMETRY"], "1");
        let goes = telemetry::goes(&set, &BTreeMap::new(), "http://127.0.0.1:8787");
        assert_eq!(goes, Goes::Here);
    }
}

#[test]
fn telemetry_that_goes_somewhere_else_or_nowhere_by_choice_is_left_alone() {
    for (theirs, environment, name) in [
        (
            r#"{"env":{"OTEL_EXPORTER_OTLP_ENDPOINT":"https://x"}}"#,
            &[][..],
            "OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
        (
            r#"{"env":{"CLAUDE_CODE_ENABLE_TELEMETRY":"0"}}"#,
            &[],
            "CLAUDE_CODE_ENABLE_TELEMETRY",
        ),
        (
            "{}",
            &[("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "https://x")],
            "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
        ),
    ] {
        let (said, set) = with_telemetry(theirs, environment);
        assert_eq!(
            said,
            format!("its telemetry goes where `{name}` says and was left alone")
        );
        assert_eq!(set["env"]["OTEL_LOGS_EXPORTER"], Value::Null);
    }
}

fn settings(place: &Place) -> String {
    fs::read_to_string(&place.settings).unwrap()
}

fn files(folder: &TempDir) -> Vec<String> {
    let found = fs::read_dir(folder.path()).unwrap();
    let mut names: Vec<String> = found
        .map(|it| it.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

const THEIRS: &str = "{\n\t\"z\": 1,\n\t\"env\": { \"A\": \"b\" },\n\t\"unknown\": [true]\n}";

#[test]
fn what_is_installed_is_taken_back_to_the_byte() {
    let (folder, place) = folder(Some(THEIRS));
    install(&place, &wanted()).unwrap();
    expect![[r#"
        {
        	"z": 1,
        	"env": { "A": "b", "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787", "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1" },
        	"unknown": [true],
        	"statusLine": {"command":"/bin/tidegate statusline","type":"command"},
        	"hooks": {
        	  "UserPromptSubmit": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
        	  "Stop": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
        	  "StopFailure": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
        	  "SessionEnd": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}]
        	}
        }"#]]
    .assert_eq(&settings(&place));
    assert_eq!(fs::read_to_string(&place.backup).unwrap(), THEIRS);
    let once = settings(&place);
    install(&place, &wanted()).unwrap();
    assert_eq!(settings(&place), once);
    assert_eq!(fs::read_to_string(&place.backup).unwrap(), THEIRS);
    uninstall(&place).unwrap();
    assert_eq!(settings(&place), THEIRS);
    assert_eq!(files(&folder), ["settings.json"]);
    let again = uninstall(&place).unwrap();
    assert!(again.text.starts_with("nothing to take back"), "{again:?}");
}

#[test]
fn where_there_were_no_settings_there_are_none_afterwards() {
    let (folder, place) = folder(None);
    install(&place, &wanted()).unwrap();
    expect![[r#"
        {
          "statusLine": {"command":"/bin/tidegate statusline","type":"command"},
          "env": {
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:8787",
            "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"
          },
          "hooks": {
            "UserPromptSubmit": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
            "Stop": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
            "StopFailure": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}],
            "SessionEnd": [{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}]
          }
        }
    "#]]
    .assert_eq(&settings(&place));
    uninstall(&place).unwrap();
    assert!(files(&folder).is_empty(), "{:?}", files(&folder));
}

#[test]
fn what_somebody_changed_since_is_theirs() {
    let before = r#"{"env": {"ANTHROPIC_BASE_URL": "http://first"}, "statusLine": {"type": "command", "command": "mine"}}"#;
    let (_folder, place) = folder(Some(before));
    let said = install(&place, &wanted()).unwrap();
    assert!(said.text.contains("was left alone"), "{said:?}");
    let changed = settings(&place).replace(
        "\"CLAUDE_CODE_GATEWAY_HINT_HEADERS\": \"1\"",
        "\"CLAUDE_CODE_GATEWAY_HINT_HEADERS\": \"0\", \"NEW\": \"x\"",
    );
    fs::write(&place.settings, changed).unwrap();
    let said = uninstall(&place).unwrap();
    assert!(
        said.text
            .contains("but for env.CLAUDE_CODE_GATEWAY_HINT_HEADERS"),
        "{said:?}"
    );
    expect![[r#"{"env": {"ANTHROPIC_BASE_URL": "http://first", "CLAUDE_CODE_GATEWAY_HINT_HEADERS": "0", "NEW": "x"}, "statusLine": {"type": "command", "command": "mine"}}"#]]
        .assert_eq(&settings(&place));
    assert_eq!(fs::read_to_string(&place.backup).unwrap(), before);
}

#[test]
fn a_status_line_gives_way_where_that_is_asked_for_and_comes_back() {
    let before = r#"{"statusLine": {"command": "mine",  "type": "command"}}"#;
    let (_folder, place) = folder(Some(before));
    let replacing = Wanted {
        replaces: true,
        ..wanted()
    };
    install(&place, &replacing).unwrap();
    assert!(settings(&place).contains("/bin/tidegate statusline"));
    uninstall(&place).unwrap();
    assert_eq!(settings(&place), before);
}

#[test]
fn a_file_that_cannot_be_understood_is_left_as_it_is() {
    for text in ["{\n  \"a\": 1,\n}", "{\n  \"env\": 5\n}", "[]"] {
        let (folder, place) = folder(Some(text));
        let error = install(&place, &wanted()).unwrap_err();
        let told = format!("{error:#}");
        assert!(told.contains("repair the line"), "{told}");
        assert!(told.contains(": line "), "{told}");
        assert_eq!(settings(&place), text);
        assert_eq!(files(&folder), ["settings.json"]);
    }
}

#[test]
fn a_link_stays_a_link_and_permissions_stay_as_they_are() {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    let elsewhere = tempfile::tempdir().unwrap();
    let real = elsewhere.path().join("dotfile.json");
    fs::write(&real, "{}").unwrap();
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let home = tempfile::tempdir().unwrap();
    let link = home.path().join("settings.json");
    symlink(&real, &link).unwrap();
    let name = home.path().display().to_string();
    let environment = BTreeMap::from([("CLAUDE_CONFIG_DIR".to_owned(), name)]);
    install(&Place::of(&environment).unwrap(), &wanted()).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(fs::read_to_string(&real).unwrap().contains("statusline"));
    let mode = fs::metadata(&real).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[test]
fn paths_are_words_of_a_shell() {
    assert_eq!(quoted("/usr/bin/tidegate"), "/usr/bin/tidegate");
    assert_eq!(quoted("/my programs/it's"), r"'/my programs/it'\''s'");
}

#[test]
fn hooks_of_others_stay_where_they_are() {
    let before = "{\n  \"hooks\": {\n    \"Stop\": [ {\"hooks\": [{\"type\": \"command\", \"command\": \"mine\"}]} ],\n    \"Else\": []\n  }\n}";
    let (_folder, place) = folder(Some(before));
    install(&place, &wanted()).unwrap();
    let once = settings(&place);
    let stop = |text: &str| serde_json::from_str::<Value>(text).unwrap()["hooks"]["Stop"].clone();
    expect![[r#"[{"hooks":[{"command":"mine","type":"command"}]},{"hooks":[{"command":"/bin/tidegate hook","timeout":5,"type":"command"}]}]"#]]
        .assert_eq(&stop(&once).to_string());
    install(&place, &wanted()).unwrap();
    assert_eq!(settings(&place), once);
    uninstall(&place).unwrap();
    assert_eq!(settings(&place), before);
    // What somebody has added since stays, and ours goes.
    install(&place, &wanted()).unwrap();
    let other = settings(&place).replace(
        "[{\"hooks\":[{\"command\":\"mine\"",
        "[{\"hooks\":[]},{\"hooks\":[{\"command\":\"mine\"",
    );
    fs::write(&place.settings, other).unwrap();
    let moved = Wanted {
        hook: "/new/tidegate hook".to_owned(),
        ..wanted()
    };
    install(&place, &moved).unwrap();
    assert_eq!(settings(&place).matches("tidegate hook").count(), 4);
    uninstall(&place).unwrap();
    expect![[r#"[{"hooks":[]},{"hooks":[{"command":"mine","type":"command"}]}]"#]]
        .assert_eq(&stop(&settings(&place)).to_string());
}

#[test]
fn what_is_no_list_of_hooks_is_left_as_it_is() {
    let before = "{\n  \"hooks\": {\n    \"Stop\": 5\n  }\n}";
    let (folder, place) = folder(Some(before));
    let error = format!("{:#}", install(&place, &wanted()).unwrap_err());
    assert!(
        error.contains("line 3: `hooks.Stop` must be a list"),
        "{error}"
    );
    assert_eq!(settings(&place), before);
    assert_eq!(files(&folder), ["settings.json"]);
}
