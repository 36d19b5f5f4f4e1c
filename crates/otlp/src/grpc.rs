//! OTLP over gRPC: three services with one method each, whose calls have one message either way.
//!
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Of all that gRPC can, this needs a
//! path, a frame of five bytes before the message, and a status behind the answer.

use std::{
    convert::Infallible,
    fmt::Write as _,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderValue, Method, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::{server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::{
    answer,
    decode::Signal,
    error::Refusal,
    http1::{packed, shortened},
    limits::{
        CONNECTIONS_MAX, DRAIN, HEAD_BYTES_MAX, KEEP_ALIVE, RETRY_BUSY, STREAMS_MAX, WINDOW_BYTES,
    },
    receiver::{Brought, Form, Held, Receiver, Taken},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Bytes before a message: whether it is packed, and its length.
const FRAME_BYTES: usize = 5;

/// The service of a path.
fn signal(path: &str) -> Option<Signal> {
    let service = path.strip_prefix("/opentelemetry.proto.collector.")?;
    match service {
        "logs.v1.LogsService/Export" => Some(Signal::Logs),
        "trace.v1.TraceService/Export" => Some(Signal::Traces),
        "metrics.v1.MetricsService/Export" => Some(Signal::Metrics),
        _ => None,
    }
}

/// An answer: a message and the status behind it, or nothing where the head says all.
#[derive(Debug)]
pub struct Reply {
    message: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let reply = self.get_mut();
        let message = reply.message.take().map(Frame::data);
        let frame = message.or_else(|| reply.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.message.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.message.as_ref().map_or(0, |it| it.len() as u64))
    }
}

impl Receiver {
    /// Serves gRPC until `stopped`, and lets what is on its way end.
    pub async fn serve_grpc(
        self: Arc<Self>,
        listener: TcpListener,
        stopped: impl Future<Output = ()> + Send,
    ) {
        let (ending, ends) = watch::channel(false);
        let mut connections = JoinSet::new();
        let mut stopped = std::pin::pin!(stopped);
        loop {
            tokio::select! {
                accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                    match accepted {
                        Ok((stream, peer)) => {
                            connections.spawn(connection(Arc::clone(&self), stream, peer, ends.clone()));
                        }
                        // Out of file descriptors, say: others end meanwhile.
                        Err(_) => tokio::time::sleep(RETRY_BUSY).await,
                    }
                }
                Some(_ended) = connections.join_next() => {}
                () = &mut stopped => break,
            }
        }
        drop(listener);
        ending.send_replace(true);
        let all = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN, all).await.is_err() {
            connections.shutdown().await;
        }
    }

    /// Answers one call.
    pub async fn answer_grpc<B>(
        self: Arc<Self>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Response<Reply>
    where
        B: Body<Data = Bytes>,
    {
        let signal = signal(request.uri().path());
        let (response, status) = match self.take_grpc(signal, request, peer).await {
            Ok(taken) => (success(&taken), "OK"),
            Err(refusal) => (self.refuse_grpc(&refusal), refusal.code().word()),
        };
        self.answered("grpc", signal, status);
        response
    }

    async fn take_grpc<B>(
        &self,
        signal: Option<Signal>,
        request: Request<B>,
        peer: SocketAddr,
    ) -> Result<Taken, Refusal>
    where
        B: Body<Data = Bytes>,
    {
        let (parts, body) = request.into_parts();
        let Some(signal) = signal.filter(|_| parts.method == Method::POST) else {
            return Err(Refusal::NoRoute(shortened(parts.uri.path())));
        };
        let media = parts.headers.get(header::CONTENT_TYPE);
        let media = media.map_or("", |it| it.to_str().unwrap_or("?"));
        if !matches!(media, "application/grpc" | "application/grpc+proto") {
            return Err(Refusal::MediaType(shortened(media)));
        }
        let sender = self.sender(&parts.headers, parts.uri.authority(), peer)?;
        let encoding = packed(&parts.headers, "grpc-encoding")?;
        let held = self.read(body, FRAME_BYTES).await?;
        let (packed, held) = unframed(held)?;
        if packed && !encoding {
            return Err(Refusal::Encoding("none".to_owned()));
        }
        let brought = Brought {
            signal,
            form: Form::Protobuf,
            packed,
            sender,
        };
        self.keep(brought, held).await
    }

    fn refuse_grpc(&self, refusal: &Refusal) -> Response<Reply> {
        let sentence = self.tellable(refusal);
        let details = answer::status(refusal, &sentence);
        let mut response = Response::new(Reply {
            message: None,
            trailers: None,
        });
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, GRPC);
        headers.insert("grpc-status", HeaderValue::from(refusal.code().number()));
        for (name, value) in [
            ("grpc-message", percent_encoded(&sentence)),
            (
                "grpc-status-details-bin",
                BASE64_STANDARD_NO_PAD.encode(details),
            ),
        ] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn success(taken: &Taken) -> Response<Reply> {
    let message = answer::taken(taken);
    let length = u32::try_from(message.len()).unwrap_or(0);
    let mut framed = Vec::with_capacity(FRAME_BYTES + message.len());
    framed.push(0);
    framed.extend(length.to_be_bytes());
    framed.extend(message);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut response = Response::new(Reply {
        message: Some(framed.into()),
        trailers: Some(trailers),
    });
    response.headers_mut().insert(header::CONTENT_TYPE, GRPC);
    response
}

/// The one message of a call, and whether it is packed.
fn unframed(mut held: Held) -> Result<(bool, Held), Refusal> {
    let Some((head, message)) = held.bytes.split_first_chunk::<FRAME_BYTES>() else {
        return Err(Refusal::Lost);
    };
    let [packed, length @ ..] = *head;
    let length = u32::from_be_bytes(length);
    if usize::try_from(length).ok() != Some(message.len()) || packed > 1 {
        return Err(Refusal::Lost);
    }
    held.bytes.advance(FRAME_BYTES);
    Ok((packed == 1, held))
}

/// A text as `grpc-message` has it.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (0x20..=0x7e).contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Boxed, so that all there is about connections is compiled here and not where it is served.
fn connection(
    receiver: Arc<Receiver>,
    stream: TcpStream,
    peer: SocketAddr,
    ends: watch::Receiver<bool>,
) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(serve(receiver, stream, peer, ends))
}

async fn serve(
    receiver: Arc<Receiver>,
    stream: TcpStream,
    peer: SocketAddr,
    mut ends: watch::Receiver<bool>,
) {
    // Without it the status waits for the sender's delayed acknowledgement.
    let _best_effort = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answering = Arc::clone(&receiver).answer_grpc(request, peer);
        async move { Ok::<_, Infallible>(answering.await) }
    });
    let mut connection = std::pin::pin!(
        http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEAD_BYTES_MAX)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .keep_alive_interval(KEEP_ALIVE)
            .serve_connection(TokioIo::new(stream), service)
    );
    // A connection's error is the sender's going, or no HTTP/2 at all.
    tokio::select! {
        biased;
        _gone = connection.as_mut() => return,
        _ends = ends.wait_for(|it| *it) => {}
    }
    connection.as_mut().graceful_shutdown();
    connection.await.unwrap_or_default();
}
