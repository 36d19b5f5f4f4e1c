//! The emulated provider behind HTTP/1.1 and HTTP/2 (prior knowledge), without TLS.
//!
//! A shell: it reads requests, asks [`crate::world`] for every decision, and writes answers.

mod arrived;
mod body;
mod fixed;
mod provider;
mod refusal;
mod socket;
mod time;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinSet,
};

use self::{provider::Provider, socket::Socket};
use crate::{
    ProviderSpec, limits,
    wire_log::{WireLog, WireRecord},
};

/// Serves an emulated provider until `shutdown` is done; then every connection ends at once.
///
/// # Errors
/// A spec outside its bounds is [`io::ErrorKind::InvalidInput`]; a log file that cannot be opened is the error
/// of opening it.
pub async fn serve(
    spec: ProviderSpec,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let provider = open(spec)?;
    accept(provider, listener, shutdown).await;
    Ok(())
}

fn open(spec: ProviderSpec) -> io::Result<Arc<Provider>> {
    spec.validate()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok(Arc::new(Provider::open(spec)?))
}

async fn accept(
    provider: Arc<Provider>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    // Dropped at the end, which ends the connections.
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let room = connections.len() < limits::CONNECTIONS_MAX;
        tokio::select! {
            () = &mut shutdown => return,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(Arc::clone(&provider), stream));
                }
                // Out of file descriptors: give connections time to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
    }
}

/// Serves one connection; its end, however it comes, is nobody's error.
///
/// Boxed, so that all there is about connections is compiled here and not where it is served.
fn connection(
    provider: Arc<Provider>,
    stream: TcpStream,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(answer_all(provider, stream))
}

async fn answer_all(provider: Arc<Provider>, stream: TcpStream) {
    let Ok((socket, is_http2)) = Socket::sniff(stream).await else {
        return;
    };
    let reset = socket.reset_switch();
    let service = service_fn(move |request| {
        let (provider, reset) = (Arc::clone(&provider), Arc::clone(&reset));
        async move { provider.answer(request, reset).await }
    });
    let io = TokioIo::new(socket);
    let ended = if is_http2 {
        let mut server = http2::Builder::new(TokioExecutor::new());
        server
            .timer(TokioTimer::new())
            .max_concurrent_streams(1_000);
        server.serve_connection(io, service).await
    } else {
        let server = http1::Builder::new();
        server.serve_connection(io, service).await
    };
    drop(ended);
}

/// An emulated provider on a thread of its own, on a free port of 127.0.0.1; for tests. Stops when dropped.
#[derive(Debug)]
pub struct EmulatedProvider {
    addr: SocketAddr,
    provider: Arc<Provider>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl EmulatedProvider {
    /// Starts it; when this returns, it answers.
    ///
    /// # Errors
    /// As [`serve`], and where no port or thread can be had.
    pub fn start(spec: ProviderSpec) -> io::Result<Self> {
        let provider = open(spec)?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let serving = Arc::clone(&provider);
        let thread = std::thread::Builder::new()
            .name("emulated-provider".into())
            .spawn(move || {
                runtime.block_on(async move {
                    if let Ok(listener) = TcpListener::from_std(listener) {
                        // An answer and a dropped sender mean the same: stop.
                        accept(serving, listener, async { drop(stopped.await) }).await;
                    }
                });
            })?;
        Ok(Self {
            addr,
            provider,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`, without a slash at the end.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The newest records of calls that have ended, oldest first.
    pub fn wire_log(&self) -> Vec<WireRecord> {
        self.log().newest()
    }

    /// Blocks until `count` calls have ended since the start, or `patience` has; then as [`Self::wire_log`].
    pub fn wait_for_calls(&self, count: u64, patience: Duration) -> Vec<WireRecord> {
        self.log().wait_for(count, patience)
    }

    /// Why the log file is incomplete, if it is.
    pub fn log_failure(&self) -> Option<String> {
        self.log().failed()
    }

    /// Ends every connection and waits for the thread.
    pub fn stop(mut self) {
        self.end();
    }

    fn log(&self) -> &WireLog {
        self.provider.log()
    }

    fn end(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed by the thread itself.
            drop(thread.join());
        }
    }
}

impl Drop for EmulatedProvider {
    fn drop(&mut self) {
        self.end();
    }
}

#[cfg(test)]
mod tests;
