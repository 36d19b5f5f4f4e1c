use proptest::prelude::*;

use super::*;
use crate::wire::LimitRequest;

proptest! {
    #[test]
    fn an_amount_is_the_same_as_text_and_as_number_and_never_rounded(nanos: u64) {
        let text = plain(NanoUsd(nanos));
        for json in [format!("\"{text}\""), format!("\"${text}\""), text] {
            let read: Usd = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(read, Usd(NanoUsd(nanos)));
        }
        let again: Usd = serde_json::from_str(&serde_json::to_string(&Usd(NanoUsd(nanos))).unwrap()).unwrap();
        prop_assert_eq!(again, Usd(NanoUsd(nanos)));
    }
}

#[test]
fn left_out_null_and_an_amount_are_three_things_in_both_directions() {
    for (json, amount) in [
        ("{}", Amount::Kept),
        (r#"{"hard_usd":null}"#, Amount::Removed),
        (
            r#"{"hard_usd":"0.50"}"#,
            Amount::Set(Usd(NanoUsd(500_000_000))),
        ),
    ] {
        let request: LimitRequest = serde_json::from_str(json).unwrap();
        assert_eq!(request.hard_usd, amount);
        assert_eq!(serde_json::to_string(&request).unwrap(), json);
    }
}
