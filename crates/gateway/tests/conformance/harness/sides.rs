//! The three sides of a call, in words: what the client got, what the provider saw, what was booked.

use tidegate_sim::body_fingerprint;

use super::{Ask, Ended, Heard, World};

/// Headers that a conformance case is about.
const SHOWN: [&str; 4] = [
    "retry-after",
    "x-should-retry",
    "x-tidegate-max-tokens",
    "content-type",
];

/// Sends `asks` one after the other, each over a connection of its own, and tells all sides.
pub(crate) fn three_sides(world: &World, asks: &[Ask]) -> String {
    let mut told = String::new();
    for ask in asks {
        told += &clients_side(&world.ask(ask));
    }
    let seen = world.wire(asks.len());
    for (ask, seen) in asks.iter().zip(&seen) {
        let body = if body_fingerprint(&ask.body) == seen.body_fingerprint {
            "as sent"
        } else {
            "altered"
        };
        let whole = if seen.complete { "whole" } else { "not whole" };
        told += &format!(
            "upstream: {} {} body {body}, {} {whole}\n",
            seen.method, seen.path, seen.status
        );
    }
    told + &world.ledger(asks.len())
}

/// What the client got.
pub(crate) fn clients_side(heard: &Heard) -> String {
    let mut told = format!("client:   {}", heard.status);
    for name in SHOWN {
        if let Some(value) = heard.header(name) {
            told += &format!(" {name}={value}");
        }
    }
    if heard.ended == Ended::Cut {
        told += " CUT";
    }
    let stream = heard.header("content-type").unwrap_or_default();
    if stream.starts_with("text/event-stream") {
        told += &format!("\n          {}", heard.events().join(" "));
    }
    for line in errors(heard) {
        told += &format!("\n          {line}");
    }
    if let Some((before, port)) = told.split_once("127.0.0.1:") {
        // Another one in every run.
        let after = port.trim_start_matches(|it: char| it.is_ascii_digit());
        told = format!("{before}UPSTREAM{after}");
    }
    told + "\n"
}

/// What the answer says went wrong.
fn errors(heard: &Heard) -> Vec<String> {
    let text = heard.text();
    let data = text
        .lines()
        .map(|it| it.strip_prefix("data: ").unwrap_or(it));
    let values = data.filter_map(|it| serde_json::from_str::<serde_json::Value>(it).ok());
    let is_error = |it: &serde_json::Value| {
        it["type"] == "error" || it.get("error").is_some_and(|it| !it.is_null())
    };
    let line = |it: serde_json::Value| {
        let error = if it["error"].is_null() {
            &it
        } else {
            &it["error"]
        };
        let kind = error["type"].as_str().unwrap_or_default();
        let code = error["code"].as_str().map(|it| format!("/{it}"));
        let message = error["message"].as_str().unwrap_or_default();
        format!("{kind}{}: {message}", code.unwrap_or_default())
    };
    values.filter(is_error).map(line).collect()
}
