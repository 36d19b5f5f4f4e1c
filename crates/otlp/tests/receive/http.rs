//! Over HTTP.

use std::{fmt::Write as _, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use expect_test::expect;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use tidegate_otlp::limits::{BODY_BYTES_MAX, UNPACKED_BYTES_MAX};

use crate::world::{LOG, PEER, World, gzip, log, run};

const JSON: (&str, &str) = ("content-type", "application/json");
const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");
const GZIP: (&str, &str) = ("content-encoding", "gzip");

/// Status, `retry-after` and the answer as far as it is text.
async fn post(
    world: &World,
    path: &str,
    headers: &[(&str, &str)],
    body: impl Into<Bytes>,
    peer: SocketAddr,
) -> String {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body.into())).unwrap();
    let response = Arc::clone(&world.receiver).answer_http(request, peer).await;
    let mut said = response.status().as_u16().to_string();
    if let Some(wait) = response.headers().get("retry-after") {
        write!(said, " after {} s", wait.to_str().unwrap()).unwrap();
    }
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let text: String = String::from_utf8_lossy(&body)
        .chars()
        .filter(|it| !it.is_control() && *it != '\u{fffd}')
        .collect();
    write!(said, " {text}").unwrap();
    said
}

#[test]
fn every_form_and_packing_is_taken_and_kept_before_the_answer() {
    let world = World::new();
    run(async {
        for (headers, body) in [
            (vec![JSON], LOG.as_bytes().to_vec()),
            (vec![("content-type", "Application/JSON; charset=utf-8"), GZIP], gzip(b"{\"resourceLogs\":[{\"scopeLogs\":[{\"logRecords\":[{\"body\":\"packed\"}]}]}]}")),
            (vec![PROTOBUF], log()),
            (vec![PROTOBUF, ("x-tidegate-key", "ann"), GZIP], gzip(&log())),
        ] {
            let before = world.kept().len();
            let said = post(&world, "/v1/logs", &headers, body, PEER).await;
            assert!(said.starts_with("200"), "{said}");
            assert_eq!(world.kept().len(), before + 1, "{headers:?}");
        }
    });
    expect![[r#"
        [
            "\"local\": \"hello\"",
            "\"local\": \"packed\"",
            "\"local\": \"hello\"",
            "\"ann\": \"hello\"",
        ]
    "#]]
    .assert_debug_eq(&world.kept());
}

#[test]
#[expect(clippy::too_many_lines, reason = "each line is a request")]
fn what_can_not_be_taken_is_refused_with_what_to_do() {
    let world = World::new();
    let abroad: SocketAddr = "203.0.113.1:1".parse().unwrap();
    let bomb = gzip(&vec![0; UNPACKED_BYTES_MAX + 1]);
    let mut told = String::new();
    run(async {
        for (path, headers, body, peer) in [
            ("/v1/logs", vec![JSON], LOG.as_bytes().to_vec(), abroad),
            (
                "/v1/logs",
                vec![JSON, ("forwarded", "for=1.2.3.4")],
                LOG.as_bytes().to_vec(),
                PEER,
            ),
            (
                "/v1/logs",
                vec![JSON, ("x-tidegate-key", "viewer")],
                LOG.as_bytes().to_vec(),
                PEER,
            ),
            (
                "/v1/logs",
                vec![JSON, ("x-tidegate-key", "a"), ("x-tidegate-key", "b")],
                LOG.as_bytes().to_vec(),
                PEER,
            ),
            ("/v1/other", vec![JSON], LOG.as_bytes().to_vec(), PEER),
            (
                "/v1/logs",
                vec![("content-type", "text/plain")],
                vec![],
                PEER,
            ),
            (
                "/v1/logs",
                vec![JSON, ("content-encoding", "br")],
                vec![],
                PEER,
            ),
            ("/v1/logs", vec![JSON, GZIP], b"not packed".to_vec(), PEER),
            ("/v1/logs", vec![PROTOBUF, GZIP], bomb, PEER),
            (
                "/v1/logs",
                vec![PROTOBUF],
                vec![0; BODY_BYTES_MAX + 1],
                PEER,
            ),
            ("/v1/logs", vec![PROTOBUF], b"\x0a\x7f".to_vec(), PEER),
            (
                "/v1/traces",
                vec![JSON],
                b"{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{\"name\":\"x\"}]}]}]}".to_vec(),
                PEER,
            ),
        ] {
            let said = post(&world, path, &headers, body, peer).await;
            writeln!(told, "{said}").unwrap();
        }
    });
    expect![[r#"
        401 {"code":16,"message":"a key is needed"}
        401 {"code":16,"message":"a key is needed"}
        403 {"code":7,"message":"a key of the role viewer may look and not send: use one with the role caller"}
        401 {"code":16,"message":"whose key is that?"}
        404 {"code":12,"message":"there is no `/v1/other` here: OTLP is POST /v1/logs, /v1/traces and /v1/metrics"}
        415 Y`text/plain` is not a type that is taken: send application/x-protobuf or application/json
        415 {"code":12,"message":"`br` is not an encoding that is taken: send gzip, or nothing packed"}
        400 {"code":3,"message":"the body is not gzip as it says: invalid gzip header"}
        413 Ethe body is longer than 16777216 bytes unpacked: send smaller batches
        413 ;the body is longer than 4194304 bytes: send smaller batches
        400 Cnot a message of Protocol Buffers: it ends in the middle of a field
        200 {"partialSuccess":{"errorMessage":"1 have no valid id: a trace's has 16 bytes and a span's 8, not all of them zero","rejectedSpans":"1"}}
    "#]].assert_eq(&told);
    assert_eq!(world.kept(), [""; 0]);
}

#[test]
fn a_batch_that_is_sent_again_is_kept_once_and_that_of_another_user_as_well() {
    let world = World::new();
    run(async {
        for headers in [
            vec![PROTOBUF],
            vec![PROTOBUF, GZIP],
            vec![PROTOBUF, ("x-tidegate-key", "ann")],
        ] {
            let body = if headers.contains(&GZIP) {
                gzip(&log())
            } else {
                log()
            };
            let said = post(&world, "/v1/logs", &headers, body, PEER).await;
            assert!(said.starts_with("200"), "{said}");
        }
    });
    assert_eq!(world.kept(), ["\"local\": \"hello\"", "\"ann\": \"hello\""]);
    let registry = &world.registry;
    assert_eq!(registry.otlp_repeated_requests.with(["logs"]).value(), 1);
    assert_eq!(registry.otlp_taken_records.with(["logs"]).value(), 2);
}

#[test]
fn where_the_store_is_full_the_sender_is_told_when_to_come_back_and_is_taken_then() {
    let world = World::new();
    run(async {
        world.refuse(Some(5));
        let said = post(&world, "/v1/logs", &[JSON], LOG, PEER).await;
        expect![[r#"503 after 5 s {"code":14,"message":"telemetry is not taken for now; send it again in 5 s"}"#]].assert_eq(&said);
        world.refuse(None);
        assert_eq!(post(&world, "/v1/logs", &[JSON], LOG, PEER).await, "200 {}");
    });
    assert_eq!(world.kept().len(), 1);
}

#[test]
fn only_post_is_a_request() {
    let world = World::new();
    let request = Request::get("/v1/logs")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let response = run(Arc::clone(&world.receiver).answer_http(request, PEER));
    assert_eq!(response.status(), 404);
}
