//! A gateway with real parts between a client and an emulated provider.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use http::{HeaderName, HeaderValue, Request, Response};
use hyper::body::Incoming;
use jiff::tz::TimeZone;
use tidegate_admission::{PoolSpec, builtin_platforms};
use tidegate_engine::{
    Engine, Parts,
    identity::{Credential, Principal},
    keys::NewKey,
    observer::RecordSink,
    settings::{Local, Platform, ReserveRules, Settings, Weights},
    writer::Stores,
};
use tidegate_gateway::{
    Elsewhere, Gateway, Provider,
    inlet::BodyBounds,
    patience::Patience,
    reply::ReplyBody,
    server::{self, Answering, Phase},
    upstream::{Origin, Roots, Upstream},
};
use tidegate_ledger::{BudgetPolicy, Entry, Event, LedgerStore as _, verify_store};
use tidegate_observe::{
    calls::{CallFilter, CallRecord, LIST_MAX},
    metrics::Registry,
    record::{Level, LogRecord},
};
use tidegate_providers::{accounting::Family, prices::PriceBook};
use tidegate_sim::{EmulatedProvider, ProviderSpec, WireRecord};
use tidegate_store::MemoryStore;
use tidegate_types::{Caller, Clock, Priority, Role, SystemClock};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
};

use super::gated::Gated;

/// Longer than any of these tests takes on a machine that is busy otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// The operator's credential for the spare provider.
pub(crate) const OPERATORS: &str = "sk-operator";

/// What a world is made of, to be changed before it starts.
pub(crate) struct Setup {
    /// The provider that callers' own credentials belong to, in both dialects.
    pub(crate) home: ProviderSpec,
    /// Where `home` is instead, if not in the emulator.
    pub(crate) home_url: Option<String>,
    /// Where `spare` is instead, if not in an emulator of its own.
    pub(crate) spare_url: Option<String>,
    pub(crate) settings: Settings,
    pub(crate) bounds: BodyBounds,
    pub(crate) silence_max: Duration,
    pub(crate) head_max: Duration,
    pub(crate) http2: bool,
    pub(crate) patience: Patience,
    /// The gateway's time-outs stand still but for [`World::advance`].
    pub(crate) paused: bool,
}

/// A platform at a provider, with the built-in buckets of `sonnet`.
pub(crate) fn platform(name: &str, provider: &str, family: Family) -> Platform {
    let [_, sonnet] = builtin_platforms();
    let pool = PoolSpec::try_new(name.to_owned(), sonnet.buckets().to_vec()).unwrap();
    Platform {
        name: name.into(),
        provider: provider.into(),
        family,
        subscription: false,
        free: false,
        operators_credential: provider == "spare",
        local_may_spend: provider == "spare",
        shared_limits: false,
        models: Vec::new(),
        model_map: HashMap::new(),
        fallback: Vec::new(),
        pool,
    }
}

impl Setup {
    fn new() -> Self {
        let platforms = vec![
            platform("sonnet", "anthropic", Family::Anthropic),
            platform("openai", "openai", Family::OpenAi),
            platform("spare", "spare", Family::Anthropic),
        ];
        Self {
            home: ProviderSpec::unlimited(),
            home_url: None,
            spare_url: None,
            settings: Settings {
                local: Local {
                    organisation: "local".into(),
                    user: "local".into(),
                },
                keyless: true,
                platforms: platforms.into_iter().map(Arc::new).collect(),
                budgets: Arc::new(BudgetPolicy::built_in(TimeZone::UTC)),
                quotas: Arc::new(tidegate_admission::QuotaTable::unlimited()),
                reserve: ReserveRules::default(),
                weights: Weights::default(),
                redactor: tidegate_observe::redact::Redactor::default(),
            },
            bounds: BodyBounds {
                one_bytes_max: 32 << 20,
                all_bytes_max: 256 << 20,
            },
            silence_max: PATIENCE,
            head_max: PATIENCE,
            http2: false,
            patience: Patience::default(),
            paused: false,
        }
    }

    /// Changes one platform.
    pub(crate) fn platform(&mut self, name: &str, change: impl FnOnce(&mut Platform)) {
        let mut platforms = self.settings.platforms.iter_mut();
        let it = platforms.find(|it| &*it.name == name).unwrap();
        change(Arc::make_mut(it));
    }

    /// Sends what `sonnet` can't take to the spare provider.
    pub(crate) fn fall_back(&mut self) {
        self.platform("sonnet", |it| it.fallback = vec!["spare".into()]);
    }
}

/// Nothing is elsewhere.
struct Nowhere;

impl Elsewhere for Nowhere {
    fn owns(&self, _path: &str) -> bool {
        false
    }

    fn answer(&self, _request: Request<Incoming>, _peer: SocketAddr) -> Answering {
        Box::pin(async { Response::new(ReplyBody::Whole(None)) })
    }
}

/// What was reported.
#[derive(Debug, Default)]
struct Told(parking_lot::Mutex<Vec<LogRecord>>);

impl RecordSink for Told {
    fn wants(&self, _level: Level) -> bool {
        true
    }

    fn write(&self, record: LogRecord) {
        self.0.lock().push(record);
    }
}

/// A running gateway, its providers and its books.
pub(crate) struct World {
    pub(crate) home: EmulatedProvider,
    pub(crate) spare: EmulatedProvider,
    pub(crate) engine: Arc<Engine>,
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) store: Arc<MemoryStore>,
    /// The same, as the engine sees it.
    pub(crate) gated: Arc<Gated>,
    pub(crate) addr: SocketAddr,
    pub(crate) phase: watch::Sender<Phase>,
    told: Arc<Told>,
    clock: Arc<dyn Clock>,
    advance: mpsc::Sender<Advance>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    /// With everything as it is built in.
    pub(crate) fn plain() -> Self {
        Self::start(|_| {})
    }

    pub(crate) fn start(change: impl FnOnce(&mut Setup)) -> Self {
        let mut setup = Setup::new();
        change(&mut setup);
        let home = EmulatedProvider::start(setup.home.clone()).unwrap();
        let spare = EmulatedProvider::start(ProviderSpec::unlimited()).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::start());
        let gated = Arc::new(Gated::default());
        let store = Arc::clone(&gated.store);
        let told = Arc::new(Told::default());
        let engine = engine(&setup, &clock, &gated, told.clone());
        let home_url = setup.home_url.clone().unwrap_or_else(|| home.base_url());
        let spare_url = setup.spare_url.clone().unwrap_or_else(|| spare.base_url());
        let roots = Arc::new(Roots::of_the_machine());
        let operators = (
            HeaderName::from_static("x-api-key"),
            HeaderValue::from_static(OPERATORS),
        );
        let provider = |url: &str, credential| {
            let origin = Origin::try_new(url, setup.http2).unwrap();
            let upstream = Upstream::new(origin, Arc::clone(&roots), Arc::clone(&clock));
            Arc::new(Provider {
                upstream: Arc::new(upstream),
                credential,
                head_max: setup.head_max,
                silence_max: setup.silence_max,
            })
        };
        let providers = HashMap::from([
            (Arc::from("anthropic"), provider(&home_url, None)),
            (Arc::from("openai"), provider(&home_url, None)),
            (Arc::from("spare"), provider(&spare_url, Some(operators))),
        ]);
        let nowhere = Arc::new(Nowhere);
        let gateway = Arc::new(Gateway::new(
            Arc::clone(&engine),
            providers,
            setup.bounds,
            nowhere,
        ));
        gateway.put_patience(setup.patience.clone());
        let (phase, watching) = watch::channel(Phase::Running);
        let (advance, advances) = mpsc::channel(1);
        let advances = setup.paused.then_some(advances);
        let (addr, thread) = serve(Arc::clone(&gateway), watching, advances);
        Self {
            home,
            spare,
            engine,
            gateway,
            store,
            gated,
            addr,
            phase,
            told,
            clock,
            advance,
            thread: Some(thread),
        }
    }

    /// Lets this much time pass for the gateway's time-outs.
    pub(crate) fn advance(&self, time: Duration) {
        let (done, wait) = oneshot::channel();
        self.advance.blocking_send((time, done)).unwrap();
        wait.blocking_recv().unwrap();
    }

    /// Makes a key for somebody.
    pub(crate) fn key(&self, user: &str, change: impl FnOnce(&mut NewKey)) -> String {
        let mut new = NewKey {
            name: user.to_owned(),
            role: Role::Caller,
            user: user.to_owned(),
            organisation: "local".to_owned(),
            default_priority: None,
            highest_priority: Priority::Critical,
            default_task_type: None,
        };
        change(&mut new);
        // Of each user another secret, and the same in each run.
        let mut random = [7; 32];
        for (place, byte) in user.bytes().enumerate().take(32) {
            random[place] = byte;
        }
        let (_, secret) = self.engine.add_key(new, &admin(), &random).unwrap();
        secret.expose().clone()
    }

    /// Waits until a call is on its way.
    pub(crate) fn until_reserved(&self) {
        let began = self.clock.monotonic();
        loop {
            self.engine.flush();
            if !self.store.open_reservations().unwrap().is_empty() {
                return;
            }
            assert!(self.clock.monotonic().since(began) < PATIENCE);
            thread::yield_now();
        }
    }

    /// Waits until it is so.
    pub(crate) fn until(&self, is_so: impl Fn() -> bool) {
        let began = self.clock.monotonic();
        while !is_so() {
            assert!(self.clock.monotonic().since(began) < PATIENCE);
            thread::yield_now();
        }
    }

    /// The values of what was reported under this name, but for those that name the call.
    pub(crate) fn told(&self, event: &str) -> String {
        let mut told = String::new();
        for record in self.told.0.lock().iter().filter(|it| it.event == event) {
            let fields = record.fields.iter().filter(|(name, _)| *name != "call");
            let fields: Vec<String> = fields
                .map(|(name, value)| format!("{name}={}", serde_json::to_string(value).unwrap()))
                .collect();
            told += &format!("{}\n", fields.join(" "));
        }
        told
    }

    /// Waits until so many calls have their record and no reservation is open, and gives the
    /// records, oldest first.
    pub(crate) fn settled(&self, calls: usize) -> Vec<CallRecord> {
        let began = self.clock.monotonic();
        loop {
            self.engine.flush();
            let all = CallFilter {
                limit: LIST_MAX,
                ..CallFilter::default()
            };
            let mut records = self.engine.calls(&all).unwrap();
            let open = self.store.open_reservations().unwrap();
            if records.len() >= calls && open.is_empty() {
                records.reverse();
                return records;
            }
            let waited = self.clock.monotonic().since(began);
            assert!(
                waited < PATIENCE,
                "{calls} calls are to be settled; {records:#?} are, and {open:#?} are open"
            );
            thread::yield_now();
        }
    }

    /// The ledger's side of so many calls: each reservation's events, and each call's record.
    pub(crate) fn ledger(&self, calls: usize) -> String {
        let records = self.settled(calls);
        let mut told = String::new();
        let mut of_reservations: Vec<(_, Vec<String>)> = Vec::new();
        for row in self.store.rows(1, usize::MAX).unwrap() {
            if let Entry::Call(entry) = row.entry().unwrap() {
                let word = booked(&entry.event);
                let found = of_reservations
                    .iter_mut()
                    .find(|(id, _)| *id == entry.reservation);
                match found {
                    Some((_, words)) => words.push(word),
                    None => of_reservations.push((entry.reservation, vec![word])),
                }
            }
        }
        for (_, words) in of_reservations {
            told += &format!("ledger:   {}\n", words.join(", "));
        }
        for record in records {
            let estimated = if record.estimated { ", estimated" } else { "" };
            told += &format!(
                "record:   {} {} {}{estimated}\n",
                record.outcome.word(),
                record.status,
                record.cost
            );
        }
        self.assert_sound();
        told
    }

    /// What must hold after every call, however it ended.
    pub(crate) fn assert_sound(&self) {
        let report = verify_store(self.store.as_ref()).unwrap();
        assert!(report.is_clean(), "{:#?}", report.findings);
        assert_eq!(report.open, 0);
        assert_eq!(
            self.engine.dropped(),
            0,
            "reservations were dropped unsettled"
        );
        for pool in self.engine.pool_views() {
            for bucket in pool.buckets {
                assert_eq!(bucket.held, 0, "{}.{}", pool.platform, bucket.name);
            }
        }
        let spent: u64 = self.settled(0).iter().map(|it| it.cost.0).sum();
        let levels = self.store.balances(None).unwrap();
        let organisation: u128 = levels
            .iter()
            .filter(|(key, _)| key.kind == tidegate_ledger::LevelKind::Organisation)
            .map(|(_, it)| u128::from(it.spent.0))
            .sum();
        assert_eq!(
            organisation,
            u128::from(spent),
            "what the ledger charged is not what the calls' records say"
        );
    }

    /// The home provider's side of so many calls.
    pub(crate) fn wire(&self, calls: usize) -> Vec<WireRecord> {
        let records = self.home.wait_for_calls(calls as u64, PATIENCE);
        assert_eq!(records.len(), calls, "{records:#?}");
        records
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Closing);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || thread::panicking(), "the gateway panicked");
        }
    }
}

fn booked(event: &Event) -> String {
    match event {
        Event::Settle(it) => {
            let cause = it.cause.as_deref().map(|it| format!(" ({it})"));
            format!("settle {}{}", it.cost, cause.unwrap_or_default())
        }
        other => other.word().to_owned(),
    }
}

/// Who makes keys.
pub(crate) fn admin() -> Principal {
    Principal {
        organisation: "local".into(),
        user: "admin".into(),
        key: None,
        role: Role::Admin,
        caller: Caller::Asking,
        default_priority: None,
        highest_priority: Priority::Critical,
        default_task_type: None,
        credential: Credential::None,
        credential_mark: 0,
        credential_is_ours: false,
    }
}

fn engine(
    setup: &Setup,
    clock: &Arc<dyn Clock>,
    gated: &Arc<Gated>,
    records: Arc<dyn RecordSink>,
) -> Arc<Engine> {
    let store = &gated.store;
    Engine::start(Parts {
        clock: Arc::clone(clock),
        settings: setup.settings.clone(),
        prices: PriceBook::builtin(),
        stores: Stores {
            ledger: gated.clone(),
            calls: store.clone(),
            settings: store.clone(),
            journal: Arc::clone(&gated.journal) as _,
        },
        keys: store.clone(),
        audit: store.clone(),
        registry: Arc::new(Registry::new()),
        records,
        notices: Arc::new(tidegate_engine::notices::NoNotices),
        links: tidegate_engine::approvals::LinkKey::new([7; 32]),
        seed: 1,
    })
    .unwrap()
}

/// Time that is to pass, and whom to tell when it has.
type Advance = (Duration, oneshot::Sender<()>);

fn serve(
    gateway: Arc<Gateway>,
    phase: watch::Receiver<Phase>,
    advances: Option<mpsc::Receiver<Advance>>,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(advances.is_some())
        .build()
        .unwrap();
    let serving = move || {
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            let served = server::serve(listener, Arc::new(gateway), phase);
            match advances {
                None => served.await,
                Some(advances) => tokio::select! {
                    () = served => {}
                    () = advancing(advances) => {}
                },
            }
        });
    };
    let thread = thread::Builder::new()
        .name("gateway".to_owned())
        .spawn(serving)
        .unwrap();
    (addr, thread)
}

/// Lets time pass as it is told to, and only then: paused time runs ahead by itself where a
/// runtime has nothing to do, unless a blocking task is running.
async fn advancing(mut advances: mpsc::Receiver<Advance>) {
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let standing_still = tokio::task::spawn_blocking(move || stopped.recv());
    while let Some((time, done)) = advances.recv().await {
        tokio::time::advance(time).await;
        done.send(()).unwrap();
    }
    drop((stop, standing_still));
}
