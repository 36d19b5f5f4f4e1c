//! What happened, as those see it who may.

use expect_test::expect;
use http_body_util::BodyExt as _;
use tidegate_observe::{
    calls::{CallRecord, CallStore as _, Outcome},
    telemetry::{Batch, Kind, logs, spans},
    trace::{SpanId, TraceId},
};
use tidegate_types::{CallId, NanoUsd, Timestamp, Tokens, Usage};

use super::world::{NOON, World, check, check_in, run};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

fn call(number: u64, organisation: &str, user: &str) -> CallRecord {
    let at = Timestamp::from_seconds(NOON - 3_600 * number);
    let mut call = CallRecord::arrived(CallId::from_raw(number), at, "anthropic_messages");
    call.organisation = organisation.into();
    call.user = user.into();
    call.platform = "sonnet".into();
    call.model_sent = "claude-sonnet-5-5".into();
    call.task_type = Some("review".into());
    call.outcome = Outcome::Answered;
    call.cost = NanoUsd(number * 1_000_000);
    call.usage = Some(Usage {
        input: Tokens(10 * number),
        ..Usage::default()
    });
    call.phases.first_byte = 1_000;
    call.phases.wait = 500;
    call
}

/// Two organisations' calls, a line of the gateway's own, and a trace in which one of them has a part.
fn world() -> World {
    let world = World::keeping();
    let mut first = call(1, "local", "ann");
    first.trace_id = TraceId::parse(TRACE);
    first.span_id = SpanId::parse("00000000000000aa");
    first.parent_span_id = SpanId::parse("00000000000000bb");
    let mut second = call(2, "local", "bob");
    second.outcome = Outcome::UpstreamLost;
    second.request_id = Some("req_7".into());
    second.session = Some("s-1".into());
    second.task = Some("p-1".into());
    second.trace_id = TraceId::parse("11111111111111111111111111111111");
    second.span_id = SpanId::parse("00000000000000cc");
    let third = call(3, "acme", "bob");
    world
        .own
        .append(&[first, second, third].map(Into::into))
        .unwrap();
    let mut said = Batch::new(Kind::Logs);
    said.row(Timestamp::from_seconds(NOON - 60))
        .text(logs::LEVEL, "WARNING")
        .text(logs::ORGANISATION, "local")
        .text(logs::BODY, "a \"quoted\", long line");
    world.own.put(said);
    let mut sent = Batch::new(Kind::Spans);
    for (span, request) in [(0xbb_i64, ""), (0xdd, "req_7")] {
        sent.row(Timestamp::from_seconds(NOON - 3_601))
            .text(spans::ORGANISATION, "local")
            .text(spans::USER, "ann")
            .text(spans::OPERATION, "agent")
            .text(spans::REQUEST, request)
            .wide(spans::TRACE, TraceId::parse(TRACE).unwrap().bits())
            .integer(spans::SPAN, span)
            .integer(spans::DURATION, 9_000_000_000);
    }
    world.own.put(sent);
    world.own.flush();
    world
}

#[test]
fn logs_are_seen_by_those_whose_they_are_and_by_whoever_looks_at_the_whole() {
    let script = "
        token GET /api/v1/logs/count
        viewer GET /api/v1/logs/count
        caller GET /api/v1/logs/count
        stranger GET /api/v1/logs/count
        boss GET /api/v1/logs/count
        stranger GET /api/v1/logs/count?user=ann
        boss GET /api/v1/logs/count?organisation=local
        caller GET /api/v1/logs/count?filter=user:bob+or+user:ann
        viewer GET /api/v1/logs/count?filter=level:%3E=warning
        viewer GET /api/v1/logs/count?filter=level:%3E=warning&since=2026-07-14T11:00:00Z
        viewer GET /api/v1/logs/count?filter=level:%3E=warning&until=2026-07-14T11:00:00Z
        nobody GET /api/v1/logs?filter=quoted";
    check_in(
        &world(),
        script,
        expect![[r#"
        > token GET /api/v1/logs/count
        200 {count: 4, unread: 0}
        > viewer GET /api/v1/logs/count
        200 {count: 3, unread: 0}
        > caller GET /api/v1/logs/count
        200 {count: 1, unread: 0}
        > stranger GET /api/v1/logs/count
        200 {count: 1, unread: 0}
        > boss GET /api/v1/logs/count
        200 {count: 1, unread: 0}
        > stranger GET /api/v1/logs/count?user=ann
        403 not_yours: `ann` is not the user of this key, which sees only its own · leave it out, or use a key of theirs
        > boss GET /api/v1/logs/count?organisation=local
        403 not_yours: `local` is not the organisation of this key · leave it out, or use a key of theirs
        > caller GET /api/v1/logs/count?filter=user:bob+or+user:ann
        200 {count: 1, unread: 0}
        > viewer GET /api/v1/logs/count?filter=level:%3E=warning
        200 {count: 2, unread: 0}
        > viewer GET /api/v1/logs/count?filter=level:%3E=warning&since=2026-07-14T11:00:00Z
        200 {count: 1, unread: 0}
        > viewer GET /api/v1/logs/count?filter=level:%3E=warning&until=2026-07-14T11:00:00Z
        200 {count: 1, unread: 0}
        > nobody GET /api/v1/logs?filter=quoted
        200 {logs: [{body: "a \"quoted\", long line", id: 1870691460710400000, level: "WARNING", organisation: "local", time: "2026-07-14T11:59:00.000000000Z"}], next: null, unread: 0}
    "#]],
    );
}

#[test]
fn a_list_goes_on_where_it_ended() {
    let world = world();
    let page = |before: &str| {
        let path = format!("/api/v1/logs?limit=3{before}");
        let (status, text) = run(world.ask("token", "GET", &path, ""));
        assert_eq!(status, 200, "{text}");
        let page: serde_json::Value = serde_json::from_str(&text).unwrap();
        let times: Vec<String> = page["logs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["time"].to_string())
            .collect();
        (times, page["next"].as_str().map(str::to_owned))
    };
    let (first, next) = page("");
    let (rest, end) = page(&format!("&before={}", next.unwrap()));
    let all = [first, rest].concat();
    assert_eq!(all.len(), 4);
    assert!(all.is_sorted_by(|a, b| a > b), "{all:?}");
    assert_eq!(end, None);
}

#[test]
fn what_is_no_question_is_told_with_the_place_and_the_remedy() {
    check_in(
        &world(),
        "token GET /api/v1/logs?filter=level:loud
         token GET /api/v1/logs?filter=(a
         token GET /api/v1/logs?limit=10001
         token GET /api/v1/logs?before=yesterday
         token GET /api/v1/logs?since=yesterday
         token GET /api/v1/logs/histogram?step=90
         token GET /api/v1/logs/export?format=xml
         token GET /api/v1/logs/tail?limit=1001
         token GET /api/v1/traces/xyz
         token GET /api/v1/activity?by=hour,moon
         token GET /api/v1/logs?colour=red",
        expect![[r#"
            > token GET /api/v1/logs?filter=level:loud
            400 bad_filter: `filter`: `loud` is none of debug, info, warning, error, critical (at character 7)
            > token GET /api/v1/logs?filter=(a
            400 bad_filter: `filter`: this `(` is not closed (at character 1)
            > token GET /api/v1/logs?limit=10001
            400 bad_value: `limit`: `10001` is not a whole number from 1 to 10000
            > token GET /api/v1/logs?before=yesterday
            400 bad_value: `before`: `yesterday` is not a place in a list: `next` of an earlier answer
            > token GET /api/v1/logs?since=yesterday
            400 bad_value: `since`: `yesterday` is not a time like 2026-07-14T12:00:00Z, or whole seconds since 1970
            > token GET /api/v1/logs/histogram?step=90
            400 bad_value: `step`: `90` is not a number of seconds of whole minutes: 60, 3600, …
            > token GET /api/v1/logs/export?format=xml
            400 bad_value: `format`: `xml` is not jsonl, csv or parquet
            > token GET /api/v1/logs/tail?limit=1001
            400 bad_value: `limit`: `1001` is not a whole number from 1 to 1000
            > token GET /api/v1/traces/xyz
            404 not_found: there is no trace, call with one, session or task `xyz`
            > token GET /api/v1/activity?by=hour,moon
            400 bad_value: `by`: `moon` is not of hour, organisation, user, platform, model, task_type and class, joined by commas
            > token GET /api/v1/logs?colour=red
            400 bad_query: the query: colour: unknown field `colour`, expected one of `filter`, `organisation`, `user`, `since`, `until`, `before`, `limit`, `step`, `format`
        "#]],
    );
    check(
        "token GET /api/v1/logs
         token GET /api/v1/traces/call_0000000000000001
         token GET /api/v1/activity",
        expect![[r#"
            > token GET /api/v1/logs
            503 no_telemetry: nothing is kept of what happens (`telemetry.enabled = false`) · `tidegate doctor` says what stands in the way
            > token GET /api/v1/traces/call_0000000000000001
            503 no_telemetry: nothing is kept of what happens (`telemetry.enabled = false`) · `tidegate doctor` says what stands in the way
            > token GET /api/v1/activity
            503 no_telemetry: nothing is kept of what happens (`telemetry.enabled = false`) · `tidegate doctor` says what stands in the way
        "#]],
    );
}

#[test]
fn a_histogram_counts_lines_of_calls_by_how_they_ended() {
    check_in(
        &world(),
        "token GET /api/v1/logs/histogram?step=3600
         caller GET /api/v1/logs/histogram",
        expect![[r#"
            > token GET /api/v1/logs/histogram?step=3600
            200 {bars: [{counts: {INFO: 1}, time: "2026-07-14T09:00:00Z"}, {counts: {ERROR: 1}, time: "2026-07-14T10:00:00Z"}, {counts: {INFO: 1, WARNING: 1}, time: "2026-07-14T11:00:00Z"}], step_seconds: 3600}
            > caller GET /api/v1/logs/histogram
            200 {bars: [{counts: {INFO: 1}, time: "2026-07-14T11:00:00Z"}], step_seconds: 3600}
        "#]],
    );
}

#[test]
fn an_export_has_every_row_in_the_form_that_is_asked_for() {
    let world = world();
    let export = |form: &str| {
        let path = format!("/api/v1/logs/export?format={form}");
        let request = world.request("viewer", "GET", &path, "");
        run(async {
            let answer = world.send(request).await;
            assert_eq!(answer.status(), 200);
            let kind = answer.headers()["content-type"]
                .to_str()
                .unwrap()
                .to_owned();
            (kind, answer.into_body().collect().await.unwrap().to_bytes())
        })
    };
    let text = |(kind, bytes): (String, axum::body::Bytes)| {
        format!("{kind}\n{}", String::from_utf8(bytes.to_vec()).unwrap())
    };
    let jsonl = text(export("jsonl"));
    assert_eq!(jsonl.lines().count(), 4);
    let csv = text(export("csv"));
    let csv: Vec<&str> = csv.split("\r\n").take(2).collect();
    expect![[r#"
        text/csv; charset=utf-8; header=present
        time,id,claimed_time,level,organisation,service,component,event,host,process,thread,version,phase,task,parent_task,session,user,trace_id,span_id,request_id,body,attributes
        2026-07-14T11:59:00.000000000Z,1870691460710400000,,WARNING,local,,,,,,,,,,,,,,,,"a ""quoted"", long line","#]].assert_eq(&csv.join("\n"));
    let (kind, bytes) = export("parquet");
    assert_eq!(kind, "application/vnd.apache.parquet");
    assert!(bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"));
}

#[test]
fn a_tail_begins_with_what_was_there_and_goes_on_with_what_comes() {
    let world = world();
    let request = world.request("caller", "GET", "/api/v1/logs/tail?limit=1", "");
    run(async {
        let mut body = world.send(request).await.into_body();
        let mut next = async || {
            let frame = body.frame().await.unwrap().unwrap();
            String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
        };
        let first = next().await;
        assert!(first.starts_with("event: log\ndata: {"), "{first}");
        assert!(first.contains("call_0000000000000001"), "{first}");
        // Somebody else's first.
        world.own.append(&[call(0, "local", "bob").into()]).unwrap();
        let mut own = call(0, "local", "ann");
        own.id = CallId::from_raw(8);
        world.own.append(&[own.into()]).unwrap();
        let second = next().await;
        assert!(second.contains("call_0000000000000008"), "{second}");
    });
}

#[test]
fn a_trace_joins_what_was_sent_with_calls_by_trace_and_by_request() {
    let world = world();
    let spans = |visitor: &str, id: &str| {
        let path = format!("/api/v1/traces/{id}");
        let (status, text) = run(world.ask(visitor, "GET", &path, ""));
        let trace: serde_json::Value = serde_json::from_str(&text).unwrap();
        let spans = trace["spans"].as_array().into_iter().flatten();
        let told = spans.map(|it| {
            let part = |name: &str| it[name].as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} in {} {}",
                part("operation"),
                part("span_id"),
                part("parent_span_id"),
                part("user")
            )
        });
        (status, told.collect::<Vec<_>>())
    };
    expect![[r#"
        (
            200,
            [
                "call 00000000000000cc in 00000000000000dd bob",
                "wait 3243291f7a6160f1 in 00000000000000cc bob",
                "send 05790ae9f44ef91f in 00000000000000cc bob",
                "first byte 1df61924317a3c20 in 00000000000000cc bob",
                "agent 00000000000000bb in - ann",
                "agent 00000000000000dd in - ann",
                "call 00000000000000aa in 00000000000000bb ann",
                "wait 9ba6b7863fe2a557 in 00000000000000aa ann",
                "send 6a5c9710c9c83e85 in 00000000000000aa ann",
                "first byte 8329a74bf2f762fc in 00000000000000aa ann",
            ],
        )
    "#]]
    .assert_debug_eq(&spans("viewer", TRACE));
    let of_call = spans("viewer", "call_0000000000000001");
    assert_eq!(of_call, spans("viewer", TRACE));
    assert_eq!(spans("stranger", TRACE).0, 404);
    let (status, own) = spans("caller", TRACE);
    assert_eq!(status, 200);
    assert!(own.iter().all(|it| it.ends_with("ann")), "{own:?}");
}

#[test]
fn a_session_and_a_prompt_are_shown_with_all_their_traces() {
    let world = world();
    let mut below = call(4, "local", "bob");
    below.id = CallId::from_raw(9);
    below.session = Some("s-1".into());
    below.task = Some("p-1/agent".into());
    below.root_task = Some("p-1".into());
    below.trace_id = TraceId::parse("22222222222222222222222222222222");
    below.span_id = SpanId::parse("00000000000000ee");
    world.own.append(&[below.into()]).unwrap();
    let mut sent = Batch::new(Kind::Spans);
    sent.row(Timestamp::from_seconds(NOON - 3_500))
        .text(spans::ORGANISATION, "local")
        .text(spans::USER, "bob")
        .text(spans::OPERATION, "tool")
        .text(spans::SESSION, "s-1")
        .text(spans::TASK, "p-1")
        .wide(spans::TRACE, 7)
        .integer(spans::SPAN, 7);
    world.own.put(sent);
    world.own.flush();
    let shown = |visitor: &str, id: &str| {
        let path = format!("/api/v1/traces/{id}");
        let (status, text) = run(world.ask(visitor, "GET", &path, ""));
        let it: serde_json::Value = serde_json::from_str(&text).unwrap();
        let spans = it["spans"].as_array().into_iter().flatten();
        let wholes = spans.filter(|it| matches!(it["operation"].as_str(), Some("call" | "tool")));
        let told = wholes.map(|it| format!("{} {}", it["operation"], it["trace_id"]));
        let of = [&it["trace_id"], &it["session"], &it["task"]].map(ToString::to_string);
        (status, of.join(" "), told.collect::<Vec<_>>())
    };
    let session = shown("viewer", "session:s-1");
    expect![[r#"
        (
            200,
            "null \"s-1\" null",
            [
                "\"call\" \"22222222222222222222222222222222\"",
                "\"call\" \"11111111111111111111111111111111\"",
                "\"tool\" \"00000000000000000000000000000007\"",
            ],
        )
    "#]]
    .assert_debug_eq(&session);
    assert_eq!(shown("viewer", "s-1"), session);
    let prompt = shown("viewer", "prompt:p-1");
    assert_eq!(
        (&prompt.1[..], &prompt.2),
        (r#"null null "p-1""#, &session.2)
    );
    assert_eq!(shown("viewer", "task:p-1"), prompt);
    assert_eq!(shown("viewer", "p-1"), prompt, "no session has that name");
    assert_eq!(
        shown("caller", "session:s-1").0,
        404,
        "they are somebody else's"
    );
    assert_eq!(shown("viewer", "session:p-1").0, 404);
    assert_eq!(shown("viewer", "session:").0, 400);
}

#[test]
fn activity_is_summed_by_what_is_asked_for() {
    check_in(
        &world(),
        "viewer GET /api/v1/activity
         token GET /api/v1/activity?by=organisation,model
         caller GET /api/v1/activity?by=class&since=2026-07-14T00:00:00Z | activity
         stranger GET /api/v1/activity?by=user&until=2026-07-14T00:00:00Z",
        expect![[r#"
            > viewer GET /api/v1/activity
            200 {
              activity: [
                {cache_read_tokens: 0, cache_write_tokens: 0, calls: 1, cost_nano_usd: 1000000, cost_usd: "0.001", duration_us: 1500, failed: 0, first_byte_us: 1000, hour: "2026-07-14T11:00:00Z", input_tokens: 10, output_tokens: 0, platform: "sonnet", refused: 0, task_type: "review", user: "ann", wait_us: 500}
                {cache_read_tokens: 0, cache_write_tokens: 0, calls: 1, cost_nano_usd: 2000000, cost_usd: "0.002", duration_us: 1500, failed: 1, first_byte_us: 1000, hour: "2026-07-14T10:00:00Z", input_tokens: 20, output_tokens: 0, platform: "sonnet", refused: 0, task_type: "review", user: "bob", wait_us: 500}
              ]
              cut: false
            }
            > token GET /api/v1/activity?by=organisation,model
            200 {
              activity: [
                {cache_read_tokens: 0, cache_write_tokens: 0, calls: 1, cost_nano_usd: 3000000, cost_usd: "0.003", duration_us: 1500, failed: 0, first_byte_us: 1000, input_tokens: 30, model: "claude-sonnet-5-5", organisation: "acme", output_tokens: 0, refused: 0, wait_us: 500}
                {cache_read_tokens: 0, cache_write_tokens: 0, calls: 2, cost_nano_usd: 3000000, cost_usd: "0.003", duration_us: 3000, failed: 1, first_byte_us: 2000, input_tokens: 30, model: "claude-sonnet-5-5", organisation: "local", output_tokens: 0, refused: 0, wait_us: 1000}
              ]
              cut: false
            }
            > caller GET /api/v1/activity?by=class&since=2026-07-14T00:00:00Z | activity
            200 {activity: [{cache_read_tokens: 0, cache_write_tokens: 0, calls: 1, class: "unknown", cost_nano_usd: 1000000, cost_usd: "0.001", duration_us: 1500, failed: 0, first_byte_us: 1000, input_tokens: 10, output_tokens: 0, refused: 0, wait_us: 500}]}
            > stranger GET /api/v1/activity?by=user&until=2026-07-14T00:00:00Z
            200 {activity: [], cut: false}
        "#]],
    );
}
