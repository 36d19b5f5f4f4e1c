use expect_test::{Expect, expect};

use super::*;

/// What becomes of a configuration of these lines, in a file of this name.
#[track_caller]
fn check(name: &str, lines: &str, expected: Expect) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, format!("version = 1\ndata = \"/nowhere\"\n{lines}")).unwrap();
    let said = match systems(&[file.to_string_lossy().into_owned()]) {
        Ok(all) => {
            let under = all[0].under().unwrap();
            let names = under
                .settings
                .platforms
                .iter()
                .map(|it| it.name.to_string());
            format!(
                "{}: {}, held {} s",
                all[0].word(),
                names.collect::<Vec<_>>().join(" "),
                under.patience.as_secs()
            )
        }
        Err(error) => format!("{error:#}"),
    };
    let said = said.replace(&folder.path().display().to_string(), "");
    expected.assert_eq(&said);
}

#[test]
fn a_system_that_does_not_exist_is_named_with_those_that_do() {
    let error = systems(&["litellm".to_owned()]).unwrap_err().to_string();
    assert!(
        error.contains("`litellm`")
            && error.contains("retry-10, fifo-full")
            && error.contains("FILE.toml"),
        "{error}"
    );
    let twice = ["fifo".to_owned(), "fifo".to_owned()];
    let error = systems(&twice).unwrap_err().to_string();
    assert!(error.contains("two systems `fifo`"), "{error}");
}

#[test]
fn a_configuration_is_a_system_that_is_called_as_its_file() {
    check(
        "larger-units.toml",
        "[waiting]\nsilent = \"30s\"\nopened = \"45s\"\n[platforms.sonnet.buckets.units]\nresource = \"units\"\ncapacity = 50\nthreshold = 0\nrefill = 5\nper = \"minute\"\n",
        expect!["larger-units: claude_code sonnet openai, held 45 s"],
    );
}

#[test]
fn what_a_replay_cannot_follow_is_refused_with_its_place() {
    check(
        "all.toml",
        "[fallback]\nplatforms = [\"openai\"]\n[platforms.sonnet.model_map]\n\"claude-opus-5-5\" = \"claude-sonnet-5-5\"\n[budgets.task]\nsoft = \"1\"\n[budgets.user_day]\nsoft = \"1\"\nmode = \"watch\"\n[quotas.user]\noutput_bytes = 5\n",
        expect![[r#"
            /all.toml:5:1: platforms.sonnet.model_map = { claude-opus-5-5 = "claude-sonnet-5-5" }: a replay asks for the models that were recorded; leave it out
            /all.toml:4:13: fallback.platforms = ["openai"]: a replay has one provider, and nothing to fall back to; leave it out
            /all.toml:8:8: budgets.task.soft = "1": in a replay nobody says yes or no; leave it out, or write mode = "watch" beside it
            /all.toml:13:16: quotas.user.output_bytes = 5: a replay has no answers that could be ended early; leave it out"#]],
    );
}

#[test]
fn a_configuration_that_is_wrong_is_told_as_everywhere() {
    check(
        "wrong.toml",
        "[platforms.sonnet]\nprovidr = \"x\"\n",
        expect![
            "/wrong.toml:4:1: platforms.sonnet.providr: this key is not known; did you mean `provider`?"
        ],
    );
    check(
        "tidegate.toml",
        "",
        expect!["`/tidegate.toml`: `tidegate` is a system already; call the file something else"],
    );
    check(
        "two words.toml",
        "",
        expect![
            "`/two words.toml`: tables and transcripts name a system as its file; use up to 64 letters, digits, dots, dashes and underscores"
        ],
    );
}
