//! The process that receives.

use std::{convert::Infallible, io::Read as _, path::Path, sync::Arc};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tidegate_engine::identity::Presented;
use tidegate_observe::metrics::Registry;
use tidegate_otlp::{Keep, Receiver, Refusal, Rules, Sender, Senders};
use tidegate_segments::{BodyHash, Options, Receipt, Refused, Segments};
use tidegate_types::SystemClock;
use tokio::net::TcpListener;

use crate::cost::{cpu_seconds, ratio, resident_mib};

struct Anybody;

impl Senders for Anybody {
    fn sender(&self, _: &Presented<'_>) -> Result<Sender, Refusal> {
        Ok(Sender {
            organisation: "bench".into(),
            user: "bench".into(),
        })
    }
}

struct Shared(Arc<Segments>);

impl Keep for Shared {
    fn keep(
        &self,
        batch: tidegate_observe::telemetry::Batch,
        hash: BodyHash,
    ) -> Result<Option<Receipt>, Refused> {
        self.0.keep(batch, hash)
    }

    fn note(&self, _: Result<(), &Refused>) {}
}

/// Serves until the end of its input; says its port first, and what all of it cost last.
pub(crate) fn run(directory: &Path) {
    let clock = Arc::new(SystemClock::start());
    let (store, _) = Segments::open(directory, Options::default(), clock.clone()).unwrap();
    let store = Arc::new(store);
    let tending = store.start_tending(|it| assert!(it.failed.is_empty(), "{:?}", it.failed));
    let tending = tending.unwrap();
    let receiver = Arc::new(Receiver::new(
        Arc::new(Anybody),
        Arc::new(Shared(Arc::clone(&store))),
        clock,
        Arc::new(Registry::new()),
        Rules::default(),
    ));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    println!("{}", listener.local_addr().unwrap().port());
    runtime.spawn(async move {
        loop {
            let (stream, peer) = listener.accept().await.unwrap();
            let receiver = Arc::clone(&receiver);
            let service = service_fn(move |request| {
                let answering = Arc::clone(&receiver).answer_http(request, peer);
                async move { Ok::<_, Infallible>(answering.await) }
            });
            tokio::task::spawn(
                http1::Builder::new().serve_connection(TokioIo::new(stream), service),
            );
        }
    });
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    runtime.shutdown_background();
    let resident = resident_mib();
    drop(tending);
    let kept: u64 = [&"logs", &"spans"]
        .iter()
        .map(|kind| rows(&store, kind))
        .sum();
    store.seal_all();
    let cpu = cpu_seconds();
    let bytes = store.status().unwrap().part_bytes;
    println!(
        "\"kept\":{kept},\"cpu_seconds\":{cpu:.2},\"records_per_cpu_second\":{:.0},\"part_bytes_per_record\":{:.1},\"resident_mib\":{resident},\"resident_at_end_mib\":{}",
        ratio(kept, 1) / cpu,
        ratio(bytes, kept),
        resident_mib(),
    );
}

fn rows(store: &Segments, kind: &str) -> u64 {
    use tidegate_observe::telemetry::Filter;
    use tidegate_segments::Query;
    let everything = Query::latest(Filter::all(kind.parse().unwrap()), 0);
    store.count(&everything).unwrap().rows
}
