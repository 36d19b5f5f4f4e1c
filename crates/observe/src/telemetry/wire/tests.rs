use proptest::prelude::*;
use tidegate_types::Timestamp;

use super::*;
use crate::telemetry::{logs, spans};

fn batch() -> impl Strategy<Value = Batch> {
    let row = (
        any::<u64>(),
        any::<Option<i64>>(),
        any::<u128>(),
        "\\PC{0,12}",
        prop::option::of("[a-c]{1,3}"),
    );
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let mut batch = Batch::new(Kind::Spans);
        for (at, duration, trace, body, service) in rows {
            let mut row = batch.row(Timestamp(at));
            row.wide(spans::TRACE, trace).text(spans::BODY, &body);
            if let Some(duration) = duration {
                row.integer(spans::DURATION, duration);
            }
            if let Some(service) = &service {
                row.text(spans::SERVICE, service);
            }
        }
        batch.number(1);
        batch
    })
}

#[test]
fn a_column_that_is_not_known_is_left_out() {
    let mut batch = Batch::new(Kind::Logs);
    batch.row(Timestamp(1)).text(logs::BODY, "kept");
    let bytes = batch.encode();
    let name = b"\x04body";
    let at = bytes.windows(name.len()).position(|it| it == name).unwrap();
    let mut newer = bytes;
    newer[at + 4] = b'Y';
    let read = Batch::decode(&newer).unwrap();
    assert_eq!((read.rows(), read.text(logs::BODY, 0)), (1, None));
}

proptest! {
    #[test]
    fn a_batch_comes_back_as_it_was(batch in batch()) {
        prop_assert_eq!(Batch::decode(&batch.encode()).unwrap(), batch);
    }

    #[test]
    fn bytes_that_break_off_or_differ_are_refused_or_are_a_batch_that_can_be_used(
        batch in batch(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut bytes = batch.encode();
        let at = at.index(bytes.len());
        if cut {
            bytes.truncate(at);
        } else {
            bytes[at] = byte;
        }
        match Batch::decode(&bytes) {
            Ok(read) => {
                prop_assert!(!cut);
                for row in 0..read.rows() {
                    read.take(row).json();
                }
            }
            Err(error) => prop_assert!(error.to_string().starts_with("not a block of records")),
        }
    }
}
