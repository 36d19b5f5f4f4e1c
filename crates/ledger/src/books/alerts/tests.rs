use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use proptest::prelude::*;
use tidegate_types::Caller;

use super::*;
use crate::{Balance, BudgetPolicy, LevelKind, Limit, LimitTable, MoneyAsk, MoneyCheck, Service};

const HOUR: u64 = 3_600_000_000_000;

/// Noon of a day in the middle of a month.
const NOON: Timestamp = Timestamp(1_784_116_800_000_000_000);

fn policy(hard: u64) -> std::sync::Arc<BudgetPolicy> {
    let mut table = LimitTable::default();
    table.defaults.user_day = Limit::built_in(NanoUsd(hard));
    table.defaults.task = Limit::built_in(NanoUsd(hard));
    let policy = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table);
    std::sync::Arc::new(policy.unwrap())
}

/// Books and what is kept of them outside.
struct Run {
    books: Books,
    hard: u64,
    now: Timestamp,
    spent: BTreeMap<LevelKey, u64>,
    kept: BTreeMap<LevelKey, Told>,
    crossed: Vec<Crossing>,
}

impl Run {
    fn new(hard: u64) -> Self {
        Self {
            books: Books::new("acme", policy(hard)),
            hard,
            now: NOON,
            spent: BTreeMap::new(),
            kept: BTreeMap::new(),
            crossed: Vec::new(),
        }
    }

    /// Settles a call, past every limit if need be.
    fn spend(&mut self, cost: u64) {
        let now = self.now;
        let resolve = |books: &mut Books| books.path("ann", Some("t"), Service::Llm, now);
        let mut path = resolve(&mut self.books);
        for key in self.books.missing_balances(path.entry()) {
            let spent = NanoUsd(self.spent.get(&key).copied().unwrap_or(0));
            self.books
                .recall(&key, self.kept.get(&key).copied().unwrap_or_default());
            self.books.load(
                &key,
                Balance {
                    spent,
                    ..Balance::default()
                },
            );
        }
        path = resolve(&mut self.books);
        let ask = MoneyAsk {
            bound: NanoUsd(1),
            expected: NanoUsd(1),
            caller: Caller::Keyless,
        };
        let MoneyCheck::Clear(cleared) = self.books.check(&path, &ask, now) else {
            panic!("a keyless call is never refused by what is built in");
        };
        let hold = self.books.commit(&path, &cleared);
        let settled = self.books.settle(hold, NanoUsd(cost), NanoUsd::ZERO);
        for key in path.entry().keys() {
            *self.spent.entry(key.clone()).or_default() += cost;
        }
        self.crossed.extend(settled.crossed);
    }

    fn keep(&mut self) {
        self.kept.extend(self.books.told_changed());
    }

    fn restart(&mut self) {
        self.keep();
        self.books = Books::new("acme", policy(self.hard));
    }

    fn told(&self, kind: LevelKind) -> Vec<u8> {
        let of = self.crossed.iter().filter(|it| it.level == kind);
        of.map(|it| it.percent).collect()
    }
}

#[test]
fn the_highest_part_that_is_reached_is_told() {
    let mut run = Run::new(100);
    for cost in [49, 1, 1, 44, 1, 4, 50] {
        run.spend(cost);
    }
    assert_eq!(run.told(LevelKind::UserDay), [50, 90, 100]);
}

#[test]
fn a_level_without_a_limit_or_with_none_spent_is_never_told() {
    let mut run = Run::new(0);
    run.spend(0);
    assert!(run.crossed.is_empty() && run.books.look(NOON).crossed.is_empty());
    run.spend(1);
    assert_eq!(run.told(LevelKind::Task), [100]);
}

#[test]
fn another_limit_is_told_anew_as_far_as_it_is_not_reached() {
    let mut run = Run::new(100);
    run.spend(85);
    run.books.set_policy(policy(200));
    assert!(run.books.look(NOON).crossed.is_empty());
    run.spend(20);
    assert_eq!(run.told(LevelKind::UserDay), [80, 50]);
    // Lowered: told at the next look, without a call.
    run.books.set_policy(policy(110));
    let looked = run.books.look(NOON).crossed;
    let told: Vec<_> = looked.iter().map(|it| (it.level, it.percent)).collect();
    assert_eq!(told, [(LevelKind::UserDay, 90), (LevelKind::Task, 90)]);
    assert!(run.books.look(NOON).crossed.is_empty());
}

#[test]
fn a_correction_tells_what_it_reaches_and_unsays_nothing() {
    let mut run = Run::new(100);
    run.spend(40);
    let path = run.books.path("ann", Some("t"), Service::Llm, NOON);
    let correct = |run: &mut Run, from, to| {
        run.books.correct(path.entry(), NanoUsd(from), NanoUsd(to));
        run.books.look(NOON).crossed.len()
    };
    assert_eq!(correct(&mut run, 40, 60), 2);
    assert_eq!(correct(&mut run, 60, 10), 0);
    assert_eq!(correct(&mut run, 10, 60), 0);
    assert_eq!(correct(&mut run, 60, 80), 2);
}

#[test]
fn what_will_be_passed_is_told_once_in_a_window_and_after_a_restart_too() {
    let mut run = Run::new(100);
    // By noon half of the limit: exactly at midnight the rest.
    run.spend(50);
    assert!(run.books.look(NOON).foreseen.is_empty());
    run.spend(1);
    let foreseen = run.books.look(NOON).foreseen;
    let [foresight] = foreseen.as_slice() else {
        panic!("{foreseen:?}");
    };
    assert_eq!(foresight.key.kind, LevelKind::UserDay);
    assert!(foresight.at > NOON && foresight.at < foresight.resets_at);
    assert!(run.books.look(NOON).foreseen.is_empty());
    run.restart();
    run.spend(1);
    assert!(run.books.look(NOON).foreseen.is_empty());
    // Tomorrow is another window.
    run.now = NOON.after(Duration::from_hours(24));
    run.spend(60);
    assert_eq!(run.books.look(run.now).foreseen.len(), 1);
}

#[test]
fn a_pace_that_has_risen_is_seen_before_the_mean_shows_it() {
    let mut run = Run::new(1_000);
    run.spend(100);
    assert!(run.books.look(NOON).foreseen.is_empty());
    run.now = NOON.after(Duration::from_mins(30));
    run.spend(60);
    // 60 in half an hour, 160 since midnight: 60 an hour is less than what the rest would bear.
    assert!(run.books.look(run.now).foreseen.is_empty());
    run.now = NOON.after(Duration::from_mins(50));
    run.spend(40);
    let foreseen = run.books.look(run.now).foreseen;
    assert_eq!(foreseen.len(), 1, "100 an hour pass 1,000 before midnight");
    // 800 are left, at 100 an hour.
    assert_eq!(foreseen[0].at, run.now.after(Duration::from_hours(8)));
}

#[test]
fn little_of_a_window_and_few_calls_are_no_pace() {
    let pace = |gone: u64, calls| {
        Pace {
            start: NOON,
            end: NOON.after(Duration::from_hours(24)),
            spent: NanoUsd(90),
            recent: NanoUsd(90),
            recent_span: Duration::from_hours(1),
            calls,
        }
        .passes(NanoUsd(100), Timestamp(NOON.0 + gone))
    };
    assert_eq!(pace(2 * HOUR, 19), None);
    assert!(pace(2 * HOUR, 20).is_some());
    assert!(pace(3 * HOUR, 1).is_some());
}

#[derive(Clone, Debug)]
enum Step {
    Spend(u64),
    Restart,
    Look,
    Evict,
    Wait,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0_u64..40).prop_map(Step::Spend),
        2 => Just(Step::Restart),
        1 => Just(Step::Look),
        1 => Just(Step::Evict),
        1 => Just(Step::Wait),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    #[test]
    fn each_part_of_a_limit_is_told_once_in_a_window_whatever_is_spent_and_restarted(
        steps in steps(), hard in 1_u64..300,
    ) {
        let mut run = Run::new(hard);
        for step in steps {
            match step {
                Step::Spend(cost) => run.spend(cost),
                Step::Restart => run.restart(),
                Step::Look => { let crossed = run.books.look(run.now).crossed; run.crossed.extend(crossed); }
                Step::Evict => { run.keep(); run.books.evict(run.now, run.now); run.books.evict(run.now, run.now); }
                Step::Wait => run.now = run.now.after(Duration::from_hours(9)),
            }
        }
        for (key, spent) in &run.spent {
            let bounded = matches!(key.kind, LevelKind::UserDay | LevelKind::Task);
            if !bounded { continue; }
            let told: Vec<u8> = run.crossed.iter().filter(|it| it.key == *key).map(|it| it.percent).collect();
            prop_assert!(told.is_sorted_by(|one, next| one < next), "{key}: {told:?}");
            let reached = [100, 90, 80, 50].into_iter().find(|it| *spent > 0 && spent * 100 >= hard * it);
            prop_assert_eq!(told.last().map(|it| u64::from(*it)), reached, "{}", key);
        }
    }

    #[test]
    fn a_limit_is_foreseen_for_when_its_pace_reaches_it(
        gone in 1_u64..24 * HOUR, spent in 0_u64..2_000, recent in 0_u64..2_000, limit in 1_u64..2_000,
    ) {
        let recent = recent.min(spent);
        let pace = Pace {
            start: NOON, end: Timestamp(NOON.0 + 24 * HOUR), spent: NanoUsd(spent),
            recent: NanoUsd(recent), recent_span: Duration::from_hours(1), calls: 20,
        };
        let now = Timestamp(NOON.0 + gone);
        // What is spent at the end of the window, by either pace; in units of which nothing is lost.
        let left = u128::from(24 * HOUR - gone);
        let by_mean = u128::from(spent) * left > u128::from(limit.saturating_sub(spent)) * u128::from(gone);
        let by_recent = u128::from(recent) * left > u128::from(limit.saturating_sub(spent)) * u128::from(HOUR);
        if let Some(at) = pace.passes(NanoUsd(limit), now) {
            prop_assert!(at >= now && at < pace.end && spent < limit);
            prop_assert!(by_mean || by_recent);
        } else {
            // Rounded up to a nanosecond: what would be passed in the very last is not.
            let longer = Pace { end: Timestamp(pace.end.0 + 1), ..pace };
            let just_not = longer.passes(NanoUsd(limit), now).is_some();
            let never = spent >= limit || !(by_mean || by_recent);
            prop_assert!(never || just_not, "{pace:?} is not foreseen");
        }
    }
}
