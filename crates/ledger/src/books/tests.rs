use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use tidegate_types::{Enforcement, Mode};

use super::*;
use crate::{Limit, LimitTable};

mod promises;

const TASK: &str = "t1";

/// Books, what they hold under short names, and the time.
struct Desk {
    books: Books,
    table: LimitTable,
    zone: TimeZone,
    holds: BTreeMap<String, Hold>,
    path: Option<Path>,
    now: Timestamp,
}

fn at(text: &str) -> Timestamp {
    let instant: jiff::Timestamp = text.parse().unwrap();
    Timestamp(u64::try_from(instant.as_nanosecond()).unwrap())
}

fn unlimited() -> LimitTable {
    let mut table = LimitTable::default();
    let all = &mut table.defaults;
    for limit in [
        &mut all.organisation,
        &mut all.user_month,
        &mut all.user_day,
        &mut all.llm,
        &mut all.tools,
        &mut all.infrastructure,
        &mut all.task,
    ] {
        limit.soft = None;
        limit.hard = None;
    }
    table
}

impl Desk {
    fn new(zone: &str) -> Self {
        let table = unlimited();
        let zone = TimeZone::get(zone).unwrap();
        let policy = BudgetPolicy::try_new(zone.clone(), BTreeMap::new(), table.clone());
        Self {
            books: Books::new("acme", Arc::new(policy.unwrap())),
            table,
            zone,
            holds: BTreeMap::new(),
            path: None,
            now: at("2026-07-14T10:00:00Z"),
        }
    }

    fn limit(&mut self, words: &[&str]) -> String {
        let money = |name: &str| {
            let at = words.iter().position(|it| *it == name)?;
            Some(words[at + 1].parse::<NanoUsd>().unwrap())
        };
        let enforcement = match words {
            [.., "watch"] => Enforcement::Named(Mode::Watch),
            [.., "builtin"] => Enforcement::BuiltIn,
            _ => Enforcement::Named(Mode::Enforce),
        };
        let limit = Limit {
            soft: money("soft"),
            hard: money("hard"),
            overage_allowed: words.contains(&"overage"),
            enforcement,
        };
        let all = &mut self.table.defaults;
        *match words[0] {
            "organisation" => &mut all.organisation,
            "user_month" => &mut all.user_month,
            "user_day" => &mut all.user_day,
            "llm" => &mut all.llm,
            _ => &mut all.task,
        } = limit;
        self.put_policy()
    }

    fn put_policy(&mut self) -> String {
        let policy = BudgetPolicy::try_new(self.zone.clone(), BTreeMap::new(), self.table.clone());
        self.books.set_policy(Arc::new(policy.unwrap()));
        "in force".to_owned()
    }

    fn resolve(&mut self, who: &str) {
        let (user, task) = match who.split_once('/') {
            Some((user, task)) => (user, Some(task)),
            None => (who, None),
        };
        let path = self.books.path(user, task, Service::Llm, self.now);
        for key in self.books.missing_balances(path.entry()) {
            assert!(self.books.load(&key, Balance::default()));
        }
        self.path = Some(path);
    }

    fn reserve(&mut self, name: &str, amounts: &[&str], caller: Caller) -> String {
        let money = |text: &&str| text.parse::<NanoUsd>().unwrap();
        let ask = MoneyAsk {
            bound: money(&amounts[0]),
            expected: amounts.get(1).map_or(NanoUsd::ZERO, money),
            caller,
        };
        let path = self.path.clone().expect("resolved");
        match self.books.check(&path, &ask, self.now) {
            MoneyCheck::Stale => "stale".to_owned(),
            MoneyCheck::Refused(it) => refusal(&it),
            MoneyCheck::Clear(cleared) => {
                let shown = clearance(&cleared);
                let hold = self.books.commit(&path, cleared);
                self.holds.insert(name.to_owned(), hold);
                shown
            }
        }
    }

    fn run(&mut self, line: &str) -> String {
        let words: Vec<&str> = line.split_whitespace().collect();
        let money = |text: &str| text.parse::<NanoUsd>().unwrap();
        match *words.as_slice() {
            ["limit", ref limit @ ..] => self.limit(limit),
            ["zone", name] => {
                self.zone = TimeZone::get(name).unwrap();
                self.put_policy()
            }
            ["at", time] => {
                self.now = at(time);
                String::new()
            }
            ["path", who] => {
                self.resolve(who);
                String::new()
            }
            ["reserve", name, ref amounts @ ..] => self.reserve(name, amounts, Caller::Asking),
            ["keyless", name, ref amounts @ ..] => self.reserve(name, amounts, Caller::Keyless),
            ["extend", name, by] => {
                let hold = self.holds.get_mut(name).unwrap();
                match self.books.extend(hold, money(by), Caller::Asking) {
                    Ok(cleared) => clearance(&cleared),
                    Err(it) => refusal(&it),
                }
            }
            ["settle", name, cost] => {
                let hold = self.holds.remove(name).unwrap();
                settled(&self.books.settle(hold, money(cost), money(cost)))
            }
            ["release", name] => {
                self.books.release(self.holds.remove(name).unwrap());
                "released".to_owned()
            }
            ["headroom"] => match self
                .books
                .headroom(self.path.as_ref().unwrap(), Caller::Asking)
            {
                Some(it) => format!("{} left of {} on {}", it.left, it.limit, it.level),
                None => "nothing binds".to_owned(),
            },
            ["evict", idle_since] => {
                let gone = self.books.evict(self.now, at(idle_since));
                format!("{gone} gone")
            }
            ["levels"] => self.levels(),
            _ => panic!("`{line}`"),
        }
    }

    fn levels(&self) -> String {
        let mut shown = Vec::new();
        for it in self.books.levels(|_| true) {
            let soft = if it.soft_passed { ", soft passed" } else { "" };
            shown.push(format!(
                "\n    {}: spent {}, held {}",
                it.key, it.spent, it.held
            ));
            shown.push(format!(", would refuse {}{soft}", it.would_refuse));
        }
        shown.concat()
    }
}

fn refusal(it: &Shortage) -> String {
    let reset = it.resets_at.map_or("never".to_owned(), |it| {
        let nanos = i128::from(it.0);
        jiff::Timestamp::from_nanosecond(nanos).unwrap().to_string()
    });
    format!(
        "refused by {}: limit {}, spent {}, held {}, asked {}, resets {reset}",
        it.level, it.limit, it.spent, it.held, it.asked
    )
}

fn clearance(it: &ClearedMoney) -> String {
    let names = |set: Levels| {
        let kinds = LevelKind::ALL
            .into_iter()
            .filter(|kind| kind.place() != 3 || *kind == LevelKind::Service(Service::Llm));
        let words: Vec<_> = kinds
            .filter(|kind| set.contains(*kind))
            .map(LevelKind::word)
            .collect();
        words.join("+")
    };
    let mut shown = vec!["held".to_owned()];
    for (what, set) in [
        ("past soft", it.soft_passed),
        ("would refuse", it.would_refuse),
        ("overage", it.overage),
        ("bound by", it.enforced),
    ] {
        if !set.is_empty() {
            shown.push(format!("; {what} {}", names(set)));
        }
    }
    if let Some(watched) = &it.watched {
        shown.push(format!("; as {}", refusal(watched)));
    }
    shown.concat()
}

fn settled(it: &SettledMoney) -> String {
    let mut shown = vec![format!("cost {}", it.cost)];
    if !it.overrun.is_zero() {
        shown.push(format!(", overrun {}", it.overrun));
    }
    for crossing in &it.crossed {
        shown.push(format!(", {} at {} %", crossing.level, crossing.percent));
    }
    shown.concat()
}

/// Runs a script and shows what each line answers.
fn check(script: &str, expected: Expect) {
    let mut desk = Desk::new("UTC");
    desk.resolve(&format!("ann/{TASK}"));
    let mut shown = Vec::new();
    for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
        let answer = desk.run(line);
        let arrow = if answer.is_empty() { "" } else { " -> " };
        shown.push(format!("{line}{arrow}{answer}\n"));
    }
    expected.assert_eq(&shown.concat());
}

#[test]
fn a_hard_limit_counts_what_is_settled_and_every_bound_that_is_held() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 3
        reserve b 2.000000001
        reserve b 2
        headroom
        settle a 1
        headroom
        reserve c 2.000000001
        reserve c 2
        release b
        settle c 2
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 3 -> held; bound by task
            reserve b 2.000000001 -> refused by task: limit $5.00, spent $0.00, held $3.00, asked $2.000000001, resets never
            reserve b 2 -> held; bound by task
            headroom -> $0.00 left of $5.00 on task
            settle a 1 -> cost $1.00
            headroom -> $2.00 left of $5.00 on task
            reserve c 2.000000001 -> refused by task: limit $5.00, spent $1.00, held $2.00, asked $2.000000001, resets never
            reserve c 2 -> held; bound by task
            release b -> released
            settle c 2 -> cost $2.00, task at 50 %
            levels -> 
                organisation acme 2026-07-01: spent $3.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $3.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $3.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $3.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $3.00, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn levels_are_checked_in_the_order_of_the_specification() {
    check(
        "
        limit organisation hard 4
        limit user_month hard 3
        limit user_day hard 2
        limit llm hard 2
        limit task hard 1
        path ann/t1
        reserve a 4.5
        reserve a 3.5
        reserve a 2.5
        reserve a 1.5
        headroom
        limit user_day hard 9
        path ann/t1
        reserve a 2.5
        ",
        expect![[r#"
            limit organisation hard 4 -> in force
            limit user_month hard 3 -> in force
            limit user_day hard 2 -> in force
            limit llm hard 2 -> in force
            limit task hard 1 -> in force
            path ann/t1
            reserve a 4.5 -> refused by organisation: limit $4.00, spent $0.00, held $0.00, asked $4.50, resets 2026-08-01T00:00:00Z
            reserve a 3.5 -> refused by user_month: limit $3.00, spent $0.00, held $0.00, asked $3.50, resets 2026-08-01T00:00:00Z
            reserve a 2.5 -> refused by user_day: limit $2.00, spent $0.00, held $0.00, asked $2.50, resets 2026-07-15T00:00:00Z
            reserve a 1.5 -> refused by task: limit $1.00, spent $0.00, held $0.00, asked $1.50, resets never
            headroom -> $1.00 left of $1.00 on task
            limit user_day hard 9 -> in force
            path ann/t1
            reserve a 2.5 -> refused by llm: limit $2.00, spent $0.00, held $0.00, asked $2.50, resets 2026-08-01T00:00:00Z
        "#]],
    );
}

#[test]
fn a_soft_limit_counts_what_is_settled_and_expected_and_refuses_nothing() {
    check(
        "
        limit task soft 1 hard 5
        path ann/t1
        reserve a 2 0.40
        reserve b 2 0.60
        reserve c 0.5 0.01
        settle b 0.2
        settle c 0
        reserve d 0.5 0.2
        reserve e 0.5 0.21
        ",
        expect![[r#"
            limit task soft 1 hard 5 -> in force
            path ann/t1
            reserve a 2 0.40 -> held; bound by task
            reserve b 2 0.60 -> held; bound by task
            reserve c 0.5 0.01 -> held; past soft task; bound by task
            settle b 0.2 -> cost $0.20
            settle c 0 -> cost $0.00
            reserve d 0.5 0.2 -> held; bound by task
            reserve e 0.5 0.21 -> held; past soft task; bound by task
        "#]],
    );
}

#[test]
fn a_watched_limit_refuses_nothing_and_counts_what_it_would_have() {
    check(
        "
        limit user_day hard 3 watch
        limit task hard 1 builtin
        path ann/t1
        reserve a 2
        keyless a 2
        keyless b 2
        keyless c 0.5
        headroom
        levels
        ",
        expect![[r#"
            limit user_day hard 3 watch -> in force
            limit task hard 1 builtin -> in force
            path ann/t1
            reserve a 2 -> refused by task: limit $1.00, spent $0.00, held $0.00, asked $2.00, resets never
            keyless a 2 -> held; would refuse task; as refused by task: limit $1.00, spent $0.00, held $0.00, asked $2.00, resets never
            keyless b 2 -> held; would refuse user_day+task; as refused by user_day: limit $3.00, spent $0.00, held $2.00, asked $2.00, resets 2026-07-15T00:00:00Z
            keyless c 0.5 -> held; would refuse user_day+task; as refused by user_day: limit $3.00, spent $0.00, held $4.00, asked $0.50, resets 2026-07-15T00:00:00Z
            headroom -> $0.00 left of $1.00 on task
            levels -> 
                organisation acme 2026-07-01: spent $0.00, held $4.50, would refuse 0
                user_month acme/ann 2026-07-01: spent $0.00, held $4.50, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $4.50, would refuse 2
                llm acme 2026-07-01: spent $0.00, held $4.50, would refuse 0
                task acme/ann/t1: spent $0.00, held $4.50, would refuse 3
        "#]],
    );
}

#[test]
fn allowed_overage_passes_with_a_warning() {
    check(
        "
        limit organisation hard 1 overage
        path ann/t1
        reserve a 2
        headroom
        ",
        expect![[r#"
            limit organisation hard 1 overage -> in force
            path ann/t1
            reserve a 2 -> held; overage organisation
            headroom -> nothing binds
        "#]],
    );
}

#[test]
fn a_cost_above_the_hold_is_booked_in_full_and_lowers_what_is_left() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 1
        settle a 6
        headroom
        reserve b 0.000000001
        reserve free 0
        settle free 0
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 1 -> held; bound by task
            settle a 6 -> cost $6.00, overrun $5.00, task at 100 %
            headroom -> $0.00 left of $5.00 on task
            reserve b 0.000000001 -> refused by task: limit $5.00, spent $6.00, held $0.00, asked $0.000000001, resets never
            reserve free 0 -> held; bound by task
            settle free 0 -> cost $0.00
            levels -> 
                organisation acme 2026-07-01: spent $6.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $6.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $6.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $6.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $6.00, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_settlement_names_the_highest_threshold_it_reached() {
    check(
        "
        limit task hard 10
        limit user_day hard 20
        path ann/t1
        reserve a 5
        settle a 4.999999999
        reserve a 5
        settle a 0.000000001
        reserve a 5
        settle a 4
        reserve a 1
        settle a 2
        ",
        expect![[r#"
            limit task hard 10 -> in force
            limit user_day hard 20 -> in force
            path ann/t1
            reserve a 5 -> held; bound by user_day+task
            settle a 4.999999999 -> cost $4.999999999
            reserve a 5 -> held; bound by user_day+task
            settle a 0.000000001 -> cost $0.000000001, task at 50 %
            reserve a 5 -> held; bound by user_day+task
            settle a 4 -> cost $4.00, task at 90 %
            reserve a 1 -> held; bound by user_day+task
            settle a 2 -> cost $2.00, overrun $1.00, user_day at 50 %, task at 100 %
        "#]],
    );
}

#[test]
fn an_extension_is_checked_like_a_reservation_and_leaves_the_hold_where_it_is_refused() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 3
        extend a 1
        extend a 1.000000001
        extend a 1
        levels
        settle a 4.5
        levels
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 3 -> held; bound by task
            extend a 1 -> held; bound by task
            extend a 1.000000001 -> refused by task: limit $5.00, spent $0.00, held $4.00, asked $1.000000001, resets never
            extend a 1 -> held; bound by task
            levels -> 
                organisation acme 2026-07-01: spent $0.00, held $5.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $0.00, held $5.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $5.00, would refuse 0
                llm acme 2026-07-01: spent $0.00, held $5.00, would refuse 0
                task acme/ann/t1: spent $0.00, held $5.00, would refuse 0
            settle a 4.5 -> cost $4.50, task at 90 %
            levels -> 
                organisation acme 2026-07-01: spent $4.50, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $4.50, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $4.50, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $4.50, held $0.00, would refuse 0
                task acme/ann/t1: spent $4.50, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_call_belongs_to_the_windows_of_its_reservation_for_good() {
    check(
        "
        limit user_day hard 5
        at 2026-07-31T23:59:59.999999999Z
        path ann
        reserve a 3
        at 2026-08-01T00:00:00Z
        reserve b 3
        path ann
        reserve b 3
        extend a 2
        settle a 4
        levels
        evict 2026-07-01T00:00:00Z
        levels
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-31T23:59:59.999999999Z
            path ann
            reserve a 3 -> held; bound by user_day
            at 2026-08-01T00:00:00Z
            reserve b 3 -> stale
            path ann
            reserve b 3 -> held; bound by user_day
            extend a 2 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            levels -> 
                organisation acme 2026-07-01: spent $4.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $4.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $0.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $4.00, held $0.00, would refuse 0
                task acme/ann/t1: spent $0.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-31: spent $4.00, held $0.00, would refuse 0
                organisation acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_month acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_day acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                llm acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
            evict 2026-07-01T00:00:00Z -> 5 gone
            levels -> 
                task acme/ann/t1: spent $0.00, held $0.00, would refuse 0
                organisation acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_month acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                user_day acme/ann 2026-08-01: spent $0.00, held $3.00, would refuse 0
                llm acme 2026-08-01: spent $0.00, held $3.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_clock_that_steps_back_opens_no_window_that_is_closed() {
    check(
        "
        limit user_day hard 5
        at 2026-07-14T23:00:00Z
        path ann
        reserve a 5
        at 2026-07-15T00:00:00Z
        path ann
        reserve b 5
        at 2026-07-14T23:00:00Z
        reserve c 0.01
        path ann
        reserve c 0.01
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-14T23:00:00Z
            path ann
            reserve a 5 -> held; bound by user_day
            at 2026-07-15T00:00:00Z
            path ann
            reserve b 5 -> held; bound by user_day
            at 2026-07-14T23:00:00Z
            reserve c 0.01 -> refused by user_day: limit $5.00, spent $0.00, held $5.00, asked $0.01, resets 2026-07-16T00:00:00Z
            path ann
            reserve c 0.01 -> refused by user_day: limit $5.00, spent $0.00, held $5.00, asked $0.01, resets 2026-07-16T00:00:00Z
        "#]],
    );
}

#[test]
fn what_is_spent_stays_spent_when_the_zone_is_corrected() {
    check(
        "
        limit user_day hard 5
        at 2026-07-14T12:00:00Z
        path ann
        reserve a 4
        settle a 4
        zone America/New_York
        reserve b 2
        path ann
        reserve b 2
        at 2026-07-15T03:59:59Z
        reserve b 2
        at 2026-07-15T04:00:00Z
        path ann
        reserve b 2
        zone Asia/Kolkata
        path ann
        zone America/New_York
        path ann
        reserve c 4
        ",
        expect![[r#"
            limit user_day hard 5 -> in force
            at 2026-07-14T12:00:00Z
            path ann
            reserve a 4 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            zone America/New_York -> in force
            reserve b 2 -> stale
            path ann
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-15T04:00:00Z
            at 2026-07-15T03:59:59Z
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-15T04:00:00Z
            at 2026-07-15T04:00:00Z
            path ann
            reserve b 2 -> held; bound by user_day
            zone Asia/Kolkata -> in force
            path ann
            zone America/New_York -> in force
            path ann
            reserve c 4 -> refused by user_day: limit $5.00, spent $0.00, held $2.00, asked $4.00, resets 2026-07-16T04:00:00Z
        "#]],
    );
}

#[test]
fn a_zone_further_west_does_not_open_the_day_before() {
    check(
        "
        zone Asia/Kolkata
        limit user_day hard 5
        at 2026-07-14T20:00:00Z
        path ann
        reserve a 4
        settle a 4
        zone America/New_York
        path ann
        reserve b 2
        at 2026-07-16T03:59:59Z
        reserve b 2
        at 2026-07-16T04:00:00Z
        path ann
        reserve b 2
        ",
        expect![[r#"
            zone Asia/Kolkata -> in force
            limit user_day hard 5 -> in force
            at 2026-07-14T20:00:00Z
            path ann
            reserve a 4 -> held; bound by user_day
            settle a 4 -> cost $4.00, user_day at 80 %
            zone America/New_York -> in force
            path ann
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-16T04:00:00Z
            at 2026-07-16T03:59:59Z
            reserve b 2 -> refused by user_day: limit $5.00, spent $4.00, held $0.00, asked $2.00, resets 2026-07-16T04:00:00Z
            at 2026-07-16T04:00:00Z
            path ann
            reserve b 2 -> held; bound by user_day
        "#]],
    );
}

#[test]
fn other_limits_apply_at_once_and_to_what_is_held() {
    check(
        "
        limit task hard 5
        path ann/t1
        reserve a 4
        limit task hard 3
        reserve b 1
        path ann/t1
        reserve b 1
        headroom
        limit task hard 6
        path ann/t1
        reserve b 1
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/t1
            reserve a 4 -> held; bound by task
            limit task hard 3 -> in force
            reserve b 1 -> stale
            path ann/t1
            reserve b 1 -> refused by task: limit $3.00, spent $0.00, held $4.00, asked $1.00, resets never
            headroom -> $0.00 left of $3.00 on task
            limit task hard 6 -> in force
            path ann/t1
            reserve b 1 -> held; bound by task
        "#]],
    );
}

#[test]
fn an_idle_task_is_forgotten_and_one_with_an_open_call_is_not() {
    check(
        "
        limit task hard 5
        path ann/old
        reserve a 1
        path ann/held
        reserve b 0
        settle a 1
        at 2026-07-14T12:00:00Z
        path ann/new
        reserve c 1
        settle c 1
        evict 2026-07-14T11:00:00Z
        levels
        reserve d 1
        path ann/new
        reserve d 1
        ",
        expect![[r#"
            limit task hard 5 -> in force
            path ann/old
            reserve a 1 -> held; bound by task
            path ann/held
            reserve b 0 -> held; bound by task
            settle a 1 -> cost $1.00
            at 2026-07-14T12:00:00Z
            path ann/new
            reserve c 1 -> held; bound by task
            settle c 1 -> cost $1.00
            evict 2026-07-14T11:00:00Z -> 2 gone
            levels -> 
                organisation acme 2026-07-01: spent $2.00, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $2.00, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $2.00, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $2.00, held $0.00, would refuse 0
                task acme/ann/held: spent $0.00, held $0.00, would refuse 0
                task acme/ann/new: spent $1.00, held $0.00, would refuse 0
            reserve d 1 -> stale
            path ann/new
            reserve d 1 -> held; bound by task
        "#]],
    );
}

#[test]
fn amounts_that_64_bits_cannot_account_for_are_refused_also_without_a_limit() {
    check(
        "
        path ann/t1
        reserve a 18446744073
        reserve b 18446744073
        settle a 18446744073.709551615
        reserve b 0.000000001
        levels
        ",
        expect![[r#"
            path ann/t1
            reserve a 18446744073 -> held
            reserve b 18446744073 -> refused by organisation: limit $18446744073.709551615, spent $0.00, held $18446744073.00, asked $18446744073.00, resets 2026-08-01T00:00:00Z
            settle a 18446744073.709551615 -> cost $18446744073.709551615, overrun $0.709551615
            reserve b 0.000000001 -> refused by organisation: limit $18446744073.709551615, spent $18446744073.709551615, held $0.00, asked $0.000000001, resets 2026-08-01T00:00:00Z
            levels -> 
                organisation acme 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                user_month acme/ann 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                user_day acme/ann 2026-07-14: spent $18446744073.709551615, held $0.00, would refuse 0
                llm acme 2026-07-01: spent $18446744073.709551615, held $0.00, would refuse 0
                task acme/ann/t1: spent $18446744073.709551615, held $0.00, would refuse 0
        "#]],
    );
}

#[test]
fn a_balance_that_was_never_loaded_makes_the_path_stale() {
    let policy = BudgetPolicy::built_in(TimeZone::UTC);
    let mut books = Books::new("acme", Arc::new(policy));
    let now = at("2026-07-14T10:00:00Z");
    let path = books.path("ann", Some(TASK), Service::Llm, now);
    let ask = MoneyAsk {
        bound: NanoUsd(1),
        expected: NanoUsd(1),
        caller: Caller::Asking,
    };
    let missing = books.missing_balances(path.entry());
    assert_eq!(missing.len(), 5);
    for key in &missing {
        assert_eq!(books.check(&path, &ask, now), MoneyCheck::Stale, "{key}");
        assert!(books.load(key, Balance::default()));
    }
    assert!(matches!(
        books.check(&path, &ask, now),
        MoneyCheck::Clear(_)
    ));
    assert!(
        !books.load(&missing[0], Balance::default()),
        "known already"
    );
}

#[test]
fn an_adopted_reservation_goes_on_where_the_earlier_run_left_it() {
    let mut table = unlimited();
    table.defaults.task.hard = Some(NanoUsd(100));
    let policy = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap();
    let mut books = Books::new("acme", Arc::new(policy));
    let now = at("2026-07-14T10:00:00Z");
    let path = books.path("ann", Some(TASK), Service::Llm, now);
    let missing = books
        .adopt(path.entry(), NanoUsd(60), Levels::NONE)
        .unwrap_err();
    let stored = Balance {
        spent: NanoUsd(30),
        held: NanoUsd(60),
        ..Balance::default()
    };
    for key in &missing {
        books.load(key, stored);
    }
    let hold = books
        .adopt(path.entry(), NanoUsd(60), Levels::NONE)
        .unwrap();
    let left = |books: &Books| books.headroom(&path, Caller::Asking).unwrap().left;
    assert_eq!(left(&books), NanoUsd(10));
    assert_eq!(books.evict(now, Timestamp(u64::MAX)), 0);
    books.settle(hold, NanoUsd(20), NanoUsd(20));
    assert_eq!(left(&books), NanoUsd(50));
    books.correct(path.entry(), NanoUsd(20), NanoUsd(5));
    assert_eq!(left(&books), NanoUsd(65));
}

#[test]
fn the_latest_time_of_the_durable_ledger_keeps_older_windows_closed() {
    let policy = BudgetPolicy::built_in(TimeZone::UTC);
    let mut books = Books::new("acme", Arc::new(policy));
    books.not_before(at("2026-08-01T00:00:00Z"));
    let path = books.path("ann", None, Service::Llm, at("2026-07-31T23:00:00Z"));
    assert_eq!(path.entry().month.opens.to_string(), "2026-08-01");
}
