use std::{fmt::Write as _, num::NonZeroU64};

use expect_test::{Expect, expect};
use tidegate_types::{Enforcement, Mode};

use super::*;

mod properties;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;

/// Days of 24 hours and months of 30 of them.
fn calendar(at: Timestamp) -> Calendar {
    let span = |nanos: u64| {
        let place = at.0 / nanos;
        Span {
            opens: u32::try_from(place).unwrap() + 1,
            end: Timestamp((place + 1) * nanos),
        }
    };
    Calendar {
        day: span(DAY),
        month: span(30 * DAY),
    }
}

/// The same instant on both clocks.
fn at(nanos: u64) -> (Monotonic, Timestamp) {
    (Monotonic(nanos), Timestamp(nanos))
}

fn figures(limits: &[(QuotaKind, u64)], enforcement: Enforcement) -> QuotaFigures {
    let mut figures = QuotaFigures::UNLIMITED;
    for (kind, limit) in limits {
        *figures.of_mut(*kind) = QuotaFigure {
            limit: NonZeroU64::new(*limit),
            enforcement,
        };
    }
    figures
}

const ENFORCED: Enforcement = Enforcement::Named(Mode::Enforce);

fn of_users(limits: &[(QuotaKind, u64)]) -> QuotaTable {
    QuotaTable {
        organisation: figures(&[], ENFORCED),
        user: figures(limits, ENFORCED),
        task_type: figures(&[], ENFORCED),
        ..QuotaTable::default()
    }
}

fn quotas(table: QuotaTable) -> Quotas {
    Quotas::new(
        &"acme".into(),
        Arc::new(table),
        Box::new(calendar),
        Monotonic(0),
    )
}

const CALL: QuotaAsk = QuotaAsk {
    usage: QuotaUse::Call,
    tokens: 10,
    context: 10,
    window: 100,
    caller: Caller::Asking,
};

impl Quotas {
    fn try_call(
        &mut self,
        path: &QuotaPath,
        ask: &QuotaAsk,
        nanos: u64,
    ) -> Result<QuotaHold, OverQuota> {
        let cleared = self.check(path, ask, at(nanos))?;
        Ok(self.commit(path, &cleared))
    }

    fn of_task(&mut self, user: &str, task: &str) -> QuotaPath {
        self.path(
            &user.into(),
            None,
            Some((&task.into(), false)),
            Monotonic(0),
        )
    }
}

/// One line a step: `<seconds> call|tool <user> <task>[/sub] [tokens]`, `<seconds> end <n>` ends the
/// nth that was taken.
fn check(limits: &[(QuotaKind, u64)], script: &str, expected: &Expect) {
    let mut quotas = quotas(of_users(limits));
    let mut holds = Vec::new();
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let nanos = words[0].parse::<u64>().unwrap() * SECOND;
        let answer = match words[1] {
            "end" => {
                let hold = holds.get_mut(words[2].parse::<usize>().unwrap());
                let hold: QuotaHold = Option::take(hold.unwrap()).unwrap();
                quotas.settle(hold, 10, Monotonic(nanos));
                "ended".to_owned()
            }
            "over" => quotas
                .end_task(&words[2].into(), &words[3].into())
                .to_string(),
            word => {
                let (task, sub) = words[3].split_once('/').unwrap_or((words[3], ""));
                let task: Arc<str> = task.into();
                let path = quotas.path(
                    &words[2].into(),
                    None,
                    Some((&task, !sub.is_empty())),
                    Monotonic(nanos),
                );
                let ask = QuotaAsk {
                    usage: if word == "tool" {
                        QuotaUse::Tool
                    } else {
                        QuotaUse::Call
                    },
                    tokens: words.get(4).map_or(10, |it| it.parse().unwrap()),
                    ..CALL
                };
                match quotas.try_call(&path, &ask, nanos) {
                    Ok(hold) => {
                        holds.push(Some(hold));
                        format!("taken as {}", holds.len() - 1)
                    }
                    Err(over) => {
                        let OverQuota {
                            scope,
                            kind,
                            used,
                            limit,
                            wait,
                            ..
                        } = over;
                        let wait = wait.map_or("never".to_owned(), |it| it.to_string());
                        format!("{scope}.{kind} {used} of {limit}: {wait}")
                    }
                }
            }
        };
        writeln!(told, "{line} → {answer}").unwrap();
    }
    expected.assert_eq(&told);
}

#[test]
fn rates_are_refilled_continuously() {
    check(
        &[(QuotaKind::CallRate, 2), (QuotaKind::ToolRate, 1)],
        "0 call ann t
         0 call ann t
         0 call ann t
         0 call ben t
         10 call ann t
         0 tool ann t
         29 tool ann t
         30 call ann t",
        &expect![[r#"
            0 call ann t → taken as 0
            0 call ann t → taken as 1
            0 call ann t → user.calls_per_minute 2 of 2: 30s
            0 call ben t → taken as 2
            10 call ann t → user.calls_per_minute 2 of 2: 20s
            0 tool ann t → taken as 3
            29 tool ann t → user.tools_per_minute 1 of 1: 31s
            30 call ann t → taken as 4
        "#]],
    );
}

#[test]
fn a_task_keeps_its_slot_until_it_was_idle_or_is_over() {
    check(
        &[(QuotaKind::TasksAtOnce, 1)],
        "0 call ann one
         1 call ann two
         5 end 0
         6 call ann two
         7 call ann one
         8 end 1
         13 call ann two
         17 call ann two
         18 call ann two
         69 over ann two
         70 over ann two
         70 call ann one",
        &expect![[r#"
            0 call ann one → taken as 0
            1 call ann two → user.tasks_at_once 1 of 1: until a call ends
            5 end 0 → ended
            6 call ann two → user.tasks_at_once 1 of 1: 9s
            7 call ann one → taken as 1
            8 end 1 → ended
            13 call ann two → user.tasks_at_once 1 of 1: 5s
            17 call ann two → user.tasks_at_once 1 of 1: 1s
            18 call ann two → taken as 2
            69 over ann two → true
            70 over ann two → false
            70 call ann one → taken as 3
        "#]],
    );
}

#[test]
fn of_many_idle_tasks_the_earliest_is_told_that_a_slot_can_be_free() {
    let table = QuotaTable {
        user: figures(
            &[(QuotaKind::TasksAtOnce, 5)],
            Enforcement::Named(Mode::Watch),
        ),
        ..of_users(&[])
    };
    let mut quotas = quotas(table);
    let mut begin = |task: u64| {
        let name: Arc<str> = format!("task-{task}").into();
        let path = quotas.path(
            &"ada".into(),
            None,
            Some((&name, false)),
            Monotonic(task * SECOND / 100),
        );
        let nanos = task * SECOND / 100;
        let cleared = quotas.check(&path, &CALL, at(nanos)).unwrap();
        let hold = quotas.commit(&path, &cleared);
        quotas.settle(hold, 10, Monotonic(nanos));
        (
            cleared.watched_first.map(|it| (it.used, it.wait)),
            quotas.tasks.active(),
        )
    };
    let mut told = Vec::new();
    for task in 0..1_100 {
        let (over, active) = begin(task);
        if [4, 5, 68, 69, 900, 1_099].contains(&task) {
            told.push((task, over, active));
        }
    }
    let left = |millis| Duration::from_millis(millis);
    let after = |used, wait| Some((used, Some(wait)));
    assert_eq!(
        told,
        [
            (4, None, 5),
            // The first of five became idle 50 ms ago, and holds its slot for ten seconds.
            (5, after(5, Wait::For(left(9_950))), 6),
            // 64 slots are lacking: that of the last of them frees the first.
            (68, after(68, Wait::For(left(9_950))), 69),
            // How long it takes until more are free is not looked for: longer than for the first.
            (
                69,
                after(
                    69,
                    Wait::Freed {
                        at_least: left(9_310)
                    }
                ),
                70
            ),
            (
                900,
                after(
                    900,
                    Wait::Freed {
                        at_least: left(1_000)
                    }
                ),
                901
            ),
            // Slots of those that were idle for ten seconds are free.
            (1_099, after(999, Wait::Freed { at_least: left(10) }), 1_000),
        ]
    );
}

#[test]
fn subtasks_wait_for_no_slot_and_count_as_no_task() {
    check(
        &[
            (QuotaKind::TasksAtOnce, 1),
            (QuotaKind::TaskRate, 2),
            (QuotaKind::TasksPerDay, 2),
        ],
        "0 call ann one
         0 call ann one/sub
         0 call ann one/other
         0 end 0
         0 end 1
         0 end 2
         70 call ann two
         71 call ann one/sub
         72 call ann one
         73 call ann three/sub
         74 call ben one",
        &expect![[r#"
            0 call ann one → taken as 0
            0 call ann one/sub → taken as 1
            0 call ann one/other → taken as 2
            0 end 0 → ended
            0 end 1 → ended
            0 end 2 → ended
            70 call ann two → taken as 3
            71 call ann one/sub → taken as 4
            72 call ann one → user.tasks_at_once 1 of 1: until a call ends
            73 call ann three/sub → user.tasks_per_day 2 of 2: until a call ends, at least 86327s
            74 call ben one → taken as 5
        "#]],
    );
}

#[test]
fn volumes_hold_what_is_expected_and_count_by_the_calendar() {
    check(
        &[(QuotaKind::TokensPerMonth, 100)],
        "0 call ann t 60
         0 call ann t 60
         0 call ann t 101
         1 end 0
         2 call ann t 90
         3 call ann t 1
         2592000 call ann t 100
         2592001 end 1",
        &expect![[r#"
            0 call ann t 60 → taken as 0
            0 call ann t 60 → user.tokens_per_month 60 of 100: until a call ends
            0 call ann t 101 → user.tokens_per_month 60 of 100: never
            1 end 0 → ended
            2 call ann t 90 → taken as 1
            3 call ann t 1 → user.tokens_per_month 100 of 100: until a call ends
            2592000 call ann t 100 → taken as 2
            2592001 end 1 → ended
        "#]],
    );
}

#[test]
fn what_a_call_had_more_than_expected_is_booked_in_full() {
    let mut quotas = quotas(of_users(&[(QuotaKind::TokensPerMonth, 100)]));
    let path = quotas.of_task("ann", "t");
    let hold = quotas.try_call(&path, &CALL, 0).unwrap();
    quotas.settle(hold, 500, Monotonic(1));
    let over = quotas.try_call(&path, &CALL, 2).unwrap_err();
    assert_eq!((over.used, over.limit), (500, 100));
    let month = Duration::from_hours(30 * 24) - Duration::from_nanos(2);
    assert_eq!(over.wait, Some(Wait::For(month)));
}

#[test]
fn a_released_call_gives_everything_back() {
    let limits = [
        (QuotaKind::CallRate, 1),
        (QuotaKind::CallsAtOnce, 1),
        (QuotaKind::TokensPerMonth, 10),
    ];
    let mut quotas = quotas(of_users(&limits));
    let path = quotas.of_task("ann", "t");
    for _ in 0..5 {
        let hold = quotas.try_call(&path, &CALL, SECOND).unwrap();
        quotas.release(hold, Monotonic(SECOND));
    }
}

#[test]
fn a_clock_that_steps_back_opens_no_old_window() {
    let mut quotas = quotas(of_users(&[(QuotaKind::TokensPerMonth, 10)]));
    let path = quotas.of_task("ann", "t");
    let in_month = |month: u64| (Monotonic(0), Timestamp(month * 30 * DAY));
    let cleared = quotas.check(&path, &CALL, in_month(5)).unwrap();
    let hold = quotas.commit(&path, &cleared);
    quotas.settle(hold, 10, Monotonic(0));
    quotas.check(&path, &CALL, in_month(4)).unwrap_err();
    let _next = quotas.check(&path, &CALL, in_month(6)).unwrap();
}

#[test]
fn sizes_bind_or_are_told() {
    let limits = [
        (QuotaKind::Context, 50),
        (QuotaKind::Output, 7),
        (QuotaKind::TaskTime, 60),
    ];
    let mut table = of_users(&limits);
    let mut quotas_ = quotas(table.clone());
    let path = quotas_.of_task("ann", "t");
    let large = QuotaAsk {
        context: 101,
        ..CALL
    };
    let over = quotas_.check(&path, &large, at(0)).unwrap_err();
    // The model's window of 100 is larger than the limit.
    assert_eq!((over.kind, over.wait), (QuotaKind::Context, None));
    let fits = QuotaAsk {
        context: 100,
        ..CALL
    };
    let cleared = quotas_.check(&path, &fits, at(0)).unwrap();
    assert_eq!(
        (cleared.sizes.output.at, cleared.sizes.output_watched.at),
        (7, u64::MAX)
    );
    assert_eq!(cleared.sizes.time.at, Duration::from_mins(1));
    let hold = quotas_.commit(&path, &cleared);
    let later = quotas_.check(&path, &fits, at(20 * SECOND)).unwrap();
    assert_eq!(later.sizes.time.at, Duration::from_secs(40));
    quotas_.settle(hold, 0, Monotonic(30 * SECOND));
    let idle = quotas_.check(&path, &fits, at(90 * SECOND)).unwrap();
    assert_eq!(idle.sizes.time.at, Duration::from_secs(30));
    let hold = quotas_.commit(&path, &idle);
    quotas_.settle(hold, 0, Monotonic(120 * SECOND));
    let over = quotas_.check(&path, &fits, at(121 * SECOND)).unwrap_err();
    assert_eq!((over.kind, over.wait), (QuotaKind::TaskTime, None));

    table.user = figures(&limits, Enforcement::BuiltIn);
    let mut watched = quotas(table);
    let path = watched.of_task("ann", "t");
    let keyless = QuotaAsk {
        caller: Caller::Keyless,
        ..large
    };
    let cleared = watched.check(&path, &keyless, at(0)).unwrap();
    let told: Vec<_> = cleared.watched.iter().collect();
    assert_eq!(told, [(QuotaScope::User, QuotaKind::Context)]);
    assert_eq!(
        (cleared.sizes.output.at, cleared.sizes.output_watched.at),
        (u64::MAX, 7)
    );
}

#[test]
fn the_narrowest_figures_apply_and_one_refusal_refuses() {
    let mut table = of_users(&[(QuotaKind::CallsAtOnce, 5)]);
    let mut review = figures(&[(QuotaKind::CallsAtOnce, 1)], ENFORCED);
    review.on_excess = OnExcess::Refuse;
    table.task_types.insert("review".into(), review);
    let own = OrganisationQuotas {
        organisation: figures(&[(QuotaKind::CallsAtOnce, 1)], ENFORCED),
        user: QuotaFigures::BUILT_IN,
        users: BTreeMap::new(),
    };
    table.organisations.insert("acme".into(), own);
    let mut quotas = quotas(table);
    let path = quotas.path(&"ann".into(), Some(&"review".into()), None, Monotonic(0));
    let _hold = quotas.try_call(&path, &CALL, 0).unwrap();
    let over = quotas.try_call(&path, &CALL, 0).unwrap_err();
    assert_eq!(
        (over.scope, over.on_excess),
        (QuotaScope::Organisation, OnExcess::Refuse)
    );
    assert!(!over.on_excess.queues());
}

#[test]
fn other_figures_keep_what_is_used_and_held() {
    let mut quotas = quotas(of_users(&[
        (QuotaKind::CallRate, 10),
        (QuotaKind::CallsAtOnce, 9),
    ]));
    let path = quotas.of_task("ann", "t");
    let holds: Vec<_> = (0..8)
        .map(|_| quotas.try_call(&path, &CALL, 0).unwrap())
        .collect();
    let lower = of_users(&[(QuotaKind::CallRate, 4), (QuotaKind::CallsAtOnce, 3)]);
    quotas.set_table(Arc::new(lower), Box::new(calendar), Monotonic(0));
    let over = quotas.try_call(&path, &CALL, 0).unwrap_err();
    assert_eq!(
        (over.kind, over.used, over.limit),
        (QuotaKind::CallsAtOnce, 8, 3)
    );
    for hold in holds {
        quotas.settle(hold, 0, Monotonic(0));
    }
    assert!(quotas.try_call(&path, &CALL, 60 * SECOND).is_ok());
}

#[test]
fn counts_survive_a_restart() {
    let limits = [
        (QuotaKind::CallRate, 2),
        (QuotaKind::TokensPerMonth, 30),
        (QuotaKind::TasksPerDay, 1),
    ];
    let mut before = quotas(of_users(&limits));
    let path = before.of_task("ann", "one");
    let _running = before.try_call(&path, &CALL, 0).unwrap();
    let saved = before.export_changed(Monotonic(0));
    let mut after = quotas(of_users(&limits));
    for it in &saved {
        after.restore(it, Duration::from_secs(3), Monotonic(0));
    }
    assert!(after.knows(QuotaScope::User, "ann"));
    after.debit((QuotaScope::User, &"ann".into()), (1, 11), at(0));
    let used: Vec<_> = after
        .views(at(0))
        .iter()
        .map(|it| (it.kind, it.used))
        .collect();
    expect![[r#"
        [
            (
                CallRate,
                2,
            ),
            (
                TasksPerDay,
                1,
            ),
            (
                TokensPerMonth,
                21,
            ),
        ]
    "#]]
    .assert_debug_eq(&used);
}
