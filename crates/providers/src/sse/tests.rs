use proptest::prelude::*;

use super::*;

/// Ends of events in `stream` when it comes in pieces of these sizes, in bytes from the start; an
/// LF that comes a piece later than its CR belongs to the event before it.
fn ends(stream: &[u8], mut sizes: impl Iterator<Item = usize>) -> Vec<usize> {
    let (mut boundaries, mut ends, mut start) = (Boundaries::new(), Vec::new(), 0);
    while start < stream.len() {
        let size = sizes.next().unwrap_or(usize::MAX).max(1);
        let piece = &stream[start..stream.len().min(start.saturating_add(size))];
        let mut at = boundaries.tail(piece);
        if at > 0 {
            *ends.last_mut().unwrap() += at;
        }
        while let Some(length) = boundaries.next(&piece[at..]) {
            at += length;
            ends.push(start + at);
        }
        start += piece.len();
    }
    ends
}

#[test]
fn events_end_with_a_blank_line_of_any_kind() {
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = ": hi\n\nevent: a\ndata: 1\n\ndata: 2\n\ndata: 3\n".replace('\n', line_end);
        let found = ends(stream.as_bytes(), std::iter::empty());
        let events: Vec<&str> = std::iter::once(&0)
            .chain(&found)
            .zip(&found)
            .map(|(from, to)| &stream[*from..*to])
            .collect();
        let expected = [": hi\n\n", "event: a\ndata: 1\n\n", "data: 2\n\n"];
        assert_eq!(events, expected.map(|it| it.replace('\n', line_end)));
    }
}

proptest! {
    #[test]
    fn ends_do_not_depend_on_the_cuts(
        stream in prop::collection::vec(prop::sample::select(&b"\n\n\r\ra"[..]), 0..60),
        sizes in prop::collection::vec(1_usize..5, 0..60),
    ) {
        let whole = ends(&stream, std::iter::empty());
        prop_assert_eq!(ends(&stream, sizes.into_iter()), whole);
    }
}

#[test]
fn data_lines_are_joined_and_other_fields_passed_over() {
    let event = Event::parse(b": comment\r\nid: 7\r\nevent: x\r\ndata: {\r\ndata:  1}\r\n\r\n");
    assert_eq!(event.name, b"x");
    assert_eq!(&*event.data, b"{\n 1}");
}

#[test]
fn one_data_line_is_not_copied() {
    let event = Event::parse(b"data:{}\n\n");
    assert!(matches!(event.data, Cow::Borrowed(b"{}")), "{event:?}");
}
