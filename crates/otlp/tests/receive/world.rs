//! A receiver with a store of its own.

use std::{future::Future, io::Write as _, net::SocketAddr, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use parking_lot::Mutex;
use tidegate_engine::identity::Presented;
use tidegate_observe::{
    metrics::Registry,
    telemetry::{Batch, Filter, Kind},
};
use tidegate_otlp::{Keep, Receiver, Refusal, Rules, Sender, Senders};
use tidegate_segments::{BodyHash, Options, Query, Receipt, Refused, Segments};
use tidegate_types::SystemClock;

pub(crate) const PEER: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 40_000);

/// One log record, as JSON.
pub(crate) const LOG: &str = r#"{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"shop"}}]},
    "scopeLogs":[{"logRecords":[{"body":{"stringValue":"hello"}}]}]}]}"#;

/// The same in Protocol Buffers.
pub(crate) fn log() -> Vec<u8> {
    // resource_logs { scope_logs { log_records { body { string_value: "hello" } } } }
    let mut message = b"hello".to_vec();
    for tag in [0x0a, 0x2a, 0x12, 0x12, 0x0a] {
        let mut outer = vec![tag, u8::try_from(message.len()).unwrap()];
        outer.append(&mut message);
        message = outer;
    }
    message
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    packed.finish().unwrap()
}

/// Whoever shows `x-tidegate-key` is the user of that name; whoever shows none is local.
struct ByName;

impl Senders for ByName {
    fn sender(&self, presented: &Presented<'_>) -> Result<Sender, Refusal> {
        match presented.tidegate_key {
            Some("") => Err(Refusal::Unidentified("whose key is that?".to_owned())),
            None if !presented.peer.is_loopback() => {
                Err(Refusal::Unidentified("a key is needed".to_owned()))
            }
            Some("viewer") => Err(Refusal::Forbidden("viewer")),
            name => Ok(Sender {
                organisation: "acme".into(),
                user: name.unwrap_or("local").into(),
            }),
        }
    }
}

/// A store that can be told to refuse.
pub(crate) struct Store {
    segments: Segments,
    refusing: Mutex<Option<Refused>>,
}

impl Keep for Store {
    fn keep(&self, batch: Batch, hash: BodyHash) -> Result<Option<Receipt>, Refused> {
        match &*self.refusing.lock() {
            Some(refused) => Err(refused.clone()),
            None => self.segments.append(batch, Some(hash)).map(Some),
        }
    }

    fn note(&self, _: Result<(), &Refused>) {}
}

pub(crate) struct World {
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) registry: Arc<Registry>,
    store: Arc<Store>,
    _directory: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock::start());
        let opened = Segments::open(directory.path(), Options::default(), clock.clone());
        let store = Arc::new(Store {
            segments: opened.unwrap().0,
            refusing: Mutex::default(),
        });
        let registry = Arc::new(Registry::new());
        let receiver = Receiver::new(
            Arc::new(ByName),
            store.clone(),
            clock,
            registry.clone(),
            Rules::default(),
        );
        Self {
            receiver: Arc::new(receiver),
            registry,
            store,
            _directory: directory,
        }
    }

    /// Has the store refuse what comes, for as long.
    pub(crate) fn refuse(&self, seconds: Option<u64>) {
        *self.store.refusing.lock() = seconds.map(|it| Refused::Busy {
            retry_after: Duration::from_secs(it),
        });
    }

    /// What is kept: users and bodies, oldest first.
    pub(crate) fn kept(&self) -> Vec<String> {
        let rows = self
            .store
            .segments
            .rows(Query::latest(Filter::all(Kind::Logs), 100));
        let mut kept: Vec<String> = rows
            .map(|it| {
                let row = it.unwrap().json();
                format!("{}: {}", row["user"], row["body"])
            })
            .collect();
        kept.reverse();
        kept
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap().block_on(work)
}
