use super::*;

#[test]
fn rule_1_models_share_limits_by_family_and_major_version() {
    for (model, class) in [
        ("claude-opus-4-5-20251101", "opus-4"),
        ("claude-opus-4-8", "opus-4"),
        ("claude-opus-5", "opus-5"),
        ("claude-opus-5-5", "opus-5-5"),
        ("claude-sonnet-4-20250514", "sonnet-4"),
        ("claude-sonnet-5-5", "sonnet-5-5"),
        ("claude-fable-5-2", "fable-5"),
        ("claude-haiku-4-5-20251001", "haiku-4-5"),
        ("claude-haiku-5-5", "haiku-5-5"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("gpt-5-20250807", "gpt-5"),
        ("gpt-5-mini", "gpt-5-mini"),
        ("claude-", "claude-"),
        ("", ""),
    ] {
        assert_eq!(model_class(model), class, "{model}");
    }
    assert_eq!(model_family("claude-fable-5-2"), Some("fable"));
    assert_eq!(model_family("gpt-5"), None);
}
