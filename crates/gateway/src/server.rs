//! Listening, connections, and the orderly end of both.

mod early;
mod wire;

use std::{
    convert::Infallible,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use self::{early::Early, wire::Wire};
use crate::reply::ReplyBody;

/// Connections open at once. Each costs some 20 KiB while idle; beyond it new ones wait in the
/// kernel's queue instead of taking the memory that running calls need.
const CONNECTIONS_MAX: usize = 16_384;

/// A head that takes longer than this is a client that isn't one.
const HEAD_MAX: Duration = Duration::from_secs(30);

/// Bytes of a request's head, the bound on what an unauthenticated peer can make us hold.
pub(crate) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// The most that one read takes of a body. One that comes in one piece is read and sent where it lies; of several, one has
/// to be made, which costs as much as taking them. As much of an answer is taken ahead of a client that doesn't read: a
/// part of what the system keeps for it.
const READ_BYTES_MAX: usize = 512 << 10;

/// What may be read of bodies together with their heads, before anybody has asked for the memory: 64 KiB of each
/// connection, and beyond that so many bytes of all together.
const EARLY_BYTES_MAX: usize = 32 << 20;

/// Header lines of a request that are taken. Claude Code sends about 30.
pub(crate) const HEADERS_MAX: usize = 128;

/// Pause after the system refused to accept (out of file descriptors, say), so that the loop does
/// not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long clients of calls that are cut have to take what is left to be said.
const CUT_MAX: Duration = Duration::from_secs(1);

/// Whether the program is running, ending, or has run out of patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connections are accepted.
    Running,
    /// None is accepted any more; calls in flight go on, idle connections are closed.
    Draining,
    /// What is still in flight is cut.
    Closing,
}

/// The future of one answer.
pub type Answering = Pin<Box<dyn Future<Output = Response<ReplyBody>> + Send>>;

/// What answers requests.
pub trait Answerer: Send + Sync + 'static {
    /// Answers one request; `peer` is who sent it.
    fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> Answering;

    /// The whole answer, as it goes over the wire, to a request whose head can't be taken, by its
    /// first bytes; the connection ends with it. None for the bare status.
    fn refuse_head(&self, beginning: &[u8], why: BadHead) -> Option<Vec<u8>>;
}

/// Why a request's head can't be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// It is larger than what is read of one.
    TooLarge,
    /// It is no HTTP: its length is told twice, say, or a header has bytes that none may have.
    Malformed,
}

/// Serves until `phase` leaves [`Phase::Running`] and what is in flight has ended or is cut.
///
/// Boxed, so that all there is about connections is compiled here and not where this is called.
pub fn serve(
    listener: TcpListener,
    answerer: Arc<dyn Answerer>,
    phase: watch::Receiver<Phase>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(accept(listener, answerer, phase))
}

async fn accept(
    listener: TcpListener,
    answerer: Arc<dyn Answerer>,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let each = phase.clone();
    let early = Early::of(EARLY_BYTES_MAX);
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                match accepted.and_then(prepared) {
                    Ok((stream, peer)) => {
                        let (answerer, phase) = (Arc::clone(&answerer), each.clone());
                        connections.spawn(connection(stream, peer, early.clone(), answerer, phase));
                    }
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            }
            Some(_ended) = connections.join_next() => {}
            () = left(&mut phase, Phase::Running) => break,
        }
    }
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = cut(&mut phase) => {}
    }
    connections.shutdown().await;
}

/// Ends a moment after calls began to be cut: whoever doesn't take the end of its answer by then goes
/// without.
async fn cut(phase: &mut watch::Receiver<Phase>) {
    reached(phase, Phase::Closing).await;
    tokio::time::sleep(CUT_MAX).await;
}

/// Ends when the phase is no longer `from`. A sender that is gone has left every phase.
async fn left(phase: &mut watch::Receiver<Phase>, from: Phase) {
    let _left = phase.wait_for(|it| *it != from).await;
}

/// Ends when the phase is `to`.
async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _reached = phase.wait_for(|it| *it == to).await;
}

fn prepared((stream, peer): (TcpStream, SocketAddr)) -> io::Result<(TcpStream, SocketAddr)> {
    // Without it the last part of an answer waits for the client's delayed acknowledgement: 40 ms.
    stream.set_nodelay(true)?;
    Ok((stream, peer))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    early: Early,
    answerer: Arc<dyn Answerer>,
    mut phase: watch::Receiver<Phase>,
) {
    let begun = Arc::new(AtomicBool::new(false));
    let wire = Wire::new(stream, early, Arc::clone(&answerer), Arc::clone(&begun));
    let service = service_fn(move |request| {
        begun.store(true, Ordering::Relaxed);
        let answering = answerer.answer(request, peer);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(READ_BYTES_MAX)
            .serve_connection(TokioIo::new(wire), service)
    );
    // A connection's error is the client's going, which the call has settled, or no HTTP at all.
    tokio::select! {
        biased;
        _gone = connection.as_mut() => return,
        () = left(&mut phase, Phase::Running) => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _gone = connection.as_mut() => return,
        () = reached(&mut phase, Phase::Closing) => {}
    }
    // Answers are looked at once more, and see that they are cut.
    connection.await.unwrap_or_default();
}
