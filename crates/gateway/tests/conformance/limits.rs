//! Limits in the way of a call: what is lowered, warned of and refused, and in which form.

use std::{sync::Arc, time::Duration};

use expect_test::{Expect, expect};
use jiff::tz::TimeZone;
use tidegate_admission::{BucketSpec, Owner, PoolSpec, Refill, Resource};
use tidegate_ledger::{BudgetPolicy, Limit, LimitTable, Limits};
use tidegate_observe::calls::Outcome;
use tidegate_sim::body_fingerprint;
use tidegate_types::{Enforcement, Mode, NanoUsd};

use crate::harness::{Ask, Heard, PATIENCE, World, world::Setup};

const ENFORCED: Enforcement = Enforcement::Named(Mode::Enforce);

/// Puts a hard limit on tasks, and binds everyone to it.
fn task_limit(usd: &str) -> impl FnOnce(&mut Setup) {
    let limit = Limit {
        enforcement: ENFORCED,
        ..Limit::built_in(usd.parse().unwrap())
    };
    limits(Limits {
        task: limit,
        ..Limits::BUILT_IN
    })
}

fn limits(defaults: Limits) -> impl FnOnce(&mut Setup) {
    let table = LimitTable {
        defaults,
        ..LimitTable::default()
    };
    let policy = BudgetPolicy::built_in(TimeZone::UTC).with_limits(table);
    move |it| it.settings.budgets = Arc::new(policy.unwrap())
}

/// Gives both home platforms one enforced bucket of so many units, one back per hour.
fn units(capacity: u64) -> impl FnOnce(&mut Setup) {
    let bucket = BucketSpec {
        name: "units".to_owned(),
        resource: Resource::Units,
        capacity,
        refill: Some(Refill {
            amount: 1,
            period: Duration::from_hours(1),
        }),
        threshold: 0,
        owner: Owner::Ours,
        enforcement: ENFORCED,
    };
    move |it| {
        // Anthropic's calls weigh 10 of them, those of OpenAI 2.
        for rule in &mut it.settings.weights.rules {
            if rule.models == ["opus"] {
                rule.units = 10;
            }
        }
        for name in ["sonnet", "openai"] {
            let bucket = bucket.clone();
            it.platform(name, |it| {
                it.pool = PoolSpec::try_new(name, vec![bucket]).unwrap();
            });
        }
    }
}

/// An answer of ours with all its headers, but for ids and times.
fn told(heard: &Heard) -> String {
    let mut lines: Vec<String> = heard
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "date" | "content-length"))
        .map(|(name, value)| match name.as_str() {
            "request-id" | "x-request-id" | "x-tidegate-call-id" => format!("{name}: ID"),
            // They shrink while the test runs.
            "retry-after" | "retry-after-ms" | "x-tidegate-wait-seconds" => {
                assert!(value.parse::<u64>().unwrap() > 7_000, "{name}: {value}");
                format!("{name}: WAIT")
            }
            _ => format!("{name}: {value}"),
        })
        .collect();
    lines.sort_unstable();
    let id = heard.header("x-tidegate-call-id").unwrap();
    let mut body = heard.text().replace(id, "ID");
    if let Some((before, rest)) = body.split_once(" wait ") {
        let after = rest.split_once(':').unwrap().1;
        body = format!("{before} wait WAIT:{after}");
    }
    format!("{}\n{}\n{body}\n", heard.status, lines.join("\n"))
}

/// Tells how calls are refused in each dialect, and that nothing of them goes upstream.
#[track_caller]
fn refused(change: impl Fn(&mut Setup), before: usize, expected: Expect) {
    let mut all = String::new();
    for ask in Ask::in_all_dialects("hello", true) {
        let world = World::start(&change);
        for _ in 0..before {
            assert_eq!(world.ask(&ask).status, 200);
        }
        all += &told(&world.ask(&ask));
        all += "\n";
        world.settled(before + 1);
        world.wire(before);
        world.assert_sound();
    }
    expected.assert_eq(&all);
}

#[test]
fn a_budget_that_is_too_small_refuses_in_the_form_that_stops_retries() {
    refused(
        |it| task_limit("0.001")(it),
        0,
        expect![[r#"
            429
            anthropic-ratelimit-unified-overage-disabled-reason: org_spend_cap_reached
            anthropic-ratelimit-unified-overage-surpassed-threshold: 1
            anthropic-ratelimit-unified-overage-utilization: 1
            anthropic-ratelimit-unified-status: rejected
            content-type: application/json
            request-id: ID
            x-should-retry: false
            x-tidegate-call-id: ID
            {"type":"error","error":{"type":"billing_error","message":"budget `task` of $0.001 can't hold this call: $0.00 spent, $0.00 held by running calls, $0.020212 needed at most · more than it ever holds · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input"},"request_id":"ID"}

            429
            content-type: application/json
            x-request-id: ID
            x-should-retry: false
            x-tidegate-call-id: ID
            {"error":{"message":"budget `task` of $0.001 can't hold this call: $0.00 spent, $0.00 held by running calls, $0.0100675 needed at most · more than it ever holds · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}

            429
            content-type: application/json
            x-request-id: ID
            x-should-retry: false
            x-tidegate-call-id: ID
            {"error":{"message":"budget `task` of $0.001 can't hold this call: $0.00 spent, $0.00 held by running calls, $0.010045 needed at most · more than it ever holds · raise it with `tidegate budget set task <amount>`, or ask for less with a smaller max_tokens or input","type":"insufficient_quota","param":null,"code":"budget_exceeded"}}

        "#]],
    );
}

#[test]
fn a_bucket_that_is_empty_refuses_with_the_wait() {
    // The models of the dialects weigh 10 and 2.
    refused(
        |it| {
            units(10)(it);
            it.platform("openai", |it| {
                let mut bucket = it.pool.buckets()[0].clone();
                bucket.capacity = 2;
                it.pool = PoolSpec::try_new("openai", vec![bucket]).unwrap();
            });
        },
        1,
        expect![[r#"
            429
            content-type: application/json
            request-id: ID
            retry-after: WAIT
            x-tidegate-call-id: ID
            x-tidegate-wait-seconds: WAIT
            {"type":"error","error":{"type":"rate_limit_error","message":"`sonnet.units` makes local wait WAIT: less is left than this call needs · try again then, or use another platform · its place in the queue, 1 of 1, is kept for the same request"},"request_id":"ID"}

            429
            content-type: application/json
            retry-after-ms: WAIT
            retry-after: WAIT
            x-request-id: ID
            x-tidegate-call-id: ID
            x-tidegate-wait-seconds: WAIT
            {"error":{"message":"`openai.units` makes local wait WAIT: less is left than this call needs · try again then, or use another platform · its place in the queue, 1 of 1, is kept for the same request","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}

            429
            content-type: application/json
            retry-after-ms: WAIT
            retry-after: WAIT
            x-request-id: ID
            x-tidegate-call-id: ID
            x-tidegate-wait-seconds: WAIT
            {"error":{"message":"`openai.units` makes local wait WAIT: less is left than this call needs · try again then, or use another platform · its place in the queue, 1 of 1, is kept for the same request","type":"rate_limit_exceeded","param":null,"code":"rate_limit_exceeded"}}

        "#]],
    );
}

#[test]
fn whoever_stands_behind_others_is_told_when_its_own_turn_is() {
    let world = World::start(units(10));
    let key = world.key("ada", |_| {});
    let ask = |prompt| Ask::messages(prompt, false).with("x-tidegate-key", &key);
    assert_eq!(world.ask(&ask("one")).status, 200);
    assert_eq!(world.ask(&ask("two")).status, 429);
    let behind = world.ask(&ask("three"));
    let wait = behind.header("x-tidegate-wait-seconds").unwrap();
    let hours = wait.parse::<u64>().unwrap().div_ceil(3_600);
    assert!(hours >= 20, "{wait}");
    let (text, told) = (behind.text(), format!("its turn is in about {hours} h"));
    assert!(text.contains(&told), "{told}: {text}");
}

#[test]
fn claude_code_is_told_the_wait_that_it_honours_and_the_true_one_beside_it() {
    let world = World::start(units(10));
    let ask = Ask::messages("hello", true).with("user-agent", "claude-cli/2.1.330 (external, cli)");
    assert_eq!(world.ask(&ask).status, 200);
    let heard = world.ask(&ask);
    assert_eq!(heard.status, 429);
    assert_eq!(heard.header("retry-after"), Some("58"));
    let wait: u64 = heard
        .header("x-tidegate-wait-seconds")
        .unwrap()
        .parse()
        .unwrap();
    // Ten units at one an hour, less what came back meanwhile.
    assert!((35_900..=36_000).contains(&wait), "{wait}");
    assert!(heard.text().contains("10 h 0 min") || heard.text().contains("9 h 59 min"));
    assert_eq!(heard.header("x-should-retry"), None);
}

/// An answer of up to 128,000 tokens can cost $2.56, more than a quarter of $5.
fn large() -> Ask {
    let ask = Ask::messages("sim:say hello", true).with("x-tidegate-task", "t1");
    let body = String::from_utf8(ask.body.clone()).unwrap();
    Ask {
        body: body.replace(":1000,", ": 128000 ,").into(),
        ..ask
    }
}

#[test]
fn an_output_cap_is_lowered_to_a_quarter_of_what_is_left_and_said() {
    let world = World::start(task_limit("5"));
    let ask = large();
    let heard = world.ask(&ask);
    assert_eq!(
        heard.header("x-tidegate-max-tokens"),
        Some("62500; limit=task")
    );
    let [seen] = &world.wire(1)[..] else {
        panic!("one call")
    };
    assert_eq!(seen.max_tokens, Some(62_500));
    // Only the digits differ.
    let body = String::from_utf8(ask.body).unwrap();
    let sent = body.replace(": 128000 ,", ": 62500 ,");
    assert_eq!(seen.body_fingerprint, body_fingerprint(sent.as_bytes()));
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert_eq!(record.max_tokens_asked.unwrap().0, 128_000);
    assert_eq!(record.max_tokens_sent.unwrap().0, 62_500);
    assert!(record.bound <= NanoUsd::from_usd(5));
    world.assert_sound();
}

#[test]
fn a_watched_limit_alters_nothing_and_says_what_it_would_do() {
    let world = World::plain();
    let ask = large();
    let ask = Ask {
        body: String::from_utf8(ask.body)
            .unwrap()
            .replace("128000", "400000")
            .into(),
        ..ask
    };
    let heard = world.ask(&ask);
    assert_eq!(heard.status, 200);
    assert_eq!(heard.header("x-tidegate-max-tokens"), None);
    assert_eq!(heard.header("x-tidegate-would-refuse"), Some("task"));
    assert_eq!(
        world.wire(1)[0].body_fingerprint,
        body_fingerprint(&ask.body)
    );
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert_eq!(record.would_refuse, [Arc::from("task")]);
    world.assert_sound();
}

#[test]
fn four_parallel_subagents_of_a_fresh_task_all_run() {
    let world = World::start(task_limit("5"));
    let mut clients: Vec<_> = (0..4)
        .map(|agent| {
            let mut client = world.connect();
            let ask = large()
                .without("x-tidegate-task")
                .with("x-claude-code-session-id", "s1")
                .with("x-claude-code-prompt-id", "p1")
                .with("x-claude-code-agent-id", &format!("a{agent}"))
                .with("x-sim", "sim:sleep-ms 300");
            client.send(&ask.bytes());
            client
        })
        .collect();
    for client in &mut clients {
        let heard = client.answer().unwrap();
        assert_eq!(heard.status, 200, "{}", heard.text());
        assert_eq!(heard.events().last().unwrap(), "message_stop");
    }
    let records = world.settled(4);
    assert!(
        records
            .iter()
            .all(|it| it.root_task.as_deref() == Some("p1"))
    );
    assert!(
        records
            .iter()
            .all(|it| it.max_tokens_sent.unwrap().0 >= 4_096)
    );
    world.assert_sound();
}

#[test]
fn a_soft_limit_that_is_passed_is_a_warning() {
    let task = Limit {
        soft: Some("0.0005".parse().unwrap()),
        ..Limit::built_in(NanoUsd::from_usd(5))
    };
    let world = World::start(limits(Limits {
        task,
        ..Limits::BUILT_IN
    }));
    let ask = Ask::messages("hello", false).with("x-tidegate-task", "t1");
    let warnings: Vec<Option<String>> = (0..2)
        .map(|_| {
            let heard = world.ask(&ask);
            assert_eq!(heard.status, 200);
            heard.header("x-tidegate-warning").map(str::to_owned)
        })
        .collect();
    assert!(
        warnings[1].as_ref().is_some_and(|it| it.contains("task")),
        "{warnings:?}"
    );
}

#[test]
fn a_key_is_bound_where_keyless_calls_are_watched() {
    let world = World::start(limits(Limits {
        task: Limit::built_in("0.001".parse().unwrap()),
        ..Limits::BUILT_IN
    }));
    let key = world.key("ada", |_| {});
    let ask = Ask::messages("hello", false);
    assert_eq!(world.ask(&ask).status, 200);
    let heard = world.ask(&ask.with("x-tidegate-key", &key));
    assert_eq!(heard.status, 429);
    assert_eq!(heard.json()["error"]["type"], "billing_error");
    world.wire(1);
    world.settled(2);
    world.assert_sound();
}

#[test]
fn what_a_refused_call_was_refused_by_is_in_its_record() {
    let world = World::start(task_limit("0.001"));
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 429);
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    let limit = "task".into();
    assert_eq!(
        record.outcome,
        tidegate_observe::calls::Outcome::Refused { limit }
    );
    assert_eq!(record.status, 429);
    assert_eq!(record.reservation, None);
}

/// What running calls hold comes back: that is no budget that is spent, and clients try again.
#[test]
fn a_budget_that_running_calls_hold_is_refused_as_a_rate_is() {
    let world = World::start(task_limit("0.03"));
    let of_task = |ask: Ask| ask.with("x-tidegate-task", "t");
    let mut holder = world.connect();
    holder.send(&of_task(Ask::messages("sim:sleep-ms 600000", true)).bytes());
    world.until_reserved();
    let mut told = String::new();
    for ask in Ask::in_all_dialects("hello", false) {
        let heard = world.ask(&of_task(ask.with("x-stainless-read-timeout", "0.2")));
        let error = &heard.json()["error"];
        let kinds = ["type", "code"].map(|it| error[it].as_str().unwrap_or("-").to_owned());
        told += &format!("{} {}\n", heard.status, kinds.join(" "));
        for name in [
            "x-should-retry",
            "retry-after",
            "retry-after-ms",
            "x-tidegate-wait-seconds",
            "anthropic-ratelimit-unified-status",
        ] {
            if let Some(value) = heard.header(name) {
                told += &format!("    {name}: {value}\n");
            }
        }
    }
    drop(holder);
    expect![[r#"
        429 rate_limit_error -
            retry-after: 15
            x-tidegate-wait-seconds: 15
        429 rate_limit_exceeded rate_limit_exceeded
            retry-after: 15
            retry-after-ms: 15000
            x-tidegate-wait-seconds: 15
        429 rate_limit_exceeded rate_limit_exceeded
            retry-after: 15
            retry-after-ms: 15000
            x-tidegate-wait-seconds: 15
    "#]]
    .assert_eq(&told);
    let outcomes = world.settled(4);
    assert!(outcomes.iter().any(|it| it.outcome.word() == "refused"));
}

/// Starts a call that an enforced limit binds, and waits until it asks for the first lease.
fn waiting_for_a_lease(world: &World) -> crate::harness::Client {
    let mut client = world.connect();
    client.send(&Ask::messages("sim:say hello", false).bytes());
    while world.gated.asked() == 0 {
        std::thread::yield_now();
    }
    client
}

/// The gateway of these tests has one thread to serve from.
#[test]
fn a_call_that_waits_for_the_ledger_holds_no_other_up() {
    let world = World::start(task_limit("5"));
    let mut waits = {
        let _closed = world.gated.close();
        let waits = waiting_for_a_lease(&world);
        let models = Ask::get("/v1/models").with("x-api-key", "sk-caller");
        assert_eq!(world.ask(&models).status, 200);
        waits
    };
    assert_eq!(waits.answer().unwrap().status, 200);
    world.ledger(2);
}

#[test]
fn a_client_that_hangs_up_while_its_call_waits_for_the_ledger_pays_nothing() {
    let world = World::start(task_limit("5"));
    {
        let _closed = world.gated.close();
        drop(waiting_for_a_lease(&world));
        let models = Ask::get("/v1/models").with("x-api-key", "sk-caller");
        assert_eq!(world.ask(&models).status, 200);
    }
    let told = world.ledger(2);
    assert!(told.contains("ledger:   reserve, release\n"), "{told}");
    assert!(told.contains("client_gone 0 $0.00"), "{told}");
    assert_eq!(world.home.wait_for_calls(1, PATIENCE).len(), 1);
}

#[test]
fn a_client_that_goes_while_the_ledger_takes_nothing_has_its_record() {
    let world = World::start(task_limit("5"));
    world.gated.journal.refuse(Some("no space left"));
    let ask = Ask::messages("hello", false).with("x-tidegate-task", "tides");
    assert_eq!(world.ask(&ask).status, 429);
    world.ask_and_go_until(&ask, || {
        let mut records = world.settled(1).into_iter();
        records.any(|it| matches!(it.outcome, Outcome::ClientGone))
    });
    assert!(world.settled(1).iter().all(|it| it.cost.0 == 0));
}
