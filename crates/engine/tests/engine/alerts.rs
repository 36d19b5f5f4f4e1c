//! Budgets near their limits: told once, whatever ends a run.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use expect_test::expect;
use parking_lot::Mutex;
use proptest::prelude::*;
use tidegate_engine::{
    flight::End,
    notices::{NoticeSink, Unsaved},
    writer::Stores,
};
use tidegate_ledger::{Limits, SettingStore as _};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    notice::{Notice, Topic},
    overspend::Cause,
};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::Clock as _;

use crate::{
    harness::{ManualClock, World, answered, end, hard, keyless, settings},
    restarting::Disk,
};

/// The setting of a test's own outbox.
const HEARD: &str = "heard";

/// An outbox as its contract wants it: keeps what it is given, and knows what it had.
#[derive(Debug, Default)]
pub(crate) struct Heard(Mutex<(Vec<Notice>, u64, u64)>);

impl NoticeSink for Heard {
    fn give(&self, notice: Notice) {
        let (notices, version, _) = &mut *self.0.lock();
        if notices.iter().all(|it| it.id != notice.id) {
            notices.push(notice);
            *version += 1;
        }
    }

    fn unsaved(&self) -> Option<Unsaved> {
        let (notices, version, saved) = &*self.0.lock();
        (version > saved).then(|| Unsaved {
            name: HEARD,
            value: serde_json::to_vec(notices).unwrap(),
            version: *version,
        })
    }

    fn saved(&self, version: u64) {
        self.0.lock().2 = version;
    }
}

impl Heard {
    fn of(kept: Option<Vec<u8>>) -> Arc<Self> {
        let notices = kept.map(|it| serde_json::from_slice(&it).unwrap());
        Arc::new(Self(Mutex::new((notices.unwrap_or_default(), 0, 0))))
    }

    /// The texts of what was told about this.
    pub(crate) fn texts(&self, topic: Topic) -> Vec<String> {
        let heard = self.0.lock();
        let about = heard.0.iter().filter(|it| it.topic == topic);
        about.map(|it| it.text.clone()).collect()
    }

    fn percents(&self, limit: &str) -> Vec<u64> {
        let heard = self.0.lock();
        let field = |it: &Notice, name: &str| {
            let mut fields = it.fields.iter();
            fields.find(|it| it.0 == name).map(|it| it.1.clone())
        };
        let about = heard
            .0
            .iter()
            .filter(|it| field(it, "limit").unwrap() == limit);
        about
            .map(|it| field(it, "percent").unwrap().as_u64().unwrap())
            .collect()
    }
}

/// Limits of which a few calls reach every part.
fn limits(it: &mut Limits) {
    it.user_day = hard("0.02");
    it.task = hard("0.01");
}

/// One run on a data directory.
struct Run {
    world: World,
    disk: Arc<Disk>,
    heard: Arc<Heard>,
}

impl Run {
    fn start(directory: &Path, clock: &Arc<ManualClock>) -> Self {
        // No program starts in the very instant in which it was killed, so that no id is given twice.
        clock.advance(Duration::from_secs(1));
        let disk = Disk::open(directory, clock.now());
        let stores = Stores {
            ledger: disk.clone(),
            calls: Arc::new(MemoryStore::default()),
            settings: disk.clone(),
            journal: disk.clone(),
        };
        let heard = Heard::of(disk.setting(HEARD).unwrap());
        let clock = Arc::clone(clock);
        let world = World::telling(settings(limits), stores, clock, heard.clone());
        Self { world, disk, heard }
    }

    fn spend(&self, output: u64) {
        let call = self.world.send(&keyless(), 400);
        call.settle(end(Some(answered(10, output)), Outcome::Answered));
    }

    /// Ends without saying anything.
    fn kill(self) {
        self.disk.killed.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Spend(u64),
    Flush,
    /// Ends in order.
    Stop,
    /// Ends without a word.
    Kill,
    /// The same, when the ledger was written and nothing else.
    KillBetween,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (1_u64..120).prop_map(Step::Spend),
        1 => Just(Step::Flush),
        1 => Just(Step::Stop),
        1 => Just(Step::Kill),
        1 => Just(Step::KillBetween),
    ];
    prop::collection::vec(step, 1..24)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn each_part_of_a_limit_is_told_once_whatever_ends_a_run(steps in steps()) {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::start();
        let mut run = Run::start(directory.path(), &clock);
        for step in steps {
            match step {
                Step::Spend(output) => {
                    run.spend(output);
                    continue;
                }
                Step::Flush => {
                    run.world.engine.flush();
                    continue;
                }
                Step::Stop => drop(run),
                Step::Kill => run.kill(),
                Step::KillBetween => {
                    run.disk.forgets.store(true, Ordering::Relaxed);
                    run.world.engine.flush();
                    run.kill();
                }
            }
            run = Run::start(directory.path(), &clock);
        }
        // Whoever was killed before the notice was kept tells when the level is used again.
        run.spend(1);
        run.world.engine.flush();
        for level in run.world.engine.levels(None) {
            let limit = level.key.kind.word();
            if limit != "task" && limit != "user_day" {
                continue;
            }
            let told = run.heard.percents(limit);
            prop_assert!(told.is_sorted_by(|one, next| one < next), "{limit}: {told:?}");
            let hard = level.limit.hard.unwrap();
            let reached = |it: &u64| level.spent.0 * 100 >= hard.0 * it;
            let reached = [100, 90, 80, 50].into_iter().find(reached);
            prop_assert_eq!(told.last().copied(), reached, "{}", limit);
        }
        // And all of it is kept.
        let kept = Heard::of(run.disk.setting(HEARD).unwrap());
        prop_assert_eq!(kept.percents("task"), run.heard.percents("task"));
    }
}

#[test]
fn a_limit_that_will_be_passed_is_told_with_the_time() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let run = Run::start(directory.path(), &clock);
    for _call in 0..5 {
        run.spend(100);
    }
    run.world.engine.tidy();
    // Noon: more than half of the day's limit is spent.
    expect!["budget `user_day` of local/local will pass its limit of $0.02 at 2026-07-15T23:31:47Z if it goes on like this: $0.0102 spent, and it resets at 2026-07-16T00:00:00Z"].assert_eq(&run.heard.texts(Topic::LimitForeseen).join("\n"));
    let told = run.world.told();
    assert!(told.contains("limit_foreseen limit=\"user_day\""), "{told}");
    drop(run);
    let run = Run::start(directory.path(), &clock);
    run.spend(1);
    clock.advance(Duration::from_mins(2));
    run.world.engine.tidy();
    assert_eq!(run.heard.texts(Topic::LimitForeseen).len(), 1);
}

#[test]
fn what_is_told_of_a_limit_names_it_and_its_figures() {
    let directory = tempfile::tempdir().unwrap();
    let run = Run::start(directory.path(), &ManualClock::start());
    for _call in 0..5 {
        run.spend(100);
    }
    expect![[r#"
        budget `task` of `t` (local/local) has reached 50 % of its limit: $0.00612 of $0.01 spent
        budget `task` of `t` (local/local) has reached 80 % of its limit: $0.00816 of $0.01 spent
        budget `user_day` of local/local has reached 50 % of its limit: $0.0102 of $0.02 spent since 2026-07-15
        budget `task` of `t` (local/local) has reached 100 % of its limit: $0.0102 of $0.01 spent"#]].assert_eq(&run.heard.texts(Topic::LimitReached).join("\n"));
}

/// A world in memory, and who is told in it.
fn told_world() -> (World, Arc<Heard>) {
    let store = Arc::new(MemoryStore::default());
    let stores = Stores {
        ledger: store.clone(),
        calls: store.clone(),
        settings: store,
        journal: Arc::new(MemoryJournal::default()),
    };
    let heard = Arc::new(Heard::default());
    let world = World::telling(
        settings(|_| {}),
        stores,
        ManualClock::start(),
        heard.clone(),
    );
    (world, heard)
}

fn settle(world: &World, input: u64, output: u64) -> Arc<CallRecord> {
    let call = world.send(&keyless(), 60_000);
    call.settle(end(Some(answered(input, output)), Outcome::Answered))
}

#[test]
fn a_call_that_cost_far_more_than_expected_says_why_and_its_task_is_told_of_once_an_hour() {
    let (world, heard) = told_world();
    let record = settle(&world, 50, 5_000);
    let found = record.overspend.as_ref().unwrap();
    assert_eq!(found.cost, record.cost);
    assert_eq!(found.expected, record.expected);
    let sum: i64 = found.shares.iter().map(|it| it.nano_usd).sum();
    assert_eq!(u64::try_from(sum).unwrap(), found.excess().0);
    // Longer and longer: each is more than what was learned from those before.
    for output in [20_000, 59_000] {
        assert!(settle(&world, 50, output).overspend.is_some());
    }
    let texts = || heard.texts(Topic::Overspent);
    assert_eq!(texts().len(), 1, "{:?}", texts());
    let id = record.id.to_string();
    expect!["call ID of local/local, task `t`, cost $0.1002, expected were $0.008908: a longer answer (+$0.0912), more input (+$0.000092) · see `tidegate calls ID`"].assert_eq(&texts()[0].replace(&id, "ID"));
    world.clock.advance(Duration::from_hours(1));
    settle(&world, 50, 59_000);
    assert_eq!(texts().len(), 2);
    // What costs what it should is nobody's concern.
    assert!(settle(&world, 5, 30).overspend.is_none());
    let told = world.told();
    assert_eq!(told.matches("overspent").count(), 2, "{told}");
}

#[test]
fn a_task_that_ended_is_told_of_as_a_whole() {
    let (world, heard) = told_world();
    for _call in 0..3 {
        settle(&world, 50, 5_000);
    }
    let user = keyless();
    let end = || {
        world
            .engine
            .end_task(&user.organisation, &user.user, &"t".into())
    };
    end();
    end();
    let texts = heard.texts(Topic::Overspent);
    expect!["task `t` of local/local has ended: its 3 calls cost $0.3006, expected were $0.083648: a longer answer (+$0.25686) · see `tidegate calls --task t`"].assert_eq(&texts[1]);
    assert_eq!(texts.len(), 2);
    // Nobody ends this one: after ten minutes of silence it is taken to have.
    for _call in 0..2 {
        settle(&world, 50, 59_000);
    }
    world.clock.advance(Duration::from_mins(10));
    world.engine.tidy();
    assert_eq!(heard.texts(Topic::Overspent).len(), 4);
}

#[test]
fn tries_that_were_paid_for_are_a_cause_of_their_own() {
    let (world, _heard) = told_world();
    let first = world.send(&keyless(), 60_000);
    let lost = End {
        outcome: Outcome::UpstreamLost,
        ..end(Some(answered(50, 5_000)), Outcome::Answered)
    };
    let call = first.abandon(&lost);
    let routed = world.route(call, "spare");
    let reserved = world.engine.reserve(routed, world.engine.now()).unwrap();
    let second = world.engine.send(reserved, world.engine.now());
    let second = second.map_err(|(_, refused)| refused).unwrap();
    let record = second.settle(end(Some(answered(5, 400)), Outcome::Answered));
    let found = record.overspend.as_ref().unwrap();
    assert_eq!(found.cause(), Some(Cause::Retries));
    assert_eq!(found.cost, record.cost);
}
