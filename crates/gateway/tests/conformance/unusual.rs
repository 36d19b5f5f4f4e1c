//! Answers in forms that HTTP allows and the providers do not use: of compatible servers, and of proxies between.

use tidegate_observe::calls::Outcome;

use crate::harness::{Ask, Client, Ended, Scripted, Step, World};

/// A short answer, as Anthropic streams it.
const EVENTS: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-opus-5-5\",\"content\":[],\"usage\":{\"input_tokens\":12,\"output_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"high water\"}}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":7}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

/// A chunk of an answer's body.
fn chunk(bytes: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", bytes.len());
    [size.as_bytes(), bytes, b"\r\n"].concat()
}

/// A successful answer in chunks, with these header lines and this first chunk.
fn begun(headers: &str, first: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n{headers}\r\n");
    [head.into_bytes(), chunk(first)].concat()
}

/// The home provider does this, once.
fn world(steps: Vec<Step>) -> (World, Scripted) {
    let upstream = Scripted::start(vec![steps]);
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    (world, upstream)
}

fn asking(world: &World) -> Client {
    let mut client = world.connect();
    client.send(&Ask::messages("hello", true).bytes());
    client
}

#[test]
fn a_stream_is_passed_on_as_it_comes_however_its_type_is_written() {
    for kind in [
        "content-type: text/event-stream\r\n",
        "content-type: Text/Event-Stream;charset=UTF-8\r\n",
        "content-type: TEXT/EVENT-STREAM ; charset=utf-8\r\n",
        "content-type: application/octet-stream\r\n",
        "",
    ] {
        // It is not over as long as anybody listens.
        let answer = Step::Write(begun(kind, EVENTS.as_bytes()));
        let (world, _upstream) = world(vec![Step::Read, answer, Step::Wait]);
        let mut client = asking(&world);
        assert_eq!(client.answer_head().unwrap().status, 200, "{kind}");
        client.until(b"event: message_stop").unwrap();
        drop(client);
        let [record] = &world.settled(1)[..] else {
            panic!("one record")
        };
        assert!(
            matches!(record.outcome, Outcome::Answered) && !record.estimated,
            "{kind}: {record:#?}"
        );
        assert_eq!(record.usage.unwrap().output.0, 7, "{kind}");
        world.assert_sound();
    }
}

#[test]
fn what_has_no_type_and_is_an_error_or_was_not_to_be_streamed_is_no_stream() {
    let error = r#"{"type":"error","error":{"type":"api_error","message":"no"}}"#;
    let whole = r#"{"type":"message","content":[],"usage":{"input_tokens":1,"output_tokens":1}}"#;
    for (status, stream, body) in [("400 No", true, error), ("200 OK", false, whole)] {
        let length = body.len();
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}");
        let (world, _upstream) = world(vec![Step::Read, Step::Write(answer.into()), Step::Close]);
        let heard = world.ask(&Ask::messages("hello", stream));
        assert_eq!((heard.text().as_str(), heard.ended), (body, Ended::Whole));
        let [record] = &world.settled(1)[..] else {
            panic!("one record")
        };
        assert!(!record.estimated, "{record:#?}");
        world.assert_sound();
    }
}
