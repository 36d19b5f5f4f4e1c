//! A gateway of two organisations at noon, and those who visit it.

mod program;

use std::{
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, response::Response};
use expect_test::Expect;
use http::Request;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::Value;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_engine::{
    Engine, Parts,
    identity::{Own, Presented},
    keys::NewKey,
    observer::NoRecords,
    settings::{Local, Platform, ReserveRules, Settings, Weights},
    writer::Stores,
};
use tidegate_ledger::{BudgetPolicy, LimitTable};
use tidegate_logins::Logins;
use tidegate_observe::metrics::Registry;
use tidegate_providers::{accounting::Family, prices::PriceBook};
use tidegate_segments::{Options, OwnRecords, Telemetry};
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{
    AdmissionId, Clock, Enforcement, KeyId, Monotonic, Priority, ReservationId, Role, Secret,
    Timestamp,
};
use tower_service::Service as _;

use program::Program;

use crate::{Control, Peer};

/// Noon of 14 July 2026, UTC.
pub(crate) const NOON: u64 = 1_784_030_400;

pub(crate) const TOKEN: &str = "the-token-of-the-data-directory";

/// Everybody who may come, by name.
pub(crate) const VISITORS: &[&str] = &[
    "page", "rebound", "proxied", "remote", "nobody", "caller", "viewer", "approver", "operator",
    "admin", "stranger", "boss", "token",
];

/// Name, role, user, organisation and first random byte of the keys.
const KEYS: &[(&str, Role, &str, &str, u8)] = &[
    ("caller", Role::Caller, "ann", "local", 1),
    ("viewer", Role::Viewer, "vic", "local", 2),
    ("approver", Role::Approver, "pat", "local", 3),
    ("operator", Role::Operator, "oli", "local", 4),
    ("admin", Role::Admin, "ada", "local", 5),
    ("stranger", Role::Caller, "bob", "acme", 6),
    ("boss", Role::Admin, "eve", "acme", 7),
];

#[derive(Debug)]
struct StoppedClock(AtomicU64);

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_seconds(NOON).after(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }

    fn monotonic(&self) -> Monotonic {
        Monotonic::default().after(Duration::from_secs(self.0.load(Ordering::Relaxed)))
    }
}

fn policy(table: LimitTable) -> Result<BudgetPolicy, tidegate_ledger::PolicyError> {
    BudgetPolicy::try_new(
        jiff::tz::TimeZone::UTC,
        std::collections::BTreeMap::new(),
        table,
    )
}

fn platform(name: &str, capacity: u64, refill: u64, slots: Option<u64>) -> Arc<Platform> {
    let units = BucketSpec {
        name: "units".to_owned(),
        resource: Resource::Units,
        capacity,
        refill: Some(Refill {
            amount: refill,
            period: Duration::from_hours(1),
        }),
        threshold: capacity / 2,
        owner: Owner::Ours,
        enforcement: Enforcement::BuiltIn,
    };
    let slots = slots.map(|capacity| BucketSpec {
        name: "slots".to_owned(),
        resource: Resource::Concurrency,
        capacity,
        refill: None,
        threshold: 0,
        ..units.clone()
    });
    let buckets = [units].into_iter().chain(slots).collect();
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
        model_map: std::collections::HashMap::new(),
        fallback: Vec::new(),
        pool: PoolSpec::try_new(name, buckets).unwrap(),
    })
}

fn settings() -> Settings {
    Settings {
        local: Local {
            organisation: "local".into(),
            user: "local".into(),
        },
        keyless: true,
        platforms: vec![
            platform("claude_code", 5_000, 100, None),
            platform("sonnet", 10_000, 200, Some(2)),
        ],
        budgets: Arc::new(BudgetPolicy::built_in(jiff::tz::TimeZone::UTC)),
        quotas: Arc::new(tidegate_admission::QuotaTable::unlimited()),
        reserve: ReserveRules::default(),
        weights: Weights::default(),
        redactor: tidegate_observe::redact::Redactor::default(),
    }
}

pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    router: Router,
    /// The program's own records, on their way to telemetry.
    pub(crate) own: OwnRecords,
    _folder: Option<tempfile::TempDir>,
    clock: Arc<StoppedClock>,
    journal: Arc<MemoryJournal>,
    program: Arc<Program>,
    secrets: Vec<(&'static str, KeyId, String)>,
    last: Mutex<Option<ReservationId>>,
    waits: Mutex<Option<AdmissionId>>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with_store(&Arc::new(MemoryStore::default()))
    }

    /// On a store that an earlier world may have used.
    pub(crate) fn with_store(store: &Arc<MemoryStore>) -> Self {
        Self::made(store, None)
    }

    /// One that keeps telemetry.
    pub(crate) fn keeping() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::made(&Arc::new(MemoryStore::default()), Some(folder))
    }

    fn made(store: &Arc<MemoryStore>, folder: Option<tempfile::TempDir>) -> Self {
        let clock = Arc::new(StoppedClock(AtomicU64::new(0)));
        let telemetry = match &folder {
            Some(it) => Telemetry::open(it.path(), Options::default(), Arc::clone(&clock) as _),
            None => Telemetry::off(Arc::clone(&clock) as _),
        };
        let telemetry = Arc::new(telemetry);
        let journal = Arc::new(MemoryJournal::default());
        let engine = Engine::start(Parts {
            clock: Arc::clone(&clock) as _,
            settings: settings(),
            prices: PriceBook::builtin(),
            stores: Stores {
                ledger: Arc::clone(store) as _,
                calls: Arc::clone(store) as _,
                settings: Arc::clone(store) as _,
                journal: Arc::clone(&journal) as _,
            },
            keys: Arc::clone(store) as _,
            audit: Arc::clone(store) as _,
            registry: Arc::new(Registry::new()),
            records: Arc::new(NoRecords),
            notices: Arc::new(tidegate_engine::notices::NoNotices),
            links: tidegate_engine::approvals::LinkKey::new([7; 32]),
            seed: 7,
        });
        let engine = engine.unwrap();
        let program = Arc::new(Program {
            engine: Arc::clone(&engine),
            draining: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
        });
        let keys = engine.list_keys().unwrap();
        let in_force = |id| keys.iter().any(|it| it.id == id && it.revoked_at.is_none());
        let logins = Logins::kept(Arc::clone(store) as _, in_force, clock.now());
        let logins = Arc::new(logins.unwrap());
        engine.accept_bearers(Arc::clone(&logins) as _);
        let control = Control::new(
            Arc::clone(&engine),
            logins,
            Arc::clone(&telemetry),
            Arc::clone(&program) as _,
            Secret::new(format!("{TOKEN}\n")),
        );
        let secrets = if engine.has_keys() {
            Vec::new()
        } else {
            make_keys(&engine)
        };
        Self {
            router: Arc::new(control).router(),
            own: OwnRecords::new(telemetry),
            _folder: folder,
            engine,
            clock,
            journal,
            program,
            secrets,
            last: Mutex::default(),
            waits: Mutex::default(),
        }
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(time.as_secs(), Ordering::Relaxed);
    }

    pub(crate) fn fill_disk(&self) {
        let words = "/secret/place/journal: no space left";
        self.journal.refuse(Some(words));
    }

    pub(crate) fn drain(&self) {
        self.program.draining.store(true, Ordering::Relaxed);
    }

    pub(crate) fn break_configuration(&self) {
        self.program.refuses.store(true, Ordering::Relaxed);
    }

    pub(crate) fn key(&self, name: &str) -> KeyId {
        let mut all = self.secrets.iter();
        all.find(|(it, _, _)| *it == name).unwrap().1
    }

    pub(crate) fn secret(&self, name: &str) -> &str {
        let mut all = self.secrets.iter();
        &all.find(|(it, _, _)| *it == name).unwrap().2
    }

    /// A request as this visitor would send it.
    pub(crate) fn request(
        &self,
        visitor: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> Request<Body> {
        let here = "127.0.0.1:50000".parse::<SocketAddr>().unwrap();
        let there = "203.0.113.9:50000".parse::<SocketAddr>().unwrap();
        let mut request = Request::builder().method(method).uri(path);
        let host = if visitor == "rebound" {
            "evil.example:8787"
        } else {
            "127.0.0.1:8787"
        };
        request = request.header("host", host);
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = match visitor {
            "nobody" | "rebound" | "remote" => request,
            "page" => request.header("origin", "https://evil.example"),
            "proxied" => request.header("x-forwarded-for", "203.0.113.9"),
            "token" => request.header("authorization", format!("Bearer {TOKEN}")),
            "caller" => request.header("authorization", format!("Bearer {}", self.secret(visitor))),
            "operator" => request.header("x-tidegate-key", self.secret(visitor)),
            other => request.header("x-api-key", self.secret(other)),
        };
        let peer = match visitor {
            "remote" | "caller" | "stranger" => there,
            _ => here,
        };
        let body = Body::from(body.to_owned());
        request.extension(Peer(peer)).body(body).unwrap()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.router.clone().call(request).await.unwrap()
    }

    pub(crate) async fn ask(
        &self,
        visitor: &str,
        method: &str,
        path: &str,
        body: &str,
    ) -> (u16, String) {
        let response = self.send(self.request(visitor, method, path, body)).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.remember(&text);
        (status, text)
    }

    fn remember(&self, text: &str) {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        let id = ["/reservation", "/admission/reservation"].map(|it| value.pointer(it));
        let id = id.into_iter().flatten().find_map(Value::as_str);
        if let Some(id) = id.and_then(|it| it.parse().ok()) {
            *self.last.lock() = Some(id);
        }
        let id = value.pointer("/waits/id").and_then(Value::as_str);
        if let Some(id) = id.and_then(|it| it.parse().ok()) {
            *self.waits.lock() = Some(id);
        }
    }

    /// Lines of `VISITOR METHOD PATH [BODY] [| FIELDS]`; `{last}` is the last reservation that an
    /// answer named, `{waits}` the last request that was let wait, `{key:NAME}` a key's id.
    /// `pass SECONDS` lets time pass.
    pub(crate) async fn transcript(&self, script: &str) -> String {
        let mut transcript = String::new();
        for line in script.lines().map(str::trim).filter(|it| !it.is_empty()) {
            writeln!(transcript, "> {line}").unwrap();
            let (line, fields) = match line.split_once(" | ") {
                Some((line, fields)) => (line, Some(fields)),
                None => (line, None),
            };
            let mut words = line.splitn(4, ' ');
            let (visitor, method) = (words.next().unwrap(), words.next().unwrap());
            if visitor == "pass" {
                self.pass(Duration::from_secs(method.parse().unwrap()));
                self.engine.tidy();
                self.engine.look_at_queues();
                continue;
            }
            let mut path = words.next().unwrap().to_owned();
            if let Some(last) = *self.last.lock() {
                path = path.replace("{last}", &last.to_string());
            }
            if let Some(waits) = *self.waits.lock() {
                path = path.replace("{waits}", &waits.to_string());
            }
            for (name, id, _) in &self.secrets {
                path = path.replace(&format!("{{key:{name}}}"), &id.to_string());
            }
            let body = words.next().unwrap_or_default();
            let (status, text) = self.ask(visitor, method, &path, body).await;
            writeln!(transcript, "{status} {}", shown(&text, fields)).unwrap();
        }
        transcript
    }
}

fn make_keys(engine: &Engine) -> Vec<(&'static str, KeyId, String)> {
    let nobody = Presented {
        peer: [127, 0, 0, 1].into(),
        host: Some("localhost"),
        origin: None,
        x_api_key: None,
        authorization: None,
        tidegate_key: None,
        own: Own::default(),
    };
    let by = engine.authenticate(&nobody).unwrap();
    let keys = KEYS.iter().map(|(name, role, user, organisation, byte)| {
        let new = NewKey {
            name: (*name).to_owned(),
            role: *role,
            user: (*user).to_owned(),
            organisation: (*organisation).to_owned(),
            default_priority: None,
            highest_priority: Priority::High,
            default_task_type: None,
        };
        let (key, secret) = engine.add_key(new, &by, &[*byte; 32]).unwrap();
        (*name, key.id, secret.expose().clone())
    });
    keys.collect()
}

/// Characters of a line that is not broken.
const LINE: usize = 360;

/// An answer as a transcript shows it: refusals as `code: message · remedy`, money as `$0.20`,
/// limits in short, and only the fields that are asked for.
fn shown(text: &str, fields: Option<&str>) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else {
        return text.trim_end().to_owned();
    };
    if let Some(error) = value.get("error") {
        let part = |name: &str| error.get(name).and_then(Value::as_str);
        let parts = [part("message"), part("remedy")].into_iter().flatten();
        let parts: Vec<&str> = parts.collect();
        return format!("{}: {}", part("code").unwrap(), parts.join(" · "));
    }
    if let (Some(fields), Value::Object(all)) = (fields, &mut value) {
        let wanted: Vec<&str> = fields.split(',').map(str::trim).collect();
        all.retain(|name, _| wanted.contains(&name.as_str()));
        assert_eq!(all.len(), wanted.len(), "{fields} of {text}");
    }
    let mut out = String::new();
    put_value(&mut out, &value, 0);
    out
}

fn brief(value: &Value) -> String {
    let list = |all: Vec<String>| all.join(", ");
    let text = |it: &Value| it.as_str().unwrap().to_owned();
    match value {
        Value::Object(it) if it.len() == 2 && it.contains_key("nano_usd") => {
            let exact: tidegate_types::NanoUsd = text(&it["usd"]).parse().unwrap();
            assert_eq!(it["nano_usd"], exact.0);
            format!("${}", text(&it["usd"]))
        }
        Value::Object(it) if it.len() == 6 && it.contains_key("overage_allowed") => {
            let is = |name: &str| it[name] == true;
            let named = if is("named") { "named" } else { "built in" };
            let overage = if is("overage_allowed") {
                ", overage"
            } else {
                ""
            };
            let (soft, hard) = (brief(&it["soft"]), brief(&it["hard"]));
            let (keyless, asking) = (text(&it["keyless"]), text(&it["asking"]));
            format!("[{soft}/{hard} {named}: {keyless}/{asking}{overage}]")
        }
        Value::Object(it) if it.len() == 3 && it.contains_key("waits") => {
            let waits = if it["waits"] == true { " waits" } else { "" };
            format!("{} {}{waits}", text(&it["priority"]), it["earned"])
        }
        Value::Object(it) => {
            let fields = it.iter().map(|(name, it)| format!("{name}: {}", brief(it)));
            format!("{{{}}}", list(fields.collect()))
        }
        Value::Array(it) => format!("[{}]", list(it.iter().map(brief).collect())),
        other => other.to_string(),
    }
}

fn put_value(out: &mut String, value: &Value, indent: usize) {
    let short = brief(value);
    let pad = "  ".repeat(indent + 1);
    let fits = short.len() + 2 * indent <= LINE;
    match value {
        Value::Object(fields) if !fits => {
            out.push_str("{\n");
            for (key, value) in fields {
                write!(out, "{pad}{key}: ").unwrap();
                put_value(out, value, indent + 1);
                out.push('\n');
            }
            write!(out, "{}}}", "  ".repeat(indent)).unwrap();
        }
        Value::Array(items) if !fits => {
            out.push_str("[\n");
            for value in items {
                *out += &pad;
                put_value(out, value, indent + 1);
                out.push('\n');
            }
            write!(out, "{}]", "  ".repeat(indent)).unwrap();
        }
        _ => *out += &short,
    }
}

impl Drop for World {
    /// Ends what a test left open: a reservation that is dropped counts as a defect.
    fn drop(&mut self) {
        let request = self.request("nobody", "GET", "/", "");
        let presented = Presented {
            peer: [127, 0, 0, 1].into(),
            host: request.headers()["host"].to_str().ok(),
            origin: None,
            x_api_key: None,
            authorization: None,
            tidegate_key: None,
            own: Own::default(),
        };
        let mut principal = self.engine.authenticate(&presented).unwrap();
        principal.role = Role::Admin;
        for open in self.engine.reservations(|_| true) {
            let released = self.engine.release_reservation(&principal, open.id);
            assert!(released.is_ok() || std::thread::panicking());
        }
    }
}

/// What a script gets from a new world.
#[track_caller]
pub(crate) fn check(script: &str, expected: Expect) {
    check_in(&World::new(), script, expected);
}

#[track_caller]
pub(crate) fn check_in(world: &World, script: &str, expected: Expect) {
    expected.assert_eq(&run(world.transcript(script)));
}

/// Runs a future to its end on a runtime of its own.
pub(crate) fn run<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(future)
}
