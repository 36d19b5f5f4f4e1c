use proptest::prelude::*;

use super::*;

#[test]
fn answers_have_exactly_the_bytes_and_events_asked_for() {
    for dialect in [Dialect::Messages, Dialect::Chat, Dialect::Responses] {
        for (bytes, count) in [(1_024, 40), (2_000, 100)] {
            let whole = whole(dialect, bytes);
            // A Responses answer has an envelope of more than half a kilobyte.
            assert_eq!(whole.len(), bytes, "{dialect:?}");
            assert!(serde_json::from_slice::<serde_json::Value>(&whole).is_ok());
            assert_eq!(events(dialect, count).len(), count, "{dialect:?}");
        }
    }
}

proptest! {
    #[test]
    fn the_scan_finds_the_key_however_the_body_is_cut(
        before in "[a-z\",: ]{0,60}",
        blanks in " {0,3}",
        stream: bool,
        cut in 1_usize..30,
    ) {
        let before = before.replace("\"stream\"", "");
        let body = format!("{{{before}\"stream\"{blanks}:{blanks}{stream}}}");
        let mut scan = StreamScan::default();
        for piece in body.as_bytes().chunks(cut) {
            scan.feed(piece);
        }
        prop_assert_eq!(scan.found(), stream);
    }
}
