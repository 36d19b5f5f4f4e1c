//! The courier against a receiver that listens on this machine.
#![expect(
    clippy::unwrap_used,
    reason = "a step that can't be taken is the test's failure"
)]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    sync::{
        Arc,
        mpsc::{Receiver, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use jiff::tz::TimeZone;
use serde_json::Value;
use tidegate_admission::QuotaTable;
use tidegate_engine::{
    Engine, Parts,
    approvals::LinkKey,
    notices::NoticeSink as _,
    observer::RecordSink,
    settings::{Local, ReserveRules, Settings, Weights},
    writer::Stores,
};
use tidegate_ledger::BudgetPolicy;
use tidegate_notify::{
    Channel, Courier, Format, Target, Untested,
    outbox::Pace,
    signature::{NOTICE_HEADER, SIGNATURE_HEADER, sign},
};
use tidegate_observe::{
    metrics::Registry,
    notice::{Notice, NoticeId, Topic},
    record::{Fields, Level, LogRecord},
    redact::Redactor,
};
use tidegate_providers::prices::PriceBook;
use tidegate_store::{MemoryJournal, MemoryStore};
use tidegate_types::{Clock, Secret, SystemClock, Timestamp};
use tokio::sync::oneshot;

/// Longer than any of these tests takes on a machine that is busy otherwise.
const PATIENCE: Duration = Duration::from_mins(1);

const SECRET: &str = "whsec_test";

/// As the real one, a hundred times as fast.
const PACE: Pace = Pace {
    first: Duration::from_millis(10),
    most: Duration::from_secs(3),
    give_up: Duration::from_mins(15),
};

/// One request as it arrived.
#[derive(Debug)]
struct Posted {
    head: Vec<String>,
    body: String,
}

impl Posted {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.iter().filter_map(|it| it.split_once(": "));
        lines.find(|it| it.0 == name).map(|it| it.1)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Answers each request with the next of these, and the last for ever.
fn receiver(answers: &'static [&'static str]) -> (String, Receiver<Posted>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook?x=1", listener.local_addr().unwrap());
    let (posted, arrived) = channel();
    thread::spawn(move || {
        for (place, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let head: Vec<String> = stream
                .by_ref()
                .lines()
                .map(Result::unwrap)
                .take_while(|it| !it.is_empty())
                .collect();
            let mut one = Posted {
                head,
                body: String::new(),
            };
            let length = one.header("content-length").unwrap().parse().unwrap();
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            one.body = String::from_utf8(body).unwrap();
            let answer = answers[place.min(answers.len() - 1)];
            let (status, said) = answer.split_once(' ').unwrap_or((answer, ""));
            write!(
                stream.get_mut(),
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{said}",
                said.len()
            )
            .unwrap();
            if posted.send(one).is_err() {
                return;
            }
        }
    });
    (url, arrived)
}

/// What was reported, by name.
#[derive(Debug, Default)]
struct Told(parking_lot::Mutex<Vec<String>>);

impl RecordSink for Told {
    fn wants(&self, _level: Level) -> bool {
        true
    }

    fn write(&self, record: LogRecord) {
        let result = record.fields.iter().find(|it| it.0 == "result");
        let result = result.map_or(String::new(), |it| format!(" {}", it.1));
        self.0.lock().push(format!("{}{result}", record.event));
    }
}

/// A courier and what it needs, on a store that may outlast it.
struct World {
    engine: Option<Arc<Engine>>,
    courier: Arc<Courier>,
    told: Arc<Told>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    fn start(store: &Arc<MemoryStore>, channels: Vec<Channel>) -> Self {
        let links = LinkKey::new([7; 32]);
        let courier = Courier::kept(store.as_ref(), links.clone(), PACE).unwrap();
        courier.put_channels(channels);
        courier.put_address("https://tidegate.example.com".to_owned());
        let courier = Arc::new(courier);
        let told = Arc::new(Told::default());
        let engine = Engine::start(Parts {
            clock: Arc::new(SystemClock::start()),
            settings: settings(),
            prices: PriceBook::builtin(),
            stores: Stores {
                ledger: store.clone(),
                calls: store.clone(),
                settings: store.clone(),
                journal: Arc::new(MemoryJournal::default()),
            },
            keys: store.clone(),
            audit: store.clone(),
            registry: Arc::new(Registry::new()),
            records: told.clone(),
            notices: courier.clone(),
            links,
            seed: 1,
        })
        .unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let running = Arc::clone(&courier).run(Arc::clone(&engine), async {
            stopped.await.unwrap_or_default();
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let thread = thread::spawn(move || runtime.block_on(running));
        Self {
            engine: Some(engine),
            courier,
            told,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn give(&self, id: u64) {
        self.give_to(None, id);
    }

    fn give_to(&self, channel: Option<&str>, id: u64) {
        let engine = self.engine.as_ref().unwrap();
        self.courier.give(Notice {
            id: NoticeId::from_raw(id),
            at: engine.now().wall,
            topic: Topic::LimitReached,
            text: format!("notice {id}"),
            fields: Fields::new().with("percent", 80),
            decides: None,
            to: channel.map(str::to_owned),
        });
        engine.save_notices();
    }

    /// Waits until nothing waits for a channel.
    fn until_empty(&self, channel: &str) {
        self.until(|it| {
            let channels = it.courier.channels();
            let found = channels.iter().find(|it| &*it.name == channel).unwrap();
            found.waiting == 0
        });
    }

    fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let clock = SystemClock::start();
        while !is_so(self) {
            assert!(clock.monotonic().since(tidegate_types::Monotonic(0)) < PATIENCE);
            thread::yield_now();
        }
    }

    fn told(&self) -> Vec<String> {
        let told = self.told.0.lock();
        let ours = told
            .iter()
            .filter(|it| it.contains("notice") || it.contains("channel"));
        ours.cloned().collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap_or_default();
        let ended = self.thread.take().unwrap().join();
        assert!(ended.is_ok() || thread::panicking(), "the courier panicked");
        // Writes what is to be kept.
        self.engine = None;
    }
}

fn settings() -> Settings {
    Settings {
        local: Local {
            organisation: "local".into(),
            user: "local".into(),
        },
        keyless: true,
        platforms: Vec::new(),
        budgets: Arc::new(BudgetPolicy::built_in(TimeZone::UTC)),
        quotas: Arc::new(QuotaTable::unlimited()),
        reserve: ReserveRules::default(),
        weights: Weights::default(),
        redactor: Redactor::default(),
    }
}

fn hook(name: &str, url: &str) -> Channel {
    Channel {
        name: name.into(),
        target: Target::try_new(url).unwrap(),
        secret: Some(Secret::new(SECRET.to_owned())),
        format: Format::Json,
        topics: vec![Topic::LimitReached],
    }
}

fn next(arrived: &Receiver<Posted>) -> Posted {
    arrived.recv_timeout(PATIENCE).unwrap()
}

/// As a receiver does it.
fn assert_signed(posted: &Posted) {
    let signature = posted.header(SIGNATURE_HEADER).unwrap();
    let seconds = signature.strip_prefix("t=").unwrap();
    let seconds: u64 = seconds.split_once(',').unwrap().0.parse().unwrap();
    assert_eq!(signature, sign(SECRET, seconds, posted.body.as_bytes()));
    let age = SystemClock::start()
        .now()
        .since(Timestamp::from_seconds(seconds));
    assert!(age < Duration::from_mins(5), "{age:?}");
}

#[test]
fn a_notice_for_one_channel_is_told_to_no_other_whatever_it_wants() {
    let (url, arrived) = receiver(&["200 ok"]);
    let (other, strangers) = receiver(&["200 ok"]);
    let deaf = Channel {
        topics: vec![Topic::Overspent],
        ..hook("ci", &url)
    };
    let world = World::start(&Arc::default(), vec![hook("ops", &other), deaf]);
    world.give_to(Some("ci"), 1);
    assert_eq!(
        next(&arrived).json()["id"],
        NoticeId::from_raw(1).to_string()
    );
    world.until_empty("ci");
    assert!(strangers.try_recv().is_err());
}

#[test]
fn a_receiver_that_fails_twice_gets_the_same_notice_again_and_then_the_next() {
    let (url, arrived) = receiver(&["503 later", "429 slowly", "200 ok"]);
    let world = World::start(&Arc::default(), vec![hook("ops", &url)]);
    world.give(1);
    world.give(2);
    let posted: Vec<Posted> = (0..4).map(|_| next(&arrived)).collect();
    for it in &posted {
        assert_signed(it);
        assert!(
            it.head[0].starts_with("POST /hook?x=1 HTTP/1.1"),
            "{}",
            it.head[0]
        );
        assert_eq!(it.header("content-type"), Some("application/json"));
        assert_eq!(it.header(NOTICE_HEADER), it.json()["id"].as_str());
    }
    let texts: Vec<Value> = posted.iter().map(|it| it.json()["text"].clone()).collect();
    assert_eq!(texts, ["notice 1", "notice 1", "notice 1", "notice 2"]);
    assert_eq!(posted[0].json()["percent"], 80);
    world.until_empty("ops");
    world.until(|it| it.told().len() == 6);
    assert_eq!(
        world.told(),
        [
            r#"notice_tried "retried""#,
            "channel_failing",
            r#"notice_tried "retried""#,
            r#"notice_tried "delivered""#,
            "channel_works",
            r#"notice_tried "delivered""#,
        ]
    );
}

#[test]
fn a_notice_that_waits_at_a_restart_is_delivered_after_it_and_only_once() {
    let store = Arc::<MemoryStore>::default();
    let (url, arrived) = receiver(&["503 later"]);
    let world = World::start(&store, vec![hook("ops", &url)]);
    world.give(1);
    next(&arrived);
    drop(world);
    let (url, arrived) = receiver(&["200 ok"]);
    let world = World::start(&store, vec![hook("ops", &url)]);
    let posted = next(&arrived);
    assert_eq!(posted.json()["id"], "ntc_0000000000000001");
    world.until_empty("ops");
    // Whoever tells it again has been heard already, also after another restart.
    drop(world);
    let world = World::start(&store, vec![hook("ops", &url)]);
    world.give(1);
    world.give(2);
    assert_eq!(next(&arrived).json()["id"], "ntc_0000000000000002");
}

#[test]
fn a_refusal_for_good_is_told_and_holds_up_nobody() {
    let (url, arrived) = receiver(&["404 no_service", "200 ok"]);
    let dead = hook("dead", "http://127.0.0.1:9/");
    let world = World::start(&Arc::default(), vec![dead, hook("ops", &url)]);
    world.give(1);
    world.give(2);
    assert_eq!(next(&arrived).json()["text"], "notice 1");
    assert_eq!(next(&arrived).json()["text"], "notice 2");
    world.until_empty("ops");
    assert_eq!(world.courier.channels()[1].lost, 1);
    world.until(|it| it.told().contains(&"notice_lost".to_owned()));
    world.until(|it| it.courier.channels()[0].failing.is_some());
    assert_eq!(world.courier.channels()[0].waiting, 2);
}

#[test]
fn a_channel_is_told_of_what_it_wants_to_know_and_of_nothing_once_it_is_gone() {
    let (url, arrived) = receiver(&["200 ok"]);
    let deaf = Channel {
        topics: vec![Topic::Overspent],
        ..hook("deaf", &url)
    };
    let world = World::start(&Arc::default(), vec![deaf, hook("ops", &url)]);
    world.give(1);
    next(&arrived);
    world.until_empty("ops");
    world.courier.put_channels(Vec::new());
    world.give(2);
    world.courier.put_channels(vec![hook("ops", &url)]);
    world.give(3);
    assert_eq!(next(&arrived).json()["text"], "notice 3");
}

#[test]
fn a_test_says_what_came_back() {
    let (url, arrived) = receiver(&["200 ok", "403 invalid_token"]);
    let world = World::start(
        &Arc::default(),
        vec![hook("ops", &url), hook("dead", "http://127.0.0.1:9/")],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let now = SystemClock::start().now();
    let test = |name: &str| runtime.block_on(world.courier.test(name, now));
    let tested = test("ops").unwrap();
    assert_eq!((tested.status, tested.says.as_str()), (200, "ok"));
    let posted = next(&arrived);
    assert_signed(&posted);
    assert_eq!(posted.json()["type"], "test");
    assert_eq!(test("ops").unwrap().status, 403);
    assert!(
        matches!(test("dead"), Err(Untested::Unanswered(why)) if why.contains("no connection"))
    );
    let unknown = test("opps").unwrap_err().to_string();
    assert_eq!(
        unknown,
        "there is no channel `opps`; the configuration has `dead`, `ops`"
    );
}
