//! Providers that fail: the client sees something well formed that never hides the loss, and the
//! call is one settled row.

use std::time::Duration;

use expect_test::{Expect, expect};
use tidegate_sim::FaultKind;

use crate::harness::{Ask, Ended, World, three_sides};

/// Asks for `fault` in all dialects, streamed or not, and tells all sides.
#[track_caller]
fn check(fault: &str, stream: bool, expected: Expect) {
    let prompt = format!("sim:fault {fault}");
    let told: Vec<String> = Ask::in_all_dialects(&prompt, stream)
        .into_iter()
        .map(|ask| {
            // Longer than anything but a stall takes.
            let world = World::start(|it| it.silence_max = Duration::from_millis(700));
            three_sides(&world, &[ask])
        })
        .collect();
    expected.assert_eq(&told.join("\n"));
}

#[test]
fn a_429_keeps_its_wait_and_its_words() {
    check(
        "429=7",
        true,
        expect![[r#"
        client:   429 retry-after=7 content-type=application/json
                  rate_limit_error: This request would exceed your organization's rate limit
        upstream: POST /v1/messages body as sent, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00

        client:   429 retry-after=7 content-type=application/json
                  rate_limit_exceeded/rate_limit_exceeded: This request would exceed your organization's rate limit
        upstream: POST /v1/chat/completions body altered, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00

        client:   429 retry-after=7 content-type=application/json
                  rate_limit_exceeded/rate_limit_exceeded: This request would exceed your organization's rate limit
        upstream: POST /v1/responses body as sent, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00
    "#]],
    );
}

#[test]
fn an_overload_stays_an_overload() {
    check(
        "529",
        false,
        expect![[r#"
        client:   529 content-type=application/json
                  overloaded_error: Overloaded
        upstream: POST /v1/messages body as sent, 529 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 529 $0.00

        client:   503 content-type=application/json
                  service_unavailable_error/server_is_overloaded: Overloaded
        upstream: POST /v1/chat/completions body as sent, 503 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 503 $0.00

        client:   503 content-type=application/json
                  service_unavailable_error/server_is_overloaded: Overloaded
        upstream: POST /v1/responses body as sent, 503 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 503 $0.00
    "#]],
    );
}

#[test]
fn a_spend_cap_of_the_provider_stays_without_a_wait() {
    check(
        "spend-cap",
        false,
        expect![[r#"
        client:   429 content-type=application/json
                  rate_limit_error: Your organization has reached its monthly spend limit.
        upstream: POST /v1/messages body as sent, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00

        client:   429 content-type=application/json
                  insufficient_quota/organization_spend_limit_exceeded: You have reached your organization's spend limit.
        upstream: POST /v1/chat/completions body as sent, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00

        client:   429 content-type=application/json
                  insufficient_quota/organization_spend_limit_exceeded: You have reached your organization's spend limit.
        upstream: POST /v1/responses body as sent, 429 not whole
        ledger:   reserve, settle $0.00
        record:   upstream_error 429 $0.00
    "#]],
    );
}

#[test]
fn a_connection_that_is_reset_before_the_answer_is_a_502_in_the_dialect() {
    check(
        "reset",
        true,
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/messages body as sent, 0 not whole
            ledger:   reserve, settle $0.000136 (upstream broke off)
            record:   upstream_lost 502 $0.000136, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/chat/completions body altered, 0 not whole
            ledger:   reserve, settle $0.00004375 (upstream broke off)
            record:   upstream_lost 502 $0.00004375, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/responses body as sent, 0 not whole
            ledger:   reserve, settle $0.00003 (upstream broke off)
            record:   upstream_lost 502 $0.00003, estimated
        "#]],
    );
    check(
        "reset",
        false,
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/messages body as sent, 0 not whole
            ledger:   reserve, settle $0.00014 (upstream broke off)
            record:   upstream_lost 502 $0.00014, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/chat/completions body as sent, 0 not whole
            ledger:   reserve, settle $0.00004375 (upstream broke off)
            record:   upstream_lost 502 $0.00004375, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the connection to http://UPSTREAM ended before an answer came; there is no other platform that could take over
            upstream: POST /v1/responses body as sent, 0 not whole
            ledger:   reserve, settle $0.00003 (upstream broke off)
            record:   upstream_lost 502 $0.00003, estimated
        "#]],
    );
}

#[test]
fn a_stream_that_is_cut_ends_with_an_error_event_and_no_end() {
    check(
        "cut-mid-stream=3",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping error
                  api_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.00008 (upstream broke off)
        record:   upstream_lost 200 $0.00008, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk error
                  server_error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.0001875 (upstream broke off)
        record:   upstream_lost 200 $0.0001875, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added error
                  error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.00003375 (upstream broke off)
        record:   upstream_lost 200 $0.00003375, estimated
    "#]],
    );
}

#[test]
fn a_stream_that_is_reset_ends_with_an_error_event_and_no_end() {
    check(
        "reset-mid-stream=3",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping error
                  api_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.00008 (upstream broke off)
        record:   upstream_lost 200 $0.00008, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk error
                  server_error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.00018875 (upstream broke off)
        record:   upstream_lost 200 $0.00018875, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added error
                  error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.000035 (upstream broke off)
        record:   upstream_lost 200 $0.000035, estimated
    "#]],
    );
}

#[test]
fn a_stream_that_is_lost_in_its_first_milliseconds_does_not_hang() {
    check(
        "cut-mid-stream=0",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  error
                  api_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.000152 (upstream broke off)
        record:   upstream_lost 200 $0.000152, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  error
                  server_error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.0000475 (upstream broke off)
        record:   upstream_lost 200 $0.0000475, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  error
                  error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.00003375 (upstream broke off)
        record:   upstream_lost 200 $0.00003375, estimated
    "#]],
    );
}

#[test]
fn a_stream_that_is_closed_in_order_but_without_its_end_is_lost() {
    check(
        "close-mid-stream=3",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping error
                  api_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.00008 (upstream broke off)
        record:   upstream_lost 200 $0.00008, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk error
                  server_error/server_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.00018875 (upstream broke off)
        record:   upstream_lost 200 $0.00018875, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added error
                  error/server_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.000035 (upstream broke off)
        record:   upstream_lost 200 $0.000035, estimated
    "#]],
    );
}

#[test]
fn half_an_event_never_reaches_the_client() {
    check(
        "close-mid-event=3",
        true,
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping error
                      api_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.00026 (upstream broke off)
            record:   upstream_lost 200 $0.00026, estimated

            client:   200 content-type=text/event-stream; charset=utf-8
                      chunk error
                      server_error/server_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
            upstream: POST /v1/chat/completions body altered, 200 not whole
            ledger:   reserve, settle $0.0005075 (upstream broke off)
            record:   upstream_lost 200 $0.0005075, estimated

            client:   200 content-type=text/event-stream; charset=utf-8
                      response.created response.in_progress response.output_item.added error
                      error/server_error: upstream ended its answer without an end: the answer is not complete; what came of it is accounted
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.000245 (upstream broke off)
            record:   upstream_lost 200 $0.000245, estimated
        "#]],
    );
}

#[test]
fn a_stream_that_stalls_is_given_up() {
    check(
        "stall-mid-stream=3",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping error
                  api_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.00008 (upstream broke off)
        record:   upstream_lost 200 $0.00008, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk error
                  server_error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.00018875 (upstream broke off)
        record:   upstream_lost 200 $0.00018875, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added error
                  error/server_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.000035 (upstream broke off)
        record:   upstream_lost 200 $0.000035, estimated
    "#]],
    );
}

#[test]
fn an_error_event_in_a_stream_passes_and_is_booked_as_such() {
    check(
        "error-event=3",
        true,
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping error
                  overloaded_error: Overloaded
        upstream: POST /v1/messages body as sent, 200 not whole
        ledger:   reserve, settle $0.000076 (error event in the stream)
        record:   stream_error 200 $0.000076, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk error
                  service_unavailable_error/server_is_overloaded: The server is overloaded
        upstream: POST /v1/chat/completions body altered, 200 not whole
        ledger:   reserve, settle $0.00018625 (error event in the stream)
        record:   stream_error 200 $0.00018625, estimated

        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added error
                  error/server_is_overloaded: The server is overloaded
        upstream: POST /v1/responses body as sent, 200 not whole
        ledger:   reserve, settle $0.00003375 (error event in the stream)
        record:   stream_error 200 $0.00003375, estimated
    "#]],
    );
}

#[test]
fn an_answer_that_is_not_streamed_and_breaks_off_is_a_502_in_the_dialect() {
    check(
        "cut-mid-stream",
        false,
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.000728 (upstream broke off)
            record:   upstream_lost 502 $0.000728, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/chat/completions body as sent, 200 not whole
            ledger:   reserve, settle $0.0003375 (upstream broke off)
            record:   upstream_lost 502 $0.0003375, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.00096375 (upstream broke off)
            record:   upstream_lost 502 $0.00096375, estimated
        "#]],
    );
    check(
        "reset-mid-stream",
        false,
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.000732 (upstream broke off)
            record:   upstream_lost 502 $0.000732, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/chat/completions body as sent, 200 not whole
            ledger:   reserve, settle $0.0003375 (upstream broke off)
            record:   upstream_lost 502 $0.0003375, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.000965 (upstream broke off)
            record:   upstream_lost 502 $0.000965, estimated
        "#]],
    );
}

#[test]
fn an_answer_that_is_not_streamed_and_stalls_is_given_up() {
    check(
        "stall-mid-stream",
        false,
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.000732 (upstream broke off)
            record:   upstream_lost 502 $0.000732, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/chat/completions body as sent, 200 not whole
            ledger:   reserve, settle $0.0003375 (upstream broke off)
            record:   upstream_lost 502 $0.0003375, estimated

            client:   502 content-type=application/json
                      server_error/server_error: the upstream connection was lost in the middle of the answer
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.000965 (upstream broke off)
            record:   upstream_lost 502 $0.000965, estimated
        "#]],
    );
}

#[test]
fn an_answer_that_is_no_answer_passes_and_is_booked_as_an_estimate() {
    check(
        "garbage",
        false,
        expect![[r#"
            client:   200 content-type=text/html
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.0003 (answer without usage)
            record:   answered 200 $0.0003, estimated

            client:   200 content-type=text/html
            upstream: POST /v1/chat/completions body as sent, 200 not whole
            ledger:   reserve, settle $0.000125 (answer without usage)
            record:   answered 200 $0.000125, estimated

            client:   200 content-type=text/html
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.00011125 (answer without usage)
            record:   answered 200 $0.00011125, estimated
        "#]],
    );
    check(
        "garbage",
        true,
        expect![[r#"
            client:   200 content-type=text/html
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.0003 (answer without usage)
            record:   answered 200 $0.0003, estimated

            client:   200 content-type=text/html
            upstream: POST /v1/chat/completions body altered, 200 not whole
            ledger:   reserve, settle $0.00012375 (answer without usage)
            record:   answered 200 $0.00012375, estimated

            client:   200 content-type=text/html
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.00011125 (answer without usage)
            record:   answered 200 $0.00011125, estimated
        "#]],
    );
    check(
        "truncated-json",
        false,
        expect![[r#"
            client:   200 content-type=application/json
            upstream: POST /v1/messages body as sent, 200 not whole
            ledger:   reserve, settle $0.000728 (answer without usage)
            record:   answered 200 $0.000728, estimated

            client:   200 content-type=application/json
            upstream: POST /v1/chat/completions body as sent, 200 not whole
            ledger:   reserve, settle $0.0003375 (answer without usage)
            record:   answered 200 $0.0003375, estimated

            client:   200 content-type=application/json
            upstream: POST /v1/responses body as sent, 200 not whole
            ledger:   reserve, settle $0.00096375 (answer without usage)
            record:   answered 200 $0.00096375, estimated
        "#]],
    );
}

#[test]
fn headers_that_come_too_late_are_a_504_in_the_dialect() {
    let world = World::start(|it| it.head_max = Duration::from_millis(100));
    let heard = world.ask(&Ask::messages("sim:fault slow-headers=600000", true));
    assert_eq!(heard.status, 504);
    assert_eq!(heard.json()["error"]["type"], "timeout_error");
    let [record] = &world.settled(1)[..] else {
        panic!("one call has one record")
    };
    assert!(record.estimated && record.cost.0 > 0, "{record:#?}");
    world.assert_sound();
}

/// Whatever a provider does, a stream that lost its end never has one, and no byte of JSON that is
/// not whole reaches the client. `events` checks the form of each event.
#[test]
fn no_fault_looks_like_success() {
    for kind in FaultKind::ALL {
        if matches!(kind, FaultKind::SlowHeaders | FaultKind::Garbage) {
            continue;
        }
        for events in [0, 1, 5] {
            let prompt = format!("sim:fault {}={events}", kind.word());
            for ask in Ask::in_all_dialects(&prompt, true) {
                // A provider that fails again and again is not asked for a while.
                let world = World::start(|it| it.silence_max = Duration::from_millis(300));
                let heard = world.ask(&ask);
                assert_eq!(heard.ended, Ended::Whole, "{prompt}");
                if heard.status == 200 {
                    let events = heard.events();
                    assert_eq!(events.last().unwrap(), "error", "{prompt}: {events:?}");
                    let ends = ["message_stop", "[DONE]", "response.completed"];
                    let end = events.iter().find(|it| ends.contains(&it.as_str()));
                    assert_eq!(end, None, "{prompt}: {events:?}");
                } else {
                    assert!(!heard.json()["error"].is_null(), "{prompt}");
                }
                world.settled(1);
                world.assert_sound();
            }
        }
    }
}
