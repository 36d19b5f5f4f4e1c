use std::fmt::Write as _;

use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(models: &str, expected: Expect) {
    let mut transcript = String::new();
    for model in models.split_whitespace() {
        let Normalised { vendor, names } = normalised(model);
        let vendor = vendor.unwrap_or_default();
        writeln!(transcript, "{model} -> [{vendor}] {}", names.join(" ")).unwrap();
    }
    expected.assert_eq(&transcript);
}

#[test]
fn what_platforms_add_to_a_model_id_is_taken_off() {
    check(
        "
        claude-opus-5-5
        claude-opus-5-5-20260901
        Claude-Opus-5-5[1m]
        anthropic/claude-opus-5.5
        openrouter/anthropic/claude-opus-4.5:beta
        us.anthropic.claude-opus-4-5-20251101-v1:0
        claude-haiku-4-5@20251001
        gpt-4o-2024-05-13
        gpt-5-chat-latest
        ft:gpt-4o-2024-08-06:acme::a1b2
        hf:zai-org/GLM-4.7
        gpt-4-0613
        ",
        expect![[r#"
            claude-opus-5-5 -> [] claude-opus-5-5
            claude-opus-5-5-20260901 -> [] claude-opus-5-5-20260901 claude-opus-5-5
            Claude-Opus-5-5[1m] -> [] claude-opus-5-5
            anthropic/claude-opus-5.5 -> [anthropic] claude-opus-5.5 claude-opus-5-5
            openrouter/anthropic/claude-opus-4.5:beta -> [anthropic] claude-opus-4.5 claude-opus-4-5
            us.anthropic.claude-opus-4-5-20251101-v1:0 -> [anthropic] claude-opus-4-5-20251101 claude-opus-4-5
            claude-haiku-4-5@20251001 -> [] claude-haiku-4-5
            gpt-4o-2024-05-13 -> [] gpt-4o-2024-05-13 gpt-4o
            gpt-5-chat-latest -> [] gpt-5-chat-latest gpt-5-chat
            ft:gpt-4o-2024-08-06:acme::a1b2 -> [] ft:gpt-4o-2024-08-06 ft:gpt-4o
            hf:zai-org/GLM-4.7 -> [zai-org] glm-4.7 glm-4-7
            gpt-4-0613 -> [] gpt-4-0613
        "#]],
    );
}

#[test]
fn an_endless_id_is_left_alone() {
    assert_eq!(normalised(&"a".repeat(300)), Normalised::default());
}

proptest! {
    #[test]
    fn every_id_comes_apart_without_panic(
        model in "([a-z0-9äß./:@\\[\\]-]|anthropic\\.|-v|ft:|20260901){0,40}",
    ) {
        let names = normalised(&model).names;
        prop_assert!(names.len() <= 4);
        prop_assert!(names.iter().all(|it| it.len() <= model.len()));
    }
}
