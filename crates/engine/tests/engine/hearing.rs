//! What providers say of their limits, and who is sent or has to wait by it.

use std::{sync::Arc, time::Duration};

use tidegate_admission::{BREAKER_FAILURES, BucketSpec, Cause, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    flight::InFlight, gate::Turn, places::PlaceKey, reserve::Obstacle, settings::Settings,
    writer::Stores,
};
use tidegate_observe::calls::Outcome;
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::Caller;

use crate::harness::{ENFORCED, ManualClock, World, answered, end, keyed, platform, settings, usd};

/// A platform whose provider allows 50,000 input tokens a minute, and 20 requests.
fn limited() -> Settings {
    let bucket = |name: &str, resource, capacity| BucketSpec {
        name: name.to_owned(),
        resource,
        capacity,
        refill: Some(Refill {
            amount: capacity,
            period: Duration::from_mins(1),
        }),
        threshold: 0,
        owner: Owner::Provider,
        enforcement: ENFORCED,
    };
    let mut sonnet = platform("sonnet", ENFORCED);
    let buckets = vec![
        bucket("requests", Resource::Requests, 20),
        bucket("input", Resource::InputTokens, 50_000),
    ];
    sonnet.pool = PoolSpec::try_new("sonnet", buckets).unwrap();
    let mut settings = settings(|_| {});
    settings.platforms = vec![sonnet.into(), platform("spare", ENFORCED).into()];
    settings
}

/// The harness's clock reads Wednesday noon at its start.
const NOON: &str = "Wed, 15 Jul 2026 12:00:00 GMT";

impl World {
    fn hears(&self, in_flight: &mut InFlight, status: u16, headers: &[(&str, &str)]) {
        let date = headers.iter().find(|it| it.0 == "date");
        let date = date.map(|it| it.1.as_bytes());
        let headers = headers
            .iter()
            .map(|(name, value)| (*name, value.as_bytes()));
        self.engine.heard(in_flight, (status, date), headers);
    }

    fn left(&self, bucket: usize) -> i64 {
        self.engine.pool_views()[0].buckets[bucket].level
    }

    fn ends(in_flight: InFlight, outcome: Outcome) {
        let metered = (outcome == Outcome::Answered).then(|| answered(20, 10));
        in_flight.settle(end(metered, outcome));
    }

    /// A call that is refused or fails like this, and gives everything back.
    fn fails(&self, status: u16, headers: &[(&str, &str)]) {
        let mut call = self.send(&keyed("ann"), 100);
        self.hears(&mut call, status, headers);
        Self::ends(call, Outcome::UpstreamError);
    }

    fn cause_of_wait(&self) -> Option<(Cause, Duration)> {
        match self.reserve(&keyed("ann"), 100) {
            Ok(reserved) => {
                let sent = self.engine.send(reserved, self.engine.now());
                Self::ends(sent.map_err(|it| it.1).unwrap(), Outcome::Answered);
                None
            }
            Err(Obstacle::Cooling(cooldown)) => Some((cooldown.cause, cooldown.left)),
            Err(other) => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_platforms_buckets_follow_the_headers_of_its_answers() {
    let world = World::start(limited());
    let mut call = world.send(&keyed("ann"), 100);
    let headers = [
        ("date", NOON),
        ("anthropic-ratelimit-requests-limit", "20"),
        ("anthropic-ratelimit-requests-remaining", "7"),
        ("anthropic-ratelimit-input-tokens-limit", "50000"),
        ("anthropic-ratelimit-input-tokens-remaining", "12000"),
        (
            "anthropic-ratelimit-input-tokens-reset",
            "2026-07-15T12:00:46Z",
        ),
        ("anthropic-ratelimit-output-tokens-remaining", "0"),
    ];
    world.hears(&mut call, 200, &headers);
    assert_eq!((world.left(0), world.left(1)), (7, 12_000));
    World::ends(call, Outcome::Answered);
    assert_eq!((world.left(0), world.left(1)), (7, 12_000));
    let mirror = world.engine.pool_views()[0].buckets[1].mirror.unwrap();
    assert_eq!((mirror.answers, mirror.nonsense), (1, 0));
}

#[test]
fn a_clock_that_is_an_hour_off_changes_nothing() {
    for date in [
        "Wed, 15 Jul 2026 11:00:00 GMT",
        NOON,
        "Wed, 15 Jul 2026 13:00:00 GMT",
    ] {
        let world = World::start(limited());
        let mut call = world.send(&keyed("ann"), 100);
        let hour = &date[17..19];
        // Far ahead for a refill of a minute: it takes until then.
        let reset = format!("2026-07-15T{hour}:20:00Z");
        let headers = [
            ("date", date),
            ("anthropic-ratelimit-input-tokens-limit", "50000"),
            ("anthropic-ratelimit-input-tokens-remaining", "0"),
            ("anthropic-ratelimit-input-tokens-reset", &reset),
        ];
        world.hears(&mut call, 200, &headers);
        World::ends(call, Outcome::Answered);
        let view = &world.engine.pool_views()[0].buckets[1];
        assert_eq!(
            (view.level, view.full_in_seconds),
            (0, Some(1_200)),
            "{date}"
        );
    }
}

#[test]
fn who_was_refused_until_some_time_is_not_sent_before_and_one_tries_then() {
    let world = World::start(limited());
    world.fails(429, &[("retry-after", "90")]);
    let (cause, left) = world.cause_of_wait().unwrap();
    assert_eq!((cause, left), (Cause::Rate, Duration::from_secs(90)));
    // Another account goes, and another platform takes it.
    world.clock.advance(Duration::from_secs(90));
    let first = world.reserve(&keyed("ann"), 100).unwrap();
    assert!(world.cause_of_wait().is_some(), "one tries");
    let sent = world.engine.send(first, world.engine.now());
    let mut sent = sent.map_err(|it| it.1).unwrap();
    world.hears(&mut sent, 200, &[]);
    assert_eq!(world.cause_of_wait(), None);
    World::ends(sent, Outcome::Answered);
}

#[test]
fn a_try_that_was_never_sent_is_the_next_callers() {
    let world = World::start(limited());
    world.fails(429, &[("retry-after", "5")]);
    world.clock.advance(Duration::from_secs(5));
    let tries = world.send(&keyed("ann"), 100);
    assert!(world.cause_of_wait().is_some());
    tries.release(Outcome::ClientGone);
    assert_eq!(world.cause_of_wait(), None);
}

#[test]
fn overloads_bench_the_models_for_a_second_and_no_account() {
    let world = World::start(limited());
    for _overload in 1..BREAKER_FAILURES {
        world.fails(529, &[]);
        assert_eq!(world.cause_of_wait(), None);
    }
    world.fails(529, &[]);
    let (cause, left) = world.cause_of_wait().unwrap();
    assert_eq!((cause, left), (Cause::Overloaded, Duration::from_secs(1)));
    let views = world.engine.cooldowns();
    assert_eq!(views.len(), 1);
    assert_eq!(
        (views[0].account.as_deref(), views[0].models.as_deref()),
        (None, Some("claude-opus"))
    );
    world.clock.advance(Duration::from_secs(1));
    assert_eq!(world.cause_of_wait(), None);
}

#[test]
fn a_limit_on_money_benches_the_account_until_somebody_finds_it_over() {
    let world = World::start(limited());
    world.fails(429, &[]);
    assert_eq!(
        world.cause_of_wait(),
        Some((Cause::SpendCap, Duration::from_mins(1)))
    );
    let told = world.told();
    assert!(told.contains("provider_cooling"), "{told}");
}

#[tokio::test]
async fn who_waits_in_the_queue_waits_for_the_provider_too_and_goes_when_it_serves() {
    let world = World::start(limited());
    let principal = keyed("ann");
    assert_eq!(principal.caller, Caller::Asking);
    world.fails(429, &[("retry-after", "4")]);
    let call = world.identify(
        &principal,
        &tidegate_engine::call::Signals::default(),
        &crate::harness::body(100),
    );
    let routed = world.route(call, "sonnet");
    let key = PlaceKey::of("local", "ann", "s", &[b"body"]);
    let waiting = world.engine.wait(routed, key);
    let mut waiting = waiting.map_err(|it| it.1).unwrap();
    assert!(waiting.turn_now().is_none());
    assert_eq!(waiting.cooling(), Some(Duration::from_secs(4)));
    let told = waiting.told().unwrap();
    assert!(
        told.sentence.contains("rate limit is reached"),
        "{}",
        told.sentence
    );
    world.clock.advance(Duration::from_secs(4));
    world.engine.look_at_queues();
    let Some(Turn::Reserved(reserved)) = waiting.turn_now() else {
        panic!("its turn did not come")
    };
    let sent = world.engine.send(*reserved, world.engine.now());
    World::ends(sent.map_err(|it| it.1).unwrap(), Outcome::Answered);
}

/// What a subscription's answer says of its five hours, at noon.
fn plan(used: &str, status: &str) -> [(&'static str, String); 4] {
    [
        ("date", NOON.to_owned()),
        (
            "anthropic-ratelimit-unified-5h-utilization",
            used.to_owned(),
        ),
        ("anthropic-ratelimit-unified-5h-status", status.to_owned()),
        (
            "anthropic-ratelimit-unified-5h-reset",
            "1784120400".to_owned(),
        ),
    ]
}

#[test]
fn a_plans_windows_are_learned_from_use_and_a_used_up_one_is_waited_for() {
    let world = World::start(limited());
    let answer = |used: &str, status: &str, http: u16| {
        let mut call = world.send(&keyed("ann"), 100);
        let headers = plan(used, status);
        let headers: Vec<_> = headers.iter().map(|it| (it.0, it.1.as_str())).collect();
        world.hears(&mut call, http, &headers);
        World::ends(call, Outcome::Answered);
    };
    let mut used = 10;
    for _call in 0..12 {
        answer(&format!("0.{used}"), "allowed", 200);
        used += 5;
    }
    let windows = world.engine.plan_windows();
    assert_eq!((windows.len(), windows[0].window.as_str()), (1, "5h"));
    assert_eq!(windows[0].used_ppm, 650_000);
    assert_eq!(windows[0].resets_in_seconds, Some(3_600));
    // Each call is 5 % of it.
    let each = world
        .engine
        .calls(&tidegate_observe::calls::CallFilter::default());
    let size = windows[0].size.unwrap();
    world.engine.flush();
    drop(each);
    assert_eq!(size, usd("0.0056"));
    answer("1.0", "rejected", 429);
    assert_eq!(
        world.cause_of_wait(),
        Some((Cause::Quota, Duration::from_hours(1)))
    );
}

#[test]
fn what_providers_said_survives_a_restart() {
    let store = Arc::new(MemoryStore::default());
    let stores = Stores {
        ledger: store.clone(),
        calls: store.clone(),
        settings: store,
        journal: Arc::new(MemoryJournal::default()),
    };
    let clock = ManualClock::start();
    {
        let world = World::on(limited(), stores.clone(), Arc::clone(&clock));
        let mut call = world.send(&keyed("ann"), 100);
        let headers = plan("0.5", "allowed");
        let mut headers: Vec<_> = headers.iter().map(|it| (it.0, it.1.as_str())).collect();
        headers.push(("anthropic-ratelimit-input-tokens-limit", "30000"));
        headers.push(("anthropic-ratelimit-input-tokens-remaining", "8000"));
        world.hears(&mut call, 200, &headers);
        World::ends(call, Outcome::Answered);
        world.fails(429, &[("retry-after", "600")]);
        world.engine.flush();
    }
    let world = World::on(limited(), stores, clock);
    assert_eq!(world.engine.pool_views()[0].buckets[1].capacity, 30_000);
    assert_eq!(world.engine.plan_windows()[0].used_ppm, 500_000);
    let (cause, left) = world.cause_of_wait().unwrap();
    assert_eq!((cause, left), (Cause::Rate, Duration::from_mins(10)));
}
