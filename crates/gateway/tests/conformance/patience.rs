//! How long the gateway waits for its clients, under a clock that the test moves.

use std::time::Duration;

use crate::harness::{Ask, World, world::Setup};

const DAY: Duration = Duration::from_hours(24);

fn standing_still(setup: &mut Setup) {
    setup.paused = true;
    (setup.head_max, setup.silence_max) = (DAY, DAY);
}

#[test]
fn a_body_that_stops_coming_is_refused_in_its_dialect() {
    let world = World::start(standing_still);
    for ask in Ask::in_all_dialects("hello", false) {
        let mut client = world.connect();
        let ask = ask.with("expect", "100-continue");
        client.send(ask.head().as_bytes());
        // It is being waited for from before this is said.
        assert_eq!(client.answer_head().unwrap().status, 100);
        world.advance(Duration::from_secs(29));
        client.send(b"{");
        world.advance(Duration::from_secs(2));
        client.until_heard(|| world.advance(Duration::from_secs(1)));
        let heard = client.answer().unwrap();
        assert_eq!(heard.status, 400, "{}", heard.text());
        assert_eq!(heard.json()["error"]["type"], "invalid_request_error");
        assert!(heard.text().contains("30 s"), "{}", heard.text());
    }
    world.wire(0);
    world.settled(3);
    assert_eq!(world.gateway.body_bytes(), 0);
    world.assert_sound();
}

#[test]
fn a_body_that_drips_is_refused_before_it_holds_its_memory_for_hours() {
    let world = World::start(standing_still);
    let mut client = world.connect();
    let ask = Ask::messages(&"x".repeat(4 << 20), false).with("expect", "100-continue");
    client.send(ask.head().as_bytes());
    assert_eq!(client.answer_head().unwrap().status, 100);
    for _ in 0..2 {
        client.send(b" ");
        // In small steps, so that it is read at the first of them.
        (0..14).for_each(|_| world.advance(Duration::from_secs(1)));
    }
    client.send(b" ");
    let mut waited = 0;
    client.until_heard(|| {
        world.advance(Duration::from_secs(1));
        waited += 1;
    });
    assert!(waited < 10, "{waited} s");
    let heard = client.answer().unwrap();
    let text = heard.text();
    assert_eq!(heard.status, 400, "{text}");
    assert!(text.contains("3 bytes in 30 s"), "{text}");
    assert!(text.contains("4096 bytes a second"), "{text}");
    world.wire(0);
    world.settled(1);
    assert_eq!(world.gateway.body_bytes(), 0);
    world.assert_sound();
}

#[test]
fn a_head_that_stops_coming_ends_its_connection() {
    let world = World::start(standing_still);
    let mut client = world.connect();
    client.send(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nx-slow: ");
    let mut waited = 0;
    client.until_ended(|| {
        world.advance(Duration::from_secs(1));
        waited += 1;
    });
    assert!(waited >= 29, "{waited} s");
    world.wire(0);
}

#[test]
fn bodies_beyond_the_memory_for_all_wait_and_are_then_told_to_come_back() {
    let world = World::start(|it| {
        standing_still(it);
        it.bounds.all_bytes_max = 1 << 20;
    });
    let large = "x".repeat(700 << 10);
    let mut holder = world.connect();
    let held = format!("sim:sleep-ms 600000 {large}");
    holder.send(&Ask::messages(&held, true).bytes());
    world.until_reserved();
    assert!(world.gateway.body_bytes() >= 700 << 10);
    for ask in Ask::in_all_dialects(&large, true) {
        let mut client = world.connect();
        client.send(&ask.bytes());
        let mut waited = 0;
        client.until_heard(|| {
            world.advance(Duration::from_secs(1));
            waited += 1;
        });
        assert!(waited >= 9, "{waited} s");
        let heard = client.answer().unwrap();
        assert_eq!(heard.status, 429, "{}", heard.text());
        let kind = &heard.json()["error"]["type"];
        assert!(
            kind == "rate_limit_error" || kind == "rate_limit_exceeded",
            "{kind}"
        );
        assert_eq!(heard.header("retry-after"), Some("2"));
    }
    // What fits is served all the while.
    assert_eq!(world.ask(&Ask::messages("hello", true)).status, 200);
    drop(holder);
    world.settled(5);
    assert_eq!(world.gateway.body_bytes(), 0);
    assert_eq!(world.ask(&Ask::messages(&large, true)).status, 200);
    world.settled(6);
    world.assert_sound();
}

#[test]
fn a_body_that_waited_for_memory_goes_on_once_there_is_some() {
    let world = World::start(|it| {
        standing_still(it);
        it.bounds.all_bytes_max = 1 << 20;
    });
    let large = "x".repeat(700 << 10);
    let mut holder = world.connect();
    let held = format!("sim:sleep-ms 600000 {large}");
    holder.send(&Ask::messages(&held, true).bytes());
    world.until_reserved();
    assert!(world.gateway.body_bytes() >= 700 << 10);
    let mut client = world.connect();
    client.send(&Ask::messages(&large, true).bytes());
    drop(holder);
    assert_eq!(client.answer().unwrap().status, 200);
    world.settled(2);
    world.assert_sound();
}
