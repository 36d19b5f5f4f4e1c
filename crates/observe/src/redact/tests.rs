use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

/// Redacts each line.
#[track_caller]
fn check(texts: &str, expected: Expect) {
    let lines = texts.lines().map(str::trim).filter(|it| !it.is_empty());
    let clean: Vec<_> = lines.map(redact).collect();
    expected.assert_eq(&(clean.join("\n") + "\n"));
}

#[test]
fn keys_and_tokens_are_removed() {
    check(
        r#"
        key sk-ant-api03-AbCd_1234-xyz was refused
        sk-proj-abcdefgh
        x-tidegate-key: tg-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG
        the token is tgl-abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG
        Authorization: Bearer abc.def-123_456
        authorization: Basic dXNlcjpwYXNzd29yZA==
        eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl, and more
        AKIAIOSFODNN7EXAMPLE and ghp_abcdefghijklmnopqrstuvwxyz0123456789
        github_pat_11ABCDEFG0abcdefghijkl AIzaSyA-1234567890abcdefghijklmnopqrstu
        https://user:hunter2@example.com/path
        {"api_key":"abc","model":"m"} {\"password\":\"p w\"}
        api_key = 'abcdef' password=hunter22;next
        -----BEGIN RSA PRIVATE KEY-----MIIabc-----END RSA PRIVATE KEY----- after
        -----BEGIN PRIVATE KEY-----MIIabc cut off
        "#,
        expect![[r#"
            key [redacted] was refused
            [redacted]
            x-tidegate-key: [redacted]
            the token is [redacted]
            Authorization: Bearer [redacted]
            authorization: Basic [redacted]
            [redacted], and more
            [redacted] and [redacted]
            [redacted] [redacted]
            https://user:[redacted]@example.com/path
            {"api_key":"[redacted]","model":"m"} {\"password\":\"[redacted]\"}
            api_key = '[redacted]' password=[redacted];next
            [redacted] after
            [redacted]
        "#]],
    );
}

#[test]
fn ordinary_texts_stay() {
    check(
        r"
        task-management and risk-averse people use sk-learn
        max_tokens: 32000 input_token: 5 token: none
        basic authentication, bearer authorization, unexpected token: identifier
        https://example.com:8787/v1/messages and http://[::1]:80/
        claude-opus-5-5 x-api-key api_key_env tg-short
        -----BEGIN CERTIFICATE-----MIIabc-----END CERTIFICATE-----
        2026-11-21T10:00:00Z resv_19aa0c7f3d2e0001
        ",
        expect![[r#"
            task-management and risk-averse people use sk-learn
            max_tokens: 32000 input_token: 5 token: none
            basic authentication, bearer authorization, unexpected token: identifier
            https://example.com:8787/v1/messages and http://[::1]:80/
            claude-opus-5-5 x-api-key api_key_env tg-short
            -----BEGIN CERTIFICATE-----MIIabc-----END CERTIFICATE-----
            2026-11-21T10:00:00Z resv_19aa0c7f3d2e0001
        "#]],
    );
}

#[test]
fn a_text_without_secrets_is_not_copied() {
    assert!(matches!(redact("nothing to hide"), Cow::Borrowed(_)));
}

#[test]
fn configured_patterns_are_removed_too() {
    let redactor = Redactor::try_new(&["CUST-[0-9]{6}", r"\bada\b"]).unwrap();
    assert_eq!(
        redactor.redact("ada called CUST-123456 with sk-abcdefgh9, canada did not"),
        "[redacted] called [redacted] with [redacted], canada did not"
    );
}

#[test]
fn patterns_that_cannot_work_are_refused_with_the_remedy() {
    let error = |patterns: &[&str]| Redactor::try_new(patterns).unwrap_err().to_string();
    let too_many = vec!["a"; PATTERNS_MAX + 1];
    let texts = [error(&["(open"]), error(&["a*"]), error(&too_many)];
    expect![[r#"
        `(open` is not a regular expression: found open group without closing ')'; write it in RE2's syntax, without look-around
        `a*` matches the empty text: it would put a mark between all characters; make it match at least one
        65 patterns are more than 64: join some with `|`"#]]
    .assert_eq(&texts.join("\n"));
}

/// A made-up secret of every form, with a tail that a search for the whole would find.
fn secret() -> impl Strategy<Value = String> {
    let tail = "[A-Za-z0-9]{40}";
    prop_oneof![
        tail.prop_map(|it| format!("sk-ant-api03-{it}")),
        tail.prop_map(|it| format!("sk-{it}")),
        tail.prop_map(|it| format!("tg-{it}abc")),
        tail.prop_map(|it| format!("ghp_{it}")),
        tail.prop_map(|it| format!("github_pat_{it}")),
        tail.prop_map(|it| format!("AIza{it}")),
        "[A-Z0-9]{16}".prop_map(|it| format!("AKIA{it}")),
        tail.prop_map(|it| format!("eyJhbGciOiJI.{it}.{it}")),
    ]
}

proptest! {
    /// Whatever stands around a secret, as long as it does not continue a word, it goes.
    #[test]
    fn no_secret_survives(
        secret in secret(), before in "(.*[^A-Za-z0-9])?", after in "([^A-Za-z0-9_.-].*)?",
    ) {
        let clean = redact(&format!("{before}{secret}{after}")).into_owned();
        prop_assert!(!clean.contains(&secret), "{}", clean);
    }

    #[test]
    fn any_text_can_be_redacted_and_twice_changes_nothing_more(text in ".{0,200}") {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once).into_owned(), once.clone());
    }

    #[test]
    fn words_and_numbers_stay(words in prop::collection::vec("[a-z]{1,12}|[0-9]{1,12}", 0..20)) {
        let text = words.join(" ");
        prop_assert_eq!(redact(&text), text.as_str());
    }
}
