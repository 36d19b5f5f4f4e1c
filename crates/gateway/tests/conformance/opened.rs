//! Waits that are longer than a head can be held back: the stream is opened and pinged, and becomes the
//! answer, or ends with an error whose answer is kept for the client that asks again.

use std::time::Duration;

use expect_test::expect;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Resource};
use tidegate_gateway::patience::{OPENED, SILENT};
use tidegate_observe::calls::Outcome;
use tidegate_types::{Enforcement, Mode};

use crate::harness::{
    Ask, Client, Heard, Scripted, Step, World,
    world::{Setup, admin},
};

const DAY: Duration = Duration::from_hours(24);

/// One call at a time on each home platform, and time stands still.
fn one_slot(it: &mut Setup) {
    it.paused = true;
    (it.head_max, it.silence_max) = (DAY, DAY);
    for platform in ["sonnet", "openai"] {
        let slots = BucketSpec {
            name: "slots".to_owned(),
            resource: Resource::Concurrency,
            capacity: 1,
            refill: None,
            threshold: 0,
            owner: Owner::Ours,
            enforcement: Enforcement::Named(Mode::Enforce),
        };
        it.platform(platform, |it| {
            it.pool = PoolSpec::try_new(platform, vec![slots]).unwrap();
        });
    }
}

fn of_session(ask: Ask) -> Ask {
    ask.with("x-claude-code-session-id", "s")
        .with("user-agent", "claude-cli/2.1 (external)")
}

/// The stream of a call that waits behind `holder`, opened.
fn opened(world: &World, ask: &Ask) -> (Client, Heard) {
    let mut client = world.connect();
    client.send(&ask.bytes());
    world.until(|| world.engine.waiting(|_| true).len() == 1);
    client.until_heard(|| world.advance(Duration::from_secs(1)));
    let head = client.answer_head().unwrap();
    assert_eq!(head.status, 200, "{}", head.text());
    assert_eq!(
        head.header("content-type"),
        Some("text/event-stream; charset=utf-8")
    );
    (client, head)
}

/// Takes the slot of the dialect's platform, until it is dropped.
fn holder(world: &World, like: &Ask) -> Client {
    let mut holder = world.connect();
    let prompt = "sim:sleep-ms 600000";
    let asks = Ask::in_all_dialects(prompt, true);
    let ask = asks.iter().find(|it| it.path == like.path).unwrap();
    holder.send(&ask.bytes());
    world.until_reserved();
    holder
}

/// The rest of a stream, to its end.
fn rest(client: &mut Client, mut heard: Heard) -> Heard {
    assert!(client.chunked(&mut heard.body), "it broke off");
    heard
}

/// What Claude Code asks once a stream has ended with an error: the same, not streamed, with another
/// cap.
fn again(prompt: &str) -> Ask {
    let mut ask = of_session(Ask::messages(prompt, false)).with("x-stainless-timeout", "300");
    let body = String::from_utf8(ask.body).unwrap();
    ask.body = body.replace("1000", "64000").into_bytes();
    ask
}

/// How many clients wait that were not sent away.
fn here(world: &World) -> usize {
    let all = world.engine.waiting(|_| true);
    all.iter().filter(|it| !it.away).count()
}

fn kinds(heard: &Heard) -> String {
    heard.events().join(" ")
}

#[test]
fn a_stream_that_is_opened_before_its_turn_becomes_the_answer() {
    for ask in Ask::in_all_dialects("hello", true) {
        let world = World::start(one_slot);
        let holder = holder(&world, &ask);
        let (mut client, head) = opened(&world, &of_session(ask.clone()));
        assert!(head.header("x-tidegate-call-id").is_some());
        drop(holder);
        let heard = rest(&mut client, head);
        let first = match ask.path.as_str() {
            "/v1/messages" => "ping",
            _ => "comment",
        };
        let events = heard.events();
        assert_eq!(events[0], first);
        let last = match ask.path.as_str() {
            "/v1/messages" => "message_stop",
            "/v1/chat/completions" => "[DONE]",
            _ => "response.completed",
        };
        assert_eq!(events.last().unwrap(), last, "{events:?}");
        let records = world.settled(2);
        let waited = records.iter().find(|it| it.phases.wait > 0).unwrap();
        assert!(matches!(waited.outcome, Outcome::Answered), "{waited:#?}");
        world.assert_sound();
    }
}

#[test]
fn an_opened_stream_is_pinged_in_its_dialect_for_as_long_as_it_waits() {
    let world = World::start(one_slot);
    let ask = of_session(Ask::messages("hello", true));
    let _holder = holder(&world, &ask);
    let (mut client, _) = opened(&world, &ask);
    for _ in 0..5 {
        let ping = "event: ping\ndata: {\"type\": \"ping\"}\n\n\r\n";
        assert!(client.until(ping.as_bytes()).is_ok());
        client.until_heard(|| world.advance(Duration::from_secs(1)));
    }
}

#[test]
fn a_call_that_is_refused_after_its_stream_was_opened_is_told_so_when_it_asks_again() {
    let world = World::start(one_slot);
    let ask = of_session(Ask::messages("hello", true));
    let holder = holder(&world, &ask);
    let (mut client, head) = opened(&world, &ask);
    let call = world.engine.waiting(|_| true)[0].id;
    world.engine.cancel_waiting(&admin(), call).unwrap();
    let heard = rest(&mut client, head);
    assert_eq!(kinds(&heard), "ping error");
    let text = heard.text();
    assert!(text.contains(r#""type":"billing_error""#), "{text}");
    assert!(text.contains("taken out of the queue by hand"), "{text}");
    // Nobody else is given what is kept for this session, and it itself only for the same question.
    for other in [
        again("hello").without("x-claude-code-session-id"),
        again("hello")
            .without("x-claude-code-session-id")
            .with("x-claude-code-session-id", "t"),
        again("hello").with("x-claude-code-agent-id", "below"),
        again("good-bye"),
        again("hello").with("x-tidegate-key", &world.key("bob", |_| {})),
    ] {
        let heard = world.ask(&other.with("x-tidegate-max-wait", "0"));
        assert_eq!(heard.json()["error"]["type"], "rate_limit_error");
    }
    drop(holder);
    let before = world.settled(7).len();
    let kept = world.ask(&again("hello"));
    assert_eq!(kept.status, 429);
    assert_eq!(kept.header("x-should-retry"), Some("false"));
    assert_eq!(kept.json()["error"]["type"], "billing_error");
    assert_eq!(
        kept.header("x-tidegate-call-id"),
        heard.header("x-tidegate-call-id")
    );
    assert_eq!(world.settled(7).len(), before, "it is the same call");
    // Once: whoever asks yet again wants to be served.
    let anew = world.ask(&again("hello").with("x-tidegate-max-wait", "0"));
    assert_eq!(anew.json()["error"]["type"], "rate_limit_error");
}

#[test]
fn an_error_of_the_provider_after_the_stream_was_opened_is_given_to_who_asks_again() {
    for (fault, status, kind) in [
        ("400", 400, "invalid_request_error"),
        ("529", 529, "overloaded_error"),
    ] {
        let prompt = format!("sim:fault {fault}*1 sim:say here after all");
        let world = World::start(one_slot);
        let ask = of_session(Ask::messages(&prompt, true));
        let holder = holder(&world, &ask);
        let (mut client, head) = opened(&world, &ask);
        drop(holder);
        let heard = rest(&mut client, head);
        assert_eq!(kinds(&heard), "ping error");
        let kept = world.ask(&again(&prompt));
        assert_eq!(kept.status, status);
        assert_eq!(kept.json()["error"]["type"], kind);
        let told: String = kept.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(heard.text().contains(&told), "{}", heard.text());
        world.settled(2);
        assert_eq!(world.wire(2).len(), 2, "the provider was asked no more");
        world.assert_sound();
    }
}

#[test]
fn errors_after_the_stream_was_opened_are_in_the_dialects_form() {
    let mut told = String::new();
    for ask in Ask::in_all_dialects("sim:fault 400 hello", true) {
        let world = World::start(one_slot);
        let holder = holder(&world, &ask);
        let (mut client, head) = opened(&world, &of_session(ask.clone()));
        drop(holder);
        let heard = rest(&mut client, head);
        let text = heard.text();
        let at = text
            .find("event: error")
            .or_else(|| text.find("data: {\"error"));
        told += &format!("{}\n{}", ask.path, &text[at.unwrap()..]);
    }
    expect![[r#"
        /v1/messages
        event: error
        data: {"type":"error","error":{"type":"invalid_request_error","message":"messages: this request is refused on demand"}}

        /v1/chat/completions
        data: {"error":{"message":"messages: this request is refused on demand","type":"invalid_request_error","param":null,"code":null}}

        /v1/responses
        event: error
        data: {"type":"error","code":"invalid_request_error","message":"messages: this request is refused on demand","param":null,"sequence_number":1}

    "#]].assert_eq(&told);
}

#[test]
fn a_call_without_a_session_has_its_error_and_nothing_is_kept_of_it() {
    let world = World::start(one_slot);
    let ask = Ask::messages("sim:fault 400*1 hello", true);
    let holder = holder(&world, &ask);
    let (mut client, head) = opened(&world, &ask);
    drop(holder);
    assert_eq!(kinds(&rest(&mut client, head)), "ping error");
    let heard = world.ask(&Ask::messages("sim:fault 400*1 hello", false));
    assert_eq!(heard.status, 200, "{}", heard.text());
}

#[test]
fn a_call_that_has_no_turn_in_all_that_time_is_sent_away_and_its_place_is_kept() {
    let world = World::start(one_slot);
    let ask = of_session(Ask::messages("hello", true));
    let holder = holder(&world, &ask);
    let (mut client, head) = opened(&world, &ask);
    let mut waited = SILENT;
    while here(&world) == 1 {
        world.advance(Duration::from_secs(1));
        waited += Duration::from_secs(1);
        assert!(waited <= OPENED + Duration::from_secs(11), "{waited:?}");
    }
    let heard = rest(&mut client, head);
    assert_eq!(kinds(&heard), "ping error");
    let kept = world.ask(&again("hello"));
    assert_eq!(kept.status, 429);
    assert_eq!(kept.json()["error"]["type"], "rate_limit_error");
    assert!(kept.header("retry-after").is_some());
    assert!(
        kept.text().contains("is kept for the same request"),
        "{}",
        kept.text()
    );
    // It comes back as it asked last, and is the first in the queue.
    let mut back = world.connect();
    back.send(&again("hello").bytes());
    world.until(|| here(&world) == 1);
    assert_eq!(world.engine.waiting(|_| true).len(), 1);
    drop(holder);
    assert_eq!(back.answer().unwrap().status, 200);
    world.settled(3);
    world.assert_sound();
}

#[test]
fn a_client_that_hangs_up_on_an_opened_stream_leaves_the_queue_and_pays_nothing() {
    let world = World::start(one_slot);
    let ask = of_session(Ask::messages("hello", true));
    let holder = holder(&world, &ask);
    let (client, _) = opened(&world, &ask);
    drop(client);
    world.until(|| world.engine.waiting(|_| true).is_empty());
    drop(holder);
    let records = world.settled(2);
    let gone = records.iter().find(|it| it.reservation.is_none()).unwrap();
    assert!(matches!(gone.outcome, Outcome::ClientGone), "{gone:#?}");
    assert_eq!(world.gateway.body_bytes(), 0);
    world.assert_sound();
}

#[test]
fn an_answer_that_comes_whole_to_an_opened_stream_is_kept_and_paid_once() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{"type":"text","text":"whole"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":10,"output_tokens":20}}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let upstream = Scripted::start(vec![
        vec![Step::Read, Step::Wait],
        vec![Step::Read, Step::Write(answer.into()), Step::Close],
    ]);
    let world = World::start(|it| {
        one_slot(it);
        it.home_url = Some(upstream.base_url.clone());
    });
    let ask = of_session(Ask::messages("hello", true));
    let holder = holder(&world, &ask);
    let (mut client, head) = opened(&world, &ask);
    drop(holder);
    assert_eq!(kinds(&rest(&mut client, head)), "ping error");
    let kept = world.ask(&again("hello"));
    assert_eq!((kept.status, kept.text().as_str()), (200, body));
    let records = world.settled(2);
    assert_eq!(records.len(), 2, "{records:#?}");
    world.assert_sound();
}

#[test]
fn who_is_not_streamed_waits_in_silence_and_is_sent_away_with_its_status() {
    let world = World::start(one_slot);
    let ask = of_session(Ask::messages("hello", false));
    let _holder = holder(&world, &ask);
    let mut client = world.connect();
    client.send(&ask.bytes());
    world.until(|| world.engine.waiting(|_| true).len() == 1);
    client.until_heard(|| world.advance(Duration::from_secs(1)));
    let heard = client.answer().unwrap();
    assert_eq!(heard.status, 429);
    assert!(heard.header("retry-after").is_some());
}

#[test]
fn the_body_of_a_call_that_waits_takes_less_memory_and_reaches_the_provider_as_it_was() {
    let world = World::start(one_slot);
    let prompt = "the pelican has landed, and it has left again. ".repeat(8_000);
    let ask = of_session(Ask::messages(&prompt, true));
    let holder = holder(&world, &ask);
    let mut client = world.connect();
    client.send(&ask.bytes());
    world.until(|| world.engine.waiting(|_| true).len() == 1);
    let before = world.gateway.body_bytes();
    world.until(|| {
        world.advance(Duration::from_millis(100));
        world.gateway.body_bytes() < before / 4
    });
    drop(holder);
    assert_eq!(client.answer().unwrap().status, 200);
    let seen = world.wire(2);
    let of_ask = tidegate_sim::body_fingerprint(&ask.body);
    assert!(seen.iter().any(|it| it.body_fingerprint == of_ask));
    world.settled(2);
    world.until(|| world.gateway.body_bytes() == 0);
    world.assert_sound();
}
