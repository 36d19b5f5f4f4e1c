use std::collections::BTreeMap;

use expect_test::Expect;
use jiff::tz::TimeZone;
use tidegate_types::{Enforcement, Mode};

use super::*;
use crate::{Limit, LimitTable};

mod limits;
mod promises;
mod spending;
mod windows;

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

impl Desk {
    fn new(zone: &str) -> Self {
        let table = LimitTable::unlimited();
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
                let hold = self.books.commit(&path, &cleared);
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
            ["headroom"] => {
                match self
                    .books
                    .headroom(self.path.as_ref().unwrap(), Caller::Asking, self.now)
                {
                    Some(it) => format!("{} left of {} on {}", it.left, it.limit, it.level),
                    None => "nothing binds".to_owned(),
                }
            }
            ["spending"] => {
                let path = self.path.as_ref().unwrap();
                match self.books.spending(path, Caller::Asking, self.now) {
                    Some(it) => format!("{} of {} on {}", it.spent, it.limit, it.level),
                    None => "nothing to show".to_owned(),
                }
            }
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
