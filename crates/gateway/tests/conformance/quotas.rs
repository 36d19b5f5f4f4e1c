//! Answers that are ended at a quota: the client has a whole, shortened answer in its dialect, and what
//! came of it is accounted.

use std::num::NonZeroU64;

use expect_test::{Expect, expect};
use tidegate_admission::{QuotaFigure, QuotaFigures, QuotaKind, QuotaTable};
use tidegate_types::{Enforcement, Mode};

use crate::harness::{Ask, Ended, World, three_sides, world::Setup};

fn quota(it: &mut Setup, kind: QuotaKind, limit: u64, enforcement: Enforcement) {
    let mut user = QuotaFigures::UNLIMITED;
    *user.of_mut(kind) = QuotaFigure {
        limit: NonZeroU64::new(limit),
        enforcement,
    };
    it.settings.quotas = std::sync::Arc::new(QuotaTable {
        user,
        ..QuotaTable::unlimited()
    });
}

const ENFORCED: Enforcement = Enforcement::Named(Mode::Enforce);

/// Asks for `prompt` in all dialects, streamed, under one quota of the user, and tells all sides.
#[track_caller]
fn check(prompt: &str, (kind, limit): (QuotaKind, u64), expected: Expect) {
    let told: Vec<String> = Ask::in_all_dialects(prompt, true)
        .into_iter()
        .map(|ask| {
            let world = World::start(|it| quota(it, kind, limit, ENFORCED));
            let told = three_sides(&world, &[ask]);
            world.assert_sound();
            // How much of it the provider had written by then is no matter of ours.
            let upstream = told.lines().filter(|it| !it.starts_with("upstream:"));
            let costs = |line: &str| {
                line.split_once('$')
                    .map_or(line.to_owned(), |it| it.0.to_owned())
            };
            upstream.map(|it| costs(it) + "\n").collect()
        })
        .collect();
    expected.assert_eq(&told.join("\n"));
}

#[test]
fn an_answer_that_is_too_long_ends_as_at_the_providers_own_limit() {
    check(
        "sim:tokens 4000 sim:stream-ms 200",
        (QuotaKind::Output, 300),
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop
            ledger:   reserve, settle 
            record:   ended 200 

            client:   200 content-type=text/event-stream; charset=utf-8
                      chunk [DONE]
            ledger:   reserve, settle 
            record:   ended 200 

            client:   200 content-type=text/event-stream; charset=utf-8
                      response.created response.in_progress response.output_item.added response.content_part.added response.output_text.delta response.incomplete
            ledger:   reserve, settle 
            record:   ended 200 
        "#]],
    );
}

#[test]
fn an_answer_that_takes_too_long_ends_in_good_order() {
    check(
        "sim:tokens 2 sim:stream-ms 600000",
        (QuotaKind::TaskTime, 1),
        expect![[r#"
            client:   200 content-type=text/event-stream; charset=utf-8
                      message_start content_block_start ping content_block_stop message_delta message_stop
            ledger:   reserve, settle 
            record:   ended 200 

            client:   200 content-type=text/event-stream; charset=utf-8
                      chunk [DONE]
            ledger:   reserve, settle 
            record:   ended 200 

            client:   200 content-type=text/event-stream; charset=utf-8
                      response.created response.in_progress response.output_item.added response.content_part.added response.incomplete
            ledger:   reserve, settle 
            record:   ended 200 
        "#]],
    );
}

#[test]
fn an_answer_that_comes_whole_is_refused_when_its_time_is_over_and_is_accounted() {
    for ask in Ask::in_all_dialects("sim:tokens 2 sim:stream-ms 600000", false) {
        let world = World::start(|it| quota(it, QuotaKind::TaskTime, 1, ENFORCED));
        let heard = world.ask(&ask);
        assert_eq!((heard.status, heard.ended), (429, Ended::Whole));
        let text = String::from_utf8(heard.body.clone()).unwrap();
        assert!(text.contains("quota `user.task_seconds`"), "{text}");
        let records = world.settled(1);
        assert_eq!(records[0].outcome.word(), "ended");
        assert!(records[0].estimated, "{records:?}");
    }
}

/// The events of an answer with their data, the long ones shortened.
fn ends(ask: &Ask) -> String {
    let world = World::start(|it| quota(it, QuotaKind::Output, 20, ENFORCED));
    let heard = world.ask(ask);
    let text = String::from_utf8(heard.body.clone()).unwrap();
    let events: Vec<&str> = text.trim_end().split("\n\n").collect();
    let last = events.len().saturating_sub(3);
    let mut told = events[last..].join("\n") + "\n";
    for record in world.settled(1) {
        told = told.replace(&record.id.to_string(), "CALL");
    }
    told
}

#[test]
fn the_last_events_are_those_that_clients_know() {
    let prompt = "sim:tokens 400";
    for (ask, kinds) in Ask::in_all_dialects(prompt, true).iter().zip([
        &[
            r#""stop_reason":"max_tokens""#,
            r#"{"type":"message_stop"}"#,
            r#""content_block_stop","index":0"#,
        ][..],
        &[r#""finish_reason":"length""#, "data: [DONE]"],
        &[
            r#""type":"response.incomplete""#,
            r#""reason":"max_output_tokens""#,
        ],
    ]) {
        let told = ends(ask);
        for kind in kinds {
            assert!(told.contains(kind), "{kind} is not in\n{told}");
        }
    }
}

#[test]
fn a_watched_size_ends_nothing_and_is_told() {
    let world = World::start(|it| quota(it, QuotaKind::Output, 20, Enforcement::BuiltIn));
    let heard = world.ask(&Ask::messages("sim:tokens 400", true));
    assert_eq!(heard.status, 200);
    let records = world.settled(1);
    assert_eq!(records[0].outcome.word(), "answered");
    let told: Vec<&str> = records[0].would_refuse.iter().map(|it| &**it).collect();
    assert_eq!(told, ["user.output_bytes"]);
}

#[test]
fn a_call_that_is_too_large_is_refused_before_anything_is_sent() {
    let world = World::start(|it| quota(it, QuotaKind::Context, 5, ENFORCED));
    let mut table = (*world.engine.settings().quotas).clone();
    table.user.context_or_window = false;
    let mut settings = tidegate_engine::settings::Settings::clone(&world.engine.settings());
    settings.quotas = std::sync::Arc::new(table);
    let prices = (*world.engine.prices()).clone();
    let by = tidegate_observe::audit::Actor::Local;
    world.engine.reload(settings, prices, by, "quotas");
    let heard = world.ask(&Ask::messages(&"long ".repeat(50), true));
    assert_eq!(heard.status, 429);
    let text = String::from_utf8(heard.body.clone()).unwrap();
    assert!(text.contains("quota `user.context_tokens`"), "{text}");
    world.wire(0);
}
