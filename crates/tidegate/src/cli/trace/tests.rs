use expect_test::expect;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cli::table::for_reader;

fn trace(spans: Value) -> Trace {
    Trace {
        trace_id: Some("0af7651916cd43dd8448eb211c80319c".to_owned()),
        session: None,
        task: None,
        spans: serde_json::from_value(spans).unwrap(),
        cut: false,
    }
}

fn span(id: &str, parent: &str, began: u64, millis: u64, operation: &str) -> Value {
    json!({
        "span_id": id, "parent_span_id": parent, "operation": operation, "service": "tidegate",
        "time": format!("2026-07-14T12:00:{:02}.{:03}Z", began / 1_000, began % 1_000),
        "duration_ns": millis * 1_000_000,
    })
}

#[test]
fn a_waterfall_shows_what_is_inside_of_what_and_when() {
    let mut failed = span("b", "a", 4_000, 2_000, "call");
    failed["status"] = "error".into();
    failed["message"] = "upstream_lost".into();
    let trace = trace(json!([
        span("a", "elsewhere", 0, 10_000, "agent"),
        failed,
        span("d", "b", 4_100, 0, "send"),
        span("c", "a", 7_000, 500, "tool"),
        span("w", "b", 4_000, 100, "wait"),
    ]));
    expect![[r#"
        trace 0af7651916cd43dd8448eb211c80319c: 5 spans, 1 service, 10.00 s, 1 failed
        span      service       took  0                                10.00 s
        agent     tidegate   10.00 s  ████████████████████████████████████████
          call    tidegate    2.00 s                  ████████  upstream_lost
            send  tidegate      0 µs                  ·
            wait  tidegate  100.0 ms                  █
          tool    tidegate  500.0 ms                              ██
    "#]]
    .assert_eq(&for_reader(&show(&trace, 40), false));
}

#[test]
fn nothing_is_a_trace_too() {
    let shown = show(&trace(json!([])), 40);
    assert!(
        shown.starts_with("trace 0af7651916cd43dd8448eb211c80319c: 0 spans"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn every_span_is_drawn_once_within_the_width_whatever_its_ids(
        spans in prop::collection::vec((0_u8..6, 0_u8..6, 0_u64..59_000, 0_u64..90_000), 0..20),
        width in 20_usize..72,
    ) {
        let spans = spans.iter().map(|(id, parent, began, millis)| {
            span(&id.to_string(), &parent.to_string(), *began, *millis, "work")
        });
        let trace = trace(spans.collect());
        let shown = show(&trace, width);
        prop_assert_eq!(shown.lines().count(), trace.spans.len() + 2);
        for line in shown.lines().skip(2) {
            let bar = line.chars().filter(|it| matches!(it, '█' | '·')).count();
            prop_assert!((1..=width).contains(&bar), "{}", line);
        }
    }
}
