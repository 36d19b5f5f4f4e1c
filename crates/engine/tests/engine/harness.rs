//! An engine on stores of the test's own, under a clock that it moves.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::tz::TimeZone;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    Engine, Parts,
    call::{Identified, Routed, Signals},
    flight::{End, InFlight},
    identity::{Credential, Principal},
    notices::{NoNotices, NoticeSink},
    observer::RecordSink,
    reserve::{Obstacle, Reserved},
    settings::{Local, Platform, ReserveRules, Settings, Weights},
    writer::Stores,
};
use tidegate_ledger::{
    BudgetPolicy, Entry, Event, LedgerStore, Limit, LimitTable, Limits, journal::Journal,
    verify_store,
};
use tidegate_observe::{
    calls::{CallRecord, Outcome},
    metrics::Registry,
    record::{Level, LogRecord},
};
use tidegate_providers::{Dialect, Meter, Metered, accounting::Family, prices::PriceBook, scan};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{
    Caller, Clock, Enforcement, Mode, Monotonic, NanoUsd, Priority, Role, Timestamp,
};

/// A clock that stands still unless it is told to go on.
#[derive(Debug)]
pub(crate) struct ManualClock {
    wall: AtomicU64,
    mono: AtomicU64,
}

impl ManualClock {
    /// A Wednesday noon, UTC.
    pub(crate) fn start() -> Arc<Self> {
        Arc::new(Self {
            wall: AtomicU64::new(Timestamp::from_seconds(1_784_116_800).0),
            mono: AtomicU64::new(1),
        })
    }

    pub(crate) fn advance(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap();
        self.wall.fetch_add(nanos, Ordering::Relaxed);
        self.mono.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.wall.load(Ordering::Relaxed))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic(self.mono.load(Ordering::Relaxed))
    }
}

pub(crate) const ENFORCED: Enforcement = Enforcement::Named(Mode::Enforce);

/// A platform with one bucket of 1,000 units, which nothing refills in a test's time.
pub(crate) fn platform(name: &str, enforcement: Enforcement) -> Platform {
    let units = BucketSpec {
        name: "units".to_owned(),
        resource: Resource::Units,
        capacity: 1_000,
        refill: Some(Refill {
            amount: 1,
            period: Duration::from_hours(31 * 24),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement,
    };
    Platform {
        name: name.into(),
        provider: "anthropic".into(),
        family: Family::Anthropic,
        subscription: false,
        free: false,
        operators_credential: true,
        local_may_spend: true,
        shared_limits: false,
        models: Vec::new(),
        model_map: HashMap::new(),
        fallback: Vec::new(),
        pool: PoolSpec::try_new(name, vec![units]).unwrap(),
    }
}

/// Two platforms, with the limits of B1 but for these changes.
/// A table of an operator's own, in which a call of ours weighs a hundredth of the platform's bucket.
fn ten_units() -> Weights {
    let mut weights = Weights::default();
    for rule in &mut weights.rules {
        if rule.models == ["opus"] {
            rule.units = 10;
        }
    }
    weights
}

pub(crate) fn settings(change: impl FnOnce(&mut Limits)) -> Settings {
    let mut table = LimitTable::default();
    change(&mut table.defaults);
    let platforms = [
        platform("sonnet", Enforcement::BuiltIn),
        platform("spare", Enforcement::BuiltIn),
    ];
    Settings {
        local: Local {
            organisation: "local".into(),
            user: "local".into(),
        },
        keyless: true,
        platforms: platforms.into_iter().map(Arc::new).collect(),
        budgets: Arc::new(
            BudgetPolicy::built_in(TimeZone::UTC)
                .with_limits(table)
                .unwrap(),
        ),
        quotas: Arc::new(tidegate_admission::QuotaTable::unlimited()),
        reserve: ReserveRules::default(),
        weights: ten_units(),
        redactor: tidegate_observe::redact::Redactor::default(),
    }
}

/// A hard limit for those who ask.
pub(crate) fn hard(usd: &str) -> Limit {
    Limit::built_in(usd.parse().unwrap())
}

/// An engine with its parts in reach.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) ledger: Arc<dyn LedgerStore>,
    told: Arc<Told>,
}

/// What the engine reported, a line for each fact.
#[derive(Debug, Default)]
struct Told(parking_lot::Mutex<Vec<String>>);

impl RecordSink for Told {
    fn wants(&self, _level: Level) -> bool {
        true
    }

    fn write(&self, record: LogRecord) {
        let mut line = record.event.to_string();
        for (name, value) in record.fields.iter() {
            let value = serde_json::to_string(value).unwrap();
            // Which call it was differs from run to run.
            if !value.contains("call_") && !value.contains("resv_") {
                line += &format!(" {name}={value}");
            }
        }
        self.0.lock().push(line);
    }
}

impl World {
    /// In memory.
    pub(crate) fn start(settings: Settings) -> Self {
        let store = Arc::new(MemoryStore::default());
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store,
            journal: Arc::new(MemoryJournal::default()),
        };
        Self::on(settings, stores, ManualClock::start())
    }

    pub(crate) fn with_journal(settings: Settings, journal: Arc<dyn Journal>) -> Self {
        let store = Arc::new(MemoryStore::default());
        let stores = Stores {
            ledger: store.clone(),
            calls: store.clone(),
            settings: store,
            journal,
        };
        Self::on(settings, stores, ManualClock::start())
    }

    pub(crate) fn on(settings: Settings, stores: Stores, clock: Arc<ManualClock>) -> Self {
        Self::telling(settings, stores, clock, Arc::new(NoNotices))
    }

    /// The same, with somebody who is told.
    pub(crate) fn telling(
        settings: Settings,
        stores: Stores,
        clock: Arc<ManualClock>,
        notices: Arc<dyn NoticeSink>,
    ) -> Self {
        let ledger = Arc::clone(&stores.ledger);
        let keys = Arc::new(MemoryStore::default());
        let told = Arc::new(Told::default());
        let engine = Engine::start(Parts {
            clock: clock.clone(),
            settings,
            prices: PriceBook::builtin(),
            stores,
            keys: keys.clone(),
            audit: keys,
            registry: Arc::new(Registry::new()),
            records: told.clone(),
            notices,
            links: tidegate_engine::approvals::LinkKey::new([7; 32]),
            seed: 1,
        });
        Self {
            engine: engine.unwrap(),
            clock,
            ledger,
            told,
        }
    }

    /// A call with this body, as far as headers and body say.
    pub(crate) fn identify(
        &self,
        principal: &Principal,
        signals: &Signals<'_>,
        body: &str,
    ) -> Box<Identified> {
        let (mut record, now) = self.engine.arrived("anthropic_messages", "/v1/messages");
        record.body_bytes = body.len() as u64;
        let facts = scan(Dialect::Anthropic, body.as_bytes()).unwrap();
        let identified = self
            .engine
            .identify(record, principal.clone(), signals, facts, now);
        Box::new(identified.unwrap())
    }

    /// The same, sized for a platform.
    pub(crate) fn route(&self, call: Box<Identified>, platform: &str) -> Box<Routed> {
        let settings = self.engine.settings().clone();
        let platform = settings.platform(platform).unwrap();
        self.engine.route(call, platform, self.engine.now())
    }

    /// A call of the task `t`, reserved on `sonnet`.
    pub(crate) fn reserve(
        &self,
        principal: &Principal,
        max_tokens: u64,
    ) -> Result<Reserved, Obstacle> {
        let signals = Signals {
            task: Some("t"),
            ..Signals::default()
        };
        let call = self.identify(principal, &signals, &body(max_tokens));
        let routed = self.route(call, "sonnet");
        let reserved = self.engine.reserve(routed, self.engine.now());
        reserved.map_err(|(_, obstacle)| obstacle)
    }

    /// The same, on its way.
    pub(crate) fn send(&self, principal: &Principal, max_tokens: u64) -> InFlight {
        let reserved = self.reserve(principal, max_tokens).unwrap();
        let sent = self.engine.send(reserved, self.engine.now());
        sent.map_err(|(_, refused)| refused).unwrap()
    }

    /// What the ledger has, a line for each event, and that it is sound.
    pub(crate) fn rows(&self) -> String {
        self.engine.flush();
        let mut names = Vec::new();
        let mut told = String::new();
        for row in self.ledger.rows(1, usize::MAX).unwrap() {
            let Entry::Call(entry) = row.entry().unwrap() else {
                continue;
            };
            let known = names.iter().position(|it| *it == entry.reservation);
            let name = known.unwrap_or_else(|| {
                names.push(entry.reservation);
                names.len() - 1
            });
            told += &format!("{name}: {}\n", said(&entry.event));
        }
        self.assert_sound();
        told
    }

    /// What was reported so far, but for what is reported of every call.
    pub(crate) fn told(&self) -> String {
        let told = self.told.0.lock();
        let unusual = told.iter().filter(|it| !it.starts_with("call_settled"));
        unusual.fold(String::new(), |all, it| all + it + "\n")
    }

    /// What the instruments show, those that are not at zero and no part of a histogram.
    pub(crate) fn measured(&self, prefix: &str) -> String {
        let text = self.engine.registry().expose();
        let lines = text.lines().filter(|it| it.starts_with(prefix));
        let shown = lines.filter(|it| !it.contains("_bucket{") && !it.ends_with(" 0"));
        shown.fold(String::new(), |all, it| all + it + "\n")
    }

    pub(crate) fn assert_sound(&self) {
        let report = verify_store(self.ledger.as_ref()).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
        assert_eq!(self.engine.dropped(), 0);
        assert_eq!(self.engine.health().contradictions(), 0);
    }

    /// The level of the only bucket of a platform.
    pub(crate) fn units(&self, platform: &str) -> i64 {
        let views = self.engine.pool_views();
        let view = views.iter().find(|it| it.platform == platform).unwrap();
        view.buckets[0].level
    }
}

fn said(event: &Event) -> String {
    match event {
        Event::Reserve { bound, .. } => format!("reserve {bound}"),
        Event::Extend { by, .. } => format!("extend {by}"),
        Event::Settle(it) => {
            let estimated = if it.estimated { ", estimated" } else { "" };
            let cause = it.cause.as_deref().map(|it| format!(" ({it})"));
            format!("settle {}{estimated}{}", it.cost, cause.unwrap_or_default())
        }
        Event::Release { held, .. } => format!("release {held}"),
        Event::Unknown { .. } => "unknown".to_owned(),
        Event::Expire { held } => format!("expire {held}"),
        Event::Correct { from, to, .. } => format!("correct {from} to {to}"),
    }
}

/// A caller without a key.
pub(crate) fn keyless() -> Principal {
    Principal {
        organisation: "local".into(),
        user: "local".into(),
        key: None,
        role: Role::Caller,
        caller: Caller::Keyless,
        default_priority: None,
        highest_priority: Priority::Critical,
        default_task_type: None,
        credential: Credential::Key,
        credential_mark: 0,
        credential_is_ours: false,
    }
}

/// Somebody with a key, whom built-in limits bind.
pub(crate) fn keyed(user: &str) -> Principal {
    Principal {
        user: user.into(),
        key: Some(tidegate_types::KeyId::from_raw(1)),
        caller: Caller::Asking,
        ..keyless()
    }
}

/// A request to opus for an answer of at most so many tokens: each costs $0.00002, and its
/// input's bound is $0.0002 and something.
pub(crate) fn body(max_tokens: u64) -> String {
    format!(
        r#"{{"model":"claude-opus-5-5","max_tokens":{max_tokens},"messages":[{{"role":"user","content":"hello"}}]}}"#
    )
}

/// What is read of a whole answer with this usage.
pub(crate) fn answered(input: u64, output: u64) -> Metered {
    let mut meter = Meter::new(Dialect::Anthropic, false);
    let body = format!(
        r#"{{"type":"message","stop_reason":"end_turn","usage":{{"input_tokens":{input},"output_tokens":{output}}}}}"#
    );
    meter.observe(body.as_bytes());
    meter.finish()
}

/// The end of a call that was answered like this.
pub(crate) fn end(metered: Option<Metered>, outcome: Outcome) -> End {
    End {
        outcome,
        status: 200,
        metered,
        answer_bytes: 1,
        request_id: None,
    }
}

/// Cost and outcome in a line.
pub(crate) fn line(record: &CallRecord) -> String {
    let estimated = if record.estimated { ", estimated" } else { "" };
    format!("{} {}{estimated}", record.outcome.word(), record.cost)
}

/// Dollars.
pub(crate) fn usd(text: &str) -> NanoUsd {
    text.parse().unwrap()
}
