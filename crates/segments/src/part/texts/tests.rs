use std::sync::Arc;

use bytes::Bytes;
use parquet::file::{
    reader::{FileReader as _, SerializedFileReader},
    serialized_reader::SerializedPageReader,
};
use proptest::prelude::*;
use tidegate_observe::telemetry::{Batch, Kind, Row, logs};
use tidegate_types::Timestamp;

use super::*;
use crate::part::write_parquet;

/// The texts of a column as they are read from a file with these bodies.
fn read_back(bodies: &[String]) -> Option<Texts> {
    let mut batch = Batch::new(Kind::Logs);
    for body in bodies {
        batch.row(Timestamp(1)).text(logs::BODY, body);
    }
    let rows: Vec<Row> = (0..bodies.len()).map(|it| batch.take(it)).collect();
    let mut file = Vec::new();
    let rows = rows.into_iter().map(Ok::<_, crate::QueryError>);
    write_parquet(Kind::Logs, rows, &mut file).unwrap();
    let file = Arc::new(Bytes::from(file));
    let reader = SerializedFileReader::new(Bytes::clone(&file)).unwrap();
    let column = reader.metadata().row_group(0).column(logs::BODY);
    let mut pages = SerializedPageReader::new(file, column, bodies.len(), None).unwrap();
    read(&mut pages, bodies.len(), true).unwrap()
}

proptest! {
    #[test]
    fn texts_are_read_as_they_were_written(
        bodies in prop::collection::vec(prop_oneof!["\\PC{0,40}", "a{0,300}", Just(String::new())], 1..700),
    ) {
        let texts = read_back(&bodies).unwrap();
        let mut start = 0;
        for (body, end) in bodies.iter().zip(&texts.ends) {
            let end = usize::try_from(*end).unwrap();
            prop_assert_eq!(&texts.bytes[start..end], body);
            start = end;
        }
        prop_assert_eq!(texts.ends.len(), bodies.len());
    }

    #[test]
    fn bytes_that_are_no_texts_are_refused_or_read_but_never_beyond_their_end(
        bytes in prop::collection::vec(any::<u8>(), 0..200), rows in 0..300usize,
    ) {
        let mut read = Texts { bytes: String::new(), ends: Vec::new() };
        if read.add(&bytes, rows, None).is_some() {
            prop_assert_eq!(read.ends.len(), rows);
        }
        if let Some(present) = present(&bytes, rows) {
            prop_assert_eq!(present.len(), rows);
        }
    }
}
