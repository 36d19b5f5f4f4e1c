//! Answers that came too late for their status: kept for the client that asks again because of it.
//!
//! Once a held call's stream is opened, its answer can't say 429 any more. It ends with an error event,
//! after which Claude Code asks the same again without streaming; that is the continuation of the same
//! call, and gets the answer itself, at once.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use parking_lot::Mutex;
use tidegate_engine::places::PlaceKey;
use tidegate_types::CallId;
use tokio::time::Instant;

use crate::reply::ReplyBody;

/// How long an answer is kept. Claude Code asks again at once.
const KEPT_FOR: Duration = Duration::from_mins(1);

/// Answers that are kept at once; then the oldest goes, whose client asks anew.
const KEPT_MAX: usize = 1_024;

/// Bytes of their bodies: two of the largest that is read whole, or 16 KiB for each, and errors have
/// less than one.
const KEPT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// An answer, as it would have been given.
#[derive(Debug)]
struct Kept {
    key: PlaceKey,
    call: CallId,
    until: Instant,
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

/// The answers that are kept, by age.
#[derive(Debug, Default)]
pub(crate) struct Continuations {
    all: Mutex<All>,
    /// How many: a call that comes while there are none has nothing to look up.
    len: AtomicUsize,
}

#[derive(Debug, Default)]
struct All {
    kept: VecDeque<Kept>,
    bytes: usize,
}

impl All {
    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.kept.pop_front() {
            self.bytes -= oldest.body.len();
        }
    }

    fn forget_old(&mut self, now: Instant) {
        while self.kept.front().is_some_and(|it| it.until <= now) {
            self.forget_oldest();
        }
    }
}

impl Continuations {
    pub(crate) fn is_empty(&self) -> bool {
        self.len.load(Ordering::Relaxed) == 0
    }

    /// Keeps a call's answer for whoever asks the same again. An older one to the same is forgotten.
    pub(crate) fn keep(&self, key: PlaceKey, call: CallId, answer: &Response<Bytes>) {
        let body = answer.body();
        if body.len() > KEPT_BYTES_MAX {
            return;
        }
        let mut headers = answer.headers().clone();
        headers.remove(header::CONTENT_LENGTH);
        let kept = Kept {
            key,
            call,
            until: Instant::now() + KEPT_FOR,
            status: answer.status(),
            headers,
            // What it was read into may be larger.
            body: Bytes::copy_from_slice(body),
        };
        let mut all = self.all.lock();
        all.forget_old(Instant::now());
        if let Some(at) = all.kept.iter().position(|it| it.key == key)
            && let Some(older) = all.kept.remove(at)
        {
            all.bytes -= older.body.len();
        }
        while all.kept.len() >= KEPT_MAX || all.bytes + kept.body.len() > KEPT_BYTES_MAX {
            all.forget_oldest();
        }
        all.bytes += kept.body.len();
        all.kept.push_back(kept);
        self.len.store(all.kept.len(), Ordering::Relaxed);
    }

    /// The answer that is kept for this, once, and the call whose it is. A whole one is nothing for who wants a stream.
    pub(crate) fn take(
        &self,
        key: PlaceKey,
        stream: bool,
    ) -> Option<(CallId, Response<ReplyBody>)> {
        let mut all = self.all.lock();
        all.forget_old(Instant::now());
        let fits = |it: &Kept| it.key == key && !(stream && it.status.is_success());
        let at = all.kept.iter().position(fits);
        let kept = at.and_then(|at| all.kept.remove(at));
        all.bytes -= kept.as_ref().map_or(0, |it| it.body.len());
        self.len.store(all.kept.len(), Ordering::Relaxed);
        drop(all);
        let kept = kept?;
        let mut response = Response::new(ReplyBody::whole(kept.body));
        *response.status_mut() = kept.status;
        *response.headers_mut() = kept.headers;
        Some((kept.call, response))
    }

    /// Forgets those that nobody came for. To be called about once a second.
    pub(crate) fn tidy(&self) {
        if !self.is_empty() {
            let mut all = self.all.lock();
            all.forget_old(Instant::now());
            self.len.store(all.kept.len(), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests;
