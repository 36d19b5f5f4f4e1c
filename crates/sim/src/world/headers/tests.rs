use super::*;

#[test]
fn rule_8_openai_resets_are_go_durations_rounded_up() {
    for (nanos, text) in [
        (0, "0s"),
        (1, "1ms"),
        (12_000_000, "12ms"),
        (1_000_000_000, "1s"),
        (1_500_000_000, "1.5s"),
        (8_640_000_000, "8.64s"),
        (360_000_000_000, "6m0s"),
        (3_723_000_000_000, "1h2m3s"),
        (59_999_000_001, "1m0s"),
    ] {
        assert_eq!(go_duration(Duration::from_nanos(nanos)), text);
    }
}

#[test]
fn rule_8_anthropic_resets_are_whole_seconds_never_too_early() {
    let at = |nanos| rfc3339_seconds(Timestamp(nanos));
    assert_eq!(at(1_786_147_200_000_000_000), "2026-08-08T00:00:00Z");
    assert_eq!(at(1_786_147_200_000_000_001), "2026-08-08T00:00:01Z");
}
