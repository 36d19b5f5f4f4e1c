//! One request to a webhook, and what it answered.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;

use crate::{
    Target,
    signature::{NOTICE_HEADER, SIGNATURE_HEADER},
};

/// How long one attempt may take, from its connection to the end of its answer. Slack's own limit
/// for whoever answers it is 3 s; a receiver that works before it answers gets more.
const ATTEMPT_MAX: Duration = Duration::from_secs(10);

/// Bytes of an answer that are read: enough for the sentence that says what was wrong.
const ANSWER_BYTES_MAX: usize = 1_024;

/// What a webhook answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// How long to leave it alone, where it says so.
    pub(crate) retry_after: Option<Duration>,
    /// The beginning of what it said.
    pub(crate) says: String,
}

impl Answer {
    /// Whether the same request may be answered better later.
    pub(crate) fn is_final(&self) -> bool {
        let later = [StatusCode::REQUEST_TIMEOUT, StatusCode::TOO_MANY_REQUESTS];
        !self.status.is_server_error() && !later.contains(&self.status)
    }
}

/// Why there was no answer. All of these may be better later.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PostError {
    #[error("no connection to {host}: {source}")]
    Connect { host: String, source: io::Error },
    #[error("no TLS session with {host}: {source}")]
    Tls { host: String, source: io::Error },
    #[error("{host} did not answer as HTTP does: {source}")]
    Http { host: String, source: hyper::Error },
    #[error("{host} did not answer within {} s", ATTEMPT_MAX.as_secs())]
    TimedOut { host: String },
    /// A name or signature that no header can carry: never, by how they are made.
    #[error("the request could not be written")]
    Unwritten(#[from] http::Error),
}

/// What is posted.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) body: String,
    pub(crate) notice: String,
    pub(crate) signature: Option<String>,
}

/// TLS as it is spoken to receivers.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

impl Tls {
    /// Believes the machine's authorities, or a built-in list where it has none.
    pub(crate) fn of_the_machine() -> Self {
        let mut store = RootCertStore::empty();
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        if store.is_empty() {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let mut config = ClientConfig::builder()
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Self(Arc::new(config))
    }
}

/// Posts once, on a connection of its own: notices are rare.
pub(crate) async fn post(target: &Target, tls: &Tls, post: Post) -> Result<Answer, PostError> {
    let attempt = tokio::time::timeout(ATTEMPT_MAX, Box::pin(attempt(target, tls, post)));
    let timed_out = |_| PostError::TimedOut {
        host: target.host.clone(),
    };
    attempt.await.map_err(timed_out)?
}

async fn attempt(target: &Target, tls: &Tls, post: Post) -> Result<Answer, PostError> {
    let host = || target.host.clone();
    let connected = TcpStream::connect((target.host.as_str(), target.port)).await;
    let stream = connected.map_err(|source| PostError::Connect {
        host: host(),
        source,
    })?;
    if !target.tls {
        return exchange(target, stream, post).await;
    }
    let failed = |source| PostError::Tls {
        host: host(),
        source,
    };
    let name = ServerName::try_from(target.host.clone())
        .map_err(|it| failed(io::Error::new(io::ErrorKind::InvalidInput, it)))?;
    let connector = TlsConnector::from(Arc::clone(&tls.0));
    let stream = connector.connect(name, stream).await.map_err(failed)?;
    exchange(target, stream, post).await
}

async fn exchange<S>(target: &Target, stream: S, post: Post) -> Result<Answer, PostError>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let failed = |source| PostError::Http {
        host: target.host.clone(),
        source,
    };
    let request = request(target, post)?;
    let (mut sender, driver) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    let answered = async {
        let answer = sender.send_request(request).await.map_err(failed)?;
        Ok(read(answer).await)
    };
    let mut answered = std::pin::pin!(answered);
    tokio::select! {
        answer = &mut answered => answer,
        // Its end, good or bad, is told to whoever waits for the answer.
        _over = driver => answered.await,
    }
}

fn request(target: &Target, post: Post) -> Result<Request<Full<Bytes>>, http::Error> {
    let mut request = Request::post(target.path.as_str())
        .header(header::HOST, &target.authority)
        .header(header::CONTENT_TYPE, "application/json")
        .header(
            header::USER_AGENT,
            concat!("tidegate/", env!("CARGO_PKG_VERSION")),
        )
        .header(NOTICE_HEADER, post.notice);
    if let Some(signature) = post.signature {
        request = request.header(SIGNATURE_HEADER, signature);
    }
    request.body(Full::new(Bytes::from(post.body)))
}

/// What was answered, as far as it is read. An answer that breaks off was one.
async fn read(answer: http::Response<Incoming>) -> Answer {
    let (head, mut body) = answer.into_parts();
    let mut said = Vec::new();
    while said.len() < ANSWER_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        said.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
    }
    said.truncate(ANSWER_BYTES_MAX);
    let seconds = head.headers.get(header::RETRY_AFTER);
    let seconds = seconds.and_then(|it| it.to_str().ok()?.trim().parse().ok());
    let words: Vec<String> = String::from_utf8_lossy(&said)
        .split(|it: char| it.is_whitespace() || it.is_control())
        .filter(|it| !it.is_empty())
        .map(str::to_owned)
        .collect();
    Answer {
        status: head.status,
        retry_after: seconds.map(Duration::from_secs),
        says: words.join(" "),
    }
}
