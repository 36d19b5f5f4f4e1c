use super::*;

#[test]
fn every_ready_made_spec_is_within_bounds_and_survives_json() {
    for spec in [
        ProviderSpec::default(),
        ProviderSpec::bench(),
        ProviderSpec::unlimited(),
        ProviderSpec {
            latency: LatencySpec::measured(),
            ..ProviderSpec::default()
        },
    ] {
        assert_eq!(spec.validate(), Ok(()));
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<ProviderSpec>(&text).unwrap(), spec);
    }
}

#[test]
fn an_empty_spec_is_the_default_and_unknown_fields_are_refused() {
    let read = serde_json::from_str::<ProviderSpec>;
    assert_eq!(read("{}").unwrap(), ProviderSpec::default());
    assert!(read(r#"{"sped":2}"#).is_err());
    assert!(read(r#"{"limits":{"rpm":2}}"#).is_err());
    let episode = r#"{"episodes":[{"after_ms":0,"lasts_ms":10}]}"#;
    assert_eq!(read(episode).unwrap().episodes[0].fault.to_string(), "529");
}

#[test]
fn what_is_out_of_bounds_is_named_with_its_bounds() {
    type Change = fn(&mut ProviderSpec);
    let cases: [(Change, &str); 7] = [
        (|it| it.speed = 0, "`speed` is 0: set it from 1 to 10000"),
        (
            |it| it.limits.burst_seconds = 0,
            "`burst_seconds` is 0: set it from 1 to 3600",
        ),
        (
            |it| it.answer.tokens = 300_000,
            "`answer.tokens` is 300000: set it from 1 to 200000",
        ),
        (
            |it| it.bytes_per_token_tenths = 1,
            "`bytes_per_token_tenths` is 1: set it from 10 to 100",
        ),
        (
            |it| it.log.records = 2_000_000,
            "`log.records` is 2000000: set it from 0 to 1000000",
        ),
        (
            |it| it.subscription.scoped_label = "a b".into(),
            "`subscription.scoped_label` is `a b`: use lower-case letters, digits and underscores",
        ),
        (
            |it| {
                it.class_limits.insert(
                    "opus-4".into(),
                    LimitSpec {
                        requests_per_minute: 0,
                        ..LimitSpec::default()
                    },
                );
            },
            "`requests_per_minute` is 0: set it from 1 to 1000000000",
        ),
    ];
    for (change, message) in cases {
        let mut spec = ProviderSpec::default();
        change(&mut spec);
        assert_eq!(spec.validate().unwrap_err().to_string(), message);
    }
}
