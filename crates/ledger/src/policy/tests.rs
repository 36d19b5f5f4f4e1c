use expect_test::expect;
use tidegate_types::{Caller, Mode};

use super::*;

fn key(kind: LevelKind, user: Option<&str>, task: Option<&str>) -> LevelKey {
    LevelKey {
        kind,
        organisation: "acme".into(),
        user: user.map(Into::into),
        task: task.map(Into::into),
        opens: None,
    }
}

fn hard(dollars: u64) -> Limit {
    Limit::built_in(NanoUsd::from_usd(dollars))
}

fn acme(organisation: OrganisationLimits) -> LimitTable {
    LimitTable {
        organisations: [("acme".to_owned(), organisation)].into(),
        ..LimitTable::default()
    }
}

#[test]
fn the_built_in_limits_are_those_of_the_specification() {
    let shown: Vec<String> = LevelKind::ALL
        .into_iter()
        .map(|kind| {
            let limit = Limits::BUILT_IN.of(kind);
            let amount = |it: Option<NanoUsd>| it.map_or("-".to_owned(), |it| it.to_string());
            format!("{kind} {} {}\n", amount(limit.soft), amount(limit.hard))
        })
        .collect();
    expect![[r#"
        organisation - $10000.00
        user_month - $500.00
        user_day - $20.00
        llm - $7000.00
        tools - $2000.00
        infrastructure - $1000.00
        task $1.00 $5.00
    "#]]
    .assert_eq(&shown.concat());
    for kind in LevelKind::ALL {
        let limit = Limits::BUILT_IN.of(kind);
        assert_eq!(limit.enforcement.mode(Caller::Keyless), Mode::Watch);
        assert_eq!(limit.enforcement.mode(Caller::Asking), Mode::Enforce);
    }
}

#[test]
fn the_narrowest_limit_applies() {
    let overrides = |kind, dollars| LimitOverrides([(kind, hard(dollars))].into());
    let table = acme(OrganisationLimits {
        limits: overrides(LevelKind::Task, 6),
        users: [("ann".to_owned(), overrides(LevelKind::Task, 7))].into(),
        tasks: [("t1".to_owned(), hard(8))].into(),
    });
    let of = |user, task| table.of(&key(LevelKind::Task, Some(user), Some(task))).hard;
    assert_eq!(of("ann", "t1"), Some(NanoUsd::from_usd(8)));
    assert_eq!(of("ann", "t2"), Some(NanoUsd::from_usd(7)));
    assert_eq!(of("bob", "t2"), Some(NanoUsd::from_usd(6)));
    let day = table.of(&key(LevelKind::UserDay, Some("ann"), None)).hard;
    assert_eq!(day, Some(NanoUsd::from_usd(20)));
}

#[test]
fn a_soft_limit_above_the_hard_one_is_refused_with_its_place() {
    let task = Limit {
        soft: Some(NanoUsd::from_usd(9)),
        ..hard(5)
    };
    let table = acme(OrganisationLimits {
        tasks: [("t1".to_owned(), task)].into(),
        ..OrganisationLimits::default()
    });
    let refused = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap_err();
    expect!["`organisations.acme.tasks.t1`: the soft limit $9.00 is above the hard limit $5.00; lower it or leave it out"]
        .assert_eq(&refused.to_string());
}

#[test]
fn a_user_has_no_limit_of_an_organisation() {
    let users = LimitOverrides([(LevelKind::Organisation, hard(5))].into());
    let table = acme(OrganisationLimits {
        users: [("ann".to_owned(), users)].into(),
        ..OrganisationLimits::default()
    });
    let refused = BudgetPolicy::try_new(TimeZone::UTC, BTreeMap::new(), table).unwrap_err();
    expect!["`organisations.acme.users.ann.organisation` is no level of a user; a user has user_month, user_day and task"]
        .assert_eq(&refused.to_string());
}

#[test]
fn a_table_is_read_back_as_it_was_written() {
    let table = acme(OrganisationLimits {
        limits: LimitOverrides([(LevelKind::Service(Service::Llm), hard(3))].into()),
        ..OrganisationLimits::default()
    });
    let text = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<LimitTable>(&text).unwrap(), table);
}
