//! Runs the domain: identify, estimate, route, reserve, send, settle.
//!
//! Owns its state and its one writer thread; knows ports, never backends, and nothing of HTTP.

pub mod account;
pub mod admissions;
mod alarms;
mod alerts;
pub mod approvals;
mod books;
pub mod call;
pub mod cap;
mod durable;
pub mod estimate;
mod facts;
pub mod flight;
pub mod gate;
mod heard;
mod holding;
mod housekeeping;
pub mod identify;
pub mod identity;
mod journaling;
pub mod keys;
mod leases;
pub mod notices;
pub mod observer;
mod overspending;
pub mod places;
pub mod queues;
mod recover;
pub mod reserve;
pub mod route;
pub mod session_views;
pub mod sessions;
pub mod settings;
mod signals;
pub mod spender;
pub mod spending;
pub mod tasks;
pub mod views;
pub mod waiting;
mod work;
pub mod writer;

use std::{
    borrow::Cow,
    collections::HashMap,
    hash::BuildHasher as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use foldhash::fast::{FixedState, RandomState};
use tidegate_admission::{BucketIndex, Need, UserSlot};
use tidegate_ledger::keys::{Bearers, KeyStore};
use tidegate_observe::{
    audit::AuditStore,
    calls::CallRecord,
    event::{CallSettled, Event},
    metrics::Registry,
};
use tidegate_providers::{
    accounting::Estimate,
    prices::{PriceBook, Quote},
};
use tidegate_types::{CallId, Clock, IdSource, Monotonic, NanoUsd, Timestamp};

pub use recover::StartError;

use call::Moment;
use gate::{Gate, SharedGate};
use identity::{KeyRing, Presented, Principal, Unidentified};
use observer::RecordSink;
use settings::{Platform, Settings};
use writer::{Stores, Writer};

/// Reservations that were dropped unsettled: each is a defect of ours.
static DROPPED: AtomicU64 = AtomicU64::new(0);

fn count_dropped() {
    DROPPED.fetch_add(1, Ordering::Relaxed);
}

/// Everything the engine is built from.
#[expect(missing_debug_implementations, reason = "stores have nothing to show")]
pub struct Parts {
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// What is configured.
    pub settings: Settings,
    /// What models cost.
    pub prices: PriceBook,
    /// Where entries, calls and small values go.
    pub stores: Stores,
    /// Where keys are kept.
    pub keys: Arc<dyn KeyStore>,
    /// Where changes are recorded.
    pub audit: Arc<dyn AuditStore>,
    /// The program's instruments.
    pub registry: Arc<Registry>,
    /// Where log records go.
    pub records: Arc<dyn RecordSink>,
    /// Whom to tell what somebody has to know.
    pub notices: Arc<dyn notices::NoticeSink>,
    /// Knows the links that decide on requests for approval.
    pub links: approvals::LinkKey,
    /// 64 random bits, for identifiers of traces.
    pub seed: u64,
}

/// What is followed to tell somebody of it: the last look at all limits, and tasks that run.
#[derive(Debug, Default)]
struct Following {
    looks: alerts::Looks,
    tasks: overspending::Tasks,
}

type Map<V> = HashMap<Arc<str>, V, RandomState>;

/// The engine. One per program.
pub struct Engine {
    clock: Arc<dyn Clock>,
    settings: ArcSwap<Settings>,
    prices: ArcSwap<PriceBook>,
    gates: Arc<ArcSwap<Map<SharedGate>>>,
    places: places::Places,
    wakeups: Arc<gate::Wakeups>,
    books: account::Accounts,
    /// What the journal had at start-up that quotas count.
    counted: Vec<account::Counted>,
    sessions: sessions::Sessions,
    tasks: Arc<tasks::Tasks>,
    /// Rises with each task that is called off, for calls that wait elsewhere than in a queue.
    calling_off: tokio::sync::watch::Sender<u64>,
    outputs: estimate::Outputs,
    holds: holding::Holds,
    standing: Arc<heard::Standing>,
    ring: ArcSwap<KeyRing>,
    bearers: OnceLock<Arc<dyn Bearers>>,
    open: admissions::Open,
    /// Held while the cost of a reservation that ended is corrected.
    correcting: parking_lot::Mutex<()>,
    waits: admissions::Waits,
    alarms: alarms::Alarms,
    following: Following,
    approvals: approvals::Approvals,
    ids: Arc<IdSource>,
    writer: Writer,
    journaling: Arc<journaling::Journaling>,
    leases: Arc<leases::Leases>,
    durable: Arc<durable::Durable>,
    stores: Stores,
    keys: Arc<dyn KeyStore>,
    audit: Arc<dyn AuditStore>,
    registry: Arc<Registry>,
    records: Arc<dyn RecordSink>,
    notices: Arc<dyn notices::NoticeSink>,
    links: approvals::LinkKey,
    seed: u64,
    /// The latest time the ledger knew when we started: no window before it is opened again.
    latest: Timestamp,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.wakeups.close();
        // Turns that are kept for clients who have not come back.
        for kept in self.places.drain() {
            self.end_place(kept.place);
        }
        self.close_waits();
        self.save_tasks();
    }
}

impl Engine {
    /// Both clocks, now.
    pub fn now(&self) -> Moment {
        Moment {
            wall: self.clock.now(),
            mono: self.clock.monotonic(),
        }
    }

    /// What is configured.
    pub fn settings(&self) -> arc_swap::Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// What models cost.
    pub fn prices(&self) -> Arc<PriceBook> {
        self.prices.load_full()
    }

    /// The program's instruments.
    pub const fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Begins the record of a call that has just arrived.
    pub fn arrived(&self, dialect: &'static str, path: &str) -> (Box<CallRecord>, Moment) {
        let now = self.now();
        let id: CallId = self.ids.next(now.wall);
        let mut record = Box::new(CallRecord::arrived(id, now.wall, dialect));
        record.path = self.without_secrets(path);
        (record, now)
    }

    /// Says who sent a request.
    pub fn authenticate(&self, presented: &Presented<'_>) -> Result<Principal, Unidentified> {
        let settings = self.settings.load();
        let known = identity::identify(
            presented,
            &self.ring.load(),
            &settings.local,
            settings.keyless,
        );
        match (known, self.bearers.get()) {
            (Err(Unidentified::SignedOut), Some(bearers)) => {
                let now = self.clock.now();
                identity::identify_bearer(presented, &**bearers, settings.keyless, now)
            }
            (known, _) => known,
        }
    }

    /// Takes access tokens of sign-ins for what `bearers` says they stand for; the first time only.
    pub fn accept_bearers(&self, bearers: Arc<dyn Bearers>) {
        self.bearers.get_or_init(|| bearers);
    }

    /// Sets aside what a call needs, on its path as it is now.
    pub fn reserve(
        &self,
        mut routed: Box<call::Routed>,
        now: Moment,
    ) -> Result<reserve::Reserved, (Box<call::Routed>, reserve::Obstacle)> {
        let rules = self.settings.load().reserve;
        let trying = match self.standing.pass(&routed, now.mono) {
            Ok(trying) => trying,
            Err(cooldown) => return Err((routed, reserve::Obstacle::Cooling(cooldown))),
        };
        // A window that ends, or limits that change, between route and reserve: twice is enough,
        // three times would be a clock that races.
        for _try in 0..3 {
            match routed.reserve(&rules, now) {
                Err((stale, reserve::Obstacle::Stale)) => {
                    routed = stale;
                    let books = Arc::clone(&routed.books);
                    let record = &routed.call.record;
                    let path = self.loaded_path(&books, |books| {
                        books.path(
                            &record.user,
                            record.root_task.as_deref(),
                            tidegate_ledger::Service::Llm,
                            now.wall,
                        )
                    });
                    routed.path = path;
                }
                Err((routed, reserve::Obstacle::Budget(shortage)))
                    if !shortage.held.is_zero() && routed.fits_when_idle(&rules) =>
                {
                    let wait = self.holds.wait();
                    return Err((routed, reserve::Obstacle::Held { shortage, wait }));
                }
                Ok(mut reserved) => {
                    if trying.is_some() {
                        reserved.holding.set_trying(trying);
                    }
                    return Ok(reserved);
                }
                refused @ Err(_) => return refused,
            }
        }
        Err((routed, reserve::Obstacle::Stale))
    }

    /// Ends a record that will not change any more: counted, kept, and given back.
    pub fn finish(&self, mut record: Box<CallRecord>) -> Arc<CallRecord> {
        // Where it ended, it did not go on from.
        record.tried.pop_if(|it| *it == record.platform);
        self.report(&CallSettled(&record));
        self.finish_for_task(&record);
        let record = Arc::from(record);
        self.writer.call(Arc::clone(&record));
        record
    }

    /// Counts a fact and, where it matters enough, logs it.
    pub fn report<E: Event>(&self, event: &E) {
        event.count(&self.registry);
        if self.records.wants(event.level()) {
            self.records
                .write(event.record(observer::stamp(self.clock.now())));
        }
    }

    /// What may be kept and told of a text that came from outside.
    fn without_secrets(&self, text: &str) -> Arc<str> {
        self.settings.load().redactor.redact(text).into()
    }

    /// A refusal's words without secrets that the request brought along.
    pub fn tellable<'a>(&self, words: &'a str) -> Cow<'a, str> {
        self.settings.load().redactor.redact(words)
    }

    /// Reservations dropped unsettled since the program began.
    pub fn dropped(&self) -> u64 {
        DROPPED.load(Ordering::Relaxed)
    }

    fn random_bits(&self, of: u64) -> (u64, u64) {
        let hash = |salt: u64| FixedState::default().hash_one((self.seed, of, salt));
        // Zero is no id.
        (hash(1).max(1), hash(2).max(1))
    }

    /// What a model costs; where the provider may answer with others, at least what they cost.
    fn dearest_price(&self, platform: &Platform, model: &str, others: &[String]) -> Quote {
        let prices = self.prices.load();
        let mut quote = prices.look_up(&platform.provider, model);
        for other in others {
            let other = prices.look_up(&platform.provider, other);
            quote.price = Arc::new(quote.price.dearer(&other.price));
            quote.known &= other.known;
        }
        quote
    }

    fn gate(
        &self,
        platform: &Platform,
        (organisation, user): (&str, &str),
        now: Monotonic,
    ) -> (SharedGate, UserSlot) {
        let gates = self.gates.load();
        let gate = gates.get(&platform.name).map_or_else(
            // A platform that a reload has just taken away: its last calls meet buckets of their own.
            || Gate::shared(platform.pool.clone(), now),
            Arc::clone,
        );
        let slot = gate.lock().pool.user(organisation, user, now);
        (gate, slot)
    }

    fn need(platform: &Platform, estimate: &Estimate, units: u64, cost: NanoUsd) -> Need {
        let counted = platform.family.accounting().estimated(estimate);
        Need {
            units,
            requests: counted.requests,
            input_tokens: estimate::with_margin(counted.input_tokens),
            output_tokens: counted.output_tokens,
            tokens: counted.tokens,
            nano_usd: cost.0,
        }
    }

    fn bucket_name(&self, platform: &Platform, bucket: BucketIndex) -> Arc<str> {
        let gates = self.gates.load();
        let gate = gates.get(&platform.name);
        let name = gate.and_then(|it| it.lock().pool.bucket(bucket).map(|it| it.name.clone()));
        format!("{}.{}", platform.name, name.as_deref().unwrap_or("bucket")).into()
    }
}
