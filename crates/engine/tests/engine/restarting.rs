//! Runs that end without a word, and what the next one makes of what they left.

use std::{
    io,
    num::NonZeroU64,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use expect_test::expect;
use tidegate_admission::{QuotaFigure, QuotaFigures, QuotaKind, QuotaTable};
use tidegate_engine::{
    admissions::{Actual, AdmissionAsk, AdmissionError},
    call::Signals,
    identity::Principal,
    writer::Stores,
};
use tidegate_ledger::{
    Balance, LedgerStore, LevelKey, Line, OpenReservation, Row, Seq, SettingStore, Snapshot,
    StoreError,
    journal::{Journal, Position, ReadBack},
    leases::{Grant, Lease, LeaseAsk},
};
use tidegate_observe::calls::Outcome;
use tidegate_store::{DirectoryLock, FileJournal, MemoryStore, SqliteStore};
use tidegate_types::{
    Clock as _, Enforcement, Mode, ReservationId, Role, Timestamp, Tokens, Usage,
};

use crate::harness::{ManualClock, World, answered, body, end, hard, keyed, settings, usd};

/// A data directory whose process can be killed: from then on nothing reaches the disk. And before
/// that, the store can be made to lag behind the journal for ever, as its group commits do for a
/// moment.
pub(crate) struct Disk {
    store: SqliteStore,
    journal: FileJournal,
    lags: AtomicBool,
    /// The ledger reaches the disk and small values don't: between the writer's two transactions.
    pub(crate) forgets: AtomicBool,
    pub(crate) killed: AtomicBool,
}

impl Disk {
    pub(crate) fn open(directory: &Path, now: Timestamp) -> Arc<Self> {
        let lock = DirectoryLock::take(directory, now).unwrap();
        Arc::new(Self {
            store: SqliteStore::open(lock).unwrap(),
            journal: FileJournal::open(directory).unwrap(),
            lags: AtomicBool::new(false),
            forgets: AtomicBool::new(false),
            killed: AtomicBool::new(false),
        })
    }

    fn stores(&self) -> bool {
        !self.lags.load(Ordering::Relaxed) && !self.killed.load(Ordering::Relaxed)
    }
}

impl LedgerStore for Disk {
    fn append_lines(&self, lines: &[Line]) -> Result<(), StoreError> {
        if self.stores() {
            return self.store.append_lines(lines);
        }
        Ok(())
    }
    fn balance(&self, level: &LevelKey) -> Result<Option<Balance>, StoreError> {
        self.store.balance(level)
    }
    fn balances(&self, organisation: Option<&str>) -> Result<Vec<(LevelKey, Balance)>, StoreError> {
        self.store.balances(organisation)
    }
    fn open_reservations(&self) -> Result<Vec<OpenReservation>, StoreError> {
        self.store.open_reservations()
    }
    fn rows(&self, from: Seq, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.rows(from, limit)
    }
    fn snapshot(&self, each: &mut dyn FnMut(Row)) -> Result<Snapshot, StoreError> {
        self.store.snapshot(each)
    }
    fn history(&self, reservation: ReservationId) -> Result<Vec<Row>, StoreError> {
        self.store.history(reservation)
    }
    fn uncorrected(&self, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.store.uncorrected(limit)
    }
    fn latest(&self) -> Result<Option<Timestamp>, StoreError> {
        self.store.latest()
    }
    fn grant_leases(&self, asks: Vec<LeaseAsk>, now: Timestamp) -> Result<Vec<Grant>, StoreError> {
        self.store.grant_leases(asks, now)
    }
    fn leases(&self) -> Result<Vec<Lease>, StoreError> {
        self.store.leases()
    }
    fn return_leases(&self, holder: &str, levels: &[LevelKey]) -> Result<usize, StoreError> {
        self.store.return_leases(holder, levels)
    }
}

impl SettingStore for Disk {
    fn setting(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.setting(name)
    }
    fn settings_below(&self, beginning: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.settings_below(beginning)
    }
    fn set(&self, values: &[(&str, &[u8])]) -> Result<(), StoreError> {
        if self.stores() && !self.forgets.load(Ordering::Relaxed) {
            return self.store.set(values);
        }
        Ok(())
    }

    fn unset(&self, names: &[&str]) -> Result<(), StoreError> {
        if self.stores() {
            return self.store.unset(names);
        }
        Ok(())
    }
}

impl Journal for Disk {
    fn append(&self, frames: &[u8]) -> io::Result<Position> {
        if self.killed.load(Ordering::Relaxed) {
            return Ok(Position::default());
        }
        self.journal.append(frames)
    }
    fn sync(&self) -> io::Result<()> {
        self.journal.sync()
    }
    fn checkpoint(&self, up_to: Position) -> io::Result<()> {
        if self.stores() {
            return self.journal.checkpoint(up_to);
        }
        Ok(())
    }
    fn read_back(&self) -> io::Result<ReadBack> {
        self.journal.read_back()
    }
}

/// One run on a data directory.
struct Run {
    world: World,
    disk: Arc<Disk>,
}

impl Run {
    fn start(directory: &Path, clock: &Arc<ManualClock>) -> Self {
        let disk = Disk::open(directory, clock.now());
        let stores = Stores {
            ledger: disk.clone(),
            calls: Arc::new(MemoryStore::default()),
            settings: disk.clone(),
            journal: disk.clone(),
        };
        let mut settings = settings(|it| it.task = hard("5"));
        settings.quotas = Arc::new(watched_quotas());
        let world = World::on(settings, stores, Arc::clone(clock));
        Self { world, disk }
    }

    /// From here on the store is behind the journal.
    fn lag(&self) {
        self.world.engine.flush();
        self.disk.lags.store(true, Ordering::Relaxed);
    }

    /// Ends without settling, flushing or saying anything.
    fn kill(self) {
        self.disk.killed.store(true, Ordering::Relaxed);
    }
}

/// Six calls a minute and a thousand tokens a month, of which users are told.
fn watched_quotas() -> QuotaTable {
    let mut user = QuotaFigures::UNLIMITED;
    for (kind, limit) in [(QuotaKind::CallRate, 6), (QuotaKind::TokensPerMonth, 1_000)] {
        *user.of_mut(kind) = QuotaFigure {
            limit: NonZeroU64::new(limit),
            enforcement: Enforcement::Named(Mode::Watch),
        };
    }
    QuotaTable {
        user,
        ..QuotaTable::unlimited()
    }
}

fn ask(cost: &str) -> AdmissionAsk {
    AdmissionAsk {
        tokens: 100,
        task: Some("t".to_owned()),
        cost: usd(cost),
        ..AdmissionAsk::default()
    }
}

/// Kills a run with two settled reservations ($1 and $0.50) and two open ones ($1 each), 400 units
/// taken; in each of the places where a crash can find it.
fn killed(directory: &Path, clock: &Arc<ManualClock>, lags: bool) -> [ReservationId; 2] {
    let run = Run::start(directory, clock);
    let ada = keyed("ada");
    let admit = |cost: &str| {
        let admitted = run.world.engine.admit(&ada, &ask(cost)).unwrap();
        admitted.unwrap().reservation
    };
    if lags {
        run.lag();
    }
    let (first, second) = (admit("1"), admit("1"));
    let open = [admit("1"), admit("1")];
    let actual = Actual {
        cost: Some(usd("0.50")),
        usage: Some(Usage {
            input: Tokens(500),
            cache_read: Tokens(7_000),
            output: Tokens(40),
            ..Usage::default()
        }),
        ..Actual::default()
    };
    run.world
        .engine
        .settle_reservation(&ada, first, actual)
        .unwrap();
    run.world
        .engine
        .settle_reservation(&ada, second, Actual::default())
        .unwrap();
    if !lags {
        run.world.engine.flush();
    }
    run.kill();
    open
}

/// The same after so long that what was promised to those who hold the open ones is over.
fn after_a_crash(check: impl Fn(&Path, &Arc<ManualClock>, &Run, [ReservationId; 2])) -> String {
    back_after(Duration::from_mins(15), check)
}

/// Runs `check` after a crash that found the store up to date, and after one that found it behind,
/// and gives the ledger's rows, which must be the same.
fn back_after(
    downtime: Duration,
    check: impl Fn(&Path, &Arc<ManualClock>, &Run, [ReservationId; 2]),
) -> String {
    let [up_to_date, behind] = [false, true].map(|lags| {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::start();
        let open = killed(directory.path(), &clock, lags);
        clock.advance(downtime);
        let run = Run::start(directory.path(), &clock);
        check(directory.path(), &clock, &run, open);
        run.world.rows()
    });
    assert_eq!(up_to_date, behind);
    up_to_date
}

fn task(run: &Run) -> String {
    let mut levels = run.world.engine.levels(None).into_iter();
    let task = levels.find(|it| it.key.task.is_some()).unwrap();
    format!("{} spent, {} held", task.spent, task.held)
}

#[test]
fn what_was_settled_stays_settled_and_what_was_open_is_unknown_at_its_bound() {
    let rows = after_a_crash(|_, clock, run, open| {
        assert_eq!(task(run), "$1.50 spent, $2.00 held");
        assert_eq!(run.world.engine.unknown_reservations(), 2);
        for view in run.world.engine.reservations(|_| true) {
            assert!(view.unknown && open.contains(&view.id));
            assert_eq!(view.expires_at.since(clock.now()), Duration::from_mins(15));
        }
    });
    expect![[r#"
        0: reserve $1.00
        1: reserve $1.00
        2: reserve $1.00
        3: reserve $1.00
        0: settle $0.50
        1: settle $1.00, estimated
        2: unknown
        3: unknown
    "#]]
    .assert_eq(&rows);
}

#[test]
fn what_was_promised_is_its_holders_to_settle_after_a_restart_too() {
    for lags in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let clock = ManualClock::start();
        let began = clock.now();
        let [first, second] = killed(directory.path(), &clock, lags);
        clock.advance(Duration::from_mins(14));
        let run = Run::start(directory.path(), &clock);
        let (engine, ada) = (&run.world.engine, keyed("ada"));
        assert_eq!(task(&run), "$1.50 spent, $2.00 held");
        assert_eq!(engine.unknown_reservations(), 0);
        for view in engine.reservations(|_| true) {
            assert_eq!(view.expires_at.since(began), Duration::from_mins(15));
        }
        let actual = Actual {
            cost: Some(usd("0.25")),
            ..Actual::default()
        };
        engine.settle_reservation(&ada, first, actual).unwrap();
        engine
            .extend_reservation(&ada, second, usd("0.50"), Duration::from_hours(1))
            .unwrap();
        run.kill();
        clock.advance(Duration::from_mins(59));
        let run = Run::start(directory.path(), &clock);
        assert_eq!(task(&run), "$1.75 spent, $1.50 held");
        let released = run.world.engine.release_reservation(&ada, second);
        released.unwrap();
        expect![[r#"
            0: reserve $1.00
            1: reserve $1.00
            2: reserve $1.00
            3: reserve $1.00
            0: settle $0.50
            1: settle $1.00, estimated
            2: settle $0.25
            3: extend $0.50
            3: release $1.50
        "#]]
        .assert_eq(&run.world.rows());
    }
}

#[test]
fn what_the_crash_left_binds_at_once_and_the_rest_can_be_spent_at_once() {
    after_a_crash(|_, _, run, _| {
        let admit = |cost: &str| run.world.engine.admit(&keyed("ada"), &ask(cost)).unwrap();
        assert!(admit("1.500000001").is_err());
        assert!(admit("1.50").is_ok());
        assert!(admit("0.000000001").is_err());
    });
}

#[test]
fn quotas_are_not_forgotten_by_a_crash() {
    back_after(Duration::from_secs(5), |_, _, run, _| {
        // Its counts are read back when the user comes again.
        let mut used = Vec::new();
        assert!(
            run.world
                .engine
                .admit(&keyed("ada"), &ask("9"))
                .unwrap()
                .is_err()
        );
        for (_, views) in run.world.engine.quotas(None) {
            used.extend(views.iter().map(|it| (it.kind, it.used)));
        }
        assert_eq!(
            used,
            [(QuotaKind::CallRate, 4), (QuotaKind::TokensPerMonth, 540)]
        );
    });
}

#[test]
fn buckets_are_not_refilled_by_a_crash() {
    after_a_crash(|_, _, run, _| assert_eq!(run.world.units("sonnet"), 600));
}

#[test]
fn an_operator_or_the_holder_may_say_what_an_unknown_one_cost() {
    let rows = after_a_crash(|_, _, run, [first, second]| {
        let operator = Principal {
            role: Role::Operator,
            ..keyed("olga")
        };
        let actual = |cost| Actual {
            cost: Some(usd(cost)),
            ..Actual::default()
        };
        let engine = &run.world.engine;
        let refused = engine.settle_reservation(&keyed("bob"), first, actual("0"));
        assert!(matches!(refused, Err(AdmissionError::NotOpen(_))));
        engine
            .settle_reservation(&operator, first, actual("0.25"))
            .unwrap();
        engine
            .settle_reservation(&keyed("ada"), second, actual("0.75"))
            .unwrap();
        assert_eq!(task(run), "$2.50 spent, $0.00 held");
    });
    expect![[r#"
        0: reserve $1.00
        1: reserve $1.00
        2: reserve $1.00
        3: reserve $1.00
        0: settle $0.50
        1: settle $1.00, estimated
        2: unknown
        3: unknown
        2: settle $0.25 (settled while unknown)
        3: settle $0.75 (settled while unknown)
    "#]]
    .assert_eq(&rows);
}

#[test]
fn what_nobody_explains_is_settled_at_its_bound_and_listed_for_correction() {
    let rows = after_a_crash(|_, clock, run, _| {
        clock.advance(Duration::from_mins(15) - Duration::from_nanos(1));
        run.world.engine.tidy();
        assert_eq!(run.world.engine.unknown_reservations(), 2);
        clock.advance(Duration::from_nanos(1));
        run.world.engine.tidy();
        assert_eq!(run.world.engine.unknown_reservations(), 0);
        assert_eq!(task(run), "$3.50 spent, $0.00 held");
        run.world.engine.flush();
        assert_eq!(run.world.ledger.uncorrected(10).unwrap().len(), 2);
    });
    expect![[r#"
        0: reserve $1.00
        1: reserve $1.00
        2: reserve $1.00
        3: reserve $1.00
        0: settle $0.50
        1: settle $1.00, estimated
        2: unknown
        3: unknown
        2: expire $1.00
        3: expire $1.00
    "#]]
    .assert_eq(&rows);
}

#[test]
fn a_second_crash_gives_no_more_time_and_changes_nothing() {
    after_a_crash(|directory, clock, run, _| {
        run.world.engine.flush();
        run.disk.killed.store(true, Ordering::Relaxed);
        let before = run.world.ledger.rows(1, usize::MAX).unwrap().len();
        let copy = tempfile::tempdir().unwrap();
        for file in std::fs::read_dir(directory).unwrap() {
            let file = file.unwrap();
            if file.file_name() != "lock" {
                std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
            }
        }
        clock.advance(Duration::from_mins(10));
        let again = Run::start(copy.path(), clock);
        assert_eq!(task(&again), "$1.50 spent, $2.00 held");
        again.world.engine.flush();
        let after = again.world.ledger.rows(1, usize::MAX).unwrap().len();
        assert_eq!(after, before);
        clock.advance(Duration::from_mins(5));
        again.world.engine.tidy();
        assert_eq!(task(&again), "$3.50 spent, $0.00 held");
        again.world.rows();
    });
}

#[test]
fn a_call_that_a_crash_cut_off_is_unknown_at_its_bound() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let run = Run::start(directory.path(), &clock);
    run.lag();
    let settled = run.world.send(&keyed("ada"), 1_000);
    settled.settle(end(Some(answered(12, 7)), Outcome::Answered));
    let cut = run.world.send(&keyed("ada"), 1_000);
    let bound = cut.record().bound;
    let reservation = cut.reservation();
    run.disk.killed.store(true, Ordering::Relaxed);
    // What the dying process does has no effect.
    cut.settle(end(None, Outcome::Interrupted));
    drop(run);
    let run = Run::start(directory.path(), &clock);
    let views = run.world.engine.reservations(|_| true);
    let [view] = &views[..] else {
        panic!("one is open: {views:?}")
    };
    assert_eq!(
        (view.id, view.held, view.unknown),
        (reservation, bound, true)
    );
    assert_eq!(run.world.units("sonnet"), 980);
    expect![[r#"
        0: reserve $0.020184
        0: settle $0.000188
        1: reserve $0.020076
        1: unknown
    "#]]
    .assert_eq(&run.world.rows());
}

/// A call looks at the clock before it takes anything, and may be held up in between.
#[test]
fn what_was_taken_after_the_levels_were_saved_is_taken_again_though_it_began_before() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let run = Run::start(directory.path(), &clock);
    let began = run.world.engine.now();
    clock.advance(Duration::from_millis(1));
    let first = run.world.send(&keyed("ada"), 1_000);
    run.lag();
    let call = run
        .world
        .identify(&keyed("ada"), &Signals::default(), &body(1_000));
    let routed = run.world.route(call, "sonnet");
    let reserved = run.world.engine.reserve(routed, began).unwrap();
    let second = run.world.engine.send(reserved, began).unwrap();
    run.disk.killed.store(true, Ordering::Relaxed);
    for call in [first, second] {
        call.settle(end(None, Outcome::Interrupted));
    }
    drop(run);
    let run = Run::start(directory.path(), &clock);
    assert_eq!(run.world.units("sonnet"), 980);
}

/// Bob waits for all there is while ada takes what is fair in months.
#[test]
fn a_penalty_outlasts_the_run_that_gave_it() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let run = Run::start(directory.path(), &clock);
    let admit = |user: &str, tokens| {
        let ask = AdmissionAsk {
            tokens,
            ..AdmissionAsk::default()
        };
        run.world.engine.admit(&keyed(user), &ask).unwrap().is_ok()
    };
    assert!(admit("ada", 1));
    assert!(!admit("bob", 1_000));
    assert!(admit("ada", 1));
    clock.advance(Duration::from_mins(10));
    assert!(admit("ada", 1));
    // The first under the penalty begins it; half of its share has to refill before the next.
    assert!(admit("ada", 1));
    assert!(!admit("ada", 1));
    run.world.engine.flush();
    run.kill();
    clock.advance(Duration::from_mins(5));
    let run = Run::start(directory.path(), &clock);
    let views = run.world.engine.pool_views();
    let [penalty] = &views[0].penalties[..] else {
        panic!("one: {views:?}")
    };
    assert_eq!(penalty.user.as_deref(), Some("ada"));
    assert_eq!(penalty.left_seconds, 55 * 60);
}

#[test]
fn a_graceful_stop_leaves_no_unknowns() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::start();
    let run = Run::start(directory.path(), &clock);
    let call = run.world.send(&keyed("ada"), 1_000);
    call.settle(end(Some(answered(12, 7)), Outcome::Answered));
    drop(run);
    let run = Run::start(directory.path(), &clock);
    assert_eq!(run.world.engine.unknown_reservations(), 0);
    assert_eq!(task_spent(&run), "$0.000188");
    assert_eq!(run.world.units("sonnet"), 990);
}

fn task_spent(run: &Run) -> String {
    let balances = run.world.ledger.balances(None).unwrap();
    let task = balances.iter().find(|(key, _)| key.task.is_some()).unwrap();
    task.1.spent.to_string()
}
