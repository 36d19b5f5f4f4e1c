use super::*;

#[test]
fn a_span_stands_for_as_many_as_its_threshold_says() {
    for (state, weight) in [
        ("ot=th:0", Some(1_000)),
        ("ot=th:8", Some(2_000)),
        ("a=b, ot=rv:ff;th:c", Some(4_000)),
        ("ot=th:ffffffffffffff", Some(72_057_594_037_927_936_000)),
        ("ot=th:", None),
        ("ot=th:100000000000000", None),
        ("ot=th:+8", None),
        ("ot=p:8", None),
        ("", None),
    ] {
        let weight = weight.and_then(|it: u128| i64::try_from(it).ok());
        assert_eq!(weight_milli(state), weight, "{state}");
    }
}
