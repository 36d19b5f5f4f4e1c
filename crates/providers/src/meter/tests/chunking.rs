//! Streams cut and spelled in every way: the same reading, and the same bytes for the client.

use proptest::prelude::*;

use super::*;
use crate::relay::{StreamRelay, tests::relayed};

#[test]
fn line_ends_and_comments_make_no_difference() {
    for (dialect, name, stream) in STREAMS {
        let expected = meter(*dialect, true, stream.as_bytes());
        for line_end in ["\r\n", "\r"] {
            let other = format!(": PROCESSING\n\n{stream}").replace('\n', line_end);
            assert_eq!(meter(*dialect, true, other.as_bytes()), expected, "{name}");
        }
    }
}

#[test]
fn the_last_event_counts_without_its_blank_line() {
    for (dialect, name, stream) in STREAMS {
        let expected = meter(*dialect, true, stream.as_bytes());
        assert_eq!(
            meter(*dialect, true, stream.trim_end().as_bytes()),
            expected,
            "{name}"
        );
    }
}

fn cuts() -> impl Strategy<Value = (prop::sample::Index, Vec<usize>)> {
    (
        any::<prop::sample::Index>(),
        prop::collection::vec(1_usize..90, 1..40),
    )
}

/// The stream in pieces of these sizes, over and over.
fn pieces<'a>(stream: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let (mut rest, mut pieces) = (stream, Vec::new());
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_reading_and_the_same_bytes(
        (which, sizes) in cuts(), line_end in prop::sample::select(&["\n", "\r\n", "\r"][..]), drops: bool,
    ) {
        let (dialect, _name, stream) = which.get(STREAMS);
        let stream = stream.replace('\n', line_end);
        let mut meter_in_pieces = Meter::new(*dialect, true);
        let pieces = pieces(stream.as_bytes(), &sizes);
        for piece in &pieces {
            meter_in_pieces.observe(piece);
        }
        prop_assert_eq!(meter_in_pieces.finish(), meter(*dialect, true, stream.as_bytes()));
        let at_once = relayed(StreamRelay::new(*dialect, drops), &[stream.as_bytes()]);
        prop_assert_eq!(relayed(StreamRelay::new(*dialect, drops), &pieces), at_once);
    }
}

#[test]
fn every_single_cut_gives_the_same_reading_and_the_same_bytes() {
    for (dialect, name, stream) in STREAMS {
        let bytes = stream.as_bytes();
        let expected = meter(*dialect, true, bytes);
        let at_once = relayed(StreamRelay::new(*dialect, true), &[bytes]);
        for cut in 0..=bytes.len() {
            let (before, after) = bytes.split_at(cut);
            let mut meter = Meter::new(*dialect, true);
            meter.observe(before);
            meter.observe(after);
            assert_eq!(meter.finish(), expected, "{dialect} {name} cut at {cut}");
            let relayed = relayed(StreamRelay::new(*dialect, true), &[before, after]);
            assert_eq!(relayed, at_once, "{dialect} {name} cut at {cut}");
        }
    }
}
