use proptest::prelude::*;

use super::*;

#[test]
fn durations_are_read_as_go_prints_them() {
    for (text, nanos) in [
        ("12ms", 12_000_000),
        ("1s", 1_000_000_000),
        ("6m0s", 360_000_000_000),
        ("1h2m3s", 3_723_000_000_000),
        ("1.5s", 1_500_000_000),
        ("1m30.25s", 90_250_000_000),
        ("7.66ms", 7_660_000),
        ("2d3h", 183_600_000_000_000),
        ("5µs", 5_000),
        ("5us9ns", 5_009),
        ("0s", 0),
        ("0.0000000001s", 0),
    ] {
        assert_eq!(parse(text), Some(Duration::from_nanos(nanos)), "{text}");
    }
}

#[test]
fn what_is_no_duration_is_none() {
    for text in [
        "",
        "s",
        "5",
        "1x",
        "-1s",
        "1s ",
        "1 s",
        "1.s.",
        "1.2.3s",
        "m5",
        "99999999999999999999s",
        "300000d300000d",
        "1S",
    ] {
        assert_eq!(parse(text), None, "{text}");
    }
}

proptest! {
    #[test]
    fn hours_minutes_and_seconds_add_up(h in 0_u64..1_000, m in 0_u64..60, ms in 0_u64..60_000) {
        let text = format!("{h}h{m}m{}.{:03}s", ms / 1_000, ms % 1_000);
        let expected = Duration::from_millis((h * 60 + m) * 60_000 + ms);
        prop_assert_eq!(parse(&text), Some(expected));
    }

    #[test]
    fn no_text_panics(text in "([0-9.]{0,25}(ns|us|µs|ms|s|m|h|d|x)?){0,4}") {
        let _read = parse(&text);
    }
}
