use expect_test::expect;

use super::*;
use crate::cli::table::for_reader;

#[test]
fn sums_are_shown_with_what_they_have_in_common_and_times_per_call() {
    let one = Activity {
        hour: Some("2026-07-14T11:00:00Z".to_owned()),
        user: Some("ann".to_owned()),
        calls: 4,
        failed: 1,
        input_tokens: 1_000,
        cache_write_tokens: 234,
        cost_nano_usd: 1_500_000_000,
        first_byte_us: 8_000_000,
        ..Activity::default()
    };
    let activities = Activities {
        activity: vec![one],
        cut: true,
    };
    expect![[r#"
        hour                  user  calls  failed  refused     in  cached  out   cost  first byte  waited
        2026-07-14T11:00:00Z  ann       4       1        0  1,234       0    0  $1.50      2.00 s    0 µs
        there are more than are shown: ask for a shorter time, or by less
    "#]].assert_eq(&for_reader(&show(&activities), false));
    let none = Activities {
        activity: Vec::new(),
        cut: false,
    };
    assert_eq!(show(&none), "no call is recorded in that time\n");
}
