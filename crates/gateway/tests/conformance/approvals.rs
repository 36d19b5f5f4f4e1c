//! Calls at a soft limit: parked until somebody decides, then answered or refused.

use std::sync::Arc;

use jiff::tz::TimeZone;
use tidegate_engine::{
    approvals::{Approval, ApprovalError, Decision},
    identity::Principal,
};
use tidegate_ledger::{BudgetPolicy, Limit, LimitTable, Limits};
use tidegate_observe::calls::Outcome;
use tidegate_types::{Enforcement, Mode, NanoUsd, Role};

use crate::harness::{
    Ask, Client, World,
    world::{Setup, admin},
};

/// A task may spend $5, and asks before it passes a thousandth of a dollar.
fn soft_limit(it: &mut Setup) {
    let defaults = Limits {
        task: Limit {
            soft: Some("0.001".parse().unwrap()),
            enforcement: Enforcement::Named(Mode::Enforce),
            ..Limit::built_in(NanoUsd::from_usd(5))
        },
        ..Limits::BUILT_IN
    };
    let table = LimitTable {
        defaults,
        ..LimitTable::default()
    };
    let policy = BudgetPolicy::built_in(TimeZone::UTC).with_limits(table);
    it.settings.budgets = Arc::new(policy.unwrap());
}

fn of_task(prompt: &str) -> Ask {
    Ask::messages(prompt, true).with("x-tidegate-task", "t")
}

/// Sends a call, and waits until somebody is asked about so many.
fn parked(world: &World, ask: &Ask) -> Client {
    let mut client = world.connect();
    client.send(&ask.bytes());
    world.until(|| !asked(world).is_empty());
    client
}

fn asked(world: &World) -> Vec<Approval> {
    world.engine.approvals(|_| true)
}

#[test]
fn a_call_at_a_soft_limit_goes_on_when_somebody_says_yes() {
    let world = World::start(soft_limit);
    let mut first = parked(&world, &of_task("one"));
    let mut second = world.connect();
    second.send(&of_task("two").bytes());
    let id = asked(&world)[0].id;
    let yes = world
        .engine
        .approve(&admin(), id, Some(NanoUsd::from_usd(1)));
    let approved_to = NanoUsd::from_usd(1).saturating_add("0.001".parse().unwrap());
    assert!(matches!(yes.unwrap().decision, Decision::Approved { to, .. } if to == approved_to));
    assert_eq!(first.answer().unwrap().status, 200);
    assert_eq!(second.answer().unwrap().status, 200);
    // For the task's life: nobody is asked again.
    assert_eq!(world.ask(&of_task("three")).status, 200);
    assert_eq!(asked(&world).len(), 1);
    let records = world.settled(3);
    assert!(records.iter().any(|it| it.phases.wait > 0));
    world.assert_sound();
}

#[test]
fn a_call_at_a_soft_limit_is_refused_for_good_when_somebody_says_no() {
    let world = World::start(soft_limit);
    let mut client = parked(&world, &of_task("one"));
    let id = asked(&world)[0].id;
    world.engine.deny(&admin(), id).unwrap();
    let heard = client.answer().unwrap();
    assert_eq!(heard.status, 429);
    assert_eq!(heard.header("x-should-retry"), Some("false"));
    assert_eq!(heard.json()["error"]["type"], "billing_error");
    assert!(
        heard.text().contains(&format!("request {id} was denied")),
        "{}",
        heard.text()
    );
    // So is the next, at once.
    assert!(world.ask(&of_task("two")).text().contains("was denied"));
    assert!(matches!(
        world.engine.approve(&admin(), id, None),
        Err(ApprovalError::NotOpen(_))
    ));
    let records = world.settled(2);
    let limit: Arc<str> = "task".into();
    assert!(records.iter().all(|it| it.outcome
        == Outcome::Refused {
            limit: limit.clone()
        }));
    world.assert_sound();
}

#[test]
fn a_client_without_patience_is_told_how_to_get_a_yes_and_its_next_try_passes() {
    let world = World::start(soft_limit);
    let impatient = of_task("one").with("x-stainless-read-timeout", "0.1");
    let heard = world.ask(&impatient);
    assert_eq!(heard.status, 429);
    assert_eq!(heard.header("x-should-retry"), Some("false"));
    let [request] = &asked(&world)[..] else {
        panic!("one request")
    };
    let command = format!("`tidegate approve {}`", request.id);
    assert!(heard.text().contains(&command), "{}", heard.text());
    // By as much as it is, where nobody says by how much; a task that needs more asks again.
    let yes = world
        .engine
        .approve(&admin(), request.id, Some(NanoUsd::from_usd(9)));
    assert!(
        matches!(yes.unwrap().decision, Decision::Approved { to, .. } if to == NanoUsd::from_usd(5)),
        "never past the hard limit"
    );
    assert_eq!(world.ask(&impatient).status, 200);
    world.settled(2);
    world.assert_sound();
}

#[test]
fn nobody_decides_on_their_own_request_but_admins_and_the_local_user() {
    let world = World::start(soft_limit);
    let _client = parked(&world, &of_task("one"));
    let id = asked(&world)[0].id;
    let asker = asked(&world)[0].user.clone();
    let with = |role: Role, user: &str| Principal {
        role,
        user: user.into(),
        key: Some(tidegate_types::KeyId::from_raw(3)),
        ..admin()
    };
    let own = world
        .engine
        .approve(&with(Role::Operator, &asker), id, None);
    assert_eq!(own, Err(ApprovalError::OwnRequest(id)));
    let caller = world.engine.approve(&with(Role::Caller, "bob"), id, None);
    assert_eq!(caller, Err(ApprovalError::RoleNeeded(id)));
    let other = Principal {
        organisation: "other".into(),
        ..with(Role::Admin, "eve")
    };
    let elsewhere = world.engine.approve(&other, id, None);
    assert_eq!(elsewhere, Err(ApprovalError::NotOpen(id)));
    world
        .engine
        .approve(&with(Role::Approver, "bob"), id, None)
        .unwrap();
}
