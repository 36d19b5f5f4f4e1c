use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use proptest::prelude::*;
use tidegate_types::{CallId, IdSource, Monotonic, Timestamp};

use super::{
    COUNTED, Called, Key, NewTask, Ongoing, Past, Place, Recalled, TaskChange, TaskError,
    TaskFilter, TaskState, TaskView, Tasks, Used,
};

const NOW: Timestamp = Timestamp(1_767_225_600_000_000_000);

/// The registry with the calls of one user, and what was written down of it.
struct World {
    ids: Arc<IdSource>,
    tasks: Arc<Tasks>,
    us: Arc<str>,
    ann: Arc<str>,
    running: Vec<(CallId, Arc<str>, Ongoing)>,
    kept: Vec<(String, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let ids = Arc::new(IdSource::new());
        Self {
            tasks: Arc::new(Tasks::new(Arc::clone(&ids), 0)),
            ids,
            us: "us".into(),
            ann: "ann".into(),
            running: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn key<'a>(&'a self, name: &'a Arc<str>) -> Key<'a> {
        Key {
            organisation: &self.us,
            user: &self.ann,
            name,
        }
    }

    fn begin(&mut self, name: &str, parent: Option<&str>) -> Result<(), TaskError> {
        let (task, model): (Arc<str>, Arc<str>) = (name.into(), "sonnet".into());
        let parent: Option<Arc<str>> = parent.map(Arc::from);
        let called = Called {
            call: self.ids.next(NOW),
            organisation: &self.us,
            user: &self.ann,
            task: &task,
            place: parent.as_ref().map_or(Place::Named, Place::Below),
            session: None,
            model: &model,
            priority: None,
            wall: NOW,
            mono: Monotonic(0),
        };
        let ongoing = self.tasks.begin(&called)?;
        self.running.push((called.call, task, ongoing));
        Ok(())
    }

    /// The call that began last ends.
    fn end(&mut self, used: &Used) {
        if let Some((call, task, _ongoing)) = self.running.pop() {
            self.tasks.finish(call, &self.key(&task), used, NOW);
        }
    }

    fn create(&self, name: &str, parent: Option<&str>) -> String {
        let new = NewTask {
            name: Some(name.to_owned()),
            parent: parent.map(str::to_owned),
            ..NewTask::default()
        };
        match self.tasks.create(&self.us, &self.ann, new, NOW) {
            Ok(task) => shown(&task.view(NOW)),
            Err(refused) => refused.to_string(),
        }
    }

    fn change(&self, name: &str, change: &TaskChange) -> String {
        let task = self.tasks.find(&self.key(&name.into())).unwrap();
        match self.tasks.change(&task, change, NOW) {
            Ok(()) => shown(&task.view(NOW)),
            Err(refused) => refused.to_string(),
        }
    }

    fn save(&mut self) {
        for (name, value) in self.tasks.changed().map_or(Vec::new(), |it| it.written()) {
            self.kept.retain(|it| it.0 != name);
            self.kept.push((name, value));
        }
    }

    fn recalled(&self) -> Recalled {
        let (counted, tasks): (Vec<_>, Vec<_>) =
            self.kept.iter().cloned().partition(|it| it.0 == COUNTED);
        let counted = counted.first().map(|it| it.1.as_slice());
        Recalled::read(tasks.into_iter().map(|it| it.1), counted)
    }

    fn views(&self) -> Vec<TaskView> {
        self.tasks.list(&TaskFilter::default(), 1_000, NOW).0
    }
}

fn shown(it: &TaskView) -> String {
    format!(
        "{}{} {}, {} running, {} of {} calls its own",
        "  ".repeat(it.depth as usize),
        it.name,
        it.state.word(),
        it.running,
        it.own.calls,
        it.tree.calls
    )
}

fn to(state: TaskState) -> TaskChange {
    TaskChange {
        state: Some(state),
        ..TaskChange::default()
    }
}

fn call(output: u64) -> Used {
    Used {
        calls: 1,
        output,
        ..Used::default()
    }
}

fn check(world: &World, root: &str, expected: Expect) {
    let filter = TaskFilter {
        name: Some(root.into()),
        ..TaskFilter::default()
    };
    let root = world.tasks.the_one(&filter, NOW).unwrap();
    let tree = world.tasks.tree(root.id, NOW).unwrap();
    let lines = [tree.task].into_iter().chain(tree.below);
    let lines: Vec<String> = lines.map(|it| shown(&it)).collect();
    expected.assert_eq(&lines.join("\n"));
}

#[test]
fn what_a_call_used_is_added_to_its_task_and_all_above_it_once() {
    let mut world = World::new();
    world.begin("build", None).unwrap();
    world.begin("test", Some("build")).unwrap();
    let (id, task, ongoing) = world.running.pop().unwrap();
    for _again in 0..2 {
        world.tasks.finish(id, &world.key(&task), &call(7), NOW);
    }
    check(
        &world,
        "build",
        expect![[r"
            build running, 1 running, 0 of 1 calls its own
              test running, 0 running, 1 of 1 calls its own"]],
    );
    // It is over already; the other call, which is dropped without an end, was never made.
    drop(ongoing);
    world.running.clear();
    check(
        &world,
        "build",
        expect![[r"
            build running, 0 running, 0 of 1 calls its own
              test running, 0 running, 1 of 1 calls its own"]],
    );
}

#[test]
fn a_task_that_is_called_off_takes_all_below_it_with_it() {
    let mut world = World::new();
    world.create("build", None);
    world.create("test", Some("build"));
    world.begin("lint", Some("test")).unwrap();
    assert!(!world.running[0].2.task().is_cancelled());
    world.change("build", &to(TaskState::Cancelled));
    assert!(world.running[0].2.task().is_cancelled());
    check(
        &world,
        "build",
        expect![[r"
            build cancelled, 1 running, 0 of 0 calls its own
              test cancelled, 1 running, 0 of 0 calls its own
                lint cancelled, 1 running, 0 of 0 calls its own"]],
    );
    let refused = world.begin("lint", None).unwrap_err();
    expect!["task `lint` was cancelled, and no call is made for it or for what is below it: begin another task"]
        .assert_eq(&refused.to_string());
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let world = World::new();
    world.create("build", None);
    let far = TaskChange {
        progress: Some(101),
        ..to(TaskState::Completed)
    };
    let said = [
        world.create("build", None),
        world.create("loop", Some("loop")),
        world.create("lost", Some("nowhere")),
        world.change("build", &far),
        world.change("build", &to(TaskState::Pending)),
        world.change("build", &to(TaskState::Failed)),
        world.change("build", &to(TaskState::Completed)),
    ];
    expect![[r"
        `ann` has a task `build` already: choose another name, or change that one
        task `loop` can't be below `loop`, which is that task or is below it
        `ann` has no task `nowhere` that another could be below: create it first; a task and those below it are one user's
        `progress` is a whole number from 0 to 100, and not 101
        task `build` can't become pending: it can be started, completed, failed or cancelled
        build failed, 0 running, 0 of 0 calls its own
        task `build` is failed, which nothing changes any more; a call for it begins it again, unless it was cancelled"]]
    .assert_eq(&said.join("\n"));
}

#[test]
fn a_task_that_appeared_by_itself_is_over_when_nothing_happened_for_long() {
    let mut world = World::new();
    world.begin("turn", None).unwrap();
    let task = Arc::clone(world.running[0].2.task());
    let late = NOW.after(super::OVER_AFTER);
    assert_eq!(task.view(late).state, TaskState::Running, "its call runs");
    world.end(&call(1));
    let before = Timestamp(late.0 - 1);
    assert_eq!(task.view(before).state, TaskState::Running);
    assert_eq!(task.view(late).state, TaskState::Completed);
}

#[test]
fn a_call_that_ran_when_it_was_written_down_is_counted_again_and_others_are_not() {
    let mut world = World::new();
    world.begin("build", None).unwrap();
    world.begin("build", None).unwrap();
    let calls: Vec<CallId> = world.running.iter().map(|it| it.0).collect();
    world.end(&call(5));
    world.save();
    let (build, us, ann) = ("build".into(), world.us.clone(), world.ann.clone());
    let after = Tasks::new(Arc::default(), world.recalled().last_task());
    let counted = after.restore(world.recalled()).unwrap();
    assert!(counted.since() <= NOW);
    let known: Vec<bool> = calls.iter().map(|it| counted.has(*it)).collect();
    assert_eq!(known, [false, true]);
    let key = Key {
        organisation: &us,
        user: &ann,
        name: &build,
    };
    after.recount(&Past {
        key,
        root: &build,
        parent: None,
        session: None,
        at: NOW.after(Duration::from_secs(1)),
        used: call(6),
    });
    let own = after.find(&key).unwrap().view(NOW).own;
    assert_eq!((own.calls, own.output), (2, 11));
}

#[test]
fn what_could_not_be_written_down_is_written_down_with_the_next_save() {
    let mut world = World::new();
    world.create("build", None);
    let unwritten = world.tasks.changed().unwrap();
    assert!(world.tasks.changed().is_none());
    world.tasks.unwritten(&unwritten);
    world.save();
    assert_eq!(world.kept.len(), 2);
}

#[derive(Clone, Debug)]
enum Step {
    Begin(usize, Option<usize>),
    End(u64),
    Leave,
    Create(usize, Option<usize>),
    Change(usize, usize),
    Save,
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0_usize..6;
    prop_oneof![
        4 => (name(), prop::option::of(name())).prop_map(|(it, above)| Step::Begin(it, above)),
        3 => (0_u64..1_000).prop_map(Step::End),
        1 => Just(Step::Leave),
        1 => (name(), prop::option::of(name())).prop_map(|(it, above)| Step::Create(it, above)),
        1 => (name(), 0_usize..5).prop_map(|(it, state)| Step::Change(it, state)),
        1 => Just(Step::Save),
    ]
}

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn take(world: &mut World, step: &Step) {
    match step {
        Step::Begin(name, parent) => {
            let _refused = world.begin(NAMES[*name], parent.map(|it| NAMES[it])).err();
        }
        Step::End(output) => world.end(&call(*output)),
        Step::Leave => drop(world.running.pop()),
        Step::Create(name, parent) => {
            world.create(NAMES[*name], parent.map(|it| NAMES[it]));
        }
        Step::Change(name, state) => {
            if world.tasks.find(&world.key(&NAMES[*name].into())).is_some() {
                world.change(NAMES[*name], &to(TaskState::ALL[*state]));
            }
        }
        Step::Save => world.save(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sums_are_those_of_the_tree_and_all_is_read_back_as_it_was_written(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            take(&mut world, step);
        }
        let views = world.views();
        for it in &views {
            let tree = world.tasks.tree(it.id, NOW).unwrap();
            let own: u64 = tree.below.iter().chain([it]).map(|it| it.own.output).sum();
            prop_assert_eq!(own, it.tree.output);
            prop_assert!(tree.below.iter().all(|below| below.id > it.id));
        }
        let roots = views.iter().filter(|it| it.parent.is_none());
        let running: u32 = roots.map(|it| it.running).sum();
        prop_assert_eq!(running as usize, world.running.len());
        prop_assert_eq!(world.tasks.running(|_, _| true, Monotonic(0)).1, world.running.len());

        world.running.clear();
        world.save();
        let after = Tasks::new(Arc::default(), 0);
        after.restore(world.recalled());
        prop_assert_eq!(after.list(&TaskFilter::default(), 1_000, NOW).0, world.views());
    }
}
