//! Over gRPC, on a connection of HTTP/2.

use std::{fmt::Write as _, sync::Arc};

use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use bytes::Bytes;
use expect_test::expect;
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tidegate_otlp::limits::BODY_BYTES_MAX;
use tokio::net::{TcpListener, TcpStream};

use crate::world::{World, gzip, log, run};

const LOGS: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const SPANS: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

fn framed(packed: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[packed], &length[..], message].concat()
}

/// A connection to a receiver that serves.
#[expect(
    clippy::disallowed_methods,
    reason = "both end with the test's runtime"
)]
async fn connect(world: &World) -> SendRequest<Full<Bytes>> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Arc::clone(&world.receiver).serve_grpc(listener, std::future::pending());
    tokio::task::spawn(serving);
    let stream = TcpStream::connect(address).await.unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::task::spawn(connection);
    sender
}

async fn call(
    sender: &mut SendRequest<Full<Bytes>>,
    path: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
) -> String {
    let mut request = Request::post(format!("http://127.0.0.1{path}")).header("te", "trailers");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body))).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned().unwrap_or_default();
    let value = |of: &HeaderMap, name: &str| of.get(name).map(|it| it.to_str().unwrap().to_owned());
    let both = |name: &str| value(&head.headers, name).or_else(|| value(&trailers, name));
    let mut said = format!(
        "{} status {}",
        head.status.as_u16(),
        both("grpc-status").unwrap()
    );
    if let Some(message) = both("grpc-message") {
        write!(said, " {message}").unwrap();
    }
    if let Some(details) = both("grpc-status-details-bin") {
        let details = BASE64_STANDARD_NO_PAD.decode(details).unwrap();
        let retries = String::from_utf8_lossy(&details).contains("google.rpc.RetryInfo");
        write!(said, "{}", if retries { " (again later)" } else { "" }).unwrap();
    }
    write!(said, " {:?}", body.to_bytes()).unwrap();
    said
}

#[test]
fn calls_are_taken_packed_or_not_and_kept_before_the_answer() {
    let world = World::new();
    run(async {
        let mut sender = connect(&world).await;
        let grpc = ("content-type", "application/grpc");
        let said = call(&mut sender, LOGS, &[grpc], framed(0, &log())).await;
        assert_eq!(said, "200 status 0 b\"\\0\\0\\0\\0\\0\"");
        assert_eq!(world.kept(), ["\"local\": \"hello\""]);
        let headers = [grpc, ("grpc-encoding", "gzip"), ("x-tidegate-key", "ann")];
        let said = call(&mut sender, LOGS, &headers, framed(1, &gzip(&log()))).await;
        assert_eq!(said, "200 status 0 b\"\\0\\0\\0\\0\\0\"");
        assert_eq!(world.kept(), ["\"local\": \"hello\"", "\"ann\": \"hello\""]);
    });
}

#[test]
fn calls_that_can_not_be_taken_end_with_a_status_that_says_what_to_do() {
    let world = World::new();
    let mut told = String::new();
    run(async {
        let mut sender = connect(&world).await;
        let grpc = ("content-type", "application/grpc+proto");
        let invalid = b"\x0a\x06\x12\x04\x12\x02\x2a\x00".to_vec();
        for (path, headers, body) in [
            ("/grpc.health.v1.Health/Check", vec![grpc], framed(0, b"")),
            (
                LOGS,
                vec![("content-type", "application/json")],
                b"{}".to_vec(),
            ),
            (
                LOGS,
                vec![grpc, ("x-tidegate-key", "viewer")],
                framed(0, b""),
            ),
            (LOGS, vec![grpc, ("x-tidegate-key", "")], framed(0, b"")),
            (LOGS, vec![grpc], framed(1, &gzip(&log()))),
            (LOGS, vec![grpc, ("grpc-encoding", "zstd")], framed(1, b"")),
            (LOGS, vec![grpc], b"\0\0\0\0".to_vec()),
            (LOGS, vec![grpc], [framed(0, b""), framed(0, b"")].concat()),
            (LOGS, vec![grpc], framed(0, b"\xff")),
            (LOGS, vec![grpc], framed(0, &vec![0; BODY_BYTES_MAX + 1])),
            (SPANS, vec![grpc], framed(0, &invalid)),
        ] {
            let said = call(&mut sender, path, &headers, body).await;
            writeln!(told, "{said}").unwrap();
        }
        world.refuse(Some(5));
        let said = call(&mut sender, LOGS, &[grpc], framed(0, &log())).await;
        writeln!(told, "{said}").unwrap();
    });
    expect![[r#"
        200 status 12 there is no `/grpc.health.v1.Health/Check` here: OTLP is POST /v1/logs, /v1/traces and /v1/metrics b""
        200 status 12 `application/json` is not a type that is taken: send application/x-protobuf or application/json b""
        200 status 7 a key of the role viewer may look and not send: use one with the role caller b""
        200 status 16 whose key is that? b""
        200 status 12 `none` is not an encoding that is taken: send gzip, or nothing packed b""
        200 status 12 `zstd` is not an encoding that is taken: send gzip, or nothing packed b""
        200 status 3 the body broke off b""
        200 status 3 the body broke off b""
        200 status 3 not a message of Protocol Buffers: it ends in the middle of a field b""
        200 status 8 the body is longer than 4194304 bytes: send smaller batches b""
        200 status 0 b"\0\0\0\0Y\n\xd3\x80\x80\x80\0\x08\x01\x12O1 have no valid id: a trace's has 16 bytes and a span's 8, not all of them zero"
        200 status 14 telemetry is not taken for now; send it again in 5 s (again later) b""
    "#]].assert_eq(&told);
    assert_eq!(world.kept(), [""; 0]);
}
