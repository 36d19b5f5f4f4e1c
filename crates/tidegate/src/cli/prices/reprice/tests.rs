use expect_test::expect;
use tidegate_types::{CallId, Tokens, Usage};

use super::*;

/// A call of an hour of 2026 and a million tokens of output.
fn call(hour: u64, model: &str, cost: u64) -> CallRecord {
    let at = Timestamp::from_seconds(1_784_030_400 + hour * 3_600);
    let mut call = CallRecord::arrived(CallId::from_raw(hour + 1), at, "anthropic_messages");
    call.provider = "anthropic".into();
    call.model_sent = model.into();
    call.cost = NanoUsd::from_usd(cost);
    call.usage = Some(Usage {
        output: Tokens(1_000_000),
        ..Usage::default()
    });
    call
}

fn prices() -> PriceBook {
    let table = "format = 1\nversion = \"mine\"\n[providers.anthropic.models.claude-opus-5-5]\noutput = 30\n";
    let told = PriceBook::builtin().with_overrides(table);
    told.unwrap_or_else(|it| panic!("{it}"))
}

fn args(until: Option<&str>, model: Option<&str>) -> RepriceArgs {
    RepriceArgs {
        since: None,
        until: until.map(|it| it.parse().unwrap()),
        model: model.map(str::to_owned),
        format: Format::default(),
    }
}

fn repriced(args: &RepriceArgs, calls: &[CallRecord]) -> Report {
    let prices = prices();
    let mut sums = Sums::new(args, &prices, Timestamp::from_seconds(1_784_030_400));
    for call in calls {
        sums.add(call);
    }
    sums.report()
}

fn day() -> Vec<CallRecord> {
    let mut subscribed = call(1, "claude-opus-5-5", 0);
    subscribed.notional = NanoUsd::from_usd(20);
    let mut refused = call(2, "claude-opus-5-5", 0);
    refused.usage = None;
    let mut cut = call(3, "claude-haiku-4-5", 5);
    cut.estimated = true;
    let mut fallen_back = call(4, "claude-haiku-4-5", 9);
    fallen_back.tried = vec!["first".into()];
    vec![
        fallen_back,
        cut,
        refused,
        subscribed,
        call(0, "claude-opus-5-5", 20),
        call(5, "model-of-nobody", 1),
    ]
}

#[test]
fn what_was_booked_stands_beside_what_it_would_cost_by_the_operators_table() {
    let report = repriced(&args(None, None), &day());
    expect![[r#"
        provider   model             calls  booked  repriced  difference  table
        anthropic  claude-haiku-4-5      2  $14.00    $10.00      -$4.00  anthropic-2026-11-21
        anthropic  claude-opus-5-5       2  $40.00    $60.00     +$20.00  mine
        anthropic  model-of-nobody       1   $1.00    $50.00     +$49.00  anthropic-2026-11-21, mine
        all                              5  $55.00   $120.00     +$65.00
        no price table knows model-of-nobody of anthropic: it is repriced at the dearest (dearest of anthropic)
        1 call with an estimated usage, which is repriced as it is
        1 call tried elsewhere before: what that cost is booked, and not repriced
        1 call not repriced: refused, unanswered or free, without usage
        nothing is changed: the ledger keeps what was booked
    "#]].assert_eq(&crate::cli::table::for_reader(&show(&report), false));
}

#[test]
fn calls_are_chosen_by_their_model_and_their_time() {
    let count = |until, model| -> (u64, u64) {
        let report = repriced(&args(until, model), &day());
        let calls = report.models.iter().map(|it| it.calls).sum();
        (calls, report.without_usage)
    };
    assert_eq!(count(None, None), (5, 1));
    assert_eq!(count(None, Some("haiku")), (2, 0));
    // The hour itself is no longer before it.
    assert_eq!(count(Some("2026-07-14T14:00:00Z"), None), (2, 0));
    assert_eq!(count(Some("2026-07-14T14:00:01Z"), None), (2, 1));
}

#[test]
fn programs_read_differences_with_their_sign_and_that_nothing_changed() {
    let report = repriced(&args(None, Some("opus")), &day());
    expect![[r#"
        {
          "models": [
            {
              "provider": "anthropic",
              "model": "claude-opus-5-5",
              "row": "claude-opus-5-5",
              "version": "mine",
              "price_known": true,
              "calls": 2,
              "estimated": 0,
              "tried_before": 0,
              "booked_usd": "40.00",
              "repriced_usd": "60.00",
              "difference_usd": "+20.00"
            }
          ],
          "without_usage": 1,
          "gateway_has_other_prices": false,
          "ledger_changed": false
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&report).unwrap());
}

#[test]
fn other_prices_of_the_running_gateway_are_said() {
    let report = Report {
        gateway_has_other_prices: true,
        ..Report::default()
    };
    expect![[r#"
        no recorded call has usage that could be repriced
        repriced by this configuration's prices; the running gateway charges by others until it reads them (`tidegate prices` shows its own)
        nothing is changed: the ledger keeps what was booked
    "#]].assert_eq(&crate::cli::table::for_reader(&show(&report), false));
}
