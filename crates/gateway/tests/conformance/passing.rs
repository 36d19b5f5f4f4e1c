//! What passes, byte for byte, and what never does.

use expect_test::expect;
use tidegate_engine::identity::KEY_PREFIX;
use tidegate_sim::body_fingerprint;

use crate::harness::{Ask, OPERATORS, Scripted, World, three_sides};

/// An answer that says as little as one can.
/// An answer from a server that closes after it, and says so: who asks
/// again must not be handed the dying connection.
fn tiny(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

const ANSWER: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[],"stop_reason":"end_turn","usage":{"input_tokens":12,"output_tokens":7,"cache_read_input_tokens":500,"cache_creation_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":600,"ephemeral_1h_input_tokens":400}}}"#;

#[test]
fn answers_come_whole_in_every_dialect() {
    let world = World::plain();
    let asks: Vec<Ask> = [false, true]
        .into_iter()
        .flat_map(|stream| Ask::in_all_dialects("sim:say high water at six", stream))
        .collect();
    expect![[r#"
        client:   200 content-type=application/json
        client:   200 content-type=application/json
        client:   200 content-type=application/json
        client:   200 content-type=text/event-stream; charset=utf-8
                  message_start content_block_start ping content_block_delta content_block_stop message_delta message_stop
        client:   200 content-type=text/event-stream; charset=utf-8
                  chunk [DONE]
        client:   200 content-type=text/event-stream; charset=utf-8
                  response.created response.in_progress response.output_item.added response.content_part.added response.output_text.delta response.output_text.done response.content_part.done response.output_item.done response.completed
        upstream: POST /v1/messages body as sent, 200 whole
        upstream: POST /v1/chat/completions body as sent, 200 whole
        upstream: POST /v1/responses body as sent, 200 whole
        upstream: POST /v1/messages body as sent, 200 whole
        upstream: POST /v1/chat/completions body altered, 200 whole
        upstream: POST /v1/responses body as sent, 200 whole
        ledger:   reserve, settle $0.000156
        ledger:   reserve, settle $0.00006875
        ledger:   reserve, settle $0.00006
        ledger:   reserve, settle $0.000156
        ledger:   reserve, settle $0.00006875
        ledger:   reserve, settle $0.00006
        record:   answered 200 $0.000156
        record:   answered 200 $0.00006875
        record:   answered 200 $0.00006
        record:   answered 200 $0.000156
        record:   answered 200 $0.00006875
        record:   answered 200 $0.00006
    "#]].assert_eq(&three_sides(&world, &asks));
}

#[test]
fn a_body_reaches_the_provider_byte_for_byte_whatever_it_looks_like() {
    let body = "\n{ \"max_tokens\" : 1000 ,\"unknown\":[1e3,{\"a\":null}],\r\n\"model\":\"claude-opus-5-5\",\t\"messages\":[{\"role\":\"user\",\"content\":\"\\ud83c\\udf0a \u{1f30a} sim:say x\"}],\"stream\":false } \n";
    let world = World::plain();
    let ask = Ask {
        body: body.into(),
        ..Ask::messages("", false)
    };
    assert_eq!(world.ask(&ask).status, 200);
    let chunked = Ask {
        body: format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len()).into(),
        ..ask.clone().with("transfer-encoding", "chunked")
    };
    assert_eq!(world.ask(&chunked).status, 200);
    for seen in world.wire(2) {
        assert_eq!(seen.body_fingerprint, body_fingerprint(body.as_bytes()));
    }
}

#[test]
fn an_answer_reaches_the_client_byte_for_byte_and_costs_what_it_says() {
    let body = format!(" {ANSWER}\n");
    let upstream = Scripted::once(tiny(&body));
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    let heard = world.ask(&Ask::messages("hello", false));
    assert_eq!(heard.text(), body);
    expect![[r#"
        ledger:   reserve, settle $0.006488
        record:   answered 200 $0.006488
    "#]]
    .assert_eq(&world.ledger(1));
}

#[test]
fn headers_reach_the_provider_but_for_those_that_are_ours_or_the_connections() {
    let upstream = Scripted::once(tiny(ANSWER));
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    let key = world.key("ada", |_| {});
    let ask = Ask::messages("hello", false)
        .with("anthropic-beta", "a-2025-01-01,b-2026-01-01")
        .with("anthropic-beta", "c-2026-01-01")
        .with("anthropic-dangerous-direct-browser-access", "true")
        .with("x-claude-code-session-id", "s1")
        .with("x-stainless-timeout", "600")
        .with("user-agent", "claude-cli/2.1.330 (external, cli)")
        .with("accept-encoding", "gzip, deflate, br, zstd")
        .with("x-tidegate-key", &key)
        .with("x-tidegate-task", "t1")
        .with("X-Tidegate-Priority", "low")
        .with("x-tidegate-invented", "1")
        .with("connection", "x-hop, keep-alive")
        .with("x-hop", "1")
        .with("keep-alive", "timeout=5")
        .with("te", "trailers")
        .with("proxy-authorization", "Basic cHJveHk=");
    assert_eq!(world.ask(&ask).status, 200);
    let seen = upstream.seen();
    assert_eq!(seen.body, ask.body);
    assert!(seen.head.starts_with("POST /v1/messages HTTP/1.1\r\n"));
    let mut lines: Vec<&str> = seen.head.lines().skip(1).collect();
    lines.retain(|it| !it.starts_with("host: 127.0.0.1:"));
    lines.sort_unstable();
    expect![[r#"
        accept-encoding: identity
        anthropic-beta: a-2025-01-01,b-2026-01-01
        anthropic-beta: c-2026-01-01
        anthropic-dangerous-direct-browser-access: true
        anthropic-version: 2023-06-01
        content-length: 107
        content-type: application/json
        user-agent: claude-cli/2.1.330 (external, cli)
        x-api-key: sk-caller
        x-claude-code-session-id: s1
        x-stainless-timeout: 600"#]]
    .assert_eq(&lines.join("\n"));
}

#[test]
fn the_query_passes() {
    let upstream = Scripted::once(tiny(ANSWER));
    let world = World::start(|it| it.home_url = Some(format!("{}/prefix/", upstream.base_url)));
    let ask = Ask {
        path: "/v1/messages?beta=true&x=%20".to_owned(),
        ..Ask::messages("hello", false)
    };
    assert_eq!(world.ask(&ask).status, 200);
    let head = upstream.seen().head;
    let target = "POST /prefix/v1/messages?beta=true&x=%20 HTTP/1.1";
    assert!(head.starts_with(target), "{head}");
}

#[test]
fn no_key_of_ours_goes_upstream_wherever_it_is_put() {
    let forms: [fn(Ask, &str) -> Ask; 8] = [
        |ask, key| ask.with("x-tidegate-key", key),
        |ask, key| ask.without("x-api-key").with("x-api-key", key),
        |ask, key| {
            ask.without("x-api-key")
                .with("authorization", &format!("Bearer {key}"))
        },
        |ask, key| ask.with("authorization", &format!("bearer  {key}")),
        |ask, key| ask.with("x-api-key", key),
        |ask, key| ask.with("authorization", key),
        |ask, key| ask.with("authorization", &format!("Basic {key}")),
        |ask, key| {
            ask.with("authorization", "Bearer sk-other")
                .with("authorization", &format!("Bearer {key}"))
        },
    ];
    for (place, form) in forms.into_iter().enumerate() {
        let upstream = Scripted::once(tiny(ANSWER));
        let world = World::start(|it| {
            it.home_url = Some(upstream.base_url.clone());
            // So that calls which bring nothing but our key are sent too.
            it.spare_url = Some(upstream.base_url.clone());
            it.platform("sonnet", |it| it.operators_credential = true);
        });
        let key = world.key("ada", |_| {});
        let heard = world.ask(&form(Ask::messages("hello", false), &key));
        if heard.status != 200 {
            // Nothing was sent, so nothing can have leaked.
            assert_eq!(heard.status, 401, "{place}: {}", heard.text());
            continue;
        }
        let head = upstream.seen().head;
        assert!(!head.contains(KEY_PREFIX), "{place}: {head}");
        assert!(
            !head.to_lowercase().contains("x-tidegate"),
            "{place}: {head}"
        );
    }
}

#[test]
fn the_callers_credential_goes_to_no_other_origin() {
    let spare = Scripted::once(tiny(ANSWER));
    let world = World::start(|it| {
        it.spare_url = Some(spare.base_url.clone());
        it.fall_back();
    });
    let ask = Ask::messages("sim:fault 529", false)
        .with("authorization", "Bearer sk-other")
        .with("cookie", "session=secret");
    // Both kinds of credential at once, as a client with a helper sends them.
    let heard = world.ask(&ask);
    assert_eq!(heard.status, 200, "{}", heard.text());
    let seen = spare.seen();
    assert_eq!(seen.values("x-api-key"), [OPERATORS]);
    for secret in ["sk-caller", "sk-other", "session=secret"] {
        assert!(!seen.head.contains(secret), "{}", seen.head);
    }
    assert_eq!(seen.values("anthropic-version"), ["2023-06-01"]);
}

/// A login pays for its subscription and nothing else, nothing else pays for that, and what is told by
/// its form goes to its own provider alone.
#[test]
fn a_credential_pays_only_where_it_belongs() {
    let script = "messages login     -      200 spare
                  messages login     sonnet 401 a claude.ai login
                  messages anthropic -      200 sonnet
                  messages anthropic spare  401 a key of Anthropic's
                  messages openai    -      401 a key of OpenAI's
                  messages other     -      200 sonnet
                  messages other     spare  401 an API key
                  chat     openai    -      200 openai
                  chat     login     -      401 a claude.ai login
                  chat     anthropic -      401 a key of Anthropic's
                  chat     other     -      200 openai
                  messages login&anthropic -      401 several credentials
                  messages login&anthropic spare  401 several credentials
                  messages login&second    -      401 several credentials
                  messages bare            sonnet 401 a claude.ai login
                  messages basic           sonnet 401 a claude.ai login
                  chat     openai&anthropic -     401 several credentials
                  chat     azure           -      401 a key of Anthropic's
                  chat     openai&other    -      200 openai";
    for line in script.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap();
        let ask = match next() {
            "chat" => Ask::chat("hello", false),
            _ => Ask::messages("hello", false),
        };
        let ask = ask.without("x-api-key").without("authorization");
        let ask = next().split('&').fold(ask, |ask, it| match it {
            "login" => ask.with("authorization", "Bearer sk-ant-oat01-login"),
            "anthropic" => ask.with("x-api-key", "sk-ant-api03-made-up"),
            "openai" => ask.with("authorization", "Bearer sk-proj-made-up"),
            "second" => ask.with("authorization", "Bearer sk-ant-api03-made-up"),
            "bare" => ask.with("authorization", "sk-ant-oat01-login"),
            "basic" => ask.with("authorization", "Basic sk-ant-oat01-login"),
            "azure" => ask.with("api-key", "sk-ant-api03-made-up"),
            _ => ask.with("x-api-key", "sk-1234"),
        });
        let ask = match next() {
            "-" => ask,
            platform => ask.with("x-tidegate-platform", platform),
        };
        let (status, said) = (next(), words.collect::<Vec<_>>().join(" "));
        let world = World::start(|it| {
            it.platform("spare", |it| {
                it.provider = "anthropic".into();
                it.subscription = true;
                it.operators_credential = false;
            });
        });
        let heard = world.ask(&ask);
        let text = heard.text();
        assert_eq!(heard.status.to_string(), status, "{line}: {text}");
        match heard.header("x-tidegate-platform") {
            Some(platform) => assert_eq!(platform, said, "{line}"),
            None => assert!(
                text.contains(&format!("came with {said}")),
                "{line}: {text}"
            ),
        }
    }
}

/// A server of one's own, say, that asks for no key.
#[test]
fn a_free_platform_without_a_key_is_sent_no_credential() {
    let spare = Scripted::once(tiny(ANSWER));
    let world = World::start(|it| {
        it.spare_url = Some(spare.base_url.clone());
        it.platform("spare", |it| {
            it.free = true;
            it.operators_credential = false;
            it.local_may_spend = false;
        });
    });
    let ask = Ask::messages("hello", false)
        .with("x-tidegate-platform", "spare")
        .with("authorization", "Bearer sk-ant-oat01-login");
    let heard = world.ask(&ask);
    assert_eq!(heard.status, 200, "{}", heard.text());
    let seen = spare.seen();
    for header in ["x-api-key", "authorization"] {
        assert_eq!(seen.values(header), [""; 0], "{}", seen.head);
    }
}

#[test]
fn the_spare_providers_credential_goes_to_no_other_origin() {
    let upstream = Scripted::once(tiny(ANSWER));
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
    let head = upstream.seen().head;
    assert!(
        head.contains("sk-caller") && !head.contains(OPERATORS),
        "{head}"
    );
}

#[test]
fn a_callers_span_is_the_parent_of_ours_and_none_is_made_up() {
    let upstream = Scripted::start(
        [1, 2]
            .map(|_| {
                let answer = crate::harness::Step::Write(tiny(ANSWER).into());
                vec![
                    crate::harness::Step::Read,
                    answer,
                    crate::harness::Step::Close,
                ]
            })
            .to_vec(),
    );
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    let theirs = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let traced = Ask::messages("hello", false).with("traceparent", theirs);
    assert_eq!(world.ask(&traced).status, 200);
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
    let [first, second] = [upstream.seen(), upstream.seen()];
    let [sent] = first.values("traceparent")[..] else {
        panic!("one traceparent: {}", first.head)
    };
    assert!(second.values("traceparent").is_empty(), "{}", second.head);
    let records = world.settled(2);
    let span = records[0].span_id.unwrap();
    assert_eq!(
        sent,
        format!("00-0af7651916cd43dd8448eb211c80319c-{span}-01")
    );
    let parent = records[0].parent_span_id.unwrap();
    assert_eq!(parent.to_string(), "b7ad6b7169203331");
    assert_eq!(records[1].parent_span_id, None);
}

#[test]
fn models_and_token_counts_pass_unpriced() {
    let world = World::plain();
    let headers = |it: Ask| it.with("x-api-key", "sk-caller");
    let count = Ask::post(
        "/v1/messages/count_tokens",
        r#"{"model":"claude-opus-5-5","messages":[{"role":"user","content":"hello"}]}"#,
    );
    let asks = [
        headers(Ask::get("/v1/models?limit=1000")),
        headers(Ask::get("/v1/models/claude-opus-5-5")),
        Ask::get("/v1/models").with("authorization", "Bearer sk-caller"),
        headers(count),
    ];
    expect![[r#"
        client:   200 content-type=application/json
        client:   200 content-type=application/json
        client:   200 content-type=application/json
        client:   200 content-type=application/json
        upstream: GET /v1/models body as sent, 200 whole
        upstream: GET /v1/models/claude-opus-5-5 body as sent, 200 whole
        upstream: GET /v1/models body as sent, 200 whole
        upstream: POST /v1/messages/count_tokens body as sent, 200 whole
        ledger:   reserve, settle $0.00
        ledger:   reserve, settle $0.00
        ledger:   reserve, settle $0.00
        ledger:   reserve, settle $0.00
        record:   answered 200 $0.00
        record:   answered 200 $0.00
        record:   answered 200 $0.00
        record:   answered 200 $0.00
    "#]]
    .assert_eq(&three_sides(&world, &asks));
    for view in world.engine.pool_views() {
        let [units] = &view.buckets[..] else {
            panic!("one bucket")
        };
        assert_eq!(units.level, i64::try_from(units.capacity).unwrap());
    }
}

#[test]
fn a_chat_stream_is_metered_by_a_chunk_that_its_client_never_sees() {
    let world = World::plain();
    let without = Ask::chat("sim:say hello", true);
    let heard = world.ask(&without);
    assert_eq!(heard.header("x-tidegate-include-usage"), Some("added"));
    assert!(!heard.text().contains("prompt_tokens"), "{}", heard.text());
    assert_eq!(heard.events(), ["chunk", "[DONE]"]);
    let mut with = without.clone();
    let body = String::from_utf8(with.body).unwrap();
    with.body = body
        .replace(
            r#""stream":true"#,
            r#""stream":true,"stream_options":{"include_usage":true}"#,
        )
        .into();
    let heard = world.ask(&with);
    assert_eq!(heard.header("x-tidegate-include-usage"), None);
    assert!(heard.text().contains("prompt_tokens"), "{}", heard.text());
    let records = world.settled(2);
    for (record, seen) in records.iter().zip(world.wire(2)) {
        assert!(!record.estimated);
        assert_eq!(record.usage.unwrap().output, seen.usage.unwrap().output);
    }
    assert_eq!(
        world.wire(2)[1].body_fingerprint,
        body_fingerprint(&with.body)
    );
    world.assert_sound();
}

#[test]
fn a_model_that_a_platform_maps_is_renamed_and_said() {
    let world = World::start(|it| {
        it.platform("sonnet", |it| {
            it.model_map
                .insert("claude-opus-5-5".into(), "claude-sonnet-5-5".into());
        });
    });
    let heard = world.ask(&Ask::messages("hello", false));
    assert_eq!(heard.header("x-tidegate-model"), Some("claude-sonnet-5-5"));
    assert_eq!(world.wire(1)[0].model, "claude-sonnet-5-5");
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert_eq!(&*record.model_asked, "claude-opus-5-5");
    assert_eq!(&*record.model_sent, "claude-sonnet-5-5");
}

#[test]
fn nothing_of_a_subscriptions_call_is_altered_and_it_costs_nothing() {
    let world = World::start(|it| {
        it.platform("sonnet", |it| {
            it.subscription = true;
            it.model_map
                .insert("claude-opus-5-5".into(), "claude-sonnet-5-5".into());
        });
    });
    let login = Ask::messages("sim:say hello", true)
        .without("x-api-key")
        .with("authorization", "Bearer sk-ant-oat01-fake");
    let heard = world.ask(&login);
    assert_eq!(heard.status, 200);
    assert_eq!(
        world.wire(1)[0].body_fingerprint,
        body_fingerprint(&login.body)
    );
    let [record] = &world.settled(1)[..] else {
        panic!("one record")
    };
    assert_eq!(record.cost.0, 0);
    assert!(record.notional.0 > 0);
    world.assert_sound();
}

/// The provider's words are what Claude Code's recovery goes by.
#[test]
fn an_error_passes_byte_for_byte() {
    let body = "{ \"type\" : \"error\",\n\t\"error\":{\"type\":\"rate_limit_error\",\"message\":\"\\u00e4 slow down\"} , \"odd\":1e400}";
    let answer = format!(
        "HTTP/1.1 429 Slow Down\r\nretry-after: 7999\r\nx-should-retry: true\r\nrequest-id: req_theirs\r\n\
         anthropic-ratelimit-unified-7d_oi-status: rejected\r\nanthropic-ratelimit-unified-reset: 1785182400\r\n\
         content-type: application/json; charset=utf-8\r\ncontent-length: {}\r\nx-tidegate-call-id: forged\r\n\r\n{body}",
        body.len()
    );
    let upstream = Scripted::once(answer);
    let world = World::start(|it| it.home_url = Some(upstream.base_url.clone()));
    let heard = world.ask(&Ask::messages("hello", true).with("user-agent", "claude-cli/2.1.330"));
    assert_eq!(heard.status, 429);
    assert_eq!(heard.text(), body);
    for (name, value) in [
        ("retry-after", "7999"),
        ("x-should-retry", "true"),
        ("request-id", "req_theirs"),
        ("anthropic-ratelimit-unified-7d_oi-status", "rejected"),
        ("anthropic-ratelimit-unified-reset", "1785182400"),
        ("content-type", "application/json; charset=utf-8"),
    ] {
        assert_eq!(heard.header(name), Some(value), "{name}");
    }
    let [record] = &world.settled(1)[..] else {
        panic!("one call has one record")
    };
    assert_eq!(
        heard.header("x-tidegate-call-id"),
        Some(record.id.to_string().as_str())
    );
    assert_eq!(record.request_id.as_deref(), Some("req_theirs"));
    assert_eq!(record.cost.0, 0);
    world.assert_sound();
}

#[test]
fn the_providers_limit_headers_pass_on_successes_streamed_or_not() {
    let world = World::plain();
    for stream in [true, false] {
        let heard = world.ask(&Ask::messages("hello", stream));
        assert_eq!(heard.status, 200);
        for name in ["requests", "input-tokens", "output-tokens", "tokens"] {
            for figure in ["limit", "remaining", "reset"] {
                let name = format!("anthropic-ratelimit-{name}-{figure}");
                assert!(heard.header(&name).is_some(), "{name}");
            }
        }
        assert!(heard.header("request-id").is_some());
    }
    let login = Ask::messages("hello", true)
        .without("x-api-key")
        .with("authorization", "Bearer sk-ant-oat01-fake");
    let world = World::start(|it| it.platform("sonnet", |it| it.subscription = true));
    let heard = world.ask(&login);
    for name in ["status", "5h-utilization", "7d-utilization", "5h-reset"] {
        let name = format!("anthropic-ratelimit-unified-{name}");
        assert!(heard.header(&name).is_some(), "{name}: {:?}", heard.headers);
    }
}

/// Else a count between two calls of a turn would leave the first one's budget behind.
#[test]
fn a_token_count_begins_no_task() {
    let world = World::plain();
    let in_session = |it: Ask| it.with("x-claude-code-session-id", "s1");
    let count = Ask::post(
        "/v1/messages/count_tokens",
        r#"{"model":"claude-opus-5-5","messages":[{"role":"user","content":"hello"}]}"#,
    );
    assert_eq!(
        world.ask(&in_session(Ask::messages("hello", false))).status,
        200
    );
    let count = in_session(count.with("x-api-key", "sk-caller"));
    assert_eq!(world.ask(&count).status, 200);
    let records = world.settled(2);
    assert_eq!(records[0].root_task, records[1].root_task);
}
