//! Tasks over days with restarts and crashes: what calls add up to, and what outlives a run.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use expect_test::expect;
use proptest::prelude::*;
use tidegate_admission::QuotaKind;
use tidegate_engine::{
    flight::InFlight,
    identify::SignalError,
    tasks::{NewTask, TaskChange, TaskFilter, TaskState, Used, used_by},
    writer::Stores,
};
use tidegate_ledger::{SettingStore, StoreError};
use tidegate_observe::calls::{CallRecord, Outcome};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::Priority;

use super::{at_once, check, lines, named, of, settle, slots, to};
use crate::harness::{ManualClock, World, keyed};

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
    fn unset(&self, names: &[&str]) -> Result<(), StoreError> {
        if self.killed.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.store.unset(names)
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
        let used = used_by(record);
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
