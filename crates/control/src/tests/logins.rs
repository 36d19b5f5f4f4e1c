//! Signing in: what programs are told, what people see, and who may confirm whom.

use std::{fmt::Write as _, sync::Arc, time::Duration};

use axum::body::Body;
use expect_test::expect;
use http::{Request, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::world::{World, run};

const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// A form, as this visitor sends it.
fn post(world: &World, visitor: &str, path: &str, form: &str) -> (u16, String) {
    let mut request = world.request(visitor, "POST", path, form);
    let form = "application/x-www-form-urlencoded".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    sent(world, request)
}

fn sent(world: &World, request: Request<Body>) -> (u16, String) {
    run(async {
        let response = world.send(request).await;
        let status = response.status().as_u16();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(bytes.to_vec()).unwrap())
    })
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// A program that has asked: what it polls with, and what it shows.
fn asks(world: &World) -> (String, String) {
    let (status, text) = post(
        world,
        "nobody",
        "/oauth/device_authorization",
        "surface=claude_code&new=1",
    );
    assert_eq!(status, 200, "{text}");
    let codes = json(&text);
    let code = |name: &str| codes[name].as_str().unwrap().to_owned();
    (code("device_code"), code("user_code"))
}

/// What it gets: a status, and the tokens or the error.
fn polls(world: &World, visitor: &str, device_code: &str) -> (u16, Value) {
    let form = format!("grant_type={DEVICE_GRANT}&device_code={device_code}");
    let (status, text) = post(world, visitor, "/oauth/token", &form);
    (status, json(&text))
}

fn refreshes(world: &World, visitor: &str, token: &Value) -> (u16, Value) {
    let token = token.as_str().unwrap();
    let form = format!("grant_type=refresh_token&refresh_token={token}");
    let (status, text) = post(world, visitor, "/oauth/token", &form);
    (status, json(&text))
}

/// What a call with this token would be: the status of the settings for it.
fn calls(world: &World, visitor: &str, token: &Value) -> u16 {
    let mut request = world.request(visitor, "GET", "/managed/settings", "");
    let bearer = format!("Bearer {}", token.as_str().unwrap());
    let headers = request.headers_mut();
    headers.insert(header::AUTHORIZATION, bearer.parse().unwrap());
    sent(world, request).0
}

/// A program that `visitor` has confirmed: its tokens.
fn signed_in(world: &World, visitor: &str) -> Value {
    let (device, code) = asks(world);
    let body = format!(r#"{{"code": "{code}", "approve": true}}"#);
    let (status, text) = run(world.ask(visitor, "POST", "/api/v1/logins", &body));
    assert_eq!(status, 200, "{text}");
    let (status, tokens) = polls(world, "nobody", &device);
    assert_eq!(status, 200, "{tokens}");
    tokens
}

#[test]
fn a_program_is_told_where_to_sign_in_by_the_name_that_it_asks() {
    let world = World::new();
    let metadata = |host: &str, forwarded: Option<&str>| {
        let path = "/.well-known/oauth-authorization-server";
        let mut request = world.request("nobody", "GET", path, "");
        request
            .headers_mut()
            .insert(header::HOST, host.parse().unwrap());
        if let Some(scheme) = forwarded {
            let scheme = scheme.parse().unwrap();
            request.headers_mut().insert("x-forwarded-proto", scheme);
        }
        sent(&world, request).1
    };
    expect![[r#"{"issuer":"http://127.0.0.1:8787","device_authorization_endpoint":"http://127.0.0.1:8787/oauth/device_authorization","token_endpoint":"http://127.0.0.1:8787/oauth/token","revocation_endpoint":"http://127.0.0.1:8787/oauth/revoke","grant_types_supported":["urn:ietf:params:oauth:grant-type:device_code","refresh_token"],"response_types_supported":[],"token_endpoint_auth_methods_supported":["none"]}"#]]
        .assert_eq(&metadata("127.0.0.1:8787", None));
    let behind = json(&metadata("gw.example.com", Some("https")));
    assert_eq!(
        behind["token_endpoint"],
        "https://gw.example.com/oauth/token"
    );
    let strange = json(&metadata("gw.example.com\"><b>", None));
    assert_eq!(strange["error"], "invalid_request");
}

#[test]
fn somebody_with_a_key_confirms_a_program_which_then_calls_as_them() {
    let world = World::new();
    let (device, code) = asks(&world);
    assert_eq!(
        polls(&world, "remote", &device).1["error"],
        "authorization_pending"
    );
    let form = |key: &str| {
        format!(
            "user_code={}&key={key}&decision=approve",
            code.to_lowercase()
        )
    };
    let (status, text) = post(&world, "remote", "/device", &form(""));
    assert_eq!(status, 403, "{text}");
    let (status, text) = post(&world, "remote", "/device", &form("tg-wrong"));
    assert_eq!(status, 401, "{text}");
    let (status, text) = post(&world, "page", "/device", &form(""));
    assert_eq!(status, 403, "{text}");
    let key = world.secret("caller").to_owned();
    let (status, text) = post(&world, "remote", "/device", &form(&key));
    assert_eq!(status, 200, "{text}");
    assert!(text.contains("calls as ann of local"), "{text}");
    assert!(!text.contains(&key), "{text}");
    world.pass(Duration::from_secs(5));
    let (status, tokens) = polls(&world, "remote", &device);
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["email"], "ann@local");
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3_600);
    assert_eq!(calls(&world, "remote", &tokens["access_token"]), 200);
    assert_eq!(calls(&world, "remote", &tokens["refresh_token"]), 401);
    let mut request = world.request("remote", "GET", "/api/v1/budgets", "");
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, bearer.parse().unwrap());
    assert_eq!(sent(&world, request).0, 200);
    // It calls, and does nothing else.
    let mut request = world.request("remote", "POST", "/api/v1/reload", "");
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, bearer.parse().unwrap());
    assert_eq!(sent(&world, request).0, 403);
    let (_, other) = asks(&world);
    let body = format!(r#"{{"code": "{other}", "approve": true}}"#);
    let mut request = world.request("remote", "POST", "/api/v1/logins", &body);
    request
        .headers_mut()
        .insert(header::AUTHORIZATION, bearer.parse().unwrap());
    assert_eq!(
        json(&sent(&world, request).1)["error"]["code"],
        "key_needed"
    );
}

#[test]
fn the_local_user_confirms_without_a_key_for_this_machine_alone() {
    let world = World::new();
    let (device, code) = asks(&world);
    let form = format!("user_code={code}&key=&decision=approve");
    let (status, text) = post(&world, "nobody", "/device", &form);
    assert_eq!(status, 200, "{text}");
    let (status, tokens) = polls(&world, "nobody", &device);
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["email"], "local@local");
    let access = &tokens["access_token"];
    assert_eq!(calls(&world, "nobody", access), 200);
    for elsewhere in ["remote", "proxied", "rebound", "page"] {
        assert_eq!(calls(&world, elsewhere, access), 401, "{elsewhere}");
    }
    let (status, refused) = refreshes(&world, "remote", &tokens["refresh_token"]);
    assert_eq!((status, &refused["error"]), (401, &"invalid_grant".into()));
    assert_eq!(refreshes(&world, "nobody", &tokens["refresh_token"]).0, 200);
}

#[test]
fn a_sign_in_ends_with_the_key_that_confirmed_it() {
    let world = World::new();
    let tokens = signed_in(&world, "caller");
    assert_eq!(calls(&world, "remote", &tokens["access_token"]), 200);
    let path = format!("/api/v1/keys/{}", world.key("caller"));
    assert_eq!(run(world.ask("admin", "DELETE", &path, "")).0, 200);
    assert_eq!(calls(&world, "remote", &tokens["access_token"]), 401);
    let (status, refused) = refreshes(&world, "remote", &tokens["refresh_token"]);
    assert_eq!((status, &refused["error"]), (401, &"invalid_grant".into()));
    let rows = world.engine.changes(3).unwrap();
    let words: Vec<&str> = rows.iter().map(|it| it.action.word()).collect();
    assert_eq!(words, ["login_ended", "key_revoked", "login_confirmed"]);
}

#[test]
fn signing_out_ends_both_tokens_and_asks_nothing_of_strangers() {
    let world = World::new();
    let tokens = signed_in(&world, "caller");
    let out = |token: &str| post(&world, "remote", "/oauth/revoke", &format!("token={token}")).0;
    assert_eq!(out("tg-refresh-nobodys"), 200);
    assert_eq!(calls(&world, "remote", &tokens["access_token"]), 200);
    assert_eq!(out(tokens["refresh_token"].as_str().unwrap()), 200);
    assert_eq!(calls(&world, "remote", &tokens["access_token"]), 401);
    assert_eq!(out(tokens["access_token"].as_str().unwrap()), 200);
}

#[test]
fn a_refresh_token_is_used_once() {
    let world = World::new();
    let first = signed_in(&world, "caller");
    let (status, second) = refreshes(&world, "remote", &first["refresh_token"]);
    assert_eq!(status, 200, "{second}");
    assert_eq!(calls(&world, "remote", &second["access_token"]), 200);
    world.pass(Duration::from_secs(61));
    assert_eq!(refreshes(&world, "remote", &first["refresh_token"]).0, 401);
    assert_eq!(calls(&world, "remote", &second["access_token"]), 401);
    assert_eq!(
        world.engine.changes(1).unwrap()[0].who.to_string(),
        "tidegate"
    );
}

#[test]
fn who_may_confirm_whom() {
    let world = World::new();
    let mut told = String::new();
    for (visitor, rest) in [
        ("remote", ""),
        ("page", ""),
        ("viewer", ""),
        ("approver", ""),
        ("stranger", ""),
        ("caller", r#", "user": "bob""#),
        ("operator", r#", "user": "bob""#),
        ("admin", r#", "user": "bob""#),
        ("admin", r#", "organisation": "acme""#),
        ("token", r#", "user": "eve", "organisation": "acme""#),
        ("nobody", r#", "user": "bob""#),
        ("nobody", r#", "user": "local""#),
        ("token", ""),
    ] {
        let (_, code) = asks(&world);
        let body = format!(r#"{{"code": "{code}", "approve": true{rest}}}"#);
        let (status, text) = run(world.ask(visitor, "POST", "/api/v1/logins", &body));
        let answer = json(&text);
        let what = match &answer["error"]["code"] {
            Value::Null => format!("{} of {}", answer["user"], answer["organisation"]),
            code => code.to_string(),
        };
        writeln!(told, "{visitor}{rest}: {status} {what}").unwrap();
    }
    expect![[r#"
        remote: 403 "foreign"
        page: 403 "foreign"
        viewer: 403 "role_needed"
        approver: 403 "role_needed"
        stranger: 200 "bob" of "acme"
        caller, "user": "bob": 403 "not_yours"
        operator, "user": "bob": 403 "not_yours"
        admin, "user": "bob": 200 "bob" of "local"
        admin, "organisation": "acme": 403 "not_yours"
        token, "user": "eve", "organisation": "acme": 200 "eve" of "acme"
        nobody, "user": "bob": 403 "not_yours"
        nobody, "user": "local": 200 "local" of "local"
        token: 200 "local" of "local"
    "#]]
    .assert_eq(&told);
}

#[test]
fn sign_ins_are_seen_and_ended_by_whose_they_are_and_their_operators() {
    let world = World::new();
    signed_in(&world, "caller");
    let sees = |visitor: &str| {
        let (_, text) = run(world.ask(visitor, "GET", "/api/v1/logins", ""));
        json(&text)["logins"].as_array().unwrap().len()
    };
    assert_eq!(
        ["caller", "operator", "token", "stranger", "boss"].map(sees),
        [1, 1, 1, 0, 0]
    );
    let (_, text) = run(world.ask("caller", "GET", "/api/v1/logins", ""));
    assert!(!text.contains("tg-"), "{text}");
    let id = json(&text)["logins"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/logins/{id}");
    let ends = |visitor: &str| run(world.ask(visitor, "DELETE", &path, "")).0;
    assert_eq!(
        ["nobody", "stranger", "viewer", "boss"].map(ends),
        [404, 404, 403, 404]
    );
    assert_eq!(["caller", "operator"].map(ends), [200, 404]);
}

#[test]
fn the_page_says_nothing_of_codes_to_whoever_is_not_known() {
    let world = World::new();
    let (_, code) = asks(&world);
    let look = |visitor: &str, code: &str| {
        let path = format!("/device?user_code={code}");
        run(world.ask(visitor, "GET", &path, "")).1
    };
    let body = |text: String| text.split_once("</title>").unwrap().1.to_owned();
    assert_eq!(
        look("remote", &code).replace(&code, "BBBB-BBBB"),
        look("remote", "BBBB-BBBB")
    );
    expect![[r#"
        <h1>Sign in to Tidegate</h1><p>Confirm only a code that you see on your own screen now: whoever shows it will make calls in your name and from your budgets.<form method=post action="/device"><p><label for=user_code>Code</label> <input id=user_code name=user_code value="BBBB-BBBB" autocomplete=off autocapitalize=characters spellcheck=false required><p><label for=key>Your Tidegate key</label> <input id=key name=key type=password autocomplete=off><p><button name=decision value=approve>Sign in</button> <button name=decision value=deny>Deny</button></form></html>
    "#]].assert_eq(&body(look("remote", "BBBB-BBBB")));
    expect![[r#"
        <h1>Sign in to Tidegate</h1><p>Confirm only a code that you see on your own screen now: whoever shows it will make calls in your name and from your budgets.<form method=post action="/device"><p><label for=user_code>Code</label> <input id=user_code name=user_code value="" autocomplete=off autocapitalize=characters spellcheck=false required><p><label for=key>Tidegate key (leave it empty to sign in as the local user of this machine)</label> <input id=key name=key type=password autocomplete=off><p><button name=decision value=approve>Sign in</button> <button name=decision value=deny>Deny</button></form></html>
    "#]].assert_eq(&body(look("nobody", "%22%3E%3Cscript%3E")));
    let (status, text) = post(
        &world,
        "nobody",
        "/device",
        "user_code=BBBB-BBBB&key=&decision=approve",
    );
    assert_eq!(status, 404);
    assert!(
        text.contains("role=alert>nobody waits with this code"),
        "{text}"
    );
    let (status, text) = post(
        &world,
        "nobody",
        "/device",
        &format!("user_code={code}&decision=maybe"),
    );
    assert_eq!(status, 400, "{text}");
    let (status, text) = post(
        &world,
        "nobody",
        "/device",
        &format!("user_code={code}&decision=deny"),
    );
    assert_eq!(status, 200);
    assert!(text.contains("was not signed in"), "{text}");
}

#[test]
fn oauth_is_told_what_is_wrong_in_its_own_words() {
    let world = World::new();
    let mut told = String::new();
    for (path, form) in [
        ("/oauth/token", ""),
        ("/oauth/token", "grant_type=password&username=a&password=b"),
        ("/oauth/token", "grant_type=refresh_token"),
        (
            "/oauth/token",
            "grant_type=refresh_token&refresh_token=tg-refresh-secret",
        ),
        ("/oauth/token", "grant_type=a&grant_type=b"),
        (
            "/oauth/token",
            "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=tg-device-secret",
        ),
    ] {
        let (status, text) = post(&world, "nobody", path, form);
        assert!(!text.contains("secret"), "{text}");
        writeln!(told, "{status} {text}").unwrap();
    }
    let long = format!("surface={}", "x".repeat(70_000));
    let (status, text) = post(&world, "nobody", "/oauth/device_authorization", &long);
    writeln!(told, "{status} {text}").unwrap();
    let json = world.request("nobody", "POST", "/oauth/token", r#"{"grant_type": "x"}"#);
    let (status, text) = sent(&world, json);
    writeln!(told, "{status} {text}").unwrap();
    expect![[r#"
        400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be urn:ietf:params:oauth:grant-type:device_code or refresh_token"}
        400 {"error":"unsupported_grant_type","error_description":"`grant_type` must be urn:ietf:params:oauth:grant-type:device_code or refresh_token"}
        401 {"error":"invalid_grant","error_description":"the sign-in is over or was revoked: sign in again with `/login`"}
        401 {"error":"invalid_grant","error_description":"the sign-in is over or was revoked: sign in again with `/login`"}
        400 {"error":"invalid_request","error_description":"the body is no form, or a field comes twice"}
        400 {"error":"invalid_grant","error_description":"there is no such code any more: start again with `/login`"}
        400 {"error":"invalid_request","error_description":"the body is longer than 65536 bytes, which no request of this API is"}
        400 {"error":"invalid_request","error_description":"the body must be a form: send it with `content-type: application/x-www-form-urlencoded`"}
    "#]].assert_eq(&told);
}

#[test]
fn settings_are_given_once_and_again_when_they_are_others() {
    let world = World::new();
    let ask = |tag: Option<&str>| {
        let mut request = world.request("caller", "GET", "/managed/settings", "");
        if let Some(tag) = tag {
            let tag = tag.parse().unwrap();
            request.headers_mut().insert(header::IF_NONE_MATCH, tag);
        }
        run(async {
            let response = world.send(request).await;
            let tag = response.headers().get(header::ETAG).cloned();
            (response.status().as_u16(), tag)
        })
    };
    let (_, text) = run(world.ask("caller", "GET", "/managed/settings", ""));
    // The hash of {"env":{"A":"2","B":"1"}}, as sha256sum says it.
    expect![[r#"{"uuid":"6e2fd97b-4532-233b-365b-d36f68133e31","checksum":"sha256:6e2fd97b4532233b365bd36f68133e31f59cadd7460ffebcb3a9fca2acc6fdef","settings":{"env":{"A":"2","B":"1"}}}"#]].assert_eq(&text);
    let (status, tag) = ask(None);
    let tag = tag.unwrap().to_str().unwrap().to_owned();
    assert_eq!(status, 200);
    assert_eq!(
        format!("\"{}\"", json(&text)["checksum"].as_str().unwrap()),
        tag
    );
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}")] {
        assert_eq!(ask(Some(&known)).0, 304, "{known}");
    }
    for other in ["*", "\"sha256:0\"", tag.trim_matches('"')] {
        assert_eq!(ask(Some(other)).0, 200, "{other}");
    }
    world.break_configuration();
    assert_eq!(ask(Some(&tag)).0, 404);
    assert_eq!(
        run(world.ask("remote", "GET", "/managed/settings", "")).0,
        403
    );
}

#[test]
fn a_sign_in_outlives_a_restart() {
    let store = Arc::new(tidegate_store::MemoryStore::default());
    let first = World::with_store(&store);
    let tokens = signed_in(&first, "caller");
    drop(first);
    let second = World::with_store(&store);
    assert_eq!(calls(&second, "remote", &tokens["access_token"]), 200);
    assert_eq!(
        refreshes(&second, "remote", &tokens["refresh_token"]).0,
        200
    );
}
