//! Whose call it is, for which task, and how much it matters.

use std::time::Duration;

use expect_test::{Expect, expect};
use tidegate_engine::{call::Signals, identity::Principal};
use tidegate_types::Priority;

use crate::harness::{World, keyed, keyless, settings};

/// The body of a turn that a user begins, or one that hands back what a tool gave.
fn turn(begins: bool) -> &'static str {
    if begins {
        r#"{"model":"claude-opus-5-5","max_tokens":10,"messages":[{"role":"user","content":"hello"}]}"#
    } else {
        r#"{"model":"claude-opus-5-5","max_tokens":10,"messages":[{"role":"user","content":"hello"},{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"n","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"ok"}]}]}"#
    }
}

/// Calls one after the other, each a line of `name=value` and perhaps `tool` (it hands back what a
/// tool gave) or `counted`; a second passes between two.
#[track_caller]
fn check_as(principal: &Principal, script: &str, expected: Expect) {
    let world = World::start(settings(|_| {}));
    let begin = world.engine.now().wall.0 / 1_000_000_000;
    let mut told = String::new();
    for line in script.lines().map(str::trim) {
        let words = || line.split_whitespace();
        let value = |name: &str| {
            let mut found = words().filter_map(|it| it.split_once('='));
            found.find(|it| it.0 == name).map(|it| it.1)
        };
        let signals = Signals {
            session: value("session"),
            agent: value("agent"),
            parent_agent: value("parent-agent"),
            class: value("class"),
            prompt: value("prompt"),
            task: value("task"),
            parent_task: value("parent"),
            priority: value("priority"),
            complexity: None,
            task_type: value("type"),
            platform: None,
            max_wait: None,
            traceparent: None,
            counted: words().any(|it| it == "counted"),
        };
        let begins = words().all(|it| it != "tool");
        let call = world.identify(principal, &signals, turn(begins));
        let record = &call.record;
        let name = |it: &Option<std::sync::Arc<str>>| {
            let Some(name) = it else {
                return "-".to_owned();
            };
            // Turns are named after their time; what counts is which one it is.
            match name.split_once('@') {
                Some((session, at)) => {
                    let second = at.parse::<u64>().unwrap() / 1_000 - begin;
                    let session = if session.starts_with("conversation-") {
                        "conversation"
                    } else {
                        session
                    };
                    format!("{session}@{second}")
                }
                None => name.to_string(),
            }
        };
        told += &format!(
            "{line:<44} -> root {}, task {}, parent {}, {}\n",
            name(&record.root_task),
            name(&record.task),
            name(&record.parent),
            record.priority,
        );
        world.clock.advance(Duration::from_secs(1));
    }
    expected.assert_eq(&told);
}

#[track_caller]
fn check(script: &str, expected: Expect) {
    check_as(&keyless(), script, expected);
}

#[test]
fn a_prompt_is_a_task_whatever_its_messages_look_like() {
    check(
        "session=s prompt=p1
         session=s prompt=p1 tool
         session=s prompt=p1
         session=s prompt=p2 tool",
        expect![[r#"
            session=s prompt=p1                          -> root p1, task p1, parent -, high
            session=s prompt=p1 tool                     -> root p1, task p1, parent -, high
            session=s prompt=p1                          -> root p1, task p1, parent -, high
            session=s prompt=p2 tool                     -> root p2, task p2, parent -, high
        "#]],
    );
}

#[test]
fn without_a_prompt_a_turn_of_the_user_is_a_task() {
    check(
        "session=s
         session=s tool
         session=s tool
         session=s
         session=s tool
         session=other tool",
        expect![[r#"
            session=s                                    -> root s@0, task s@0, parent -, high
            session=s tool                               -> root s@0, task s@0, parent -, high
            session=s tool                               -> root s@0, task s@0, parent -, high
            session=s                                    -> root s@3, task s@3, parent -, high
            session=s tool                               -> root s@3, task s@3, parent -, high
            session=other tool                           -> root other@5, task other@5, parent -, high
        "#]],
    );
}

#[test]
fn without_a_session_a_conversation_is_known_by_how_it_begins() {
    check(
        "\ntool\n",
        expect![[r#"
                                                     -> root conversation@0, task conversation@0, parent -, high
        tool                                         -> root conversation@0, task conversation@0, parent -, high
    "#]],
    );
}

#[test]
fn calls_beside_the_conversation_begin_no_task() {
    check(
        "session=s class=main
         session=s class=auxiliary
         session=s class=compaction
         session=s class=side_reply
         session=s counted
         session=s agent=a class=subagent
         session=s class=main tool",
        expect![[r#"
            session=s class=main                         -> root s@0, task s@0, parent -, high
            session=s class=auxiliary                    -> root s@0, task s@0, parent -, low
            session=s class=compaction                   -> root s@0, task s@0, parent -, high
            session=s class=side_reply                   -> root s@0, task s@0, parent -, high
            session=s counted                            -> root s@0, task s@0, parent -, high
            session=s agent=a class=subagent             -> root s@0, task a, parent s@0, medium
            session=s class=main tool                    -> root s@0, task s@0, parent -, high
        "#]],
    );
}

#[test]
fn subagents_are_subtasks_of_the_turn() {
    check(
        "session=s
         session=s agent=a
         session=s agent=a tool
         session=s agent=b parent-agent=a
         session=s prompt=p agent=c
         session=s tool",
        expect![[r#"
            session=s                                    -> root s@0, task s@0, parent -, high
            session=s agent=a                            -> root s@0, task a, parent s@0, medium
            session=s agent=a tool                       -> root s@0, task a, parent s@0, medium
            session=s agent=b parent-agent=a             -> root s@0, task b, parent a, medium
            session=s prompt=p agent=c                   -> root p, task c, parent p, medium
            session=s tool                               -> root s@0, task s@0, parent -, high
        "#]],
    );
}

#[test]
fn a_task_that_is_named_wins_over_prompt_and_session() {
    check(
        "session=s prompt=p task=t
         session=s task=u parent=t
         session=s task=v parent=u
         session=s task=v
         session=s agent=a task=t",
        expect![[r#"
            session=s prompt=p task=t                    -> root t, task t, parent -, high
            session=s task=u parent=t                    -> root t, task u, parent t, high
            session=s task=v parent=u                    -> root t, task v, parent u, high
            session=s task=v                             -> root t, task v, parent u, high
            session=s agent=a task=t                     -> root t, task t, parent -, medium
        "#]],
    );
}

#[test]
fn priority_comes_from_the_header_then_the_tree_then_the_class_then_the_key() {
    let principal = Principal {
        default_priority: Some(Priority::Low),
        highest_priority: Priority::High,
        ..keyed("ada")
    };
    check_as(
        &principal,
        "session=s
         session=s class=main
         session=s class=subagent
         session=s class=auxiliary
         session=s class=unheard-of
         task=t priority=medium
         task=u parent=t
         task=u parent=t class=main
         task=u parent=t priority=low
         task=t class=main
         task=x priority=critical",
        expect![[r#"
            session=s                                    -> root s@0, task s@0, parent -, low
            session=s class=main                         -> root s@1, task s@1, parent -, high
            session=s class=subagent                     -> root s@1, task s@1, parent -, medium
            session=s class=auxiliary                    -> root s@1, task s@1, parent -, low
            session=s class=unheard-of                   -> root s@4, task s@4, parent -, low
            task=t priority=medium                       -> root t, task t, parent -, medium
            task=u parent=t                              -> root t, task u, parent t, medium
            task=u parent=t class=main                   -> root t, task u, parent t, medium
            task=u parent=t priority=low                 -> root t, task u, parent t, low
            task=t class=main                            -> root t, task t, parent -, medium
            task=x priority=critical                     -> root x, task x, parent -, high
        "#]],
    );
    check(
        "session=s
         session=s class=workflow
         session=s class=compaction
         session=s class=side_reply
         session=s agent=a
         task=x priority=critical",
        expect![[r#"
            session=s                                    -> root s@0, task s@0, parent -, high
            session=s class=workflow                     -> root s@0, task s@0, parent -, medium
            session=s class=compaction                   -> root s@0, task s@0, parent -, high
            session=s class=side_reply                   -> root s@0, task s@0, parent -, high
            session=s agent=a                            -> root s@0, task a, parent s@0, medium
            task=x priority=critical                     -> root x, task x, parent -, critical
        "#]],
    );
}

#[test]
fn sessions_and_tasks_of_different_users_never_meet() {
    let world = World::start(settings(|_| {}));
    let signals = |task, priority| Signals {
        session: Some("s"),
        task,
        priority,
        ..Signals::default()
    };
    let low = signals(Some("t"), Some("low"));
    let _ada = world.identify(&keyed("ada"), &low, turn(true));
    let bob = world.identify(&keyed("bob"), &signals(Some("t"), None), turn(true));
    assert_eq!(bob.record.priority, Priority::High);
    assert_ne!(
        bob.tracked,
        world.identify(&keyed("ada"), &low, turn(true)).tracked
    );
}

#[test]
fn a_priority_above_the_keys_highest_is_lowered_and_said() {
    let world = World::start(settings(|_| {}));
    let principal = Principal {
        highest_priority: Priority::Medium,
        ..keyed("ada")
    };
    let signals = Signals {
        priority: Some("critical"),
        ..Signals::default()
    };
    let call = world.identify(&principal, &signals, turn(true));
    assert_eq!(call.record.priority, Priority::Medium);
    assert_eq!(call.record.warnings.len(), 1);
    // A default is no claim: it is lowered without a word.
    let call = world.identify(&principal, &Signals::default(), turn(true));
    assert_eq!(call.record.priority, Priority::Medium);
    assert!(call.record.warnings.is_empty());
}
