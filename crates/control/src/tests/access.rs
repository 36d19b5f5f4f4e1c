//! Who may do what: every route, tried by everybody.

use std::fmt::Write as _;

use expect_test::expect;
use http::header;
use serde_json::Value;

use super::world::{TOKEN, VISITORS, World, check, run};
use crate::{Control, Peer, routes::ROUTES};

/// A request that would succeed for somebody who may.
async fn sample(world: &World, visitor: &str, method: &str, path: &str) -> (String, &'static str) {
    let id = if path.starts_with("/api/v1/reservations/{id}") {
        // One of the caller's own.
        let body = r#"{"tokens": 1, "cost_usd": "0.01"}"#;
        let (_, text) = world
            .ask("caller", "POST", "/api/v1/admissions", body)
            .await;
        let value: Value = serde_json::from_str(&text).unwrap();
        value["reservation"].as_str().unwrap().to_owned()
    } else if path.starts_with("/api/v1/tasks/") {
        // One of the visitor's own, where it may have one.
        let body = r#"{"task": "mine"}"#;
        let _created = world.ask(visitor, "POST", "/api/v1/tasks", body).await;
        "mine".to_owned()
    } else if path.starts_with("/api/v1/calls/") || path.starts_with("/api/v1/traces/") {
        "call_0000000000000001".to_owned()
    } else {
        world.key("approver").to_string()
    };
    let body = match (method, path) {
        ("POST", "/api/v1/admissions") => r#"{"tokens": 1}"#,
        ("PATCH", _) => r#"{"progress": 10}"#,
        ("PUT", _) => r#"{"hard_usd": 5}"#,
        ("POST", "/api/v1/keys") => r#"{"name": "n", "role": "caller", "user": "u"}"#,
        ("POST", it) if it.ends_with("/extend") => r#"{"seconds": 10}"#,
        _ => "",
    };
    let path = path.replace("{id}", &id).replace("{level}", "task");
    let path = path.replace("{channel}", "ops");
    // A tail has no end.
    let path = path.replace("/tail", "/tail?limit=none");
    (path, body)
}

async fn matrix() -> String {
    let mut lines: Vec<String> = ROUTES
        .iter()
        .map(|it| format!("{:<6} {:<36}", it.method.as_str(), it.path))
        .collect();
    for visitor in VISITORS {
        let world = World::keeping();
        for (route, line) in ROUTES.iter().zip(&mut lines) {
            let method = route.method.as_str();
            // The key that is revoked must still open its own routes until then.
            let (path, body) = sample(&world, visitor, method, route.path).await;
            let (status, text) = world.ask(visitor, method, &path, body).await;
            write!(line, " {status}").unwrap();
            // Those answer people, with pages.
            let for_people = route.path.starts_with("/approvals/") || route.path == "/device";
            let failed = status >= 400 && route.path != "/readyz" && !for_people;
            let value: Value = serde_json::from_str(&text).unwrap_or_default();
            assert_eq!(
                failed,
                value.get("error").is_some(),
                "{visitor} {path}: {text}"
            );
            // OAuth has words of its own for what is wrong.
            let oauth = route.path.starts_with("/oauth/");
            if matches!(*visitor, "page" | "rebound" | "proxied") && failed && !oauth {
                assert_eq!(value["error"]["code"], "foreign", "{text}");
                assert_eq!(value.as_object().unwrap().len(), 1, "{text}");
            }
        }
    }
    let short = VISITORS.iter().map(|it| &it[..3.min(it.len())]);
    let head: Vec<&str> = short.collect();
    format!("{:<43} {}\n{}\n", "", head.join(" "), lines.join("\n"))
}

#[test]
fn every_route_opens_to_those_who_may_and_to_nobody_else() {
    expect![[r#"
                                                    pag reb pro rem nob cal vie app ope adm str bos tok
        GET    /healthz                             200 200 200 200 200 200 200 200 200 200 200 200 200
        GET    /readyz                              200 200 200 200 200 200 200 200 200 200 200 200 200
        GET    /metrics                             403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/admissions                   403 403 403 403 200 200 403 403 200 200 200 200 200
        GET    /api/v1/admissions/{id}              403 403 403 403 400 400 403 403 400 400 400 400 400
        DELETE /api/v1/admissions/{id}              403 403 403 403 400 400 403 403 400 400 400 400 400
        GET    /api/v1/admissions/{id}/events       403 403 403 403 400 400 403 403 400 400 400 400 400
        GET    /api/v1/reservations                 403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/reservations/{id}/settle     403 403 403 403 404 200 403 403 200 200 404 404 200
        POST   /api/v1/reservations/{id}/extend     403 403 403 403 404 200 403 403 200 200 404 404 200
        POST   /api/v1/reservations/{id}/release    403 403 403 403 404 200 403 403 200 200 404 404 200
        POST   /api/v1/reservations/{id}/correct    403 403 403 403 401 403 403 403 400 400 403 400 400
        GET    /api/v1/status                       403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/limits                       403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/budgets                      403 403 403 403 200 200 200 200 200 200 200 200 200
        PUT    /api/v1/budgets/{level}              403 403 403 403 401 403 403 403 200 200 403 403 200
        GET    /api/v1/quotas                       403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/approvals                    403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/approvals/{id}               403 403 403 403 401 403 403 400 400 400 403 400 400
        GET    /approvals/{id}                      403 403 403 403 403 403 403 403 403 403 403 403 403
        POST   /approvals/{id}                      403 403 403 403 403 403 403 403 403 403 403 403 403
        POST   /api/v1/notices/{channel}/test       403 403 403 403 401 403 403 403 200 200 403 403 200
        GET    /api/v1/calls                        403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/calls/{id}                   403 403 403 403 404 404 404 404 404 404 404 404 404
        GET    /api/v1/calls/running                403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/logs                         403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/logs/count                   403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/logs/histogram               403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/logs/tail                    403 403 403 403 400 400 400 400 400 400 400 400 400
        GET    /api/v1/logs/export                  403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/traces/{id}                  403 403 403 403 404 404 404 404 404 404 404 404 404
        GET    /api/v1/activity                     403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/tasks                        403 403 403 403 201 201 403 403 201 201 201 201 201
        GET    /api/v1/tasks                        403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/tasks/{id}                   403 403 403 403 200 200 404 404 200 200 200 200 200
        PATCH  /api/v1/tasks/{id}                   403 403 403 403 200 200 403 403 200 200 200 200 200
        GET    /api/v1/queue                        403 403 403 403 200 200 200 200 200 200 200 200 200
        DELETE /api/v1/queue/{id}                   403 403 403 403 400 400 403 403 400 400 400 400 400
        PUT    /api/v1/queue/{id}                   403 403 403 403 401 403 403 403 400 400 403 400 400
        GET    /api/v1/sessions/{session}           403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/prices                       403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/keys                         403 403 403 403 401 403 403 403 403 200 403 200 200
        POST   /api/v1/keys                         403 403 403 403 401 403 403 403 403 201 403 201 201
        DELETE /api/v1/keys/{id}                    403 403 403 403 401 403 403 403 403 200 403 404 200
        GET    /api/v1/logins                       403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/logins                       403 403 403 403 400 400 403 403 400 400 400 400 400
        DELETE /api/v1/logins/{id}                  403 403 403 403 404 404 403 403 404 404 404 404 404
        GET    /.well-known/oauth-authorization-server 200 200 200 200 200 200 200 200 200 200 200 200 200
        POST   /oauth/device_authorization          200 200 200 200 200 200 200 200 200 200 200 200 200
        POST   /oauth/token                         400 400 400 400 400 400 400 400 400 400 400 400 400
        POST   /oauth/revoke                        200 200 200 200 200 200 200 200 200 200 200 200 200
        GET    /device                              200 200 200 200 200 200 200 200 200 200 200 200 200
        POST   /device                              403 403 403 403 400 400 400 400 400 400 400 400 400
        GET    /managed/settings                    403 403 403 403 200 200 200 200 200 200 200 200 200
        GET    /api/v1/audit                        403 403 403 403 200 403 200 200 200 200 403 200 200
        GET    /api/v1/config                       403 403 403 403 200 403 200 200 200 200 403 403 200
        POST   /api/v1/reload                       403 403 403 403 401 403 403 403 200 200 403 403 200
        GET    /api/v1/ledger/entries               403 403 403 403 200 200 200 200 200 200 200 200 200
        POST   /api/v1/ledger/verify                403 403 403 403 401 403 403 403 200 200 403 403 200
        GET    /api/v1/openapi.json                 403 403 403 403 200 200 200 200 200 200 200 200 200
    "#]].assert_eq(&run(matrix()));
}

#[test]
fn the_token_opens_nothing_from_elsewhere_and_nothing_else_is_taken_for_it() {
    let world = World::new();
    let ask = |token: String, peer: &str, host: &str| {
        let mut request = world.request("nobody", "POST", "/api/v1/reload", "");
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, token.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        let peer = format!("{peer}:1").parse().unwrap();
        request.extensions_mut().insert(Peer(peer));
        run(world.send(request)).status().as_u16()
    };
    let (here, host) = ("127.0.0.1", "localhost:8787");
    assert_eq!(ask(format!("Bearer {TOKEN}"), here, host), 200);
    assert_eq!(ask(format!("bearer  {TOKEN}"), here, host), 200);
    assert_eq!(ask(format!("Bearer {TOKEN}"), "203.0.113.9", host), 403);
    assert_eq!(ask(format!("Bearer {TOKEN}"), here, "evil.example"), 403);
    assert_eq!(ask(format!("Basic {TOKEN}"), here, host), 401);
    assert_eq!(ask(format!("Bearer {TOKEN}x"), here, host), 401);
    assert_eq!(ask("Bearer ".to_owned(), here, host), 401);
}

#[test]
fn what_a_page_of_another_site_loads_without_saying_so_is_refused() {
    let world = World::new();
    let ask = |name: &'static str, value: &'static str| {
        let mut request = world.request("nobody", "GET", "/api/v1/status", "");
        request.headers_mut().insert(name, value.parse().unwrap());
        run(world.send(request)).status().as_u16()
    };
    assert_eq!(ask("sec-fetch-site", "cross-site"), 403);
    assert_eq!(ask("sec-fetch-site", "same-origin"), 200);
    assert_eq!(ask("origin", "http://127.0.0.1:8787"), 200);
    assert_eq!(ask("origin", "http://localhost:3000"), 403);
    assert_eq!(ask("origin", "null"), 403);
}

#[test]
fn a_request_that_comes_from_nowhere_or_with_two_hosts_is_not_local() {
    let world = World::new();
    let mut request = world.request("nobody", "GET", "/api/v1/status", "");
    request.extensions_mut().remove::<Peer>();
    assert_eq!(run(world.send(request)).status(), 403);
    let mut request = world.request("nobody", "GET", "/api/v1/status", "");
    let host = "evil.example".parse().unwrap();
    request.headers_mut().append(header::HOST, host);
    assert_eq!(run(world.send(request)).status(), 403);
}

#[test]
fn answers_are_kept_by_nobody_and_read_by_no_other_site() {
    let world = World::new();
    let answer = run(world.send(world.request("nobody", "GET", "/api/v1/status", "")));
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(
        answer.headers()["cross-origin-resource-policy"],
        "same-origin"
    );
    assert!(!answer.headers().contains_key("access-control-allow-origin"));
}

#[test]
fn what_is_ours_is_owned_and_nothing_of_the_gateway_is() {
    for path in [
        "/api/v1/status",
        "/api/v1",
        "/api/v1/nothing",
        "/healthz",
        "/metrics",
        "/oauth/token",
        "/.well-known/oauth-authorization-server",
        "/device",
        "/managed/settings",
    ] {
        assert!(Control::owns(path), "{path}");
    }
    for path in [
        "/v1/messages",
        "/v1/metrics/x",
        "/devices",
        "/api/oauth/usage",
        "/api/v10",
        "/",
        "/healthz/x",
    ] {
        assert!(!Control::owns(path), "{path}");
    }
}

#[test]
fn what_is_missing_is_told_with_the_remedy() {
    check(
        r#"nobody PUT /api/v1/budgets/task {"hard_usd": 1}
           viewer POST /api/v1/admissions {"tokens": 1}
           caller GET /api/v1/keys
           boss POST /api/v1/reload
           boss PUT /api/v1/budgets/task {"hard_usd": 1}
           boss PUT /api/v1/budgets/task {"hard_usd": 1, "organisation": "local"}
           stranger GET /api/v1/calls?user=ann
           viewer GET /api/v1/calls?organisation=acme
           boss DELETE /api/v1/keys/{key:caller}
           nobody GET /api/v1/nothing
           nobody POST /api/v1/status
           page GET /api/v1/nothing"#,
        expect![[r#"
            > nobody PUT /api/v1/budgets/task {"hard_usd": 1}
            401 token_needed: without a key one may look and ask for admissions; changes need the token that `tidegate serve` writes to the file `token` in its data directory: send it as bearer · use the `tidegate` command on this machine, which reads the file, or an operator's key
            > viewer POST /api/v1/admissions {"tokens": 1}
            403 role_needed: a key with the role viewer may look but not ask for admissions · ask an admin for a key with that right (`tidegate keys add`)
            > caller GET /api/v1/keys
            403 role_needed: this needs the role admin, and the key has the role caller · ask an admin for a key with that right (`tidegate keys add`)
            > boss POST /api/v1/reload
            403 whole_gateway: this concerns the whole gateway: it is for keys of its own organisation and the holder of its token
            > boss PUT /api/v1/budgets/task {"hard_usd": 1}
            403 whole_gateway: this concerns the whole gateway: it is for keys of its own organisation and the holder of its token
            > boss PUT /api/v1/budgets/task {"hard_usd": 1, "organisation": "local"}
            403 not_yours: `local` is not the organisation of this key · leave it out, or use a key of theirs
            > stranger GET /api/v1/calls?user=ann
            403 not_yours: `ann` is not the user of this key, which sees only its own · leave it out, or use a key of theirs
            > viewer GET /api/v1/calls?organisation=acme
            403 not_yours: `acme` is not the organisation of this key · leave it out, or use a key of theirs
            > boss DELETE /api/v1/keys/{key:caller}
            404 not_found: there is no key in force `key_19f607f8e0000000`
            > nobody GET /api/v1/nothing
            404 not_found: there is nothing at `/api/v1/nothing` · `GET /api/v1/openapi.json` lists what there is
            > nobody POST /api/v1/status
            405 method_not_allowed: POST is not taken here, only GET
            > page GET /api/v1/nothing
            403 foreign: calls without a key are taken from this machine only, and not on behalf of a web page: send a Tidegate key
        "#]],
    );
}
