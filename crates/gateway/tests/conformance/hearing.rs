//! Limit headers of the emulated provider, and buckets that follow them.

use std::time::Duration;

use tidegate_admission::{BucketSpec, Cause, Owner, PoolSpec, Refill, Resource};
use tidegate_types::{Enforcement, Mode};

use crate::harness::{Ask, World, world::Setup};

/// The provider allows 30 requests a minute where 60 are configured, in both dialects.
fn misconfigured(it: &mut Setup) {
    it.home.limits.requests_per_minute = 30;
    for name in ["sonnet", "openai"] {
        let requests = BucketSpec {
            name: "requests".to_owned(),
            resource: Resource::Requests,
            capacity: 60,
            refill: Some(Refill {
                amount: 60,
                period: Duration::from_mins(1),
            }),
            threshold: 0,
            owner: Owner::Provider,
            enforcement: Enforcement::Named(Mode::Enforce),
        };
        it.platform(name, |it| {
            it.pool = PoolSpec::try_new(name, vec![requests]).unwrap();
        });
    }
}

#[test]
fn a_providers_own_limit_replaces_the_configured_one_in_every_dialect() {
    let world = World::start(misconfigured);
    let asks = Ask::in_all_dialects("hello", false);
    for ask in &asks {
        assert_eq!(world.ask(ask).status, 200);
    }
    world.settled(asks.len());
    for platform in world.engine.pool_views().iter().take(2) {
        let bucket = &platform.buckets[0];
        assert_eq!(bucket.capacity, 30, "{bucket:?}");
        assert!((27..30).contains(&bucket.level), "{bucket:?}");
        let mirror = bucket.mirror.unwrap();
        assert!(mirror.answers > 0 && mirror.nonsense == 0, "{mirror:?}");
    }
    world.assert_sound();
}

#[test]
fn what_the_provider_refuses_is_not_asked_again_and_a_fallback_takes_it() {
    let world = World::start(|it| {
        it.home.limits.requests_per_minute = 1;
        it.platform("sonnet", |it| it.fallback = vec!["spare".into()]);
    });
    let ask = Ask::messages("hello", false);
    for _call in 0..4 {
        assert_eq!(world.ask(&ask).status, 200);
    }
    world.settled(4);
    let cooldowns = world.engine.cooldowns();
    assert_eq!(cooldowns.len(), 1, "{cooldowns:?}");
    assert_eq!(cooldowns[0].cause, Cause::Rate);
    // One was answered and one refused; the others were not even sent there.
    assert_eq!(world.wire(2).len(), 2);
    world.assert_sound();
}

/// A second login, or a key, is what somebody turns to whose first one is used up.
#[test]
fn what_is_refused_to_one_credential_is_not_refused_to_another_of_the_same_user() {
    let world = World::start(|_| {});
    let with = |prompt: &str, key: &str| {
        let ask = Ask::messages(prompt, false).without("x-api-key");
        world.ask(&ask.with("x-api-key", key))
    };
    assert_eq!(with("hello", "sk-ant-api03-b").status, 200);
    assert_eq!(with("sim:fault 429=7000", "sk-ant-api03-a").status, 429);
    assert_eq!(with("hello", "sk-ant-api03-b").status, 200);
    let refused = with("hello", "sk-ant-api03-a");
    assert_eq!(refused.status, 429, "{}", refused.text());
    // Only one of the refusals came from there.
    assert_eq!(world.wire(3).len(), 3);
    let cooldowns = world.engine.cooldowns();
    assert_eq!(cooldowns.len(), 1, "{cooldowns:?}");
    assert_eq!(cooldowns[0].account.as_deref(), Some("local/local"));
    world.settled(4);
    world.assert_sound();
}

#[test]
fn what_the_provider_refuses_for_want_of_quota_waits_for_it_instead_of_its_client() {
    let world = World::start(|it| {
        misconfigured(it);
        it.home.limits.requests_per_minute = 60;
        it.home.limits.burst_seconds = 1;
    });
    let mut first = world.connect();
    first.send(&Ask::messages("sim:sleep-ms 300", false).bytes());
    world.until_reserved();
    // Nothing was said yet of what is left.
    for stream in [false, true] {
        let second = world.ask(&Ask::messages("hello", stream));
        assert_eq!(second.status, 200, "{}", second.text());
    }
    assert_eq!(first.answer().unwrap().status, 200);
    let records = world.settled(3);
    assert!(records.iter().all(|it| it.status == 200), "{records:#?}");
    assert!(records.iter().any(|it| it.phases.wait > 0), "{records:#?}");
    let refused = world.wire(4);
    assert!(refused.iter().any(|it| it.status == 429), "{refused:#?}");
    // It was this call that had to wait: nobody else is kept from asking.
    assert!(world.engine.cooldowns().is_empty());
    world.assert_sound();
}
