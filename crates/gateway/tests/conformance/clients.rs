//! Clients that hang up, dawdle or stop in the middle: each call ends as one settled row.

use expect_test::expect;
use tidegate_ledger::LedgerStore as _;
use tidegate_observe::calls::{CallRecord, Outcome};

use crate::harness::{Ask, Ended, PATIENCE, Scripted, Step, World};

/// The one call's record, after everything about it is settled and sound.
fn only(world: &World) -> CallRecord {
    let records = world.settled(1);
    world.assert_sound();
    let [record] = &records[..] else {
        panic!("one call has one record: {records:#?}")
    };
    record.clone()
}

/// True once the provider knows that nobody listens any more.
fn is_let_go(world: &World) -> bool {
    let [seen] = &world.home.wait_for_calls(1, PATIENCE)[..] else {
        panic!("one call")
    };
    !seen.complete
}

#[test]
fn a_client_that_hangs_up_before_the_answer_pays_for_the_input() {
    for stream in [true, false] {
        for ask in Ask::in_all_dialects("hello", stream) {
            let upstream = Scripted::start(vec![vec![Step::Read, Step::Wait]]);
            let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
            let mut client = world.connect();
            client.send(&ask.bytes());
            upstream.seen();
            drop(client);
            // The provider's connection goes with the client's: nobody pays for an answer that
            // nobody reads.
            upstream.closed();
            let record = only(&world);
            assert!(matches!(record.outcome, Outcome::ClientGone), "{record:#?}");
            assert!(record.estimated && record.cost.0 > 0, "{record:#?}");
            assert_eq!(world.gateway.body_bytes(), 0);
        }
    }
}

#[test]
fn open_calls_and_streams_are_counted_until_their_clients_leave() {
    let world = World::plain();
    let registry = world.engine.registry();
    let open = || {
        let [calls, streams] = [&registry.open_calls, &registry.open_streams];
        (calls.with([]).value(), streams.with([]).value())
    };
    let mut clients = Vec::new();
    for ask in Ask::in_all_dialects("sim:fault stall-mid-stream", true) {
        let mut client = world.connect();
        client.send(&ask.bytes());
        assert_eq!(client.answer_head().unwrap().status, 200);
        clients.push(client);
    }
    assert_eq!(open(), (3, 3));
    drop(clients);
    world.settled(3);
    world.until(|| open() == (0, 0));
    assert_eq!(world.told("client_gone").lines().count(), 3);
    world.assert_sound();
}

/// The call has its reservation on the way into the journal, and lets others go first, when its client is
/// found gone.
#[test]
fn a_client_that_goes_as_soon_as_it_has_asked_leaves_nothing_open() {
    for stream in [true, false] {
        let world = World::plain();
        let ask = Ask::messages("hello", stream);
        world.ask_and_go_until(&ask, || {
            world.engine.flush();
            let rows = world.store.rows(1, usize::MAX).unwrap();
            rows.iter().any(|it| it.payload.contains("\"release\""))
        });
        let records = world.settled(1);
        let gone = |it: &&CallRecord| matches!(it.outcome, Outcome::ClientGone);
        assert!(
            records.iter().any(|it| gone(&it) && it.cost.0 == 0),
            "{records:#?}"
        );
        world.assert_sound();
    }
}

/// The other side takes the connection and never says a word of its TLS handshake.
#[test]
fn a_client_that_hangs_up_before_anything_was_sent_pays_nothing() {
    for stream in [true, false] {
        let upstream = Scripted::start(vec![vec![Step::Wait]]);
        let secure = upstream.base_url.replace("http:", "https:");
        let world = World::start(|it| it.home_url = Some(secure));
        let mut client = world.connect();
        client.send(&Ask::messages("hello", stream).bytes());
        world.until_reserved();
        drop(client);
        upstream.closed();
        let record = only(&world);
        assert!(matches!(record.outcome, Outcome::ClientGone), "{record:#?}");
        assert!(!record.estimated && record.cost.0 == 0, "{record:#?}");
        for view in world.engine.pool_views() {
            let spent = view
                .buckets
                .iter()
                .filter(|it| it.level < it.capacity.cast_signed());
            assert_eq!(spent.count(), 0, "{view:#?}");
        }
        expect![[r#"
            ledger:   reserve, release
            record:   client_gone 0 $0.00
        "#]]
        .assert_eq(&world.ledger(1));
    }
}

#[test]
fn a_head_that_is_late_before_anything_was_sent_costs_nothing() {
    let upstream = Scripted::start(vec![vec![Step::Wait]]);
    let secure = upstream.base_url.replace("http:", "https:");
    let world = World::start(|it| {
        it.home_url = Some(secure);
        it.head_max = std::time::Duration::from_millis(1);
    });
    let heard = world.ask(&Ask::messages("hello", false));
    assert_eq!(heard.status, 504, "{}", heard.text());
    assert_eq!(only(&world).cost.0, 0);
}

#[test]
fn a_client_that_hangs_up_in_mid_stream_pays_for_what_was_made() {
    for ask in Ask::in_all_dialects("sim:tokens 400 sim:fault stall-mid-stream=12", true) {
        let world = World::plain();
        let mut client = world.connect();
        client.send(&ask.bytes());
        assert_eq!(client.answer_head().unwrap().status, 200);
        client.until(b"gate opens").unwrap();
        drop(client);
        let record = only(&world);
        assert!(matches!(record.outcome, Outcome::ClientGone), "{record:#?}");
        assert!(record.estimated && record.cost.0 > 0, "{record:#?}");
        assert!(record.usage.unwrap().output.0 > 1, "{record:#?}");
        assert!(record.answer_bytes > 0);
        assert!(is_let_go(&world));
    }
}

#[test]
fn a_client_that_hangs_up_after_the_end_has_been_answered() {
    let world = World::plain();
    let mut client = world.connect();
    client.send(&Ask::messages("hello", true).bytes());
    client.until(b"message_stop").unwrap();
    drop(client);
    let record = only(&world);
    assert!(matches!(record.outcome, Outcome::Answered), "{record:#?}");
    assert!(!record.estimated);
}

#[test]
fn a_client_that_says_it_sends_no_more_is_taken_to_have_gone() {
    let world = World::plain();
    let mut client = world.connect();
    client.send(&Ask::messages("sim:tokens 400 sim:fault stall-mid-stream=12", true).bytes());
    client.until(b"gate opens").unwrap();
    client.half_close();
    assert!(client.until(b"message_stop").is_err());
    let record = only(&world);
    assert!(matches!(record.outcome, Outcome::ClientGone), "{record:#?}");
    assert!(is_let_go(&world));
}

#[test]
fn a_request_whose_body_breaks_off_is_never_sent() {
    let world = World::plain();
    let ask = Ask::messages("hello", false);
    let bytes = ask.bytes();
    let mut client = world.connect();
    client.send(&bytes[..bytes.len() - 10]);
    client.half_close();
    assert!(client.answer().is_none_or(|it| it.status == 400));
    drop(client);
    let mut client = world.connect();
    client.send(&bytes[..bytes.len() - 10]);
    drop(client);
    // The connection that follows is served after these have ended.
    assert_eq!(world.ask(&ask).status, 200);
    world.settled(1);
    assert_eq!(world.gateway.body_bytes(), 0);
    world.wire(1);
    world.assert_sound();
}

#[test]
fn a_client_that_reads_slowly_gets_everything() {
    let world = World::plain();
    let mut client = world.connect();
    client.send(&Ask::messages("sim:tokens 20000", true).bytes());
    assert_eq!(client.answer_head().unwrap().status, 200);
    let mut events = 0;
    while !client
        .until(b"\n\n")
        .unwrap()
        .ends_with(b"\"message_stop\"}\n\n")
    {
        events += 1;
        if events % 64 == 0 {
            std::thread::yield_now();
        }
    }
    assert!(events > 100, "{events}");
    let record = only(&world);
    assert!(matches!(record.outcome, Outcome::Answered), "{record:#?}");
}

#[test]
fn a_request_may_come_a_byte_at_a_time() {
    let world = World::plain();
    let mut client = world.connect();
    for byte in Ask::messages("sim:say hello", true).bytes() {
        client.send(&[byte]);
    }
    let heard = client.answer().unwrap();
    assert_eq!((heard.status, heard.ended), (200, Ended::Whole));
    expect![[r#"
        ledger:   reserve, settle $0.000084
        record:   answered 200 $0.000084
    "#]]
    .assert_eq(&world.ledger(1));
}

#[test]
fn a_body_is_sent_after_its_client_was_told_to_go_on() {
    let world = World::plain();
    let ask = Ask::messages("sim:say hello", true).with("expect", "100-continue");
    let mut client = world.connect();
    client.send(ask.head().as_bytes());
    assert_eq!(client.answer_head().unwrap().status, 100);
    client.send(&ask.body);
    assert_eq!(client.answer().unwrap().status, 200);
    let names = &world.wire(1)[0].header_names;
    assert!(!names.contains(&"expect".to_owned()), "{names:?}");
}
