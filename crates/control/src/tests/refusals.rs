//! Requests that make no sense: told why, and never more than that.

use expect_test::expect;
use http::header;
use proptest::prelude::*;
use serde_json::Value;

use super::world::{World, check, run};

#[test]
fn no_refusal_repeats_a_secret_of_the_request() {
    let key = "sk-ant-api03-0123456789abcdef";
    let long = "x.".repeat(25);
    check(
        &format!(
            r#"caller POST /api/v1/admissions {{"tokens": "{key}"}}
               caller POST /api/v1/admissions {{"{key}": 1}}
               caller POST /api/v1/admissions {{"tokens": 1, "platform": "{key}"}}
               caller POST /api/v1/reservations/{key}/settle {{}}
               caller GET /api/v1/calls/{long}{key}
               caller GET /api/v1/{key}"#
        ),
        expect![[r#"
            > caller POST /api/v1/admissions {"tokens": "sk-ant-api03-0123456789abcdef"}
            400 bad_body: `tokens`: invalid type: string "[redacted]", expected u64 at line 1 column 42
            > caller POST /api/v1/admissions {"sk-ant-api03-0123456789abcdef": 1}
            400 bad_body: `[redacted]`: unknown field `[redacted]`, expected one of `platform`, `tokens`, `priority`, `task_type`, `estimated_duration_seconds`, `user`, `session`, `task`, `parent_task`, `cost_usd`, `service`, `complexity`, `wait`, `wait_seconds`, `hold_seconds`, `notify` at line 1 column 32
            > caller POST /api/v1/admissions {"tokens": 1, "platform": "sk-ant-api03-0123456789abcdef"}
            400 unknown_platform: there is no platform `[redacted]`; there are claude_code, sonnet
            > caller POST /api/v1/reservations/sk-ant-api03-0123456789abcdef/settle {}
            400 bad_value: `id`: `[redacted]` is not a reservation's id, resv_ and 16 hexadecimal digits
            > caller GET /api/v1/calls/x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.sk-ant-api03-0123456789abcdef
            400 bad_value: `id`: `x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.x.[redacted]` is not a call's id, call_ and 16 hexadecimal digits
            > caller GET /api/v1/sk-ant-api03-0123456789abcdef
            404 not_found: there is nothing at `/api/v1/[redacted]` · `GET /api/v1/openapi.json` lists what there is
        "#]],
    );
}

#[test]
fn nothing_is_named_by_a_secret() {
    check(
        r#"admin POST /api/v1/keys {"name": "sk-ant-api03-0123456789abcdef", "role": "caller", "user": "ada"}
           admin POST /api/v1/keys {"name": "laptop", "role": "caller", "user": "password=hunter2"}
           admin POST /api/v1/keys {"name": "laptop", "role": "caller", "user": "ada", "organisation": "Bearer abcDEF123456"}
           operator PUT /api/v1/budgets/task {"hard_usd": 1, "task": "ghp_0123456789abcdef0123"}
           operator POST /api/v1/admissions {"tokens": 1, "user": "tg-0123456789abcdef"}"#,
        expect![[r#"
            > admin POST /api/v1/keys {"name": "sk-ant-api03-0123456789abcdef", "role": "caller", "user": "ada"}
            400 bad_value: `name`: `[redacted]` is not a name: names are kept and shown, and this looks like a secret
            > admin POST /api/v1/keys {"name": "laptop", "role": "caller", "user": "password=hunter2"}
            400 bad_value: `user`: `password=[redacted]` is not a name: names are kept and shown, and this looks like a secret
            > admin POST /api/v1/keys {"name": "laptop", "role": "caller", "user": "ada", "organisation": "Bearer abcDEF123456"}
            400 bad_value: `organisation`: `Bearer [redacted]` is not a name: names are kept and shown, and this looks like a secret
            > operator PUT /api/v1/budgets/task {"hard_usd": 1, "task": "ghp_0123456789abcdef0123"}
            400 bad_value: `task`: `[redacted]` is not a name: names are kept and shown, and this looks like a secret
            > operator POST /api/v1/admissions {"tokens": 1, "user": "tg-0123456789abcdef"}
            400 bad_value: `user`: `[redacted]` is not a name: names are kept and shown, and this looks like a secret
        "#]],
    );
}

#[test]
fn an_absurd_admission_is_refused_with_its_key_and_value() {
    check(
        r#"caller POST /api/v1/admissions {}
           caller POST /api/v1/admissions {"tokens": -5}
           caller POST /api/v1/admissions {"tokens": 1.5}
           caller POST /api/v1/admissions {"tokens": 99999999999999999999999}
           caller POST /api/v1/admissions {"tokens": 9999999999999999}
           caller POST /api/v1/admissions {"tokens": 1, "tokns": 2}
           caller POST /api/v1/admissions {"tokens": 1, "priority": "urgent"}
           caller POST /api/v1/admissions {"cost_usd": -1}
           caller POST /api/v1/admissions {"cost_usd": 1e9}
           caller POST /api/v1/admissions {"cost_usd": "1.0000000001"}
           caller POST /api/v1/admissions {"cost_usd": 1000000001}
           caller POST /api/v1/admissions {"tokens": 1, "estimated_duration_seconds": 86401}
           caller POST /api/v1/admissions {"tokens": 1, "estimated_duration_seconds": -1}
           caller POST /api/v1/admissions {"tokens": 1, "platform": "nowhere"}
           caller POST /api/v1/admissions {"tokens": 1, "task": ""}
           caller POST /api/v1/admissions {"tokens": 1, "task": "a\u0000b"}
           caller POST /api/v1/admissions {"tokens": 1} {"tokens": 2}
           caller POST /api/v1/admissions ["claude_code", 5]
           caller POST /api/v1/admissions {"tokens": 1"#,
        expect![[r#"
            > caller POST /api/v1/admissions {}
            400 incomplete: say how much: `tokens` (units of the platform), `complexity`, or `cost_usd`
            > caller POST /api/v1/admissions {"tokens": -5}
            400 bad_body: `tokens`: invalid value: integer `-5`, expected u64 at line 1 column 13
            > caller POST /api/v1/admissions {"tokens": 1.5}
            400 bad_body: `tokens`: invalid type: floating point `1.5`, expected u64 at line 1 column 14
            > caller POST /api/v1/admissions {"tokens": 99999999999999999999999}
            400 bad_body: `tokens`: invalid type: floating point `1e+23`, expected u64 at line 1 column 34
            > caller POST /api/v1/admissions {"tokens": 9999999999999999}
            400 bad_value: `tokens`: `9999999999999999` is not a whole number up to 1000000000
            > caller POST /api/v1/admissions {"tokens": 1, "tokns": 2}
            400 bad_body: `tokns`: unknown field `tokns`, expected one of `platform`, `tokens`, `priority`, `task_type`, `estimated_duration_seconds`, `user`, `session`, `task`, `parent_task`, `cost_usd`, `service`, `complexity`, `wait`, `wait_seconds`, `hold_seconds`, `notify` at line 1 column 21
            > caller POST /api/v1/admissions {"tokens": 1, "priority": "urgent"}
            400 bad_body: `priority`: unknown variant `urgent`, expected one of `low`, `medium`, `high`, `critical` at line 1 column 34
            > caller POST /api/v1/admissions {"cost_usd": -1}
            400 bad_body: `cost_usd`: `-1` is not an amount in dollars: write it like 5, 0.25 or $12.50, with at most nine decimals at line 1 column 16
            > caller POST /api/v1/admissions {"cost_usd": 1e9}
            400 bad_body: `cost_usd`: `1e9` is not an amount in dollars: write it like 5, 0.25 or $12.50, with at most nine decimals at line 1 column 17
            > caller POST /api/v1/admissions {"cost_usd": "1.0000000001"}
            400 bad_body: `cost_usd`: `1.0000000001` is not an amount in dollars: write it like 5, 0.25 or $12.50, with at most nine decimals at line 1 column 28
            > caller POST /api/v1/admissions {"cost_usd": 1000000001}
            400 bad_value: `cost_usd`: `$1000000001.00` is not an amount up to $1000000000
            > caller POST /api/v1/admissions {"tokens": 1, "estimated_duration_seconds": 86401}
            400 bad_value: `estimated_duration_seconds`: `86401` is not a number of seconds from 0 to 86400
            > caller POST /api/v1/admissions {"tokens": 1, "estimated_duration_seconds": -1}
            400 bad_value: `estimated_duration_seconds`: `-1` is not a number of seconds from 0 to 86400
            > caller POST /api/v1/admissions {"tokens": 1, "platform": "nowhere"}
            400 unknown_platform: there is no platform `nowhere`; there are claude_code, sonnet
            > caller POST /api/v1/admissions {"tokens": 1, "task": ""}
            400 bad_value: `task`: `` is not a text of 1 to 256 bytes without control characters
            > caller POST /api/v1/admissions {"tokens": 1, "task": "a\u0000b"}
            400 bad_value: `task`: `a�b` is not a text of 1 to 256 bytes without control characters
            > caller POST /api/v1/admissions {"tokens": 1} {"tokens": 2}
            400 bad_body: the body: trailing characters at line 1 column 15
            > caller POST /api/v1/admissions ["claude_code", 5]
            400 bad_body: the body: not a JSON object
            > caller POST /api/v1/admissions {"tokens": 1
            400 bad_body: the body is not JSON: EOF while parsing an object at line 1 column 12
        "#]],
    );
}

#[test]
fn an_absurd_address_or_settlement_is_refused_with_its_key_and_value() {
    check(
        r#"caller POST /api/v1/reservations/resv_1/release
           caller POST /api/v1/reservations/resv_0000000000000001/extend {}
           caller POST /api/v1/reservations/resv_0000000000000001/settle {"usage": {"input": 9999999999999999}}
           caller GET /api/v1/calls?limit=0
           caller GET /api/v1/calls?limit=1001
           caller GET /api/v1/calls?limt=1
           caller GET /api/v1/calls?since=yesterday
           caller GET /api/v1/calls/abc
           caller GET /api/v1/budgets?level=galaxy
           caller GET /api/v1/budgets?ended=maybe"#,
        expect![[r#"
            > caller POST /api/v1/reservations/resv_1/release
            400 bad_value: `id`: `resv_1` is not a reservation's id, resv_ and 16 hexadecimal digits
            > caller POST /api/v1/reservations/resv_0000000000000001/extend {}
            400 incomplete: say how much more (`cost_usd`), for how long (`seconds`), or both
            > caller POST /api/v1/reservations/resv_0000000000000001/settle {"usage": {"input": 9999999999999999}}
            400 bad_value: `usage.input`: `9999999999999999` is not a whole number up to 1000000000
            > caller GET /api/v1/calls?limit=0
            400 bad_value: `limit`: `0` is not a whole number from 1 to 1000
            > caller GET /api/v1/calls?limit=1001
            400 bad_value: `limit`: `1001` is not a whole number from 1 to 1000
            > caller GET /api/v1/calls?limt=1
            400 bad_query: the query: limt: unknown field `limt`, expected one of `organisation`, `user`, `task`, `session`, `since`, `before`, `limit`
            > caller GET /api/v1/calls?since=yesterday
            400 bad_value: `since`: `yesterday` is not a time like 2026-07-14T12:00:00Z, or whole seconds since 1970
            > caller GET /api/v1/calls/abc
            400 bad_value: `id`: `abc` is not a call's id, call_ and 16 hexadecimal digits
            > caller GET /api/v1/budgets?level=galaxy
            400 bad_value: `level`: `galaxy` is not one of organisation, user_month, user_day, llm, tools, infrastructure, task
            > caller GET /api/v1/budgets?ended=maybe
            400 bad_value: `ended`: `maybe` is not true or false
        "#]],
    );
}

#[test]
fn an_absurd_change_is_refused_with_its_key_and_value() {
    check(
        r#"token PUT /api/v1/budgets/galaxy {"hard_usd": 1}
           token PUT /api/v1/budgets/task {}
           token PUT /api/v1/budgets/task {"hard_usd": 1, "soft_usd": 2}
           token PUT /api/v1/budgets/llm {"hard_usd": 1, "user": "ann"}
           token PUT /api/v1/budgets/user_day {"hard_usd": 1, "task": "t"}
           token POST /api/v1/keys {"name": "x", "role": "king", "user": "x"}
           token POST /api/v1/keys {"role": "caller", "user": "x"}"#,
        expect![[r#"
            > token PUT /api/v1/budgets/galaxy {"hard_usd": 1}
            400 bad_value: `level`: `galaxy` is not one of organisation, user_month, user_day, llm, tools, infrastructure, task
            > token PUT /api/v1/budgets/task {}
            400 incomplete: say what is to be set: `hard_usd`, `soft_usd`, `mode` or `overage_allowed`
            > token PUT /api/v1/budgets/task {"hard_usd": 1, "soft_usd": 2}
            400 bad_value: `soft_usd`: `$2.00` is not an amount up to the hard limit, $1.00
            > token PUT /api/v1/budgets/llm {"hard_usd": 1, "user": "ann"}
            400 incomplete: `llm` is a level of an organisation: leave `user` and `task` out
            > token PUT /api/v1/budgets/user_day {"hard_usd": 1, "task": "t"}
            400 incomplete: `task` names a root task: it goes with the level `task`, and without `user`
            > token POST /api/v1/keys {"name": "x", "role": "king", "user": "x"}
            400 bad_body: `role`: unknown variant `king`, expected one of `caller`, `viewer`, `approver`, `operator`, `admin` at line 1 column 28
            > token POST /api/v1/keys {"role": "caller", "user": "x"}
            400 bad_body: the body: missing field `name` at line 1 column 31
        "#]],
    );
}

#[test]
fn a_body_that_is_too_long_or_no_json_by_its_word_is_refused() {
    let world = World::new();
    let long = format!("{{\"task\": \"{}\"}}", "x".repeat(64 * 1024));
    let (status, text) = run(world.ask("caller", "POST", "/api/v1/admissions", &long));
    assert_eq!(status, 413, "{text}");
    let mut request = world.request("caller", "POST", "/api/v1/admissions", "{\"tokens\": 1}");
    let form = "text/plain".parse().unwrap();
    request.headers_mut().insert(header::CONTENT_TYPE, form);
    assert_eq!(run(world.send(request)).status(), 415);
}

#[test]
fn a_store_that_fails_tells_strangers_nothing_of_its_files() {
    let world = World::new();
    world.fill_disk();
    run(world.ask("caller", "POST", "/api/v1/admissions", r#"{"tokens": 1}"#));
    for visitor in ["stranger", "boss", "remote"] {
        for (method, path, body) in [
            ("GET", "/api/v1/status", ""),
            ("GET", "/readyz", ""),
            ("POST", "/api/v1/admissions", r#"{"tokens": 1}"#),
        ] {
            let (_, text) = run(world.ask(visitor, method, path, body));
            assert!(!text.contains("secret/place"), "{visitor} {path}: {text}");
        }
    }
    let (_, text) = run(world.ask("token", "GET", "/api/v1/status", ""));
    assert!(text.contains("secret/place"), "{text}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_body_breaks_anything(body in ".{0,200}", field in "[a-z_]{1,12}", number in any::<f64>()) {
        thread_local!(static WORLD: World = World::new());
        let bodies = [body, format!("{{\"{field}\": {number}}}"), format!("{{\"tokens\": 1, \"cost_usd\": {number}}}")];
        WORLD.with(|world| {
            for body in bodies {
                let (status, text) = run(world.ask("caller", "POST", "/api/v1/admissions", &body));
                let value: Value = serde_json::from_str(&text).unwrap();
                let decided = value.get("approved").is_some();
                assert!(decided == (status == 200) && (decided || status == 400), "{status} {text}");
            }
        });
    }
}
