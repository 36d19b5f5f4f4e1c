//! From `Routed` to `Reserved`: six buckets, five budget levels, 64 users of 4 organisations on 3
//! platforms, on one thread and on two; without quotas, and with every quota there is.
//!
//! Prints one JSON object a line for each figure; the clock's own two readings are in them.
#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench measures, prints and stops where it can't"
)]

use std::{collections::HashMap, sync::Arc, time::Instant};

use tidegate_admission::{
    BucketSpec, Owner, PoolSpec, QuotaFigure, QuotaFigures, QuotaKind, QuotaTable, Refill, Resource,
};
use tidegate_engine::{
    Engine, Parts,
    call::{Routed, Signals},
    identity::{Credential, Principal},
    observer::NoRecords,
    settings::{Local, Platform, ReserveRules, Settings, Weights},
    writer::Stores,
};
use tidegate_ledger::{BudgetPolicy, LevelKind, Limit, LimitTable};
use tidegate_observe::metrics::Registry;
use tidegate_providers::{Dialect, accounting::Family, prices::PriceBook, scan};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{Caller, Enforcement, Mode, NanoUsd, Priority, Role, SystemClock};

const ORGANISATIONS: usize = 4;
const USERS: usize = 64;
const PLATFORMS: usize = 3;
const ROUNDS: usize = 200_000;

const BODY: &[u8] =
    br#"{"model":"claude-sonnet-5-5","max_tokens":4000,"messages":[{"role":"user","content":"hello"}]}"#;

fn main() {
    // `cargo test` builds and runs benches too: then once through is enough.
    let rounds = if std::env::args().any(|it| it == "--bench") {
        ROUNDS
    } else {
        100
    };
    for (quotas, with) in [(quotas(false), ""), (quotas(true), ", with every quota")] {
        let engine = engine(quotas);
        for threads in [1, 2] {
            let nanos = on_threads(&engine, threads, rounds);
            let at = |percent: usize| nanos[(nanos.len() - 1) * percent / 100];
            let name = |of: &str| format!("reserve{with}, {threads} thread(s), {of}");
            figure(&name("median"), "ns", at(50), 300);
            figure(&name("p99"), "ns", at(99), 2_000);
        }
        let mut routed = calls(&engine, 0);
        let counted = allocation_counter::measure(|| {
            for slot in &mut routed {
                reserve(&engine, slot);
            }
        });
        let each = counted.count_total / routed.len() as u64;
        let name = format!("reserve{with}, allocations");
        figure(&name, "allocations", each, 0);
    }
}

/// Nanoseconds of each reservation, sorted.
fn on_threads(engine: &Arc<Engine>, threads: usize, rounds: usize) -> Vec<u64> {
    let mut nanos: Vec<u64> = std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || measure(engine, thread, rounds)))
            .collect();
        running
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect()
    });
    nanos.sort_unstable();
    nanos
}

fn figure(name: &str, unit: &str, value: u64, at_most: u64) {
    println!(r#"{{"name":"{name}","unit":"{unit}","value":{value},"at_most":{at_most}}}"#);
}

/// Nanoseconds of each reservation.
fn measure(engine: &Arc<Engine>, thread: usize, rounds: usize) -> Vec<u64> {
    let mut routed = calls(engine, thread);
    let mut nanos = Vec::with_capacity(rounds);
    let count = routed.len();
    for round in 0..rounds {
        let slot = &mut routed[round % count];
        slot.as_mut().unwrap().make_room();
        nanos.push(reserve(engine, slot));
    }
    nanos
}

fn reserve(engine: &Engine, slot: &mut Option<Box<Routed>>) -> u64 {
    let call = slot.take().unwrap();
    let now = engine.now();
    let began = Instant::now();
    let reserved = engine.reserve(call, now);
    let took = began.elapsed();
    let Ok(reserved) = reserved else {
        unreachable!("limits are far away")
    };
    engine.give_back(reserved.holding);
    *slot = Some(reserved.routed);
    u64::try_from(took.as_nanos()).unwrap()
}

/// One call of each user, spread over the platforms.
fn calls(engine: &Arc<Engine>, thread: usize) -> Vec<Option<Box<Routed>>> {
    let settings = engine.settings().clone();
    let call = |user: usize| {
        let principal = Principal {
            organisation: format!("org-{}", user % ORGANISATIONS).into(),
            user: format!("user-{user}").into(),
            key: None,
            role: Role::Caller,
            caller: Caller::Asking,
            default_priority: None,
            highest_priority: Priority::Critical,
            default_task_type: None,
            credential: Credential::Key,
            credential_mark: 0,
            credential_is_ours: false,
        };
        let facts = scan(Dialect::Anthropic, BODY).unwrap();
        let (record, now) = engine.arrived("anthropic", "/v1/messages");
        let prompt = format!("prompt-{thread}-{user}");
        let signals = Signals {
            prompt: Some(&prompt),
            ..Signals::default()
        };
        let identified = engine
            .identify(record, principal, &signals, facts, now)
            .unwrap();
        let platform = &settings.platforms[user % PLATFORMS];
        Some(engine.route(Box::new(identified), platform, now))
    };
    (0..USERS).map(call).collect()
}

fn engine(quotas: QuotaTable) -> Arc<Engine> {
    let store = Arc::new(MemoryStore::default());
    let limit = Limit {
        soft: None,
        hard: Some(NanoUsd::from_usd(1_000_000_000)),
        overage_allowed: false,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    let mut table = LimitTable::default();
    for level in LevelKind::ALL {
        *table.defaults.of_mut(level) = limit;
    }
    let policy = BudgetPolicy::try_new(
        jiff::tz::TimeZone::UTC,
        std::collections::BTreeMap::new(),
        table,
    );
    Engine::start(Parts {
        clock: Arc::new(SystemClock::start()),
        settings: Settings {
            local: Local {
                organisation: "local".into(),
                user: "local".into(),
            },
            keyless: true,
            platforms: (0..PLATFORMS).map(platform).collect(),
            budgets: Arc::new(policy.unwrap()),
            quotas: Arc::new(quotas),
            reserve: ReserveRules::default(),
            weights: Weights::default(),
            redactor: tidegate_observe::redact::Redactor::default(),
        },
        prices: PriceBook::builtin(),
        stores: Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store.clone(),
            journal: Arc::new(MemoryJournal::default()),
        },
        keys: store.clone(),
        audit: store,
        registry: Arc::new(Registry::new()),
        records: Arc::new(NoRecords),
        notices: Arc::new(tidegate_engine::notices::NoNotices),
        links: tidegate_engine::approvals::LinkKey::new([7; 32]),
        seed: 1,
    })
    .unwrap()
}

/// Every quota there is, all of them far away; or none, so that what is measured is what the figure names, buckets and
/// budgets.
fn quotas(limited: bool) -> QuotaTable {
    let mut figures = QuotaFigures::BUILT_IN;
    for kind in QuotaKind::ALL {
        let most = std::num::NonZeroU64::new(kind.largest());
        *figures.of_mut(kind) = QuotaFigure {
            limit: most.filter(|_| limited),
            enforcement: Enforcement::Named(Mode::Enforce),
        };
    }
    QuotaTable {
        organisation: figures,
        user: figures,
        task_type: figures,
        ..QuotaTable::default()
    }
}

fn platform(place: usize) -> Arc<Platform> {
    let resources = [
        Resource::Units,
        Resource::Requests,
        Resource::InputTokens,
        Resource::OutputTokens,
        Resource::Tokens,
        Resource::Concurrency,
    ];
    let bucket = |resource: Resource| BucketSpec {
        name: resource.word().to_owned(),
        resource,
        capacity: 1_000_000_000,
        refill: (resource != Resource::Concurrency).then_some(Refill {
            amount: 1_000_000_000,
            period: std::time::Duration::from_secs(1),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement: Enforcement::Named(Mode::Enforce),
    };
    let name = format!("platform-{place}");
    let pool = PoolSpec::try_new(name.clone(), resources.map(bucket).to_vec()).unwrap();
    Arc::new(Platform {
        name: name.into(),
        provider: "anthropic".into(),
        family: Family::Anthropic,
        subscription: false,
        free: false,
        operators_credential: false,
        local_may_spend: false,
        shared_limits: false,
        models: Vec::new(),
        model_map: HashMap::new(),
        fallback: Vec::new(),
        pool,
    })
}
