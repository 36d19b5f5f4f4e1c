//! Requests that are wrong: a clear error in the caller's dialect, and nothing upstream.

use std::fmt::Write as _;

use expect_test::expect;
use tidegate_types::Role;

use crate::harness::{Ask, Ended, Heard, World, sides::clients_side};

/// Where an error's kind is, in the dialect of a path.
fn kind(heard: &Heard) -> String {
    let error = &heard.json()["error"];
    error["type"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn what_is_not_metered_is_not_found_in_its_dialect() {
    let world = World::plain();
    let mut all = String::new();
    let anthropic = |it: Ask| it.with("x-api-key", "sk-caller");
    let openai = |it: Ask| it.with("authorization", "Bearer sk-caller");
    for ask in [
        anthropic(Ask::post("/v1/messages/batches", "{}")),
        anthropic(Ask::get("/v1/messages")),
        anthropic(Ask::post("/v1/complete", "{}")),
        anthropic(Ask::get("/v1/organizations/rate_limits")),
        openai(Ask::post("/v1/embeddings", "{}")),
        openai(Ask::post("/v1/images/generations", "{}")),
        openai(Ask::get("/v1/responses/resp_1")),
        openai(Ask::post("/v1/chat/completions/", "{}")),
        openai(Ask::post("//v1/chat/completions", "{}")),
        openai(Ask::post("/v1/chat/../chat/completions", "{}")),
        Ask::get("/v1/files"),
    ] {
        let heard = world.ask(&ask);
        assert_eq!(heard.status, 404, "{}", ask.path);
        all += &format!("{} {}\n", ask.method, ask.path);
        all += &clients_side(&heard);
    }
    expect![[r#"
        POST /v1/messages/batches
        client:   404 x-should-retry=false content-type=application/json
                  not_found_error: there is no route POST /v1/messages/batches: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        GET /v1/messages
        client:   404 x-should-retry=false content-type=application/json
                  not_found_error: there is no route GET /v1/messages: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST /v1/complete
        client:   404 x-should-retry=false content-type=application/json
                  not_found_error: there is no route POST /v1/complete: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        GET /v1/organizations/rate_limits
        client:   404 x-should-retry=false content-type=application/json
                  not_found_error: there is no route GET /v1/organizations/rate_limits: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST /v1/embeddings
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route POST /v1/embeddings: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST /v1/images/generations
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route POST /v1/images/generations: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        GET /v1/responses/resp_1
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route GET /v1/responses/resp_1: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST /v1/chat/completions/
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route POST /v1/chat/completions/: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST //v1/chat/completions
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route POST //v1/chat/completions: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        POST /v1/chat/../chat/completions
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route POST /v1/chat/../chat/completions: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
        GET /v1/files
        client:   404 x-should-retry=false content-type=application/json
                  invalid_request_error/not_found: there is no route GET /v1/files: Tidegate passes only what it can meter, which is POST /v1/messages, /v1/messages/count_tokens, /v1/chat/completions, /v1/responses and GET /v1/models
    "#]].assert_eq(&all);
    world.wire(0);
    world.assert_sound();
}

#[test]
fn somebody_is_here() {
    let world = World::plain();
    let mut client = world.connect();
    client.send(b"HEAD / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    assert_eq!(client.answer_head().unwrap().status, 200);
    world.wire(0);
}

#[test]
fn a_body_that_is_no_request_is_refused_in_its_dialect() {
    let world = World::plain();
    let mut calls = 0;
    let mut all = String::new();
    for body in [
        "",
        "{",
        "null",
        "[]",
        "{\"model\":\"m\"} trailing",
        "{\"model\":7,\"max_tokens\":1}",
        "{\"messages\":[]}",
        "{\"model\":\"m\",\"max_tokens\":\"many\",\"max_completion_tokens\":\"many\",\"max_output_tokens\":\"many\"}",
        "{\"model\":\"m\",\"max_tokens\":-1,\"max_completion_tokens\":-1,\"max_output_tokens\":-1}",
        "{\"model\":\"m\",\"max_tokens\":1e999,\"max_completion_tokens\":1e999,\"max_output_tokens\":1e999}",
        "{\"model\":\"m\",\"max_tokens\":99999999999999999999,\"max_completion_tokens\":99999999999999999999,\"max_output_tokens\":99999999999999999999}",
        "{\"model\":\"m\",\"stream\":\"yes\"}",
        "{\"model\":\"m\",\"model\":\"n\"}",
    ] {
        for ask in Ask::in_all_dialects("", false) {
            let ask = Ask {
                body: body.into(),
                ..ask
            };
            let heard = world.ask(&ask);
            calls += 1;
            assert_eq!(heard.status, 400, "{} {body}: {}", ask.path, heard.text());
            assert_eq!(kind(&heard), "invalid_request_error", "{body}");
            assert_eq!(heard.header("x-should-retry"), Some("false"));
            if ask.path == "/v1/messages" {
                let message = &heard.json()["error"]["message"];
                all += &format!("{body}\n    {}\n", message.as_str().unwrap());
            }
        }
    }
    expect![[r#"

            the body is not valid JSON: `{` was expected at byte 0
        {
            the body is not valid JSON: a string was expected at byte 1
        null
            the body is not a JSON object: send one that has `model` and the messages
        []
            the body is not a JSON object: send one that has `model` and the messages
        {"model":"m"} trailing
            the body is not valid JSON: the end of the text was expected at byte 14
        {"model":7,"max_tokens":1}
            `model` is 7: send the model's name as a string
        {"messages":[]}
            `model` is missing: name it in the body
        {"model":"m","max_tokens":"many","max_completion_tokens":"many","max_output_tokens":"many"}
            `max_tokens` is a string: send a whole number
        {"model":"m","max_tokens":-1,"max_completion_tokens":-1,"max_output_tokens":-1}
            `max_tokens` is -1: send a whole number from 0 to 4294967295
        {"model":"m","max_tokens":1e999,"max_completion_tokens":1e999,"max_output_tokens":1e999}
            `max_tokens` is 1e999: send a whole number from 0 to 4294967295
        {"model":"m","max_tokens":99999999999999999999,"max_completion_tokens":99999999999999999999,"max_output_tokens":99999999999999999999}
            `max_tokens` is 99999999999999999999: send a whole number from 0 to 4294967295
        {"model":"m","stream":"yes"}
            `stream` is a string: send true or false
        {"model":"m","model":"n"}
            `model` is there more than once: send it once
    "#]].assert_eq(&all);
    world.wire(0);
    world.settled(calls);
    world.assert_sound();
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let world = World::plain();
    let deep = format!("{{\"model\":\"m\",\"messages\":{}", "[".repeat(500_000));
    for body in [
        b"\xff\xfe{\x00}".to_vec(),
        b"{\"model\":\"\xff\xff\"}".to_vec(),
        vec![0; 1 << 20],
        deep.into_bytes(),
    ] {
        for ask in Ask::in_all_dialects("", false) {
            let ask = Ask {
                body: body.clone(),
                ..ask
            };
            assert_eq!(world.ask(&ask).status, 400);
        }
    }
    world.wire(0);
    world.assert_sound();
}

#[test]
fn a_header_of_ours_that_means_nothing_is_refused() {
    let world = World::plain();
    let mut all = String::new();
    let long = "x".repeat(201);
    for (name, value) in [
        ("x-tidegate-priority", "urgent"),
        ("x-tidegate-complexity", "11"),
        ("x-tidegate-task", &*long),
        ("x-tidegate-platform", "mars"),
        ("x-tidegate-max-wait", "soon"),
        ("x-tidegate-max-wait", "-1"),
        ("x-tidegate-max-wait", "3601"),
    ] {
        let heard = world.ask(&Ask::messages("hello", false).with(name, value));
        assert_eq!(heard.status, 400, "{name}");
        all += heard.json()["error"]["message"].as_str().unwrap();
        all += "\n";
    }
    expect![[r#"
        header `x-tidegate-priority`: `urgent` is none of low, medium, high, critical
        header `x-tidegate-complexity`: `11` is none of simple, moderate, complex, expert
        header `x-tidegate-task` must have 1 to 200 characters, and has 201
        header `x-tidegate-platform`: there is no platform `mars`; there are sonnet, openai, spare
        header `x-tidegate-max-wait` must be a number of seconds from 0 to 3600
        header `x-tidegate-max-wait` must be a number of seconds from 0 to 3600
        header `x-tidegate-max-wait` must be a number of seconds from 0 to 3600
    "#]]
    .assert_eq(&all);
    world.wire(0);
}

#[test]
fn a_body_that_is_too_large_is_refused_in_its_dialect() {
    let world = World::plain();
    let size: usize = 33 << 20;
    for ask in Ask::in_all_dialects("", false) {
        for chunked in [false, true] {
            let mut client = world.connect();
            let ask = if chunked {
                ask.clone().with("transfer-encoding", "chunked")
            } else {
                ask.clone().with("content-length", &size.to_string())
            };
            client.send(ask.head().as_bytes());
            if chunked {
                client.send(format!("{size:x}\r\n").as_bytes());
            }
            let piece = vec![b' '; 1 << 20];
            for _ in 0..33 {
                client.send(&piece);
            }
            if chunked {
                client.send(b"\r\n0\r\n\r\n");
            }
            let heard = client.answer().unwrap();
            assert_eq!(heard.status, 413, "{}", ask.path);
            let wanted = match &*ask.path {
                "/v1/messages" => "request_too_large",
                _ => "invalid_request_error",
            };
            assert_eq!(kind(&heard), wanted);
        }
    }
    world.settled(6);
    assert_eq!(world.gateway.body_bytes(), 0);
    world.wire(0);
    world.assert_sound();
}

/// Who asks first is told before all of it is sent.
#[test]
fn a_body_that_is_too_large_is_not_asked_for() {
    let world = World::plain();
    for ask in Ask::in_all_dialects("", false) {
        let ask = ask.with("expect", "100-continue");
        let mut client = world.connect();
        client.send(ask.with("content-length", "40000000").head().as_bytes());
        assert_eq!(client.answer().unwrap().status, 413);
    }
    world.settled(3);
    world.wire(0);
}

#[test]
fn a_body_that_is_encoded_is_told_so() {
    let world = World::plain();
    for ask in Ask::in_all_dialects("hello", false) {
        let heard = world.ask(&ask.with("content-encoding", "gzip"));
        assert_eq!(heard.status, 400, "{}", heard.text());
        assert!(
            heard.text().contains("without `content-encoding`"),
            "{}",
            heard.text()
        );
    }
    world.settled(3);
    world.wire(0);
}

/// On a connection that is new, and on one that has served before.
#[test]
fn floods_of_headers_are_refused_in_the_dialect_with_the_limit() {
    let world = World::plain();
    let flood = |ask: &Ask, lines: usize, size: usize| {
        (0..lines).fold(ask.clone(), |ask, line| {
            ask.with(&format!("x-flood-{line}"), &"x".repeat(size))
        })
    };
    let asks = Ask::in_all_dialects("hello", false);
    assert_eq!(world.ask(&flood(&asks[0], 90, 10)).status, 200);
    let mut refused = 0;
    for ask in &asks {
        for (lines, size) in [(200, 10), (100_000, 1), (20, 10_000), (1, 1 << 20)] {
            for before in 0..2 {
                let mut client = world.connect();
                for _ in 0..before {
                    assert_eq!(client.ask(ask).status, 200);
                }
                client.send(&flood(ask, lines, size).bytes());
                let heard = client.answer().unwrap();
                assert_eq!((heard.status, heard.ended), (431, Ended::Whole));
                assert_eq!(heard.header("x-should-retry"), Some("false"));
                assert_eq!(kind(&heard), "invalid_request_error", "{}", ask.path);
                let said = heard.text();
                assert!(said.contains("128 header lines and 65536 bytes"), "{said}");
                let is_anthropic = heard.json()["type"] == "error";
                assert_eq!(is_anthropic, ask.path == "/v1/messages");
                assert!(client.is_ended());
                refused += 1;
            }
        }
    }
    let records = world.settled(1 + refused + refused / 2);
    let codes = records.iter().filter(|it| it.status == 431);
    assert_eq!(codes.count(), refused);
    world.assert_sound();
}

#[test]
fn a_head_that_is_no_http_is_refused_in_the_dialect_of_its_path() {
    let world = World::plain();
    let mut told = String::new();
    for (path, header) in [
        ("/v1/messages", "content-length: -1"),
        ("/v1/messages", "content-length: 5\r\ncontent-length: 6"),
        ("/v1/chat/completions", "x-key: a\0b"),
        ("/v1/responses", "transfer-encoding: gzip"),
    ] {
        let mut client = world.connect();
        client.send(format!("POST {path} HTTP/1.1\r\n{header}\r\n\r\n").as_bytes());
        let heard = client.answer().unwrap();
        let kind = kind(&heard);
        writeln!(told, "{path} {header:?}: {} {kind}", heard.status).unwrap();
        assert!(
            heard.text().contains("head is no HTTP/1.1"),
            "{}",
            heard.text()
        );
        assert!(client.is_ended());
    }
    expect![[r#"
        /v1/messages "content-length: -1": 400 invalid_request_error
        /v1/messages "content-length: 5\r\ncontent-length: 6": 400 invalid_request_error
        /v1/chat/completions "x-key: a\0b": 400 invalid_request_error
        /v1/responses "transfer-encoding: gzip": 400 invalid_request_error
    "#]]
    .assert_eq(&told);
}

#[test]
fn what_is_no_http_ends_its_connection_and_nothing_else() {
    let world = World::plain();
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/messages\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"POST /v1/messages HTTP/1.1\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\nZZ\r\n",
        b"\r\n\r\n\r\n\0\0\0\0",
    ] {
        let mut client = world.connect();
        let _as_much_as_is_taken = client.try_send(bytes);
        client.half_close();
        if let Some(heard) = client.answer() {
            assert_eq!(heard.status, 400, "{bytes:?}");
        }
        assert!(client.is_ended(), "{bytes:?}");
    }
    assert_eq!(world.ask(&Ask::messages("hello", false)).status, 200);
    world.wire(1);
    world.assert_sound();
}

#[test]
fn nobody_calls_on_behalf_of_a_web_page_or_by_a_name_that_is_not_this_machines() {
    let world = World::plain();
    let ask = |name, value| {
        let ask = Ask::messages("hello", false);
        if name == "host" {
            ask.without("host").with(name, value)
        } else {
            ask.with(name, value)
        }
    };
    for (name, value) in [
        ("host", "evil.example"),
        ("host", "localhost.evil.example"),
        ("host", "127.0.0.1.evil.example:8787"),
        ("host", "0.0.0.0:8787"),
        ("origin", "https://evil.example"),
        ("origin", "null"),
        ("origin", "http://localhost.evil.example"),
        ("origin", "http://localhost:3000"),
        ("origin", "file://"),
        ("x-tidegate-key", "tg-unknown"),
        ("authorization", "Bearer tg-unknown"),
    ] {
        let heard = world.ask(&ask(name, value));
        assert_eq!(heard.status, 401, "{name}: {value}");
        assert_eq!(kind(&heard), "authentication_error");
        assert_eq!(heard.header("x-should-retry"), Some("false"));
        assert_eq!(heard.header("access-control-allow-origin"), None);
    }
    for (name, value) in [("host", "127.0.0.1:8787"), ("host", "[::1]:8787")] {
        assert_eq!(world.ask(&ask(name, value)).status, 200, "{name}: {value}");
    }
    world.wire(2);
    world.settled(13);
    world.assert_sound();
}

#[test]
fn a_preflight_of_a_browser_gets_nothing() {
    let world = World::plain();
    let mut ask = Ask::get("/v1/messages")
        .with("origin", "https://evil.example")
        .with("access-control-request-method", "POST")
        .with("access-control-request-headers", "x-api-key");
    ask.method = "OPTIONS";
    let heard = world.ask(&ask);
    assert_eq!(heard.status, 404);
    let allows = |it: &&(String, String)| it.0.starts_with("access-control");
    assert_eq!(heard.headers.iter().find(allows), None);
    world.wire(0);
}

#[test]
fn a_key_that_may_only_look_sends_nothing() {
    let world = World::plain();
    for role in [Role::Viewer, Role::Approver] {
        let key = world.key(role.word(), |it| it.role = role);
        let ask = Ask::messages("hello", false).with("x-tidegate-key", &key);
        let heard = world.ask(&ask);
        assert_eq!(heard.status, 403);
        assert_eq!(kind(&heard), "permission_error");
    }
    world.wire(0);
}

#[test]
fn a_model_that_nobody_knows_is_never_free() {
    let world = World::plain();
    let ask = Ask::messages("hello", false);
    let body = String::from_utf8(ask.body.clone()).unwrap();
    let unknown = Ask {
        body: body.replace("claude-opus-5-5", "claude-tomorrow-9").into(),
        ..ask.clone()
    };
    assert_eq!(world.ask(&ask).status, 200);
    assert_eq!(world.ask(&unknown).status, 200);
    let records = world.settled(2);
    assert!(records[0].price_known && !records[1].price_known);
    assert!(records[1].cost >= records[0].cost, "{records:#?}");
    world.assert_sound();
}
