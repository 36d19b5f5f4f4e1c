use expect_test::expect;

use super::*;
use crate::telemetry::{logs, spans};

#[test]
fn a_row_has_what_was_set_and_shows_it_as_json() {
    let mut batch = Batch::new(Kind::Spans);
    batch
        .row(Timestamp::from_seconds(1_784_023_200))
        .text(spans::OPERATION, "chat")
        .wide(spans::TRACE, 0xabc)
        .integer(spans::SPAN, -1)
        .integer(spans::DURATION, 0)
        .text(spans::EVENTS, "[{\"name\":\"retry\"}]")
        .text(spans::ATTRIBUTES, "{no json");
    batch.number(77);
    let row = batch.take(0);
    assert_eq!(row.text(spans::SERVICE), None);
    expect![[r#"
        {
          "attributes": "{no json",
          "duration_ns": 0,
          "events": [
            {
              "name": "retry"
            }
          ],
          "id": 77,
          "operation": "chat",
          "span_id": "ffffffffffffffff",
          "time": "2026-07-14T10:00:00.000000000Z",
          "trace_id": "00000000000000000000000000000abc"
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&row.json()).unwrap());
}

#[test]
fn a_value_that_is_set_twice_or_into_another_type_changes_nothing() {
    let mut batch = Batch::new(Kind::Logs);
    batch
        .row(Timestamp(5))
        .text(logs::BODY, "first")
        .text(logs::BODY, "second")
        .integer(logs::BODY, 5)
        .text(logs::PROCESS, "five");
    batch.row(Timestamp(6)).text(logs::BODY, "third");
    assert_eq!(batch.text(logs::BODY, 0), Some("first"));
    assert_eq!(batch.text(logs::BODY, 1), Some("third"));
    assert_eq!(batch.value(logs::PROCESS, 0), None);
}

#[test]
fn rows_are_sorted_by_time_and_then_by_id() {
    let mut batch = Batch::new(Kind::Logs);
    for (at, body) in [(9, "c"), (3, "a"), (9, "d"), (4, "b")] {
        batch.row(Timestamp(at)).text(logs::BODY, body);
    }
    batch.number(1);
    let sorted = batch.gather(&batch.by_time());
    let bodies: Vec<_> = (0..4)
        .filter_map(|it| sorted.text(logs::BODY, it))
        .collect();
    assert_eq!(bodies, ["a", "b", "c", "d"]);
}
