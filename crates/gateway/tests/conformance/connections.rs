//! Connections on both sides: kept, shared, closed behind our back, and ended in good order.

use tidegate_engine::identity::KEY_PREFIX;
use tidegate_gateway::server::Phase;
use tidegate_observe::calls::{CallRecord, Outcome};

use crate::harness::{Ask, Client, Ended, Scripted, Step, World};

/// An answer that says as little as one can.
fn answer() -> Vec<u8> {
    let body = r#"{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let length = body.len();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json";
    format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

#[test]
fn one_connection_serves_many_calls_on_both_sides() {
    let calls = 5;
    let steps = vec![vec![Step::Read, Step::Write(answer())]; calls].concat();
    let upstream = Scripted::start(vec![steps]);
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    let mut client = world.connect();
    for _ in 0..calls {
        assert_eq!(client.ask(&Ask::messages("hello", false)).status, 200);
    }
    world.settled(calls);
    world.assert_sound();
}

#[test]
fn an_idle_connection_that_the_provider_closed_fails_no_call() {
    let steps = vec![Step::Read, Step::Write(answer()), Step::Close];
    let upstream = Scripted::start(vec![steps; 3]);
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    for _ in 0..3 {
        assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
        upstream.closed();
    }
    assert!(world.settled(3).iter().all(|it| !it.estimated));
    world.assert_sound();
}

#[test]
fn a_provider_that_hangs_up_on_everyone_is_a_502_and_not_a_loop() {
    let upstream = Scripted::start(vec![vec![Step::Read, Step::Close]; 1]);
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 502);
    upstream.seen();
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert!(matches!(record.outcome, Outcome::UpstreamLost));
    world.assert_sound();
}

#[test]
fn calls_share_a_connection_of_http_2() {
    let world = World::start(|it| it.http2 = true);
    let key = world.key("ada", |_| {});
    let mut clients: Vec<Client> = (0..8)
        .map(|at| {
            let mut client = world.connect();
            let ask = Ask::messages("sim:sleep-ms 200 hello", at % 2 == 0);
            client.send(&ask.with("x-tidegate-key", &key).bytes());
            client
        })
        .collect();
    for client in &mut clients {
        let heard = client.answer().unwrap();
        assert_eq!((heard.status, heard.ended), (200, Ended::Whole));
        assert!(heard.header("anthropic-ratelimit-requests-limit").is_some());
    }
    for seen in world.wire(8) {
        assert!(seen.complete);
        let names = seen.header_names.join(" ");
        assert!(!names.contains("x-tidegate"), "{names}");
        assert!(!names.contains(KEY_PREFIX), "{names}");
    }
    world.settled(8);
    world.assert_sound();
}

#[test]
fn faults_over_http_2_look_as_they_do_over_http_1() {
    let world = World::start(|it| it.http2 = true);
    let faults = [
        "reset",
        "529",
        "cut-mid-stream=0",
        "reset-mid-stream=4",
        "close-mid-event=3",
    ];
    for fault in faults {
        for ask in Ask::in_all_dialects(&format!("sim:fault {fault}"), true) {
            let heard = world.ask(&ask);
            assert_eq!(heard.ended, Ended::Whole, "{fault}");
            match heard.status {
                200 => assert_eq!(heard.events().last().unwrap(), "error", "{fault}"),
                502 => assert_eq!(fault, "reset"),
                status => assert!(fault == "529" && status > 500, "{fault}: {status}"),
            }
        }
    }
    world.settled(faults.len() * 3);
    world.assert_sound();
    assert_eq!(world.ask(&Ask::messages("hello", true)).status, 200);
}

#[test]
fn a_client_that_hangs_up_over_http_2_lets_its_stream_go() {
    let world = World::start(|it| it.http2 = true);
    let mut client = world.connect();
    client.send(&Ask::messages("sim:tokens 400 sim:fault stall-mid-stream=12", true).bytes());
    client.until(b"gate opens").unwrap();
    drop(client);
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert!(matches!(record.outcome, Outcome::ClientGone), "{record:#?}");
    assert!(!world.wire(1)[0].complete);
    world.assert_sound();
}

#[test]
fn a_gateway_that_drains_lets_streams_end_and_takes_no_more() {
    let world = World::plain();
    let mut idle = world.connect();
    assert_eq!(idle.ask(&Ask::messages("hello", false)).status, 200);
    let mut client = world.connect();
    client.send(&Ask::messages("sim:tokens 400 sim:stream-ms 700", true).bytes());
    client.until(b"message_start").unwrap();
    world.phase.send_replace(Phase::Draining);
    assert!(idle.is_ended());
    client.until(b"event: message_stop").unwrap();
    assert!(world.settled(2).iter().all(|it| !it.estimated));
    world.assert_sound();
    // Once it has ended, nobody listens there any more.
    while std::net::TcpStream::connect(world.addr).is_ok() {
        std::thread::yield_now();
    }
}

/// As the second signal does, or the end of the time to drain.
fn stop_at_once(world: &World) {
    world.phase.send_replace(Phase::Draining);
    world.gateway.close();
    world.phase.send_replace(Phase::Closing);
}

#[test]
fn whoever_is_cut_by_a_stop_is_told_so_in_its_dialect() {
    let world = World::plain();
    let streams = Ask::in_all_dialects("sim:tokens 400 sim:fault stall-mid-stream=12", true);
    let mut streams = streams.map(|ask| {
        let mut client = world.connect();
        client.send(&ask.bytes());
        client
    });
    for client in &mut streams {
        client.until(b"gate opens").unwrap();
    }
    let silent = Ask::in_all_dialects("sim:sleep-ms 60000", false);
    let mut silent = silent.map(|ask| {
        let mut client = world.connect();
        client.send(&ask.bytes());
        client
    });
    world.until(|| world.engine.registry().open_calls.with([]).value() == 6);
    stop_at_once(&world);
    for client in &mut streams {
        client.until(b"the gateway is being stopped").unwrap();
        // The end of its chunks: it is well formed.
        client.until(b"0\r\n\r\n").unwrap();
    }
    for client in &mut silent {
        let heard = client.answer().unwrap();
        assert_eq!((heard.status, heard.ended), (503, Ended::Whole));
        assert_eq!(heard.header("retry-after"), Some("5"));
        assert!(heard.text().contains("the gateway is being stopped"));
    }
    let records = world.settled(6);
    let interrupted = |it: &&CallRecord| matches!(it.outcome, Outcome::Interrupted);
    assert_eq!(records.iter().filter(interrupted).count(), 6);
    // Of the others it depends on the moment whether anything of them had been sent.
    let begun = records.iter().filter(|it| it.answer_bytes > 0);
    let charged = begun.filter(|it| it.estimated && it.cost.0 > 0);
    assert_eq!(charged.count(), 3);
    world.assert_sound();
}

#[test]
fn a_gateway_that_is_closed_settles_what_it_cuts() {
    let world = World::plain();
    let mut client = world.connect();
    client.send(&Ask::messages("sim:tokens 400 sim:fault stall-mid-stream=12", true).bytes());
    client.until(b"gate opens").unwrap();
    stop_at_once(&world);
    assert!(client.until(b"message_stop").is_err());
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert!(
        matches!(record.outcome, Outcome::Interrupted),
        "{record:#?}"
    );
    assert!(record.estimated && record.cost.0 > 0);
    world.assert_sound();
}
