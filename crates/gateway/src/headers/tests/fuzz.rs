//! Headers broken in every way: nothing of ours leaves, and the connection's own ends with it.

use tidegate_types::mutate::Mutator;

use super::*;

const ROUNDS: usize = 10_000;

const SEEDS: &[(&str, &str)] = &[
    ("host", "127.0.0.1:8787"),
    ("connection", "keep-alive, x-hop, te"),
    ("x-hop", "1"),
    ("transfer-encoding", "chunked"),
    ("content-length", "7"),
    ("accept-encoding", "gzip, br"),
    ("authorization", "Bearer tg-0123456789abcdef0123456789"),
    ("x-api-key", "tg-0123456789abcdef0123456789"),
    ("x-api-key", "sk-ant-api03-1"),
    ("cookie", "a=b; c=tg-0123456789abcdef0123456789"),
    ("x-tidegate-key", "tg-0123456789abcdef0123456789"),
    ("x-tidegate-task", "t"),
    (
        "traceparent",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ),
    ("anthropic-beta", "a,b"),
    ("x-claude-code-session-id", "a6b1c2d3"),
];

/// Pieces that mean something to a header.
const WORDS: &[&str] = &[
    " ",
    "\t",
    ",",
    ";",
    "=",
    "-",
    "x-tidegate-",
    "tg-",
    "Bearer ",
    "connection",
    "host",
    "chunked",
    "\u{0}",
    "\u{7f}",
    "é",
];

/// Headers that hyper would let in, as broken as they may be.
fn broken(mutator: &mut Mutator) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..=mutator.below(12) {
        let (name, value) = *mutator.of(SEEDS);
        let name = match mutator.below(3) {
            0 => mutator.mutated(name.as_bytes()),
            _ => name.as_bytes().to_vec(),
        };
        let value = match mutator.below(3) {
            0 => value.as_bytes().to_vec(),
            _ => mutator.mutated(value.as_bytes()),
        };
        let read = (
            HeaderName::from_bytes(&name),
            HeaderValue::from_bytes(&value),
        );
        if let (Ok(name), Ok(value)) = read {
            headers.append(name, value);
        }
    }
    headers
}

#[test]
fn broken_headers_take_nothing_of_ours_along() {
    let mut mutator = Mutator::new(0x5EED_0031, WORDS);
    let (mut passed, mut dropped) = (0, 0);
    for _ in 0..ROUNDS {
        let from = broken(&mut mutator);
        let strip_credentials = mutator.below(2) == 0;
        let to = upward(Upward {
            from: &from,
            authority: &HeaderValue::from_static("api.example.com"),
            strip_credentials,
            put: Put::Nothing,
            traceparent: None,
            body_bytes: 7,
        });
        for (name, value) in &to {
            assert!(!name.as_str().starts_with("x-tidegate-"), "{from:?}");
            assert!(!is_hop_by_hop(name), "{from:?}");
            if is_credential(name) {
                assert!(!strip_credentials && !holds_our_secret(value), "{from:?}");
            }
        }
        for (name, value) in [
            ("host", "api.example.com"),
            ("content-length", "7"),
            ("accept-encoding", "identity"),
        ] {
            let all: Vec<_> = to.get_all(name).iter().collect();
            assert_eq!(all, [value], "{from:?}");
        }
        let mut down = from.clone();
        downward(&mut down);
        assert!(
            down.keys()
                .all(|it| !it.as_str().starts_with("x-tidegate-") && !is_hop_by_hop(it))
        );
        let kept = to.keys().filter(|it| from.contains_key(*it)).count();
        passed += usize::from(kept > 0);
        dropped += usize::from(kept < from.keys_len());
    }
    assert!(
        passed > ROUNDS / 4 && dropped > ROUNDS / 4,
        "{passed} passed, {dropped} dropped"
    );
}
