//! Settings for Claude Code where it signs in.

use expect_test::{Expect, expect};

use super::{build_text, check_wrong, settings, sources};

#[track_caller]
fn check(text: &str, expected: Expect) {
    let settings = settings(text).claude_code;
    expected.assert_eq(&settings.map_or_else(String::new, |it| it.to_string()));
}

#[test]
fn models_are_given_unless_somebody_says_otherwise() {
    check(
        "",
        expect![[
            r#"{"env":{"ANTHROPIC_DEFAULT_HAIKU_MODEL":"claude-haiku-5-5","ANTHROPIC_DEFAULT_OPUS_MODEL":"claude-opus-5-5","ANTHROPIC_DEFAULT_SONNET_MODEL":"claude-sonnet-5-5","ANTHROPIC_MODEL":"claude-opus-5-5"}}"#
        ]],
    );
    check("[claude_code]\nmanaged = false", expect![[""]]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.json");
    let more = r#"{"permissions": {"deny": ["Bash"]}, "env": {"ANTHROPIC_MODEL": "b", "B": "1"}}"#;
    std::fs::write(&file, more).unwrap();
    check(
        &format!(
            "[claude_code]\nenv = {{ ANTHROPIC_MODEL = 'c', ANTHROPIC_DEFAULT_OPUS_MODEL = '', ANTHROPIC_DEFAULT_HAIKU_MODEL = '' }}\nstatus_line = 'tidegate statusline'\nsettings_file = '{}'",
            file.display()
        ),
        expect![[
            r#"{"env":{"ANTHROPIC_DEFAULT_SONNET_MODEL":"claude-sonnet-5-5","ANTHROPIC_MODEL":"c","B":"1"},"permissions":{"deny":["Bash"]},"statusLine":{"command":"tidegate statusline","type":"command"}}"#
        ]],
    );
}

#[test]
fn settings_that_are_none_are_refused_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("more.json");
    for (text, wrong) in [
        ("[]", "must hold one JSON object"),
        ("{", "is no JSON"),
        (r#"{"env": 5}"#, "`env` must be an object"),
    ] {
        std::fs::write(&file, text).unwrap();
        let text = format!(
            "version = 1\n[claude_code]\nsettings_file = '{}'",
            file.display()
        );
        let told = build_text(&text, &sources(&[])).unwrap_err().to_string();
        assert!(
            told.contains("claude_code.settings_file") && told.contains(wrong),
            "{told}"
        );
    }
    check_wrong(
        "
[claude_code]
env = { 'A B' = '1' }
settings_file = '/nowhere/more.json'
",
        expect![[r#"
            tidegate.toml:5:17: claude_code.settings_file: `/nowhere/more.json` can't be read: No such file or directory (os error 2)
            tidegate.toml:4:7: claude_code.env: `A B` is no name of a variable; use letters, digits and underscores, like ANTHROPIC_MODEL
        "#]],
    );
}
