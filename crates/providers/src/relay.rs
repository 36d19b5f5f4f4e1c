//! What of a stream reaches the client, and when.

use bytes::Bytes;
use memchr::memmem;

use crate::{
    Dialect, ErrorKind,
    error::{anthropic_error, openai_code, openai_error, quoted},
    json::fields,
    sse::{Boundaries, EVENT_BYTES_MAX, Event},
};

/// Passes a stream on by whole events, so that a stream that is cut never leaves half an event with
/// the client.
///
/// Every byte passes as it is, but for the one chunk that is dropped if that was asked for. What is
/// complete passes at once; of what isn't, at most 1 MiB is held: a longer event passes in parts.
#[derive(Debug)]
pub struct StreamRelay {
    drops_usage_chunk: bool,
    boundaries: Boundaries,
    held: Vec<u8>,
    /// In an event that is too long to be held.
    passing: bool,
    /// The last event that ended was dropped.
    dropped: bool,
}

/// What is to be sent on now: nothing, one piece or two, in order.
#[derive(Debug, Default)]
pub struct RelayOut {
    /// The first piece.
    pub first: Option<Bytes>,
    /// The second piece; only there if the first is.
    pub second: Option<Bytes>,
}

impl RelayOut {
    fn add(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        let Some(first) = &self.first else {
            self.first = Some(piece);
            return;
        };
        match &self.second {
            None => self.second = Some(piece),
            // Only where a chunk is dropped from the middle.
            Some(second) => {
                self.first = Some([&first[..], &second[..]].concat().into());
                self.second = Some(piece);
            }
        }
    }
}

impl IntoIterator for RelayOut {
    type Item = Bytes;
    type IntoIter = std::iter::Flatten<std::array::IntoIter<Option<Bytes>, 2>>;

    fn into_iter(self) -> Self::IntoIter {
        [self.first, self.second].into_iter().flatten()
    }
}

impl StreamRelay {
    /// `drop_usage_chunk`: leave out chat's extra chunk (no choices, only usage), which came because
    /// the gateway asked for it and not the client. The `"usage":null` that asking also puts in the
    /// other chunks stays. Without effect in the other dialects.
    pub fn new(dialect: Dialect, drop_usage_chunk: bool) -> Self {
        Self {
            drops_usage_chunk: drop_usage_chunk && dialect == Dialect::OpenAiChat,
            boundaries: Boundaries::new(),
            held: Vec::new(),
            passing: false,
            dropped: false,
        }
    }

    /// Takes the next chunk from upstream, cut anywhere, and gives what is to be sent on now. Copies
    /// nothing where the chunk begins and ends between events and nothing is dropped: then it gives
    /// the same `Bytes`.
    pub fn push(&mut self, chunk: Bytes) -> RelayOut {
        let mut out = RelayOut::default();
        let in_between = self.held.is_empty() && !self.passing;
        if in_between && !self.drops_usage_chunk && chunk.ends_with(b"\n\n") {
            // Nearly all are like this: nothing is looked for where the last event ends with the chunk.
            self.boundaries = Boundaries::new();
            out.add(chunk);
            return out;
        }
        // What is between `from` and `at` is to be sent.
        let mut at = self.boundaries.tail(&chunk);
        let mut from = if self.dropped { at } else { 0 };
        while let Some(length) = self.boundaries.next(chunk.get(at..).unwrap_or_default()) {
            let end = at + length;
            let event = chunk.get(at..end).unwrap_or_default();
            if self.held.is_empty() {
                // Of an event that passes in parts, the start is gone already.
                self.dropped = !std::mem::take(&mut self.passing) && self.is_unasked(event);
                if self.dropped {
                    out.add(chunk.slice(from..at));
                    from = end;
                }
            } else {
                self.held.extend_from_slice(event);
                let whole = std::mem::take(&mut self.held);
                self.dropped = self.is_unasked(&whole);
                if !self.dropped {
                    out.add(whole.into());
                }
                from = end;
            }
            at = end;
        }
        let rest = chunk.len() - at;
        if !self.passing && self.held.len() + rest > EVENT_BYTES_MAX {
            self.passing = true;
            out.add(std::mem::take(&mut self.held).into());
        }
        if self.passing {
            at = chunk.len();
        } else if rest > 0 {
            self.held
                .extend_from_slice(chunk.get(at..).unwrap_or_default());
        }
        if from == 0 && at == chunk.len() {
            out.add(chunk);
        } else {
            out.add(chunk.slice(from..at));
        }
        out
    }

    /// What is still to be sent once upstream sends no more. If its answer was `complete`, what is
    /// held (a last event without its blank line). If it was cut, half an event is let go; one that
    /// was too long to be held, and so has half reached the client, is ended, so that an event of
    /// [`stream_error`] can follow.
    pub fn end(self, complete: bool) -> Option<Bytes> {
        if complete {
            return (!self.held.is_empty()).then(|| self.held.into());
        }
        self.passing.then(|| Bytes::from_static(b"\n\n"))
    }

    fn is_unasked(&self, event: &[u8]) -> bool {
        self.drops_usage_chunk && is_usage_chunk(event)
    }
}

fn is_usage_chunk(event: &[u8]) -> bool {
    // Inside a string its quotes would be escaped: this is a key, so there is a choice.
    if memmem::find(event, br#""delta""#).is_some() {
        return false;
    }
    let event = Event::parse(event);
    let Ok([Some(choices), Some(usage)]) = fields(&event.data, ["choices", "usage"]) else {
        return false;
    };
    let inner = choices
        .strip_prefix(b"[")
        .and_then(|it| it.strip_suffix(b"]"));
    usage.starts_with(b"{") && inner.is_some_and(|it| it.trim_ascii().is_empty())
}

/// The event that tells the client that its stream was lost, in the form in which its SDK raises an
/// error. No end mark follows it: the loss must not look like an end.
///
/// `sequence` is that of the last Responses event that was seen; the event gets the next one. Of no
/// meaning in the other dialects.
pub fn stream_error(dialect: Dialect, kind: &ErrorKind, message: &str, sequence: u64) -> Vec<u8> {
    let event = match dialect {
        Dialect::Anthropic => {
            let error = anthropic_error(kind, message, None);
            format!("event: error\ndata: {error}\n\n")
        }
        Dialect::OpenAiChat => format!("data: {}\n\n", openai_error(kind, message)),
        Dialect::OpenAiResponses => {
            let (kind, code) = openai_code(kind);
            let code = code.unwrap_or(kind);
            let (message, next) = (quoted(message), sequence.saturating_add(1));
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"code\":\"{code}\",\"message\":{message},\"param\":null,\"sequence_number\":{next}}}\n\n"
            )
        }
    };
    event.into_bytes()
}

#[cfg(test)]
pub(crate) mod tests;
