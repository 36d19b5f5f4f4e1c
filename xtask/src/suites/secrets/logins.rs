//! A program that signs in, calls, renews its tokens and signs out.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{
    super::wire::{self, Answer},
    Site, commands,
    left::Left,
    mark,
};
use crate::server::Server;

/// The form of what is sent to sign in.
const FORM: &str = "content-type: application/x-www-form-urlencoded";

/// By how much longer a program has to wait between two polls after `slow_down` (RFC 8628, section 3.5).
const SLOWER: Duration = Duration::from_secs(5);

/// Has a program signed in and uses what it is given; all of that is secret from then on.
/// Returns what renews its tokens.
pub(super) fn sign_in(
    site: &Site,
    gateway: &Server,
    left: &mut Left<'_>,
) -> anyhow::Result<String> {
    let asked = post(
        gateway,
        "/oauth/device_authorization",
        "surface=claude_code",
    )?;
    let codes = answered(&asked, 200)?;
    let device_code = secret(&codes, "device_code", left)?;
    let user_code = codes["user_code"].as_str().context("no code to confirm")?;
    let poll = format!(
        "grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code={device_code}"
    );
    let early = post(gateway, "/oauth/token", &poll)?;
    left.keep("a poll before the code is confirmed", &early.body);
    ensure!(
        early.status == 400,
        "a code that nobody confirmed was taken"
    );
    let hasty = post(gateway, "/oauth/token", &poll)?;
    left.keep("a poll that comes too early", &hasty.body);
    ensure!(
        hasty.text().contains("slow_down"),
        "a poll that came too early was answered {}",
        hasty.status
    );
    let line = format!("login approve {user_code}");
    ensure!(
        commands::say(&mut site.tidegate(), &line, left)?,
        "the code can't be confirmed"
    );
    let interval = codes["interval"].as_u64().context("no interval")?;
    std::thread::sleep(Duration::from_secs(interval) + SLOWER);
    let tokens = answered(&post(gateway, "/oauth/token", &poll)?, 200)?;
    let access = secret(&tokens, "access_token", left)?;
    let refresh = secret(&tokens, "refresh_token", left)?;
    call(gateway, &access, 200, left)?;
    renew(gateway, &refresh, left)
}

/// Renews the tokens with the one of before, and calls with the new one. Returns what renews those.
pub(super) fn renew(
    gateway: &Server,
    refresh: &str,
    left: &mut Left<'_>,
) -> anyhow::Result<String> {
    let form = format!("grant_type=refresh_token&refresh_token={refresh}");
    let renewed = answered(&post(gateway, "/oauth/token", &form)?, 200)?;
    let access = secret(&renewed, "access_token", left)?;
    let next = secret(&renewed, "refresh_token", left)?;
    call(gateway, &access, 200, left)?;
    Ok(next)
}

/// Uses tokens that are none, or no longer, and signs out.
pub(super) fn sign_out(gateway: &Server, refresh: &str, left: &mut Left<'_>) -> anyhow::Result<()> {
    let nobodys = mark::text("Token");
    for (path, form) in [
        (
            "/oauth/token",
            format!("grant_type=refresh_token&refresh_token={nobodys}"),
        ),
        (
            "/oauth/token",
            format!("grant_type={nobodys}&device_code={nobodys}"),
        ),
        ("/oauth/revoke", format!("token={nobodys}")),
        ("/oauth/revoke", format!("token={refresh}")),
        (
            "/oauth/token",
            format!("grant_type=refresh_token&refresh_token={refresh}"),
        ),
    ] {
        let answer = post(gateway, path, &form)?;
        left.keep(path, &answer.body);
    }
    call(gateway, &format!("tg-access-{nobodys}"), 401, left)
}

fn post(gateway: &Server, path: &str, form: &str) -> anyhow::Result<Answer> {
    wire::once(
        &gateway.address,
        &wire::request("POST", path, &[FORM], form),
    )
}

fn answered(answer: &Answer, status: u16) -> anyhow::Result<Value> {
    ensure!(
        answer.status == status,
        "{}: {}",
        answer.status,
        answer.text()
    );
    answer.json()
}

/// One of the values of an answer, which must be nowhere else.
fn secret(answer: &Value, name: &str, left: &mut Left<'_>) -> anyhow::Result<String> {
    let value = answer[name]
        .as_str()
        .with_context(|| format!("no `{name}`"))?;
    left.watch_for(value, None);
    Ok(value.to_owned())
}

/// Calls with a token, which is sent as an API key would be.
fn call(gateway: &Server, token: &str, status: u16, left: &mut Left<'_>) -> anyhow::Result<()> {
    let headers = [
        &*format!("authorization: Bearer {token}"),
        "content-type: application/json",
        "anthropic-version: 2023-06-01",
    ];
    let body = format!(
        r#"{{"model":"loose-whole","max_tokens":5,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        mark::text("SignedIn")
    );
    let request = wire::request("POST", "/v1/messages", &headers, &body);
    let answer = wire::once(&gateway.address, &request)?;
    left.keep_if_ours("a call of a program that is signed in", &answer);
    ensure!(
        answer.status == status,
        "{}: {}",
        answer.status,
        answer.text()
    );
    Ok(())
}
