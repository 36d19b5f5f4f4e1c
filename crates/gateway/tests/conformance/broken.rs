//! Requests broken at any byte: each is answered or ends its connection, and the next caller notices nothing.

use tidegate_types::mutate::Mutator;

use crate::harness::{Ask, World};

const ROUNDS: usize = 400;

/// Pieces that mean something to HTTP.
const WORDS: &[&str] = &[
    "\r\n",
    "\r\n\r\n",
    "\n",
    ": ",
    " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/2",
    "GET ",
    "HEAD ",
    "CONNECT ",
    "content-length: 3\r\n",
    "content-length: 99999999999999999999\r\n",
    "transfer-encoding: chunked\r\n",
    "connection: close\r\n",
    "upgrade: h2c\r\n",
    "expect: 100-continue\r\n",
    "host: \r\n",
    "0\r\n\r\n",
    "%00",
    "//",
    "http://",
    "?",
    "#",
    "\u{0}",
    "é",
    "\t",
];

/// What ends a request that has lost its end: nobody waits for a caller that says no more. `None`
/// for one that announces megabytes.
fn rest(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8_lossy(bytes).to_ascii_lowercase();
    let announced = text.split("content-length").skip(1).map(|it| {
        let digits = it.trim_start_matches([':', ' ']);
        let digits: String = digits.chars().take_while(char::is_ascii_digit).collect();
        // No number at all, or one that no length is, is refused.
        digits.parse::<usize>().unwrap_or(0)
    });
    let longest = announced.max().unwrap_or(0);
    (longest < 1_000_000)
        .then(|| [b"\r\n\r\n", &*vec![b' '; longest], b"\r\n\r\n.\r\n\r\n"].concat())
}

#[test]
fn a_request_that_is_broken_anywhere_harms_nobody() {
    let world = World::plain();
    let good: Vec<Vec<u8>> = Ask::in_all_dialects("hello", false)
        .into_iter()
        .map(|it| {
            let it = it
                .with("x-tidegate-task", "t")
                .with("x-tidegate-priority", "low");
            it.with(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )
            .bytes()
        })
        .collect();
    let mut mutator = Mutator::new(0x5EED_0051, WORDS);
    let (mut answered, mut refused, mut ended) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let seed = mutator.of(&good);
        let mut bytes = mutator.mutated(seed);
        let Some(rest) = rest(&bytes) else {
            continue;
        };
        bytes.extend(rest);
        let told = bytes.escape_ascii().to_string();
        let mut client = world.connect();
        let _as_much_as_is_taken = client.try_send(&bytes);
        match client.answer_head().map(|it| it.status) {
            Some(200) => answered += 1,
            Some(400..=431) => refused += 1,
            Some(other) => panic!("{other} to {told}"),
            None => ended += 1,
        }
    }
    let enough = ROUNDS / 20;
    assert!(
        answered > enough && refused > enough,
        "{answered} answered, {refused} refused, {ended} ended"
    );
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
    world.settled(answered / 2);
    world.assert_sound();
}
