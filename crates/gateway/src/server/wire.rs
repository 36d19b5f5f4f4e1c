//! A client's connection, on which a head that can't be taken is refused in words.
//!
//! The HTTP library answers such a head itself, with a bare status and no hook to say more. What it
//! writes is recognised here, and ours is written in its place.

use std::{
    future::Future as _,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use super::{
    Answerer, BadHead, HEAD_BYTES_MAX,
    early::{Early, Taken},
};

/// Bytes of a request's beginning that are kept: method and path of everything that has a route.
const BEGINNING_BYTES: usize = 128;

/// What the library's own refusals begin with.
const BARE: [(&[u8], BadHead); 2] = [
    (b"HTTP/1.1 431 ", BadHead::TooLarge),
    (b"HTTP/1.1 400 ", BadHead::Malformed),
];

/// What says only that the rest of a request may come.
const CONTINUE: &[u8] = b"HTTP/1.1 100 ";

/// How long a client may go on sending what nobody reads, so that one that sends all before it
/// reads gets to see why it was refused: a connection that is closed with bytes unread is reset.
const LINGER_MAX: Duration = Duration::from_secs(2);

/// Bytes that are thrown away at once.
const DISCARDED_BYTES: usize = 8 * 1024;

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    answerer: Arc<dyn Answerer>,
    /// The request whose beginning is kept was read whole: what is written is the answer to it.
    reached: Arc<AtomicBool>,
    /// What is read next begins a request.
    begins: bool,
    early: Early,
    /// What was read of a body before the call that it belongs to has begun.
    ahead: Option<Taken>,
    beginning: [u8; BEGINNING_BYTES],
    known: usize,
    /// Ours, in place of the library's refusal, and how much of it is written.
    refusal: Option<(Vec<u8>, usize)>,
    lingering: Option<Pin<Box<Sleep>>>,
}

impl Wire {
    /// `reached` is to be set whenever a request was read whole.
    pub(super) fn new(
        stream: TcpStream,
        early: Early,
        answerer: Arc<dyn Answerer>,
        reached: Arc<AtomicBool>,
    ) -> Self {
        Self {
            stream,
            early,
            ahead: None,
            answerer,
            reached,
            begins: true,
            beginning: [0; BEGINNING_BYTES],
            known: 0,
            refusal: None,
            lingering: None,
        }
    }

    /// Keeps the beginning of a request.
    fn note(&mut self, read: &[u8]) {
        if self.begins && !read.is_empty() {
            self.begins = false;
            self.reached.store(false, Ordering::Relaxed);
            self.known = read.len().min(BEGINNING_BYTES);
            self.beginning[..self.known].copy_from_slice(&read[..self.known]);
        }
    }

    /// True where this was the library's refusal: ours goes out instead.
    fn replaces(&mut self, written: &[u8]) -> bool {
        self.begins |= !written.starts_with(CONTINUE);
        let bare = BARE.iter().find(|(bare, _)| written.starts_with(bare));
        let Some((_, why)) = bare.filter(|_| !self.reached.load(Ordering::Relaxed)) else {
            return false;
        };
        let beginning = &self.beginning[..self.known];
        let ours = self.answerer.refuse_head(beginning, *why);
        self.refusal = ours.map(|it| (it, 0));
        self.refusal.is_some()
    }

    /// Writes what is left of our refusal.
    fn poll_refuse(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some((ours, written)) = &mut self.refusal else {
            return Poll::Ready(Ok(()));
        };
        while *written < ours.len() {
            let more = Pin::new(&mut self.stream).poll_write(cx, &ours[*written..]);
            match ready!(more)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                more => *written += more,
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads on without keeping anything, for a moment.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self
            .lingering
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_MAX)));
        let mut discarded = [0; DISCARDED_BYTES];
        while over.as_mut().poll(cx).is_pending() {
            let mut discarded = ReadBuf::new(&mut discarded);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut discarded)) {
                Ok(()) if !discarded.filled().is_empty() => {}
                // The client has said all it had to say, or went: no matter which.
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let room = buf.remaining();
        let reached = self.reached.load(Ordering::Relaxed);
        if reached || self.begins {
            // It is over, or the call has asked for the memory.
            self.ahead = None;
        }
        if reached && !self.begins {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let ahead = (room > HEAD_BYTES_MAX).then(|| self.early.take(room - HEAD_BYTES_MAX));
        let most = HEAD_BYTES_MAX + ahead.as_ref().map_or(0, Taken::bytes);
        let mut limited = (&mut self.stream).take(most as u64);
        let read = Pin::new(&mut limited).poll_read(cx, buf);
        if read.is_ready() {
            let read = buf.filled().len() - before;
            let ahead = ahead.filter(|_| read > HEAD_BYTES_MAX);
            self.ahead = ahead.map(|mut it| {
                it.shrink(read - HEAD_BYTES_MAX);
                it
            });
            self.note(&buf.filled()[before..]);
        }
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.refusal.is_some() || self.replaces(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first: &[u8] = bufs.first().map_or(&[], |it| it);
        if self.refusal.is_some() || self.replaces(first) {
            return Poll::Ready(Ok(bufs.iter().map(|it| it.len()).sum()));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refuse(cx))?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_refuse(cx))?;
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        if self.refusal.is_some() {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests;
