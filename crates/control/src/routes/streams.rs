//! Bodies that are made while they are read.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use http_body::Frame;
use tokio::{runtime::Handle, sync::mpsc};

use crate::limits::EXPORT_PATIENCE;

/// Makes one chunk after another.
pub(super) trait Steps: Send + Sized + 'static {
    /// The next chunk, and who makes those after it; `None` at the end.
    fn next(self) -> impl Future<Output = Option<(Bytes, Self)>> + Send;
}

type Next<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

/// The body that steps make. Dropped with its connection, it makes no further one.
pub(super) struct Stepped<S>(Option<Next<S>>);

impl<S: Steps> Stepped<S> {
    pub(super) fn new(steps: S) -> Self {
        Self(Some(Box::pin(steps.next())))
    }
}

impl<S: Steps> http_body::Body for Stepped<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = &mut self.0 else {
            return Poll::Ready(None);
        };
        let came = ready!(next.as_mut().poll(context));
        let (chunk, steps) = came.unzip();
        self.0 = steps.map(|it| Box::pin(it.next()) as Next<S>);
        Poll::Ready(chunk.map(|it| Ok(Frame::data(it))))
    }
}

/// Bytes that are sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Chunks that wait for the reader.
const CHUNKS_WAITING: usize = 4;

/// The body of what a thread writes. It breaks off where the thread says that it has failed.
pub(super) struct Written(mpsc::Receiver<Result<Bytes, io::Error>>);

/// What a thread writes into; it waits for the reader.
pub(super) struct ToReader {
    to: mpsc::Sender<Result<Bytes, io::Error>>,
    runtime: Handle,
    chunk: Vec<u8>,
}

/// A writer, and the body that it makes.
pub(super) fn written() -> (ToReader, Written) {
    let (to, from) = mpsc::channel(CHUNKS_WAITING);
    let writer = ToReader {
        to,
        runtime: Handle::current(),
        chunk: Vec::with_capacity(CHUNK_BYTES),
    };
    (writer, Written(from))
}

impl ToReader {
    /// Has the body break off, so that what was read of it is not taken for all of it.
    pub(super) fn fail(self, why: io::Error) {
        // Where nobody reads, nobody is misled.
        let _gone = self.runtime.block_on(self.to.send(Err(why)));
    }

    fn send(&mut self) -> io::Result<()> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let chunk = std::mem::replace(&mut self.chunk, Vec::with_capacity(CHUNK_BYTES));
        let sent = self.to.send(Ok(chunk.into()));
        let sent = async { tokio::time::timeout(EXPORT_PATIENCE, sent).await };
        match self.runtime.block_on(sent) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl io::Write for ToReader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.chunk.extend_from_slice(bytes);
        if self.chunk.len() >= CHUNK_BYTES {
            self.send()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send()
    }
}

impl http_body::Body for Written {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let came = ready!(self.0.poll_recv(context));
        Poll::Ready(came.map(|it| it.map(Frame::data)))
    }
}
