//! Other platforms: tried before the first byte of an answer, where the configuration says so.

use expect_test::{Expect, expect};
use tidegate_sim::{WireRecord, spec::FaultShareSpec};

use crate::harness::{Ask, Scripted, World, nobody, sides::clients_side, world::Setup};

/// The home provider, and it alone, answers every call like this.
fn always(fault: &str) -> impl FnOnce(&mut Setup) {
    let fault = fault.parse().unwrap();
    move |it| {
        it.home.faults = vec![FaultShareSpec {
            fault,
            per_mille: 1_000,
        }];
    }
}

/// Asks once, with the spare platform configured, and tells what each side saw.
#[track_caller]
fn check(ask: &Ask, change: impl FnOnce(&mut Setup), expected: Expect) {
    let world = World::start(|it| {
        it.fall_back();
        change(it);
    });
    let mut told = clients_side(&world.ask(ask));
    let ledger = world.ledger(1);
    for (name, provider) in [("home", &world.home), ("spare", &world.spare)] {
        for WireRecord { path, status, .. } in provider.wire_log() {
            told += &format!("{name}: {path} {status}\n");
        }
    }
    told += &ledger;
    let [record] = &world.settled(1)[..] else {
        panic!("one call has one record")
    };
    told += &format!("platform: {}, tried {:?}\n", record.platform, record.tried);
    expected.assert_eq(&told);
}

#[test]
fn a_call_goes_on_elsewhere_where_the_first_platform_is_exhausted_or_down() {
    check(
        &Ask::messages("hello", true),
        always("429=7"),
        expect![[r#"
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop
        home: /v1/messages 429
        spare: /v1/messages 200
        ledger:   reserve, settle $0.00
        ledger:   reserve, settle $0.000676
        record:   answered 200 $0.000676
        platform: spare, tried ["sonnet"]
    "#]],
    );
    check(
        &Ask::messages("hello", false),
        always("529"),
        expect![[r#"
        client:   200 content-type=application/json
        home: /v1/messages 529
        spare: /v1/messages 200
        ledger:   reserve, settle $0.00
        ledger:   reserve, settle $0.000676
        record:   answered 200 $0.000676
        platform: spare, tried ["sonnet"]
    "#]],
    );
}

#[test]
fn a_refused_connection_costs_nothing_and_the_call_goes_on_elsewhere() {
    let gone = |it: &mut Setup| it.home_url = Some(nobody());
    check(
        &Ask::messages("hello", true),
        gone,
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop
            spare: /v1/messages 200
            ledger:   reserve, release
            ledger:   reserve, settle $0.000676
            record:   answered 200 $0.000676
            platform: spare, tried ["sonnet"]
        "#]],
    );
}

#[test]
fn a_connection_lost_after_sending_is_booked_and_the_call_goes_on_elsewhere() {
    let upstream = Scripted::once("");
    let url = upstream.base_url.clone();
    check(
        &Ask::messages("hello", true),
        |it| it.home_url = Some(url),
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop
            spare: /v1/messages 200
            ledger:   reserve, settle $0.000124 (upstream broke off)
            ledger:   reserve, settle $0.000676
            record:   answered 200 $0.0008, estimated
            platform: spare, tried ["sonnet"]
        "#]],
    );
}

#[test]
fn the_first_providers_refusal_is_told_where_no_other_does_better() {
    let with = |fault| {
        move |it: &mut Setup| {
            always(fault)(it);
            it.spare_url = Some(nobody());
        }
    };
    check(
        &Ask::messages("hello", true),
        with("429=7"),
        expect![[r#"
            client:   429 retry-after=7 content-type=application/json
                      rate_limit_error: This request would exceed your organization's rate limit
            home: /v1/messages 429
            ledger:   reserve, settle $0.00
            ledger:   reserve, release
            record:   upstream_error 429 $0.00
            platform: spare, tried ["sonnet"]
        "#]],
    );
    check(
        &Ask::messages("hello", false),
        with("529"),
        expect![[r#"
            client:   529 content-type=application/json
                      overloaded_error: Overloaded
            home: /v1/messages 529
            ledger:   reserve, settle $0.00
            ledger:   reserve, release
            record:   upstream_error 529 $0.00
            platform: spare, tried ["sonnet"]
        "#]],
    );
}

#[test]
fn a_refusal_that_was_kept_says_where_it_comes_from_and_what_was_altered() {
    let world = World::start(|it| {
        always("529")(it);
        it.fall_back();
        it.spare_url = Some(nobody());
    });
    let heard = world.ask(&Ask::messages("hello", true));
    assert_eq!(heard.status, 529, "{}", heard.text());
    assert_eq!(heard.header("x-tidegate-platform"), Some("sonnet"));
    assert!(heard.header("x-tidegate-call-id").is_some());
    world.settled(1);
}

#[test]
fn what_is_the_requests_own_fault_goes_nowhere_else() {
    check(
        &Ask::messages("sim:fault 400", true),
        |_| {},
        expect![[r#"
        client:   400 content-type=application/json
                  invalid_request_error: messages: this request is refused on demand
        home: /v1/messages 400
        ledger:   reserve, settle $0.00
        record:   upstream_error 400 $0.00
        platform: sonnet, tried []
    "#]],
    );
}

#[test]
fn a_stream_that_has_begun_is_not_begun_again_elsewhere() {
    check(
        &Ask::messages("sim:fault cut-mid-stream=3", true),
        |_| {},
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping error
                      api_error: the upstream connection was lost: the answer is not complete; what came of it is accounted
            home: /v1/messages 200
            ledger:   reserve, settle $0.00008 (upstream broke off)
            record:   upstream_lost 200 $0.00008, estimated
            platform: sonnet, tried []
        "#]],
    );
}

#[test]
fn without_a_fallback_a_refused_connection_is_a_502_in_the_dialect() {
    check(
        &Ask::messages("hello", false),
        |it| {
            it.home_url = Some(nobody());
            it.platform("sonnet", |it| it.fallback.clear());
        },
        expect![[r#"
            client:   502 content-type=application/json
                      api_error: no connection to http://UPSTREAM; there is no other platform that could take over
            ledger:   reserve, release
            record:   upstream_unreachable 502 $0.00
            platform: sonnet, tried []
        "#]],
    );
}

#[test]
fn a_fallback_is_told_with_its_reason() {
    let world = World::start(|it| {
        it.fall_back();
        always("529")(it);
    });
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
    world.settled(1);
    expect![[r#"
        from="sonnet" to="spare" reason="the provider answered 529"
    "#]]
    .assert_eq(&world.told("fell_back"));
}

#[test]
fn what_only_the_operator_pays_is_no_fallback_for_calls_without_a_key() {
    check(
        &Ask::messages("hello", false),
        |it| {
            always("529")(it);
            it.platform("spare", |it| it.local_may_spend = false);
        },
        expect![[r#"
            client:   529 content-type=application/json
                      overloaded_error: Overloaded
            home: /v1/messages 529
            ledger:   reserve, settle $0.00
            record:   upstream_error 529 $0.00
            platform: sonnet, tried []
        "#]],
    );
}
