//! How long a client is held while its call waits: in silence, and then with its stream opened.

use std::time::Duration;

use http::HeaderMap;
use tidegate_engine::estimate::Durations;

use crate::headers::text;

/// How long a head may be held back in silence. Claude Code waits some 360 s for one and then asks
/// again; connections on which nothing passes are forgotten on the way from 300 s on.
pub const SILENT: Duration = Duration::from_mins(4);

/// How long a call whose stream is opened may wait in all: Claude Code was seen to accept 340 s
/// before its answer begins.
pub const OPENED: Duration = Duration::from_secs(330);

/// How often an opened stream is pinged. Claude Code tells its user that nothing comes after 20 s,
/// the strictest proxies in use hang up after 30: one ping may be late.
pub const PING_EVERY: Duration = Duration::from_secs(10);

/// How long SDKs wait for an answer where they don't say.
pub const TIMEOUT: Duration = Duration::from_mins(10);

/// How long the first byte of an answer takes, before any was seen.
const FIRST_BYTE_PRIOR: Duration = Duration::from_secs(10);

/// How long a whole answer takes, before any was seen.
const WHOLE_PRIOR: Duration = Duration::from_mins(1);

/// How clients are held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patience {
    /// How long a head is held back in silence, what its first byte then takes included.
    pub silent: Duration,
    /// How long a call may wait in all whose stream is opened; zero opens none.
    pub opened: Duration,
    /// How often an opened stream is pinged.
    pub ping_every: Duration,
    /// How long clients wait for an answer that don't say.
    pub timeout: Duration,
    /// Clients of which something else is known.
    pub clients: Vec<ClientPatience>,
}

/// How one kind of client is held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientPatience {
    /// What its `user-agent` begins with, in small letters; of several the longest counts.
    pub agent: String,
    /// How long it waits for an answer, whatever it says.
    pub timeout: Option<Duration>,
    /// Whether its streams may be opened before there is an answer.
    pub opens: bool,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            silent: SILENT,
            opened: OPENED,
            ping_every: PING_EVERY,
            timeout: TIMEOUT,
            clients: Vec::new(),
        }
    }
}

/// What is known of a call that has to wait.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter<'a> {
    /// What its client sent.
    pub(crate) headers: &'a HeaderMap,
    /// It gives up a head that does not come for longer than is held in silence.
    pub(crate) claude_code: bool,
    /// Its answer is to be streamed.
    pub(crate) stream: bool,
    /// How long its sender lets it wait.
    pub(crate) max_wait: Option<Duration>,
    /// How long its task has left.
    pub(crate) in_time: Option<Duration>,
    /// How long its answer will take.
    pub(crate) durations: Durations,
}

/// How long one call is held, from when it began to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stay {
    /// For so long in silence, where its stream is not opened.
    pub(crate) silent: Duration,
    /// When its stream is opened, and for how long the call may wait in all then.
    pub(crate) opened: Option<(Duration, Duration)>,
}

impl Stay {
    /// The longest it can be held.
    pub(crate) fn longest(&self) -> Duration {
        let opened = self.opened.map_or(Duration::ZERO, |it| it.1);
        self.silent.max(opened)
    }
}

impl Patience {
    /// How long this call is held.
    ///
    /// A client's time is that for the whole answer: what nine of ten answers take is left of it, but
    /// never more than half of it is set apart.
    pub(crate) fn stay(&self, waiter: &Waiter<'_>) -> Stay {
        let client = self.client(waiter.headers);
        let less = |time: Duration, taken: Duration| time.saturating_sub(taken.min(time / 2));
        let timeout = client.and_then(|it| it.timeout);
        let timeout = timeout.or_else(|| said(waiter.headers));
        let whole = waiter.durations.whole.unwrap_or(WHOLE_PRIOR);
        let patience = waiter
            .max_wait
            .unwrap_or_else(|| less(timeout.unwrap_or(self.timeout), whole))
            .min(waiter.in_time.unwrap_or(Duration::MAX));
        let first_byte = waiter.durations.first_byte.unwrap_or(FIRST_BYTE_PRIOR);
        let at = less(self.silent, first_byte);
        let until = self.opened.min(patience);
        let opens = waiter.stream && client.is_none_or(|it| it.opens) && until > at;
        Stay {
            silent: if waiter.claude_code {
                patience.min(at)
            } else {
                patience
            },
            opened: opens.then_some((at, until)),
        }
    }

    fn client(&self, headers: &HeaderMap) -> Option<&ClientPatience> {
        if self.clients.is_empty() {
            return None;
        }
        let agent = text(headers, "user-agent")?.to_ascii_lowercase();
        let known = self
            .clients
            .iter()
            .filter(|it| agent.starts_with(&it.agent));
        known.max_by_key(|it| it.agent.len())
    }
}

/// How long the client says it waits for an answer: SDKs made by Stainless do, in seconds.
fn said(headers: &HeaderMap) -> Option<Duration> {
    let seconds = |name| text(headers, name)?.parse::<f64>().ok();
    let said = seconds("x-stainless-read-timeout").or_else(|| seconds("x-stainless-timeout"));
    // Beyond what any of them waits by itself, no connection is held on a header's word.
    let said = Duration::try_from_secs_f64(said?).ok()?;
    Some(said.min(TIMEOUT))
}

#[cfg(test)]
mod tests;
