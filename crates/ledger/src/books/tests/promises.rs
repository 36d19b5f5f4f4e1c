//! What holds for any sequence of calls.

use parking_lot::Mutex;
use proptest::prelude::*;
use tidegate_types::ReservationId;

use super::*;
use crate::{CallEntry, Entry, Event, Fold, PolicyEntry, Row, Settlement, chain_after, verify};

/// One step of a run: what is done, to which call, with which amounts.
#[derive(Clone, Debug)]
enum Step {
    Reserve {
        user: usize,
        task: usize,
        bound: u64,
        keyless: bool,
    },
    Extend {
        call: prop::sample::Index,
        by: u64,
    },
    Settle {
        call: prop::sample::Index,
        percent: u64,
    },
    Release {
        call: prop::sample::Index,
    },
    Expire {
        call: prop::sample::Index,
    },
    Wait {
        hours: u64,
    },
    Evict,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let call = any::<prop::sample::Index>;
    let reserve = (0_usize..2, 0_usize..3, 0_u64..60, prop::bool::weighted(0.2));
    let step = prop_oneof![
        8 => reserve.prop_map(|(user, task, bound, keyless)| {
            Step::Reserve { user, task, bound, keyless }
        }),
        2 => (call(), 0_u64..40).prop_map(|(call, by)| Step::Extend { call, by }),
        4 => (call(), 0_u64..=100).prop_map(|(call, percent)| Step::Settle { call, percent }),
        1 => (call(), 100_u64..300).prop_map(|(call, percent)| Step::Settle { call, percent }),
        1 => call().prop_map(|call| Step::Release { call }),
        1 => call().prop_map(|call| Step::Expire { call }),
        1 => (0_u64..40).prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Evict),
    ];
    prop::collection::vec(step, 1..120)
}

/// A running call.
struct Running {
    hold: Hold,
    path: Arc<EntryPath>,
    reservation: ReservationId,
    next_ordinal: u32,
}

/// Books beside the ledger of what they did.
struct Run {
    books: Books,
    running: Vec<Running>,
    entries: Vec<Entry>,
    fold: Fold,
    now: Timestamp,
    calls: u64,
    /// What may pass a limit, and did: costs above a hold, calls that nothing bound.
    excess: u64,
}

impl Run {
    fn new() -> Self {
        let mut table = LimitTable::unlimited();
        table.defaults.organisation = Limit::built_in(NanoUsd(500));
        table.defaults.user_month = Limit::built_in(NanoUsd(400));
        table.defaults.user_day = Limit::built_in(NanoUsd(200));
        table.defaults.llm = Limit::built_in(NanoUsd(450));
        table.defaults.task = Limit::built_in(NanoUsd(120));
        let policy = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap();
        let now = at("2026-07-28T10:00:00Z");
        let limits = Arc::clone(policy.limits());
        let mut run = Self {
            books: Books::new("acme", Arc::new(policy)),
            running: Vec::new(),
            entries: Vec::new(),
            fold: Fold::default(),
            now,
            calls: 0,
            excess: 0,
        };
        run.append(Entry::Policy(PolicyEntry { at: now, limits }));
        run
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Reserve {
                user,
                task,
                bound,
                keyless,
            } => self.reserve(
                ["ann", "bob"][*user],
                ["t1", "t2", ""][*task],
                *bound,
                *keyless,
            ),
            Step::Wait { hours } => {
                self.now = Timestamp(self.now.0 + hours * 3_600_000_000_000);
            }
            Step::Evict => {
                let gone = self.books.evict(self.now, self.now);
                assert!(gone <= 20);
            }
            Step::Extend { call, by } => self.extend(*call, NanoUsd(*by)),
            Step::Settle { call, percent } => {
                if let Some(it) = self.take(*call) {
                    let held = it.hold.bound();
                    let cost = NanoUsd(held.0 * percent / 100);
                    let event = Event::Settle(Box::new(Settlement {
                        held,
                        cost,
                        notional: cost,
                        ..Settlement::default()
                    }));
                    self.excess += cost.saturating_sub(held).0;
                    self.end(it, event, cost);
                }
            }
            Step::Release { call } => {
                if let Some(it) = self.take(*call) {
                    let held = it.hold.bound();
                    let reason = "test".to_owned();
                    self.end(it, Event::Release { held, reason }, NanoUsd::ZERO);
                }
            }
            Step::Expire { call } => {
                if let Some(it) = self.take(*call) {
                    let held = it.hold.bound();
                    self.end(it, Event::Expire { held }, held);
                }
            }
        }
    }

    fn reserve(&mut self, user: &str, task: &str, bound: u64, keyless: bool) {
        let task = Some(task).filter(|it| !it.is_empty());
        let path = self.books.path(user, task, Service::Llm, self.now);
        for key in self.books.missing_balances(path.entry()) {
            let balance = self.fold.balances().get(&key).copied().unwrap_or_default();
            self.books.load(&key, balance);
        }
        let caller = if keyless {
            Caller::Keyless
        } else {
            Caller::Asking
        };
        let ask = MoneyAsk {
            bound: NanoUsd(bound),
            expected: NanoUsd(bound / 2),
            caller,
        };
        let checked = self.books.check(&path, &ask, self.now);
        // One look at all levels says what a look at each of them would.
        let closely = match self.books.examine(&path.slots, &ask) {
            Ok(it) => MoneyCheck::Clear(ClearedMoney { at: self.now, ..it }),
            Err(it) => MoneyCheck::Refused(it),
        };
        assert_eq!(checked, closely);
        let MoneyCheck::Clear(cleared) = checked else {
            return;
        };
        self.excess += if keyless { bound } else { 0 };
        let (expected, would_refuse) = (cleared.expected, cleared.would_refuse);
        let hold = self.books.commit(&path, &cleared);
        self.calls += 1;
        let mut it = Running {
            path: Arc::clone(path.entry()),
            reservation: ReservationId::from_raw(self.calls),
            next_ordinal: 0,
            hold,
        };
        let event = Event::Reserve {
            bound: NanoUsd(bound),
            expected,
            would_refuse,
            asked: None,
        };
        self.record(&mut it, event);
        self.running.push(it);
    }

    fn extend(&mut self, call: prop::sample::Index, by: NanoUsd) {
        let Some(mut it) = self.take(call) else {
            return;
        };
        if self.books.extend(&mut it.hold, by, Caller::Asking).is_ok() {
            self.record(&mut it, Event::Extend { by, until: None });
        }
        self.running.push(it);
    }

    fn take(&mut self, call: prop::sample::Index) -> Option<Running> {
        let count = self.running.len();
        (count > 0).then(|| self.running.swap_remove(call.index(count)))
    }

    fn end(&mut self, mut it: Running, event: Event, cost: NanoUsd) {
        let notional = if matches!(event, Event::Settle(_)) {
            cost
        } else {
            NanoUsd::ZERO
        };
        self.record(&mut it, event);
        self.books.settle(it.hold, cost, notional);
    }

    fn record(&mut self, it: &mut Running, event: Event) {
        self.append(Entry::Call(CallEntry {
            reservation: it.reservation,
            ordinal: it.next_ordinal,
            at: self.now,
            path: Arc::clone(&it.path),
            enforced: it.hold.enforced(),
            event,
        }));
        it.next_ordinal += 1;
    }

    fn append(&mut self, entry: Entry) {
        self.fold.apply(&entry).unwrap();
        self.entries.push(entry);
    }
}

fn rows(entries: &[Entry]) -> Vec<Row> {
    let mut chain = crate::CHAIN_START;
    let row = |(at, entry): (usize, &Entry)| {
        let payload = serde_json::to_string(entry).unwrap();
        chain = chain_after(chain, &payload);
        Row {
            seq: at as u64 + 1,
            chain,
            payload,
        }
    };
    entries.iter().enumerate().map(row).collect()
}

fn run(steps: &[Step], mut each: impl FnMut(&Run)) -> Run {
    let mut run = Run::new();
    for step in steps {
        run.step(step);
        each(&run);
    }
    run
}

proptest! {
    #[test]
    fn settled_and_held_stay_within_every_hard_limit_but_for_what_nothing_bound(steps in steps()) {
        run(&steps, |run| {
            for level in run.books.levels(|_| true) {
                let limit = level.limit.hard.unwrap().0 + run.excess;
                assert!(level.spent.0 + level.held.0 <= limit, "{level:?} {}", run.excess);
            }
        });
    }

    #[test]
    fn the_books_are_the_fold_of_their_entries(steps in steps()) {
        let run = run(&steps, |_| {});
        let fold = &run.fold;
        for level in run.books.levels(|_| true) {
            let folded = fold.balances().get(&level.key).copied().unwrap_or_default();
            let booked = Balance {
                spent: level.spent,
                held: level.held,
                notional: level.notional,
                would_refuse: level.would_refuse,
            };
            prop_assert_eq!(booked, folded, "{}", level.key);
        }
        let held: NanoUsd = run.running.iter().map(|it| it.hold.bound()).sum();
        prop_assert_eq!(fold.open_reservations().count(), run.running.len());
        prop_assert_eq!(fold.open_reservations().map(|it| it.held).sum::<NanoUsd>(), held);
    }

    #[test]
    fn the_ledger_of_any_run_is_clean(steps in steps()) {
        let run = run(&steps, |_| {});
        let report = verify(rows(&run.entries));
        prop_assert!(report.is_clean(), "{:?}", report.findings);
        prop_assert_eq!(report.open, run.running.len());
    }

    #[test]
    fn every_entrys_postings_sum_to_zero_on_every_level(steps in steps()) {
        for entry in &run(&steps, |_| {}).entries {
            let Entry::Call(call) = entry else { continue };
            for kind in LevelKind::ALL {
                let of = call.postings().into_iter().filter(|it| it.level == kind);
                prop_assert_eq!(of.map(|it| it.nanos).sum::<i128>(), 0);
            }
        }
    }

    #[test]
    fn a_row_that_is_edited_removed_doubled_or_moved_is_found(
        steps in steps(),
        at: prop::sample::Index,
        byte: prop::sample::Index,
        how in 0..4,
    ) {
        let mut rows = rows(&run(&steps, |_| {}).entries);
        prop_assume!(rows.len() > 1);
        // The last row's absence is what `verify_store` sees.
        let at = at.index(rows.len() - 1);
        match how {
            0 => {
                let payload = &mut rows[at].payload;
                let byte = byte.index(payload.len());
                let other = if payload.as_bytes()[byte] == b'7' { "8" } else { "7" };
                payload.replace_range(byte..=byte, other);
            }
            1 => drop(rows.remove(at)),
            2 => rows.insert(at, rows[at].clone()),
            _ => rows.swap(at, at + 1),
        }
        prop_assert!(!verify(rows).is_clean());
    }
}

#[test]
fn of_10_000_concurrent_reservations_of_10_cents_exactly_50_fit_5_dollars() {
    let mut table = LimitTable::unlimited();
    table.defaults.task.hard = Some(NanoUsd::from_usd(5));
    let policy = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap();
    let mut books = Books::new("acme", Arc::new(policy));
    let now = at("2026-07-14T10:00:00Z");
    let path = books.path("ann", Some(TASK), Service::Llm, now);
    for key in books.missing_balances(path.entry()) {
        books.load(&key, Balance::default());
    }
    let books = Mutex::new(books);
    let ask = MoneyAsk {
        bound: NanoUsd(100_000_000),
        expected: NanoUsd(50_000_000),
        caller: Caller::Asking,
    };
    let reserve = || {
        let mut books = books.lock();
        match books.check(&path, &ask, now) {
            MoneyCheck::Clear(cleared) => Some(books.commit(&path, &cleared)),
            MoneyCheck::Refused(_) | MoneyCheck::Stale => None,
        }
    };
    let holds: Vec<Hold> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| (0..1_250).filter_map(|_| reserve()).collect::<Vec<_>>()))
            .collect();
        threads
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    assert_eq!(holds.len(), 50);
    let left = books
        .lock()
        .headroom(&path, Caller::Asking, now)
        .unwrap()
        .left;
    assert_eq!(left, NanoUsd::ZERO);
}
