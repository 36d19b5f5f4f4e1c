//! Names that clients choose, and secrets among them.

use expect_test::{Expect, expect};
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk},
    call::Signals,
};
use tidegate_ledger::Entry;
use tidegate_observe::{audit::Actor, calls::Outcome, redact::Redactor};
use tidegate_providers::prices::PriceBook;

use crate::harness::{World, answered, end, keyless, settings, usd};

/// A world in which tickets are secrets too.
fn world() -> World {
    let redactor = Redactor::try_new(&["ticket-[a-z0-9]+"]).unwrap();
    World::start(tidegate_engine::settings::Settings {
        redactor,
        ..settings(|_| {})
    })
}

fn asking(model: &str) -> String {
    format!(
        r#"{{"model":"{model}","max_tokens":10,"messages":[{{"role":"user","content":"hello"}}]}}"#
    )
}

impl World {
    /// A call, from its headers to its end, and what the ledger has of it.
    fn call(&self, signals: &Signals<'_>, model: &str) -> String {
        let call = self.identify(&keyless(), signals, &asking(model));
        let routed = self.route(call, "sonnet");
        let reserved = self.engine.reserve(routed, self.engine.now());
        let reserved = reserved.map_err(|(_, obstacle)| obstacle).unwrap();
        let sent = self.engine.send(reserved, self.engine.now());
        let sent = sent.map_err(|(_, refused)| refused).unwrap();
        let mut ended = end(Some(answered(10, 5)), Outcome::Answered);
        ended.request_id = Some("sk-ant-of-the-provider".into());
        let record = sent.settle(ended);
        self.engine.flush();
        let kept = self.ledger.rows(1, usize::MAX).unwrap();
        let mut paths = kept.iter().map(|it| match it.entry().unwrap() {
            Entry::Call(it) => it.path.task.as_deref().unwrap_or("-").to_owned(),
            Entry::Policy(_) => "-".to_owned(),
        });
        let text = |it: &Option<std::sync::Arc<str>>| it.as_deref().unwrap_or("-").to_owned();
        format!(
            "task {}, root {}, parent {}, session {}, type {}, model {}, sent {}, request {}\nbooked for {}\n",
            text(&record.task),
            text(&record.root_task),
            text(&record.parent),
            text(&record.session),
            text(&record.task_type),
            record.model_asked,
            record.model_sent,
            text(&record.request_id),
            paths.next_back().unwrap(),
        )
    }
}

#[track_caller]
fn check(signals: &Signals<'_>, model: &str, expected: Expect) {
    expected.assert_eq(&world().call(signals, model));
}

#[test]
fn a_secret_for_a_name_is_in_no_record_and_no_entry() {
    let signals = Signals {
        task: Some("sk-ant-api03-0123456789"),
        parent_task: Some("Bearer abcDEF123456"),
        session: Some("tg-0123456789abcdef0123"),
        task_type: Some("password=hunter2"),
        ..Signals::default()
    };
    check(
        &signals,
        "sk-proj-0123456789",
        expect![[r#"
            task [redacted], root Bearer [redacted], parent Bearer [redacted], session [redacted], type password=[redacted], model [redacted], sent [redacted], request [redacted]
            booked for Bearer [redacted]
        "#]],
    );
}

#[test]
fn what_operators_call_a_secret_is_one() {
    let signals = Signals {
        prompt: Some("about ticket-4711"),
        agent: Some("agent of ticket-4711"),
        session: Some("an ordinary session"),
        ..Signals::default()
    };
    check(
        &signals,
        "claude-opus-5-5",
        expect![[r#"
        task agent of [redacted], root about [redacted], parent about [redacted], session an ordinary session, type -, model claude-opus-5-5, sent claude-opus-5-5, request [redacted]
        booked for about [redacted]
    "#]],
    );
}

#[test]
fn turns_of_a_session_with_a_secret_name_stay_apart() {
    let world = world();
    let signals = Signals {
        session: Some("sk-ant-api03-0123456789"),
        ..Signals::default()
    };
    let one = world.call(&signals, "claude-opus-5-5");
    world.clock.advance(std::time::Duration::from_secs(1));
    let other = world.call(&signals, "claude-opus-5-5");
    assert_ne!(one, other);
    assert!(one.contains("root [redacted]@"), "{one}");
}

#[test]
fn another_configurations_secrets_are_taken_out_from_then_on() {
    let world = world();
    let signals = Signals {
        task: Some("case-12"),
        ..Signals::default()
    };
    assert!(world.call(&signals, "m").contains("task case-12"));
    let settings = tidegate_engine::settings::Settings {
        redactor: Redactor::try_new(&["case-[0-9]+"]).unwrap(),
        ..settings(|_| {})
    };
    let prices = PriceBook::builtin();
    world
        .engine
        .reload(settings, prices, Actor::Configuration, "");
    assert!(world.call(&signals, "m").contains("task [redacted]"));
}

#[test]
fn an_admission_keeps_no_secret_either() {
    let world = world();
    let ask = AdmissionAsk {
        task: Some("ticket-1".to_owned()),
        parent_task: Some("sk-ant-api03-0123456789".to_owned()),
        cost: usd("0.10"),
        ..AdmissionAsk::default()
    };
    let admitted = world.engine.admit(&keyless(), &ask).unwrap().unwrap();
    let actual = Actual {
        model: Some("sk-proj-0123456789".to_owned()),
        ..Actual::default()
    };
    let settled = world
        .engine
        .settle_reservation(&keyless(), admitted.reservation, actual);
    settled.unwrap();
    world.engine.flush();
    let rows = world.ledger.rows(1, usize::MAX).unwrap();
    let kept: Vec<String> = rows
        .iter()
        .map(|it| format!("{:?}", it.entry().unwrap()))
        .collect();
    assert!(kept.len() >= 2);
    let kept = kept.join("\n");
    assert!(kept.contains("[redacted]"), "{kept}");
    assert!(
        !kept.contains("0123456789") && !kept.contains("ticket-1"),
        "{kept}"
    );
}
