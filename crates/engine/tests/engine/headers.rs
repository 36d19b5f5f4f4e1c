//! Headers broken in every way: who sends a call and what it belongs to is known, or the call is refused.

use std::net::{IpAddr, Ipv4Addr};

use tidegate_engine::{
    call::Signals,
    identity::{KeyRing, Own, Presented, identify, page_origin},
    settings::Local,
};
use tidegate_ledger::keys::{self, Key};
use tidegate_observe::{calls::CallRecord, redact::redact};
use tidegate_providers::{Dialect, scan};
use tidegate_types::{Caller, KeyId, Priority, Role, Timestamp, mutate::Mutator};

use crate::harness::{World, body, keyed, settings};

const ROUNDS: usize = 10_000;

/// Pieces that mean something to one of the headers.
const WORDS: &[&str] = &[
    " ",
    "\t",
    ":",
    ",",
    ";",
    "-",
    "--",
    "@",
    "/",
    "[",
    "]",
    "::",
    "null",
    "\u{0}",
    "\u{7f}",
    "é",
    "Bearer ",
    "tg-",
    "sk-ant-oat01-",
    "127.0.0.1",
    "localhost",
    "http://",
    ":80",
    "00-",
    "ff-",
    "critical",
    "low",
    "main",
    "0000000000000000",
    "F",
];

/// A key's secret, as long as real ones.
const SECRET: &str = "tg-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";

fn ring() -> KeyRing {
    KeyRing::new([Key {
        id: KeyId::from_raw(5),
        name: "laptop".to_owned(),
        hash: keys::hash(SECRET),
        role: Role::Caller,
        user: "ada".to_owned(),
        organisation: "acme".to_owned(),
        default_priority: None,
        highest_priority: Priority::High,
        default_task_type: None,
        created_at: Timestamp(0),
        revoked_at: None,
    }])
}

#[test]
fn broken_credentials_open_nothing() {
    let seeds: [(&str, &str, &str); 5] = [
        ("127.0.0.1:8787", "http://127.0.0.1:8787", SECRET),
        ("localhost", "", "sk-ant-api03-0123456789"),
        ("[::1]:80", "null", "Bearer sk-ant-oat01-0123456789"),
        (
            "example.com",
            "http://example.com",
            "Bearer tg-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
        ),
        ("127.0.0.1", "same-origin", "Basic YTpi"),
    ];
    let (ring, local) = (
        ring(),
        Local {
            organisation: "local".into(),
            user: "local".into(),
        },
    );
    let mut mutator = Mutator::new(0x5EED_0021, WORDS);
    let (mut keyless, mut keyed, mut refused) = (0, 0, 0);
    for _ in 0..ROUNDS {
        let (host, origin, credential) = *mutator.of(&seeds);
        let mut perhaps = |seed: &str| match mutator.below(3) {
            0 => None,
            1 => Some(seed.to_owned()),
            _ => Some(mutator.mutated_text(seed)),
        };
        let (host, origin) = (perhaps(host), perhaps(origin));
        let credentials = [
            perhaps(credential),
            perhaps(credential),
            perhaps(credential),
        ];
        let [x_api_key, authorization, tidegate_key] = credentials.each_ref().map(Option::as_deref);
        let presented = Presented {
            peer: IpAddr::V4(Ipv4Addr::LOCALHOST),
            host: host.as_deref(),
            origin: page_origin(origin.as_deref(), None),
            x_api_key,
            authorization,
            tidegate_key,
            own: Own::of([x_api_key, authorization].into_iter().flatten()),
        };
        let told = format!("{presented:?}");
        match identify(&presented, &ring, &local, true) {
            Ok(principal) if principal.caller == Caller::Keyless => {
                keyless += 1;
                assert!(presented.tidegate_key.is_none(), "{told}");
                assert!(
                    host.is_some_and(|it| it.contains("127.")
                        || it.contains("::1")
                        || it.contains("ocalhost")),
                    "{told}"
                );
            }
            Ok(principal) => {
                keyed += 1;
                assert_eq!(&*principal.user, "ada");
                let whole = credentials.iter().flatten().any(|it| it.contains(SECRET));
                assert!(whole, "{told}");
            }
            Err(_) => refused += 1,
        }
    }
    let enough = ROUNDS / 50;
    assert!(
        keyless > enough && keyed > enough && refused > enough,
        "{keyless} {keyed} {refused}"
    );
}

/// As W3C's recommendation has it.
const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// A value for each header, whole or broken, or none.
fn values(mutator: &mut Mutator) -> [Option<String>; 12] {
    const SEEDS: [&str; 8] = [
        "a6b1c2d3-0000-4000-8000-1234567890ab",
        "main",
        "high",
        "complex",
        "sonnet",
        "the move of the sk-ant-api03-0123456789abcdef database",
        TRACE,
        " x ",
    ];
    std::array::from_fn(|at| {
        // The last is of a form of its own.
        let seed = if at == 11 { TRACE } else { *mutator.of(&SEEDS) };
        match mutator.below(8) {
            0 => Some(mutator.mutated_text(seed)),
            1 => Some(seed.repeat(mutator.below(40))),
            2 => Some(seed.to_owned()),
            _ => None,
        }
    })
}

fn signals(values: &[Option<String>; 12], counted: bool) -> Signals<'_> {
    let [
        session,
        agent,
        parent_agent,
        class,
        prompt,
        task,
        parent_task,
        priority,
        complexity,
        task_type,
        platform,
        traceparent,
    ] = values.each_ref().map(Option::as_deref);
    Signals {
        session,
        agent,
        parent_agent,
        class,
        prompt,
        task,
        parent_task,
        priority,
        complexity,
        task_type,
        platform,
        max_wait: None,
        traceparent,
        counted,
    }
}

fn assert_clean(record: &CallRecord) {
    assert!(record.trace_id.is_some() && record.span_id.is_some());
    assert!(record.root_task.is_some());
    let names = [
        &record.session,
        &record.task,
        &record.root_task,
        &record.parent,
        &record.task_type,
    ];
    for name in names.into_iter().flatten() {
        // A turn adds its time to its session's name.
        assert!(name.chars().count() <= 240 && !name.is_empty(), "{name}");
        assert_eq!(redact(name), **name);
    }
}

#[test]
fn broken_names_are_taken_clean_and_short_or_refused() {
    const CALLS: usize = ROUNDS / 4;
    let world = World::start(settings(|_| {}));
    let body = body(10);
    let mut mutator = Mutator::new(0x5EED_0022, WORDS);
    let (mut known, mut refused, mut traced) = (0, 0, 0);
    for _ in 0..CALLS {
        let values = values(&mut mutator);
        let signals = signals(&values, mutator.below(5) == 0);
        let (record, now) = world.engine.arrived("anthropic_messages", "/v1/messages");
        let facts = scan(Dialect::Anthropic, body.as_bytes()).unwrap();
        match world
            .engine
            .identify(record, keyed("ada"), &signals, facts, now)
        {
            Ok(call) => {
                known += 1;
                traced += usize::from(call.record.parent_span_id.is_some());
                assert_clean(&call.record);
            }
            Err((_, error)) => {
                refused += 1;
                assert!(error.to_string().contains("x-tidegate-"), "{error}");
            }
        }
    }
    let enough = CALLS / 50;
    assert!(
        known > enough && refused > enough && traced > enough,
        "{known} {refused} {traced}"
    );
}
