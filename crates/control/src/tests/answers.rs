//! What operators and viewers are shown, and what they change.

use expect_test::expect;
use tidegate_observe::calls::Outcome;
use tidegate_types::{NanoUsd, Tokens, Usage};

use super::world::{World, check, check_in, run};

/// A call of `ann` that ended.
fn end_a_call(world: &World) -> String {
    let (mut record, _) = world.engine.arrived("anthropic_messages", "/v1/messages");
    record.organisation = "local".into();
    record.user = "ann".into();
    record.task = Some("t-1".into());
    record.root_task = Some("t-1".into());
    record.platform = "sonnet".into();
    record.model_asked = "claude-sonnet-5-5".into();
    record.status = 200;
    record.outcome = Outcome::Answered;
    record.cost = NanoUsd(6_488_000);
    record.usage = Some(Usage {
        input: Tokens(12),
        output: Tokens(34),
        ..Usage::default()
    });
    let id = record.id.to_string();
    let _kept = world.engine.finish(record);
    id
}

#[test]
fn status_says_what_only_watches_and_how_to_enforce_it() {
    check(
        "nobody GET /api/v1/status | watched, limits, ready, reasons, version
         nobody GET /api/v1/status | dropped_reservations, open_reservations, unknown_reservations, shed_records",
        expect![[r#"
            > nobody GET /api/v1/status | watched, limits, ready, reasons, version
            200 {
              limits: [
                {asking: "enforce", keyless: "watch", limit: "claude_code.units"}
                {asking: "enforce", keyless: "watch", limit: "sonnet.units"}
                {asking: "enforce", keyless: "watch", limit: "sonnet.slots"}
                {asking: "enforce", keyless: "watch", limit: "organisation"}
                {asking: "enforce", keyless: "watch", limit: "user_month"}
                {asking: "enforce", keyless: "watch", limit: "user_day"}
                {asking: "enforce", keyless: "watch", limit: "llm"}
                {asking: "enforce", keyless: "watch", limit: "tools"}
                {asking: "enforce", keyless: "watch", limit: "infrastructure"}
                {asking: "enforce", keyless: "watch", limit: "task"}
              ]
              ready: true
              reasons: []
              version: "0.1.0"
              watched: {enforce_with: "tidegate serve --enforce", limits: ["claude_code.units", "sonnet.units", "sonnet.slots", "organisation", "user_month", "user_day", "llm", "tools", "infrastructure", "task"]}
            }
            > nobody GET /api/v1/status | dropped_reservations, open_reservations, unknown_reservations, shed_records
            200 {dropped_reservations: 0, open_reservations: 0, shed_records: 0, unknown_reservations: 0}
        "#]],
    );
}

#[test]
fn status_shows_each_bucket_as_it_stands() {
    check(
        r#"caller POST /api/v1/admissions {"platform": "sonnet", "tokens": 400} | approved
           pass 3600
           nobody GET /api/v1/status | platforms,open_reservations"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"platform": "sonnet", "tokens": 400} | approved
            200 {approved: true}
            > pass 3600
            > nobody GET /api/v1/status | platforms,open_reservations
            200 {
              open_reservations: 0
              platforms: [
                {buckets: [{asking: "enforce", capacity: 5000, classes: [low 0, medium 0, high 0, critical 0], debt: 0, debt_total: 0, full_in_seconds: 0, held: 0, keyless: "watch", level: 5000, name: "units", overdrawn: 0, owner: "ours", resource: "units", threshold: 2500}], penalties: [], platform: "claude_code"}
                {
                  buckets: [
                    {asking: "enforce", capacity: 10000, classes: [low 0, medium 0, high 0, critical 0], debt: 0, debt_total: 0, full_in_seconds: 3600, held: 0, keyless: "watch", level: 9800, name: "units", overdrawn: 0, owner: "ours", resource: "units", threshold: 5000}
                    {asking: "enforce", capacity: 2, classes: [low 0, medium 0, high 0, critical 0], debt: 0, debt_total: 0, full_in_seconds: null, held: 0, keyless: "watch", level: 2, name: "slots", overdrawn: 0, owner: "ours", resource: "concurrency", threshold: 0}
                  ]
                  penalties: []
                  platform: "sonnet"
                }
              ]
            }
        "#]],
    );
}

#[test]
fn a_call_is_shown_with_every_figure_to_those_who_may_see_it() {
    let world = World::new();
    let id = end_a_call(&world);
    let script = format!(
        r#"caller GET /api/v1/calls/{id}
           stranger GET /api/v1/calls/{id}
           stranger GET /api/v1/calls"#
    );
    check_in(
        &world,
        &script,
        expect![[r#"
        > caller GET /api/v1/calls/call_19f607f8e0000007
        200 {
          answer_bytes: 0
          at: 1784030400000000000
          body_bytes: 0
          bound: 0
          class: "unknown"
          cost: 6488000
          dialect: "anthropic_messages"
          dollars: {bound: "0.00", cost: "0.006488", expected: "0.00", notional: "0.00"}
          estimated: false
          expected: 0
          id: "call_19f607f8e0000007"
          keyless: false
          model_asked: "claude-sonnet-5-5"
          model_sent: ""
          notional: 0
          organisation: "local"
          outcome: {kind: "answered"}
          path: "/v1/messages"
          phases: {estimate: 0, first_byte: 0, identify: 0, reserve: 0, route: 0, settle: 0, stream: 0, wait: 0}
          platform: "sonnet"
          price_known: false
          price_version: ""
          priority: "high"
          provider: ""
          root_task: "t-1"
          status: 200
          stream: false
          task: "t-1"
          time: "2026-07-14T12:00:00.000000Z"
          units: 0
          usage: {cache_read: 0, cache_write_1h: 0, cache_write_5m: 0, input: 12, modifiers: {batch: false, fast: false, flex: false, regional: false}, output: 34, reasoning: 0, reported_cost: null, web_searches: 0}
          user: "ann"
        }
        > stranger GET /api/v1/calls/call_19f607f8e0000007
        404 not_found: there is no call `call_19f607f8e0000007`
        > stranger GET /api/v1/calls
        200 {calls: [], next: null}
    "#]],
    );
}

#[test]
fn calls_are_found_by_task_time_and_user_and_read_page_by_page() {
    let world = World::new();
    let id = end_a_call(&world);
    let second = end_a_call(&world);
    let ids = |path: &str| {
        let (status, text) = run(world.ask("viewer", "GET", path, ""));
        assert_eq!(status, 200, "{text}");
        let calls: crate::wire::Calls = serde_json::from_str(&text).unwrap();
        let ids = calls.calls.iter().map(|it| it.record.id.to_string());
        (ids.collect::<Vec<_>>(), calls.next.map(|it| it.to_string()))
    };
    assert_eq!(
        ids("/api/v1/calls?task=t-1"),
        (vec![second.clone(), id.clone()], None)
    );
    assert_eq!(
        ids("/api/v1/calls?limit=1"),
        (vec![second.clone()], Some(second.clone()))
    );
    assert_eq!(
        ids(&format!("/api/v1/calls?before={second}")),
        (vec![id], None)
    );
    assert_eq!(
        ids("/api/v1/calls?since=2026-07-14T12:00:01Z"),
        (vec![], None)
    );
    assert_eq!(ids("/api/v1/calls?since=1784030400&user=ann").0.len(), 2);
}

#[test]
fn a_keys_secret_is_shown_once_and_opens_until_it_is_revoked() {
    let world = World::new();
    let body = r#"{"name": "ci", "role": "viewer", "user": "ci", "highest_priority": "low"}"#;
    let (status, text) = run(world.ask("admin", "POST", "/api/v1/keys", body));
    assert_eq!(status, 201, "{text}");
    let made: crate::wire::KeyMade = serde_json::from_str(&text).unwrap();
    assert!(made.secret.starts_with("tg-") && made.secret.len() == 46);
    assert!(!format!("{made:?}").contains(&made.secret));
    let look = || {
        let mut request = world.request("nobody", "GET", "/api/v1/audit", "");
        let secret = made.secret.parse().unwrap();
        request.headers_mut().insert("x-tidegate-key", secret);
        run(world.send(request)).status().as_u16()
    };
    assert_eq!(look(), 200);
    let (_, all) = run(world.ask("admin", "GET", "/api/v1/keys", ""));
    assert!(
        !all.contains(&made.secret) && !all.contains("hash"),
        "{all}"
    );
    let path = format!("/api/v1/keys/{}", made.key.id);
    assert_eq!(run(world.ask("admin", "DELETE", &path, "")).0, 200);
    assert_eq!(look(), 401);
    assert_eq!(run(world.ask("admin", "DELETE", &path, "")).0, 404);
}

#[test]
fn keys_are_listed_to_admins_of_their_organisation() {
    check(
        r#"boss GET /api/v1/keys
           boss POST /api/v1/keys {"name": "x", "role": "caller", "user": "x", "organisation": "local"}
           boss POST /api/v1/keys {"name": "x", "role": "caller", "user": "x", "default_priority": "critical"}
           boss DELETE /api/v1/keys/{key:stranger}
           stranger GET /api/v1/status
           boss GET /api/v1/audit"#,
        expect![[r#"
            > boss GET /api/v1/keys
            200 {keys: [{created_at: "2026-07-14T12:00:00Z", highest_priority: "high", id: "key_19f607f8e0000005", name: "stranger", organisation: "acme", role: "caller", user: "bob"}, {created_at: "2026-07-14T12:00:00Z", highest_priority: "high", id: "key_19f607f8e0000006", name: "boss", organisation: "acme", role: "admin", user: "eve"}]}
            > boss POST /api/v1/keys {"name": "x", "role": "caller", "user": "x", "organisation": "local"}
            403 not_yours: `local` is not the organisation of this key · leave it out, or use a key of theirs
            > boss POST /api/v1/keys {"name": "x", "role": "caller", "user": "x", "default_priority": "critical"}
            400 bad_value: `default_priority`: `critical` is not a priority up to `highest_priority`, high
            > boss DELETE /api/v1/keys/{key:stranger}
            200 {id: "key_19f607f8e0000005"}
            > stranger GET /api/v1/status
            401 unknown_key: the Tidegate key is unknown or revoked: ask an admin for one (`tidegate keys add`)
            > boss GET /api/v1/audit
            200 {changes: [{action: "key_revoked", at: "2026-07-14T12:00:00.000000Z", object: "key_19f607f8e0000005", organisation: "acme", role: "admin", who: "key_19f607f8e0000006"}]}
        "#]],
    );
}

#[test]
fn a_reload_says_what_changed_or_why_not() {
    let world = World::new();
    check_in(
        &world,
        "operator POST /api/v1/reload",
        expect![[r#"
        > operator POST /api/v1/reload
        200 {at_next_start: ["listen"], changed: "nothing"}
    "#]],
    );
    world.break_configuration();
    check_in(
        &world,
        "token POST /api/v1/reload
         nobody GET /api/v1/config
         stranger GET /api/v1/config",
        expect![[r#"
            > token POST /api/v1/reload
            422 reload_refused: the configuration is not put in force: tidegate.toml:3: `lsten`: unknown key, did you mean `listen` · `tidegate config check` points at the line; what was in force still is
            > nobody GET /api/v1/config
            200 {listen: "127.0.0.1:8787"}
            > stranger GET /api/v1/config
            403 role_needed: this needs the role viewer, and the key has the role caller · ask an admin for a key with that right (`tidegate keys add`)
        "#]],
    );
}

#[test]
fn the_ledger_is_verified_and_exported() {
    check(
        r#"caller POST /api/v1/admissions {"cost_usd": "0.25"} | approved,reservation
           caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.4"}
           operator POST /api/v1/ledger/verify
           caller GET /api/v1/ledger/entries?limit=2
           caller GET /api/v1/ledger/entries?from=3 | next
           stranger GET /api/v1/ledger/entries"#,
        expect![[r#"
            > caller POST /api/v1/admissions {"cost_usd": "0.25"} | approved,reservation
            200 {approved: true, reservation: "resv_19f607f8e0000007"}
            > caller POST /api/v1/reservations/{last}/settle {"cost_usd": "0.4"}
            200 {cost: $0.40, reservation: "resv_19f607f8e0000007"}
            > operator POST /api/v1/ledger/verify
            200 {clean: true, findings: [], findings_total: 0, head: "111e59dbd5a1424c1d08b68b360899c3c3a970d499fb1e195df29aca7d38c541", held: $0.00, open: 0, overruns: [{at: "2026-07-14T12:00:00.000000Z", by: $0.15, cause: "settled above its hold", reservation: "resv_19f607f8e0000007"}], overruns_total: 1, reservations: 1, rows: 3}
            > caller GET /api/v1/ledger/entries?limit=2
            200 {
              next: 3
              rows: [
                {
                  chain: "e39ad3b7ec221d2fb08c9f3120c3b9c219c17a3e790bb5dd53f02d378f02ee72"
                  payload: "{\"call\":{\"reservation\":\"resv_19f607f8e0000007\",\"ordinal\":0,\"at\":1784030400000000000,\"path\":{\"organisation\":\"local\",\"user\":\"ann\",\"service\":\"llm\",\"month\":{\"opens\":\"2026-07-01\",\"start\":1782864000000000000,\"end\":1785542400000000000},\"day\":{\"opens\":\"2026-07-14\",\"start\":1783987200000000000,\"end\":1784073600000000000}},\"enforced\":15,\"event\":{\"reserve\":{\"bound\":250000000,\"expected\":250000000,\"asked\":{\"until\":1784031300000000000,\"platform\":\"claude_code\"}}}}}"
                  seq: 2
                }
              ]
            }
            > caller GET /api/v1/ledger/entries?from=3 | next
            200 {next: null}
            > stranger GET /api/v1/ledger/entries
            200 {next: null, rows: []}
        "#]],
    );
}

#[test]
fn an_export_can_be_verified_by_itself() {
    let world = World::new();
    let body = r#"{"cost_usd": "0.25"}"#;
    run(world.ask("caller", "POST", "/api/v1/admissions", body));
    let (_, text) = run(world.ask("token", "GET", "/api/v1/ledger/entries", ""));
    let entries: crate::wire::Entries = serde_json::from_str(&text).unwrap();
    assert!(entries.rows.len() >= 2, "{text}");
    let mut before = tidegate_ledger::CHAIN_START;
    for row in entries.rows {
        before = tidegate_ledger::chain_after(before, &row.payload);
        assert_eq!(row.chain, before.to_string());
    }
}

#[test]
fn prices_are_exact_texts() {
    let world = World::new();
    let (_, text) = run(world.ask("nobody", "GET", "/api/v1/prices?provider=anthropic", ""));
    let prices: crate::wire::Prices = serde_json::from_str(&text).unwrap();
    let book = world.engine.prices();
    assert!(!prices.prices.is_empty());
    for price in prices.prices {
        let row = book.look_up(&price.provider, &price.model);
        assert!(row.known);
        assert_eq!(price.per_million.input, row.price.rates.input.to_string());
        let thousand = row.price.web_search_bound(1_000);
        assert_eq!(
            format!("${}", price.web_searches_per_thousand),
            thousand.to_string()
        );
    }
    check_in(
        &world,
        "nobody GET /api/v1/prices?provider=anthropic&model=opus-5-5",
        expect![[r#"
            > nobody GET /api/v1/prices?provider=anthropic&model=opus-5-5
            200 {
              free_providers: []
              prices: [
                {
                  context: 1000000
                  date: "2026-11-21"
                  factors: {batch: "1/2", fast: "2", flex: "1", regional: "11/10"}
                  model: "claude-opus-5-5"
                  output_max: 128000
                  per_million: {cache_read: "0.2", cache_write_1h: "8", cache_write_5m: "5", input: "4", output: "20"}
                  provider: "anthropic"
                  source: "Anthropic's public pricing page and models overview; claude-fable-5-2 and claude-mythos-5-2 from the cost table of Claude Code 2.1.330"
                  version: "anthropic-2026-11-21"
                  web_searches_per_thousand: "10.00"
                }
              ]
            }
        "#]],
    );
}

#[test]
fn metrics_show_buckets_budgets_and_reservations_as_they_are() {
    let world = World::new();
    let body = r#"{"platform": "claude_code", "tokens": 1000, "cost_usd": "2.5", "task": "t"}"#;
    run(world.ask("caller", "POST", "/api/v1/admissions", body));
    let (status, text) = run(world.ask("nobody", "GET", "/metrics", ""));
    assert_eq!(status, 200);
    let wanted = [
        "bucket",
        "budget",
        "reservations",
        "decided",
        "control",
        "build",
    ];
    let lines = text.lines().filter(|it| !it.starts_with('#'));
    let lines: Vec<&str> = lines
        .filter(|it| wanted.iter().any(|word| it.contains(word)))
        .collect();
    expect![[r#"
        tidegate_admission_decided_requests_total{platform="claude_code",priority="high",decision="never_fits"} 1
        tidegate_admission_bucket_fill_ratio{platform="claude_code",bucket="units"} 1
        tidegate_admission_bucket_fill_ratio{platform="sonnet",bucket="slots"} 1
        tidegate_admission_bucket_fill_ratio{platform="sonnet",bucket="units"} 1
        tidegate_admission_bucket_debt_ratio{platform="claude_code",bucket="units"} 0
        tidegate_admission_bucket_debt_ratio{platform="sonnet",bucket="slots"} 0
        tidegate_admission_bucket_debt_ratio{platform="sonnet",bucket="units"} 0
        tidegate_ledger_open_reservations 0
        tidegate_ledger_dropped_reservations_total 0
        tidegate_ledger_unknown_reservations 0
        tidegate_ledger_budget_used_ratio{organisation="local",level="llm"} 0
        tidegate_ledger_budget_used_ratio{organisation="local",level="organisation"} 0
        tidegate_ledger_budget_used_ratio{organisation="local",level="task"} 0
        tidegate_ledger_budget_used_ratio{organisation="local",level="user_day"} 0
        tidegate_ledger_budget_used_ratio{organisation="local",level="user_month"} 0
        tidegate_control_changed_keys_total{action="key_added"} 7
        tidegate_control_answered_requests_total{route="/api/v1/admissions",status="200"} 1
        tidegate_process_build_versions{version="0.1.0"} 1"#]].assert_eq(&lines.join("\n"));
}
