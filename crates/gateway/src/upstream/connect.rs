//! Opens connections: TCP, TLS, and the HTTP handshake.

use std::{
    fmt, io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{CONNECT_MAX, Origin};

/// Bytes that may wait unread on an HTTP/2 connection, for all of its streams. HTTP's library takes
/// a peer for an attacker, and drops the connection with every call on it, when the overhead of small
/// frames that wait reaches half of this. Streams of answers are nothing but small frames, and with
/// the protocol's own 64 KiB a client that reads slowly for a moment would have been enough.
const CONNECTION_WINDOW: u32 = 16 << 20;

/// Bytes that may wait on one stream: what a client that has stopped reading can make us hold.
const STREAM_WINDOW: u32 = 1 << 20;

/// Why no connection could be opened. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("no connection to {origin}")]
    Tcp {
        /// The origin that was tried.
        origin: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No TLS session.
    #[error(
        "no TLS session with {origin}: is its certificate issued by a known authority, or named by `ca_file`?"
    )]
    Tls {
        /// The origin that was tried.
        origin: String,
        /// What the TLS library said.
        #[source]
        source: io::Error,
    },
    /// The HTTP handshake failed.
    #[error("{origin} does not speak HTTP as expected")]
    Http {
        /// The origin that was tried.
        origin: String,
        /// What the HTTP library said.
        #[source]
        source: hyper::Error,
    },
    /// It took too long.
    #[error("no connection to {origin} within {} s", CONNECT_MAX.as_secs())]
    TimedOut {
        /// The origin that was tried.
        origin: String,
    },
}

/// The authorities whose certificates are believed.
pub struct Roots {
    config: Arc<ClientConfig>,
    config_http1: Arc<ClientConfig>,
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots")
    }
}

/// The certificate authorities could not be read.
#[derive(Debug, thiserror::Error)]
#[error("ca_file `{path}` can't be used: it must hold PEM certificates")]
pub struct RootsError {
    path: String,
    #[source]
    source: Option<io::Error>,
}

impl Roots {
    /// The machine's authorities, or a built-in list where it has none.
    #[must_use]
    pub fn of_the_machine() -> Self {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Self::of(store)
    }

    /// Only the authorities in a PEM file.
    pub fn of_file(path: &Path) -> Result<Self, RootsError> {
        use rustls::pki_types::{CertificateDer, pem::PemObject as _};
        let refuse = |source| RootsError {
            path: path.display().to_string(),
            source,
        };
        let pem = std::fs::read(path).map_err(|it| refuse(Some(it)))?;
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&pem) {
            let certificate = certificate.map_err(|_| refuse(None))?;
            store.add(certificate).map_err(|_| refuse(None))?;
        }
        if store.is_empty() {
            return Err(refuse(None));
        }
        Ok(Self::of(store))
    }

    fn of(store: RootCertStore) -> Self {
        let mut config = ClientConfig::builder()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config_http1 = Arc::new(config.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Self {
            config: Arc::new(config),
            config_http1,
        }
    }
}

/// A byte stream to a provider, encrypted or not.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

macro_rules! on_wire {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Wire::Plain(stream) => {
                let $stream = Pin::new(stream);
                $call
            }
            Wire::Tls(stream) => {
                let $stream = Pin::new(stream.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_wire!(self, stream => stream.poll_read(cx, buf))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self, stream => stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_wire!(self, stream => stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => stream.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_wire!(self, stream => stream.poll_shutdown(cx))
    }
}

type Driver = http1::Connection<TokioIo<Wire>, Full<Bytes>>;

/// An HTTP/1.1 connection that belongs to one call at a time, which polls it.
pub(crate) struct Owned {
    pub(crate) sender: http1::SendRequest<Full<Bytes>>,
    pub(crate) driver: Pin<Box<Driver>>,
}

impl fmt::Debug for Owned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owned")
            .field("ready", &self.sender.is_ready())
            .finish_non_exhaustive()
    }
}

impl Owned {
    /// Itself, unless the provider has closed it meanwhile. Nobody polls an idle connection, so it
    /// is asked when it is taken out.
    pub(crate) fn if_alive(mut self) -> Option<Self> {
        let mut cx = Context::from_waker(Waker::noop());
        match self.driver.as_mut().poll(&mut cx) {
            Poll::Ready(_) => None,
            Poll::Pending => self.sender.is_ready().then_some(self),
        }
    }
}

/// A handle on an HTTP/2 connection that many calls share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) sender: http2::SendRequest<Full<Bytes>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub(crate) fn is_closed(&self) -> bool {
        self.sender.is_closed()
    }
}

#[derive(Debug)]
pub(crate) enum Link {
    Owned(Owned),
    Shared(Shared),
}

/// Opens one connection within [`CONNECT_MAX`].
pub(crate) async fn open(origin: &Origin, roots: &Roots) -> Result<Link, ConnectError> {
    let timed_out = |_| ConnectError::TimedOut {
        origin: origin.to_string(),
    };
    tokio::time::timeout(CONNECT_MAX, Box::pin(open_untimed(origin, roots)))
        .await
        .map_err(timed_out)?
}

async fn open_untimed(origin: &Origin, roots: &Roots) -> Result<Link, ConnectError> {
    let tcp = |source| ConnectError::Tcp {
        origin: origin.to_string(),
        source,
    };
    let stream = TcpStream::connect((origin.host.as_str(), origin.port))
        .await
        .map_err(tcp)?;
    stream.set_nodelay(true).map_err(tcp)?;
    if !origin.tls {
        return shake(origin, Wire::Plain(stream), origin.http2).await;
    }
    let tls = |source| ConnectError::Tls {
        origin: origin.to_string(),
        source,
    };
    let name = ServerName::try_from(origin.host.clone())
        .map_err(|it| tls(io::Error::new(io::ErrorKind::InvalidInput, it)))?;
    let config = if origin.http2 {
        &roots.config
    } else {
        &roots.config_http1
    };
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, stream)
        .await
        .map_err(tls)?;
    let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    shake(origin, Wire::Tls(Box::new(stream)), http2).await
}

async fn shake(origin: &Origin, wire: Wire, http2: bool) -> Result<Link, ConnectError> {
    let failed = |source| ConnectError::Http {
        origin: origin.to_string(),
        source,
    };
    let io = TokioIo::new(wire);
    if http2 {
        let (sender, driver) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(Some(std::time::Duration::from_secs(20)))
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_stream_window_size(STREAM_WINDOW)
            .handshake(io)
            .await
            .map_err(failed)?;
        #[expect(
            clippy::disallowed_methods,
            reason = "ends by itself when the last sender is dropped or the provider hangs up"
        )]
        // Its error reaches each call through its own stream.
        drop(tokio::spawn(
            async move { driver.await.unwrap_or_default() },
        ));
        return Ok(Link::Shared(Shared { sender }));
    }
    let (sender, driver) = http1::Builder::new().handshake(io).await.map_err(failed)?;
    Ok(Link::Owned(Owned {
        sender,
        driver: Box::pin(driver),
    }))
}
