use expect_test::expect;

use super::*;

#[test]
fn the_figures_of_text_models_are_taken_as_they_are() {
    let json = r#"{
        "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of chat, embedding"},
        "gpt-9": {
            "litellm_provider": "openai", "mode": "chat",
            "input_cost_per_token": 4e-06, "output_cost_per_token": 2e-05,
            "cache_read_input_token_cost": 4.0000000000000003e-07,
            "cache_creation_input_token_cost": 5e-06,
            "input_cost_per_token_above_272k_tokens": 8e-06,
            "output_cost_per_token_above_272k_tokens": 3e-05,
            "input_cost_per_token_flex": 2e-06, "output_cost_per_token_flex": 1e-05,
            "input_cost_per_token_priority": 7e-06, "output_cost_per_token_priority": 4e-05,
            "regional_processing_uplift_multiplier_eu": 1.1,
            "search_context_cost_per_query": {"search_context_size_low": 0.0275, "search_context_size_high": 0.03},
            "max_input_tokens": 922000, "max_output_tokens": 128000
        },
        "gpt-9-voice": {
            "litellm_provider": "openai", "mode": "chat",
            "input_cost_per_token": 2.5e-06, "output_cost_per_token": 1e-05,
            "input_cost_per_audio_token": 4e-05, "output_cost_per_audio_token": 8e-05,
            "input_cost_per_token_priority": 5e-06
        },
        "container": {"litellm_provider": "openai", "mode": "chat", "code_interpreter_cost_per_session": 0.03},
        "azure/gpt-9": {"litellm_provider": "azure", "mode": "chat", "input_cost_per_token": 1, "output_cost_per_token": 1},
        "drawing": {"litellm_provider": "openai", "mode": "image_generation", "input_cost_per_token": 1}
    }"#;
    expect![[r##"
        # What OpenAI charges, in dollars per million tokens. Written by `cargo xtask prices`.
        format = 1
        version = "openai-2026-10-07"
        source = "litellm/model_prices_and_context_window_backup.json of PyPI's litellm 1.2.3 (MIT)"
        date = 2026-10-07

        # Where a model lists no discount there is none; where it lists no surcharge, the largest of any.
        [providers.openai.defaults]
        batch = 1
        flex = 1
        fast = "2/1"
        regional = "11/10"
        web_search_per_1000 = 30
        automatic_cache_writes = false

        [providers.openai.models."gpt-9"]
        input = 4
        cache_read = 0.4
        cache_write_5m = 5
        cache_write_1h = 5
        output = 20
        tiers = [{ above = 272000, input = 8, cache_read = 8, cache_write_5m = 8, cache_write_1h = 8, output = 30 }]
        flex = "1/2"
        fast = "2/1"
        regional = "11/10"
        web_search_per_1000 = 30
        automatic_cache_writes = true
        context = 922000
        output_max = 128000

        [providers.openai.models."gpt-9-voice"]
        input = 40
        cache_read = 40
        cache_write_5m = 40
        cache_write_1h = 40
        output = 80
    "##]].assert_eq(&table(json, "1.2.3", "2026-10-07").unwrap());
}

#[test]
fn what_is_no_whole_number_of_units_is_refused_with_its_model_and_key() {
    let json = r#"{"gpt-9": {"litellm_provider": "openai", "mode": "chat",
        "input_cost_per_token": 1.5e-12, "output_cost_per_token": 1e-05}}"#;
    let error = table(json, "1.2.3", "2026-10-07").unwrap_err();
    let error = format!("{error:#}");
    assert_eq!(
        error,
        "model `gpt-9`: `input_cost_per_token` cannot be 1.5e-12"
    );
}

#[test]
fn noise_of_doubles_is_rounded_away() {
    for (text, units) in [
        ("4.0000000000000003e-07", Some(400_000)),
        ("9.999999999999999e-08", Some(100_000)),
        ("0.00012", Some(120_000_000)),
        ("0", Some(0)),
        ("0.0", Some(0)),
        ("5E-9", Some(5_000)),
        ("-1", None),
        ("\"1\"", None),
        ("1e-13", None),
        ("1e99", None),
    ] {
        assert_eq!(whole_units(text, 12), units, "{text}");
    }
}
