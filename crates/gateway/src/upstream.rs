//! Connections to the providers: opened, kept, handed out, and polled by the call that uses them.
//!
//! An HTTP/1.1 connection is polled inside the task of the call that borrowed it. A spawned driver
//! would hand frames over one at a time and flush each: several times the CPU on streams.
//! HTTP/2 connections are shared by many calls and so need a task of their own.

mod connect;
mod exchange;
mod origin;

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use parking_lot::Mutex;
use tidegate_types::{Clock, Monotonic};

pub use connect::{ConnectError, Roots};
pub use exchange::{AnswerBody, SendError};
pub use origin::{Origin, OriginError};

use connect::Link;

/// What is sent upstream: the whole request, already in memory.
pub(crate) type UpstreamRequest = http::Request<Full<Bytes>>;

/// Idle connections kept per origin. More than a machine's worth of agents, and small: about
/// 55 KiB each.
const IDLE_CONNECTIONS_MAX: usize = 256;

/// Idle connections older than this are closed: providers' load balancers give up at 60 s or later.
const IDLE_MAX: Duration = Duration::from_secs(50);

/// Idle connections of which no more are wanted than these: enough for a swarm of agents to begin at once
/// without a handshake. What a burst leaves beyond them is memory that nobody uses.
const WARM: usize = 8;

/// Idle connections beyond [`WARM`] that are older than this are closed.
const SURPLUS_MAX: Duration = Duration::from_secs(2);

/// How long a connection may take to open, the TLS handshake included.
pub(crate) const CONNECT_MAX: Duration = Duration::from_secs(10);

/// The connections to one origin.
#[derive(Debug)]
pub struct Upstream {
    origin: Origin,
    roots: Arc<Roots>,
    clock: Arc<dyn Clock>,
    idle: Mutex<VecDeque<Idle>>,
    /// The newest HTTP/2 connection, where the origin speaks it.
    shared: Mutex<Option<connect::Shared>>,
}

#[derive(Debug)]
struct Idle {
    link: connect::Owned,
    since: Monotonic,
}

impl Upstream {
    /// No connection is opened until the first call.
    #[must_use]
    pub fn new(origin: Origin, roots: Arc<Roots>, clock: Arc<dyn Clock>) -> Self {
        Self {
            origin,
            roots,
            clock,
            idle: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// Where these connections lead.
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// A connection that was open a moment ago, or a new one.
    async fn link(&self) -> Result<Link, ConnectError> {
        if let Some(shared) = self.live_shared() {
            return Ok(Link::Shared(shared));
        }
        while let Some(idle) = self.take_idle() {
            if let Some(owned) = idle.if_alive() {
                return Ok(Link::Owned(owned));
            }
        }
        let link = connect::open(&self.origin, &self.roots).await?;
        if let Link::Shared(shared) = &link {
            *self.shared.lock() = Some(shared.clone());
        }
        Ok(link)
    }

    fn live_shared(&self) -> Option<connect::Shared> {
        let mut slot = self.shared.lock();
        if slot.as_ref().is_some_and(connect::Shared::is_closed) {
            *slot = None;
        }
        slot.clone()
    }

    fn take_idle(&self) -> Option<connect::Owned> {
        let mut idle = self.idle.lock();
        close_old(&mut idle, self.clock.monotonic());
        // The newest first: the old ones at the front then age out.
        idle.pop_back().map(|it| it.link)
    }

    /// Takes a connection back whose answer was read to its end.
    fn give_back(&self, link: connect::Owned) {
        let since = self.clock.monotonic();
        let mut idle = self.idle.lock();
        close_old(&mut idle, since);
        if idle.len() >= IDLE_CONNECTIONS_MAX {
            idle.pop_front();
        }
        idle.push_back(Idle { link, since });
    }

    /// Closes connections that have idled too long; for a timer.
    pub fn close_old(&self) {
        let mut idle = self.idle.lock();
        close_old(&mut idle, self.clock.monotonic());
        if idle.is_empty() {
            idle.shrink_to_fit();
        }
    }
}

/// Closes those that are too old to be kept.
fn close_old(idle: &mut VecDeque<Idle>, now: Monotonic) {
    let many = too_old(idle.iter().map(|it| it.since), now);
    drop(idle.drain(..many));
}

/// How many have idled too long of those that idle since then, the oldest first.
fn too_old(since: impl ExactSizeIterator<Item = Monotonic>, now: Monotonic) -> usize {
    let all = since.len();
    let kept = |place: usize| match all - place {
        0..=WARM => IDLE_MAX,
        _ => SURPLUS_MAX,
    };
    let old = since.enumerate();
    old.take_while(|(place, it)| now.since(*it) > kept(*place))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of connections that idle for so many seconds each, the oldest first.
    fn closed(idle_for: &[u64]) -> usize {
        let now = Monotonic(1_000_000_000_000);
        let since = |it: &u64| Monotonic(now.0 - it * 1_000_000_000);
        too_old(idle_for.iter().map(since), now)
    }

    #[test]
    fn what_a_burst_leaves_is_closed_soon_but_for_those_that_are_kept_warm() {
        assert_eq!(closed(&[]), 0);
        assert_eq!(closed(&[2; WARM + 4]), 0);
        assert_eq!(closed(&[3; WARM + 4]), 4);
        assert_eq!(closed(&[&[3, 3, 1][..], &[1; WARM]].concat()), 2);
        assert_eq!(closed(&[50; WARM]), 0);
        assert_eq!(closed(&[51; WARM]), WARM);
        assert_eq!(closed(&[&[60; 40][..], &[3; WARM]].concat()), 40);
    }
}
