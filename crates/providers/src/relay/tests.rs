use expect_test::expect;
use proptest::prelude::*;

use super::*;
use crate::meter::tests::stream;

/// Everything a relay lets through when the stream comes in these pieces and then ends well.
pub(crate) fn relayed(mut relay: StreamRelay, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in pieces {
        for bytes in relay.push(Bytes::copy_from_slice(piece)) {
            out.extend_from_slice(&bytes);
        }
    }
    out.extend(relay.end(true).unwrap_or_default());
    out
}

#[test]
fn whole_events_pass_at_once_and_uncopied() {
    let mut relay = StreamRelay::new(Dialect::Anthropic, false);
    let chunk = Bytes::from_static(b"event: ping\ndata: {}\n\ndata: {}\n\n");
    let out = relay.push(chunk.clone());
    assert_eq!(
        out.first.as_ref().map(|it| it.as_ptr()),
        Some(chunk.as_ptr())
    );
    assert_eq!((out.first, out.second), (Some(chunk), None));
    assert_eq!(relay.end(false), None);
}

#[test]
fn half_an_event_is_held_until_the_rest_comes() {
    let mut relay = StreamRelay::new(Dialect::Anthropic, false);
    let pieces = ["data: 1\n\ndata: ", "2\n", "\ndata: 3\n\ndata", ": 4"];
    let out = pieces.map(|it| {
        let out = relay.push(Bytes::from_static(it.as_bytes()));
        out.into_iter().collect::<Vec<Bytes>>()
    });
    let expected: [&[&str]; 4] = [&["data: 1\n\n"], &[], &["data: 2\n\n", "data: 3\n\n"], &[]];
    for (out, expected) in out.iter().zip(expected) {
        assert_eq!(out, expected);
    }
    let cut = StreamRelay {
        held: b"data: 4".to_vec(),
        ..StreamRelay::new(Dialect::Anthropic, false)
    };
    assert_eq!(
        cut.end(false),
        None,
        "half an event must not reach the client"
    );
    assert_eq!(relay.end(true).as_deref(), Some(&b"data: 4"[..]));
}

#[test]
fn only_the_usage_chunk_is_dropped() {
    let stream = stream(Dialect::OpenAiChat, "text");
    let relay = |drops| StreamRelay::new(Dialect::OpenAiChat, drops);
    let kept = relayed(relay(false), &[stream.as_bytes()]);
    assert_eq!(String::from_utf8(kept).unwrap(), stream);
    let dropped = relayed(relay(true), &[stream.as_bytes()]);
    let dropped = String::from_utf8(dropped).unwrap();
    let events = stream.split_inclusive("\n\n");
    let expected: String = events
        .filter(|it| !it.contains(r#""choices":[],"#))
        .collect();
    assert_eq!(dropped, expected);
    assert!(expected.len() < stream.len());
}

#[test]
fn a_chunk_that_only_resembles_the_usage_chunk_passes() {
    for chunk in [
        r#"data: {"choices":[],"usage":null}"#,
        r#"data: {"choices":[],"prompt_filter_results":[]}"#,
        r#"data: {"choices":[{"index":0,"delta":{"content":"\"choices\":[],\"usage\":{}"}}],"usage":{"prompt_tokens":1}}"#,
        "data: [DONE]",
        ": \"choices\":[],\"usage\":{}",
    ] {
        let event = format!("{chunk}\n\n");
        let relay = StreamRelay::new(Dialect::OpenAiChat, true);
        assert_eq!(relayed(relay, &[event.as_bytes()]), event.as_bytes());
    }
    let event = b"data: { \"usage\" : {\"prompt_tokens\":1}, \"choices\" : [ ] }\n\n";
    assert_eq!(
        relayed(StreamRelay::new(Dialect::OpenAiChat, true), &[event]),
        b""
    );
}

#[test]
fn an_event_that_is_too_long_to_be_held_passes_in_parts() {
    let mut relay = StreamRelay::new(Dialect::OpenAiChat, true);
    let mut sent = relay
        .push(Bytes::from_static(b"data: "))
        .into_iter()
        .count();
    let part = Bytes::from(vec![b'x'; 64 << 10]);
    let mut bytes = 0;
    for _ in 0..64 {
        for piece in relay.push(part.clone()) {
            sent += 1;
            bytes += piece.len();
        }
        assert!(relay.held.capacity() <= 2 * EVENT_BYTES_MAX);
    }
    assert_eq!(bytes, 6 + 64 * part.len());
    assert!(sent > 40, "it passes as it comes: {sent}");
    assert_eq!(
        relay.end(false).as_deref(),
        Some(&b"\n\n"[..]),
        "the open event is ended"
    );
}

#[test]
fn after_an_event_that_was_too_long_events_are_held_again() {
    let mut relay = StreamRelay::new(Dialect::OpenAiChat, false);
    let long = vec![b'x'; EVENT_BYTES_MAX + 1];
    assert_eq!(relay.push(long.clone().into()).first, Some(long.into()));
    let sent = relay.push(Bytes::from_static(b"\n\ndata: half"));
    assert_eq!(sent.into_iter().collect::<Vec<_>>(), ["\n\n"]);
    assert_eq!(relay.end(false), None);
}

#[test]
fn a_loss_is_told_in_each_dialect() {
    let told = |dialect| {
        String::from_utf8(stream_error(
            dialect,
            &ErrorKind::Api,
            "upstream closed",
            41,
        ))
        .unwrap()
    };
    expect![[r#"
        event: error
        data: {"type":"error","error":{"type":"api_error","message":"upstream closed"}}

    "#]]
    .assert_eq(&told(Dialect::Anthropic));
    expect![[r#"
        data: {"error":{"message":"upstream closed","type":"server_error","param":null,"code":"server_error"}}

    "#]].assert_eq(&told(Dialect::OpenAiChat));
    expect![[r#"
        event: error
        data: {"type":"error","code":"server_error","message":"upstream closed","param":null,"sequence_number":42}

    "#]].assert_eq(&told(Dialect::OpenAiResponses));
}

proptest! {
    /// Whatever comes, in whatever pieces: nothing is lost, added or reordered, and where nothing is to be
    /// dropped each byte passes as early as where something could be.
    #[test]
    fn every_byte_passes_in_order(
        pieces in prop::collection::vec(prop::collection::vec(prop::sample::select(&b"\n\n\rda:"[..]), 0..12), 0..20),
    ) {
        let pieces: Vec<&[u8]> = pieces.iter().map(|it| &it[..]).collect();
        let relay = |drops| StreamRelay::new(Dialect::OpenAiChat, drops);
        let (mut plain, mut dropping) = (relay(false), relay(true));
        for piece in &pieces {
            let passed = |it: &mut StreamRelay| {
                let out = it.push(Bytes::copy_from_slice(piece)).into_iter();
                out.flatten().collect::<Vec<u8>>()
            };
            prop_assert_eq!(passed(&mut plain), passed(&mut dropping));
        }
        for drops in [false, true] {
            prop_assert_eq!(relayed(relay(drops), &pieces), pieces.concat());
        }
    }

    /// What the client has when the stream is cut ends with an event's end.
    #[test]
    fn a_cut_stream_ends_between_events(cut in any::<prop::sample::Index>(), size in 1_usize..80) {
        let stream = stream(Dialect::Anthropic, "text").as_bytes();
        let cut = &stream[..cut.index(stream.len())];
        let mut relay = StreamRelay::new(Dialect::Anthropic, false);
        let mut sent = Vec::new();
        for piece in cut.chunks(size) {
            sent.extend(relay.push(Bytes::copy_from_slice(piece)).into_iter().flatten());
        }
        sent.extend(relay.end(false).unwrap_or_default());
        prop_assert!(sent.is_empty() || sent.ends_with(b"\n\n"));
        prop_assert!(cut.starts_with(&sent));
        prop_assert!(!cut[sent.len()..].windows(2).any(|it| it == b"\n\n"));
    }
}
