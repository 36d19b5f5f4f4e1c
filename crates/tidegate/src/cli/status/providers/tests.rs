#[test]
fn status_shows_what_providers_said() {
    let input = serde_json::json!({
        "name": "input", "resource": "input_tokens", "keyless": "watch", "asking": "enforce",
        "threshold": 0, "held": 0, "debt": 0, "overdrawn": 0, "debt_total": 0, "classes": [],
        "capacity": 30_000, "level": 12_000, "owner": "provider", "full_in_seconds": 36,
        "provider": {
            "answers": 9, "ignored": 2, "error_ppm": 12_345, "foreign_permille": 480,
            "pace_permille": 432, "configured_capacity": 50_000,
        },
    });
    let status = serde_json::json!({
        "version": "0.1.0", "ready": true, "reasons": [], "limits": [],
        "watched": { "limits": [], "enforce_with": "tidegate serve --enforce" },
        "open_reservations": 0, "unknown_reservations": 0, "dropped_reservations": 0,
        "shed_records": 0,
        "platforms": [{
            "platform": "claude", "penalties": [],
            "buckets": [input],
        }],
        "cooldowns": [
            {
                "provider": "anthropic", "account": "acme/ada", "models": "claude-opus",
                "cause": "rate", "message": "the provider's rate limit is reached",
                "left_seconds": 7_999,
            },
            {
                "provider": "openai", "models": "gpt-5", "cause": "overloaded",
                "message": "the provider is overloaded", "left_seconds": 0,
            },
        ],
        "plan_windows": [{
            "provider": "anthropic", "account": "acme/ada", "window": "5h", "used_ppm": 425_000,
            "refuses": false, "resets_in_seconds": 7_200, "size_nano_usd": 35_001_000_000_u64,
            "size_error_nano_usd": 4_000_000_000_u64,
        }],
    });
    let status: tidegate_control::wire::Status = serde_json::from_value(status).unwrap();
    expect_test::expect![[r#"
        tidegate 0.1.0 at http://ADDRESS, takes calls, the ledger is writable

        bucket          left      of  counts        held  guarded  full in  does
        claude.input  12,000  30,000  input tokens     0        0  36 s     enforce with a key
        claude.input follows the provider: off by 1.2 % when it last said, its own limit, not the 50,000 configured, others use 48.0 % of the refill, refills at 43.2 % of what is stated, 2 figures made no sense
        anthropic of acme/ada is not asked for claude-opus: the provider's rate limit is reached, for 2 h 13 min
        openai is not asked for gpt-5: the provider is overloaded, the next call tries whether it is over

        plan of             window    used  begins anew in   holds      ±
        anthropic acme/ada  5h      42.5 %  2 h 0 min       $35.01  $4.00

        all limits are enforced for everyone

        open reservations: 0
    "#]].assert_eq(&crate::cli::status::show(&status, "ADDRESS"));
}
