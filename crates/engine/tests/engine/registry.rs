//! The registry of tasks: what appears, what is created, what calls add up to.

mod days;

use std::{num::NonZeroU64, sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use tidegate_admission::{OnExcess, QuotaFigure, QuotaFigures, QuotaKind, QuotaScope, QuotaTable};
use tidegate_engine::{
    call::{Identified, Signals},
    flight::InFlight,
    gate::Turn,
    identity::Principal,
    places::PlaceKey,
    reserve::Obstacle,
    settings::Settings,
    tasks::{NewTask, TASKS_MAX, TaskChange, TaskFilter, TaskState, TaskTree, TaskView},
};
use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_providers::{Dialect, scan};
use tidegate_types::{Priority, Role, Timestamp};

use crate::harness::{ENFORCED, World, answered, body, end, keyed, settings};

fn named(name: &str, parent: Option<&str>) -> NewTask {
    NewTask {
        name: Some(name.to_owned()),
        parent: parent.map(str::to_owned),
        ..NewTask::default()
    }
}

fn to(state: TaskState) -> TaskChange {
    TaskChange {
        state: Some(state),
        ..TaskChange::default()
    }
}

impl World {
    fn task(&self, user: &str, name: &str) -> TaskView {
        let filter = TaskFilter {
            user: Some(user.into()),
            name: Some(name.into()),
            ..TaskFilter::default()
        };
        self.engine.find_task(&filter).unwrap()
    }

    fn tree(&self, user: &str, name: &str) -> TaskTree {
        self.engine.task_tree(self.task(user, name).id).unwrap()
    }

    /// A call of ann's with these headers, or why it is none.
    fn called(&self, signals: &Signals<'_>) -> Result<Box<Identified>, String> {
        let (mut record, now) = self.engine.arrived("anthropic_messages", "/v1/messages");
        let body = body(100);
        record.body_bytes = body.len() as u64;
        let facts = scan(Dialect::Anthropic, body.as_bytes()).unwrap();
        let called = self
            .engine
            .identify(record, keyed("ann"), signals, facts, now);
        called.map(Box::new).map_err(|it| it.1.to_string())
    }

    fn sent(&self, signals: &Signals<'_>) -> InFlight {
        let routed = self.route(self.called(signals).unwrap(), "sonnet");
        let reserved = self.engine.reserve(routed, self.engine.now());
        let reserved = reserved.map_err(|it| it.1).unwrap();
        let sent = self.engine.send(reserved, self.engine.now());
        sent.map_err(|it| it.1).unwrap()
    }

    fn change(&self, name: &str, change: &TaskChange) -> String {
        let id = self.task("ann", name).id;
        match self.engine.change_task(&keyed("ann"), id, change) {
            Ok(task) => shown(&task),
            Err(refused) => refused.to_string(),
        }
    }

    fn create(&self, new: NewTask) -> String {
        match self.engine.create_task(&keyed("ann"), new) {
            Ok(task) => shown(&task),
            Err(refused) => refused.to_string(),
        }
    }
}

fn of<'a>(task: &'a str, parent: Option<&'a str>) -> Signals<'a> {
    Signals {
        task: Some(task),
        parent_task: parent,
        ..Signals::default()
    }
}

fn settle(call: InFlight) -> Arc<CallRecord> {
    call.settle(end(Some(answered(5, 7)), Outcome::Answered))
}

fn shown(it: &TaskView) -> String {
    format!(
        "{}{} {} {} %, {} own, {} in all, {} out",
        "  ".repeat(it.depth as usize),
        it.name,
        it.state.word(),
        it.progress,
        it.own.calls,
        it.tree.calls,
        it.tree.output,
    )
}

fn lines(tree: &TaskTree) -> String {
    let all = std::iter::once(&tree.task).chain(&tree.below);
    all.fold(String::new(), |text, it| text + &shown(it) + "\n")
}

#[track_caller]
fn check(found: &str, expected: Expect) {
    expected.assert_eq(&format!("{found}\n"));
}

#[test]
fn prompts_are_tasks_agents_are_below_them_and_all_is_added_up_on_the_way() {
    let world = World::start(settings(|_| {}));
    let by = |agent, parent_agent| Signals {
        session: Some("s"),
        prompt: Some("p"),
        agent,
        parent_agent,
        ..Signals::default()
    };
    settle(world.sent(&by(None, None)));
    settle(world.sent(&by(Some("a"), None)));
    settle(world.sent(&by(Some("b"), Some("a"))));
    let running = world.sent(&by(Some("c"), Some("unseen")));
    let tree = world.tree("ann", "p");
    expect![[r#"
        p running 0 %, 1 own, 3 in all, 21 out
          a running 0 %, 1 own, 2 in all, 14 out
            b running 0 %, 1 own, 1 in all, 7 out
          unseen running 0 %, 0 own, 0 in all, 0 out
            c running 0 %, 0 own, 0 in all, 0 out
    "#]]
    .assert_eq(&lines(&tree));
    assert_eq!(tree.task.session.as_deref(), Some("s"));
    assert_eq!(tree.task.running, 1);
    let (calls, count) = world.engine.running(|_, user| user == "ann");
    assert_eq!(count, 1);
    assert_eq!((&*calls[0].task, &*calls[0].root), ("c", "p"));
    assert_eq!(calls[0].platform.as_deref(), Some("sonnet"));
    assert_eq!(calls[0].phase, "sent");
    settle(running);
    assert_eq!(world.engine.running(|_, _| true).1, 0);
    // What appeared by itself is over when nothing came for long, and goes on when something comes.
    world.clock.advance(Duration::from_mins(10));
    assert_eq!(world.task("ann", "p").state, TaskState::Completed);
    settle(world.sent(&by(None, None)));
    assert_eq!(world.task("ann", "p").state, TaskState::Running);
}

#[test]
fn what_a_task_was_created_with_holds_for_calls_that_name_it_alone() {
    let world = World::start(settings(|_| {}));
    let until = Timestamp(world.engine.now().wall.0 + 1_000_000_000);
    let root = NewTask {
        priority: Some(Priority::Low),
        deadline: Some(until),
        ..named("root", None)
    };
    world.create(root);
    let sub = NewTask {
        task_type: Some("review".to_owned()),
        complexity: Some(tidegate_types::Complexity::Expert),
        ..named("sub", Some("root"))
    };
    world.create(sub);
    let call = world.called(&of("sub", None)).unwrap();
    let it = &call.record;
    assert_eq!(it.root_task.as_deref(), Some("root"));
    assert_eq!(it.parent.as_deref(), Some("root"));
    assert_eq!(it.task_type.as_deref(), Some("review"));
    assert_eq!(it.complexity, Some(tidegate_types::Complexity::Expert));
    assert_eq!(it.priority, Priority::Low);
    assert_eq!(it.deadline, Some(until));
    let said = Signals {
        priority: Some("high"),
        task_type: Some("other"),
        ..of("sub", None)
    };
    let call = world.called(&said).unwrap();
    assert_eq!(call.record.priority, Priority::High);
    assert_eq!(call.record.task_type.as_deref(), Some("other"));
    // A claim is the task's own, and not that of the one above it.
    let call = world.called(&of("root", None)).unwrap();
    assert_eq!(call.record.priority, Priority::Low);
}

#[test]
fn a_priority_is_no_higher_than_the_creators_key_allows() {
    let world = World::start(settings(|_| {}));
    let ann = Principal {
        highest_priority: Priority::Medium,
        ..keyed("ann")
    };
    let new = NewTask {
        priority: Some(Priority::Critical),
        ..named("t", None)
    };
    let task = world.engine.create_task(&ann, new).unwrap();
    assert_eq!(task.priority, Some(Priority::Medium));
    let change = TaskChange {
        priority: Some(Priority::High),
        ..TaskChange::default()
    };
    let task = world.engine.change_task(&ann, task.id, &change).unwrap();
    assert_eq!(task.priority, Some(Priority::Medium));
}

#[test]
fn what_makes_no_sense_is_refused_with_a_reason() {
    let world = World::start(settings(|_| {}));
    world.create(named("t", None));
    world.create(named("u", Some("t")));
    check(
        &world.create(named("t", None)),
        expect![[r#"
        `ann` has a task `t` already: choose another name, or change that one
    "#]],
    );
    check(
        &world.create(named("x", Some("nobody"))),
        expect![[r#"
        `ann` has no task `nobody` that another could be below: create it first; a task and those below it are one user's
    "#]],
    );
    check(
        &world.create(named("x", Some("x"))),
        expect![[r#"
        task `x` can't be below `x`, which is that task or is below it
    "#]],
    );
    let bens = NewTask {
        user: Some("ben".to_owned()),
        ..named("x", None)
    };
    check(
        &world.create(bens.clone()),
        expect![[r#"
        only an operator may create or change tasks of others, and `ben` is not the user of this key
    "#]],
    );
    let operator = Principal {
        role: Role::Operator,
        ..keyed("eve")
    };
    world.engine.create_task(&operator, bens).unwrap();
    // Another user's task is no parent.
    check(
        &world.create(named("y", Some("x"))),
        expect![[r#"
        `ann` has no task `x` that another could be below: create it first; a task and those below it are one user's
    "#]],
    );
}

#[test]
fn a_call_or_a_change_that_makes_no_sense_is_refused_with_a_reason() {
    let world = World::start(settings(|_| {}));
    world.create(named("t", None));
    world.create(named("u", Some("t")));
    let operator = Principal {
        role: Role::Operator,
        ..keyed("eve")
    };
    let bens = NewTask {
        user: Some("ben".to_owned()),
        ..named("x", None)
    };
    world.engine.create_task(&operator, bens).unwrap();
    let by_call = |task, parent| world.called(&of(task, Some(parent))).unwrap_err();
    check(
        &by_call("t", "u"),
        expect![[r#"
        task `t` can't be below `u`, which is that task or is below it
    "#]],
    );
    check(
        &by_call("u", "elsewhere"),
        expect![[r#"
        task `u` was created below `t`, not below `elsewhere`: leave the parent out
    "#]],
    );
    let progress = TaskChange {
        progress: Some(101),
        ..TaskChange::default()
    };
    check(
        &world.change("t", &progress),
        expect![[r#"
        `progress` is a whole number from 0 to 100, and not 101
    "#]],
    );
    check(
        &world.change("t", &to(TaskState::Pending)),
        expect![[r#"
        task `t` can't become pending: it can be started, completed, failed or cancelled
    "#]],
    );
    check(
        &world.change("t", &to(TaskState::Failed)),
        expect![[r#"
        t failed 0 %, 0 own, 0 in all, 0 out
    "#]],
    );
    check(
        &world.change("t", &to(TaskState::Completed)),
        expect![[r#"
        task `t` is failed, which nothing changes any more; a call for it begins it again, unless it was cancelled
    "#]],
    );
    let id = world.task("ben", "x").id;
    let refused = world
        .engine
        .change_task(&keyed("ann"), id, &to(TaskState::Cancelled));
    check(
        &refused.unwrap_err().to_string(),
        expect![[r#"
        only an operator may create or change tasks of others, and `ben` is not the user of this key
    "#]],
    );
}

#[test]
fn a_name_that_is_used_below_another_task_is_another_task() {
    let world = World::start(settings(|_| {}));
    settle(world.sent(&of("step", Some("one"))));
    settle(world.sent(&of("step", Some("two"))));
    settle(world.sent(&of("step", None)));
    expect![[r#"
        one running 0 %, 0 own, 1 in all, 7 out
          step running 0 %, 1 own, 1 in all, 7 out
    "#]]
    .assert_eq(&lines(&world.tree("ann", "one")));
    expect![[r#"
        two running 0 %, 0 own, 2 in all, 14 out
          step running 0 %, 2 own, 2 in all, 14 out
    "#]]
    .assert_eq(&lines(&world.tree("ann", "two")));
}

/// So many of these at once for each user, and they queue.
fn at_once(kind: QuotaKind, limit: u64) -> Settings {
    let mut user = QuotaFigures::UNLIMITED;
    *user.of_mut(kind) = QuotaFigure {
        limit: NonZeroU64::new(limit),
        enforcement: ENFORCED,
    };
    user.on_excess = OnExcess::Queue;
    let mut settings = settings(|_| {});
    settings.quotas = Arc::new(QuotaTable {
        user,
        ..QuotaTable::unlimited()
    });
    settings
}

fn slots(world: &World) -> u64 {
    let quotas = world.engine.quotas(None);
    let all = quotas.iter().flat_map(|it| &it.1);
    let of_users =
        all.filter(|it| it.scope == QuotaScope::User && it.kind == QuotaKind::TasksAtOnce);
    of_users.map(|it| it.used).sum()
}

#[test]
fn a_cancelled_task_is_called_for_no_more_and_gives_back_what_it_had() {
    let world = World::start(at_once(QuotaKind::CallsAtOnce, 1));
    world.create(named("t", None));
    world.create(named("done", Some("t")));
    world.change("done", &to(TaskState::Completed));
    let running = world.sent(&of("t", None));
    let waits = |task: &str| {
        let routed = world.route(world.called(&of(task, None)).unwrap(), "sonnet");
        let key = PlaceKey::of("local", "ann", task, &[b"body"]);
        let mut waiting = world.engine.wait(routed, key).map_err(|it| it.1).unwrap();
        assert!(waiting.turn_now().is_none());
        waiting
    };
    let (mut below, mut other) = (waits("done"), waits("other"));
    check(
        &world.change("t", &to(TaskState::Cancelled)),
        expect![[r#"
        t cancelled 0 %, 0 own, 0 in all, 0 out
    "#]],
    );
    let Some(Turn::Refused(routed, Obstacle::TaskCancelled)) = below.turn_now() else {
        panic!("its root was cancelled")
    };
    let told = world
        .engine
        .explain(&routed.platform, &routed.spender(), Obstacle::TaskCancelled);
    check(
        &told.sentence,
        expect![[r#"
        the task of this call was cancelled, and no call is made for it: begin another task
    "#]],
    );
    assert_eq!(told.wait, None);
    check(
        &world.called(&of("t", None)).unwrap_err(),
        expect![[r#"
        task `t` was cancelled, and no call is made for it or for what is below it: begin another task
    "#]],
    );
    check(
        &world.called(&of("done", None)).unwrap_err(),
        expect![[r#"
        task `done` was cancelled, and no call is made for it or for what is below it: begin another task
    "#]],
    );
    check(
        &world.called(&of("new", Some("t"))).unwrap_err(),
        expect![[r#"
            task `t` was cancelled, and no call is made for it or for what is below it: begin another task
        "#]],
    );
    // What runs goes on to its end, and is counted.
    settle(running);
    assert_eq!(world.task("ann", "t").tree.calls, 1);
    world.clock.advance(Duration::from_secs(1));
    world.engine.look_at_queues();
    let Some(Turn::Reserved(reserved)) = other.turn_now() else {
        panic!("the slot is free for others")
    };
    world.engine.give_back(reserved.holding);
}

#[test]
fn a_call_that_waits_for_somebody_hears_that_its_task_is_cancelled() {
    let world = World::start(settings(|_| {}));
    world.create(named("t", None));
    let routed = world.route(world.called(&of("t", None)).unwrap(), "sonnet");
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.build().unwrap();
    runtime.block_on(async {
        let hears = world.engine.called_off(&routed);
        let cancels = async {
            tokio::task::yield_now().await;
            world.change("t", &to(TaskState::Cancelled));
        };
        tokio::join!(hears, cancels);
    });
    assert!(routed.is_called_off());
    let refused = world.engine.reserve(routed, world.engine.now());
    let obstacle = refused.map_err(|it| it.1).unwrap_err();
    assert_eq!(obstacle, Obstacle::TaskCancelled);
}

#[test]
fn an_ended_task_gives_its_slot_to_the_next() {
    let world = World::start(at_once(QuotaKind::TasksAtOnce, 1));
    settle(world.sent(&of("one", None)));
    assert_eq!(slots(&world), 1);
    let routed = world.route(world.called(&of("two", None)).unwrap(), "sonnet");
    let key = PlaceKey::of("local", "ann", "two", &[b"body"]);
    let mut waiting = world.engine.wait(routed, key).map_err(|it| it.1).unwrap();
    assert!(waiting.turn_now().is_none());
    let waits = world.engine.quota_waits();
    let waits: Vec<_> = waits
        .iter()
        .map(|it| (it.scope, &*it.name, it.kind, &*it.user))
        .collect();
    let expected = (QuotaScope::User, "ann", QuotaKind::TasksAtOnce, "ann");
    assert_eq!(waits, [expected]);
    world.change("one", &to(TaskState::Completed));
    let Some(Turn::Reserved(reserved)) = waiting.turn_now() else {
        panic!("the slot is free")
    };
    world.engine.give_back(reserved.holding);
    assert_eq!(slots(&world), 1);
    world.change("two", &to(TaskState::Failed));
    assert_eq!(slots(&world), 0);
}

#[test]
fn a_task_with_fifty_subtasks_finishes_under_a_limit_of_one_task_at_once() {
    let world = World::start(at_once(QuotaKind::TasksAtOnce, 1));
    let root = world.sent(&of("root", None));
    let names: Vec<String> = (0..50).map(|it| format!("sub-{it}")).collect();
    let calls: Vec<InFlight> = names
        .iter()
        .map(|it| world.sent(&of(it, Some("root"))))
        .collect();
    assert_eq!(slots(&world), 1);
    for call in calls {
        settle(call);
    }
    settle(root);
    let tree = world.tree("ann", "root");
    assert_eq!(tree.below.len(), 50);
    assert_eq!(tree.task.tree.calls, 51);
    world.change("root", &to(TaskState::Completed));
    assert_eq!(slots(&world), 0);
}

#[test]
fn what_is_remembered_is_bounded_and_the_open_stay() {
    let world = World::start(settings(|_| {}));
    world.create(named("kept", None));
    for at in 0..TASKS_MAX + TASKS_MAX / 2 {
        let name = format!("t{at}");
        drop(world.called(&of(&name, None)).unwrap());
        if at % 4_096 == 0 {
            // What is not written down yet is not forgotten either.
            world.engine.tidy();
        }
    }
    let (all, more) = world.engine.tasks(&TaskFilter::default(), usize::MAX);
    assert!(!more);
    assert!(all.len() <= TASKS_MAX, "{}", all.len());
    assert!(all.len() > TASKS_MAX / 2, "{}", all.len());
    assert_eq!(world.task("ann", "kept").state, TaskState::Pending);
}
