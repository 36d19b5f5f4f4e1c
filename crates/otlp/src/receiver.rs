//! What takes requests, whichever way they come: who sends it, the body within its bounds, its
//! records, and word that they are kept.

use std::{io::Read as _, net::IpAddr, net::Ipv4Addr, net::SocketAddr, sync::Arc};

use arc_swap::ArcSwap;
use bytes::{Bytes, BytesMut};
use flate2::read::MultiGzDecoder;
use http::{HeaderMap, header, uri::Authority};
use http_body::Body;
use http_body_util::BodyExt as _;
use tidegate_engine::{
    Engine,
    identity::{Own, Presented, Unidentified, page_origin},
};
use tidegate_observe::{metrics::Registry, telemetry::Batch};
use tidegate_segments::{Acknowledged, BodyHash, Receipt, Refused, Segments, Telemetry};
use tidegate_types::{Clock, Role};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    decode::{Decoded, Rules, Sender, Signal, decode},
    error::Refusal,
    json,
    limits::{
        BODIES_BYTES_MAX, BODY_BYTES_MAX, BODY_PATIENCE, BODY_STEP, DECODERS, INLINE_BYTES_MAX,
        INLINE_PACKED_MAX, UNPACKED_BYTES_MAX,
    },
};

/// Knows who sends.
pub trait Senders: Send + Sync {
    /// Who is behind a request, by what it presents.
    ///
    /// # Errors
    /// Nobody, or somebody who may not send.
    fn sender(&self, presented: &Presented<'_>) -> Result<Sender, Refusal>;
}

/// The same that may call a model; whoever may call without a key may send without one.
impl Senders for Engine {
    fn sender(&self, presented: &Presented<'_>) -> Result<Sender, Refusal> {
        let principal = self
            .authenticate(presented)
            .map_err(|it: Unidentified| Refusal::Unidentified(it.to_string()))?;
        match principal.role {
            Role::Viewer | Role::Approver => Err(Refusal::Forbidden(principal.role.word())),
            Role::Caller | Role::Operator | Role::Admin => Ok(Sender {
                organisation: principal.organisation,
                user: principal.user,
            }),
        }
    }
}

/// Keeps batches.
pub trait Keep: Send + Sync {
    /// Takes a batch that is known by this hash where it is sent again; `None` where nothing is kept,
    /// by choice.
    ///
    /// # Errors
    /// Why it was refused at once.
    fn keep(&self, batch: Batch, hash: BodyHash) -> Result<Option<Receipt>, Refused>;

    /// Takes note of how that ended.
    fn note(&self, ended: Result<(), &Refused>);
}

impl Keep for Segments {
    fn keep(&self, batch: Batch, hash: BodyHash) -> Result<Option<Receipt>, Refused> {
        self.append(batch, Some(hash)).map(Some)
    }

    fn note(&self, _: Result<(), &Refused>) {}
}

impl Keep for Telemetry {
    fn keep(&self, batch: Batch, hash: BodyHash) -> Result<Option<Receipt>, Refused> {
        self.append(batch, Some(hash)).map(Some)
    }

    fn note(&self, ended: Result<(), &Refused>) {
        self.note_written(ended);
    }
}

/// Keeps nothing, by choice: what is sent is answered as if it was kept, so that nobody sends it again.
#[derive(Clone, Copy, Debug)]
pub struct Nowhere;

impl Keep for Nowhere {
    fn keep(&self, _: Batch, _: BodyHash) -> Result<Option<Receipt>, Refused> {
        Ok(None)
    }

    fn note(&self, _: Result<(), &Refused>) {}
}

/// Takes telemetry, over HTTP and over gRPC.
pub struct Receiver {
    senders: Arc<dyn Senders>,
    store: Arc<dyn Keep>,
    clock: Arc<dyn Clock>,
    registry: Arc<Registry>,
    rules: ArcSwap<Rules>,
    /// In steps of [`BODY_STEP`].
    memory: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Receiver")
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Protobuf,
    Json,
}

/// A body that was read, whose memory is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// What a request brings, and from whom.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) signal: Signal,
    pub(crate) form: Form,
    /// Whether it is packed by gzip.
    pub(crate) packed: bool,
    pub(crate) sender: Sender,
}

/// Records that are kept, and those that were not worth keeping.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) rejected: u64,
    pub(crate) reason: String,
}

impl Receiver {
    /// A receiver that keeps what it takes in `store`.
    pub fn new(
        senders: Arc<dyn Senders>,
        store: Arc<dyn Keep>,
        clock: Arc<dyn Clock>,
        registry: Arc<Registry>,
        rules: Rules,
    ) -> Self {
        Self {
            senders,
            store,
            clock,
            registry,
            rules: ArcSwap::from_pointee(rules),
            memory: Arc::new(Semaphore::new(BODIES_BYTES_MAX / BODY_STEP)),
            decoders: Arc::new(Semaphore::new(DECODERS)),
        }
    }

    /// Keeps what comes from here on by other rules.
    pub fn put_rules(&self, rules: Rules) {
        self.rules.store(Arc::new(rules));
    }

    /// Who sends a request with these headers, to this authority where there is no `host`.
    pub(crate) fn sender(
        &self,
        headers: &HeaderMap,
        authority: Option<&Authority>,
        peer: SocketAddr,
    ) -> Result<Sender, Refusal> {
        // What a proxy on this machine passes on is not from this machine.
        let forwarded = ["forwarded", "x-forwarded-for", "x-real-ip"];
        let is_forwarded = forwarded.iter().any(|it| headers.contains_key(*it));
        let authority = authority.map(Authority::as_str);
        let x_api_key = single(headers, "x-api-key");
        let authorization = single(headers, header::AUTHORIZATION.as_str());
        self.senders.sender(&Presented {
            peer: if is_forwarded {
                IpAddr::V4(Ipv4Addr::UNSPECIFIED)
            } else {
                peer.ip()
            },
            host: single(headers, header::HOST.as_str()).or(authority),
            origin: page_origin(
                single(headers, header::ORIGIN.as_str()),
                single(headers, "sec-fetch-site"),
            ),
            x_api_key,
            authorization,
            tidegate_key: single(headers, "x-tidegate-key"),
            own: Own::of([x_api_key, authorization].into_iter().flatten()),
        })
    }

    /// Reads a body to its end, within its bounds; `extra` bytes of it are the transport's.
    pub(crate) async fn read<B>(&self, body: B, extra: usize) -> Result<Held, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let most = BODY_BYTES_MAX + extra;
        if body.size_hint().lower() > most as u64 {
            return Err(Refusal::TooLarge);
        }
        let reading = self.read_patiently(body, most);
        let read = tokio::time::timeout(BODY_PATIENCE, reading).await;
        read.unwrap_or(Err(Refusal::Slow))
    }

    async fn read_patiently<B>(&self, body: B, most: usize) -> Result<Held, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let mut body = std::pin::pin!(body);
        let mut bytes = BytesMut::new();
        let mut memory: Option<OwnedSemaphorePermit> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_lost| Refusal::Lost)?;
            let Ok(chunk) = frame.into_data() else {
                continue;
            };
            if bytes.len() + chunk.len() > most {
                return Err(Refusal::TooLarge);
            }
            let steps = (bytes.len() + chunk.len()).div_ceil(BODY_STEP);
            let missing =
                steps.saturating_sub(memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits));
            if missing > 0 {
                let missing = u32::try_from(missing).unwrap_or(u32::MAX);
                let more = Arc::clone(&self.memory).try_acquire_many_owned(missing);
                let more = more.map_err(|_none| Refusal::Busy)?;
                match &mut memory {
                    Some(held) => held.merge(more),
                    None => memory = Some(more),
                }
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(Held {
            bytes: bytes.freeze(),
            _memory: memory,
        })
    }

    /// Unpacks and decodes a body, and waits until its records are kept.
    pub(crate) async fn keep(&self, brought: Brought, held: Held) -> Result<Taken, Refusal> {
        let signal = brought.signal;
        let rules = self.rules.load_full();
        let now = self.clock.now();
        let size = held.bytes.len();
        let inline = if brought.packed {
            size <= INLINE_PACKED_MAX
        } else {
            size <= INLINE_BYTES_MAX
        };
        let decoding = move || {
            let decoded = unpack_and_decode(&brought, &held.bytes, &rules, now);
            drop(held);
            decoded
        };
        let (decoded, hash) = if inline {
            decoding()?
        } else {
            // Closed only with the receiver itself.
            let _turn = self.decoders.acquire().await.map_err(|_| Refusal::Busy)?;
            let decoded = tokio::task::spawn_blocking(decoding).await;
            decoded.unwrap_or(Err(Refusal::Lost))?
        };
        let taken = Taken {
            rejected: decoded.rejected.records(),
            reason: decoded.rejected.reason(),
        };
        let word = [signal.word()];
        if !decoded.batch.is_empty() {
            match self.stored(decoded.batch, hash).await? {
                Some(it) if it.repeated => {
                    self.registry.otlp_repeated_requests.with(word).increment();
                    return Ok(taken);
                }
                Some(it) => {
                    let records = &self.registry.otlp_taken_records;
                    records.with(word).add(it.rows as u64);
                }
                None => return Ok(Taken::default()),
            }
        }
        let counts = [
            (&self.registry.otlp_rejected_records, taken.rejected),
            (&self.registry.otlp_cut_values, decoded.cut.values),
            (&self.registry.otlp_withheld_values, decoded.cut.withheld),
        ];
        for (counter, count) in counts.into_iter().filter(|it| it.1 > 0) {
            counter.with(word).add(count);
        }
        Ok(taken)
    }

    /// Waits until a batch is kept.
    async fn stored(&self, batch: Batch, hash: BodyHash) -> Result<Option<Acknowledged>, Refused> {
        let kept = match self.store.keep(batch, hash) {
            Ok(Some(receipt)) => receipt.acknowledged().await.map(Some),
            Ok(None) => Ok(None),
            Err(refused) => Err(refused),
        };
        self.store.note(kept.as_ref().map(|_| ()));
        kept
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, transport: &str, signal: Option<Signal>, status: &str) {
        let signal = signal.map_or("none", Signal::word);
        let counter = &self.registry.otlp_requests;
        counter.with([transport, signal, status]).increment();
    }

    /// What may be told of a refusal: bodies are quoted in some.
    pub(crate) fn tellable(&self, refusal: &Refusal) -> String {
        let rules = self.rules.load();
        let mut sentence = refusal.to_string();
        if let Some(trouble) = refusal.trouble() {
            sentence = format!("{sentence}: {trouble}");
        }
        rules.redactor.redact(&sentence).into_owned()
    }
}

fn unpack_and_decode(
    brought: &Brought,
    bytes: &Bytes,
    rules: &Rules,
    now: tidegate_types::Timestamp,
) -> Result<(Decoded, BodyHash), Refusal> {
    let unpacked;
    let body: &[u8] = if brought.packed {
        unpacked = unpack(bytes)?;
        &unpacked
    } else {
        bytes
    };
    let sender = &brought.sender;
    // A batch that is sent again is packed again, with another time in it: the hash is of what is
    // inside. Whoever else sends the same, sends something else.
    let hash = BodyHash::of_parts(&[
        brought.signal.word().as_bytes(),
        &[0],
        sender.organisation.as_bytes(),
        &[0],
        sender.user.as_bytes(),
        &[0],
        body,
    ]);
    let decoded = match brought.form {
        Form::Protobuf => decode(brought.signal, body, sender, rules, now)?,
        Form::Json => {
            let message = json::to_protobuf(brought.signal, body)?;
            decode(brought.signal, &message, sender, rules, now)?
        }
    };
    Ok((decoded, hash))
}

/// Unpacks gzip, up to its bound.
fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Refusal> {
    let mut unpacked = Vec::with_capacity(bytes.len().saturating_mul(4).min(UNPACKED_BYTES_MAX));
    let most = UNPACKED_BYTES_MAX as u64 + 1;
    let read = MultiGzDecoder::new(bytes)
        .take(most)
        .read_to_end(&mut unpacked);
    read.map_err(|it| Refusal::NotGzip(it.to_string()))?;
    if unpacked.len() > UNPACKED_BYTES_MAX {
        return Err(Refusal::Bomb);
    }
    Ok(unpacked)
}

/// A header that comes once. One that comes twice, or is no text, is nobody's name, host or key.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut all = headers.get_all(name).iter();
    let first = all.next()?;
    match all.next() {
        None => Some(first.to_str().unwrap_or_default()),
        Some(_) => Some(""),
    }
}
