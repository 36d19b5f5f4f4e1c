//! Request bodies: read whole, within one memory budget for all of them.

mod packed;

use std::{sync::Arc, time::Duration};

use self::packed::Packed;
use bytes::{Bytes, BytesMut};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

/// A permit's worth of memory.
const PERMIT_BYTES: u64 = 1024;

/// A client that sends nothing for this long in the middle of a body is given up.
const SILENCE_MAX: Duration = Duration::from_secs(30);

/// A body that keeps coming may take `SILENCE_MAX`, and a second for each of so many bytes: it holds its memory
/// meanwhile, which others wait for.
const BYTES_PER_SECOND_MIN: u64 = 4096;

/// How long a body waits for memory before its call is told to come back.
const MEMORY_WAIT_MAX: Duration = Duration::from_secs(10);

/// How often room is made again while a body waits for memory: those that were sent away may have
/// held less than they once did.
const ROOM_AGAIN: Duration = Duration::from_millis(500);

/// Bytes of an oversized body that are read and thrown away, so that a client that sends all before
/// it reads still gets to see why it was refused.
const DISCARDED_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Bounds on request bodies.
#[derive(Clone, Copy, Debug)]
pub struct BodyBounds {
    /// The most one body may have.
    pub one_bytes_max: u64,
    /// The most that all bodies in memory may have together.
    pub all_bytes_max: u64,
}

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum InletError {
    /// Larger than any body may be.
    #[error("the request body is larger than {max} bytes: send less, or refer to files by id")]
    TooLarge {
        /// The most one body may have.
        max: u64,
    },
    /// Too many other bodies are in memory.
    #[error("too many large requests at once: {all_max} bytes of request bodies are in memory")]
    Busy {
        /// The most that all may have together.
        all_max: u64,
    },
    /// The client stopped sending.
    #[error("the request body stopped coming: nothing for {} s", SILENCE_MAX.as_secs())]
    Silent,
    /// The client sends, too slowly.
    #[error(
        "the request body came too slowly: {bytes} bytes in {} s; after the first {} s, send {BYTES_PER_SECOND_MIN} bytes \
         a second or more",
        waited.as_secs(), SILENCE_MAX.as_secs()
    )]
    Slow {
        /// What had come.
        bytes: u64,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The client went, or sent what is no HTTP.
    #[error("the request body broke off")]
    Cut(#[source] hyper::Error),
}

/// Reads bodies.
#[derive(Debug)]
pub struct Inlet {
    bounds: BodyBounds,
    permits: Arc<Semaphore>,
    /// Whoever packs a body has it.
    packer: Arc<Semaphore>,
}

/// A body, and the memory it holds until dropped.
#[derive(Debug)]
pub struct Held {
    /// The body; nothing while it is packed.
    pub bytes: Bytes,
    packed: Option<Packed>,
    memory: OwnedSemaphorePermit,
}

impl Inlet {
    /// Nothing is held yet.
    #[must_use]
    pub fn new(bounds: BodyBounds) -> Self {
        Self {
            bounds,
            permits: Arc::new(Semaphore::new(permits(bounds.all_bytes_max) as usize)),
            packer: Arc::new(Semaphore::new(1)),
        }
    }

    /// Bytes of bodies in memory now, in steps of a KiB.
    pub fn held_bytes(&self) -> u64 {
        let free = self.permits.available_permits() as u64;
        (u64::from(permits(self.bounds.all_bytes_max)) - free) * PERMIT_BYTES
    }

    /// Reads `body` to its end. Where memory is short, `make_room` is told for how many bytes.
    ///
    /// `is_asked_for`: the client sends it only when it is asked to, which reading does.
    pub async fn read(
        &self,
        (body, is_asked_for): (Incoming, bool),
        make_room: impl Fn(u64),
    ) -> Result<Held, InletError> {
        let max = self.bounds.one_bytes_max;
        let size = body.size_hint();
        let mut body = Coming::new(body);
        if size.lower() > max {
            if !is_asked_for {
                discard(body).await;
            }
            return Err(InletError::TooLarge { max });
        }
        let mut memory = self.memory(size.lower().max(1), &make_room).await?;
        let Some(first) = body.next().await? else {
            return Ok(Held::new(Bytes::new(), memory));
        };
        if size.exact() == Some(first.len() as u64) {
            return Ok(Held::new(first, memory));
        }
        let expected = usize::try_from(size.lower()).unwrap_or(0);
        let mut whole = BytesMut::with_capacity(expected.max(first.len()));
        whole.extend_from_slice(&first);
        drop(first);
        while let Some(more) = body.next().await? {
            let after = (whole.len() + more.len()) as u64;
            if after > max {
                drop(whole);
                discard(body).await;
                return Err(InletError::TooLarge { max });
            }
            let held = memory.num_permits() as u64 * PERMIT_BYTES;
            if after > held {
                // At least doubling, as the buffer does, keeps the semaphore off the common path.
                memory.merge(
                    self.memory((after - held).max(held.min(max - held)), &make_room)
                        .await?,
                );
            }
            whole.extend_from_slice(&more);
        }
        Ok(Held::new(whole.freeze(), memory))
    }

    async fn memory(
        &self,
        bytes: u64,
        make_room: impl Fn(u64),
    ) -> Result<OwnedSemaphorePermit, InletError> {
        if let Ok(memory) = Arc::clone(&self.permits).try_acquire_many_owned(permits(bytes)) {
            return Ok(memory);
        }
        let wanted = Arc::clone(&self.permits).acquire_many_owned(permits(bytes));
        let wanted = timeout(MEMORY_WAIT_MAX, wanted);
        let mut wanted = std::pin::pin!(wanted);
        let mut again = tokio::time::interval(ROOM_AGAIN);
        loop {
            tokio::select! {
                biased;
                memory = &mut wanted => return match memory {
                    Ok(Ok(memory)) => Ok(memory),
                    _ => Err(InletError::Busy { all_max: self.bounds.all_bytes_max }),
                },
                _ = again.tick() => {
                    let free = self.permits.available_permits() as u64 * PERMIT_BYTES;
                    make_room(bytes.saturating_sub(free));
                }
            }
        }
    }
}

fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(PERMIT_BYTES)).unwrap_or(u32::MAX)
}

/// A body as it comes, with the patience that is left for it.
struct Coming {
    body: Incoming,
    bytes: u64,
    /// For what came after the first bytes.
    waited: Duration,
}

impl Coming {
    fn new(body: Incoming) -> Self {
        Self {
            body,
            bytes: 0,
            waited: Duration::ZERO,
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, InletError> {
        let began = (self.bytes > 0).then(Instant::now);
        let patience = SILENCE_MAX + Duration::from_secs(self.bytes / BYTES_PER_SECOND_MIN);
        let patience = patience.saturating_sub(self.waited).min(SILENCE_MAX);
        let data = loop {
            match timeout(patience, self.body.frame()).await {
                Err(_) if patience == SILENCE_MAX => return Err(InletError::Silent),
                Err(_) => {
                    return Err(InletError::Slow {
                        bytes: self.bytes,
                        waited: self.waited + patience,
                    });
                }
                Ok(None) => return Ok(None),
                Ok(Some(Err(cut))) => return Err(InletError::Cut(cut)),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        break data;
                    }
                }
            }
        };
        self.bytes += data.len() as u64;
        if let Some(began) = began {
            self.waited += began.elapsed();
        }
        Ok(Some(data))
    }
}

/// Reads on without keeping anything. What goes wrong here changes nothing: the call is refused.
async fn discard(mut body: Coming) {
    let mut seen = 0_u64;
    while let Ok(Some(bytes)) = body.next().await {
        seen += bytes.len() as u64;
        if seen > DISCARDED_BYTES_MAX {
            break;
        }
    }
}
