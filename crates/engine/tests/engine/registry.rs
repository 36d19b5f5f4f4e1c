//! The registry of tasks: what appears, what is created, what calls add up to, what outlives a run.

use std::{
    collections::BTreeMap,
    num::NonZeroU64,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_admission::{OnExcess, QuotaFigure, QuotaFigures, QuotaKind, QuotaScope, QuotaTable};
use tidegate_engine::{
    call::{Identified, Signals},
    flight::InFlight,
    gate::Turn,
    identify::SignalError,
    identity::Principal,
    places::PlaceKey,
    reserve::Obstacle,
    settings::Settings,
    tasks::{NewTask, TASKS_MAX, TaskChange, TaskFilter, TaskState, TaskTree, TaskView, Used},
    writer::Stores,
};
use tidegate_ledger::{SettingStore, StoreError};
use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_providers::{Dialect, scan};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{Priority, Role, Timestamp};

use crate::harness::{ENFORCED, ManualClock, World, answered, body, end, keyed, settings};

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
        let key = PlaceKey::of("local", "ann", task, b"body");
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
        .explain(&routed.platform, "ann", Obstacle::TaskCancelled);
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
    let key = PlaceKey::of("local", "ann", "two", b"body");
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

/// One step of somebody's day.
#[derive(Clone, Debug)]
enum Step {
    Create(usize, Option<usize>),
    Call(usize, Option<usize>),
    Settle(usize),
    Abandon(usize),
    End(usize, TaskState),
    Restart { crashes: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let name = 0..8_usize;
    let parent = || prop::option::of(0..8_usize);
    let ends = prop::sample::select(vec![
        TaskState::Completed,
        TaskState::Failed,
        TaskState::Cancelled,
    ]);
    prop_oneof![
        1 => (name.clone(), parent()).prop_map(|(it, parent)| Step::Create(it, parent)),
        5 => (name.clone(), parent()).prop_map(|(it, parent)| Step::Call(it, parent)),
        4 => any::<usize>().prop_map(Step::Settle),
        1 => any::<usize>().prop_map(Step::Abandon),
        1 => (name, ends).prop_map(|(it, state)| Step::End(it, state)),
        1 => any::<bool>().prop_map(|crashes| Step::Restart { crashes }),
    ]
}

/// Settings that a killed process writes no more.
struct Cut {
    store: Arc<MemoryStore>,
    killed: AtomicBool,
}

impl SettingStore for Cut {
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.setting(name)
    }
    fn settings_below(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.settings_below(beginning)
    }
    fn set(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError> {
        if self.killed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store.set(values)
    }
}

/// A run on stores that outlive it.
struct Days {
    world: World,
    settings: Arc<Cut>,
    store: Arc<MemoryStore>,
    journal: Arc<MemoryJournal>,
    clock: Arc<ManualClock>,
    open: Vec<InFlight>,
    /// What each root's calls used, by the records of them.
    expected: BTreeMap<Arc<str>, Used>,
}

impl Days {
    fn begin(
        store: Arc<MemoryStore>,
        journal: Arc<MemoryJournal>,
        clock: Arc<ManualClock>,
    ) -> Self {
        let cut = Arc::new(Cut {
            store: store.clone(),
            killed: AtomicBool::new(false),
        });
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: cut.clone(),
            journal: journal.clone(),
        };
        let world = World::on(
            at_once(QuotaKind::TasksAtOnce, 1_000),
            stores,
            clock.clone(),
        );
        Self {
            world,
            settings: cut,
            store,
            journal,
            clock,
            open: Vec::new(),
            expected: BTreeMap::new(),
        }
    }

    fn ended(&mut self, record: &CallRecord) {
        let root = record.root_task.clone().unwrap();
        let sum = self.expected.entry(root).or_default();
        let used = Used::of(record);
        sum.calls += used.calls;
        sum.input += used.input;
        sum.output += used.output;
        sum.cost.0 += used.cost.0;
        sum.micros += used.micros;
    }

    fn take(&mut self, step: Step) {
        let name = |it: usize| format!("t{it}");
        match step {
            Step::Create(it, parent) => {
                let parent = parent.map(name);
                // Refused ones change nothing, which the sums show.
                let _view = self.world.create(named(&name(it), parent.as_deref()));
            }
            Step::Call(it, parent) => {
                let (it, parent) = (name(it), parent.map(name));
                if let Ok(call) = self.world.called(&of(&it, parent.as_deref())) {
                    let routed = self.world.route(call, "sonnet");
                    let now = self.world.engine.now();
                    let reserved = self.world.engine.reserve(routed, now);
                    let Ok(reserved) = reserved else { return };
                    let sent = self.world.engine.send(reserved, now);
                    self.open.push(sent.map_err(|it| it.1).unwrap());
                }
            }
            Step::Settle(at) if !self.open.is_empty() => {
                let call = self.open.swap_remove(at % self.open.len());
                self.world.clock.advance(Duration::from_millis(3));
                let record = settle(call);
                self.ended(&record);
            }
            Step::Abandon(at) if !self.open.is_empty() => {
                let call = self.open.swap_remove(at % self.open.len());
                let record = call.release(Outcome::ClientGone);
                self.ended(&record);
            }
            Step::End(it, state) => {
                let filter = TaskFilter {
                    name: Some(name(it).into()),
                    ..TaskFilter::default()
                };
                if let Ok(task) = self.world.engine.find_task(&filter) {
                    let changed = self
                        .world
                        .engine
                        .change_task(&keyed("ann"), task.id, &to(state));
                    drop(changed);
                }
            }
            Step::Restart { crashes } => self.restart(crashes),
            Step::Settle(_) | Step::Abandon(_) => {}
        }
    }

    fn restart(&mut self, crashes: bool) {
        for call in std::mem::take(&mut self.open) {
            let record = settle(call);
            self.ended(&record);
        }
        self.world.engine.flush();
        self.settings.killed.store(crashes, Ordering::Relaxed);
        if !crashes {
            self.world.engine.tidy();
            self.settings.killed.store(true, Ordering::Relaxed);
        }
        let next = Self::begin(self.store.clone(), self.journal.clone(), self.clock.clone());
        let expected = std::mem::take(&mut self.expected);
        *self = Self { expected, ..next };
    }

    fn assert_sums(&self) {
        let (all, _) = self.world.engine.tasks(&TaskFilter::default(), usize::MAX);
        let mut found: BTreeMap<Arc<str>, Used> = BTreeMap::new();
        let mut own: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        for it in &all {
            *own.entry(it.root.clone()).or_default() += it.own.calls;
            if it.parent.is_none() {
                let sum = found.entry(it.name.clone()).or_default();
                sum.calls += it.tree.calls;
                sum.input += it.tree.input;
                sum.output += it.tree.output;
                sum.cost.0 += it.tree.cost.0;
                sum.micros += it.tree.micros;
            }
        }
        found.retain(|_, it| *it != Used::default());
        let mut expected = self.expected.clone();
        expected.retain(|_, it| *it != Used::default());
        assert_eq!(found, expected);
        own.retain(|_, it| *it > 0);
        let calls: BTreeMap<_, _> = expected
            .into_iter()
            .map(|(it, sum)| (it, sum.calls))
            .collect();
        assert_eq!(own, calls);
    }

    fn assert_slots(&self) {
        let filter = TaskFilter {
            roots: true,
            ..TaskFilter::default()
        };
        let (roots, _) = self.world.engine.tasks(&filter, usize::MAX);
        let open = roots.iter().filter(|it| !it.state.is_ended()).count();
        assert!(slots(&self.world) <= open as u64, "{roots:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_trees_sums_are_those_of_its_calls_and_no_ended_task_has_a_slot(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let mut days = Days::begin(
            Arc::new(MemoryStore::default()),
            Arc::new(MemoryJournal::default()),
            ManualClock::start(),
        );
        for step in steps {
            days.take(step);
            days.assert_sums();
            days.assert_slots();
        }
        days.restart(false);
        days.assert_sums();
    }
}

#[test]
fn sums_after_a_crash_have_what_was_counted_and_what_was_not() {
    let store = Arc::new(MemoryStore::default());
    let journal = Arc::new(MemoryJournal::default());
    let mut days = Days::begin(store, journal, ManualClock::start());
    days.take(Step::Call(0, None));
    days.take(Step::Settle(0));
    days.take(Step::Call(1, Some(0)));
    days.world.engine.tidy();
    // Written down while it ran, and ended after that; another never seen.
    days.take(Step::Settle(0));
    days.take(Step::Call(2, Some(1)));
    days.take(Step::Settle(0));
    days.restart(true);
    days.assert_sums();
    expect![[r#"
        t0 running 0 %, 1 own, 3 in all, 21 out
          t1 running 0 %, 1 own, 2 in all, 14 out
            t2 running 0 %, 1 own, 1 in all, 7 out
    "#]]
    .assert_eq(&lines(&days.world.tree("ann", "t0")));
}

#[test]
fn a_task_outlives_a_restart_as_it_was() {
    let store = Arc::new(MemoryStore::default());
    let journal = Arc::new(MemoryJournal::default());
    let days = Days::begin(store, journal, ManualClock::start());
    let new = NewTask {
        task_type: Some("review".to_owned()),
        priority: Some(Priority::Low),
        session: Some("s".to_owned()),
        note: Some("begins soon".to_owned()),
        ..named("t0", None)
    };
    days.world.create(new);
    days.world.create(named("t1", Some("t0")));
    let change = TaskChange {
        progress: Some(40),
        note: Some("half of it".to_owned()),
        ..TaskChange::default()
    };
    days.world.change("t1", &change);
    days.world.change("t1", &to(TaskState::Cancelled));
    let before = days.world.tree("ann", "t0");
    let Days {
        world,
        store,
        journal,
        clock,
        ..
    } = days;
    drop(world);
    let days = Days::begin(store, journal, clock);
    assert_eq!(days.world.tree("ann", "t0"), before);
    let refused = days.world.called(&of("t1", None)).unwrap_err();
    check(
        &refused,
        expect![[r#"
        task `t1` was cancelled, and no call is made for it or for what is below it: begin another task
    "#]],
    );
    let error = SignalError::Length {
        header: "x-tidegate-task",
        found: 0,
    };
    assert_ne!(refused, error.to_string());
}
